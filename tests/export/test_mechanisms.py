"""Every mechanism, from a recipe's name to text with its alignment: a few steps of training, the exported graphs, the
runtime, and a stream through the server.

One encoder serves all: each decoder is given its weights, so that it is traced once.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from asr.attention import MECHANISMS  # noqa: E402
from asr.errors import FormatError, OptionError  # noqa: E402
from asr.export import parity  # noqa: E402
from asr.export.graphs import export_decoder, export_encoder  # noqa: E402
from asr.export.parity import Graphs  # noqa: E402
from asr.model.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402
from asr.runtime.bundle import Bundle  # noqa: E402
from asr.runtime.recognizer import Options, Recognizer  # noqa: E402
from asr.train import vocabulary  # noqa: E402
from asr.train.description import describe  # noqa: E402
from asr.train.live import live_recognizer  # noqa: E402
from asr.train.losses import losses  # noqa: E402
from asr.train.recipe import Objective, Recipe, Vocabulary, check_model  # noqa: E402
from asr.train.start import Speller  # noqa: E402

TEXTS = ["the quick brown fox", "jumps over", "the lazy dog"]
LETTERS = vocabulary.build(TEXTS, Vocabulary("characters"))
CONFIG = ModelConfig(
    vocabulary=LETTERS.get_vocab_size(), mels=20, dim=16, encoder_layers=1, encoder_heads=2, decoder_layers=1,
    decoder_heads=1, max_frames=300, max_tokens=24, log_mel="fixed", pad_s=0.0, left_context=64, ctc_alphabet="abc",
)  # fmt: skip
CROSS = [name for name in MECHANISMS if not name.startswith("self")]
WITH_STATE = {  # tensors that a cross-attention carries
    "location_aware": 1, "monotonic": 1, "mocha": 1, "local_m": 1, "las": 1, "sparse window": 1
}  # fmt: skip
OTHERS = {
    "las": {"decoder": "lstm", "cross_attention": "location_aware", "decoder_layers": 2},
    "bottleneck": {"decoder": "gru", "cross_attention": "none"},
    "linear text": {"decoder_attention": "self_linear", "decoder_positions": "none"},
    "rotary text": {"decoder_attention": "self_rotary", "decoder_positions": "none"},
}
FREE = {  # compositions without a name
    "sparse bell": {"cross_attention": {"score": "additive", "weights": "entmax", "mask": "local"}},
    "sparse window": {"cross_attention": {"score": "dot", "weights": "sparsemax", "mask": "local_m"}},
}
DECODERS = {name: {"cross_attention": name} for name in CROSS} | OTHERS | FREE
ALL_FREE = {  # and with heads of their own, so that it has its own encoder too
    "encoder_attention": {"weights": "entmax", "mask": "local", "position": "rotary", "heads": 4},
    "decoder_attention": {"score": "additive", "position": "sinusoidal", "heads": 8},
    "cross_attention": {"score": "location_aware", "heads": 2},
    "decoder_positions": "none",
}
ENCODERS = {
    "lstm": {"encoder": "lstm"},
    "gru": {"encoder": "gru"},
    "linear": {"encoder_attention": "self_linear"},
    "window": {"encoder_attention": "self_local", "encoder_positions": "none"},
}


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [(random.standard_normal(size) * 0.1).astype(np.float32) for size in (30_000, 9_001, 22_222)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    LETTERS.save(str(path))
    return path


def trained(config: ModelConfig, recordings, tokenizer, encoder: SpeechModel | None = None) -> SpeechModel:
    """A model after three steps, only of its decoder where it is given an encoder, which it then shares."""
    torch.manual_seed(0)
    model = SpeechModel(config).train()
    if encoder is not None:
        share_encoder(model, encoder)
    targets = Speller.load(tokenizer, config).targets(TEXTS, [()] * len(TEXTS))
    lengths = torch.tensor([one.size for one in recordings])
    samples = torch.zeros(len(recordings), int(lengths.max()))
    for row, one in zip(samples, recordings, strict=True):
        row[: one.size] = torch.from_numpy(one)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=0.02)
    for _ in range(3):
        optimiser.zero_grad()
        losses(model, samples, lengths, targets, Objective(), 0)["loss"].mean().backward()
        assert all(one.grad is None or one.grad.isfinite().all() for one in learning)
        optimiser.step()
    with torch.no_grad():  # so that what is said depends on the audio and on the text so far
        model.decoder.embedding.weight *= 20
        for reader in model.decoder.readers:
            reader.out.weight *= 8
    return model.eval()


def share_encoder(model: SpeechModel, encoder: SpeechModel) -> None:
    model.encoder = encoder.encoder.requires_grad_(False)
    model.ctc = encoder.ctc
    for reader in model.decoder.readers:
        reader.key, reader.value = encoder.decoder.readers[0].key, encoder.decoder.readers[0].value
        reader.key.requires_grad_(False)
        reader.value.requires_grad_(False)


@pytest.fixture(scope="module")
def first(recordings, tokenizer) -> SpeechModel:
    return trained(CONFIG, recordings, tokenizer)


@pytest.fixture(scope="module")
def encoder_graph(first, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    export_encoder(first, path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Where the exported models gather for the server."""
    return tmp_path_factory.mktemp("exported")


def said(recognizer, samples, mode="full"):
    return recognizer.transcribe(samples, Options(latency_mode=mode, alignment=True)).segments


@pytest.mark.parametrize("name", DECODERS)
def test_a_mechanism_is_trained_exported_and_heard(name, first, encoder_graph, recordings, tokenizer, folders):
    config = replace(CONFIG, **DECODERS[name], name=name.replace(" ", "_"))
    model = trained(config, recordings, tokenizer, encoder=first)
    folder = folders / config.name
    folder.mkdir()
    shutil.copyfile(encoder_graph, folder / "encoder.onnx")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    export_decoder(model, folder / "decoder.onnx")
    describe(config, tokenizer).save(folder)

    graphs = Graphs.open(folder / "encoder.onnx", folder / "decoder.onnx", config)
    parity.check_torch(model, graphs, recordings[:2], np.array([[1, 2, 3, 2]]))

    bundle = Bundle.load(folder)
    carried = [state for state in bundle.states if state.name.startswith("cross_") and "context" not in state.name]
    assert len(carried) == WITH_STATE.get(name, 0)
    assert bundle.multi_token == (not carried and config.decoder == "transformer" and name not in OTHERS)
    is_served_as_trained(model, folder, recordings, tokenizer)
    assert bool(bundle.alignment_heads) == (config.cross_attention not in ("none", "linear"))


def is_served_as_trained(model: SpeechModel, folder: Path, recordings, tokenizer) -> None:
    """Text and alignment, at once and live."""
    served, live = Recognizer.load(folder), live_recognizer(model, tokenizer)
    looks = Bundle.load(folder).alignment_heads
    for mode in ("full", "640ms"):
        ours, theirs = said(live, recordings[0], mode), said(served, recordings[0], mode)
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]
        for one in theirs:
            assert len(one.alignment.rows) == (len(one.tokens) if looks else 0)
            assert all(0 <= word.start_s <= word.end_s <= 2.0 for word in one.words)
            assert all(np.isfinite(row.weights).all() for row in one.alignment.rows)


def test_a_model_composed_throughout_is_trained_exported_and_heard(recordings, tokenizer, folders, tmp_path):
    trained_one = trained(replace(CONFIG, **ALL_FREE, name="composed"), recordings, tokenizer)
    save_checkpoint(trained_one, tokenizer, tmp_path)
    model = load_checkpoint(tmp_path)
    folder = folders / "composed"
    folder.mkdir()
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    export_encoder(model, folder / "encoder.onnx")
    export_decoder(model, folder / "decoder.onnx")
    describe(model.config, tokenizer).save(folder)
    graphs = Graphs.open(folder / "encoder.onnx", folder / "decoder.onnx", model.config)
    parity.check_torch(model, graphs, recordings[:2], np.array([[1, 2, 3, 2]]))
    bundle = Bundle.load(folder)
    assert bundle.chunks
    assert (bundle.encoder_heads, bundle.decoder_heads) == (4, 2)
    assert bundle.alignment_heads == ((0, 0), (0, 1))
    assert [state.shape for state in bundle.states if state.name.startswith("self_")] == [("batch", 8, 0, 2)] * 2
    is_served_as_trained(model, folder, recordings, tokenizer)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_trained_and_exported(name, recordings, tokenizer, tmp_path):
    config = replace(CONFIG, **ENCODERS[name])
    model = trained(config, recordings, tokenizer)
    export_encoder(model, tmp_path / "encoder.onnx")
    bundle = describe(config, tokenizer)
    graph = Graphs.open(tmp_path / "encoder.onnx", tmp_path / "encoder.onnx", config)
    with torch.inference_mode():
        features, length = model.encode(torch.from_numpy(recordings[0])[None], torch.tensor([recordings[0].size]))
        expected = model.decoder.source(features, length).layers[0][1]
    found = graph.encode(recordings[:2])["source_value_0"][:1]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert bundle.chunks == (name != "linear")
    if bundle.chunks and name != "window":
        parts = graph.encode_in_chunks(recordings[0], 16)["source_value_0"]
        np.testing.assert_allclose(parts, expected, atol=1e-4)


def test_the_server_streams_each_with_its_alignment(folders, recordings):
    """After the exports: those that are there."""
    pytest.importorskip("grpc")
    from client.local import local_server, server_command
    from client.results import Level
    from client.results import Options as Wanted
    from client.sdk import Client

    names = sorted(path.name for path in folders.iterdir())
    assert names
    command = server_command(None)
    for name in names:
        command += ["--model", str(folders / name)]
    pcm = (recordings[0] * 32767).astype("<i2").tobytes()
    with_text = 0
    with local_server(command) as target, Client(target) as client:
        for name in names:
            wanted = Wanted(model=name, alignment=Level.MEAN_U8)
            updates = list(client.stream([pcm[:20_000], pcm[20_000:]], 16_000, wanted))
            finals = [result for update in updates for result in update.results if result.is_final]
            looks = Bundle.load(folders / name).alignment_heads
            for final in finals:
                assert len(final.alignment.rows) == (len(final.tokens) if looks else 0)
            with_text += bool(finals)
    assert with_text > len(names) / 2, "what says nothing proves nothing"


def test_an_attention_that_there_is_not_is_refused():
    with pytest.raises(FormatError, match="cross_attention is 'self'; it can be none, uniform"):
        replace(CONFIG, cross_attention="self")
    with pytest.raises(OptionError, match=r"cross_attention = .* what goes with the rest: position = none$"):
        replace(CONFIG, cross_attention={"weights": "entmax", "position": "rotary"})
    with pytest.raises(FormatError, match="decoder_positions"):
        SpeechModel(replace(CONFIG, decoder_attention="self_linear"))


def test_chunks_are_refused_for_an_encoder_that_reads_whole_segments():
    recipe = Recipe(objective=Objective(chunks=(0, 32)))
    with pytest.raises(OptionError, match="self_linear attention reads whole segments"):
        check_model(recipe, replace(CONFIG, encoder_attention="self_linear"))
    with pytest.raises(OptionError, match="none of"):
        check_model(Recipe(objective=Objective(alignment=1.0)), replace(CONFIG, cross_attention="linear"))
