"""What a confidence is fitted and judged on: recordings as they are, broken off, and amid noise."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.train.manifest import Utterance, load
from asr.train.score import count

CUT = 0.6  # of an utterance that is broken off, often amid a word
SLACK = 0.15  # of the words, that more or fewer are said in a part of a recording than its share of the time
BAD_WER = 50.0  # per cent, from which a segment is bad
NOISES_DB = (-5.0, 0.0, 5.0)  # by how much speech is louder than what is mixed in: half of the words get lost, or few
LOUDEST = 1 - 2**-15  # what 16 bits can hold

Samples = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Case:
    """A recording, or its beginning, and its text."""

    samples: Samples
    text: str  # of the whole recording; "" where nothing is said
    share: float = 1.0  # of the recording that the samples are

    def is_bad(self, written: str) -> bool:
        """Whether a segment says something else than the recording.

        Where that is broken off nobody knows how much of the text it says; the beginning that agrees best, of about
        such a length, is taken for what it says.
        """
        said = self.text.split()
        sizes = {len(said)}
        if self.share < 1:
            least, most = math.floor((self.share - SLACK) * len(said)), math.ceil((self.share + SLACK) * len(said))
            sizes = set(range(max(0, least), min(most, len(said)) + 1))
        wers = [count(" ".join(said[:size]), written).wer for size in sizes]
        return all(wer is None or wer >= BAD_WER for wer in wers)


def whole_and_cut(utterances: Iterable[Utterance]) -> Iterator[Case]:
    """Each as it is and, where somebody speaks, broken off: what is then not said cannot be written rightly."""
    for utterance in utterances:
        samples = load(utterance)
        yield Case(samples, utterance.text)
        if utterance.text:
            yield Case(samples[: round(CUT * samples.size)], utterance.text, CUT)


def amid_noise(utterances: Iterable[Utterance], noises: Sequence[Utterance], seed: int = 0) -> Iterator[Case]:
    """Each under a stretch of one of the noises, drawn with its level; none where there are no noises."""
    random = np.random.default_rng(seed)
    for utterance in utterances if noises else ():
        noise = load(noises[int(random.integers(len(noises)))])
        yield Case(mixed(load(utterance), noise, float(random.choice(NOISES_DB))), utterance.text)


def mixed(speech: Samples, noise: Samples, db: float) -> Samples:
    """Both at once, the noise again and again where it is short, made quieter as a whole where that is too loud.

    db  by how much the speech is louder
    """
    if not speech.size or not noise.size:
        return speech
    around = np.resize(noise, speech.size)
    power, other = (float(np.mean(one**2)) for one in (speech, around))
    if not other:
        return speech
    both = speech + around * np.float32(math.sqrt(power / other * 10 ** (-db / 10)))
    sound: Samples = both * np.float32(min(1.0, LOUDEST / max(float(np.abs(both).max()), LOUDEST)))
    return sound
