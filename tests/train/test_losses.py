import math
from dataclasses import replace

import pytest
import torch

from asr.model.config import ModelConfig
from asr.model.model import SpeechModel
from asr.train.losses import IGNORED, Targets, cross_entropy, ctc, distance, divergence, gather, losses, outside
from asr.train.recipe import Objective

CONFIG = ModelConfig(
    vocabulary=30,
    mels=20,
    dim=16,
    encoder_layers=2,
    encoder_heads=2,
    decoder_layers=2,
    decoder_heads=2,
    max_frames=200,
    max_tokens=20,
    log_mel="fixed",
    pad_s=0.0,
    left_context=64,
    ctc_alphabet="abc",
    alignment_heads=((1, 0), (1, 1)),
)
EVERYTHING = Objective(
    cross_entropy=1.0, ctc=0.5, teacher="somewhere", features=1.0, tokens=0.5, alignment=0.2, alignment_slack_s=0.05
)
ROWS = [([1, 5, 6, 7, 2], 1), ([1, 8, 2], 1), ([1, 2], 1)]  # prompt, text, end
CHARACTERS: list[list[int] | None] = [[1, 2, 3], [3], []]
SPANS = [[(0.1, 0.3), (0.3, 0.5), None], [(0.0, 0.2)], []]
LENGTHS = (16_000, 9_600, 5_000)


@pytest.fixture
def model() -> SpeechModel:
    torch.manual_seed(0)
    return SpeechModel(CONFIG)


def rows(numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor, Targets]:
    """A batch of some of the three utterances."""
    lengths = torch.tensor([LENGTHS[number] for number in numbers])
    samples = torch.zeros(len(numbers), int(lengths.max()))
    for row, number in enumerate(numbers):
        drawn = torch.randn(LENGTHS[number], generator=torch.Generator().manual_seed(number))
        samples[row, : LENGTHS[number]] = 0.1 * drawn
    picked = (list(map(given.__getitem__, numbers)) for given in (ROWS, CHARACTERS, SPANS))
    return samples, lengths, gather(*picked)


@pytest.mark.parametrize("chunk", [0, 16])
def test_a_batchs_loss_is_the_mean_of_its_utterances_losses(model: SpeechModel, chunk: int) -> None:
    torch.manual_seed(1)
    teacher = SpeechModel(CONFIG)

    def parts(numbers: list[int]) -> dict[str, torch.Tensor]:
        samples, lengths, targets = rows(numbers)
        return losses(model, samples, lengths, targets, EVERYTHING, chunk, teacher, samples * 0.5)

    together = parts([0, 1, 2])
    assert set(together) == {"loss", "cross_entropy", "ctc", "features", "tokens", "alignment"}
    for name, values in together.items():
        alone = torch.cat([parts([number])[name] for number in range(3)])
        torch.testing.assert_close(values, alone, rtol=1e-4, atol=1e-5)
        assert float(values.mean().detach()) == pytest.approx(float(alone.mean().detach()), rel=1e-4)
    weighted = sum(getattr(EVERYTHING, name) * together[name] for name in together if name != "loss")
    torch.testing.assert_close(together["loss"], weighted)


def test_gradients_reach_every_parameter(model: SpeechModel) -> None:
    samples, lengths, targets = rows([0, 1, 2])
    losses(model, samples, lengths, targets, EVERYTHING, 16, SpeechModel(CONFIG))["loss"].sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_parts_without_a_weight_are_not_computed(model: SpeechModel) -> None:
    samples, lengths, targets = rows([0])
    assert set(losses(model, samples, lengths, targets, Objective(), 0)) == {"loss", "cross_entropy"}
    encoder_alone = Objective(cross_entropy=0.0, ctc=1.0)
    assert set(losses(model, samples, lengths, targets, encoder_alone, 0)) == {"loss", "ctc"}


def test_cross_entropy_by_hand() -> None:
    log_probs = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8]]).log()[None]
    following = torch.tensor([[0, 1, IGNORED]])
    sharp = (-math.log(0.7) - math.log(0.5)) / 2
    assert float(cross_entropy(log_probs, following, 0.0).sum() / 2) == pytest.approx(sharp)
    even = -sum(math.log(p) for p in (0.7, 0.2, 0.1, 0.25, 0.5, 0.25)) / 6
    assert float(cross_entropy(log_probs, following, 0.1).sum() / 2) == pytest.approx(0.9 * sharp + 0.1 * even)


def test_ctc_by_hand() -> None:
    # two frames, the text "a": blank a, a blank, a a
    log_probs = torch.tensor([[0.4, 0.6], [0.5, 0.5]]).log()[None]
    targets = gather([([1, 3, 2], 1)], [[1]], [[]])
    wanted = -math.log(0.4 * 0.5 + 0.6 * 0.5 + 0.6 * 0.5)
    assert float(ctc(log_probs, torch.tensor([2]), targets)) == pytest.approx(wanted)


def test_ctc_leaves_out_what_cannot_be_spelled() -> None:
    log_probs = torch.randn(2, 5, 4).log_softmax(-1)
    targets = gather([([1, 3, 2], 1)] * 2, [None, []], [[], []])
    unspelled, silent = ctc(log_probs, torch.tensor([5, 5]), targets).tolist()
    assert unspelled == 0.0
    assert silent == pytest.approx(-float(log_probs[1, :, 0].mean()), rel=1e-5)  # nothing said: blanks alone


def test_a_text_longer_than_its_frames_does_not_spoil_the_batch() -> None:
    log_probs = torch.randn(1, 2, 4).log_softmax(-1).requires_grad_()
    targets = gather([([1, 3, 2], 1)], [[1, 2, 3]], [[]])
    loss = ctc(log_probs, torch.tensor([2]), targets)
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()


def test_distance_counts_real_frames_alone() -> None:
    ours, theirs = torch.zeros(1, 4, 2), torch.ones(1, 5, 2)
    theirs[0, 2:] = 100.0
    assert distance(ours, theirs, torch.tensor([2])).tolist() == [1.0]


def test_a_student_that_pads_is_compared_where_the_teacher_heard_something() -> None:
    torch.manual_seed(0)
    padded, teacher = SpeechModel(replace(CONFIG, pad_s=2.0)), SpeechModel(CONFIG)
    objective = Objective(cross_entropy=0.0, teacher="somewhere", features=1.0)

    def distances(numbers: list[int]) -> list[float]:
        samples, lengths, targets = rows(numbers)
        return losses(padded, samples, lengths, targets, objective, 0, teacher)["features"].tolist()

    assert distances([0, 2])[1] == pytest.approx(distances([2])[0], rel=1e-4)


def test_divergence_is_zero_for_the_same_distribution_and_leaves_the_rest_out() -> None:
    ours, theirs = torch.randn(1, 3, 5).log_softmax(-1), torch.randn(1, 3, 5).log_softmax(-1)
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    assert float(divergence(ours, ours, everywhere)) == pytest.approx(0.0, abs=1e-6)
    one = torch.tensor([[False, True, False]])
    wanted = float((theirs[0, 1].exp() * (theirs[0, 1] - ours[0, 1])).sum())
    assert float(divergence(ours, theirs, one)) == pytest.approx(wanted, rel=1e-4)


def test_attention_inside_the_word_costs_nothing() -> None:
    weights = torch.zeros(1, 1, 2, 50)
    weights[0, 0, 0, 10] = 1.0  # at 0.2 s
    weights[0, 0, 1, 40] = 1.0  # at 0.8 s
    within = torch.tensor([[[0.15, 0.25], [math.nan, math.nan]]])
    assert outside(weights, within, 0.0).tolist() == [0.0]
    beside = torch.tensor([[[0.3, 0.4], [0.75, 0.85]]])
    assert float(outside(weights, beside, 0.0)) == pytest.approx(-math.log(1e-4) / 2, rel=1e-4)
    assert outside(weights, beside, 0.11).tolist() == [0.0]  # within the slack


def test_a_model_without_alignment_heads_uses_all(model: SpeechModel) -> None:
    every = SpeechModel(replace(CONFIG, alignment_heads=()))
    samples, lengths, targets = rows([0, 1, 2])
    assert losses(every, samples, lengths, targets, EVERYTHING, 0, SpeechModel(CONFIG))["alignment"].shape == (3,)
