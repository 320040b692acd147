"""What the book asks of a page, as functions that return problems in words: python tools/pages.py [page.ipynb ...]"""

import re
import statistics
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from notebooks import code_hash, install_cell, normalise, pages

MAX_KB, MAX_LINES, MEDIAN_LINES, MAX_WIDTH, WORDS_PER_CELL = 400, 30, 8, 88, (40, 110)
LOCAL_PATH = re.compile(r"(?<![\w./])(/home/|/Users/|/root/|/work/|/tmp/|file://|[A-Z]:\\\\?Users)")
EXTERNAL = re.compile(r"""(?:src|srcset|data|poster)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import|"""
                      r"""<link[^>]+href\s*=\s*["']?(?:https?:)?//|!\[[^\]]*\]\((?:https?:)?//""", re.I)  # fmt: skip
SECTIONS = ("## Check yourself", "## Exercises", "## Sources")
IMAGES = ("image/svg+xml", "image/png", "image/jpeg")


def problems(path: Path) -> list[str]:
    """Every way in which a page breaks the book's rules; an empty list for a page that keeps them."""
    nb = nbformat.read(path, as_version=4)
    size = path.stat().st_size
    too_big = [f"the file is {size // 1024} KB, the limit is {MAX_KB}"] if size > MAX_KB * 1024 else []
    return too_big + [problem for check in CHECKS for problem in check(nb)]


def executed(nb: NotebookNode) -> list[str]:
    """nbval passes over cells without an execution_count, so this must not."""
    counts = [cell.execution_count for cell in code_cells(nb)]
    found = []
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"code cells were not run once, in order: execution counts are {counts}; run `make notebooks`")
    if nb.metadata.get("executed") != code_hash(nb):
        found.append("the code was changed after it was run; run `make notebooks`")
    return found


def normalised(nb: NotebookNode) -> list[str]:
    return [] if normalise(nb) == nb else ["the file is not normalised; run `make notebooks`"]


def cell_lengths(nb: NotebookNode) -> list[str]:
    lengths = [cell.source.count("\n") + 1 for cell in code_cells(nb)]
    found = [f"a code cell has {n} lines, the limit is {MAX_LINES}" for n in lengths if n > MAX_LINES]
    if lengths and statistics.median(lengths) > MEDIAN_LINES:
        found.append(f"the median code cell has {statistics.median(lengths)} lines, the limit is {MEDIAN_LINES}")
    lines = [line for cell in code_cells(nb) if not is_install(cell) for line in cell.source.split("\n")]
    found += [f"a line of {len(line)} characters, the limit is {MAX_WIDTH}: {line.strip()[:60]!r}" for line in lines if len(line) > MAX_WIDTH]
    return found


def rhythm(nb: NotebookNode) -> list[str]:
    """Prose between any two code cells, and neither too little nor too much of it over the page."""
    found = []
    for before, after in zip(nb.cells, nb.cells[1:], strict=False):
        if before.cell_type == after.cell_type == "code" and not is_install(before):
            found.append(f"two code cells with nothing between: {first_line(before)!r} and {first_line(after)!r}")
    words = sum(len(cell.source.split()) for cell in nb.cells if cell.cell_type == "markdown")
    low, high = WORDS_PER_CELL
    cells = max(1, len(code_cells(nb)))
    if not low <= words / cells <= high:
        found.append(f"{words / cells:.0f} words of prose a code cell; the book keeps {low} to {high}")
    return found


def pictures(nb: NotebookNode) -> list[str]:
    """Every picture has alt text that says something, and a sentence after it that reads it."""
    found = []
    for index, cell in enumerate(nb.cells):
        outputs = [output.data for output in cell.get("outputs", []) if "data" in output]
        shown = [data for data in outputs if any(mime in data for mime in IMAGES)]
        found += [f"no alt text: {first_line(cell)!r}; end with plots.picture(fig, alt=…)"
                  for data in shown if len(alt_text(data).split()) < 6]  # fmt: skip
        after = nb.cells[index + 1].source if index + 1 < len(nb.cells) and nb.cells[index + 1].cell_type == "markdown" else ""
        if shown and not re.match(r"(?!#|\||```|:::|- |>)\S+(\s+\S+){5,}", after.strip()):
            found.append(f"no sentence reads the picture of {first_line(cell)!r}")
        markup = cell.source if cell.cell_type == "markdown" else "".join(data.get("text/html", "") for data in outputs)
        found += [f"<img> without alt text in {first_line(cell)!r}" for tag in re.findall(r"<img[^>]*>", markup) if "alt=" not in tag]
        found += [f"image without alt text in {first_line(cell)!r}" for alt in re.findall(r"!\[([^\]]*)\]\(", markup) if not alt.strip()]
    return found


def alt_text(data: NotebookNode) -> str:
    """The alt text of an output's picture: an SVG carries its own, other pictures have none."""
    label = re.search(r'<svg[^>]*aria-label="([^"]*)"', data.get("image/svg+xml", ""))
    return label.group(1) if label else ""


def local_paths(nb: NotebookNode) -> list[str]:
    return [f"a path of somebody's machine: {match.group(0)!r} in {text.strip()[:60]!r}"
            for text in texts(nb) if (match := LOCAL_PATH.search(text))]  # fmt: skip


def external_requests(nb: NotebookNode) -> list[str]:
    """Nothing on a page may load from another host; links that a reader follows are free."""
    return [f"a request to another host: {match.group(0)!r} in {text.strip()[:60]!r}"
            for text in texts(nb) if (match := EXTERNAL.search(text))]  # fmt: skip


def anatomy(nb: NotebookNode) -> list[str]:
    """Title, install cell, the closing sections, and no output that tests would not compare."""
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    found = [f"no section {name!r}" for name in SECTIONS if not re.search(rf"^{name}$", text, re.M)]
    if not nb.cells or not nb.cells[0].source.startswith("# "):
        found.append("the first cell is not a title")
    if not code_cells(nb) or code_cells(nb)[0].source != install_cell():
        found.append("the first code cell is not the install cell; copy it from the template, then `make notebooks`")
    for cell in code_cells(nb):
        if "nbval-ignore-output" in cell.metadata.get("tags", []) or "NBVAL_IGNORE_OUTPUT" in cell.source:
            found.append(f"an output that no test compares: {first_line(cell)!r}; print a bound and assert it")
        errors = {output.get("name") for output in cell.outputs} & {"stderr"}
        found += [f"a warning or an error message in the output of {first_line(cell)!r}"] * len(errors)
    return found


CHECKS = (executed, normalised, cell_lengths, rhythm, pictures, local_paths, external_requests, anatomy)


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def is_install(cell: NotebookNode) -> bool:
    return cell.source.startswith("# On Colab this installs")


def first_line(cell: NotebookNode) -> str:
    return cell.source.split("\n")[0][:60]


def texts(nb: NotebookNode) -> list[str]:
    """Every text of a notebook: sources, streams and data."""
    found = [cell.source for cell in nb.cells]
    for cell in code_cells(nb):
        for output in cell.outputs:
            found += [output.get("text", ""), *("".join(value) for value in output.get("data", {}).values())]
    return found


if __name__ == "__main__":
    broken = {path: problems(path) for path in map(Path, sys.argv[1:] or pages())}
    for page, found in broken.items():
        print(*(f"{page}: {problem}" for problem in found), sep="\n", end="\n" if found else "")
    sys.exit(any(broken.values()))
