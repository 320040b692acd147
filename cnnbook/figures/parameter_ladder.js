// Three layers with the same input and the same output, and what each costs: dense, locally connected, convolution.
import { checkSizes, frame, h, number, slider, stopSlider } from "./kit.js";

const SIDES = [8, 14, 16, 28, 32, 56, 64, 112, 128, 224, 256, 384, 512];
const CHANNELS = [1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256, 512];
const LIMITS = { side: [8, 512], inChannels: [1, 512], outChannels: [1, 512], kernel: [1, 11] };
const WORDS = { side: "image side", inChannels: "input channels", outChannels: "output channels", kernel: "kernel" };
const TRAITS = { side: "side", inChannels: "in_channels", outChannels: "out_channels", kernel: "kernel" };
const PRESETS = [
  ["MNIST first layer", { side: 28, in_channels: 1, out_channels: 32, kernel: 3 }],
  ["224 photo, 64 filters", { side: 224, in_channels: 3, out_channels: 64, kernel: 3 }],
  ["Deep layer 14 × 14, 256 → 256", { side: 14, in_channels: 256, out_channels: 256, kernel: 3 }],
];
const LAYERS = {
  dense: ["Dense", "Every output value sees every input value, each through a weight of its own."],
  local: ["Locally connected", "Every output value sees one patch, with weights of its own at every position."],
  shared: ["Convolution", "Every output value sees one patch, with the same weights at every position."],
};
const UNITS = 5; // inputs and outputs of the small drawing
const DECADES = 17; // the axis runs from 1 to 10 to this power
const TICKS = [0, 3, 6, 9, 12, 15];

// The arithmetic. Counts are BigInt: at the far end of the sliders they pass 2^53.

const check = (sizes) => checkSizes(sizes, LIMITS, WORDS);

/** Weights of the three layers, biases left out, and the multiplications of one image in `macs`. All BigInt. */
export function counts({ side, inChannels, outChannels, kernel }) {
  check({ side, inChannels, outChannels, kernel });
  const positions = BigInt(side) ** 2n, patch = BigInt(kernel) ** 2n * BigInt(inChannels), filters = BigInt(outChannels);
  const dense = BigInt(inChannels) * positions * filters * positions;
  const local = patch * positions * filters;
  return { dense, local, shared: patch * filters, macs: { dense, local, shared: patch * filters * positions } };
}

/** How many (position, tap) pairs along one axis fall on real pixels; the other kernel·side − inside are on padding. */
export function inside(side, kernel) {
  const reach = (kernel - 1) / 2;
  let total = 0;
  for (let offset = -reach; offset <= reach; offset += 1) total += Math.max(0, side - Math.abs(offset));
  return total;
}

function shorten(n, units) {
  const rounded = Number(Number(n).toPrecision(3));
  const step = Math.max(0, Math.floor(Math.log10(Math.max(1, rounded)) / 3 + 1e-9));
  return `${number(Number((rounded / 1000 ** step).toPrecision(3)))} ${units[step]}`.trim();
}

/** Bytes in decimal units, three significant digits: 1933540589568 -> "1.93 TB". */
export function bytes(n) {
  return shorten(n, ["B", "kB", "MB", "GB", "TB", "PB", "EB"]);
}

/** A count in words: 483385147392 -> "483 billion"; below a million every digit. */
export function big(n) {
  return n < 1_000_000 ? number(n) : shorten(n, ["", "thousand", "million", "billion", "trillion", "quadrillion"]);
}

/** What becomes of a count from one layer to the next: "50,176 times fewer", "about 1.89 times more", "as many". */
export function compare(before, after) {
  if (before === after) return "as many";
  const [more, less] = before > after ? [before, after] : [after, before];
  const factor = Number(more) / Number(less);
  const whole = Number.isInteger(factor) && factor < 1_000_000;
  const shown = factor >= 100 ? Math.round(factor) : Number(factor.toPrecision(3));
  return `${whole ? "" : "about "}${big(shown)} times ${before > after ? "fewer" : "more"}`;
}

/** Where a count stands on the log axis, in percent of its length. */
export function along(n) {
  return (100 * Math.log10(Number(n))) / DECADES;
}

/** The weights of output `unit` (1 to 5) in the small drawing: input it comes from (0 and 6 are padding), weight's number. */
export function wires(layer, unit) {
  const [first, last] = layer === "dense" ? [1, UNITS] : [unit - 1, unit + 1];
  const before = layer === "shared" ? 0 : (unit - 1) * (last - first + 1);
  return Array.from({ length: last - first + 1 }, (_, tap) => ({ from: first + tap, weight: before + tap + 1 }));
}

// What a rung says, as text.

function times(...factors) {
  return factors.map((factor) => number(factor)).join(" × ");
}

/** "6,912 bytes ≈ 6.91 kB"; below a thousand "144 bytes". */
function measured(n) {
  if (n < 1000) return `${number(n)} bytes`;
  return `${number(n)} bytes ${Number(n) === Number(Number(n).toPrecision(3)) ? "=" : "≈"} ${bytes(n)}`;
}

function memoryLines(weights) {
  return [
    ["Memory at 4 bytes a weight", `4 × ${number(weights)} = ${measured(4n * weights)}`],
    ["To train: weight, gradient and Adam’s two moments", `4 × ${number(4n * weights)} = ${measured(16n * weights)}`],
  ];
}

function denseLines({ side, inChannels, outChannels }, { dense }) {
  const [inputs, outputs] = [inChannels * side ** 2, outChannels * side ** 2];
  return [
    ["Input values", `C_in × H × W = ${times(inChannels, side, side)} = ${number(inputs)}`],
    ["Output values", `C_out × H × W = ${times(outChannels, side, side)} = ${number(outputs)}`],
    ["Weights, one for every pair", `${times(inputs, outputs)} = ${number(dense)}`],
    ["Multiplications for one image: every weight once", number(dense)],
    ...memoryLines(dense),
  ];
}

function patchLine({ inChannels, kernel }) {
  return ["Input values in one patch", `K × K × C_in = ${times(kernel, kernel, inChannels)} = ${number(kernel ** 2 * inChannels)}`];
}

function paddingLine({ side, inChannels, outChannels, kernel }) {
  const taps = kernel * side, real = inside(side, kernel);
  const padded = BigInt(taps ** 2 - real ** 2) * BigInt(inChannels) * BigInt(outChannels);
  const what = `Of these on zero padding: ${number(taps)} taps along one axis, ${number(real)} on pixels`;
  return [what, `(${number(taps)}² − ${number(real)}²) × ${times(inChannels, outChannels)} = ${number(padded)}`];
}

function localLines(sizes, { local }) {
  const { side, inChannels, outChannels, kernel } = sizes;
  const outputs = outChannels * side ** 2;
  return [
    patchLine(sizes),
    ["Output values", `C_out × H × W = ${times(outChannels, side, side)} = ${number(outputs)}`],
    ["Weights, a patch of them for every output value", `${times(kernel ** 2 * inChannels, outputs)} = ${number(local)}`],
    paddingLine(sizes),
    ["Multiplications for one image: every weight once", number(local)],
    ...memoryLines(local),
  ];
}

function sharedLines(sizes, { shared, macs }) {
  const { side, inChannels, outChannels, kernel } = sizes;
  return [
    patchLine(sizes),
    ["Weights, a patch of them for every output channel", `${times(kernel ** 2 * inChannels, outChannels)} = ${number(shared)}`],
    ["Positions at which every weight is used", `H × W = ${times(side, side)} = ${number(side ** 2)}`],
    ["Multiplications for one image", `${times(shared, side ** 2)} = ${number(macs.shared)}`],
    ...memoryLines(shared),
  ];
}

function paddingShare(side, kernel) {
  return Math.round(100 * (1 - (inside(side, kernel) / (kernel * side)) ** 2));
}

function steps({ side, kernel }, found) {
  const change = (from, to) => `Weights: ${compare(found[from], found[to])}`;
  const work = (from, to) => `Multiplications: ${compare(found.macs[from], found.macs[to])}`;
  const wide = kernel > side ? `. A patch of ${kernel} × ${kernel} is larger than the image: ${paddingShare(side, kernel)} % of its weights lie on padding.` : "";
  return {
    local: ["Keep only the neighbours", change("dense", "local"), `H·W ÷ K² = ${number(side ** 2)} ÷ ${kernel ** 2}`, `${work("dense", "local")}${wide}`],
    shared: ["Share them across positions", change("local", "shared"), `H·W = ${times(side, side)}`, `${work("local", "shared")} as before`],
  };
}

/** Everything that the ladder says about these sizes, as text: one entry a layer, the two steps, and the whole way. */
export function ladder(sizes) {
  const found = counts(sizes);
  const { side, inChannels, outChannels, kernel } = sizes;
  const product = {
    dense: `(${times(inChannels, side, side)}) × (${times(outChannels, side, side)})`,
    local: `(${times(kernel, kernel, inChannels)}) × (${times(outChannels, side, side)})`,
    shared: `(${times(kernel, kernel, inChannels)}) × ${outChannels}`,
  };
  const lines = { dense: denseLines(sizes, found), local: localLines(sizes, found), shared: sharedLines(sizes, found) };
  const rungs = Object.keys(LAYERS).map((name) => [name, {
    weights: number(found[name]), short: big(found[name]), macs: number(found.macs[name]),
    memory: bytes(4n * found[name]), training: bytes(16n * found[name]),
    product: product[name], lines: lines[name], bar: along(found[name]), ring: along(found.macs[name]),
  }]);
  return { ...Object.fromEntries(rungs), steps: steps(sizes, found), whole: compare(found.dense, found.shared) };
}

function summary({ dense, local, shared, whole }) {
  return `Dense ${dense.short} weights, locally connected ${local.short}, convolution ${shared.short}: ${whole} than dense.`;
}

// The picture.

/** "C_in × H = 6" with its subscript set as such; lines break before an equals sign. */
function equation(text) {
  const symbols = (part) => part.split(/(_in|_out)/).map((piece) => (piece.startsWith("_") ? h("sub", {}, piece.slice(1)) : piece));
  return text.split(/ (?=[=≈])/).flatMap((part) => [h("span", { class: "pl-part" }, symbols(part)), " "]);
}

const column = (place) => 62 + 33 * place;

function wire(layer, unit, { from, weight }, chosen) {
  const tap = layer === "dense" ? from : from - unit + 2;
  const look = `pl-wire pl-tap-${tap} pl-shade-${layer === "shared" ? 1 : unit}${chosen ? " pl-chosen" : ""}`;
  return h("line", { class: look, x1: column(from), y1: 78, x2: column(unit), y2: 22, "data-weight": weight });
}

function cell(row, place, chosen) {
  const padding = row === "input" && (place === 0 || place > UNITS);
  const kind = padding ? "pl-padding" : `pl-${row}`;
  const [x, y] = [column(place) - 8, row === "input" ? 78 : 6];
  const box = h("rect", { class: `${kind}${chosen ? " pl-chosen" : ""}`, x, y, width: 16, height: 16, rx: 3 });
  return padding ? [box, h("text", { x: x + 8, y: y + 12.5, "text-anchor": "middle" }, "0")] : box;
}

function toyWords(layer, unit) {
  const own = wires(layer, unit).map(({ weight }) => weight);
  const all = { dense: UNITS * UNITS, local: 3 * UNITS, shared: 3 }[layer];
  const where = layer !== "dense" && (unit === 1 || unit === UNITS) ? ", one of them on padding" : "";
  return `Output ${unit} uses weights ${own[0]} to ${own.at(-1)} of ${all}${where}.`;
}

/** The connections of a row of five inputs and five outputs; the chosen output's are drawn bold. */
function toy(layer, unit, onPick) {
  const order = Array.from({ length: UNITS }, (_, index) => index + 1).sort((a, b) => (a === unit) - (b === unit));
  const lines = order.flatMap((output) => wires(layer, output).map((one) => wire(layer, output, one, output === unit)));
  const places = Array.from({ length: UNITS + 2 }, (_, place) => place);
  const seen = layer === "dense" ? places.slice(1, -1) : places;
  const cells = [...seen.map((place) => cell("input", place)), ...places.slice(1, -1).map((place) => cell("output", place, place === unit))];
  const labels = [h("text", { x: 0, y: 18 }, "outputs"), h("text", { x: 0, y: 91 }, "inputs")];
  const hits = places.slice(1, -1).map((place) => h("rect", { class: "pl-hit", x: column(place) - 16.5, y: 0, width: 33, height: 100, onclick: () => onPick(place) }));
  return h("svg", { class: "pl-toy", viewBox: "0 0 270 100", role: "img", "aria-label": `${LAYERS[layer][0]}, five inputs. ${toyWords(layer, unit)}` }, lines, cells, labels, hits);
}

function track() {
  const gridlines = TICKS.map((power) => h("i", { class: "pl-line", style: `left:${(100 * power) / DECADES}%` }));
  const bar = h("i", { class: "pl-bar" }), ring = h("i", { class: "pl-ring" });
  const update = (view) => { bar.style.width = `${view.bar}%`; ring.style.left = `${view.ring}%`; };
  return Object.assign(h("div", { class: "pl-track", "aria-hidden": "true" }, gridlines, bar, ring), { update });
}

function axis() {
  const label = (power) => h("span", { style: `left:${(100 * power) / DECADES}%` }, power === 0 ? "1" : ["10", h("sup", {}, String(power))]);
  return h("div", { class: "pl-ticks", "aria-hidden": "true" }, TICKS.map(label));
}

/** All three layers on one log axis: bars for weights, rings for multiplications. */
function chart() {
  const rows = Object.entries(LAYERS).map(([layer, [title]]) => ({ layer, title, value: h("b", {}), line: track() }));
  const update = (view) => {
    for (const { layer, value, line } of rows) { value.textContent = `${view[layer].short} weights`; line.update(view[layer]); }
  };
  const key = h("p", { class: "pl-key" }, h("i", { class: "pl-bar" }), " weights ", h("i", { class: "pl-ring" }), " multiplications for one image. Log scale: from gridline to gridline × 1,000.");
  const bars = rows.map(({ layer, title, value, line }) => h("li", { "data-bar": layer }, h("p", {}, h("span", {}, title), value), line));
  return Object.assign(h("div", { class: "pl-chart" }, h("ul", {}, bars), axis(), key), { update });
}

function costs() {
  const fields = [["macs", "Multiplications"], ["memory", "Memory"], ["training", "Memory to train"]];
  const values = Object.fromEntries(fields.map(([key]) => [key, h("dd", { "data-value": key })]));
  const list = h("dl", { class: "pl-costs" }, fields.map(([key, label]) => h("div", {}, h("dt", {}, label), values[key])));
  return Object.assign(list, { update: (view) => fields.forEach(([key]) => { values[key].textContent = view[key]; }) });
}

function opener(onToggle) {
  const product = h("span", { class: "pl-product" }), list = h("ul", { class: "pl-lines" });
  const node = h("details", { class: "pl-details", ontoggle: onToggle }, h("summary", {}, "Count it: ", product), list);
  const update = (view) => {
    product.textContent = view.product;
    list.replaceChildren(...view.lines.map(([what, sum]) => h("li", {}, h("span", {}, what), h("b", {}, equation(sum)))));
  };
  return Object.assign(node, { update });
}

function step() {
  const parts = [h("strong", {}), h("span", {}), h("span", { class: "pl-ratio" }), h("span", { class: "pl-work" })];
  const update = (words) => parts.forEach((node, index) => { node.textContent = words[index]; });
  return Object.assign(h("p", { class: "pl-step" }, parts), { update });
}

/** One layer: the step that leads to it, its drawing, its numbers, and the count opened up. */
function rung(layer, { onToggle, onPick }) {
  const [title, says] = LAYERS[layer];
  const lead = layer === "dense" ? null : step();
  const picture = h("div", { class: "pl-picture" }), weights = h("span", { "data-value": "weights" });
  const [price, details] = [costs(), opener(onToggle)];
  const words = h("div", { class: "pl-words" }, h("h4", {}, title), h("p", {}, says), h("p", { class: "pl-weights" }, weights, " weights"), price);
  const card = h("div", { class: "pl-card" }, h("div", { class: "pl-top" }, words, picture), details);
  const update = (view, unit, opened) => {
    picture.replaceChildren(toy(layer, unit, onPick), h("p", {}, toyWords(layer, unit)));
    weights.textContent = view[layer].weights;
    lead?.update(view.steps[layer]);
    for (const part of [price, details]) part.update(view[layer]);
    details.open = opened.includes(layer);
  };
  return { node: h("li", { "data-layer": layer }, lead, card), details, update };
}

function controls(model, set) {
  const stop = (label, trait, stops) => [trait, stopSlider({ label, stops, value: model.get(trait), onInput: (value) => set({ [trait]: value }) })];
  const made = Object.fromEntries([
    stop("Side H = W", "side", SIDES), stop("Input channels", "in_channels", CHANNELS), stop("Output channels", "out_channels", CHANNELS),
    ["kernel", slider({ label: "Kernel side K", min: 1, max: 11, step: 2, value: model.get("kernel"), onInput: (kernel) => set({ kernel }) })],
    ["unit", slider({ label: "Output in the drawings", min: 1, max: UNITS, value: model.get("unit"), show: (unit) => `${unit} of ${UNITS}`, onInput: (unit) => set({ unit }) })],
  ]);
  const presets = PRESETS.map(([text, values]) => [h("button", { type: "button", onclick: () => set(values) }, text), values]);
  const update = () => {
    for (const [trait, node] of Object.entries(made)) node.update(model.get(trait));
    for (const [button, values] of presets) button.setAttribute("aria-pressed", Object.entries(values).every(([trait, value]) => model.get(trait) === value));
  };
  const { unit, ...sizes } = made;
  const buttons = h("div", { class: "cb-row pl-presets", role: "group", "aria-label": "Examples" }, presets.map(([button]) => button));
  return { nodes: [buttons, h("div", { class: "cb-row pl-sizes" }, Object.values(sizes))], unit, update };
}

function notes() {
  return h("p", { class: "pl-notes" },
    h("strong", {}, "Fewer weights is not fewer multiplications: "), "sharing saves memory and none of the work. ",
    "Biases are left out. Multiplications are for one image. Memory is that of float32 weights, 4 bytes each, 1 kB = 1,000 bytes; to train, Adam keeps four numbers a weight. Activations come on top. ",
    "“Same” size assumes zero padding, and what falls on padding is counted.");
}

function unitOf(model) {
  const unit = model.get("unit");
  if (!Number.isInteger(unit) || unit < 1 || unit > UNITS) throw new Error(`The output in the drawings must be a whole number from 1 to ${UNITS}, not ${unit}.`);
  return unit;
}

function draw(model, body, set) {
  const opened = () => [model.get("opened")].flat();
  const onToggle = () => {
    const open = Object.keys(rungs).filter((layer) => rungs[layer].details.open);
    if (open.join() !== opened().join()) set({ opened: open });
  };
  const rungs = Object.fromEntries(Object.keys(LAYERS).map((layer) => [layer, rung(layer, { onToggle, onPick: (unit) => set({ unit }) })]));
  const panel = controls(model, set), overview = chart(), same = h("p", { class: "pl-same" });
  const list = h("ol", { class: "pl-ladder" }, Object.values(rungs).map(({ node }) => node));
  const toyRow = h("div", { class: "pl-toyrow" }, panel.unit, h("p", {}, "Five inputs in a row, kernel 3. Same colour and dashes: same weight. Move the slider or press an output."));
  const shown = h("div", {}, same, overview, toyRow, list, notes()), wrong = h("p", { class: "cb-error" });
  const fill = () => {
    const sizes = Object.fromEntries(Object.entries(TRAITS).map(([key, trait]) => [key, model.get(trait)]));
    const view = ladder(sizes), unit = unitOf(model), { side, inChannels, outChannels } = sizes;
    same.textContent = `All three layers turn ${times(inChannels, side, side)} values into ${times(outChannels, side, side)} (channels × height × width). Only the connections differ.`;
    overview.update(view);
    for (const each of Object.values(rungs)) each.update(view, unit, opened());
    return summary(view);
  };
  body.append(...panel.nodes, wrong, shown);
  return () => {
    panel.update();
    try { const said = fill(); wrong.textContent = ""; shown.hidden = false; return said; }
    catch (error) { wrong.textContent = error.message; shown.hidden = true; return "Choose a size with the sliders, or reset."; }
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Parameter ladder", keys: [...Object.values(TRAITS), "unit", "opened"], draw: (body, set) => draw(model, body, set) });
}

export default { render };
