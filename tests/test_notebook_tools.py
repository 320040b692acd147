"""Executing, normalising and writing pages: what is kept, what goes, and what a failure leaves behind."""

import json
import re
from pathlib import Path

import nbformat
import notebooks
import pytest
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import changed, code_hash, execute, install_cell, main, normalise, pages, toc_files, write

KEPT = {
    "text/plain": "Seven bars",
    "text/html": '<div data-figure="quiz" data-state="{}"></div>',
    "image/svg+xml": '<svg aria-label="Seven bars"><path/></svg>',
    "image/png": "iVBORw0KGgo=",
}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "f00"}}


def noisy_notebook() -> NotebookNode:
    """One cell with everything that a front end and a kernel may leave in a file."""
    outputs = [
        new_output("stream", text="one "),
        new_output("stream", text="<object at 0x7f3a2b1c>\n"),
        new_output("stream", name="stderr", text="careful"),
        new_output("execute_result", {**KEPT, **WIDGET}, metadata={"needs_background": "light"}, execution_count=1),
        new_output("error", ename="ValueError", evalue="no 0", traceback=["File /home/ada/x.py, line 3", "ValueError"]),
    ]
    metadata = {"execution": {"shell.execute_reply": "2026-01-01"}, "collapsed": True, "tags": ["hide-cell"]}
    cell = new_code_cell("x = 1  \ny = 2\n", execution_count=1, outputs=outputs, metadata=metadata)
    nb = new_notebook(cells=[cell, new_markdown_cell("Text. \n", attachments={"a.png": {"image/png": "iVBORw0KGgo="}})])
    nb.metadata.update(widgets={"state": {}}, language_info={"name": "python", "version": "3.11.7"}, executed="0123")
    nb.metadata.kernelspec = {"name": "my-venv", "display_name": "My venv", "language": "python"}
    return nb


def test_normalise_keeps_what_a_reader_sees():
    cell, text = normalise(noisy_notebook()).cells
    printed, warned, shown, failed = cell.outputs
    assert (printed.name, printed.text) == ("stdout", "one <object at 0x…>\n")
    assert (warned.name, warned.text) == ("stderr", "careful")
    assert shown.data == KEPT
    assert (failed.ename, failed.evalue, failed.traceback) == ("ValueError", "no 0", ["ValueError: no 0"])
    assert (cell.source, cell.execution_count, text.source) == ("x = 1\ny = 2", 1, "Text.")


def test_normalise_drops_what_is_noise():
    nb = normalise(noisy_notebook())
    assert nb.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "executed": "0123",
    }
    assert nb.cells[0].metadata == {"tags": ["hide-cell"]}
    assert nb.cells[0].outputs[2].metadata == {}
    text = json.dumps(nb, ensure_ascii=False)
    for noise in ("widget", "2026", "3.11.7", "my-venv", "collapsed", "attachments", "0x7f", "/home/ada"):
        assert noise not in text, noise
    assert (nb.nbformat, nb.nbformat_minor) == (4, 5)
    nbformat.validate(nb)


def test_normalise_is_idempotent_and_leaves_its_argument_alone():
    nb = noisy_notebook()
    before = json.dumps(nb)
    once = normalise(nb)
    assert json.dumps(nb) == before
    assert normalise(once) == once != nb


def test_ids_are_those_of_the_text_and_survive_an_insertion():
    cells = [new_markdown_cell("One."), new_code_cell("x = 1"), new_code_cell("x = 1"), new_markdown_cell("Two.")]
    longer = [*cells[:2], new_markdown_cell("New."), *cells[2:]]
    before = [cell.id for cell in normalise(new_notebook(cells=cells)).cells]
    after = [cell.id for cell in normalise(new_notebook(cells=longer)).cells]
    assert len(set(before)) == 4
    assert after[:2] + after[3:] == before
    assert after[2] not in before


def test_normalise_renews_the_install_cell():
    old = "# On Colab this installs the book's library, from an old place.\n%pip install old"
    nb = normalise(new_notebook(cells=[new_code_cell(old)]))
    assert nb.cells[0].source == install_cell()


def test_install_cell_carries_the_url_of_the_configuration():
    config = yaml.safe_load(Path(notebooks.ROOT, "_config.yml").read_text(encoding="utf-8"))
    line = install_cell().split("\n")[-1]
    assert line == f"    %pip install -q git+{config['repository']['url']}"
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", config["repository"]["url"])


def test_toc_files_are_found_at_every_depth_in_reading_order():
    nested = {"file": "b", "sections": [{"file": "c", "sections": [{"file": "d"}]}, {"file": "e"}]}
    toc = {"root": "index", "parts": [{"chapters": [{"file": "a"}, nested]}, {"chapters": [{"file": "f"}]}]}
    assert list(toc_files(toc)) == ["a", "b", "c", "d", "e", "f"]


def test_code_hash_depends_on_code_alone():
    nb = new_notebook(cells=[new_markdown_cell("One."), new_code_cell("x = 1"), new_code_cell("y = 2")])
    before = code_hash(nb)
    nb.cells[0].source = "Two."
    nb.cells[1].outputs = [new_output("stream", text="1")]
    assert code_hash(nb) == before
    for source in ("x = 1 ", "x = 1\0", "x = 3"):
        nb.cells[1].source = source
        assert code_hash(nb) != before
    for first, second in (("y = 2", "x = 1"), ("x = 1y", " = 2")):
        nb.cells[1:] = [new_code_cell(first), new_code_cell(second)]
        assert code_hash(nb) != before


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook that is the whole book; its bar prints to standard error unless bars are off."""
    path = tmp_path / "page.ipynb"
    bar = "from tqdm import tqdm\nfor i in tqdm(range(3)):\n    pass\nprint(i)"
    cells = [new_code_cell(bar), new_markdown_cell("And so on."), new_code_cell("i + 40")]
    cells.append(new_code_cell("import os\nos.getcwd()"))
    nbformat.write(new_notebook(cells=cells), path)
    monkeypatch.setattr(notebooks, "pages", lambda: [path])
    return path


def replace_code(path: Path, index: int, source: str) -> None:
    nb = nbformat.read(path, as_version=4)
    nb.cells[index].source = source
    nbformat.write(nb, path)


def test_a_page_is_executed_written_and_then_left_alone(page: Path, capsys: pytest.CaptureFixture):
    assert changed(page)
    assert main([]) == 0
    assert capsys.readouterr().out == "1 executed, 0 failed\n"
    nb = nbformat.read(page, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert [(output.name, output.text) for output in code[0].outputs] == [("stdout", "2\n")]  # and no bar
    assert code[1].outputs[0].data == {"text/plain": "42"}
    assert code[2].outputs[0].data == {"text/plain": repr(str(page.parent))}  # a page runs in its own folder
    assert normalise(nb) == nb
    assert nb.metadata.executed == code_hash(nb)
    written = page.stat().st_mtime_ns
    assert not changed(page)
    assert main([]) == 0
    assert (capsys.readouterr().out, page.stat().st_mtime_ns) == ("0 executed, 0 failed\n", written)
    replace_code(page, 2, "i + 41")
    assert changed(page)


def test_a_failing_cell_leaves_the_file_and_the_other_pages_run(page: Path, tmp_path: Path, monkeypatch, capsys):
    good = tmp_path / "good.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 2")]), good)
    monkeypatch.setattr(notebooks, "pages", lambda: [page, good])
    replace_code(page, 2, "1 / 0")
    before = page.read_bytes()
    assert main([]) == 1
    assert page.read_bytes() == before
    assert changed(page)
    out = capsys.readouterr().out
    assert f"{page}: not written, a cell failed" in out
    assert "ZeroDivisionError" in out
    assert out.endswith("1 executed, 1 failed\n")
    assert nbformat.read(good, as_version=4).cells[0].outputs[0].data == {"text/plain": "0.5"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.ipynb", "page.ipynb"]


def test_a_cell_that_kills_its_kernel_is_a_failure_too(page: Path, capsys: pytest.CaptureFixture):
    replace_code(page, 0, "import os\nos._exit(1)")
    before = page.read_bytes()
    assert main([str(page)]) == 1
    assert page.read_bytes() == before
    assert capsys.readouterr().out.endswith("0 executed, 1 failed\n")


def test_an_announced_error_is_stored_without_the_files_of_this_machine(page: Path):
    replace_code(page, 2, "import json\njson.loads('{')")
    nb = nbformat.read(page, as_version=4)
    nb.cells[2].metadata.tags = ["raises-exception"]
    nbformat.write(nb, page)
    (error,) = execute(page).cells[2].outputs
    assert error.ename == "JSONDecodeError"
    assert error.traceback == [f"JSONDecodeError: {error.evalue}"]
    assert error.evalue.startswith("Expecting property name enclosed in double quotes")


def test_unchanged_pages_are_normalised_unless_pages_are_named(page: Path, tmp_path: Path, monkeypatch):
    assert main([]) == 0
    clean = page.read_bytes()
    other = tmp_path / "other.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), other)
    nb = nbformat.read(page, as_version=4)
    nb.cells[0].metadata.execution = {"shell.execute_reply": "2026-01-01"}
    nbformat.write(nb, page)
    noisy = page.read_bytes()
    assert main([str(other)]) == 0
    assert page.read_bytes() == noisy
    assert main([]) == 0
    assert page.read_bytes() == clean


def test_all_executes_unchanged_pages_again(page: Path, capsys: pytest.CaptureFixture):
    assert main([]) == 0
    nb = nbformat.read(page, as_version=4)
    nb.cells[0].outputs[0].text = "3\n"
    nbformat.write(nb, page)
    capsys.readouterr()
    assert main(["--all"]) == 0
    assert capsys.readouterr().out == "1 executed, 0 failed\n"
    assert nbformat.read(page, as_version=4).cells[0].outputs[0].text == "2\n"


def test_a_write_that_stops_in_the_middle_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "page.ipynb"
    write(normalise(new_notebook(cells=[new_markdown_cell("Old.")])), path)
    before = path.read_bytes()

    def half(nb: NotebookNode, target: Path) -> None:
        Path(target).write_text(nbformat.writes(nb)[:40], encoding="utf-8")
        raise OSError("no space left")

    monkeypatch.setattr(nbformat, "write", half)
    with pytest.raises(OSError, match="no space left"):
        write(normalise(new_notebook(cells=[new_markdown_cell("New.")])), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_pages_of_the_book_are_notebooks_that_exist():
    found = pages()
    assert found[-1].name == "template.ipynb"
    assert len(found) == len(set(found)) > 1
    assert all(path.suffix == ".ipynb" and path.exists() for path in found)


def test_another_repository_needs_no_new_run(monkeypatch):
    """Setting repository.url and normalising rewrites the install cells and leaves every page as executed."""
    nb = nbformat.read(pages()[0], as_version=4)
    monkeypatch.setattr("notebooks.repository_url", lambda: "https://example.org/somebody/book")
    moved = normalise(nb)
    assert moved.cells[1].source.endswith("git+https://example.org/somebody/book")
    assert code_hash(moved) == nb.metadata.executed == moved.metadata.executed
