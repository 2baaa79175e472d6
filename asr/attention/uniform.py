"""Uniform weights: the control.

    context = mean of V over what may be seen

All of the source and no choice. What a mechanism gains over this it gains by
looking; what this gains over none.py comes of the whole source being there.
"""

from torch import Tensor

from asr.attention.scored import Scored


class Uniform(Scored):
    """Equal scores, whatever is asked."""

    chooses = False

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        return query.new_zeros(*query.shape[:-1], key.shape[-2])
