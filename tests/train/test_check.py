import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.errors import InputError
from asr.train.check import as_text, check
from asr.train.recipe import Data
from asr.train.train import main

Make = Callable[[str, dict[float, str | None]], Path]


def add(folder: Path, **fields: object) -> None:
    with (folder / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(fields) + "\n")


@pytest.fixture
def faulty(make_set: Make) -> Path:
    folder = make_set("mine", {0.5: "eins zwei", 1.5: "zwei", 2.5: None, 0.05: "eins"})
    (folder / "bad.wav").write_bytes(b"no audio")
    soundfile.write(folder / "other.wav", np.full(16_000, 0.2), 16_000)
    add(folder, audio="bad.wav", id="bad", text="é", duration=1.0)
    add(folder, audio="other.wav", id="other", text="eins", duration=3.0, speaker="t")
    add(
        folder, audio="other.wav", id="again", text="eins", duration=1.0, words=[{"word": "eins", "start": 0, "end": 1}]
    )
    return folder


def test_every_fault_is_found(faulty: Path) -> None:
    found = check(faulty)
    assert found.utterances == 7
    assert [Path(fault.partition(":")[0]).name for fault in found.left_out] == ["50.wav", "bad.wav"]
    assert found.wrong == ["other: 3.00 s in the manifest, 1.00 s in truth"]
    assert found.twice == ["other = again"]
    assert found.durations_s == [0.5, 1.5, 2.5, 1.0, 1.0]
    assert (found.characters["z"], found.characters["é"]) == (2, 1)
    assert (found.without_text, found.with_words, found.speakers) == (1, 1, 2)


def test_the_report_tells_all_of_it(faulty: Path) -> None:
    text = as_text(check(faulty))
    told = ["7 utterances by 2", "median 1.00 s", "to 1 s 3 | to 2 s 1 | to 5 s 1", "left out: 2", "bad.wav", "'é' 1x"]
    told += ["in truth", "other = again", "usable: 5, 0.00 hours; 0.50 to 2.50 s", "1 utterances have none"]
    for one in told:
        assert one in text


def test_the_exit_status_tells_whether_recordings_are_bad(make_set: Make) -> None:
    folder = make_set("mine", {0.5: "eins", 1.5: None})
    command = ["--check", str(folder)]
    assert main(command) == 0
    add(folder, audio="500.wav", id="again", text="eins", duration=0.5)
    assert main(command) == 0, "twice the same may be meant"
    assert main([*command, "--set", "data.longest_s=1.0"]) == 1, "training would leave one out"
    add(folder, audio="500.wav", id="long", text="eins", duration=3.0)
    assert main(command) == 1, "one is not as long as it is said to be"


def test_the_exit_status_of_a_file_that_is_no_recording(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(faulty / "manifest.jsonl")]) == 1
    assert "left out: 2" in capsys.readouterr().out, "the report is told all the same"


def test_a_long_list_of_faults_is_cut(make_set: Make) -> None:
    folder = make_set("mine", {0.01 * number: None for number in range(1, 16)})
    text = as_text(check(folder, Data(shortest_s=1.0)))
    assert "left out: 15" in text
    assert text.count("0.wav") + text.count(".wav:") >= 10
    assert "and 5 more" in text
    assert "usable: none" in text


def test_other_layouts_are_checked_too(tmp_path: Path) -> None:
    folder = tmp_path / "dev" / "1" / "2"
    folder.mkdir(parents=True)
    soundfile.write(folder / "1-2-0.flac", np.full(16_000, 0.2), 16_000)
    (folder / "1-2.trans.txt").write_text("1-2-0 HELLO\n")
    assert check(tmp_path / "dev", Data(layout="librispeech")).durations_s == [1.0]


def test_no_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.jsonl"):
        check(tmp_path)
