import os
import sys
import time
from pathlib import Path

import pytest

from client import NoServerError
from client.local import local_server, server_command

IDLE = "import time; time.sleep(60)"
LISTENS = f"print('loading', flush=True); print('listening on 127.0.0.1:4321 model echo', flush=True); {IDLE}"


def script(source: str, pid_file: Path) -> list[str]:
    """A server that notes its process number and then does what the source says."""
    return [sys.executable, "-c", f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid()))\n{source}"]


def is_running(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (ProcessLookupError, FileNotFoundError):  # ended; ended before it began
        return False
    return True


def test_the_address_is_what_the_server_says(tmp_path: Path) -> None:
    with local_server(script(LISTENS, tmp_path / "pid")) as target:
        assert target == "127.0.0.1:4321"
        assert is_running(tmp_path / "pid")
    assert not is_running(tmp_path / "pid")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_the_server_ends_with_whatever_ends_us(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), local_server(script(LISTENS, tmp_path / "pid")):
        raise error
    assert not is_running(tmp_path / "pid")


def test_a_server_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.local.STOP_S", 0.1)
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{LISTENS}"
    with local_server(script(deaf, tmp_path / "pid")):
        pass
    assert not is_running(tmp_path / "pid")


def test_why_it_did_not_start_is_told(tmp_path: Path) -> None:
    broken = "import sys; print('listening is hard'); print('no such model', file=sys.stderr); sys.exit(7)"
    with (
        pytest.raises(NoServerError, match=r"(?s)status 7.*no such model"),
        local_server(script(broken, tmp_path / "p")),
    ):
        pass


def test_a_server_that_never_listens_is_given_up(tmp_path: Path) -> None:
    with (
        pytest.raises(NoServerError, match=r"within 0\.5 s"),
        local_server(script(IDLE, tmp_path / "pid"), start_s=0.5),
    ):
        pass
    assert not is_running(tmp_path / "pid")


def test_a_server_that_talks_much_does_not_get_stuck(tmp_path: Path) -> None:
    done = tmp_path / "done"
    talks = f"{LISTENS.removesuffix(IDLE)}\nfor _ in range(30000): print('x' * 100)\nopen({str(done)!r}, 'w')\n{IDLE}"
    with local_server(script(talks, tmp_path / "pid")):
        deadline = time.monotonic() + 30
        while not done.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert done.exists()


def test_the_last_words_of_a_server_that_vanished_are_told(tmp_path: Path) -> None:
    wordy = f"import sys; print('out of memory', file=sys.stderr, flush=True)\n{LISTENS}"
    with pytest.raises(NoServerError, match=r"(?s)gone.*out of memory"), local_server(script(wordy, tmp_path / "pid")):
        raise NoServerError("gone")


def test_a_model_folder_is_passed_on() -> None:
    assert "--model" not in server_command(None)
    assert server_command(Path("models/x"))[-2:] == ["--model", str(Path("models/x"))]
