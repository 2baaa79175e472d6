"""Other people's streaming, fed as ours is: the same chunks, the same clock, the same accounts.

    asr-bench --table latency --live_peer whisper_streaming=REPOSITORY:WEIGHTS

whisper_streaming (Macháček et al. 2023, github.com/ufal/whisper_streaming) commits what two readings of a growing
buffer agree on. It runs on faster-whisper with weights in CTranslate2's format, here in 8 bits on the CPU.

SimulStreaming (Macháček and Polák 2025, github.com/ufal/SimulStreaming) stops at the first token whose attention is too
near the newest frame (AlignAtt). It runs on torch with a .pt file of OpenAI's.

In all else both are as they are. A word counts as emitted at the end of the chunk after which it was committed.
"""

import importlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr.audio.resample import SAMPLE_RATE
from asr.errors import NotFoundError, OptionError
from asr.runtime.result import Word
from asr.train.clips import Samples
from asr.train.feed import Heard
from asr.train.peers import LANGUAGE, package

CHUNK_S = 0.64
FRAME_THRESHOLD, LONGEST_S = 25, 30.0  # SimulStreaming's defaults

Words = list[tuple[float, float, str]]  # start and end in seconds, and the text with its space


class Online(Protocol):
    """One stream of a peer."""

    def accept(self, samples: Samples) -> Words:
        """What was committed after this chunk."""

    def finish(self) -> Words:
        """The rest."""


@dataclass(frozen=True)
class LivePeer:
    name: str
    open: Callable[[], Online]

    def hear(self, samples: Samples) -> Heard:
        """A whole recording."""
        return listen(self.open(), samples)


def open_live_peer(told: str, threads: int) -> LivePeer:
    """NAME=REPOSITORY:WEIGHTS. OptionError where it is none, NotFoundError where something is not there."""
    name, _, places = told.partition("=")
    repository, colon, weights = places.rpartition(":")
    if name not in PEERS or not colon:
        raise OptionError(f"a live peer is NAME=REPOSITORY:WEIGHTS with NAME one of {', '.join(PEERS)}, not {told!r}")
    file, build = PEERS[name]
    if not (Path(repository) / file).is_file():
        raise NotFoundError(f"{repository} is no clone of {name}: it has no {file}")
    if not Path(weights).exists():
        raise NotFoundError(f"no weights at {weights}")
    sys.path.insert(0, repository)
    return LivePeer(name, build(weights, threads))


def listen(online: Online, samples: Samples) -> Heard:
    """Feed it; what it commits is final at once."""
    heard = Heard(audio_s=samples.size / SAMPLE_RATE, segments=1)
    chunk = round(CHUNK_S * SAMPLE_RATE)
    begin_cpu = time.process_time()
    for first in range(0, samples.size, chunk):
        part = samples[first : first + chunk]
        begin = time.perf_counter()
        words = online.accept(part)
        heard.points_s.append(time.perf_counter() - begin)
        heard.interims += bool(words)
        heard.words += [
            Word(text, start_s, end_s, 0.0, (first + part.size) / SAMPLE_RATE) for start_s, end_s, text in words
        ]
    begin = time.perf_counter()
    rest = [Word(text, start_s, end_s, 0.0, heard.audio_s) for start_s, end_s, text in online.finish()]
    took_s = time.perf_counter() - begin
    heard.final_s = took_s + sum(heard.points_s[-1:])  # the last chunk is read when the speech is over
    heard.words += rest
    heard.at_close = len(rest)
    heard.wall_s = sum(heard.points_s) + took_s
    heard.cpu_s = time.process_time() - begin_cpu
    heard.text = "".join(word.text for word in heard.words)
    return heard


class WhisperStreaming:
    """Its OnlineASRProcessor."""

    def __init__(self, processor: Any):
        self.processor = processor
        self.taken = 0  # words of its list

    def accept(self, samples: Samples) -> Words:
        self.processor.insert_audio_chunk(samples)
        self.processor.process_iter()
        words: Words = self.processor.commited[self.taken :]
        self.taken = len(self.processor.commited)
        return words

    def finish(self) -> Words:
        words: Words = self.processor.transcript_buffer.complete()
        return words


def _whisper_streaming(weights: str, threads: int) -> Callable[[], Online]:
    faster_whisper = package("faster_whisper", "faster-whisper")
    module: Any = importlib.import_module("whisper_online")

    class OnTheCpu(module.FasterWhisperASR):  # type: ignore[misc]
        """Its own asks for a GPU."""

        def load_model(self, modelsize: str | None = None, cache_dir: str | None = None, model_dir: str = "") -> Any:
            return faster_whisper.WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=threads)

    recogniser = OnTheCpu(LANGUAGE, model_dir=weights)
    return lambda: WhisperStreaming(module.OnlineASRProcessor(recogniser))


class SimulStreaming:
    """Its SimulWhisperOnline, which is begun anew for each recording."""

    def __init__(self, online: Any):
        self.online = online
        self.online.init()

    def accept(self, samples: Samples) -> Words:
        self.online.insert_audio_chunk(samples)
        return self._words(self.online.process_iter())

    def finish(self) -> Words:
        return self._words(self.online.finish())

    def _words(self, said: dict[str, Any]) -> Words:
        return [(word["start"], word["end"], word["text"]) for word in said.get("words", ())]


def _simul_streaming(weights: str, threads: int) -> Callable[[], Online]:
    import torch

    torch.set_num_threads(threads)
    inner: Any = importlib.import_module("simulstreaming.whisper.simul_whisper.simul_whisper")
    whisper: Any = importlib.import_module("simulstreaming.whisper.simul_whisper.whisper")

    def load(name: str, download_root: str) -> Any:
        """Their own would fetch the file anew, and know its alignment heads only then."""
        model = whisper.load_model(weights, device="cpu")
        if heads := whisper._ALIGNMENT_HEADS.get(Path(weights).stem):
            model.set_alignment_heads(heads)
        return model

    inner.load_model = load
    module: Any = importlib.import_module("simulstreaming_whisper")
    logging.getLogger("simulstreaming").setLevel(logging.ERROR)
    recogniser = module.SimulWhisperASR(
        language=LANGUAGE, model_path=weights, cif_ckpt_path=None, frame_threshold=FRAME_THRESHOLD,
        audio_max_len=LONGEST_S, audio_min_len=0.0, segment_length=CHUNK_S, beams=1, task="transcribe",
        decoder_type="greedy", never_fire=False, init_prompt=None, static_init_prompt=None, max_context_tokens=None,
        logdir=None,
    )  # fmt: skip
    return lambda: SimulStreaming(module.SimulWhisperOnline(recogniser))


# a file of the clone, and how it is opened
PEERS: dict[str, tuple[str, Callable[[str, int], Callable[[], Online]]]] = {
    "whisper_streaming": ("whisper_online.py", _whisper_streaming),
    "SimulStreaming": ("simulstreaming_whisper.py", _simul_streaming),
}
