// The networks of the zoo by cost, year and error, and each one's block diagram, down to one layer's parameters.
import { choice, frame, h, number, redraw } from "./kit.js";

const X = { macs: "MACs of one image", parameters: "Parameters", year: "Year" };
const Y = { single_crop: "Single centre crop", paper: "As in its paper" };
const ERROR = { top1: "Top-1 error", top5: "Top-5 error" };
const SIZE = { macs: "parameters", parameters: "macs", year: "parameters" };
const KEYS = ["x", "y", "error", "chosen", "block"];
const MARGIN = { left: 40, right: 12, top: 20, bottom: 42 };
const GLYPH = 7.3; // widest mean width of a 12 px letter in the labels
const LINE = 15; // height of a label
const NARROW = 480; // a plot this wide in px has room for whole names and seven ticks
const TURNS = [0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11]; // sixteenths of a circle, in order of preference
const LARGEST = 19; // radius of the largest bubble, px
const SKIPS = {
  identity: "Skip connection, identity: the input itself is added to the branch. It costs no parameter.",
  projection: "Skip connection, projection: size or channels change, so the input goes through a convolution of its own before it is added.",
  padding: "Skip connection: where the size changes, every second pixel is taken and the new channels are filled with zeros. It costs no parameter.",
  concatenation: "Branches side by side: their outputs are laid one behind the other along the channels.",
};

// The arithmetic.

/** The errors of a network under a protocol, newest weights last: [[percent, protocol], …]; empty where there is none. */
export function errorsOf(network, y, error) {
  const place = error === "top1" ? 0 : 1;
  const entries = y === "paper" ? (network.paper ? [network.paper] : []) : network.crops;
  return entries.filter((entry) => entry[place] !== null).map((entry) => [entry[place], entry[2]]);
}

/** Why a network is not in the plot, in words; null where it is. */
export function missing(network, y, error) {
  if (network.task !== "ImageNet") return network.note;
  if (errorsOf(network, y, error).length) return null;
  const other = errorsOf(network, y, error === "top1" ? "top5" : "top1");
  if (other.length) return `Only a top-${error === "top1" ? 5 : 1} error is reported: ${other.at(-1)[0]} %.`;
  return `${y === "paper" ? "No error of this network in its paper." : "torchvision has no weights for this very network."} ${network.note}`.trim();
}

/** At most `most` ticks within [low, high] on a log axis: 1, 2, 5 times powers of ten, else 1, 3, else 1. */
export function logTicks(low, high, most) {
  const powers = Array.from({ length: 16 }, (_, power) => 10 ** power);
  const within = (mantissas) => powers.flatMap((power) => mantissas.map((each) => each * power)).filter((each) => each >= low && each <= high);
  return [[1, 2, 5], [1, 3]].map(within).find((found) => found.length <= most) ?? within([1]);
}

/** Ticks within [low, high] in steps of 1, 2 or 5 times a power of ten, about seven. */
export function ticks(low, high) {
  const rough = (high - low) / 7, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** The ends of both axes. They hold for both protocols, so that switching between them moves only the points. */
export function axes(networks, x, error) {
  const all = networks.filter((network) => network.task === "ImageNet");
  const costs = all.map((network) => network[x]);
  const errors = all.flatMap((network) => Object.keys(Y).flatMap((y) => errorsOf(network, y, error).map(([value]) => value)));
  const [low, high] = [Math.min(...costs), Math.max(...costs)];
  const across = x === "year" ? [low - 1, high + 1] : [low / 1.6, high * 1.8];
  return { x: across, y: [Math.max(0, Math.floor(Math.min(...errors) / 5 - 0.3) * 5), Math.ceil(Math.max(...errors) / 5 + 0.2) * 5], log: x !== "year" };
}

/** Where a value stands between two ends, from 0 to 1. */
export function along(value, [low, high], log) {
  const scale = log ? Math.log : (each) => each;
  return (scale(value) - scale(low)) / (scale(high) - scale(low));
}

/** Radius of a bubble whose AREA is proportional to the value; `most` has the largest. */
export function radius(value, most) {
  return LARGEST * Math.sqrt(value / most);
}

/** The points of a plot of width × height px: place, radius, and those of older weights of the same network. */
export function points(networks, x, y, error, width, height) {
  const ends = axes(networks, x, error), size = SIZE[x];
  const shown = networks.filter((network) => missing(network, y, error) === null);
  const most = Math.max(...networks.filter((network) => network.task === "ImageNet").map((network) => network[size]));
  const left = (value) => MARGIN.left + along(value, ends.x, ends.log) * (width - MARGIN.left - MARGIN.right);
  const top = (value) => height - MARGIN.bottom - along(value, ends.y) * (height - MARGIN.top - MARGIN.bottom);
  return shown.map((network) => {
    const values = errorsOf(network, y, error).map(([value]) => value);
    const tops = values.map(top);
    return { name: network.name, label: width < NARROW ? network.label.replace("EfficientNet", "EffNet") : network.label, value: values.at(-1), x: left(network[x]), y: tops.at(-1), r: Math.max(3, radius(network[size], most)), older: tops.slice(0, -1) };
  });
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** Boxes in which a label could stand, best first: beside its point, then in widening rings around it. */
function boxes({ x, y, r, label }, width, height) {
  const wide = GLYPH * label.length, found = [];
  for (let away = r + 4; away < 110; away += 5) {
    for (const turn of TURNS) {
      const [dx, dy] = [Math.cos((turn * Math.PI) / 8), Math.sin((turn * Math.PI) / 8)];
      const middle = x + dx * away + (Math.abs(dx) < 0.1 ? 0 : (Math.sign(dx) * wide) / 2);
      const centre = y + dy * (away + LINE / 2);
      found.push({ left: middle - wide / 2, right: middle + wide / 2, top: centre - LINE / 2, bottom: centre + LINE / 2, near: away === r + 4 });
    }
  }
  return found.filter((box) => box.left >= MARGIN.left + 2 && box.right <= width - 2 && box.top >= 0 && box.bottom <= height - MARGIN.bottom);
}

function around(x, top, bottom, far) {
  return { left: x - far, right: x + far, top: top - far, bottom: bottom + far };
}

/** Where a leader from a point to its label begins and ends; null where the label is near enough to need none. */
export function leaderOf({ x, y, r }, box) {
  if (!box || box.near) return null;
  const to = [Math.min(Math.max(x, box.left), box.right), Math.min(Math.max(y, box.top + 2), box.bottom - 2)];
  const far = Math.hypot(to[0] - x, to[1] - y) || 1;
  return [x + ((to[0] - x) * r) / far, y + ((to[1] - y) * r) / far, ...to];
}

/** The leader as a string of small boxes, for what must not lie on it. */
function beads(spot, box) {
  const ends = leaderOf(spot, box);
  if (!ends) return [];
  const [x1, y1, x2, y2] = ends, count = Math.ceil(Math.hypot(x2 - x1, y2 - y1) / 5);
  return Array.from({ length: count }, (_, index) => [x1 + ((x2 - x1) * index) / count, y1 + ((y2 - y1) * index) / count]).map(([x, y]) => around(x, y, y, 1));
}

/** The points as boxes, with the rings of older weights and the lines that lead to them. */
function obstacles(spots) {
  return spots.flatMap(({ x, y, r, older }) => [around(x, y, y, r), ...older.flatMap((top) => [around(x, top, top, 4), around(x, Math.min(y, top), Math.max(y, top), 1)])]);
}

/** Boxes for the labels, placed one after the other in this order of the points; leaders cross no other point or label. */
function placed(spots, order, width, height) {
  const dots = obstacles(spots), names = [], lines = [], found = spots.map(() => null);
  const clear = (box, others) => !others.some((other) => overlap(box, other));
  for (const index of order) {
    const spot = spots[index], taken = [...dots, ...names, ...lines];
    const others = [...names, ...dots.filter((dot) => !overlap(dot, around(spot.x, spot.y, spot.y, 0.1)))];
    const box = boxes(spot, width, height).find((each) => clear(each, taken) && beads(spot, each).every((bead) => clear(bead, others)));
    if (!box) continue;
    found[index] = box;
    names.push(box);
    lines.push(...beads(spot, box));
  }
  return found;
}

/** A box for each point's label, on no other label, point or leader; null where there is no room for one. */
export function labels(spots, width, height) {
  const given = spots.map((_, index) => index);
  const sorted = (axis, way) => [...given].sort((a, b) => way * (spots[a][axis] - spots[b][axis]));
  let first = null;
  for (const order of [given, sorted("x", 1), sorted("x", -1), sorted("y", 1), sorted("y", -1)]) {
    const found = placed(spots, order, width, height);
    if (!found.includes(null)) return found;
    first ??= found;
  }
  return first;
}

/** 4089184256 -> "4.09 G": three digits and k, M or G. */
export function short(value) {
  if (value < 1000) return number(value);
  const step = Math.min(3, Math.floor(Math.log10(Number(value.toPrecision(3))) / 3));
  return `${number(Number((value / 1000 ** step).toPrecision(3)))} ${["", "k", "M", "G"][step]}`;
}

function product(...factors) {
  return factors.map((factor) => (typeof factor === "string" ? factor : number(factor))).join(" × ");
}

/** A layer of a packed block: its title and, where it has any, how its parameters and MACs come about. */
export function opened(packed, titles) {
  const [title, parameters = 0, bias = 0, skip = 0, ...sizes] = [packed].flat();
  const base = { title: titles[title], parameters, skip: skip === 1, macs: 0, count: "", why: "", work: "" };
  if (!sizes.length) {
    const half = number(parameters / 2);
    if (!parameters) return base;
    return bias ? { ...base, count: `${half} + ${half} = ${number(parameters)}`, why: "a factor and a shift for each channel" } : { ...base, count: number(parameters), why: "a factor for each channel" };
  }
  const [inputs, outputs, groups, rows, columns, ...kernel] = sizes;
  const seen = groups === 1 ? inputs : groups === inputs ? 1 : `(${number(inputs)} ÷ ${groups})`;
  const weights = parameters - bias * outputs, macs = weights * rows * columns;
  return {
    ...base, macs, channels: `${number(inputs)} → ${number(outputs)}`,
    count: `${product(...kernel, seen, outputs)}${bias ? ` + ${number(outputs)}` : ""} = ${number(parameters)}`,
    work: `${product(weights, ...(rows * columns > 1 ? [rows, columns] : []))}${rows * columns > 1 ? ` = ${number(macs)}` : ""}`,
  };
}

/** A packed block as an object, its layers opened, with the sums of their parameters and MACs in words. */
export function blockOf(packed, titles) {
  const [title, name, role, join, input, output, parameters, macs, times, layers] = packed;
  const parts = layers.map((layer) => opened(layer, titles));
  const total = (what, whole) => {
    const counts = parts.map((part) => part[what]).filter(Boolean);
    const sum = counts.length > 1 ? `${counts.map((each) => number(each)).join(" + ")} = ${number(whole)}` : number(whole);
    return times > 1 && whole ? `${sum}; ${times} such blocks: ${product(times, whole)} = ${number(times * whole)}` : sum;
  };
  return { title, name, role, join, input, output, parameters, macs, times, parts, sums: { parameters: total("parameters", parameters), macs: total("macs", macs) } };
}

// What is said in words.

function size(shape) {
  return shape.map((side) => number(side)).join(" × ");
}

function errorWords(network, y) {
  const entries = y === "paper" ? [network.paper].filter(Boolean) : [...network.crops].reverse();
  const part = (value, name) => (value === null ? "" : `${number(value, 3)} % ${name}`);
  return entries.map(([top1, top5, protocol]) => `${[part(top1, "top-1"), part(top5, "top-5")].filter(Boolean).join(", ")}: ${protocol}`);
}

function summary(network, y, error) {
  const found = errorsOf(network, y, error).at(-1);
  const said = found && network.task === "ImageNet" ? `${ERROR[error].toLowerCase()} ${number(found[0], 3)} %, ${found[1]}` : "not in this plot";
  return `${network.label}: ${short(network.parameters)} parameters, ${short(network.macs)} MACs, ${said}.`;
}

// The plot.

function gridlines(networks, x, error, width, height) {
  const ends = axes(networks, x, error);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  const marks = ends.log ? logTicks(...ends.x, width < NARROW ? 5 : 7) : ticks(...ends.x);
  const across = marks.map((value) => {
    const at = MARGIN.left + along(value, ends.x, ends.log) * (right - MARGIN.left);
    return [h("line", { class: "ae-grid", x1: at, x2: at, y1: MARGIN.top, y2: bottom }), h("text", { x: at, y: bottom + 16, "text-anchor": "middle" }, x === "year" ? String(value) : short(value))];
  });
  const up = ticks(...ends.y).map((value) => {
    const at = bottom - along(value, ends.y) * (bottom - MARGIN.top);
    return [h("line", { class: "ae-grid", x1: MARGIN.left, x2: right, y1: at, y2: at }), h("text", { x: MARGIN.left - 6, y: at + 4, "text-anchor": "end" }, `${value}`)];
  });
  const name = `${X[x]}${ends.log ? " (log scale)" : ""}`;
  return [...across, ...up, h("text", { x: right, y: height - 6, "text-anchor": "end" }, name), h("text", { x: MARGIN.left + 4, y: 13 }, `${ERROR[error]}, %`)];
}

function leader(spot, box) {
  const ends = leaderOf(spot, box);
  return ends && h("line", { class: "ae-leader", x1: ends[0], y1: ends[1], x2: ends[2], y2: ends[3] });
}

function nameTag(spot, box) {
  const [x, anchor] = box.left > spot.x ? [box.left, "start"] : box.right < spot.x ? [box.right, "end"] : [(box.left + box.right) / 2, "middle"];
  return h("text", { class: "ae-name", x, y: box.bottom - 3.5, "text-anchor": anchor }, spot.label);
}

function mark(spot, box, chosen, onPick) {
  const ring = (top) => [h("line", { class: "ae-older", x1: spot.x, x2: spot.x, y1: spot.y, y2: top }), h("circle", { class: "ae-ring", cx: spot.x, cy: top, r: 4 })];
  const text = box && nameTag(spot, box);
  const circle = h("circle", { class: "ae-dot", cx: spot.x, cy: spot.y, r: spot.r });
  const hit = h("circle", { class: "ae-hit", cx: spot.x, cy: spot.y, r: Math.max(16, spot.r) });
  return h("g", { class: `ae-mark${chosen ? " ae-chosen" : ""}`, "data-point": spot.name, onclick: () => onPick(spot.name) }, spot.older.map(ring), leader(spot, box), circle, hit, text);
}

function plot(model, width, onPick) {
  const [networks, x, y, error, chosen] = ["networks", "x", "y", "error", "chosen"].map((key) => model.get(key));
  const height = width < NARROW ? 400 : 380;
  const spots = points(networks, x, y, error, width, height), places = labels(spots, width, height);
  const marks = spots.map((spot, index) => mark(spot, places[index], spot.name === chosen, onPick));
  const said = `${ERROR[error]} against ${X[x]}, ${spots.length} networks: ${spots.map((spot) => `${spot.label} ${number(spot.value, 3)} %`).join(", ")}.`;
  return h("svg", { class: "ae-plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": said }, gridlines(networks, x, error, width, height), marks);
}

function key(model) {
  const older = model.get("y") === "single_crop" ? " A ring is the same network with torchvision’s older weights: only the training differs." : "";
  return `Lower is better. The area of a bubble is its ${SIZE[model.get("x")] === "macs" ? "MACs" : "parameters"}.${older}`;
}

/** The networks that have no place in the plot, and why. */
function absent(networks, y, error) {
  const out = networks.map((network) => [network, missing(network, y, error)]).filter(([, why]) => why !== null);
  const names = out.map(([network]) => network.label).join(", ");
  return [h("summary", {}, h("b", {}, `Not in this plot, ${out.length}: `), names), h("ul", {}, out.map(([network, why]) => h("li", {}, h("b", {}, network.label), ` ${why}`)))];
}

// Lists that the arrow keys walk through.

const MOVES = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** The index that a key leads to from `now` among `count`; null for other keys. */
export function walk(pressed, now, count) {
  if (pressed === "Home") return 0;
  if (pressed === "End") return count - 1;
  return pressed in MOVES ? Math.min(count - 1, Math.max(0, now + MOVES[pressed])) : null;
}

function rove(event, nodes) {
  const to = walk(event.key, nodes.indexOf(event.currentTarget), nodes.length);
  if (to === null) return null;
  event.preventDefault();
  nodes.forEach((node, index) => node.setAttribute("tabindex", index === to ? 0 : -1));
  nodes[to].focus();
  return to;
}

/** All networks as radio buttons: an arrow key moves and chooses at once. */
function picker(networks, onPick) {
  const buttons = networks.map(({ name, label, year }) => h("button", { type: "button", role: "radio", "data-network": name, onclick: () => onPick(name) }, label, h("span", {}, ` ${year}`)));
  const onkeydown = (event) => {
    const to = rove(event, buttons);
    if (to !== null) onPick(networks[to].name);
  };
  for (const button of buttons) button.addEventListener("keydown", onkeydown);
  const update = (chosen, inside) => buttons.forEach((button, index) => {
    const here = networks[index].name === chosen;
    button.setAttribute("aria-checked", here);
    button.setAttribute("tabindex", here ? 0 : -1);
    button.classList.toggle("ae-out", !inside(networks[index]));
  });
  return Object.assign(h("div", { class: "ae-picker", role: "radiogroup", "aria-label": "Network" }, buttons), { update });
}

// The chosen network.

function facts(network) {
  const list = (lines) => (lines.length ? lines.map((line) => h("p", {}, line)) : "none");
  const rows = [
    ["Parameters", number(network.parameters)], ["MACs of one image", number(network.macs)],
    ["Error in its paper", list(errorWords(network, "paper"))], ["Error on a single crop", list(errorWords(network, "single_crop"))],
  ];
  const note = network.note ? h("p", { class: "ae-note" }, network.note) : null;
  return [h("h4", {}, `${network.label}, ${network.year}`), h("dl", { class: "ae-facts" }, rows.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text)))), note];
}

function bar({ output, role, join }) {
  const wide = 100 * Math.min(1, Math.log2(output[0] + 1) / 12.1), arc = join in SKIPS && join !== "concatenation";
  return h("span", { class: `ae-bar ae-${role === "block" ? "several" : role}`, style: `width:${wide}%` }, number(output[0]), arc ? h("i", { class: join === "identity" ? "ae-arc" : "ae-arc ae-dashed", "aria-hidden": "true" }) : null);
}

function layerRow(part) {
  const where = part.skip ? h("em", {}, "on the skip") : null;
  const what = h("span", { class: "ae-what" }, part.title, part.channels ? `, ${part.channels}` : "", " ", where);
  const counts = part.count ? h("span", { class: "ae-count" }, part.count) : null;
  const why = part.why ? h("span", { class: "ae-work" }, part.why) : null;
  const work = part.work ? h("span", { class: "ae-work" }, `MACs ${part.work}`) : null;
  return h("li", {}, what, counts, why, work);
}

function inside(block) {
  const around = SKIPS[block.join] ? h("p", { class: "ae-skip" }, SKIPS[block.join]) : null;
  const sum = (label, text) => h("p", { class: "ae-sum" }, h("b", {}, label), ` ${text}`);
  return h("div", { class: "ae-inside" }, h("p", {}, `${size(block.input)} values in, ${size(block.output)} out. In the model: `, h("code", {}, block.name)), around,
    h("ul", {}, block.parts.map(layerRow)), sum("Parameters", block.sums.parameters), sum("MACs", block.sums.macs));
}

function blockRow(block, index, isOpen, toggle) {
  const times = block.times > 1 ? h("b", {}, `${block.times} × `) : null;
  const sides = block.output.length > 1 ? block.output.slice(1).join("×") : "–";
  const total = block.parameters ? number(block.times * block.parameters) : "–";
  const cells = [h("span", { class: "ae-side" }, sides), h("span", { class: "ae-lane" }, bar(block)), h("span", { class: "ae-title" }, times, block.title), h("span", { class: "ae-total" }, total)];
  const button = h("button", { type: "button", class: "ae-block", "data-key": `block-${index}`, "aria-expanded": String(isOpen), onclick: () => toggle(isOpen ? -1 : index, index) }, cells);
  return { button, node: h("li", {}, button, isOpen ? inside(block) : null) };
}

/** The rows of a network's diagram; `here` is the row that Tab leads to. */
function diagram(network, titles, open, here, toggle) {
  const rows = network.blocks.map((packed, index) => blockRow(blockOf(packed, titles), index, index === open, toggle));
  const buttons = rows.map(({ button }) => button);
  buttons.forEach((button, index) => {
    button.setAttribute("tabindex", index === Math.min(here, rows.length - 1) ? 0 : -1);
    button.addEventListener("keydown", (event) => rove(event, buttons));
  });
  const head = h("div", { class: "ae-block ae-head", "aria-hidden": "true" }, ["H×W", "channels", "block", "parameters"].map((word) => h("span", {}, word)));
  return [h("p", { class: "ae-hint" }, "From input to output. Press a block to open its layers."), head, h("ol", { class: "ae-blocks" }, rows.map(({ node }) => node))];
}

// The figure.

function controls(model, set) {
  const made = [["x", "Across", X], ["y", "Protocol of the error", Y], ["error", "Error", ERROR]].map(([trait, label, options]) =>
    [trait, choice({ label, options: Object.entries(options), value: model.get(trait), onChange: (value) => set({ [trait]: value }) })]);
  const update = () => made.forEach(([trait, node]) => node.update(model.get(trait)));
  return { node: h("div", { class: "cb-row" }, made.map(([, node]) => node)), update };
}

function chosenOf(model) {
  const network = model.get("networks").find(({ name }) => name === model.get("chosen"));
  if (!network) throw new Error(`There is no network “${model.get("chosen")}” here.`);
  for (const [trait, options] of [["x", X], ["y", Y], ["error", ERROR]]) if (!(model.get(trait) in options)) throw new Error(`The choice “${model.get(trait)}” is not one of ${Object.keys(options).join(", ")}.`);
  return network;
}

/** Calls back with the width in px whenever it changes; returns nothing where the browser cannot tell. */
function watchWidth(node, onWidth) {
  if (typeof ResizeObserver === "undefined") return;
  new ResizeObserver(([entry]) => onWidth(Math.floor(entry.contentRect.width))).observe(node);
}

function draw(model, body, set) {
  let width = 640, here = 0;
  const pick = (chosen) => {
    if (chosen === model.get("chosen")) return;
    here = 0;
    set({ chosen, block: -1 });
  };
  const panel = controls(model, set), list = picker(model.get("networks"), pick);
  const [canvas, legend, card, blocks, wrong] = [["div", "ae-canvas"], ["p", "ae-key"], ["div", "ae-card"], ["div", "ae-diagram"], ["p", "cb-error"]].map(([tag, name]) => h(tag, { class: name }));
  const out = h("details", { class: "ae-absent" }), shown = h("div", {}, canvas, legend, out, list, card, blocks);
  const toggle = (block, row) => { here = row; set({ block }); };
  const paint = () => redraw(canvas, plot(model, width, pick));
  const fill = () => {
    const [networks, y, error] = ["networks", "y", "error"].map((trait) => model.get(trait)), network = chosenOf(model);
    paint();
    legend.textContent = key(model);
    out.replaceChildren(...absent(networks, y, error));
    list.update(network.name, (each) => missing(each, y, error) === null);
    redraw(card, facts(network));
    redraw(blocks, diagram(network, model.get("titles"), model.get("block"), model.get("block") < 0 ? here : model.get("block"), toggle));
    return summary(network, y, error);
  };
  body.append(panel.node, wrong, shown);
  watchWidth(canvas, (next) => { if (next > 0 && next !== width && !shown.hidden) { width = next; paint(); } });
  return () => {
    panel.update();
    try { const said = fill(); wrong.textContent = ""; shown.hidden = false; return said; }
    catch (error) { wrong.textContent = error.message; shown.hidden = true; return "Press Reset to come back to where the figure began."; }
  };
}

function render({ model, el }) {
  return frame(model, el, { title: "Architecture explorer", keys: KEYS, draw: (body, set) => draw(model, body, set) });
}

export default { render };
