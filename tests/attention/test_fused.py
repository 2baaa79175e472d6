import torch

from asr.attention.fused import Fused, fuse
from asr.attention.scaled_dot import ScaledDot
from asr.model.config import ModelConfig
from asr.model.encoder import Encoder


def test_the_fused_kernel_gives_what_the_written_out_form_gives() -> None:
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 5, 7) > 0.4
    mask[0, 0, 2] = False  # one that may look nowhere
    for given in (None, mask):
        results = []
        for mechanism in (ScaledDot(), Fused()):
            torch.manual_seed(1)
            inputs = [torch.randn(2, 3, length, 4, requires_grad=True) for length in (5, 7, 7)]
            context, _, _ = mechanism(*inputs, given)
            context.square().sum().backward()
            results.append([context, *(one.grad for one in inputs)])
        for ours, fused in zip(*results, strict=True):
            torch.testing.assert_close(fused, ours, rtol=1e-4, atol=1e-6)
    assert torch.equal(Fused()(*inputs, mask)[0][0, :, 2], torch.zeros(3, 4))


def test_a_fused_encoder_is_the_same_encoder() -> None:
    config = ModelConfig(
        dim=32, encoder_layers=2, encoder_heads=2, decoder_heads=2, max_frames=100, log_mel="fixed", pad_s=0.0
    )
    encoder = Encoder(config).eval()
    samples = 0.1 * torch.randn(2, 520 + 320 * 40 + 200)
    arguments = samples, torch.zeros(2, dtype=torch.long), torch.tensor([40, 9]), encoder.empty_cache(2), 8
    names = list(encoder.state_dict())
    with torch.no_grad():
        written, _ = encoder(*arguments)
        fuse(encoder)
        fused, _ = encoder(*arguments)
    assert list(encoder.state_dict()) == names
    assert not any(isinstance(module, ScaledDot) for module in encoder.modules())
    torch.testing.assert_close(fused, written, rtol=1e-4, atol=1e-5)
