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

from asr.audio.resample import SAMPLE_RATE
from asr.errors import NotFoundError, NotSupportedError, OptionError
from asr.runtime.recognizer import Options, Recognizer

LANGUAGE = "en"  # of the sets, and of the normaliser they are scored with
FASTER_WHISPER_WEIGHTS = "tiny.en"  # fetched by this name where no folder is given
FASTER_WHISPER_BEAMS = (1, 5)
FASTER_WHISPER_BATCHES = ((8, 1), (16, 1), (16, 5))  # segments at once, beam: of a long recording

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
    return [ours(recognizer, mode, name or bundle.name, folder) for mode in modes]


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
    if name == "pywhispercpp":
        return [_whisper_cpp(path, threads)]
    if name == "sherpa-onnx":
        return [_sherpa_onnx(path, threads)]
    if not name or not path:
        raise OptionError(
            f"unknown peer {peer!r}: expected faster-whisper, pocketsphinx, pywhispercpp=FILE, sherpa-onnx=FOLDER or "
            "NAME=FOLDER"
        )
    if (Path(path) / "model.bin").is_file():  # CTranslate2's folder, not ours
        return _faster_whisper(name, path, threads)
    return open_model(Path(path), modes, threads, name)


def open_batched_peer(peer: str, threads: int) -> list[System]:
    """The rows of one `--peer` that reads many segments of a long recording at once; none where it cannot. Raises as
    open_peer does."""
    name, _, weights = peer.partition("=")
    if name != "faster-whisper":
        return []
    model, load = _open_faster_whisper(weights, threads)
    pipeline = package("faster_whisper", "faster-whisper").BatchedInferencePipeline(model)
    return [
        # its own voice activity detection tells it where segments are: it has no other way
        _decoding(pipeline, f"{name} batch {size} beam {beam}", load, beam, vad_filter=True, batch_size=size)
        for size, beam in FASTER_WHISPER_BATCHES
    ]


def ours(recognizer: Recognizer, mode: str, name: str, folder: Path | None, abreast: int = 1) -> System:
    language = language_of(recognizer)
    # Interims are for people who watch: a scored transcript is made of finals alone.
    options = Options(latency_mode=mode, language=language, interim=False)
    return System(
        name=f"{name} {mode}",
        transcribe=lambda samples: recognizer.transcribe(samples, options, abreast).text,
        settings={"folder": str(folder), "latency_mode": mode, "language": language, "abreast": abreast},
    )


def language_of(recognizer: Recognizer) -> str:
    """What ours is told: the peers are told the language, so a model of several languages is told too."""
    return LANGUAGE if LANGUAGE in recognizer.bundle.languages else ""


def _faster_whisper(name: str, weights: str, threads: int) -> list[System]:
    """faster-whisper in 8 bits, a row for each beam: no second try at a higher temperature, no text carried over."""
    model, load = _open_faster_whisper(weights, threads)
    return [_decoding(model, f"{name} beam {size}", load, size, vad_filter=False) for size in FASTER_WHISPER_BEAMS]


def faster_whisper_words(weights: str, threads: int) -> Callable[[NDArray[np.float32]], list[Any]]:
    """Samples (n,) to its segments, whose words have times and probabilities, by a beam of 5. NotFoundError where it or
    its weights are not there."""
    model, _ = _open_faster_whisper(weights, threads)

    def transcribe(samples: NDArray[np.float32]) -> list[Any]:
        segments, _ = model.transcribe(
            samples, language=LANGUAGE, beam_size=5, temperature=0.0, condition_on_previous_text=False,
            word_timestamps=True,
        )  # fmt: skip
        return list(segments)

    return transcribe


def _open_faster_whisper(weights: str, threads: int) -> tuple[Any, dict[str, Any]]:
    """The model, and how it was opened."""
    faster_whisper = package("faster_whisper", "faster-whisper")
    if weights and not Path(weights).is_dir():
        raise NotFoundError(f"no weights at {weights}: expected a folder in CTranslate2's format")
    load: dict[str, Any] = {"device": "cpu", "compute_type": "int8", "cpu_threads": threads, "num_workers": 1}
    try:
        return faster_whisper.WhisperModel(weights or FASTER_WHISPER_WEIGHTS, **load), load
    except Exception as error:  # its downloads and its weights fail in many ways; to us each means that it is not there
        raise NotFoundError(f"faster-whisper could not open {weights or FASTER_WHISPER_WEIGHTS}: {error}") from error


def _decoding(model: Any, name: str, load: dict[str, Any], beam: int, **more: Any) -> System:
    decode: Settings = {
        "language": LANGUAGE,
        "beam_size": beam,
        "temperature": 0.0,  # a single one, so there is nothing to fall back to
        "condition_on_previous_text": False,
        **more,
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
        pocketsphinx_reads(decoder, samples)
        found = decoder.hyp()
        return str(found.hypstr) if found else ""

    return System("pocketsphinx", transcribe, {"samprate": SAMPLE_RATE, "full_utt": True, "threads": 1})


def pocketsphinx_reads(decoder: Any, samples: NDArray[np.float32]) -> None:
    """A whole utterance (n,), which it normalises over all of it: its best case, and no memory."""
    decoder.start_utt()
    decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()


def _whisper_cpp(weights: str, threads: int) -> System:
    """whisper.cpp through its Python binding, greedy, with weights in its own format."""
    model_class = package("pywhispercpp.model", "pywhispercpp").Model
    if not Path(weights).is_file():
        raise NotFoundError(f"no weights at {weights or 'pywhispercpp='}: expected a ggml file")
    model = model_class(weights, n_threads=threads, print_progress=False, print_realtime=False)

    def transcribe(samples: NDArray[np.float32]) -> str:
        return "".join(segment.text for segment in model.transcribe(samples, language=LANGUAGE)).strip()

    return System("whisper.cpp", transcribe, {"weights": weights, "threads": threads})


def _sherpa_onnx(weights: str, threads: int) -> System:
    """sherpa-onnx with a folder that its own export of a Whisper wrote. It hears 30 s at most."""
    sherpa_onnx = package("sherpa_onnx", "sherpa-onnx")
    files = {}
    for part, pattern in (
        ("encoder", "*encoder*int8*.onnx"),
        ("decoder", "*decoder*int8*.onnx"),
        ("tokens", "*tokens*"),
    ):
        found = sorted(Path(weights).glob(pattern)) if weights else []
        if not found:
            raise NotFoundError(f"no weights at {weights or 'sherpa-onnx='}: expected a folder with {pattern}")
        files[part] = str(found[0])
    recognizer = sherpa_onnx.OfflineRecognizer.from_whisper(
        **files, language=LANGUAGE, task="transcribe", num_threads=threads
    )

    def transcribe(samples: NDArray[np.float32]) -> str:
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLE_RATE, samples)
        recognizer.decode_stream(stream)
        return str(stream.result.text).strip()

    return System("sherpa-onnx", transcribe, {**files, "threads": threads})


def package(module: str, distribution: str) -> Any:
    """Import a peer only when it is asked for: none of them is a dependency of ours."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotFoundError(f"{distribution} is not installed: pip install {distribution} ({error})") from error
