import json
from pathlib import Path

import pytest

from asr.train import score
from asr.train.manifest import Utterance
from asr.train.report import Answer, Trial, as_json, as_markdown, summarise


def trial(name: str, text: str, *, duration_s: float = 2.0, id: str = "u", **written: str) -> Trial:
    utterance = Utterance(Path("u.wav"), id, text, "s", duration_s, "", "")
    heard = {system: Answer(said, 0.5, score.count(text, said)) for system, said in written.items()}
    return Trial(name, utterance, duration_s, heard)


def test_only_the_known_sets_are_pooled() -> None:
    trials = [
        trial("grid", "a b", ours="x y"),
        trial("digits", "five", ours="five"),
        trial("read", "a b c", ours="a x c"),
        trial("long", "a b c d", ours=""),
    ]
    report = summarise(trials, ["ours"], 10)
    assert report.pooled == ["digits", "read"]
    assert [row.set for row in report.rows] == ["digits", "read", "pooled", "grid", "long"]
    pooled = report.rows[2]
    assert (pooled.utterances, pooled.counts.words, pooled.wer) == (2, 4, 25.0)
    assert pooled.real_time_factor == pytest.approx(0.25)
    assert pooled.minutes == pytest.approx(4 / 60)


def test_own_sets_are_pooled_where_none_is_known() -> None:
    report = summarise([trial("mine", "a", ours="a"), trial("yours", "b", ours="x")], ["ours"], 10)
    assert report.pooled == ["mine", "yours"]
    assert report.rows[-1].wer == 50.0


def test_a_single_set_is_not_told_twice() -> None:
    report = summarise([trial("read", "a", ours="a")], ["ours"], 10)
    assert [row.set for row in report.rows] == ["read"]


def test_words_where_nothing_is_said_are_no_word_errors() -> None:
    trials = [
        trial("noise", "", ours="", id="1"),
        trial("noise", "", ours="Thank you.", id="2"),
        trial("read", "a", ours="a"),
    ]
    report = summarise(trials, ["ours"], 10)
    (silence,) = report.silences
    assert (silence.set, silence.recordings, silence.words, silence.recordings_with_words) == ("noise", 2, 2, 1)
    assert [row.set for row in report.rows] == ["read"]
    assert report.rows[0].wer == 0.0


def test_a_reference_that_normalises_to_nothing_is_still_speech() -> None:
    report = summarise([trial("read", "Um.", ours="two words"), trial("read", "a b", ours="a b")], ["ours"], 10)
    assert report.silences == []
    assert report.rows[0].wer == 100.0
    assert report.rows[0].counts.insertions == 2


def test_silence_alone_has_no_rates() -> None:
    report = summarise([trial("noise", "", ours="x", peer="")], ["ours"], 10)
    assert (report.rows, report.ratios, report.worst) == ([], [], [])
    assert "words written" in as_markdown(report)


def test_ratios_are_of_the_pool_alone_and_against_each_peer() -> None:
    trials = [
        trial("read", "a b c d", full="x b c d", late="x y c d", peer="x y c d", other="a b c d"),
        trial("long", "a", full="x", late="x", peer="a", other="a"),
    ]
    report = summarise(trials, ["full", "late"], 10)
    found = {(ratio.ours, ratio.peer): ratio.ratio for ratio in report.ratios}
    assert found == {("full", "peer"): 0.5, ("late", "peer"): 1.0, ("full", "other"): None, ("late", "other"): None}


def test_worst_come_first_and_the_faultless_not_at_all() -> None:
    trials = [
        trial("read", "a b", ours="a x", id="one"),
        trial("read", "a b", ours="a b", id="none"),
        trial("read", "a b", ours="x y", id="two"),
    ]
    assert [worst.utterance.id for worst in summarise(trials, ["ours"], 0).worst] == ["two", "one"]


def test_speakers_heard_in_training_are_told_where_they_are_scored() -> None:
    both = as_markdown(summarise([trial("grid", "a", ours="a"), trial("read", "a", ours="a")], ["ours"], 10))
    assert "Speakers of grid, read (one of its eleven) are in the training sets" in both
    assert "in the training sets" not in as_markdown(summarise([trial("ls-other", "a", ours="a")], ["ours"], 10))


def test_markdown_tables_keep_their_columns() -> None:
    trials = [
        trial("read", "a | b", ours="x | y | z", peer="a b"),
        trial("digits", "nine", ours="nine", peer=""),
        trial("noise", "", ours="", peer="x"),
    ]
    text = as_markdown(summarise(trials, ["ours"], 10))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_json_holds_what_each_system_wrote() -> None:
    trials = [trial("read", "a b", ours="a x", peer="a b"), trial("noise", "", ours="", peer="")]
    told = json.loads(json.dumps(as_json(summarise(trials, ["ours"], 10)), allow_nan=False))
    assert told["rows"][0]["counts"]["substitutions"] == 1
    assert told["utterances"][0]["heard"]["ours"]["text"] == "a x"
    assert told["utterances"][0]["heard"]["ours"]["substitutions"] == 1
    assert told["utterances"][1]["heard"]["peer"]["text"] == ""
    assert told["ratios"][0]["ratio"] is None
