import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from asr.attention import Composition  # noqa: E402
from asr.errors import FormatError, OptionError  # noqa: E402
from asr.model.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, ModelConfig  # noqa: E402
from asr.model.front_end import FrontEnd, window_samples  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402

TINY = ModelConfig(
    vocabulary=50, dim=32, encoder_layers=2, encoder_heads=2, decoder_layers=2, decoder_heads=2,
    max_frames=200, max_tokens=32, log_mel="fixed", pad_s=0.0, left_context=16, ctc_alphabet="abc '",
)  # fmt: skip
CHUNK = 8
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    torch.manual_seed(0)
    return SpeechModel(TINY).eval()


def speech(rows: int, seconds: float):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(rows, int(16_000 * seconds), generator=generator) * 0.1


@torch.inference_mode()
def test_log_mel_is_whispers(whisper_log_mel):
    samples = speech(1, 2.0)
    frames = samples.shape[1] // FRAME_HOP
    window = window_samples(samples, frames)
    front_end = FrontEnd(ModelConfig(pad_s=0.0))
    log_mel, exists = front_end(window, torch.tensor([0]), torch.tensor([frames]))
    assert exists[0, :, 0].tolist() == [False] * 2 + [True] * 2 * frames + [False]
    expected = whisper_log_mel(samples[0].numpy())[:, : 2 * frames - 1]  # the last one hears past the end
    torch.testing.assert_close(log_mel[0, 2:-2].T, torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


@pytest.fixture
def whisper_log_mel():
    """The reference: librosa's short-time transform, as openai/whisper's audio.py describes its features."""
    import librosa
    import numpy as np

    def log_mel(samples):
        power = np.abs(librosa.stft(samples, n_fft=400, hop_length=160, window="hann", pad_mode="reflect")[:, :-1]) ** 2
        mel = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80) @ power
        log_power = np.log10(np.maximum(mel, 1e-10))
        return ((np.maximum(log_power, log_power.max() - 8) + 4) / 4).astype(np.float32)

    return log_mel


@torch.inference_mode()
def test_padding_changes_nothing(model):
    samples, lengths = speech(2, 1.5), torch.tensor([24_000, 10_000])
    samples[1, 10_000:] = 0
    together, frames = model.encode(samples, lengths)
    alone, _ = model.encode(samples[1:, :10_000], lengths[1:])
    torch.testing.assert_close(together[1:, : frames[1]], alone, **TOLERANCE)


@torch.inference_mode()
def test_chunk_by_chunk_equals_the_chunk_mask_at_once(model):
    samples = speech(1, 1.3)
    at_once, frame_lengths = model.encode(samples, torch.tensor([samples.shape[1]]), chunk=CHUNK)
    total = int(frame_lengths[0])
    whole = window_samples(samples, total)
    cache, parts = model.encoder.empty_cache(1), []
    for first in range(0, total, CHUNK):
        frames = min(CHUNK, total - first)
        window = whole[:, FRAME_HOP * first : FRAME_HOP * (first + frames) + LOOK_BACK + LOOK_AHEAD]
        known_total = total if first + frames == total else 10**6
        features, cache = model.encoder(window, torch.tensor([first]), torch.tensor([known_total]), cache)
        assert cache[0][0].shape[2] <= TINY.left_context
        parts.append(features)
    torch.testing.assert_close(torch.cat(parts, 1), at_once, **TOLERANCE)


@torch.inference_mode()
def test_the_chunk_mask_hides_the_future(model):
    samples = speech(1, 1.28)
    changed = samples.clone()
    changed[:, CHUNK * FRAME_HOP * 2 + LOOK_AHEAD :] = 0.5  # after what the second chunk may hear
    lengths = torch.tensor([samples.shape[1]])
    before, _ = model.encode(samples, lengths, chunk=CHUNK)
    after, _ = model.encode(changed, lengths, chunk=CHUNK)
    torch.testing.assert_close(before[:, : 2 * CHUNK], after[:, : 2 * CHUNK], rtol=0, atol=0)
    assert not torch.equal(before[:, 2 * CHUNK :], after[:, 2 * CHUNK :])


@torch.inference_mode()
def test_cached_decoding_equals_teacher_forcing(model):
    samples, tokens = speech(2, 1.0), torch.randint(50, (2, 9))
    lengths = torch.tensor([16_000, 9_000])
    at_once, weights = model(samples, lengths, tokens)
    features, frame_lengths = model.encode(samples, lengths)
    source, steps = model.decoder.source(features, frame_lengths), []
    state = model.decoder.start(source)
    for piece in (tokens[:, :4], tokens[:, 4:5], tokens[:, 5:]):
        log_probs, state, _ = model.decoder(piece, source, state)
        steps.append(log_probs)
    torch.testing.assert_close(torch.cat(steps, 1), at_once, **TOLERANCE)
    assert weights.shape == (2, 2, 2, 9, 50)
    assert weights[:, 1, :, :, int(frame_lengths[1]) :].abs().max() == 0


@torch.inference_mode()
def test_ctc_gives_a_distribution_over_blank_and_alphabet(model):
    features, _ = model.encode(speech(1, 1.0), torch.tensor([16_000]))
    log_probs = model.ctc_log_probs(features)
    assert log_probs.shape == (1, 50, 1 + len("abc '"))
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(1, 50))


def test_a_checkpoint_comes_back_the_same(model, tmp_path):
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    save_checkpoint(model, tokenizer, tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved")
    assert loaded.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


COMPOSED = {
    "encoder_attention": {"mask": "local", "position": "rotary", "heads": 4},
    "decoder_attention": {"weights": "sparsemax", "heads": 4, "position": "shaw"},
    "cross_attention": {"score": "additive", "weights": "entmax", "heads": 8},
}


@torch.inference_mode()
def test_composed_attention_is_in_the_model_and_comes_back_from_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    model = SpeechModel(replace(TINY, **COMPOSED, alignment_heads=((1, 7),))).eval()
    (tmp_path / "tokenizer.json").write_text("{}")
    save_checkpoint(model, tmp_path / "tokenizer.json", tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert written["cross_attention"]["weights"] == "entmax"
    loaded = load_checkpoint(tmp_path / "saved")
    assert loaded.config == model.config
    assert isinstance(loaded.config.cross_attention, Composition)
    tokens, lengths = torch.tensor([[1, 2, 3]]), torch.tensor([16_000])
    log_probs, weights = loaded(speech(1, 1.0), lengths, tokens)
    assert weights.shape[:3] == (2, 1, 8)
    torch.testing.assert_close(log_probs, model(speech(1, 1.0), lengths, tokens)[0], rtol=0, atol=0)
    assert loaded.encoder.heads == 4
    assert [one.shape for one in loaded.decoder.carried[0]] == [(4, 0, 8)] * 2


def test_a_name_and_the_table_of_its_parts_are_one_model():
    for named, parts in (
        ({"cross_attention": "additive"}, {"cross_attention": {"score": "additive", "heads": 1}}),
        ({"cross_attention": "entmax"}, {"cross_attention": {"weights": "entmax"}}),
        ({"encoder_attention": "self_rotary"}, {"encoder_attention": {"position": "rotary"}}),
    ):
        models = []
        for told in (named, parts):
            torch.manual_seed(0)
            models.append(SpeechModel(replace(TINY, **told)))
        ours, theirs = (model.state_dict() for model in models)
        assert list(ours) == list(theirs)
        assert all(torch.equal(one, theirs[name]) for name, one in ours.items())


@pytest.mark.parametrize("frames", [-1, TINY.left_context + 1])
def test_a_right_context_that_no_cache_could_hold_is_refused(frames):
    with pytest.raises(FormatError, match=f"right_context is {frames} frames; it can be 0 to {TINY.left_context}"):
        replace(TINY, right_context=frames)


def test_attention_that_cannot_be_composed_is_refused_with_the_option(tmp_path):
    with pytest.raises(OptionError, match=r"cross_attention = .*position = none"):
        replace(TINY, cross_attention={"position": "rotary"})
    with pytest.raises(OptionError, match="encoder_attention is 3; it can be a name, or a table"):
        replace(TINY, encoder_attention=3)
    with pytest.raises(OptionError, match=r"cross_attention\.score is 'dots'"):
        replace(TINY, cross_attention=Composition("dots"))
    with pytest.raises(FormatError, match=r"alignment head \(0, 2\) is outside"):
        replace(TINY, cross_attention={"heads": 1}, alignment_heads=((0, 2),))
    (tmp_path / "config.json").write_text('{"decoder_attention": {"mask": "local_m"}}')
    with pytest.raises(FormatError, match=r"config\.json: decoder_attention = .*mask = global, local$"):
        ModelConfig.load(tmp_path / "config.json")


def test_a_config_with_an_unknown_key_names_it(tmp_path):
    (tmp_path / "config.json").write_text('{"dimension": 3}')
    with pytest.raises(FormatError, match="dimension"):
        ModelConfig.load(tmp_path / "config.json")


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(FormatError, match="multiple of encoder_heads"):
        ModelConfig(dim=30, encoder_heads=4, decoder_heads=2)


def test_weights_of_another_shape_are_refused(model, tmp_path):
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    save_checkpoint(model, tokenizer, tmp_path)
    ModelConfig(**{**vars(TINY), "dim": 64}).save(tmp_path / "config.json")
    with pytest.raises(FormatError, match="does not fit"):
        load_checkpoint(tmp_path)
