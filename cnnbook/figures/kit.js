// What every interactive figure shares: building elements, controls, and the frame around a figure.

/** An element: h("button", {class: "x", onclick}, "text", child). A property that is null or false is left out. */
export function h(tag, props = {}, ...children) {
  const svg = ["svg", "g", "rect", "line", "path", "circle", "text"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Replace what a container holds; the element with the same data-key keeps the keyboard focus. */
export function redraw(container, ...children) {
  const key = container.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  container.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (key) container.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

/** 9633792 -> "9,633,792"; a proper minus sign; at most `digits` decimals. */
export function number(value, digits = 2) {
  return (value === 0 ? 0 : value).toLocaleString("en-US", { maximumFractionDigits: digits }).replace(/^-0$/, "0").replace("-", "−");
}

/** A labelled slider. Returns the element, with `.update(value)` to move it without an event. */
export function slider({ label, min, max, step = 1, value, onInput, show = number }) {
  const output = h("output", { "aria-live": "off" }, show(value));
  const input = h("input", { type: "range", min, max, step, value, "aria-label": label });
  const update = (next) => {
    input.value = next;
    output.textContent = show(next);
    input.setAttribute("aria-valuetext", show(next));
  };
  input.addEventListener("input", () => {
    update(Number(input.value));
    onInput(Number(input.value));
  });
  update(value);
  const node = h("label", { class: "cb-control" }, h("span", {}, `${label} `, output), input);
  return Object.assign(node, { update });
}

/** A slider over a list of stops. `.update(value, stops)` moves it without an event, to other stops where given. */
export function stopSlider({ label, stops, value, onInput }) {
  let list = stops, current = value;
  const nearest = (aim) => list.reduce((best, stop, index) => (Math.abs(stop - aim) < Math.abs(list[best] - aim) ? index : best), 0);
  const node = slider({ label, min: 0, max: list.length - 1, value: nearest(value), show: () => number(current), onInput: (index) => onInput(list[index]) });
  const input = node.querySelector("input"), move = node.update;
  const update = (next, fresh = list) => {
    [list, current] = [fresh, next];
    input.max = list.length - 1;
    input.disabled = list.length < 2;
    move(nearest(next));
  };
  return Object.assign(node, { update });
}

/** Throws in words where a size is no whole number within its [least, most], or where the kernel is even. */
export function checkSizes(sizes, limits, words) {
  for (const [key, [least, most]] of Object.entries(limits)) {
    const value = sizes[key];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new Error(`The ${words[key]} must be a whole number from ${least} to ${most}, not ${String(value).replace("-", "−")}.`);
    }
  }
  if (sizes.kernel % 2 === 0) throw new Error(`The kernel must be odd, not ${sizes.kernel}: “same” size needs equal padding on both sides.`);
}

/** A labelled drop-down over [value, text] pairs. Returns the element, with `.update(value)`. */
export function choice({ label, options, value, onChange }) {
  const select = h("select", { "aria-label": label }, options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  select.addEventListener("change", () => onChange(select.value));
  const node = h("label", { class: "cb-control" }, h("span", {}, label), select);
  return Object.assign(node, { update: (next) => { select.value = next; } });
}

const GRID_STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [1, 0] };

/** Where a key leads from a cell, or null: arrows, Home and End; Enter goes down in a grid of text fields. */
function gridStep(event, rows, cols) {
  const { target, key } = event;
  if (!target.dataset.at || event.altKey || event.metaKey) return null;
  const [row, col] = target.dataset.at.split(",").map(Number);
  if (key === "Home") return [event.ctrlKey ? 0 : row, 0];
  if (key === "End") return [event.ctrlKey ? rows - 1 : row, cols - 1];
  if (!(key in GRID_STEPS) || caretMoves(target, key) || (key === "Enter" && target.tagName !== "INPUT")) return null;
  const clamp = (place, count) => Math.min(Math.max(place, 0), count - 1);
  return [clamp(row + GRID_STEPS[key][0], rows), clamp(col + GRID_STEPS[key][1], cols)];
}

/** Left and right belong to the text while its caret can still move. */
function caretMoves(target, key) {
  if (target.tagName !== "INPUT") return false;
  return (key === "ArrowLeft" && target.selectionStart > 0) || (key === "ArrowRight" && target.selectionEnd < target.value.length);
}

/** Let keys walk the cells of a grid, those with data-at="row,col"; onMove(row, col) tells where to. */
export function walkGrid(node, rows, cols, onMove) {
  node.addEventListener("keydown", (event) => {
    const place = gridStep(event, rows, cols);
    if (!place) return;
    event.preventDefault();
    tabStop(node, place, true);
    onMove(...place);
  });
  node.addEventListener("focusin", (event) => { if (event.target.dataset.at) tabStop(node, event.target.dataset.at.split(",")); });
}

/** Make one cell of a grid its only Tab stop. */
export function tabStop(node, [row, col], focus = false) {
  for (const cell of node.querySelectorAll("[data-at]")) cell.tabIndex = cell.dataset.at === `${row},${col}` ? 0 : -1;
  if (focus) node.querySelector(`[data-at="${row},${col}"]`).focus();
}

/**
 * The frame around a figure: title, body, spoken summary, reset, and on the site a link to this state.
 * `draw(body, set)` is called once; the function that it returns is called after every change of a trait in `keys`
 * and returns the summary in words. `set({trait: value})` changes traits.
 */
export function frame(model, el, { title, keys, draw }) {
  const initial = Object.fromEntries(keys.map((key) => [key, structuredClone(model.initial?.[key] ?? model.get(key))]));
  const body = h("div", { class: "cb-body" });
  const live = h("p", { class: "cb-live", role: "status", "aria-live": "polite" });
  let update = () => "";
  const refresh = () => {
    const summary = update();
    if (live.textContent !== summary) live.textContent = summary;
  };
  const set = (changes) => {
    for (const [key, value] of Object.entries(changes)) model.set(key, value);
    model.save_changes();
  };
  const reset = h("button", { type: "button", class: "cb-reset", onclick: () => set(structuredClone(initial)) }, "Reset");
  const foot = h("div", { class: "cb-foot" }, model.link ? linkButton(model) : null, reset);
  el.replaceChildren(h("section", { class: "cb-figure", "aria-label": title }, h("h3", { class: "cb-title" }, title), body, live, foot));
  update = draw(body, set);
  refresh();
  for (const key of keys) model.on(`change:${key}`, refresh);
  return () => keys.forEach((key) => model.off(`change:${key}`, refresh));
}

function linkButton(model) {
  const text = "Copy link to this state";
  const button = h("button", { type: "button", class: "cb-link" }, text);
  button.addEventListener("click", async () => {
    history.replaceState(null, "", model.link());
    button.textContent = "The address bar holds the link";
    await navigator.clipboard?.writeText(model.link()).catch(() => {}); // refused without a secure origin
    setTimeout(() => { button.textContent = text; }, 3000);
  });
  return button;
}
