"""One browser and one console for all tests of a module.

Playwright keeps an event loop running in this thread, so it ends before a test of another module, which may run its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium
from tests.browser.shops import busy
from tests.server.services import MemoryService, Noon, options, serving


@pytest.fixture(scope="module")
def busy_console() -> Iterator[str]:
    """The address of a console that shows `shops.busy`, with a token."""
    with serving(busy(MemoryService()), options(clock=Noon())) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def browser(busy_console: str) -> Iterator[Browser]:
    """Closed before the console, which would wait for its connections."""
    assert busy_console
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, busy_console: str) -> Iterator[Page]:
    """A page of a new visitor, who is signed in to the busy console by its form."""
    context = browser.new_context(base_url=busy_console)
    try:
        yield context.new_page()
    finally:
        context.close()
