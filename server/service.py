"""The calls of asr.v1.SpeechRecognition: each a few lines between messages.py and asr.runtime.

Recognition holds a core, so it runs in `workers` and never on the event loop. A call has one
piece of work there: about a second of audio (of each of its channels), and the reading of what ends with it. So calls
take turns, and between two pieces each may be cancelled. Only a file at full context has several pieces at the same
moment, a segment each, where there are more workers than open calls. The next packet is read only when the last one's
answers are written: a client that does not read is not read from either, and nothing piles up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

import numpy as np

from asr.audio.resample import SAMPLE_RATE
from asr.errors import NotFoundError, OptionError
from asr.runtime.channels import ChannelStreams
from asr.runtime.recognizer import Recognizer
from asr.runtime.result import Result, Update
from asr.runtime.segments import Cut, Cutter, add, read_alone
from asr.runtime.stream import Stream
from asr.v1 import speech_pb2, speech_pb2_grpc
from server import messages
from server.abreast import Abreast
from server.audio import Block, LivePackets, Piece, recording_blocks
from server.calls import Calls, Record
from server.unreadable import readable

T = TypeVar("T")
Hearing = Stream | ChannelStreams


class SpeechService(speech_pb2_grpc.SpeechRecognitionServicer):
    def __init__(
        self,
        models: Mapping[str, Recognizer],
        workers: Executor,
        cores: int,
        calls: Calls,
        max_recording_s: float,
        max_message_bytes: int,
    ):
        self.models = models  # the default first
        self.workers = workers
        self.cores = cores  # how many workers there are
        self.calls = calls
        self.max_recording_s = max_recording_s
        self.max_message_bytes = max_message_bytes

    async def Recognize(self, request: speech_pb2.RecognizeRequest, context: Any) -> speech_pb2.RecognizeResponse:
        async with self.calls.answer("Recognize", context) as record:
            return await self._recognize(readable(request), record)

    async def StreamingRecognize(
        self, requests: AsyncIterator[speech_pb2.StreamingRecognizeRequest], context: Any
    ) -> None:
        async with self.calls.answer("StreamingRecognize", context) as record:
            await self._stream(requests, context, record)

    async def Align(self, request: speech_pb2.AlignRequest, context: Any) -> speech_pb2.AlignResponse:
        async with self.calls.answer("Align", context) as record:
            wanted = messages.asked(readable(request).config, messages.RECOGNIZE_MODE)
            if wanted.audio.separate:
                raise OptionError(
                    "one text is placed in one recording: leave enable_separate_recognition_per_channel out"
                )
            model = self._model(wanted, record)
            blocks = await self._work(recording_blocks, request.audio_content, wanted.audio, self.max_recording_s)
            samples = await self._work(whole, blocks)
            record.audio_s = samples.size / SAMPLE_RATE
            known = await self._work(model.align, samples, request.text, wanted.options)
            record.results = 1
            messages.check_size([known.alignment], self.max_message_bytes)
            return await self._work(messages.align_response, known, wanted)

    async def ListModels(self, request: speech_pb2.ListModelsRequest, context: Any) -> speech_pb2.ListModelsResponse:
        async with self.calls.answer("ListModels", context, takes_slot=False):
            readable(request)
            return speech_pb2.ListModelsResponse(
                models=[messages.model_message(model.bundle) for model in self.models.values()]
            )

    async def _recognize(self, request: speech_pb2.RecognizeRequest, record: Record) -> speech_pb2.RecognizeResponse:
        wanted = messages.asked(request.config, messages.RECOGNIZE_MODE)
        model = self._model(wanted, record)
        model.check(wanted.options)
        blocks = await self._work(recording_blocks, request.audio_content, wanted.audio, self.max_recording_s)
        whole_segments = not (wanted.audio.separate or model.bundle.latency_modes[wanted.options.latency_mode])
        read = self._read_segments if whole_segments else self._hear
        finals = await read(model, wanted, blocks, record)
        record.results = len(finals)
        return await self._work(messages.recognize_response, finals, record.audio_s, wanted)

    async def _hear(
        self, model: Recognizer, wanted: messages.Asked, blocks: Iterator[Block], record: Record
    ) -> list[Result]:
        """The finals of a recording, as a stream would hear it."""
        stream = open_stream(model, wanted)
        finals: list[Result] = []
        while (step := await self._work(hear_next, stream, blocks)) is not None:
            samples, updates = step
            record.audio_s += samples / SAMPLE_RATE
            self._take_finals(updates, finals)
        self._take_finals(await self._work(stream.finish), finals)
        return finals

    async def _read_segments(
        self, model: Recognizer, wanted: messages.Asked, blocks: Iterator[Block], record: Record
    ) -> list[Result]:
        """The same at full context: segments are cut as they are decoded, and read side by side."""
        beam = await self._work(model.beam_of, wanted.options)  # one for all segments: its phrases take time and room
        cutter = Cutter(model.bundle.max_samples)
        finals: list[Result] = []
        with Abreast[list[Result]](self.workers, self._share) as reading:
            while (step := await self._work(cut_next, cutter, blocks)) is not None:
                samples, cut = step
                record.audio_s += samples / SAMPLE_RATE
                while cut:  # whoever reads a segment is the only one to hold it
                    await reading.begin(read_alone, model, *cut.pop(0), wanted.options, beam)
                self._take_read(reading.taken(), finals)
                await reading.room()  # to decode is work too, and what is decoded is held
            for last in cutter.finish():
                await reading.begin(read_alone, model, *last, wanted.options, beam)
            await reading.ended()
            self._take_read(reading.taken(), finals)
        return finals

    def _share(self) -> int:
        """Pieces of work that one call may have at the same moment: others would have to wait for more."""
        return max(1, self.cores // self.calls.open)

    async def _stream(
        self, requests: AsyncIterator[speech_pb2.StreamingRecognizeRequest], context: Any, record: Record
    ) -> None:
        wanted = messages.asked_of_stream(readable(await anext(requests, None)))
        packets = LivePackets(wanted.audio, self.max_recording_s)
        stream = open_stream(self._model(wanted, record), wanted)

        written = partial(written_down, wanted, self.max_message_bytes)

        async def send(responses: list[speech_pb2.StreamingRecognizeResponse]) -> None:
            for response in responses:
                record.results += len(response.results)
                await context.write(response)

        async for request in requests:
            match readable(request).WhichOneof("streaming_request"):
                case "audio_content":
                    for second in packets.seconds(request.audio_content):
                        if stream.finished:
                            break
                        record.audio_s = packets.received_s
                        await send(await self._work(written, hear, stream, packets, second))
                case "flush":
                    await send(await self._work(written, settle, stream, packets))
                case "streaming_config":
                    raise OptionError("a stream has one streaming_config, its first request: open another stream")
                case _:
                    raise OptionError("a request of a stream holds audio_content or flush, but this holds nothing")
            if stream.finished:  # nobody spoke for as long as the caller would wait
                return
        await send(await self._work(written, end, stream, packets))

    def _model(self, wanted: messages.Asked, record: Record) -> Recognizer:
        name = wanted.model or next(iter(self.models))
        if name not in self.models:
            raise NotFoundError(f"there is no model {name!r}; this server has {', '.join(self.models)}")
        record.model, record.latency_mode = name, wanted.options.latency_mode
        return self.models[name]

    def _take_finals(self, updates: list[Update], finals: list[Result]) -> None:
        """Add those of the updates to the finals so far, as many as one message holds."""
        if more := [result for update in updates for result in update.results if result.is_final]:
            finals += more
            self._check_size(finals)

    def _take_read(self, segments: Iterable[list[Result]], finals: list[Result]) -> None:
        """The same with what the next segments say."""
        for results in segments:
            add(finals, results)
            self._check_size(finals)

    def _check_size(self, results: Iterable[Result]) -> None:
        messages.check_size((result.alignment for result in results), self.max_message_bytes)

    async def _work(self, function: Callable[..., T], *arguments: Any) -> T:
        """Compute on a worker; whatever it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, function, *arguments)


def open_stream(model: Recognizer, wanted: messages.Asked) -> Hearing:
    return ChannelStreams(model, wanted.options) if wanted.audio.separate else model.stream(wanted.options)


def hear_next(stream: Hearing, blocks: Iterator[Block]) -> tuple[int, list[Update]] | None:
    """Decode the next block and recognise it: its samples and what they said; None where no block is left."""
    block = next(blocks, None)
    return None if block is None else (len(block), stream.accept(block))


def cut_next(cutter: Cutter, blocks: Iterator[Block]) -> tuple[int, list[Cut]] | None:
    """Decode the next block: its samples and the segments that end with it; None where no block is left."""
    block = next(blocks, None)
    return None if block is None else (len(block), cutter.accept(block))


def whole(blocks: Iterator[Block]) -> Block:
    """The samples of all blocks."""
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def written_down(
    wanted: messages.Asked, most_bytes: int, work: Callable[..., list[Update]], *arguments: Any
) -> list[speech_pb2.StreamingRecognizeResponse]:
    """What a piece of work makes known, as messages: to write down where every head looked is work too."""
    responses = []
    for update in work(*arguments):
        messages.check_size((result.alignment for result in update.results), most_bytes)
        if (response := messages.response(update, wanted)) is not None:
            responses.append(response)
    return responses


def hear(stream: Hearing, packets: LivePackets, packet: Piece) -> list[Update]:
    return stream.accept(packets.reader.accept(packet))


def settle(stream: Hearing, packets: LivePackets) -> list[Update]:
    """Flush: all that was received, to its last sample, becomes final."""
    return [*stream.accept(packets.reader.flush()), *stream.flush()]


def end(stream: Hearing, packets: LivePackets) -> list[Update]:
    return [*stream.accept(packets.reader.finish()), *stream.finish()]
