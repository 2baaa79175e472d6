import warnings

import numpy as np
import pytest

from client.alignments import AlignedSegment
from client.heads import draw, pages


def segment(tokens: int = 5, layers: int = 2, heads: int = 3, pieces: tuple[str, ...] | None = None) -> AlignedSegment:
    """Head h of layer l looks at frame 10 l + h alone."""
    weights = np.zeros((tokens, layers, heads, 100), np.float32)
    for layer in range(layers):
        for head in range(heads):
            weights[:, layer, head, 10 * layer + head] = 1
    return AlignedSegment(
        start_s=4.0,
        frame_hop_s=0.02,
        token_ids=tuple(range(tokens)),
        pieces=pieces or tuple(f" t{number}" for number in range(tokens)),
        weights=weights.mean(axis=(1, 2)),
        words=(),
        heads=weights,
    )


def test_each_head_of_each_layer_has_its_map() -> None:
    axes = draw(segment()).axes
    assert [int(one.images[0].get_array()[0].argmax()) for one in axes] == [0, 1, 2, 10, 11, 12]
    assert [one.get_title() for one in axes] == ["head 0", "head 1", "head 2", "", "", ""]
    assert [one.get_ylabel() for one in axes] == ["layer 0", "", "", "layer 1", "", ""]
    assert {tuple(one.images[0].get_extent()) for one in axes} == {(4.0, 6.0, 5, 0)}  # its time, the first token on top


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (4, 6), (6, 8)])
def test_no_map_lies_on_another_or_outside(layers: int, heads: int) -> None:
    figure = draw(segment(layers=layers, heads=heads))
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert len(boxes) == layers * heads
    assert all(not one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
    for box in [*boxes, *(text.get_window_extent() for text in figure.texts)]:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("extension", ["png", "svg"])
def test_any_text_is_drawn_and_what_has_no_heads_is_passed_over(extension: str) -> None:
    strange = segment(3, pieces=(" $x$ \n", "", " word" * 60))
    nothing = segment(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(pages([strange, nothing], extension))) == 1
