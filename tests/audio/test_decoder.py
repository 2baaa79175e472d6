import signal
import socket
import subprocess
import sys

import pytest

from asr.audio import decode, decoder
from asr.audio.dialogue import ERROR, FAULT, FRAME, MAX_FRAME_BYTES, OPENING, receive_frame

RUNS_WILD = """
from asr.audio import decoder
decoder.BLOCK_CPU_S = 0.2
decoder.watch()
while True:
    pass
"""
TAKES_ALL_MEMORY = """
from asr.audio import decoder
decoder.limit()
try:
    bytearray(2 * decoder.ADDRESS_SPACE_BYTES)
except MemoryError:
    print("refused")
"""
OPENS_A_FILE = """
import socket
from asr.audio import decoder
decoder.limit()
for attempt in (lambda: open("/etc/hostname"), lambda: socket.socket()):
    try:
        attempt()
    except OSError as error:
        print(error.strerror)
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_a_decoder_that_runs_wild_is_killed():
    assert run(RUNS_WILD).returncode == -signal.SIGPROF


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit the address space")
def test_memory_has_an_end():
    assert run(TAKES_ALL_MEMORY).stdout == "refused\n"


def test_no_file_and_no_socket_can_be_opened():
    assert run(OPENS_A_FILE).stdout == "Too many open files\n" * 2


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (MemoryError(), ERROR, "AudioError\nthe file takes more memory"),
        (ZeroDivisionError("our bug"), FAULT, "our bug"),
        (SystemExit(3), FAULT, "SystemExit"),
    ],
)
def test_whatever_a_decoder_raises_is_told(monkeypatch, raised, kind, said):
    def fail(content, separate):
        raise raised

    monkeypatch.setattr(decode, "open_recording", fail)
    monkeypatch.setattr(decoder, "limit", lambda: None)
    monkeypatch.setattr(decoder, "watch", lambda: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(OPENING.pack(False, 3) + b"abc")
        decoder.serve(theirs)
        answer = receive_frame(ours)
    assert answer[0] == kind
    assert said in answer[1].decode()


@pytest.mark.parametrize("frame", [FRAME.pack(b"?", 0), FRAME.pack(b"S", MAX_FRAME_BYTES + 1), b"S", b""])
def test_a_decoder_that_babbles_counts_as_dead(frame):
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(frame)
        theirs.close()
        with pytest.raises(EOFError):
            receive_frame(ours)
