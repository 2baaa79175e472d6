"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), over any mechanism.

    head_i  = Attention(Q W_i^Q, K W_i^K, V W_i^V)
    context = concat(head_1 ... head_h) W^O

Each head looks through its own small window of the features, so that one may
follow the words while another counts them.

Keys and values can be projected once (`project`) and read many times (`read`):
a decoder reads the same audio for every token. As in Whisper the key has no
bias: it would add the same score to every source, and the softmax would undo it.
"""

from torch import Tensor, nn

from asr.attention.mechanism import Attended, Mechanism, State


class MultiHead(Mechanism):
    """`heads` copies of a mechanism, each over its own projection to dim / heads."""

    def __init__(self, mechanism: Mechanism, dim: int, heads: int):
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim ({dim}) must be a whole multiple of heads ({heads})")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.mechanism = mechanism
        self.steps = mechanism.steps
        self.carried = tuple(one._replace(shape=(heads, *one.shape)) for one in mechanism.carried)
        self.promise_what(mechanism)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, state: State = None
    ) -> Attended:
        """As the contract; weights are (batch, heads, targets, sources)."""
        return self.read(query, self.split(self.key(key)), self.split(self.value(value)), mask, state)

    def project(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, sources, dim) to keys and values for `read`, each (batch, heads, sources, dim / heads)."""
        return self.split(self.key(source)), self.split(self.value(source))

    def read(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, state: State = None) -> Attended:
        """Attend with keys and values already projected; query is (batch, targets, dim), mask has no heads axis."""
        if mask is not None and mask.dim() > 2:
            mask = mask.unsqueeze(-3)  # the same mask for every head
        context, weights, state = self.mechanism(self.split(self.query(query)), key, value, mask, state)
        return self.out(context.transpose(-3, -2).flatten(-2)), weights, state

    def split(self, x: Tensor) -> Tensor:
        """(batch, length, dim) to (batch, heads, length, dim / heads)."""
        batch, length, dim = x.shape
        return x.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)
