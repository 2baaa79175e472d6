"""Forced aligners over recordings of tones; PocketSphinx is played by a few lines that know some words."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from asr.errors import NotFoundError, OptionError
from asr.train.aligners import Aligned, Aligner, as_text, fit, our_aligner, peer_aligner, spoken
from asr.train.manifest import TimedWord

WORD_S = 0.24
FRAMES = 20  # of each word that the fake finds, after a silence as long


class Decoder:
    """Finds the words of a text one after the other, but only where it listened twice and hears something."""

    known = ("the", "forty", "four", "cats")
    hears_once = loses_its_way = False

    def __init__(self, **settings):
        self.text, self.passes, self.heard = [], 0, b""

    def lookup_word(self, word):
        return "K AE T S" if word in self.known else None

    def set_align_text(self, text):
        self.text, self.passes = text.split(), 0

    def start_utt(self):
        self.heard = b""

    def process_raw(self, pcm, full_utt):
        assert full_utt
        self.heard = pcm

    def end_utt(self):
        self.passes += 1

    def hyp(self):
        return SimpleNamespace(hypstr=" ".join(self.text)) if any(self.heard) else None

    def seg(self):
        assert self.passes == 1
        for place, word in enumerate(self.text[: 2 if self.loses_its_way else None]):
            yield SimpleNamespace(word="<sil>", start_frame=2 * place * FRAMES, end_frame=(2 * place + 1) * FRAMES - 1)
            start = (2 * place + 1) * FRAMES - 2
            yield SimpleNamespace(word=word, start_frame=start, end_frame=start + FRAMES - 1)

    def set_alignment(self):
        assert self.passes == 1
        if self.hears_once:
            raise RuntimeError("Failed to stop utterance processing")

    def get_alignment(self):
        assert self.passes == 2
        for place, word in enumerate(self.text):
            yield SimpleNamespace(name="<sil>", start=2 * place * FRAMES, duration=FRAMES)
            yield SimpleNamespace(name=word, start=(2 * place + 1) * FRAMES, duration=FRAMES)


@pytest.fixture
def pocketsphinx(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", SimpleNamespace(Decoder=Decoder))
    return peer_aligner("pocketsphinx")


SOUND = np.full(16_000, 0.1, np.float32)


def test_a_word_lies_from_its_first_part_to_its_last(pocketsphinx):
    found = pocketsphinx.align(SOUND, "The forty-four, Cats.")
    assert found.words == [
        TimedWord("The", 0.2, 0.4),
        TimedWord("forty-four,", 0.6, 1.2),
        TimedWord("Cats.", 1.4, 1.6),
    ]
    assert found.unknown == 0


def test_a_word_that_nobody_knows_is_left_out_and_counted(pocketsphinx):
    found = pocketsphinx.align(SOUND, "the Chiswick — cats forty-two")
    assert [word.word for word in found.words] == ["the", "cats"]
    assert found.unknown == 2  # a dash is no word


@pytest.mark.parametrize(("samples", "text"), [(SOUND, "Chiswick"), (np.zeros(1600, np.float32), "the Chiswick")])
def test_what_cannot_be_aligned_is_told_with_its_unknown_words(pocketsphinx, samples, text):
    assert pocketsphinx.align(samples, text) == Aligned((), unknown=1, failed=True)


def test_a_text_whose_end_is_not_reached_is_not_aligned(pocketsphinx, monkeypatch):
    monkeypatch.setattr(Decoder, "loses_its_way", True)
    assert pocketsphinx.align(SOUND, "the forty cats").failed
    assert not pocketsphinx.align(SOUND, "the cats").failed


def test_where_the_second_reading_fails_the_first_is_taken(pocketsphinx, monkeypatch):
    monkeypatch.setattr(Decoder, "hears_once", True)
    assert [word.start_s for word in pocketsphinx.align(SOUND, "the cats").words] == [0.18, 0.58]


def test_a_text_that_fails_is_counted_and_its_words_are_lost(pocketsphinx):
    truth = [TimedWord("the", 0.2, 0.4), TimedWord("cats", 0.63, 0.8)]
    row = fit(pocketsphinx, "made", [(SOUND, "the cats", truth), (0 * SOUND, "the cats", truth)])
    assert (row.texts, row.failed, row.unknown) == (2, 1, 0)
    assert (row.onsets.said, row.onsets.written) == (4, 2)
    assert row.onsets.errors_s == pytest.approx((0.0, -0.03))
    assert "| made | pocketsphinx | 2 of 4 | 15 | 27 | 66.7 | 1 of 2 | 0 |" in as_text([row])


def test_ours_is_measured_by_the_same_truth(hearing, speak):
    truth = [TimedWord("a", WORD_S, 2 * WORD_S), TimedWord("b", 3 * WORD_S, 4 * WORD_S)]
    row = fit(our_aligner(hearing()), "tones", [(speak("_ a _ b"), "a b", truth)])
    assert len(row.onsets.errors_s) == 2
    assert np.abs(row.onsets.errors_s).max() < 0.06


def test_a_word_is_spelled_as_a_dictionary_has_it():
    assert spoken("Messrs.") == ["messrs"]
    assert spoken('"Caslon\u2019s') == ["caslon's"]
    assert spoken("—") == []


def test_another_aligner_is_refused(monkeypatch):
    with pytest.raises(OptionError, match="pocketsphinx"):
        peer_aligner("faster-whisper=x")
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(NotFoundError, match="not installed"):
        peer_aligner("pocketsphinx")


def test_the_unknown_words_of_all_texts_are_summed():
    aligner = Aligner("made", lambda samples, text: Aligned((), unknown=2))
    assert fit(aligner, "made", [(SOUND, "x y", ()), (SOUND, "z w", ())]).unknown == 4
