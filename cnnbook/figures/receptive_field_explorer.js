// Receptive-field explorer: a stack of layers along one axis, what each unit sees of the input, and how much of it.
import { choice, frame, h, number, slider } from "./kit.js";

const KEYS = ["layers", "size", "layer", "unit", "pixel", "zoom"];
const PARTS = ["kernel", "stride", "dilation", "padding"];
const LIMITS = { kernel: [1, 11], stride: [1, 4], dilation: [1, 16], padding: [0, 16] };
const SIZES = [8, 512];
const MOST_LAYERS = 40;
const MOST_FIELD = 4096;
const COUNTABLE = 1e6; // up to so many paths the figure writes counts, beyond it shares

// ---- Arithmetic. A layer is [kernel, stride, dilation = 1, padding = 0]; layer 0 is the input ----

/** Receptive field and jump after each layer, in input pixels along one axis: [[rf, jump], …]. */
export function receptiveField(layers) {
  let [rf, jump] = [1, 1];
  return layers.map(([kernel, stride, dilation = 1]) => {
    rf += dilation * (kernel - 1) * jump;
    jump *= stride;
    return [rf, jump];
  });
}

/** First and last input pixel in the field of a unit; below 0 and beyond the input lies padding. */
export function field(layers, layer, unit) {
  return layers.slice(0, layer).reduceRight(([first, last], [kernel, stride, dilation = 1, padding = 0]) => (
    [first * stride - padding, last * stride - padding + dilation * (kernel - 1)]), [unit, unit]);
}

/** The share of a unit's paths that each pixel of its field gets, padding aside: a repeated box convolution, sum 1. */
export function paths(layers) {
  let [weights, jump] = [[1], 1];
  for (const [kernel, stride, dilation = 1] of layers) {
    const step = dilation * jump, next = Array(weights.length + step * (kernel - 1)).fill(0);
    for (let tap = 0; tap < kernel; tap += 1) weights.forEach((weight, at) => { next[at + tap * step] += weight / kernel; });
    [weights, jump] = [next, jump * stride];
  }
  return weights;
}

function mean(weights) {
  return weights.reduce((sum, weight, at) => sum + weight * at, 0);
}

/** The standard deviation, in pixels, of weights that sum to 1. */
export function spread(weights) {
  const middle = mean(weights);
  return Math.sqrt(weights.reduce((sum, weight, at) => sum + weight * (at - middle) ** 2, 0));
}

/** The share of the weights on pixels at most two standard deviations from the middle. */
export function within(weights) {
  const middle = mean(weights), reach = 2 * spread(weights) + 1e-9;
  return weights.reduce((sum, weight, at) => sum + (Math.abs(at - middle) <= reach ? weight : 0), 0);
}

/** Units of every layer, the input's pixels first; throws, in words, where a kernel does not fit. */
export function sizes(layers, size) {
  const found = [size];
  layers.forEach(([kernel, stride, dilation = 1, padding = 0], index) => {
    const padded = found[index] + 2 * padding, span = dilation * (kernel - 1) + 1;
    if (span > padded) throw new Error(`Layer ${index + 1} does not fit: its kernel spans ${span}, but ${index ? `layer ${index}` : "the input"} has only ${found[index]} + 2·${padding} = ${padded}.`);
    found.push(Math.floor((padded - span) / stride) + 1);
  });
  return found;
}

/** The smallest input on which the last layer has so many units. */
export function smallest(layers, units = 1) {
  return layers.reduceRight((size, [kernel, stride, dilation = 1, padding = 0]) => (
    Math.max(1, (size - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding)), units);
}

/**
 * Paths from one unit down to every position of every layer, the input first: rows of [position, count] in order.
 * Positions of padding are listed with the paths that end there; no path leads on from them.
 */
export function cone(layers, size, layer, unit) {
  const counts = sizes(layers, size), rows = [[[unit, 1]]];
  for (let above = layer; above > 0; above -= 1) {
    const [kernel, stride, dilation = 1, padding = 0] = layers[above - 1], below = new Map();
    for (const [at, count] of rows[0].filter(([at]) => at >= 0 && at < counts[above])) {
      for (let tap = 0; tap < kernel; tap += 1) {
        const place = at * stride - padding + tap * dilation;
        below.set(place, (below.get(place) ?? 0) + count);
      }
    }
    rows.unshift([...below].sort(([one], [other]) => one - other));
  }
  return rows;
}

function reads([kernel, stride, dilation = 1, padding = 0], unit, place) {
  const tap = (place + padding - unit * stride) / dilation;
  return Number.isInteger(tap) && tap >= 0 && tap < kernel;
}

/** The units of layer 1 over which a unit's paths reach a pixel: [unit, paths into it]; the pixel's paths are their sum. */
export function sources(layers, size, layer, unit, pixel) {
  const rows = cone(layers, size, layer, unit), count = sizes(layers, size)[1];
  return rows[1].filter(([at]) => at >= 0 && at < count && reads(layers[0], at, pixel));
}

/** The middle unit of a layer, and the pixel in the middle of its field; 0 and 0 where the stack does not fit. */
export function middle(layers, size, layer) {
  try {
    const unit = Math.floor(sizes(layers, size)[layer] / 2), [first, last] = field(layers, layer, unit);
    return { layer, unit, pixel: clamp(Math.floor((first + last) / 2), size) };
  } catch { return { layer, unit: 0, pixel: 0 }; }
}

function clamp(at, count) {
  return Math.min(Math.max(Math.trunc(at) || 0, 0), count - 1);
}

// ---- Known stacks ----

const named = (...rows) => rows.map(([name, kernel, stride = 1, padding = 0, dilation = 1]) => [name, [kernel, stride, dilation, padding]]);
const plain = (kernels, strides, padded, dilations = []) => kernels.map((kernel, index) => (
  [String(index + 1), [kernel, strides[index], dilations[index] ?? 1, padded ? (kernel - 1) / 2 : 0]]));
const threes = (count) => plain(Array(count).fill(3), Array(count).fill(1), false);
const stage = (name, count, stride = 1) => named(...Array.from({ length: count }, (_, index) => [`${name}_${index + 1}`, 3, index ? 1 : stride, 1]));
const STEM = named(["conv1", 7, 2, 3], ["pool1", 3, 2, 1]);
const ELEVEN = [[7, ...Array(10).fill(3)], [2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 2]];
const SKIPS = "The longest path; skip connections add shorter ones.";
const POINTWISE = "1×1 layers are left out: they change neither rf nor jump.";

const NETS = {
  five: ["Five layers", 51, plain(...ELEVEN.map((row) => row.slice(0, 5)), false)],
  eleven: ["Eleven layers", 224, plain(...ELEVEN, true)],
  alexnet: ["AlexNet", 224, named(["conv1", 11, 4, 2], ["pool1", 3, 2], ["conv2", 5, 1, 2], ["pool2", 3, 2], ["conv3", 3, 1, 1], ["conv4", 3, 1, 1], ["conv5", 3, 1, 1], ["pool5", 3, 2])],
  vgg16: ["VGG-16", 224, [2, 2, 3, 3, 3].flatMap((count, index) => [...stage(`conv${index + 1}`, count), ...named([`pool${index + 1}`, 2, 2])])],
  resnet18: ["ResNet-18", 224, [...STEM, ...stage("conv2", 4), ...stage("conv3", 4, 2), ...stage("conv4", 4, 2), ...stage("conv5", 4, 2)], SKIPS],
  resnet50: ["ResNet-50 (v1.5)", 224, [...STEM, ...stage("conv2", 3), ...stage("conv3", 4, 2), ...stage("conv4", 6, 2), ...stage("conv5", 3, 2)], `${SKIPS} ${POINTWISE}`],
  mobilenet: ["MobileNetV1", 224, named(["conv1", 3, 2, 1], ...[1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1].map((stride, index) => [`dw${index + 1}`, 3, stride, 1])), POINTWISE],
  threes5: ["Five 3×3", 41, threes(5)],
  threes10: ["Ten 3×3", 41, threes(10)],
  threes20: ["Twenty 3×3", 61, threes(20)],
  threes40: ["Forty 3×3", 101, threes(40)],
  dilated: ["Dilated 1, 2, 4, 8", 47, plain([3, 3, 3, 3], [1, 1, 1, 1], false, [1, 2, 4, 8])],
};

/** The known stacks: {name: {size, names of the layers, layers}}. */
export function nets() {
  return Object.fromEntries(Object.entries(NETS).map(([key, [, size, rows]]) => (
    [key, { size, names: rows.map(([name]) => name), layers: rows.map(([, layer]) => [...layer]) }])));
}

/** The name of the known stack that these layers are, or "own". */
export function netName(layers) {
  const same = (rows) => rows.length === layers.length && rows.every(([, layer], at) => layer.every((part, each) => part === layers[at][each]));
  return Object.keys(NETS).find((key) => same(NETS[key][2])) ?? "own";
}

/** What is wrong with a state (one from a link may hold anything), in words; null where it can be drawn. */
export function fault({ layers, size }) {
  if (!whole(size, SIZES)) return `The input must be ${SIZES[0]} to ${SIZES[1]} pixels wide.`;
  if (!Array.isArray(layers) || !whole(layers.length, [1, MOST_LAYERS])) return `A stack has 1 to ${MOST_LAYERS} layers.`;
  const bad = layers.map(layerFault).find(Boolean);
  if (bad) return bad;
  const wide = receptiveField(layers).findIndex(([rf]) => rf > MOST_FIELD);
  return wide < 0 ? null : `Layer ${wide + 1} would see ${number(receptiveField(layers)[wide][0])} pixels; the figure goes up to ${number(MOST_FIELD)}. Take smaller strides or fewer layers.`;
}

function whole(value, [least, most]) {
  return Number.isInteger(value) && value >= least && value <= most;
}

function layerFault(layer, index) {
  if (!Array.isArray(layer) || layer.length !== 4) return `Layer ${index + 1} must be kernel, stride, dilation and padding.`;
  const at = PARTS.findIndex((part, each) => !whole(layer[each], LIMITS[part]));
  return at < 0 ? null : `Layer ${index + 1}: the ${PARTS[at]} must be a whole number from ${LIMITS[PARTS[at]].join(" to ")}.`;
}

// ---- Words ----

const signed = (value) => number(value, 0);
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** 0.714 -> "71 %", with a space that does not break; small shares keep two digits: "0.62 %". */
export function percent(share) {
  const value = 100 * share;
  return `${value === 0 ? "0" : value < 0.01 ? "under 0.01" : number(value, value >= 9.95 ? 0 : value >= 0.995 ? 1 : 2)}\u00a0%`;
}

/** A share to three significant digits, as the terms of a sum need it. */
function fine(share) {
  return `${number(Number((100 * share).toPrecision(3)), 6)}\u00a0%`;
}

/** A count with every digit, or "1.22 × 10¹⁹" beyond a million million. */
export function big(count) {
  if (count < 1e12) return number(count, 0);
  const [digits, power] = count.toExponential(2).split("e+");
  return `${digits} × 10${superscript(power)}`;
}

function superscript(digits) {
  return [...String(digits)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
}

/** The product of the kernels, equal neighbours gathered: "7 × 3⁴". */
export function product(layers) {
  const runs = [];
  for (const [kernel] of layers.filter(([each]) => each > 1)) {
    if (runs.at(-1)?.[0] === kernel) runs.at(-1)[1] += 1; else runs.push([kernel, 1]);
  }
  return runs.map(([kernel, times]) => `${kernel}${times > 1 ? superscript(times) : ""}`).join(" × ") || "1";
}

/** How rf and jump of a layer come from those before: the step, and the whole sum. */
export function recursion(layers, layer) {
  const found = [[1, 1], ...receptiveField(layers)], [kernel, stride, dilation = 1] = layers[layer - 1];
  const [[rf, jump], [nextRf, nextJump]] = [found[layer - 1], found[layer]];
  const terms = gathered(layers.slice(0, layer).map(([each, , apart = 1], at) => `${apart}·${each - 1}·${number(found[at][1])}`));
  return {
    rf: `rf = ${number(rf)} + ${dilation}·(${kernel}−1)·${number(jump)} = ${number(nextRf)}`,
    jump: `jump = ${number(jump)}·${stride} = ${number(nextJump)}`,
    sum: `rf = 1 + ${terms.join(" + ")} = ${number(nextRf)}`,
  };
}

/** Four or more equal terms in a row as one: "5 × (1·2·1)". */
function gathered(terms) {
  const runs = [];
  for (const term of terms) {
    if (runs.at(-1)?.[0] === term) runs.at(-1)[1] += 1; else runs.push([term, 1]);
  }
  return runs.flatMap(([term, times]) => (times > 3 ? [`${times} × (${term})`] : Array(times).fill(term)));
}

/** What the figure says about one unit and one pixel. `names` are those of the layers. */
export function words(layers, size, layer, unit, pixel) {
  const upTo = layers.slice(0, layer), [rf, jump] = receptiveField(upTo).at(-1);
  const ends = field(layers, layer, unit), rows = cone(layers, size, layer, unit), weights = paths(upTo);
  const total = upTo.reduce((all, [kernel]) => all * kernel, 1), ending = lost(rows, size, total);
  return {
    sees: `It sees ${seen(ends)}: rf ${number(rf)}.${unseen(ends, size, rows[0], weights)}`,
    next: neighbour(layers, layer, unit, sizes(layers, size)[layer], jump),
    paths: `${product(upTo)} ${total < 1e12 ? "=" : "≈"} ${total === 1 ? "1 path leads" : `${big(total)} paths lead`} down from it.${ending}`,
    pixel: pixelText(upTo, size, layer, unit, pixel, total),
    effective: effective(rf, weights, ending !== ""),
  };
}

function range([first, last]) {
  return first === last ? signed(first) : `${signed(first)} to ${signed(last)}`;
}

function seen(ends) {
  return `pixel${ends[0] === ends[1] ? "" : "s"} ${range(ends)}`;
}

function unseen([first, last], size, input, weights) {
  const inside = Math.max(0, Math.min(last, size - 1) - Math.max(first, 0) + 1), outside = last - first + 1 - inside;
  const unread = inside - input.filter(([at]) => at >= 0 && at < size).length;
  const holes = weights.some((weight) => weight === 0);
  return [
    outside ? ` ${number(outside)} of them lie${outside === 1 ? "s" : ""} beyond the input, on padding.` : "",
    unread ? ` ${number(unread)} of them ${unread === 1 ? "is" : "are"} not read: ${holes ? "a hole between taps" : "cut off by a layer’s padding"}.` : "",
  ].join("");
}

/** The unit after this one, or before it at the end of the layer; −1 where there is none. */
function beside(unit, count) {
  return unit + 1 < count ? unit + 1 : unit - 1;
}

function neighbour(layers, layer, unit, count, jump) {
  const other = beside(unit, count);
  if (other < 0) return "It is the only unit of its layer.";
  return `Its neighbour, unit ${other}, sees ${range(field(layers, layer, other))}: ${plural(jump, "pixel")} ${other > unit ? "further" : "before"}, the jump.`;
}

function lost(rows, size, total) {
  const arrived = rows[0].filter(([at]) => at >= 0 && at < size).reduce((sum, [, count]) => sum + count, 0);
  if (arrived === total) return "";
  if (total > COUNTABLE) return arrived / total > 1 - 1e-12 ? "" : ` Of these, ${percent(1 - arrived / total)} end on padding.`;
  return ` Of these, ${number(total - arrived)} end${total - arrived === 1 ? "s" : ""} on padding.`;
}

function pixelText(layers, size, layer, unit, pixel, total) {
  const found = sources(layers, size, layer, unit, pixel), sum = found.reduce((all, [, count]) => all + count, 0);
  if (!found.length) return `Pixel ${pixel}: no path leads to it.`;
  const over = `over unit${found.length > 1 ? "s" : ""} ${range([found[0][0], found.at(-1)[0]])} of layer 1`;
  const step = found.length > 1 ? found[1][0] - found[0][0] : 1;
  const every = step > 1 ? `, every ${step === 2 ? "second" : `${step}th`} one` : "";
  if (total > COUNTABLE) {
    const shares = found.map(([, count]) => fine(count / (total / layers[0][0])));
    return `Pixel ${pixel}: (${shares.join(" + ")}) ÷ ${layers[0][0]} = ${fine(sum / total)} of the paths, ${over}${every}.`;
  }
  const terms = found.length > 1 ? `${found.map(([, count]) => number(count)).join(" + ")} = ` : "";
  return `Pixel ${pixel}: ${terms}${plural(sum, "path")}, ${over}${every}. ${number(sum)} ÷ ${number(total)} = ${percent(sum / total)}.`;
}

function effective(rf, weights, cut) {
  const sigma = spread(weights), share = (4 * sigma) / rf;
  if (rf === 1) return "It sees one pixel, so there is nothing to spread.";
  const width = `${cut ? "Away from the edges, " : ""}±2σ is ${number(4 * sigma, 1)} pixels wide, ${Math.round(100 * share)}\u00a0% of rf ${number(rf)}`;
  return share >= 1 ? `${width}: flat, no bell yet.` : `${width}, and holds ${percent(within(weights))} of the paths.`;
}

// ---- The state, ready to be drawn ----

/** The traits and what follows from them; `bad` where the stack is no stack, `misfit` where it is too large, in words. */
function look(model, changes = {}) {
  const state = { ...Object.fromEntries(KEYS.map((key) => [key, model.get(key)])), ...changes };
  const bad = fault(state);
  if (bad) return { ...state, bad, usable: Array.isArray(state.layers) && whole(state.layers.length, [1, MOST_LAYERS]) && !state.layers.some(layerFault) };
  return { ...state, ...measured(state) };
}

function measured({ layers, size, layer, unit, pixel }) {
  const net = netName(layers), names = net === "own" ? layers.map((_, index) => String(index + 1)) : NETS[net][2].map(([name]) => name);
  const at = layerAt({ layers, layer }), fields = [[1, 1], ...receptiveField(layers)];
  const common = { net, names: ["input", ...names], fields, layer: at, pixel: clamp(pixel, size) };
  try {
    const counts = sizes(layers, size), place = clamp(unit, counts[at]);
    return { ...common, counts, unit: place, rows: cone(layers, size, at, place), origins: layers.map((_, index) => centre(layers, index + 1, 0)) };
  } catch (error) { return { ...common, misfit: error.message }; }
}

/** The layer that is looked at: a number from 1 on, whatever a link holds. */
function layerAt({ layers, layer }) {
  return 1 + clamp(layer - 1, layers.length);
}

function centre(layers, layer, unit) {
  const [first, last] = field(layers, layer, unit);
  return (first + last) / 2;
}

/** The unit of a layer whose field is centred nearest to a place on the input. */
function nearest({ origins, fields, counts }, layer, place) {
  return layer === 0 ? clamp(Math.round(place), counts[0]) : clamp(Math.round((place - origins[layer - 1]) / fields[layer][1]), counts[layer]);
}

function titled({ names }, layer) {
  return /^\d+$/.test(names[layer]) ? `Layer ${layer}` : names[layer];
}

function summary(view) {
  if (view.bad) return "This stack cannot be drawn.";
  if (view.misfit) return "The stack does not fit into the input.";
  const { layers, layer, unit, fields } = view;
  return `${titled(view, layer)}, unit ${unit} sees ${seen(field(layers, layer, unit))}: rf ${number(fields[layer][0])}, jump ${number(fields[layer][1])}.`;
}

// ---- The drawing: x is the input's axis, a unit stands over the middle of its field ----

/** The pixels that are drawn: the whole input and every field, or those around the chosen field. */
export function extent(layers, size, layer, unit, zoom) {
  if (zoom) {
    const [first, last] = field(layers, layer, unit), [rf, jump] = receptiveField(layers)[layer - 1];
    const margin = Math.max(jump, Math.ceil(0.08 * rf), 2);
    return [first - margin, last + margin];
  }
  const ends = sizes(layers, size).slice(1).flatMap((count, index) => [...field(layers, index + 1, 0), ...field(layers, index + 1, count - 1)]);
  return [Math.min(0, ...ends), Math.max(size - 1, ...ends)];
}

/** Where everything stands, in px of a drawing so wide. */
function plan(view, width) {
  const { layers, layer, unit, size, zoom, fields, origins } = view, many = layers.length;
  const [first, last] = extent(layers, size, layer, unit, zoom);
  const left = 60, right = 34, inner = width - left - right, scale = inner / (last - first + 1);
  const pitch = many <= 6 ? 44 : many <= 12 ? 36 : many <= 20 ? 32 : 18, tall = pitch >= 32 ? 14 : 9;
  const floor = 22 + many * pitch;
  const x = (place) => (place - first + 0.5) * scale;
  return {
    width, left, inner, scale, first, last, pitch, floor, x, height: floor + 184,
    y: (row) => floor - row * pitch, tall: (row) => (row ? tall : 18),
    at: (row, place) => (row ? origins[row - 1] + place * fields[row][1] : place),
    place: (px) => (px - left) / scale + first - 0.5,
  };
}

const px = (value) => value.toFixed(1);

/** Between boxes so wide; narrow ones overlap a little, so that no seams show. */
function gapOf(wide) {
  return wide < 3 ? -0.4 : Math.min(2, 0.2 * wide);
}

/** One path of boxes for units of a row, as wide as the jump. */
function boxes(geo, view, row, places) {
  const wide = view.fields[row][1] * geo.scale, gap = gapOf(wide);
  const [top, tall] = [geo.y(row), geo.tall(row)];
  const box = (place) => `M${px(geo.x(geo.at(row, place)) - wide / 2 + gap / 2)} ${top}h${px(wide - gap)}v${tall}h${px(gap - wide)}z`;
  return places.map(box).join("");
}

/** One path of lines from units of a row to what they read in the row below, as far as `keep` wants them. */
function wires(geo, view, row, keep) {
  const { layers, counts, rows } = view, [kernel, stride, dilation, padding] = layers[row - 1];
  const units = rows[row].map(([at]) => at).filter((at) => at >= 0 && at < counts[row]);
  const line = (at, place) => `M${px(geo.x(geo.at(row, at)))} ${geo.y(row) + geo.tall(row)}L${px(geo.x(geo.at(row - 1, place)))} ${geo.y(row - 1)}`;
  const taps = Array.from({ length: kernel }, (_, tap) => tap * dilation - padding);
  return units.flatMap((at) => taps.map((tap) => [at, at * stride + tap]).filter(([, place]) => keep(at, place)).map(([, place]) => line(at, place))).join("");
}

function inRow({ counts }, row, place) {
  return place >= 0 && place < counts[row];
}

/** For each row, the units of the cone from which paths lead to the pixel. */
function carriers(view) {
  const { layers, rows, pixel } = view, found = [new Set(rows[0].some(([at]) => at === pixel) ? [pixel] : [])];
  for (let row = 1; row < rows.length; row += 1) {
    const below = [...found[row - 1]];
    found.push(new Set(rows[row].map(([at]) => at).filter((at) => inRow(view, row, at) && below.some((place) => reads(layers[row - 1], at, place)))));
  }
  return found;
}

function stack(geo, view) {
  const visible = (row) => Array.from({ length: view.counts[row] }, (_, place) => place)
    .filter((place) => Math.abs(geo.at(row, place) - (geo.first + geo.last) / 2) < (geo.last - geo.first + 2 * view.fields[row][1]) / 2);
  return view.counts.map((_, row) => h("path", { class: row ? "rf-unit" : "rf-pixel", d: boxes(geo, view, row, visible(row)) }));
}

function lit(geo, view) {
  const { layer, unit, rows } = view, carry = carriers(view), dense = (index) => geo.scale * view.fields[index - 1][1] < 3;
  return rows.flatMap((row, index) => {
    const places = row.map(([at]) => at), real = places.filter((at) => inRow(view, index, at));
    const kind = index === 0 ? "rf-field" : index === layer ? "rf-chosen" : "rf-cone";
    return [
      index ? h("path", { class: `rf-wire${dense(index) ? " rf-thin" : ""}`, d: wires(geo, view, index, (_, place) => inRow(view, index - 1, place)) }) : null,
      index ? h("path", { class: `rf-wire rf-carrying${dense(index) ? " rf-thin" : ""}`, d: wires(geo, view, index, (at, place) => carry[index].has(at) && carry[index - 1].has(place)) }) : null,
      h("path", { class: "rf-padding", d: boxes(geo, view, index, places.filter((at) => !inRow(view, index, at))) }),
      h("path", { class: kind, d: boxes(geo, view, index, index === layer ? [unit] : real) }),
      index < layer ? h("path", { class: "rf-carrier", d: boxes(geo, view, index, [...carry[index]]) }) : null,
    ].filter(Boolean);
  });
}

function text(x, y, said, props = {}) {
  return h("text", { x: px(x), y: px(y), ...props }, said);
}

function ticks(geo, { size }) {
  const across = geo.last - geo.first + 1, step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000].find((each) => each * geo.scale >= 34 || each >= across);
  const places = Array.from({ length: Math.ceil(across / step) + 1 }, (_, index) => (Math.ceil(geo.first / step) + index) * step);
  const fits = (place) => place >= Math.max(0, geo.first) && place <= Math.min(size - 1, geo.last) && geo.x(place) > 8 && geo.x(place) < geo.inner - 8;
  return places.filter(fits).map((place) => text(geo.x(place), geo.floor + 33, signed(place), { "text-anchor": "middle", class: "rf-muted" }));
}

function bracket(geo, [first, last], y, kind) {
  const [from, to] = [geo.x(first - 0.5), geo.x(last + 0.5)], said = range([first, last]);
  const room = 7 * said.length + 12, middle = Math.min(Math.max((from + to) / 2, room / 2), geo.inner - room / 2);
  const centred = to - from > room, beside = to + room < geo.inner ? to + room / 2 + 2 : from - room / 2 - 2;
  const line = centred ? `M${px(from)} ${y}H${px(middle - room / 2)}M${px(middle + room / 2)} ${y}H${px(to)}` : `M${px(from)} ${y}H${px(to)}`;
  return [
    h("path", { class: `rf-bracket ${kind}`, d: `M${px(from)} ${y - 5}v10M${px(to)} ${y - 5}v10${line}` }),
    text(centred ? middle : beside, y + 4.2, said, { "text-anchor": "middle", class: `rf-said ${kind}` }),
  ];
}

/** The chosen field, its neighbour's, and the jump between them. */
function brackets(geo, { layers, layer, unit, counts, fields }) {
  const own = field(layers, layer, unit), y = geo.floor + 50, other = beside(unit, counts[layer]);
  if (other < 0) return bracket(geo, own, y, "rf-own");
  const next = field(layers, layer, other), [from, to] = [own[0], next[0]].map((at) => geo.x(at - 0.5)).sort((one, two) => one - two);
  const said = `jump ${number(fields[layer][1])}`, room = 7 * said.length + 8;
  return [
    ...bracket(geo, own, y, "rf-own"), ...bracket(geo, next, y + 38, "rf-other"),
    h("path", { class: "rf-jump", d: `M${px(from)} ${y + 8}v24M${px(to)} ${y + 8}v24M${px(from)} ${y + 19}H${px(to)}` }),
    to + room < geo.inner ? text(to + 6, y + 23, said, { class: "rf-said" }) : text(from - 6, y + 23, said, { class: "rf-said", "text-anchor": "end" }),
  ];
}

/** Paths to every pixel as bars, and the width of two standard deviations to each side. */
function bell(geo, view) {
  const { layers, layer, unit, rows, size, pixel } = view, base = geo.height - 20, tall = 54;
  const bars = rows[0].filter(([at]) => at >= 0 && at < size), most = Math.max(1, ...bars.map(([, count]) => count));
  const wide = geo.scale, gap = gapOf(wide);
  const bar = ([at, count]) => `M${px(geo.x(at) - wide / 2 + gap / 2)} ${base}v${px((-tall * count) / most)}h${px(wide - gap)}V${base}z`;
  const middle = centre(layers, layer, unit), reach = 2 * spread(paths(layers.slice(0, layer)));
  const [from, to] = [geo.x(middle - reach), geo.x(middle + reach)];
  const ends = to - from > 44 ? [[from, "−2σ"], [to, "+2σ"]] : [[(from + to) / 2, "±2σ"]];
  return [
    h("rect", { class: "rf-band", x: px(from), y: base - tall - 4, width: px(to - from), height: tall + 4 }),
    h("path", { class: "rf-bar", d: bars.map(bar).join("") }),
    h("path", { class: "rf-bar rf-carrier", d: bars.filter(([at]) => at === pixel).map(bar).join("") }),
    h("path", { class: "rf-sigma", d: `M${px(from)} ${base - tall - 4}V${base}M${px(to)} ${base - tall - 4}V${base}` }),
    h("path", { class: "rf-base", d: `M0 ${base}H${geo.inner}` }),
    ends.filter(([at]) => at > -2 && at < geo.inner + 2).map(([at, said]) => text(Math.min(Math.max(at, 12), geo.inner - 12), base + 15, said, { "text-anchor": "middle", class: "rf-said" })),
  ].flat();
}

/** Names at the left, receptive fields at the right. */
function margins(geo, { names, fields, counts, layer, unit }) {
  const line = (row) => {
    const props = { class: row === layer ? "rf-strong" : "rf-muted" }, y = geo.y(row) + geo.tall(row) / 2 + 4.2;
    return [text(0, y, names[row], props), row ? text(geo.width, y, number(fields[row][0]), { ...props, "text-anchor": "end" }) : null];
  };
  const other = beside(unit, counts[layer]);
  const label = (y, said, kind = "rf-muted") => text(0, y, said, { class: kind });
  return [
    text(geo.width, 12, "rf", { "text-anchor": "end", class: "rf-muted" }), names.map((_, row) => line(row)), label(geo.floor + 54, `unit ${unit}`, "rf-strong"),
    other < 0 ? null : label(geo.floor + 92, `unit ${other}`), label(geo.height - 52, "paths to"), label(geo.height - 36, "a pixel"),
  ].flat(Infinity).filter(Boolean);
}

function picture(geo, view) {
  const plot = [...stack(geo, view), ...lit(geo, view), ...ticks(geo, view), ...brackets(geo, view), ...bell(geo, view)];
  return [...margins(geo, view), h("svg", { x: geo.left, y: 0, width: geo.inner, height: geo.height }, plot)];
}

const STEPS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity] };

/** Where a key leads from the unit that a row's cell stands for: [row, place], or null. */
function destination(event, view, row) {
  if (!(event.key in STEPS) || event.altKey || event.metaKey || event.ctrlKey) return null;
  const [up, along] = STEPS[event.key], place = standing(view, row);
  const next = Math.min(Math.max(row + up, 0), view.layers.length);
  if (up) return [next, next === row ? place : next === 0 ? view.pixel : nearest(view, next, row ? centre(view.layers, row, place) : place)];
  return [row, Math.min(Math.max(place + along, 0), view.counts[row] - 1)];
}

/** The unit of a row that its one cell stands for: the chosen one, or the one nearest to it; the pixel for the input. */
function standing(view, row) {
  if (row === view.layer) return view.unit;
  return row ? nearest(view, row, centre(view.layers, view.layer, view.unit)) : view.pixel;
}

/** One cell a row, which the keyboard moves along; the first Tab leads to the chosen unit. */
function gridRows(holder, many, onKey) {
  const cells = Array.from({ length: many + 1 }, (_, row) => h("g", { role: "gridcell", "data-row": row, onkeydown: (event) => onKey(event, row) }, h("rect", { class: "rf-ring", rx: 4 })));
  holder.replaceChildren(...cells.map((cell, row) => h("g", { role: "row", "aria-rowindex": many + 1 - row }, cell)).reverse());
  return { cells };
}

function placeCell(cell, geo, view, row) {
  const place = standing(view, row), wide = Math.max(10, view.fields[row][1] * geo.scale + 4);
  const middle = Math.min(Math.max(geo.left + geo.x(geo.at(row, place)), geo.left), geo.width - 34);
  const name = row ? `${titled(view, row)}, unit ${place}: pixels ${range(field(view.layers, row, place))}` : `Pixel ${place} of the input`;
  give(cell, { "aria-label": name, "aria-colindex": place + 1, "aria-selected": row === view.layer || row === 0, tabindex: row === view.layer ? 0 : -1 });
  give(cell.firstChild, { x: px(middle - wide / 2), y: geo.y(row) - 3, width: px(wide), height: geo.tall(row) + 6 });
}

function give(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
}

/** The row and the place on the input under the pointer, or null. */
function pointed(event, node, geo) {
  const box = node.getBoundingClientRect(), left = event.clientX - box.left, down = event.clientY - box.top;
  const row = down > geo.height - 86 || Math.abs(down - geo.floor - 9) <= 16 ? 0 : Math.round((geo.floor + geo.tall(1) / 2 - down) / geo.pitch);
  if (row < 0 || (row === 0 && (left < geo.left || left > geo.left + geo.inner)) || (down > geo.floor + 26 && down < geo.height - 86)) return null;
  return { row, place: left < geo.left || left > geo.left + geo.inner ? null : geo.place(left) };
}

/** What pointing at a place of a row chooses. */
function chosen(view, { row, place }) {
  if (row > view.layers.length) return null;
  const at = place ?? centre(view.layers, view.layer, view.unit);
  return row ? { layer: row, unit: nearest(view, row, at) } : { pixel: nearest(view, 0, at) };
}

function drawing(model, set) {
  const back = h("g", { "aria-hidden": "true" }), front = h("g", { role: "rowgroup" });
  const node = h("svg", { class: "rf-drawing", role: "grid", "aria-label": "Units of every layer over the input" }, back, front);
  const holder = h("div", { class: "rf-stage" }, node);
  let view = null, geo = null, grid = { cells: [] }, hovered = "";
  const paint = (shown) => back.replaceChildren(...picture(geo, shown));
  const onKey = (event, row) => {
    const place = destination(event, view, row);
    if (!place) return;
    event.preventDefault();
    set(place[0] ? { layer: place[0], unit: place[1] } : { pixel: place[1] });
    grid.cells[place[0]].focus();
  };
  const hover = (event) => {
    const found = event.type === "pointermove" && event.pointerType === "mouse" && geo ? pointed(event, node, geo) : null;
    const changes = found && chosen(view, found), key = JSON.stringify(changes);
    if (key === hovered || !geo) return;
    hovered = key;
    paint(changes ? look(model, changes) : view);
  };
  node.addEventListener("pointermove", hover);
  node.addEventListener("pointerleave", hover);
  node.addEventListener("click", (event) => {
    const found = geo && pointed(event, node, geo), changes = found && chosen(view, found);
    if (changes) set(changes);
  });
  const update = (next) => {
    holder.hidden = Boolean(next.bad || next.misfit);
    [view, geo, hovered] = [next, null, ""];
    if (holder.hidden) return;
    geo = plan(view, Math.max(240, holder.clientWidth || 640));
    give(node, { width: geo.width, height: geo.height, "aria-rowcount": view.counts.length, "aria-colcount": view.size });
    if (grid.cells.length !== view.counts.length) grid = gridRows(front, view.layers.length, onKey);
    grid.cells.forEach((cell, row) => placeCell(cell, geo, view, row));
    paint(view);
  };
  return { node: holder, update, resize: () => { if (geo && holder.clientWidth && geo.width !== holder.clientWidth) update(view); } };
}

// ---- Beside the drawing ----

/** A slider whose end moves. */
function movingSlider(options) {
  const node = slider({ min: 0, max: 1, value: 0, ...options }), input = node.querySelector("input"), label = node.querySelector("span");
  const update = (value, most, said = options.label) => {
    input.max = most;
    input.setAttribute("aria-label", said);
    label.firstChild.textContent = `${said} `;
    node.update(value);
  };
  return { node, update };
}

function settings(model, set) {
  const take = (name) => {
    if (name === "own") return;
    const { layers, size } = nets()[name];
    set({ layers, size, zoom: false, ...middle(layers, size, layers.length) });
  };
  const options = [...Object.entries(NETS).map(([key, [said]]) => [key, said]), ["own", "Your own stack"]];
  const pick = choice({ label: "Stack", options, value: "five", onChange: take });
  pick.querySelector("option[value=own]").disabled = true;
  const resize = (size) => set({ size, ...middle(model.get("layers"), size, layerAt(look(model))) });
  const width = slider({ label: "Input pixels", min: SIZES[0], max: SIZES[1], value: SIZES[0], onInput: resize });
  const zoom = h("button", { type: "button", onclick: () => set({ zoom: !model.get("zoom") }) }, "Zoom to the field");
  const note = h("p", { class: "rf-note" });
  const update = ({ net = "own", size, zoom: on }) => {
    pick.update(net);
    width.update(size);
    zoom.setAttribute("aria-pressed", on === true);
    note.textContent = NETS[net]?.[3] ?? "";
    note.hidden = !note.textContent;
  };
  return { nodes: [h("div", { class: "cb-row rf-settings" }, pick, width, zoom), note], update };
}

/** An error in words, and where a larger input would help, a button that makes it. */
function troubles(model, set) {
  const said = h("p", { class: "cb-error" }), button = h("button", { type: "button" }), node = h("div", { class: "rf-trouble" }, said, button);
  let wanted = 0;
  button.addEventListener("click", () => set({ size: wanted, zoom: false, ...middle(model.get("layers"), wanted, layerAt(look(model))) }));
  const update = ({ bad, misfit, layers }) => {
    node.hidden = !bad && !misfit;
    said.textContent = bad ?? misfit ?? "";
    wanted = misfit ? Math.max(SIZES[0], smallest(layers, 3)) : 0;
    button.hidden = !misfit || wanted > SIZES[1];
    button.textContent = `Make the input ${wanted} pixels wide`;
  };
  return { node, update };
}

function windowText({ layers, size, layer, unit, zoom }) {
  const [first, last] = extent(layers, size, layer, unit, zoom === true);
  const cut = first > 0 || last < size - 1 ? " The rest is beyond the edges of the drawing." : "";
  return `Drawn: pixels ${range([first, last])}; the input is 0 to ${size - 1}.${cut} A unit stands over the middle of its field and is as wide as its jump.`;
}

/** The chosen unit and the chosen pixel in words, with a slider for each. */
function reading(set) {
  const unit = movingSlider({ label: "Unit", onInput: (value) => set({ unit: value }) });
  const pixel = movingSlider({ label: "Pixel", onInput: (value) => set({ pixel: value }) });
  const drawn = h("span", {}), title = h("h4", {});
  const lines = Object.fromEntries(["sees", "next", "paths", "pixel", "effective"].map((key) => [key, h("p", { "data-said": key })]));
  const equal = h("p", { class: "rf-note" }, "All weights are taken as equal, pools as averages: then a pixel counts by its number of paths. Trained weights change the heights of the bars, never the theoretical field rf.");
  const key = h("p", { class: "rf-key" }), hint = "Point at a unit or a pixel, tap it, or walk with the arrow keys.";
  const mark = (kind, said) => h("span", {}, h("i", { class: kind }), said);
  const node = h("div", { class: "rf-reading" }, key, h("p", { class: "rf-note" }, hint, " ", drawn), h("div", { class: "cb-row rf-sliders" }, unit.node, pixel.node),
    title, lines.sees, lines.next, h("h4", {}, "How much each pixel counts"), lines.paths, lines.pixel, lines.effective, equal);
  const update = (view) => {
    node.hidden = Boolean(view.bad || view.misfit);
    if (node.hidden) return;
    unit.update(view.unit, view.counts[view.layer] - 1, `Unit of ${titled(view, view.layer).replace("Layer", "layer")}`);
    pixel.update(view.pixel, view.size - 1);
    const padded = view.rows.some((row, index) => row.some(([at]) => !inRow(view, index, at)));
    key.replaceChildren(mark("rf-seen", "seen by the unit"), mark("rf-way", `its paths to pixel ${view.pixel}`), padded ? mark("rf-pad", "padding") : "");
    drawn.textContent = windowText(view);
    title.textContent = `${titled(view, view.layer)}, unit ${view.unit}`;
    const said = words(view.layers, view.size, view.layer, view.unit, view.pixel);
    for (const [key, line] of Object.entries(lines)) line.textContent = key === "pixel" ? said[key].replace("of layer 1", `of ${titled(view, 1).replace("Layer", "layer")}`) : said[key];
  };
  return { node, update };
}

const HEADS = [["layer", "layer"], ["kernel", "k"], ["stride", "s"], ["dilation", "d"], ["padding", "p"], ["rf", "rf"], ["jump", "jump"], ["units", "units"]];

function head() {
  const cell = ([long, short]) => h("th", { scope: "col", "aria-label": long }, h("span", { class: "rf-long" }, long), h("span", { class: "rf-short" }, short));
  return h("thead", {}, h("tr", {}, HEADS.map(cell)));
}

/** The open row: how rf and jump came about. */
function opened(layers, layer) {
  const { rf, jump, sum } = recursion(layers, layer);
  const note = h("span", { class: "rf-muted" }, "rf before + dilation·(kernel−1)·jump before");
  return h("tr", { class: "rf-open" }, h("td", { colspan: HEADS.length }, h("p", { "data-said": "rf" }, h("b", {}, rf), " ", note),
    h("p", { "data-said": "jump" }, h("b", {}, jump), " ", h("span", { class: "rf-muted" }, "jump before·stride")), layer > 1 ? h("p", { "data-said": "sum" }, sum) : null));
}

function tableRow(view, layer, choose) {
  const { names, layers, fields, counts } = view, here = layer === view.layer, [rf, jump] = fields[layer];
  const button = h("button", { type: "button", "data-layer": layer, tabindex: here ? 0 : -1, "aria-expanded": String(here), "aria-label": `Open ${titled(view, layer)}` }, names[layer]);
  const cells = [...layers[layer - 1], number(rf), number(jump), counts ? counts[layer] : "–"].map((value) => h("td", {}, String(value)));
  return h("tr", { class: here ? "rf-here" : null, onclick: () => choose(layer) }, h("th", { scope: "row" }, button), cells);
}

function table(model, set) {
  const body = h("tbody"), holder = h("div", { class: "rf-table" }, h("table", { "aria-label": "The layers, from the input on" }, head(), body));
  const letters = h("p", { class: "rf-note rf-short" }, "k kernel, s stride, d dilation, p padding"), node = h("div", {}, holder, letters);
  const choose = (layer) => {
    const view = look(model);
    set(view.counts ? { layer, unit: nearest(view, layer, centre(view.layers, view.layer, view.unit)) } : { layer });
  };
  body.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key], from = Number(event.target.dataset.layer);
    if (!step || !from) return;
    event.preventDefault();
    choose(Math.min(Math.max(from + step, 1), model.get("layers").length));
  });
  const update = (view) => {
    node.hidden = Boolean(view.bad);
    if (view.bad) return;
    const focused = body.contains(document.activeElement);
    const rows = view.layers.flatMap((_, index) => [tableRow(view, index + 1, choose), index + 1 === view.layer ? opened(view.layers, view.layer) : []].flat());
    body.replaceChildren(...rows);
    if (focused) body.querySelector(`[data-layer="${view.layer}"]`).focus({ preventScroll: true });
    reveal(holder, body.querySelector(".rf-here"), body.querySelector(".rf-open"));
  };
  return { node, update };
}

/** Scroll the table, and nothing else, so far that the open row shows. */
function reveal(holder, first, last) {
  const top = first.offsetTop - 34, bottom = last.offsetTop + last.offsetHeight - holder.clientHeight;
  if (holder.scrollTop > top) holder.scrollTop = top;
  else if (holder.scrollTop < bottom) holder.scrollTop = bottom;
}

/** The layers with one added after `at`, without it, or with it moved: [layers, chosen layer]. */
export function edited(layers, at, act) {
  const next = layers.map((layer) => [...layer]), index = at - 1;
  if (act === "add") next.splice(at, 0, [3, 1, 1, 0]);
  if (act === "remove") next.splice(index, 1);
  if (act === "earlier") next.splice(index - 1, 0, ...next.splice(index, 1));
  if (act === "later") next.splice(at, 0, ...next.splice(index, 1));
  const layer = { add: at + 1, remove: Math.min(at, next.length), earlier: at - 1, later: at + 1 }[act];
  return [next, layer];
}

function editor(model, set) {
  const put = (layers, layer) => set({ layers, ...middle(layers, model.get("size"), layer) });
  const here = () => layerAt(look(model));
  const change = (part, value) => {
    const layers = model.get("layers").map((layer) => [...layer]);
    layers[here() - 1][PARTS.indexOf(part)] = value;
    put(layers, here());
  };
  const title = h("h4", {});
  const sliders = PARTS.map((part) => slider({ label: part[0].toUpperCase() + part.slice(1), min: LIMITS[part][0], max: LIMITS[part][1], value: LIMITS[part][0], onInput: (value) => change(part, value) }));
  const acts = [["add", "Add a layer"], ["remove", "Remove"], ["earlier", "Move earlier"], ["later", "Move later"]];
  const buttons = Object.fromEntries(acts.map(([act, said]) => [act, h("button", { type: "button", onclick: () => put(...edited(model.get("layers"), here(), act)) }, said)]));
  const node = h("div", { class: "rf-editor" }, title, h("div", { class: "cb-row" }, sliders), h("div", { class: "cb-row rf-acts" }, Object.values(buttons)));
  const update = (view) => {
    node.hidden = Boolean(view.bad) && !view.usable;
    if (node.hidden) return;
    const layer = here(), many = view.layers.length;
    title.textContent = `Change ${view.names ? titled(view, layer).replace("Layer", "layer") : `layer ${layer}`}`;
    sliders.forEach((each, part) => each.update(view.layers[layer - 1][part]));
    const off = { add: many >= MOST_LAYERS, remove: many === 1, earlier: layer === 1, later: layer === many };
    for (const [act, button] of Object.entries(buttons)) button.disabled = off[act];
  };
  return { node, update };
}

function render({ model, el }) {
  let observer = null;
  const leave = frame(model, el, {
    title: "Receptive-field explorer", keys: KEYS,
    draw: (body, set) => {
      const top = settings(model, set), stage = drawing(model, set);
      const parts = [troubles(model, set), stage, reading(set), table(model, set), editor(model, set)];
      body.append(...top.nodes, ...parts.map(({ node }) => node));
      observer = new ResizeObserver(stage.resize);
      observer.observe(stage.node);
      return () => {
        const view = look(model);
        top.update(view);
        parts.forEach((part) => part.update(view));
        return summary(view);
      };
    },
  });
  return () => { observer.disconnect(); leave(); };
}

export default { render };
