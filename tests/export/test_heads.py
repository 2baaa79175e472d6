from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from asr.export.heads import choose_heads, inside
from asr.runtime.bundle import Bundle
from asr.runtime.recognizer import Recognizer
from asr.train.manifest import read_manifest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "asr" / "models" / "tiny.en-streaming"


@pytest.fixture(scope="module")
def clips():
    return read_manifest(ROOT / "tests" / "data")


def test_the_heads_that_ship_are_those_that_look_at_the_words(clips):
    assert choose_heads(SHIPPED, clips) == Bundle.load(SHIPPED).alignment_heads


def test_they_put_most_of_their_weight_there(clips):
    bundle = Bundle.load(SHIPPED)
    recognizer = Recognizer.load(SHIPPED)
    shares = np.mean([share for clip in clips for share in inside(recognizer, clip)], axis=0)
    chosen = [shares[layer, head] for layer, head in bundle.alignment_heads]
    assert min(chosen) > 0.6
    assert np.mean(chosen) > 2 * shares.mean()


def test_of_nothing_no_head_can_be_judged():
    assert choose_heads(SHIPPED, []) == ()
