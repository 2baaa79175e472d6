"""The transcript of one input: sent whole, streamed, or with a known text laid over it."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from client import live
from client.arguments import Arguments
from client.arrival import BYTES_PER_SAMPLE, Arriving, keep_stdin, kept
from client.errors import FileError
from client.inputs import Input
from client.results import Transcript, finals
from client.sdk import Client


def transcript(client: Client, source: Input, arguments: Arguments, watched: bool) -> Transcript:
    """watched: a person sees this one on the terminal, if there is one."""
    if source.on_stdin:
        keep_stdin(source.path)
    if source.path.is_file() and source.path.stat().st_size == 0:
        raise FileError("the file is empty: there is no recording in it")
    if arguments.stream:
        return _streamed(client, source, arguments, watched and live.on_terminal())
    if arguments.text:
        return _placed(client, source, arguments.text, arguments)
    with live.waiting(f"transcribing {source.name}") if watched else nullcontext():
        return client.recognize_file(source.path, arguments.options())


def _placed(client: Client, source: Input, text_path: Path, arguments: Arguments) -> Transcript:
    """The known text with its places in the recording."""
    try:
        text = text_path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise FileError(f"its text in {text_path} is not UTF-8") from None
    if not text:
        raise FileError(f"its text in {text_path} is empty: there is nothing to place")
    with live.waiting(f"placing {text_path} in {source.name}"):
        placed = client.align_file(source.path, text, arguments.options())
    return Transcript((placed.segment,), placed.duration_s, placed.score)


def _streamed(client: Client, source: Input, arguments: Arguments, watched: bool) -> Transcript:
    channels = 1
    if source.arriving is None:
        sample_rate, channels, cut = _as_spoken(source.path, arguments)
    else:
        sample_rate, cut = source.arriving.sample_rate, _as_it_arrives(source.arriving, source.path, arguments)
    sent_bytes = 0

    def packets() -> Iterator[bytes]:
        nonlocal sent_bytes
        for packet in cut:
            sent_bytes += len(packet)
            yield packet

    updates = client.stream(packets(), sample_rate, arguments.options(watched), channels)
    segments = finals(live.watched(updates, arguments.show_alignment) if watched else updates)
    segments = tuple(sorted(segments, key=lambda segment: (segment.end_s, segment.channel)))  # as of a whole recording
    # Counted here: where the server's cursors stand in its last response depends on the wire.
    return Transcript(segments, duration_s=sent_bytes / BYTES_PER_SAMPLE / channels / sample_rate)


def _as_spoken(path: Path, arguments: Arguments) -> tuple[int, int, Iterator[bytes]]:
    """Sample rate, channels, packets."""
    from client.recording import Recording, at_real_time

    recording = Recording(path)
    channels = recording.channels if arguments.separate_channels else 1
    cut = recording.packets(arguments.packet_ms, arguments.separate_channels)
    if not arguments.fast:
        cut = at_real_time(cut, recording.sample_rate * channels)
    return recording.sample_rate, channels, cut


def _as_it_arrives(arriving: Arriving, path: Path, arguments: Arguments) -> Iterator[bytes]:
    live.say("listening until the end or Ctrl-C")
    cut = arriving.packets(arguments.packet_ms)
    return kept(cut, arriving.sample_rate, path) if arguments.alignment else cut  # a picture shows the sound, too
