"""Pages in the real Chromium: one that asks for more than files of its own folder, or logs an error, fails its test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: As root, and without the background services that would look for a network.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OpenPage = Callable[..., Any]


def chromium() -> str | None:
    """Where the browser is: $DETKIT_CHROMIUM, else Debian's."""
    return os.environ.get("DETKIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests of a worker."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = chromium()
    if found is None:
        pytest.skip("no Chromium: tests/browser/install.sh installs Debian's")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens an HTML file: `open_page(path, width=1280, height=800, dark=False)`.

    At the end of the test it fails where a page asked for something outside its folder, threw, or logged an error.
    """
    with opening(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_shared_page(browser: Any) -> Iterator[OpenPage]:
    """As `open_page`, for a page that all tests of a module use; what is wrong shows at the module's end."""
    with opening(browser) as opened:
        yield opened


@contextmanager
def opening(browser: Any) -> Iterator[OpenPage]:
    """What `open_page` gives, for the time of the block."""
    contexts: list[Any] = []
    faults: list[str] = []

    def opened(path: Path, *, width: int = 1280, height: int = 800, dark: bool = False, touch: bool = False) -> Any:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch)
        contexts.append(context)
        page = context.new_page()
        folder = path.resolve().parent.as_uri() + "/"

        def asked(request: Any) -> None:
            if not request.url.startswith((folder, "data:", "blob:")):
                faults.append(f"the page asked for {request.url}")

        page.on("request", asked)
        page.on("requestfailed", lambda request: faults.append(f"could not be had: {request.url}"))
        page.on("pageerror", lambda error: faults.append(f"the page threw: {error}"))
        page.on("console", lambda said: faults.extend([f"the page logged: {said.text}"] * (said.type == "error")))
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)
