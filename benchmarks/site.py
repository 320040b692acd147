"""How long the site takes to build and to show, and what its pages weigh: python benchmarks/site.py

Prints a table for the README. Times are of this machine and noisy; the tests check the weights, never the times.
"""

import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import chromium, serve, visit  # noqa: E402

BUILT = ROOT / "_build" / "html"
PAGES = ("index.html", *(f"chapters/{path.stem}.html" for path in sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))))
LCP = """() => new Promise((resolve) => new PerformanceObserver((list) =>
  resolve(list.getEntries().at(-1).startTime)).observe({type: "largest-contentful-paint", buffered: true}))"""


def build_seconds() -> float:
    """Wall time of one build of the book."""
    start = time.perf_counter()
    command = ["jupyter-book", "build", "-W", "--keep-going", "-n", str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def builds() -> dict[str, float]:
    """Seconds for the whole site from nothing, and again after one page has changed."""
    subprocess.run(["jupyter-book", "clean", str(ROOT), "--all"], check=True, stdout=subprocess.DEVNULL)
    whole = build_seconds()
    page = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))[-1]
    page.touch()
    return {"whole site": whole, f"after a change of {page.stem}": build_seconds()}


def look(browser, address: str, path: str, runs: int = 5) -> tuple[float, list[float]]:
    """KB over the wire, compressed, and the largest contentful paint of each run in milliseconds."""
    paints = []
    for _ in range(runs):
        with visit(browser, f"{address}/{path}") as seen:
            paints.append(seen.page.evaluate(LCP))
            weight = seen.bytes / 1024
    return weight, paints


if __name__ == "__main__":
    print(f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}")
    for name, seconds in builds().items():
        print(f"build, {name}: {seconds:.1f} s")
    with chromium() as browser, serve(BUILT) as address:
        print(f"Chromium {browser.version}, from localhost, empty cache")
        for path in PAGES:
            weight, paints = look(browser, address, path)
            spread = f"{min(paints):.0f} to {max(paints):.0f}"
            print(f"{path}: {weight:.0f} KB, LCP {statistics.median(paints):.0f} ms ({spread})")
