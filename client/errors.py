"""Every error that a user of the client can meet, in one tree.

ClientError
├── NoServerError        nobody answers at the address, or who answered went away
├── CallError            the server refused the call: .status and .message
├── ContractError        the server took back what it had called settled
├── AccessError          TLS that fails, a file for it or a token that cannot be used or would travel unencrypted
├── FileError            a recording or another file that cannot be read on this side, or one too large to be made
└── MissingPackageError  an optional package that is not installed
"""

import sys


class ClientError(Exception):
    """The root: `except ClientError` catches whatever the client raises on purpose."""


class NoServerError(ClientError):
    """Nobody answers at the address, or who answered went away."""


class CallError(ClientError):
    """The server refused the call. `status` is the name of the gRPC status, such as INVALID_ARGUMENT."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status
        self.message = message


class ContractError(ClientError):
    """The server took back what it had called settled: one of the two of us is broken."""


class AccessError(ClientError):
    """TLS that fails, a file for it or a token that cannot be used or would travel unencrypted."""


class FileError(ClientError):
    """A recording or another file that cannot be read on this side, or one that is too large to be made."""


class MissingPackageError(ClientError):
    """An optional package that is not installed. The pip named is our own: another might fetch a stranger's heed."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: "
            f"{sys.executable} -m pip install 'heed[{extra}]'"
        )
