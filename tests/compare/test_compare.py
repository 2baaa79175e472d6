"""The comparison, on a miniature; what it trains, exports and serves is held by the tests of those."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from asr.compare import compare, cost, figures, made, measure, runs  # noqa: E402
from asr.compare.cost import Cost, crossover_s  # noqa: E402
from asr.compare.measure import Clip, HeardClip  # noqa: E402
from asr.errors import OptionError  # noqa: E402
from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import outline  # noqa: E402
from asr.runtime.result import Row, Word  # noqa: E402
from asr.train.manifest import TimedWord, load, read_manifest  # noqa: E402
from asr.train.recipe import check_model, find_recipe, model_config, read_recipe  # noqa: E402

SMALL = [
    "model.dim=16", "model.encoder_layers=1", "model.encoder_heads=2", "model.decoder_heads=2", "model.mels=20",
    "data.batch_s=6.0", "data.longest_s=6.0", "data.dev_limit=8", "data.workers=0", "optimiser.warmup=1",
    "loop.steps=2", "loop.validate_every=1",
]  # fmt: skip


@pytest.mark.parametrize("name", runs.RUNS)
def test_every_run_is_a_recipe_that_can_be_trained(name, tmp_path):
    plan = runs.Plan(tmp_path, tmp_path, "compare", ())
    recipe = read_recipe(find_recipe("compare"), plan.told(name, 1))
    config = model_config(recipe, ModelConfig(pad_s=0.0, log_mel="fixed"))
    check_model(recipe, config)
    assert outline(config).decoder.readers
    assert recipe.loop.seed == 1
    assert recipe.folder == tmp_path / "runs" / f"{name}-1"


def test_no_seed_is_no_comparison(tmp_path, capsys):
    assert compare.main(["--to", str(tmp_path), "--seeds", "0"]) == 1
    assert "--seeds is 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_main_runs_have_three_seeds_and_come_first_by_seed():
    pairs = runs.wanted(["additive", "dot"], seeds=3)
    assert pairs == [("additive", 0), ("dot", 0), ("additive", 1), ("additive", 2)]
    assert runs.wanted(["additive"], seeds=1) == [("additive", 0)]
    assert set(runs.MAIN) | set(runs.QUICK) <= set(runs.RUNS)


def test_every_run_has_its_place_in_the_figures():
    assert sorted(name for names in runs.FAMILIES.values() for name in names) == sorted(runs.RUNS)


def test_figures_are_of_the_shortest_of_the_longest_quarter():
    clips = [Clip(np.zeros(size, np.float32), str(size)) for size in (40, 10, 30, 20)]
    assert measure.shown(clips).text == "40"
    assert measure.shown([*clips, *clips[1:], *clips[1:], *clips[1:]]).text == "30"
    assert measure.shown(clips[:1]).text == "40"


def test_a_panel_for_each_family_that_has_a_run():
    figure = figures.error_panels(
        {"a": ([0, 1], [5, 4]), "c": ([0, 1], [3, 2])}, {"A": ("a", "b"), "B": ("b",), "C": ("c",)}, "x"
    )
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["A", "C"]
    assert [text.get_text() for text in panels["A"].get_legend().get_texts()] == ["a"]
    assert len(panels["A"].lines) == 3  # both in grey, its own above


def test_an_even_look_is_drawn_as_dark_as_it_is():
    even, sharp = np.full((2, 50), 0.02, np.float32), np.eye(2, 50, dtype=np.float32)
    drawn = figures.gallery({"even": (even, ("a", "b")), "sharp": (sharp, ("a", "b"))}, 0.02)
    assert [
        axes.images[0].norm(weights).max() for axes, weights in zip(drawn.axes, (even, sharp), strict=True)
    ] == pytest.approx([0.1, 1.0])


def test_made_speech_is_the_same_each_time_and_its_words_sound_when_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "SIZES", {"train": (3, 2), "dev": (2, 1)})
    made.write(tmp_path / "a")
    made.write(tmp_path / "b")
    one, other = (read_manifest(tmp_path / name / "train" / made.NAME) for name in "ab")
    for utterance, twin in zip(one, other, strict=True):
        samples = load(utterance)
        assert np.array_equal(samples, load(twin))
        assert [word.word for word in utterance.words] == utterance.text.split()
        for word in utterance.words:
            said = samples[round(word.start_s * 16_000) : round(word.end_s * 16_000)]
            before = samples[max(0, round((word.start_s - 0.04) * 16_000)) : round(word.start_s * 16_000)]
            assert measure.rms(said) > 5 * measure.rms(before)
    assert {utterance.speaker for utterance in one} == {"train-0", "train-1"}


def clip(text: str, size: int = 16_000) -> Clip:
    return Clip(np.full(size, 0.1, np.float32), text)


def test_clips_are_joined_each_once_and_never_beyond_a_segment():
    together = measure.joined([clip(text) for text in "abcde"], 2)
    assert [one.text for one in together] == ["a b", "c d"]
    assert together[0].samples.size == 2 * (16_000 + 3_200)
    assert measure.joined([clip("a", 20 * 16_000)] * 2, 2) == []


def row(frame: int) -> Row:
    return Row(0, "a", 0, np.eye(5, dtype=np.float32)[frame], 0.0, False)


def test_onsets_are_compared_where_every_word_was_heard():
    true = Clip(np.zeros(9, np.float32), "a b", (TimedWord("a", 0.1, 0.2), TimedWord("b", 0.5, 0.6)))
    words = tuple(Word(f" {text}", start_s, 1.0, 1.0, 1.0) for text, start_s in (("a", 0.2), ("b", 0.45)))
    heard = HeardClip("a b", words, (row(1), row(3), row(2)), 0.1)
    assert measure.onset_errors(true, heard) == pytest.approx([0.1, 0.05])
    assert measure.onset_errors(true, HeardClip("a", words[:1], (), 0.1)) == []
    assert measure.looked(heard.rows) == [1, 3, 2]
    rows = tuple(Row(0, piece, 0, np.full(50, 1 / 50, np.float32), 0.0, False) for piece in (" ", "a", " ", "b"))
    assert measure.inside(true, HeardClip("a b", words, rows, 0.1)) == pytest.approx([0.2, 0.2], abs=0.021)
    found = measure.length(1, [true, true], [heard, HeardClip("c b", (), (), 0.1)])
    assert (found.first, found.last, found.counts.errors) == (0.5, 1.0, 1)


def test_a_second_speaker_is_as_loud_as_the_first():
    mixed = measure.party(clip("a"), Clip(0.01 * np.ones(8_000, np.float32), "b"))
    assert np.allclose(mixed.samples[:8_000], 0.2)
    assert np.allclose(mixed.samples[8_000:], 0.1)
    assert mixed.text == "a"


def test_a_layers_cost_is_measured_until_it_does_not_fit(monkeypatch):
    found = cost.layer_costs("linear", (0.5, 1.0))
    assert [one.seconds for one in found] == [0.5, 1.0]
    assert all(one.use_s > 0 and one.train_s > 0 for one in found)
    monkeypatch.setattr(cost, "MOST_S", 0.0)
    assert len(cost.layer_costs("full", (0.5, 1.0))) == 1
    torch.set_num_threads(1)


def test_the_crossover_is_where_a_layer_stays_faster():
    def costs(name, *times):
        return [Cost(name, seconds, use_s, None, None, None) for seconds, use_s in enumerate(times, start=1)]

    found = [*costs("full", 1, 2, 4, 8), *costs("local", 0.5, 3, 3, 3), *costs("lstm", 9, 9, 9, 9)]
    assert crossover_s(found, "local") == 3
    assert crossover_s(found, "lstm") is None


def test_a_comparison_from_training_to_the_server_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "SIZES", {"train": (12, 2), "dev": (8, 1)})
    monkeypatch.setattr(
        compare, "costs", lambda lengths: [Cost("full", s, 0.1 * s, 0.2 * s, 1e6, 2e6) for s in lengths]
    )
    command = ["--to", str(tmp_path), "--quick", "--only", "additive", "--jobs", "1"]
    for setting in SMALL:
        command += ["--set", setting]
    assert compare.main(command) == 0
    log = (tmp_path / "runs" / "additive-0" / "log.jsonl").read_text()
    exported = (tmp_path / "models" / "additive" / "model.json").stat().st_mtime_ns
    found = json.loads((tmp_path / "compare.json").read_text())
    assert set(found["measured"]) == set(found["curves"]) == set(found["served"]) == {"additive"}
    assert found["curves"]["additive"][0]["steps"] == [1, 2]
    assert found["served"]["additive"]["tokens"] == found["served"]["additive"]["rows"]
    text = (tmp_path / "compare.md").read_text()
    for name in ("curves", "lengths", "gallery", "root_d", "causal", "memory"):
        assert f"figures/{name}.png" in text
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 1000
    monkeypatch.setattr(compare, "serve", lambda plan, names, clip: {})
    assert compare.main(command) == 0
    assert (tmp_path / "runs" / "additive-0" / "log.jsonl").read_text() == log
    assert (tmp_path / "models" / "additive" / "model.json").stat().st_mtime_ns == exported


def test_an_unknown_run_is_refused(capsys, tmp_path):
    assert compare.main(["--to", str(tmp_path), "--data", str(tmp_path), "--only", "nothing"]) == 1
    assert "no run nothing; there are none, uniform" in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []


def test_what_failed_everywhere_is_said_once(tmp_path):
    plan = runs.Plan(to=tmp_path, data=tmp_path, recipe="compare", settings=())
    failed = {"none": "no set", "dot": "no set", "linear": "no memory"}
    with pytest.raises(OptionError, match=r"^nothing was trained: no set; no memory$"):
        compare.find(plan, list(failed), failed, [1.0], 0.0, argparse.Namespace())
