"""How we come to a server and who we say we are: TLS, a certificate of our own, a bearer token."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from client.errors import AccessError

THIS_MACHINE = re.compile(r"unix:.+|(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?")
TOKEN = re.compile(r"[!-~]+")  # what a header can carry


@dataclass(frozen=True)
class Access:
    """Files are PEM, read when a client is made; any of them means TLS. AccessError for what cannot be."""

    tls: bool = False
    ca: Path | None = None  # who signed the server's certificate; None: one of those that this machine trusts
    certificate: Path | None = None  # our own, for servers that want one
    key: Path | None = None  # its private key
    token: str = field(default="", repr=False)
    plain_token: bool = False  # send it to other machines without TLS too, where anyone on the way can read it

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise AccessError("a certificate and its key go together: give both, or neither")
        if self.token and not TOKEN.fullmatch(self.token):
            raise AccessError("a token is one word of printable ASCII characters, but this one is not")

    @property
    def is_encrypted(self) -> bool:
        return self.tls or self.ca is not None or self.certificate is not None

    def credentials(self) -> Any | None:
        """gRPC's; None: no TLS."""
        if not self.is_encrypted:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca and _pem(self.ca),
            private_key=self.key and _pem(self.key),
            certificate_chain=self.certificate and _pem(self.certificate),
        )

    def metadata(self, target: str) -> list[tuple[str, str]]:
        """What goes with each call."""
        if not self.token:
            return []
        if not self.is_encrypted and not self.plain_token and not THIS_MACHINE.fullmatch(target):
            raise AccessError(
                f"a token sent to {target} without TLS could be read by anyone on the way: use TLS, or allow it "
                "(plain_token)"
            )
        return [("authorization", f"Bearer {self.token}")]


OPEN = Access()  # no TLS, no token


def read_token(path: Path) -> str:
    """The one token that a file holds."""
    try:
        words = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise AccessError(f"cannot read the token in {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise AccessError(f"cannot read the token in {path}: {error}") from None
    if len(words) != 1:
        raise AccessError(f"{path} must hold one token and nothing else, but it holds {len(words)} words")
    return words[0]


def _pem(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise AccessError(f"{path} is no PEM file: it must hold -----BEGIN …-----")
    return content
