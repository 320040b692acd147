"""A seeded generator of wafer maps in the style of the nine WM-811K classes. Synthetic: see `wafers`."""

import math

import numpy as np

WAFER_CLASSES = ("none", "Center", "Donut", "Edge-Loc", "Edge-Ring", "Loc", "Near-full", "Random", "Scratch")
OUTSIDE, PASS, FAIL = 0.0, 0.5, 1.0


def wafers(per_class: int, rng: np.random.Generator, size: int = 40, margin: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic wafer maps: maps (N, 1, size, size) float32 and labels (N,) int64, shuffled, N = 9 * per_class.

    A die is 0 outside the wafer, 0.5 where it passed and 1 where it failed. The wafer is a disc centred in the
    frame with `margin` empty dies around it. Drawn from rules, not measured: it can show how a model treats
    position and locality, never how well it would do in a fab. Class names follow Wu, Jang & Chen (2015).
    Raises ValueError where per_class < 1 or the disc would be smaller than 16 dies across.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")
    if margin < 0 or size - 2 * margin < 16:
        raise ValueError(f"size {size} with margin {margin} leaves a wafer under 16 dies across; enlarge size")
    radius, angle = _polar_grid(size, margin)
    labels = rng.permutation(np.repeat(np.arange(len(WAFER_CLASSES)), per_class))
    maps = np.stack([_draw(WAFER_CLASSES[k], radius, angle, rng) for k in labels])
    return maps[:, None].astype(np.float32), labels.astype(np.int64)


def _polar_grid(size: int, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Radius (1 at the wafer's rim) and angle of every die, each (size, size)."""
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2 - margin)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return np.hypot(y, x), np.arctan2(y, x)


def _draw(name: str, radius: np.ndarray, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One map (size, size): a background of stray failures, and the pattern's own probability of failure."""
    chance = np.maximum(rng.uniform(0.02, 0.08), PATTERNS[name](radius, angle, rng))
    failed = rng.random(radius.shape) < chance
    return np.where(radius > 1, OUTSIDE, np.where(failed, FAIL, PASS))


def _blob(radius, angle, r0, a0, spread):
    """Chance of failure around the point at polar (r0, a0), falling off as a Gaussian of width `spread`."""
    dy = radius * np.sin(angle) - r0 * math.sin(a0)
    dx = radius * np.cos(angle) - r0 * math.cos(a0)
    return 0.9 * np.exp(-(dy**2 + dx**2) / (2 * spread**2))


def _turn(angle, a0):
    """Absolute angular distance to a0, in radians, at most pi."""
    return np.abs((angle - a0 + np.pi) % (2 * np.pi) - np.pi)


def _none(radius, angle, rng):
    return np.zeros_like(radius)


def _center(radius, angle, rng):
    return _blob(radius, angle, rng.uniform(0, 0.1), rng.uniform(0, 2 * np.pi), rng.uniform(0.14, 0.24))


def _donut(radius, angle, rng):
    return 0.8 * np.exp(-((radius - rng.uniform(0.4, 0.55)) ** 2) / (2 * rng.uniform(0.07, 0.12) ** 2))


def _edge_loc(radius, angle, rng):
    near = _turn(angle, rng.uniform(0, 2 * np.pi)) < rng.uniform(0.25, 0.6)
    return 0.75 * near * (radius > rng.uniform(0.75, 0.85))


def _edge_ring(radius, angle, rng):
    return 0.75 * (radius > rng.uniform(0.84, 0.92))


def _loc(radius, angle, rng):
    return _blob(radius, angle, rng.uniform(0.35, 0.65), rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.17))


def _near_full(radius, angle, rng):
    return np.full_like(radius, rng.uniform(0.75, 0.95))


def _random(radius, angle, rng):
    return np.full_like(radius, rng.uniform(0.2, 0.4))


def _scratch(radius, angle, rng):
    """An arc: dies within half a die of a circle of random centre and curvature, cut to a random length."""
    start, bearing = rng.uniform(0, 0.6), rng.uniform(0, 2 * np.pi)
    heading, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-1.0, 1.0)
    steps = np.linspace(0, rng.uniform(0.6, 1.1), 60)
    y = start * np.sin(bearing) + np.cumsum(np.sin(heading + bend * steps)) * steps[1]
    x = start * np.cos(bearing) + np.cumsum(np.cos(heading + bend * steps)) * steps[1]
    far = (radius * np.sin(angle))[..., None] - y, (radius * np.cos(angle))[..., None] - x
    return 0.9 * (np.hypot(*far).min(-1) < 0.045)


PATTERNS = {
    "none": _none, "Center": _center, "Donut": _donut, "Edge-Loc": _edge_loc, "Edge-Ring": _edge_ring,
    "Loc": _loc, "Near-full": _near_full, "Random": _random, "Scratch": _scratch,
}  # fmt: skip
