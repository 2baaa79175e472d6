"""What a run begins with: its utterances, its tokenizer, the model and the teacher."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from asr.errors import AudioError, FormatError, InputError, OptionError
from asr.model.checkpoint import CONFIG, TOKENIZER, load_checkpoint
from asr.model.config import ModelConfig
from asr.model.model import SpeechModel
from asr.runtime import words as wording
from asr.runtime.bundle import Tokens
from asr.train import corpora, losses, vocabulary
from asr.train.losses import Span, Targets
from asr.train.manifest import TimedWord, Utterance, load
from asr.train.recipe import Recipe, check_model, model_config
from asr.train.tokens import steering_tokens

NEW_PARTS = ("ctc.",)  # what a checkpoint may lack: it starts from random weights


@dataclass(frozen=True, eq=False)
class Speller:
    """From text to what the model should say, and back."""

    file: Path  # tokenizer.json
    tokenizer: Tokenizer
    tokens: Tokens
    alphabet: str | None  # of the CTC head
    language: str
    most: int  # tokens that the decoder takes

    @classmethod
    def load(cls, file: Path, config: ModelConfig, language: str = "") -> "Speller":
        """language: one of the config's; "" is the first."""
        if language and language not in config.languages:
            raise OptionError(f"data.language is {language!r}; the model knows {', '.join(config.languages)}")
        tokenizer = Tokenizer.from_file(str(file))
        tokens = steering_tokens(tokenizer, config.languages)
        spoken = language or config.languages[0]
        return cls(file, tokenizer, tokens, config.ctc_alphabet, spoken, config.max_tokens)

    def targets(self, texts: Sequence[str], words: Sequence[Sequence[TimedWord]]) -> Targets:
        """For a batch's texts and, where they are known, the times of their words."""
        lines = [self.line(text) for text in texts]
        prompt = len(vocabulary.prompt(self.tokens, self.language))
        spelled = [self.characters(text) for text in texts]
        spans = [self.spans(line[prompt:-1], timed) for line, timed in zip(lines, words, strict=True)]
        return losses.gather([(line, prompt) for line in lines], spelled, spans)

    def line(self, text: str) -> list[int]:
        """Prompt, text and end."""
        return vocabulary.target(self.tokenizer, self.tokens, text, self.language)

    def too_long(self, text: str) -> str:
        """What is wrong with a text that the decoder cannot hold; "" where nothing is."""
        tokens = len(self.line(text)) - 1  # the end is said, and never read
        return f"its text is {tokens} tokens, and the model takes {self.most}" if tokens > self.most else ""

    def characters(self, text: str) -> list[int] | None:
        """The CTC head's ids, where it has one and the text can be written so."""
        if self.alphabet is None or (line := vocabulary.ctc_text(text)) is None:
            return None
        if not set(line) <= set(self.alphabet):
            return None
        return [1 + self.alphabet.index(character) for character in line]

    def spans(self, tokens: Sequence[int], timed: Sequence[TimedWord]) -> list[Span | None]:
        """For each token the time of its word; [] where the words are not the text's."""
        written = wording.word_spans(self.tokenizer, tokens, self.language) if timed else []
        if not timed or len(written) != len(timed):
            return []
        found: list[Span | None] = [None] * len(tokens)
        for span, word in zip(written, timed, strict=True):
            found[span.first : span.last] = [(word.start_s, word.end_s)] * (span.last - span.first)
        return found


def read_sets(recipe: Recipe) -> dict[str, list[Utterance]]:
    """The utterances that are learned from, by set, with texts as the recipe wants them written."""
    data = recipe.data
    if not data.sets:
        raise OptionError("data.sets is empty: name the sets to learn from")
    sets = {name: corpora.read_corpus(Path(data.root), data.layout, name) for name in data.sets}
    if not any(sets.values()):
        raise InputError(f"the sets {', '.join(data.sets)} of {data.root} hold no utterance")
    return {name: [written(one, recipe) for one in utterances] for name, utterances in sets.items()}


def read_dev_sets(recipe: Recipe) -> tuple[dict[str, list[Utterance]], list[str]]:
    """What is decoded at validation, the first utterances with a text of each set; and what of it cannot be read."""
    data = recipe.data
    root = Path(data.dev_root or data.root)
    sets: dict[str, list[Utterance]] = {}
    complaints: list[str] = []
    for name in data.dev_sets:
        sets[name] = []
        for utterance in corpora.read_corpus(root, data.layout, name):
            if utterance.text and len(sets[name]) < data.dev_limit:
                try:  # now, and not after hours of training
                    load(utterance)
                    sets[name].append(utterance)
                except AudioError as error:
                    complaints.append(str(error))
        if not sets[name]:
            raise InputError(f"dev set {name} of {root} holds no utterance with a text to compare with")
    return sets, complaints


def written(utterance: Utterance, recipe: Recipe) -> Utterance:
    text = utterance.text
    if recipe.data.sentence_case and (text.isupper() or text.islower()):
        text = sentence(text)
    if not recipe.start and recipe.vocabulary.lower_case:
        text = text.lower()
    return utterance if text == utterance.text else replace(utterance, text=text)


def sentence(text: str) -> str:
    """A text without casing as Whisper would write it, as far as that can be told without knowing names."""
    words = [("I" + word[1:]) if word == "i" or word.startswith("i'") else word for word in text.lower().split()]
    line = " ".join(words)
    line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "?", "!")) else line + "."


def begin(recipe: Recipe, sets: dict[str, list[Utterance]], resume: bool) -> tuple[SpeechModel, Speller]:
    """The model to train, from the recipe's checkpoint or from scratch, and its speller."""
    torch.manual_seed(recipe.loop.seed)  # of the new weights
    if recipe.start:
        return from_checkpoint(Path(recipe.start), recipe)
    tokenizer = recipe.folder / TOKENIZER
    if not (resume and tokenizer.exists()):
        build_tokenizer(tokenizer, recipe, sets)
    size = Tokenizer.from_file(str(tokenizer)).get_vocab_size()
    base = replace(ModelConfig(), vocabulary=size, languages=("en",), pad_s=0.0, log_mel="fixed")
    config = model_config(recipe, base)
    check_model(recipe, config)
    return SpeechModel(config), Speller.load(tokenizer, config, recipe.data.language)


def from_checkpoint(folder: Path, recipe: Recipe) -> tuple[SpeechModel, Speller]:
    """A checkpoint's weights in the model that the recipe wants of it; only NEW_PARTS may be new."""
    started = load_checkpoint(folder)
    config = model_config(recipe, started.config)
    check_model(recipe, config)
    model = SpeechModel(config)
    try:
        missing, unexpected = model.load_state_dict(started.state_dict(), strict=False)
    except RuntimeError as error:
        raise FormatError(f"the recipe's [model] does not fit the weights of {folder}: {error}") from error
    if strange := [name for name in [*missing, *unexpected] if not name.startswith(NEW_PARTS)]:
        raise FormatError(f"the recipe's [model] does not fit the weights of {folder}: {', '.join(strange)}")
    return model, Speller.load(folder / TOKENIZER, config, recipe.data.language)


def build_tokenizer(file: Path, recipe: Recipe, sets: dict[str, list[Utterance]]) -> None:
    """Write the tokenizer of a run from scratch. Several processes may: they write the same."""
    texts = (one.text for utterances in sets.values() for one in utterances)
    tokenizer = vocabulary.build(texts, recipe.vocabulary)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as part:
        part.write(tokenizer.to_str(pretty=True))
    Path(part.name).rename(file)


def teacher_of(recipe: Recipe) -> SpeechModel | None:
    """The model that is distilled: at full context and true length, frozen. None where none is wanted."""
    objective = recipe.objective
    if not (objective.features or objective.tokens):
        return None
    folder = Path(objective.teacher)
    if not (folder / CONFIG).exists():
        raise OptionError(f"objective.teacher: there is no checkpoint at {folder}")
    given = load_checkpoint(folder)
    teacher = SpeechModel(replace(given.config, pad_s=0.0))
    teacher.load_state_dict(given.state_dict())
    return teacher.eval().requires_grad_(False)
