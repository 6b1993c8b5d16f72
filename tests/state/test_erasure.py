"""By law: a redacted user leaves no trace in any table, and nothing that was under way brings one back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from reconciler.core.decide.profile_rows.merge import clerk_values
from reconciler.core.decide.profile_rows.write import ClerkChange
from reconciler.core.model.action import Change
from reconciler.core.model.ids import CustomerId, StoreName
from reconciler.core.model.mapping import Applied, Intent, RefusedValue
from reconciler.core.model.profile import Profile
from reconciler.core.model.request import Request
from reconciler.ports import BulkFile, BulkLine, Seen, StoreFacts
from reconciler.state.all_tables import metadata
from reconciler.state.database.engine import open_engine
from reconciler.state.erasure import Erased, Erasure
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.state.requests.queue import RequestTable
from reconciler.state.schema import ensure_schema
from tests.contracts.test_state import AT, OTHER, SHOP, customer, event, mapping, one, user
from tests.state_store import StateStore

EMAIL, PHONE, NAME = "ada.lovelace@example.com", "+441815550123", "Augusta-Ada"
TRACES = (EMAIL, PHONE, NAME)
LATER = AT + timedelta(hours=1)
VALUES = {"email": EMAIL, "phone": PHONE, "first_name": NAME}
CHANGES = tuple(Change(field=f, before=None, after=v, why="profile changed") for f, v in VALUES.items())


@pytest.fixture
def state(engine: Engine) -> StateStore:
    return StateStore(engine, secret_key="correct horse")


def redact(engine: Engine, customers: list[CustomerId], email: str | None, *, since: datetime = LATER) -> list[Erased]:
    return Erasure(engine).redact(SHOP, customers, email, since=since, now=LATER)


def traces(engine: Engine) -> dict[str, list[str]]:
    """The tables that hold anything of the user, and what: every column of every row, as text."""
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for name, table in sorted(metadata.tables.items()):
            words = repr([tuple(row) for row in connection.execute(select(table))])
            if seen := [trace for trace in TRACES if trace in words]:
                found[name.rpartition(".")[2]] = seen
    return found


def theirs(number: int | None = 1, **more: Any) -> Any:
    """The user's row with something of theirs in each column that can hold it."""
    values = {
        "email": EMAIL,
        "applied": {field: Applied(value=value, ours=True) for field, value in VALUES.items()},
        "refused": {"phone": RefusedValue(digest="d", message=f"{PHONE} is taken")},
        "intent": Intent(kind="park", parked={"email": EMAIL}),
        "waits_for_email": EMAIL,
        "waits_for_phone": PHONE,
        "waits_at_email": customer(1),
        "waits_at_phone": customer(1),
        "message": f"{NAME} waits",
        "profile_name": f"{NAME} King",
        "profile_email": EMAIL,
        "profile_phone": PHONE,
        **more,
    }
    return mapping("ada", number, **values)


def seen(number: int, name: str = "ada", *, email: str = EMAIL) -> Seen:
    return Seen(customer(number), email, user(name), 7, json.dumps(VALUES), AT)


def line(name: str) -> BulkLine:
    return BulkLine(user(name), "customers", json.dumps(VALUES), "sha256:plan", customer=customer(1))


def everywhere(state: StateStore, engine: Engine) -> None:
    """The user's data in every table that could hold any."""
    state.put(theirs(), event("ada", customer_id=customer(1), changes=CHANGES, message=NAME))
    state.put(mapping("bob", 2), event("bob", customer_id=customer(1), kind="relink", changes=CHANGES))
    state.put_seen(SHOP, [seen(1), seen(9)], as_of=AT, now=AT, source="bulk")
    state.enqueue_lines(SHOP, [line("ada"), line("bob")])
    state.begin_file(BulkFile("key", SHOP, "customers", "tmp/key", "digest", 2, AT), {user("ada"): 0, user("bob"): 1})
    state.begin(SHOP, "full", now=AT)
    state.note(SHOP, "full", cursor=user("ada"), looked_at=1, wanted=1, findings={user("ada"): "update"})
    state.put_facts(StoreFacts(StoreName("acme"), SHOP))
    state.store_tokens(SHOP, "token", AT)
    state.mark_applied("sha256:plan", AT)
    state.spend(SHOP, "update", AT, 1, 5)
    state.acquire("look:acme", "owner", ttl_s=60, now=AT)
    RequestTable(engine).add([Request(StoreName("acme"), user("ada"))], AT, reason="profile changed")
    tell(ProfileWriteTable(engine), "ada")


def tell(book: ProfileWriteTable, name: str, *, at: datetime = AT) -> None:
    """What Clerk says of a user: written once, told again, and refused by the table."""
    profile = Profile(clerk_user_id=user(name), **VALUES)
    for _ in range(2):
        book.accept([ClerkChange(user(name), at=at, profile=profile)], now=AT)
        (claim,) = book.claim(now=AT, limit=1, users=[user(name)])
        book.refuse(claim, f"{NAME} is refused", missing=False, last=clerk_values(profile), now=AT, due_at=AT)


def test_a_redacted_user_is_in_no_table_any_more(state: StateStore, engine: Engine) -> None:
    everywhere(state, engine)
    assert set(traces(engine)) == {
        "reconciler_mapping", "reconciler_event", "reconciler_mirror", "reconciler_bulk_line",
        "reconciler_profile_write",
    }  # fmt: skip
    assert redact(engine, [customer(1)], EMAIL) == [Erased(user("ada"))]
    assert traces(engine) == {}
    stone = one(state, "ada")
    assert (stone.status, stone.reason, stone.customer_id, stone.left_at) == ("erased", "Erased", None, LATER)
    assert (one(state, "bob").status, one(state, "bob").customer_id) == ("in_sync", customer(2))
    assert redact(engine, [customer(1)], EMAIL) == []  # sent again: there is no one left


def test_what_clerk_said_of_a_redacted_user_is_not_stored_by_a_write_that_was_under_way(
    state: StateStore, engine: Engine
) -> None:
    book = ProfileWriteTable(engine)
    state.put(theirs())
    profile = Profile(clerk_user_id=user("ada"), **VALUES)
    book.accept([ClerkChange(user("ada"), at=AT, profile=profile)], now=AT)
    (claim,) = book.claim(now=AT, limit=1)
    redact(engine, [customer(1)], EMAIL)
    book.settle([(claim, clerk_values(profile))], now=LATER)
    assert not book.refuse(claim, NAME, missing=True, last=clerk_values(profile), now=LATER, due_at=LATER)
    assert traces(engine) == {}
    (again,) = book.claim(now=LATER, limit=1)  # it is still due, without what it was to write
    assert again.profile is None


def test_what_clerk_said_of_a_user_without_a_mapping_goes_by_the_address(engine: Engine) -> None:
    tell(ProfileWriteTable(engine), "eve")
    assert traces(engine) == {"reconciler_profile_write": list(TRACES)}
    redact(engine, [customer(1)], EMAIL)
    assert traces(engine) == {}


def test_a_redaction_is_of_one_shop(state: StateStore, engine: Engine) -> None:
    everywhere(state, engine)
    state.put(theirs(5, shop=OTHER))
    redact(engine, [customer(1)], EMAIL)
    assert one(state, "ada", OTHER).email == EMAIL
    assert traces(engine) == {"reconciler_mapping": list(TRACES)}  # what Clerk says is of no shop, and gone


def test_a_customer_of_nobodys_leaves_the_mirror_too(state: StateStore, engine: Engine) -> None:
    state.put_seen(SHOP, [seen(1)], as_of=AT, now=AT, source="bulk")
    assert redact(engine, [customer(1)], None) == []
    assert traces(engine) == {}


def test_an_older_bulk_result_brings_nothing_back_and_a_newer_one_is_believed(
    state: StateStore, engine: Engine
) -> None:
    redact(engine, [customer(1)], EMAIL)
    state.put_seen(SHOP, [seen(1)], as_of=AT, now=LATER + timedelta(minutes=5), source="bulk")
    assert traces(engine) == {}
    blank = Seen(customer(1), None, None, 8, "{}", None)
    state.put_seen(SHOP, [blank], as_of=LATER + timedelta(minutes=6), now=LATER + timedelta(minutes=7), source="bulk")
    assert state.mirror_size(SHOP) == 1


def test_what_was_under_way_at_an_erasure_writes_nothing_of_the_user(state: StateStore, engine: Engine) -> None:
    everywhere(state, engine)
    before = one(state, "ada")
    redact(engine, [customer(1)], EMAIL)
    told = event("ada", changes=CHANGES)
    state.put(before, told)
    state.put_many([before])
    state.put(replace(before, status="erased"), told)
    state.put_unchanged([(before, before)])
    state.enqueue_lines(SHOP, [line("ada")])
    state.settle_lines(SHOP, [before, mapping("bob", 2)], [told, event("bob")], more=[line("ada")])
    assert traces(engine) == {}
    assert one(state, "ada").status == "erased"
    assert [e.clerk_user_id for e in state.events()] == [user("bob")]


def test_a_user_healed_before_the_redaction_came_is_erased_and_said_to_be_in_the_shop(
    state: StateStore, engine: Engine
) -> None:
    """Their customer went, they were healed, and only then the shop told why: no email is needed to know them."""
    state.put(theirs(1), event("ada", customer_id=customer(1), kind="create", changes=CHANGES))
    state.put(theirs(8), event("ada", customer_id=customer(8), kind="create", changes=CHANGES))
    state.put_seen(SHOP, [seen(1), seen(8)], as_of=AT, now=AT, source="bulk")
    assert redact(engine, [customer(1)], None) == [Erased(user("ada"), customer(8))]
    assert traces(engine) == {}
    stone = one(state, "ada")
    assert (stone.status, stone.customer_id) == ("erased", customer(8))  # it can be found, and its redaction too
    assert redact(engine, [customer(8)], None) == [Erased(user("ada"))]
    assert one(state, "ada").customer_id is None


def test_a_healed_user_is_known_by_the_mirror_and_by_the_address_where_no_event_is_left(
    state: StateStore, engine: Engine
) -> None:
    state.put(theirs(8), event("ada", customer_id=customer(8), kind="create"))
    state.put(mapping("bob", 9, email="Bob@example.com"))
    state.put_seen(SHOP, [seen(1)], as_of=AT, now=AT, source="bulk")
    assert redact(engine, [customer(1)], None) == [Erased(user("ada"), customer(8))]
    assert redact(engine, [customer(2)], " bob@EXAMPLE.com") == [Erased(user("bob"), customer(9))]


def test_a_customer_that_we_filled_again_before_the_redaction_came_is_said_to_be_in_the_shop(
    state: StateStore, engine: Engine
) -> None:
    state.put(theirs(1), event("ada", customer_id=customer(1), changes=CHANGES))
    assert redact(engine, [customer(1)], EMAIL, since=AT - timedelta(seconds=9)) == [Erased(user("ada"), customer(1))]
    assert traces(engine) == {}
    assert one(state, "ada").customer_id == customer(1)
    assert redact(engine, [customer(1)], EMAIL) == [Erased(user("ada"))]


def test_a_user_who_only_left_a_customer_behind_keeps_their_own(state: StateStore, engine: Engine) -> None:
    """The user was moved to another by their new address: what is redacted now is not theirs."""
    state.put(mapping("ada", 1, email="old@example.com"), event("ada", customer_id=customer(1), kind="create"))
    state.put(mapping("ada", 8, email=EMAIL), event("ada", customer_id=customer(8), kind="relink"))
    assert redact(engine, [customer(1)], "old@example.com") == []
    assert (one(state, "ada").status, one(state, "ada").customer_id) == ("in_sync", customer(8))
    assert [e.customer_id for e in state.events()] == [customer(8)]


def test_an_erasure_that_was_asked_for_keeps_a_tombstone_and_what_was_done(state: StateStore, engine: Engine) -> None:
    """`on_leave: erase`: with the request, ours goes; the customer's name stays until Shopify has done its part."""
    everywhere(state, engine)
    gone = Change(field="customer", before=customer(1), after=None, why="profile changed")
    asked = event("ada", customer_id=customer(1), kind="release", changes=(gone,))
    state.put(theirs(1, status="erased", message=None), asked)
    assert traces(engine) == {"reconciler_event": list(TRACES), "reconciler_mirror": list(TRACES)} | {
        "reconciler_bulk_line": list(TRACES),
        "reconciler_profile_write": list(TRACES),
    }  # of bob's, and of the one that only the redaction tells of
    assert [e.kind for e in state.events(user=user("ada"))] == ["release"]
    assert one(state, "ada").customer_id == customer(1)
    state.put(replace(one(state, "ada"), last_seen_at=LATER))
    assert [e.kind for e in state.events(user=user("ada"))] == ["release"]
    assert redact(engine, [customer(1)], EMAIL) == [Erased(user("ada"))]
    assert traces(engine) == {}


def test_what_is_erased_is_not_left_in_the_file(tmp_path: Path) -> None:
    """SQLite only marks as free what is deleted, unless it is set to overwrite it."""
    engine = open_engine(f"sqlite:///{tmp_path / 'state.db'}")
    ensure_schema(engine)
    everywhere(StateStore(engine, secret_key="k"), engine)
    redact(engine, [customer(1)], EMAIL)
    with engine.connect() as connection:
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    held = (tmp_path / "state.db").read_bytes()
    assert [trace for trace in TRACES if trace.encode() in held] == []


def test_another_user_who_claims_a_redacted_email_stays_and_is_not_found_by_it(
    state: StateStore, engine: Engine
) -> None:
    claim: dict[str, Any] = {"profile_name": f"{NAME} King", "profile_email": EMAIL, "profile_phone": PHONE}
    state.put(mapping("ada", 1, email=EMAIL, **claim))
    state.put(mapping("eve", status="held", reason="EmailTaken", **claim))
    bob: dict[str, Any] = {"profile_name": "Bob", "profile_email": f"x{EMAIL}", "profile_phone": None}
    state.put(mapping("bob", status="held", reason="EmailTaken", **bob))
    assert [each.user for each in redact(engine, [customer(1)], EMAIL)] == [user("ada")]
    eve = one(state, "eve")
    assert (eve.status, eve.reason) == ("held", "EmailTaken")
    assert (eve.profile_name, eve.profile_email, eve.profile_phone) == (None, None, None)
    assert one(state, "bob").profile_name == "Bob"


def test_a_forgotten_mapping_leaves_nothing_by_which_a_person_is_found(state: StateStore, engine: Engine) -> None:
    state.put(theirs())
    state.forget(SHOP, user("ada"))
    assert traces(engine) == {}
