"""Heed's client: `Client` and `AsyncClient` speak to a server, `asr-transcribe` (transcribe.py) to people."""

import os

# Read when grpc is imported: else its core writes on stderr, past Python's logging, of each server that says goodbye.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

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
    Alternative,
    Cursors,
    Endpointing,
    Event,
    Flush,
    Kind,
    Level,
    Model,
    Options,
    Phrases,
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
    "Alternative",
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
    "Phrases",
    "Row",
    "Segment",
    "Transcript",
    "Update",
    "Word",
    "finals",
]
