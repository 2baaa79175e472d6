"""The three formats of the same weights become the same checkpoint."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from asr.errors import FormatError, NotFoundError  # noqa: E402
from asr.model import importer  # noqa: E402
from asr.model.checkpoint import load_checkpoint  # noqa: E402
from asr.model.config import ModelConfig  # noqa: E402
from asr.model.model import SpeechModel  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "asr" / "models" / "tiny.en-streaming"
VOCABULARY, DIM, HEADS, LAYERS = 51_864, 16, 2, 2
CONFIG = ModelConfig(
    vocabulary=VOCABULARY, dim=DIM, encoder_layers=LAYERS, encoder_heads=HEADS, decoder_layers=LAYERS,
    decoder_heads=HEADS, max_frames=60, max_tokens=20, alignment_heads=((1, 0), (1, 1)),
)  # fmt: skip

# (ours, OpenAI's, Hugging Face's, CTranslate2's) of everything outside the blocks
OUTSIDE = [
    ("encoder.conv1", "encoder.conv1", "model.encoder.conv1", "encoder/conv1"),
    ("encoder.conv2", "encoder.conv2", "model.encoder.conv2", "encoder/conv2"),
    ("encoder.norm", "encoder.ln_post", "model.encoder.layer_norm", "encoder/layer_norm"),
    ("decoder.norm", "decoder.ln", "model.decoder.layer_norm", "decoder/layer_norm"),
]
SINGLE = [
    (
        f"{part}.positions",
        f"{part}.positional_embedding",
        f"model.{part}.embed_positions.weight",
        f"{part}/position_encodings/encodings",
    )
    for part in ("encoder", "decoder")
] + [
    (
        "decoder.embedding.weight",
        "decoder.token_embedding.weight",
        "model.decoder.embed_tokens.weight",
        "decoder/embeddings/weight",
    )
]


def block_names(part: str, layer: int):
    """(ours, OpenAI's, Hugging Face's, CTranslate2's) modules of one block."""
    ours, openai = f"{part}.blocks.{layer}", f"{part}.blocks.{layer}"
    face, translate = f"model.{part}.layers.{layer}", f"{part}/layer_{layer}"
    attention, norm = (
        ("attention.heads", "attention_norm") if part == "encoder" else ("self_attention.heads", "self_norm")
    )
    yield (
        f"{ours}.{norm}",
        f"{openai}.attn_ln",
        f"{face}.self_attn_layer_norm",
        f"{translate}/self_attention/layer_norm",
    )
    yield f"{ours}.mlp_norm", f"{openai}.mlp_ln", f"{face}.final_layer_norm", f"{translate}/ffn/layer_norm"
    yield f"{ours}.up", f"{openai}.mlp.0", f"{face}.fc1", f"{translate}/ffn/linear_0"
    yield f"{ours}.down", f"{openai}.mlp.2", f"{face}.fc2", f"{translate}/ffn/linear_1"
    for role, short in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "out")):
        yield (
            f"{ours}.{attention}.{role}",
            f"{openai}.attn.{role}",
            f"{face}.self_attn.{short}_proj",
            f"{translate}/self:{role}",
        )
        if part == "decoder":
            yield (
                f"{ours}.cross_attention.{role}",
                f"{openai}.cross_attn.{role}",
                f"{face}.encoder_attn.{short}_proj",
                f"{translate}/cross:{role}",
            )
    if part == "decoder":
        yield (
            f"{ours}.cross_norm",
            f"{openai}.cross_attn_ln",
            f"{face}.encoder_attn_layer_norm",
            f"{translate}/attention/layer_norm",
        )


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    model = SpeechModel(CONFIG)
    return {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


def renamed(weights, column: int):
    """The same tensors under another project's names; column 1 OpenAI, 2 Hugging Face, 3 CTranslate2."""
    rows = [
        *OUTSIDE,
        *(row for part in ("encoder", "decoder") for layer in range(LAYERS) for row in block_names(part, layer)),
    ]
    theirs = {names[column]: weights[names[0]] for names in SINGLE}
    for names in rows:
        for kind in ("weight", "bias"):
            if (tensor := weights.get(f"{names[0]}.{kind}")) is not None:
                theirs[f"{names[column]}{'/' if column == 3 else '.'}{kind}"] = tensor
    assert len(theirs) == len(weights)
    return theirs


@pytest.fixture
def openai(weights, tmp_path):
    path = tmp_path / "small.pt"
    dims = {"n_audio_head": HEADS, "n_text_head": HEADS}
    torch.save({"dims": dims, "model_state_dict": renamed(weights, 1)}, path)
    return path


@pytest.fixture
def hugging_face(weights, tmp_path):
    folder = tmp_path / "face"
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in renamed(weights, 2).items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS})
    )
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": [[1, 0], [1, 1]]}))
    return folder


@pytest.fixture
def ctranslate2(weights, tmp_path):
    folder = tmp_path / "translate"
    folder.mkdir()
    variables = fused(renamed(weights, 3))
    variables |= {"encoder/num_heads": np.int16(HEADS), "decoder/num_heads": np.int16(HEADS)}
    (folder / "model.bin").write_bytes(model_bin(variables))
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[1, 0], [1, 1]]}))
    return folder


def fused(separate):
    """CTranslate2's layout: query, key and value in one matrix, the key's bias as zeros, gamma and beta."""
    variables = {}
    for name, tensor in separate.items():
        if ":" not in name:
            norm = name.replace("layer_norm/weight", "layer_norm/gamma").replace("layer_norm/bias", "layer_norm/beta")
            variables[norm] = tensor.numpy()
    for layer in {name.split(":")[0] for name in separate if ":" in name}:
        kind = layer.rsplit("/", 1)[1]
        groups = [["query", "key", "value"], ["out"]] if kind == "self" else [["query"], ["key", "value"], ["out"]]
        base = layer.replace("/self", "/self_attention").replace("/cross", "/attention")
        for index, group in enumerate(groups):
            for what in ("weight", "bias"):
                parts = [separate.get(f"{layer}:{role}/{what}", torch.zeros(DIM)) for role in group]
                variables[f"{base}/linear_{index}/{what}"] = torch.cat(parts).numpy()
    return variables


def model_bin(variables, version: int = 6) -> bytes:
    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {np.dtype("float32"): 0, np.dtype("int16"): 2}
    out = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, values in variables.items():
        out += string(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        out += struct.pack("<BI", kinds[values.dtype], values.nbytes) + values.tobytes()
    return out + struct.pack("<I", 0)


@pytest.mark.parametrize("source", ["openai", "hugging_face", "ctranslate2"])
def test_every_format_gives_the_same_weights(source, weights, request):
    path = request.getfixturevalue(source)
    model, tokenizer = importer.import_whisper(str(path), SHIPPED / "tokenizer.json")
    assert tokenizer == SHIPPED / "tokenizer.json"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    config = model.config
    assert (config.vocabulary, config.dim, config.encoder_layers, config.max_frames) == (VOCABULARY, DIM, LAYERS, 60)
    assert config.alignment_heads == ((1, 0), (1, 1)), "the files' own, or openai-whisper's default: the later half"
    assert config.languages == ("en",)


def test_the_command_writes_a_checkpoint_that_loads(openai, tmp_path, capsys):
    assert importer.main(["--from", str(openai), "--to", str(tmp_path / "out"), "--name", "small"]) == 0
    assert load_checkpoint(tmp_path / "out").config.name == "small"
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1  # who may read one, may read all
    assert "small" in capsys.readouterr().out


def test_a_lone_multilingual_file_asks_for_its_tokenizer(weights, tmp_path, capsys):
    theirs = renamed(weights, 1)
    theirs["decoder.token_embedding.weight"] = torch.zeros(51_865, DIM)
    torch.save(
        {"dims": {"n_audio_head": HEADS, "n_text_head": HEADS}, "model_state_dict": theirs}, tmp_path / "base.pt"
    )
    assert importer.main(["--from", str(tmp_path / "base.pt"), "--to", str(tmp_path / "out")]) == 1
    assert "--tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"garbage" * 9, b"this is a text", b"RIFF\x24\x00\x00\x00WAVE"])
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not an OpenAI Whisper checkpoint"):
        importer.import_whisper(str(path))


def test_what_torch_advises_is_not_passed_on(tmp_path):
    """Its message on foreign pickles tells how to load them all the same, which runs what is in them."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"# Heed\n\nA text.\n")
    with pytest.raises(FormatError) as refused:
        importer.import_whisper(str(path))
    assert "weights_only" not in str(refused.value)


def test_no_tokenizer_where_one_is_named_says_so(openai, tmp_path, capsys):
    missing = tmp_path / "nowhere.json"
    assert importer.main(["--from", str(openai), "--to", str(tmp_path / "out"), "--tokenizer", str(missing)]) == 1
    assert f"cannot read a tokenizer.json at {missing}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_says_so(openai, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert importer.main(["--from", str(openai), "--to", str(tmp_path / "taken" / "out")]) == 1
    assert "taken" in capsys.readouterr().err


def test_a_folder_of_nothing_known_is_refused(tmp_path):
    with pytest.raises(FormatError, match="neither model"):
        importer.import_whisper(str(tmp_path))


def test_a_truncated_model_bin_is_refused(ctranslate2):
    path = ctranslate2 / "model.bin"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FormatError, match="CTranslate2"):
        importer.import_whisper(str(ctranslate2))


def test_quantised_or_foreign_weights_say_so(ctranslate2):
    (ctranslate2 / "model.bin").write_bytes(model_bin({}, version=5))
    with pytest.raises(FormatError, match="version 5"):
        importer.import_whisper(str(ctranslate2))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(NotFoundError, match=r"tiny\.en"):
        importer.import_whisper("enormous")


def test_no_network_says_to_give_a_path(monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(NotFoundError, match="give the path of a checkpoint"):
        importer.import_whisper("tiny.en")
