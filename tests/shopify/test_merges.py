"""Merging: Shopify decides who is left, takes its time, and may fail on the way."""

from __future__ import annotations

import pytest

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.write import Delete, Merge, RequestErasure
from reconciler.errors import AnswerLost, Refused
from tests.shopify.conftest import Acme


@pytest.fixture
def pair(ready: Acme) -> tuple[CustomerId, CustomerId]:
    one = ready.made(email="one@example.com", first_name="Ada", tags=["a"])
    other = ready.made(email="other@example.com", phone="+16134505293", tags=["b"])
    ready.sim.calls.clear()
    return one, other


@pytest.mark.parametrize(("kept", "email"), [(0, "one@example.com"), (1, "other@example.com")])
def test_the_winner_is_named_by_shopify_and_has_the_email_that_was_to_be_kept(
    ready: Acme, pair: tuple[CustomerId, CustomerId], kept: int, email: str
) -> None:
    winner = ready.customers().send(Merge(*pair, keep_email_of=pair[kept])).customer
    assert winner is not None
    seen = ready.customer(winner)
    assert (seen["email"], seen["phone"], list(seen["tags"])) == (email, "+16134505293", ["a", "b"])
    assert {ready.customer(each) is None for each in pair} == {True, False}
    assert len(ready.slept) == 2
    assert sum(call.cost for call in ready.sim.calls if call.kind == "mutation") == 10


def test_a_preview_changes_nothing_and_names_winner_and_blockers(
    ready: Acme, pair: tuple[CustomerId, CustomerId]
) -> None:
    one, other = pair
    shop = ready.customers()
    mutations = ready.sim.mutations
    assert shop.merge_blockers(one, other) == ()
    ready.sim.shop.people.by_number[int(one.rpartition("/")[2])].seldom().blockers = frozenset({"GIFT_CARDS"})
    assert shop.merge_blockers(one, other) == ("gift cards",)
    with pytest.raises(Refused) as caught:
        shop.send(Merge(one, other, keep_email_of=one))
    assert caught.value.has("INVALID_CUSTOMER")
    assert "Ada" not in caught.value.message
    assert ready.sim.mutations == mutations + 1


def test_too_many_tags_together_are_named_before_merging(ready: Acme) -> None:
    one = ready.made(first_name="A", tags=[f"a{n}" for n in range(200)])
    other = ready.made(first_name="B", tags=[f"b{n}" for n in range(200)])
    (said,) = ready.customers().merge_blockers(one, other)
    assert "tags" in said


def test_a_merge_that_fails_on_the_way_is_refused_with_the_reason(
    ready: Acme, pair: tuple[CustomerId, CustomerId]
) -> None:
    ready.sim.shop.failing_merges = 1
    with pytest.raises(Refused) as caught:
        ready.customers().send(Merge(*pair, keep_email_of=pair[0]))
    assert caught.value.has("MERGE_FAILED")
    assert "merge in progress" in caught.value.message
    assert all(ready.customer(each) is not None for each in pair)


def test_the_end_of_a_merge_that_is_not_known_is_an_answer_lost(
    ready: Acme, pair: tuple[CustomerId, CustomerId]
) -> None:
    ready.sim.faults.add("status", on="customerMergeJobStatus", status=503, times=None)
    with pytest.raises(AnswerLost, match="did not end within 120 s"):
        ready.customers().send(Merge(*pair, keep_email_of=pair[0]))
    assert ready.slept == sorted(ready.slept)
    assert 120 <= sum(ready.slept) <= 125


def test_a_bad_moment_while_waiting_does_not_lose_the_merge(ready: Acme, pair: tuple[CustomerId, CustomerId]) -> None:
    ready.sim.faults.add("lost_after", on="customerMergeJobStatus")
    winner = ready.customers().send(Merge(*pair, keep_email_of=pair[1])).customer
    assert winner is not None
    assert ready.customer(winner)["email"] == "other@example.com"


def test_who_is_gone_can_not_be_merged(ready: Acme, pair: tuple[CustomerId, CustomerId]) -> None:
    shop = ready.customers()
    shop.send(Delete(pair[0]))
    with pytest.raises(Refused) as caught:
        shop.send(Merge(*pair, keep_email_of=pair[1]))
    assert caught.value.has("NOT_FOUND")


def test_an_erasure_is_requested(ready: Acme, pair: tuple[CustomerId, CustomerId]) -> None:
    shop = ready.customers()
    shop.send(RequestErasure(pair[0]))
    assert ready.sim.counts["customerRequestDataErasure"] == 1
    shop.send(Delete(pair[1]))
    with pytest.raises(Refused) as caught:
        shop.send(RequestErasure(pair[1]))
    assert caught.value.has("NOT_FOUND")
