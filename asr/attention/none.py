"""No attention: the fixed-size bottleneck (Sutskever et al. 2014, "Sequence to Sequence Learning").

    context = V_last

Every target is given the same vector, the last that the encoder made, and a
recurrent encoder must have put the whole utterance into it. Attention was invented
to do without this; here it is the baseline.
"""

import torch
from torch import Tensor

from asr.attention.mechanism import Attended, Mechanism, State


class NoAttention(Mechanism):
    """The last source that may be seen, for every target."""

    has_weights = False
    chooses = False

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        if mask is None:
            last = value[..., -1:, :]
        else:
            source = torch.arange(value.shape[-2], device=value.device)
            newest = torch.where(mask, source, -1).amax(-1, keepdim=True)  # -1: may see nothing
            last = (source == newest).to(value.dtype) @ value
        return last.expand(*query.shape[:-1], value.shape[-1]), None, None
