"""What a command line's FILEs stand for: files, folders, patterns, stdin."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.arrival import Arriving

STDIN = Path("-")
# of recordings in a folder; a file that is named may have any
EXTENSIONS = (".aac", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm")


@dataclass(frozen=True)
class Input:
    """One recording to transcribe."""

    name: str  # that people know it by
    path: Path  # where it lies, or can be put when it comes from elsewhere
    on_stdin: bool = False  # all of it
    arriving: Arriving | None = None  # it is still being spoken


def is_one_recording(file: Path) -> bool:
    """Whether a FILE stands for one recording whatever else there is: neither folder nor pattern."""
    return not file.is_dir() and not _is_pattern(file)


def expanded(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Each recording once, in order, STDIN as it is; and of what stands for none, what to say."""
    found: dict[str, Path] = {}
    complaints: list[str] = []
    for file in files:
        if _is_pattern(file):
            named = [Path(name) for name in sorted(glob.glob(str(file), recursive=True))]
            if not named:
                complaints.append(f"{file}: nothing matches this pattern")
        else:
            named = [file]
        for path in _recordings(named, complaints):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values()), complaints


def _is_pattern(file: Path) -> bool:
    return glob.has_magic(str(file)) and not file.exists()


def _recordings(paths: Iterable[Path], complaints: list[str]) -> Iterator[Path]:
    """The paths, with what is in folders in their place."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = list(_inside(path, complaints))
        if not inside:
            complaints.append(f"{path}: no recording in this folder; known by their names are {' '.join(EXTENSIONS)}")
        yield from inside


def _inside(folder: Path, complaints: list[str]) -> Iterator[Path]:
    """Recordings by their extensions, folder by folder, each in the order of names; what is hidden stays so."""

    def failed(error: OSError) -> None:
        complaints.append(f"{error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield Path(root, name)
