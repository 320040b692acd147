"""What several test files share: one browser, and the built site on a server."""

import pytest
from browser import ROOT, chromium, serve


@pytest.fixture(scope="session")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def site() -> str:
    """The built site's address. `make test` builds it first; it is never built here."""
    built = ROOT / "_build" / "html"
    assert (built / "index.html").exists(), "no built site: run `make site`"
    with serve(built) as address:
        yield address
