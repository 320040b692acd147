"""The built site in a real browser: silent, light, accessible, usable by keyboard, and every figure driven."""

import importlib
import re

import pytest
from browser import ROOT, axe, overflow, visit
from playwright.sync_api import expect

import cnnbook.figures

BUILT = ROOT / "_build" / "html"
PAGES = sorted(str(path.relative_to(BUILT)) for path in BUILT.rglob("*.html") if "_static" not in path.parts)
TEXT = {page: (BUILT / page).read_text(encoding="utf-8") for page in PAGES}
FIGURES = [(page, name) for page in PAGES for name in dict.fromkeys(re.findall(r'data-figure="(\w+)"', TEXT[page]))]
CLASSES = [value for value in vars(cnnbook.figures).values() if isinstance(value, type) and hasattr(value, "figure")]
STARTS = {made.figure: made().page_html() for made in CLASSES if made is not cnnbook.figures.Quiz}
# A drive knows the numbers of a figure's own starting state, and a page may start it elsewhere. A quiz tells its own.
DRIVEN = [(page, name) for page, name in FIGURES if name == "quiz" or STARTS[name] in TEXT[page]]
MAX_BYTES = 650 * 1024


def test_the_site_has_pages_and_figures():
    assert {"index.html", "chapters/01-the-problem.html", "chapters/04-convolution-by-hand.html"} <= set(PAGES)
    assert {name for _, name in DRIVEN} == {made.figure for made in CLASSES}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", PAGES)
def test_page(browser, site, path, width, theme):
    with visit(browser, f"{site}/{path}", width, theme) as seen:
        assert seen.problems == []
        assert seen.bytes <= MAX_BYTES, f"{seen.bytes / 1024:.0f} KB over the wire"
        assert axe(seen.page) == []
        assert overflow(seen.page) == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("path", "name"), DRIVEN)
def test_figure(browser, site, path, name, width):
    drive = importlib.import_module(f"drive_{name}").drive
    with visit(browser, f"{site}/{path}", width, has_touch=width < 500) as seen:
        drive(seen.page, seen.page.locator(f'[data-figure="{name}"] .cb-figure').first)
        assert seen.problems == []


@pytest.mark.parametrize("path", [page for page in PAGES if page.startswith("chapters/")])
def test_keyboard_reaches_everything(browser, site, path):
    """Tab goes through the whole page, first to the skip link, into every figure, and is never caught."""
    with visit(browser, f"{site}/{path}") as seen:
        visited = []
        for _ in range(400):
            seen.page.keyboard.press("Tab")
            visited.append(seen.page.evaluate(FOCUS))
            if visited[-1] is None and len(visited) > 20:
                break
        figures = seen.page.evaluate("[...document.querySelectorAll('[data-figure]')].map((f) => f.id)")
        assert visited[0]["text"] == "Skip to main content"
        assert {stop["figure"] for stop in visited if stop} >= set(figures)
        assert visited[-1] is None, "400 tabs and the page has not ended"


FOCUS = """() => {
  const focused = document.activeElement;
  if (!focused || focused === document.body) return null;
  return {text: focused.textContent.trim(), figure: focused.closest("[data-figure]")?.id ?? ""};
}"""


@pytest.mark.parametrize("path", [page for page in PAGES if page.startswith("chapters/")])
def test_works_without_a_server(browser, path):
    """From file://, where browsers refuse modules and fetches: figures mount, and nothing complains."""
    with visit(browser, (BUILT / path).as_uri()) as seen:
        assert seen.problems == []
        assert seen.page.locator(".cb-figure").count() == seen.page.locator("[data-figure]").count() > 0


@pytest.mark.parametrize(("path", "name"), FIGURES)
def test_works_without_scripts(browser, site, path, name):
    """Without JavaScript each figure is its fallback: a table or a list that says what the figure says."""
    with visit(browser, f"{site}/{path}", java_script_enabled=False) as seen:
        expect(seen.page.locator(f'[data-figure="{name}"]').first.locator("table, ol").first).to_be_visible()


def test_link_restores_a_state_and_reset_leaves_it(browser, site):
    path = f"{site}/chapters/01-the-problem.html"
    with visit(browser, path) as seen:
        figure = seen.page.locator('[data-figure="parameter_ladder"]')
        figure.get_by_role("button", name="MNIST first layer").click()
        figure.get_by_role("button", name="Copy link").click()
        expect(figure.get_by_role("button", name="The address bar holds the link")).to_be_visible()
        link, shown = seen.page.evaluate("location.href"), figure.locator(".cb-live").inner_text()
    with visit(browser, link) as seen:
        figure = seen.page.locator('[data-figure="parameter_ladder"]')
        expect(figure.locator(".cb-live")).to_have_text(shown)
        figure.get_by_role("button", name="Reset").click()
        expect(figure.locator(".cb-live")).to_contain_text("483 billion")


def test_pictures_follow_the_theme(browser, site):
    colors = []
    for theme in ("light", "dark"):
        with visit(browser, f"{site}/chapters/01-the-problem.html", theme=theme) as seen:
            axis = seen.page.locator(".cb-picture svg text").first
            colors.append(axis.evaluate("(node) => getComputedStyle(node).fill"))
    assert colors == ["rgb(29, 33, 37)", "rgb(223, 227, 231)"]


def test_search_finds_a_page(browser, site):
    with visit(browser, f"{site}/search.html?q=wafer") as seen:
        expect(seen.page.locator("#search-results a").first).to_contain_text("problem")
        assert seen.problems == []
