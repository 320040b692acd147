"""Every check of a page can fail: a good page has no problems, and each change to it brings up the right one."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import code_hash, install_cell, normalise, write
from pages import CHECKS, numbers, problems

STALE = "the code was changed after it was run; run `make notebooks`"
NOISY = "the file is not normalised; run `make notebooks`"
WORDS = "Each answer of the kernel is a weighted sum of the pixels under it, and nothing else. " * 5
SVG = '<svg role="img" aria-label="Seven bars that rise from left to right"><path d="M0 1"/></svg>'
ALT = "Seven bars that rise from left to right"

SENTENCE = "The sum is 0.625, as [the guide](https://example.org/guide) says."
INSTALL, SUM, READ, PICTURE, READING = 1, 2, 3, 4, 5  # places in the good page


def good_page() -> NotebookNode:
    """A page of three code cells that breaks no rule."""
    cells = [
        new_markdown_cell(f"# A title that states the idea\n\n{WORDS}"),
        new_code_cell(install_cell(), execution_count=1),
        new_code_cell("print(0.625)", execution_count=2, outputs=[new_output("stream", text="0.625\n")]),
        new_markdown_cell(SENTENCE),
        new_code_cell("draw()", execution_count=3, outputs=[picture(SVG)]),
        new_markdown_cell(f"Seven bars rise, and the last is the highest.\n\n{WORDS}"),
        new_markdown_cell("## Check yourself\n\n## Exercises\n\n## Sources\n\nThe book {cite}`goodfellow2016deep`."),
    ]
    return stamp(new_notebook(cells=cells))


def picture(svg: str) -> NotebookNode:
    return new_output("execute_result", {"image/svg+xml": svg, "text/plain": ALT}, execution_count=3)


def stamp(nb: NotebookNode) -> NotebookNode:
    """The page as `make notebooks` leaves it: normalised, with the hash of the code that its outputs came from."""
    nb = normalise(nb)
    nb.metadata.executed = code_hash(nb)
    return nb


def found(nb: NotebookNode, folder: Path) -> list[str]:
    write(nb, folder / "page.ipynb")
    return problems(folder / "page.ipynb")


def test_the_good_page_has_no_problems(tmp_path: Path):
    assert found(good_page(), tmp_path) == []


def prose(text: str) -> Callable[[NotebookNode], None]:
    """A change that adds a paragraph."""
    return lambda nb: nb.cells[READ].update(source=f"{nb.cells[READ].source}\n\n{text}")


def code(text: str) -> Callable[[NotebookNode], None]:
    """A change that adds lines to a code cell."""
    return lambda nb: nb.cells[SUM].update(source=f"{nb.cells[SUM].source}\n{text}")


def output(**data: str) -> Callable[[NotebookNode], None]:
    """A change that gives a cell one output of the given kinds, as text_html="…"."""
    data = {kind.replace("_", "/").replace("svg", "svg+xml"): text for kind, text in data.items()}
    return lambda nb: nb.cells[SUM].outputs.append(new_output("display_data", data))


def on(place: int, **fields) -> Callable[[NotebookNode], None]:
    """A change that replaces fields of one cell."""
    return lambda nb: nb.cells[place].update(**fields)


def add(place: int, cell: Callable[[], NotebookNode]) -> Callable[[NotebookNode], None]:
    return lambda nb: nb.cells.insert(place, cell())


def lines(count: int) -> str:
    return "\n".join(f"x{i} = {i % 7}" for i in range(count))


def warning(nb: NotebookNode) -> None:
    nb.cells[SUM].outputs.append(new_output("stream", name="stderr", text="UserWarning: slow\n"))


def failure(nb: NotebookNode) -> None:
    nb.cells[SUM].outputs.append(new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"]))


def announced_failure(nb: NotebookNode) -> None:
    failure(nb)
    nb.cells[SUM].metadata.tags = ["raises-exception"]


def new_code_after_code() -> NotebookNode:
    return new_code_cell("y = 1", execution_count=3)


def renumbered(change: Callable[[NotebookNode], None]) -> Callable[[NotebookNode], None]:
    """The change, followed by the execution counts that a run would give."""

    def changed(nb: NotebookNode) -> None:
        change(nb)
        for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
            cell.execution_count = count
            for out in cell.outputs:
                if out.output_type == "execute_result":
                    out.execution_count = count

    return changed


UNRUN = "code cells were not run once, in order: execution counts are {}; run `make notebooks`"
NO_ALT = "no alt text: 'draw()'; end with plots.picture(fig, alt=…)"
UNREAD = "no sentence reads the picture of 'draw()'"
UNTESTED = "an output that no test compares: {}; print a bound and assert it"
NO_INSTALL = "the first code cell is not the install cell; copy it from the template, then `make notebooks`"
ELSEWHERE = "a request to another host: {!r} in {!r}"
SOMEBODYS = "a path of somebody's machine: {!r} in {!r}"
PNG = "iVBORw0KGgo="

BROKEN = {  # name: (change, the problems it must bring up)
    "a cell that was not run": (on(PICTURE, execution_count=None), [UNRUN.format([1, 2, None])]),
    "cells run out of order": (on(SUM, execution_count=7), [UNRUN.format([1, 7, 3])]),
    "no cell was run": (
        lambda nb: [cell.update(execution_count=None) for cell in nb.cells if "outputs" in cell],
        [UNRUN.format([None] * 3)],
    ),
    "31 lines": (code(lines(30)), ["a code cell has 31 lines, the limit is 30"]),
    "a long median": (
        lambda nb: [code(lines(8))(nb), nb.cells[PICTURE].update(source=lines(9))],
        ["the median code cell has 9 lines, the limit is 8"],
    ),
    "a wide line": (
        code("x = '" + "a" * 87 + "'"),
        [f"a line of 93 characters, the limit is 92: {'x = ' + chr(39) + 'a' * 55!r}"],
    ),
    "two code cells in a row": (
        renumbered(add(PICTURE, new_code_after_code)),
        ["two code cells with nothing between: 'y = 1' and 'draw()'"],
    ),
    "too little prose": (
        lambda nb: [on(0, source="# A title")(nb), on(READING, source="Six words that read the bars.")(nb)],
        ["9 words of prose a code cell; the book keeps 40 to 110"],
    ),
    "too much prose": (prose("word " * 200), ["135 words of prose a code cell; the book keeps 40 to 110"]),
    "an SVG without a label": (on(PICTURE, outputs=[picture("<svg><path/></svg>")]), [NO_ALT]),
    "an SVG with a short label": (on(PICTURE, outputs=[picture('<svg aria-label="A plot"></svg>')]), [NO_ALT]),
    "a PNG": (
        on(PICTURE, outputs=[new_output("display_data", {"image/png": PNG, "text/plain": "<Figure>"})]),
        [NO_ALT],
    ),
    "a picture before a heading": (on(READING, source=f"## Seven bars that rise to the right\n\n{WORDS}"), [UNREAD]),
    "a picture before a list": (on(READING, source=f"- Seven bars rise to the right here\n\n{WORDS}"), [UNREAD]),
    "a picture before a numbered list": (on(READING, source=f"1. Seven bars rise to the right\n\n{WORDS}"), [UNREAD]),
    "a picture before a table": (on(READING, source=f"| seven | bars | rise | to | the |\n\n{WORDS}"), [UNREAD]),
    "a picture before two words": (on(READING, source=f"See above.\n\n{WORDS}"), [UNREAD]),
    "a picture at the end": (
        lambda nb: nb.cells.append(nb.cells.pop(PICTURE)),
        [UNREAD],
    ),
    "a picture before a picture": (
        renumbered(add(READING, lambda: new_code_cell("draw()", outputs=[picture(SVG)]))),
        ["two code cells with nothing between: 'draw()' and 'draw()'", UNREAD],
    ),
    "an <img> without alt text": (
        prose('<img src="a.png" width="3">'),
        [f"<img> without alt text in {SENTENCE[:60]!r}"],
    ),
    "an image without alt text": (prose("![](a.png)"), [f"image without alt text in {SENTENCE[:60]!r}"]),
    "an image directive without alt text": (
        prose("```{image} a.png\n:width: 3\n```"),
        [f"{{image}} without alt text in {SENTENCE[:60]!r}"],
    ),
    "an <img> without alt text in an output": (
        output(text_html="<img src='a.png'>"),
        ["<img> without alt text in 'print(0.625)'"],
    ),
    "a local path in the prose": (prose("See /home/ada/book."), [SOMEBODYS.format("/home/", SENTENCE[:60])]),
    "a local path in the code": (
        code("open('/Users/ada/x.npz')"),
        [SOMEBODYS.format("/Users/", "print(0.625)\nopen('/Users/ada/x.npz')")],
    ),
    "a local path in a text output": (
        output(text_plain="PosixPath('/work/main')"),
        [SOMEBODYS.format("/work/", "PosixPath('/work/main')")],
    ),
    "a local path in a stream": (
        on(SUM, outputs=[new_output("stream", text="saved to /tmp/a.npz")]),
        [SOMEBODYS.format("/tmp/", "saved to /tmp/a.npz")],
    ),
    "a local path in HTML": (output(text_html="<b>file:///a</b>"), [SOMEBODYS.format("file://", "<b>file:///a</b>")]),
    "a local path in an error": (
        lambda nb: [announced_failure(nb), nb.cells[SUM].outputs[-1].update(evalue="no /root/a")],
        [SOMEBODYS.format("/root/", "no /root/a"), SOMEBODYS.format("/root/", "ValueError: no /root/a")],
    ),
    "<img> of another host": (
        prose('<img alt="x" src="https://a.org/b.png">'),
        [ELSEWHERE.format('src="https://', SENTENCE[:60])],
    ),
    "image of another host": (prose("![x](https://a.org/b.png)"), [ELSEWHERE.format("![x](https://", SENTENCE[:60])]),
    "image directive of another host": (
        prose("```{figure} https://a.org/b.png\n:alt: x\n```"),
        [ELSEWHERE.format("```{figure} https://", SENTENCE[:60])],
    ),
    "script of another host": (
        output(text_html="<script src=//a.org/b.js></script>"),
        [ELSEWHERE.format("src=//", "<script src=//a.org/b.js></script>")],
    ),
    "style of another host": (
        output(text_html="<p style='background:url(http://a.org/b)'>"),
        [ELSEWHERE.format("url(http://", "<p style='background:url(http://a.org/b)'>")],
    ),
    "stylesheet of another host": (
        output(text_html='<link rel="x" href="https://a.org/b">'),
        [ELSEWHERE.format('<link rel="x" href="https://', '<link rel="x" href="https://a.org/b">')],
    ),
    "@import": (
        output(text_html="<style>@import 'a'</style>"),
        [ELSEWHERE.format("@import", "<style>@import 'a'</style>")],
    ),
    "a picture inside an SVG": (
        on(PICTURE, outputs=[picture(SVG.replace("<path", '<image xlink:href="https://a.org/b.png"/><path'))]),
        [ELSEWHERE.format('<image xlink:href="https://', SVG[:60])],
    ),
    "no check-yourself": (on(6, source="## Exercises\n\n## Sources"), ["no section '## Check yourself'"]),
    "no exercises": (on(6, source="## Check yourself\n\n## Sources"), ["no section '## Exercises'"]),
    "no sources": (on(6, source="## Check yourself\n\n## Exercises\n\n### Sources"), ["no section '## Sources'"]),
    "no title": (on(0, source=f"A title that states the idea\n\n{WORDS}"), ["the first cell is not a title"]),
    "another install cell": (
        on(INSTALL, source="%pip install cnnbook"),
        ["two code cells with nothing between: '%pip install cnnbook' and 'print(0.625)'", NO_INSTALL],
    ),
    "no install cell": (renumbered(lambda nb: nb.cells.pop(INSTALL)), [NO_INSTALL]),
    "a tag that hides an output from the tests": (
        on(SUM, metadata={"tags": ["nbval-ignore-output"]}),
        [UNTESTED.format("'print(0.625)'")],
    ),
    "a tag that hides a cell from the tests": (
        on(SUM, metadata={"tags": ["nbval-skip"]}),
        [UNTESTED.format("'print(0.625)'")],
    ),
    "a comment that hides an output": (code("# NBVAL_IGNORE_OUTPUT"), [UNTESTED.format("'print(0.625)'")]),
    "a warning": (warning, ["a warning or an error message in the output of 'print(0.625)'"]),
    "an error": (failure, ["'print(0.625)' fails; where that is the lesson, tag it raises-exception"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_found(name: str, tmp_path: Path):
    change, expected = BROKEN[name]
    nb = good_page()
    change(nb)
    assert found(stamp(nb), tmp_path) == expected


NOISE = {
    "a random id": on(READ, id="a1b2c3d4"),
    "execution times": lambda nb: nb.cells[SUM].metadata.update(execution={"iopub.execute_input": "2026-01-01T00:00"}),
    "a widget's view": lambda nb: (
        nb.cells[PICTURE].outputs[0].data.update({"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})
    ),
    "widget state": lambda nb: nb.metadata.update(widgets={"state": {}}),
    "an address": output(text_plain="<object at 0x7f3a2b1c>"),
    "the kernel's version": lambda nb: nb.metadata.language_info.update(version="3.11.7"),
    "white space at a line's end": lambda nb: nb.cells[READ].update(source=nb.cells[READ].source + "  "),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_found_and_gone_after_normalising(name: str, tmp_path: Path):
    nb = good_page()
    NOISE[name](nb)
    assert found(nb, tmp_path) == [NOISY]
    assert found(normalise(nb), tmp_path) == []


def test_code_changed_after_its_run_is_found(tmp_path: Path):
    nb = good_page()
    nb.cells[SUM].source = "print(0.625)  # five eighths"
    assert found(normalise(nb), tmp_path) == [STALE]


def test_prose_changed_after_the_run_is_no_problem(tmp_path: Path):
    nb = good_page()
    prose("Another sentence.")(nb)
    assert found(normalise(nb), tmp_path) == []


def test_a_large_file_is_found(tmp_path: Path):
    nb = good_page()
    output(text_html="<p>" + "a" * 398 * 1024)(nb)
    assert found(nb, tmp_path) == ["the file is 401 KB, the limit is 400"]


@pytest.mark.parametrize(
    "change",
    [
        code(lines(29)),
        code("x = '" + "a" * 86 + "'"),
        prose("[a link](https://a.org) and <a href='https://a.org'>another</a> and https://a.org/home/x"),
        prose('<img src="a.png" alt="Seven bars that rise">'),
        prose("![Seven bars that rise](a.png)"),
        prose("```{image} a.png\n:alt: Seven bars that rise\n```"),
        announced_failure,
        on(READING, source=f"**Seven bars** rise, and the last is highest.\n\n{WORDS}"),
        on(READING, source=f"$7$ bars rise, and the last is highest.\n\n{WORDS}"),
    ],
)
def test_what_the_rules_allow(change: Callable, tmp_path: Path):
    nb = good_page()
    change(nb)
    assert found(stamp(nb), tmp_path) == []


def broken_page(change: Callable[[NotebookNode], None]) -> NotebookNode:
    nb = good_page()
    change(nb)
    return nb


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_is_broken_here(check: Callable):
    """A new check needs a page that breaks it."""
    changes = [*(change for change, _ in BROKEN.values()), *NOISE.values(), prose("It is 0.75.")]
    assert any(check(broken_page(change)) for change in changes)


# Numbers: what is written, what the code says, and whether the check must object.

WRONG = [
    ("It is 0.62.", "0.62"),
    ("It is .62.", ".62"),
    ("It needs 1,728 weights.", "1,728"),
    ("It needs 1728 weights.", "1728"),
    ("It needs 512 weights.", "512"),
    ("It needs $1{,}728$ weights.", "1,728"),
    ("It needs 1\u202f728 weights.", "1728"),
    ("It needs $1\\,728$ weights.", "1728"),
    ("It rises to 98 %.", "98"),
    ("It rises to 98%.", "98"),
    ("It rises to $98\\,\\%$.", "98"),
    ("It rises to 7 percent.", "7"),
    ("A rate of 3e-4 is right.", "3e-4"),
    ("A rate of $3 \\cdot 10^{-4}$ is right.", "3e-4"),
    ("A rate of 3×10⁻⁴ is right.", "3e-4"),
    ("About $10^{9}$ products.", "1e9"),
    ("In a list:\n\n- one\n- 512 weights", "512"),
    ("| layer | weights |\n|---|---|\n| first | 512 |", "512"),
    ("```{note}\nIt needs 512 weights.\n```", "512"),
    ("See {cite}`goodfellow2016deep`.\n\nIt needs 512 weights.", "512"),
    ("- See {cite}`goodfellow2016deep`.\n- It needs 512 weights.", "512"),
    ("$W-224$ is left.", "224"),
    ("$2\\cdot1.5$ is right.", "1.5"),
    ("From 1998 on it was 19.98.", "19.98"),
    ("It grew to 2,048 units.", "2,048"),
    ("It reached 2000 %.", "2000"),
    ("On page 12 it was 0.75.", "0.75"),
    ("<b>512</b> weights.", "512"),
    ("The loss of 0.75 is `low`.", "0.75"),
]
RIGHT = [
    ("It is 0.62.", "print(0.62)"),
    ("It is 0.620.", "x = .62"),
    ("It is 62 %.", "x = 0.62"),
    ("It is $62\\,\\%$.", "print('62%')"),
    ("It is 0.62.", "print('62 %')"),
    ("It needs 1,728 weights.", "x = 1728"),
    ("It needs $1{,}728$ weights.", "x = 1_728"),
    ("It needs 1\u202f728 weights.", "print('1,728')"),
    ("It needs 1,000,000 weights.", "x = 10**6"),
    ("A rate of $3 \\cdot 10^{-4}$.", "lr = 3e-4"),
    ("A rate of 3×10⁻⁴.", "lr = 0.0003"),
    ("A rate of 0.001.", "array([1.e-03])"),
    ("It falls by −0.62.", "x = -0.62"),
    ("It needs 512 weights {cite}`goodfellow2016deep`.", ""),
    ("It needs 512 weights {cite:t}`goodfellow2016deep`.", ""),
    ("So {cite}`goodfellow2016deep` has\n\n$$ y = 512 x . $$ (eq:y-512)", ""),
    ("In 1998 and in 2012. In the 1990s.", ""),
    ("**4.12 · By hand** (120 minutes, difficulty 2).", ""),
    ("### 4.12 By hand", ""),
    ("See exercise 4.12, exercises 4.12 and 4.13, page 104, section 9.1 and relationship 14.", ""),
    ("> **120 minutes.**", ""),
    ("ResNet-152 on CIFAR-100 in float32, CC BY-SA 3.0, Python 3.11.", ""),
    ("A 3×3 kernel on 32×32 pixels, 64 of them, 10 times.", ""),
    ("The call `range(512)` and {eq}`eq:y-512`.", ""),
    ("```python\nx = 512\n```", ""),
    ("<!-- 512 --> [a link](a-512.html), https://a.org/512, arXiv:1603.07285", ""),
    ('<details data-x="512"><summary>Hint</summary>', ""),
]


def with_number(text: str, source: str) -> NotebookNode:
    nb = good_page()
    prose(text)(nb)
    code(source)(nb)
    return nb


@pytest.mark.parametrize(("text", "number"), WRONG)
def test_a_number_from_nowhere_is_found(text: str, number: str):
    messages = numbers(with_number(text, ""))
    assert [message.split(" is neither")[0] for message in messages] == [number]


@pytest.mark.parametrize(("text", "source"), RIGHT)
def test_a_number_that_is_computed_cited_or_no_measure_passes(text: str, source: str):
    assert numbers(with_number(text, source)) == []


@pytest.mark.parametrize(
    "change",
    [
        output(text_plain="array([0.75])"),
        output(text_html="<td>0.75</td>"),
        output(text_html='<div data-state="{&quot;rate&quot;:0.75}"></div>'),
        on(SUM, outputs=[new_output("stream", text="0.625 0.75")]),
        on(SUM, outputs=[new_output("error", ename="ValueError", evalue="0.75 is too much", traceback=[])]),
    ],
)
def test_every_kind_of_text_output_counts_as_computed(change: Callable):
    nb = with_number("It is 0.75.", "")
    assert numbers(nb) == ["0.75 is neither computed on this page nor cited: 'It is 0.75.'"]
    change(nb)
    assert numbers(nb) == []


@pytest.mark.parametrize(
    "change",
    [
        on(PICTURE, outputs=[picture(SVG.replace("M0 1", "M0.75 1"))]),
        output(text_html='<svg viewBox="0.75">\n<text>0.75</text>\n</svg><p style="width:0.75px">'),
    ],
)
def test_the_coordinates_of_a_picture_do_not(change: Callable):
    nb = with_number("It is 0.75.", "")
    change(nb)
    assert len(numbers(nb)) == 1


def test_the_file_on_disk_is_what_is_checked(tmp_path: Path):
    nb = good_page()
    prose("It is 0.75.")(nb)
    assert found(normalise(nb), tmp_path) == ["0.75 is neither computed on this page nor cited: 'It is 0.75.'"]
    assert nbformat.read(tmp_path / "page.ipynb", as_version=4) == normalise(nb)
