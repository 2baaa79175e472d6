"""What asr-server can be told: each option once, by flag or by environment.

--max_streams 8, --max-streams 8 and ASR_MAX_STREAMS=8 say the same; a flag wins. A flag that does not exist ends the
server before it starts. A variable that does not exist may be another program's, so it is only told of.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, NoDecode, SettingsConfigDict

import asr

USAGE_STATUS = 2  # of the process, when the settings make no sense
PREFIX = "ASR_"  # of environment variables
VALUES = {"list[Path]": "DIR", "Path": "FILE", "str": "HOST", "int": "N", "float": "S", "bool": "true|false"}


def shipped_model() -> list[Path]:
    return [Path(asr.__file__).parent / "models" / "tiny.en-streaming"]


def all_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ServerSettings(BaseSettings):
    """Recognise speech for gRPC clients. Every flag can also be an environment variable: ASR_ and its name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, cli_prog_name="asr-server", cli_hide_none_type=True)

    model: Annotated[list[Path], NoDecode] = Field(
        default_factory=shipped_model,
        min_length=1,
        description="folder of an exported model; given several times, or with commas, the first is the default",
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address to listen on; 0.0.0.0 or :: lets other machines in, unencrypted without tls_certificate",
    )
    port: int = Field(50051, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    workers: int = Field(
        default_factory=all_cores, ge=1, le=1024, description="pieces of calls that are computed at the same moment"
    )
    threads: int = Field(1, ge=1, le=1024, description="onnxruntime threads of each worker")
    max_streams: int = Field(64, ge=1, description="calls that may be open at once; the next is RESOURCE_EXHAUSTED")
    max_streams_per_caller: int = Field(
        0, ge=0, description="of these from one caller (its token, else its address); 0: no limit of its own"
    )
    tls_certificate: Path | None = Field(None, description="PEM file of the certificate chain: then the port is TLS")
    tls_key: Path | None = Field(None, description="PEM file of its private key")
    tls_client_ca: Path | None = Field(None, description="PEM file: callers must show a certificate that it signed")
    tokens: Path | None = Field(None, description="file with a bearer token a line: callers must send one of them")
    plain_tokens: bool = Field(False, description="take tokens on a port without TLS, where anyone can read them")
    max_recording_s: float = Field(
        14400, gt=0, allow_inf_nan=False, description="longest recording or stream, seconds; beyond it is OUT_OF_RANGE"
    )
    max_message_bytes: int = Field(
        64 * 2**20, ge=2**12, lt=2**31, description="largest message; beyond it is RESOURCE_EXHAUSTED"
    )
    grace_s: float = Field(
        30, ge=0, allow_inf_nan=False, description="seconds that open calls have to end once the server is told to stop"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe entry that is logged; each call is one entry of level info"
    )

    @field_validator("model", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        return [name for name in value.split(",") if name] if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _exist(cls, folders: list[Path]) -> list[Path]:
        for folder in folders:
            if not folder.is_dir():
                raise ValueError(f"{folder} is not a folder: name one that asr-export wrote")
        return folders

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together: one without the other encrypts nothing")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca means nothing without tls_certificate and tls_key")
        if self.tokens is not None and self.tls_certificate is None and not self.plain_tokens:
            raise ValueError(
                "tokens on a port without TLS can be read by anyone: give tls_certificate, or plain_tokens"
            )
        return self

    @classmethod
    def read(cls, argv: Sequence[str]) -> Self:
        """From flags and environment. SystemExit, after one line on stderr, where they make no sense."""
        try:
            source: CliSettingsSource[Any] = CliSettingsSource(cls, formatter_class=_Help)
            return CliApp.run(cls, [_underscored(argument) for argument in argv], source)
        except ValidationError as error:
            print(f"asr-server: error: {'; '.join(map(_complaint, error.errors()))}", file=sys.stderr)
            raise SystemExit(USAGE_STATUS) from None


def unknown(variables: Iterable[str]) -> list[str]:
    """What is to be told of environment variables that look like options and are none: an option's name mistyped, a
    thing of another program's."""
    options = [PREFIX + name.upper() for name in ServerSettings.model_fields]
    told, strange = [], []
    for variable in sorted(variables):
        name = variable.upper()  # capitals make no difference in names of options
        if not name.startswith(PREFIX) or name in options:
            continue
        meant = difflib.get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in options], 1)
        if meant:
            told.append(f"{variable} is no option and changes nothing: {PREFIX}{meant[0]} is one")
        else:
            strange.append(variable)
    if strange:
        told.append(f"no options, so they change nothing: {', '.join(strange)}; the options are {', '.join(options)}")
    return told


class _Help(argparse.RawDescriptionHelpFormatter):
    """What pydantic knows of an option, in the words of who reads --help: no types and no names of functions."""

    def add_argument(self, action: argparse.Action) -> None:
        action.help = re.sub(r" ?\(default: null\)", "", action.help or "")
        action.help = re.sub(r"default factory: (\w+)", lambda found: f"default: {_words(found[1])}", action.help)
        super().add_argument(action)

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Any:
        if isinstance(action.metavar, str):
            action.metavar = VALUES.get(action.metavar, action.metavar)
        return super()._metavar_formatter(action, default_metavar)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _underscored(argument: str) -> str:
    """--max-streams=8 as --max_streams=8; a value keeps its hyphens."""
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value if flag.startswith("--") else argument


def _complaint(error: Any) -> str:
    reason = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:  # of several options together
        return reason
    name = str(error["loc"][0])
    given = "" if error["type"] == "value_error" else f" (not {error['input']!r})"
    return f"--{name} (or {PREFIX}{name.upper()}): {reason}{given}"
