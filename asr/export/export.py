"""asr-export: a checkpoint becomes the folder that is served.

    asr-export --from checkpoints/tiny.en --to asr/models/tiny.en

It refuses to finish unless the graphs are the model (parity.py) and 8 bits cost no more than
WER_MARGIN on recordings with known text (--clips, by default those that the tests use).
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from asr.errors import ExportError, HeedError, InputError, OptionError
from asr.export import parity
from asr.export.graphs import export_decoder, export_encoder
from asr.export.heads import choose_heads
from asr.export.parity import Graphs
from asr.export.quantise import quantise
from asr.model.checkpoint import TOKENIZER, load_checkpoint
from asr.model.model import SpeechModel
from asr.runtime.bundle import DESCRIPTION, GRAPHS, Bundle, Tokens
from asr.runtime.recognizer import Recognizer
from asr.train import score
from asr.train.description import LATENCY_MODES, describe
from asr.train.manifest import Utterance, load, read_manifest

CLIPS = Path(__file__).parents[2] / "tests" / "data"
FILES = (*GRAPHS, TOKENIZER, DESCRIPTION)
WER_MARGIN = 2.5  # points of WER that 8 bits may cost on the clips: two of their 95 words, which are few
LENGTHS = 3  # clips of different lengths that the graphs are compared on
PIECES = 12  # tokens of text that they are fed


def export(checkpoint: Path, to: Path, clips: Path = CLIPS, eight_bits: bool = True) -> Bundle:
    """Write the folder `to`; ExportError, and nothing written, when a check fails."""
    check_writable(to)
    model = load_checkpoint(checkpoint)
    utterances = read_manifest(clips)
    if len(utterances) < LENGTHS:
        raise InputError(f"{clips} has {len(utterances)} clips; the checks need at least {LENGTHS}")
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch) / "fp32", Path(scratch) / "int8"
        say(f"writing the graphs of {checkpoint}, and several of them again for the checks: some minutes in all")
        write_graphs(model, fp32, checkpoint / TOKENIZER)
        bundle = describe(model.config, checkpoint / TOKENIZER)
        check_fp32(model, fp32, utterances, bundle)
        bundle.save(fp32)
        if bundle.ctc is not None and bundle.decoder_heads and (heads := choose_heads(fp32, utterances)):
            say(f"heads that align: {', '.join(f'{layer}.{head}' for layer, head in heads)}")
            bundle = replace(bundle, alignment_heads=heads)
            bundle.save(fp32)
        wer = word_errors(fp32, utterances)
        say(f"fp32: WER {wer:.1f} % on {len(utterances)} clips")
        chosen = fp32
        if eight_bits:
            quantise_graphs(fp32, int8)
            bundle = replace(bundle, quantisation="int8")
            check_int8(model, int8, utterances, bundle)
            bundle.save(int8)
            wer_fp32, wer = wer, word_errors(int8, utterances)
            say(f"int8: WER {wer:.1f} % on the same")
            if wer > wer_fp32 + WER_MARGIN:
                raise ExportError(
                    f"8 bits raise the WER on {clips} from {wer_fp32:.1f} to {wer:.1f} %, allowed {WER_MARGIN}, so "
                    "nothing was written: check on recordings that it is for (--clips DIR), or keep --precision fp32"
                )
            chosen = int8
        bundle = replace(bundle, measured={**bundle.measured, "clips": round(wer, 2)})
        bundle.save(chosen)
        install(chosen, to)
    return bundle


def check_writable(to: Path) -> None:
    """OptionError where the folder cannot be written, before minutes are spent on what goes there.

    By trying, which is truer than permissions; nothing is left of it, as a check may fail yet.
    """
    absent = [folder for folder in (to, *to.parents) if not os.path.exists(folder)]
    place = to
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=to):
            pass
        for place in (to / name for name in FILES):
            if place.exists():
                place.open("r+b").close()
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise OptionError(f"cannot write the folder {to}: in its place is a file") from error
        raise OptionError(f"cannot write the folder {to}: {error.strerror} ({place})") from error
    finally:
        for folder in absent:
            with contextlib.suppress(OSError):
                folder.rmdir()


def write_graphs(model: SpeechModel, folder: Path, tokenizer: Path) -> None:
    folder.mkdir()
    export_encoder(model, folder / "encoder.onnx")
    export_decoder(model, folder / "decoder.onnx")
    shutil.copyfile(tokenizer, folder / TOKENIZER)


def quantise_graphs(fp32: Path, int8: Path) -> None:
    int8.mkdir()
    for name in ("encoder.onnx", "decoder.onnx"):
        onnx.save(quantise(onnx.load(fp32 / name)), int8 / name)
    shutil.copyfile(fp32 / TOKENIZER, int8 / TOKENIZER)


def check_fp32(model: SpeechModel, folder: Path, utterances: Sequence[Utterance], bundle: Bundle) -> None:
    recordings, tokens = trial(utterances, bundle.tokens, model.config.vocabulary)
    graphs = Graphs.open(folder / "encoder.onnx", folder / "decoder.onnx", model.config)
    worst = parity.check_torch(model, graphs, recordings, tokens)
    say(f"fp32: torch and ONNX differ by at most {worst:.1e} in log-probabilities ({len(recordings)} lengths)")
    if model.ctc is not None:
        worst = parity.check_ctc(model, graphs, recordings)
        say(f"fp32: in those of the CTC head by at most {worst:.1e}")
    if not model.encoder.chunks:
        return
    chunks = [frames for frames in LATENCY_MODES.values() if frames]
    twin = streaming_twin(model)
    if twin is not model:
        export_encoder(twin, folder / "twin.onnx")
        graphs = Graphs.open(folder / "twin.onnx", folder / "decoder.onnx", twin.config)
        worst = parity.check_torch(twin, graphs, recordings, tokens)
        say(f"fp32: without padding, at most {worst:.1e}")
    worst = parity.check_chunks(twin, graphs, recordings[0], tokens, chunks)
    say(f"fp32: in chunks of {chunks} frames against the chunk mask at once, at most {worst:.1e}")


def check_int8(model: SpeechModel, folder: Path, utterances: Sequence[Utterance], bundle: Bundle) -> None:
    recordings, tokens = trial(utterances, bundle.tokens, model.config.vocabulary)
    graphs = Graphs.open(folder / "encoder.onnx", folder / "decoder.onnx", model.config)
    parity.check_batch(graphs, recordings, tokens)
    say(f"int8: {len(recordings)} recordings in a batch give the bits that each gives alone")
    if bundle.multi_token:
        parity.check_several_tokens(graphs, recordings[0], tokens)
        say(f"int8: {tokens.shape[1]} tokens at once give the bits that they give one by one")
    if not bundle.chunks:
        return
    chunk = LATENCY_MODES["640ms"]
    twin = streaming_twin(model)
    in_chunks = graphs if twin is model else eight_bit_encoder(twin, folder, None)
    at_once = eight_bit_encoder(twin, folder, chunk)
    parity.check_chunk_tokens(in_chunks, at_once, recordings[0], tokens[0, :1].tolist(), chunk)
    say(f"int8: in chunks of {chunk} frames the same tokens as under the chunk mask at once")


def eight_bit_encoder(model: SpeechModel, folder: Path, mask: int | None) -> Graphs:
    """Another encoder in 8 bits beside the folder's decoder; mask as in export_encoder."""
    path = folder / f"twin-{mask}.onnx"
    export_encoder(model, path, mask)
    onnx.save(quantise(onnx.load(path)), path)
    return Graphs.open(path, folder / "decoder.onnx", model.config)


def streaming_twin(model: SpeechModel) -> SpeechModel:
    """The same weights behind a front end that can be called in chunks, and without padding.

    Whisper's own takes the loudest of the whole window, which a chunk cannot know, so that there is no
    chunked mode of it to compare; everything behind it is compared through the twin. A model that is so
    already is its own.
    """
    if model.config.log_mel == "fixed" and not model.config.pad_s:
        return model
    twin = SpeechModel(replace(model.config, log_mel="fixed", pad_s=0.0))
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def trial(
    utterances: Sequence[Utterance], steering: Tokens, vocabulary: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """The longest, the shortest and a middling clip, and tokens to feed: a prompt, then any pieces of text."""
    ranked = sorted(utterances, key=lambda utterance: -utterance.duration_s)
    chosen = [ranked[0], ranked[-1], ranked[len(ranked) // 2]]
    prompt = steering.prompt(next(iter(steering.languages), ""))
    ordinary = sorted(set(range(vocabulary)) - {*prompt, *steering.suppress, steering.end})
    text = ordinary[len(ordinary) // 2 :][:PIECES]  # away from the ends, where signs and special tokens are
    return [load(utterance) for utterance in chosen], np.array([[*prompt, *text]])


def word_errors(folder: Path, utterances: Sequence[Utterance]) -> float:
    """WER in per cent of an exported folder, through the recogniser that serves it."""
    recognizer = Recognizer.load(folder)
    counts = (score.count(one.text, recognizer.transcribe(load(one)).text) for one in utterances if one.text)
    wer = score.pool(counts).wer
    if wer is None:
        raise InputError("no clip has a text to compare with")
    return wer


def install(folder: Path, to: Path) -> None:
    """Replace `to` by the finished folder."""
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(folder / name, to / name)


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="asr-export", description="Turn a checkpoint into the folder that is served.")
    parser.add_argument(
        "--from",
        dest="checkpoint",
        required=True,
        type=Path,
        metavar="CHECKPOINT",
        help="the folder that asr-import or asr-train wrote",
    )
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder to write, for asr-server")
    parser.add_argument(
        "--clips", type=Path, default=CLIPS, metavar="DIR", help="recordings with a manifest to check on (tests/data)"
    )
    parser.add_argument(
        "--precision",
        choices=("int8", "fp32"),
        default="int8",
        help="of the weights; fp32 for processors older than VNNI (%(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        bundle = export(options.checkpoint, options.to, options.clips, options.precision == "int8")
    except (HeedError, OSError) as error:
        print(f"asr-export: {error}", file=sys.stderr)
        return 1
    size = sum((options.to / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx"))
    say(f"{options.to}: {bundle.name}, {options.precision}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
