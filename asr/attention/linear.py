"""Linear attention (Katharopoulos et al. 2020, "Transformers are RNNs", section 3).

    f(x) = elu(x) + 1                              a positive feature map in place of exp(q . k)
    context_i = f(q_i) S / f(q_i) . z,    S = sum_j f(k_j) v_j^T,    z = sum_j f(k_j)

The sums over the source do not depend on the target, so that they are made once:
targets + sources, not targets x sources. Where each target sees another part of the
source (a causal mask), the same comes of

    parallel    (f(Q) f(K)^T, hidden parts zeroed, rows divided by their sum) V    for training
    recurrent   S and z so far, to which each new source is added                  for use

and the two agree. The price: the sums are of fixed size and forget nothing, and the
softmax's sharpness is gone.
"""

from torch import Tensor

from asr.attention.masks import matrix
from asr.attention.mechanism import Attended, Carried, Mechanism, State


def features(x: Tensor) -> Tensor:
    """elu(x) + 1, without taking one away and adding it again: that would round small ones to zero."""
    return x.clamp(max=0).exp() + x.relu()


def divided(context: Tensor, total: Tensor) -> Tensor:
    """Zeros where there was nothing to see."""
    return context / total.masked_fill(total == 0, 1.0)


class LinearAttention(Mechanism):
    """Kernelised attention; the state is S and z of the sources seen so far."""

    has_weights = False  # none is made; `pattern` makes them to look at
    steps = True

    def __init__(self, dim: int):
        super().__init__()
        self.carried = (Carried("sums", (dim, dim), 0.0), Carried("total", (1, dim), 0.0))

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        """As the contract. With a state the sources are those that follow it.

        All that the state holds is seen: sums cannot hide a part of themselves, so that of a mask over
        past and new sources the last part counts. The new state holds besides what the last target may see.
        """
        query, key = features(query), features(key)
        mask = mask if mask is None else matrix(mask)[..., -key.shape[-2] :]
        sums, total = before = self.start(key) if state is None else state
        last = key if mask is None else key * mask[..., -1:, :].transpose(-2, -1)
        now = sums + last.transpose(-2, -1) @ value, total + last.sum(-2, keepdim=True)
        if mask is None or mask.shape[-2] == 1:
            return recall(query, now), None, now
        scores = (query @ key.transpose(-2, -1)) * mask
        context = scores @ value + query @ before[0]
        return divided(context, scores.sum(-1, keepdim=True) + query @ before[1].transpose(-2, -1)), None, now

    def pattern(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights that softmax attention would have made to read the same, at its cost; for pictures."""
        scores = features(query) @ features(key).transpose(-2, -1)
        scores = scores if mask is None else scores * mask
        return divided(scores, scores.sum(-1, keepdim=True))


def recall(query: Tensor, state: tuple[Tensor, Tensor]) -> Tensor:
    """What the sums hold for each target: (..., targets, dim) of features to (..., targets, dim_out)."""
    sums, total = state
    return divided(query @ sums, query @ total.transpose(-2, -1))
