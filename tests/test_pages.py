"""Every page keeps the book's rules, and the table of contents is the list of pages."""

from pathlib import Path

import pytest
import yaml
from notebooks import ROOT, pages
from pages import problems

FOLDERS = ("chapters", "labs", "reference")
TEMPLATE = ROOT / "chapters" / "template.ipynb"


def named(entry) -> list[str]:
    """Every value of a `root` or `file` key in the table of contents, however deep it stands."""
    if isinstance(entry, list):
        return [file for inner in entry for file in named(inner)]
    if not isinstance(entry, dict):
        return []
    own = [value for key, value in entry.items() if key in ("root", "file")]
    return own + [file for value in entry.values() for file in named(value)]


TOC = named(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.stem)
def test_page_keeps_the_rules(path: Path):
    assert problems(path) == []


def test_every_notebook_stands_in_the_table_of_contents():
    paths = [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.ipynb")]
    found = {path.relative_to(ROOT).with_suffix("").as_posix() for path in paths}
    assert found - set(TOC) == {"chapters/template"}


def test_table_of_contents_names_each_file_once_and_no_missing_one():
    assert [name for name in TOC if not any((ROOT / f"{name}{kind}").exists() for kind in (".ipynb", ".md"))] == []
    assert [name for name in TOC if TOC.count(name) > 1] == []


def test_the_checked_pages_are_all_of_them_in_reading_order():
    notebooks = [ROOT / f"{name}.ipynb" for name in TOC if (ROOT / f"{name}.ipynb").exists()]
    assert pages() == [*notebooks, TEMPLATE]
    assert len(notebooks) >= 1
