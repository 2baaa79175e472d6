"""Decoding in step, over a session of three lines: each member gets what it would get alone, in fewer calls."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from asr.runtime.bundle import State
from asr.runtime.sessions import Decoder, Source
from asr.runtime.together import InTurn, Together

WAIT_S = 20


class Adds:
    """Log-probabilities are the sum of the source and of the tokens so far, weights the source. Keeps calls' rows."""

    def __init__(self, fails_at=0):
        self.rows = []
        self.fails_at = fails_at

    def get_inputs(self):
        return [SimpleNamespace(name=name) for name in ("tokens", "source_lengths", "source_key_0", "past")]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in ("log_probs", "weights", "new_past")]

    def run(self, wanted, feed):
        assert list(wanted) == ["log_probs", "weights", "new_past"]
        self.rows.append(len(feed["tokens"]))
        if len(self.rows) == self.fails_at:
            raise RuntimeError("no memory")
        past = np.concatenate([feed["past"], feed["tokens"][:, :, None].astype(np.float32)], axis=1)
        frames = np.arange(feed["source_key_0"].shape[2]) < feed["source_lengths"][:, None]
        heard = (feed["source_key_0"][:, 0, :, 0] * frames).sum(axis=1)
        so_far = np.cumsum(past, axis=1)[:, -feed["tokens"].shape[1] :]
        weights = np.broadcast_to(
            feed["source_key_0"][None, :, :, None, :, 0], (1, len(heard), 1, so_far.shape[1], frames.shape[1])
        )
        return [(heard[:, None, None] + so_far).astype(np.float32), weights.astype(np.float32), past]


def decoder(**changes):
    states = (State("past", ("batch", 0, 1), 0.0, 1),)
    return Decoder(SimpleNamespace(alignment_heads=((0, 0),), states=states, multi_token=True), Adds(**changes))


def source(frames, seed):
    values = np.random.default_rng(seed).standard_normal((1, 1, frames, 1)).astype(np.float32)
    return Source({"source_key_0": values}, frames, frames)


def say(stepper, tokens, first=2):
    """Log-probabilities and weights of the first tokens at once, then of one after the other."""
    state = stepper.start()
    said = []
    for part in (tokens[:first], *([token] for token in tokens[first:])):
        log_probs, looked, state = stepper.step(part, state)
        said.append((log_probs.tobytes(), looked.shape, looked.tobytes()))
    return said, state.length, state.arrays["past"].tobytes()


def together(group, work):
    """What each of the members makes of its work; each leaves when it is done."""

    def member(one):
        try:
            return work(one)
        finally:
            group.leave()

    with ThreadPoolExecutor(group.members) as threads:
        return [future.result(WAIT_S) for future in [threads.submit(member, one) for one in range(group.members)]]


@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 9, 6, 1]])
@pytest.mark.parametrize("frames", [[7, 7, 7, 7], [4, 9, 2, 5]])
def test_each_gets_what_it_gets_alone(lengths, frames):
    texts = [list(range(1, length + 2)) for length in lengths]
    alone, group = decoder(), Together(decoder(), len(texts))
    got = together(group, lambda one: say(group.over(source(frames[one], one)), texts[one]))
    assert got == [say(alone.over(source(frames[one], one)), text) for one, text in enumerate(texts)]


def test_who_is_at_the_same_place_is_one_call():
    group = Together(decoder(), 3)
    together(group, lambda one: say(group.over(source(5, one)), [1, 2, 3, 4, 5]))
    assert group.session.rows == [3, 3, 3, 3]


def test_who_has_left_is_not_waited_for():
    group = Together(decoder(), 3)
    together(group, lambda one: say(group.over(source(5, one)), [1, 2, 3, 4, 5][: 3 + one]))
    assert group.session.rows == [3, 3, 2, 1]


def test_who_is_elsewhere_is_called_for_apart():
    group = Together(decoder(), 2)
    together(group, lambda one: say(group.over(source(5, one)), [1, 2, 3, 4, 5], first=2 + one))
    assert group.session.rows == [1, 1, 1, 1, 1, 1, 1], "with as many tokens in all, and never at the same moment"


def test_who_begins_again_is_another():
    group = Together(decoder(), 2)

    def twice(one):
        return [say(group.over(source(6, 10 * one + time)), [1, 2, 3, 4]) for time in range(2 if one else 1)]

    got = together(group, twice)
    alone = decoder()
    assert got[1] == [say(alone.over(source(6, 10 + time)), [1, 2, 3, 4]) for time in range(2)]


def test_a_failed_call_is_each_members_to_see():
    group = Together(decoder(fails_at=2), 2)
    failures = []

    def work(one):
        with pytest.raises(RuntimeError, match="no memory"):
            say(group.over(source(5, one)), [1, 2, 3, 4])
        failures.append(one)

    together(group, work)
    assert sorted(failures) == [0, 1]


def test_a_failed_member_does_not_hold_up_the_others():
    group = Together(decoder(), 2)

    def work(one):
        if one:
            raise ValueError("its own")
        return say(group.over(source(5, one)), [1, 2, 3])

    with pytest.raises(ValueError, match="its own"):
        together(group, work)
    assert group.session.rows == [1, 1]


def test_segments_of_a_group_are_encoded_one_at_a_time(hearing, speak):
    encoder = InTurn(hearing().encoder)
    run, inside, most = encoder.session.run, [], []
    meeting = threading.Barrier(2)

    def counted(names, feed):
        inside.append(1)
        most.append(len(inside))
        outputs = run(names, feed)
        inside.pop()
        return outputs

    encoder.session.run = counted

    def work(samples):
        meeting.wait(WAIT_S)
        return [encoder.encode(samples).heard for _ in range(20)]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, [speak("abc"), speak("abcd")])) == [[36] * 20, [48] * 20]
    assert set(most) == {1}
