"""Execute and normalise the book's pages: python tools/notebooks.py [--all] [page.ipynb ...]

Without arguments it takes the pages whose code has changed since they were executed. A page is written only after it
has run to its end, and a page that fails leaves its file as it was.
"""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
KEPT_CELL_METADATA = {"tags", "mystnb", "nbgrader"}
KEPT_MIMES = ("text/plain", "text/html", "image/svg+xml", "image/png", "image/jpeg")
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")


def pages() -> list[Path]:
    """Every notebook of the book, in reading order, and the template."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = [ROOT / f"{file}.ipynb" for file in toc_files(toc) if (ROOT / f"{file}.ipynb").exists()]
    return [*found, *ROOT.glob("chapters/template.ipynb")]


def toc_files(entry: dict) -> Iterator[str]:
    """The files that a table of contents names, in reading order, whatever parts and sections it has."""
    yield from [entry["file"]] if "file" in entry else []
    for inner in (inner for key in ("parts", "chapters", "sections") for inner in entry.get(key, [])):
        yield from toc_files(inner)


def repository_url() -> str:
    """The one place that names the repository."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def install_cell() -> str:
    """The text of every page's first code cell."""
    return (
        "# On Colab this installs the book's library; anywhere else it does nothing.\n"
        "import sys\n"
        'if "google.colab" in sys.modules:\n'
        f"    %pip install -q git+{repository_url()}"
    )


def is_install(cell: NotebookNode) -> bool:
    """Whether a cell is a page's install cell, of whatever repository and wording."""
    return cell.cell_type == "code" and cell.source.startswith("# On Colab this installs")


def code_hash(nb: NotebookNode) -> str:
    """What a page's outputs depend on: the text of its code cells, in order; not where it is installed from."""
    sources = [cell.source for cell in nb.cells if cell.cell_type == "code" and not is_install(cell)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]


def normalise(nb: NotebookNode) -> NotebookNode:
    """The same notebook without noise: times, widget state, kernel versions, random ids, addresses."""
    nb = nbformat.from_dict(nb)
    kept = nb.metadata.get("executed")
    nb.metadata = NotebookNode(kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"})
    nb.metadata.language_info = NotebookNode(name="python")
    if kept:
        nb.metadata.executed = kept
    seen: dict[str, int] = {}
    for cell in nb.cells:
        _normalise_cell(cell, seen)
    nb.nbformat, nb.nbformat_minor = 4, 5
    return nb


def _normalise_cell(cell: NotebookNode, seen: dict[str, int]) -> None:
    """Rewrite one cell in place; its id becomes a hash of its text, numbered where the same text stands twice."""
    if is_install(cell):
        cell.source = install_cell()
    cell.source = "\n".join(line.rstrip() for line in cell.source.strip("\n").split("\n"))
    digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    seen[digest] = seen.get(digest, 0) + 1
    cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    cell.metadata = NotebookNode({k: v for k, v in sorted(cell.metadata.items()) if k in KEPT_CELL_METADATA})
    cell.pop("attachments", None)
    if cell.cell_type == "code":
        cell.outputs = [_normalise_output(output) for output in _merge_streams(cell.outputs)]


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Neighbouring pieces of one stream as one output; how a kernel cuts them is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(nbformat.from_dict(output))
    return merged


def _normalise_output(output: NotebookNode) -> NotebookNode:
    if "data" in output:
        output.data = NotebookNode({mime: output.data[mime] for mime in KEPT_MIMES if mime in output.data})
        output.metadata = NotebookNode()
        output.data = NotebookNode({mime: _clean(text) for mime, text in output.data.items()})
    if "text" in output:
        output.text = _clean(output.text)
    if output.output_type == "error":
        output.evalue = _clean(output.evalue)
        output.traceback = [f"{output.ename}: {output.evalue}"]  # the frames name files of this machine
    return output


def _clean(text: str | list[str]) -> str:
    return ADDRESS.sub(" at 0x…", "".join(text))


def execute(path: Path) -> NotebookNode:
    """The page executed from its first cell to its last, normalised; raises CellExecutionError where a cell fails."""
    nb = normalise(nbformat.read(path, as_version=4))
    client = NotebookClient(nb, timeout=600, kernel_name="python3", store_widget_state=False,
                            resources={"metadata": {"path": str(path.parent)}})  # fmt: skip
    client.execute(env=os.environ | {"TQDM_DISABLE": "1"})  # bars are for a reader who waits, not for the page
    nb.metadata.executed = code_hash(nb)
    return normalise(nb)


def write(nb: NotebookNode, path: Path) -> None:
    """Write through a neighbour file, so that a stop in the middle leaves the old page whole."""
    temporary = path.with_suffix(".tmp")
    try:
        nbformat.write(nb, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def changed(path: Path) -> bool:
    """Whether the page's code is not the code that its outputs came from."""
    nb = nbformat.read(path, as_version=4)
    return nb.metadata.get("executed") != code_hash(nb)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 1 where a page failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="notebooks; default: those whose code has changed")
    parser.add_argument("--all", action="store_true", help="every page, changed or not")
    arguments = parser.parse_args(argv)
    chosen = arguments.pages or [path for path in pages() if arguments.all or changed(path)]
    failed = sum(not run(path) for path in tqdm(chosen, desc="pages", disable=not chosen))
    for path in () if arguments.pages else set(pages()) - set(chosen):
        nb = nbformat.read(path, as_version=4)
        if normalise(nb) != nb:
            write(normalise(nb), path)
    print(f"{len(chosen) - failed} executed, {failed} failed")
    return int(failed > 0)


def run(path: Path) -> bool:
    """Execute and write one page; where a cell fails, hangs or kills the kernel, say so and leave the file."""
    try:
        write(execute(path), path)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        tqdm.write(f"{path}: not written, a cell failed\n{error}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
