"""asr-transcribe: recordings in; text, json and the attention out."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from client import live
from client.alignments import aligned
from client.arguments import Arguments, parse
from client.errors import CallError, ContractError, FileError, MissingPackageError, NoServerError
from client.interruption import interruptible
from client.local import local_server, server_command
from client.outputs import page_suffix, unique_stems, write_atomically
from client.results import Transcript, finals
from client.sdk import Client
from client.writers import ALIGNMENT_WRITERS, PICTURES, SUBTITLES, WRITERS

DONE, SOME_FAILED, USAGE, NO_SERVER = 0, 1, 2, 3
INTERRUPTED = 130
READER_LEFT = 141  # what a shell reports of a program that SIGPIPE ended
BYTES_PER_SAMPLE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, return its exit status."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    for warning in arguments.warnings:
        _complain(warning, DONE)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    try:
        _prepare(arguments)
    except (MissingPackageError, OSError) as error:
        return _complain(error, USAGE)
    try:
        with _signals_unwind():
            return _run(arguments)
    except NoServerError as error:
        hint = "" if arguments.local else "; start one with asr-server, or use --local"
        return _complain(f"{error}{hint}", NO_SERVER)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes nowhere
        return READER_LEFT


def _prepare(arguments: Arguments) -> None:
    """What would fail for every file fails before the first."""
    if arguments.stream or arguments.text:
        import_module("client.recording")
    if arguments.show_alignment:
        import_module("client.looking")
    if arguments.alignment and arguments.alignment_format in PICTURES:
        import_module("client.picture")
    if arguments.alignment and arguments.alignment_format == "html":
        import_module("client.report")
    arguments.folder.mkdir(parents=True, exist_ok=True)


def _run(arguments: Arguments) -> int:
    with _server(arguments) as target, Client(target) as client:
        return interruptible(lambda: _transcribe(client, arguments), cancel=client.close)


def _transcribe(client: Client, arguments: Arguments) -> int:
    """Each file in turn; those that fail are named and passed over."""
    stems = unique_stems(arguments.files, arguments.folder, _suffixes(arguments))
    failures = 0
    for path, stem in zip(arguments.files, stems, strict=True):
        try:
            transcript = _transcript(client, path, arguments)
            _write_text(transcript, stem, arguments)
            if arguments.alignment:
                _write_alignment(transcript, path, stem, arguments)
        except BrokenPipeError:
            raise
        except (CallError, ContractError, FileError, OSError) as error:
            if client.is_closed:  # interrupted: nobody wants to hear of it
                break
            failures += 1
            _complain(f"{path}: {_reason(error, path)}", SOME_FAILED)
    return SOME_FAILED if failures else DONE


@contextmanager
def _server(arguments: Arguments) -> Iterator[str]:
    """The address to ask, for as long as it is asked."""
    with ExitStack() as running:
        target = arguments.server
        if arguments.local:
            with live.waiting("starting a server"):
                target = running.enter_context(local_server(server_command(arguments.model_dir)))
        yield target


def _suffixes(arguments: Arguments) -> list[str]:
    text = [] if arguments.text_to_stdout else [f".{name}" for name in arguments.formats]
    return text + ([page_suffix(1, arguments.alignment_format)] if arguments.alignment else [])


def _transcript(client: Client, path: Path, arguments: Arguments) -> Transcript:
    if path.is_file() and path.stat().st_size == 0:
        raise FileError("the file is empty: there is no recording in it")
    if arguments.stream:
        return _streamed(client, path, arguments)
    if arguments.text:
        return _placed(client, path, arguments.text, arguments)
    with live.waiting(f"transcribing {path}"):
        return client.recognize_file(path, arguments.options())


def _placed(client: Client, path: Path, text_path: Path, arguments: Arguments) -> Transcript:
    """The known text with its places in the recording."""
    from client.recording import Recording

    try:
        text = text_path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise FileError(f"its text in {text_path} is not UTF-8") from None
    if not text:
        raise FileError(f"its text in {text_path} is empty: there is nothing to place")
    duration_s = Recording(path).duration_s  # the answer does not say
    with live.waiting(f"placing {text_path} in {path}"):
        placed = client.align_file(path, text, arguments.options())
    return Transcript((placed.segment,), duration_s, placed.score)


def _streamed(client: Client, path: Path, arguments: Arguments) -> Transcript:
    from client.recording import Recording, at_real_time

    recording = Recording(path)
    sent_bytes = 0

    def packets() -> Iterator[bytes]:
        nonlocal sent_bytes
        cut = recording.packets(arguments.packet_ms)
        for packet in cut if arguments.fast else at_real_time(cut, recording.sample_rate):
            sent_bytes += len(packet)
            yield packet

    updates = client.stream(packets(), recording.sample_rate, arguments.options(watched=live.on_terminal()))
    segments = finals(live.watched(updates, arguments.show_alignment))
    # Counted here: where the server's cursors stand in its last response depends on the wire.
    return Transcript(segments, duration_s=sent_bytes / BYTES_PER_SAMPLE / recording.sample_rate)


def _write_text(transcript: Transcript, stem: str, arguments: Arguments) -> None:
    # words may have come for the sake of an alignment or of subtitles
    wordless = replace(transcript, segments=tuple(replace(segment, words=()) for segment in transcript.segments))
    wordy = arguments.word_timestamps or arguments.text
    for name in arguments.formats:
        text = WRITERS[name](transcript if wordy or name in SUBTITLES else wordless, arguments.layout)
        if arguments.text_to_stdout:
            print(text, end="", flush=True)
        else:
            _write(arguments.folder / f"{stem}.{name}", text.encode())


def _write_alignment(transcript: Transcript, path: Path, stem: str, arguments: Arguments) -> None:
    extension = arguments.alignment_format
    pages = ALIGNMENT_WRITERS[extension](path, transcript.duration_s, aligned(transcript.segments))
    page = 0
    for page, content in enumerate(pages, start=1):
        _write(arguments.folder / f"{stem}{page_suffix(page, extension)}", content)
    if not page:
        _complain(f"{path}: nothing was recognised, so there is no alignment to draw", DONE)


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    live.say(f"wrote {path}")


def _reason(error: Exception, path: Path) -> str:
    """What went wrong, without a repeated name."""
    if isinstance(error, OSError) and error.strerror and error.filename in (None, path, str(path)):
        return error.strerror
    return str(error)


def _complain(what: object, status: int) -> int:
    print(f"asr-transcribe: {what}", file=sys.stderr)
    return status


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Let a polite kill or a closed terminal end us as Ctrl-C does, through `finally`: a server may be running."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
