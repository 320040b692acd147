"""The checks of the site, each seen to fail on a page that is broken on purpose."""

import pytest
from browser import axe, overflow, serve, visit

GOOD = """<!doctype html><html lang="en"><head><title>page</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">{head}</head><body><main><h1>page</h1>{body}</main></body></html>"""


@pytest.fixture
def open_page(browser, tmp_path):
    """Serve one page with the given body and yield the visit."""

    def make(body: str = "", head: str = ""):
        (tmp_path / "index.html").write_text(GOOD.format(body=body, head=head), encoding="utf-8")
        return visit(browser, f"{address}/index.html", width=390)

    with serve(tmp_path) as address:
        yield make


def test_a_good_page_has_no_problems(open_page):
    with open_page("<p>text</p>") as seen:
        assert seen.problems == axe(seen.page) == overflow(seen.page) == []
        assert 200 < seen.bytes < 2000


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<script>throw new Error('broken')</script>", "script error: broken"),
        ("<img src='missing.png' alt='nothing there'>", "404: http"),
        ("<img src='https://example.org/x.png' alt='elsewhere'>", "request to another host: https://example.org/x.png"),
        ("<script src='//example.org/x.js'></script>", "request to another host: http://example.org/x.js"),
        ("<script>fetch('https://example.org/data').catch(() => 0)</script>", "request to another host"),
    ],
)
def test_problems_are_noted(open_page, body, expected):
    with open_page(body) as seen:
        seen.page.wait_for_timeout(100)
        assert any(problem.startswith(expected) for problem in seen.problems), seen.problems


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("<button></button>", "button-name"),
        ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "image-alt"),
        ("<p style='color:#aaa;background:#fff'>pale</p>", "color-contrast"),
        ("<ul><p>no item</p></ul>", "list"),
    ],
)
def test_axe_finds(open_page, body, rule):
    with open_page(body) as seen:
        assert [finding.split(":")[0] for finding in axe(seen.page)] == [rule]


def test_overflow_is_found(open_page):
    with open_page("<div style='width:500px'>wide</div>") as seen:
        assert overflow(seen.page)[0].endswith("px wider than its window")


def test_weight_counts_what_the_page_loads(open_page, tmp_path):
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 400)
    with open_page("<script>fetch('big.bin').then((r) => r.arrayBuffer())</script>") as seen:
        seen.page.wait_for_timeout(200)
        assert 102_400 < seen.bytes < 105_000


def test_an_unmounted_figure_stops_the_visit(open_page):
    with pytest.raises(Exception, match="Timeout"), open_page("<div data-figure='quiz'></div>") as seen:
        seen.page.wait_for_timeout(1)
