"""asr-label: give recordings without a text what a model hears, and every word its time.

    asr-label --model DIR --align CHECKPOINT --data DIR --sets a,b --to DIR

Writes TO/SET/manifest.jsonl for each set: the same recordings in the same order, their own text where they have one
and else the model's, and `words` with times where the text can be followed in the audio. Times that a manifest has
already are kept. What the model is not sure of is left out, for a wrong text teaches worse than none. asr-train reads
the result as any other set.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from asr.errors import AudioError, HeedError, InputError
from asr.model.checkpoint import TOKENIZER, load_checkpoint
from asr.model.model import SpeechModel
from asr.runtime import words as wording
from asr.runtime.loudness import levels, loud, sounding_part
from asr.runtime.recognizer import Options, Recognizer
from asr.train import vocabulary
from asr.train.live import live_recognizer
from asr.train.manifest import MANIFEST, TimedWord, Utterance, load, read_manifest
from asr.train.start import sentence

SURE = -0.6  # mean log-probability of the tokens; of what lies below, about half the words were wrong
LANGUAGE = "en"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("asr-label", description="Write manifests with pseudo-labels and word times.")
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="the exported folder that hears what has no text (such is left out)")
    add("--align", type=Path, required=True, metavar="CHECKPOINT", help="whose attention gives the words their times")
    add("--data", type=Path, required=True, metavar="DIR", help="a folder of sets")
    add("--sets", required=True, metavar="A,B,C", help="these of them")
    add("--to", type=Path, required=True, metavar="DIR", help="where DIR/SET/manifest.jsonl are written")
    add("--threads", type=int, default=1, metavar="N", help="onnxruntime threads of --model (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        model = None if options.model is None else Recognizer.load(options.model, options.threads)
        aligner = open_aligner(options.align)
        for name in options.sets.split(","):
            said = label_set(options.data / name, options.to / name, model, aligner)
            print(f"{name}: {said}", flush=True)
    except (HeedError, OSError) as error:
        print(f"asr-label: {error}", file=sys.stderr)
        return 1
    return 0


def open_aligner(folder: Path) -> Recognizer:
    """A checkpoint that reads recordings at their own length: a text that is given needs no silence after it."""
    given = load_checkpoint(folder)
    model = SpeechModel(replace(given.config, pad_s=0.0))
    model.load_state_dict(given.state_dict())
    return live_recognizer(model.eval(), folder / TOKENIZER)


def label_set(source: Path, target: Path, model: Recognizer | None, aligner: Recognizer) -> str:
    """Write target's manifest for source's recordings; says what came of them."""
    utterances = read_manifest(source)
    target.mkdir(parents=True, exist_ok=True)
    part = target / (MANIFEST + ".part")
    written = timed = 0
    with part.open("w", encoding="utf-8") as file:
        for utterance in track(utterances, source.name, console=Console(stderr=True), disable=not sys.stderr.isatty()):
            for line in label(utterance, model, aligner):
                line["audio"] = os.path.relpath(utterance.audio.resolve(), target.resolve())
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written, timed = written + 1, timed + bool(line["words"])
    part.rename(target / MANIFEST)
    return f"{written} of {len(utterances)} recordings have a text, {timed} of these have times"


def label(utterance: Utterance, model: Recognizer | None, aligner: Recognizer) -> Iterator[dict[str, Any]]:
    """The utterance's line, or none where nobody can say what is said."""
    try:
        samples = load(utterance)
    except AudioError as error:
        print(f"left out: {error}", file=sys.stderr)
        return
    text, by = utterance.text, utterance.source
    if text and (text.isupper() or text.islower()):
        text = sentence(text)  # what the aligner knows is written so
    if not text:
        heard = "" if model is None else hear(model, samples)
        if not heard:
            return
        assert model is not None
        text, by = heard, f"heard by {model.bundle.name}"
    words: Sequence[TimedWord] = utterance.words
    if not words and samples.size <= aligner.bundle.max_samples:
        words = align(aligner, samples, text)
    yield {
        "id": utterance.id,
        "text": text,
        "speaker": utterance.speaker,
        "duration": utterance.duration_s,
        "source": utterance.source,
        "licence": utterance.licence,
        "text_by": by,
        "words": [{"word": word.word, "start": round(word.start_s, 3), "end": round(word.end_s, 3)} for word in words],
    }


def hear(model: Recognizer, samples: NDArray[np.float32]) -> str:
    """What the model is sure of hearing: "" where any segment is doubtful."""
    segments = model.transcribe(samples, Options(language=LANGUAGE, interim=False)).segments
    if any(segment.avg_logprob < SURE for segment in segments):
        return ""
    return "".join(segment.text for segment in segments).strip()


def align(recognizer: Recognizer, samples: NDArray[np.float32], text: str) -> list[TimedWord]:
    """The times of a text's words, from where its tokens look when they are forced."""
    tokenizer, tokens = recognizer.tokenizer, recognizer.bundle.tokens
    line = vocabulary.target(tokenizer, tokens, text)
    prompt = len(vocabulary.prompt(tokens))
    said = line[prompt:-1]
    if not said or len(line) > recognizer.bundle.max_tokens:
        return []
    source = recognizer.encoder.encode(samples)
    stepper = recognizer.decoder.over(source)
    _, weights, _ = stepper.step(line[:-1], stepper.start())
    looked = weights[:, prompt - 1 :, : source.heard]
    starts = wording.token_starts(looked) * recognizer.bundle.frame_hop_s
    sounding = loud(levels(samples))
    found = [
        TimedWord(span.text.strip(), *sounding_part(float(starts[span.first]), float(starts[span.last]), sounding))
        for span in wording.word_spans(tokenizer, said, LANGUAGE)
    ]
    if any(word.end_s < word.start_s for word in found):
        raise InputError(f"the times of {text!r} run backwards")
    return found


if __name__ == "__main__":
    sys.exit(main())
