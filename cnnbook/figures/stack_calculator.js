// A stack of layers edited in place: the shape, parameters and work of every layer, each opened to its formula.
import { choice, frame, h, number } from "./kit.js";

const KINDS = {
  conv: { title: "Convolution", settings: ["out", "kernel", "stride", "padding", "dilation", "groups", "bias"] },
  max_pool: { title: "Max pool", settings: ["kernel", "stride", "padding", "dilation"] },
  avg_pool: { title: "Average pool", settings: ["kernel", "stride", "padding"] },
  global_avg_pool: { title: "Global avg pool", settings: [] },
  flatten: { title: "Flatten", settings: [] },
  linear: { title: "Linear", settings: ["out", "in_features", "bias"] },
};
const POOLS = ["max_pool", "avg_pool"];
const LABELS = {
  channels: "Channels", height: "Height", width: "Width", out: "Out", kernel: "Kernel", stride: "Stride", padding: "Padding",
  dilation: "Dilation", groups: "Groups", bias: "Bias", in_features: "Built for",
};
const LIMITS = {
  channels: [1, 100_000], height: [1, 10_000], width: [1, 10_000], out: [1, 100_000], kernel: [1, 99], stride: [1, 99],
  padding: [0, 99], dilation: [1, 99], groups: [1, 100_000], in_features: [1, 1_000_000_000],
};
const AXES = ["height", "width"];
const PAIRED = ["kernel", "stride", "padding", "dilation"];
const MOST_LAYERS = 24;
const NEW = {
  conv: { kind: "conv", out: 64, kernel: 3, padding: 1 }, max_pool: { kind: "max_pool", kernel: 2 }, avg_pool: { kind: "avg_pool", kernel: 2 },
  global_avg_pool: { kind: "global_avg_pool" }, flatten: { kind: "flatten" }, linear: { kind: "linear", out: 10 },
};

const conv = (out, kernel, more = {}) => ({ kind: "conv", out, kernel, ...more });
const maxPool = (kernel, more = {}) => ({ kind: "max_pool", kernel, ...more });
const linear = (out, more = {}) => ({ kind: "linear", out, ...more });
const [flatten, globalPool] = [{ kind: "flatten" }, { kind: "global_avg_pool" }];
const PRESETS = [
  ["A 224 photo, three ways to shrink", [3, 224, 224], [conv(64, 7, { stride: 2, padding: 3 }), maxPool(3, { stride: 2 }), conv(128, 3, { padding: "same" }), globalPool, flatten, linear(1000)]],
  ["The CIFAR net of this book", [3, 32, 32], [conv(64, 3, { padding: 1 }), maxPool(2), conv(128, 3, { padding: 1 }), maxPool(2), flatten, linear(10)]],
  ["LeNet-5 (modern copy)", [1, 32, 32], [conv(6, 5), maxPool(2), conv(16, 5), maxPool(2), conv(120, 5), flatten, linear(84), linear(10)]],
  ["VGG-16, first blocks", [3, 224, 224], [64, 128, 256].flatMap((out) => [...Array(out < 256 ? 2 : 3).fill(conv(out, 3, { padding: 1 })), maxPool(2)])],
  ["An even kernel with “same”", [3, 32, 32], [conv(16, 4, { padding: "same" }), conv(16, 4, { padding: 1 }), conv(16, 4, { padding: 2 })]],
  ["BrokenCNN", [1, 28, 28], [conv(16, 5), maxPool(2), conv(32, 5), maxPool(2), flatten, linear(10, { in_features: 800 })]],
];

// ---- Arithmetic ----

const pair = (value) => (Array.isArray(value) ? value : [value, value]);
const multiply = (values) => values.reduce((result, value) => result * value, 1);

/** A layer with every setting of its kind: what is left out gets PyTorch's default. A pool's stride is its kernel. */
export function complete(layer) {
  const defaults = { stride: layer.kind === "conv" ? 1 : layer.kernel, padding: 0, dilation: 1, groups: 1, bias: true, in_features: null };
  return { kind: layer.kind, ...Object.fromEntries(KINDS[layer.kind].settings.map((key) => [key, layer[key] ?? defaults[key]])) };
}

/** Rows (or columns) that a kernel covers, the gaps of a dilation included. */
export function span(kernel, dilation = 1) {
  return dilation * (kernel - 1) + 1;
}

/** Zeros before and after one axis. "same" adds D·(K − 1) in all; where that is odd, one more after than before. */
export function paddingSides(kernel, padding, dilation = 1) {
  if (padding !== "same") return [padding, padding];
  const total = dilation * (kernel - 1);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

/** Positions of a kernel along one axis; throws, in words, where it does not fit. */
export function outputSize(size, kernel, stride = 1, padding = 0, dilation = 1, unit = "pixels") {
  if (padding === "same" && stride !== 1) throw new Error(`“same” padding works with stride 1 only, not with ${stride}. PyTorch refuses it too.`);
  const [before, after] = paddingSides(kernel, padding, dilation);
  const padded = size + before + after, covered = span(kernel, dilation);
  if (covered > padded) {
    const kernelText = dilation > 1 ? `A kernel of ${kernel} with dilation ${dilation} spans ${covered}` : `The kernel has ${kernel}`;
    throw new Error(`${kernelText} ${unit}, but the padded input has only ${number(padded)} (${number(size)} + 2·${padding}).`);
  }
  return Math.floor((padded - covered) / stride) + 1;
}

/** Rows (or columns) at the far end of the padded input that no window reads, because the stride leaves them over. */
export function leftover(size, kernel, stride = 1, padding = 0, dilation = 1) {
  const last = (outputSize(size, kernel, stride, padding, dilation) - 1) * stride + span(kernel, dilation);
  const [before, after] = paddingSides(kernel, padding, dilation);
  return size + before + after - last;
}

/** The arguments of outputSize for the height and for the width. */
function axes(shape, layer) {
  const [kernel, stride, padding, dilation] = PAIRED.map((key) => pair(layer[key] ?? 1));
  return [0, 1].map((axis) => [shape[axis + 1], kernel[axis], stride[axis], padding[axis], dilation[axis]]);
}

function checkGroups([channels], { groups, out }) {
  const wrong = channels % groups ? `${number(channels)} input` : out % groups ? `${number(out)} output` : null;
  if (wrong) throw new Error(`${number(groups)} groups do not divide the ${wrong} channels.`);
}

/** PyTorch's rule for pools; the dilation does not matter. */
function checkPoolPadding(shape, layer) {
  for (const [, kernel, , padding] of axes(shape, layer)) {
    if (2 * padding > kernel) throw new Error(`The padding of a pool is at most half its kernel: ${Math.floor(kernel / 2)} for a kernel of ${kernel}, not ${padding}.`);
  }
}

function linearOutput(shape, { out, in_features: stated }) {
  if (shape.length === 3) throw new Error(`A linear layer takes a vector, but it gets ${shapeText(shape)}. Put a flatten above it.`);
  if (stated !== null && stated !== shape[0]) throw new Error(`The layer gets ${number(shape[0])} values, it was built for ${number(stated)}.`);
  return [out];
}

/** The shape after a layer: [channels, height, width], or [values] after a flatten. Throws, in words, where it does not fit. */
export function layerOutput(shape, layer) {
  const full = complete(layer);
  if (full.kind === "flatten") return [multiply(shape)];
  if (full.kind === "linear") return linearOutput(shape, full);
  if (shape.length !== 3) throw new Error(`${KINDS[full.kind].title} needs channels × height × width, but it gets a vector of ${number(shape[0])} values. Move it above the flatten.`);
  if (full.kind === "global_avg_pool") return [shape[0], 1, 1];
  if (full.kind === "conv") checkGroups(shape, full);
  else checkPoolPadding(shape, full);
  const sides = axes(shape, full).map((each, axis) => outputSize(...each, ["rows", "columns"][axis]));
  return [full.out ?? shape[0], ...sides];
}

/** What a convolution's filter, or a linear layer's output, multiplies: the factors of how many weights it has. */
function taps(shape, full) {
  if (full.kind === "linear") return [shape[0]];
  return full.kind === "conv" ? [shape[0] / full.groups, ...pair(full.kernel)] : [0];
}

/** What a layer learns: weights and biases. */
export function layerParams(shape, layer) {
  const full = complete(layer);
  return (full.out ?? 0) * (multiply(taps(shape, full)) + Number(full.bias ?? 0));
}

/** Multiply-accumulates for one image; products with padding are counted, biases and pools are not. */
export function layerMacs(shape, layer) {
  return multiply(layerOutput(shape, layer)) * multiply(taps(shape, complete(layer)));
}

function step(shape, layer, before) {
  const output = layerOutput(shape, layer), params = layerParams(shape, layer), macs = layerMacs(shape, layer);
  const row = { input: shape, output, params, macs, totalParams: before.totalParams + params, totalMacs: before.totalMacs + macs };
  if (![multiply(output), row.totalParams, row.totalMacs].every(Number.isSafeInteger)) throw new Error("The counts pass 9,007,199,254,740,991, up to which this calculator is exact.");
  return row;
}

/** A row a layer: its shapes, counts and running totals; {error} where it does not fit; {waiting} below such a row. */
export function trace(input, layers) {
  let last = { output: input, totalParams: 0, totalMacs: 0 };
  return layers.map((layer) => {
    if (!last.output) return { waiting: true };
    const shape = last.output;
    try { last = step(shape, layer, last); } catch (error) { last = { input: shape, error: error.message }; }
    return last;
  });
}

// ---- Editing ----

/** The state after a layer has changed places with the one above (by −1) or below (by 1); what was open stays open. */
export function move({ layers, opened }, index, by) {
  const to = index + by, next = [...layers];
  if (to < 0 || to >= layers.length) return { layers, opened };
  [next[index], next[to]] = [next[to], next[index]];
  const place = (at) => (at === index ? to : at === to ? index : at);
  return { layers: next, opened: opened.map(place).sort((a, b) => a - b) };
}

/** The state with a layer put in at a place. */
export function insert({ layers, opened }, index, layer) {
  return { layers: layers.toSpliced(index, 0, layer), opened: opened.map((at) => (at >= index ? at + 1 : at)) };
}

/** The state without a layer. */
export function remove({ layers, opened }, index) {
  return { layers: layers.toSpliced(index, 1), opened: opened.filter((at) => at !== index).map((at) => (at > index ? at - 1 : at)) };
}

/** A layer as another kind; between pools the settings are kept, and the outputs wherever both kinds have some. */
export function changeKind(layer, kind) {
  const kept = [layer.kind, kind].every((each) => POOLS.includes(each)) ? ["kernel", "stride", "padding"] : ["out"];
  const shared = kept.filter((key) => key in layer && KINDS[kind].settings.includes(key)).map((key) => [key, layer[key]]);
  return complete({ ...NEW[kind], ...Object.fromEntries(shared) });
}

const within = (key, value) => Number.isInteger(value) && value >= LIMITS[key][0] && value <= LIMITS[key][1];

/** What a reader typed: 3, "same", or two numbers as 3×5; null for an empty "built for". undefined where it is none. */
export function parseSetting(text, key, kind) {
  const bare = text.trim().toLowerCase();
  if (key === "in_features" && ["", "auto"].includes(bare)) return null;
  if (bare === "same" && key === "padding" && kind === "conv") return "same";
  if (/^\d+$/.test(bare) || /^\d{1,3}(,\d{3})+$/.test(bare)) return [Number(bare.replaceAll(",", ""))].find((value) => within(key, value));
  const both = PAIRED.includes(key) && bare.match(/^(\d+)\s*[×x*,; ]\s*(\d+)$/)?.slice(1).map(Number);
  if (!both || !both.every((value) => within(key, value))) return undefined;
  return both[0] === both[1] ? both[0] : both;
}

/** A setting as the field shows it. */
export function settingText(value) {
  return value === null ? "" : Array.isArray(value) ? value.join("×") : String(value);
}

/** A setting one up or down, within its limits; "same" and an empty field stay. */
export function nudge(value, key, by) {
  const moved = (each) => Math.min(Math.max(each + by, LIMITS[key][0]), LIMITS[key][1]);
  if (Array.isArray(value)) return value.map(moved);
  return Number.isInteger(value) ? moved(value) : value;
}

function goodSetting(key, value, kind) {
  if (key === "bias") return typeof value === "boolean";
  if (value === null) return key === "in_features";
  if (value === "same") return key === "padding" && kind === "conv";
  if (Array.isArray(value)) return PAIRED.includes(key) && value.length === 2 && value.every((each) => within(key, each));
  return within(key, value);
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault(input, layers) {
  if (!Array.isArray(input) || input.length !== 3 || !input.every((value, axis) => within(["channels", ...AXES][axis], value))) {
    return "The input must be three whole numbers: channels up to 100,000, height and width up to 10,000.";
  }
  if (!Array.isArray(layers) || layers.length > MOST_LAYERS) return `There must be at most ${MOST_LAYERS} layers.`;
  for (const [index, layer] of layers.entries()) {
    if (!Object.hasOwn(KINDS, layer?.kind)) return `Layer ${index + 1} is of no known kind.`;
    const wrong = Object.entries(complete(layer)).find(([key, value]) => key !== "kind" && !goodSetting(key, value, layer.kind));
    if (wrong) return `Layer ${index + 1} has no valid value for “${LABELS[wrong[0]]}”.`;
  }
  return null;
}

/** The preset that a state is, or "own". */
export function presetName(input, layers) {
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  return PRESETS.find(([, start, stack]) => same(start, input) && same(stack.map(complete), layers.map(complete)))?.[0] ?? "own";
}

// ---- Words ----

const times = (values) => values.map((value) => number(value)).join(" × ");
const plural = (count, one) => `${number(count)} ${one}${count === 1 ? "" : "s"}`;

/** "64 × 112 × 112", or "128 values". */
export function shapeText(shape) {
  return shape.length === 1 ? plural(shape[0], "value") : times(shape);
}

/** The formula of one side with its numbers. */
export function sizeText(size, kernel, stride, padding, dilation) {
  const [before, after] = paddingSides(kernel, padding, dilation);
  const added = padding === "same" ? String(before + after) : `2·${padding}`;
  const room = size + before + after - span(kernel, dilation);
  return `⌊(${number(size)} + ${added} − ${dilation}·(${kernel} − 1) − 1) / ${stride}⌋ + 1 = ⌊${number(room)} / ${stride}⌋ + 1 = ${number(outputSize(size, kernel, stride, padding, dilation))}`;
}

function unread(count, padding, unit) {
  const image = Math.max(0, count - padding);
  const where = image === 0 ? "of padding" : image === count ? "of the image" : `(${image} of the image)`;
  return { count: plural(count, unit), where };
}

/** What the stride leaves over on the right and at the bottom: "1 row and 1 column of the image"; empty where nothing. */
export function leftoverText(shape, layer) {
  const lost = axes(shape, complete(layer)).map((each, axis) => [leftover(...each), each[3], ["row", "column"][axis]]);
  const found = lost.filter(([count]) => count > 0).map((each) => unread(...each));
  if (found.length === 2 && found[0].where === found[1].where) return `${found[0].count} and ${found[1].count} ${found[0].where}`;
  return found.map(({ count, where }) => `${count} ${where}`).join(" and ");
}

/** Where the zeros of "same" go: "1 above and left, 2 below and right", or rows and columns apart. */
export function sameText(layer) {
  const [rows, columns] = axes([0, 0, 0], complete(layer)).map(([, kernel, , padding, dilation]) => paddingSides(kernel, padding, dilation));
  if (String(rows) === String(columns)) return `${rows[0]} above and left, ${rows[1]} below and right`;
  return `${rows[0]} above, ${rows[1]} below, ${columns[0]} left, ${columns[1]} right`;
}

/** The short remark under an output shape; empty where there is nothing to say. */
function remark({ input }, layer) {
  if (!("kernel" in layer)) return "";
  if (layer.padding === "same") return `same: ${sameText(layer)}`;
  const lost = leftoverText(input, layer);
  return lost && `unread: ${lost}`;
}

function sideLines(input, full) {
  const texts = axes(input, full).map((each) => sizeText(...each));
  const rule = ["Rule for a side", `⌊(size + ${full.padding === "same" ? "added zeros" : "2·padding"} − dilation·(kernel − 1) − 1) / stride⌋ + 1`];
  const added = axes(input, full).map(([, kernel, , , dilation]) => `${dilation}·(${kernel} − 1) = ${dilation * (kernel - 1)}`);
  const same = full.padding !== "same" ? [] : [[`Zeros that “same” adds: ${sameText(full)}`, [...new Set(added)].join(" and ")]];
  const lost = leftoverText(input, full);
  const sides = texts[0] === texts[1] ? [["Output height and width", texts[0]]] : texts.map((text, axis) => [`Output ${AXES[axis]}`, text]);
  return [rule, ...same, ...sides, ...(lost ? [["Left over at the bottom and right", lost]] : [])];
}

function outputLines({ input, output }, full) {
  if (full.kind === "flatten") return [["Values in a row", input.length === 3 ? `${times(input)} = ${number(output[0])}` : number(output[0])]];
  if (full.kind === "linear") return [["Values out", number(output[0])]];
  if (full.kind === "global_avg_pool") return [["One mean a channel", `${times(input.slice(1))} becomes 1 × 1`]];
  const channels = full.kind === "conv" ? "Channels, one a filter" : "Channels, each by itself";
  return [[channels, number(output[0])], ...sideLines(input, full)];
}

function paramLine({ input, params }, full) {
  if (!full.out) return ["Parameters", "0, nothing is learned"];
  const grouped = full.groups > 1 ? `(${number(input[0])} / ${number(full.groups)})` : null;
  const weights = [number(full.out), ...taps(input, full).map((each, index) => (index === 0 && grouped) || number(each))].join(" × ");
  const [what, sum] = full.bias ? [" + biases", ` + ${number(full.out)} = ${number(params - full.out)} + ${number(full.out)}`] : ["", ""];
  const factors = full.kind === "linear" ? "out × in" : `filters × channels${full.groups > 1 ? " a group" : ""} × kernel`;
  return [`Parameters: ${factors}${what}`, `${weights}${sum} = ${number(params)}`];
}

function macLine({ input, output, macs }, full) {
  if (!full.out) return ["MACs", full.kind === "flatten" ? "0, values only change places" : "0, nothing is multiplied by a weight"];
  const each = taps(input, full);
  if (full.kind === "linear") return ["MACs: outputs × products in each", `${times([...output, ...each])} = ${number(macs)}`];
  return ["MACs: outputs × products in each", `(${times(output)}) × (${times(each)}) = ${times([multiply(output), multiply(each)])} = ${number(macs)}`];
}

function totalLine(what, total, own) {
  return [`${what} so far`, `${number(total - own)} + ${number(own)} = ${number(total)}`];
}

/** Every number of a row opened: [what, formula with its numbers] a line. */
export function explain(row, layer) {
  const full = complete(layer);
  const lines = [...outputLines(row, full), paramLine(row, full), macLine(row, full)];
  return [...lines, totalLine("Parameters", row.totalParams, row.params), totalLine("MACs", row.totalMacs, row.macs)];
}

/** The layer as PyTorch's constructor call, arguments at their default left out. */
export function torchCode(shape, layer) {
  const full = complete(layer), plain = complete({ kind: layer.kind, kernel: full.kernel, out: full.out });
  const python = (value) => (Array.isArray(value) ? `(${value.join(", ")})` : value === "same" ? '"same"' : value === false ? "False" : String(value));
  const named = ["stride", "padding", "dilation", "groups", "bias"].filter((key) => key in full && String(full[key]) !== String(plain[key])).map((key) => `${key}=${python(full[key])}`);
  const calls = {
    conv: ["Conv2d", shape[0], full.out, python(full.kernel)], max_pool: ["MaxPool2d", python(full.kernel)], avg_pool: ["AvgPool2d", python(full.kernel)],
    global_avg_pool: ["AdaptiveAvgPool2d", 1], flatten: ["Flatten"], linear: ["Linear", full.in_features ?? shape[0], full.out],
  };
  const [name, ...first] = calls[full.kind];
  return `nn.${name}(${[...first, ...named].join(", ")})`;
}

/** The whole stack as PyTorch code. */
export function sequentialCode(input, layers) {
  const calls = trace(input, layers).map((row, index) => `    ${torchCode(row.input, layers[index])},\n`);
  return `net = nn.Sequential(\n${calls.join("")})`;
}

function summary(input, layers, rows) {
  const broken = rows.findIndex((row) => row.error);
  if (broken >= 0) return `Layer ${broken + 1}, ${KINDS[layers[broken].kind].title.toLowerCase()}, does not fit. ${rows[broken].error}`;
  if (!rows.length) return "No layers yet.";
  const { output, totalParams, totalMacs } = rows.at(-1);
  return `${plural(rows.length, "layer")}: ${shapeText(input)} becomes ${shapeText(output)}. ${plural(totalParams, "parameter")}, ${plural(totalMacs, "MAC")}.`;
}

// ---- Fields ----

/** A text field for one setting. Arrow up and down change it by one; what is no value is said and changes nothing. */
function field({ key, kind, name, dataKey, onValue, onTypo }) {
  let current = null;
  const input = h("input", {
    type: "text", class: "sc-field", inputmode: key === "padding" && kind === "conv" ? "text" : "numeric", autocomplete: "off", spellcheck: "false",
    placeholder: key === "in_features" ? "auto" : null, "aria-label": `${LABELS[key]}, ${name}`, "data-key": dataKey,
  });
  const mark = (wrong) => { input.setAttribute("aria-invalid", String(wrong)); onTypo(wrong ? hint(key, kind) : ""); };
  input.addEventListener("input", () => {
    const value = parseSetting(input.value, key, kind);
    mark(value === undefined);
    if (value !== undefined) onValue(value);
  });
  input.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by || event.altKey) return;
    event.preventDefault();
    onValue(nudge(current, key, by));
  });
  input.addEventListener("blur", () => { if (input.getAttribute("aria-invalid") === "true") mark(false); input.value = settingText(current); });
  const update = (value) => {
    current = value;
    const typed = parseSetting(input.value, key, kind);
    if (typed === undefined || settingText(typed) !== settingText(value)) input.value = settingText(value);
    if (input.getAttribute("aria-invalid") !== "false") mark(false);
  };
  return { key, update, node: h("label", { class: `sc-setting sc-${key}` }, h("span", {}, LABELS[key]), input) };
}

function hint(key, kind) {
  const [least, most] = LIMITS[key].map((each) => number(each));
  const also = [PAIRED.includes(key) && "two as 3×5 (height × width)", key === "padding" && kind === "conv" && "the word same", key === "in_features" && "nothing"].filter(Boolean);
  return `${LABELS[key]}: a whole number from ${least} to ${most}${also.map((each) => `, or ${each}`).join("")}.`;
}

function check({ key, name, dataKey, onValue }) {
  const input = h("input", { type: "checkbox", "aria-label": `${LABELS[key]}, ${name}`, "data-key": dataKey, onchange: () => onValue(input.checked) });
  return { key, update: (value) => { input.checked = value; }, node: h("label", { class: `sc-setting sc-${key}` }, h("span", {}, LABELS[key]), h("span", { class: "sc-box" }, input)) };
}

function typoLine() {
  const node = h("p", { class: "cb-error sc-typo", role: "alert" });
  return { node, onTypo: (text) => { node.textContent = text; } };
}

// ---- A row ----

/** Up, down, copy, remove: one Tab stop, walked with the arrow keys. */
function toolbar(index, act) {
  const name = `layer ${index + 1}`;
  const buttons = [["up", "↑", `Move ${name} up`], ["down", "↓", `Move ${name} down`], ["copy", "+", `Copy ${name} below`], ["remove", "×", `Remove ${name}`]].map(([key, sign, label], place) => h("button", {
    type: "button", "aria-label": label, title: label, tabindex: place ? -1 : 0, "data-key": `${key}-${index}`,
    onclick: (event) => { if (event.currentTarget.getAttribute("aria-disabled") !== "true") act[key](index); },
  }, sign));
  const go = (at) => buttons.forEach((button, place) => { button.tabIndex = place === at ? 0 : -1; });
  const node = h("div", { class: "sc-acts", role: "toolbar", "aria-label": `Move, copy or remove ${name}` }, buttons);
  node.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || event.altKey) return;
    event.preventDefault();
    buttons[(buttons.indexOf(event.target) + by + buttons.length) % buttons.length].focus();
  });
  node.addEventListener("focusin", (event) => go(buttons.indexOf(event.target)));
  const update = (count) => [index === 0, index === count - 1, count >= MOST_LAYERS].forEach((off, place) => buttons[place].setAttribute("aria-disabled", String(off)));
  return { node, update };
}

/** Output, parameters and MACs side by side, each with a small second line and a bar for its share. */
function results(title) {
  const cells = [["output", "Output"], ["params", "Parameters"], ["macs", "MACs"]].map(([key, label]) => {
    const [value, extra, bar] = [h("b", { "data-value": key }), h("span", { class: "sc-extra", "data-extra": key }), h("i", { class: `sc-bar sc-bar-${key}`, "aria-hidden": "true" })];
    return { value, extra, bar, node: h("span", { class: `sc-cell sc-cell-${key}` }, h("span", { class: "sc-label" }, title && key === "output" ? title : label, " "), value, " ", extra, key === "output" ? null : h("span", { class: "sc-track" }, bar)) };
  });
  const update = (values) => cells.forEach(({ value, extra, bar }, index) => {
    const [text, more, share] = values[index];
    value.textContent = text;
    extra.textContent = more;
    bar.style.width = `${100 * (share ?? 0)}%`;
  });
  return { nodes: cells.map(({ node }) => node), update };
}

function rowResults(row, layer, totals) {
  const share = (part, whole) => (whole ? part / whole : 0);
  return [
    [shapeText(row.output), remark(row, complete(layer))],
    [number(row.params), `so far ${number(row.totalParams)}`, share(row.params, totals.params)],
    [number(row.macs), `so far ${number(row.totalMacs)}`, share(row.macs, totals.macs)],
  ];
}

function opener(act) {
  const list = h("ul", { class: "sc-lines" }), shown = results();
  const node = h("details", { class: "sc-details", ontoggle: act.toggle }, h("summary", { class: "sc-open" }, shown.nodes), list);
  const line = ([what, text]) => h("li", {}, h("span", {}, what), h("b", {}, text.split(/ (?== )/).flatMap((part) => [h("span", { class: "sc-part" }, part), " "])));
  const update = (row, layer, totals) => {
    shown.update(rowResults(row, layer, totals));
    const code = h("li", {}, h("span", {}, "In PyTorch"), h("code", {}, torchCode(row.input, layer)));
    list.replaceChildren(...explain(row, layer).map(line), code);
  };
  return { node, update };
}

/** One layer: its kind and settings, the buttons that move it, and what comes out or why nothing does. */
function layerRow(index, kind, act) {
  const name = `layer ${index + 1}`, typo = typoLine(), problem = h("p", { class: "sc-problem" });
  const select = h("select", { "aria-label": `Layer ${index + 1}`, "data-key": `kind-${index}`, onchange: () => act.kind(index, select.value) }, Object.entries(KINDS).map(([key, { title }]) => h("option", { value: key }, title)));
  select.value = kind;
  const make = (key) => (key === "bias" ? check : field)({ key, kind, name, dataKey: `${key}-${index}`, onTypo: typo.onTypo, onValue: (value) => act.edit(index, { [key]: value }) });
  const settings = KINDS[kind].settings.map(make), bar = toolbar(index, act), details = opener(act);
  const node = h("li", { class: "sc-row", "data-row": index }, h("label", { class: "sc-kind" }, h("span", {}, `Layer ${index + 1}`), select), bar.node,
    h("div", { class: "sc-settings" }, settings.map((each) => each.node), typo.node), problem, details.node);
  node.addEventListener("keydown", (event) => {
    if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key) || event.target === select) return;
    event.preventDefault();
    act[event.key === "ArrowUp" ? "up" : "down"](index);
  });
  const update = ({ layer, row, totals, open, count }) => {
    const full = complete(layer);
    settings.forEach(({ key, update: show }) => show(full[key]));
    bar.update(count);
    problem.textContent = row.error ?? (row.waiting ? "Needs the row above." : "");
    node.className = `sc-row${settings.length ? "" : " sc-bare"}${row.error ? " sc-wrong" : row.waiting ? " sc-waiting" : ""}`;
    details.node.hidden = !row.output;
    details.node.open = open;
    if (row.output) details.update(row, layer, totals);
  };
  return { kind, node, details: details.node, update };
}

// ---- The figure ----

/** The input's shape and the examples. */
function head(model, set) {
  const typo = typoLine();
  const fields = ["channels", ...AXES].map((key, axis) => field({ key, name: "input", dataKey: key, onTypo: typo.onTypo, onValue: (value) => set({ input: model.get("input").with(axis, value) }) }));
  const options = [...PRESETS.map(([name]) => [name, name]), ["own", "Your own stack"]];
  const load = (name) => {
    const found = PRESETS.find(([each]) => each === name);
    if (found) set({ input: [...found[1]], layers: found[2].map(complete), opened: [0] });
    else pick.update(presetName(model.get("input"), model.get("layers")));
  };
  const pick = choice({ label: "Example", options, value: "own", onChange: load });
  pick.classList.add("sc-pick");
  const node = h("div", { class: "sc-head" }, pick, h("div", { class: "sc-input", role: "group", "aria-label": "Input shape" }, h("span", { class: "sc-lead" }, "Input"), fields.map((each) => each.node)), typo.node);
  const update = (input, layers) => { fields.forEach((each, axis) => each.update(input[axis])); pick.update(presetName(input, layers)); };
  return { node, pick, update };
}

function foot(act) {
  const options = Object.entries(KINDS).map(([key, { title }]) => [key, title]);
  const kind = h("select", { "aria-label": "Kind of the new layer", "data-key": "new" }, options.map(([key, text]) => h("option", { value: key }, text)));
  const button = h("button", { type: "button", "data-key": "add", onclick: () => act.add(kind.value) }, "Add layer");
  const shown = results("Output of the stack"), code = h("code", {});
  const total = h("div", { class: "sc-total", role: "group", "aria-label": "Total" }, shown.nodes);
  const copy = h("details", { class: "sc-code", ontoggle: () => act.code(copy.open) }, h("summary", {}, "The stack as PyTorch code"), h("pre", { tabindex: 0 }, code));
  const update = ({ input, layers, code: open }, rows) => {
    const fits = rows.every((row) => row.output), last = rows.findLast((row) => row.output) ?? { totalParams: 0, totalMacs: 0 };
    const above = rows.findIndex((row) => row.error), extra = fits ? plural(rows.length, "layer") : ["no layer", "layer 1 only"][above] ?? `layers 1 to ${above} only`;
    shown.update([[fits ? shapeText(rows.at(-1)?.output ?? input) : "none", ""], [number(last.totalParams), extra], [number(last.totalMacs), fits ? "for one image" : extra]]);
    button.disabled = layers.length >= MOST_LAYERS;
    copy.hidden = !fits || !rows.length;
    copy.open = open;
    if (!copy.hidden) code.textContent = sequentialCode(input, layers);
  };
  return { nodes: [h("div", { class: "sc-add" }, kind, button), total, copy], update };
}

function notes() {
  return h("p", { class: "sc-notes" },
    "Press a row’s result to open its formulas. In a field, the up and down arrow keys change the number; with Alt they move the layer. ",
    "MAC: one multiply-accumulate. Products with padding count, biases and pools do not. ReLU changes neither shape nor counts, so it has no row. Bars: share of the total.");
}

/** What the buttons and fields do to the state. `focus(key)` puts the keyboard on the element with that data-key. */
function actions({ state, set, focus }) {
  const shift = (index, by) => {
    const { layers } = state(), key = document.activeElement?.dataset?.key?.replace(/\d+$/, "");
    if (index + by < 0 || index + by >= layers.length) return;
    set(move(state(), index, by));
    focus(`${key}${index + by}`);
  };
  return {
    edit: (index, changes) => set({ layers: state().layers.with(index, { ...complete(state().layers[index]), ...changes }) }),
    kind: (index, kind) => set({ layers: state().layers.with(index, changeKind(state().layers[index], kind)) }),
    up: (index) => shift(index, -1),
    down: (index) => shift(index, 1),
    copy: (index) => { set(insert(state(), index + 1, structuredClone(state().layers[index]))); focus(`copy-${index + 1}`); },
    remove: (index) => { set(remove(state(), index)); focus(state().layers.length ? `remove-${Math.min(index, state().layers.length - 1)}` : "add"); },
    add: (kind) => set(insert(state(), state().layers.length, complete(NEW[kind]))),
  };
}

/** Keeps a row view for every layer; a view is made anew only where the kind of its layer has changed. */
function stackView(list, act) {
  let views = [];
  const update = ({ layers, opened }, rows) => {
    const last = rows.findLast((row) => row.output), totals = { params: last?.totalParams ?? 0, macs: last?.totalMacs ?? 0 };
    views = layers.map((layer, index) => (views[index]?.kind === layer.kind ? views[index] : layerRow(index, layer.kind, act)));
    views.forEach(({ node }, index) => { if (list.children[index] !== node) list.replaceChild(node, list.children[index] ?? list.appendChild(h("li"))); });
    while (list.children.length > views.length) list.lastChild.remove();
    views.forEach((view, index) => view.update({ layer: layers[index], row: rows[index], totals, open: opened.includes(index), count: layers.length }));
  };
  return { update, open: () => views.flatMap(({ details }, index) => (details.open ? [index] : [])) };
}

function draw(model, body, set) {
  const state = () => {
    const layers = model.get("layers"), opened = [model.get("opened")].flat().filter((at) => Number.isInteger(at) && at >= 0 && at < layers.length);
    return { input: model.get("input"), layers, opened, code: model.get("code") === true };
  };
  const focus = (key) => body.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
  const toggle = () => { if (!shown.hidden && view.open().join() !== state().opened.join()) set({ opened: view.open() }); };
  const code = (open) => { if (open !== state().code) set({ code: open }); };
  const act = { ...actions({ state, set, focus }), toggle, code };
  const list = h("ol", { class: "sc-stack" }), view = stackView(list, act), top = head(model, set), bottom = foot(act);
  const wrong = h("p", { class: "cb-error" }), shown = h("div", {}, top.node, list, bottom.nodes, notes());
  body.append(wrong, shown);
  return () => {
    const bad = fault(model.get("input"), model.get("layers"));
    wrong.textContent = bad ? `This state cannot be drawn. ${bad}` : "";
    shown.hidden = Boolean(bad);
    if (bad) return "Reset to start again.";
    const now = state(), { input, layers } = now, rows = trace(input, layers);
    const key = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    top.update(input, layers);
    view.update(now, rows);
    bottom.update(now, rows);
    if (key && document.activeElement?.dataset.key !== key) focus(key);
    return summary(input, layers, rows);
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Output-size and parameter calculator", keys: ["input", "layers", "opened", "code"], draw: (body, set) => draw(model, body, set) });
}

export default { render };
