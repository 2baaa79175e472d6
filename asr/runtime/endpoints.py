"""Where speech begins and where it has ended, judged over the last stretch of sound.

The names are Riva's (EndpointingConfig): a history is a stretch of time, a threshold the share of it that must sound,
or be quiet. Knows no text: what counts as sound is told by whoever asks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.errors import OptionError

SHORTEST_S, LONGEST_S = 0.01, 10.0


@dataclass(frozen=True)
class Endpoints:
    """When a segment begins and ends."""

    start_history_s: float = 0.01  # a segment begins with so much...
    start_threshold: float = 1.0  # ...of which this share sounds
    stop_history_s: float = 0.8  # and ends with so much...
    stop_threshold: float = 1.0  # ...of which this share is quiet
    stop_history_eou_s: float | None = None  # after so much all that was said is stable; None: never for that alone
    stop_threshold_eou: float = 1.0

    def __post_init__(self) -> None:
        for name in ("start_history", "stop_history", "stop_history_eou"):
            length_s = getattr(self, f"{name}_s")
            if length_s is not None and not SHORTEST_S <= length_s <= LONGEST_S:
                raise OptionError(f"{name} is {SHORTEST_S:g} to {LONGEST_S:g} s, but this is {length_s:g} s")
        for name in ("start_threshold", "stop_threshold", "stop_threshold_eou"):
            if not 0 < getattr(self, name) <= 1:
                raise OptionError(f"{name} is a share above 0, at most 1, but this is {getattr(self, name):g}")
        if self.stop_history_eou_s is not None and self.stop_history_eou_s >= self.stop_history_s:
            raise OptionError("stop_history_eou is shorter than stop_history, or it would never come first")


USUAL = Endpoints()


def onset(sounding: NDArray[np.bool_], history: int, threshold: float) -> int | None:
    """The step at which the first stretch of `history` steps begins that sounds enough; None: there is none.

    sounding  (steps,)
    """
    so_far = np.concatenate(([0], np.cumsum(sounding)))
    within = so_far[history:] - so_far[:-history]  # of the stretch that begins at each step
    enough = np.flatnonzero((within >= threshold * history) & (within > 0))
    if not enough.size:
        return None
    return int(enough[0] + sounding[enough[0] :].argmax())


def has_ended(sounding: NDArray[np.bool_], history: int, threshold: float) -> bool:
    """Whether of the last `history` steps enough are quiet."""
    last = sounding[sounding.size - history :] if sounding.size >= history else None
    return last is not None and float(np.count_nonzero(~last)) >= threshold * history
