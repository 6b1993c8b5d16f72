"""One server for all tests of a worker, its service emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.server.services import MemoryService, Noon, options, serving


@pytest.fixture(scope="session")
def shared_service() -> MemoryService:
    return MemoryService()


@pytest.fixture(scope="session")
def shared_clock() -> Noon:
    return Noon()


@pytest.fixture(scope="session")
def shared_client(shared_service: MemoryService, shared_clock: Noon) -> Iterator[httpx.Client]:
    with serving(shared_service, options(clock=shared_clock)) as client:
        yield client


@pytest.fixture
def service(shared_service: MemoryService) -> MemoryService:
    """What was written down in this test."""
    shared_service.empty()
    return shared_service


@pytest.fixture
def clock(shared_clock: Noon) -> Noon:
    """The server's clock: noon, until it is moved on."""
    shared_clock.reset()
    return shared_clock


@pytest.fixture
def http(shared_client: httpx.Client, service: MemoryService, clock: Noon) -> httpx.Client:
    """A client of a server with a token, Clerk, two shops and one without a secret."""
    shared_client.cookies.clear()
    return shared_client
