"""Calling a figure's JavaScript from a test, so that NumPy and torch can be its oracle."""

import base64
import json
import subprocess
from pathlib import Path

from cnnbook.figures.base import bundle

CALL = Path(__file__).parent / "call.mjs"

# As much of a document as a figure needs in order to be built and clicked; put it before a bundle.
DOCUMENT = """
class Node {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [], listeners: {} }); }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  addEventListener(event, listener) { (this.listeners[event] ??= []).push(listener); }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  get value() { return this.attributes.value; }
  set value(value) { this.setAttribute("value", value); }
  get textContent() { return this.children.map((child) => child.textContent ?? String(child)).join(""); }
  set textContent(text) { this.children = [text]; this.written = (this.written ?? 0) + 1; }
  find(test) {
    if (test(this)) return this;
    return this.children.reduce((found, child) => found ?? child.find?.(test) ?? null, null);
  }
}
globalThis.document = {
  createElement: (tag) => new Node(tag),
  createElementNS: (space, tag) => new Node(`${space}#${tag}`),
};
class Model {
  constructor(state, more) { Object.assign(this, { state, listeners: {}, saved: 0 }, more); }
  get(key) { return this.state[key]; }
  set(key, value) { this.state[key] = value; (this.listeners[`change:${key}`] ?? []).forEach((each) => each()); }
  save_changes() { this.saved += 1; }
  on(event, listener) { (this.listeners[event] ??= []).push(listener); }
  off(event, listener) { this.listeners[event] = this.listeners[event].filter((each) => each !== listener); }
}
"""


def call(figure: str, function: str, cases: list[list]) -> list:
    """What the figure's exported function returns for each case (a list of arguments).

    "kit" is a figure here too: its functions are those that every figure shares.
    A case in which it throws gives an AssertionError with the message; use `errors` where it must.
    """
    return call_source(bundle(figure), function, cases)


def call_source(source: str, function: str, cases: list[list]) -> list:
    """As `call`, for a module's text: a figure's bundle with lines of the test's own, for instance."""
    replies = _run(source, function, cases)
    assert all("error" not in reply for reply in replies), [reply for reply in replies if "error" in reply][:3]
    return [reply.get("value") for reply in replies]


def errors(figure: str, function: str, cases: list[list]) -> list[str]:
    """The message that the function throws for each case; an AssertionError where it does not throw."""
    replies = _run(bundle(figure), function, cases)
    assert all("error" in reply for reply in replies), [reply for reply in replies if "error" not in reply][:3]
    return [reply["error"] for reply in replies]


def _run(source: str, function: str, cases: list[list]) -> list[dict]:
    module = "data:text/javascript;base64," + base64.b64encode(source.encode()).decode()
    command = ["node", str(CALL), module, function]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
