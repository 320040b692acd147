"""Check-yourself questions, written in quizzes/<page>.toml."""

import html
import tomllib

import traitlets

from cnnbook.figures.base import HERE, Figure


class Quiz(Figure):
    """The questions of one page, with feedback on every answer. Progress stays in the reader's browser.

    Raises ValueError for a page without a quiz, and for an item that has not exactly one right answer.
    """

    figure = "quiz"
    page = traitlets.Unicode().tag(sync=True)
    items = traitlets.List().tag(sync=True)

    def __init__(self, page: str):
        super().__init__(page=page, items=read(page))

    def fallback(self) -> str:
        rows = (
            f"<li>{html.escape(item['ask'])}<details><summary>Answer</summary>{_answer(item)}</details></li>"
            for item in self.items
        )
        return f"<ol>{''.join(rows)}</ol>"


def read(page: str) -> list[dict]:
    """The items of a page's quiz, without the `check` expressions that only the tests use."""
    path = HERE / "quizzes" / f"{page}.toml"
    if not path.exists():
        raise ValueError(f"no quiz for the page {page!r}; there are: {', '.join(pages())}")
    items = tomllib.loads(path.read_text(encoding="utf-8"))["items"]
    for item in items:
        right = [option for option in item.get("options", []) if option.get("right")]
        if ("options" in item) == ("answer" in item) or "options" in item and len(right) != 1:
            raise ValueError(f"{path.name}: {item['ask']!r} needs exactly one right answer")
    return [{key: value for key, value in item.items() if key != "check"} for item in items]


def pages() -> list[str]:
    """The pages that have a quiz."""
    return sorted(path.stem for path in (HERE / "quizzes").glob("*.toml"))


def _answer(item: dict) -> str:
    if "answer" in item:
        return html.escape(f"{item['answer']:,}. {item['why']}")
    right = next(option for option in item["options"] if option.get("right"))
    return html.escape(f"{right['say']}. {right['why']}")
