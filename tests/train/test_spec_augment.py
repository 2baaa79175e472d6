import pytest
import torch
from torch import Tensor

from asr.model.config import FRAME_HOP, LOOK_AHEAD, LOOK_BACK, ModelConfig
from asr.model.front_end import FrontEnd
from asr.train.recipe import Augment
from asr.train.spec_augment import MaskedFrontEnd, mask

TIME = Augment(time_masks=2, time_mask_frames=40)
FREQUENCY = Augment(frequency_masks=2, frequency_mask_bands=15)
BOTH = Augment(time_masks=2, time_mask_frames=40, frequency_masks=2, frequency_mask_bands=15)
FRAMES, MELS = 300, 80


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def features(batch: int, first: int = 0, last: int = FRAMES) -> Tensor:
    """Log-mel without two equal numbers, zero outside first to last."""
    log_mel = torch.rand(batch, FRAMES, MELS) + 1
    index = torch.arange(FRAMES)[None, :, None]
    return log_mel.masked_fill((index < first) | (index >= last), 0.0)


def hidden(log_mel: Tensor, augment: Augment, first: int = 0, last: int = FRAMES) -> Tensor:
    """Which cells mask() hides: (batch, frames, mels)."""
    batch = log_mel.shape[0]
    return mask(log_mel, torch.full((batch,), first), torch.full((batch,), last), augment) != log_mel


def widest_run(masked: Tensor) -> int:
    """Of True in (n,)."""
    longest = run = 0
    for cell in masked.tolist():
        run = run + 1 if cell else 0
        longest = max(longest, run)
    return longest


def test_stretches_of_time_are_hidden_whole() -> None:
    cells = hidden(features(64), TIME)
    assert torch.equal(cells.all(-1), cells.any(-1))
    shares = cells.float().mean(dim=(1, 2))
    assert 0.05 < shares.mean() < 0.2  # two of up to 40 in 300 frames
    assert len(shares.unique()) > 20  # each row its own
    one = hidden(features(64), Augment(time_masks=1, time_mask_frames=40))
    assert 30 < max(widest_run(row.all(-1)) for row in one) <= 40


def test_bands_of_frequency_are_hidden_whole() -> None:
    cells = hidden(features(64), FREQUENCY)
    assert torch.equal(cells.all(1), cells.any(1))
    assert 0.1 < cells.float().mean() < 0.25  # two of up to 15 in 80 bands
    one = hidden(features(64), Augment(frequency_masks=1, frequency_mask_bands=15))
    assert 10 < max(widest_run(row.all(0)) for row in one) <= 15


def test_masks_lie_anywhere() -> None:
    cells = hidden(features(400), BOTH)
    assert cells.any(0).all()


def test_what_is_hidden_reads_as_the_mean_of_its_row() -> None:
    log_mel = features(8, 10, 150)
    out = mask(log_mel, torch.full((8,), 10), torch.full((8,), 150), BOTH)
    for before, after in zip(log_mel, out, strict=True):
        changed = after[after != before]
        assert torch.allclose(changed, before[10:150].mean().expand_as(changed))


def test_rows_are_masked_within_their_own_length() -> None:
    for first, last in ((0, 40), (2, 90), (100, 130), (5, 5)):
        cells = hidden(features(32, first, last), BOTH, first, last)
        assert not cells[:, :first].any()
        assert not cells[:, last:].any()
        assert cells.any() or first == last


def test_short_rows_are_never_hidden_for_the_most_part() -> None:
    cells = hidden(features(64, 0, 30), TIME, 0, 30)[:, :30].all(-1)
    assert cells.any()
    assert cells.float().mean(1).max() <= 2 * 0.2


def front_ends(augment: Augment) -> tuple[FrontEnd, MaskedFrontEnd]:
    front_end = FrontEnd(ModelConfig(pad_s=0.0, log_mel="fixed"))
    return front_end, MaskedFrontEnd(front_end, augment)


def windows(batch: int, frames: int) -> Tensor:
    return 0.1 * torch.randn(batch, LOOK_BACK + FRAME_HOP * frames + LOOK_AHEAD)


def test_the_front_end_masks_only_in_training_and_only_sound() -> None:
    plain, masked = front_ends(BOTH)
    samples, position, total = windows(3, 100), torch.tensor([0, 0, 7]), torch.tensor([100, 40, 60])
    log_mel, exists = plain(samples, position, total)
    in_training, exists_too = masked(samples, position, total)
    assert torch.equal(exists, exists_too)
    changed = in_training != log_mel
    assert changed.any(dim=(1, 2)).all()
    assert not (changed & ~exists).any()
    assert not changed[1, 2 + 2 * 40 :].any()

    masked.eval()
    for one, other in zip(masked(samples, position, total), (log_mel, exists), strict=True):
        assert torch.equal(one, other)


def test_the_last_and_the_first_frame_of_a_row_can_be_hidden() -> None:
    plain, masked = front_ends(Augment(frequency_masks=3, frequency_mask_bands=60))
    samples, position, total = windows(1, 50), torch.tensor([0]), torch.tensor([30])
    changed = (masked(samples, position, total)[0] != plain(samples, position, total)[0]).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(2, 2 + 2 * 30))


def test_the_seed_decides() -> None:
    _, masked = front_ends(BOTH)
    samples, position, total = windows(2, 50), torch.zeros(2, dtype=torch.long), torch.tensor([50, 20])
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(masked(samples, position, total)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_it_adds_nothing_to_the_state() -> None:
    assert front_ends(BOTH)[1].state_dict() == {}
