"""What asr-transcribe is told on the command line: every flag, its help, and what does not go together."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from client.results import Level, Options
from client.sdk import DEFAULT_TARGET
from client.writers import ALIGNMENT_WRITERS, WRITERS

LEVELS = {"mean": Level.MEAN_U8, "full": Level.FULL}
ONE_MAP = ("TextGrid", "html")  # formats that have no place for a map for each head
LATENCY_MODES = {"full": "full", "1280": "1280ms", "640": "640ms", "320": "320ms"}
PACKET_MS = 100
TARGET = re.compile(r"unix:.+|(\S+://)?\S+:\d{1,5}")

EPILOG = f"""\
One FILE without --output_dir: its text goes to stdout. Otherwise each FILE gives STEM.EXT in --output_dir
(the current directory by default); where stems are equal the later ones become STEM-2, STEM-3, ...
An alignment is always a file, STEM.alignment.EXT; pictures show one segment each, the later ones in
STEM.alignment-2.EXT, STEM.alignment-3.EXT, ...

Flags may be spelled with hyphens too. Without --server and --local the server is {DEFAULT_TARGET}.

exit status: 0 all done, 1 some inputs failed (each is named on stderr, the rest are done), 2 wrong usage,
3 no server, 130 interrupted"""


class Arguments(argparse.Namespace):
    """As `parse` returns them, with all defaults in place."""

    files: list[Path]
    server: str
    local: bool
    model_dir: Path | None
    text: Path | None
    stream: bool
    fast: bool
    packet_ms: int
    latency: str | None
    rescore_finals: bool
    language: str
    model: str
    output_format: str
    output_dir: Path | None
    word_timestamps: bool
    alignment: bool
    alignment_format: str
    alignment_level: str
    show_alignment: bool

    @property
    def text_to_stdout(self) -> bool:
        return len(self.files) == 1 and self.output_dir is None

    @property
    def folder(self) -> Path:
        return self.output_dir or Path()

    def options(self, watched: bool = False) -> Options:
        """What to ask the server for; watched: somebody sees what is not final yet."""
        aligned = self.alignment or (watched and self.show_alignment)
        return Options(
            latency_mode=LATENCY_MODES[self.latency] if self.latency else "",
            rescore_finals=self.rescore_finals,
            language=self.language,
            model=self.model,
            words=self.word_timestamps or self.alignment or self.text is not None,
            alignment=LEVELS[self.alignment_level] if aligned else Level.NONE,
            interim_results=watched,
        )


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments with their defaults; SystemExit with status 2 where they make no sense."""
    parser = _parser()
    arguments = parser.parse_args(_underscored(argv), namespace=Arguments())
    conflict = _conflict(arguments)
    if conflict:
        parser.error(conflict)
    arguments.server = arguments.server or DEFAULT_TARGET
    arguments.packet_ms = arguments.packet_ms or PACKET_MS
    arguments.alignment_format = arguments.alignment_format or "png"
    arguments.alignment_level = arguments.alignment_level or "mean"
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-transcribe",
        description="Turn recordings into text, with word times and pictures of the attention.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="recordings: WAV, FLAC, Ogg Opus")
    add("--server", metavar="HOST:PORT", help=f"the server to ask ({DEFAULT_TARGET})")
    add("--local", action="store_true", help="start a server on this machine for this one command")
    add("--model_dir", type=Path, metavar="DIR", help="with --local: the exported model it serves (the bundled one)")
    add("--text", type=Path, metavar="FILE", help="what is said in the one recording: do not recognise it, place it")
    add("--stream", action="store_true", help="decode here and send as if it were being spoken; text grows as it comes")
    add("--fast", action="store_true", help="with --stream: as fast as the server takes it, not at real time")
    add("--packet_ms", type=_positive, metavar="N", help=f"with --stream: audio in a packet ({PACKET_MS})")
    add("--latency", choices=LATENCY_MODES, help="audio taken at once, in ms (full for files, 640 for streams)")
    add("--rescore_finals", action="store_true", help="read each finished segment once more at full context")
    add("--language", default="", metavar="CODE", help="such as en, or auto (the model's own)")
    add("--model", default="", metavar="NAME", help="one of the server's models (its default)")
    add("--output_format", choices=WRITERS, default="txt", help="(%(default)s)")
    add("--output_dir", type=Path, metavar="DIR", help="where files go; made where it is missing")
    add("--word_timestamps", action="store_true", help="with --output_format json: the words with their times")
    add("--alignment", action="store_true", help="write where each token looked")
    add("--alignment_format", choices=ALIGNMENT_WRITERS, help="with --alignment (png)")
    add(
        "--alignment_level",
        choices=LEVELS,
        help="with --alignment: the mean over the heads that align, or every layer and head (mean)",
    )
    add(
        "--show_alignment", action="store_true", help="with --stream: show on the terminal where the last tokens looked"
    )
    return parser


def _conflict(arguments: Arguments) -> str | None:
    """What does not go together, in a sentence."""
    for flag, given, needed, there in (
        ("--fast", arguments.fast, "--stream", arguments.stream),
        ("--packet_ms", arguments.packet_ms, "--stream", arguments.stream),
        ("--show_alignment", arguments.show_alignment, "--stream", arguments.stream),
        ("--model_dir", arguments.model_dir, "--local", arguments.local),
        ("--alignment_format", arguments.alignment_format, "--alignment", arguments.alignment),
        ("--alignment_level", arguments.alignment_level, "--alignment", arguments.alignment),
    ):
        if given and not there:
            return f"{flag} means nothing without {needed}"
    if arguments.alignment_level == "full" and arguments.alignment_format in ONE_MAP:
        return f"{arguments.alignment_format} has no place for every head: --alignment_level full is for the others"
    if arguments.text is not None:
        if arguments.stream or arguments.rescore_finals:
            return "--text is placed in a whole recording: it goes with neither --stream nor --rescore_finals"
        if len(arguments.files) > 1:
            return "--text is what is said in one recording: give one FILE"
    if arguments.local and arguments.server:
        return "--local starts a server of its own and --server names another: give one of them"
    if arguments.server is not None and not TARGET.fullmatch(arguments.server):
        return f"--server is HOST:PORT, such as {DEFAULT_TARGET}, not {arguments.server!r}"
    return None


def _underscored(argv: Sequence[str]) -> list[str]:
    """The flags in our spelling. What follows a lone -- is not a flag."""
    flags = argv[: list(argv).index("--")] if "--" in argv else argv
    return [_underscored_flag(argument) for argument in flags] + list(argv[len(flags) :])


def _underscored_flag(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of milliseconds from 1 up")
    return number
