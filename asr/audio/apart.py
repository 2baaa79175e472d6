"""Files decoded in another process: a decoder that crashes or runs wild takes nobody with it.

`ApartRecording` is what decode.open_recording gives, for a few milliseconds more. What may
happen on the other side, and what limits it there, stands in decoder.py.
"""

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from asr import errors
from asr.audio.dialogue import ERROR, FAULT, HEADER, LENGTH, SAMPLES, receive_frame
from asr.audio.header import Header
from asr.errors import AudioError, HeedError

STALL_S = 120.0  # computing is limited over there; this is for a machine on which nothing runs any more
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG")  # of the environment; there may be secrets in the rest


class ApartRecording:
    """A file whose bytes are with a decoder: its header is known, its samples can be read once."""

    def __init__(self, content: bytes):
        self.peer = mould().child()
        self.hang_up = weakref.finalize(self, self.peer.close)  # and the child ends, wherever it is
        try:
            self.peer.sendall(LENGTH.pack(len(content)))
            self.peer.sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it will have said why, or died
        kind, said = self._receive()
        if kind != HEADER:
            raise RuntimeError("the decoder began with something else than a header")
        fields = json.loads(said)
        self.header = Header(**{**fields, "other_rates": tuple(fields["other_rates"])})

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n,) float32 at 16 kHz in [-1, 1], about half a second each."""
        while True:
            kind, content = self._receive()
            if kind != SAMPLES:
                return
            yield np.frombuffer(content, "<f4")

    def _receive(self) -> tuple[bytes, bytes]:
        """The decoder's next HEADER, SAMPLES or END. Its errors are raised here."""
        try:
            kind, content = receive_frame(self.peer)
        except (EOFError, ConnectionResetError):
            raise AudioError(
                "the decoder gave up on this file, which is damaged, or made to harm: it crashed, or needed far more "
                "time than any recording does"
            ) from None
        except TimeoutError:
            raise AudioError(f"the decoder has said nothing of this file for {STALL_S:g} s: send it later") from None
        if kind == ERROR:
            raise error_of(content.decode())
        if kind == FAULT:
            raise RuntimeError(f"the decoder failed:\n{content.decode()}")
        return kind, content


class Mould:
    """The process that forks itself for each file; started when the first one comes, if not before, and again when it
    died."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # files come from many threads
        self.process: subprocess.Popen[bytes] | None = None
        self.requests: socket.socket | None = None

    def prepare(self) -> None:
        """Start it now, so that it is ready when the first file comes; who asks does not wait for it."""
        with self.lock:
            self._be_there()

    def child(self) -> socket.socket:
        """A line to a new child."""
        ours, theirs = socket.socketpair()
        ours.settimeout(STALL_S)
        with theirs, self.lock:
            self._be_there()
            assert self.requests is not None
            socket.send_fds(self.requests, [b"\0"], [theirs.fileno()])
        return ours

    def stop(self) -> None:
        """Hang up; it ends when nobody can ask any more. Children that still decode go on."""
        with self.lock:
            if self.process is not None and self.requests is not None:
                self.requests.close()
                self.process.wait()
                self.process = self.requests = None

    def _be_there(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self._start()

    def _start(self) -> None:
        if self.requests is not None:
            self.requests.close()
        self.requests, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "asr.audio.decoder"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # the terminal's Ctrl-C is for the server, which drains
            )


@functools.cache
def mould() -> Mould:
    """The one of this process."""
    only = Mould()
    atexit.register(only.stop)
    return only


def error_of(said: str) -> HeedError:
    name, _, message = said.partition("\n")
    kind = getattr(errors, name, AudioError)
    return kind(message) if isinstance(kind, type) and issubclass(kind, HeedError) else AudioError(message)
