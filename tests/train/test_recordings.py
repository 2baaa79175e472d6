import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.errors import AudioError
from asr.train import recordings
from asr.train.manifest import Utterance, load
from asr.train.recordings import open_recordings

RATE = 16_000
STEP = 2**-15  # of 16 bits


def record(path: Path, duration_s: float = 0.3, rate: int = RATE) -> Utterance:
    """Noise of its own."""
    samples = np.random.default_rng(round(1000 * duration_s)).uniform(-0.9, 0.9, round(duration_s * rate))
    soundfile.write(path, samples, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return Utterance(path, path.stem, "", "", duration_s, "", "")


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    return [record(tmp_path / f"{number}.wav", 0.2 + number / 50) for number in range(5)]


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(utterance: Utterance) -> None:
        raise AssertionError(f"{utterance.id} is decoded again")

    monkeypatch.setattr(recordings, "load", refuse)


def assert_heard(opened: recordings.Recordings, utterances: list[Utterance]) -> None:
    assert [one.id for one in opened.utterances] == [one.id for one in utterances]
    for samples, utterance in zip(opened, utterances, strict=True):
        assert samples.dtype == np.float32
        np.testing.assert_allclose(samples, load(utterance), atol=STEP)


def test_without_a_cache_samples_are_the_files(utterances: list[Utterance]) -> None:
    opened = open_recordings({"a": utterances[:2], "b": utterances[2:]})
    assert list(opened.sets) == ["a", "a", "b", "b", "b"]
    np.testing.assert_array_equal(opened[3], load(utterances[3]))


def test_a_cache_changes_no_more_than_16_bits_do(utterances: list[Utterance], cache: str) -> None:
    assert_heard(open_recordings({"a": utterances}, cache), utterances)


def test_the_next_run_decodes_nothing(utterances: list[Utterance], cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = list(open_recordings({"a": utterances}, cache))
    nothing_is_decoded(monkeypatch)
    again = open_recordings({"a": utterances[::-1]}, cache)
    for samples, before in zip(again, first[::-1], strict=True):
        np.testing.assert_array_equal(samples, before)


def test_a_cache_grows_by_what_is_new(utterances: list[Utterance], cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_recordings({"a": utterances[:2]}, cache)
    decoded = []
    monkeypatch.setattr(recordings, "load", lambda one: decoded.append(one.id) or load(one))
    opened = open_recordings({"a": utterances}, cache)
    assert decoded == ["2", "3", "4"]
    assert_heard(opened, utterances)


def test_a_file_that_changed_is_decoded_anew(utterances: list[Utterance], cache: str) -> None:
    open_recordings({"a": utterances}, cache)
    utterances[1] = record(utterances[1].audio, 0.7)
    opened = open_recordings({"a": utterances}, cache)
    assert_heard(opened, utterances)
    assert opened.utterances[1].duration_s == 0.7


def test_the_cache_knows_durations_better_than_the_manifest(tmp_path: Path, cache: str) -> None:
    record(tmp_path / "a.wav", 0.5)
    wrong = Utterance(tmp_path / "a.wav", "a", "", "", 3.0, "", "")
    (utterance,) = open_recordings({"a": [wrong]}, cache).utterances
    assert utterance.duration_s == 0.5


def test_packs_of_any_size_hold_the_same(
    utterances: list[Utterance], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PACK_S", 0.4)
    assert_heard(open_recordings({"a": utterances}, cache), utterances)
    assert len(list(Path(cache).glob("*.pcm"))) == 3
    nothing_is_decoded(monkeypatch)
    open_recordings({"a": utterances}, cache)


def test_many_are_decoded_by_several_processes_in_order(
    tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "FEW", 2)
    monkeypatch.setattr(recordings, "_cores", lambda: 2)
    many = [record(tmp_path / f"{number}.wav", 0.05 + number / 100) for number in range(40)]
    assert_heard(open_recordings({"a": many}, cache), many)


def faulty(folder: Path) -> list[Utterance]:
    """Nothing is right with any of them but the first."""
    for name, content in (("empty", b""), ("corrupt", b"RIFF....WAVEno audio")):
        (folder / f"{name}.wav").write_bytes(content)
    silent = record(folder / "silent.wav", 0.0)
    unreadable = [Utterance(folder / f"{n}.wav", n, "", "", 1.0, "", "") for n in ("empty", "corrupt", "gone")]
    return [record(folder / "good.wav", 0.5), *unreadable, silent, record(folder / "short.wav", 0.05)]


def test_what_cannot_be_used_is_left_out_with_its_reason(tmp_path: Path, cache: str) -> None:
    utterances = [*faulty(tmp_path), record(tmp_path / "long.wav", 2.0)]
    for _ in range(2):  # decoded, and from the cache
        opened = open_recordings({"a": utterances}, cache, shortest_s=0.1, longest_s=1.0)
        assert [one.id for one in opened.utterances] == ["good"]
        faults = dict(zip(["empty", "corrupt", "gone", "silent", "short", "long"], opened.complaints, strict=True))
        assert all(name in fault for name, fault in faults.items())
        assert "empty" in faults["empty"]
        assert "not there" in faults["gone"]
        assert "no samples" in faults["silent"]
        assert "2.00 s" in faults["long"]
        assert "0.1 to 1 s" in faults["short"]


def test_a_recording_that_was_missing_is_read_when_it_comes(tmp_path: Path, cache: str) -> None:
    late = Utterance(tmp_path / "late.wav", "late", "", "", 0.5, "", "")
    assert len(open_recordings({"a": [late]}, cache)) == 0
    record(late.audio, 0.5)
    assert_heard(open_recordings({"a": [late]}, cache), [late])


def test_without_a_cache_faults_show_when_samples_are_asked_for(tmp_path: Path) -> None:
    utterances = faulty(tmp_path)[:4]
    lying = Utterance(record(tmp_path / "long.wav", 2.0).audio, "long", "", "", 0.5, "", "")
    opened = open_recordings({"a": [*utterances, lying]}, shortest_s=0.1, longest_s=1.0)
    assert len(opened[0]) == 8000
    for index in range(1, 5):
        with pytest.raises(AudioError, match=opened.utterances[index].audio.name):
            opened[index]


@pytest.mark.parametrize("cached", [True, False])
def test_a_sample_more_than_the_longest_is_cut(tmp_path: Path, cache: str, cached: bool) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(RATE + 1, 0.1), RATE)
    utterance = Utterance(tmp_path / "a.wav", "a", "", "", 1.0, "", "")
    opened = open_recordings({"a": [utterance]}, cache if cached else "", longest_s=1.0)
    assert (len(opened[0]), opened.utterances[0].duration_s) == (RATE, 1.0)


def test_two_processes_may_fill_one_cache(utterances: list[Utterance], cache: str) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        both = [executor.submit(open_recordings, {"a": utterances}, cache) for _ in range(2)]
        for one in both:
            assert_heard(one.result(), utterances)
    assert_heard(open_recordings({"a": utterances}, cache), utterances)


@pytest.mark.parametrize("kind", ["pcm", "jsonl"])
def test_a_damaged_pack_is_decoded_anew(utterances: list[Utterance], cache: str, kind: str) -> None:
    open_recordings({"a": utterances}, cache)
    (damaged,) = Path(cache).glob(f"*.{kind}")
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert_heard(open_recordings({"a": utterances}, cache), utterances)


def test_a_pack_that_was_never_finished_is_not_looked_at(
    utterances: list[Utterance], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(utterance: Utterance) -> None:
        if utterance.id == "3":
            raise KeyboardInterrupt
        return load(utterance)

    with monkeypatch.context() as patch:
        patch.setattr(recordings, "load", killed)
        with pytest.raises(KeyboardInterrupt):
            open_recordings({"a": utterances}, cache)
    assert_heard(open_recordings({"a": utterances}, cache), utterances)
