// Convolution explorer: an image, a kernel, and every output number opened down to the products it is the sum of.
import { choice, frame, h, number, redraw, tabStop, walkGrid } from "./kit.js";

const KEYS = ["image", "kernel", "stride", "padding", "dilation", "row", "col", "walk"];
const RANGES = { stride: [1, 3], padding: [0, 2], dilation: [1, 3] };
const SIDES = { image: [4, 8], kernel: [1, 4] };
const LARGEST = 99;
const PACE = 700;

const IMAGES = {
  ramp: ["Ramp", (row, col, rows, cols) => row * cols + col + 1],
  step: ["Step edge", (row, col, rows, cols) => Number(col >= Math.ceil(cols / 2))],
  pixel: ["One bright pixel", (row, col, rows, cols) => Number(row === Math.floor(rows / 2) && col === Math.floor(cols / 2))],
  checker: ["Checkerboard", (row, col) => (row + col) % 2],
};
const DIGIT = [
  [0, 0, 0, 0, 0, 0, 0, 0], [0, 5, 8, 9, 9, 9, 4, 0], [0, 2, 4, 4, 5, 9, 5, 0], [0, 0, 0, 0, 6, 8, 0, 0],
  [0, 0, 0, 4, 9, 3, 0, 0], [0, 0, 1, 8, 6, 0, 0, 0], [0, 0, 5, 9, 1, 0, 0, 0], [0, 0, 6, 4, 0, 0, 0, 0],
];
const KERNELS = {
  sobel_x: ["Sobel X", [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]],
  sobel_y: ["Sobel Y", [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]],
  blur: ["Blur, ninths", [[1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9], [1 / 9, 1 / 9, 1 / 9]]],
  sharpen: ["Sharpen", [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]],
  identity: ["Identity", [[0, 0, 0], [0, 1, 0], [0, 0, 0]]],
  two_tap: ["Two taps −1, 1", [[-1, 1]]],
};

// ---- Arithmetic ----

/** Rows (or columns) that a kernel covers, gaps included. */
export function span(kernel, dilation = 1) {
  return dilation * (kernel - 1) + 1;
}

/** Positions of a kernel along one axis; throws, in words, where it does not fit. */
export function outputSize(size, kernel, stride = 1, padding = 0, dilation = 1) {
  for (const [name, value] of Object.entries({ size, kernel, stride, dilation, padding })) {
    const least = name === "padding" ? 0 : 1;
    if (!Number.isInteger(value)) throw new Error(`${name} must be an integer, got ${value}`);
    if (value < least) throw new Error(`${name} must be at least ${least}, got ${value}`);
  }
  const padded = size + 2 * padding, covered = span(kernel, dilation);
  if (covered > padded) {
    throw new Error(`a kernel of ${kernel} with dilation ${dilation} spans ${covered}, but the padded input has only `
      + `${padded} (${size} + 2·${padding}); enlarge the input or padding, or shrink the kernel`);
  }
  return Math.floor((padded - covered) / stride) + 1;
}

/** Rows (or columns) at the far end of the padded input that the stride leaves over. */
export function leftover(size, kernel, stride = 1, padding = 0, dilation = 1) {
  const last = (outputSize(size, kernel, stride, padding, dilation) - 1) * stride + span(kernel, dilation);
  return size + 2 * padding - last;
}

/** What one output is the sum of, in the kernel's order; `inside` is false where a zero of the padding is read. */
export function products(image, kernel, row, col, stride = 1, padding = 0, dilation = 1) {
  return kernel.flatMap((weights, i) => weights.map((weight, j) => {
    const y = row * stride + i * dilation - padding, x = col * stride + j * dilation - padding;
    const value = image[y]?.[x];
    const inside = value !== undefined;
    return { i, j, y, x, value: inside ? value : 0, weight, product: inside ? value * weight : 0, inside };
  }));
}

/** The sum of a list of products. */
export function total(terms) {
  return terms.reduce((sum, { product }) => sum + product, 0);
}

/** Cross-correlation, which deep learning calls convolution: the kernel is not flipped. */
export function correlate(image, kernel, stride = 1, padding = 0, dilation = 1) {
  const rows = outputSize(image.length, kernel.length, stride, padding, dilation);
  const cols = outputSize(image[0].length, kernel[0].length, stride, padding, dilation);
  return table(rows, cols, (row, col) => total(products(image, kernel, row, col, stride, padding, dilation)));
}

/** The outputs that read pixel (y, x); a pixel of the padding has negative or too large coordinates. */
export function readers(image, kernel, y, x, stride = 1, padding = 0, dilation = 1) {
  const along = (place, size, taps) => Array.from({ length: outputSize(size, taps, stride, padding, dilation) }, (_, at) => at)
    .filter((at) => Array.from({ length: taps }, (_, tap) => at * stride + tap * dilation - padding).includes(place));
  const cols = along(x, image[0].length, kernel[0].length);
  return along(y, image.length, kernel.length).flatMap((row) => cols.map((col) => [row, col]));
}

/** rows × cols, each value from at(row, col, rows, cols). */
function table(rows, cols, at) {
  return Array.from({ length: rows }, (_, row) => Array.from({ length: cols }, (_, col) => at(row, col, rows, cols)));
}

// ---- Presets and editing ----

/** A preset image at a size; the digit always has its own 8 × 8. */
export function presetImage(name, rows, cols) {
  return name === "digit" ? structuredClone(DIGIT) : table(rows, cols, IMAGES[name][1]);
}

/** A preset kernel. */
export function presetKernel(name) {
  return structuredClone(KERNELS[name][1]);
}

/** The preset that an image is, or "own". */
export function imageName(image) {
  const same = (name) => sameTable(presetImage(name, image.length, image[0].length), image);
  return [...Object.keys(IMAGES), "digit"].find(same) ?? "own";
}

/** The preset that a kernel is, or "own". */
export function kernelName(kernel) {
  return Object.keys(KERNELS).find((name) => sameTable(KERNELS[name][1], kernel)) ?? "own";
}

function sameTable(one, other) {
  const same = (row, i) => row.length === other[i].length && row.every((value, j) => Math.abs(value - other[i][j]) < 1e-9);
  return one.length === other.length && one.every(same);
}

/** An image at another size: a preset is drawn anew, own values are cut or filled with zeros at the far end. */
export function resizeImage(image, rows, cols) {
  const name = imageName(image);
  if (name in IMAGES) return presetImage(name, rows, cols);
  return table(rows, cols, (row, col) => image[row]?.[col] ?? 0);
}

/** A kernel at another size: its middle is kept, new weights are zeros. */
export function resizeKernel(kernel, rows, cols) {
  const shift = (old, wanted) => Math.sign(old - wanted) * Math.floor(Math.abs(old - wanted) / 2);
  const down = shift(kernel.length, rows), right = shift(kernel[0].length, cols);
  return table(rows, cols, (row, col) => kernel[row + down]?.[col + right] ?? 0);
}

/** What a reader typed: −99 to 99; a pixel has at most one decimal, a weight three, or is a fraction. Else NaN. */
export function parseCell(text, kind) {
  const bare = text.trim().replace("−", "-").replace(",", ".");
  const [, above, below] = (kind === "kernel" && bare.match(/^(-?\d+)\/(\d+)$/)) || [];
  const plain = kind === "kernel" ? /^[-+]?(\d+\.?\d{0,3}|\.\d{1,3})$/ : /^[-+]?(\d+\.?\d?|\.\d)$/;
  const value = below ? Number(above) / Number(below) : plain.test(bare) ? Number(bare) : NaN;
  return Math.abs(value) <= LARGEST ? value + 0 : NaN;
}

// ---- Words ----

/** At most two decimals, and never "−0". */
export function rounded(value) {
  return number(Number(value.toFixed(2)) + 0, 2);
}

/** A number without loss where that is short: three decimals, else a fraction of up to sixteenths; null where neither is. */
export function exact(value) {
  const near = (other) => Math.abs(other - value) < 1e-9;
  const short = Number(value.toFixed(3)) + 0;
  if (near(short)) return number(short, 3);
  const below = Array.from({ length: 14 }, (_, index) => index + 3).find((parts) => near(Math.round(value * parts) / parts));
  return below ? `${number(Math.round(value * below), 0)}/${below}` : null;
}

/** "= 8", "= 1/3 ≈ 0.33" or "≈ 0.53". */
export function equals(value) {
  const text = exact(value);
  if (text === null) return `≈ ${rounded(value)}`;
  return text.includes("/") ? `= ${text} ≈ ${rounded(value)}` : `= ${text}`;
}

function plainText(value) {
  return exact(value) ?? rounded(value);
}

/** "6×(−2)"; a negative number or a fraction stands in brackets. */
export function termText({ value, weight }) {
  const factor = (text) => (/^[\d.,]+$/.test(text) ? text : `(${text})`);
  return `${factor(plainText(value))}×${factor(plainText(weight))}`;
}

/** Pieces between which a narrow cell may break: after the ×. */
function breakable(text) {
  const [value, weight] = text.split("×");
  return [`${value}×`, h("wbr"), weight];
}

/** The formula of the output's size with its numbers. */
export function sizeText(size, kernel, stride, padding, dilation) {
  const result = outputSize(size, kernel, stride, padding, dilation);
  return `⌊(${size} + 2·${padding} − ${dilation}·(${kernel}−1) − 1)/${stride}⌋ + 1 = ${result}`;
}

/** What the stride leaves over, in words; empty where it comes out even. */
export function leftoverText(image, kernel, stride, padding, dilation) {
  const rows = leftover(image.length, kernel.length, stride, padding, dilation);
  const cols = leftover(image[0].length, kernel[0].length, stride, padding, dilation);
  const count = (many, one) => many > 0 && (many === 1 ? `the last ${one}` : `the last ${many} ${one}s`);
  const lost = [count(rows, "row"), count(cols, "column")].filter(Boolean).join(" and ");
  const whole = padding ? "padded image" : "image";
  return lost ? `Stride ${stride} does not come out even: ${lost} of the ${whole} ${rows + cols === 1 ? "is" : "are"} left over.` : "";
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault(state) {
  const sides = Object.entries(SIDES).map(([name, limits]) => tableFault(name, state[name], limits));
  const ranges = Object.entries(RANGES).map(([name, [least, most]]) => (
    Number.isInteger(state[name]) && state[name] >= least && state[name] <= most ? null : `The ${name} must be a whole number from ${least} to ${most}.`));
  return [...sides, ...ranges].find(Boolean) ?? null;
}

function tableFault(name, rows, [least, most]) {
  const fits = (list) => Array.isArray(list) && list.length >= least && list.length <= most;
  if (!fits(rows) || !rows.every((row) => fits(row) && row.length === rows[0].length)) {
    return `The ${name} must have ${least} to ${most} rows of ${least} to ${most} numbers each, all rows equally long.`;
  }
  const good = (value) => Number.isFinite(value) && Math.abs(value) <= LARGEST;
  return rows.flat().every(good) ? null : `Every number of the ${name} must lie between −${LARGEST} and ${LARGEST}.`;
}

// ---- The state, ready to be drawn ----

/** The traits, and what follows from them: the output, the chosen position and its products; or what is wrong. */
function look(model) {
  const state = Object.fromEntries(KEYS.map((key) => [key, model.get(key)]));
  const bad = fault(state);
  if (bad) return { ...state, bad };
  const settings = [state.stride, state.padding, state.dilation];
  const errors = misfits(state, settings);
  if (errors.length) return { ...state, settings, errors };
  const output = correlate(state.image, state.kernel, ...settings);
  const within = (at, count) => Math.min(Math.max(Math.trunc(at) || 0, 0), count - 1);
  const row = within(state.row, output.length), col = within(state.col, output[0].length);
  const place = row * output[0].length + col, count = output.length * output[0].length;
  const terms = products(state.image, state.kernel, row, col, ...settings);
  return { ...state, settings, output, row, col, place, count, terms };
}

function misfits({ image, kernel }, settings) {
  const axes = [["Height", image.length, kernel.length], ["Width", image[0].length, kernel[0].length]];
  return axes.flatMap(([axis, size, taps]) => {
    try { outputSize(size, taps, ...settings); } catch (error) { return [`${axis}: ${error.message}.`]; }
    return [];
  });
}

function summary(view, playing) {
  if (view.bad) return view.bad;
  if (view.errors) return "No output: the kernel does not fit into the image.";
  if (playing) return "The kernel walks over the image, row by row.";
  const value = `output[${view.row}, ${view.col}] ${equals(view.output[view.row][view.col])}`;
  if (view.walk) return `Position ${view.place + 1} of ${view.count}: ${value}.`;
  return `The output is ${view.output.length} × ${view.output[0].length}. ${value}, the sum of ${view.terms.length} product${view.terms.length === 1 ? "" : "s"}.`;
}

// ---- Grids that are walked with the arrow keys ----

/** A grid with one Tab stop. `cell(row, col)` gives a cell; what carries data-at in it takes the focus. */
function board({ label, kind, rows, cols, pad = 0, cell, onMove = () => {} }) {
  const tracks = (count) => [...Array(pad).fill("var(--pad)"), ...Array(count).fill("var(--cell)"), ...Array(pad).fill("var(--pad)")].join(" ");
  const style = `--across: ${cols + 2 * pad}; --inner: ${cols}; --outer: ${2 * pad || 1}; grid-template-columns: ${tracks(cols)}; grid-template-rows: ${tracks(rows).replaceAll("--cell", "--tall")}`;
  const cells = table(rows + 2 * pad, cols + 2 * pad, (row, col) => cell(row - pad, col - pad));
  cells.forEach((line, row) => line.forEach((node, col) => { node.style.gridArea = `${row + 1} / ${col + 1}`; }));
  const lines = cells.map((line) => h("div", { class: "cb-conv-line", role: "row" }, line));
  const node = h("div", { class: `cb-conv-grid cb-conv-${kind}`, role: "grid", "aria-label": label, style }, lines);
  walkGrid(node, rows, cols, onMove);
  return { node, cells };
}

/** Shade a cell by its share of the largest value; negative values are striped. */
function shade(cell, value, most) {
  cell.style.setProperty("--v", most ? (Math.abs(value) / most).toFixed(3) : "0");
  cell.classList.toggle("cb-conv-negative", value < 0);
}

/** Let every cell be at least as wide as the longest text needs. */
function widen(node, texts, least) {
  node.style.setProperty("--least", `${Math.max(least, 6 + 8.2 * Math.max(...texts.map((text) => text.length)))}px`);
}

function largest(rows) {
  return Math.max(...rows.flat().map(Math.abs));
}

// ---- Cells that are edited ----

/** A text field for one number. No inputmode: the decimal keyboard of a phone may lack the minus sign. */
function field(kind, row, col, edit) {
  const input = h("input", {
    class: "cb-conv-field", type: "text", autocomplete: "off", "data-at": `${row},${col}`, tabindex: row || col ? -1 : 0,
    "aria-label": `${kind}, row ${row}, column ${col}`, onfocus: () => input.select(), onclick: () => input.select(),
    oninput: () => edit(input, row, col), onblur: () => edit(input, row, col, true),
  });
  return input;
}

/** Show a value in a field, but never rewrite what the reader is typing while it means the same. */
function fill(input, value, kind) {
  const typing = input === document.activeElement && Math.abs(parseCell(input.value, kind) - value) < 1e-9;
  const text = kind === "kernel" ? plainText(value) : rounded(value);
  if (!typing && input.value !== text) input.value = text;
}

/** The handler of a field: a number changes the trait, anything else is refused in words and undone on leaving. */
function editor(kind, model, set, note) {
  return (input, row, col, leaving = false) => {
    const value = parseCell(input.value, kind), wrong = Number.isNaN(value) && !leaving;
    const rule = kind === "kernel" ? "a number from −99 to 99, or a fraction such as 1/9" : "a number from −99 to 99, with at most one decimal";
    input.setAttribute("aria-invalid", wrong);
    note.textContent = wrong ? `A cell takes ${rule}.` : "";
    const rows = model.get(kind);
    if (leaving) fill(input, rows[row][col], kind);
    else if (!wrong && value !== rows[row][col]) set({ [kind]: rows.map((line, i) => line.map((old, j) => (i === row && j === col ? value : old))) });
  };
}

// ---- Parts of the figure: each has a node, and update(view) ----

/** Two small drop-downs, rows × columns. */
function sizePicker(kind, onChange) {
  const [least, most] = SIDES[kind];
  const sizes = Array.from({ length: most - least + 1 }, (_, index) => least + index);
  const picker = (side) => h("select", { "aria-label": `${kind} ${side}`, onchange: () => onChange(Number(tall.value), Number(wide.value)) },
    sizes.map((size) => h("option", { value: size }, String(size))));
  const tall = picker("height"), wide = picker("width");
  const update = (rows) => { tall.value = rows.length; wide.value = rows[0].length; };
  return { node: h("span", { class: "cb-conv-size" }, tall, "×", wide), update };
}

/** Radio buttons side by side for a small range. */
function segments(label, key, set) {
  const [least, most] = RANGES[key];
  const name = `cb-conv-${key}-${Math.random().toString(36).slice(2)}`;
  const inputs = Array.from({ length: most - least + 1 }, (_, index) => h("input", { type: "radio", name, value: least + index, onchange: () => set({ [key]: least + index }) }));
  const node = h("fieldset", { class: "cb-conv-segments", "data-setting": key }, h("legend", {}, label),
    inputs.map((input) => h("label", {}, input, h("span", {}, input.value))));
  return { node, update: (view) => inputs.forEach((input) => { input.checked = Number(input.value) === view[key]; }) };
}

function presetChoice(kind, label, pairs, nameOf, make, set) {
  const own = ["own", "Own values"];
  const node = choice({ label, options: [...pairs, own], value: "own", onChange: (name) => { if (name !== "own") set({ [kind]: make(name) }); } });
  const update = (view) => {
    const name = tableFault(kind, view[kind], SIDES[kind]) ? "own" : nameOf(view[kind]);
    node.querySelector("[value=own]").disabled = name !== "own";
    node.update(name);
  };
  return { node, update };
}

function settings(model, set) {
  const shape = () => (tableFault("image", model.get("image"), SIDES.image) ? [5, 5] : [model.get("image").length, model.get("image")[0].length]);
  const images = [...Object.entries(IMAGES).map(([name, [text]]) => [name, text]), ["digit", "Digit, 8 × 8"]];
  const parts = [
    presetChoice("image", "Image", images, imageName, (name) => presetImage(name, ...shape()), set),
    presetChoice("kernel", "Kernel", Object.entries(KERNELS).map(([name, [text]]) => [name, text]), kernelName, presetKernel, set),
    segments("Stride", "stride", set), segments("Zero padding", "padding", set), segments("Dilation", "dilation", set),
  ];
  return { node: h("div", { class: "cb-row cb-conv-settings" }, parts.map(({ node }) => node)), update: (view) => parts.forEach((part) => part.update(view)) };
}

/** The image with its padding, and on it the frame of the chosen patch. */
function imagePanel(model, set) {
  const wrong = h("p", { class: "cb-error", role: "alert" }), note = h("p", { class: "cb-conv-note" });
  const size = sizePicker("image", (rows, cols) => set({ image: resizeImage(model.get("image"), rows, cols) }));
  const edit = editor("image", model, set, wrong), holder = h("div", { class: "cb-scroll" });
  const patch = h("div", { class: "cb-conv-patch", "aria-hidden": "true" });
  let grid = null, shape = "";
  const build = ({ image, padding }) => {
    const inside = (row, col) => image[row]?.[col] !== undefined;
    const cell = (row, col) => (inside(row, col) ? h("div", { class: "cb-conv-cell", role: "gridcell", "data-pixel": `${row},${col}` }, field("image", row, col, edit))
      : h("div", { class: "cb-conv-cell cb-conv-padding", role: "gridcell", "aria-label": "padding, 0", "data-pixel": `${row},${col}` }, "0"));
    grid = board({ label: "image", kind: "image", rows: image.length, cols: image[0].length, pad: padding, cell });
    holder.replaceChildren(grid.node);
  };
  const update = (view) => {
    const next = [view.image.length, view.image[0].length, view.padding].join();
    if (next !== shape) build(view);
    shape = next;
    size.update(view.image);
    widen(grid.node, view.image.flat().map(rounded), 32);
    paintImage(grid.cells, view);
    placePatch(grid.node, patch, view);
  };
  return { node: h("div", { class: "cb-conv-panel" }, h("div", { class: "cb-conv-head cb-conv-in" }, h("strong", {}, "Image"), size.node), holder, note, wrong), update, note };
}

function paintImage(cells, view) {
  const most = largest(view.image), { padding, dilation } = view;
  const taps = new Map((view.terms ?? []).map(({ i, j, y, x }) => [`${y},${x}`, `${i},${j}`]));
  for (const [row, col, cell] of cells.flatMap((line, r) => line.map((node, c) => [r - padding, c - padding, node]))) {
    const value = view.image[row]?.[col], tap = taps.get(`${row},${col}`);
    if (value !== undefined) fill(cell.firstChild, value, "image");
    shade(cell, value ?? 0, most);
    cell.classList.toggle("cb-conv-tap", tap !== undefined && dilation > 1);
    cell.classList.toggle("cb-conv-unread", !view.errors && readers(view.image, view.kernel, row, col, ...view.settings).length === 0);
    if (tap) cell.dataset.tap = tap; else delete cell.dataset.tap;
  }
}

function placePatch(node, patch, { errors, kernel, row, col, stride, dilation }) {
  patch.hidden = Boolean(errors);
  if (errors) return;
  patch.style.gridArea = `${row * stride + 1} / ${col * stride + 1} / span ${span(kernel.length, dilation)} / span ${span(kernel[0].length, dilation)}`;
  node.append(patch);
}

function kernelPanel(model, set) {
  const wrong = h("p", { class: "cb-error", role: "alert" });
  const size = sizePicker("kernel", (rows, cols) => set({ kernel: resizeKernel(model.get("kernel"), rows, cols) }));
  const edit = editor("kernel", model, set, wrong), holder = h("div", { class: "cb-scroll" });
  let grid = null, shape = "";
  const cell = (row, col) => h("div", { class: "cb-conv-cell", role: "gridcell", "data-tap": `${row},${col}` }, field("kernel", row, col, edit));
  const update = ({ kernel }) => {
    const next = [kernel.length, kernel[0].length].join();
    if (next !== shape) grid = board({ label: "kernel", kind: "kernel", rows: kernel.length, cols: kernel[0].length, cell });
    if (next !== shape) holder.replaceChildren(grid.node);
    shape = next;
    size.update(kernel);
    widen(grid.node, kernel.flat().map(plainText), 40);
    kernel.forEach((line, i) => line.forEach((value, j) => { fill(grid.cells[i][j].firstChild, value, "kernel"); shade(grid.cells[i][j], value, largest(kernel)); }));
  };
  return { node: h("div", { class: "cb-conv-panel" }, h("div", { class: "cb-conv-head cb-conv-weights" }, h("strong", {}, "Kernel"), size.node), holder, wrong), update };
}

function outputPanel(set) {
  const holder = h("div", { class: "cb-scroll" }), size = h("span", { class: "cb-conv-shape" });
  const choose = (row, col) => set({ walk: false, row, col });
  let grid = null, shape = "";
  const cell = (row, col) => h("div", { class: "cb-conv-cell", role: "gridcell", tabindex: -1, "data-at": `${row},${col}`, onclick: () => choose(row, col) });
  const update = (view) => {
    const { output } = view, next = [output?.length, output?.[0].length].join();
    size.textContent = output ? `${output.length} × ${output[0].length}` : "none";
    if (!output) holder.replaceChildren(...view.errors.map((error) => h("p", { class: "cb-error" }, error)));
    else if (next !== shape) {
      grid = board({ label: "output", kind: "output", rows: output.length, cols: output[0].length, cell, onMove: choose });
      holder.replaceChildren(grid.node);
    }
    shape = next;
    if (output) paintOutput(grid, view);
  };
  return { node: h("div", { class: "cb-conv-panel" }, h("div", { class: "cb-conv-head cb-conv-out" }, h("strong", {}, "Output"), size), holder), update };
}

function paintOutput({ node, cells }, { output, row, col, place, walk }) {
  const texts = output.flat().map(rounded), most = largest(output), cols = output[0].length;
  widen(node, texts, 34);
  cells.flat().forEach((cell, index) => {
    const hidden = walk && index > place;
    cell.textContent = hidden ? "·" : texts[index];
    cell.setAttribute("aria-label", `output[${Math.floor(index / cols)}, ${index % cols}], ${hidden ? "not reached yet" : texts[index]}`);
    cell.setAttribute("aria-selected", index === place);
    cell.classList.toggle("cb-conv-hidden", hidden);
    shade(cell, hidden ? 0 : output.flat()[index], most);
  });
  tabStop(node, [row, col]);
}

/** The chosen number: its products in the kernel's shape, and the sum written out. */
function numberPanel() {
  const node = h("div", { class: "cb-conv-number" });
  const product = (term) => h("div", {
    class: `cb-conv-cell${term.inside ? "" : " cb-conv-padding"}`, role: "gridcell", tabindex: term.i || term.j ? -1 : 0,
    "data-at": `${term.i},${term.j}`, "data-tap": `${term.i},${term.j}`, "data-key": `product-${term.i},${term.j}`,
  }, h("span", { class: "cb-conv-term" }, breakable(termText(term))), " ", h("span", { class: "cb-conv-product" }, equals(term.product).split(" ≈")[0]));
  const update = ({ terms, kernel, output, row, col }) => {
    if (!terms) { node.replaceChildren(); return; }
    const cell = (i, j) => product(terms[i * kernel[0].length + j]);
    const grid = board({ label: `products of output[${row}, ${col}]`, kind: "products", rows: kernel.length, cols: kernel[0].length, cell });
    const sum = terms.map((term, index) => [index ? " + " : "", h("span", { "data-tap": `${term.i},${term.j}` }, termText(term))]);
    redraw(node, h("h4", {}, `output[${row}, ${col}] is the sum of ${terms.length === 1 ? "one product" : `${terms.length} products`}`),
      h("div", { class: "cb-scroll" }, grid.node),
      h("p", { class: "cb-conv-sum" }, sum, " ", h("strong", {}, equals(output[row][col]))));
  };
  return { node, update };
}

/** How to read the colours; struck cells are explained only where there are some. */
function legendLine() {
  const node = h("p", { class: "cb-conv-note" });
  const update = ({ image, kernel, padding, settings: given, errors }) => {
    const read = (row, col) => readers(image, kernel, row, col, ...given).length;
    const padded = table(image.length + 2 * padding, image[0].length + 2 * padding, (row, col) => [row - padding, col - padding]);
    const struck = !errors && padded.flat().some(([row, col]) => !read(row, col));
    node.textContent = `Deeper colour: larger value. Stripes: negative.${struck ? " Struck through: read by no position." : ""}`;
  };
  return { node, update };
}

function sizePanel() {
  const node = h("div", { class: "cb-conv-sizes" });
  const line = (axis, text) => h("p", {}, h("span", { class: "cb-conv-axis" }, axis), h("span", {}, text));
  const update = ({ errors, image, kernel, settings: given }) => {
    const sides = () => [line("Height", sizeText(image.length, kernel.length, ...given)), line("Width", sizeText(image[0].length, kernel[0].length, ...given))];
    redraw(node, h("h4", {}, "Size of the output"), line("Rule", "⌊(size + 2·padding − dilation·(kernel−1) − 1)/stride⌋ + 1"),
      errors ? null : sides(), errors ? null : h("p", { class: "cb-conv-left" }, leftoverText(image, kernel, ...given)));
  };
  return { node, update };
}

// ---- Walking over the image ----

/** Buttons that move the kernel on: one step, or a sweep, which is not offered where the reader wants no motion. */
function walker(model, set, refresh) {
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; };
  const go = (place) => {
    const { output, count } = look(model), at = (place + count) % count;
    set({ walk: true, row: Math.floor(at / output[0].length), col: at % output[0].length });
  };
  const tick = () => {
    const view = look(model);
    if (!node.isConnected || !view.output || view.place + 2 >= view.count) stop();
    if (view.output) go(Math.min(view.place + 1, view.count - 1));
  };
  const play = () => {
    if (timer !== null) { stop(); refresh(); return; }
    const { place, count, walk } = look(model);
    go(walk && place < count - 1 ? place : 0);
    if (count > 1) timer = setInterval(tick, PACE);
    refresh();
  };
  const button = (text, onclick) => h("button", { type: "button", onclick }, text);
  const steps = [button("Previous", () => { stop(); go(look(model).place - 1); }), button("Next position", () => { stop(); go(look(model).place + 1); })];
  const sweep = button("Play", play), all = button("Show all outputs", () => { stop(); set({ walk: false }); });
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const node = h("div", { class: "cb-conv-walk" }, steps, still ? null : sweep, all);
  const update = (view) => {
    if (!view.output || !view.walk) stop();
    for (const each of [...steps, sweep]) each.disabled = !view.output;
    all.disabled = !view.output || !view.walk;
    sweep.textContent = timer === null ? "Play" : "Pause";
  };
  return { node, update, stop, playing: () => timer !== null };
}

/** Pointing at one product, weight or pixel marks the same one everywhere, and the outputs that read a pixel. */
function pointer(body, model, note) {
  const mark = (selector, name) => {
    body.querySelectorAll(`.${name}`).forEach((node) => node.classList.remove(name));
    if (selector) body.querySelectorAll(selector).forEach((node) => node.classList.add(name));
  };
  const point = (event) => {
    const tap = event.target.closest?.("[data-tap]")?.dataset.tap, pixel = event.target.closest?.("[data-pixel]")?.dataset.pixel;
    const view = look(model);
    mark(tap && `[data-tap="${tap}"]`, "cb-conv-same");
    const found = pixel && view.output ? readers(view.image, view.kernel, ...pixel.split(",").map(Number), ...view.settings) : [];
    mark(found.map((place) => `.cb-conv-output [data-at="${place}"]`).join(), "cb-conv-reader");
    note.textContent = pixel && view.output ? readersText(pixel, found.length, view) : "Type a number into any cell.";
  };
  let last = "";
  body.addEventListener("focusin", point);
  body.addEventListener("pointerover", (event) => { // one without a move comes from scrolling under a resting mouse
    const spot = `${event.screenX},${event.screenY}`;
    if (spot !== last) point(event);
    last = spot;
  });
  body.addEventListener("pointerleave", () => point({ target: body }));
  point({ target: body });
}

function readersText(pixel, found, { image, count }) {
  const [row, col] = pixel.split(",").map(Number);
  const name = image[row]?.[col] === undefined ? "This padding cell" : `image[${row}, ${col}]`;
  return `${name} is read by ${found} of ${count} positions.`;
}

function render({ model, el }) {
  let walk = null;
  const leave = frame(model, el, {
    title: "Convolution explorer", keys: KEYS,
    draw: (body, set) => {
      let update = () => "";
      const controls = settings(model, set), image = imagePanel(model, set);
      walk = walker(model, set, () => { el.querySelector(".cb-live").textContent = update(); });
      const legend = legendLine();
      const parts = [image, kernelPanel(model, set), outputPanel(set), walk, numberPanel(), sizePanel(), legend];
      const stage = h("div", {}, h("div", { class: "cb-conv-boards" }, parts.slice(0, 3).map(({ node }) => node)),
        legend.node, walk.node, parts[4].node, parts[5].node);
      const broken = h("p", { class: "cb-error" });
      body.append(controls.node, broken, stage);
      pointer(body, model, image.note);
      update = () => {
        const view = look(model);
        controls.update(view);
        broken.textContent = view.bad ? "This state cannot be drawn. Choose an image, a kernel and the settings above." : "";
        stage.hidden = Boolean(view.bad);
        if (!view.bad) parts.forEach((part) => part.update(view));
        return summary(view, walk.playing());
      };
      return update;
    },
  });
  return () => { walk.stop(); leave(); };
}

export default { render };
