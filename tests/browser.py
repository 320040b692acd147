"""A page of the built site as a browser sees it, with the network locked to the site's own host."""

import gzip
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TEXT = {".html", ".css", ".js", ".json", ".svg", ".xml", ".txt"}


class Compressed(SimpleHTTPRequestHandler):
    """Serves a folder, text compressed, as static hosts do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.exists():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if path.suffix in TEXT:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Silent."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server for the folder, on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressed, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium: $CHROMIUM, or the first that is found; RuntimeError where there is none."""
    found = os.environ.get("CHROMIUM") or next((p for name in CHROMIUM if (p := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("no Chromium: run `make chromium`, or set CHROMIUM to the path of a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page and all that went wrong on it so far."""

    page: Page
    problems: list[str] = field(default_factory=list)
    bytes: int = 0


@contextmanager
def visit(browser: Browser, url: str, width: int = 1280, theme: str = "light", **options) -> Iterator[Visit]:
    """Open a page. Requests to other hosts are stopped and noted, as are console errors and failed requests."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    seen = Visit(page)
    host = urlsplit(url).netloc

    def gate(route) -> None:
        target = urlsplit(route.request.url)
        if target.netloc == host or target.scheme in ("data", "blob"):
            route.continue_()
        else:
            seen.problems.append(f"request to another host: {route.request.url}")
            route.abort()

    page.route("**/*", gate)
    page.on("console", lambda m: seen.problems.append(f"console {m.type}: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: seen.problems.append(f"script error: {error}"))
    page.on("response", lambda r: seen.problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("requestfinished", lambda request: _weigh(seen, request))
    page.goto(url, wait_until="load")
    page.wait_for_function(MOUNTED) if options.get("java_script_enabled", True) else None
    yield seen
    context.close()


MOUNTED = "() => [...document.querySelectorAll('[data-figure]')].every((f) => f.dataset.mounted)"


def _weigh(seen: Visit, request) -> None:
    sizes = request.sizes()
    seen.bytes += sizes["responseBodySize"] + sizes["responseHeadersSize"]


def axe(page: Page) -> list[str]:
    """Serious and critical findings of axe, a line each."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{v['id']}: {v['help']}: {v['nodes'][0]['target']} {v['nodes'][0]['html'][:160]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def overflow(page: Page) -> list[str]:
    """What makes the page wider than its window."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"the page is {wide} px wider than its window"] if wide > 0 else []
