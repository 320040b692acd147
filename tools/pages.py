"""What the book asks of a page, as functions that return problems in words: python tools/pages.py [page.ipynb ...]"""

import html
import re
import statistics
import sys
from decimal import Decimal
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from notebooks import code_hash, install_cell, is_install, normalise, pages

MAX_KB, MAX_LINES, MEDIAN_LINES, MAX_WIDTH, WORDS_PER_CELL = 400, 30, 8, 92, (40, 110)
LOCAL_PATH = re.compile(r"(?<![\w./])(/home/|/Users/|/root/|/work/|/tmp/|file://|[A-Z]:\\\\?Users)")
EXTERNAL = re.compile(
    r"""(?:src|srcset|data|poster)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
    r"""|<(?:link|image|use)\b[^>]+href\s*=\s*["']?(?:https?:)?//"""
    r"""|!\[[^\]]*\]\(\s*<?(?:https?:)?//|^[ \t]*[`:]{3,}\s*\{(?:image|figure|iframe)\}\s*(?:https?:)?//""",
    re.I | re.M,
)
UNTESTED = re.compile(r"nbval[-_](?:ignore[-_]output|skip)|pytest_validate_ignore_output", re.I)
READING = re.compile(r"(?!#|\||```|:::|[-*+>] |\d+\. |!\[|<|\$\$)\S+(\s+\S+){5,}")
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
    wide = [line for line in lines if len(line) > MAX_WIDTH]
    found += [f"a line of {len(line)} characters, the limit is {MAX_WIDTH}: {line.strip()[:60]!r}" for line in wide]
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
    for cell, after in zip(nb.cells, [*nb.cells[1:], None], strict=True):
        outputs = [output.data for output in cell.get("outputs", []) if "data" in output]
        shown = [data for data in outputs if any(mime in data for mime in IMAGES)]
        found += [f"no alt text: {first_line(cell)!r}; end with plots.picture(fig, alt=…)"
                  for data in shown if len(alt_text(data).split()) < 6]  # fmt: skip
        if shown and not reads(after):
            found.append(f"no sentence reads the picture of {first_line(cell)!r}")
        markup = cell.source if cell.cell_type == "markdown" else "".join(data.get("text/html", "") for data in outputs)
        found += [f"{kind} without alt text in {first_line(cell)!r}" for kind in silent_images(markup)]
    return found


def reads(cell: NotebookNode | None) -> bool:
    """Whether a cell begins with a sentence: no heading, list, table, quotation or code, and not a word or two."""
    if cell is None or cell.cell_type != "markdown":
        return False
    return bool(READING.match(re.split(r"\n\s*\n", cell.source.strip())[0]))


def silent_images(markup: str) -> list[str]:
    """The images of Markdown or HTML that have no alt text, each by its kind."""
    tags = ["<img>" for tag in re.findall(r"<img\b[^>]*>", markup) if not re.search(r"\balt\s*=", tag)]
    links = ["image" for alt in re.findall(r"!\[([^\]]*)\]\(", markup) if not alt.strip()]
    blocks = re.findall(r"^([`:]{3,})\{(?:image|figure)\}(.*?)^\1", markup, re.M | re.S)
    return tags + links + ["{image}" for _, body in blocks if not re.search(r"^\s*:alt: *\S", body, re.M)]


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
    """Title, install cell and the closing sections."""
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    found = [f"no section {name!r}" for name in SECTIONS if not re.search(rf"^{name}$", text, re.M)]
    if not nb.cells or not nb.cells[0].source.startswith("# "):
        found.append("the first cell is not a title")
    if not code_cells(nb) or code_cells(nb)[0].source != install_cell():
        found.append("the first code cell is not the install cell; copy it from the template, then `make notebooks`")
    return found


def outputs(nb: NotebookNode) -> list[str]:
    """No output that the tests would not compare, no warning, and no error that the page does not announce."""
    found = []
    for cell in code_cells(nb):
        tags = cell.metadata.get("tags", [])
        if UNTESTED.search(" ".join([*tags, cell.source])):
            found.append(f"an output that no test compares: {first_line(cell)!r}; print a bound and assert it")
        if any(output.get("name") == "stderr" for output in cell.outputs):
            found.append(f"a warning or an error message in the output of {first_line(cell)!r}")
        if "raises-exception" not in tags and any(output.output_type == "error" for output in cell.outputs):
            found.append(f"{first_line(cell)!r} fails; where that is the lesson, tag it raises-exception")
    return found


# Numbers in prose. What counts as one: three digits, a decimal point, a thousands comma, an exponent or a per cent.
NUMBER = re.compile(
    r"(?<![\d.])(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|\.(?=e[+-]?\d))?|\.\d+)(?:e[+-]?\d{1,3}(?!\d))?", re.I
)
PER_CENT = re.compile(r"(?:\s|\\,)*(?:%|per ?cent\b)")
CITATION = re.compile(r"\{(?:foot)?cite[\w:]*\}`")
NOT_PROSE = re.compile(
    r"^(`{3,}|~{3,})(?![`~{]).*?^\1|^(`{3,})\{(?:code|math).*?^\2"  # fenced code, not admonitions
    r"|<!--.*?-->|</?[a-z][\w-]*(?:\s[^<>$\n]*)?/?>|\{[\w:]+\}`[^`]*`"  # comments, tags, roles
    r"|(?<!`)(`{1,2})(?!`).*?(?<!`)\3(?!`)"  # code
    r"|\]\([^)\s]*\)|https?://\S+|\b(?:doi|arXiv):\s?\S+|^\([\w:.-]+\)=|(?<=\$\$) *\([\w:.-]+\)",  # links, labels
    re.M | re.S | re.I,
)
EXEMPT = re.compile(
    r"^#+ [\d.]+|\*\*\d+\.\d+\b"  # the number of a section or an exercise
    r"|\b(?:page|chapter|section|exercise|relationship)s? \d[\d.]*(?:(?: and |–)\d[\d.]*)?"  # and where one is named
    r"|\*\*\d+ minutes|\(\d+ minutes, difficulty"
    r"|(?<![\w.,])(?:19|20)\d\ds?(?![\w%]|[.,]\d| %)"  # years
    r"|(?<!\w)[^\W\d_]\w*-?\d[\w.]*"  # names: ResNet-152, float32, CIFAR-100
    r"|\b(?:CC )?BY(?:-\w+)* \d\.\d|\b(?:Python|PyTorch|NumPy|CUDA|version) \d[\d.]*",
    re.M | re.I,
)
BLOCK_ENDS = re.compile(r"\n\s*\n(?!\s*\$\$)|\n(?=\s*(?:[-*+]|\d+\.) )")
SPELLINGS = (  # one spelling of each number, whether it stands in prose, LaTeX or code
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile("[−⁻]"), "-"),
    (re.compile(r"(?<=\d)(?:[\u2009\u202f_]|\\,)(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=10)(-?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"), lambda match: "^" + match[1].translate(SUPERSCRIPTS)),
    (re.compile(r"(?<=\d) ?(?:\\times|\\cdot|[×·*]) ?10(?:\^|\*\*)\{?([+-]?\d+)\}?"), r"e\1"),
    (re.compile(r"(?<![\d.])10(?:\^|\*\*)\{?([+-]?\d+)\}?"), r"1e\1"),
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def numbers(nb: NotebookNode) -> list[str]:
    """Every number in the prose stands in the page's code or its outputs too, or beside a citation."""
    known = computed(nb)
    found = []
    for block in uncited_blocks(nb):
        text = prose(block)
        for match in NUMBER.finditer(text):
            per_cent = PER_CENT.match(text, match.end())
            if says_much(match[0]) or per_cent:
                values = {value(match[0])} | ({value(match[0]) / 100} if per_cent else set())
                if not values & known:
                    around = " ".join(text[max(0, match.start() - 30) : match.end() + 20].split())
                    found.append(f"{match[0]} is neither computed on this page nor cited: {around!r}")
    return found


def uncited_blocks(nb: NotebookNode) -> list[str]:
    """Paragraphs, list items and tables without a citation; a displayed formula belongs to the paragraph before it."""
    markdown = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    blocks = [block for source in markdown for block in BLOCK_ENDS.split(source)]
    return [block for block in blocks if not CITATION.search(block)]


def prose(text: str) -> str:
    """What of a Markdown block a reader reads as a statement, with numbers spelt in one way."""
    text = spelt(NOT_PROSE.sub(" ", text))
    math = re.compile(r"\$[^$]+\$")  # there a hyphen is a minus and \cdot no name
    text = math.sub(lambda match: re.sub(r"\\[a-z]+|(?<!\de)-", " ", match[0]), text)
    return EXEMPT.sub(" ", text)


def computed(nb: NotebookNode) -> set[Decimal]:
    """The values of all numbers in the code cells' text and outputs; 62 % is 0.62 as well."""
    found = set()
    for text in map(spelt, sources_and_outputs(nb)):
        for match in NUMBER.finditer(text):
            found.add(value(match[0]))
            if PER_CENT.match(text, match.end()):
                found.add(value(match[0]) / 100)
    return found


def sources_and_outputs(nb: NotebookNode) -> list[str]:
    """The text of code cells and what they print; of HTML what is read, and the state of a figure."""
    found = []
    for cell in code_cells(nb):
        found.append(cell.source)
        for output in cell.outputs:
            data = output.get("data", {})
            markup = re.sub(r"<svg.*?</svg>", " ", data.get("text/html", ""), flags=re.S)
            states = re.findall(r'data-state="([^"]*)"', markup)
            found += [output.get("text", ""), output.get("evalue", ""), data.get("text/plain", "")]
            found += map(html.unescape, [re.sub(r"<[^>]*>", " ", markup), *states])
    return found


def spelt(text: str) -> str:
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    return text


def value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))


def says_much(number: str) -> bool:
    """Whether a number is too precise to be a manner of speaking."""
    return len(re.sub(r"\D", "", number).lstrip("0")) >= 3 or any(sign in number.lower() for sign in ".,e")


CHECKS = (
    executed,
    normalised,
    cell_lengths,
    rhythm,
    pictures,
    local_paths,
    external_requests,
    anatomy,
    outputs,
    numbers,
)


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def first_line(cell: NotebookNode) -> str:
    return cell.source.split("\n")[0][:60]


def texts(nb: NotebookNode) -> list[str]:
    """Every text of a notebook: sources, streams, data and errors."""
    found = [cell.source for cell in nb.cells]
    for cell in code_cells(nb):
        for output in cell.outputs:
            found += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
            found += ["".join(value) for value in output.get("data", {}).values()]
    return found


if __name__ == "__main__":
    broken = {path: problems(path) for path in map(Path, sys.argv[1:] or pages())}
    for page, found in broken.items():
        print(*(f"{page}: {problem}" for problem in found), sep="\n", end="\n" if found else "")
    sys.exit(any(broken.values()))
