// Shift explorer: move an image by whole pixels; what moves along, what stays, and what changes.
import { choice, frame, h, number, redraw, slider } from "./kit.js";

const REACH = 8; // pixels that the image moves at most, each way
const SAME = 1e-9; // values closer than this are equal
const SIDES = [8, 32];
const PICTURES = { given: "Own image", scratch: "Scratch", checker: "Checkerboard", noise: "Noise" };
const BINOMIAL = [[1, 2, 1], [2, 4, 2], [1, 2, 1]].map((row) => row.map((weight) => weight / 16));
const KERNELS = {
  sobel_x: ["Sobel X", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]],
  sobel_y: ["Sobel Y", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]],
  blur: ["Blur, sixteenths", BINOMIAL],
  random: ["Random", [[-0.4, 1, 0.4], [-0.6, 0.7, -1.5], [0.6, -0.6, 0.6]]],
  identity: ["Identity", [[0, 0, 0], [0, 1, 0], [0, 0, 0]]],
};
const PADDINGS = { zero: "Zero", circular: "Circular" };
const STRIDES = { 1: "1", 2: "2" };
const POOLINGS = { none: "None", max: "Max 2 × 2", avg: "Average 2 × 2", blur: "Blur-pool" };
const COMPARES = { still: "changed in place", moved: "did not follow" };
const OPENED = ["average", "pooled", "feature", "pooled_error", "feature_error", "pooled_survivors", "feature_survivors"];
const NAMED = { picture: PICTURES, kernel: KERNELS, padding: PADDINGS, pooling: POOLINGS, compare: COMPARES };
const DEFINITION = "Equivariance error: the largest |f(Tx) − T f(x)| over the map. x is the image, T the move, f the layers up to this map. ";
const KEYS = ["image", "caption", "picture", "kernel", "padding", "stride", "pooling", "dx", "dy", "compare", "opened", "row", "col"];

// ---- Arithmetic ----

/** rows × cols, each value from at(row, col). */
function table(rows, cols, at) {
  return Array.from({ length: rows }, (_, row) => Array.from({ length: cols }, (_, col) => at(row, col)));
}

function wrap(at, size) {
  return ((at % size) + size) % size;
}

/** A value that may lie beyond the edge: there it is 0, or the one that comes in from the opposite edge. */
function beyond(map, row, col, mode) {
  return mode === "circular" ? map[wrap(row, map.length)][wrap(col, map[0].length)] : map[row]?.[col] ?? 0;
}

function checkMode(mode) {
  if (!(mode in PADDINGS)) throw new Error(`the padding must be zero or circular, got ${mode}`);
}

/** The image moved dy rows down and dx columns right. What comes in is 0, or what left at the opposite edge. */
export function shift(image, dy, dx, mode = "zero") {
  checkMode(mode);
  return table(image.length, image[0].length, (row, col) => beyond(image, row - dy, col - dx, mode));
}

/** What one output of `correlate` is the sum of, in the kernel's order; `inside` is false where padding is read. */
export function products(image, kernel, row, col, stride = 1, mode = "zero") {
  const top = row * stride - (kernel.length - 1) / 2, left = col * stride - (kernel[0].length - 1) / 2;
  return kernel.flatMap((weights, i) => weights.map((weight, j) => {
    const value = beyond(image, top + i, left + j, mode);
    return { value, weight, product: value * weight, inside: mode === "circular" || image[top + i]?.[left + j] !== undefined };
  }));
}

/** Cross-correlation with “same” padding: the kernel is odd and centred on every stride-th pixel. */
export function correlate(image, kernel, stride = 1, mode = "zero") {
  checkMode(mode);
  if (kernel.length % 2 === 0 || kernel[0].length % 2 === 0) throw new Error(`the kernel must have odd sides, got ${kernel.length} × ${kernel[0].length}`);
  const up = (kernel.length - 1) / 2, before = (kernel[0].length - 1) / 2;
  return table(Math.ceil(image.length / stride), Math.ceil(image[0].length / stride), (row, col) => {
    let sum = 0;
    kernel.forEach((weights, i) => weights.forEach((weight, j) => {
      sum += weight * beyond(image, row * stride + i - up, col * stride + j - before, mode);
    }));
    return sum;
  });
}

/** Negative values become 0. */
export function relu(map) {
  return map.map((row) => row.map((value) => Math.max(0, value)));
}

function pool(map, size, stride, reduce) {
  const fit = (side) => Math.floor((side - size) / stride) + 1;
  if (Math.min(fit(map.length), fit(map[0].length)) < 1) {
    throw new Error(`a ${size} × ${size} window does not fit into a map of ${map.length} × ${map[0].length}`);
  }
  const part = (row, col) => table(size, size, (i, j) => map[row * stride + i][col * stride + j]).flat();
  return table(fit(map.length), fit(map[0].length), (row, col) => reduce(part(row, col)));
}

/** The largest value of every window; a row or column that does not fill a window is left out. */
export function maxPool(map, size = 2, stride = 2) {
  return pool(map, size, stride, (values) => Math.max(...values));
}

/** The mean of every window. */
export function avgPool(map, size = 2, stride = 2) {
  return pool(map, size, stride, (values) => values.reduce((sum, value) => sum + value, 0) / values.length);
}

/** Max 2 × 2 at stride 1, blurred with [1, 2, 1] ⊗ [1, 2, 1] / 16, every second value kept (Zhang 2019). */
export function blurPool(map, mode = "zero") {
  return correlate(maxPool(edged(map, mode), 2, 1), BINOMIAL, 2, mode);
}

/** In circular mode the map with its first row and column once more at the far end, so that no window is lost. */
function edged(map, mode) {
  return mode === "circular" ? table(map.length + 1, map[0].length + 1, (row, col) => beyond(map, row, col, mode)) : map;
}

const POOLS = { none: (map) => map, max: (map) => maxPool(map), avg: (map) => avgPool(map), blur: blurPool };

/** What one pooled value is made of: it is the sum of weight × value. Places are those in the map that was pooled. */
export function poolTerms(map, row, col, pooling, mode = "zero") {
  if (pooling === "none") return [{ row, col, value: map[row][col], weight: 1 }];
  if (pooling === "blur") return blurTerms(map, row, col, mode);
  const terms = windowTerms(map, 2 * row, 2 * col, mode);
  const top = winner(terms);
  return terms.map((term) => ({ ...term, weight: pooling === "avg" ? 1 / 4 : Number(term === top) }));
}

/** Nine terms; each value is the largest of a 2 × 2 window, and its place is that of the largest. */
function blurTerms(map, row, col, mode) {
  const lost = mode === "circular" ? 0 : 1;
  return BINOMIAL.flatMap((weights, i) => weights.map((weight, j) => {
    const [top, left] = [2 * row - 1 + i, 2 * col - 1 + j];
    const inside = mode === "circular" || (top >= 0 && left >= 0 && top < map.length - lost && left < map[0].length - lost);
    return inside ? { ...winner(windowTerms(map, top, left, mode)), weight } : { row: null, col: null, value: 0, weight };
  }));
}

function windowTerms(map, top, left, mode) {
  return table(2, 2, (i, j) => ({
    row: wrap(top + i, map.length), col: wrap(left + j, map[0].length), value: beyond(map, top + i, left + j, mode),
  })).flat();
}

function winner(terms) {
  return terms.reduce((best, term) => (term.value > best.value ? term : best));
}

/** The mean of a map: one number. */
export function globalAverage(map) {
  return map.flat().reduce((sum, value) => sum + value, 0) / (map.length * map[0].length);
}

/** The largest |a − b|, where it is, and how many values differ. */
function difference(a, b) {
  const found = { error: 0, row: 0, col: 0, differ: 0 };
  a.forEach((values, row) => values.forEach((value, col) => {
    const error = Math.abs(value - b[row][col]);
    if (error > SAME) found.differ += 1;
    if (error > found.error) Object.assign(found, { error, row, col });
  }));
  return found;
}

/**
 * How far `after`, the map of an image moved by (dy, dx), is from `before` moved along: the largest difference.
 * One step of the map is `step` pixels. Where step divides the move (`whole`) the map moves by their quotient;
 * else by the whole number, rounded down or up, that fits best (down where both fit alike).
 */
export function equivarianceError(after, before, dy, dx, step = 1, mode = "zero") {
  const near = (move) => [...new Set([Math.floor(move / step), Math.ceil(move / step) + 0])];
  const tries = near(dy).flatMap((down) => near(dx).map((right) => (
    { ...difference(after, shift(before, down, right, mode)), dy: down, dx: right })));
  const best = tries.reduce((least, next) => (next.error < least.error ? next : least));
  return { ...best, whole: dy % step === 0 && dx % step === 0 };
}

/** How many values of two maps are the same at the same place; `zeros` of these are 0 in both. */
export function survivors(a, b, tolerance = SAME) {
  const pairs = a.flatMap((row, i) => row.map((value, j) => [value, b[i][j]]));
  const kept = pairs.filter(([one, other]) => Math.abs(one - other) <= tolerance);
  const zeros = kept.filter((pair) => pair.every((value) => Math.abs(value) <= tolerance)).length;
  return { same: kept.length, zeros, total: pairs.length, share: kept.length / pairs.length };
}

// ---- Pictures, and all that follows from a state ----

/** A drawn picture: "scratch", "checker" or "noise" (uniform, always the same). */
export function drawPicture(name, rows, cols) {
  if (name === "checker") return table(rows, cols, (row, col) => ((row >> 1) + (col >> 1)) % 2);
  if (name === "scratch") return table(rows, cols, (row, col) => (row === Math.floor((rows * (cols + 3 * col)) / (5 * cols)) ? 1 : 0.3));
  const next = randoms(6);
  return table(rows, cols, () => Math.floor(next() * 1000) / 1000);
}

/** Uniform numbers in [0, 1): mulberry32. */
function randoms(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function stages(image, { kernel, padding, stride, pooling }) {
  const feature = relu(correlate(image, KERNELS[kernel][1], Number(stride), padding));
  const pooled = POOLS[pooling](feature, padding);
  return { image, feature, pooled, average: globalAverage(pooled) };
}

/** Everything that follows from a state: the maps before and after the move, what differs, and the strip over dx. */
export function measure(state) {
  const { image, picture, padding, stride, pooling, dx, dy } = state;
  const still = picture === "given" ? image : drawPicture(picture, image.length, image[0].length);
  const before = stages(still, state);
  const steps = { feature: stride, pooled: stride * (pooling === "none" ? 1 : 2) };
  const compare = (right) => {
    const after = stages(shift(still, dy, right, padding), state);
    const error = (level) => equivarianceError(after[level], before[level], dy, right, steps[level], padding);
    const kept = (level) => survivors(after[level], before[level]);
    return { after, kept: { feature: kept("feature"), pooled: kept("pooled") }, errors: { feature: error("feature"), pooled: error("pooled") } };
  };
  const strip = Array.from({ length: REACH + 1 }, (_, size) => (dx < 0 ? 0 - size : size)).map((right) => {
    const { kept, errors } = compare(right);
    return { dx: right, share: kept.pooled.share, alive: (kept.pooled.same - kept.pooled.zeros) / kept.pooled.total, error: errors.pooled.error };
  });
  return { before, ...compare(dx), steps, strip };
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault(state) {
  const names = Object.entries(NAMED).filter(([key, options]) => !Object.hasOwn(options, state[key]));
  if (names.length) return `The ${names[0][0]} must be one of: ${Object.keys(names[0][1]).join(", ")}.`;
  if (!OPENED.includes(state.opened)) return `The opened number must be one of: ${OPENED.join(", ")}.`;
  const limits = { stride: [1, 2], dx: [-REACH, REACH], dy: [-REACH, REACH], row: [0, 31], col: [0, 31] };
  const within = ([key, [least, most]]) => Number.isInteger(state[key]) && state[key] >= least && state[key] <= most;
  const wrong = Object.entries(limits).find((limit) => !within(limit));
  if (wrong) return `${wrong[0]} must be a whole number from ${number(wrong[1][0])} to ${wrong[1][1]}.`;
  return imageFault(state.image);
}

function imageFault(image) {
  const [least, most] = SIDES;
  const fits = (list) => Array.isArray(list) && list.length >= least && list.length <= most;
  const grey = (value) => Number.isFinite(value) && value >= 0 && value <= 1;
  if (!fits(image) || !image.every((row) => fits(row) && row.length === image[0].length)) return `The image must have ${least} to ${most} equally long rows of ${least} to ${most} values.`;
  return image.flat().every(grey) ? null : "Every value of the image must lie between 0 and 1.";
}

// ---- Words ----

/** At most three decimals; what is closer to 0 than 1e-9 is 0, and what is not is never written as 0. */
export function short(value) {
  if (Math.abs(value) < SAME) return "0";
  if (Math.abs(value) < 0.0005) return value > 0 ? "< 0.001" : "> −0.001";
  return number(value, 3);
}

/** "= 2.25" or, where three decimals lose something, "≈ 0.333". */
export function equals(value) {
  const exact = Math.abs(value - Number(value.toFixed(3))) < SAME;
  return `${exact ? "=" : "≈"} ${number(exact ? Number(value.toFixed(3)) : value, 3)}`;
}

/** "0.5×(−2)". */
function times(value, weight) {
  const factor = (each) => (each < 0 ? `(${number(each, 4)})` : number(each, 4));
  return `${number(value, 3)}×${factor(weight)}`;
}

/** A move in words: "1 right and 2 up". */
export function moveText(dy, dx) {
  const along = (size, less, more) => size !== 0 && `${Math.abs(size)} ${size < 0 ? less : more}`;
  return [along(dx, "left", "right"), along(dy, "up", "down")].filter(Boolean).join(" and ");
}

function movedText({ dy, dx }) {
  return dy || dx ? `moved ${moveText(dy, dx)}` : "not moved";
}

/** At most two decimals for narrow places; what is not 0 is never written as 0. */
export function brief(value) {
  return Math.abs(value) < SAME || Math.abs(value) >= 0.005 ? number(value, 2) : "<.01";
}

function percent(share) {
  const rounded = Math.round(100 * share);
  return `${(rounded === 100 && share < 1) || (rounded === 0 && share > 0) ? number(100 * share, 1) : rounded}\u00a0%`;
}

/** What an error of equivariance means. */
export function errorText({ error, whole, dy, dx, differ }, total) {
  const where = movedText({ dy, dx });
  if (!whole) return `No whole shift matches; best: ${moveText(dy, dx) || "not moved"}. ${differ} of ${total} values differ.`;
  return error < SAME ? `Exact: every value agrees with the map ${where}.` : `Map ${where}: ${differ} of ${total} values differ.`;
}

function summary({ dy, dx, errors, kept, opened, place, after }) {
  const moved = `${movedText({ dy, dx })}.`.replace(/^./, (first) => first.toUpperCase());
  const open = opened === "feature" || opened === "pooled" ? ` ${placeName(opened, place[opened])} ${equals(after[opened][place[opened][0]][place[opened][1]])}.` : "";
  return `${moved} Feature map: error ${short(errors.feature.error)}. Pooled map: error ${short(errors.pooled.error)}, ${percent(kept.pooled.share)} unchanged.${open}`;
}

function placeName(level, [row, col]) {
  return `${level}[${row}, ${col}]`;
}

function sizeText(map) {
  return `${map.length} × ${map[0].length}`;
}

// ---- What is looked at ----

/** The traits and what follows from them: the maps, the map that each is compared with, and the opened place. */
function look(model) {
  const state = Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const bad = fault(state);
  if (bad) return { bad };
  const view = { ...state, ...measure(state) };
  const moved = (level) => shift(view.before[level], view.errors[level].dy, view.errors[level].dx, state.padding);
  const target = (level) => (state.compare === "still" ? view.before[level] : moved(level));
  const level = state.opened.split("_")[0];
  Object.assign(view, { level, target: { feature: target("feature"), pooled: target("pooled") } });
  return Object.assign(view, { place: places(view) });
}

/** The opened place in the feature map and in the pooled map: each leads to the other. */
function places(view) {
  const { level, opened, pooling, padding, after } = view;
  const clamp = ([row, col], map) => [Math.min(row, map.length - 1), Math.min(col, map[0].length - 1)];
  const at = opened.endsWith("_error") ? worst(view.errors[level], after[level]) : [view.row, view.col];
  if (level === "feature") {
    const feature = clamp(at, after.feature);
    return { feature, pooled: clamp(pooling === "none" ? feature : feature.map((side) => side >> 1), after.pooled) };
  }
  const pooled = clamp(at, after.pooled);
  const terms = poolTerms(after.feature, ...pooled, pooling, padding).filter(({ row }) => row !== null);
  const top = winner(terms);
  return { pooled, feature: [top.row, top.col] };
}

/** Where the error is largest; where there is none, the largest value. */
function worst({ error, row, col }, map) {
  if (error > SAME) return [row, col];
  const all = map.flat(), index = all.indexOf(Math.max(...all));
  return [Math.floor(index / map[0].length), index % map[0].length];
}

/** The rows (columns) of the feature map and of the image that the opened number reads along one axis: [first, count]. */
function reads({ level, place, pooling, stride }, axis) {
  const at = place[level === "feature" ? "feature" : "pooled"][axis];
  const spans = { none: [at, 1], max: [2 * at, 2], avg: [2 * at, 2], blur: [2 * at - 1, 4] };
  const [first, count] = level === "feature" ? [at, 1] : spans[pooling];
  return { feature: [first, count], image: [first * stride - 1, (count - 1) * stride + 3] };
}

// ---- Maps ----

/** A drawing of a map: a square a value, dots, and a frame around what is read. */
function drawing() {
  const squares = h("g", {}), dots = h("g", { class: "se-dots" }), frames = h("g", { class: "se-frames" });
  const node = h("svg", { class: "se-map", "aria-hidden": "true" }, squares, dots, frames);
  let shape = "", cells = [];
  const size = (map) => {
    if (shape === sizeText(map)) return;
    shape = sizeText(map);
    node.setAttribute("viewBox", `0 0 ${map[0].length} ${map.length}`);
    cells = map.flatMap((row, y) => row.map((_, x) => h("rect", { x, y, width: 1, height: 1 })));
    squares.replaceChildren(...cells);
  };
  const update = (map, most, { marked = null, frame: around = null, mode = "zero" } = {}) => {
    size(map);
    map.flat().forEach((value, index) => cells[index].setAttribute("fill-opacity", most ? (value / most).toFixed(3) : 0));
    dots.replaceChildren(...(marked ? markedPlaces(map, marked) : []).map(([y, x]) => h("circle", { cx: x + 0.5, cy: y + 0.5, r: 0.24 })));
    frames.replaceChildren(...(around ? frameRects(around, map, mode) : []));
  };
  return { node, update };
}

function markedPlaces(map, other) {
  return map.flatMap((row, y) => row.map((value, x) => [y, x, Math.abs(value - other[y][x]) > SAME])).filter(([, , differs]) => differs);
}

/** The frame, and in circular mode its parts that come in from the opposite edges. */
function frameRects([[y, height], [x, width]], map, mode) {
  const turns = (size) => (mode === "circular" ? [-size, 0, size] : [0]);
  const all = turns(map.length).flatMap((down) => turns(map[0].length).map((right) => [y + down, x + right]));
  const seen = all.filter(([top, left]) => top < map.length && left < map[0].length && top + height > 0 && left + width > 0);
  return seen.map(([top, left]) => h("rect", { x: left, y: top, width, height }));
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A map whose values are picked: by pointer, or by the arrow keys on its one cell that takes the focus. */
function board(level, title, onPick) {
  const picture = drawing();
  const cell = h("div", { class: "se-cursor", role: "gridcell", tabindex: 0 });
  const line = h("div", { role: "row" }, cell);
  const node = h("div", { class: `se-board se-${level}`, role: "grid", "aria-label": `${title}. Arrow keys choose a value.`, "aria-readonly": "true" }, picture.node, line);
  let map = [[0]], place = [0, 0];
  const pick = (row, col) => onPick(Math.min(Math.max(row, 0), map.length - 1), Math.min(Math.max(col, 0), map[0].length - 1));
  node.addEventListener("click", (event) => {
    const box = picture.node.getBoundingClientRect();
    cell.focus({ preventScroll: true });
    pick(Math.floor(((event.clientY - box.top) / box.height) * map.length), Math.floor(((event.clientX - box.left) / box.width) * map[0].length));
  });
  cell.addEventListener("keydown", (event) => {
    const step = { ...ARROWS, Home: [0, -map[0].length], End: [0, map[0].length] }[event.key];
    if (!step || event.altKey || event.metaKey) return;
    event.preventDefault();
    pick(place[0] + step[0], place[1] + step[1]);
  });
  const update = (view) => {
    map = view.after[level];
    place = view.place[level];
    const most = Math.max(...map.flat(), ...view.before[level].flat());
    picture.update(map, most, { marked: view.target[level], frame: boardFrame(view, level), mode: view.padding });
    position(node, line, cell, level, map, place);
  };
  return { node, update };
}

function position(node, line, cell, level, map, [row, col]) {
  const [rows, cols] = [map.length, map[0].length];
  const style = { top: row / rows, left: col / cols, height: 1 / rows, width: 1 / cols };
  for (const [side, share] of Object.entries(style)) cell.style[side] = `${100 * share}%`;
  node.setAttribute("aria-rowcount", rows);
  node.setAttribute("aria-colcount", cols);
  line.setAttribute("aria-rowindex", row + 1);
  cell.setAttribute("aria-colindex", col + 1);
  cell.setAttribute("aria-label", `${placeName(level, [row, col])} ${equals(map[row][col])}`);
}

/** Whether one value of a map is opened, not a count or a mean over the whole map. */
function isOneNumber({ opened }) {
  return opened !== "average" && !opened.endsWith("_survivors");
}

/** What is framed in a map: the opened number, or what it reads; nothing where the opened number is of the whole map. */
function boardFrame(view, level) {
  if (!isOneNumber(view)) return null;
  if (level === "pooled") return view.level === "pooled" ? view.place.pooled.map((at) => [at, 1]) : null;
  return [0, 1].map((axis) => reads(view, axis)[level]);
}

/** The image, which is dragged, or moved by the arrow keys. */
function mover(model, set) {
  const picture = drawing();
  const node = h("div", { class: "se-board se-image", role: "application", tabindex: 0, "aria-label": "Image. Drag it, or move it with the arrow keys; Home puts it back." }, picture.node);
  const within = (move) => Math.min(Math.max(move, -REACH), REACH) + 0;
  const move = (dy, dx) => { if (dy !== model.get("dy") || dx !== model.get("dx")) set({ dy, dx }); };
  let grip = null;
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    grip = { x: event.clientX, y: event.clientY, dy: model.get("dy"), dx: model.get("dx") };
  });
  node.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const pixel = picture.node.getBoundingClientRect().width / model.get("image")[0].length;
    const along = (way) => Math.round(way / pixel);
    move(within(grip.dy + along(event.clientY - grip.y)), within(grip.dx + along(event.clientX - grip.x)));
  });
  for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, () => { grip = null; });
  node.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if ((!step && event.key !== "Home") || event.altKey || event.metaKey) return;
    event.preventDefault();
    move(step ? within(model.get("dy") + step[0]) : 0, step ? within(model.get("dx") + step[1]) : 0);
  });
  const update = (view) => {
    picture.update(view.after.image, 1, { frame: isOneNumber(view) ? [0, 1].map((axis) => reads(view, axis).image) : null, mode: view.padding });
  };
  return { node, update };
}

// ---- The panels ----

/** A number that is pressed to open it. */
function card(key, title, onOpen, words) {
  const value = h("span", { class: "se-value" }), note = h("span", { class: "se-note" });
  const node = h("button", { type: "button", class: "se-card", "data-card": key, onclick: () => onOpen(key) }, h("span", { class: "se-what" }, title), value, note);
  const update = (view) => {
    [value.textContent, note.textContent] = words(view);
    node.setAttribute("aria-pressed", view.opened === key);
  };
  return { node, update };
}

function cards(set) {
  const open = (opened) => set(opened === "average" ? { opened } : { opened, compare: opened.endsWith("_survivors") ? "still" : "moved" });
  const kept = (level) => (view) => {
    const { share, same, total, zeros } = view.kept[level];
    return [percent(share), `${same} of ${total}; ${zeros} of these are 0 before and after.`];
  };
  const error = (level) => ({ errors, after }) => [short(errors[level].error), errorText(errors[level], after[level].flat().length)];
  return {
    feature: card("feature_error", "Equivariance error", open, error("feature")),
    pooled: card("pooled_error", "Equivariance error", open, error("pooled")),
    featureKept: card("feature_survivors", "Unchanged in place", open, kept("feature")),
    pooledKept: card("pooled_survivors", "Unchanged in place", open, kept("pooled")),
    average: card("average", "Mean of the pooled map", open, ({ before, after }) => [number(after.average, 3), averageText(before.average, after.average)]),
  };
}

function averageText(before, after) {
  const change = after - before;
  if (Math.abs(change) < SAME) return `Before the move ${number(before, 3)}. Change 0.`;
  const sign = change > 0 ? "+" : "";
  const share = before > SAME ? ` (${sign}${number((100 * change) / before, 1)}\u00a0%)` : "";
  return `Before the move ${number(before, 3)}. Change ${Math.abs(change) < 0.0005 ? "" : sign}${short(change)}${share}.`;
}

function panel(kind, title, ...parts) {
  const size = h("span", { class: "se-size" });
  const node = h("div", { class: `se-panel se-${kind}-panel` }, h("p", { class: "se-head" }, h("strong", {}, title), " ", size), parts.map((part) => part.node ?? part));
  return { node, size };
}

/** The way through the layers, left to right: image, feature map, pooled map, one number. */
function stage(model, set) {
  const made = cards(set), pick = (level) => (row, col) => set({ opened: level, row, col });
  const boards = { feature: board("feature", "Feature map", pick("feature")), pooled: board("pooled", "Pooled map", pick("pooled")) };
  const image = mover(model, set), dots = legend(model, set);
  const way = (trait, label) => [trait, slider({ label, min: -REACH, max: REACH, value: model.get(trait), show: number, onInput: (value) => set({ [trait]: value }) })];
  const sliders = Object.fromEntries([way("dx", "dx, to the right"), way("dy", "dy, down")]);
  const panels = {
    image: panel("image", "Image", image, h("p", { class: "se-hint" }, "Drag it, or use the arrow keys."), Object.values(sliders)),
    feature: panel("feature", "Feature map", boards.feature, made.feature, made.featureKept),
    pooled: panel("pooled", "Pooled map", boards.pooled, made.pooled, made.pooledKept),
    average: panel("average", "Global average", made.average, dots),
  };
  const update = (view) => {
    for (const part of [image, dots, ...Object.values(boards), ...Object.values(made)]) part.update(view);
    for (const level of ["image", "feature", "pooled"]) panels[level].size.textContent = sizeText(view.after[level]);
    if (view.pooling === "none") panels.pooled.size.append(", as it is");
    for (const [trait, node] of Object.entries(sliders)) node.update(view[trait]);
  };
  return { node: h("div", { class: "se-stage" }, Object.values(panels).map(({ node }) => node)), update };
}

/** Which comparison the dots show, and how many there are. */
function legend(model, set) {
  const select = choice({ label: "Dots: values that", options: Object.entries(COMPARES), value: model.get("compare"), onChange: (compare) => set({ compare }) });
  const note = h("p", { class: "se-note" });
  const update = (view) => {
    const count = (level) => `${markedPlaces(view.after[level], view.target[level]).length} of ${view.after[level].flat().length}`;
    select.update(view.compare);
    note.textContent = `${count("feature")} in the feature map, ${count("pooled")} in the pooled map. Deeper colour: larger value.`;
  };
  return { node: h("div", { class: "se-legend" }, select, note), update };
}

function settings(model, set) {
  const select = (trait, label, options) => [trait, choice({
    label, options, value: String(model.get(trait)), onChange: (value) => set({ [trait]: trait === "stride" ? Number(value) : value }),
  })];
  const made = Object.fromEntries([
    select("picture", "Image", Object.entries(PICTURES)), select("kernel", "Kernel, then ReLU", Object.entries(KERNELS).map(([key, [name]]) => [key, name])),
    select("padding", "Padding", Object.entries(PADDINGS)), select("stride", "Stride", Object.entries(STRIDES)), select("pooling", "Pooling", Object.entries(POOLINGS)),
  ]);
  const update = () => {
    for (const [trait, node] of Object.entries(made)) node.update(String(model.get(trait)));
    made.picture.querySelector("option").textContent = model.get("caption");
  };
  return { node: h("div", { class: "se-settings" }, Object.values(made)), update };
}

/** Unchanged share and error for nine moves along x; pressing one moves the image there. */
function stripChart(set) {
  const head = h("p", { class: "se-head" }), tops = h("div", { class: "se-bars" }), lows = h("div", { class: "se-bars" });
  const moves = h("div", { class: "se-moves", role: "radiogroup", "aria-label": "Move along x" });
  const node = h("div", { class: "se-strip" }, head, h("p", { class: "se-what" }, "Pooled outputs unchanged, % (pale: 0 before and after)"), tops,
    h("p", { class: "se-what" }, "Equivariance error of the pooled map"), lows, h("p", { class: "se-what" }, "Image moved by dx"), moves);
  moves.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...moves.children], next = all[wrap(all.indexOf(document.activeElement) + step, all.length)];
    next.focus();
    next.click();
  });
  const update = ({ strip, dx, dy }) => {
    head.replaceChildren(h("strong", {}, `Moves of 0 to ${number(strip.at(-1).dx)} along x`), dy ? ` (dy stays ${number(dy)})` : "");
    const most = Math.max(...strip.map(({ error }) => error));
    tops.replaceChildren(...strip.map((each) => bar(each, dx, Math.round(100 * each.share), [["se-zeros", each.share - each.alive], ["se-alive", each.alive]])));
    lows.replaceChildren(...strip.map((each) => bar(each, dx, brief(each.error), [["se-error", most > SAME ? each.error / most : 0]])));
    redraw(moves, strip.map((each, index) => h("button", {
      type: "button", role: "radio", "aria-checked": String(each.dx === dx), tabindex: each.dx === dx ? 0 : -1, "data-key": `move-${index}`, onclick: () => set({ dx: each.dx }),
      "aria-label": `dx ${number(each.dx)}: ${percent(each.share)} unchanged, error ${short(each.error)}`,
    }, number(each.dx))));
  };
  return { node, update };
}

function bar(each, dx, text, parts) {
  const fill = parts.map(([kind, share]) => h("i", { class: kind, style: `height: ${(100 * share).toFixed(2)}%` }));
  return h("div", { class: each.dx === dx ? "se-bar se-current" : "se-bar", "aria-hidden": "true" }, h("span", {}, String(text)), h("div", {}, fill));
}

// ---- The opened number ----

/** The layers above and below the opened number. */
function crumbs(view, set) {
  const { level, place, pooling } = view;
  const values = pooling === "none" ? ["feature"] : ["pooled", "feature"];
  const go = (name) => () => set(name === "average" ? { opened: name } : { opened: name, row: place[name][0], col: place[name][1] });
  const button = (name, text) => h("button", { type: "button", "data-key": `crumb-${name}`, "aria-current": level === name && (isOneNumber(view) || name === "average") ? "true" : null, onclick: go(name) }, text);
  const steps = [button("average", "Global average"), ...values.map((name) => button(name, placeName(name, place[name])))];
  return h("div", { class: "se-crumbs", role: "group", "aria-label": "From the average down to one number" }, steps.flatMap((step, index) => (index ? [h("span", { "aria-hidden": "true" }, "›"), step] : step)));
}

/** The two numbers that are compared, each with what it is made of, and their difference. */
function comparison(view, set) {
  const level = view.level === "pooled" && view.pooling !== "none" ? "pooled" : "feature";
  const at = view.place[level], from = origin(view, level);
  const now = view.after[level][at[0]][at[1]], other = view.target[level][at[0]][at[1]];
  const lands = view.compare === "moved" && from ? h("p", { class: "se-note" }, `Expected here, with the map ${movedText(view.errors[level])}.`) : null;
  const made = (side, place, own) => (level === "feature" ? productList(view, side, place) : windowList(view, side, place, own && set));
  const block = (heading, kind, value, parts) => h("div", { class: `se-block se-${kind}` }, h("h4", {}, heading), h("p", { class: "se-result" }, equals(value)), parts);
  return [
    h("div", { class: "se-blocks" }, block(`Now: ${placeName(level, at)}`, "now", now, made("after", at, true)),
      block(from ? `Before the move: ${placeName(level, from)}` : "Before the move: beyond the edge", "then", other, [
        lands, from ? made("before", from, view.compare === "still") : h("p", {}, "The moved map has nothing here: 0 comes in over the edge.")])),
    h("p", { class: "se-verdict" }, verdict(now, other, view.compare)),
    view.compare === "moved" ? h("p", { class: "se-note" }, DEFINITION, view.errors[level].whole ? "" : stepText(view, level)) : null,
  ];
}

/** Where the compared value comes from in the map before the move; null where it came in over the edge. */
function origin(view, level) {
  const [row, col] = view.place[level];
  if (view.compare === "still") return [row, col];
  const map = view.before[level], { dy, dx } = view.errors[level];
  if (view.padding === "circular") return [wrap(row - dy, map.length), wrap(col - dx, map[0].length)];
  return map[row - dy]?.[col - dx] === undefined ? null : [row - dy, col - dx];
}

function verdict(now, other, compare) {
  const gap = Math.abs(now - other);
  if (gap <= SAME) return compare === "still" ? "Equal: this value survived the move." : "Equal: this value followed the move.";
  return `|${number(now, 3)} − ${number(other, 3)}| ${equals(gap)}: ${compare === "still" ? "this value changed." : "this value did not follow the move."}`;
}

/** Why no whole shift of the map can match this move. */
function stepText({ dy, dx, steps }, level) {
  const half = [["right", dx], ["down", dy]].filter(([, move]) => move % steps[level] !== 0);
  const parts = half.map(([way, move]) => `${number(move)} pixel${Math.abs(move) === 1 ? "" : "s"} ${way}`);
  return `One step of this map is ${steps[level]} pixels, and ${parts.join(" or ")} is no whole number of steps. The closest whole shifts were tried; the best is shown.`;
}

/** The products that one value of the feature map is the sum of. */
function productList(view, side, [row, col]) {
  const terms = products(view[side].image, KERNELS[view.kernel][1], row, col, view.stride, view.padding);
  const sum = terms.reduce((total, { product }) => total + product, 0);
  const items = terms.map((term) => h("li", { class: term.inside ? "" : "se-outside" }, h("span", {}, times(term.value, term.weight)), " ", h("b", {}, equals(term.product))));
  const kept = sum < -SAME ? "ReLU makes it 0." : "ReLU keeps it.";
  return [h("p", { class: "se-note" }, "pixel × weight, in the kernel’s order"), h("ul", { class: "se-terms" }, items), h("p", {}, `Sum ${equals(sum)}. ${kept}`)];
}

/** The feature values that one pooled value is made of; each opens where `set` is given. */
function windowList(view, side, [row, col], set) {
  const { pooling, padding } = view;
  const terms = poolTerms(view[side].feature, row, col, pooling, padding);
  const say = { max: () => "The largest stays.", avg: () => "The mean of the four: their sum, divided by 4.", blur: () => "Each factor is the largest of a 2 × 2 window. The nine products are added." }[pooling]();
  const items = terms.map((term, index) => h("li", { class: term.row === null ? "se-outside" : pooling === "max" && term.weight ? "se-winner" : "" }, windowCell(term, pooling, `${side}-${index}`, set)));
  return [h("p", { class: "se-note" }, say), h("ul", { class: `se-terms se-window se-${pooling}` }, items)];
}

function windowCell(term, pooling, key, set) {
  const text = [number(term.value, 3), pooling === "blur" ? ["×", h("wbr"), `${Math.round(16 * term.weight)}/16`] : null];
  if (term.row === null) return [h("b", {}, text), h("span", {}, "padding")];
  const name = h("span", {}, h("span", { class: "se-long" }, "feature"), `[${term.row}, ${term.col}]`);
  if (!set) return [h("b", {}, text), name];
  return h("button", { type: "button", "data-key": key, onclick: () => set({ opened: "feature", row: term.row, col: term.col }) }, h("b", {}, text), " ", name);
}

function survivorList({ level, kept, after, before }) {
  const { same, zeros, total } = kept[level], alive = total - zeros;
  const changed = difference(after[level], before[level]);
  const lines = [
    ["Unchanged, to nine decimals", `${same} of ${total} = ${percent(same / total)}`],
    ["of these 0 before and after", `${zeros}`],
    ["of these not 0", alive ? `${same - zeros} of ${alive} that are not 0 both times = ${percent((same - zeros) / alive)}` : "none"],
    ["Changed", `${total - same} of ${total}${changed.differ ? `; most at ${placeName(level, [changed.row, changed.col])}, by ${short(changed.error)}` : ""}`],
  ];
  return h("dl", { class: "se-lines" }, lines.map(([what, text]) => h("div", {}, h("dt", {}, what), h("dd", {}, text))));
}

function averageList({ before, after }) {
  const total = (row) => row.reduce((sum, value) => sum + value, 0);
  const line = (title, { pooled, average }) => {
    const sums = pooled.map(total);
    return h("div", { class: "se-block" }, h("h4", {}, title), h("p", { class: "se-result" }, equals(average)), h("p", { class: "se-note" }, "the rows’ sums, top to bottom"),
      h("p", {}, `(${sums.map((sum) => number(sum, 2)).join(" + ")}) / ${pooled.length * pooled[0].length}`));
  };
  return [h("div", { class: "se-blocks" }, line("Now", after), line("Before the move", before)), h("p", { class: "se-note" }, "Press a value in a map to open it.")];
}

function openedPanel(set) {
  const node = h("div", { class: "se-opened" });
  const update = (view) => {
    const parts = isOneNumber(view) ? comparison(view, set) : view.opened === "average" ? averageList(view) : survivorList(view);
    const focused = node.contains(document.activeElement);
    redraw(node, h("h4", { class: "se-title" }, "The number, opened"), crumbs(view, set), parts);
    if (focused && !node.contains(document.activeElement)) node.querySelector("[aria-current]")?.focus();
  };
  return { node, update };
}

function draw(model, body, set) {
  const controls = settings(model, set), broken = h("p", { class: "cb-error" });
  const parts = [stage(model, set), stripChart(set), openedPanel(set)];
  const shown = h("div", {}, parts.map(({ node }) => node));
  body.append(controls.node, broken, shown);
  return () => {
    const view = look(model);
    controls.update();
    shown.hidden = Boolean(view.bad);
    broken.textContent = view.bad ?? "";
    if (view.bad) return "This state cannot be drawn. Reset puts it right.";
    parts.forEach((part) => part.update(view));
    return summary(view);
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Shift explorer", keys: KEYS, draw: (body, set) => draw(model, body, set) });
}

export default { render };
