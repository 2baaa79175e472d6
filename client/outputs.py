"""Names of output files, and writing them so that nobody ever reads half of one."""

import os
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

ALIGNMENT = ".alignment"  # stands between stem and extension


def page_suffix(page: int, extension: str) -> str:
    """What follows the stem in the name of a page of an alignment: ".alignment.png", then ".alignment-2.png"."""
    return f"{ALIGNMENT}.{extension}" if page == 1 else f"{ALIGNMENT}-{page}.{extension}"


def unique_stems(inputs: Sequence[Path], output_dir: Path, suffixes: Sequence[str]) -> list[str]:
    """A stem for the outputs of each input, so that none overwrites another's outputs, or an input.

    The first bearer of a stem keeps it; others get the first free of -2, -3, ... that no input bears. Names
    that a file system may hold for equal are equal here. `suffixes` are what outputs add to a stem.
    """
    borne = {_same(path.stem) for path in inputs}
    taken = {_same(path.name) for path in inputs if path.parent.resolve() == output_dir.resolve()}

    def names(stem: str) -> set[str]:
        return {_same(stem + suffix) for suffix in suffixes}

    stems = []
    for path in inputs:
        stem = next(stem for stem in _candidates(path.stem, borne) if names(stem).isdisjoint(taken))
        taken |= names(stem)
        stems.append(stem)
    return stems


def write_atomically(path: Path, content: bytes) -> None:
    """Afterwards the file is whole; on OSError it is as it was before."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _candidates(stem: str, borne: set[str]) -> Iterator[str]:
    yield stem
    for number in count(2):
        if _same(f"{stem}-{number}") not in borne:
            yield f"{stem}-{number}"


def _same(name: str) -> str:
    """One spelling for names that differ only in case or in how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
