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


def page_path(first: Path, page: int) -> Path:
    """Where a page goes of which the first goes there: "talk.png", then "talk-2.png"."""
    return first if page == 1 else first.with_stem(f"{first.stem}-{page}")


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


def are_done(inputs: Sequence[Path], stems: Sequence[str], output_dir: Path, suffixes: Sequence[str]) -> list[bool]:
    """Of each input whether all its outputs are there already, made after it came.

    A stem that several bear tells them apart by their order alone, which a new one may have changed: their outputs
    have to be younger than all of them.
    """
    came = [_came(path) for path in inputs]
    youngest: dict[str, float] = {}
    for path, time_s in zip(inputs, came, strict=True):
        youngest[_same(path.stem)] = max(time_s, youngest.get(_same(path.stem), 0.0))
    done = []
    for path, stem in zip(inputs, stems, strict=True):
        outputs = [output_dir / (stem + suffix) for suffix in suffixes]
        done.append(all(_made(output) > youngest[_same(path.stem)] for output in outputs))
    return done


def _came(path: Path) -> float:
    """When it was made or was put here, whichever is later. What is not there never came."""
    try:
        status = path.stat()
    except OSError:
        return float("inf")
    return max(status.st_mtime, status.st_ctime)


def _made(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("-inf")


def write_atomically(path: Path, content: bytes) -> None:
    """Afterwards the file is whole; on OSError, which names it, it is as it was before."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # nobody knows the part's name
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
