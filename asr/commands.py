"""The commands that train, export and measure, so that one whose packages are missing says what to install.

What serves and transcribes is installed without torch (`make demo`); these commands are there too, and would end
in a traceback of imports.
"""

import sys
from importlib import import_module

USAGE = 2  # as of wrong options
OURS = ("asr", "client", "server")


def run(command: str, module: str, extra: str) -> int:
    """The exit status of a module's main, or USAGE where a package of the extra is missing."""
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:  # a fault of ours, which wants its traceback
            raise
        print(
            f"{command}: needs the package {error.name}, which is not installed: make setup, "
            f"or {sys.executable} -m pip install 'heed[{extra}]'",
            file=sys.stderr,
        )
        return USAGE
    return int(main() or 0)


def import_whisper() -> int:
    return run("asr-import", "asr.model.importer", "train")


def export() -> int:
    return run("asr-export", "asr.export.export", "export")


def train() -> int:
    return run("asr-train", "asr.train.train", "train")


def label() -> int:
    return run("asr-label", "asr.train.label", "train")


def evaluate() -> int:
    return run("asr-evaluate", "asr.train.evaluate", "train")


def bench() -> int:
    return run("asr-bench", "asr.train.bench", "client,serve,train")


def calibrate() -> int:
    return run("asr-calibrate", "asr.train.calibrate", "train")


def compare() -> int:
    return run("asr-compare", "asr.compare.compare", "client,serve,picture,export")
