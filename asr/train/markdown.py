"""Tables for people, as Markdown has them."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Lines of cells under a head, as many cells in each."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def number(value: float | None, digits: int, unit: float = 1.0) -> str:
    """A value times its unit; "-" where there is none."""
    return "-" if value is None else f"{value * unit:.{digits}f}"


def shown(text: str, most: int = 200) -> str:
    """A text that fits a cell: on one line, cut after so many characters."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= most else text[:most] + " …"
