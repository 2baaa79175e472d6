"""The process in which files of strangers are decoded: a mould that forks itself for each file.

    apart.py -- a socket for each file --> mould (has loaded every decoder) -- fork --> child: one file, then gone

The child takes the file's bytes and sends frames back: its header, then samples, then an end.
Whatever the bytes do to a decoder, they do it here:

    address space     the mould's own and ADDRESS_SPACE_BYTES; beyond it the file is refused
    processor time    BLOCK_CPU_S for each half second of sound, by a signal that nothing here handles
    files, sockets    none can be opened, and nothing written but to the one that is there
    waiting           a child whose reader has gone ends at its next word

The mould ends with the process that started it: its socket closes.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import decode
from asr.audio.dialogue import END, ERROR, FAULT, HEADER, OPENING, SAMPLES, receive_exactly, send_frame
from asr.errors import AudioError, HeedError

ADDRESS_SPACE_BYTES = 2**30
# PyAV loads the rest of itself when a file has such streams; versions differ in what there is
LATE_MODULES = ("av", "av.subtitles.stream", "av.subtitles.codeccontext", "av.data.stream", "av.video.codeccontext")
BLOCK_CPU_S = 10.0  # a slow machine decodes half a second in milliseconds


def main() -> None:
    """Fork for each socket that comes, until none can come any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # who started us still drains; when it ends, so do we
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for name in LATE_MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)  # once, and while files can still be opened
    requests = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    while True:
        word, sockets, _, _ = socket.recv_fds(requests, 1, 1)
        if not word:
            return
        if os.fork() == 0:
            forget_the_mould(requests)
            serve(socket.socket(fileno=sockets[0]))
            os._exit(0)
        os.close(sockets[0])


def forget_the_mould(requests: socket.socket) -> None:
    """A child has its own socket and nothing else; what decoders print goes nowhere."""
    requests.close()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def serve(peer: socket.socket) -> None:
    """One file. Never raises: nobody would hear it."""
    try:
        limit()
        separate, size = OPENING.unpack(receive_exactly(peer, OPENING.size))
        send_recording(peer, receive_exactly(peer, size), separate)
        send_frame(peer, END, b"")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the reader has gone
    except MemoryError:
        complain(peer, ERROR, f"{AudioError.__name__}\nthe file takes more memory to decode than any recording should")
    except HeedError as error:
        complain(peer, ERROR, f"{type(error).__name__}\n{error}")
    except BaseException:
        complain(peer, FAULT, traceback.format_exc())


def send_recording(peer: socket.socket, content: bytes, separate: bool) -> None:
    watch()
    recording = decode.open_recording(content, separate)
    blocks = recording.blocks()
    send_frame(peer, HEADER, json.dumps(asdict(recording.header)).encode())
    for block in watched(blocks):
        send_frame(peer, SAMPLES, block.astype("<f4", copy=False).tobytes())


def limit() -> None:
    """Hard limits: who takes over a decoder cannot lift them, unless the server runs as root."""
    own_pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").exists() else 0
    for name, most in (
        (resource.RLIMIT_AS, own_pages * resource.getpagesize() + ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(name, (most, most))


def watched(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same blocks, each within its time."""
    for block in blocks:
        yield block
        watch()


def watch() -> None:
    """From now on so much computing, and this process ends: nothing handles SIGPROF, so it kills amid C code too."""
    signal.setitimer(signal.ITIMER_PROF, BLOCK_CPU_S)


def complain(peer: socket.socket, kind: bytes, text: str) -> None:
    with contextlib.suppress(OSError):
        send_frame(peer, kind, text.encode())


if __name__ == "__main__":
    main()
