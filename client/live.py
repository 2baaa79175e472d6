"""What a person sees on the terminal while a recording is being transcribed.

All of it goes to stderr, and only where that is a terminal; results never pass through here.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from client.results import Update

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


@dataclass(frozen=True)
class Caption:
    """The text of a stream so far, by how sure it is."""

    final: str = ""
    stable: str = ""  # since the last final; will only be extended
    provisional: str = ""  # may still change

    def after(self, update: Update) -> "Caption":
        if not update.results:
            return self
        return Caption(
            final=self.final + "".join(result.text for result in update.results if result.is_final),
            stable="".join(r.text for r in update.results if not r.is_final and r.stability >= 1),
            provisional="".join(r.text for r in update.results if not r.is_final and r.stability < 1),
        )


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


def watched(updates: Iterable[Update]) -> Iterator[Update]:
    """The same updates; on the way a caption grows with them, and is wiped at the end."""
    console = _console()
    if console is None:
        yield from updates
        return
    from rich.live import Live

    caption = Caption()
    with Live(console=console, transient=True) as screen:
        for update in updates:
            caption = caption.after(update)
            screen.update(_drawn(caption, room=console.width * max(1, console.height - 2)))
            yield update


def _console() -> "Console | None":
    if not on_terminal():
        return None
    try:
        from rich.console import Console
    except ImportError:  # then there is nothing to see, and nothing is lost
        return None
    return Console(stderr=True)


def _drawn(caption: Caption, room: int) -> "Text":
    """As much of the caption's end as fits into `room` characters."""
    from rich.text import Text

    drawn = Text.assemble((caption.final + caption.stable).lstrip(), (caption.provisional, "dim"))
    return drawn[max(0, len(drawn) - room) :]
