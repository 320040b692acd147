"""The comparison of stored outputs with fresh ones: a wrong digit fails, another machine's picture does not."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

SETTINGS = Path(__file__).parent / "nbval.cfg"
SVG = '<svg aria-label="Seven bars"><path d="M 0.1234567 1"/></svg>'
DIV = '<div data-figure="quiz" data-state="{&quot;rate&quot;: 0.25}"><table><td>0.5</td></table></div>'
IMG = '<img alt="Seven bars" src="data:image/png;base64,iVBORw0KGgo="><p>0.5</p>'


def printed(source: str, stored: str, stream: str = "stdout") -> NotebookNode:
    """A cell and what its file says that it prints."""
    return new_code_cell(source, execution_count=1, outputs=[new_output("stream", name=stream, text=stored)])


def shown(mime: str, fresh: str, stored: str, alt: str = "Seven bars") -> NotebookNode:
    """A cell that shows one thing, where its file may hold another; beside it a text, as our pictures have."""
    bundle = {mime: fresh, "text/plain": "Seven bars"}
    source = f"class Shown:\n    def _repr_mimebundle_(self, **_):\n        return {bundle!r}\nShown()"
    output = new_output("execute_result", {mime: stored, "text/plain": alt}, execution_count=1)
    return new_code_cell(source, execution_count=1, outputs=[output])


PASSES = {
    "the number that the cell prints": printed("print(1 / 8)", "0.125\n"),
    "another address": printed("print('<object at 0x7f3a2b1c>')", "<object at 0x…>\n"),
    "the same picture": shown("image/svg+xml", SVG, SVG),
    "points that moved": shown("image/svg+xml", SVG, SVG.replace("0.1234567", "0.1234568")),
    "another embedded picture": shown("text/html", IMG, IMG.replace("iVBOR", "jWCPS")),
    "the same figure": shown("text/html", DIV, DIV),
    "a warning that the cell gives": printed("import sys\nprint('late', file=sys.stderr)", "late\n", "stderr"),
}
FAILS = {
    "another digit": printed("print(1 / 8)", "0.126\n"),
    "a number that is not printed": printed("x = 1 / 8", "0.125\n"),
    "nothing stored of what is printed": new_code_cell("print(1 / 8)", execution_count=1),
    "another short hexadecimal number": printed("print('0xff')", "0xfe\n"),
    "another alt text": shown("image/svg+xml", SVG, SVG, alt="Eight bars"),
    "no picture stored": printed(shown("image/svg+xml", SVG, SVG).source, "Seven bars"),
    "another number in a figure's state": shown("text/html", DIV, DIV.replace("0.25", "0.26")),
    "another number in a figure's table": shown("text/html", DIV, DIV.replace("0.5", "0.6")),
    "another number after an embedded picture": shown("text/html", IMG, IMG.replace("0.5", "0.6")),
    "a number between two pictures": shown("text/html", SVG + "1" + SVG, SVG + "2" + SVG),
    "a warning that is not stored": new_code_cell("import sys\nprint('late', file=sys.stderr)", execution_count=1),
    "an error": new_code_cell("1 / 0", execution_count=1),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bool]]:
    """For each of two notebooks, which of its cells failed; run in parallel, as the book's pages are."""
    folder = tmp_path_factory.mktemp("nbval")
    for name, cells in {"good": PASSES, "bad": FAILS}.items():
        nbformat.write(new_notebook(cells=list(cells.values())), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with", str(SETTINGS), "--nbval-current-env",
               "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", "--rootdir", ".", "--junit-xml", "found.xml",
               "good.ipynb", "bad.ipynb"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=os.environ | {"TQDM_DISABLE": "1"}, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = sorted(ElementTree.parse(folder / "found.xml").iter("testcase"), key=lambda case: int(case.get("name")[5:]))
    return {name: [case.find("failure") is not None for case in cases if name in case.get("classname")]
            for name in ("good", "bad")}  # fmt: skip


def test_every_cell_of_both_notebooks_was_compared(failed: dict[str, list[bool]]):
    assert {name: len(cells) for name, cells in failed.items()} == {"good": len(PASSES), "bad": len(FAILS)}


@pytest.mark.parametrize(("index", "name"), list(enumerate(PASSES)))
def test_what_agrees_passes(index: int, name: str, failed: dict[str, list[bool]]):
    assert not failed["good"][index], name


@pytest.mark.parametrize(("index", "name"), list(enumerate(FAILS)))
def test_what_differs_fails(index: int, name: str, failed: dict[str, list[bool]]):
    assert failed["bad"][index], name
