"""The figures: numbers in, a matplotlib figure out. They know no models."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Weights = NDArray[np.float32]  # (tokens, frames)

DPI = 110
COLORS = "magma"
MARKERS = "os^Dv<>P*X"
DIMMEST = 0.2  # a weight that is drawn as bright as it gets: rows that have no larger one stay as dark as they are even
HIGHEST = 110.0  # per cent that error_panels show: who loops writes several times as many words as are said
FAINTEST = 0.5  # of a token's largest weight: what gets less is no line of `arrows`


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white")


def grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels in rows of `columns`, each of that size in inches."""
    rows = -(-count // columns)
    figure = Figure(figsize=(width * min(columns, count), height * rows), layout="constrained")
    axes = figure.subplots(rows, min(columns, count), squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    across: str,
    up: str,
    logarithmic: bool = False,
) -> Figure:
    """A line for each name, (xs, ys)."""
    figure, (axes,) = grid(1, 1, 8, 4.5)
    for (name, (xs, ys)), marker in zip(curves.items(), cycle(MARKERS), strict=False):
        axes.plot(xs, ys, label=name, marker=marker, markersize=4, linewidth=1.2)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    axes.legend(fontsize=7, ncols=2)
    return figure


def error_panels(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], families: Mapping[str, Sequence[str]], across: str
) -> Figure:
    """Word error rates in per cent, a line for each name, in a panel for each family: its own in colour, the others
    behind them in grey."""
    there = {title: [name for name in names if name in curves] for title, names in families.items()}
    there = {title: names for title, names in there.items() if names}
    figure, axes = grid(len(there), 3, 4.2, 3.2)
    for panel, (title, names) in zip(axes, there.items(), strict=True):
        for xs, ys in curves.values():
            panel.plot(xs, ys, color="#ddd", linewidth=0.8, zorder=1)
        for name, marker in zip(names, cycle(MARKERS), strict=False):
            panel.plot(*curves[name], label=name, marker=marker, markersize=4, linewidth=1.4)
        panel.set_ylim(0, HIGHEST)
        panel.set_title(title, fontsize=9)
        panel.set_xlabel(across, fontsize=8)
        panel.set_ylabel("WER %", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    return figure


def bars(values: Mapping[str, float], up: str) -> Figure:
    figure, (axes,) = grid(1, 1, max(4.0, 0.6 * len(values)), 3.5)
    drawn = axes.bar(list(values), list(values.values()), color="#5b6aa8")
    axes.bar_label(drawn, fmt="%.1f", fontsize=8)
    axes.tick_params(axis="x", rotation=60, labelsize=8)
    axes.set_ylabel(up)
    return figure


def heat(axes: Axes, weights: Weights, pieces: Sequence[str], title: str, hop_s: float = 0.0) -> None:
    """A map of where tokens looked; hop_s: the time axis is in seconds."""
    seconds = (0, weights.shape[1] * hop_s if hop_s else weights.shape[1], len(weights), 0)
    brightest = max(float(weights.max()), DIMMEST)
    axes.imshow(weights, aspect="auto", cmap=COLORS, interpolation="nearest", extent=seconds, vmin=0.0, vmax=brightest)
    axes.set_yticks(np.arange(len(pieces)) + 0.5, [piece.replace(" ", "␣") for piece in pieces], fontsize=6)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_title(title, fontsize=8)


def gallery(maps: Mapping[str, tuple[Weights, Sequence[str]]], hop_s: float, columns: int = 4) -> Figure:
    """Maps side by side, each with its pieces; empty where nothing was said, or where there are no weights."""
    figure, axes = grid(len(maps), columns, 3.2, 2.2)
    for panel, (title, (weights, pieces)) in zip(axes, maps.items(), strict=True):
        if weights.size:
            heat(panel, weights, pieces, title, hop_s)
        else:
            panel.text(0.5, 0.5, "none", ha="center", va="center", transform=panel.transAxes)
            panel.set_title(title, fontsize=8)
            panel.set_axis_off()
    return figure


def arrows(weights: Weights, pieces: Sequence[str], samples: Weights, rate: int, hop_s: float) -> Figure:
    """From each token to the sound that it came from: a line to every frame that it looked at, as dark as it looked."""
    figure, (axes,) = grid(1, 1, 9, 3.5)
    seconds = samples.size / rate
    axes.plot(
        np.arange(samples.size) / rate, samples / (np.abs(samples).max() + 1e-9) * 0.4, color="#888", linewidth=0.4
    )
    for place, (row, piece) in enumerate(zip(weights, pieces, strict=True)):
        start_s = (place + 0.5) / len(pieces) * seconds
        axes.text(start_s, 2.05, piece.replace(" ", "␣"), ha="center", fontsize=9)
        share = row / max(float(row.max()), 1e-9)
        for frame in np.flatnonzero(share > FAINTEST):
            axes.plot((start_s, (frame + 0.5) * hop_s), (2.0, 0.45), color="#5b2a86", alpha=float(share[frame]) / 2)
    axes.set_ylim(-0.5, 2.3)
    axes.set_yticks([])
    axes.set_xlabel("seconds")
    return figure
