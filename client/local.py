"""A server of our own on a free port of this machine, for as long as one command runs."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from client.errors import NoServerError

LISTENING = "listening on "  # its line is: listening on HOST:PORT model NAME
START_S = 120  # enough for a big model on a slow disk
STOP_S = 3  # then it is killed: nobody waits for its answers any more
LOOK_S = 0.02
LAST_LINES = 20


def server_command(model_dir: Path | None) -> list[str]:
    command = [sys.executable, "-m", "server.main", "--host", "127.0.0.1", "--port", "0"]
    return command if model_dir is None else [*command, "--model", str(model_dir)]


@contextmanager
def local_server(command: Sequence[str], start_s: float = START_S) -> Iterator[str]:
    """Start a server, give its HOST:PORT once it listens, stop it whatever happens.

    NoServerError, with the last it wrote on stderr, where it does not start or is gone too soon.
    """
    with TemporaryDirectory(prefix="asr-server-") as folder:
        stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")  # files never fill up as pipes do
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            yield _address(process, stdout, start_s)
        except NoServerError as error:
            last_words = "".join(_lines(stderr)[-LAST_LINES:])
            raise NoServerError(f"{error}\n{last_words}".rstrip()) from None
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], stdout: Path, start_s: float) -> str:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        status = process.poll()  # before the look, so that no last line is missed
        for line in _lines(stdout):
            if line.startswith(LISTENING) and line.endswith("\n"):
                return line.removeprefix(LISTENING).split()[0]
        if status is not None:
            raise NoServerError(f"the local server did not start: it ended with status {status}")
        time.sleep(LOOK_S)
    raise NoServerError(f"the local server did not start within {start_s:g} s")


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines(keepends=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:  # a second Ctrl-C ends the wait, not the duty; a process that has ended takes no harm
        process.kill()
        process.wait()
