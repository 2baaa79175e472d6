"""Heed's client: `Client` and `AsyncClient` speak to a server, `asr-transcribe` (transcribe.py) to people."""

from client.errors import CallError, ClientError, FileError, MissingPackageError, NoServerError
from client.results import (
    FLUSH,
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
    "Alignment",
    "AsyncClient",
    "CallError",
    "Client",
    "ClientError",
    "Cursors",
    "Endpointing",
    "Event",
    "FileError",
    "Flush",
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
