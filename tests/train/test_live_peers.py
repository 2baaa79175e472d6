import numpy as np
import pytest

from asr.errors import NotFoundError, OptionError
from asr.train.live_peers import SimulStreaming, WhisperStreaming, listen, open_live_peer

CHUNK = 10_240


class Processor:
    """Commits each chunk's word a chunk late, as what two readings agree on is."""

    def __init__(self):
        self.chunks = 0
        self.commited = []  # as it is spelled there
        self.transcript_buffer = self

    def insert_audio_chunk(self, samples):
        self.chunks += 1

    def process_iter(self):
        self.commited += [(at, at + 0.5, f" w{at}") for at in range(len(self.commited), self.chunks - 1)]

    def complete(self):
        return [(at, at + 0.5, f" w{at}") for at in range(len(self.commited), self.chunks)]


class SimulOnline:
    """A word for each chunk; nothing in the first."""

    def init(self):
        self.chunks = 0

    def insert_audio_chunk(self, samples):
        self.chunks += 1

    def process_iter(self):
        return {"words": [{"start": 0.1, "end": 0.2, "text": f" w{self.chunks}"}]} if self.chunks > 1 else {}

    def finish(self):
        return {}


def test_a_word_is_emitted_when_it_is_committed():
    heard = listen(WhisperStreaming(Processor()), np.zeros(3 * CHUNK, np.float32))
    assert heard.text == " w0 w1 w2"
    assert [word.emission_s for word in heard.words] == pytest.approx([1.28, 1.92, 1.92])
    assert (heard.at_close, len(heard.points_s), heard.audio_s) == (1, 3, 1.92)


def test_the_other_one_says_its_words_itself():
    heard = listen(SimulStreaming(SimulOnline()), np.zeros(3 * CHUNK, np.float32))
    assert [(word.text, word.emission_s) for word in heard.words] == [(" w2", 1.28), (" w3", 1.92)]
    assert heard.at_close == 0


def test_an_empty_recording_is_heard_as_nothing():
    heard = listen(WhisperStreaming(Processor()), np.zeros(0, np.float32))
    assert (heard.text, heard.points_s, heard.audio_s) == ("", [], 0.0)


@pytest.mark.parametrize("told", ["whisper_streaming", "whisper_streaming=/tmp", "other=/a:/b"])
def test_what_is_no_live_peer_is_refused(told):
    with pytest.raises(OptionError, match="REPOSITORY:WEIGHTS"):
        open_live_peer(told, 1)


def test_a_folder_that_is_no_clone_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="whisper_online"):
        open_live_peer(f"whisper_streaming={tmp_path}:/weights", 1)


def test_weights_that_are_not_there_are_named(tmp_path):
    (tmp_path / "simulstreaming_whisper.py").touch()
    with pytest.raises(NotFoundError, match=r"no weights at /none\.pt"):
        open_live_peer(f"SimulStreaming={tmp_path}:/none.pt", 1)
