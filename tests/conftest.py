from pathlib import Path

import numpy as np
import pytest
import soundfile
import trustme

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
    """A folder with NAME.pem (its certificate, then who signed that) and NAME.key of a server at localhost, a
    client and a stranger, each of an authority of its own."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "stranger"):
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", common_name=name)
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        for pem in (*issued.cert_chain_pems, authority.cert_pem):
            pem.write_to_path(folder / f"{name}.pem", append=True)
    return folder
