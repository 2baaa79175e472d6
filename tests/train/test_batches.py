from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.train import batches as batches_file
from asr.train.batches import Batch, Corpus, Example, loader, open_corpus, padding_share, plan_epoch
from asr.train.manifest import TimedWord, Utterance
from asr.train.recipe import Augment, Data

RATE = 16_000
NONE = Augment()
SPEEDS = Augment(speed=(0.9, 1.0, 1.1))
Plan = list[tuple[Example, ...]]


def utterance(id: str, duration_s: float, text: str = "a", words: tuple[TimedWord, ...] = ()) -> Utterance:
    return Utterance(Path(f"{id}.wav"), id, text, "", duration_s, "", "", words)


def lasting(durations_s: list[float]) -> list[Utterance]:
    return [utterance(str(number), duration_s) for number, duration_s in enumerate(durations_s)]


def plan(utterances: list[Utterance], data: Data, augment: Augment = NONE, seed: int = 0, epoch: int = 0) -> Plan:
    return plan_epoch(utterances, ["a"] * len(utterances), data, augment, seed, epoch)


def parts(batches: Plan) -> Counter[int]:
    return Counter(part for batch in batches for example in batch for part in example.parts)


def seconds(examples: list[Example]) -> float:
    return sum(example.duration_s for example in examples)


@pytest.fixture(scope="module")
def mixed() -> list[Utterance]:
    """Commands, sentences and paragraphs."""
    random = np.random.default_rng(0)
    durations_s = [random.lognormal(mean, 0.5, 400) for mean in (0.0, 1.2, 2.3)]
    return lasting(np.concatenate(durations_s).clip(0.2, 29).tolist())


# The plan


@pytest.mark.parametrize("join_share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_utterance_comes_once_in_an_epoch(mixed: list[Utterance], join_share: float, epoch: int) -> None:
    came = parts(plan(mixed, Data(join_share=join_share), epoch=epoch))
    assert came == Counter(range(len(mixed)))


def test_weights_say_how_often_a_set_comes() -> None:
    sets = ["half"] * 101 + ["twice"] * 10 + ["never"] * 10 + ["once"] * 10
    data = Data(sets=("half", "twice", "never", "once"), weights={"half": 0.5, "twice": 2.0, "never": 0.0})
    epochs = [parts(plan_epoch(lasting([1.0] * len(sets)), sets, data, NONE, 0, epoch)) for epoch in range(2)]
    for came in epochs:
        assert [came[index] for index in range(101, 131)] == [2] * 10 + [0] * 10 + [1] * 10
    halves = [{index for index in came if index < 101} for came in epochs]
    assert sorted(map(len, halves)) == [50, 51]
    assert halves[0] | halves[1] == set(range(101))


def test_a_small_weight_reaches_everyone_in_time() -> None:
    data = Data(sets=("a",), weights={"a": 0.3})
    came = sum((parts(plan(lasting([1.0] * 7), data, epoch=epoch)) for epoch in range(10)), Counter())
    assert came == Counter({index: 3 for index in range(7)})


durations = st.lists(st.floats(0.1, 30.0), max_size=60)


@settings(max_examples=60, deadline=None)
@given(durations_s=durations, batch_s=st.floats(30.0, 200.0), join_share=st.floats(0, 1), epoch=st.integers(0, 9))
def test_no_batch_is_longer_than_allowed(
    durations_s: list[float], batch_s: float, join_share: float, epoch: int
) -> None:
    data = Data(batch_s=batch_s, join_share=join_share, join_s=(5, 40), lead_s=(0, 1), tail_s=(0, 3))
    batches = plan(lasting(durations_s), data, SPEEDS, epoch=epoch)
    assert parts(batches) == Counter(range(len(durations_s)))
    for batch in batches:
        longest_s = max(example.duration_s for example in batch)
        assert longest_s <= data.longest_s + 1e-9
        assert longest_s * len(batch) <= batch_s + 1e-6


@pytest.mark.parametrize("join_share", [0.0, 0.5])
def test_little_is_padding(mixed: list[Utterance], join_share: float) -> None:
    assert padding_share(plan(mixed, Data(join_share=join_share), SPEEDS)) < 0.05


def test_padding_is_what_no_example_fills() -> None:
    assert padding_share([(Example((0,), 0, 1.0), Example((1,), 0, 3.0))]) == pytest.approx(1 / 3)
    assert padding_share([]) == 0.0


def test_a_plan_follows_from_seed_and_epoch(mixed: list[Utterance]) -> None:
    data = Data(join_share=0.5, tail_s=(0, 1))
    first = plan(mixed, data, SPEEDS, seed=1, epoch=2)
    assert plan(mixed, data, SPEEDS, seed=1, epoch=2) == first
    assert plan(mixed, data, SPEEDS, seed=1, epoch=3) != first
    assert plan(mixed, data, SPEEDS, seed=2, epoch=2) != first


def test_batches_come_in_no_order_of_length_and_in_other_company_each_epoch(mixed: list[Utterance]) -> None:
    epochs = [plan(mixed, Data(), epoch=epoch) for epoch in range(2)]
    longest_s = [max(example.duration_s for example in batch) for batch in epochs[0]]
    assert longest_s not in (sorted(longest_s), sorted(longest_s, reverse=True))
    company = [{frozenset(example.parts[0] for example in batch) for batch in batches} for batches in epochs]
    assert len(company[0] & company[1]) < 0.2 * len(company[0])


def test_every_example_has_a_seed_of_its_own(mixed: list[Utterance]) -> None:
    seeds = [example.seed for batch in plan(mixed, Data()) for example in batch]
    assert len(set(seeds)) == len(mixed)


def test_the_share_that_is_asked_for_is_joined_to_the_length_that_is_asked_for() -> None:
    short = lasting(np.random.default_rng(0).uniform(1, 5, 1000).tolist())
    data = Data(join_share=0.6, join_s=(12.0, 20.0), join_gap_s=(0.2, 0.4))
    examples = [example for batch in plan(short, data) for example in batch]
    joined = [example for example in examples if len(example.parts) > 1]
    assert seconds(joined) / seconds(examples) == pytest.approx(0.6, abs=0.05)
    assert max(example.duration_s for example in joined) <= 20.0
    assert sum(example.duration_s >= 12.0 - 5.0 for example in joined) >= len(joined) - 1  # one was left over
    assert all(0.2 <= gap_s <= 0.4 for example in joined for gap_s in example.gaps_s)
    assert all(len(example.gaps_s) == len(example.parts) - 1 for example in joined)


def test_only_utterances_of_one_set_are_joined() -> None:
    sets = ["a", "b"] * 50
    batches = plan_epoch(lasting([2.0] * 100), sets, Data(join_share=1.0), NONE, 0, 0)
    of = [{sets[part] for part in example.parts} for batch in batches for example in batch]
    assert all(len(names) == 1 for names in of)
    assert any(len(example.parts) > 2 for batch in batches for example in batch)


def test_nothing_makes_no_batches() -> None:
    assert plan([], Data(join_share=0.5)) == []


# The batches


def ring(words: tuple[TimedWord, ...], duration_s: float) -> np.ndarray:
    """A tone where there is a word, and silence elsewhere."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    rings = sum((time_s >= word.start_s) & (time_s < word.end_s) for word in words)
    return 0.5 * np.sin(2 * np.pi * 440 * time_s) * rings


FIRST = (TimedWord("one", 0.1, 0.3), TimedWord("two", 0.5, 0.8))
SECOND = (TimedWord("three", 0.2, 0.6),)


def said(folder: Path) -> list[Utterance]:
    """Two with word times, one without, one in which nothing is said."""
    made = [
        replace(utterance("first", 1.0, "One, two.", FIRST), audio=folder / "first.wav"),
        replace(utterance("second", 0.7, "THREE", SECOND), audio=folder / "second.wav"),
        replace(utterance("untimed", 0.9, "four"), audio=folder / "untimed.wav"),
        replace(utterance("silent", 0.5, ""), audio=folder / "silent.wav"),
    ]
    for one in made:
        soundfile.write(one.audio, ring(one.words or (TimedWord("", 0, 1),), one.duration_s), RATE, subtype="FLOAT")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    (folder / "noise").mkdir()
    soundfile.write(folder / "noise" / "hiss.wav", noise, RATE)
    (folder / "noise" / "manifest.jsonl").write_text('{"audio": "hiss.wav", "duration": 1.0}\n')
    return made


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    return said(tmp_path)


NOISY = replace(NONE, noise_sets=("noise",), noise_share=1.0, noise_db=(0.0, 0.0))


def corpus(utterances: list[Utterance], augment: Augment = NONE, clean: bool = False, **data: object) -> Corpus:
    root = str(utterances[0].audio.parent)
    return open_corpus({"a": utterances}, replace(Data(root=root), **data), augment, clean)


def batch_of(corpus: Corpus, *examples: Example) -> Batch:
    (batch,) = loader(corpus, [examples], 0)
    return batch


def alone(part: int, **timing: object) -> Example:
    return Example((part,), 0, 0.0, **timing)


def assert_rings_at(words: tuple[TimedWord, ...], samples: torch.Tensor, edge_s: float = 0.01) -> None:
    """The tone of `ring` is heard in the words' times and nowhere else."""
    time_s = torch.arange(len(samples)) / RATE
    inside = torch.zeros(len(samples), dtype=torch.bool)
    near = torch.zeros(len(samples), dtype=torch.bool)
    for word in words:
        inside |= (time_s > word.start_s + edge_s) & (time_s < word.end_s - edge_s)
        near |= (time_s > word.start_s - edge_s) & (time_s < word.end_s + edge_s)
    assert samples[~near].abs().max() < 0.01
    for word in words:
        heard = samples[(time_s > word.start_s + edge_s) & (time_s < word.end_s - edge_s)]
        assert heard.square().mean().sqrt() == pytest.approx(0.5 / 2**0.5, rel=0.05)


def test_a_batch_is_its_recordings_and_zeros(utterances: list[Utterance]) -> None:
    batch = batch_of(corpus(utterances), alone(1), alone(0), alone(3))
    assert batch.samples.shape == (3, RATE)
    assert batch.samples.dtype == torch.float32
    assert batch.lengths.tolist() == [11_200, 16_000, 8_000]
    assert batch.lengths.dtype == torch.int64
    for row, number in enumerate((1, 0, 3)):
        expected, _ = soundfile.read(utterances[number].audio, dtype="float32")
        np.testing.assert_array_equal(batch.samples[row, : batch.lengths[row]], expected)
        assert not batch.samples[row, batch.lengths[row] :].any()
    assert batch.texts == ["THREE", "One, two.", ""]
    assert batch.words == [SECOND, FIRST, ()]
    assert batch.cut == [False] * 3
    assert batch.ids == ["second", "first", "silent"]
    assert (batch.clean, batch.complaints) == (None, [])


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_joined_rows_put_words_where_they_are_heard(utterances: list[Utterance], speed: float) -> None:
    example = Example((0, 1, 0), 0, 0.0, speed=speed, gaps_s=(0.25, 0.4), lead_s=0.15, tail_s=0.3)
    batch = batch_of(corpus(utterances), example)
    assert batch.texts == ["One, two. THREE One, two."]
    assert [word.word for word in batch.words[0]] == ["one", "two", "three", "one", "two"]
    assert batch.ids == ["first+second+first"]
    assert batch.lengths[0] / RATE == pytest.approx(2.7 / speed + 1.1, abs=1e-3)
    assert_rings_at(batch.words[0], batch.samples[0])


def test_words_are_known_for_a_row_or_not_at_all(utterances: list[Utterance]) -> None:
    batch = batch_of(corpus(utterances), Example((0, 2), 0, 0.0, gaps_s=(0.2,)), Example((0, 3), 0, 0.0, gaps_s=(0.2,)))
    assert batch.words == [(), FIRST]
    assert batch.texts == ["One, two. four", "One, two."]


@pytest.mark.parametrize(
    ("end_s", "text", "words"),
    [
        (0.05, "", 0),
        (0.29, "", 0),
        (0.31, "One,", 1),
        (0.79, "One,", 1),
        (1.5, "One, two.", 2),
        (1.9, "One, two. THREE", 3),
    ],
)
def test_a_cut_row_says_what_was_over(utterances: list[Utterance], end_s: float, text: str, words: int) -> None:
    batch = batch_of(corpus(utterances), Example((0, 1), 0, end_s, gaps_s=(0.2,), end_s=end_s))
    assert batch.texts == [text]
    assert len(batch.words[0]) == words
    assert all(word.end_s <= end_s for word in batch.words[0])
    assert batch.cut == [True]
    assert batch.lengths.tolist() == [min(round(end_s * RATE), round(1.9 * RATE))]


def test_a_cut_text_is_of_its_words_where_it_is_written_otherwise(utterances: list[Utterance]) -> None:
    written = [replace(utterances[0], text="1 and 2"), *utterances[1:]]
    assert batch_of(corpus(written), alone(0, end_s=0.6)).texts == ["one"]


def test_only_utterances_with_word_times_are_cut(utterances: list[Utterance]) -> None:
    many = utterances * 100
    examples = [example for batch in plan(many, Data(cut_share=0.5, tail_s=(0.1, 0.2))) for example in batch]
    timed = [example for example in examples if many[example.parts[0]].words]
    cut = [example for example in timed if example.end_s is not None]
    assert len(cut) == pytest.approx(100, abs=30)
    assert all(example.end_s is None for example in examples if not many[example.parts[0]].words)
    assert all(0.1 <= example.duration_s <= many[example.parts[0]].duration_s for example in cut)
    assert all((example.tail_s > 0) == (example.end_s is None) for example in examples)


def test_rows_last_as_long_as_was_planned(utterances: list[Utterance]) -> None:
    made = corpus(utterances)
    data = Data(join_share=0.5, join_s=(1.5, 3.0), cut_share=0.5, tail_s=(0.0, 0.5), batch_s=30.0)
    batches = plan(list(made.recordings.utterances) * 10, data, SPEEDS)
    made = corpus([replace(one, id=f"{one.id}{copy}") for copy in range(10) for one in utterances])
    for planned, batch in zip(batches, loader(made, batches, 0), strict=True):
        expected_s = [example.duration_s for example in planned]
        np.testing.assert_allclose(batch.lengths / RATE, expected_s, atol=1e-3)


def test_noise_goes_on_over_the_silence_at_the_end(utterances: list[Utterance]) -> None:
    batch = batch_of(corpus(utterances, NOISY, clean=True), alone(0, tail_s=0.5), alone(0))
    assert batch.clean is not None
    assert batch.clean.shape == batch.samples.shape
    assert not batch.clean[0, RATE:].any()
    assert batch.samples[0, RATE:].square().mean() > 1e-3
    assert not batch.samples[1, RATE:].any()  # past the row's end there is nothing
    assert_rings_at(FIRST, batch.clean[0])


EVERYTHING = replace(NOISY, speed=(0.9, 1.1), gain_db=(-6, 6), babble_share=0.5, telephone_share=0.5, codec_share=0.5)


def test_batches_are_the_same_in_whatever_process_they_are_made(utterances: list[Utterance]) -> None:
    made = corpus(utterances, EVERYTHING, clean=True, join_share=0.5, join_s=(3.0, 10.0), cut_share=0.3, batch_s=10.0)
    many = list(made.recordings.utterances)
    data = Data(join_share=0.5, join_s=(3.0, 10.0), cut_share=0.3, batch_s=10.0, longest_s=10.0)
    batches = plan(many, data, EVERYTHING)
    runs = [list(loader(made, batches, workers)) for workers in (0, 0, 1, 2)]
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            assert torch.equal(one.samples, other.samples)
            assert torch.equal(one.clean, other.clean)
            assert (one.texts, one.words, one.cut, one.ids) == (other.texts, other.words, other.cut, other.ids)


def test_a_batch_is_made_on_one_thread(utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long sums are rounded otherwise on several, and a loader process has one."""
    threads = []
    monkeypatch.setattr(batches_file, "corrupt", lambda samples, *_: threads.append(torch.get_num_threads()) or samples)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batch_of(corpus(utterances), alone(0))
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_plan_can_be_taken_up_in_its_middle(utterances: list[Utterance]) -> None:
    made = corpus(utterances, EVERYTHING)
    batches = [(alone(number),) for number in range(4)]
    whole, rest = list(loader(made, batches, 0)), list(loader(made, batches[2:], 0))
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[2:]]
    assert all(torch.equal(one.samples, other.samples) for one, other in zip(whole[2:], rest, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_random_state_and_the_threads_alone(utterances: list[Utterance], workers: int) -> None:
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    numpys = np.random.get_state()[1].tolist()
    list(loader(corpus(utterances, EVERYTHING), [(alone(0),), (alone(1),)], workers))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert np.random.get_state()[1].tolist() == numpys


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_recording_is_left_out_and_said(utterances: list[Utterance], workers: int) -> None:
    utterances[1].audio.write_bytes(b"no audio")
    made = corpus(utterances)
    batches = [(alone(0), alone(1), alone(2)), (alone(1),), (Example((0, 1), 0, 0.0, gaps_s=(0.1,)), alone(3))]
    first, none, joined = loader(made, batches, workers)
    assert first.ids == ["first", "untimed"]
    assert joined.ids == ["silent"]
    assert (none.texts, none.samples.any().item(), len(none.lengths)) == ([""], False, 1)
    for batch in (first, none, joined):
        assert "second.wav" in batch.complaints[0]


def test_a_cache_leaves_it_out_of_the_plan(utterances: list[Utterance], tmp_path: Path) -> None:
    utterances[1].audio.write_bytes(b"no audio")
    made = corpus(utterances, cache=str(tmp_path / "cache"))
    assert [one.id for one in made.recordings.utterances] == ["first", "untimed", "silent"]
    assert "second.wav" in made.recordings.complaints[0]
