"""Heed's client: `Client` and `AsyncClient` speak to a server, `asr-transcribe` (transcribe.py) to people."""

from client.access import Access
from client.errors import (
    AccessError,
    CallError,
    ClientError,
    ContractError,
    FileError,
    MissingPackageError,
    NoServerError,
)
from client.follow import Followed
from client.results import (
    FLUSH,
    Aligned,
    Alignment,
    Cursors,
    Endpointing,
    Event,
    Flush,
    Kind,
    Level,
    Model,
    Options,
    Row,
    Segment,
    Transcript,
    Update,
    Word,
    finals,
)
from client.sdk import AsyncClient, Client

__all__ = [
    "FLUSH",
    "Access",
    "AccessError",
    "Aligned",
    "Alignment",
    "AsyncClient",
    "CallError",
    "Client",
    "ClientError",
    "ContractError",
    "Cursors",
    "Endpointing",
    "Event",
    "FileError",
    "Flush",
    "Followed",
    "Kind",
    "Level",
    "MissingPackageError",
    "Model",
    "NoServerError",
    "Options",
    "Row",
    "Segment",
    "Transcript",
    "Update",
    "Word",
    "finals",
]
