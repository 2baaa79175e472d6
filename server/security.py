"""Who may call: TLS from files, bearer tokens, and how many calls each caller may have open.

A caller is who its token says, else the address it calls from. Tokens are kept as digests and compared in constant
time; neither a token nor the name of a file ever enters an answer or the log.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from asr.errors import HeedError, OptionError

SCHEME = "bearer "
FINGERPRINT = 12  # hexadecimal digits of a token's digest: enough to tell callers apart in the log
SHORTEST_TOKEN = 16  # characters; a shorter one can be guessed


class DeniedError(HeedError):
    """The caller has no token that is known."""


class BusyCallerError(HeedError):
    """The caller has as many calls open as one may have."""


class Guard:
    """The callers of one server. All methods belong to the event loop's thread."""

    def __init__(self, tokens: Sequence[str] = (), most: int = 0):
        self.digests = [_digest(token) for token in tokens]
        self.most = most  # open calls of one caller; 0: any
        self.open: Counter[str] = Counter()

    def caller(self, context: Any) -> str:
        """Who calls: "token FINGERPRINT", or the host of the peer. DeniedError without a token where one is wanted."""
        if not self.digests:
            return host_of(context.peer())
        values = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        given = values[0] if values and isinstance(values[0], str) else ""
        if not given.lower().startswith(SCHEME):
            raise DeniedError("this server wants a token: send the metadata `authorization: Bearer TOKEN`")
        digest = _digest(given[len(SCHEME) :].strip())
        known = [hmac.compare_digest(digest, one) for one in self.digests]  # all of them, whichever fits
        if not any(known):
            raise DeniedError("this token is not known here: ask whoever runs the server for one")
        return f"token {digest.hex()[:FINGERPRINT]}"

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Count a call of this caller while it is open."""
        if self.most and self.open[caller] >= self.most:
            raise BusyCallerError(
                f"you have {self.most} calls open, as many as one caller may have: end one, or try again later"
            )
        self.open[caller] += 1
        try:
            yield
        finally:
            self.open[caller] -= 1
            if not self.open[caller]:
                del self.open[caller]


def host_of(peer: str) -> str:
    """Of gRPC's "ipv4:127.0.0.1:5000" and "ipv6:[::1]:5000" the host; others are one caller as they stand."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer


def read_tokens(path: Path) -> list[str]:
    """A token a line; empty lines and those that begin with # are passed over. OptionError where there is none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"cannot read the tokens in {path}: {error}") from error
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise OptionError(f"{path} holds no token: write one a line")
    if any(len(token) < SHORTEST_TOKEN for token in tokens):
        raise OptionError(f"a token in {path} has less than {SHORTEST_TOKEN} characters and could be guessed")
    return tokens


def credentials(certificate: Path, key: Path, client_ca: Path | None) -> Any:
    """TLS; mutual where client_ca is given: then whoever has no certificate of it is not let in."""
    chain, secret = _content(certificate), _content(key)
    if client_ca is None:
        return grpc.ssl_server_credentials([(secret, chain)])
    return grpc.ssl_server_credentials([(secret, chain)], _content(client_ca), require_client_auth=True)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error}") from error
    if b"-----BEGIN " not in content:
        raise OptionError(f"{path} is no PEM file: it must hold -----BEGIN …-----")
    return content


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
