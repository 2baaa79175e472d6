"""How fast and how large, beside peers: each figure of ours and theirs of one run, on the same recordings and cores.

Short utterances go through all systems in turn, so that a noisy machine is noisy for all alike; of a long recording
each system has its turn alone. Processes are started anew (processes.py), what is installed is looked up
(footprint.py). A peer that is not there has a row that says why.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile

from asr.audio.resample import SAMPLE_RATE
from asr.errors import FormatError, InputError, NotFoundError, NotSupportedError
from asr.runtime.recognizer import Recognizer
from asr.train import processes
from asr.train.clips import choose, joined
from asr.train.evaluate import Sets, listen, settle
from asr.train.manifest import Utterance
from asr.train.markdown import number, shown, table
from asr.train.peers import open_batched_peer, open_peer, ours
from asr.train.score import count, pool

SHORT_S = 10.0
CORES = 2  # that a long recording is given
STREAM_S = 60.0  # of speech in the stream of which a server's memory is taken
CLIPS_S = 600.0  # of speech in a long recording; where it is longer they come again
SAID_S = 3.0  # a recording for a first text lasts so long at least
OTHERS = ("pocketsphinx", "sherpa-onnx", "pywhispercpp")  # that are told of even when nobody names them

SHORT = f"utterances up to {SHORT_S:.0f} s"
LONG = f"a long recording, {CORES} cores"
FIRST_TEXT = "from a process's start to its first text"
MEMORY = "resident memory while it hears"
INSTALLED = "installed, without Python"
AIMS = {
    SHORT: "5, 12 times",
    LONG: "1.5, 4 times",
    FIRST_TEXT: "2, 1 s",
    MEMORY: "350, 200 MiB",
    INSTALLED: "350, 200 MiB",
}
UNITS = {SHORT: "", LONG: "", FIRST_TEXT: " s", MEMORY: " MiB", INSTALLED: " MiB"}  # of the first two: real time
ABSENT = (NotFoundError, NotSupportedError, FormatError)  # what a peer, or a way to run ours, that is not there raises
MIB = 2**20


@dataclass(frozen=True)
class Speed:
    """One figure of one system."""

    what: str
    system: str
    value: float | None  # less is better; None: there is none
    times: float | None = None  # as much as ours
    wer: float | None = None
    note: str = ""


@dataclass(frozen=True)
class SpeedPlan:
    """What is measured."""

    recognizer: Recognizer
    folder: Path | None  # its exported folder; None: it is not exported
    speech: Sets
    limit: int | None  # of each set
    threads: int
    minutes: float  # of the long recording
    peers: Sequence[str]  # as asr-evaluate takes them
    python: str  # in which our server is installed
    peer_python: str  # in which the peers are


def measure(plan: SpeedPlan) -> Iterator[Speed]:
    """All rows, as they are made; those that have a peer's value beside ours tell how many times ours it is."""
    yield from short(plan)
    yield from long(plan)
    with TemporaryDirectory(prefix="asr-speed-") as folder:
        yield from whole_processes(plan, Path(folder))
    yield from installed(plan)


def short(plan: SpeedPlan) -> Iterator[Speed]:
    """Real-time factors of all systems, utterance by utterance."""
    sets = {name: brief(utterances)[: plan.limit] for name, utterances in plan.speech.items()}
    if not any(sets.values()):
        raise InputError(f"no utterance lasts {SHORT_S:.0f} s or less")
    systems = [ours(plan.recognizer, "full", plan.recognizer.bundle.name, plan.folder)]
    absent = []
    for peer in [*plan.peers, *(other for other in OTHERS if not named(other, plan.peers))]:
        try:
            systems += open_peer(peer, ["full"], plan.threads)
        except ABSENT as error:
            absent.append(Speed(SHORT, peer.partition("=")[0], None, note=f"absent: {error}"))
    trials = listen(systems, sets)
    audio_s = sum(trial.duration_s for trial in trials)
    rows = []
    for system in systems:
        heard = [trial.heard[system.name] for trial in trials]
        wer = pool(one.counts for one in heard).wer
        rows.append(Speed(SHORT, system.name, sum(one.wall_s for one in heard) / audio_s, wer=wer))
    yield from beside(rows)
    yield from absent


def brief(utterances: Sequence[Utterance]) -> list[Utterance]:
    return [one for one in utterances if one.duration_s <= SHORT_S]


def named(peer: str, told: Sequence[str]) -> bool:
    return any(one.partition("=")[0] == peer for one in told)


def long(plan: SpeedPlan) -> Iterator[Speed]:
    """Real-time factors on one recording of many speakers with pauses between."""
    clip = joined(choose(plan.speech, min(CLIPS_S, 60 * plan.minutes)), 60 * plan.minutes)
    audio_s = clip.samples.size / SAMPLE_RATE
    abreast = max(1, CORES // plan.threads)
    systems = [ours(plan.recognizer, "full", plan.recognizer.bundle.name, plan.folder, abreast)]
    absent = []
    for peer in plan.peers:
        try:
            systems += open_batched_peer(peer, CORES)
        except ABSENT as error:
            absent.append(Speed(LONG, peer.partition("=")[0], None, note=f"absent: {error}"))
    rows = []
    for system in systems:
        system.transcribe(clip.samples[: round(SHORT_S * SAMPLE_RATE)])
        settle()
        begin = time.perf_counter()
        text = system.transcribe(clip.samples)
        wall_s = time.perf_counter() - begin
        note = f"{audio_s / 60:.1f} minutes in {wall_s:.1f} s"
        rows.append(Speed(LONG, system.name, wall_s / audio_s, wer=count(clip.text, text).wer, note=note))
    yield from beside(rows)
    yield from absent


def whole_processes(plan: SpeedPlan, folder: Path) -> Iterator[Speed]:
    """How soon a process says something, and what it holds. folder: for recordings, as files."""
    said, stream = folder / "said.wav", folder / "stream.wav"
    clips = choose(plan.speech, CLIPS_S)
    one = next((clip for clip in clips if SAID_S <= clip.samples.size / SAMPLE_RATE <= SHORT_S), clips[0])
    for path, samples in ((said, one.samples), (stream, joined(clips, STREAM_S).samples)):
        soundfile.write(path, samples, SAMPLE_RATE)
    python, model = plan.python, plan.folder
    if model is None:
        return
    named_weights = (peer.partition("=")[2] for peer in plan.peers if peer.startswith("faster-whisper="))
    theirs = [  # where no weights are named none are fetched
        processes.program(plan.peer_python, processes.FASTER_WHISPER, weights, said) for weights in named_weights
    ][:1]
    commands = [
        ("a program, in Python", processes.program(python, processes.HEED, model, said)),
        ("asr-server, until it listens", processes.serve(python, model)),
        ("asr-transcribe --local", processes.transcribe_locally(python, model, said)),
        *(("faster-whisper, in Python", command) for command in theirs),
    ]
    yield from beside(
        [figure(FIRST_TEXT, name, partial(processes.first_line_s, command)) for name, command in commands]
    )
    held = [("asr-server, one stream", partial(processes.resident_while_streaming_mib, python, model, stream))]
    held += [("faster-whisper, in Python", partial(processes.resident_of_program_mib, command)) for command in theirs]
    yield from beside([figure(MEMORY, name, measured) for name, measured in held])


def installed(plan: SpeedPlan) -> Iterator[Speed]:
    yield from beside(
        [
            figure(INSTALLED, told, partial(installed_mib, python, told))
            for told, python in (("heed[serve]", plan.python), ("faster-whisper", plan.peer_python))
        ]
    )


def installed_mib(python: str, told: str) -> float:
    sizes: dict[str, int] = json.loads(processes.output_of([python, "-m", "asr.train.footprint", told]))
    return sum(sizes.values()) / MIB


def figure(what: str, system: str, measured: Callable[[], float]) -> Speed:
    try:
        return Speed(what, system, measured())
    except ABSENT as error:
        return Speed(what, system, None, note=f"absent: {error}")


def beside(rows: Sequence[Speed]) -> list[Speed]:
    """The rows of one figure, ours first, each with how many times ours it is."""
    first = rows[0].value
    if first is None:
        return list(rows)
    return [rows[0], *(row if row.value is None else replace(row, times=row.value / first) for row in rows[1:])]


def as_text(rows: Sequence[Speed]) -> str:
    head = ["", "", "measured", "times ours", "WER %", "aim: must, reach for", ""]
    body = []
    before = ""
    for row in rows:
        first = row.what != before
        digits = 4 if not UNITS[row.what] else 2 if row.what == FIRST_TEXT else 0
        measured = "-" if row.value is None else number(row.value, digits) + UNITS[row.what]
        what, aim = (row.what, AIMS[row.what]) if first else ("", "")
        body.append([what, row.system, measured, number(row.times, 1), number(row.wer, 1), aim, shown(row.note)])
        before = row.what
    return (
        table(head, body) + "\n\nA figure without a unit is a real-time factor: wall time over the recording's length. "
        "Aims of the first two are how many times ours a peer takes."
    )
