"""Bulk mutations over real HTTP: the form, the file, the mark, and what each line's answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.write import AddTags, Create, DeleteMetafields, RemoveTags, SetMetafields, Update, Write
from reconciler.errors import (
    AccessError,
    AnswerLost,
    PermanentError,
    Refused,
    SetupError,
    TemporaryError,
)
from reconciler.ports import BulkAnswer, BulkWriter
from reconciler.shopify.api.document import document
from reconciler.shopify.api.failures import Sent
from reconciler.shopify.bulk.writer import ShopBulkWriter, _answer
from reconciler.simulator.bulk.files import Depot
from tests.shopify.conftest import DOMAIN, STORE, Acme


@pytest.fixture
def shop(ready: Acme) -> Acme:
    ready.sim.shop.depot = Depot()  # the world outlives the shop, and so would its files
    return ready


def writer(acme: Acme, **options: Any) -> ShopBulkWriter:
    return ShopBulkWriter(acme.client(), STORE, **options)


def test_it_is_what_the_controller_needs(shop: Acme) -> None:
    port: BulkWriter = writer(shop)
    assert port.operation_state("gid://shopify/BulkOperation/4711") is None


def create(number: int, **fields: Any) -> Write:
    return Create(ClerkUserId(f"user_{number}"), {"email": f"person{number}@x.example.com", **fields})


def run(bulk: ShopBulkWriter, rides_in: str, *lines: Write, mark: str = "m1") -> dict[int, BulkAnswer]:
    upload = bulk.upload(rides_in, lines)
    assert upload.lines == len(lines)
    return answers(bulk, bulk.run(rides_in, upload.path, mark), rides_in)


def answers(bulk: ShopBulkWriter, operation: str, rides_in: str) -> dict[int, BulkAnswer]:
    while (state := bulk.state(operation)) is not None and state.status == "running":
        pass
    return {answer.line: answer for batch in bulk.answers(operation, rides_in) for answer in batch}


def sent(acme: Acme) -> list[dict[str, Any]]:
    """The lines of the last uploaded file."""
    path = list(acme.sim.shop.staged.values())[-1].path
    assert path is not None
    return [json.loads(text) for text in path.read_text().splitlines()]


# --- what goes out -----------------------------------------------------------------------------------------------------


def test_creates_and_updates_share_an_operation_and_answers_name_the_customer(shop: Acme) -> None:
    there = shop.made(email="old@x.example.com", first_name="Old")
    bulk = writer(shop)
    found = run(
        bulk,
        "customers",
        create(1, first_name="Åsa", tags=["a", "b"], phone=None),
        Update(there, {"first_name": "New", "last_name": None}),
    )
    assert {line: answer.error for line, answer in found.items()} == {0: None, 1: None}
    assert found[1].customer == there
    made = shop.customers().by_ids([CustomerId(str(found[0].customer)), there])
    one = made[CustomerId(str(found[0].customer))]
    assert (one.email, one.first_name, one.backlink, one.tags) == (
        "person1@x.example.com", "Åsa", "user_1", ("a", "b")
    )  # fmt: skip
    assert made[there].first_name == "New"
    assert "phone" not in sent(shop)[0]["input"]


def test_tags_and_metafields_are_sent_by_id(shop: Acme) -> None:
    one, two = shop.made(email="one@x.example.com", tags=["old"]), shop.made(email="two@x.example.com")
    bulk = writer(shop)
    assert run(bulk, "add_tags", AddTags(one, ("new",)))[0].error is None
    assert run(bulk, "remove_tags", RemoveTags(one, ("old",)))[0].error is None
    values = {"clerk.avatar_url": ("https://img.example.com/a.png", "url")}
    both = SetMetafields({one: values, two: values})
    shown = {"metafields.clerk.avatar_url": "https://img.example.com/a.png"}
    assert run(bulk, "set_metafields", both) == {0: BulkAnswer(0, shown={one: shown, two: shown})}
    assert run(bulk, "delete_metafields", DeleteMetafields(two, ("clerk.avatar_url",)))[0].error is None
    found = shop.customers().by_ids([one, two])
    assert found[one].tags == ("new",)
    assert set(found[one].metafields) == {"clerk.avatar_url"}
    assert not found[two].metafields


def test_sending_the_same_file_twice_changes_nothing_more(shop: Acme) -> None:
    bulk = writer(shop)
    upload = bulk.upload("customers", [create(n) for n in range(5)])
    first = answers(bulk, bulk.run("customers", upload.path, "first"), "customers")
    again = answers(bulk, bulk.run("customers", upload.path, "again"), "customers")
    assert first == again
    assert len(list(shop.sim.shop.people)) == 5


def test_a_file_takes_as_many_lines_as_fit(shop: Acme) -> None:
    lines = [create(n) for n in range(100)]
    size = len(json.dumps({"identifier": {"customId": {"namespace": "clerk", "key": "user_id", "value": "user_10"}}}))
    bulk = writer(shop, file_bytes_max=size * 20)
    upload = bulk.upload("customers", lines)
    assert 5 < upload.lines < 20
    assert len(sent(shop)) == upload.lines
    assert len("".join(json.dumps(each) + "\n" for each in sent(shop))) <= size * 20


def test_lines_are_only_taken_as_they_are_needed(shop: Acme) -> None:
    taken = []

    def endless() -> Iterator[Write]:
        for n in range(1_000_000):
            taken.append(n)
            yield create(n)

    assert writer(shop, file_bytes_max=10_000).upload("customers", endless()).lines == len(taken) - 1 < 100


def test_a_line_that_fits_into_no_file_is_no_endless_story(shop: Acme) -> None:
    with pytest.raises(PermanentError, match="no line fits"):
        writer(shop, file_bytes_max=10).upload("customers", [create(1)])


def test_the_same_lines_have_the_same_digest(shop: Acme) -> None:
    bulk = writer(shop)
    one, same, other = (bulk.upload("customers", [create(n)]) for n in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    assert one.path != same.path


# --- starting and finding ------------------------------------------------------------------------------------------------


def test_an_operation_is_found_by_its_mark_and_by_no_other(shop: Acme) -> None:
    bulk = writer(shop)
    path = bulk.upload("customers", [create(1)]).path
    operation = bulk.run("customers", path, "abc1")
    bulk.run("customers", path, "abc12")
    assert bulk.find("abc1") == operation
    assert bulk.find("abc") is None


@pytest.mark.parametrize("kind", ["lost_after", "internal_error_after", "status_after"])
def test_a_start_that_was_not_answered_is_found(shop: Acme, kind: Any) -> None:
    bulk = writer(shop)
    path = bulk.upload("customers", [create(1)]).path
    shop.sim.faults.add(kind, on="bulkOperationRunMutation")
    with pytest.raises(AnswerLost):
        bulk.run("customers", path, "lost")
    operation = bulk.find("lost")
    assert operation is not None
    assert answers(bulk, operation, "customers")[0].error is None


def test_the_sixth_at_once_waits_for_its_turn(shop: Acme) -> None:
    shop.sim.shop.bulk_rows_per_s = 0.001
    bulk = writer(shop)
    path = bulk.upload("customers", [create(1)]).path
    running = [bulk.run("customers", path, f"m{n}") for n in range(5)]
    with pytest.raises(TemporaryError, match="already in progress") as caught:
        bulk.run("customers", path, "m5")
    assert caught.value.retry_after_s
    bulk.cancel(running[0])
    while (state := bulk.state(running[0])) is not None and state.status == "running":
        pass
    assert bulk.run("customers", path, "m5")


def test_a_file_that_is_not_there_is_refused(shop: Acme) -> None:
    with pytest.raises(Refused) as caught:
        writer(shop).run("customers", "tmp/nowhere", "m1")
    assert caught.value.has("NO_SUCH_FILE")


@pytest.mark.parametrize("kind", ["status", "lost_before", "lost_after"])
def test_an_upload_that_fails_is_a_matter_of_time(shop: Acme, kind: Any) -> None:
    shop.sim.faults.add(kind, on="stagedUpload", status=503)
    with pytest.raises(TemporaryError, match="could not be uploaded") as caught:
        writer(shop).upload("customers", [create(1)])
    assert "127.0.0.1" in caught.value.hint


def test_without_the_scope_every_line_says_so(shop: Acme) -> None:
    bulk = writer(shop)
    shop.sim.shop.scopes = {"read_customers"}
    found = run(bulk, "customers", create(1))
    assert isinstance(found[0].error, AccessError)


# --- what answers mean -----------------------------------------------------------------------------------------------------


def test_a_refused_line_is_what_a_refused_call_is(shop: Acme) -> None:
    shop.made(email="taken@x.example.com")
    bad: list[dict[str, Any]] = [
        {"email": "taken@x.example.com"},
        {"email": "no address"},
        {"email": "a@x.example.com", "first_name": "http://spam.example.com"},
        {"email": "b@x.example.com", "phone": "12"},
        {"email": "c@x.example.com", "note": "x" * 6000, "locale": "nowhere"},
    ]
    single = shop.customers()
    wanted = []
    for n, fields in enumerate(bad):
        with pytest.raises(Refused) as caught:
            single.send(Create(ClerkUserId(f"user_{n}"), fields))
        wanted.append(caught.value.refusals)
    found = run(writer(shop), "customers", *(Create(ClerkUserId(f"user_{n}"), f) for n, f in enumerate(bad)))
    errors = [found[n].error for n in range(len(bad))]
    assert [e.refusals if isinstance(e, Refused) else e for e in errors] == wanted


def test_a_shop_without_the_definition_says_so(acme: Acme) -> None:
    found = run(writer(acme), "customers", create(1))
    assert isinstance(found[0].error, SetupError)


SENT = Sent(DOMAIN, document("customer_set"))


@pytest.mark.parametrize(
    "text",
    [
        b'{"data":{"customerSet":null},"__lineNumber":3}',
        b'{"data":null,"__lineNumber":3}',
        b'{"__lineNumber":3}',
        b'{"data":{},"__lineNumber":3}',
        b'{"data":{"customerSet":{"customer":null,"userErrors":[]}},"__lineNumber":3}',
        b'{"errors":[{"message":"Internal error","extensions":{"code":"INTERNAL_SERVER_ERROR"}}],"__lineNumber":3}',
        b'{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"__lineNumber":3}',
        b'{"data":{"metafieldsSet":{"userErrors":[{"field":[],"message":"?","code":"INTERNAL_ERROR"}]}},"__lineNumber":3}',
    ],
)
def test_a_line_that_tells_nothing_counts_as_lost(text: bytes) -> None:
    answer = _answer(SENT, text)
    assert answer is not None
    assert answer.line == 3
    assert isinstance(answer.error, AnswerLost)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"data":{}}', b'{"__lineNumber":"3"}', b"\xff"])
def test_a_line_that_is_none_counts_as_missing(text: bytes) -> None:
    assert _answer(SENT, text) is None
