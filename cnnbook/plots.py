"""One style for every picture of the book, and the alt text that goes with each."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure as MplFigure

# The same colour for the same thing everywhere. kit.css holds each one's twin for dark pages, under the name in INK.
INPUT, KERNEL, OUTPUT, ACCENT, MUTED, GRID = "#0072b2", "#b84f00", "#007a59", "#8a3d78", "#666f78", "#d5dade"
_FOREGROUND = "#010203"  # stands for the page's own text colour
INK = {INPUT: "input", KERNEL: "kernel", OUTPUT: "output", ACCENT: "accent", MUTED: "muted", GRID: "grid"}

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "cnnbook", "font.family": "DejaVu Sans", "font.size": 11,
    "figure.figsize": (6.4, 3.2), "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "axes.titlesize": 11,
    "axes.prop_cycle": mpl.cycler(color=[INPUT, KERNEL, OUTPUT, ACCENT]), "lines.linewidth": 2,
    "text.color": _FOREGROUND, "axes.labelcolor": _FOREGROUND, "axes.titlecolor": _FOREGROUND,
    "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "image.interpolation": "none",
    "grid.color": GRID,
}  # fmt: skip
mpl.rcParams.update(STYLE)


class Picture:
    """A finished picture: an SVG that follows the page's light or dark theme, and its alt text."""

    def __init__(self, svg: str, alt: str):
        self.svg, self.alt = svg, alt

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_) -> dict[str, str]:
        return {"text/plain": self.alt, "image/svg+xml": self.svg}


def picture(fig: MplFigure, alt: str) -> Picture:
    """Close the figure and return it as a Picture; make this a cell's last line.

    `alt` says the finding, not the kind of plot. Raises ValueError where it is missing or too short to say one.
    """
    if len(alt.split()) < 6:
        raise ValueError(f"alt text must say what is seen, in a sentence; got {alt!r}")
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None, "Creator": None})
    plt.close(fig)
    return Picture(_themed(buffer.getvalue()), alt)


def show(
    *images: np.ndarray, titles: Sequence[str], alt: str, limits: tuple[float, float] | None = None, width: float = 6.4
) -> Picture:
    """Images side by side, each (H, W) in grey or (H, W, 3) in colour, on one grey scale where `limits` are given.

    Raises ValueError where titles and images differ in number or an image has another rank.
    """
    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images need as many titles, got {len(titles)}")
    fig, axes = plt.subplots(1, len(images), figsize=(width, width / len(images) + 0.3), squeeze=False)
    low, high = limits or (None, None)
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3:
            raise ValueError(f"{title!r}: an image is (H, W) or (H, W, 3), got {image.shape}")
        ax.imshow(image, cmap="gray", vmin=low, vmax=high)
        ax.set_title(title)
        ax.axis("off")
    fig.tight_layout(pad=0.4)
    return picture(fig, alt)


def numbers(ax: plt.Axes, values: np.ndarray, title: str, color: str = MUTED, mark: tuple | None = None) -> None:
    """Draw a small matrix (H, W) as a grid of its numbers; `mark` = (row, column, height, width) frames a patch."""
    rows, columns = values.shape
    for (i, j), value in np.ndenumerate(values):
        ax.add_patch(plt.Rectangle((j, i), 1, 1, fill=False, edgecolor=GRID, linewidth=1))
        ax.text(j + 0.5, i + 0.5, f"{value:g}".replace("-", "−"), ha="center", va="center")
    ax.add_patch(plt.Rectangle((0, 0), columns, rows, fill=False, edgecolor=color, linewidth=2))
    if mark:
        row, column, height, width = mark
        ax.add_patch(plt.Rectangle((column, row), width, height, fill=False, edgecolor=KERNEL, linewidth=3))
    ax.set(xlim=(-0.1, columns + 0.1), ylim=(rows + 0.1, -0.1), aspect="equal", title=title)
    ax.axis("off")


def label(ax: plt.Axes, x: float, y: float, text: str, color: str, **kwargs) -> None:
    """Name a line where it stands, in its own colour, instead of a legend."""
    ax.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", color=color, va="center", **kwargs)


def _themed(svg: str) -> str:
    """Colours as CSS variables with the light theme's value as fallback; no ids but those that are referred to."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend|PathCollection|'
                 r'PolyCollection|FillBetweenPolyCollection|LineCollection|QuadMesh|image|QuadContourSet)[_\w.]*"', "", svg)  # fmt: skip
    for color, name in INK.items():
        svg = svg.replace(color, f"var(--cb-{name}, {color})")
    svg = svg.replace(_FOREGROUND, "currentColor")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())
