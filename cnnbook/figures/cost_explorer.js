// Four ways to mix space and channels between the same input and the same output, and what each costs.
import { checkSizes, frame, h, number, redraw, slider, stopSlider } from "./kit.js";

const CHANNELS = [1, 3, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048];
const MIDDLES = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024];
const SIDES = [4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224];
const LIMITS = { inChannels: [1, 2048], outChannels: [1, 2048], kernel: [1, 7], side: [1, 512], groups: [1, 2048], middle: [1, 2048] };
const WORDS = { inChannels: "input channels", outChannels: "output channels", kernel: "kernel", side: "side", groups: "groups", middle: "bottleneck width" };
const TRAITS = { inChannels: "in_channels", outChannels: "out_channels", kernel: "kernel", side: "side", groups: "groups", middle: "middle" };
const KINDS = { standard: "Standard", bottleneck: "Bottleneck", grouped: "Grouped", separable: "Depthwise separable" };
const QUANTITIES = { params: "Weights", macs: "MACs", bytes: "Bytes moved", intensity: "MACs per byte", fraction: "Fraction", reduction: "Reduction" };
const PRESETS = [
  ["ResNet-50 stage", { in_channels: 256, out_channels: 256, kernel: 3, side: 56, groups: 32, middle: 64 },
    "The first stage of ResNet-50 repeats bottlenecks 256 → 64 → 64 → 256 at 56 × 56."],
  ["MobileNet layer 64→128 at 112²", { in_channels: 64, out_channels: 128, kernel: 3, side: 112, groups: 32, middle: 32 },
    "MobileNet’s own layer of these widths has stride 2 in its depthwise part. Here every layer keeps the size."],
  ["ResNeXt 32 groups", { in_channels: 128, out_channels: 128, kernel: 3, side: 56, groups: 32, middle: 32 },
    "ResNeXt-50 has this grouped layer, 128 → 128 in 32 groups of 4 channels, inside its first bottlenecks."],
  ["Large kernel 7×7", { in_channels: 384, out_channels: 384, kernel: 7, side: 14, groups: 32, middle: 96 },
    "ConvNeXt-T has a depthwise 7 × 7 on 384 channels at 14 × 14. The larger the kernel, the more separating saves."],
];
const TOY = { channels: 8, places: 7, cell: 8, width: 290, top: 20 }; // the small drawings
const PLOT = { width: 320, height: 196, left: 34, right: 10, top: 24, bottom: 38, most: 2048, ticks: [1, 4, 16, 64, 256, 1024] };
const HEIGHTS = { 1: [0, 0.5, 1], 3: [0, 3, 6, 9], 5: [0, 5, 10, 15, 20, 25], 7: [0, 10, 20, 30, 40, 49] };

// The arithmetic. The limits keep every count below 2^53, so plain numbers are exact.

const check = (sizes) => checkSizes(sizes, LIMITS, WORDS);

/** The layers of one kind in order. The product of `factors` is the layer's number of weights; `symbols` names them. */
export function stages(kind, { inChannels, outChannels, kernel, groups, middle }) {
  const stage = (name, from, to, reach, parts, symbols, factors) => ({ name, from, to, kernel: reach, groups: parts, symbols, factors });
  const square = [kernel, kernel], wide = square.join(" × ");
  return {
    standard: [stage(wide, inChannels, outChannels, kernel, 1, "C_out × C_in × K × K", [outChannels, inChannels, ...square])],
    bottleneck: [
      stage("First 1 × 1", inChannels, middle, 1, 1, "C_mid × C_in", [middle, inChannels]),
      stage(`Middle ${wide}`, middle, middle, kernel, 1, "C_mid × C_mid × K × K", [middle, middle, ...square]),
      stage("Last 1 × 1", middle, outChannels, 1, 1, "C_out × C_mid", [outChannels, middle]),
    ],
    grouped: [stage(`${wide} in ${counted(groups, "group")}`, inChannels, outChannels, kernel, groups,
      "G × C_out/G × C_in/G × K × K", [groups, outChannels / groups, inChannels / groups, ...square])],
    separable: [
      stage(`Depthwise ${wide}`, inChannels, inChannels, kernel, inChannels, "C_in × K × K", [inChannels, ...square]),
      stage("Pointwise 1 × 1", inChannels, outChannels, 1, 1, "C_out × C_in", [outChannels, inChannels]),
    ],
  }[kind];
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** One layer: weights, multiply-adds for one image, and the values it reads and writes: input, output, weights. */
function stageCost({ from, to, factors }, side) {
  const params = factors.reduce((product, factor) => product * factor, 1), area = side ** 2;
  return { params, macs: params * area, values: (from + to) * area + params };
}

/** The numbers of groups that divide both channel counts, from 1 up. */
export function divisors(inChannels, outChannels) {
  const most = Math.min(inChannels, outChannels);
  return Array.from({ length: most }, (_, index) => index + 1).filter((each) => inChannels % each === 0 && outChannels % each === 0);
}

/** What is wrong with the groups, in words; null where they divide both channel counts. */
export function groupError({ inChannels, outChannels, groups }) {
  const bad = [[inChannels, "input"], [outChannels, "output"]].filter(([count]) => count % groups);
  if (!bad.length) return null;
  const which = bad.map(([count, end]) => `the ${counted(count, `${end} channel`)}`).join(" and ");
  const good = divisors(inChannels, outChannels).map((each) => number(each));
  const list = good.length > 1 ? `${good.slice(0, -1).join(", ")} or ${good.at(-1)}` : good[0];
  return `${number(groups)} groups do not divide ${which} evenly. Possible here: ${list}.`;
}

/** Per kind: weights, MACs of one image, values moved, bytes, MACs per byte, fraction of standard and its reciprocal. */
export function costs(sizes) {
  check(sizes);
  const sums = (kind) => {
    const parts = stages(kind, sizes).map((stage) => stageCost(stage, sizes.side));
    const [params, macs, values] = ["params", "macs", "values"].map((key) => total(parts.map((part) => part[key])));
    return { params, macs, values, bytes: 4 * values, intensity: macs / (4 * values) };
  };
  const standard = sums("standard").params, error = groupError(sizes);
  const cost = (kind) => {
    if (kind === "grouped" && error) return { error };
    const found = sums(kind);
    return { ...found, fraction: found.params / standard, reduction: standard / found.params };
  };
  return Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, cost(kind)]));
}

/** Reduction factor of depthwise separable against standard; input channels and image size cancel. */
export function separableReduction(outChannels, kernel) {
  return 1 / (1 / outChannels + 1 / kernel ** 2);
}

/**
 * Which cells the chosen output value of the small drawing depends on, map by map from the input on:
 * {channels: [first, last], places: [first, last]}, counted from 1. `toy` are the drawing's own sizes.
 */
export function seen(kind, toy, channel, place) {
  const regions = [{ channels: [channel, channel], places: [place, place] }];
  for (const { from, to, kernel, groups } of stages(kind, toy).reverse()) {
    const [{ channels, places }] = regions, reach = (kernel - 1) / 2;
    const group = channels.map((each) => Math.floor((each - 1) / (to / groups)));
    regions.unshift({
      channels: [group[0] * (from / groups) + 1, (group[1] + 1) * (from / groups)],
      places: [Math.max(1, places[0] - reach), Math.min(TOY.places, places[1] + reach)],
    });
  }
  return regions;
}

/** The drawing's sizes: eight channels; one, four or eight groups; a bottleneck of two where it is one. */
export function toySizes({ inChannels, kernel, groups, middle }) {
  const parts = groups === 1 ? 1 : groups === inChannels ? TOY.channels : 4;
  return { inChannels: TOY.channels, outChannels: TOY.channels, kernel, groups: parts, middle: middle < inChannels ? 2 : TOY.channels };
}

// Numbers as text.

function shorten(n, units) {
  const rounded = Number(n.toPrecision(3));
  const step = Math.max(0, Math.floor(Math.log10(Math.max(1, rounded)) / 3 + 1e-9));
  return `${number(Number((rounded / 1000 ** step).toPrecision(3)))} ${units[step]}`.trim();
}

/** Three significant digits: 8.694 -> "8.69", 17.98 -> "18.0"; whole numbers and those from 1,000 on without decimals. */
export function factor(value) {
  if (Number.isInteger(value) || value >= 1000) return number(value, 0);
  return value.toLocaleString("en-US", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
}

/** A quantity as the table shows it; a reduction below 0.0001 only as that. */
export function shown(quantity, value) {
  if (quantity === "params") return number(value);
  if (quantity === "macs") return value < 1_000_000 ? number(value) : shorten(value, ["", "thousand", "million", "billion", "trillion"]);
  if (quantity === "bytes") return shorten(value, ["B", "kB", "MB", "GB", "TB"]);
  if (quantity === "reduction") return value < 0.0001 ? "<\u00a00.0001×" : `${factor(value)}×`;
  return factor(value);
}

/** "1 channel", "2,048 channels". */
function counted(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

function times(...factors) {
  return factors.map((each) => number(each)).join(" × ");
}

function sum(values) {
  return `${values.map((value) => number(value)).join(" + ")} = ${number(total(values))}`;
}

/** "= 32", or "≈ 8.69" where rounding lost something. */
function result(value) {
  const text = factor(value);
  return `${Number(text.replaceAll(",", "")) === value ? "=" : "≈"} ${text}`;
}

// What a number is made of.

/** The lines of all layers, and where there are several their sum. */
function withSum(parts, line, key, what) {
  const lines = parts.map((part) => line(part));
  return parts.length > 1 ? [...lines, [what, sum(parts.map((part) => part[key]))]] : lines;
}

function byteLines(parts, cost, { side }) {
  const channels = [...new Set(parts.flatMap(({ from, to }) => [from, to]))], values = (count) => count * side ** 2;
  return [
    ...channels.map((count) => [`Map of ${counted(count, "channel")}`, `${times(count, side, side)} = ${number(values(count))}`]),
    ...withSum(parts, ({ name, from, to, params }) => [`${name}: input + output + weights`, sum([values(from), values(to), params])], "values", "Values moved"),
    ["Bytes, 4 a value (float32)", `4 × ${number(cost.values)} = ${number(cost.bytes)}`],
  ];
}

function intensityLines(parts, cost) {
  const own = parts.map(({ name, macs, values }) => [`${name}: MACs ÷ bytes`, `${number(macs)} ÷ (4 × ${number(values)}) ${result(macs / (4 * values))}`]);
  const whole = ["Together", `${number(cost.macs)} ÷ ${number(cost.bytes)} ${result(cost.intensity)}`];
  return parts.length > 1 ? [...own, whole] : own;
}

/** The fraction of the standard cost in symbols, and with the numbers in it. */
function symbolic(kind, { inChannels, outChannels, kernel, groups, middle }) {
  const square = kernel ** 2, [wide, out, mid] = [inChannels, outChannels, middle].map((count) => number(count));
  return {
    standard: ["1", "1"],
    bottleneck: [
      "C_mid/(K² × C_out) + C_mid²/(C_in × C_out) + C_mid/(K² × C_in)",
      `${mid}/(${square} × ${out}) + ${mid}²/(${wide} × ${out}) + ${mid}/(${square} × ${wide})`,
    ],
    grouped: ["1/G", `1/${number(groups)}`],
    separable: ["1/C_out + 1/K²", `1/${out} + 1/${square}`],
  }[kind];
}

function fractionLines(kind, cost, standard, sizes) {
  const against = (key, text) => [`${text} ÷ standard ${text.toLowerCase().replace("macs", "MACs")}`, `${number(cost[key])} ÷ ${number(standard[key])} ${result(cost.fraction)}`];
  const [symbols, numbers] = symbolic(kind, sizes);
  const lines = [against("params", "Weights"), against("macs", "MACs")];
  return kind === "standard" ? lines : [...lines, ["In symbols", `${symbols} = ${numbers} ${result(cost.fraction)}`]];
}

function reductionLines(kind, cost, standard, sizes) {
  const against = (key, text) => [`Standard ${text} ÷ ${text}`, `${number(standard[key])} ÷ ${number(cost[key])} ${result(cost.reduction)}`];
  const [symbols, numbers] = symbolic(kind, sizes);
  const lines = [against("params", "weights"), against("macs", "MACs")];
  if (kind === "standard") return lines;
  const inverse = kind === "grouped" ? `G = ${number(sizes.groups)}` : `1 ÷ (${symbols}) = 1 ÷ (${numbers}) ${result(cost.reduction)}`;
  const limit = kind === "separable" ? [["Limit as C_out → ∞", `K² = ${sizes.kernel ** 2}`]] : [];
  return [...lines, ["In symbols: 1 ÷ fraction", inverse], ...limit];
}

/** The products and sums that one number of the table is made of: [what, equation] pairs. */
export function opened(sizes, kind, quantity) {
  const all = costs(sizes), cost = all[kind];
  if (cost.error) return [];
  const parts = stages(kind, sizes).map((stage) => ({ ...stage, ...stageCost(stage, sizes.side) }));
  const { side } = sizes;
  return {
    params: () => withSum(parts, ({ name, symbols, factors, params }) => [name, `${symbols} = ${times(...factors)} = ${number(params)}`], "params", "Together"),
    macs: () => withSum(parts, ({ name, params, macs }) => [`${name}: weights × H × W`, `${times(params, side, side)} = ${number(macs)}`], "macs", "Together"),
    bytes: () => byteLines(parts, cost, sizes),
    intensity: () => intensityLines(parts, cost),
    fraction: () => fractionLines(kind, cost, all.standard, sizes),
    reduction: () => reductionLines(kind, cost, all.standard, sizes),
  }[quantity]();
}

/** From `before` to `after`: "8.69 times fewer", "1.62 times more", "as many". */
function change(before, after) {
  if (before === after) return "as many";
  return before > after ? `${factor(before / after)} times fewer` : `${factor(after / before)} times more`;
}

/** MACs and bytes of a kind against standard, in a sentence. */
export function timeWords(cost, kind) {
  const own = cost[kind], standard = cost.standard;
  if (own.error) return own.error;
  if (kind === "standard") return `The standard layer does ${factor(own.intensity)} MACs for every byte that it moves. Choose a number in another row to compare.`;
  const [less, lighter] = [standard.macs - own.macs, standard.bytes - own.bytes];
  const slower = less > 0 && lighter > 0 && own.intensity < standard.intensity;
  const join = less * lighter < 0 ? ", yet" : slower ? ", but only" : " and";
  const words = `${change(standard.macs, own.macs)} MACs${join} ${change(standard.bytes, own.bytes)} bytes`;
  return `${KINDS[kind]}: ${words}, so ${factor(own.intensity)} MACs a byte against ${factor(standard.intensity)}.`;
}

/** What one output value sees, with the real numbers. */
export function sightWords(kind, { inChannels, outChannels, kernel, groups, middle }) {
  const block = kernel ** 2 * inChannels, own = inChannels / groups, all = counted(block, "value"), error = groupError({ inChannels, outChannels, groups });
  const alone = groups === 1 ? "One group is the standard layer." : error;
  return {
    standard: `One output value sees ${times(kernel, kernel, inChannels)} = ${counted(block, "input value")}, each with a weight of its own.`,
    bottleneck: `It sees the same ${all}, ${middle < inChannels ? "but only " : ""}as ${counted(middle, "mixture")} of their channels.`,
    grouped: alone ?? `It sees ${times(kernel, kernel, own)} = ${counted(kernel ** 2 * own, "value")}: only the ${counted(own, "channel")} of its group.`,
    separable: `Depthwise sees ${times(kernel, kernel)} = ${counted(kernel ** 2, "value")} of one channel (outlined), pointwise ${counted(inChannels, "channel")} at one place. Together the same ${all}.`,
  }[kind];
}

/** The curve's sentence. */
export function curveWords(outChannels, kernel) {
  if (kernel === 1) return "With K = 1 there is no space to separate. The depthwise part only adds to the cost.";
  return `Here it is ${factor(separableReduction(outChannels, kernel))}, never the full K² = ${kernel ** 2}: that needs C_out → ∞. C_in and the image size cancel.`;
}

// The parts of the figure.

/** "C_in × H = 6" with its subscript set as such; lines break before an equals sign. */
function equation(text) {
  const symbols = (part) => part.split(/(_in|_out|_mid)/).map((piece) => (piece.startsWith("_") ? h("sub", {}, piece.slice(1)) : piece));
  return text.split(/ (?=[=≈])/).flatMap((part) => [h("span", { class: "ce-part" }, symbols(part)), " "]);
}

function presetRow(model, set) {
  const buttons = PRESETS.map(([text, values]) => h("button", { type: "button", onclick: () => set(values) }, text));
  const same = h("p", { class: "ce-same" });
  const holds = (values) => Object.entries(values).every(([trait, value]) => model.get(trait) === value);
  const update = ({ inChannels, outChannels, side }) => {
    PRESETS.forEach(([, values], index) => buttons[index].setAttribute("aria-pressed", holds(values)));
    const story = PRESETS.find(([, values]) => holds(values))?.[2] ?? "";
    same.replaceChildren(...[
      `All four turn C_in × H × W = ${times(inChannels, side, side)} values into C_out × H × W = ${times(outChannels, side, side)}. `, story,
    ].flatMap(equation));
  };
  return { node: h("div", { class: "cb-row ce-presets", role: "group", "aria-label": "Examples" }, buttons), same, update };
}

function sliders(model, set) {
  const stop = (label, trait, stops) => stopSlider({ label, stops, value: model.get(trait), onInput: (value) => set({ [trait]: value }) });
  const made = {
    inChannels: stop("Input channels", "in_channels", CHANNELS), outChannels: stop("Output channels", "out_channels", CHANNELS),
    kernel: slider({ label: "Kernel side K", min: 1, max: 7, step: 2, value: model.get("kernel"), onInput: (kernel) => set({ kernel }) }),
    side: stop("Side H = W", "side", SIDES), groups: stop("Groups G", "groups", [1, 2]), middle: stop("Bottleneck width", "middle", MIDDLES),
  };
  const update = (sizes) => {
    for (const [key, node] of Object.entries(made)) if (key !== "groups") node.update(sizes[key]);
    const { inChannels, outChannels } = sizes, known = [inChannels, outChannels].every((count) => count >= 1 && count <= LIMITS.inChannels[1]);
    made.groups.update(sizes.groups, known ? divisors(inChannels, outChannels) : [1]);
  };
  return { node: h("div", { class: "cb-row ce-sizes" }, Object.values(made)), update };
}

/** Two bars: weights and MACs (their shares are the same), and bytes moved, from 0 to `most` times the standard layer. */
function track() {
  const one = h("i", { class: "ce-one" }), work = h("i", { class: "ce-work" }), moved = h("i", { class: "ce-moved" });
  const update = (cost, standard, most) => {
    one.style.left = `${100 / most}%`;
    const shares = cost.error ? [0, 0] : [cost.fraction, cost.bytes / standard.bytes];
    [work, moved].forEach((bar, index) => {
      bar.hidden = Boolean(cost.error);
      bar.style.width = `${Math.min(100, (100 * shares[index]) / most)}%`;
      bar.classList.toggle("ce-cut", shares[index] > most);
    });
  };
  return Object.assign(h("div", { class: "ce-track", "aria-hidden": "true" }, one, work, moved), { update });
}

function axis() {
  const node = h("div", { class: "ce-axis", "aria-hidden": "true" });
  const update = (most) => {
    const ticks = most > 1.25 ? [0, 0.5, 1, 1.5, 2].filter((tick) => tick <= most) : [0, 0.25, 0.5, 0.75, 1];
    node.replaceChildren(...ticks.map((tick) => h("span", { style: `left:${(100 * tick) / most}%` }, String(tick))));
  };
  return Object.assign(node, { update });
}

/** Where an arrow key leads in the table; null for other keys. */
export function step(kind, quantity, key) {
  const [rows, cols] = [Object.keys(KINDS), Object.keys(QUANTITIES)];
  const [row, col] = [rows.indexOf(kind), cols.indexOf(quantity)];
  const moved = { ArrowUp: [row - 1, col], ArrowDown: [row + 1, col], ArrowLeft: [row, col - 1], ArrowRight: [row, col + 1], Home: [row, 0], End: [row, cols.length - 1] }[key];
  if (!moved) return null;
  const within = (index, list) => list[Math.max(0, Math.min(list.length - 1, index))];
  return { kind: within(moved[0], rows), quantity: within(moved[1], cols) };
}

function tableRow(kind, set) {
  const cell = (quantity) => h("div", {
    class: "ce-cell", role: "gridcell", tabindex: -1, "data-cell": `${kind}-${quantity}`, onclick: () => set({ kind, quantity }),
  }, h("span", { class: "ce-label" }, QUANTITIES[quantity]), " ", h("b", {}));
  const cells = Object.fromEntries(Object.keys(QUANTITIES).map((quantity) => [quantity, cell(quantity)]));
  const bars = track();
  const node = h("div", { class: "ce-row", role: "row", "data-kind": kind }, h("div", { class: "ce-name", role: "rowheader" }, KINDS[kind]), Object.values(cells), bars);
  const update = ({ cost, kind: at, quantity: which }, most) => {
    for (const [quantity, each] of Object.entries(cells)) {
      const chosen = kind === at && quantity === which, text = cost[kind].error ? "none" : shown(quantity, cost[kind][quantity]);
      each.lastChild.textContent = text;
      each.setAttribute("aria-label", `${KINDS[kind]}: ${QUANTITIES[quantity]} ${text}`);
      each.setAttribute("aria-selected", chosen);
      each.tabIndex = chosen ? 0 : -1;
    }
    bars.update(cost[kind], cost.standard, most);
  };
  return { node, update };
}

/** The largest cost or share of bytes against standard. The axis shows it up to twice the standard layer. */
function largest(cost) {
  const shares = Object.values(cost).filter(({ error }) => !error).flatMap(({ fraction, bytes }) => [fraction, bytes / cost.standard.bytes]);
  return Math.max(1.06, ...shares);
}

function tableKey() {
  const beyond = h("span", {}), words = " bytes moved. Both as fractions of the standard layer, which is 1.";
  const node = h("p", { class: "ce-key" }, h("i", { class: "ce-work" }), " weights and MACs (their fractions are equal) ", h("i", { class: "ce-moved" }), words, beyond);
  return Object.assign(node, { update: (cut) => { beyond.textContent = cut ? " A pointed bar goes on beyond the axis." : ""; } });
}

/** All numbers of the four kinds, one of them chosen; arrow keys move the choice. */
function table(model, set) {
  const rows = Object.keys(KINDS).map((kind) => tableRow(kind, set)), scale = axis(), key = tableKey();
  const head = h("div", { class: "ce-row ce-head", role: "row" }, h("div", { class: "ce-name", role: "columnheader" }, "Kind"),
    Object.values(QUANTITIES).map((text) => h("div", { role: "columnheader" }, text)));
  const onkeydown = (event) => {
    const next = event.ctrlKey || event.metaKey || event.altKey ? null : step(model.get("kind"), model.get("quantity"), event.key);
    if (!next) return;
    event.preventDefault();
    set(next);
    grid.querySelector('[aria-selected="true"]').focus();
  };
  const grid = h("div", { class: "ce-table", role: "grid", "aria-label": "Costs of the four kinds", onkeydown }, head, rows.map(({ node }) => node));
  const update = (view) => {
    const all = largest(view.cost), most = Math.min(2, all);
    for (const row of rows) row.update(view, most);
    scale.update(most);
    key.update(all > most);
  };
  return { node: h("div", {}, grid, scale, key), update };
}

/** Groups that do not divide: in words, with a way out. */
function groupNote(set) {
  const node = h("div", {});
  const update = ({ sizes, cost }) => {
    const { error } = cost.grouped;
    if (!error) { node.replaceChildren(); return; }
    const best = divisors(sizes.inChannels, sizes.outChannels).filter((each) => each <= sizes.groups).at(-1);
    const button = h("button", { type: "button", "data-key": "fit", onclick: () => set({ groups: best }) }, `Use ${counted(best, "group")}`);
    redraw(node, h("p", { class: "cb-error ce-wrong" }, `Grouped: ${error} `, button));
  };
  return { node, update };
}

/** The chosen number, opened to the products that it is the sum of. */
function openedPanel() {
  const node = h("div", { class: "ce-opened" });
  const both = ({ fraction, reduction }) => `Fraction ${factor(fraction)} is this cost in units of the standard one. Reduction ${factor(reduction)} is one divided by the fraction. Texts quote either.`;
  const update = ({ sizes, cost, kind, quantity }) => {
    const own = cost[kind], title = `${KINDS[kind]}, ${QUANTITIES[quantity].replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())}`;
    if (own.error) { node.replaceChildren(h("h4", {}, title), h("p", {}, own.error)); return; }
    const lines = opened(sizes, kind, quantity).map(([what, text]) => h("li", {}, h("span", {}, equation(what)), h("b", {}, equation(text))));
    const note = ["fraction", "reduction"].includes(quantity) ? h("p", {}, both(own)) : "";
    node.replaceChildren(h("h4", {}, `${title}: `, h("b", {}, shown(quantity, own[quantity]))), h("ul", {}, lines), note);
  };
  return { node, update };
}

function timeNote() {
  const words = h("span", {});
  const node = h("p", { class: "ce-time" }, h("strong", {}, "Fewer MACs do not mean proportionally less time. "), words, " Where the processor waits for memory, time follows the bytes.");
  return { node, update: ({ cost, kind }) => { words.textContent = timeWords(cost, kind); } };
}

// The small drawings.

const across = (place) => (place - 1) * TOY.cell;

/** The top left corners of maps of these heights, in channels: spread over the width, centred in height. */
function corners(heights) {
  const gap = (TOY.width - TOY.places * TOY.cell) / (heights.length - 1);
  return heights.map((height, map) => ({ x: map * gap, y: TOY.top + across(1 + (TOY.channels - height) / 2) }));
}

function region({ channels, places }, { x, y: top }, look) {
  const [y, height] = [top + across(channels[0]), across(channels[1] + 1) - across(channels[0])];
  return h("rect", { class: look, x: x + across(places[0]), y, width: across(places[1] + 1) - across(places[0]), height });
}

/** One map: cells, and thicker lines between groups of channels. */
function mapOf({ x, y: top }, channels, groups) {
  const { cell, places } = TOY, [width, height] = [places * cell, channels * cell];
  const rows = Array.from({ length: channels - 1 }, (_, row) => `M${x} ${top + (row + 1) * cell}h${width}`);
  const cols = Array.from({ length: places - 1 }, (_, col) => `M${x + (col + 1) * cell} ${top}v${height}`);
  const cuts = Array.from({ length: groups - 1 }, (_, cut) => `M${x - 3} ${top + ((cut + 1) * height) / groups}h${width + 6}`);
  return [
    h("rect", { class: "ce-map", x, y: top, width, height }), h("path", { class: "ce-lines", d: [...rows, ...cols].join("") }),
    groups > 1 ? h("path", { class: "ce-cuts", d: cuts.join("") }) : null,
  ];
}

/** The funnel from what is seen in one map to what it becomes in the next. */
function funnel(before, after, here, next, look = "ce-funnel") {
  const y = ({ channels }, end, corner) => corner.y + across(channels[end] + end);
  const [from, to] = [here.x + across(before.places[1] + 1), next.x + across(after.places[0])];
  return h("path", { class: look, d: `M${from} ${y(before, 0, here)}L${to} ${y(after, 0, next)}V${y(after, 1, next)}L${from} ${y(before, 1, here)}Z` });
}

function label(x, y, text, anchor = "middle") {
  return h("text", { x, y, "text-anchor": anchor }, text);
}

/** The press on an output map, as the channel and place that it chooses. */
function pick(event, channels) {
  const box = event.currentTarget.getBoundingClientRect();
  const index = (at, size, count) => Math.max(1, Math.min(count, Math.ceil((count * at) / size)));
  return { channel: index(event.clientY - box.top, box.height, channels), place: index(event.clientX - box.left, box.width, TOY.places) };
}

function range([first, last]) {
  return first === last ? `${first}` : `${first} to ${last}`;
}

/** In the depthwise layer, the values of one channel that give one value of the same channel. */
function oneChannel(regions, corner, channel) {
  const own = regions.slice(0, 2).map(({ places }) => ({ channels: [channel, channel], places }));
  return [funnel(...own, corner[0], corner[1], "ce-funnel ce-strong"), own.map((each, map) => region(each, corner[map], "ce-outline"))];
}

/** The names over the arrows and the channel counts under the maps, with the real numbers. */
function labels(kind, sizes, corner) {
  const parts = stages(kind, sizes), width = TOY.places * TOY.cell, cut = kind === "grouped" && sizes.groups > 1 ? `, ${number(sizes.groups)} groups` : "";
  const over = parts.map(({ kernel }, map) => label((corner[map].x + width + corner[map + 1].x) / 2, 12, `${kernel}×${kernel}${cut}`));
  const counts = [parts[0].from, ...parts.map(({ to }) => to)];
  return [over, counts.map((count, map) => label(corner[map].x + width / 2, TOY.top + TOY.channels * TOY.cell + 15, `${number(count)} ch`))];
}

/** The maps of one kind, from input to output, with what the chosen output value sees. */
function drawing(kind, { sizes, channel, place }, set) {
  const toy = toySizes(sizes), parts = stages(kind, toy), regions = seen(kind, toy, channel, place);
  const heights = [parts[0].from, ...parts.map(({ to }) => to)], corner = corners(heights), end = parts.length;
  const maps = heights.map((height, map) => mapOf(corner[map], height, Math.max(parts[map]?.groups ?? 1, parts[map - 1]?.groups ?? 1)));
  const row = region({ channels: [channel, channel], places: [1, TOY.places] }, corner[end], "ce-same-weights");
  const marks = regions.map((each, map) => region(each, corner[map], map === end ? "ce-chosen" : map ? "ce-between" : "ce-seen"));
  const funnels = parts.map((_, map) => funnel(regions[map], regions[map + 1], corner[map], corner[map + 1]));
  const depthwise = kind === "separable" ? oneChannel(regions, corner, channel) : null;
  const whole = { channels: [1, TOY.channels], places: [1, TOY.places] }, hit = region(whole, corner[end], "ce-hit");
  hit.addEventListener("click", (event) => set(pick(event, TOY.channels)));
  const words = `${KINDS[kind]}: output channel ${channel} at position ${place} sees input channels ${range(regions[0].channels)} at positions ${range(regions[0].places)}.`;
  return h("svg", { class: "ce-toy", viewBox: `-4 0 ${TOY.width + 8} 102`, role: "img", "aria-label": words }, funnels, maps, row, marks, depthwise, labels(kind, sizes, corner), hit);
}

function drawingKey() {
  const where = h("span", {}), mark = (look, text) => h("span", { class: "ce-entry" }, h("i", { class: look }), text);
  const node = h("p", { class: "ce-key ce-marks" }, mark("ce-chosen", "the chosen output value"), mark("ce-seen", "what it sees"), mark("ce-between", "values in between"), mark("ce-same-weights", where));
  return Object.assign(node, { update: (side) => { where.textContent = `the same weights at all ${times(side, side)} positions; other rows have their own`; } });
}

function drawings(model, set) {
  const cards = Object.entries(KINDS).map(([kind, title]) => {
    const picture = h("div", {}), words = h("p", {});
    return { kind, picture, words, node: h("li", { "data-drawing": kind }, h("h5", {}, title), picture, words) };
  });
  const control = (name, trait, most) => slider({ label: name, min: 1, max: most, value: model.get(trait), show: (value) => `${value} of ${most}`, onInput: (value) => set({ [trait]: value }) });
  const channel = control("Channel of the output value", "channel", TOY.channels), place = control("Its position", "place", TOY.places);
  const how = h("p", { class: "ce-how" }), key = drawingKey();
  const update = (view) => {
    const { sizes, cost } = view, toy = toySizes(sizes);
    how.textContent = `Rows are channels, columns the positions along one image row. Drawn with 8 channels, ${counted(toy.groups, "group")} and a bottleneck of ${toy.middle}.`;
    for (const { kind, picture, words } of cards) {
      picture.replaceChildren(cost[kind].error ? "" : drawing(kind, view, set));
      words.textContent = sightWords(kind, sizes);
    }
    key.update(sizes.side);
    channel.update(view.channel);
    place.update(view.place);
  };
  const node = h("div", {}, h("h4", {}, "What one output value sees"), how, key, h("div", { class: "cb-row" }, channel, place), h("ul", { class: "ce-cards" }, cards.map((card) => card.node)));
  return { node, update };
}

// The curve.

const plotX = (channels) => PLOT.left + ((PLOT.width - PLOT.left - PLOT.right) * Math.log2(channels)) / Math.log2(PLOT.most);
const plotY = (value, kernel) => PLOT.height - PLOT.bottom - ((PLOT.height - PLOT.top - PLOT.bottom) * value) / kernel ** 2;

function plotGrid(kernel) {
  const [bottom, right] = [PLOT.height - PLOT.bottom, PLOT.width - PLOT.right];
  const rows = HEIGHTS[kernel].map((value) => [
    h("line", { class: value === kernel ** 2 ? "ce-limit" : "ce-grid", x1: PLOT.left, x2: right, y1: plotY(value, kernel), y2: plotY(value, kernel) }),
    label(PLOT.left - 6, plotY(value, kernel) + 4, String(value), "end"),
  ]);
  const cols = PLOT.ticks.map((value) => [
    h("line", { class: "ce-grid", x1: plotX(value), x2: plotX(value), y1: bottom, y2: bottom + 4 }), label(plotX(value), bottom + 18, number(value)),
  ]);
  return [rows, cols, label((PLOT.left + right) / 2, PLOT.height - 4, "output channels (log scale)"), label(PLOT.left + 2, PLOT.top - 7, `limit K² = ${kernel ** 2}`, "start")];
}

function plotMark(outChannels, kernel) {
  const value = separableReduction(outChannels, kernel), [x, y] = [plotX(outChannels), plotY(value, kernel)];
  const low = y > PLOT.height - PLOT.bottom - 30, anchor = x < PLOT.left + 24 ? "start" : x > PLOT.width - 30 ? "end" : "middle";
  return [
    h("line", { class: "ce-drop", x1: x, x2: x, y1: y, y2: PLOT.height - PLOT.bottom }), h("circle", { class: "ce-dot", cx: x, cy: y, r: 5.5 }),
    h("text", { class: "ce-value", x: low ? x : x + (anchor === "end" ? -9 : 9), y: low ? y - 11 : y + 19, "text-anchor": low ? anchor : anchor === "end" ? "end" : "start" }, `${factor(value)}×`),
  ];
}

/** The stop of the output channels that is nearest to a press on the curve. */
export function pressed(share) {
  const aim = share * Math.log2(PLOT.most);
  return CHANNELS.reduce((best, stop) => (Math.abs(Math.log2(stop) - aim) < Math.abs(Math.log2(best) - aim) ? stop : best));
}

function plot(outChannels, kernel, set) {
  const inner = PLOT.width - PLOT.left - PLOT.right;
  const points = Array.from({ length: 89 }, (_, index) => 2 ** (index / 8)).map((channels) => `${plotX(channels).toFixed(1)} ${plotY(separableReduction(channels, kernel), kernel).toFixed(1)}`);
  const onclick = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    set({ out_channels: pressed((event.clientX - box.left) / box.width) });
  };
  const words = `Reduction factor against output channels for K = ${kernel}: it rises towards ${kernel ** 2}; at ${number(outChannels)} channels it is ${factor(separableReduction(outChannels, kernel))}.`;
  return h("svg", { class: "ce-plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": words }, plotGrid(kernel),
    h("path", { class: "ce-curve", d: `M${points.join("L")}` }), plotMark(outChannels, kernel), h("rect", { class: "ce-hit", x: PLOT.left, y: 0, width: inner, height: PLOT.height - PLOT.bottom, onclick }));
}

function curve(set) {
  const picture = h("div", { class: "ce-picture" }), words = h("p", {});
  const node = h("div", {}, h("h4", {}, "Depthwise separable: reduction against output channels"),
    h("div", { class: "ce-curve-box" }, picture, h("div", { class: "ce-curve-words" }, words, h("p", {}, "Press on the curve, or move the slider “Output channels”."))));
  const update = ({ sizes: { outChannels, kernel } }) => {
    picture.replaceChildren(plot(outChannels, kernel, set));
    words.replaceChildren(...equation(curveWords(outChannels, kernel)));
  };
  return { node, update };
}

function notes() {
  return h("p", { class: "ce-notes" },
    "Stride 1, zero padding, biases, normalisation and activations left out; taps on padding are counted. A MAC is one multiplication and its addition. ",
    "Bytes moved: each layer reads its input and its weights once and writes its output once, float32, one image, nothing kept in a cache.");
}

// The whole.

function within(model, trait, most) {
  const value = model.get(trait);
  if (!Number.isInteger(value) || value < 1 || value > most) throw new Error(`The ${trait} in the drawings must be a whole number from 1 to ${most}.`);
  return value;
}

function look(model, sizes) {
  const [kind, quantity] = [model.get("kind"), model.get("quantity")];
  if (!Object.hasOwn(KINDS, kind) || !Object.hasOwn(QUANTITIES, quantity)) throw new Error("This number is not in the table.");
  return { sizes, cost: costs(sizes), kind, quantity, channel: within(model, "channel", TOY.channels), place: within(model, "place", TOY.places) };
}

function summary({ cost }) {
  const said = (kind, name) => `${name} ${cost[kind].error ? "not possible" : shown("reduction", cost[kind].reduction)}`;
  return `Reduction against standard: ${said("bottleneck", "bottleneck")}, ${said("grouped", "grouped")}, ${said("separable", "depthwise separable")}.`;
}

function draw(model, body, set) {
  const presets = presetRow(model, set), controls = sliders(model, set);
  const parts = [groupNote(set), table(model, set), openedPanel(), timeNote(), drawings(model, set), curve(set)];
  const wrong = h("p", { class: "cb-error" }), stage = h("div", {}, presets.same, parts.map(({ node }) => node), notes());
  body.append(presets.node, controls.node, wrong, stage);
  const fill = (sizes) => {
    const view = look(model, sizes);
    for (const part of [...parts]) part.update(view);
    return summary(view);
  };
  return () => {
    const sizes = Object.fromEntries(Object.entries(TRAITS).map(([key, trait]) => [key, model.get(trait)]));
    presets.update(sizes);
    controls.update(sizes);
    try { const said = fill(sizes); wrong.textContent = ""; stage.hidden = false; return said; }
    catch (error) { wrong.textContent = error.message; stage.hidden = true; return "Choose sizes with the sliders, or reset."; }
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Cost explorer", keys: [...Object.values(TRAITS), "kind", "quantity", "channel", "place"], draw: (body, set) => draw(model, body, set) });
}

export default { render };
