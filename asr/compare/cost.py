"""What a layer costs by the length of what it reads: time and memory, in use and in training, from seconds to minutes.

Each layer is measured in a process of its own, shortest first, until it would not fit.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from asr.attention import LinearAttention, Local, MultiHead, ScaledDot, SelfAttention
from asr.attention.fused import Fused
from asr.model.config import FRAME_HOP, SAMPLE_RATE

DIM, HEADS = 64, 2
LENGTHS_S = (2, 5, 10, 20, 40, 80, 160, 320)
MOST_BYTES = 6e9
MOST_S = 30.0  # for one call: what takes longer is not asked for twice as much
RUNS = 3

Layer = Callable[[Tensor], Tensor]


def attention(heads: MultiHead) -> Layer:
    layer = SelfAttention(heads)
    return lambda x: layer(x, x, x)[0]


def recurrence() -> Layer:
    layer = nn.LSTM(DIM, DIM, batch_first=True)
    return lambda x: layer(x)[0]


LAYERS: Mapping[str, Callable[[], Layer]] = {
    "full": lambda: attention(MultiHead(ScaledDot(), DIM, HEADS)),
    "full, fused": lambda: attention(MultiHead(Fused(), DIM, HEADS)),
    "local": lambda: attention(MultiHead(Local(ScaledDot(), reach=32, weights=False), DIM, HEADS)),
    "linear": lambda: attention(MultiHead(LinearAttention(DIM // HEADS), DIM, HEADS)),
    "lstm": recurrence,
}


@dataclass(frozen=True)
class Cost:
    layer: str
    seconds: float  # of audio
    use_s: float  # one call
    train_s: float | None  # a call and its gradients; None: it did not fit
    use_bytes: float | None  # beyond what the process held before; None where the system does not tell
    train_bytes: float | None


def costs(lengths_s: Sequence[float] = LENGTHS_S) -> list[Cost]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return [cost for found in pool.map(layer_costs, LAYERS, [lengths_s] * len(LAYERS)) for cost in found]


def layer_costs(name: str, lengths_s: Sequence[float]) -> list[Cost]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer = LAYERS[name]()
    found: list[Cost] = []
    for seconds in lengths_s:
        x = torch.randn(1, round(seconds * SAMPLE_RATE / FRAME_HOP), DIM)
        growth = (seconds / found[-1].seconds) ** 2 if found else 1.0
        if found and (found[-1].use_s * growth > MOST_S or (found[-1].use_bytes or 0) * growth > MOST_BYTES):
            break
        with torch.inference_mode():
            use_s, use_bytes = measured(layer, x)
        train_s = train_bytes = None
        last = found[-1] if found else None
        if last is None or (last.train_s is not None and (last.train_bytes or 0) * growth <= MOST_BYTES):
            train_s, train_bytes = measured(lambda x: gradients(layer, x), x)
        found.append(Cost(name, seconds, use_s, train_s, use_bytes, train_bytes))
    return found


def gradients(layer: Layer, x: Tensor) -> None:
    layer(x).square().mean().backward()  # type: ignore[no-untyped-call]


def measured(call: Callable[[Tensor], object], x: Tensor) -> tuple[float, float | None]:
    """Median seconds of a call, and the most memory that it took."""
    before = forget_peak()
    call(x)
    after = peak_bytes()
    walls = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        call(x)
        walls.append(time.perf_counter() - begin)
    return median(walls), None if before is None or after is None else max(0.0, after - before)


def forget_peak() -> float | None:
    """Start to count the peak anew; what is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_bytes()


def peak_bytes() -> float | None:
    """The most memory that this process has held, where the system tells it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def crossover_s(found: Sequence[Cost], layer: str, against: str = "full") -> float | None:
    """The shortest measured length from which on a layer is the faster in use; None: it never is."""
    ours = {one.seconds: one.use_s for one in found if one.layer == layer}
    theirs = {one.seconds: one.use_s for one in found if one.layer == against}
    both = sorted(set(ours) & set(theirs))
    faster = [seconds for seconds in both if all(ours[s] < theirs[s] for s in both if s >= seconds)]
    return min(faster, default=None)
