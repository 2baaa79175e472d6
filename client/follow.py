"""What is known of a stream so far, of one channel of it: its messages, applied one by one.

A message says what is final since the last one, and anew all that is known beyond the finals: what is stable and will
only be extended, then what is provisional and may still be taken back. So what was not final is replaced by the next
message that has results, an event changes nothing, and a row of the alignment that was settled once never changes.

    known = Followed()
    for update in client.stream(packets, 16000, Options(alignment=Level.MEAN_U8)):
        known = known.after(update)
        print(known.text, len(known.rows))

Of separate channels each is followed by itself: known[update.channel] = known[update.channel].after(update).
"""

from dataclasses import dataclass, field

from client.results import Segment, Update
from client.rows import Rows


@dataclass(frozen=True, eq=False)
class Followed:
    """A stream so far, or one channel of it. Start with an empty one."""

    final: str = ""  # text that is over and done with
    stable: str = ""  # since the last final; will only be extended
    provisional: str = ""  # may still change
    rows: Rows = field(default_factory=Rows)  # by row_id, ascending: where each token looked
    segments: tuple[Segment, ...] = ()  # the finals
    interims: tuple[Segment, ...] = ()  # of the last message with results: what is stable, then what is provisional
    channel: int | None = None  # None: nothing came yet

    @property
    def text(self) -> str:
        return self.final + self.stable + self.provisional

    def after(self, update: Update) -> "Followed":
        """What is known when this message has come, too. ContractError where it takes back what was settled."""
        if not update.results:
            return self
        if self.channel not in (None, update.channel):
            raise ValueError(f"this follows channel {self.channel}, but the message is of channel {update.channel}")
        finals = tuple(result for result in update.results if result.is_final)
        interims = tuple(result for result in update.results if not result.is_final)
        return Followed(
            final=self.final + "".join(result.text for result in finals),
            stable="".join(result.text for result in interims if result.stability >= 1),
            provisional="".join(result.text for result in interims if result.stability < 1),
            rows=self.rows.after(update.results),
            segments=self.segments + finals,
            interims=interims,
            channel=update.channel,
        )
