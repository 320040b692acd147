"""One style for every picture of the book, and the alt text that goes with each."""

import base64
import html
import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure as MplFigure
from PIL import Image

# Pictures are 4.8 inches wide: the site shows them at most 36rem wide, where their text is as large as the page's own,
# and scales them down to a phone, where it is still near 10 px. The same colour stands for the same thing everywhere;
# kit.css holds each one's twin for dark pages, under the name in INK.
INPUT, KERNEL, OUTPUT, ACCENT, MUTED, GRID = "#0072b2", "#b84f00", "#007a59", "#8a3d78", "#666f78", "#d5dade"
_FOREGROUND = "#010203"  # stands for the page's own text colour
INK = {INPUT: "input", KERNEL: "kernel", OUTPUT: "output", ACCENT: "accent", MUTED: "muted", GRID: "grid"}

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "cnnbook", "font.family": "DejaVu Sans", "font.size": 9.5,
    "figure.figsize": (4.8, 2.6), "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "axes.titlesize": 10,
    "axes.prop_cycle": mpl.cycler(color=[INPUT, KERNEL, OUTPUT, ACCENT]), "lines.linewidth": 1.6,
    "text.color": _FOREGROUND, "axes.labelcolor": _FOREGROUND, "axes.titlecolor": _FOREGROUND,
    "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "image.interpolation": "none",
    "grid.color": GRID,
}  # fmt: skip
mpl.rcParams.update(STYLE)
# Level k is exactly k/255; in matplotlib's own "gray", 24 of the 256 levels come out one too dark.
_GREY = ListedColormap(np.repeat(np.arange(256)[:, None] / 255, 3, axis=1))


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
    plt.close(fig)  # it can still be saved, and it is closed where the alt text is refused as well
    if len(alt.split()) < 6:
        raise ValueError(f"alt text must say what is seen, in a sentence; got {alt!r}")
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None, "Creator": None})
    svg = _themed(buffer.getvalue()).replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)
    return Picture(svg, alt)


def show(
    *images: np.ndarray,
    titles: Sequence[str],
    alt: str,
    columns: int = 3,
    limits: tuple[float, float] | None = None,
    width: float = 4.8,
) -> Picture:
    """Images in rows of `columns`, each (H, W) in grey or (H, W, 3) in colour; `limits` put all on one grey scale.

    Raises ValueError where titles and images differ in number or an image has another rank.
    """
    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images need as many titles, got {len(titles)}")
    for image, title in zip(images, titles, strict=True):
        _check_image(image, title)
    rows, columns = -(-len(images) // columns), min(columns, len(images))
    aspect = max(image.shape[0] / image.shape[1] for image in images)
    size = (width, rows * (width / columns * aspect + 0.25))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        _draw_image(ax, image, title, limits or (None, None))
    return picture(fig, alt)


def _check_image(image: np.ndarray, title: str) -> None:
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] != 3:
        raise ValueError(f"{title!r}: an image is (H, W) or (H, W, 3), got {image.shape}")


def _draw_image(ax: plt.Axes, image: np.ndarray, title: str, limits: tuple) -> None:
    ax.imshow(image, cmap=_GREY, vmin=limits[0], vmax=limits[1])
    ax.set_title(title, pad=4)


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
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    # A rule for * would hold for the whole page that the picture is put into; on the root it holds for the picture.
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = svg.replace("<svg ", '<svg style="stroke-linejoin: round; stroke-linecap: butt" ', 1)
    used = set(re.findall(r"#([\w.-]+)[\")]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: match.group(0) if match.group(1) in used else "", svg)
    for color, name in INK.items():
        svg = svg.replace(color, f"var(--cb-{name}, {color})")
    svg = svg.replace(_FOREGROUND, "currentColor")
    svg = re.sub(r"data:image/png;base64,([\w+/=\s]+)", _smaller_png, svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())


def _smaller_png(match: re.Match) -> str:
    """An embedded picture without its alpha channel where it is opaque, and with one channel where it is grey."""
    image = Image.open(io.BytesIO(base64.b64decode(match.group(1))))
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        return match.group(0)
    grey = (pixels[..., :1] == pixels[..., 1:3]).all()
    buffer = io.BytesIO()
    image.convert("L" if grey else "RGB").save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
