import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.runtime.recognizer import Recognizer

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "asr" / "models" / "tiny.en-streaming"


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """The shipped model."""
    return Recognizer.load(SHIPPED, threads=2)


@pytest.fixture(scope="session")
def clip():
    """Samples of a recording in tests/data by name."""

    def load(name: str) -> np.ndarray:
        samples, rate = soundfile.read(ROOT / "tests" / "data" / f"{name}.wav", dtype="float32")
        assert rate == 16_000
        return samples

    return load


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """A folder with NAME.pem and NAME.key of a server at localhost, a client and a stranger, each its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "stranger"):
        options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        options += ["-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(["openssl", "req", *options, *files], check=True, capture_output=True)
    return folder
