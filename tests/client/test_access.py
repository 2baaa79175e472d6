"""What a client is told of TLS and tokens; that it works is tests/e2e/test_access.py's."""

from pathlib import Path

import pytest

from client import Access, AccessError, Client
from client.access import read_token
from client.arguments import TOKEN_VARIABLE, parse
from client.transcribe import main

TOKEN = "a-token-that-is-long"


def test_without_a_word_there_is_neither_tls_nor_a_token() -> None:
    access = parse(["a.wav"]).access({})
    assert access == Access()
    assert access.credentials() is None
    assert access.metadata("example.com:50051") == []


@pytest.mark.parametrize("target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/heed"])
def test_a_token_stays_on_this_machine_without_tls(target: str) -> None:
    assert Access(token=TOKEN).metadata(target) == [("authorization", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("target", ["example.com:50051", "127.example.com:1", "localhost.example.com:1", "10.0.0.1:1"])
def test_a_token_goes_elsewhere_over_tls_or_where_that_is_asked_for(target: str) -> None:
    with pytest.raises(AccessError, match="could be read by anyone"):
        Access(token=TOKEN).metadata(target)
    with pytest.raises(AccessError, match="could be read by anyone"):
        Client(target, access=Access(token=TOKEN))
    assert Access(token=TOKEN, tls=True).metadata(target)
    assert Access(token=TOKEN, plain_token=True).metadata(target)


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Access(token=TOKEN))


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "Schlüssel"])
def test_what_no_header_can_carry_is_no_token(token: str) -> None:
    with pytest.raises(AccessError, match="one word"):
        Access(token=token)


def test_a_token_comes_from_its_file_or_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    assert parse(["--token_file", str(path), "a.wav"]).access({TOKEN_VARIABLE: "another"}).token == TOKEN
    assert parse(["a.wav"]).access({TOKEN_VARIABLE: f" {TOKEN}\n"}).token == TOKEN
    assert parse(["--local", "a.wav"]).access({TOKEN_VARIABLE: TOKEN}).token == ""


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"", "0 words"), (b"a b", "2 words"), (b"\xff", "cannot read")]
)
def test_a_bad_file_of_a_token_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AccessError, match=said) as refused:
        read_token(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tls_ca", "gone.pem"], "cannot read gone.pem"),
        (["--tls_ca", "text.pem"], "no PEM file"),
        (["--tls_certificate", "gone.pem", "--tls_key", "gone.key"], "cannot read gone"),
        (["--token_file", "gone"], "cannot read the token in gone"),
        (["--server", "example.com:1", "--token_file", "token"], "without TLS"),
    ],
)
def test_what_cannot_be_is_wrong_usage_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert main([*flags, "a.wav"]) == 2
    assert said in capsys.readouterr().err


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(AccessError, match="go together"):
        Access(certificate=Path("a.pem"))
