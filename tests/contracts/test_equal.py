"""Which mappings count as equal is kept beside them by everybody who writes: it must always be what a join would say."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, text

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.ports import Seen
from tests.state_store import StateStore

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SHOP, OTHER = ShopDomain("acme.myshopify.com"), ShopDomain("other.myshopify.com")
CONFIG = "fb" * 8
SEED = 20261125
PEOPLE = 6
SEEDS = range(SEED, SEED + 4)
JOINED = """
SELECT m.clerk_user_id, m.shopify_shop, m.equal_fp, CASE WHEN m.status = 'in_sync' AND m.observed_fp = r.observed_fp
                                                THEN m.profile_fp END AS joined
  FROM {prefix}reconciler_mapping AS m LEFT JOIN {prefix}reconciler_mirror AS r
    ON r.shopify_shop = m.shopify_shop AND r.shopify_customer_id = m.shopify_customer_id AND NOT r.gone
 ORDER BY 1, 2
"""


def rows(engine: Engine) -> list[Any]:
    prefix = "" if engine.dialect.name == "sqlite" else "reconciler."
    with engine.connect() as connection:
        return list(connection.execute(text(JOINED.format(prefix=prefix))))


def mapping(odd: random.Random, shop: ShopDomain, user: int) -> Mapping:
    customer = CustomerId(f"c{odd.choice([user, user, odd.randrange(PEOPLE)])}") if odd.random() < 0.9 else None
    return Mapping(
        clerk_user_id=ClerkUserId(f"u{user}"), store=StoreName("acme"), shop=shop, customer_id=customer,
        status=odd.choice(["in_sync", "in_sync", "in_sync", "held", "released"]), profile_fp=odd.choice([1, 2, None]),
        config_digest=CONFIG, observed_fp=odd.choice([7, 7, 8, None]),
    )  # fmt: skip


def seen(odd: random.Random, number: int, at: datetime) -> Seen:
    return Seen(CustomerId(f"c{number}"), None, None, odd.choice([7, 7, 8, None]), "{}", odd.choice([None, at]))


def several(odd: random.Random) -> list[int]:
    return odd.sample(range(PEOPLE), odd.randrange(1, PEOPLE))


def step(odd: random.Random, state: StateStore, at: datetime) -> None:
    """One write, by whichever method."""
    shop = odd.choice([SHOP, SHOP, OTHER])
    match odd.randrange(7):
        case 0:
            state.put(mapping(odd, shop, odd.randrange(PEOPLE)))
        case 1:
            made = {m.customer_id or m.clerk_user_id: m for m in (mapping(odd, shop, n) for n in several(odd))}
            state.put_many(list(made.values()))
        case 2:
            new = mapping(odd, shop, odd.randrange(PEOPLE))
            state.put_unchanged([(state.get(shop, [new.clerk_user_id]).get(new.clerk_user_id), new)])
        case 3 | 4:
            source: Literal["bulk", "read"] = odd.choice(["bulk", "read"])
            state.put_seen(shop, [seen(odd, n, at) for n in several(odd)], as_of=at, now=at, source=source)
        case 5:
            named = [CustomerId(f"c{n}") for n in several(odd)]
            state.touch(shop, named, now=at, gone=odd.random() < 0.5)
        case 6:
            state.begin_mirror(shop, "op", now=at, expected=None)
            state.put_seen(shop, [seen(odd, n, at) for n in several(odd)], as_of=at, now=at, source="bulk")
            state.end_mirror(shop, complete=odd.random() < 0.8, now=at)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", SEEDS)
def test_after_each_write_it_is_what_a_join_says(engine: Engine, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201  shown where it fails
    odd, state, equal = random.Random(seed), StateStore(engine), 0
    for number in range(60):
        step(odd, state, AT + timedelta(seconds=number))
        for user, shop, kept, joined in rows(engine):
            assert kept == joined, (number, user, shop)
            equal += kept is not None
    assert equal > 10


@pytest.mark.slow
def test_writers_that_race_never_leave_a_pair_equal_that_is_not(engine: Engine) -> None:
    """One writes mappings, the other the mirror, concurrently; a pair may be left to be checked, never the other way."""
    print(f"seed {SEED}")  # noqa: T201  shown where it fails
    failed: list[BaseException] = []

    def work(seed: int, kinds: str) -> None:
        odd, state = random.Random(seed), StateStore(engine)
        try:
            for number in range(60):
                at = AT + timedelta(seconds=number)
                if kinds == "mappings":
                    state.put_many(
                        [replace(mapping(odd, SHOP, n), customer_id=CustomerId(f"c{n}")) for n in several(odd)]
                    )
                else:
                    state.put_seen(SHOP, [seen(odd, n, at) for n in several(odd)], as_of=at, now=at, source="list")
        except BaseException as error:
            failed.append(error)
            raise

    writers = [
        threading.Thread(target=work, args=(SEED + n, kind)) for n, kind in enumerate(["mappings", "mirror"] * 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    found = rows(engine)
    assert len(found) == PEOPLE
    assert all(kept is None or kept == joined for _, _, kept, joined in found)


def test_the_sums_are_those_of_the_pairs(engine: Engine) -> None:
    odd, state = random.Random(SEED), StateStore(engine)
    fps = [odd.randrange(-(2**63), 2**63) for _ in range(40)]
    for number, fp in enumerate(fps):
        customer = CustomerId(f"c{number}")
        state.put_seen(SHOP, [Seen(customer, None, None, 7, "{}", None)], as_of=AT, now=AT, source="bulk")
        state.put(
            Mapping(
                clerk_user_id=ClerkUserId(f"u{number:02}"),
                store=StoreName("acme"),
                shop=SHOP,
                customer_id=customer,
                status="released" if number == 5 else "held" if number == 6 else "in_sync",
                profile_fp=fp,
                config_digest=CONFIG if number != 7 else "00" * 8,
                observed_fp=7,
            )
        )
    for after, upto in ((None, None), ("u03", "u20"), ("u30", None), ("u99", None)):
        bounds: dict[str, Any] = {"after": after, "upto": upto}
        pairs = state.pairs(SHOP, CONFIG, **bounds, limit=100)
        equal = [fp for _, fp in pairs if fp is not None]
        assert state.sums(SHOP, CONFIG, **bounds) == (len(pairs), len(equal), sum(equal))
