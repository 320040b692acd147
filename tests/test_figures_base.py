"""What every interactive figure shares: its bundled script, its classic script, its page, and the kit."""

import html
import json
import re
import subprocess
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser

import anywidget
import numpy as np
import pytest
import traitlets
from figure_scripts import NAMES, classic, stylesheet
from js import DOCUMENT, call, call_source

import cnnbook.figures as figures
from cnnbook.figures.base import HERE, Figure, bundle, style
from cnnbook.figures.quiz import Quiz, pages

CLASSES = [getattr(figures, name) for name in figures.__all__ if name not in ("Figure", "bundle")]
VIEW = "application/vnd.jupyter.widget-view+json"


class FirstDiv(HTMLParser):
    """The attributes of a text's first element, unescaped."""

    def __init__(self, text: str):
        super().__init__()
        self.tag, self.attributes = None, {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if self.tag is None:
            self.tag, self.attributes = tag, dict(attrs)


def make(figure: type[Figure]) -> Figure:
    return Quiz(pages()[0]) if figure is Quiz else figure()


def node(*arguments: str, text: str = "") -> str:
    done = subprocess.run(["node", *arguments], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def declared(source: str) -> list[str]:
    """The names that a module's text declares at its top level."""
    return re.findall(r"^(?:export )?(?:async )?(?:function\*?|const|let|var|class) (\w+)", source, re.M)


def exported(source: str) -> set[str]:
    found = set(re.findall(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", source, re.M))
    return found | ({"default"} if re.search(r"^export default ", source, re.M) else set())


def test_the_figures_are_those_that_have_a_class():
    assert sorted(figure.figure for figure in CLASSES) == NAMES
    assert "kit" not in NAMES
    assert "quiz" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_imports_nothing_and_declares_no_name_twice(name):
    text = bundle(name)
    assert not re.search(r"^\s*import\b", text, re.M)
    assert "kit.js" not in text
    names = declared(text)
    assert {"h", "redraw", "number", "slider", "choice", "frame"} <= set(names)
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_is_a_module_that_exports_what_the_figure_exports(name, tmp_path):
    """Loaded by itself; a module that declares a name twice does not load."""
    path = tmp_path / f"{name}.mjs"
    path.write_text(bundle(name), encoding="utf-8")
    script = """
      const module = await import(process.argv[1]);
      console.log(JSON.stringify([Object.keys(module), typeof module.default.render]));
    """
    found, render = json.loads(node("--input-type=module", "--eval", script, path.as_uri()))
    assert set(found) == exported((HERE / f"{name}.js").read_text(encoding="utf-8"))
    assert render == "function"


@pytest.mark.parametrize("name", NAMES)
def test_a_classic_script_parses(name, tmp_path):
    path = tmp_path / f"{name}.js"
    path.write_text(classic(name), encoding="utf-8")
    node("--check", str(path))
    assert not re.search(r"^\s*(import|export)\b", classic(name), re.M)


@pytest.mark.parametrize("name", NAMES)
def test_a_classic_script_registers_its_figure_and_leaves_no_global_name(name):
    """Run twice, as on a page that names it twice: `const` at the top level would throw."""
    script = """
      const text = require("fs").readFileSync(0, "utf8"), page = { cnnbookFigures: {} };
      const context = require("vm").createContext({ window: page });
      const before = Object.keys(context).join();
      for (let time = 0; time < 2; time += 1) new (require("vm").Script)(text).runInContext(context);
      const kinds = Object.entries(page.cnnbookFigures).map(([key, figure]) => [key, typeof figure.render]);
      console.log(JSON.stringify([kinds, before === Object.keys(context).join()]));
    """
    assert json.loads(node("--eval", script, text=classic(name))) == [[[name, "function"]], True]


def test_the_stylesheet_is_the_kits_and_then_every_figures():
    parts = [(HERE / "kit.css").read_text(), *(p.read_text() for p in sorted(HERE.glob("*.css")) if p.stem != "kit")]
    assert stylesheet() == "\n".join(parts)
    assert stylesheet().startswith(parts[0])
    assert len(parts) >= 4


@pytest.mark.parametrize("figure", CLASSES, ids=lambda figure: figure.__name__)
def test_a_class_carries_its_own_script_and_style(figure):
    live = make(figure)
    assert live._esm == bundle(figure.figure)
    assert live._css == style(figure.figure)
    own = HERE / f"{figure.figure}.css"
    assert style(figure.figure) == "".join(path.read_text() for path in (HERE / "kit.css", own) if path.exists())


@pytest.mark.parametrize("figure", CLASSES, ids=lambda figure: figure.__name__)
def test_the_page_has_the_traits_as_json_and_the_notebook_its_widget(figure):
    live = make(figure)
    data, metadata = live._repr_mimebundle_()
    page = FirstDiv(data["text/html"])
    assert (page.tag, page.attributes["data-figure"]) == ("div", figure.figure)
    own = set(figure.class_traits(sync=True)) - set(anywidget.AnyWidget.class_traits(sync=True))
    state = json.loads(page.attributes["data-state"])
    assert state == {name: getattr(live, name) for name in own} == live.state()
    assert own
    assert data[VIEW]["model_id"] == live.model_id
    assert metadata == {}


@pytest.mark.parametrize("figure", CLASSES, ids=lambda figure: figure.__name__)
def test_what_a_file_keeps_is_the_same_every_time(figure):
    """Text and html; the widget's own view, with its random id, is not kept."""
    first, second = ({k: v for k, v in make(figure)._repr_mimebundle_()[0].items() if k != VIEW} for _ in range(2))
    assert first == second
    assert set(first) == {"text/plain", "text/html"}
    assert first["text/plain"] == repr(make(figure))
    assert first["text/plain"].startswith(f"{figure.__name__}(")
    assert not re.search(r"0x[0-9a-f]{4,}|[0-9a-f]{32}", first["text/plain"] + first["text/html"])


@pytest.mark.parametrize("figure", CLASSES, ids=lambda figure: figure.__name__)
def test_the_fallback_is_inside_the_div_and_runs_nothing(figure):
    text = make(figure)._repr_mimebundle_()[0]["text/html"]
    fallback = make(figure).fallback()
    assert text.endswith(f">{fallback}</div>")
    assert not re.search(r"<script|<style|\son\w+=|javascript:", fallback)
    words = html.unescape(re.sub(r"<[^>]*>", " ", fallback)).split()
    assert len(words) > 20, "it says nothing"


def test_a_changed_trait_changes_the_page():
    live = figures.ParameterLadder()
    live.kernel = 5
    state = json.loads(FirstDiv(live._repr_mimebundle_()[0]["text/html"]).attributes["data-state"])
    assert state["kernel"] == 5


class Odd(Figure):
    """A figure whose state is full of what HTML and JSON escape."""

    figure = "quiz"
    words = traitlets.List(["\"'<&>", "</div><script>", "é·−²", "\\n\n"]).tag(sync=True)
    kept = traitlets.Int(3)
    _hidden = traitlets.Int(4).tag(sync=True)

    def fallback(self) -> str:
        return "<p>odd</p>"


def test_state_survives_whatever_is_in_it_and_leaves_out_what_is_not_synced():
    text = Odd()._repr_mimebundle_()[0]["text/html"]
    page = FirstDiv(text)
    assert json.loads(page.attributes["data-state"]) == {"words": ["\"'<&>", "</div><script>", "é·−²", "\\n\n"]}
    assert "<script" not in text
    assert repr(Odd()) == "Odd()"


def test_a_figure_without_a_fallback_says_so():
    class Bare(Figure):
        figure = "quiz"

    with pytest.raises(NotImplementedError, match=r"Bare needs a fallback\(\) that returns HTML"):
        Bare()._repr_mimebundle_()


def written(value: float, digits: int) -> str:
    """Rounded half away from zero, thousands in groups, no zeros at the end, a proper minus sign."""
    rounded = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    text = f"{rounded:,f}".rstrip("0").rstrip(".") if digits else f"{rounded:,f}"
    return "0" if rounded == 0 else text.replace("-", "−")


def test_number_writes_as_the_book_does():
    rng = np.random.default_rng(1)
    cases = [[float(sign * 10**size), int(digits)] for sign, size, digits in
             zip(rng.choice([-1, 1], 400), rng.uniform(-5, 12, 400), rng.integers(0, 6, 400), strict=True)]  # fmt: skip
    cases += [
        [value, digits] for value in (0.125, -0.125, 2.5, -2.5, 1.005, 999.995, -0.004, 0.005) for digits in (0, 2)
    ]
    assert call("kit", "number", cases) == [written(*case) for case in cases]
    assert call("kit", "number", [[9633792], [-3], [0], [-0.0], [-0.001], [0.126], [1728.5]]) == [
        "9,633,792", "−3", "0", "0", "0", "0.13", "1,728.5"
    ]  # fmt: skip


def test_elements_have_the_properties_that_are_given():
    lines = """
      export function shown(tag, props, children) {
        const node = h(tag, { ...props, onclick: () => {}, gone: undefined }, ...children);
        return [node.tag, node.attributes, node.children, Object.keys(node.listeners)];
      }
    """
    cases = [
        [
            "button",
            {"class": "x", "disabled": True, "hidden": False, "title": None, "value": 0},
            ["a", ["b", [None, 0]], False],
        ],
        ["path", {"d": "M 0 0", "x": 0}, []],
    ]
    assert call_source(DOCUMENT + bundle("kit") + lines, "shown", cases) == [
        ["button", {"class": "x", "disabled": "", "value": "0"}, ["a", "b", 0], ["click"]],
        ["http://www.w3.org/2000/svg#path", {"d": "M 0 0", "x": "0"}, [], ["click"]],
    ]


def test_a_frame_says_its_state_resets_it_and_lets_go_of_its_model():
    lines = """
      export function told(state, initial) {
        const model = new Model(structuredClone(state), initial ? { initial } : {}), el = new Node("div"), said = [];
        const live = () => el.find((node) => node.attributes["aria-live"] === "polite");
        let change;
        const draw = (body, set) => { change = set; return () => `a ${model.get("a")}, b ${model.get("b")}`; };
        const leave = frame(model, el, { title: "Name", keys: ["a", "b"], draw });
        said.push(el.find((node) => node.tag === "section").attributes["aria-label"], live().textContent);
        model.get("a").push(99);
        change({ a: [7], b: 5 });
        change({ a: [7] });
        said.push(live().textContent, live().written, model.saved);
        const reset = () => el.find((node) => node.attributes.class === "cb-reset").listeners.click[0]();
        reset();
        model.get("a").push(8);
        reset();
        said.push(live().textContent, model.saved, model.get("a"));
        leave();
        change({ a: [0], b: 0 });
        return [...said, live().textContent];
      }
    """
    cases = [[{"a": [1], "b": 2}, None], [{"a": [1], "b": 2}, {"a": [3, 4], "b": 6}]]
    reset = [["a 1, b 2", [1]], ["a 3,4, b 6", [3, 4]]]
    assert call_source(DOCUMENT + bundle("kit") + lines, "told", cases) == [
        ["Name", "a 1, b 2", "a 7, b 5", 3, 2, text, 4, value, text] for text, value in reset
    ]


def test_sliders_and_choices_report_what_the_reader_sets():
    lines = """
      export function used() {
        const said = [];
        const slide = slider({ label: "Side", min: 1, max: 9, value: 2000, onInput: (value) => said.push(value) });
        const input = slide.find((node) => node.tag === "input"), output = slide.find((node) => node.tag === "output");
        said.push(output.textContent, input.attributes["aria-label"], input.attributes["aria-valuetext"]);
        input.value = "4"; input.listeners.input[0]();
        said.push(output.textContent, input.attributes["aria-valuetext"]);
        slide.update(5); said.push(input.value, output.textContent);
        const options = [["x", "Ex"], ["y", "Why"]], onChange = (key) => said.push(key);
        const pick = choice({ label: "Kind", options, value: "y", onChange });
        const select = pick.find((node) => node.tag === "select");
        said.push(select.value, select.attributes["aria-label"]);
        said.push(select.children.map((each) => [each.attributes.value, each.textContent]));
        select.value = "x"; select.listeners.change[0]();
        pick.update("y");
        return [...said, select.value];
      }
    """
    first = ["2,000", "Side", "2,000", 4, "4", "4", "5", "5"]
    second = ["y", "Kind", [["x", "Ex"], ["y", "Why"]], "x", "y"]
    assert call_source(DOCUMENT + bundle("kit") + lines, "used", [[]]) == [first + second]
