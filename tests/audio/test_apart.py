import gc
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from asr.audio import decode
from asr.audio.apart import ApartRecording, Mould, error_of, mould
from asr.errors import AudioError, HeedError, NotSupportedError

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
LONG_S = 600
WAIT_S = 20


def children():
    """The processes that decode for us now."""
    if (process := mould().process) is None:
        return []
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def wait_for(count):
    """Until so many are left."""
    end = time.monotonic() + WAIT_S
    while len(children()) != count:
        assert time.monotonic() < end, f"{len(children())} children, not {count}, after {WAIT_S} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_file(file_of):
    """Bytes that take longer to read than a pipe holds, so that a child waits for its reader."""
    return file_of(np.zeros(LONG_S * 16_000, np.float32), container="FLAC")


@pytest.mark.parametrize(("container", "codec"), [("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "OPUS")])
def test_it_is_the_same_recording(speechlike, file_of, container, codec):
    stereo = np.stack([speechlike(48_000, 48_000)] * 2, axis=1)
    content = file_of(stereo, 48_000, container, codec)
    here, apart = decode.open_recording(content), ApartRecording(content)
    assert apart.header == here.header
    assert [block.tobytes() for block in apart.blocks()] == [block.tobytes() for block in here.blocks()]


@pytest.mark.parametrize("content", [b"", b"Dear diary\n", b"fLaC" + bytes(10), b"FORM\0\0\0\0AIFF"])
def test_it_is_the_same_error(content):
    with pytest.raises(AudioError) as here:
        decode.open_recording(content)
    with pytest.raises(AudioError) as apart:
        ApartRecording(content)
    assert str(apart.value) == str(here.value)


def test_who_is_started_early_is_the_one_that_forks():
    one = Mould()
    try:
        one.start()
        prepared = one.process.pid
        one.start()
        one.child().close()
        assert one.process.pid == prepared
    finally:
        one.stop()


def test_an_error_amid_the_file_comes_where_it_is(speechlike, file_of):
    samples = speechlike(20_000)
    samples[15_000] = np.nan
    blocks = ApartRecording(file_of(samples, codec="FLOAT")).blocks()
    assert next(blocks).size == 8_000
    with pytest.raises(AudioError, match="not numbers"):
        next(blocks)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGPROF])
def test_a_decoder_that_dies_is_an_error_and_the_next_file_is_read(long_file, number):
    wait_for(0)  # those of the tests before are still on their way out
    blocks = ApartRecording(long_file).blocks()
    next(blocks)
    (child,) = children()
    os.kill(child, number)
    with pytest.raises(AudioError, match="the decoder gave up on this file"):
        list(blocks)
    assert next(ApartRecording(long_file).blocks()).size == 8_000


@needs_proc
def test_whoever_loses_interest_leaves_no_child(long_file):
    recording = ApartRecording(long_file)
    blocks = recording.blocks()
    next(blocks)
    wait_for(1)
    del recording, blocks
    gc.collect()
    wait_for(0)


@needs_proc
def test_a_mould_that_was_killed_is_made_anew(long_file):
    ApartRecording(long_file)
    old = mould().process
    old.kill()
    old.wait()
    assert ApartRecording(long_file).header.frames == LONG_S * 16_000
    assert mould().process.pid != old.pid


@needs_proc
def test_a_child_can_open_nothing_and_has_its_limits(long_file):
    wait_for(0)
    recording = ApartRecording(long_file)
    (child,) = children()
    limits = Path(f"/proc/{child}/limits").read_text()
    open_files = sorted(os.readlink(file) for file in Path(f"/proc/{child}/fd").iterdir())
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()[1:]}
    assert rows["Max open files"] == rows["Max file size"] == rows["Max core file size"] == ["0", "0"]
    assert 2**30 < int(rows["Max address space"][1]) < 2**32
    assert [name.split(":")[0] for name in open_files] == ["/dev/null"] * 3 + ["socket"]
    assert recording.header.channels == 1


def test_a_mould_ends_when_nobody_can_ask_it_any_more():
    other = Mould()
    other.child().close()
    process = other.process
    other.stop()
    assert process.returncode == 0


def test_errors_keep_their_kind_and_nothing_else_becomes_one():
    assert type(error_of("NotSupportedError\nneeds the extra")) is NotSupportedError
    assert str(error_of("AudioError\ntwo\nlines")) == "two\nlines"
    assert type(error_of("annotations\n")) is type(error_of("SystemExit\n")) is AudioError
    assert issubclass(type(error_of("")), HeedError)
