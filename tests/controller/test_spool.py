"""Series that lie in a file: what comes out of them is what would come out of memory."""

from __future__ import annotations

import hashlib
import json
import resource
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller.scan.spool import Spool
from reconciler.core.model.action import (
    KINDS,
    Action,
    Change,
    Hold,
    action_order,
    hold_order,
    sorted_actions,
    sorted_holds,
)
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.json import json_of
from reconciler.core.plan.gather import ScanResult, with_withheld
from reconciler.core.plan.plan import StorePlan, digest_of_stores, summary_of
from reconciler.core.plan.series import canonical, chain_of, kept, merge_of
from reconciler.errors import PermanentError

SMALL = 300  # bytes: every few values are written out

text = st.text(st.characters(codec="utf-8"), max_size=12)
users = st.integers(0, 99).map(lambda n: ClerkUserId(f'user "{n:02}"\né\u2028'))
changes = st.builds(
    Change,
    field=st.sampled_from(["email", "tags", "metafields.clerk.a"]),
    before=st.none() | text | st.lists(text, max_size=3),
    after=st.none() | text | st.lists(text, max_size=3),
    why=st.sampled_from(["profile changed", "drift"]),
)
actions = st.lists(
    st.builds(
        Action,
        kind=st.sampled_from(KINDS),
        clerk_user_id=users,
        customer_id=st.none() | st.just("gid://shopify/Customer/7"),
        changes=st.lists(changes, max_size=3).map(tuple),
        cost_points=st.integers(0, 50),
    ),
    max_size=40,
    unique_by=action_order,
)
holds = st.lists(
    st.builds(
        Hold,
        clerk_user_id=users,
        customer_id=st.none(),
        reason=st.sampled_from(["NoEmail", "GuardExceeded"]),
        message=text,
        who_acts=st.just("operator"),
    ),
    max_size=40,
    unique_by=hold_order,
)


def spooled(values: Any, model: Any, key: Any) -> Any:
    series = Spool(model, key, in_memory_bytes=SMALL, block_bytes=64)
    for value in values:
        series.add(value)
    assert len(series) == len(values)
    return series.whole()


def plan_of(some: Any, others: Any) -> StorePlan:
    summary = summary_of(some, others, 3)
    return StorePlan(
        store=StoreName("acme"), shop=ShopDomain("acme.myshopify.com"), summary=summary, actions=some, holds=others
    )


@given(actions, holds)
def test_a_series_gives_its_values_sorted_and_the_same_each_time(some: list[Action], others: list[Hold]) -> None:
    in_file, held = spooled(some, Action, action_order), spooled(others, Hold, hold_order)
    for _ in range(2):
        assert tuple(in_file) == sorted_actions(some)
        assert tuple(held) == sorted_holds(others)
    assert all(one in in_file for one in some[:2])
    abreast = list(zip_longest(in_file, in_file))  # two readers at the same time
    assert all(one == other for one, other in abreast)
    if isinstance(in_file, Spool):
        assert list(in_file.lines()) == [canonical(action) for action in sorted_actions(some)]


@given(actions, holds)
def test_a_plan_has_the_same_digest_wherever_it_lies_as_if_it_were_dumped_whole(
    some: list[Action], others: list[Hold]
) -> None:
    memory = plan_of(sorted_actions(some), sorted_holds(others))
    file = plan_of(spooled(some, Action, action_order), spooled(others, Hold, hold_order))
    body = [json_of(memory, exclude={"forecast", "error_hint", "accepted"})] * 2
    whole = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest_of_stores([memory, memory]) == "sha256:" + hashlib.sha256(whole.encode()).hexdigest()
    assert digest_of_stores([file, memory]) == digest_of_stores([memory, memory])
    assert json_of(file) == json_of(memory)
    assert file.summary == memory.summary


@given(actions, holds)
def test_what_was_withheld_is_let_go_alike_wherever_it_lies(some: list[Action], others: list[Hold]) -> None:
    go, withheld = [a for a in some if a.kind != "create"], [a for a in some if a.kind == "create"]
    memory = ScanResult(plan_of(sorted_actions(go), sorted_holds(others)), sorted_actions(withheld))
    new_series = [spooled(each, Action, action_order) for each in (go, withheld)]
    file = ScanResult(plan_of(new_series[0], spooled(others, Hold, hold_order)), new_series[1])
    one, other = with_withheld(memory).plan, with_withheld(file).plan
    assert json_of(one) == json_of(other)
    assert digest_of_stores([one]) == digest_of_stores([other])


@given(actions)
def test_several_series_can_be_read_one_after_the_other_merged_and_in_part(some: list[Action]) -> None:
    ordered = sorted_actions(some)
    parts = [spooled([a for a in some if a.kind == kind], Action, action_order) for kind in KINDS]
    both = [spooled(some[::2], Action, action_order), spooled(some[1::2], Action, action_order)]
    for series in (chain_of(parts), merge_of(both, action_order)):
        assert (len(series), tuple(series)) == (len(ordered), ordered)
        dear = kept(series, lambda a: a.cost_points > 10)
        assert tuple(dear) == tuple(a for a in ordered if a.cost_points > 10)
        assert len(dear) == len(tuple(dear))
        assert all(a in series for a in some[:1])


def test_few_values_are_a_tuple_and_many_are_a_file() -> None:
    one = Hold(clerk_user_id=ClerkUserId("a"), customer_id=None, reason="NoEmail", message="", who_acts="profile")
    assert spooled([one], Hold, hold_order) == (one,)
    assert isinstance(spooled([one] * 9, Hold, None), Spool)


def test_a_disk_that_takes_no_more_is_reported_with_a_way_out() -> None:
    one = Hold(
        clerk_user_id=ClerkUserId("a"), customer_id=None, reason="NoEmail", message="x" * 999, who_acts="profile"
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
    try:
        with pytest.raises(PermanentError, match="a temporary file can't be written: File too large") as told:
            Spool(Hold, in_memory_bytes=SMALL).add(one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "TMPDIR" in told.value.hint
