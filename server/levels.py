"""What each level of alignment costs: time, and bytes on the wire.

    python -m server.levels --model asr/models/tiny.en-streaming RECORDING...

Each recording goes through every level in turn, whole and as a stream in packets of 20 ms, from samples to serialised
answers and without a socket. The processor time of a level, the least of some rounds for each recording, is told as its
ratio to that of no alignment in the same run; the clock on the wall would measure what else the machine does.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import decode
from asr.audio.resample import SAMPLE_RATE
from asr.errors import HeedError
from asr.runtime.recognizer import Recognizer
from asr.v1 import speech_pb2
from server import messages

PACKET = SAMPLE_RATE // 50
ROUNDS = 5
LEVELS = ("NONE", "PATH", "TOP_K", "MEAN_U8", "FULL")
CALLS = ("Recognize", "StreamingRecognize")

Samples = NDArray[np.float32]


@dataclass
class Cost:
    """Of one level in one call, summed over recordings."""

    times_s: list[float] = field(default_factory=list)  # least of all rounds, of each recording
    bytes: int = 0  # of one round
    messages: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("server.levels", description="Measure what each level of alignment costs.")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the exported folder")
    parser.add_argument("files", nargs="+", type=Path, metavar="RECORDING")
    options = parser.parse_args(arguments)
    try:
        recognizer = Recognizer.load(options.model)
        recordings = [np.concatenate(list(decode.read(path.read_bytes()))) for path in options.files]
        print(as_text(measure(recognizer, recordings), sum(one.size for one in recordings) / SAMPLE_RATE / 60))
    except (HeedError, OSError) as error:
        print(f"server.levels: {error}", file=sys.stderr)
        return 1
    return 0


def measure(recognizer: Recognizer, recordings: Sequence[Samples], rounds: int = ROUNDS) -> dict[tuple[str, str], Cost]:
    """(call, level) to its cost; levels take turns, so that a noisy machine is noisy for all alike."""
    levels = LEVELS if recognizer.bundle.decoder_heads else LEVELS[:-1]
    costs = {(call, level): Cost() for call in CALLS for level in levels}
    for samples in recordings:  # the first time warms up
        for call, level in costs:
            answers = list(answered(recognizer, samples, call, level))
            costs[call, level].bytes += sum(map(len, answers))
            costs[call, level].messages += len(answers)
            costs[call, level].times_s.append(float("inf"))
    for _ in range(rounds):
        for place, samples in enumerate(recordings):
            for (call, level), cost in costs.items():
                begin = time.process_time()
                for _ in answered(recognizer, samples, call, level):
                    pass
                cost.times_s[place] = min(cost.times_s[place], time.process_time() - begin)
    return costs


def answered(recognizer: Recognizer, samples: Samples, call: str, level: str) -> Iterator[bytes]:
    """The serialised answers to a recording, as the service makes them."""
    config = speech_pb2.RecognitionConfig(alignment={"level": level}, enable_word_time_offsets=True)
    if call == "Recognize":
        wanted = messages.asked(config, messages.RECOGNIZE_MODE)
        stream = recognizer.stream(wanted.options)
        updates = [*stream.accept(samples), *stream.finish()]
        finals = [result for update in updates for result in update.results if result.is_final]
        yield messages.recognize_response(finals, samples.size / SAMPLE_RATE, wanted).SerializeToString()
        return
    wanted = messages.asked(config, messages.STREAMING_MODE, interim=True)
    stream = recognizer.stream(wanted.options)
    for first in range(0, samples.size, PACKET):
        for update in stream.accept(samples[first : first + PACKET]):
            if (response := messages.response(update, wanted)) is not None:
                yield response.SerializeToString()
    for update in stream.finish():
        if (response := messages.response(update, wanted)) is not None:
            yield response.SerializeToString()


def as_text(costs: Mapping[tuple[str, str], Cost], minutes: float) -> str:
    """Markdown."""
    lines = [
        "| call | level | time, none = 1 | bytes a minute | messages a minute |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (call, level), cost in costs.items():
        ratio = sum(cost.times_s) / sum(costs[call, "NONE"].times_s)
        told = [call, level, f"{ratio:.3f}", f"{cost.bytes / minutes:,.0f}", f"{cost.messages / minutes:.1f}"]
        lines.append("| " + " | ".join(told) + " |")
    return "\n".join(lines) + f"\n\n{minutes:.1f} minutes of audio; a stream at 640 ms sends interims."


if __name__ == "__main__":
    sys.exit(main())
