"""Channels heard each by itself: a stream for each, told as one.

All of them take the audio together, up to the next sample at which any has something to decide. So what
becomes known comes in the order of the samples that made it known, of equal ones in that of the channels, however
the audio came; and what a channel says is, bit for bit, what it would say alone.

Results and events carry their channel, from 1 up. Cursors are those of the channel that is furthest behind.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.errors import OptionError
from asr.runtime.result import Cursors, Event, Kind, Update

if TYPE_CHECKING:
    from asr.runtime.recognizer import Options, Recognizer


class ChannelStreams:
    """What one Stream is for mono. Not thread-safe."""

    def __init__(self, recognizer: "Recognizer", options: "Options"):
        if options.start_timeout_s is not None or options.end_timeout_s is not None:
            raise OptionError(
                "voice_activity_timeout ends a whole call, but channels that are heard each by itself fall silent one "
                "by one: leave it out, and end the call when their events say so"
            )
        self.recognizer = recognizer
        self.options = options
        self.streams = [recognizer.stream(options)]  # complains of the options now; more when their number is known
        self.finished = False

    def accept(self, samples: NDArray[np.float32]) -> list[Update]:
        """Take any number of samples (n, channels); returns what became known, in order."""
        if not samples.size:
            return []
        while len(self.streams) < samples.shape[1]:
            self.streams.append(self.recognizer.stream(self.options))
        updates: list[Update] = []
        while len(samples):
            count = min(len(samples), *(stream.waits_for for stream in self.streams))
            for number, stream in enumerate(self.streams):
                updates += self._told(number, stream.accept(np.ascontiguousarray(samples[:count, number])))
            samples = samples[count:]
        return updates

    def flush(self) -> list[Update]:
        """Settle everything received so far: the finals of all channels, then one event; the streams go on."""
        told = [self._told(number, stream.flush()) for number, stream in enumerate(self.streams)]
        finals = [update for each in told for update in each[:-1]]
        return [*finals, replace(told[-1][-1], event=Event(Kind.FLUSHED, self.streams[0].cursors.processed_s))]

    def finish(self) -> list[Update]:
        """Settle everything; the streams are over."""
        self.finished = True
        return [update for number, stream in enumerate(self.streams) for update in self._told(number, stream.finish())]

    def _told(self, number: int, updates: list[Update]) -> list[Update]:
        """What one of them says, as its channel's."""
        others = [stream.cursors for stream in self.streams if stream is not self.streams[number]]
        channel = number + 1
        return [
            Update(
                results=tuple(replace(result, channel=channel) for result in update.results),
                cursors=Cursors(
                    received_s=update.cursors.received_s,
                    processed_s=min(one.processed_s for one in (update.cursors, *others)),
                    finalised_s=min(one.finalised_s for one in (update.cursors, *others)),
                ),
                event=update.event and replace(update.event, channel=channel),
            )
            for update in updates
        ]
