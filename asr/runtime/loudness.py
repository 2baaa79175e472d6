"""Where there is sound: levels, the pauses at which a recording is cut, frames and stretches without their silence.

Energy alone, for models that bring nothing better. It tells sound from quiet, not speech from music.
"""

import numpy as np
from numpy.typing import NDArray

STEP = 160  # samples
STEP_S = STEP / 16_000
QUIETEST_SPEECH_DB = -65.0  # below full scale; what never gets louder holds no speech that could be recognised
FLOOR_PERCENTILE, SPEECH_PERCENTILE = 10, 95
THRESHOLD = 0.35  # of the way from the floor to speech, in dB
SMALLEST_RANGE_DB = 12.0  # between floor and speech; less is one steady sound, taken as speech where it is loud
PAUSE_S = 0.3  # the stretch whose mean level marks a pause
GAP_STEPS = 10  # by how much the time between two words may be wrong...
GAP_DB = 0.5  # ...where each step away from it must be made up by so much less sound
SILENCE_DB = -120.0
DIGITAL_SILENCE_DB = -100.0  # below it nothing was recorded: padding, which says nothing of the background


def levels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Level of each whole 10 ms in dB below full scale: (n,) to (n // STEP,)."""
    steps = samples[: samples.size // STEP * STEP].reshape(-1, STEP)
    power = np.einsum("ij,ij->i", steps, steps) / STEP
    level: NDArray[np.float32] = 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))
    return level


def loud(level: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which steps are sound rather than background: (steps,) to the same.

    The threshold lies between the segment's own background and its own loud parts.
    """
    recorded = level[level > DIGITAL_SILENCE_DB]
    if not recorded.size:
        return np.zeros(level.size, bool)
    floor, speech = np.percentile(recorded, (FLOOR_PERCENTILE, SPEECH_PERCENTILE))
    if speech - floor < SMALLEST_RANGE_DB:
        floor = speech - SMALLEST_RANGE_DB
    audible: NDArray[np.bool_] = level > max(QUIETEST_SPEECH_DB, floor + THRESHOLD * (speech - floor))
    return audible


def quietest(level: NDArray[np.float32], first: int, last: int) -> int:
    """The step in first..last around which PAUSE_S is quietest; the later of equals, for longer segments."""
    width = max(1, round(PAUSE_S / STEP_S))
    mean = np.convolve(np.maximum(level, QUIETEST_SPEECH_DB - 20), np.full(width, 1 / width), mode="same")[first:last]
    return first + int(mean.size - 1 - mean[::-1].argmin())


def pause(sounding: NDArray[np.bool_], first: int, steps: int) -> int | None:
    """The middle of the first so many quiet steps from the given one on; None: there are not so many on end."""
    quiet = np.concatenate(([0], np.cumsum(~sounding[first:])))
    (whole,) = np.nonzero(quiet[steps:] - quiet[:-steps] == steps)
    return first + int(whole[0]) + steps // 2 if whole.size else None


def gap(level: NDArray[np.float32], step: int) -> int:
    """The step near the given one at which two words part: where it is quieter."""
    near = np.arange(max(step - GAP_STEPS, 1), min(step + GAP_STEPS, level.size - 1) + 1)
    around = (level[near - 1] + level[near]) / 2  # the steps before and after the cut
    return int(near[(around + GAP_DB * np.abs(near - step)).argmin()])


def sounding_frames(sounding: NDArray[np.bool_], frames: int, frame_hop: int) -> NDArray[np.bool_]:
    """The frames in which there is sound, of steps in which there is."""
    steps = frame_hop // STEP
    whole = np.zeros(frames * steps, bool)
    there = sounding[: whole.size]
    whole[: there.size] = there
    return np.asarray(whole.reshape(frames, steps).any(axis=1))


def sounding_part(first_s: float, last_s: float, sounding: NDArray[np.bool_]) -> tuple[float, float]:
    """The same stretch without the silence at either end."""
    first, last = max(0, round(first_s / STEP_S)), round(last_s / STEP_S)
    heard = np.flatnonzero(sounding[first:last])
    if not heard.size:
        return first_s, last_s
    return (first + int(heard[0])) * STEP_S, (first + int(heard[-1]) + 1) * STEP_S
