// Check yourself: questions with immediate feedback; what was answered stays in the reader's own browser.
import { h, number } from "./kit.js";

/** The verdict on a reply: {right, why}. A choice is an option's index; a number is compared within a tolerance. */
export function judge(item, reply) {
  if (item.options) {
    const option = item.options[reply]; // none where a browser remembers an answer to an older form of the quiz
    return { right: option?.right === true, why: option?.why ?? "The question has changed since you answered it. Choose again." };
  }
  // 0.49 is 0.5 within 0.01, although their difference in floating point is 0.010000000000000009.
  const near = (value) => Math.abs(reply - value) <= (item.tolerance ?? 0) + 2 * Number.EPSILON * Math.abs(value);
  if (near(item.answer)) return { right: true, why: item.why };
  const known = (item.wrong ?? []).find((wrong) => near(wrong.value));
  return { right: false, why: known ? known.why : "Not this one. Work it through once more with the formula on this page." };
}

/** "1,728", " 1728 " and "1 728" are all 1728; a decimal comma and anything else that is no number is NaN. */
export function parseNumber(text) {
  const bare = text.replace(/[\s_]/g, "").replace(/−/g, "-");
  const written = /^[+-]?(?=\.?\d)(\d{1,3}(,\d{3})+|\d*)(\.\d*)?(e[+-]?\d+)?$/i.test(bare);
  const value = written ? Number(bare.replace(/,/g, "")) : NaN;
  return Number.isFinite(value) ? value : NaN;
}

/** How many items of a page are answered right so far. */
export function score(items, saved) {
  return items.filter((item, index) => saved[index] !== undefined && judge(item, saved[index]).right).length;
}

function memory(page) {
  const key = `cnnbook:quiz:${page}`;
  return {
    read: () => { try { return JSON.parse(localStorage.getItem(key)) ?? {}; } catch { return {}; } },
    write: (saved) => { try { localStorage.setItem(key, JSON.stringify(saved)); } catch { /* private mode: this visit only */ } },
  };
}

function replies(item, name, index, saved, answer) {
  if (item.options) {
    return item.options.map((option, place) => h("label", { class: "cb-option" },
      h("input", { type: "radio", name, value: place, checked: saved === place, onchange: () => answer(place) }), h("span", {}, option.say)));
  }
  const input = h("input", { type: "text", inputmode: "decimal", size: 12, value: saved === undefined ? "" : number(saved, 15), "aria-label": `Your answer to question ${index + 1}` });
  const submit = (event) => { event.preventDefault(); answer(parseNumber(input.value)); };
  return h("form", { class: "cb-answer", onsubmit: submit }, input, h("button", { type: "submit" }, "Check"));
}

function question(item, index, page, saved, onAnswer) {
  const verdict = h("p", { class: "cb-verdict", role: "status", "aria-live": "polite" });
  const say = (reply) => {
    if (Number.isNaN(reply)) { verdict.textContent = "Write a number, for example 1,728 or 0.5."; return; }
    const { right, why } = judge(item, reply);
    verdict.replaceChildren(h("strong", { class: right ? "cb-good" : "cb-bad" }, right ? "Right. " : "Not yet. "), why);
    onAnswer(index, reply);
  };
  if (saved !== undefined) queueMicrotask(() => say(saved));
  return h("fieldset", { class: "cb-question" }, h("legend", {}, `${index + 1}. ${item.ask}`), replies(item, `${page}-${index}`, index, saved, say), verdict);
}

function render({ model, el }) {
  const page = model.get("page"), items = model.get("items"), store = memory(page);
  let saved = store.read();
  const tally = h("p", { class: "cb-tally" });
  const form = h("div");
  const count = () => { tally.textContent = `${score(items, saved)} of ${items.length} right. Kept in this browser only.`; };
  const onAnswer = (index, reply) => { saved = { ...saved, [index]: reply }; store.write(saved); count(); };
  const fill = () => { form.replaceChildren(...items.map((item, index) => question(item, index, page, saved[index], onAnswer))); count(); };
  const reset = h("button", { type: "button", class: "cb-reset", onclick: () => { saved = {}; store.write(saved); fill(); } }, "Start over");
  fill();
  el.replaceChildren(h("section", { class: "cb-figure cb-quiz", "aria-label": "Check yourself" }, form, h("div", { class: "cb-foot" }, tally, reset)));
}

export default { render };
