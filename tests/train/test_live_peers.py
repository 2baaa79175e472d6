import numpy as np
import pytest

from asr.errors import NotFoundError, OptionError
from asr.train.live_peers import listen, open_live_peer

SECOND = 16_000


class Online:
    """Commits each second's word a second late, as what two readings agree on is."""

    def __init__(self):
        self.seconds = 0
        self.commited = []  # as it is spelled there
        self.transcript_buffer = self
        self.finished = False

    def insert_audio_chunk(self, samples):
        self.seconds += samples.size / SECOND

    def process_iter(self):
        ready = int(self.seconds) - 1
        self.commited += [(at, at + 1, f" w{at}") for at in range(len(self.commited), ready)]

    def complete(self):
        return [(at, at + 1, f" w{at}") for at in range(len(self.commited), int(self.seconds))]

    def finish(self):
        self.finished = True


def test_a_word_is_emitted_when_it_is_committed():
    online = Online()
    heard = listen(online, np.zeros(3 * SECOND, np.float32), 0.5)
    assert heard.text == " w0 w1 w2"
    assert [word.emission_s for word in heard.words] == [2.0, 3.0, 3.0]
    assert heard.lags_s == [1.0, 1.0, 0.0]
    assert (heard.at_close, len(heard.points_s), heard.audio_s) == (1, 6, 3.0)
    assert online.finished


@pytest.mark.parametrize("told", ["whisper_streaming", "whisper_streaming=/tmp", "other=/a:/b"])
def test_what_is_no_live_peer_is_refused(told):
    with pytest.raises(OptionError, match="REPOSITORY:WEIGHTS"):
        open_live_peer(told, 1)


def test_a_folder_that_is_no_clone_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="whisper_online"):
        open_live_peer(f"whisper_streaming={tmp_path}:/weights", 1)
