"""A loaded model: immutable, shared by all streams on all threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from asr.errors import FormatError, NotFoundError, NotSupportedError, OptionError
from asr.runtime import words as wording
from asr.runtime.beam import Beam, Found, beam
from asr.runtime.bundle import AUTO, GRAPHS, TOKENIZER, Bundle
from asr.runtime.endpoints import USUAL, Endpoints
from asr.runtime.known import Known, align
from asr.runtime.phrases import Phrase, Phrases, check, opening, spellings
from asr.runtime.policy import POLICIES
from asr.runtime.result import Result, Transcript
from asr.runtime.search import Hypothesis, Rules, greedy
from asr.runtime.segments import read_segments
from asr.runtime.sessions import Decoder, DecoderState, Encoder, Source, open_session
from asr.runtime.stream import Stream
from asr.runtime.times import SOURCES

WORDS_PER_SECOND = 15  # more than anybody says: beyond it the decoder rambles
WORDS_AT_LEAST = 10
BEAM_OF_PHRASES = 4  # hypotheses at least, where phrases are expected
BEAM_OF_ALTERNATIVES = 8  # where alternatives are wanted: half of what ends differs in signs and capitals alone
LARGEST_BEAM = 16
CTC_WEIGHT = 0.1  # on training recordings 0.05 to 0.2 were alike, and a little better than none; more was worse


@dataclass(frozen=True)
class Options:
    """What one call asks for."""

    latency_mode: str = "full"  # one of the bundle's
    language: str = ""  # "": the model's own, or "auto" where it has several; BCP-47, the region is ignored
    alignment: bool = False  # results carry their Alignment
    heads: bool = False  # and its rows every layer's and head's weights
    interim: bool = True  # False: finals alone
    rescore: bool = False  # read each finished segment once more at full context, for its final
    endpoints: Endpoints = USUAL  # when a segment begins and ends
    activity: bool = False  # streams: say when speech begins and ends
    start_timeout_s: float | None = None  # with activity: it ends where nobody has begun to speak for so long...
    end_timeout_s: float | None = None  # ...or nobody has spoken again
    policy: str = ""  # when text is called stable (policy.py); "": what suits the model
    word_times: str = ""  # where they are taken from (times.py); "": what suits the model
    beam: int = 1  # hypotheses that search follows at once (beam.py); 1: greedy, unless what follows takes more
    alternatives: int = 1  # texts that a final comes with, at most
    phrases: tuple[Phrase, ...] = ()  # that are expected (phrases.py)
    ctc_weight: float = CTC_WEIGHT  # 0 to 1: what the CTC head's opinion counts for in a beam

    @property
    def width(self) -> int:
        """Of the beam; 1: greedy search."""
        of_phrases = BEAM_OF_PHRASES if self.phrases else 1
        of_alternatives = max(self.alternatives, BEAM_OF_ALTERNATIVES) if self.alternatives > 1 else 1
        return min(max(self.beam, of_phrases, of_alternatives), LARGEST_BEAM)


DEFAULT = Options()


class Recognizer:
    """Speech to text, and where the text looked."""

    def __init__(self, bundle: Bundle, encoder: Encoder, decoder: Decoder, tokenizer: Tokenizer, threads: int = 1):
        """threads: onnxruntime's, for one call"""
        self.bundle = bundle
        self.encoder = encoder
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.threads = threads
        self.beams: WeakValueDictionary[Options, Beam] = WeakValueDictionary()  # that are in use

    @classmethod
    def load(cls, folder: Path, threads: int = 1, verify: bool = True) -> Self:
        """Open an exported folder; FormatError when it is not whole.

        threads  onnxruntime's, for one call
        verify   check the files' digests
        """
        bundle = Bundle.load(folder, verify)  # first: no parser is to see a file that is not what was exported
        with ThreadPoolExecutor() as loaders:  # each takes a while, and somebody waits for the first word
            encoder, decoder = (loaders.submit(open_session, folder / name, threads) for name in GRAPHS)
            tokenizer = loaders.submit(open_tokenizer, folder)
            return cls(
                bundle,
                Encoder(bundle, encoder.result()),
                Decoder(bundle, decoder.result()),
                tokenizer.result(),
                threads,
            )

    def over(self, encoder: Encoder, decoder: Decoder) -> "Recognizer":
        """The same with these in the place of its own."""
        return Recognizer(self.bundle, encoder, decoder, self.tokenizer, self.threads)

    def transcribe(self, samples: NDArray[np.float32], options: Options = DEFAULT, abreast: int = 1) -> Transcript:
        """A whole recording: (n,) mono at the bundle's rate, in [-1, 1). Any length; memory beyond it is bounded.

        abreast  groups of segments that are read at the same moment at full context, a core each; it changes no result
        """
        stream = self.stream(options)
        if samples.size >= self.bundle.max_samples and not stream.chunk:
            finals = read_segments(self, samples, options, abreast)
        else:
            updates = [*stream.accept(samples), *stream.finish()]
            finals = tuple(result for update in updates for result in update.results if result.is_final)
        return Transcript(finals, samples.size / self.bundle.sample_rate, language_of(finals, stream.language))

    def align(self, samples: NDArray[np.float32], text: str, options: Options = DEFAULT) -> Known:
        """Find a known text in a recording (known.py); errors as of `stream` and of known.align."""
        self.check(options)
        return align(self, samples, text, options)

    def stream(self, options: Options = DEFAULT, start: int = 0, beam: Beam | None = None) -> Stream:
        """A live utterance; errors as of `check`, start and beam as of Stream."""
        self.check(options)
        return Stream(self, self.language(options.language), options, start, beam)

    def check(self, options: Options) -> None:
        """OptionError for a latency mode, NotFoundError for a language, that the model lacks; these or
        NotSupportedError for whatever else it cannot do."""
        bundle = self.bundle
        if options.latency_mode not in bundle.latency_modes:
            raise OptionError(
                f"model {bundle.name} has no latency mode {options.latency_mode!r}; "
                f"it has {', '.join(bundle.latency_modes)}"
            )
        check_activity(options, by_chunk=bundle.latency_modes[options.latency_mode] > 0)
        if options.policy and options.policy not in POLICIES:
            raise OptionError(f"there is no policy {options.policy!r}; there are {', '.join(POLICIES)}")
        if options.word_times and options.word_times not in SOURCES:
            raise OptionError(f"there are no word times by {options.word_times!r}; there are {', '.join(SOURCES)}")
        if options.word_times == "ctc" and bundle.ctc is None:
            raise OptionError(f"model {bundle.name} has no CTC head: its words have their times from its attention")
        check_search(options)
        if options.heads and not (bundle.decoder_heads and bundle.alignment_heads):
            raise NotSupportedError(f"model {bundle.name} cannot tell its heads apart: ask for another level")
        self.language(options.language)

    def language(self, wanted: str) -> str:
        """One of the model's languages, or "auto"."""
        code = wanted.lower().replace("_", "-").split("-")[0]
        languages = self.bundle.languages
        if code in languages:
            return code
        if code in ("", AUTO):
            return languages[0] if len(languages) == 1 else AUTO
        known = ", ".join(languages[:12]) + (" ..." if len(languages) > 12 else "")
        raise NotFoundError(f"model {self.bundle.name} does not know the language {wanted!r}; it knows {known}")

    def detect_language(self, source: Source) -> str:
        """The most probable language of encoded speech; "" where the model does not tell them apart."""
        tokens = self.bundle.tokens
        if not tokens.languages:
            return ""
        stepper = self.decoder.over(source)
        log_probs, _, _ = stepper.step(tokens.start, stepper.start())
        return max(tokens.languages, key=lambda code: float(log_probs[-1, tokens.languages[code]]))

    def decode(
        self,
        source: Source,
        language: str,
        forced: Sequence[int] = (),
        draft: Sequence[int] = (),
        kept: DecoderState | None = None,
        every_head: bool = False,
        goes_on: int = -1,
    ) -> Hypothesis[DecoderState]:
        """Search over one segment; forced, draft and kept as in search.greedy, goes_on as in its rules. every_head: the
        hypothesis's weights are those of the alignment heads, then those of all."""
        prompt = self.bundle.tokens.prompt(language)
        rules = self._rules(source, len(prompt), goes_on)
        return greedy(self.decoder.over(source, every_head), prompt, rules, forced, draft, kept)

    def search(
        self,
        source: Source,
        language: str,
        how: Beam,
        forced: Sequence[int] = (),
        kept: DecoderState | None = None,
        every_head: bool = False,
        goes_on: int = -1,
    ) -> list[Found[DecoderState]]:
        """The best hypotheses of a beam, best first; the other arguments as of `decode`."""
        prompt = self.bundle.tokens.prompt(language)
        rules = self._rules(source, len(prompt), goes_on)
        return beam(self.decoder.over(source, every_head), prompt, rules, how, forced, kept)

    def beam_of(self, options: Options) -> Beam | None:
        """How to search for what is asked; None: greedily."""
        if options.width == 1:
            return None
        if (beam := self.beams.get(options)) is None:  # one for all channels of a call
            beam = self.beams[options] = self._make_beam(options)
        return beam

    def _make_beam(self, options: Options) -> Beam:
        phrases = None
        if options.phrases:
            tokens_of = partial(wording.tokens_of, self.tokenizer)
            written = (spelling for phrase in options.phrases for spelling in spellings(phrase, tokens_of))
            phrases = Phrases(written, self._opening)
        return Beam(options.width, options.alternatives, judge_weight=options.ctc_weight, bonus=phrases)

    @cached_property
    def _opening(self) -> NDArray[np.bool_]:
        """(vocabulary,) whether a token begins anew (phrases.opening)."""
        return opening(wording.pieces(self.tokenizer, range(self.tokenizer.get_vocab_size())))

    def _rules(self, source: Source, prompt: int, goes_on: int) -> Rules:
        """What may be said of a segment after so many tokens of prompt."""
        tokens = self.bundle.tokens
        longest = WORDS_AT_LEAST + int(WORDS_PER_SECOND * source.heard * self.bundle.frame_hop_s)
        # Whisper always says something first; weights that know true lengths learned to wait.
        first = [token for token in tokens.suppress_first if token != tokens.end or not self.bundle.grows]
        return Rules(
            end=tokens.end,
            max_tokens=min(longest * tokens.per_word, self.bundle.max_tokens - prompt),
            suppress=np.array(tokens.suppress, np.intp),
            suppress_first=np.array(first, np.intp),
            no_speech=tokens.no_speech,
            per_word=tokens.per_word,
            goes_on=goes_on,
        )

    def keep(self, state: DecoderState, language: str, tokens: int) -> DecoderState:
        """What `decode` wants of an earlier hypothesis's state to go on after so many tokens of text."""
        return self.decoder.rewind(state, len(self.bundle.tokens.prompt(language)) + tokens - 1)


def check_search(options: Options) -> None:
    """OptionError where the search that is asked for makes no sense."""
    if not 1 <= options.beam <= LARGEST_BEAM:
        raise OptionError(f"a beam is 1 to {LARGEST_BEAM} hypotheses wide, but this is {options.beam}")
    if options.alternatives < 1:
        raise OptionError(f"there is at least 1 alternative, but these are {options.alternatives}")
    if not 0 <= options.ctc_weight <= 1:
        raise OptionError(f"the CTC head's opinion counts for 0 to 1, but this is {options.ctc_weight:g}")
    check(options.phrases)


def open_tokenizer(folder: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises bare Exception
        raise FormatError(f"{folder / TOKENIZER} is not a tokenizer: {error}") from error
    tokenizer.encode_special_tokens = True  # "<|endoftext|>" in a caller's text is text, and steers nothing
    return tokenizer


def check_activity(options: Options, by_chunk: bool) -> None:
    """OptionError where timeouts are asked for that could never be told of."""
    timeouts = {"speech_start_timeout": options.start_timeout_s, "speech_end_timeout": options.end_timeout_s}
    for name, timeout_s in timeouts.items():
        if timeout_s is not None and not options.activity:
            raise OptionError(f"{name} means nothing without voice activity events: ask for these too")
        if timeout_s is not None and timeout_s <= 0:
            raise OptionError(f"{name} is more than 0 s, but this is {timeout_s:g} s")
    if options.activity and not by_chunk:
        raise OptionError("voice activity is told while audio comes: ask for a latency mode other than full")


def language_of(finals: Sequence[Result], asked: str) -> str:
    return finals[0].language if finals else ("" if asked == AUTO else asked)
