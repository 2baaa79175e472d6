"""Many live streams at once, each in real time: how far behind their speakers the results come.

As in the server, a stream computes on one of a few workers, and waits where none is free. A lag is the wall time from
when a grid point's audio was there to when what it brought was known.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from asr.audio.resample import SAMPLE_RATE
from asr.runtime.recognizer import Options, Recognizer
from asr.runtime.stream import Stream
from asr.train.clips import Clip, Samples, limited, packets, spaced

SIZES = (1, 2, 4, 8, 16, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)
LIMIT_S = 1.5  # the lag at the 95th percentile with which a stream still counts as live
HOPELESS_S = 4 * LIMIT_S  # who is so late will not catch up: everybody may go home


@dataclass(frozen=True)
class Crowd:
    """What so many streams at once were like."""

    streams: int
    audio_s: float  # of each, if they came to its end
    points: int  # whose lag was measured
    median_s: float | None  # None: there was no grid point
    p95_s: float | None
    p99_s: float | None
    cores: float  # that were busy: process time over wall time
    given_up: bool  # one was hopelessly late, and all were stopped
    live: bool


def gather(
    recognizer: Recognizer, options: Options, clips: Sequence[Clip], streams: int, seconds: float, workers: int
) -> Crowd:
    """Run so many streams for so many seconds of audio, their grid points spread over a chunk's time."""
    slots, stop = threading.Semaphore(workers), threading.Event()
    opened = [recognizer.stream(options) for _ in range(streams)]
    grid_s = opened[0].chunk / SAMPLE_RATE
    cpu_s, begin = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(streams) as threads:
        running = [
            threads.submit(
                follow,
                stream,
                (packet for part in limited(spaced(clips, first=number), seconds) for packet in packets(part)),
                begin + grid_s * number / streams,
                slots,
                stop,
            )
            for number, stream in enumerate(opened)
        ]
        lags_s = [lag_s for future in running for lag_s in future.result()]
    cores = (time.process_time() - cpu_s) / (time.perf_counter() - begin)
    return summed(streams, seconds, lags_s, cores, stop.is_set())


def summed(streams: int, seconds: float, lags_s: Sequence[float], cores: float, given_up: bool) -> Crowd:
    median_s, p95_s, p99_s = np.percentile(lags_s, (50, 95, 99)).tolist() if lags_s else (None, None, None)
    live = not given_up and p95_s is not None and p95_s <= LIMIT_S
    return Crowd(streams, seconds, len(lags_s), median_s, p95_s, p99_s, cores, given_up, live)


def follow(
    stream: Stream,
    arriving: Iterable[Samples],
    start_s: float,
    slots: AbstractContextManager[object],
    stop: threading.Event,
) -> list[float]:
    """Give a stream its packets when they are due, at the earliest; returns the lags of its grid points.

    start_s  on the clock: when its speaker begins
    """
    lags_s: list[float] = []
    due_s = start_s
    for packet in arriving:
        due_s += packet.size / SAMPLE_RATE
        if (early_s := due_s - time.perf_counter()) > 0:
            time.sleep(early_s)
        if stop.is_set():
            break
        with slots:
            processed = stream.processed
            stream.accept(packet)
            reached = stream.processed > processed
        lag_s = time.perf_counter() - due_s
        if lag_s > HOPELESS_S:
            stop.set()
        if reached:
            lags_s.append(lag_s)
    return lags_s
