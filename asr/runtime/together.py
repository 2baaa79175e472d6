"""Several segments decoded in step: one call of the decoder says the next token of each.

A single token costs nearly what several do, for all weights are read for it. So segments that are read at the same
moment, each on a thread of its own, meet here: who wants a token waits until all others do too, and whoever comes last
makes the call for all. In 8 bits a row in a batch gives the very bits that it gives alone (asr/export/parity.py), so
nobody can tell from a result that it was not alone. Knows no search: members may leave, and be at different places.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.runtime.sessions import FRAME_AXIS, WEIGHTS, Arrays, Decoder, Encoder, Source, SourceDecoder

# Sources and what they are as one batch, by who they are; they are kept, or another could come to be at their place.
Stacks = dict[tuple[int, ...], tuple[tuple[Arrays, ...], Arrays]]


@dataclass(eq=False)
class Wanted:
    """A call that one member waits for."""

    feed: Arrays  # tokens and state, a batch of one
    source: Arrays  # what the decoder reads, a batch of one
    outputs: Sequence[NDArray[Any]] | None = None
    error: BaseException | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Calls with the same can be one."""
        return tuple((name, values.shape) for name, values in self.feed.items())


class Together(Decoder):
    """A decoder for a group of threads that each read a segment over it. Each must leave, whatever happens to it."""

    def __init__(self, decoder: Decoder, members: int):
        super().__init__(decoder.bundle, decoder.session)
        self.members = members
        self.wanted: list[Wanted] = []
        self.stacked: Stacks = {}  # of those who were last called for
        self.meeting = threading.Condition()

    def over(self, source: Source, every_head: bool = False) -> SourceDecoder:
        return Member(self, source, every_head)

    def leave(self) -> None:
        """One member fewer to wait for."""
        with self.meeting:
            self.members -= 1
            self._call_for_all()

    def call(self, wanted: Wanted) -> Sequence[NDArray[Any]]:
        """The outputs of a call, a batch of one, once all members wait for theirs."""
        with self.meeting:
            self.wanted.append(wanted)
            self._call_for_all()
            while wanted.outputs is None and wanted.error is None:
                self.meeting.wait()
        if wanted.error is not None:
            raise wanted.error
        assert wanted.outputs is not None
        return wanted.outputs

    def _call_for_all(self) -> None:
        if not self.wanted or len(self.wanted) < self.members:
            return
        groups: dict[tuple[Any, ...], list[Wanted]] = {}
        for one in self.wanted:
            groups.setdefault(one.shape, []).append(one)
        before, self.stacked, self.wanted = self.stacked, {}, []
        for group in groups.values():
            try:
                self._call(group, before)
            except Exception as error:  # whatever it is, it is each member's to raise
                for one in group:
                    one.error = error
        self.meeting.notify_all()

    def _call(self, group: Sequence[Wanted], before: Stacks) -> None:
        """One call for a group that is at the same place; before: what was stacked for the call before."""
        group = sorted(group, key=lambda one: id(one.source))  # they come in any order, and what is stacked stays so
        sources = tuple(one.source for one in group)
        who = tuple(map(id, sources))
        self.stacked[who] = before[who] if who in before else (sources, stack(sources))
        source = self.stacked[who][1]
        feed = {name: np.concatenate([one.feed[name] for one in group]) for name in group[0].feed}
        outputs = self.session.run(self.outputs, {**source, **feed})
        for row, one in enumerate(group):
            one.outputs = [
                values[:, row : row + 1, ..., : room(one.source)] if name == WEIGHTS else values[row : row + 1]
                for name, values in zip(self.outputs, outputs, strict=True)
            ]


class Member(SourceDecoder):
    """One member's segment."""

    def __init__(self, group: Together, source: Source, every_head: bool):
        super().__init__(group, source, every_head)
        self.group = group

    def _call(self, feed: Arrays) -> Sequence[NDArray[Any]]:
        return self.group.call(Wanted(feed, self.feed))


class InTurn(Encoder):
    """An encoder for a group of threads: one segment at a time, for the memory that each takes."""

    def __init__(self, encoder: Encoder):
        super().__init__(encoder.bundle, encoder.session)
        self.turn = threading.Lock()

    def encode(self, samples: NDArray[np.float32]) -> Source:
        with self.turn:
            return super().encode(samples)


def stack(sources: Sequence[Arrays]) -> Arrays:
    """Sources, each a batch of one, as one batch, with room for the longest."""
    most = max(map(room, sources))
    return {name: np.concatenate([padded(source[name], most) for source in sources]) for name in sources[0]}


def room(source: Arrays) -> int:
    """Frames that the arrays of a source hold."""
    return next((values.shape[FRAME_AXIS] for values in source.values() if values.ndim > 1), 0)


def padded(values: NDArray[Any], frames: int) -> NDArray[Any]:
    """The same with room for so many frames; lengths are as they are."""
    if values.ndim < 2 or values.shape[FRAME_AXIS] == frames:
        return values
    shape = list(values.shape)
    shape[FRAME_AXIS] = frames
    made = np.zeros(shape, values.dtype)
    made[..., : values.shape[FRAME_AXIS], :] = values
    return made
