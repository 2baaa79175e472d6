import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import soundfile

from asr.errors import NotFoundError, OptionError
from asr.runtime.known import Known
from asr.runtime.recognizer import Options
from asr.runtime.result import Alignment, Alternative, Cursors, Event, Kind, Result, Row, Update, Word
from asr.v1 import speech_pb2, speech_pb2_grpc
from server import main
from server.calls import Calls
from server.security import Guard, read_tokens
from server.settings import ServerSettings

RATE = 16_000
WAIT_S = 20  # for what must happen; nothing is measured by it
LONGEST_S = 30
MODES = {"full": 0, "1280ms": 64, "640ms": 32, "320ms": 16}


def nothing() -> None:
    """What a fake does beside its work, unless a test says otherwise."""


@dataclass
class FakeRecognizer:
    """Hears a word in every second of audio, whatever was said; remembers what it was asked and given."""

    name: str = "fake"
    word: str = " heard"
    others: tuple[str, ...] = ()  # what else it may be, as far as alternatives are asked for
    tokens: int = 1  # rows of each result's alignment
    beside: object = nothing  # called in each piece of work
    asked: list[Options] = field(default_factory=list)
    streams: list["FakeStream"] = field(default_factory=list)

    @property
    def bundle(self):
        return SimpleNamespace(
            name=self.name,
            languages=("en",),
            sample_rate=RATE,
            max_samples=LONGEST_S * RATE,
            latency_modes=MODES,
            licence="MIT",
            provenance="made up",
            measured={"clean": 5.5},
            decoder_heads=2,
        )

    def align(self, samples, text: str, options: Options) -> Known:
        """Each word takes a second."""
        if not text.strip():
            raise OptionError("there is no text to align")
        self.asked.append(options)
        words = tuple(Word(f" {text}", float(at), at + 1.0, 0.75, 0.0) for at, text in enumerate(text.split()))
        rows = tuple(row_at(index, 50 * index, is_final=True) for index in range(len(words)))
        said = "".join(word.text for word in words)
        return Known(said, (7,) * len(words), words, Alignment(0.02, 0.0, rows), 0.75, -0.5, "en", samples.size / RATE)

    def check(self, options: Options) -> None:
        if options.latency_mode not in MODES:
            raise OptionError(f"no latency mode {options.latency_mode}")
        if options.language not in ("", "auto", "en", "en-us"):
            raise NotFoundError(f"no language {options.language}")

    def beam_of(self, options: Options) -> None:
        return None

    def stream(self, options: Options, start: int = 0, beam: None = None) -> "FakeStream":
        self.asked.append(options)
        self.check(options)
        self.streams.append(FakeStream(self, options, start))
        return self.streams[-1]


def row_at(row_id: int, offset: int, is_final: bool, heads: bool = False) -> Row:
    """Looks most at its fourth frame."""
    weights = np.array([0, 0.125, 0.25, 0.5, 0.125, 0], np.float32)
    every = np.arange(12, dtype=np.float32).reshape(1, 2, 6) if heads else None
    return Row(7, " heard", row_id, weights, 1.0, not is_final, offset, heads=every)


class FakeStream:
    def __init__(self, recognizer: FakeRecognizer, options: Options, start: int):
        self.recognizer = recognizer
        self.options = options
        self.start = start
        self.received = 0
        self.interims = 0
        self.finals = 0  # samples that finals have spoken of
        self.finished = False

    def accept(self, samples):
        assert not self.finished
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        self.recognizer.beside()
        self.received += samples.size
        timeout_s = self.options.start_timeout_s
        if timeout_s is not None and self.received / RATE >= timeout_s:
            self.finished = True
            return [Update((), self.cursors, Event(Kind.TIMEOUT, timeout_s))]
        seconds = self.received // RATE
        if not self.options.interim or seconds <= self.interims:
            return []
        self.interims = seconds
        return [Update((self._result(False),), self.cursors)]

    def flush(self):
        return [*self._final(), Update((), self.cursors, Event(Kind.FLUSHED, self.received / RATE))]

    def finish(self):
        self.recognizer.beside()
        return self._final()

    def _final(self):
        if self.received == self.finals:
            return []
        result = self._result(True)
        self.finals = self.received
        return [Update((result,), self.cursors)]

    def _rows(self, is_final):
        heads = self.options.heads
        return tuple(row_at(index, 0, is_final, heads) for index in range(self.recognizer.tokens))

    @property
    def waits_for(self):
        return RATE - self.received % RATE

    @property
    def cursors(self):
        return Cursors(self.received / RATE, self.received / RATE, self.finals / RATE)

    def _result(self, is_final):
        start_s, end_s = (self.start + self.finals) / RATE, (self.start + self.received) / RATE
        return Result(
            text=self.recognizer.word,
            tokens=(7,),
            words=(Word(self.recognizer.word, start_s, end_s, 0.75, end_s),),
            start_s=start_s,
            end_s=end_s,
            emission_s=end_s,
            is_final=is_final,
            stability=0.0 if is_final else 1.0,
            language="en",
            avg_logprob=-0.5,
            no_speech_prob=0.01,
            alignment=Alignment(0.02, start_s, self._rows(is_final)) if self.options.alignment else None,
            alternatives=tuple(
                Alternative(text, (8,), (), -0.75, 0.5)
                for text in self.recognizer.others[: self.options.alternatives - 1]
            ),
        )


class Running:
    """A real server on a real socket, its event loop in a thread of its own."""

    def __init__(self, settings: ServerSettings, models: dict[str, FakeRecognizer]):
        self.settings = settings
        self.models = models
        tokens = read_tokens(settings.tokens) if settings.tokens else []
        self.calls = Calls(settings.max_streams, Guard(tokens, settings.max_streams_per_caller))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.workers = ThreadPoolExecutor(settings.workers)

    def run(self, coroutine):
        """On the server's loop, from here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT_S)

    def start(self):
        self.thread.start()
        self.run(self._start())
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self.channel = grpc.insecure_channel(self.address, options)
        self.stub = speech_pb2_grpc.SpeechRecognitionStub(self.channel)

    async def _start(self):
        self.server, self.health = main.build(self.settings, self.models, self.workers, self.calls)
        self.address = f"127.0.0.1:{main.listen(self.server, self.settings)}"
        await self.health.set(main.SERVICE, 1)
        await self.server.start()

    async def drain(self, grace_s=0.0):
        await self.calls.drain(grace_s, asyncio.Event())

    def stop(self):
        self.channel.close()
        self.run(self.drain())
        self.run(self.server.stop(None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()
        self.workers.shutdown()


@pytest.fixture
def serve(tmp_path):
    """Start a server with a fake model: serve(recognizer, max_streams=1, ...) gives it, running."""
    started = []

    def start(recognizer=None, **settings):
        recognizer = recognizer or FakeRecognizer()
        running = Running(
            ServerSettings(**{"model": [tmp_path], "port": 0, "workers": 2, **settings}),
            {recognizer.bundle.name: recognizer},
        )
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def speech_log(caplog):
    caplog.set_level("INFO", "asr.server")
    return caplog


@pytest.fixture(scope="session")
def fake() -> type[FakeRecognizer]:
    return FakeRecognizer


@pytest.fixture(scope="session")
def pcm():
    """So many seconds of raw LINEAR16 silence."""

    def make(seconds: float, rate: int = RATE, channels: int = 1) -> bytes:
        return np.zeros((round(seconds * rate), channels), "<i2").tobytes()

    return make


@pytest.fixture(scope="session")
def recording():
    """The bytes of a silent file."""

    def make(seconds, rate=RATE, channels=1, container="WAV", codec="PCM_16") -> bytes:
        file = io.BytesIO()
        samples = np.zeros((round(seconds * rate), channels))
        soundfile.write(file, samples, rate, format=container, subtype=codec)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def whole():
    """A request of Recognize: whole(content, **config)."""

    def make(content: bytes, **config) -> speech_pb2.RecognizeRequest:
        return speech_pb2.RecognizeRequest(config=config, audio_content=content)

    return make


@pytest.fixture(scope="session")
def live():
    """The requests of StreamingRecognize: live([packet, "flush", gate, ...], interim=True, **config). At a gate, an
    Event, they wait until it opens."""

    def make(parts=(), interim: bool = True, **config):
        config = {"encoding": "LINEAR16", "sample_rate_hertz": RATE, **config}
        yield speech_pb2.StreamingRecognizeRequest(streaming_config={"config": config, "interim_results": interim})
        for part in parts:
            if isinstance(part, threading.Event):
                part.wait(WAIT_S)
            elif part == "flush":
                yield speech_pb2.StreamingRecognizeRequest(flush={})
            else:
                yield speech_pb2.StreamingRecognizeRequest(audio_content=part)

    return make
