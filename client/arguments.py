"""What asr-transcribe is told on the command line: every flag, its help, and what does not go together."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from client.access import OPEN, Access, read_token
from client.inputs import STDIN, is_one_recording
from client.results import Level, Options, Phrases
from client.sdk import DEFAULT_TARGET
from client.subtitles import LINE_WIDTH, LINES, WORDS, Layout
from client.writers import ALIGNMENT_WRITERS, SUBTITLES, WRITERS

LEVELS = {"mean": Level.MEAN_U8, "full": Level.FULL}
ALL = "all"
ONE_MAP = ("TextGrid", "html")  # formats that have no place for a map for each head
ONE_CHANNEL = ONE_MAP  # nor for people who speak at the same time
LATENCY_MODES = {"full": "full", "1280": "1280ms", "640": "640ms", "320": "320ms"}
PACKET_MS = 100
TOKEN_VARIABLE = "HEED_TOKEN"
TARGET = re.compile(r"unix:.+|(\S+://)?\S+:(?P<port>\d{1,5})")
LARGEST_PORT = 65535

EPILOG = f"""\
A folder stands for the recordings in it and in the folders below, by their extensions; a pattern is given in quotes
('talks/**/*.wav'); each recording is done once. One recording without --output_dir: its text goes to stdout (of
--output_format all nothing does). Otherwise each gives STEM.EXT in --output_dir (the current directory by default);
where stems are equal the later ones become STEM-2, STEM-3, ... The stem is stdin or microphone where there is no name.
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
    tls: bool
    tls_ca: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    token_file: Path | None
    plain_token: bool
    model_dir: Path | None
    text: Path | None
    stream: bool
    microphone: bool
    fast: bool
    packet_ms: int
    sample_rate: int | None
    latency: str | None
    rescore_finals: bool
    separate_channels: bool
    beam_size: int
    max_alternatives: int
    phrase: list[str]
    boost: float
    language: str
    model: str
    output_format: str
    output_dir: Path | None
    jobs: int
    resume: bool
    word_timestamps: bool
    highlight_words: bool
    max_line_width: int | None
    max_line_count: int | None
    max_words_per_line: int | None
    alignment: bool
    alignment_format: str
    alignment_level: str
    show_alignment: bool

    @property
    def text_to_stdout(self) -> bool:
        one = self.microphone or (len(self.files) == 1 and is_one_recording(self.files[0]))
        return one and self.output_dir is None and self.output_format != ALL

    @property
    def formats(self) -> list[str]:
        return list(WRITERS) if self.output_format == ALL else [self.output_format]

    @property
    def layout(self) -> Layout:
        """Of subtitles. As in whisper words are not counted where the lines' width is given."""
        words = None if self.max_line_width else self.max_words_per_line
        return Layout(
            width=self.max_line_width or LINE_WIDTH,
            lines=(self.max_line_width and self.max_line_count) or LINES,
            words=words or WORDS,
            highlight=self.highlight_words,
        )

    @property
    def folder(self) -> Path:
        return self.output_dir or Path()

    def options(self, watched: bool = False) -> Options:
        """What to ask the server for; watched: somebody sees what is not final yet."""
        subtitles = not SUBTITLES.keys().isdisjoint(self.formats)
        aligned = self.alignment or (watched and self.show_alignment)
        return Options(
            latency_mode=LATENCY_MODES[self.latency] if self.latency else "",
            rescore_finals=self.rescore_finals,
            separate_channels=self.separate_channels,
            beam_size=self.beam_size,
            max_alternatives=self.max_alternatives,
            phrases=(Phrases(tuple(self.phrase), self.boost),) if self.phrase else (),
            language=self.language,
            model=self.model,
            words=self.word_timestamps or self.alignment or subtitles or self.text is not None,
            alignment=LEVELS[self.alignment_level] if aligned else Level.NONE,
            interim_results=watched,
        )

    def access(self, environment: Mapping[str, str]) -> Access:
        """AccessError where the files are not what they should be. A server of our own needs nothing of it."""
        if self.local:
            return OPEN
        token = environment.get(TOKEN_VARIABLE, "").strip() if self.token_file is None else read_token(self.token_file)
        return Access(self.tls, self.tls_ca, self.tls_certificate, self.tls_key, token, self.plain_token)

    @property
    def warnings(self) -> list[str]:
        """What has no effect and does no harm; whisper warns of the same."""
        told = []
        if self.max_line_count and not self.max_line_width:
            told.append("--max_line_count has no effect without --max_line_width")
        if self.max_words_per_line and self.max_line_width:
            told.append("--max_words_per_line has no effect with --max_line_width")
        return told


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments with their defaults; SystemExit with status 2 where they make no sense."""
    parser = _parser()
    arguments = parser.parse_args(_underscored(argv), namespace=Arguments())
    arguments.stream = arguments.stream or arguments.microphone
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
        usage="%(prog)s [--local | --server HOST:PORT] [OPTION ...] FILE ...",  # all forty would hide what was wrong
        description="Turn recordings into text, with word times and pictures of the attention.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="a recording, a folder of them, a pattern, - for stdin")
    add("--microphone", action="store_true", help="listen to this machine's microphone until Ctrl-C, as with --stream")
    add("--server", metavar="HOST:PORT", help=f"the server to ask ({DEFAULT_TARGET})")
    add("--local", action="store_true", help="start a server on this machine for this one command")
    add("--tls", action="store_true", help="speak TLS; any of the next three means it too")
    add(
        "--tls_ca",
        type=Path,
        metavar="FILE",
        help="PEM: who signed the server's certificate (whom this machine trusts)",
    )
    add("--tls_certificate", type=Path, metavar="FILE", help="PEM: our own certificate, for servers that want one")
    add("--tls_key", type=Path, metavar="FILE", help="PEM: its private key")
    add("--token_file", type=Path, metavar="FILE", help=f"holds the token that the server wants (${TOKEN_VARIABLE})")
    add("--plain_token", action="store_true", help="send it to another machine without TLS too, readable on the way")
    add("--model_dir", type=Path, metavar="DIR", help="with --local: the exported model it serves (the bundled one)")
    add("--text", type=Path, metavar="FILE", help="what is said in the one recording: do not recognise it, place it")
    add("--stream", action="store_true", help="decode here and send as if it were being spoken; text grows as it comes")
    add("--fast", action="store_true", help="with --stream: as fast as the server takes it, not at real time")
    add("--packet_ms", type=_positive, metavar="N", help=f"with --stream: ms of audio in a packet ({PACKET_MS})")
    add(
        "--sample_rate",
        type=_positive,
        metavar="HZ",
        help="with --stream -: stdin holds raw 16-bit little-endian mono samples of this rate, sent as they come",
    )
    add("--latency", choices=LATENCY_MODES, help="audio taken at once, in ms (full for files, 640 for streams)")
    add("--rescore_finals", action="store_true", help="read each finished segment once more at full context")
    add("--separate_channels", action="store_true", help="hear each channel by itself, such as both ends of a call")
    add("--beam_size", type=_positive, default=0, metavar="N", help="hypotheses that the search follows at once (1)")
    add("--max_alternatives", type=_positive, default=1, metavar="N", help="texts a segment, in json and jsonl (1)")
    add("--phrase", action="append", default=[], metavar="TEXT", help="what is expected to be said (repeatable)")
    add(
        "--boost",
        type=_boost,
        default=0.0,
        metavar="X",
        help="with --phrase: nats of bonus a token, up to 20 (the server's: 1.5)",
    )
    add("--language", default="", metavar="CODE", help="such as en, or auto (the model's own)")
    add("--model", default="", metavar="NAME", help="one of the server's models (its default)")
    add(
        "--output_format", choices=[*WRITERS, ALL], default="txt", help="how the text is written; all writes each (txt)"
    )
    add("--output_dir", type=Path, metavar="DIR", help="where files go; made where it is missing (here)")
    add("--jobs", type=_positive, default=1, metavar="N", help="recordings sent at once (%(default)s)")
    add("--resume", action="store_true", help="pass over recordings whose files are written already")
    add("--word_timestamps", action="store_true", help="the words with their times, in json and jsonl")
    subtitles = "in srt and vtt, with --word_timestamps: "
    add("--highlight_words", action="store_true", help=f"{subtitles}underline each word while it is said")
    add("--max_line_width", type=_positive, metavar="N", help=f"{subtitles}characters in a line ({LINE_WIDTH})")
    add("--max_line_count", type=_positive, metavar="N", help=f"{subtitles}lines at once ({LINES})")
    add("--max_words_per_line", type=_positive, metavar="N", help=f"{subtitles}words at once, without --max_line_width")
    add("--alignment", action="store_true", help="write where each token looked")
    add("--alignment_format", choices=ALIGNMENT_WRITERS, help="with --alignment: how it is written (png)")
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
    subtitles = {
        "--highlight_words": arguments.highlight_words,
        "--max_line_width": arguments.max_line_width,
        "--max_line_count": arguments.max_line_count,
        "--max_words_per_line": arguments.max_words_per_line,
    }
    drawn = not SUBTITLES.keys().isdisjoint(arguments.formats)
    for flag, given, needed, there in (
        ("--fast", arguments.fast, "--stream", arguments.stream),
        ("--packet_ms", arguments.packet_ms, "--stream", arguments.stream),
        ("--sample_rate", arguments.sample_rate, "--stream -", arguments.stream and STDIN in arguments.files),
        ("--show_alignment", arguments.show_alignment, "--stream", arguments.stream),
        ("--boost", arguments.boost, "--phrase", arguments.phrase),
        ("--model_dir", arguments.model_dir, "--local", arguments.local),
        ("--alignment_format", arguments.alignment_format, "--alignment", arguments.alignment),
        ("--alignment_level", arguments.alignment_level, "--alignment", arguments.alignment),
        *((flag, given, "--word_timestamps", arguments.word_timestamps) for flag, given in subtitles.items()),
        *((flag, given, "--output_format srt, vtt or all", drawn) for flag, given in subtitles.items()),
    ):
        if given and not there:
            return f"{flag} means nothing without {needed}"
    if arguments.microphone and (arguments.files or arguments.fast):
        return "--microphone is heard as it is spoken: it goes with neither a FILE nor --fast"
    if not arguments.files and not arguments.microphone:
        return "give a FILE: a recording, a folder, a pattern or - for stdin; or --microphone"
    if arguments.show_alignment and arguments.jobs > 1:
        return "--show_alignment shows one recording at a time: it goes without --jobs"
    if arguments.resume and arguments.text_to_stdout:
        return "--resume looks for files, but this text goes to stdout: give --output_dir"
    if arguments.alignment_level == "full" and arguments.alignment_format in ONE_MAP:
        return f"{arguments.alignment_format} has no place for every head: --alignment_level full is for the others"
    if arguments.text is not None:
        if arguments.beam_size or arguments.max_alternatives > 1 or arguments.phrase:
            return "--text is placed, not searched for: no --beam_size, --max_alternatives or --phrase goes with it"
        if arguments.stream or arguments.rescore_finals:
            return "--text is placed in a whole recording: it goes with neither --stream nor --rescore_finals"
        if len(arguments.files) > 1 or not is_one_recording(arguments.files[0]):
            return "--text is what is said in one recording: give one FILE"
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        return "--tls_certificate and --tls_key go together"
    if arguments.local and (arguments.tls or arguments.tls_ca or arguments.tls_certificate or arguments.token_file):
        return "--local starts a server of its own, which nobody else can reach: it wants neither TLS nor a token"
    if arguments.separate_channels:
        if arguments.text is not None or arguments.microphone or arguments.sample_rate:
            return (
                "--separate_channels wants a recording with channels, so neither --text nor --microphone nor raw stdin"
            )
        if arguments.show_alignment or (arguments.alignment and arguments.alignment_format in ONE_CHANNEL):
            return (
                f"--separate_channels goes with neither --show_alignment nor {' nor '.join(ONE_CHANNEL)}: one at a time"
            )
    if arguments.local and arguments.server:
        return "--local starts a server of its own and --server names another: give one of them"
    if arguments.server is not None and not _is_target(arguments.server):
        return f"--server is HOST:PORT, such as {DEFAULT_TARGET}, not {arguments.server!r}"
    return None


def _is_target(text: str) -> bool:
    """A greater port would be taken modulo 65536: somebody else's."""
    found = TARGET.fullmatch(text)
    return found is not None and int(found["port"] or 0) <= LARGEST_PORT


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
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return number


def _boost(text: str) -> float:
    value = float(text)
    if not 0 < value <= 20:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0, up to 20")
    return value
