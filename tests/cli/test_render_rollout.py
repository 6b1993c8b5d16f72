"""What `rollout status` prints for many stores: each wave in a few lines, and who waits for what."""

from __future__ import annotations

import io

from pydantic import JsonValue
from rich.console import Console

from reconciler.cli.render.rollout import print_rollout
from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.rollout import PolicyDifference, RolloutSettings, StoreProgress, WaveCounts
from reconciler.core.plan.waves import WaveStore, begin
from reconciler.core.report.rollout import rollout_report
from tests.core.people import NOW


def test_stores_that_wait_for_the_same_are_named_together() -> None:
    def store(number: int, wave: int, kept: str | None) -> WaveStore:
        shop = ShopDomain(f"shop-{number}.myshopify.com")
        return WaveStore(name=StoreName(f"shop-{number}"), shop=shop, wave=wave, target="new", kept=kept)

    stores = [*(store(n, 1, "new") for n in range(6)), store(6, 2, "old"), store(7, 2, None)]
    begun = begin(None, [store(n, 1, "old") for n in range(6)] + stores[6:], actor=Actor("ada", "command"), now=NOW)
    assert begun is not None
    progress = {each.shop: StoreProgress(waits_for="a full resync") for each in stores[:5]}
    progress[stores[5].shop] = StoreProgress(
        waits_for="paused by ada", asks=True, counts=WaveCounts(touched=4, changed=4)
    )
    out = io.StringIO()
    print_rollout(rollout_report(begun, stores, progress, RolloutSettings()), Console(file=out, width=200))
    assert out.getvalue() == (
        "rollout: wave 1 of 2 is in progress\n"
        "  shop-0, shop-1, shop-2 and 2 more stores wait for: a full resync\n"
        "  shop-5 waits for: paused by ada\n"
        "next: resume, correct or approve what these stores wait for (see `reconciler plan`); or `reconciler rollout "
        "continue` without them\n"
        "began 2026-11-23 09:00 UTC, by ada\n"
        "\n"
        "wave 1  open: 4 changed, 0 failed, 0 newly held of 4 touched users\n"
        "  policy of stores.yaml: shop-0, shop-1, shop-2, shop-3, shop-4, shop-5\n"
        "\n"
        "wave 2  not begun\n"
        "  earlier policy: shop-6\n"
        "  not synced yet, or not known: shop-7\n"
    )


def test_changes_follow_the_stores_that_get_them_and_a_long_list_is_short() -> None:
    def difference(key: str, before: JsonValue, after: JsonValue) -> PolicyDifference:
        return PolicyDifference(key=key, before=before, after=after)

    shop, new = ShopDomain("shop-1.myshopify.com"), ShopDomain("shop-2.myshopify.com")
    stores = [
        WaveStore(name=StoreName("shop-1"), shop=shop, wave=1, target="new", kept="old"),
        WaveStore(name=StoreName("shop-2"), shop=new, wave=1, target="new", kept=None),
    ]
    emails: list[JsonValue] = [f"m{n}@example.com" for n in range(1000)]
    changes = (
        difference("country", None, "GB"),
        difference("where.email", emails, [*emails[1:], "new@example.com"]),
        difference("where.locale", None, [f"l{n}" for n in range(9)]),
    )
    out = io.StringIO()
    print_rollout(
        rollout_report(None, stores, {}, RolloutSettings(), {shop: changes}),
        Console(file=out, width=200, color_system=None),
    )
    assert out.getvalue().partition("wave 1")[2] == (
        "  not begun\n"
        "  earlier policy: shop-1\n"
        "    country: – → GB\n"
        "    where.email: + new@example.com, - m0@example.com\n"
        "    where.locale: – → l0, l1, l2, l3, l4 and 4 more\n"
        "  not synced yet, or not known: shop-2\n"
    )
