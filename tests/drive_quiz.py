"""Uses a mounted quiz as a reader would."""

import re

from playwright.sync_api import Locator, Page, expect


def drive(page: Page, figure: Locator) -> None:
    """A wrong answer explains itself, a right one counts, progress outlives a reload, and starting over clears it."""
    items = page.evaluate("(f) => JSON.parse(f.parentElement.dataset.state).items", figure.element_handle())
    index, item = next((i, item) for i, item in enumerate(items) if "options" in item)
    first, tally = figure.locator("fieldset").nth(index), figure.locator(".cb-tally")
    wrong = next(i for i, option in enumerate(item["options"]) if not option.get("right"))
    right = next(i for i, option in enumerate(item["options"]) if option.get("right"))
    expect(tally).to_have_text(re.compile(f"^0 of {len(items)} right"))

    first.get_by_role("radio").nth(wrong).focus()
    page.keyboard.press("Space")
    expect(first.locator(".cb-verdict")).to_have_text(f"Not yet. {item['options'][wrong]['why']}")
    first.locator("label").nth(right).click()
    expect(first.locator(".cb-verdict")).to_have_text(f"Right. {item['options'][right]['why']}")
    expect(tally).to_have_text(re.compile(f"^1 of {len(items)} right"))

    answered = _answer_numbers(figure, items)
    page.reload()
    expect(tally).to_have_text(re.compile(f"^{1 + answered} of {len(items)} right"))
    figure.get_by_role("button", name="Start over").click()
    expect(tally).to_have_text(re.compile(f"^0 of {len(items)} right"))


def _answer_numbers(figure: Locator, items: list[dict]) -> int:
    """Type a text, a known wrong number and the right one into each numeric question; how many there are."""
    numeric = [index for index, item in enumerate(items) if "answer" in item]
    for index in numeric:
        item, box = items[index], figure.locator("fieldset").nth(index)
        for text, expected in (
            ("many", "Write a number, for example 1,728 or 0.5."),
            (str(item["wrong"][0]["value"]), f"Not yet. {item['wrong'][0]['why']}"),
            (f"{item['answer']:,}", f"Right. {item['why']}"),
        ):
            box.get_by_role("textbox").fill(text)
            box.get_by_role("textbox").press("Enter")
            expect(box.locator(".cb-verdict")).to_have_text(expected)
    return len(numeric)
