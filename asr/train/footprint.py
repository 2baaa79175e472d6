"""How large an installation is: the files of a package, of what its extras ask for, and of what those ask for in turn.

    python -m asr.train.footprint "heed[serve]"

It tells what the Python that runs it has installed, as JSON, and fetches nothing. Python itself, pip and what else lies
beside are not counted. It stands on the standard library and packaging, so that any server's Python can run it.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from asr.errors import NotFoundError

OWN = {"heed": ("asr", "server", "client")}  # packages of a distribution that is not copied where it is editable
CACHE = "__pycache__"  # a process makes it anew


def main(arguments: Sequence[str] | None = None) -> int:
    (told,) = sys.argv[1:] if arguments is None else arguments
    try:
        print(json.dumps(sizes(told)))
    except NotFoundError as error:
        print(f"footprint: {error}", file=sys.stderr)
        return 1
    return 0


def sizes(told: str) -> dict[str, int]:
    """Bytes of each distribution by its name. NotFoundError where one is not installed."""
    counted: set[Path] = set()
    found: dict[str, int] = {}
    for distribution in needed(told):
        files = {file.resolve() for file in files_of(distribution) if file.is_file()} - counted
        counted |= files
        found[canonicalize_name(distribution.metadata["Name"])] = sum(file.stat().st_size for file in files)
    return found


def needed(told: str) -> list[metadata.Distribution]:
    """A requirement such as "heed[serve]", and all that it asks for, each once."""
    found: dict[str, metadata.Distribution] = {}
    wanted, seen = [Requirement(told)], set()
    while wanted:
        one = wanted.pop(0)
        key = canonicalize_name(one.name), frozenset(one.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = metadata.distribution(one.name)
        except metadata.PackageNotFoundError as error:
            raise NotFoundError(f"{one.name} is not installed in {sys.prefix}, but {told} needs it") from error
        asked = map(Requirement, found[key[0]].requires or ())
        wanted += [more for more in asked if applies(more, one.extras)]
    return list(found.values())


def applies(one: Requirement, extras: set[str]) -> bool:
    """Whether it is asked for on this system, with these extras."""
    return one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ["", *extras])


def files_of(distribution: metadata.Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        yield Path(str(distribution.locate_file(file)))
    for package in OWN.get(canonicalize_name(distribution.metadata["Name"]), ()):
        spec = find_spec(package)
        for folder in [] if spec is None else spec.submodule_search_locations or ():
            yield from (file for file in Path(folder).rglob("*") if CACHE not in file.parts)


if __name__ == "__main__":
    sys.exit(main())
