from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from asr.attention import Mechanism, Monotonic  # noqa: E402


@pytest.fixture
def build():
    """A mechanism with every parameter random, so that none hides by being zero."""

    def make(compose: Callable[[int, int], Mechanism], dim: int, heads: int) -> Mechanism:
        torch.manual_seed(0)
        mechanism = compose(dim, heads).eval()
        for parameter in mechanism.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        for part in mechanism.modules():
            if isinstance(part, Monotonic):
                part.noise = 0.0  # training is then deterministic
                torch.nn.init.constant_(part.accept.gain, 2.0)  # and in use some frames are accepted
        return mechanism

    return make
