"""What bytes begin like: every container names itself in its first bytes, whatever its file is called."""

from asr.errors import AudioError

READS = "WAV, FLAC, Ogg (Opus, Vorbis), MP3, M4A, AAC and WebM"

WAV, FLAC, OGG, MP3, MP4, AAC, WEBM = "WAV", "FLAC", "Ogg", "MP3", "MP4", "AAC", "WebM"

# (offset, magic, name)
READ = (
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (0, b"ID3", MP3),
    (4, b"ftyp", MP4),
    (0, b"\x1a\x45\xdf\xa3", WEBM),
)
# of what people send and this version does not read
STRANGERS = (
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"\x30\x26\xb2\x75", "WMA"),
)
# (mask, bits, name) of frames that begin without a header: a run of ones, then the layer
FRAMES = ((0xFFE6, 0xFFE2, MP3), (0xFFF6, 0xFFF0, AAC))
WAV_MAGICS, WAV_MAGIC_BYTES = (b"RIFF", b"RIFX", b"RF64"), 12  # behind the first the length, then another
OGG_MAGIC = b"OggS"


def sniff(content: bytes) -> str:
    """The name of what the bytes begin like; AudioError where it is nothing that we read."""
    if not content:
        raise AudioError("the file is empty")
    if is_wav(content):
        return WAV
    if name := _named(content, READ) or _framed(content):
        return name
    if name := _named(content, STRANGERS):
        raise AudioError(f"this is {name}, which this version does not read; it reads {READS}")
    raise AudioError(
        f"these bytes are no audio file that this version reads ({READS}); "
        "raw samples need their encoding and sample rate in the config"
    )


def is_wav(content: bytes) -> bool:
    return content[:4] in WAV_MAGICS and content[8:WAV_MAGIC_BYTES] == b"WAVE"


def _named(content: bytes, magics: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((name for offset, magic, name in magics if content.startswith(magic, offset)), None)


def _framed(content: bytes) -> str | None:
    start = int.from_bytes(content[:2], "big")
    return next((name for mask, bits, name in FRAMES if start & mask == bits), None)
