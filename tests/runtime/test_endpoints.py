import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import OptionError
from asr.runtime.endpoints import Endpoints, has_ended, onset


def steps(text):
    return np.array([sign == "#" for sign in text], bool)


@pytest.mark.parametrize(
    ("sounding", "history", "threshold", "first"),
    [
        ("..#..", 1, 1.0, 2),
        (".....", 1, 1.0, None),
        ("#...###..", 3, 1.0, 4),  # one step alone is a click
        ("#...##.#..", 4, 0.75, 4),
        ("#...##.#..", 4, 1.0, None),
        ("##", 3, 0.5, None),  # not long enough to say
        ("", 1, 1.0, None),
        ("...", 2, 0.01, None),  # nothing is never enough
    ],
)
def test_a_segment_begins_with_a_stretch_that_sounds(sounding, history, threshold, first):
    assert onset(steps(sounding), history, threshold) == first


@pytest.mark.parametrize(
    ("sounding", "history", "threshold", "ended"),
    [
        ("##...", 3, 1.0, True),
        ("##...", 4, 1.0, False),
        ("##...", 4, 0.75, True),
        ("..", 3, 0.5, False),  # nobody knows yet
        ("##..#", 1, 1.0, False),
    ],
)
def test_a_segment_ends_with_a_stretch_that_is_quiet(sounding, history, threshold, ended):
    assert has_ended(steps(sounding), history, threshold) is ended


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 10), st.floats(0.01, 1))
def test_what_begins_sounds(sounding, history, threshold):
    sounding = np.array(sounding, bool)
    first = onset(sounding, history, threshold)
    assert first is None or sounding[first]
    if threshold == 1 and history == 1:
        assert first == (int(sounding.argmax()) if sounding.any() else None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start_history_s": 0.0}, "start_history is 0.01 to 10 s, but this is 0 s"),
        ({"stop_history_s": 11.0}, "stop_history is"),
        ({"stop_threshold": 0.0}, "stop_threshold is a share above 0"),
        ({"start_threshold": 1.1}, "start_threshold is a share"),
        ({"stop_history_eou_s": 0.8}, "shorter than stop_history"),
        ({"stop_threshold": float("nan")}, "but this is nan"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(OptionError, match=said):
        Endpoints(**given)
