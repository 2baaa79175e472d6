"""Exported graphs are the model: a small random one, through the whole of asr-export's checks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from asr.errors import ExportError, InputError  # noqa: E402
from asr.export import export as exporting  # noqa: E402
from asr.export import parity  # noqa: E402
from asr.export.graphs import export_decoder, export_encoder  # noqa: E402
from asr.export.parity import Graphs  # noqa: E402
from asr.export.quantise import quantise, quantise_rows  # noqa: E402
from asr.model.checkpoint import save_checkpoint  # noqa: E402
from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402
from asr.runtime.bundle import Bundle  # noqa: E402
from asr.runtime.recognizer import Options, Recognizer  # noqa: E402
from asr.train import vocabulary  # noqa: E402
from asr.train.description import describe  # noqa: E402
from asr.train.live import live_recognizer  # noqa: E402
from asr.train.manifest import read_manifest  # noqa: E402
from asr.train.recipe import Vocabulary  # noqa: E402
from asr.train.tokens import steering_tokens  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"
SAID = ["the quick brown fox", "jumps over", "the lazy dog"]
PIECES = vocabulary.build(Path(__file__).read_text().splitlines(), Vocabulary("bpe", size=300))  # any text will do
CONFIG = ModelConfig(
    vocabulary=PIECES.get_vocab_size(), dim=32, encoder_layers=2, encoder_heads=2, decoder_layers=2, decoder_heads=2,
    max_frames=400, max_tokens=32, log_mel="fixed", pad_s=0.0, left_context=64, ctc_alphabet="abc",
    alignment_heads=((1, 0), (1, 1)),
)  # fmt: skip
CHUNKS = (16, 32)
TOKENS = np.array([[5, 6, 7, 8, 9]])


@pytest.fixture(scope="module")
def model():
    """Random weights, scaled so that what is said depends on the audio and on the text so far."""
    torch.manual_seed(0)
    model = SpeechModel(CONFIG).eval()
    with torch.no_grad():
        model.decoder.positions *= 80
        for block in model.decoder.blocks:
            block.cross_attention.out.weight *= 8
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_encoder(model, folder / "encoder.onnx")
    export_encoder(model, folder / "masked.onnx", chunk=CHUNKS[0])
    export_decoder(model, folder / "decoder.onnx")
    for name in ("encoder", "masked", "decoder"):
        onnx.save(quantise(onnx.load(folder / f"{name}.onnx")), folder / f"{name}.int8.onnx")
    PIECES.save(str(folder / "tokenizer.json"))
    describe(CONFIG, folder / "tokenizer.json").save(folder)
    return folder


@pytest.fixture(scope="module")
def fp32(folder):
    return Graphs.open(folder / "encoder.onnx", folder / "decoder.onnx", CONFIG)


@pytest.fixture(scope="module")
def int8(folder):
    return Graphs.open(folder / "encoder.int8.onnx", folder / "decoder.int8.onnx", CONFIG)


@pytest.fixture(scope="module")
def recordings():
    random = np.random.default_rng(0)
    return [(random.standard_normal(size) * 0.1).astype(np.float32) for size in (50_000, 9_000, 22_222)]


@pytest.fixture(scope="module")
def clips(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    lines = []
    for index, (samples, text) in enumerate(zip(recordings, SAID, strict=True)):
        soundfile.write(folder / f"{index}.wav", samples, 16_000)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": text, "duration": samples.size / 16_000}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder


def test_onnx_matches_torch_at_several_lengths(model, fp32, recordings):
    assert parity.check_torch(model, fp32, recordings, TOKENS) < parity.FP32_TOLERANCE


def test_chunks_match_the_chunk_mask_at_once(model, fp32, recordings):
    assert parity.check_chunks(model, fp32, recordings[0], TOKENS, CHUNKS) < parity.FP32_TOLERANCE


def test_in_8_bits_chunks_say_the_same_tokens_as_at_once(folder, int8, recordings):
    at_once = Graphs.open(folder / "masked.int8.onnx", folder / "decoder.int8.onnx", CONFIG)
    parity.check_chunk_tokens(int8, at_once, recordings[0], [5, 6], CHUNKS[0])


def test_in_8_bits_a_row_in_a_batch_is_the_row_alone_bit_for_bit(int8, recordings):
    parity.check_batch(int8, recordings, TOKENS)


def test_several_tokens_are_one_by_one_bit_for_bit(int8, fp32, recordings):
    for graphs in (int8, fp32):
        parity.check_several_tokens(graphs, recordings[0], TOKENS)


def test_ctc_is_in_the_graph_and_matches_torch(model, fp32, recordings):
    assert parity.check_ctc(model, fp32, recordings) < parity.FP32_TOLERANCE
    torch.manual_seed(1)
    with pytest.raises(ExportError, match="CTC"):
        parity.check_ctc(SpeechModel(CONFIG).eval(), fp32, recordings)


@pytest.mark.parametrize("mode", ["full", "640ms"])
def test_the_model_in_training_says_what_the_exported_folder_says(model, folder, recordings, mode):
    live, served = live_recognizer(model, folder / "tokenizer.json"), Recognizer.load(folder)
    texts = set()
    for samples in recordings:
        ours, theirs = (one.transcribe(samples, Options(latency_mode=mode)).segments for one in (live, served))
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]
        assert [one.words[0].text for one in ours] == [one.words[0].text for one in theirs]
        assert [one.avg_logprob for one in ours] == pytest.approx([one.avg_logprob for one in theirs], abs=1e-4)
        texts.add("".join(one.text for one in ours))
    assert len(texts - {""}) > 1, "what is said depends on the recording"


def test_in_training_log_probabilities_are_the_exported_graphs(model, folder, recordings):
    found = []
    for recognizer in (live_recognizer(model, folder / "tokenizer.json"), Recognizer.load(folder)):
        stepper = recognizer.decoder.over(recognizer.encoder.encode(recordings[0]))
        first, _, state = stepper.step([1, 2, 3], stepper.start())
        second, looked, _ = stepper.step([4], stepper.rewind(state, 2))
        found.append((first, second, looked))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=parity.FP32_TOLERANCE)


def test_a_model_from_scratch_passes_the_checks_and_is_written(
    model, folder, clips, recordings, tmp_path, monkeypatch, capsys
):
    """With the graphs that are already there, for tracing takes long."""
    monkeypatch.setattr(exporting, "write_graphs", lambda _, to, __: shutil.copytree(folder, to))
    save_checkpoint(model, folder / "tokenizer.json", tmp_path / "checkpoint")
    exporting.export(tmp_path / "checkpoint", tmp_path / "out", clips, eight_bits=False)
    assert "CTC" in capsys.readouterr().out
    assert set(Bundle.load(tmp_path / "out").measured) == {"clips"}
    assert Recognizer.load(tmp_path / "out").transcribe(recordings[0]).text


def test_a_model_that_needs_no_padding_is_its_own_twin(model):
    assert exporting.streaming_twin(model) is model
    padded = SpeechModel(replace(CONFIG, pad_s=4.0)).eval()
    assert exporting.streaming_twin(padded).config.pad_s == 0


def test_any_vocabulary_has_pieces_to_try(clips):
    letters = vocabulary.build(SAID[2:], Vocabulary("characters"))
    tokens = steering_tokens(letters, ("en",))
    _, fed = exporting.trial(read_manifest(clips), tokens, letters.get_vocab_size())
    assert fed[0, 0] == tokens.start[0]
    assert len(letters.decode(list(fed[0, 1:]))) == fed.shape[1] - 1 > 3


def test_alignment_is_the_mean_of_the_alignment_heads(fp32, recordings):
    out = fp32.decode(TOKENS, fp32.encode(recordings[:1]), [parity.frames_of(recordings[0])])
    assert np.allclose(out["alignment"], out["weights"][1, :, :2].mean(axis=1), atol=1e-6)


def test_8_bits_stay_near_fp32(int8, fp32, recordings):
    exact, near = (graphs.encode(recordings[:1])["source_value_1"] for graphs in (fp32, int8))
    assert 0 < np.linalg.norm(near - exact) < 0.05 * np.linalg.norm(exact)


def test_embedding_and_output_share_one_matrix(folder):
    graph = onnx.load(folder / "decoder.int8.onnx").graph
    sizes = [
        list(tensor.dims) for tensor in graph.initializer if CONFIG.vocabulary in tensor.dims and len(tensor.dims) == 2
    ]
    assert sizes == [[CONFIG.dim, CONFIG.vocabulary]]


def test_a_different_model_is_refused(fp32, recordings):
    torch.manual_seed(1)
    with pytest.raises(ExportError, match="torch and ONNX differ"):
        parity.check_torch(SpeechModel(CONFIG).eval(), fp32, recordings, TOKENS)


def test_stock_quantisation_would_be_refused(folder, recordings, tmp_path):
    """Proves that the check can fail: one scale for the whole tensor couples the rows."""
    from onnxruntime.quantization import quantize_dynamic

    for name in ("encoder", "decoder"):
        quantize_dynamic(folder / f"{name}.onnx", tmp_path / f"{name}.onnx", op_types_to_quantize=["MatMul"])
    stock = Graphs.open(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", CONFIG)
    with pytest.raises(ExportError, match="in a batch of 3"):
        parity.check_batch(stock, recordings, TOKENS)


def test_rows_are_quantised_to_the_nearest_of_255_levels():
    weights = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32)
    weights[:, 3] = 0
    values, scale = quantise_rows(weights)
    assert values.dtype == np.int8
    assert np.abs(values).max() == 127
    assert (np.abs(values * scale - weights) <= scale / 2 + 1e-7).all()


def test_too_few_clips_to_check_on_are_refused(tmp_path, monkeypatch, model):
    monkeypatch.setattr(exporting, "load_checkpoint", lambda _: model)
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(InputError, match="at least 3"):
        exporting.export(tmp_path, tmp_path / "out", clips=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_failed_export_writes_nothing(tmp_path, capsys):
    assert exporting.main(["--from", str(tmp_path / "absent"), "--to", str(tmp_path / "out")]) == 1
    assert "config" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("file", "in its place is a file"),
        ("file/out", "in its place is a file"),
        ("new/" + "long" * 100, "File name too long"),
        ("taken", "encoder.onnx"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, capsys, to, said):
    monkeypatch.setattr(exporting, "load_checkpoint", lambda _: pytest.fail("the work began"))
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "encoder.onnx").mkdir(parents=True)
    assert exporting.main(["--from", str(tmp_path / "checkpoint"), "--to", str(tmp_path / to)]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"asr-export: cannot write the folder {tmp_path / to}: ")
    assert said in complaint
    assert {path.name for path in tmp_path.iterdir()} == {"file", "taken"}


def test_a_folder_that_is_there_may_be_written_again(tmp_path):
    for name in exporting.FILES:
        (tmp_path / name).write_text("before")
    exporting.check_writable(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(exporting.FILES, "before")


def test_the_shipped_description_is_what_export_would_write():
    bundle = Bundle.load(SHIPPED)
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    assert steering_tokens(tokenizer, bundle.languages) == bundle.tokens
    assert 0 < bundle.measured["clips"] < 15
    assert bundle.licence.startswith("MIT")


def test_a_description_with_an_unknown_key_is_refused(tmp_path):
    from asr.errors import FormatError

    (tmp_path / "model.json").write_text((SHIPPED / "model.json").read_text().replace('"name"', '"title"', 1))
    with pytest.raises(FormatError, match="title"):
        Bundle.load(tmp_path)
