"""Which tokens steer a decoder, read off its tokenizer.

One that asr-train builds (vocabulary.py) has a start and an end, and says nothing by ending at once.
Whisper's own rules (openai/whisper, tokenizer.py): a prompt says language and task;
tokens that stand for no speech (brackets, music signs, speaker dashes) are suppressed.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

from asr.errors import FormatError
from asr.runtime.bundle import Tokens
from asr.runtime.words import tokens_of

START, END, TRANSCRIBE, NO_TIMESTAMPS = (
    "<|startoftranscript|>",
    "<|endoftext|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)
NO_SPEECH = ("<|nocaptions|>", "<|nospeech|>")  # older and newer spelling
NEVER_TEXT = (TRANSCRIBE, "<|translate|>", START, "<|startofprev|>", "<|startoflm|>", *NO_SPEECH)
WORD = 6  # letters of an ordinary word, its space among them
ENGLISH_VOCABULARY_HAS = 50_256  # id of END in the English-only vocabulary; the multilingual one has one piece more

NOT_SPEECH = [
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("'),
    *("((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
]
MUSIC = [*"♩♪♫♬♭♮♯"]
MAY_START_WORDS = [" -", " '"]  # suppressed with the space alone: "-" and "'" also stand inside words


def steering_tokens(tokenizer: Tokenizer, languages: Sequence[str]) -> Tokens:
    """The prompt and the suppressed tokens of a vocabulary; languages are the model's codes."""
    if tokenizer.token_to_id(NO_TIMESTAMPS) is None:
        return built_tokens(tokenizer)
    return whisper_tokens(tokenizer, languages)


def built_tokens(tokenizer: Tokenizer) -> Tokens:
    """Of a vocabulary that asr-train built: no language in the prompt, and an end that may come first."""
    start = token(tokenizer, START)
    return Tokens(
        start=(start,),
        languages={},
        after_language=(),
        end=token(tokenizer, END),
        no_speech=None,
        suppress=(start,),
        per_word=per_word(tokenizer),
    )


def whisper_tokens(tokenizer: Tokenizer, languages: Sequence[str]) -> Tokens:
    end = token(tokenizer, END)
    multilingual = end > ENGLISH_VOCABULARY_HAS
    names = (TRANSCRIBE, NO_TIMESTAMPS) if multilingual else (NO_TIMESTAMPS,)
    never = {name: found for name in NEVER_TEXT if (found := tokenizer.token_to_id(name)) is not None}
    return Tokens(
        start=(token(tokenizer, START),),
        languages={code: token(tokenizer, f"<|{code}|>") for code in languages} if multilingual else {},
        after_language=tuple(token(tokenizer, name) for name in names),
        end=end,
        no_speech=next((never[name] for name in NO_SPEECH if name in never), None),
        suppress=tuple(sorted({*not_speech(tokenizer), *never.values()})),
        suppress_first=(*tokens_of(tokenizer, " "), end),
        per_word=per_word(tokenizer),
    )


def token(tokenizer: Tokenizer, name: str) -> int:
    found = tokenizer.token_to_id(name)
    if found is None:
        raise FormatError(f"the tokenizer has no {name}: it is neither Whisper's nor one that asr-train built")
    return found


def per_word(tokenizer: Tokenizer) -> int:
    """Tokens of an ordinary word, judged by how long the vocabulary's pieces are."""
    special = {added.content for added in tokenizer.get_added_tokens_decoder().values()}
    lengths = [len(piece) for piece in tokenizer.get_vocab() if piece not in special]
    return max(1, round(WORD * len(lengths) / sum(lengths))) if lengths else 1


def not_speech(tokenizer: Tokenizer) -> set[int]:
    """Tokens of signs that nobody says, alone or after a space (openai/whisper, Tokenizer.non_speech_tokens)."""
    tokens = {tokens_of(tokenizer, sign)[0] for sign in MAY_START_WORDS}
    for sign in NOT_SPEECH + MUSIC:
        for written in (sign, f" {sign}"):
            encoded = tokens_of(tokenizer, written)
            if len(encoded) == 1 or sign in MUSIC:  # a music sign's first byte pair starts nothing else
                tokens.add(encoded[0])
    return tokens
