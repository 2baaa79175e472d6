"""What strangers send, through the server's own door: samples or one of our errors, in bounded time and memory.

    FUZZ_SECONDS=3600 FUZZ_SEED=7 pytest tests/audio/test_hostile.py -k mutated -s

The suite spends a few seconds on it. A case is made from the seed and its number alone; one that fails is written down.
"""

import contextlib
import gc
import os
import random
import resource
import struct
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from asr.audio.resample import SAMPLE_RATE
from asr.errors import AudioError, HeedError, InputError, TooLongError
from server.audio import Declared, LivePackets, recording_blocks

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))
FUZZ_SEED = int(os.environ.get("FUZZ_SEED", "13"))
LEAST_CASES = 30
MAX_S = 60.0
MOST_S = 30.0  # for one file, on a machine that does much else
MOST_GROWTH_KB = 100_000
SOUNDFILES = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("WAV", "IMA_ADPCM"),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "OPUS"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]
EXACT = [file for file in SOUNDFILES if file != ("WAV", "IMA_ADPCM")]  # which fills its last block
MEDIA = [("mp4", "aac"), ("mp4", "alac"), ("webm", "libopus"), ("webm", "vorbis"), ("adts", "aac")]
EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80"]
GAVE_UP = "the decoder gave up"


@pytest.fixture(scope="module")
def files(speechlike, file_of, media_of) -> dict[str, bytes]:
    """Real files of every format, by name."""
    samples = np.stack([speechlike(24_000, 48_000)] * 2, axis=1)
    found = {f"{kind} {codec}": file_of(samples, 48_000, kind, codec) for kind, codec in SOUNDFILES}
    return found | {f"{kind} {codec}": media_of(samples, 48_000, kind, codec) for kind, codec in MEDIA}


def whole(content: bytes) -> int:
    """The samples that Recognize hears."""
    return heard(recording_blocks(content, Declared(), MAX_S))


def streamed(content: bytes, dice: random.Random) -> int:
    """The samples that StreamingRecognize hears, in packets of any size."""
    packets = LivePackets(Declared(), MAX_S)
    samples = 0
    while content:
        size = dice.choice((1, 13, 400, 5_000, 100_000))
        samples += heard(packets.reader.accept(second) for second in packets.seconds(content[:size]))
        content = content[size:]
    return samples + heard([packets.reader.finish()])


def heard(blocks) -> int:
    samples = 0
    for block in blocks:
        assert np.isfinite(block).all()
        assert np.abs(block).max(initial=0) <= 2  # resampling may overshoot what was clipped
        samples += block.size
    return samples


def mutated(content: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """One to four of the things that go wrong, on purpose or not; mostly near the start, where headers are."""
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at = int(len(damaged) * dice.random() ** dice.choice((1, 3, 6)))
        match dice.randrange(7):
            case 0:
                damaged[at : at + 1] = dice.randbytes(1)
            case 1:
                damaged[at : at + 4] = dice.choice(EXTREMES)
            case 2:
                del damaged[at:]
            case 3:
                del damaged[at : at + dice.randint(1, 300)]
            case 4:
                damaged[at : at + 300] = dice.randbytes(dice.randint(1, 300))
            case 5:
                damaged[at:at] = damaged[at : at + dice.randint(1, 3_000)]
            case 6:
                damaged[at:] = dice.choice(others)[at:]
    return bytes(damaged)


def test_mutated_files_end_in_samples_or_in_our_errors(files, tmp_path):
    contents = list(files.values())
    for content in contents:  # decoders are loaded, and whatever they keep is kept
        whole(content)
    gc.collect()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends: Counter[str] = Counter()
    until = time.monotonic() + FUZZ_SECONDS
    number = 0
    while number < LEAST_CASES or time.monotonic() < until:
        number += 1
        dice = random.Random(f"{FUZZ_SEED}:{number}")
        case = mutated(dice.choice(contents), contents, dice)
        hear: Callable[[bytes], int] = whole
        if number % 2 and case.startswith((b"RIFF", b"OggS")):  # what a stream may be
            hear = partial(streamed, dice=dice)
        ends[end_of(hear, case, tmp_path / f"case-{number}")] += 1
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    print(f"\n{number} cases: {dict(ends)}; memory {grown_kb} kB more at its highest")
    assert ends["samples"] > 0
    assert grown_kb < MOST_GROWTH_KB


def end_of(hear: Callable[[bytes], int], case: bytes, path: Path) -> str:
    """How it ended. Where it should not have ended so the case is kept."""
    path.write_bytes(case)
    started = time.monotonic()
    try:
        hear(case)
        end = "samples"
    except HeedError as error:
        end = GAVE_UP if GAVE_UP in str(error) else type(error).__name__
    except BaseException as error:
        raise AssertionError(f"{path} ended in {error!r}") from error
    assert time.monotonic() - started < MOST_S, f"{path} took {time.monotonic() - started:.0f} s"
    if end != GAVE_UP or FUZZ_SECONDS < 60:
        path.unlink()
    return end


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_next_to_nothing_is_next_to_nothing(file_of, samples):
    for container, codec in EXACT:
        with contextlib.suppress(*[AudioError] * (samples == 0)):  # libsndfile writes no header before a sample comes
            assert whole(file_of(np.zeros(samples, np.float32), 48_000, container, codec)) <= 1


@pytest.mark.parametrize("loudness", [0.0, 1.0, 100.0])
def test_silence_noise_and_what_is_clipped_are_samples_like_others(file_of, loudness):
    noise = loudness * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    for container, codec in EXACT:
        assert whole(file_of(noise, 48_000, container, codec)) == SAMPLE_RATE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"Dear diary, today I spoke to a machine.\n" * 100,
        "Liebes Tagebuch".encode("utf-16"),
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + bytes(100),
        b"#EXTM3U\nhttp://example.invalid/\n",
        b"\x7fELF" + bytes(1_000),
        b"PK\3\4" + bytes(1_000),
        b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1_000),
        b"\0\0\0\x01ftypM4A " + b"\xff" * 8 + bytes(1_000),
    ],
)
def test_what_is_no_sound_is_an_error_or_nothing(content):
    for hear in (whole, lambda content: streamed(content, random.Random(0))):
        with contextlib.suppress(InputError):
            assert hear(content) == 0


def test_a_table_of_four_billion_samples_takes_no_memory(files):
    for field in (4, 8):  # of the table of sizes: one for all, how many
        bomb = bytearray(files["mp4 aac"])
        at = bomb.index(b"stsz") + 4 + field
        bomb[at : at + 4] = struct.pack(">I", 2**32 - 1)
        with pytest.raises(HeedError):
            whole(bytes(bomb))


def test_hours_of_silence_in_a_small_file_end_at_the_limit(media_of):
    for container, codec in (("mp4", "alac"), ("webm", "libopus")):
        content = bytearray(media_of(np.zeros(48_000 * 100, np.float32), 48_000, container, codec))
        with pytest.raises(TooLongError, match="this server takes 60 s"):
            whole(bytes(content))
