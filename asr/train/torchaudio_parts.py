"""The parts of torchaudio that training uses, on arrays, also where its compiled part cannot be loaded.

What is used here is written in Python over torch. But torchaudio's wheel brings a compiled part too, which it loads at
import, and which may be linked to a CUDA or a torch that is not there; then `import torchaudio` fails as a whole. It
does without that part where the file is missing, as in builds that never had one. So where the import fails, it is
told to look for its files where there are none. Where it does not fail, torchaudio is used as it is.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.errors import NotFoundError

LOADER = "torchaudio._extension.utils"  # has been imported by the time that the compiled part is looked for
NOWHERE = Path(os.devnull)
LEVELS = 256  # of mu-law: 8 bits
QUICK_LENGTHS = 4096  # whole multiples transform fast; a prime length takes ten times as long


def add_noise(samples: NDArray[np.float32], noise: NDArray[np.float32], ratio_db: float) -> NDArray[np.float32]:
    """samples and noise (n,) to (n,): the noise so loud that the samples' mean power is ratio_db over its."""
    return _array(functional().add_noise(_tensor(samples), _tensor(noise), torch.tensor(ratio_db)))


def convolve(samples: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """samples (n,), response (m,) to their full convolution, (n + m - 1,)."""
    full = len(samples) + len(response) - 1
    padded = np.pad(response, (0, -full % QUICK_LENGTHS))
    return _array(functional().fftconvolve(_tensor(samples), _tensor(padded)))[:full]


def mu_law(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """To mu-law of 8 bits and back: (n,) in [-1, 1] to (n,)."""
    levels = functional().mu_law_encoding(_tensor(samples), LEVELS)
    return _array(functional().mu_law_decoding(levels, LEVELS))


def functional() -> Any:
    """torchaudio.functional. NotFoundError says what to install where there is none, or none that fits torch."""
    try:
        return importlib.import_module("torchaudio.functional")
    except ModuleNotFoundError as error:
        raise NotFoundError(
            f"this augmentation needs torchaudio: pip install --no-deps 'torchaudio>=2.11' ({error})"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        return _without_compiled_part(error)


def _without_compiled_part(why: Exception) -> Any:
    """Import it anew; of the failed import the loader is left, and its folder is all that is changed."""
    loader: Any = sys.modules.get(LOADER)
    try:
        loader._LIB_DIR = NOWHERE
        return importlib.import_module("torchaudio.functional")
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        raise NotFoundError(
            f"torchaudio is installed but cannot be imported, not even without its compiled part: "
            f"pip install --no-deps --upgrade torchaudio ({why}; then {error})"
        ) from error


def _tensor(samples: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.require(samples, np.float32, ["C", "W"]))  # torch warns of what it may not write to


def _array(samples: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = samples.numpy()
    return array
