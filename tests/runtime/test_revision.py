"""Whoever applies a stream's messages in order holds at the end what a whole recording gives in the same mode."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.runtime.recognizer import Options

MODES = ("1280ms", "640ms", "320ms")
TEXTS = st.lists(st.sampled_from([*"abcdefgh", "_", "_"]), min_size=3, max_size=40).map(" ".join)


def follow(updates):
    """The rows by their ids as a client keeps them; a stable one that comes again must be the one it has."""
    held = {}
    for update in updates:
        for result in update.results:
            for row in result.alignment.rows:
                before = held.get(row.row_id)
                if before is not None and not before.provisional:
                    assert not row.provisional
                    assert row.token_id == before.token_id
                    np.testing.assert_array_equal(row.weights, before.weights)
                held[row.row_id] = row
    return held


@pytest.mark.parametrize("rescore", [False, True])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, mode=st.sampled_from(MODES), seed=st.integers(0, 2**31))
def test_rows_are_replaced_by_id_and_stable_ones_never(hearing, speak, text, mode, seed, rescore):
    recognizer, samples = hearing(), speak(text)
    options = Options(mode, alignment=True, heads=True, rescore=rescore)
    rng, stream, updates, place = np.random.default_rng(seed), recognizer.stream(options), [], 0
    while place < samples.size:
        size = int(rng.integers(1, 9_000))
        updates += stream.accept(samples[place : place + size])
        place += size
    updates += stream.finish()
    held = follow(updates)
    whole = [row for one in recognizer.transcribe(samples, options).segments for row in one.alignment.rows]
    settled = [held[row.row_id] for row in whole]
    assert [row.row_id for row in whole] == list(range(len(whole)))
    for ours, theirs in zip(settled, whole, strict=True):
        assert (ours.token_id, ours.piece, ours.entropy) == (theirs.token_id, theirs.piece, theirs.entropy)
        assert not ours.provisional
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        np.testing.assert_array_equal(ours.heads, theirs.heads)
    assert all(row.provisional for row_id, row in held.items() if row_id >= len(whole)), "what is left over was a guess"


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, mode=st.sampled_from(MODES))
def test_no_guess_is_left_standing(hearing, speak, text, mode):
    """A client that shows each message until the next one shows at the end what was said, and no more."""
    stream = hearing().stream(Options(mode))
    said = shown = ""
    for update in [*stream.accept(speak(text)), *stream.finish()]:
        said += "".join(result.text for result in update.results if result.is_final)
        shown = "".join(result.text for result in update.results if not result.is_final)
    assert shown == ""
    assert said == "".join(result.text for result in hearing().transcribe(speak(text), Options(mode)).segments)


def test_a_guess_that_was_nothing_is_replaced_by_nothing(hearing, speak):
    recognizer = hearing(ctc=False)
    session = recognizer.decoder.session
    words = session.words
    session.words = lambda levels: words(levels) if levels.size <= 16 else []  # on second thoughts nobody spoke
    stream = recognizer.stream(Options("320ms", policy="wait"))
    updates = [*stream.accept(np.concatenate([speak("ab"), np.zeros(32_000, np.float32)])), *stream.finish()]
    texts = [[result.text for result in update.results] for update in updates]
    assert texts[0] != [""]
    assert texts[1:] == [[""]]
    assert not any(result.is_final for update in updates for result in update.results)
