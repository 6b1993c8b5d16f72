"""A shop's mirror: filled by a bulk query that may be stopped, fail or vanish; kept by what was touched; never believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.mirror.refresh import Progress, catch_up, fill, seen_of, shape_of
from reconciler.errors import PermanentError, TemporaryError
from reconciler.ports import MirrorMark
from tests.controller.bulk_rig import NAME, user_of
from tests.controller.mirror_rig import MirrorRig, customer

SHOP_PEOPLE = 40


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MirrorRig]:
    with MirrorRig(tmp_path) as made:
        made.settle(SHOP_PEOPLE)
        yield made


def mirrored(rig: MirrorRig) -> int:
    return rig.state.mirror_size(rig.stores[NAME].shop)


def mark(rig: MirrorRig) -> MirrorMark:
    return rig.state.mirror_mark(rig.stores[NAME].shop)


def told(rig: MirrorRig) -> list[Any]:
    """The users with a customer that has moved, as the mirror has learned."""
    since = rig.clock.now() - timedelta(days=400)
    return [user for users in rig.state.moves_since(rig.stores[NAME].shop, since) for user in users]


def test_a_bulk_line_and_a_point_read_of_one_customer_are_the_same_to_the_mirror(rig: MirrorRig) -> None:
    context = rig.mirror()
    operation = context.bulk.start()
    while (state := context.bulk.state(operation)) is not None and state.status == "running":
        pass
    lines = {s.customer_id: s for part in context.bulk.lines(operation) for s in context.lists.seen_in(part)}
    read = {i: seen_of(c) for i, c in context.customers.by_ids(list(lines)).items()}
    assert lines == read
    assert len(lines) == SHOP_PEOPLE


def test_it_shows_how_far_it_is(rig: MirrorRig) -> None:
    steps: list[Progress] = []
    found = fill(rig.mirror(steps.append))
    assert (found.whole, found.lines, found.moved, found.gone) == (True, SHOP_PEOPLE, SHOP_PEOPLE, 0)
    assert steps[-1] == Progress("storing", SHOP_PEOPLE, SHOP_PEOPLE)
    assert {step.total for step in steps if step.doing == "running"} <= {SHOP_PEOPLE}
    assert mirrored(rig) == SHOP_PEOPLE


def test_a_second_one_writes_nothing_again_and_a_customer_it_does_not_show_is_gone(rig: MirrorRig) -> None:
    fill(rig.mirror())
    rig.acme.shop.staff_delete(customer(rig, 3))
    found = fill(rig.mirror())
    assert (found.moved, found.gone, mirrored(rig)) == (0, 1, SHOP_PEOPLE - 1)


def test_one_that_was_stopped_continues_with_the_same_query(rig: MirrorRig) -> None:
    stops = 0
    seen = set()
    while True:
        rig.stop_after = 1
        found = fill(replace(rig.mirror(), batch=15))
        seen.add(mark(rig).operation)
        if found.whole:
            break
        stops += 1
    assert stops > 1
    assert len(seen - {None}) == 1
    assert mirrored(rig) == SHOP_PEOPLE


def test_one_that_fails_keeps_what_it_found_and_no_one_is_gone_by_it(rig: MirrorRig) -> None:
    fill(rig.mirror())
    rig.acme.shop.staff_edit(customer(rig, 0), last_name="Edited")
    rig.acme.shop.staff_bulk_fault(status="FAILED", error_code="INTERNAL_SERVER_ERROR", after_rows=10)
    before = mark(rig).complete_at
    with pytest.raises(TemporaryError, match="INTERNAL_SERVER_ERROR"):
        fill(rig.mirror())
    assert (mirrored(rig), mark(rig).complete_at, mark(rig).operation) == (SHOP_PEOPLE, before, None)
    assert fill(rig.mirror()).whole


def test_one_that_was_cancelled_in_shopify_is_begun_again(rig: MirrorRig) -> None:
    rig.acme.shop.staff_bulk_fault(status="CANCELED", error_code=None, after_rows=5)
    with pytest.raises(TemporaryError, match="canceled"):
        fill(rig.mirror())
    assert fill(rig.mirror()).lines == SHOP_PEOPLE


@pytest.mark.slow
def test_one_that_runs_for_more_than_a_day_is_cancelled(rig: MirrorRig) -> None:
    rig.acme.shop.bulk_rows_per_s = 0.0001
    with pytest.raises(TemporaryError, match="more than a day"):
        fill(rig.mirror())
    assert mark(rig).operation is None


def test_a_result_that_is_no_more_is_asked_for_again(rig: MirrorRig) -> None:
    rig.stop_after = 0
    assert not fill(rig.mirror()).whole
    rig.stop_after = None
    first = mark(rig).operation
    rig.clock.sleep(9 * 86_400)
    found = fill(rig.mirror())
    assert found.whole
    assert first is not None
    assert mirrored(rig) == SHOP_PEOPLE


@pytest.mark.parametrize("rows_per_s", [0.001, None])
def test_one_that_was_begun_for_other_metafields_is_begun_again(rig: MirrorRig, rows_per_s: float | None) -> None:
    """Its lines name metafields by their number."""
    rig.acme.shop.bulk_rows_per_s = rows_per_s  # it runs still, or has ended and is not read
    rig.stop_after = 0
    assert not fill(rig.mirror()).whole
    rig.stop_after = None
    before = mark(rig)
    rig.acme.shop.bulk_rows_per_s = None
    tier = {"from": "metadata.tier", "type": "single_line_text_field"}
    rig.rotate(NAME, metafields={"crm.tier": tier, **rig.stores[NAME].model_dump(by_alias=True)["metafields"]})
    assert before.begun_shape != shape_of(rig.stores[NAME])
    assert fill(rig.mirror()).whole
    assert mark(rig).shape == shape_of(rig.stores[NAME])
    assert rig.acme.counts["bulkOperationRunQuery"] == 2
    assert rig.acme.counts.get("bulkOperationCancel", 0) == (rows_per_s is not None)
    ids = [customer(rig, n) for n in range(SHOP_PEOPLE)]
    live = {i: seen_of(c) for i, c in rig.mirror().customers.by_ids(ids).items()}
    known = rig.state.known(rig.stores[NAME].shop, ids)
    assert {i: seen.fp for i, seen in live.items()} == {i: row.fp for i, row in known.items()}


def test_a_customer_touched_since_is_read_and_one_that_is_gone_then_is_gone(rig: MirrorRig) -> None:
    fill(rig.mirror())
    settle(rig)
    rig.clock.sleep(3600)
    rig.acme.shop.staff_edit(customer(rig, 5), first_name="Edited")
    rig.clock.sleep(3600)
    assert catch_up(rig.mirror()) == 1
    assert told(rig) == [user_of(5)]
    rig.acme.shop.staff_edit(customer(rig, 6), first_name="Edited")
    rig.clock.sleep(5)
    assert catch_up(rig.mirror()) == 1
    assert catch_up(rig.mirror()) == 0


def test_a_webhook_makes_the_mirror_doubt_until_it_has_read_the_customer(rig: MirrorRig) -> None:
    fill(rig.mirror())
    settle(rig)
    assert told(rig) == []
    rig.clock.sleep(10)
    shop = rig.stores[NAME].shop
    rig.state.touch(shop, [customer(rig, 1)], now=rig.clock.now(), gone=False)
    rig.state.touch(shop, [customer(rig, 2)], now=rig.clock.now(), gone=True)
    assert told(rig) == [user_of(1), user_of(2)]
    rig.clock.sleep(10)
    fill(rig.mirror())
    assert told(rig) == []


def test_what_is_older_brings_no_one_back_and_changes_nothing(rig: MirrorRig) -> None:
    fill(rig.mirror())
    settle(rig)
    shop, as_of = rig.stores[NAME].shop, rig.clock.now()
    old = [seen_of(c) for c in rig.mirror().customers.by_ids([customer(rig, 1), customer(rig, 2)]).values()]
    rig.clock.sleep(60)
    rig.acme.shop.staff_edit(customer(rig, 2), last_name="Edited")
    rig.clock.sleep(60)
    catch_up(rig.mirror())
    rig.state.touch(shop, [customer(rig, 1)], now=rig.clock.now(), gone=True)
    rig.state.put_seen(shop, old, as_of=as_of, now=rig.clock.now(), source="bulk")
    assert told(rig) == [user_of(1), user_of(2)]


def test_too_many_touched_ones_ask_for_a_bulk_query(rig: MirrorRig) -> None:
    fill(rig.mirror())
    for number in range(260):
        rig.acme.shop.staff_create(email=f"guest{number}@x.example.com")
    rig.clock.sleep(3600)
    with pytest.raises(PermanentError, match="were updated since"):
        catch_up(rig.mirror(listed_max=250))


def settle(rig: MirrorRig) -> None:
    """Everybody observed, and remembered as equal."""
    scan_result = rig.scan(fast=False)
    assert scan_result.plan.summary.actions == 0
    rig.state.put_many(list(scan_result.rows))
