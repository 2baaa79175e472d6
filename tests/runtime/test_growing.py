"""The growing encoding against the model that it is of, and streams over it bit for bit. Weights are random."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402
from asr.runtime.growing import ROOM, Growing  # noqa: E402
from asr.runtime.recognizer import Options  # noqa: E402
from asr.train import vocabulary  # noqa: E402
from asr.train.live import live_recognizer  # noqa: E402
from asr.train.recipe import Vocabulary  # noqa: E402

HOP, LOOK_BACK, LOOK_AHEAD = 320, 520, 200
CHUNK, RIGHT = 16, 6


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    vocabulary.build(["the cat sat there", "a mat"], Vocabulary("characters")).save(str(path))
    return path


@pytest.fixture(scope="module")
def model(tokenizer) -> SpeechModel:
    """What is said depends on the audio and on the text so far."""
    torch.manual_seed(3)
    config = ModelConfig(
        vocabulary=len(json.loads(tokenizer.read_text())["model"]["vocab"]), dim=32, encoder_layers=2, encoder_heads=2,
        decoder_layers=2, decoder_heads=2, max_frames=400, max_tokens=64, left_context=64, log_mel="fixed", pad_s=0.0,
        ctc_alphabet=vocabulary.CTC_ALPHABET, name="random",
    )  # fmt: skip
    model = SpeechModel(config).eval()
    with torch.no_grad():
        model.decoder.positions *= 80
        for block in model.decoder.blocks:
            block.cross_attention.out.weight *= 8
            block.cross_attention.query.weight *= 8
    return model


@pytest.fixture(scope="module")
def recognizer(model, tokenizer):
    return live_recognizer(model, tokenizer)


@pytest.fixture(scope="module")
def looking_ahead(model, tokenizer):
    """The same model, whose chunks see a few frames more."""
    other = SpeechModel(replace(model.config, right_context=RIGHT)).eval()
    other.load_state_dict(model.state_dict())
    return live_recognizer(other, tokenizer)


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(70_001) * 0.1).astype(np.float32)


def at_once(model, samples, frames):
    """What the model makes of the segment with silence up to so many frames, under the chunk mask."""
    padded = np.zeros(frames * HOP, np.float32)
    padded[: samples.size] = samples
    with torch.inference_mode():
        features, _ = model.encode(torch.from_numpy(padded)[None], torch.tensor([padded.size]), CHUNK)
        source = model.decoder.source(features, torch.tensor([frames]))
        return [values.numpy() for pair in source.layers for values in pair], model.ctc_log_probs(features).numpy()


def test_what_has_grown_is_what_the_chunk_mask_gives_at_once(model, recognizer, samples):
    growing = Growing(recognizer.encoder, CHUNK)
    for chunks in (1, 2, 5, 12):
        frames = chunks * CHUNK
        source = growing.reach(samples[: frames * HOP + LOOK_AHEAD], frames)
        assert source.frames == source.heard == frames
        assert source.room % ROOM == 0
    source = growing.end(samples)
    sources, ctc = at_once(model, samples, source.frames)
    for name, expected in zip(recognizer.encoder.sources, sources, strict=True):
        assert source.arrays[name][:, :, : source.frames] == pytest.approx(expected, abs=1e-4)
    assert source.ctc == pytest.approx(ctc[0], abs=1e-4)
    assert source.frames - source.heard == recognizer.encoder.end_silence
    assert source.heard == -(-samples.size // HOP)


def test_a_chunk_sees_what_follows_it_and_keeps_nothing_of_that(model, looking_ahead, samples):
    """Against a loop that hands the model each chunk with the frames after it, and keeps keys and values by hand."""
    growing = Growing(looking_ahead.encoder, CHUNK)
    reached = growing.reach(samples[: 3 * CHUNK * HOP + growing.encoder.bundle.ahead], 3 * CHUNK)
    assert reached.frames == 3 * CHUNK
    source = growing.end(samples)
    kept, rows, total = model.encoder.empty_cache(1), [], source.frames
    padded = np.zeros(LOOK_BACK + total * HOP + LOOK_AHEAD, np.float32)
    padded[LOOK_BACK : LOOK_BACK + samples.size] = samples
    for first in range(0, total, CHUNK):
        last = min(first + CHUNK, total)
        seen = min(last + RIGHT, total)
        window = torch.from_numpy(padded[first * HOP : LOOK_BACK + seen * HOP + LOOK_AHEAD])[None]
        with torch.inference_mode():
            features, new = model.encoder(window, torch.tensor([first]), torch.tensor([total]), kept)
        rows.append(features[:, : last - first])
        ends = new[0][0].shape[2] - (seen - first)
        made = [tuple(one[:, :, ends : ends + last - first] for one in pair) for pair in new]
        kept = [
            tuple(torch.cat(halves, dim=2)[:, :, -model.config.left_context :] for halves in zip(*pairs, strict=True))
            for pairs in zip(kept, made, strict=True)
        ]
    with torch.inference_mode():
        expected = model.ctc_log_probs(torch.cat(rows, dim=1)).numpy()
    assert source.ctc == pytest.approx(expected[0], abs=1e-4)


def test_a_chunk_as_long_as_the_left_context_keeps_its_own_frames_alone(looking_ahead, samples):
    growing = Growing(looking_ahead.encoder, 64)
    growing.reach(samples[: 128 * HOP + growing.encoder.bundle.ahead], 128)
    encoded = looking_ahead.encoder.encode_chunk(samples, 0, 64 + RIGHT, 10**6, looking_ahead.encoder.no_caches())
    first = Growing(looking_ahead.encoder, 64)
    first.reach(samples, 64)
    for name, values in first.caches.items():
        assert values.shape[2] == 64 - RIGHT  # the graph gives the newest 64 of 70
        assert (values == encoded.caches[name][:, :, :-RIGHT]).all()


def test_room_for_more_changes_nothing(recognizer, samples):
    """The decoder looks at none of it."""
    source = Growing(recognizer.encoder, CHUNK).reach(samples, 7 * CHUNK)
    whole = {name: values[:, :, : source.frames].copy() for name, values in source.arrays.items()}
    said = recognizer.decode(source, "en")
    exact = recognizer.decode(type(source)(whole, source.frames, source.heard), "en")
    assert said.tokens == exact.tokens
    assert said.log_probs == pytest.approx(exact.log_probs, abs=1e-5)
    assert not said.weights[:, :, source.frames :].any()


def bits(updates):
    return [
        (
            [
                (
                    {**vars(result), "alignment": None},
                    [(row.token_id, row.provisional, row.weights.tobytes()) for row in result.alignment.rows],
                )
                for result in update.results
            ],
            update.cursors.processed_s,
        )
        for update in updates
    ]


def updates_of(recognizer, packets, mode):
    stream = recognizer.stream(Options(latency_mode=mode, alignment=True))
    return bits([*[update for packet in packets for update in stream.accept(packet)], *stream.finish()])


@pytest.mark.parametrize("mode", ["320ms", "640ms", "1280ms"])
@pytest.mark.parametrize("which", ["recognizer", "looking_ahead"])
def test_packets_change_no_bit(request, samples, mode, which):
    recognizer = request.getfixturevalue(which)
    whole = updates_of(recognizer, [samples], mode)
    assert sum(len(results) for results, _ in whole) > 3
    random = np.random.default_rng(1)
    for packets in (3, 40, 400):
        cuts = np.sort(random.integers(0, samples.size, packets))
        assert updates_of(recognizer, np.split(samples, cuts), mode) == whole
    assert updates_of(recognizer, [*np.split(samples[:700], 700), samples[700:]], mode) == whole


def test_streams_side_by_side_change_no_bit(recognizer, samples):
    alone = [updates_of(recognizer, [part], "320ms") for part in (samples, samples[::-1].copy())]
    streams = [recognizer.stream(Options(latency_mode="320ms", alignment=True)) for _ in alone]
    updates = [[], []]
    for first in range(0, samples.size, 5_000):
        for stream, said, part in zip(streams, updates, (samples, samples[::-1]), strict=True):
            said += stream.accept(part[first : first + 5_000])
    for stream, said in zip(streams, updates, strict=True):
        said += stream.finish()
    assert [bits(said) for said in updates] == alone
