"""A headless Chromium of this machine, driven by Playwright, that sees no other machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
# A page draws when its server has answered and its scripts have run, which a busy machine takes long for.
SECONDS = 600


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped where it, or the package that drives it, is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; `make test-browser` does it")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: one of {', '.join(NAMES)}; `apt-get install chromium`")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser) -> Iterator[tuple[Page, set[str]]]:
    """A page, and the addresses of other machines that it has asked for in vain; faults of its scripts are raised."""
    context = browser.new_context(viewport={"width": 1600, "height": 1200})
    context.set_default_timeout(SECONDS * 1000)
    page, elsewhere, faults = context.new_page(), set(), []

    # Playwright takes functions, not methods of lists.
    def note(fault: object) -> None:
        faults.append(fault)

    def refuse(route: object) -> None:
        elsewhere.add(route.request.url)
        route.abort()

    page.on("pageerror", note)
    context.route(lambda url: not url.startswith("http://127.0.0.1:"), refuse)
    yield page, elsewhere
    context.close()
    assert faults == []
