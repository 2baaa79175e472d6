"""The systems that an evaluation compares: our exported folders, and other people's recognisers.

All are reduced to one call, samples in and text out, and get the same samples and the same number of threads. What each
ran with is in its `settings`. A peer that is not there raises NotFoundError, which says why.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import NotFoundError, NotSupportedError, OptionError
from asr.runtime.recognizer import Options, Recognizer

SAMPLE_RATE = 16_000
LANGUAGE = "en"  # of the sets, and of the normaliser they are scored with
FASTER_WHISPER_WEIGHTS = "tiny.en"  # fetched by this name where no folder is given
FASTER_WHISPER_BEAMS = (1, 5)

Settings = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class System:
    name: str
    transcribe: Callable[[NDArray[np.float32]], str]  # (n,) mono at 16 kHz to text
    settings: Settings = field(default_factory=dict)  # what it ran with, for the record


def open_model(folder: Path, modes: Sequence[str], threads: int, name: str = "") -> list[System]:
    """An exported folder of ours, once for each latency mode. Called `name`, or what the folder calls itself.

    Raises NotFoundError where there is no folder, FormatError where it is damaged, NotSupportedError for a
    latency mode that it lacks.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no exported model at {folder}: expected a folder with model.json")
    recognizer = Recognizer.load(folder, threads)
    bundle = recognizer.bundle
    if bundle.sample_rate != SAMPLE_RATE:
        raise NotSupportedError(f"{folder} hears {bundle.sample_rate} Hz, but evaluation gives {SAMPLE_RATE} Hz")
    if missing := [mode for mode in modes if mode not in bundle.latency_modes]:
        raise NotSupportedError(
            f"{folder} has no latency mode {', '.join(missing)}; it has {', '.join(bundle.latency_modes)}"
        )
    return [_ours(recognizer, mode, name or bundle.name, folder) for mode in modes]


def open_peer(peer: str, modes: Sequence[str], threads: int) -> list[System]:
    """The rows of one `--peer`: a known name, that name with `=WEIGHTS`, or NAME=FOLDER of ours.

    Raises NotFoundError where its package or its weights are not there, OptionError where `peer` is none of these; and
    what open_model raises.
    """
    name, _, path = peer.partition("=")
    if name == "faster-whisper":
        return _faster_whisper(name, path, threads)
    if peer == "pocketsphinx":
        return [_pocketsphinx()]
    if not name or not path:
        raise OptionError(f"unknown peer {peer!r}: expected faster-whisper, pocketsphinx or NAME=FOLDER")
    if (Path(path) / "model.bin").is_file():  # CTranslate2's folder, not ours
        return _faster_whisper(name, path, threads)
    return open_model(Path(path), modes, threads, name)


def _ours(recognizer: Recognizer, mode: str, name: str, folder: Path) -> System:
    # The peers are told the language, so a model of several languages is told too.
    language = LANGUAGE if LANGUAGE in recognizer.bundle.languages else ""
    # Interims are for people who watch: a scored transcript is made of finals alone.
    options = Options(latency_mode=mode, language=language, interim=False)
    return System(
        name=f"{name} {mode}",
        transcribe=lambda samples: recognizer.transcribe(samples, options).text,
        settings={"folder": str(folder), "latency_mode": mode, "language": language},
    )


def _faster_whisper(name: str, weights: str, threads: int) -> list[System]:
    """faster-whisper in 8 bits, a row for each beam: no second try at a higher temperature, no text carried over."""
    faster_whisper = package("faster_whisper", "faster-whisper")
    if weights and not Path(weights).is_dir():
        raise NotFoundError(f"no weights at {weights}: expected a folder in CTranslate2's format")
    load: dict[str, Any] = {"device": "cpu", "compute_type": "int8", "cpu_threads": threads, "num_workers": 1}
    try:
        model = faster_whisper.WhisperModel(weights or FASTER_WHISPER_WEIGHTS, **load)
    except Exception as error:  # its downloads and its weights fail in many ways; to us each means that it is not there
        raise NotFoundError(f"faster-whisper could not open {weights or FASTER_WHISPER_WEIGHTS}: {error}") from error
    return [_beam(model, f"{name} beam {size}", size, load) for size in FASTER_WHISPER_BEAMS]


def _beam(model: Any, name: str, size: int, load: dict[str, Any]) -> System:
    decode: Settings = {
        "language": LANGUAGE,
        "beam_size": size,
        "temperature": 0.0,  # a single one, so there is nothing to fall back to
        "condition_on_previous_text": False,
        "vad_filter": False,
    }

    def transcribe(samples: NDArray[np.float32]) -> str:
        segments, _ = model.transcribe(samples, **decode)
        return "".join(segment.text for segment in segments).strip()

    return System(name, transcribe, {**load, **decode})


def _pocketsphinx() -> System:
    """PocketSphinx with the English model in its package. It has one thread, whatever was asked for."""
    pocketsphinx = package("pocketsphinx", "pocketsphinx")
    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def transcribe(samples: NDArray[np.float32]) -> str:
        if not len(samples):
            return ""
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)  # normalised over the whole utterance: its best case, and no memory
        decoder.end_utt()
        found = decoder.hyp()
        return str(found.hypstr) if found else ""

    return System("pocketsphinx", transcribe, {"samprate": SAMPLE_RATE, "full_utt": True, "threads": 1})


def package(module: str, distribution: str) -> Any:
    """Import a peer only when it is asked for: none of them is a dependency of ours."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotFoundError(f"{distribution} is not installed: pip install {distribution} ({error})") from error
