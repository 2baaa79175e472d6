"""What a recording says of itself before anything of it is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    container: str  # "WAV", "FLAC", "Ogg", "MP3", "MP4", "WebM", "AAC"
    codec: str  # libsndfile's name: "PCM_16", "FLOAT", "ULAW", "OPUS", ...; FFmpeg's, in capitals, where that reads it
    sample_rate: int
    channels: int
    frames: int | None  # None: the header leaves it open
    other_rates: tuple[int, ...] = ()  # that it may also be called by: an Opus file has several

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate

    def has_rate(self, sample_rate: int) -> bool:
        return sample_rate in (self.sample_rate, *self.other_rates)
