import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.errors import NotFoundError
from asr.train import torchaudio_parts

# torchaudio in small: it loads its compiled part from lib/ at import, if there is one.
UTILS = """
from pathlib import Path
_LIB_DIR = Path(__file__).parent.parent / "lib"
def load(name):
    paths = list(_LIB_DIR.glob(name))
    if not paths:
        return False
    if paths[0].read_text() != "fits":
        raise OSError("libcudart.so.13: cannot open shared object file")
    return True
"""


@pytest.fixture
def without_torchaudio(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if no torchaudio had been imported yet; afterwards all is as before."""
    before = dict(sys.modules)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        if name not in before:
            del sys.modules[name]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_torchaudio: None) -> Path:
    """A torchaudio whose compiled part (lib/part) is yet to be written."""
    folder = tmp_path / "torchaudio"
    for name in ("_extension", "functional", "lib"):
        (folder / name).mkdir(parents=True)
    (folder / "__init__.py").write_text("from . import _extension, functional")
    (folder / "_extension" / "__init__.py").write_text("from .utils import load\nAVAILABLE = load('part')")
    (folder / "_extension" / "utils.py").write_text(UTILS)
    (folder / "functional" / "__init__.py").write_text("from torchaudio._extension import AVAILABLE")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def test_a_compiled_part_that_does_not_fit_is_done_without(installed: Path) -> None:
    (installed / "lib" / "part").write_text("linked to a CUDA that is not there")
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*")}
    assert torchaudio_parts.functional().AVAILABLE is False
    assert {path: path.stat().st_mtime_ns for path in installed.rglob("*")} == before


def test_a_compiled_part_that_fits_is_used(installed: Path) -> None:
    (installed / "lib" / "part").write_text("fits")
    assert torchaudio_parts.functional().AVAILABLE is True


def test_what_else_is_wrong_with_torchaudio_is_told(installed: Path) -> None:
    (installed / "functional" / "__init__.py").write_text("from torch import a_name_of_tomorrow")
    with pytest.raises(NotFoundError, match="a_name_of_tomorrow"):
        torchaudio_parts.functional()


def test_without_torchaudio_the_error_says_what_to_install(
    without_torchaudio: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(NotFoundError, match="pip install"):
        torchaudio_parts.mu_law(np.zeros(4, np.float32))


def test_a_convolution_is_numpys() -> None:
    random = np.random.default_rng(0)
    samples, response = random.uniform(-1, 1, 997).astype(np.float32), random.uniform(-1, 1, 31).astype(np.float32)
    convolved = torchaudio_parts.convolve(samples, response)
    assert convolved.dtype == np.float32
    np.testing.assert_allclose(convolved, np.convolve(samples, response), atol=1e-5)


def test_noise_is_as_loud_as_was_asked() -> None:
    random = np.random.default_rng(0)
    samples, noise = random.uniform(-1, 1, (2, 16_000)).astype(np.float32) * [[0.5], [0.01]]
    added = torchaudio_parts.add_noise(samples, noise, 12.0) - samples
    assert 10 * np.log10(np.sum(samples**2) / np.sum(added**2)) == pytest.approx(12.0, abs=0.01)


def test_mu_law_is_finer_for_quiet_samples() -> None:
    quiet, loud = np.linspace(0.001, 0.01, 100, dtype=np.float32), np.linspace(0.9, 1.0, 100, dtype=np.float32)
    error = {name: np.abs(torchaudio_parts.mu_law(s) - s).max() for name, s in {"quiet": quiet, "loud": loud}.items()}
    assert 0 < error["quiet"] < 0.0003 < error["loud"] < 0.03
    assert len(np.unique(torchaudio_parts.mu_law(np.linspace(-1, 1, 10_000, dtype=np.float32)))) == 256


def test_samples_that_may_not_be_written_to_can_be_read() -> None:
    samples = np.linspace(-1, 1, 100, dtype=np.float32)
    samples.setflags(write=False)
    assert torchaudio_parts.mu_law(samples).shape == (100,)
