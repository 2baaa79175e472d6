import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.errors import NotFoundError, NotSupportedError, OptionError
from asr.train.peers import FASTER_WHISPER_BATCHES, open_batched_peer, open_model, open_peer

SILENCE = np.zeros(1600, np.float32)


class WhisperModel:
    """As faster-whisper's: segments come lazily, and the work is done as they are asked for."""

    opened: list[tuple[str, dict[str, Any]]]
    asked: list[dict[str, Any]]

    def __init__(self, weights: str, **settings: Any):
        if weights == "tiny.en":
            raise OSError("no network")
        self.opened.append((weights, settings))

    def transcribe(self, samples: NDArray[np.float32], **settings: Any) -> tuple[Iterator[Any], None]:
        def segments() -> Iterator[Any]:
            self.asked.append(settings)
            yield SimpleNamespace(text=" one")
            yield SimpleNamespace(text=" two")

        return segments(), None


class Decoder:
    """As PocketSphinx's."""

    fed: list[bytes]

    def __init__(self, **settings: Any):
        self.found: str | None = None

    def start_utt(self) -> None:
        self.found = None

    def process_raw(self, pcm: bytes, full_utt: bool) -> None:
        assert full_utt
        self.fed.append(pcm)
        self.found = "loud" if any(pcm) else None

    def end_utt(self) -> None:
        pass

    def hyp(self) -> Any:
        return self.found and SimpleNamespace(hypstr=self.found)


@pytest.fixture
def faster_whisper(monkeypatch: pytest.MonkeyPatch) -> type[WhisperModel]:
    module = SimpleNamespace(WhisperModel=WhisperModel, BatchedInferencePipeline=lambda model: model)
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    monkeypatch.setattr(WhisperModel, "opened", [], raising=False)
    monkeypatch.setattr(WhisperModel, "asked", [], raising=False)
    return WhisperModel


@pytest.fixture
def pocketsphinx(monkeypatch: pytest.MonkeyPatch) -> type[Decoder]:
    monkeypatch.setitem(sys.modules, "pocketsphinx", SimpleNamespace(Decoder=Decoder))
    monkeypatch.setattr(Decoder, "fed", [], raising=False)
    return Decoder


@pytest.mark.parametrize("package", ["faster_whisper", "pocketsphinx", "sherpa_onnx", "pywhispercpp"])
def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for module in (package, f"{package}.model"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    name = package.replace("_", "-")
    with pytest.raises(NotFoundError, match=f"pip install {name}"):
        open_peer(name, ["full"], 1)


@pytest.mark.parametrize("peer", ["whisper", "=weights", "name=", ""])
def test_an_unknown_peer_is_the_callers_fault(peer: str) -> None:
    with pytest.raises(OptionError, match="NAME=FOLDER"):
        open_peer(peer, ["full"], 1)


def test_faster_whisper_runs_plainly_with_both_beams(faster_whisper: type[WhisperModel], tmp_path: Path) -> None:
    systems = open_peer(f"faster-whisper={tmp_path}", ["full"], 3)
    assert [system.name for system in systems] == ["faster-whisper beam 1", "faster-whisper beam 5"]
    assert [system.transcribe(SILENCE) for system in systems] == ["one two"] * 2
    ((weights, settings),) = faster_whisper.opened  # loaded once for both
    assert weights == str(tmp_path)
    assert (settings["cpu_threads"], settings["compute_type"]) == (3, "int8")
    assert [asked["beam_size"] for asked in faster_whisper.asked] == [1, 5]
    for asked in faster_whisper.asked:
        assert asked["temperature"] == 0.0
        assert asked["condition_on_previous_text"] is False
        assert asked["vad_filter"] is False
        assert asked["language"] == "en"


def test_faster_whisper_finds_segments_itself_where_it_reads_several_at_once(
    faster_whisper: type[WhisperModel], tmp_path: Path
) -> None:
    systems = open_batched_peer(f"faster-whisper={tmp_path}", 2)
    assert [system.transcribe(SILENCE) for system in systems] == ["one two"] * len(FASTER_WHISPER_BATCHES)
    assert [(asked["batch_size"], asked["beam_size"]) for asked in faster_whisper.asked] == [*FASTER_WHISPER_BATCHES]
    assert all(asked["vad_filter"] is True for asked in faster_whisper.asked)
    ((_, settings),) = faster_whisper.opened
    assert settings["cpu_threads"] == 2


def test_others_do_not_read_several_at_once() -> None:
    assert open_batched_peer("pocketsphinx", 2) == []


def test_whisper_cpp_writes_its_segments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[Any] = []

    class Model:
        def __init__(self, weights: str, **settings: Any):
            opened.append((weights, settings["n_threads"]))

        def transcribe(self, samples: NDArray[np.float32], language: str) -> list[Any]:
            assert samples.dtype == np.float32
            return [SimpleNamespace(text=" one"), SimpleNamespace(text=" two")]

    monkeypatch.setitem(sys.modules, "pywhispercpp", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "pywhispercpp.model", SimpleNamespace(Model=Model))
    with pytest.raises(NotFoundError, match="ggml"):
        open_peer("pywhispercpp", ["full"], 2)
    weights = tmp_path / "ggml.bin"
    weights.touch()
    (system,) = open_peer(f"pywhispercpp={weights}", ["full"], 2)
    assert system.transcribe(SILENCE) == "one two"
    assert opened == [(str(weights), 2)]


def test_sherpa_onnx_takes_the_files_of_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[dict[str, Any]] = []

    class OfflineRecognizer:
        @classmethod
        def from_whisper(cls, **settings: Any) -> "OfflineRecognizer":
            opened.append(settings)
            return cls()

        def create_stream(self) -> Any:
            stream = SimpleNamespace(result=SimpleNamespace(text=""))
            stream.accept_waveform = lambda rate, samples: setattr(stream, "heard", (rate, samples.size))
            return stream

        def decode_stream(self, stream: Any) -> None:
            stream.result.text = f" {stream.heard[1]} samples at {stream.heard[0]}"

    monkeypatch.setitem(sys.modules, "sherpa_onnx", SimpleNamespace(OfflineRecognizer=OfflineRecognizer))
    with pytest.raises(NotFoundError, match="encoder"):
        open_peer(f"sherpa-onnx={tmp_path}", ["full"], 1)
    for name in ("tiny.en-encoder.int8.onnx", "tiny.en-decoder.int8.onnx", "tiny.en-tokens.txt"):
        (tmp_path / name).touch()
    (system,) = open_peer(f"sherpa-onnx={tmp_path}", ["full"], 1)
    assert system.transcribe(SILENCE) == "1600 samples at 16000"
    assert opened[0]["tokens"] == str(tmp_path / "tiny.en-tokens.txt")
    assert (opened[0]["language"], opened[0]["num_threads"]) == ("en", 1)


def test_what_a_peer_ran_with_is_on_record(faster_whisper: type[WhisperModel], tmp_path: Path) -> None:
    greedy, _ = open_peer(f"faster-whisper={tmp_path}", ["full"], 2)
    greedy.transcribe(SILENCE)
    assert greedy.settings == {**faster_whisper.opened[0][1], **faster_whisper.asked[0]}


@pytest.mark.usefixtures("faster_whisper")
def test_weights_that_are_not_there_make_a_peer_absent(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        open_peer(f"faster-whisper={tmp_path / 'nowhere'}", ["full"], 1)
    with pytest.raises(NotFoundError, match=r"tiny\.en: no network"):
        open_peer("faster-whisper", ["full"], 1)


def test_a_ctranslate2_folder_under_another_name_is_faster_whispers(
    faster_whisper: type[WhisperModel], tmp_path: Path
) -> None:
    (tmp_path / "model.bin").touch()
    systems = open_peer(f"base={tmp_path}", ["full"], 1)
    assert [system.name for system in systems] == ["base beam 1", "base beam 5"]


def test_pocketsphinx_gets_16_bit_samples(pocketsphinx: type[Decoder]) -> None:
    (system,) = open_peer("pocketsphinx", ["full"], 1)
    assert system.transcribe(np.array([0, 0.5, -1, 2], np.float32)) == "loud"
    assert np.frombuffer(pocketsphinx.fed[0], "<i2").tolist() == [0, 16383, -32767, 32767]


@pytest.mark.usefixtures("pocketsphinx")
def test_pocketsphinx_that_finds_nothing_writes_nothing() -> None:
    (system,) = open_peer("pocketsphinx", ["full"], 1)
    assert system.transcribe(SILENCE) == ""
    assert system.transcribe(np.zeros(0, np.float32)) == ""


def test_a_model_is_a_row_for_each_latency_mode(recognizer: Any, model: Path) -> None:
    recognizer.written = {100: "yes"}
    systems = open_model(model, ["full", "640ms"], 1)
    assert [system.name for system in systems] == ["tiny full", "tiny 640ms"]
    assert [system.transcribe(SILENCE) for system in systems] == ["yes", "yes"]
    assert [options.latency_mode for _, _, options in recognizer.heard] == ["full", "640ms"]


def test_another_folder_of_ours_goes_by_the_name_it_is_given(recognizer: Any, model: Path) -> None:
    (system,) = open_peer(f"before={model}", ["full"], 1)
    assert system.name == "before full"


@pytest.mark.usefixtures("recognizer")
def test_a_folder_or_a_mode_that_is_not_there_is_said(model: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        open_model(model / "nowhere", ["full"], 1)
    with pytest.raises(NotSupportedError, match=r"320ms.*it has full, 640ms"):
        open_model(model, ["full", "320ms"], 1)


def test_a_model_is_told_the_language_and_asked_for_finals_alone(recognizer: Any, model: Path) -> None:
    (system,) = open_model(model, ["full"], 1)
    system.transcribe(SILENCE)
    ((_, _, options),) = recognizer.heard
    assert options.language == "en"
    assert not options.interim
