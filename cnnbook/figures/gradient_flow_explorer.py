"""The gradient-flow explorer: how long the gradient is at every depth of random networks, plain and with skips."""

from decimal import ROUND_HALF_UP, Context

import numpy as np
import traitlets

from cnnbook.figures.base import Figure, whole_number

SIZE = 16  # values at every depth
NETS = 21  # random networks; odd, so that median, 10 % and 90 % are values of single networks
DEEPEST = 100  # blocks
KINDS = {
    "linear": "linear branches s·G/√16",
    "relu": "branches with a ReLU inside, s·W₂ ReLU(W₁x)",
    "post": "branches with a ReLU inside, and a ReLU after the addition",
    "minus": "the branch −s·x",
}
CHAINS = {"both": ("plain", "skip"), "plain": ("plain",), "skip": ("skip",)}
LIMITS = {"depth": (1, DEEPEST), "seed": (0, 9999), "net": (1, NETS), "layer": (1, DEEPEST), "component": (1, SIZE)}
PRESETS = {
    "against": dict(depth=50, scale=0.5, chain="both", kind="linear"),
    "plain": dict(depth=50, scale=1.0, chain="plain", kind="linear"),
    "vanishes": dict(depth=50, scale=0.5, chain="plain", kind="linear"),
    "stays": dict(depth=50, scale=0.1, chain="skip", kind="linear"),
    "explodes": dict(depth=50, scale=1.0, chain="skip", kind="linear"),
    "zero": dict(depth=50, scale=1.0, chain="skip", kind="minus", layer=50),
    "resnet": dict(depth=50, scale=0.1, chain="skip", kind="post"),
}


class GradientFlowExplorer(Figure):
    """The gradient's norm at depths 0 to `depth` of 21 random networks, relative to the norm at the last depth.

    A block is y = F(x) (plain) or y = x + F(x) (skip). `scale` is s, 0 to 1.5, in F; `skip` True, False, or None for
    both chains together; `kind` is one of KINDS: "linear", "relu", "post", "minus"; `seed` 0 to 9999 draws the weights.
    `preset`, one of PRESETS, sets depth, scale, skip and kind in their place. The trait of `skip` is `chain` ("both",
    "plain", "skip"); further traits hold what is opened: `net`, `layer`, `component`, `opened`.
    ValueError for an unknown preset, TraitError for other bad input.
    """

    figure = "gradient_flow_explorer"
    depth = traitlets.Int(50).tag(sync=True)
    scale = traitlets.Float(0.5).tag(sync=True)
    chain = traitlets.Enum(tuple(CHAINS), "both").tag(sync=True)
    kind = traitlets.Enum(tuple(KINDS), "linear").tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    net = traitlets.Int(1).tag(sync=True)
    layer = traitlets.Int(25).tag(sync=True)
    component = traitlets.Int(1).tag(sync=True)
    opened = traitlets.Enum(("plain", "skip"), "skip").tag(sync=True)

    def __init__(
        self,
        depth: int = 50,
        scale: float = 0.5,
        skip: bool | None = None,
        kind: str = "linear",
        preset: str | None = None,
        seed: int = 0,
    ):
        if skip not in (None, True, False):
            raise ValueError(f"skip must be True, False, or None for both chains, got {skip!r}")
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        chain = {None: "both", True: "skip", False: "plain"}[skip]
        chosen = dict(depth=depth, scale=scale, chain=chain, kind=kind) if preset is None else PRESETS[preset]
        super().__init__(**chosen, seed=seed)

    @traitlets.validate(*LIMITS)
    def _within_limits(self, proposal) -> int:
        return whole_number(proposal, LIMITS)

    @traitlets.validate("scale")
    def _scale_within_limits(self, proposal) -> float:
        value = proposal["value"]
        if not 0 <= value <= 1.5:  # NaN is not
            raise traitlets.TraitError(f"scale must be a number from 0 to 1.5, got {value!r}")
        return value

    def norms(self, chain: str) -> np.ndarray:
        """log10 of the gradient's relative norm, (21, depth + 1), for "plain" or "skip"; -inf where it is 0."""
        if chain not in ("plain", "skip"):
            raise ValueError(f'chain must be "plain" or "skip", got {chain!r}')
        return gradient_logs(self.depth, self.scale, chain == "skip", self.kind, self.seed)

    def fallback(self) -> str:
        names = CHAINS[self.chain]
        at_input = [np.sort(self.norms(name)[:, 0]) for name in names]
        low, middle, high = (round(share * (NETS - 1)) for share in (0.1, 0.5, 0.9))
        rows = [
            (f"Median of {NETS} networks", [_power(logs[middle]) for logs in at_input]),
            ("10 % to 90 % of them", [f"{_power(logs[low])} to {_power(logs[high])}" for logs in at_input]),
            ("All of them", [f"{_power(logs[0])} to {_power(logs[-1])}" for logs in at_input]),
        ]
        head = "".join(f'<th scope="col">{name.capitalize()}</th>' for name in names)
        body = "".join(
            f'<tr><th scope="row">{what}</th>{"".join(f"<td>{text}</td>" for text in texts)}</tr>'
            for what, texts in rows
        )
        return (
            f"<table><caption>Norm of the gradient at the input, relative to that at the output: {self.depth} blocks, "
            f"{KINDS[self.kind]}, s = {self.scale:g}</caption><thead><tr><td></td>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><p>Plain: y = F(x). Skip: y = x + F(x). Random weights, {SIZE} values at "
            "every depth, before any training and without normalisation.</p>"
        )

    def __repr__(self) -> str:
        skip = {"both": None, "skip": True, "plain": False}[self.chain]
        return (
            f"GradientFlowExplorer(depth={self.depth}, scale={self.scale:g}, skip={skip}, kind={self.kind!r}, "
            f"seed={self.seed})"
        )


def normals(seed: int, start: int, count: int) -> np.ndarray:
    """Standard normal numbers as the script draws them: mulberry32 and Box-Muller; start and count are even."""
    places = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    state = (np.uint64(seed) + places * np.uint64(0x6D2B79F5)).astype(np.uint32)
    mixed = (state ^ (state >> 15)) * (state | np.uint32(1))
    mixed = (mixed + (mixed ^ (mixed >> 7)) * (mixed | np.uint32(61))) ^ mixed
    uniform = (mixed ^ (mixed >> 14)) / 2**32
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[::2])), 2 * np.pi * uniform[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()


def weights(seed: int, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices (21, depth, 2, 16, 16): G or W₂, and W₁; inputs (21, 16); gradients at the output (21, 16)."""
    block, net = 2 * SIZE**2, DEEPEST * 2 * SIZE**2
    drawn = np.stack([normals(seed, index * net, depth * block) for index in range(NETS)])
    ends = _unit(normals(seed, NETS * net, NETS * 2 * SIZE).reshape(NETS, 2, SIZE))
    return drawn.reshape(NETS, depth, 2, SIZE, SIZE), ends[:, 0], ends[:, 1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 16) at length 1; those of length 0 as they are."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def jacobians(depth: int, scale: float, skip: bool, kind: str, seed: int) -> np.ndarray:
    """The Jacobian of every block of every network, (21, depth, 16, 16)."""
    matrices, x, _ = weights(seed, depth)
    identity = np.eye(SIZE) * skip
    if kind == "minus":
        return np.broadcast_to(identity - scale * np.eye(SIZE), (NETS, depth, SIZE, SIZE))
    outer, inner = matrices[:, :, 0], matrices[:, :, 1]
    if kind == "linear":
        return identity + scale / np.sqrt(SIZE) * outer
    found = []
    for at in range(depth):
        on = np.einsum("nij,nj->ni", inner[:, at], x) > 0
        jacobian = identity + scale * np.sqrt(2) / SIZE * (outer[:, at] * on[:, None, :]) @ inner[:, at]
        y = np.einsum("nij,nj->ni", jacobian, x)  # without biases a block's output is its Jacobian times its input
        if kind == "post":
            jacobian = jacobian * (y > 0)[:, :, None]
            y = np.maximum(y, 0)
        found.append(jacobian)
        x = _unit(y)
    return np.stack(found, axis=1)


def gradient_logs(depth: int, scale: float, skip: bool, kind: str, seed: int) -> np.ndarray:
    """log10 of the norm of the gradient at depths 0 to `depth`, relative to the last, (21, depth + 1)."""
    blocks, gradient = jacobians(depth, scale, skip, kind, seed), weights(seed, depth)[2]
    logs = np.zeros((NETS, depth + 1))
    for at in reversed(range(depth)):
        gradient = np.einsum("nji,nj->ni", blocks[:, at], gradient)
        with np.errstate(divide="ignore"):
            logs[:, at] = logs[:, at + 1] + np.log10(np.linalg.norm(gradient, axis=1))
        gradient = _unit(gradient)
    return logs


def _power(log: float) -> str:
    """10 to the power of `log` as the script writes it: "0", "0.0123", "182", "1.6 × 10⁻¹⁶"."""
    if log == -np.inf:
        return "0"
    if -3 <= log < 4:
        rounded = Context(prec=3, rounding=ROUND_HALF_UP).create_decimal(10**log)
        text = f"{rounded:,f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    exponent = int(np.floor(log + 1e-12))
    mantissa = f"{10 ** (log - exponent):.1f}"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == "1.0" else f"{mantissa}\u00a0×\u00a010{raised}"
