import numpy as np
import pytest

from asr.errors import AudioError, OptionError, TooLongError
from server.audio import RAW_CODECS, Declared, LivePackets, recording_blocks

LINEAR16 = Declared("LINEAR16", 16_000, 1)


UNDECLARED = Declared()


def live(packets, declared):
    """What a stream of these packets gives."""
    received = LivePackets(declared, 100)
    blocks = [received.reader.accept(second) for packet in packets for second in received.seconds(packet)]
    return np.concatenate([*blocks, received.reader.finish()])


def samples_in(content, declared=UNDECLARED):
    return sum(block.size for block in recording_blocks(content, declared, max_s=100.0))


@pytest.mark.parametrize("declared", [UNDECLARED, Declared("", 8_000, 2), Declared("LINEAR16", 8_000, 2)])
def test_a_file_is_read_by_its_header_where_the_config_agrees(recording, declared):
    assert samples_in(recording(2, 8_000, 2), declared) == 32_000


def test_raw_samples_are_read_by_the_config(pcm):
    assert samples_in(pcm(2, 8_000, 2), Declared("LINEAR16", 8_000, 2)) == 32_000


@pytest.mark.parametrize("declared", [Declared(), LINEAR16, Declared("FLAC"), Declared("OGG_OPUS")])
def test_no_bytes_are_no_samples(declared):
    assert samples_in(b"", declared) == 0


@pytest.mark.parametrize(
    ("container", "codec", "encoding"),
    [
        ("FLAC", "PCM_16", "FLAC"),
        ("OGG", "OPUS", "OGG_OPUS"),
        ("MP3", "MPEG_LAYER_III", "MP3"),
        ("WAV", "ULAW", "MULAW"),
        ("WAV", "ALAW", "ALAW"),
    ],
)
def test_a_declared_encoding_may_say_what_the_file_is(recording, container, codec, encoding):
    assert samples_in(recording(1, container=container, codec=codec), Declared(encoding, 16_000)) == 16_000


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (Declared("FLAC"), "says FLAC, but the file is WAV"),
        (Declared("OGG_OPUS"), "says OGG_OPUS, but the file is WAV"),
        (Declared("MULAW", 16_000), "says MULAW, but this is a WAV file of PCM_16"),
        (Declared(sample_rate=8_000), "says 8000 Hz, but the file's header says 16000 Hz"),
        (Declared(channels=2), r"says 2 channel\(s\), but the file's header says 1"),
    ],
)
def test_a_config_that_contradicts_the_file_is_refused_before_decoding(recording, declared, said):
    with pytest.raises(AudioError, match=said):
        recording_blocks(recording(1), declared, 100)


def test_ogg_vorbis_is_not_ogg_opus(recording):
    with pytest.raises(AudioError, match="VORBIS"):
        recording_blocks(recording(1, container="OGG", codec="VORBIS"), Declared("OGG_OPUS"), 100)


@pytest.mark.parametrize("content", ["wav", "raw"])
def test_a_recording_beyond_the_limit_is_refused_before_decoding(recording, pcm, content):
    audio, declared = (recording(2.5), Declared()) if content == "wav" else (pcm(2.5), LINEAR16)
    with pytest.raises(TooLongError, match=r"2\.5 s long or longer, and this server takes 2 s"):
        recording_blocks(audio, declared, 2)


def test_a_header_that_keeps_its_length_to_itself_does_not_beat_the_limit(recording):
    flac = bytearray(recording(30, container="FLAC"))
    flac[21] &= 0xF0  # STREAMINFO's count of frames, 36 bits: 0 is unknown
    flac[22:26] = bytes(4)
    blocks = recording_blocks(bytes(flac), Declared(), 2)
    heard = [next(blocks).size for _ in range(4)]
    assert sum(heard) == 2 * 16_000
    with pytest.raises(TooLongError):
        next(blocks)


def test_a_raw_recording_that_ends_within_a_sample_is_refused(pcm):
    with pytest.raises(AudioError, match="1 of the 2 bytes"):
        samples_in(pcm(1) + b"x", LINEAR16)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (Declared("FLAC", 16_000), "FLAC"),
        (Declared("MP3"), "MP3"),
        (Declared("LINEAR16", 4_000), "4000 Hz"),
        (Declared("LINEAR16", 16_000, 65), "65"),
    ],
)
def test_what_no_stream_can_be_is_refused_before_its_audio(declared, said):
    with pytest.raises((OptionError, AudioError), match=said):
        LivePackets(declared, 100)


@pytest.mark.parametrize("packet", [b"\1\2", b"R", b"RIFF....AVI LIST", b"Dear diary, today I spoke", b""])
@pytest.mark.parametrize(
    ("declared", "kind", "said"),
    [
        (Declared(), OptionError, "raw samples need an encoding"),
        (Declared("LINEAR16"), OptionError, "sample_rate_hertz"),
        (Declared("OGG_OPUS"), AudioError, "does not begin with an Ogg page"),
    ],
)
def test_a_stream_that_does_not_say_what_it_is_is_refused(declared, kind, said, packet):
    if not packet and declared.encoding not in RAW_CODECS:
        assert live([packet], declared).size == 0
    else:
        with pytest.raises(kind, match=said):
            live([packet], declared)


SAYS_ITSELF = [
    ("WAV", "PCM_16", Declared()),
    ("WAV", "PCM_24", Declared("", 48_000, 2)),
    ("WAV", "PCM_16", Declared("LINEAR16")),
    ("WAV", "PCM_16", Declared("LINEAR16", 48_000, 2)),
    ("WAV", "ULAW", Declared("MULAW", 48_000)),
    ("OGG", "OPUS", Declared()),
    ("OGG", "OPUS", Declared("OGG_OPUS", 16_000, 2)),
]


@pytest.mark.parametrize(("container", "codec", "declared"), SAYS_ITSELF)
def test_a_stream_may_say_itself_what_it_is(recording, container, codec, declared):
    content = recording(1, 48_000, 2, container, codec)
    packets = [content[start : start + 7] for start in range(0, len(content), 7)]
    assert live(packets, declared).size == live([content], declared).size == 16_000


@pytest.mark.parametrize(
    ("container", "codec", "declared", "said"),
    [
        ("WAV", "PCM_16", Declared("LINEAR16", 8_000), "says 8000 Hz, but the file's header says 48000 Hz"),
        ("WAV", "PCM_16", Declared("LINEAR16", 48_000, 1), r"says 1 channel\(s\), but the file's header says 2"),
        ("WAV", "PCM_16", Declared("MULAW", 48_000), "says MULAW, but this is a WAV file of PCM_16"),
        ("WAV", "PCM_16", Declared("OGG_OPUS"), "does not begin with an Ogg page"),
        ("OGG", "OPUS", Declared("", 44_100), "says 44100 Hz"),
        ("OGG", "OPUS", Declared("OGG_OPUS", 0, 1), r"says 1 channel\(s\)"),
        ("OGG", "VORBIS", Declared("OGG_OPUS"), "is not Opus"),
        ("FLAC", "PCM_16", Declared(), "raw samples need an encoding"),
    ],
)
def test_a_config_that_contradicts_the_stream_is_refused(recording, container, codec, declared, said):
    with pytest.raises((AudioError, OptionError), match=said):
        live([recording(1, 48_000, 2, container, codec)], declared)


@pytest.mark.parametrize("size", [1, 2, 5, 11, 12, 13])
def test_raw_samples_that_begin_like_a_file_are_samples_all_the_same(size):
    content = b"RIFF" + bytes(96)
    packets = [content[start : start + size] for start in range(0, len(content), size)]
    assert live(packets, LINEAR16).size == 50
    assert live([b"RIFFRI"], LINEAR16).size == 3


def test_a_flush_before_anything_is_known_gives_nothing():
    packets = LivePackets(Declared(), 100)
    assert list(packets.seconds(b"RI")) == []
    assert packets.reader.flush().size == 0
    assert packets.received_s == 0


def test_a_bomb_of_opus_stops_at_the_limit_before_it_is_decoded(recording):
    packets = LivePackets(Declared(), 2)
    seconds = packets.seconds(recording(30, 48_000, 1, "OGG", "OPUS"))
    assert len([next(seconds), next(seconds)]) == 2
    with pytest.raises(TooLongError, match="this server takes 2 s"):
        next(seconds)


def test_a_huge_packet_comes_a_second_at_a_time(pcm):
    packets = LivePackets(LINEAR16, 100)
    assert [len(second) for second in packets.seconds(pcm(3.5))] == [32_000, 32_000, 32_000, 16_000]
    assert packets.received_s == 3.5


def test_packets_change_nothing():
    audio = np.random.default_rng(0).bytes(50_001)

    def heard(size):
        packets = LivePackets(Declared("LINEAR16", 11_025, 1), 100)
        cuts = [audio[start : start + size] for start in range(0, len(audio), size)]
        seconds = [second for packet in cuts for second in packets.seconds(packet)]
        return np.concatenate([packets.reader.accept(second) for second in seconds]).tobytes()

    assert heard(317) == heard(50_001)


def test_a_stream_may_be_as_long_as_the_limit_and_no_longer(pcm):
    packets = LivePackets(LINEAR16, 2)
    assert len(list(packets.seconds(pcm(2)))) == 2
    with pytest.raises(TooLongError, match="this server takes 2 s"):
        list(packets.seconds(pcm(0.01)))
