"""asr-transcribe: recordings in; text, json and the attention out."""

import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from client import live
from client.alignments import aligned
from client.arguments import TOKEN_VARIABLE, Arguments, parse
from client.arrival import Arriving, RawSamples
from client.ask import transcript
from client.errors import AccessError, CallError, ContractError, FileError, MissingPackageError, NoServerError
from client.inputs import STDIN, Input, expanded
from client.interruption import interruptible
from client.jobs import as_done
from client.local import local_server, server_command
from client.outputs import are_done, page_suffix, unique_stems, write_atomically
from client.results import Segment, Transcript
from client.sdk import Client
from client.writers import ALIGNMENT_WRITERS, PICTURES, SUBTITLES, WRITERS, says_nothing

DONE, SOME_FAILED, USAGE, NO_SERVER = 0, 1, 2, 3
INTERRUPTED = 130
READER_LEFT = 141  # what a shell reports of a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, return its exit status."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    for warning in arguments.warnings:
        _complain(warning, DONE)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    try:
        _prepare(arguments)
    except MissingPackageError as error:
        return _complain(error, USAGE)
    except OSError as error:
        return _complain(f"cannot write into --output_dir {arguments.folder}: {error.strerror}", USAGE)
    try:
        with _signals_unwind():
            return _run(arguments)
    except AccessError as error:
        return _complain(error, USAGE)
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
    if arguments.microphone:
        import_module("client.microphone")
    elif arguments.stream or arguments.text:
        import_module("client.recording")
    if arguments.show_alignment:
        import_module("client.looking")
    if arguments.alignment and arguments.alignment_format in PICTURES:
        import_module("client.picture")
    if arguments.alignment and arguments.alignment_format == "html":
        import_module("client.report")
    if arguments.output_dir is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(arguments.folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _run(arguments: Arguments) -> int:
    access = arguments.access(os.environ)
    files, complaints = expanded(arguments.files)
    for complaint in complaints:
        _complain(complaint, SOME_FAILED)
    if not files and not arguments.microphone:
        return SOME_FAILED
    arriving = _arriving(arguments)
    with (
        TemporaryDirectory(prefix="asr-", ignore_cleanup_errors=True) as folder,
        _server(arguments) as target,
        Client(target, access=access) as client,
    ):
        inputs = [_input(file, Path(folder), arriving) for file in files]
        if arguments.microphone:
            inputs = [Input("microphone", Path(folder, "microphone.wav"), arriving=arriving)]

        def cancel() -> None:
            if arriving is not None:
                arriving.stop()
            client.close()

        finish = arriving.stop if arriving is not None and len(inputs) == 1 else None
        status = interruptible(lambda: _transcribe(client, inputs, arguments), cancel, finish)
        return SOME_FAILED if complaints else status


def _arriving(arguments: Arguments) -> Arriving | None:
    """What is still being spoken, and ends with the first Ctrl-C."""
    if arguments.microphone:
        from client.microphone import Microphone

        return Microphone()
    if arguments.sample_rate:
        return RawSamples(arguments.sample_rate)
    return None


def _input(file: Path, folder: Path, arriving: Arriving | None) -> Input:
    """What is on stdin has a place in the folder, for all that wants to read it as a file."""
    if file != STDIN:
        return Input(str(file), file)
    if arriving is not None:
        return Input("stdin", folder / "stdin.wav", arriving=arriving)
    return Input("stdin", folder / "stdin", on_stdin=True)


def _transcribe(client: Client, inputs: Sequence[Input], arguments: Arguments) -> int:
    """Each input once, some at a time; those that fail are named and passed over."""
    todo = _todo(inputs, arguments)
    one_by_one = len(todo) == 1 or (arguments.stream and arguments.jobs == 1)  # then each can be watched

    def heard(task: tuple[Input, str]) -> Transcript:
        return transcript(client, task[0], arguments, watched=one_by_one)

    failures = 0
    sizes = [_size(source.path) for source, _ in todo]
    with (
        nullcontext(lambda size: None) if one_by_one else live.progress(sizes) as tell,
        closing(as_done(heard, todo, arguments.jobs)) as results,
    ):
        for (source, stem), result in results:
            try:
                _write_all(result.result(), source, stem, arguments)
            except BrokenPipeError:
                raise
            except (CallError, ContractError, FileError, OSError) as error:
                if client.is_closed:  # interrupted: nobody wants to hear of it
                    break
                failures += 1
                _complain(f"{source.name}: {_reason(error, source.path)}", SOME_FAILED)
            tell(_size(source.path))
    return SOME_FAILED if failures else DONE


def _todo(inputs: Sequence[Input], arguments: Arguments) -> list[tuple[Input, str]]:
    """The inputs with the stems of their outputs, without those that are done where that is asked for."""
    paths, suffixes = [source.path for source in inputs], _suffixes(arguments)
    stems = unique_stems(paths, arguments.folder, suffixes)
    done = _done(paths, stems, arguments) if arguments.resume else [False] * len(inputs)
    if any(done):
        live.say(f"{sum(done)} of {len(inputs)} were done before")
    return [(source, stem) for source, stem, is_done in zip(inputs, stems, done, strict=True) if not is_done]


def _done(paths: Sequence[Path], stems: Sequence[str], arguments: Arguments) -> list[bool]:
    """Of each input whether all that it gives is written; of silence there is a text, but no picture."""
    done = are_done(paths, stems, arguments.folder, _suffixes(arguments))
    if not arguments.alignment or arguments.alignment_format not in PICTURES:
        return done
    told = are_done(paths, stems, arguments.folder, _text_suffixes(arguments))
    return [
        is_done or (is_told and _is_silent(stem, arguments))
        for is_done, is_told, stem in zip(done, told, stems, strict=True)
    ]


def _is_silent(stem: str, arguments: Arguments) -> bool:
    """Whether the texts that were written hold no words."""
    paths = {name: arguments.folder / f"{stem}.{name}" for name in arguments.formats}
    try:
        return all(says_nothing(name, path.read_bytes().decode()) for name, path in paths.items())
    except (OSError, UnicodeDecodeError):  # no text of ours: it will be written anew, or what is wrong be told
        return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


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
    page = [page_suffix(1, arguments.alignment_format)] if arguments.alignment else []
    return _text_suffixes(arguments) + page


def _text_suffixes(arguments: Arguments) -> list[str]:
    return [] if arguments.text_to_stdout else [f".{name}" for name in arguments.formats]


def _write_all(transcript: Transcript, source: Input, stem: str, arguments: Arguments) -> None:
    _write_text(transcript, stem, arguments)
    if arguments.alignment:
        _write_alignment(transcript, source, stem, arguments)


def _write_text(transcript: Transcript, stem: str, arguments: Arguments) -> None:
    # words may have come for the sake of an alignment or of subtitles
    wordless = replace(transcript, segments=tuple(map(_wordless, transcript.segments)))
    wordy = arguments.word_timestamps or arguments.text
    for name in arguments.formats:
        text = WRITERS[name](transcript if wordy or name in SUBTITLES else wordless, arguments.layout)
        if arguments.text_to_stdout:
            print(text, end="", flush=True)
        else:
            _write(arguments.folder / f"{stem}.{name}", text.encode())


def _wordless(segment: Segment) -> Segment:
    others = tuple(replace(other, words=()) for other in segment.alternatives)
    return replace(segment, words=(), alternatives=others)


def _write_alignment(transcript: Transcript, source: Input, stem: str, arguments: Arguments) -> None:
    extension = arguments.alignment_format
    pages = ALIGNMENT_WRITERS[extension](source.path, transcript.duration_s, aligned(transcript.segments))
    page = 0
    for page, content in enumerate(pages, start=1):
        _write(arguments.folder / f"{stem}{page_suffix(page, extension)}", content)
    if not page:
        why = "the attention of this model has no weights" if transcript.text.strip() else "nothing was recognised"
        _complain(f"{source.name}: {why}, so there is no alignment to draw", DONE)


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    live.say(f"wrote {path}")


def _reason(error: Exception, path: Path) -> str:
    """What went wrong, without a repeated name."""
    if isinstance(error, CallError) and error.status == "UNAUTHENTICATED":
        return f"{error}; give --token_file, or set {TOKEN_VARIABLE}"
    if isinstance(error, OSError) and error.strerror:
        same = error.filename in (None, path, str(path))
        return error.strerror if same else f"{error.filename}: {error.strerror}"
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
