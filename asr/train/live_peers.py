"""Other people's streaming, fed as ours is: the same packets of a chunk, the same clock, the same accounts.

    asr-bench --table latency --live_peer whisper_streaming=REPOSITORY:WEIGHTS

whisper_streaming (Macháček et al. 2023, github.com/ufal/whisper_streaming) commits what two readings of a growing
buffer agree on. It runs on faster-whisper with weights in CTranslate2's format, here in 8 bits on the CPU, in all else
as it is; each word counts as emitted at the end of the chunk after which it was committed.
"""

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.errors import NotFoundError, OptionError
from asr.runtime.result import Word
from asr.train.clips import Samples
from asr.train.feed import Heard
from asr.train.peers import LANGUAGE, SAMPLE_RATE, package

WHISPER_STREAMING = "whisper_streaming"


@dataclass(frozen=True)
class LivePeer:
    name: str
    hear: Callable[[Samples, float], Heard]  # a whole recording in chunks of so many seconds


def open_live_peer(told: str, threads: int) -> LivePeer:
    """NAME=REPOSITORY:WEIGHTS. OptionError where it is none, NotFoundError where something is not there."""
    name, _, places = told.partition("=")
    repository, colon, weights = places.rpartition(":")
    if name != WHISPER_STREAMING or not colon:
        raise OptionError(f"a live peer is {WHISPER_STREAMING}=REPOSITORY:WEIGHTS, not {told!r}")
    if not (Path(repository) / "whisper_online.py").is_file():
        raise NotFoundError(f"{repository} is no clone of whisper_streaming: it has no whisper_online.py")
    faster_whisper = package("faster_whisper", "faster-whisper")
    sys.path.insert(0, repository)
    module: Any = importlib.import_module("whisper_online")

    class OnTheCpu(module.FasterWhisperASR):  # type: ignore[misc]
        """Its own asks for a GPU."""

        def load_model(self, modelsize: str | None = None, cache_dir: str | None = None, model_dir: str = "") -> Any:
            return faster_whisper.WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=threads)

    recogniser = OnTheCpu(LANGUAGE, model_dir=weights)
    return LivePeer(name, lambda samples, chunk_s: listen(module.OnlineASRProcessor(recogniser), samples, chunk_s))


def listen(online: Any, samples: Samples, chunk_s: float) -> Heard:
    """Feed an OnlineASRProcessor; what it commits is final at once."""
    heard = Heard(audio_s=samples.size / SAMPLE_RATE)
    chunk = round(chunk_s * SAMPLE_RATE)
    committed = 0

    def take(emission_s: float, rest: Any = ()) -> None:
        nonlocal committed
        words = [*online.commited[committed:], *rest]
        committed = len(online.commited)
        heard.interims += bool(words)
        for start_s, end_s, text in words:
            heard.words.append(Word(text, start_s, end_s, 0.0, emission_s))

    begin_cpu = time.process_time()
    for first in range(0, samples.size, chunk):
        part = samples[first : first + chunk]
        begin = time.perf_counter()
        online.insert_audio_chunk(part)
        online.process_iter()
        heard.points_s.append(time.perf_counter() - begin)
        take((first + part.size) / SAMPLE_RATE)
    begin = time.perf_counter()
    rest = online.transcript_buffer.complete()
    online.finish()
    heard.final_s = time.perf_counter() - begin + heard.points_s[-1]  # its last chunk is read when it is over
    before = len(heard.words)
    take(samples.size / SAMPLE_RATE, rest)
    heard.at_close = len(heard.words) - before
    heard.wall_s = sum(heard.points_s)
    heard.cpu_s = time.process_time() - begin_cpu
    heard.segments = 1
    heard.text = "".join(word.text for word in heard.words)
    return heard
