"""A set of synthetic speech whose word times are exact: espeak-ng says when each word begins.

    python -m asr.train.spoken --data DATA/dev --sets read,prompts --limit 40 --to DATA/dev/spoken

Texts are those of the sets, voices take turns. It is for measuring word times alone: nobody sounds like that. A word
begins with its first phoneme that is no pause, and lasts until the next begins or a pause comes.
"""

import argparse
import ctypes
import ctypes.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE, Resampler
from asr.errors import HeedError, NotFoundError
from asr.train.evaluate import names_in, read_sets
from asr.train.manifest import MANIFEST, TimedWord

VOICES = ("en-us", "en-gb-scotland", "en-gb-x-rp", "en-us+f3", "en-029", "en-us+m3", "en-us+f2", "en-us+m7")
RETRIEVAL, PHONEMES, UTF8 = 1, 1, 1  # espeak-ng's speak_lib.h
WORD, PHONEME = 1, 7  # kinds of events
PAUSE = "_"  # how the names of its pauses begin
SILENCE_S = 0.3  # before and after each text


class _Event(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("time_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, eq=False)
class Said:
    samples: NDArray[np.float32]  # (n,) at SAMPLE_RATE
    words: tuple[TimedWord, ...]


class Espeak:
    """The library, which keeps its state to itself: one for a process. NotFoundError where it is not installed."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise NotFoundError("espeak-ng is not installed: on Debian, apt install libespeak-ng1")
        self.espeak = ctypes.CDLL(name)
        self.rate: int = self.espeak.espeak_Initialize(RETRIEVAL, 0, None, PHONEMES)
        if self.rate <= 0:
            raise NotFoundError("espeak-ng has no voices: on Debian, apt install espeak-ng-data")
        self.parts: list[NDArray[np.int16]] = []
        self.events: list[tuple[int, int, int, int, bytes]] = []
        self.callback = _Callback(self._take)  # kept: C does not
        self.espeak.espeak_SetSynthCallback(self.callback)

    def say(self, text: str, voice: str) -> Said:
        """NotFoundError for a voice that there is not."""
        if self.espeak.espeak_SetVoiceByName(voice.encode()):
            raise NotFoundError(f"espeak-ng has no voice {voice!r}")
        self.parts, self.events = [], []
        content = text.encode() + b"\0"
        self.espeak.espeak_Synth(content, len(content), 0, 1, 0, UTF8, None, None)
        self.espeak.espeak_Synchronize()
        spoken = np.concatenate([np.zeros(0, np.int16), *self.parts]).astype(np.float32) / np.float32(2**15)
        silence = np.zeros(round(SILENCE_S * SAMPLE_RATE), np.float32)
        resampler = Resampler(self.rate)
        samples = np.concatenate([silence, resampler.accept(spoken), resampler.finish(), silence])
        return Said(samples, tuple(self._words(text, spoken.size)))

    def _take(self, wave: "ctypes._Pointer[ctypes.c_short]", size: int, events: "ctypes._Pointer[_Event]") -> int:
        if wave and size:
            self.parts.append(np.ctypeslib.as_array(wave, (size,)).copy())
        index = 0
        while events[index].kind:
            event = events[index]
            self.events.append((event.kind, event.sample, event.text_position, event.length, event.name))
            index += 1
        return 0

    def _words(self, text: str, samples: int) -> list[TimedWord]:
        """A word as the text writes it; several that espeak-ng says for one (figures) are one."""
        starts: dict[int, tuple[int, int]] = {}  # by where the text has it: first and last sample
        place, sounds = -1, False
        for kind, sample, position, _, name in [*self.events, (PHONEME, samples, 0, 0, PAUSE.encode())]:
            if kind == WORD:
                if sounds:
                    starts[place] = (starts[place][0], sample)
                place, sounds = word_at(text, position - 1), False
            elif kind == PHONEME and place >= 0:
                pauses = name.decode(errors="replace").startswith(PAUSE) or not name
                if sounds and pauses:
                    starts[place] = (starts[place][0], sample)
                if not sounds and not pauses:
                    starts[place] = (starts.get(place, (sample, 0))[0], samples)
                sounds = not pauses
        return [
            TimedWord(text[at:].split()[0], SILENCE_S + first / self.rate, SILENCE_S + last / self.rate)
            for at, (first, last) in sorted(starts.items())
        ]


def word_at(text: str, place: int) -> int:
    """Where the word begins that the character belongs to; of a space or a sign that stands alone, the next word."""
    first = text.rfind(" ", 0, place + 1) + 1
    while (end := text.find(" ", first)) >= 0 and not any(map(str.isalnum, text[first:end])):
        first = end + 1
    return first


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("spoken", description="Make a set of synthetic speech with exact word times.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="the folder of sets whose texts are said")
    add("--sets", type=names_in, required=True, metavar="A,B", help="of these")
    add("--limit", type=int, default=40, metavar="N", help="texts of each (%(default)s)")
    add("--to", type=Path, required=True, metavar="DIR", help="the set that is written")
    options = parser.parse_args(arguments)
    try:
        sets = read_sets(options.data, options.sets)
        texts = [one.text for utterances in sets.values() for one in utterances[: options.limit] if one.text]
        write(Espeak(), texts, options.to)
    except (HeedError, OSError) as error:
        print(f"spoken: {error}", file=sys.stderr)
        return 1
    print(f"{options.to}: {len(texts)} texts in {len(VOICES)} voices")
    return 0


def write(espeak: Espeak, texts: Sequence[str], to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (text, voice) in enumerate(zip(texts, cycle(VOICES), strict=False)):
        plain = " ".join(text.split())
        said, name = espeak.say(plain, voice), f"spoken-{index:04}"
        soundfile.write(to / f"{name}.flac", said.samples, SAMPLE_RATE)
        lines.append(
            {
                "audio": f"{name}.flac",
                "id": name,
                "text": plain,
                "speaker": voice,
                "duration": round(said.samples.size / SAMPLE_RATE, 3),
                "source": "espeak-ng",
                "words": [
                    {"word": word.word, "start": round(word.start_s, 4), "end": round(word.end_s, 4)}
                    for word in said.words
                ],
            }
        )
    (to / MANIFEST).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
