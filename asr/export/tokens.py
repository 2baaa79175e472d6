"""Which tokens steer a Whisper decoder, read off its tokenizer.

Whisper's own rules (openai/whisper, tokenizer.py): a prompt says language and task;
tokens that stand for no speech (brackets, music signs, speaker dashes) are suppressed.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

from asr.errors import FormatError
from asr.runtime.bundle import Tokens

START, END, TRANSCRIBE, NO_TIMESTAMPS = (
    "<|startoftranscript|>",
    "<|endoftext|>",
    "<|transcribe|>",
    "<|notimestamps|>",
)
NO_SPEECH = ("<|nocaptions|>", "<|nospeech|>")  # older and newer spelling
NEVER_TEXT = (TRANSCRIBE, "<|translate|>", START, "<|startofprev|>", "<|startoflm|>", *NO_SPEECH)
ENGLISH_VOCABULARY_HAS = 50_256  # id of END in the English-only vocabulary; the multilingual one has one piece more

NOT_SPEECH = [
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("'),
    *("((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"),
]
MUSIC = [*"♩♪♫♬♭♮♯"]
MAY_START_WORDS = [" -", " '"]  # suppressed with the space alone: "-" and "'" also stand inside words


def whisper_tokens(tokenizer: Tokenizer, languages: Sequence[str]) -> Tokens:
    """The prompt and the suppressed tokens of a Whisper vocabulary; languages are the model's codes."""
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
        suppress_first=(*ids(tokenizer, " "), end),
    )


def token(tokenizer: Tokenizer, name: str) -> int:
    found = tokenizer.token_to_id(name)
    if found is None:
        raise FormatError(f"the tokenizer has no {name}: it is not a Whisper vocabulary")
    return found


def not_speech(tokenizer: Tokenizer) -> set[int]:
    """Tokens of signs that nobody says, alone or after a space (openai/whisper, Tokenizer.non_speech_tokens)."""
    tokens = {ids(tokenizer, sign)[0] for sign in MAY_START_WORDS}
    for sign in NOT_SPEECH + MUSIC:
        for written in (sign, f" {sign}"):
            encoded = ids(tokenizer, written)
            if len(encoded) == 1 or sign in MUSIC:  # a music sign's first byte pair starts nothing else
                tokens.add(encoded[0])
    return tokens


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    encoded: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return encoded
