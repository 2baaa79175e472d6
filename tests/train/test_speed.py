"""The table of speeds, over the model that hears tones: what is compared with what. Processes are small programs."""

import sys

import numpy as np
import pytest
import soundfile

from asr.errors import NotFoundError, NotSupportedError
from asr.train import footprint, processes, speed
from asr.train.clips import Clip, joined
from asr.train.manifest import Utterance
from asr.train.peers import System
from asr.train.speed import Speed, SpeedPlan, as_text, beside

RATE = 16_000


@pytest.fixture
def plan(hearing, speak, tmp_path):
    """Utterances of 2.9 and 11.8 s, and no peer."""

    def utterance(text):
        path = tmp_path / f"{text}.wav"
        samples = speak(text)
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        return Utterance(path, text, " ".join(text), "", samples.size / RATE, "", "")

    speech = {"a": [utterance("abcdefghijkl"), utterance("abcdefghijklmnopqrstsrqponmlkjihgfedcbacegikmoqs")]}
    return lambda *peers, **changes: SpeedPlan(
        **{"recognizer": hearing(), "folder": None, "speech": speech, "limit": None, "threads": 1, "minutes": 0.7,
           "peers": peers, "python": sys.executable, "peer_python": sys.executable, **changes}
    )  # fmt: skip


@pytest.fixture
def peer(monkeypatch):
    """A peer that hears nothing, and keeps what it was given."""
    given = []
    system = System("peer", lambda samples: given.append(samples.size) or "")
    monkeypatch.setattr(speed, "open_peer", lambda told, modes, threads: [system] if told == "peer" else absent(told))
    monkeypatch.setattr(speed, "open_batched_peer", lambda told, threads: [system])
    return given


def absent(told):
    raise NotFoundError(f"{told} is not installed")


def test_short_utterances_alone_are_compared_and_who_is_absent_is_said(plan, peer):
    rows = list(speed.short(plan("peer")))
    assert [row.system for row in rows] == ["tones full", "peer", *speed.OTHERS]
    ours, theirs, *others = rows
    assert (ours.wer, theirs.wer) == (0.0, 100.0)
    assert ours.times is None
    assert theirs.times == pytest.approx(theirs.value / ours.value)
    assert set(peer) == {round(12 * 0.24 * RATE)}, "twelve words, and not the long one"
    assert all(row.value is None and "is not installed" in row.note for row in others)


def test_a_long_recording_is_made_of_many_and_read_side_by_side(plan, peer):
    ours, theirs = speed.long(plan("peer"))
    assert ours.wer == 0.0
    assert theirs.wer == 100.0
    assert max(peer) >= 0.7 * 60 * RATE
    assert "0.7 minutes" in theirs.note or "0.8 minutes" in theirs.note


def test_a_long_recording_says_its_clips_again_and_again_with_pauses():
    clips = [Clip("one", np.ones(RATE, np.float32)), Clip("two", np.ones(RATE, np.float32))]
    whole = joined(clips, 6.0)
    assert whole.text == "one two one"
    assert whole.samples.size == round((1 + 0.4 + 1 + 2.5 + 1 + 0.7) * RATE)


def test_a_model_that_is_not_exported_has_no_processes(plan, tmp_path):
    assert list(speed.whole_processes(plan(), tmp_path)) == []


def test_a_way_to_run_that_fails_is_a_row_that_says_why(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "REPEATS", 1)
    (tmp_path / "nothing").mkdir()
    rows = list(speed.whole_processes(plan(folder=tmp_path / "nothing"), tmp_path))
    assert {row.what for row in rows} == {speed.FIRST_TEXT, speed.MEMORY}
    assert all(row.value is None and row.note.startswith("absent: ") for row in rows)
    assert "model.json" in rows[0].note


def test_figures_stand_beside_ours():
    rows = beside([Speed("x", "ours", 2.0), Speed("x", "theirs", 10.0), Speed("x", "nobody's", None)])
    assert [row.times for row in rows] == [None, 5.0, None]
    assert beside([Speed("x", "ours", None), Speed("x", "theirs", 10.0)])[1].times is None


def test_a_figure_is_told_with_its_unit_and_its_aim_once():
    text = as_text([Speed(speed.FIRST_TEXT, "ours", 1.234), Speed(speed.FIRST_TEXT, "theirs", 4.0, times=3.24)])
    first, second = text.splitlines()[2:4]
    assert first == f"| {speed.FIRST_TEXT} | ours | 1.23 s | - | - | {speed.AIMS[speed.FIRST_TEXT]} |  |"
    assert second == "|  | theirs | 4.00 s | 3.2 | - |  |  |"


def test_a_process_is_timed_to_its_first_line(monkeypatch):
    monkeypatch.setattr(processes, "REPEATS", 1)
    code = "import time; time.sleep(0.2); print('said'); time.sleep(60)"
    assert 0.2 <= processes.first_line_s([sys.executable, "-c", code]) < 20


def test_a_process_that_says_nothing_tells_its_last_complaint():
    with pytest.raises(NotSupportedError, match=r"no such model \(it ended with status 1\)"):
        processes.first_line_s([sys.executable, "-c", "import sys; sys.exit('no such model')"])
    with pytest.raises(NotSupportedError, match="status 3"):
        processes.output_of([sys.executable, "-c", "print('a'); raise SystemExit(3)"])


def test_the_most_memory_that_a_process_holds_is_seen():
    code = "held = bytearray({} * 2**20); import time; time.sleep(0.4)"
    small, large = (processes.resident_of_program_mib([sys.executable, "-c", code.format(mib)]) for mib in (1, 101))
    assert large - small == pytest.approx(100, abs=20)


def test_the_memory_of_those_that_a_process_started_is_its_own_too():
    child = "held = bytearray(100 * 2**20); import time; time.sleep(0.6)"
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
    without, beside = (
        processes.resident_of_program_mib([sys.executable, "-c", code.format(what)]) for what in ("0", child)
    )
    assert beside - without > 80


def test_an_installation_is_all_that_is_asked_for_and_what_that_asks_for(tmp_path, monkeypatch):
    def package(name, size, *needs):
        info = tmp_path / f"{name.replace(chr(45), chr(95))}-1.dist-info"
        info.mkdir()
        (tmp_path / f"{name}.py").write_bytes(b"#" * size)
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1", *(f"Requires-Dist: {need}" for need in needs)]
        (info / "METADATA").write_text("\n".join(lines))
        (info / "RECORD").write_text(f"{name}.py,,\n")

    package("sound-maker", 100, 'one-part>=1; extra == "loud"', 'never; extra == "quiet"', "always")
    package("one-part", 20, 'elsewhere; sys_platform == "nowhere"', "always")
    package("always", 3)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert footprint.sizes("sound-maker") == {"sound-maker": 100, "always": 3}
    assert footprint.sizes("sound-maker[loud]") == {"sound-maker": 100, "one-part": 20, "always": 3}
    with pytest.raises(NotFoundError, match="never is not installed"):
        footprint.sizes("sound-maker[quiet]")


def test_what_an_absent_distribution_weighs_is_not_told(capsys):
    assert footprint.main(["no-such-thing-anywhere"]) == 1
    assert "not installed" in capsys.readouterr().err
