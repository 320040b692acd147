// Gradient-flow explorer: the norm of the gradient at every depth of random networks, with and without skip connections.
import { choice, frame, h, number, redraw, slider } from "./kit.js";

const SIZE = 16; // values at every depth
const NETS = 21; // random networks; odd, so that median, 10 % and 90 % are values of single networks
const DEEPEST = 100; // blocks
const CHAINS = { both: "Plain and skip", plain: "Plain only", skip: "Skip only" };
const NAMES = { plain: "Plain", skip: "Skip" };
const KINDS = { linear: "Linear", relu: "ReLU inside", post: "ReLU after sum", minus: "Minus the input" };
const BRANCHES = {
  linear: "F(x) = s·Gx/√16 with a random G, so J = s·G/√16.",
  relu: "F(x) = s·W₂ ReLU(W₁x), so J = s·W₂DW₁: D keeps the hidden units that are on.",
  post: "y = ReLU(x + F(x)) with F(x) = s·W₂ ReLU(W₁x), as in the original ResNet; plain: y = ReLU(F(x)). A unit that ends at 0 lets no gradient through.",
  minus: "F(x) = −s·x, so J = −s·I. A counter-example that no training starts from.",
};
const PRESETS = {
  against: ["Plain against skip, s = 0.5", { depth: 50, scale: 0.5, chain: "both", kind: "linear" },
    "The same branches, once alone and once added to x. Alone, each block shortens the gradient, and it vanishes. With the skip it grows."],
  plain: ["Plain, s = 1", { depth: 50, scale: 1, chain: "plain", kind: "linear" },
    "At this scale a block keeps the gradient’s length on average. Chance remains, block after block, and the networks drift apart."],
  vanishes: ["Plain, s = 0.5: vanishes", { depth: 50, scale: 0.5, chain: "plain", kind: "linear" },
    "Every block about halves the gradient. One small factor would do no harm; a factor below one at every block does."],
  stays: ["Skip, s = 0.1: stays", { depth: 50, scale: 0.1, chain: "skip", kind: "linear" },
    "Small branches: every ‖J‖ is below 1, so the lower bound holds. The networks stay far inside it."],
  explodes: ["Skip, s = 1: explodes", { depth: 50, scale: 1, chain: "skip", kind: "linear" },
    "The skip does not hold the gradient at 1. Each block adds to it, and the sum grows with every block."],
  zero: ["Skip, J = −I: exactly 0", { depth: 50, scale: 1, chain: "skip", kind: "minus", layer: 50 },
    "The branch takes away what the skip brings: I + J = 0. A skip connection alone gives no lower bound."],
  resnet: ["ReLU after the addition", { depth: 50, scale: 0.1, chain: "skip", kind: "post" },
    "The last ReLU stands on the skip path, and the block’s Jacobian is D(I + J). Where a unit is off, the identity is lost too: no lower bound."],
};
const LIMITS = { depth: [1, DEEPEST], seed: [0, 9999], net: [1, NETS], layer: [1, DEEPEST], component: [1, SIZE] };
const KEYS = ["depth", "scale", "chain", "kind", "seed", "net", "layer", "component", "opened"];
const PLOT = { height: 300, left: 50, strip: 56, gap: 8, right: 12, top: 14, bottom: 40 };

// ---- Random numbers ----

/** Standard normal numbers of a seed's sequence, from place `start` on (even, as `count` is): mulberry32, Box-Muller. */
export function normals(seed, start, count) {
  const found = new Float64Array(count);
  let state = (seed + Math.imul(start, 0x6d2b79f5)) | 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  for (let at = 0; at < count; at += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    found[at] = radius * Math.cos(angle);
    found[at + 1] = radius * Math.sin(angle);
  }
  return found;
}

const drawn = { seed: null, matrices: [] }; // kept from one drawing to the next, for one seed

/** The matrix of a block: `which` is 0 for G and W₂, 1 for W₁. Row by row. */
function matrix(seed, net, block, which) {
  if (drawn.seed !== seed) Object.assign(drawn, { seed, matrices: [] });
  const place = (net * DEEPEST + block) * 2 + which;
  return (drawn.matrices[place] ??= normals(seed, place * SIZE ** 2, SIZE ** 2));
}

/** The direction of a network's input (`which` 0) or of the gradient that arrives at its output (1): length 1. */
function ending(seed, net, which) {
  return unit(normals(seed, NETS * DEEPEST * 2 * SIZE ** 2 + (net * 2 + which) * SIZE, SIZE));
}

// ---- Vectors and matrices (square, row by row) ----

/** The Euclidean length. */
export function norm(vector) {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}

/** In place: every value times a factor. */
function scaled(vector, factor) {
  for (let at = 0; at < vector.length; at += 1) vector[at] *= factor;
  return vector;
}

/** In place: every value times its partner in the other vector. */
function masked(vector, other) {
  for (let at = 0; at < vector.length; at += 1) vector[at] *= other[at];
  return vector;
}

/** In place: every value plus its partner in the other vector. */
function added(vector, other) {
  for (let at = 0; at < vector.length; at += 1) vector[at] += other[at];
  return vector;
}

/** In place: length 1, or 0 where it is 0. */
function unit(vector) {
  const length = norm(vector);
  return length > 0 ? scaled(vector, 1 / length) : vector;
}

/** 1 where a value is positive, else 0. */
function positive(vector) {
  const found = new Float64Array(vector.length);
  for (let at = 0; at < vector.length; at += 1) found[at] = vector[at] > 0 ? 1 : 0;
  return found;
}

/** A x. */
export function apply(rows, vector) {
  const size = vector.length, found = new Float64Array(size);
  for (let row = 0, at = 0; row < size; row += 1) {
    let sum = 0;
    for (let col = 0; col < size; col += 1, at += 1) sum += rows[at] * vector[col];
    found[row] = sum;
  }
  return found;
}

/** Aᵀ x. */
export function applyTransposed(rows, vector) {
  const size = vector.length, found = new Float64Array(size);
  for (let row = 0, at = 0; row < size; row += 1) {
    const value = vector[row];
    for (let col = 0; col < size; col += 1, at += 1) found[col] += rows[at] * value;
  }
  return found;
}

/** A B. */
export function multiply(a, b, size) {
  const found = new Float64Array(size ** 2);
  for (let row = 0; row < size; row += 1) {
    for (let inner = 0; inner < size; inner += 1) {
      const value = a[row * size + inner];
      for (let col = 0; col < size; col += 1) found[row * size + col] += value * b[inner * size + col];
    }
  }
  return found;
}

/**
 * The largest singular value ‖A‖₂: power iteration with (AᵀA)⁸, eight steps of AᵀA at once, until ‖A v‖ for the unit
 * vector v changes by less than the tolerance.
 */
export function spectralNorm(rows, size, tolerance = 1e-10) {
  const turned = Float64Array.from(rows, (_, at) => rows[(at % size) * size + Math.floor(at / size)]);
  let power = multiply(turned, rows, size), found = 0;
  for (let squared = 0; squared < 3; squared += 1) {
    scaled(power, 1 / (largest(power) || 1));
    power = multiply(power, power, size);
  }
  let start = 0; // the row with the largest diagonal value
  for (let row = 1; row < size; row += 1) if (power[row * (size + 1)] > power[start * (size + 1)]) start = row;
  let vector = unit(power.slice(start * size, (start + 1) * size));
  for (let round = 0; round < 1000; round += 1) {
    const value = norm(apply(rows, vector));
    if (Math.abs(value - found) <= tolerance * value) return value;
    [found, vector] = [value, unit(apply(power, vector))];
  }
  return found;
}

/** All singular values, largest first: one-sided Jacobi, which turns pairs of rows until all are at right angles. */
export function singularValues(rows, size) {
  const lines = Array.from({ length: size }, (_, row) => Float64Array.from(rows.slice(row * size, (row + 1) * size)));
  const turnAll = () => {
    let turned = false;
    for (let one = 0; one < size - 1; one += 1) {
      for (let two = one + 1; two < size; two += 1) turned = turn(lines[one], lines[two]) || turned;
    }
    return turned;
  };
  for (let round = 0; round < 40 && turnAll(); round += 1);
  return lines.map(norm).sort((a, b) => b - a);
}

/** Turns two rows against each other so that their dot product is 0; false where it was already. */
function turn(one, two) {
  let [square, other, dot] = [0, 0, 0];
  one.forEach((value, at) => { square += value * value; other += two[at] * two[at]; dot += value * two[at]; });
  if (Math.abs(dot) <= 1e-15 * Math.sqrt(square * other)) return false;
  const ratio = (other - square) / (2 * dot);
  const tangent = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.sqrt(1 + ratio * ratio));
  const cosine = 1 / Math.sqrt(1 + tangent * tangent), sine = cosine * tangent;
  one.forEach((value, at) => {
    one[at] = cosine * value - sine * two[at];
    two[at] = sine * value + cosine * two[at];
  });
  return true;
}

/** The inverse, by Gauss and Jordan with the largest pivot; null where the matrix is singular to 12 digits. */
export function inverse(rows, size) {
  const left = Float64Array.from(rows), right = Float64Array.from({ length: size ** 2 }, (_, at) => Number(at % (size + 1) === 0));
  const least = 1e-12 * largest(left);
  for (let at = 0; at < size; at += 1) {
    let best = at;
    for (let row = at + 1; row < size; row += 1) if (Math.abs(left[row * size + at]) > Math.abs(left[best * size + at])) best = row;
    if (Math.abs(left[best * size + at]) <= least) return null;
    for (const side of [left, right]) swap(side, at, best, size);
    eliminate(left, right, at, size);
  }
  return right;
}

function largest(values) {
  let found = 0;
  for (const value of values) found = Math.max(found, Math.abs(value));
  return found;
}

function swap(rows, one, two, size) {
  for (let col = 0; col < size && one !== two; col += 1) {
    const kept = rows[one * size + col];
    rows[one * size + col] = rows[two * size + col];
    rows[two * size + col] = kept;
  }
}

/** Divides row `at` by its pivot and takes it from every other row, so that column `at` is 1 there and 0 elsewhere. */
function eliminate(left, right, at, size) {
  const pivot = left[at * size + at];
  for (let col = 0; col < size; col += 1) {
    left[at * size + col] /= pivot;
    right[at * size + col] /= pivot;
  }
  for (let row = 0; row < size; row += 1) {
    const share = left[row * size + at];
    if (row === at || share === 0) continue;
    for (let col = at; col < size; col += 1) left[row * size + col] -= share * left[at * size + col];
    for (let col = 0; col < size; col += 1) right[row * size + col] -= share * right[at * size + col];
  }
}

/** log10 of the largest singular value of the product of a list, the last matrix leftmost; rescaled as it grows. */
function largestOfProduct(list, size) {
  let [product, log] = [list[0], 0];
  for (let at = 0; at < list.length; at += 1) {
    if (at > 0) product = multiply(list[at], product, size);
    const top = largest(product);
    if (top === 0) return -Infinity;
    product = scaled(Float64Array.from(product), 1 / top);
    log += Math.log10(top);
  }
  return log + Math.log10(singularValues(product, size)[0]);
}

/** log10 of [smallest, largest] singular value of A_L ⋯ A_1. The smallest is 1 over the largest of the inverse. */
export function productRange(list, size) {
  const inverses = [];
  const regular = list.every((each) => inverses.unshift(inverse(each, size)) && inverses[0]);
  const smallest = regular ? 0 - largestOfProduct(inverses, size) : -Infinity;
  return [smallest, largestOfProduct(list, size)];
}

// ---- Blocks, forward and backward ----

/** One block at the input x: its matrices, the hidden units that are on, the outputs that are on, and its output. */
function makeBlock({ seed, kind, scale, skip }, net, at, x) {
  if (kind === "minus") return { skip, scale: -scale };
  const outer = matrix(seed, net, at, 0);
  if (kind === "linear") return { skip, outer, scale: scale / Math.sqrt(SIZE) };
  const inner = matrix(seed, net, at, 1), hidden = apply(inner, x), on = positive(hidden), factor = (scale * Math.sqrt(2)) / SIZE;
  const output = scaled(apply(outer, masked(hidden, on)), factor);
  if (skip) added(output, x);
  const gate = kind === "post" ? positive(output) : null;
  return { skip, outer, inner, on, gate, scale: factor, output: gate ? masked(output, gate) : output };
}

/** The blocks of one network, first to last. Inputs are kept at length 1: without biases only their direction counts. */
function blocksOf(settings, net) {
  let x = ending(settings.seed, net, 0);
  return Array.from({ length: settings.depth }, (_, at) => {
    const block = makeBlock(settings, net, at, x);
    if (block.output) x = unit(block.output);
    return block;
  });
}

/** Jᵀ v of the branch alone. */
function backBranch({ outer, inner, on, scale }, v) {
  if (!outer) return scaled(v.slice(), scale);
  const found = applyTransposed(outer, v);
  return scaled(inner ? applyTransposed(inner, masked(found, on)) : found, scale);
}

/** The gradient that passes a ReLU after the block; all of it where there is none. */
function gated({ gate }, gradient) {
  return gate ? masked(gradient.slice(), gate) : gradient;
}

/** The gradient before a block from the one after it: (I + J)ᵀ g, or Jᵀ g without the skip. */
function back(block, gradient) {
  const v = gated(block, gradient), branch = backBranch(block, v);
  return block.skip ? added(branch, v) : branch;
}

/** log10 ‖g_l‖/‖g_L‖ and the direction of g_l for l = 0 … L. −∞ stands for a gradient of exactly 0. */
function backward(blocks, last) {
  const logs = new Array(blocks.length + 1), directions = new Array(blocks.length + 1);
  [logs[blocks.length], directions[blocks.length]] = [0, last];
  for (let at = blocks.length - 1; at >= 0; at -= 1) {
    const gradient = back(blocks[at], directions[at + 1]);
    logs[at] = logs[at + 1] + Math.log10(norm(gradient));
    directions[at] = unit(gradient);
  }
  return { logs, directions };
}

/** log10 of the gradient's relative norm at every depth of network `net` (from 0): settings {depth, scale, skip, kind, seed}. */
export function flow(settings, net) {
  return backward(blocksOf(settings, net), ending(settings.seed, net, 1)).logs;
}

/** The value at a share of a sorted list, to the nearest one. */
export function quantile(sorted, share) {
  return sorted[Math.round(share * (sorted.length - 1))];
}

/** What all networks say at every depth: `lines` of log10 norms, and the order statistics of each depth. */
export function fan(settings) {
  const lines = Array.from({ length: NETS }, (_, net) => flow(settings, net));
  const columns = lines[0].map((_, depth) => Float64Array.from(lines, (line) => line[depth]).sort());
  const at = (share) => columns.map((column) => quantile(column, share));
  return { lines, median: at(0.5), low: at(0.1), high: at(0.9), least: columns[0][0], most: columns[0].at(-1) };
}

// ---- One network ----

/** The branch's Jacobian J as a matrix. */
function branchMatrix({ outer, inner, on, scale }) {
  if (!outer) return Float64Array.from({ length: SIZE ** 2 }, (_, at) => (at % (SIZE + 1) === 0 ? scale : 0));
  const kept = inner?.map((value, at) => value * on[Math.floor(at / SIZE)]);
  return scaled(inner ? multiply(outer, kept, SIZE) : outer.slice(), scale);
}

/** The whole block's Jacobian D(I + J), or D J without the skip. */
function wholeMatrix(block, branch) {
  const found = branch.slice();
  if (block.skip) for (let at = 0; at < SIZE ** 2; at += SIZE + 1) found[at] += 1;
  return block.gate ? found.map((value, at) => value * block.gate[Math.floor(at / SIZE)]) : found;
}

const spectral = new WeakMap(); // ‖G‖ of the random matrices: a linear branch needs no new power iteration when s moves

/** ε = ‖J‖₂ of a branch. */
function branchNorm({ outer, inner, scale }, branch) {
  if (!outer) return Math.abs(scale);
  if (inner) return spectralNorm(branch, SIZE);
  if (!spectral.has(outer)) spectral.set(outer, spectralNorm(outer, SIZE));
  return scale * spectral.get(outer);
}

/** log10 of the bounds on the gradient's norm at every depth, from the branches' spectral norms ε: ∏(1 ∓ ε), plain ∏ε. */
export function bounds(epsilons, skip, gate) {
  const lower = [0], upper = [0];
  for (const epsilon of [...epsilons].reverse()) {
    upper.unshift(upper[0] + Math.log10(skip ? 1 + epsilon : epsilon));
    lower.unshift(skip && !gate && epsilon < 1 ? lower[0] + Math.log10(1 - epsilon) : -Infinity);
  }
  return { lower, upper };
}

/** What one network (from 0) says: gradient norms, directions, ε of every block, bounds, the product's singular values. */
export function inspect(settings, net) {
  const blocks = blocksOf(settings, net), branches = blocks.map(branchMatrix);
  const epsilons = blocks.map((block, at) => branchNorm(block, branches[at]));
  const range = productRange(blocks.map((block, at) => wholeMatrix(block, branches[at])), SIZE);
  return { blocks, branches, epsilons, range, ...backward(blocks, ending(settings.seed, net, 1)), ...bounds(epsilons, settings.skip, settings.kind === "post") };
}

/** One block (from 1) of an inspected network, opened: what arrives has length 1, what leaves it has length `factor`. */
export function openBlock({ blocks, branches, epsilons, logs, directions }, layer) {
  const block = blocks[layer - 1], branch = branches[layer - 1], arriving = gated(block, directions[layer]);
  const leaving = back(block, directions[layer]), values = singularValues(wholeMatrix(block, branch), SIZE);
  return {
    epsilon: epsilons[layer - 1], before: logs[layer], after: logs[layer - 1], factor: norm(leaving),
    range: [values.at(-1), values[0]], arriving: [...arriving], leaving: [...leaving],
    on: block.on ? block.on.reduce((sum, each) => sum + each, 0) : null, open: block.gate ? block.gate.reduce((sum, each) => sum + each, 0) : null,
  };
}

/** The products J_ji · v_j whose sum is component i (from 1) of Jᵀ v, and what the skip adds. */
export function componentTerms({ blocks, branches, directions }, layer, component) {
  const block = blocks[layer - 1], arriving = gated(block, directions[layer]);
  const terms = [...arriving].map((value, at) => {
    const weight = branches[layer - 1][at * SIZE + component - 1];
    return { weight, value, product: weight * value };
  });
  return { terms, identity: block.skip ? arriving[component - 1] : 0 };
}

/** The terms of one component of one network's block: settings as for `flow`, net from 0, layer and component from 1. */
export function explain(settings, net, layer, component) {
  const seen = inspect(settings, net);
  return { ...openBlock(seen, layer), ...componentTerms(seen, layer, component) };
}

// ---- States ----

/** The states that the presets set, by name. */
export function presetStates() {
  return Object.fromEntries(Object.entries(PRESETS).map(([name, [, state]]) => [name, state]));
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault(state) {
  const lists = { chain: CHAINS, kind: KINDS, opened: NAMES };
  const unknown = Object.keys(lists).find((key) => !Object.hasOwn(lists[key], state[key]));
  if (unknown) return `The ${unknown} must be one of: ${Object.keys(lists[unknown]).join(", ")}.`;
  const wrong = Object.entries(LIMITS).find(([key, [least, most]]) => !(Number.isInteger(state[key]) && state[key] >= least && state[key] <= most));
  if (wrong) return `The ${wrong[0]} must be a whole number from ${wrong[1][0]} to ${number(wrong[1][1])}.`;
  const { scale } = state;
  return Number.isFinite(scale) && scale >= 0 && scale <= 1.5 ? null : "The branch scale s must be a number from 0 to 1.5.";
}

const remembered = new Map(); // results of the last few settings

function remember(what, settings, ...rest) {
  const key = JSON.stringify([what.name, settings, rest]);
  if (!remembered.has(key)) {
    if (remembered.size > 12) remembered.delete(remembered.keys().next().value);
    remembered.set(key, what(settings, ...rest));
  }
  return remembered.get(key);
}

/** Everything that is drawn for a state; `chains` has one entry for each chain shown. */
function look(state) {
  const { depth, scale, kind, seed, chain, net } = state, layer = Math.min(state.layer, depth);
  const names = chain === "both" ? ["plain", "skip"] : [chain];
  const chains = names.map((name) => {
    const settings = { depth, scale, skip: name === "skip", kind, seed };
    return { name, fan: remember(fan, settings), one: remember(inspect, settings, net - 1) };
  });
  return { ...state, layer, chains, opened: names.includes(state.opened) ? state.opened : names[0] };
}

// ---- Numbers as text ----

const raised = (text) => [...text].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] ?? "⁻").join("");
const lowered = (count) => [...String(count)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");

/** 10 to the power of `log`, as text: "0", "0.0123", "182", "1.6 × 10⁻¹⁶". */
export function powerText(log) {
  if (log === null || log === -Infinity) return "0";
  if (log >= -3 && log < 4) return number(Number((10 ** log).toPrecision(3)), 6);
  const rounded = Math.floor(log + 1e-12), digits = Number((10 ** (log - rounded)).toPrecision(2));
  const [mantissa, exponent] = digits >= 10 ? [1, rounded + 1] : [digits, rounded];
  return `${mantissa === 1 ? "" : `${mantissa.toFixed(1)}\u00a0×\u00a0`}10${raised(String(exponent))}`;
}

/** A plain number as text, with three significant digits. */
function valueText(value) {
  return value === 0 ? "0" : powerText(Math.log10(value));
}

/** Exactly so many decimals, with a proper minus sign, and none before a rounded 0. */
function decimals(value, count) {
  return value.toFixed(count).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
}

/** Three decimals; in brackets where negative and `inside` a product. */
function signed(value, inside = false) {
  const text = decimals(value, 3);
  return inside && text.startsWith("−") ? `(${text})` : text;
}

const between = (low, high) => (low === high ? low : `${low} to ${high}`);
const logsText = (low, high) => between(powerText(low), powerText(high));

/** Whether the lower bound holds, in words. */
function boundWords({ name, one }, kind) {
  if (name === "plain") return "Plain: the bound is the product of all ‖Jₗ‖; from below there is none.";
  if (kind === "post") return "Skip: no lower bound, since the ReLU after the addition can switch units off.";
  const large = one.epsilons.filter((epsilon) => epsilon >= 1).length, all = one.epsilons.length;
  if (large) return `Skip: no lower bound, since ‖Jₗ‖ is 1 or more at ${large} of ${all} ${all === 1 ? "block" : "blocks"}.`;
  return "Skip: every ‖Jₗ‖ is below 1, so the product of all 1 − ‖Jₗ‖ bounds the gradient from below.";
}

function summary({ chains, depth }) {
  const said = ({ name, fan: { median } }) => `${NAMES[name]}: ${median[0] === 0 ? "1, unchanged" : powerText(median[0])}.`;
  return `Gradient at the input of ${depth} ${depth === 1 ? "block" : "blocks"}, relative to the output, median of ${NETS} networks. ${chains.map(said).join(" ")}`;
}

// ---- The picture ----

/** The decades shown, and the ticks among them: {least, most, ticks}. `logs` are the finite values drawn. */
export function axisRange(logs) {
  const least = Math.min(-1, Math.floor(Math.min(0, ...logs))), most = Math.max(1, Math.ceil(Math.max(0, ...logs)));
  const step = [1, 2, 5, 10, 20, 50, 100].find((each) => (most - least) / each <= 7) ?? 200;
  const first = Math.ceil(least / step);
  return { least, most, ticks: Array.from({ length: Math.floor(most / step) - first + 1 }, (_, at) => (first + at) * step + 0) };
}

/** From numbers to places: x(depth), y(log10). Where a gradient is 0 there is a place for it below the axis. */
function scales({ chains, depth }, width) {
  const logs = chains.flatMap(({ fan: { lines } }) => lines.flat());
  const finite = logs.filter(Number.isFinite), zero = finite.length < logs.length;
  const axis = axisRange([finite.reduce((a, b) => Math.min(a, b), 0), finite.reduce((a, b) => Math.max(a, b), 0)]);
  const left = PLOT.left + PLOT.strip + PLOT.gap, right = width - PLOT.right;
  const bottom = PLOT.height - PLOT.bottom, foot = bottom - (zero ? 24 : 0);
  const y = (log) => (log === -Infinity ? bottom - 8 : foot - ((log - axis.least) / (axis.most - axis.least)) * (foot - PLOT.top));
  return { ...axis, zero, left, right, bottom, x: (at) => left + (at / depth) * (right - left), y };
}

const pathOf = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
const linePath = (logs, at) => pathOf(logs.map((log, depth) => [at.x(depth), at.y(log)]));

/** A bound's line. From the depth where it is 0 on it falls to the bottom. */
function boundPath(logs, at) {
  const from = logs.lastIndexOf(-Infinity) + 1, points = logs.slice(from).map((log, index) => [at.x(from + index), at.y(log)]);
  return h("path", { class: "gf-bound", d: pathOf(from ? [[at.x(from), at.bottom], ...points] : points) });
}

function label(x, y, text, more = {}) {
  return h("text", { x, y, ...more }, text);
}

function axes(at, depth) {
  const most = at.right - at.left > 330 ? 10 : 5, step = [1, 2, 5, 10, 20, 25].find((each) => depth / each <= most);
  const depths = Array.from({ length: Math.floor(depth / step) + 1 }, (_, index) => index * step);
  const row = (y, text, style) => [h("line", { class: style, x1: PLOT.left, x2: at.right, y1: y, y2: y }), label(PLOT.left - 6, y + 4, text, { "text-anchor": "end" })];
  return [
    at.ticks.map((tick) => row(at.y(tick), tick === 0 ? "1" : `10${raised(String(tick))}`, tick === 0 ? "gf-one" : "gf-grid")),
    at.zero ? row(at.y(-Infinity), "0", "gf-grid") : null,
    depths.map((each) => label(at.x(each), at.bottom + 17, String(each), { "text-anchor": "middle" })),
    label((at.left + at.right) / 2, at.bottom + 35, "depth l (0 is the input)", { "text-anchor": "middle" }),
    label(PLOT.left + PLOT.strip / 2, at.bottom + 17, "at input", { "text-anchor": "middle" }),
  ];
}

/** One chain inside the frame: its networks, the band from 10 to 90 %, the median, and the bounds of the chosen one. */
function chainPaths({ name, fan: { lines, median, low, high }, one }, at, net) {
  const corners = (logs) => logs.map((log, depth) => [at.x(depth), at.y(log)]);
  return h("g", { class: `gf-${name}` },
    h("path", { class: "gf-band", d: `${pathOf([...corners(high), ...corners(low).reverse()])}Z` }),
    lines.map((line) => h("path", { class: "gf-line", d: linePath(line, at) })),
    boundPath(one.upper, at), name === "skip" ? boundPath(one.lower, at) : null,
    h("path", { class: "gf-median", d: linePath(median, at) }),
    h("path", { class: "gf-chosen", d: linePath(lines[net - 1], at) }));
}

/** Every network's norm at the input as a dot, a column a chain; the dots are spread sideways only to be seen. */
function strip({ chains, net }, at) {
  const middle = (index) => PLOT.left + (PLOT.strip * (index + 1)) / (chains.length + 1);
  const dot = (line, each, index) => h("circle", { class: each === net - 1 ? "gf-dot gf-here" : "gf-dot", cx: middle(index) + ((each * 7) % 11) - 5, cy: at.y(line[0]), r: each === net - 1 ? 4 : 2.5 });
  return chains.map(({ name, fan: { lines } }, index) => {
    const dots = lines.map((line, each) => dot(line, each, index));
    return h("g", { class: `gf-${name}` }, [...dots.slice(0, net - 1), ...dots.slice(net), dots[net - 1]]);
  });
}

/** The chains' names beside their medians, kept apart. */
function chainLabels({ chains, depth }, at) {
  const from = Math.max(0, Math.round(0.12 * depth)), place = ({ fan: { median } }) => Math.min(at.bottom - 6, Math.max(PLOT.top + 14, at.y(median[from]) - 8));
  const heights = chains.map(place);
  if (heights.length > 1 && Math.abs(heights[0] - heights[1]) < 18) heights[0] = Math.min(at.bottom - 6, heights[1] + 26);
  return chains.map(({ name }, index) => label(at.x(from) + 4, heights[index], NAMES[name].toLowerCase(), { class: `gf-name gf-${name}` }));
}

function plotWords({ chains, depth, net }) {
  const said = ({ name, fan: { median, low, high } }) => `${NAMES[name]}: median ${powerText(median[0])} at the input, 10 to 90 % from ${powerText(low[0])} to ${powerText(high[0])}.`;
  return `Norm of the gradient at each depth on a log axis, 1 at depth ${depth}, for ${NETS} networks; network ${net} is marked. ${chains.map(said).join(" ")}`;
}

function plot(view, width, set) {
  const at = scales(view, width), [wide, high] = [at.right - at.left, at.bottom - PLOT.top], { layer, chains, net, depth } = view;
  const onclick = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    set({ layer: Math.min(depth, Math.floor(((event.clientX - box.left) / box.width) * depth) + 1) });
  };
  return h("svg", { class: "gf-plot", viewBox: `0 0 ${width} ${PLOT.height}`, role: "img", "aria-label": plotWords(view) },
    h("rect", { class: "gf-layer", x: at.x(layer - 1), y: PLOT.top, width: Math.max(2, at.x(layer) - at.x(layer - 1)), height: high }),
    axes(at, depth),
    h("svg", { x: at.left, y: PLOT.top - 3, width: wide, height: high + 3, viewBox: `${at.left} ${PLOT.top - 3} ${wide} ${high + 3}` }, chains.map((each) => chainPaths(each, at, net))),
    strip(view, at), chainLabels(view, at),
    h("rect", { class: "gf-hit", x: at.left, y: PLOT.top, width: wide, height: high, onclick }));
}

function plotKey() {
  const entry = (style, text) => h("span", { class: "gf-entry" }, h("i", { class: style }), text);
  const one = entry("gf-key-chosen", ""), node = h("p", { class: "gf-key" },
    entry("gf-key-line", "one network"), entry("gf-key-median", "median"), entry("gf-key-band", "10 to 90 %"), one, entry("gf-key-bound", "its bounds from ‖Jₗ‖"));
  return { node, update: ({ net }) => { one.lastChild.textContent = `network ${net}`; } };
}

/** The picture, redrawn for each width so that its text keeps its size. */
function picture(set) {
  const box = h("div", { class: "gf-picture" }), key = plotKey();
  const title = h("h4", {}, "‖∂loss/∂xₗ‖, relative to the last depth");
  let view = null;
  const fill = () => { if (view) box.replaceChildren(plot(view, Math.max(270, box.clientWidth || 640), set)); };
  new ResizeObserver(fill).observe(box);
  const update = (next) => {
    view = next;
    fill();
    key.update(next);
  };
  return { node: h("div", {}, title, box, key.node), update };
}

// ---- Controls ----

function presetRow(set) {
  const note = h("p", { class: "gf-note" });
  const buttons = Object.values(PRESETS).map(([text, state]) => h("button", { type: "button", onclick: () => set({ ...state }) }, text));
  const update = (state) => {
    const holds = Object.values(PRESETS).map(([, wanted]) => Object.entries(wanted).every(([key, value]) => key === "layer" || state[key] === value));
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", holds[index]));
    note.textContent = Object.values(PRESETS)[holds.indexOf(true)]?.[2] ?? "Move the sliders, or choose an example above. A press on the picture opens a block.";
  };
  return { node: h("div", { class: "cb-row gf-presets", role: "group", "aria-label": "Examples" }, buttons), note, update };
}

function controls(model, set) {
  const value = (key) => model.get(key), branch = h("p", { class: "gf-branch" });
  const made = {
    depth: slider({ label: "Depth L, blocks", min: 1, max: DEEPEST, value: value("depth"), onInput: (depth) => set({ depth }) }),
    scale: slider({ label: "Branch scale s", min: 0, max: 1.5, step: 0.05, value: value("scale"), onInput: (scale) => set({ scale }) }),
    chain: choice({ label: "Chain", options: Object.entries(CHAINS), value: value("chain"), onChange: (chain) => set({ chain }) }),
    kind: choice({ label: "Kind of branch F", options: Object.entries(KINDS), value: value("kind"), onChange: (kind) => set({ kind }) }),
  };
  const update = (state) => {
    for (const [key, control] of Object.entries(made)) control.update(state[key]);
    branch.textContent = state.kind in BRANCHES ? `Plain: y = F(x). Skip: y = x + F(x). ${BRANCHES[state.kind]}` : "";
  };
  return { node: h("div", {}, h("div", { class: "cb-row gf-controls" }, Object.values(made)), branch), update };
}

/** Which block of which network is open, and other random numbers. */
function lookControls(model, set) {
  const made = {
    layer: slider({ label: "Block opened", min: 1, max: model.get("depth"), value: model.get("layer"), onInput: (layer) => set({ layer }) }),
    net: slider({ label: "Network opened", min: 1, max: NETS, value: model.get("net"), onInput: (net) => set({ net }) }),
  };
  const again = h("button", { type: "button", onclick: () => set({ seed: (model.get("seed") + 1) % (LIMITS.seed[1] + 1) }) }, "Draw other weights");
  const update = (view) => {
    made.layer.querySelector("input").max = view.depth;
    for (const [key, control] of Object.entries(made)) control.update(view[key]);
  };
  return { node: h("div", { class: "cb-row gf-look" }, Object.values(made), again), update };
}

// ---- Numbers, opened ----

function tableRows({ net, depth }) {
  return [
    [`Median of ${NETS} networks`, "median", ({ fan: { median } }) => powerText(median[0])],
    ["10 % to 90 % of them", "band", ({ fan: { low, high } }) => logsText(low[0], high[0])],
    ["All of them", "all", ({ fan: { least, most } }) => logsText(least, most)],
    [`Network ${net}`, "net", ({ one }) => powerText(one.logs[0])],
    [`Network ${net}, singular values of ∂x${lowered(depth)}/∂x₀`, "range", ({ one }) => logsText(...one.range)],
    [`Network ${net}, bound from all ‖Jₗ‖`, "bound", ({ one }) => logsText(one.lower[0], one.upper[0])],
    [`Network ${net}, ‖Jₗ‖ of its blocks`, "norms", ({ one: { epsilons } }) => between(valueText(Math.min(...epsilons)), valueText(Math.max(...epsilons)))],
  ];
}

function table() {
  const node = h("div", { class: "gf-table" });
  const update = (view) => {
    const head = h("tr", {}, h("td", {}), view.chains.map(({ name }) => h("th", { scope: "col", class: `gf-${name}` }, NAMES[name])));
    const row = ([text, key, shown]) => h("tr", {}, h("th", { scope: "row" }, text), view.chains.map((chain) => h("td", { "data-value": `${chain.name}-${key}` }, shown(chain))));
    node.replaceChildren(h("table", {}, h("caption", {}, "The gradient at the input, relative to that at the output"), h("thead", {}, head), h("tbody", {}, tableRows(view).map(row))),
      ...view.chains.map((chain) => h("p", {}, boundWords(chain, view.kind))),
      h("p", {}, `∂x${lowered(view.depth)}/∂x₀ is the product of all blocks’ Jacobians. Its smallest and largest singular values are the least and the most that network ${view.net} does to any gradient.`));
  };
  return { node, update };
}

function backwardText(name, kind) {
  return `${name === "skip" ? "(I + J)" : "J"}ᵀ ${kind === "post" ? "D " : ""}`;
}

/** The lines of a block's card: what arrives, what it does, what leaves, and what its ‖J‖ allows. */
function cardLines({ name, epsilon, before, after, factor, range, on, open }, { layer, kind }) {
  const [above, below] = [`‖g${lowered(layer)}‖`, `‖g${lowered(layer - 1)}‖`];
  const passed = before === -Infinity ? "0: nothing arrives" : `${powerText(before)} × ${valueText(factor)} = ${powerText(after)}`;
  const low = name === "skip" && kind !== "post" ? Math.max(0, 1 - epsilon) : 0;
  return [
    [`‖J‖ of block ${layer}, its largest singular value`, valueText(epsilon)],
    on === null ? null : ["Hidden units that are on", `${on} of ${SIZE}`],
    open === null ? null : ["Outputs that are on after the ReLU", `${open} of ${SIZE}`],
    [`${above}, what arrives`, powerText(before)],
    [`${below} = ‖${backwardText(name, kind)}g${lowered(layer)}‖`, passed],
    ["Factors that ‖J‖ allows", name === "skip" ? `${valueText(low)} to ${valueText(1 + epsilon)}` : `0 to ${valueText(epsilon)}`],
    ["Factors it can reach, by its singular values", between(...range.map((value) => valueText(value < 1e-12 ? 0 : value)))],
  ].filter(Boolean);
}

function card(chain, view, set) {
  const block = openBlock(chain.one, view.layer), chosen = view.opened === chain.name;
  const lines = cardLines({ name: chain.name, ...block }, view).map(([what, text]) => h("li", {}, h("span", {}, what), h("b", {}, text)));
  const button = h("button", { type: "button", "aria-pressed": String(chosen), "data-key": `open-${chain.name}`, onclick: () => set({ opened: chain.name }) }, `Components, ${chain.name}`);
  return h("div", { class: `gf-card gf-${chain.name}`, "data-card": chain.name },
    h("h4", {}, `${NAMES[chain.name]}, block ${view.layer} of ${view.depth}`), h("ul", {}, lines), view.chains.length > 1 ? button : null);
}

function cards(set) {
  const node = h("div", { class: "gf-cards" });
  return { node, update: (view) => redraw(node, view.chains.map((chain) => card(chain, view, set))) };
}

/** Where an arrow key leads among the components; null for other keys. */
export function step(component, key) {
  const next = { ArrowLeft: component - 1, ArrowUp: component - 1, ArrowRight: component + 1, ArrowDown: component + 1, Home: 1, End: SIZE }[key];
  return next === undefined ? null : Math.max(1, Math.min(SIZE, next));
}

function componentCells({ leaving }, component, set) {
  const onkeydown = (event) => {
    const next = event.ctrlKey || event.metaKey || event.altKey ? null : step(component, event.key);
    if (next === null) return;
    event.preventDefault();
    const box = event.currentTarget.parentElement;
    set({ component: next });
    box.querySelector('[aria-checked="true"]').focus();
  };
  const cell = (value, at) => h("div", {
    class: "gf-cell", role: "radio", tabindex: at + 1 === component ? 0 : -1, "aria-checked": String(at + 1 === component), "data-key": `component-${at + 1}`,
    "aria-label": `Component ${at + 1}: ${signed(value)}`, onclick: () => set({ component: at + 1 }),
  }, h("small", {}, String(at + 1)), h("b", {}, decimals(value, 2)));
  return h("div", { class: "gf-cells", role: "radiogroup", "aria-label": "Components of the gradient that leaves the block", onkeydown }, leaving.map(cell));
}

/** "Component 5 of what leaves: v₅ + the sum = 0.213 + (−0.051) ≈ 0.162." */
function sumText({ terms, identity }, skip, component) {
  const branch = terms.reduce((sum, { product }) => sum + product, 0);
  const text = skip ? `v${lowered(component)} + the sum = ${signed(identity)} + ${signed(branch, true)} ≈ ${signed(identity + branch)}` : `the sum ≈ ${signed(branch)}`;
  return `Component ${component} of what leaves: ${text}.`;
}

/** The chosen block's factor, down to the products of one component. */
function componentPanel(set) {
  const node = h("div", { class: "gf-opened" });
  const update = ({ chains, opened, layer, component }) => {
    const chain = chains.find(({ name }) => name === opened), block = openBlock(chain.one, layer), found = componentTerms(chain.one, layer, component);
    const title = h("h4", {}, `${NAMES[opened]}, block ${layer}: the factor `, h("b", {}, valueText(block.factor)), ", component by component");
    if (block.before === -Infinity) { redraw(node, title, h("p", {}, "The gradient is exactly 0 above this block, so nothing is left to multiply.")); return; }
    const squares = number(block.factor ** 2, 3), gate = block.open === null ? "" : ", where the ReLU passes it";
    const product = ({ weight, value, product: result }, at) => h("li", {}, h("span", {}, `J${lowered(at + 1)},${lowered(component)} v${lowered(at + 1)}`), ` ${signed(weight)} × ${signed(value, true)} ≈ `, h("b", {}, signed(result)));
    redraw(node, title,
      h("p", {}, `v = g${lowered(layer)} ÷ ‖g${lowered(layer)}‖${gate}. The factor is the length of what leaves: the root of the sum of these ${SIZE} squares, √${squares} ≈ ${valueText(block.factor)}.`),
      componentCells(block, component, set),
      h("p", {}, sumText(found, opened === "skip", component), " The sum is that of these products, three decimals shown:"),
      h("ul", { class: "gf-products" }, found.terms.map(product)));
  };
  return { node, update };
}

function notes() {
  return h("p", { class: "gf-foot" },
    `Every number is computed here, from ${NETS} networks of width ${SIZE} with random weights, before any training and without normalisation. `,
    "xₗ is what block l gives, gₗ = ∂loss/∂xₗ. The gradient at the output is a random direction of length 1. ",
    "The plain networks of the ResNet paper had batch normalisation, and its authors found it unlikely that vanishing gradients made them worse.");
}

// ---- The whole ----

function draw(model, body, set) {
  const presets = presetRow(set), tuning = controls(model, set);
  const parts = [picture(set), lookControls(model, set), table(), cards(set), componentPanel(set)];
  const wrong = h("p", { class: "cb-error" }), stage = h("div", {}, parts.map(({ node }) => node), notes());
  body.append(presets.node, tuning.node, presets.note, wrong, stage);
  return () => {
    const state = Object.fromEntries(KEYS.map((key) => [key, model.get(key)])), problem = fault(state);
    presets.update(state);
    tuning.update(state);
    wrong.textContent = problem ?? "";
    stage.hidden = problem !== null;
    if (problem) return "Choose values with the controls, or reset.";
    const view = look(state);
    for (const part of parts) part.update(view);
    return summary(view);
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Gradient-flow explorer", keys: KEYS, draw: (body, set) => draw(model, body, set) });
}

export default { render };
