"""Single words out of longer recordings: a set of them, cut where the manifests say that they were said.

    python -m asr.train.cut --data DIR --sets a,b --words zero,one,two --to DIR/SET

Whoever wants a model of a few words finds them in the sentences of many voices, where their own recordings have four.
The times are those of the manifests (asr-label writes some), so a cut may take a little of its neighbours.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr.audio.resample import SAMPLE_RATE
from asr.errors import AudioError, HeedError, InputError
from asr.train.feed import plain
from asr.train.manifest import MANIFEST, TimedWord, Utterance, load, read_manifest

SLACK_S = 0.06  # kept before and after a word, as far as its neighbours leave room
SHORTEST_S, LONGEST_S = 0.12, 1.5  # what is shorter or longer was not found where it was said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m asr.train.cut", description="Cut single words out of recordings.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="a folder of sets whose manifests have word times")
    add("--sets", required=True, metavar="A,B,C")
    add("--words", required=True, metavar="ZERO,ONE,TWO")
    add("--to", type=Path, required=True, metavar="DIR", help="the set that is written")
    options = parser.parse_args(arguments)
    try:
        wanted = {plain(word) for word in options.words.split(",")} - {""}
        found = cut_sets([options.data / name for name in options.sets.split(",")], wanted, options.to)
    except (HeedError, OSError) as error:
        print(f"asr.train.cut: {error}", file=sys.stderr)
        return 1
    print(f"{sum(found.values())} words: " + ", ".join(f"{word} {count}" for word, count in found.most_common()))
    return 0


def cut_sets(sources: Sequence[Path], wanted: set[str], target: Path) -> Counter[str]:
    """Write the set, and count its words. InputError where none of them is said."""
    (target / "audio").mkdir(parents=True, exist_ok=True)
    found: Counter[str] = Counter()
    utterances = [one for source in sources for one in read_manifest(source)]
    part = target / (MANIFEST + ".part")
    with part.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            for place, span in enumerate(spans_of(utterance.words, wanted)):
                word = plain(span.word)
                samples = samples_of(utterance, span)
                if not samples.size:
                    continue
                audio = f"audio/{utterance.id}-{place}-{word}.flac"
                soundfile.write(target / audio, samples, SAMPLE_RATE)
                line = {
                    "audio": audio,
                    "text": word,
                    "speaker": utterance.speaker,
                    "duration": samples.size / SAMPLE_RATE,
                    "source": utterance.source,
                    "licence": utterance.licence,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                found[word] += 1
    if not found:
        part.unlink()
        names = ", ".join(sorted(wanted))
        raise InputError(f"none of {names} has a time in these manifests: asr-label gives them some")
    part.rename(target / MANIFEST)
    return found


def spans_of(words: Sequence[TimedWord], wanted: set[str]) -> Iterator[TimedWord]:
    """The wanted words among an utterance's, each with the slack that its neighbours leave."""
    for index, word in enumerate(words):
        if plain(word.word) not in wanted or not SHORTEST_S <= word.end_s - word.start_s <= LONGEST_S:
            continue
        before_s = words[index - 1].end_s if index else 0.0
        after_s = words[index + 1].start_s if index + 1 < len(words) else word.end_s + SLACK_S
        start_s = max(word.start_s - SLACK_S, min(before_s, word.start_s))
        yield TimedWord(word.word, start_s, min(word.end_s + SLACK_S, max(after_s, word.end_s)))


def samples_of(utterance: Utterance, span: TimedWord) -> NDArray[np.float32]:
    """The span's samples; none, and a complaint, where the recording cannot be read."""
    try:
        return load(utterance)[round(span.start_s * SAMPLE_RATE) : round(span.end_s * SAMPLE_RATE)]
    except AudioError as error:
        print(f"left out: {error}", file=sys.stderr)
        return np.zeros(0, np.float32)


if __name__ == "__main__":
    sys.exit(main())
