import threading

import grpc
import pytest

from asr.errors import OptionError
from asr.v1 import speech_pb2, speech_pb2_grpc
from server.security import Guard, credentials, host_of, read_tokens
from server.settings import ServerSettings

TOKEN, OTHER = "a-token-that-is-long", "another-long-token-x"


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# who may call\n{TOKEN}\n\n{OTHER}\n")
    return path


def models(channel_or_stub, token=None):
    stub = getattr(channel_or_stub, "stub", channel_or_stub)
    metadata = [("authorization", f"Bearer {token}")] if token else None
    return stub.ListModels(speech_pb2.ListModelsRequest(), metadata=metadata, timeout=20).models


def refusal(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def test_a_known_token_is_let_in(serve, tokens):
    running = serve(tokens=tokens, plain_tokens=True)
    assert models(running, TOKEN)
    assert models(running, OTHER)


@pytest.mark.parametrize(("token", "said"), [(None, "authorization: Bearer"), ("not-a-known-token", "not known")])
def test_any_other_is_not(serve, tokens, token, said):
    running = serve(tokens=tokens, plain_tokens=True)
    code, details = refusal(lambda: models(running, token))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert said in details
    assert str(tokens) not in details


def test_the_log_knows_callers_and_no_token(serve, tokens, speech_log):
    models(serve(tokens=tokens, plain_tokens=True), TOKEN)
    fields = [entry.fields for entry in speech_log.records if entry.message == "call"]
    assert fields[0]["caller"].startswith("token ")
    assert TOKEN not in str(fields)


def test_one_caller_may_not_take_all_places(serve, tokens, live):
    running = serve(tokens=tokens, plain_tokens=True, max_streams=4, max_streams_per_caller=1)
    over = threading.Event()

    def requests():
        yield from live(["flush"])
        over.wait(20)

    call = running.stub.StreamingRecognize(requests(), metadata=[("authorization", f"Bearer {TOKEN}")])
    next(call)  # it is open: the flush was answered
    code, details = refusal(lambda: models(running, TOKEN))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "one caller" in details
    assert models(running, OTHER)
    over.set()
    list(call)
    assert models(running, TOKEN)


def test_over_tls_a_token_is_safe_and_plain_callers_are_not_heard(serve, tokens, certificates):
    files = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    running = serve(tokens=tokens, **files)
    trusted = grpc.ssl_channel_credentials((certificates / "server.pem").read_bytes())
    with grpc.secure_channel(running.address.replace("127.0.0.1", "localhost"), trusted) as channel:
        assert models(speech_pb2_grpc.SpeechRecognitionStub(channel), TOKEN)
    assert refusal(lambda: models(running, TOKEN))[0] == grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_lets_in_whom_the_authority_signed(serve, certificates):
    running = serve(
        tls_certificate=certificates / "server.pem",
        tls_key=certificates / "server.key",
        tls_client_ca=certificates / "client.pem",
    )
    authority = (certificates / "server.pem").read_bytes()
    for name, let_in in (("client", True), ("stranger", False), (None, False)):
        shown = [(certificates / f"{name}.{kind}").read_bytes() for kind in ("key", "pem")] if name else []
        target = running.address.replace("127.0.0.1", "localhost")
        with grpc.secure_channel(target, grpc.ssl_channel_credentials(authority, *shown)) as channel:
            stub = speech_pb2_grpc.SpeechRecognitionStub(channel)
            if let_in:
                assert models(stub)
            else:
                assert refusal(lambda stub=stub: models(stub))[0] == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no token"),
        ("# none\n", "no token"),
        ("  # no token, though it is long\n", "no token"),
        ("short\n", "less than 16"),
        (None, "cannot read"),
    ],
)
def test_a_bad_file_of_tokens_is_refused(tmp_path, content, said):
    path = tmp_path / "tokens"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionError, match=said):
        read_tokens(path)


def test_a_file_that_is_no_certificate_is_refused(tmp_path):
    path = tmp_path / "server.pem"
    with pytest.raises(OptionError, match="cannot read"):
        credentials(path, path, None)
    path.write_text("hello")
    with pytest.raises(OptionError, match="PEM"):
        credentials(path, path, None)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tls_certificate", "a.pem"], "go together"),
        (["--tls_client_ca", "a.pem"], "means nothing"),
        (["--tokens", "a"], "plain_tokens"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, capsys, flags, said):
    with pytest.raises(SystemExit):
        ServerSettings.read(["--model", str(tmp_path), *flags])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:10.0.0.1:5000", "10.0.0.1"), ("ipv6:[::1]:5000", "[::1]"), ("unix:/a/b", "unix:/a/b"), ("", "")],
)
def test_a_caller_without_a_token_is_its_host(peer, host):
    assert host_of(peer) == host


def test_places_are_given_back():
    guard = Guard(most=1)
    for _ in range(3):
        with guard.place("a"), guard.place("b"):
            assert guard.open == {"a": 1, "b": 1}
    assert not guard.open
