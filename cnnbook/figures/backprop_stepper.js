// Backprop stepper: a tiny convolution forward and backward, one output position at a time, every sum written out.
import { choice, frame, h, number, redraw, stopSlider, tabStop, walkGrid } from "./kit.js";

const KEYS = ["image", "kernel", "bias", "upstream", "dout", "stride", "padding", "phase", "step", "opened", "row", "col"];
const SIDES = { image: [[3, 5], [3, 6]], kernel: [[1, 3], [1, 3]], dout: [[0, 7], [0, 8]] };
const LARGEST = { image: 9, kernel: 9, bias: 9, dout: 999 };
const RANGES = { stride: [1, 2], padding: [0, 1], bias: [-9, 9], step: [0, 99], row: [0, 99], col: [0, 99] };
const PHASES = ["forward", "backward"];
const BOARDS = ["dX", "dW", "db"];
const UPSTREAMS = { mixed: "Mixed", ones: "All ones", one_hot: "One hot", loss: "Loss ½(out − 2)²", own: "Own values" };
const MIXED = [1, -2, 2, 0, -1, 3, -3];
const TARGET = 2;
const NUDGE = 1e-3;
const PACE = 1100;

const IMAGES = {
  mixed: ["Mixed", [[1, 0, 2, -1, 3], [2, 4, -2, 0, 1], [0, 3, 1, 2, -1], [-1, 2, 0, 5, 2]]],
  step: ["Step edge", [[0, 0, 3, 3, 3], [0, 0, 3, 3, 3], [0, 0, 3, 3, 3], [0, 0, 3, 3, 3]]],
  pixel: ["Bright pixel", [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 4, 0, 0], [0, 0, 0, 0, 0]]],
  larger: ["Larger, 5 × 6", [[2, -1, 0, 3, 1, 0], [0, 1, 4, -2, 0, 2], [1, 3, -1, 0, 2, -3], [-2, 0, 5, 1, 0, 1], [3, 1, 0, -1, 2, 4]]],
};
const KERNELS = {
  wide: ["Wide, 2 × 3", [[1, -1, 2], [0, 3, -2]]],
  tall: ["Tall, 3 × 2", [[2, -1], [0, 1], [-3, 2]]],
  sobel: ["Sobel X, 3 × 3", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]],
  pair: ["Two taps, 1 × 2", [[-1, 1]]],
};

// ---- Arithmetic ----

/** rows × cols, each value from at(row, col). */
function table(rows, cols, at) {
  return Array.from({ length: rows }, (_, row) => Array.from({ length: cols }, (_, col) => at(row, col)));
}

/** Positions of a kernel along one axis. */
function places(size, kernel, stride, padding) {
  return Math.floor((size + 2 * padding - kernel) / stride) + 1;
}

/** The pixel and the weight that meet at one output position, in the kernel's order; `inside` is false on padding. */
export function products(x, w, row, col, stride = 1, padding = 0) {
  return w.flatMap((weights, u) => weights.map((weight, v) => {
    const y = row * stride + u - padding, at = col * stride + v - padding;
    const inside = x[y]?.[at] !== undefined, value = inside ? x[y][at] : 0;
    return { u, v, y, x: at, value, weight, product: value * weight, inside };
  }));
}

/** out[i, j] = b + the sum of W[u, v] · X[i·s + u − p, j·s + v − p]; pixels beyond the edge are 0. */
export function forward(x, w, b = 0, stride = 1, padding = 0) {
  const rows = places(x.length, w.length, stride, padding), cols = places(x[0].length, w[0].length, stride, padding);
  return table(rows, cols, (row, col) => b + sum(products(x, w, row, col, stride, padding)));
}

function sum(terms) {
  return terms.reduce((total, { product }) => total + product, 0);
}

/** What one position adds: dOut · pixel to each weight, dOut · weight to each pixel (or to padding), dOut to the bias. */
export function contributions(x, w, dout, row, col, stride = 1, padding = 0) {
  const g = dout[row][col];
  const cells = products(x, w, row, col, stride, padding).map(({ product, ...meet }) => ({ ...meet, toWeight: g * meet.value, toPixel: g * meet.weight }));
  return { g, cells, toBias: g };
}

/** dX, dW and db after the first `count` positions; `padded` is dX with the padding around it. */
export function gradientsAfter(x, w, dout, count, stride = 1, padding = 0) {
  const cols = dout[0].length, dw = table(w.length, w[0].length, () => 0);
  const padded = table(x.length + 2 * padding, x[0].length + 2 * padding, () => 0);
  let db = 0;
  for (let at = 0; at < count; at += 1) {
    const { g, cells } = contributions(x, w, dout, Math.floor(at / cols), at % cols, stride, padding);
    db += g;
    for (const { u, v, y, x: right, toWeight, toPixel } of cells) {
      dw[u][v] += toWeight;
      padded[y + padding][right + padding] += toPixel;
    }
  }
  return { dx: table(x.length, x[0].length, (row, col) => padded[row + padding][col + padding]), dw, db, padded };
}

/** dX, dW and db after all positions. */
export function gradients(x, w, dout, stride = 1, padding = 0) {
  return gradientsAfter(x, w, dout, dout.length * dout[0].length, stride, padding);
}

function everyPosition(dout) {
  return dout.flatMap((values, row) => values.map((g, col) => ({ row, col, g })));
}

/** The terms of dW[u, v]: at every output position, dOut times the pixel under that weight. */
export function weightTerms(x, dout, u, v, stride = 1, padding = 0) {
  return everyPosition(dout).map((position) => {
    const value = x[position.row * stride + u - padding]?.[position.col * stride + v - padding];
    return { ...position, factor: value ?? 0, product: position.g * (value ?? 0), inside: value !== undefined };
  });
}

/** The terms of dX[y, right]: at every output position that reads this pixel, dOut times the weight that lay on it. */
export function pixelTerms(w, dout, y, right, stride = 1, padding = 0) {
  return everyPosition(dout).flatMap((position) => {
    const u = y + padding - position.row * stride, v = right + padding - position.col * stride;
    const weight = w[u]?.[v];
    return weight === undefined ? [] : [{ ...position, u, v, factor: weight, product: position.g * weight, inside: true }];
  });
}

/** The terms of db: dOut itself, at every position. */
export function biasTerms(dout) {
  return everyPosition(dout).map((position) => ({ ...position, factor: 1, product: position.g, inside: true }));
}

/** The scalar that is differentiated: ½ Σ (out − target)² where a target is given, else Σ dOut · out with dOut held fixed. */
export function objective(out, { dout, target = null }) {
  const each = target === null ? (value, row, col) => value * dout[row][col] : (value) => (value - target) ** 2 / 2;
  return out.flatMap((values, row) => values.map((value, col) => each(value, row, col))).reduce((total, value) => total + value, 0);
}

/** Central difference of the objective in one pixel (dX), weight (dW) or the bias (db). */
export function numericGradient(x, w, b, toward, stride, padding, board, row = 0, col = 0, nudge = NUDGE) {
  const moved = (rows, by) => rows.map((values, i) => values.map((value, j) => (i === row && j === col ? value + by : value)));
  const at = (by) => objective(forward(
    board === "dX" ? moved(x, by) : x, board === "dW" ? moved(w, by) : w, board === "db" ? b + by : b, stride, padding), toward);
  return (at(nudge) - at(-nudge)) / (2 * nudge);
}

/** dOut with stride − 1 zeros between its numbers, and a border of zeros. */
function spread(dout, stride, [up, left] = [0, 0], [down, right] = [0, 0]) {
  const rows = (dout.length - 1) * stride + 1, cols = (dout[0].length - 1) * stride + 1;
  return table(up + rows + down, left + cols + right, (row, col) => dout[(row - up) / stride]?.[(col - left) / stride] ?? 0);
}

function correlate(x, w, rows, cols) {
  return table(rows, cols, (row, col) => sum(products(x, w, row, col)));
}

/** dW by another route: the padded X correlated with dOut, which the stride spreads out. */
export function weightGradientAsCorrelation(x, dout, kernelRows, kernelCols, stride = 1, padding = 0) {
  const padded = table(x.length + 2 * padding, x[0].length + 2 * padding, (row, col) => x[row - padding]?.[col - padding] ?? 0);
  return correlate(padded, spread(dout, stride), kernelRows, kernelCols);
}

/** dX by another route: the full convolution of the spread dOut with W, that is, a correlation with W turned by 180°. */
export function pixelGradientAsConvolution(w, dout, rows, cols, stride = 1, padding = 0) {
  const turned = w.map((weights) => [...weights].reverse()).reverse();
  const wide = spread(dout, stride, [w.length - 1, w[0].length - 1], [rows + 2 * padding, cols + 2 * padding]);
  const full = correlate(wide, turned, rows + 2 * padding, cols + 2 * padding);
  return table(rows, cols, (row, col) => full[row + padding][col + padding]);
}

/** dOut by name, in the output's shape. Own values are cut, or filled with zeros at the far end. */
export function upstreamGradient(name, out, own = []) {
  const rows = out.length, cols = out[0].length;
  const hot = (row, col) => Number(row === Math.floor(rows / 2) && col === Math.floor(cols / 2));
  const rules = {
    mixed: (row, col) => MIXED[(row * cols + col) % MIXED.length], ones: () => 1, one_hot: hot,
    loss: (row, col) => out[row][col] - TARGET, own: (row, col) => own[row]?.[col] ?? 0,
  };
  return table(rows, cols, rules[name]);
}

// ---- What a state may hold ----

/** What a reader typed: a whole number from −9 to 9, else NaN. */
export function parseCell(text) {
  const bare = text.trim().replace("−", "-");
  return /^[-+]?\d$/.test(bare) ? Number(bare) + 0 : NaN;
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault(state) {
  const sides = Object.keys(SIDES).map((name) => tableFault(name, state[name]));
  const ranges = Object.entries(RANGES).map(([name, [least, most]]) => (
    Number.isInteger(state[name]) && state[name] >= least && state[name] <= most ? null : `The ${name} must be a whole number from ${number(least)} to ${most}.`));
  const names = Object.entries({ upstream: Object.keys(UPSTREAMS), phase: PHASES, opened: BOARDS }).map(([name, allowed]) => (
    allowed.includes(state[name]) ? null : `The value of ${name} must be one of ${allowed.join(", ")}.`));
  return [...sides, ...ranges, ...names].find(Boolean) ?? null;
}

function tableFault(name, rows) {
  const [tall, wide] = SIDES[name], most = LARGEST[name];
  const fits = (list, [least, largest]) => Array.isArray(list) && list.length >= least && list.length <= largest;
  if (!fits(rows, tall) || !rows.every((row) => fits(row, wide) && row.length === rows[0].length)) {
    return `The ${name} must have ${tall[0]} to ${tall[1]} rows of ${wide[0]} to ${wide[1]} numbers, all rows equally long.`;
  }
  const good = (value) => Number.isInteger(value) && Math.abs(value) <= most;
  return rows.flat().every(good) ? null : `Every number of the ${name} must be a whole number from −${most} to ${most}.`;
}

function presetName(presets, rows) {
  return Object.keys(presets).find((name) => JSON.stringify(presets[name][1]) === JSON.stringify(rows)) ?? "own";
}

// ---- The state, ready to be drawn ----

/** The traits, and all that follows from them; or what is wrong. */
function look(model) {
  const state = Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const bad = fault(state);
  if (bad) return { ...state, bad };
  const given = [state.stride, state.padding];
  const out = forward(state.image, state.kernel, state.bias, ...given);
  const dout = upstreamGradient(state.upstream, out, state.dout);
  const cols = out[0].length, count = out.length * cols, at = Math.min(state.step, count - 1);
  const backward = state.phase === "backward", here = [Math.floor(at / cols), at % cols];
  const after = (done) => gradientsAfter(state.image, state.kernel, dout, backward ? done : 0, ...given);
  return {
    ...state, given, out, dout, count, at, here, backward, place: (backward ? count : 0) + at, done: backward && at === count - 1,
    meet: products(state.image, state.kernel, ...here, ...given), flow: contributions(state.image, state.kernel, dout, ...here, ...given),
    before: after(at), now: after(at + 1), open: openCell(state, out, dout),
  };
}

/** The opened cell of dX, dW or db: its name, its terms, and their sum. */
function openCell({ image, kernel, stride, padding, opened, row, col }, out, dout) {
  const shape = { dX: image, dW: kernel, db: [[0]] }[opened];
  const at = [Math.min(row, shape.length - 1), Math.min(col, shape[0].length - 1)];
  const terms = {
    dX: () => pixelTerms(kernel, dout, ...at, stride, padding), dW: () => weightTerms(image, dout, ...at, stride, padding), db: () => biasTerms(dout),
  }[opened]();
  return { board: opened, at, name: cellName(opened, at), terms, value: sum(terms) };
}

/** The traits for the nearest place in the whole walk: first every output forward, then every output backward. */
function placeTraits(place, count) {
  return place < count ? { phase: "forward", step: Math.max(place, 0) } : { phase: "backward", step: Math.min(place, 2 * count - 1) - count };
}

// ---- Words ----

function cellName(board, [row, col]) {
  return board === "db" ? "db" : `${board}[${row}, ${col}]`;
}

/** A factor or a later term: in brackets where it is negative. */
function bracket(value) {
  return value < 0 ? `(${number(value)})` : number(value);
}

/** "1×(−2)". */
export function timesText(one, other) {
  return `${bracket(one)}×${bracket(other)}`;
}

/** "3 + (−2) = 1". */
export function updateText(old, change) {
  return `${number(old)} + ${bracket(change)} = ${number(old + change)}`;
}

/** An equation that may break only before its "=". */
function unbroken(text) {
  const [left, right] = text.split(" = ");
  return [h("span", { class: "bp-whole" }, left), " ", h("span", { class: "bp-whole" }, `= ${right}`)];
}

function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

/** Which outputs contributed to a cell, in words. */
export function sourcesText(board, terms, count) {
  const used = terms.filter(({ inside }) => inside), names = used.map(({ row, col }) => `[${row}, ${col}]`).join(", ");
  if (!used.length) return board === "dX" ? "No output reads this pixel, so no gradient reaches it." : "At every position this weight lies on padding, so it learns nothing.";
  const lost = count - used.length;
  const rest = { dX: "do not read this pixel", dW: "put this weight on padding, where X is 0" }[board];
  const share = lost ? `${used.length} of ${plural(count, "output")} contributed: ${names}. The other ${lost} ${rest}.` : `All ${plural(count, "output")} contributed.`;
  return share;
}

/** What happens at this step, in words. */
function stepText({ backward, at, count, here, out, dout, flow }) {
  const where = `position ${at + 1} of ${count}`;
  if (!backward) return `Forward, ${where}: ${cellName("out", here)} = ${number(out[here[0]][here[1]])}.`;
  const pixels = flow.cells.filter(({ inside }) => inside).length, lost = flow.cells.length - pixels;
  const value = `Backward, ${where}: ${cellName("dOut", here)} = ${number(dout[here[0]][here[1]])}`;
  if (flow.g === 0) return `${value}. Nothing flows, and no total changes.`;
  const away = lost ? ` ${plural(lost, "share")} ${lost === 1 ? "lands" : "land"} on padding and ${lost === 1 ? "is" : "are"} thrown away.` : "";
  const weights = lost ? `${pixels} of ${plural(flow.cells.length, "weight")}` : plural(pixels, "weight");
  return `${value} flows to ${weights}, ${plural(pixels, "pixel")} and the bias.${away}`;
}

function summary(view, playing) {
  if (view.bad) return view.bad;
  if (playing) return "Playing, one output position after another.";
  return `${stepText(view)} Opened: ${view.open.name} = ${number(view.open.value)}.`;
}

/** Four decimals, always written, and never "−0.0000". */
export function fixed(value) {
  const text = value.toLocaleString("en-US", { minimumFractionDigits: 4, maximumFractionDigits: 4 });
  return text.replace(/^-0\.0000$/, "0.0000").replace("-", "−");
}

/** "[1 −2] [0 3]", each row unbroken where it fits. */
function rowsText(rows) {
  return rows.map((values, row) => [row ? " " : "", h("span", { class: "bp-row" }, `[${values.map((value) => number(value)).join(" ")}]`)]);
}

// ---- Grids that are walked with the arrow keys ----

/** A grid with one Tab stop. `cell(row, col)` gives a cell; what carries data-at in it takes the focus. */
function board({ label, kind, rows, cols, pad = 0, cell, onMove = () => {} }) {
  const cells = table(rows + 2 * pad, cols + 2 * pad, (row, col) => cell(row - pad, col - pad));
  cells.forEach((line, row) => line.forEach((node, col) => { node.style.gridArea = `${row + 1} / ${col + 1}`; }));
  const lines = cells.map((line) => h("div", { class: "bp-line", role: "row" }, line));
  const node = h("div", { class: `bp-grid bp-${kind}`, role: "grid", "aria-label": label, style: `--across: ${cols + 2 * pad}` }, lines);
  walkGrid(node, rows, cols, onMove);
  return { node, cells, pad, at: (row, col) => cells[row + pad][col + pad] };
}

/** Let every cell be as wide as the longest text needs. */
function widen(node, texts) {
  node.style.setProperty("--cell", `${Math.max(34, 10 + 8 * Math.max(...texts.map((text) => text.length)))}px`);
}

// ---- The six boards and the bias ----

/** A board under its name. `shape(view)` is [rows, cols, padding]; the cells are made anew only where it changes. */
function panel(kind, title, { shape, cell, paint, onMove, words }) {
  const holder = h("div", { class: "bp-scroll" }), size = h("span", { class: "bp-size" });
  let grid = null, known = "";
  const update = (view) => {
    const [rows, cols, pad] = shape(view), next = [rows, cols, pad].join();
    if (next !== known) {
      grid = board({ label: words, kind, rows, cols, pad, cell: cell(rows, cols), onMove });
      holder.replaceChildren(grid.node);
    }
    known = next;
    size.textContent = kind === "b" || kind === "db" ? "" : `${rows} × ${cols}`;
    paint(grid, view);
  };
  const head = h("div", { class: "bp-head" }, h("strong", {}, title), " ", size);
  return { node: h("div", { class: `bp-panel bp-of-${kind}` }, head, holder), update };
}

function paddingCell() {
  return h("div", { class: "bp-cell bp-padding", role: "gridcell", "aria-label": "padding" });
}

/** A board of text fields: X, W or b. `key` is the trait. */
function editBoard(kind, title, words, key, { model, set, note, shape, paint }) {
  const single = key === "bias";
  const read = () => (single ? [[model.get(key)]] : model.get(key));
  const change = (rows) => set({ [key]: single ? rows[0][0] : rows });
  const edit = editor(read, change, note);
  const name = (row, col) => (single ? "bias" : `${key}, row ${row}, column ${col}`);
  const cell = (rows, cols) => (row, col) => (row < 0 || col < 0 || row >= rows || col >= cols ? paddingCell()
    : h("div", { class: "bp-cell", role: "gridcell" }, field(name(row, col), row, col, edit)));
  const fillAll = (grid, view) => {
    read().forEach((values, row) => values.forEach((value, col) => fill(grid.at(row, col).firstChild, value)));
    widen(grid.node, read().flat().map((value) => number(value)));
    paint?.(grid, view);
  };
  return panel(kind, title, { shape, cell, paint: fillAll, words });
}

/** A text field for one number. No inputmode: the number keyboard of a phone may lack the minus sign. */
function field(label, row, col, edit) {
  const input = h("input", {
    class: "bp-field", type: "text", autocomplete: "off", "data-at": `${row},${col}`, tabindex: row || col ? -1 : 0, "aria-label": label,
    onfocus: () => input.select(), onclick: () => input.select(), oninput: () => edit(input, row, col), onblur: () => edit(input, row, col, true),
  });
  return input;
}

/** Show a value in a field, but never rewrite what the reader is typing while it means the same. */
function fill(input, value) {
  const typing = input === document.activeElement && parseCell(input.value) === value;
  if (!typing && input.value !== number(value)) input.value = number(value);
}

/** The handler of a field: a number changes the trait, anything else is refused in words and undone on leaving. */
function editor(read, change, note) {
  return (input, row, col, leaving = false) => {
    const value = parseCell(input.value), wrong = Number.isNaN(value) && !leaving, rows = read();
    input.setAttribute("aria-invalid", wrong);
    note.textContent = wrong ? "A cell takes a whole number from −9 to 9." : "";
    if (leaving) fill(input, rows[row][col]);
    else if (!wrong && value !== rows[row][col]) change(rows.map((line, i) => line.map((old, j) => (i === row && j === col ? value : old))));
  };
}

/** A board of cells that are chosen: out, dOut, dX, dW or db. */
function chooseBoard(kind, title, words, { shape, choose, paint }) {
  const cell = (rows, cols) => (row, col) => (row < 0 || col < 0 || row >= rows || col >= cols ? paddingCell()
    : h("div", { class: "bp-cell bp-choice", role: "gridcell", tabindex: -1, "data-at": `${row},${col}`, onclick: () => choose(row, col) }));
  return panel(kind, title, { shape, cell, paint, onMove: choose, words });
}

/** Write the values of a board; `state(row, col)` says what a cell is: { hidden, current, now, opened, from }. */
function write(grid, rows, name, state) {
  const shown = rows.map((values, row) => values.map((value, col) => (state(row, col).hidden ? "·" : number(value))));
  widen(grid.node, shown.flat());
  shown.forEach((texts, row) => texts.forEach((text, col) => {
    const cell = grid.at(row, col), is = state(row, col);
    cell.textContent = text;
    cell.setAttribute("aria-label", `${cellName(name, [row, col])}, ${is.hidden ? "not reached yet" : text}${is.from ? ", contributes to the opened cell" : ""}`);
    cell.setAttribute("aria-selected", Boolean(is.current || is.opened));
    for (const key of ["hidden", "current", "now", "opened", "from"]) cell.classList.toggle(`bp-is-${key}`, Boolean(is[key]));
  }));
}

/** The frame around the pixels that the kernel covers at this position. */
function placePatch(grid, patch, { here: [row, col], kernel, stride }, shown = true) {
  patch.hidden = !shown;
  patch.style.gridArea = `${row * stride + 1} / ${col * stride + 1} / span ${kernel.length} / span ${kernel[0].length}`;
  grid.node.append(patch);
}

const sides = (rows, padding = 0) => [rows.length, rows[0].length, padding];
const newPatch = () => h("div", { class: "bp-patch", "aria-hidden": "true" });

function imageBoard(model, set, note) {
  const patch = newPatch();
  const paint = (grid, view) => {
    grid.cells.flat().filter((cell) => cell.classList.contains("bp-padding")).forEach((cell) => { cell.textContent = "0"; cell.setAttribute("aria-label", "padding, 0"); });
    placePatch(grid, patch, view);
  };
  return editBoard("X", "Image X", "image X", "image", { model, set, note, paint, shape: (view) => sides(view.image, view.padding) });
}

function outBoard(kind, title, words, name, phase, set) {
  let view = null;
  const choose = (row, col) => set({ phase, step: row * view.out[0].length + col });
  const paint = (grid, next) => {
    view = next;
    const mine = view.phase === phase, cols = view.out[0].length;
    const from = new Set(view.open.terms.filter(({ inside }) => inside).map(({ row, col }) => `${row},${col}`));
    write(grid, phase === "forward" ? view.out : view.dout, name, (row, col) => ({
      hidden: phase === "forward" ? !view.backward && row * cols + col > view.at : !view.backward,
      current: mine && row * cols + col === view.at, from: phase === "backward" && view.backward && from.has(`${row},${col}`),
    }));
    tabStop(grid.node, mine ? view.here : [0, 0]);
  };
  return chooseBoard(kind, title, words, { shape: (next) => sides(next.out), choose, paint });
}

/** A board of running totals: `values(view)` now, `touched(view)` the cells that this step changes. */
function totalBoard(name, title, words, set, { shape, values, touched, after = () => {} }) {
  const choose = (row, col) => set({ opened: name, row, col });
  const paint = (grid, view) => {
    const now = new Set(view.backward ? touched(view) : []);
    const opened = (row, col) => view.open.board === name && view.open.at[0] === row && view.open.at[1] === col;
    write(grid, values(view), name, (row, col) => ({ hidden: !view.backward, now: now.has(`${row},${col}`), opened: opened(row, col) }));
    tabStop(grid.node, view.open.board === name ? view.open.at : [0, 0]);
    after(grid, view);
  };
  return chooseBoard(name, title, words, { shape, choose, paint });
}

function pixelBoard(set) {
  const patch = newPatch();
  const after = (grid, view) => {
    grid.cells.forEach((line, row) => line.forEach((cell, col) => {
      if (!cell.classList.contains("bp-padding")) return;
      cell.textContent = view.backward ? number(view.now.padded[row][col]) : "·";
      cell.classList.toggle("bp-lost", view.backward && cell.textContent !== "0");
      cell.setAttribute("aria-label", `padding, ${view.backward ? `${cell.textContent} thrown away` : "not reached yet"}`);
    }));
    widen(grid.node, grid.cells.flat().map((cell) => cell.textContent));
    placePatch(grid, patch, view, view.backward);
  };
  const touched = ({ flow }) => flow.cells.filter(({ toPixel }) => toPixel !== 0).map(({ y, x }) => `${y},${x}`);
  return totalBoard("dX", "dX", "gradient dX, running total", set, { shape: (view) => sides(view.image, view.padding), values: ({ now }) => now.dx, touched, after });
}

function boards(model, set, note) {
  const give = { model, set, note }, one = () => [1, 1, 0];
  const touched = ({ flow }) => flow.cells.filter(({ toWeight }) => toWeight !== 0).map(({ u, v }) => `${u},${v}`);
  const parts = {
    X: imageBoard(model, set, note), dX: pixelBoard(set),
    W: editBoard("W", "Kernel W", "kernel W", "kernel", { ...give, shape: (view) => sides(view.kernel) }),
    b: editBoard("b", "b", "bias b", "bias", { ...give, shape: one }),
    dW: totalBoard("dW", "dW", "gradient dW, running total", set, { shape: (view) => sides(view.kernel), values: ({ now }) => now.dw, touched }),
    db: totalBoard("db", "db", "gradient db, running total", set, { shape: one, values: ({ now }) => [[now.db]], touched: ({ flow }) => (flow.g ? ["0,0"] : []) }),
    out: outBoard("out", "Output", "output", "out", "forward", set),
    dOut: outBoard("dOut", "dOut", "upstream gradient dOut", "dOut", "backward", set),
  };
  const pair = (one, other) => h("div", { class: "bp-pair" }, parts[one].node, parts[other].node);
  const node = h("div", { class: "bp-boards" }, parts.X.node, parts.dX.node, pair("W", "b"), pair("dW", "db"), parts.out.node, parts.dOut.node);
  const update = (view) => {
    node.classList.remove("bp-wide");
    Object.values(parts).forEach((part) => part.update(view));
    node.classList.toggle("bp-wide", node.scrollWidth > node.clientWidth); // long numbers: the columns do not fit
  };
  return { node, update };
}

// ---- Settings and the walk ----

/** Radio buttons side by side for a small range. */
function segments(label, key, set) {
  const [least, most] = RANGES[key], group = `bp-${key}-${Math.random().toString(36).slice(2)}`;
  const inputs = Array.from({ length: most - least + 1 }, (_, index) => h("input", { type: "radio", name: group, value: least + index, onchange: () => set({ [key]: least + index }) }));
  const node = h("fieldset", { class: "bp-segments", "data-setting": key }, h("legend", {}, label),
    inputs.map((input) => h("label", {}, input, h("span", {}, input.value))));
  return { node, update: (view) => inputs.forEach((input) => { input.checked = Number(input.value) === view[key]; }) };
}

/** A drop-down whose last entry, "Own values", can be seen but not chosen. */
function presetChoice(label, pairs, nameOf, onPick) {
  const node = choice({ label, options: pairs, value: "own", onChange: onPick });
  const update = (view) => {
    const name = nameOf(view);
    node.querySelector("[value=own]").disabled = name !== "own";
    node.update(name);
  };
  return { node, update };
}

function settings(set) {
  const pairs = (presets) => [...Object.entries(presets).map(([name, [text]]) => [name, text]), ["own", "Own values"]];
  const parts = [
    presetChoice("Image", pairs(IMAGES), (view) => presetName(IMAGES, view.image), (name) => set({ image: structuredClone(IMAGES[name][1]) })),
    presetChoice("Kernel", pairs(KERNELS), (view) => presetName(KERNELS, view.kernel), (name) => set({ kernel: structuredClone(KERNELS[name][1]) })),
    presetChoice("Upstream gradient", Object.entries(UPSTREAMS), (view) => view.upstream, (upstream) => set({ upstream })),
    segments("Stride", "stride", set), segments("Padding", "padding", set),
  ];
  return { node: h("div", { class: "cb-row bp-settings" }, parts.map(({ node }) => node)), update: (view) => parts.forEach((part) => part.update(view)) };
}

/** Previous, Next, Play and To the end, over all positions forward and then backward; Play only where motion is wanted. */
function walker(model, set, refresh) {
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; };
  const go = (place) => set(placeTraits(place, look(model).count));
  const halt = (move) => () => { stop(); go(move(look(model))); };
  const tick = () => {
    const view = look(model);
    if (!node.isConnected || view.bad || view.place + 2 >= 2 * view.count) stop();
    if (!view.bad) go(view.place + 1);
  };
  const play = () => {
    if (timer !== null) { stop(); refresh(); return; }
    if (look(model).done) go(0);
    timer = setInterval(tick, PACE);
    refresh();
  };
  const button = (text, onclick) => h("button", { type: "button", onclick }, text);
  const back = button("Previous", halt(({ place }) => place - 1)), next = button("Next", halt(({ place }) => place + 1));
  const sweep = button("Play", play), end = button("To the end", halt(({ count }) => 2 * count - 1));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const slide = stopSlider({ label: "Step", stops: [1, 2], value: 1, onInput: (place) => { stop(); go(place - 1); } });
  const node = h("div", { class: "bp-walk" }, back, next, still ? null : sweep, end, slide);
  const update = (view) => {
    if (view.done) stop();
    back.setAttribute("aria-disabled", view.place === 0); // not `disabled`: that would take the keyboard focus away
    for (const each of [next, end]) each.setAttribute("aria-disabled", view.done);
    sweep.textContent = timer === null ? "Play" : "Pause";
    slide.update(view.place + 1, Array.from({ length: 2 * view.count }, (_, index) => index + 1));
  };
  return { node, update, stop, playing: () => timer !== null };
}

// ---- The step, written out ----

const role = (kind, text) => h("span", { class: `bp-${kind}-ink` }, text);

/** A small table in the kernel's shape; each cell has a name and one or two lines. */
function sheet(label, kernel, cells) {
  const lines = kernel.map((weights, u) => h("div", { class: "bp-line", role: "row" }, cells.slice(u * weights.length, (u + 1) * weights.length)));
  return h("div", { class: "bp-sheet", role: "table", "aria-label": label, style: `--across: ${kernel[0].length}` }, lines);
}

function sheetCell(name, inside, ...lines) {
  return h("div", { class: `bp-entry${inside ? "" : " bp-padding"}`, role: "cell" }, h("span", { class: "bp-name" }, name), lines.map((line) => h("span", {}, line)));
}

/** "g×x = change", each factor in the colour of its board; may break only before "=". */
function productLine(one, oneKind, other, otherKind, result) {
  return [h("span", { class: "bp-whole" }, role(oneKind, bracket(one)), "×", role(otherKind, bracket(other))), " ", h("span", { class: "bp-whole" }, `= ${number(result)}`)];
}

function forwardParts({ meet, kernel, bias, here, out }) {
  const cells = meet.map(({ u, v, value, weight, product, inside }) => (
    sheetCell(inside ? `at W[${u}, ${v}]` : "on padding", inside, productLine(value, "x", weight, "w", product))));
  const text = `${cellName("out", here)} = ${meet.map(({ value, weight }) => timesText(value, weight)).join(" + ")} + ${bracket(bias)}`;
  return [
    h("p", { class: "bp-say" }, role("x", "pixel"), " × ", role("w", "weight"), ", over the framed patch; all are added up, the bias last."),
    h("div", { class: "bp-sheets" }, h("div", {}, sheet("products", kernel, cells))),
    h("p", { class: "bp-sum" }, text, " ", h("strong", { class: "bp-g-ink" }, `= ${number(out[here[0]][here[1]])}`)),
  ];
}

function weightSheet({ flow, kernel, before }) {
  const cells = flow.cells.map(({ u, v, value, toWeight, inside }) => sheetCell(`dW[${u}, ${v}]`, inside,
    productLine(flow.g, "g", value, "x", toWeight), unbroken(updateText(before.dw[u][v], toWeight))));
  return h("div", { class: "bp-flow" }, h("h5", {}, "To each weight: ", role("g", "dOut"), " × ", role("x", "pixel under it")), sheet("changes of dW", kernel, cells));
}

function pixelSheet({ flow, kernel, before }) {
  const cells = flow.cells.map(({ y, x, weight, toPixel, inside }) => sheetCell(inside ? `dX[${y}, ${x}]` : "padding", inside,
    productLine(flow.g, "g", weight, "w", toPixel), inside ? unbroken(updateText(before.dx[y][x], toPixel)) : "thrown away"));
  return h("div", { class: "bp-flow" }, h("h5", {}, "To each pixel: ", role("g", "dOut"), " × ", role("w", "weight on it")), sheet("changes of dX", kernel, cells));
}

function backwardParts(view) {
  const { flow, before, padding } = view, lost = flow.cells.filter(({ inside }) => !inside).length;
  return [
    h("div", { class: "bp-sheets" }, weightSheet(view), pixelSheet(view)),
    h("p", { class: "bp-sum" }, h("span", { class: "bp-lead" }, "To the bias: ", role("g", "dOut"), " itself. "), `db: ${updateText(before.db, flow.toBias)}`),
    padding ? h("p", { class: "bp-say" }, lost ? `${plural(lost, "cell")} of this patch ${lost === 1 ? "is" : "are"} padding. X is 0 there, so the weights on it learn nothing. Gradient that flows there is thrown away: no pixel can use it.`
      : "No cell of this patch is padding, so no gradient is thrown away.") : null,
  ];
}

/** The heading of the step; going backward, two buttons make dOut here one smaller or larger. */
function stepPanel(set) {
  const node = h("div", { class: "bp-step" });
  const update = (view) => {
    const [row, col] = view.here, name = cellName(view.backward ? "dOut" : "out", view.here);
    const change = (by) => set({ upstream: "own", dout: view.dout.map((values, i) => values.map((value, j) => value + (i === row && j === col ? by : 0))) });
    const button = (text, by) => h("button", {
      type: "button", "data-key": `nudge${by}`, "aria-label": `${name} ${by < 0 ? "minus" : "plus"} 1`, disabled: Math.abs(view.flow.g + by) > LARGEST.dout, onclick: () => change(by),
    }, text);
    const head = h("h4", {}, `${view.backward ? "Backward" : "Forward"}, position ${view.at + 1} of ${view.count}: `,
      h("span", { class: "bp-whole bp-g-ink" }, `${name} = ${number((view.backward ? view.dout : view.out)[row][col])}`));
    const nudges = view.backward && h("span", { class: "bp-nudges" }, button("− 1", -1), button("+ 1", 1));
    redraw(node, h("div", { class: "bp-steprow" }, head, nudges || []), view.backward ? backwardParts(view) : forwardParts(view));
  };
  return { node, update };
}

// ---- The opened cell, and the end ----

function sumLine({ board: kind, name, terms, value }) {
  const text = ({ g, factor }) => (kind === "db" ? bracket(g) : timesText(g, factor));
  const parts = terms.map((term, index) => [index ? " + " : "", h("span", { class: `bp-whole${term.inside ? "" : " bp-muted"}` }, text(term))]);
  return h("p", { class: "bp-sum" }, `${name} = `, terms.length ? [parts, " "] : "", h("strong", {}, terms.length ? `= ${number(value)}` : "0"));
}

function checkLine({ image, kernel, bias, given, dout, upstream, open }) {
  const target = upstream === "loss" ? TARGET : null;
  const found = numericGradient(image, kernel, bias, { dout, target }, ...given, open.board, ...open.at);
  const cell = open.board === "db" ? "b" : cellName(open.board.slice(1), open.at);
  const scalar = target === null ? "L = Σ dOut·out" : `L = ½ Σ (out − ${TARGET})²`;
  return h("p", { class: "bp-check" }, `Check: ${scalar}. ${cell} is moved up and down by ${NUDGE}. (L₊ − L₋) / ${2 * NUDGE} = `,
    h("strong", { class: "bp-numeric" }, fixed(found)), "; the sum above says ", h("strong", {}, fixed(open.value)), ".");
}

const RULES = {
  dW: "dW[u, v] = Σ dOut[i, j]·X[i·s + u − p, j·s + v − p]", dX: "dX[y, x] = Σ dOut[i, j]·W[y + p − i·s, x + p − j·s]", db: "db = Σ dOut[i, j]",
};

function openPanel() {
  const node = h("div", { class: "bp-open" });
  const update = (view) => {
    const { board: kind, at: [row, col], name, terms } = view.open;
    const total = { dX: ({ dx }) => dx[row][col], dW: ({ dw }) => dw[row][col], db: ({ db }) => db }[kind](view.now);
    const sofar = view.backward ? `After ${view.at + 1} of ${plural(view.count, "position")}: ${number(total)}.` : "The backward pass has not begun.";
    redraw(node, h("h4", {}, `${name}, opened: ${terms.length === 1 ? "one term" : plural(terms.length, "term")}`), h("p", { class: "bp-rule" }, RULES[kind]), sumLine(view.open),
      h("p", { class: "bp-say" }, `${sourcesText(kind, terms, view.count)} ${sofar}`), checkLine(view));
  };
  return { node, update };
}

/** One sentence with the numbers of another route to a gradient, and how many of them agree with the board. */
function routeLine(start, found, wanted) {
  const pairs = found.flatMap((values, row) => values.map((value, col) => value === wanted[row][col]));
  return h("p", { class: "bp-route" }, start, " ", h("b", {}, rowsText(found)), `. ${pairs.filter(Boolean).length} of ${pairs.length} numbers agree with the board.`);
}

function endPanel() {
  const node = h("div", { class: "bp-end" });
  const update = ({ done, image, kernel, dout, given, stride, padding, now }) => {
    const spaced = stride > 1 ? `, spread out with ${stride - 1} zero between its numbers,` : "", padded = padding ? "padded X" : "X";
    const head = h("h4", {}, "Both gradients are convolutions again");
    if (!done) { redraw(node, head, h("p", { class: "bp-say" }, "Go to the end: the totals are then compared with two convolutions.")); return; }
    const byCorrelation = weightGradientAsCorrelation(image, dout, kernel.length, kernel[0].length, ...given);
    const byConvolution = pixelGradientAsConvolution(kernel, dout, image.length, image[0].length, ...given);
    redraw(node, head,
      routeLine(`dW: slide dOut${spaced} over ${padded} (a correlation):`, byCorrelation, now.dw),
      routeLine(`dX: slide W, turned by 180°, over dOut${spaced} with zeros around it (a full convolution${padding ? ", the padding cut off" : ""}):`, byConvolution, now.dx));
  };
  return { node, update };
}

function legend() {
  const key = (kind, text) => [h("span", { class: "bp-whole" }, h("span", { class: `bp-key bp-key-${kind}` }), ` ${text.trim()}`), " "];
  return h("p", { class: "bp-note" }, "dW is short for ∂L/∂W, and so on: how fast the loss L grows with each number. dOut arrives from the layer above. ",
    key("now", "changed by this step. "), key("opened", "opened. "), key("from", "contributes to it. "),
    "Dashed: padding; struck out: thrown away. Tap a number of dX, dW or db to open it; X, W and b can be edited.");
}

function render({ model, el }) {
  let walk = null;
  const leave = frame(model, el, {
    title: "Backprop stepper", keys: KEYS,
    draw: (body, set) => {
      let update = () => "";
      const note = h("p", { class: "cb-error", role: "alert" }), broken = h("p", { class: "cb-error" });
      walk = walker(model, set, () => { el.querySelector(".cb-live").textContent = update(); });
      const parts = [settings(set), walk, boards(model, set, note), stepPanel(set), openPanel(), endPanel()];
      const [controls, ...rest] = parts.map(({ node }) => node);
      const stage = h("div", {}, controls, rest.slice(0, 2), note, legend(), rest.slice(2));
      body.append(broken, stage);
      update = () => {
        const view = look(model);
        broken.textContent = view.bad ? "This state cannot be drawn. Press Reset to start again." : "";
        stage.hidden = Boolean(view.bad);
        if (view.bad) walk.stop();
        else parts.forEach((part) => part.update(view));
        return summary(view, walk.playing());
      };
      return update;
    },
  });
  return () => { walk.stop(); leave(); };
}

export default { render };
