"""What a person sees on the terminal while a recording is being transcribed.

All of it goes to stderr, and only where that is a terminal; results never pass through here.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from client.follow import Followed
from client.results import Update

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


def on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def say(line: str) -> None:
    """Tell a person who is watching; a log file does not want it."""
    if on_terminal():
        print(line, file=sys.stderr)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner for something that cannot be watched."""
    console = _console()
    if console is None:
        yield
    else:
        from rich.text import Text

        with console.status(Text(what)):
            yield


def watched(updates: Iterable[Update], show_alignment: bool = False) -> Iterator[Update]:
    """The same updates; on the way what is known grows with them, and is wiped at the end."""
    console = _console()
    if console is None:
        yield from updates
        return
    from rich.live import Live

    known: defaultdict[int, Followed] = defaultdict(Followed)
    with Live(console=console, transient=True) as screen:
        for update in updates:
            if update.results:
                known[update.channel] = known[update.channel].after(update)
            screen.update(_drawn(known, console.width, console.height - 2, show_alignment))
            yield update


@contextmanager
def progress(sizes: Sequence[int]) -> Iterator[Callable[[int], None]]:
    """A bar with the time left for recordings of these sizes in bytes. Call what it gives with each size as it is done.

    Bytes stand for how long a recording takes: nothing more is known before it is sent.
    """
    console = _console()
    if console is None:
        yield lambda size: None
        return
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    started = time.monotonic()
    done: list[int] = []
    last = started

    def tell(size: int) -> None:
        nonlocal last
        last = time.monotonic()
        done.append(size)

    def drawn() -> Table:
        left = time_left(sum(done), sum(sizes), last - started, time.monotonic() - last)
        row = Table.grid(padding=(0, 1))
        row.add_row(f"{len(done)} of {len(sizes)}", ProgressBar(max(1, sum(sizes)), sum(done), width=40), left)
        return row

    # what is said meanwhile goes above the bar
    with Live(console=console, transient=True, get_renderable=drawn, redirect_stdout=False):
        yield tell


def time_left(done: int, of: int, took_s: float, since_s: float) -> str:
    """For the rest at the pace at which so much was done; since_s ago it was."""
    if not done:
        return ""
    seconds = max(0, round(took_s * (of - done) / done - since_s))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d} left" if hours else f"{minutes}:{seconds % 60:02d} left"


def _console() -> "Console | None":
    if not on_terminal():
        return None
    try:
        from rich.console import Console
    except ImportError:  # then there is nothing to see, and nothing is lost
        return None
    return Console(stderr=True)


def _drawn(channels: Mapping[int, Followed], width: int, height: int, show_alignment: bool) -> "RenderableType":
    """The caption, and under it where the last tokens looked; of several channels a caption for each."""
    if any(channels):
        return _captions(channels, width, height)
    known = channels.get(0, Followed())
    if not show_alignment:
        return _caption(known, room=width * max(1, height))
    from rich.console import Group

    from client.looking import TOKENS, drawn

    tokens = max(1, min(TOKENS, height // 2))
    return Group(_caption(known, room=width * max(1, height - tokens - 1)), drawn(known, width, tokens))


def _captions(channels: Mapping[int, Followed], width: int, height: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    lines = max(1, height // len(channels))
    heads = {channel: f"[{channel}] " for channel in sorted(channels)}
    captions = [_caption(channels[channel], width * lines - len(head)) for channel, head in heads.items()]
    return Group(*(Text(head) + caption for head, caption in zip(heads.values(), captions, strict=True)))


def _caption(known: Followed, room: int) -> "Text":
    """As much of the text's end as fits into `room` characters."""
    from rich.text import Text

    drawn = Text.assemble((known.final + known.stable).lstrip(), (known.provisional, "dim"))
    return drawn[max(0, len(drawn) - room) :]
