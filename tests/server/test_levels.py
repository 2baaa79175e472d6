import numpy as np

from asr.v1 import speech_pb2
from server.levels import CALLS, LEVELS, answered, as_text, measure


def test_more_detail_is_more_bytes_and_never_other_words(fake):
    recognizer = fake(tokens=5)
    samples = np.zeros(32_000, np.float32)
    for call, kind in zip(CALLS, (speech_pb2.RecognizeResponse, speech_pb2.StreamingRecognizeResponse), strict=True):
        sizes, texts = [], set()
        for level in ("NONE", "PATH", "MEAN_U8", "FULL"):
            answers = list(answered(recognizer, samples, call, level))
            sizes.append(sum(map(len, answers)))
            results = [result for answer in answers for result in kind.FromString(answer).results]
            texts.add("".join(one.alternatives[0].transcript for one in results if one.is_final))
        assert sizes == sorted(sizes)
        assert texts == {" heard"}


def test_every_level_is_measured_in_both_calls(fake):
    recognizer = fake()
    costs = measure(recognizer, [np.zeros(16_000, np.float32)], rounds=1)
    assert set(costs) == {(call, level) for call in CALLS for level in LEVELS}
    told = as_text(costs, minutes=1 / 60)
    assert "| Recognize | NONE | 1.000 |" in told
    assert len(told.splitlines()) == 2 + len(costs) + 2
