"""The overview of many who look at it: it is read once in a while, and needs no thread of its own for anyone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from reconciler.core.model.ids import StoreName
from reconciler.core.report.status import StatusRow
from tests.server.services import SHOP_US, US, VIEWER, MemoryService, Noon, options, serving

READS = {"authorization": f"Bearer {VIEWER}"}
THREADS_MAX = 40 + 5  # those of the server's pool, and its own


@dataclass
class Counted(MemoryService):
    """Counts how often the overview is read."""

    readings: int = 0

    def status_rows(self, store: StoreName | None = None) -> Sequence[StatusRow]:
        with self.lock:
            self.readings += 1
        return super().status_rows(store)


def a_row(in_sync: int) -> StatusRow:
    return StatusRow(store=US, shop=SHOP_US, profiles=9, mapped=9, in_sync=in_sync, pending=0, parity=in_sync / 9)


def tag_of(answer: httpx.Response) -> dict[str, str]:
    return READS | {"if-none-match": answer.headers["etag"]}


def test_a_page_that_is_current_is_not_sent_again() -> None:
    service, clock = Counted(rows=[a_row(8)]), Noon()
    with serving(service, options(clock=clock)) as http:
        first = http.get("/", headers=READS)
        again = http.get("/", headers=tag_of(first))
        assert (again.status_code, again.content) == (304, b"")
        assert http.get("/?store=eu", headers=tag_of(first)).status_code == 200
        service.rows = [a_row(9)]
        assert http.get("/", headers=tag_of(first)).status_code == 304, "for a moment"
        clock.moved(seconds=4)
        changed = http.get("/", headers=tag_of(first))
        assert (changed.status_code, "100 %" in changed.text) == (200, True)
        assert http.get("/", headers=tag_of(changed)).status_code == 304
        clock.moved(minutes=1)
        assert http.get("/", headers=tag_of(changed)).status_code == 200, "it says how long ago things were"
        service.rows = [a_row(7)]
        assert "77.78 %" in http.get("/", headers=READS).text, "who loads it reads it now"
        gone = http.get("/", headers={"if-none-match": first.headers["etag"]})
        assert (gone.status_code, "etag" in gone.headers) == (401, False)


def test_only_the_overview_may_run_our_script() -> None:
    with serving(MemoryService(), options()) as http:
        policies = {path: http.get(path, headers=READS).headers["content-security-policy"] for path in ("/", "/people")}
        assert "script-src 'self'; connect-src 'self'" in policies["/"]
        assert "script" not in policies["/people"]
        script = http.get("/static/console.js")
        assert script.headers["content-type"].startswith("text/javascript")


@pytest.mark.slow
def test_hundreds_who_look_cost_one_reading_and_no_threads() -> None:
    service, clock = Counted(rows=[a_row(8)]), Noon()
    with serving(service, options(clock=clock)) as http:
        headers = tag_of(http.get("/", headers=READS))

        def look(_number: int) -> int:
            return http.get("/", headers=headers).status_code

        before = threading.active_count()
        with ThreadPoolExecutor(32) as many:
            assert set(many.map(look, range(300))) == {304}
            clock.moved(seconds=4)
            assert set(many.map(look, range(300))) == {304}
            assert threading.active_count() <= before + 32 + THREADS_MAX
        assert service.readings <= 3
