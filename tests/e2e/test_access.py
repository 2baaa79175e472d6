"""TLS and tokens from end to end: asr-server, the SDK and asr-transcribe."""

import asyncio
import shutil
from pathlib import Path

import pytest

from client import Access, AccessError, AsyncClient, CallError, Client, NoServerError
from client.transcribe import main

CLIP = Path(__file__).parents[1] / "data" / "goforward.wav"
TOKEN = "a-token-that-is-long"


@pytest.fixture(scope="module")
def folder(certificates, tmp_path_factory):
    """The certificates, and tokens."""
    folder = tmp_path_factory.mktemp("access")
    shutil.copytree(certificates, folder, dirs_exist_ok=True)
    (folder / "tokens").write_text(f"{TOKEN}\n")
    (folder / "wrong").write_text("another-token-that-is-long\n")
    (folder / "junk.pem").write_text("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    return folder


def port_of(server):
    return server.address.rpartition(":")[2]


@pytest.fixture(scope="module")
def secure(start_shared_server, folder):
    """Wants TLS, a certificate of the client's and a token."""
    flags = {"certificate": "server.pem", "key": "server.key", "client_ca": "client.pem"}
    tls = [word for name, file in flags.items() for word in (f"--tls_{name}", str(folder / file))]
    return f"localhost:{port_of(start_shared_server(*tls, '--tokens', str(folder / 'tokens')))}"


@pytest.fixture(scope="module")
def plain(start_shared_server, folder):
    """Wants a token, without TLS."""
    return start_shared_server("--tokens", str(folder / "tokens"), "--plain_tokens", "true").address


@pytest.fixture(scope="module")
def known(folder):
    return Access(ca=folder / "server.pem", certificate=folder / "client.pem", key=folder / "client.key", token=TOKEN)


def flags_of(access):
    files = {"--tls_ca": access.ca, "--tls_certificate": access.certificate, "--tls_key": access.key}
    return [word for flag, file in files.items() if file for word in (flag, str(file))]


def test_who_has_all_that_is_wanted_is_heard(secure, known, folder, capsys):
    with Client(secure, access=known) as client:
        assert "forward" in client.recognize_file(CLIP).text

    async def ask():
        async with AsyncClient(secure, access=known) as client:
            return await client.models()

    assert asyncio.run(ask())[0].name == "tiny.en-streaming"
    token = ["--token_file", str(folder / "tokens")]
    for mode in ([], ["--stream", "--fast"]):
        assert main(["--server", secure, *flags_of(known), *token, *mode, str(CLIP)]) == 0
        assert "forward" in capsys.readouterr().out


def test_a_token_may_come_from_the_environment(plain, monkeypatch, capsys):
    assert main(["--server", plain, str(CLIP)]) == 1
    assert "give --token_file, or set HEED_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("HEED_TOKEN", TOKEN)
    assert main(["--server", plain, str(CLIP)]) == 0


@pytest.mark.parametrize(("file", "said"), [(None, "wants a token"), ("wrong", "not known here")])
def test_a_missing_or_wrong_token_is_told(secure, known, folder, capsys, file, said):
    token = ["--token_file", str(folder / file)] if file else []
    assert main(["--server", secure, *flags_of(known), *token, str(CLIP)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "UNAUTHENTICATED" in error
    with Client(secure, access=Access(known.tls, known.ca, known.certificate, known.key)) as client:
        with pytest.raises(CallError) as refused:
            client.models()
        assert refused.value.status == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca": "stranger.pem"}, "nobody signed whom we trust"),
        ({}, "nobody signed whom we trust"),
        ({"ca": "junk.pem"}, "one is damaged"),
        ({"ca": "server.pem", "certificate": "client.pem", "key": "stranger.key"}, "do not belong together"),
    ],
)
def test_files_that_do_not_fit_are_told(secure, folder, capsys, files, said):
    access = Access(tls=True, **{name: folder / file for name, file in files.items()})
    with Client(secure, access=access) as client, pytest.raises(AccessError, match=said):
        client.models()
    assert main(["--server", secure, "--tls", *flags_of(access), str(CLIP)]) == 2
    assert said in capsys.readouterr().err


def test_a_certificate_for_another_name_is_told(secure, known):
    other = secure.replace("localhost", "127.0.0.1")
    with Client(other, access=known) as client, pytest.raises(AccessError, match="for another name"):
        client.models()


def test_tls_to_a_plain_server_is_told(plain, known):
    with Client(plain, access=known) as client, pytest.raises(AccessError, match="does not speak TLS"):
        client.models()


def test_a_server_that_wants_tls_or_a_certificate_hangs_up(secure, folder):
    for access in (Access(), Access(ca=folder / "server.pem")):
        with Client(secure, access=access) as client, pytest.raises(NoServerError, match="perhaps it wants TLS"):
            client.models()
