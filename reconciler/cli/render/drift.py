"""Renders drift as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from reconciler.cli.render.accepted import print_accepted
from reconciler.cli.render.alike import print_heading
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.parts import KIND_WORDS, accepted_users, change_parts, field_text
from reconciler.cli.render.plain import WAVE_UNKNOWN, clean, count_text, customer_text, sentence
from reconciler.core.model.json import json_of, time_z
from reconciler.core.report.documents import accepted_document
from reconciler.core.report.drift import Drift, Finding, StoreDrift

SHOWN = 10
HOW_WORDS = {
    "edited": "edited in Shopify",
    "deleted": "deleted in Shopify",
    "merged": "merged into another customer in Shopify",
    "moved": "back-link moved to another customer in Shopify; the former customer still exists",
}


def drift_json(found: Drift) -> str:
    """All findings with counts for each store, as JSON."""
    stores = [
        {
            **json_of(s),
            "accepted": [accepted_document(each) for each in s.accepted],
            "summary": {
                "drift": _users(s.drift),
                "intent": _users(s.intent),
                "accepted": accepted_users(s.accepted),
                "not_read": len(s.not_read),
            },
        }
        for s in found.stores
    ]
    return dumps({"version": found.version, "at": time_z(found.at), "stores": stores})


def print_drift(found: Drift, console: Console, *, everything: bool = False) -> None:
    """Print for each store the changes made in Shopify by field, then the changes of ours that are not applied yet."""
    lines = LinePrinter(console)
    for store in found.stores:
        if _is_quiet(store):
            continue
        print_heading([(store.store, store.shop)], lines)
        if store.error is not None:
            lines.prose(f"could not be read: {clean(store.error)}", "bold red", indent=2, hang=2)
            if store.error_hint:
                lines.prose(f"hint: {clean(store.error_hint)}", indent=2, hang=2)
        else:
            _print_store(store, lines, None if everything else SHOWN)
        lines.blank()
    if quiet := [store for store in found.stores if _is_quiet(store)]:
        print_heading([(store.store, store.shop) for store in quiet], lines)
        lines.put(("no drift, nothing left to apply", "green"), indent=2)
        lines.blank()
    drift, intent = sum(_users(s.drift) for s in found.stores), sum(_users(s.intent) for s in found.stores)
    unknown = sum(len(s.not_read) for s in found.stores)
    broken = sum(s.error is not None for s in found.stores)
    words = f"{drift:,} drifted, {intent:,} not applied yet" + (f", {unknown:,} not read" if unknown else "")
    words += f", {count_text(broken, 'store')} could not be read" if broken else ""
    lines.put((words, "bold"))


def _is_quiet(store: StoreDrift) -> bool:
    anything = store.drift or store.intent or store.accepted or store.not_read or store.wave_error
    return store.error is None and not anything


def _users(findings: Iterable[Finding]) -> int:
    """The number of users in these findings: one customer may be both merged and edited."""
    return len({finding.clerk_user_id for finding in findings})


def _print_store(store: StoreDrift, lines: LinePrinter, limit: int | None) -> None:
    if store.wave_error:
        lines.failure(WAVE_UNKNOWN, store.wave_error, store.wave_hint)
    for title, style, findings in (
        ("drift", "yellow", store.drift),
        ("not applied yet", "cyan", store.intent),
    ):
        if not findings:
            continue
        lines.put((title, f"bold {style}"), (f"  {count_text(_users(findings), 'user')}", "dim"), indent=2)
        for finding in findings[:limit]:
            _print_finding(finding, lines)
        if limit is not None and len(findings) > limit:
            lines.prose(f"… and {len(findings) - limit:,} more: --all shows them", "dim", indent=4)
    if store.accepted:
        print_accepted(store.accepted, lines, limit)
    if store.not_read:
        lines.put(("not read", "bold red"), (f"  {count_text(len(store.not_read), 'field')}", "dim"), indent=2)
        for each in store.not_read[:limit]:
            lines.prose(f"{each.clerk_user_id}  {each.reason}: {sentence(each.message)}", indent=4, hang=2)
        if limit is not None and len(store.not_read) > limit:
            lines.prose(f"… and {len(store.not_read) - limit:,} more: --all shows them", "dim", indent=4)


def _print_finding(finding: Finding, lines: LinePrinter) -> None:
    what = HOW_WORDS[finding.how] if finding.how else KIND_WORDS[finding.kind].one if finding.kind else ""
    pieces = [(clean(finding.clerk_user_id), "bold"), (customer_text(finding.customer_id), "dim"), (what, "")]
    lines.flow([p for p in pieces if p[0]], indent=4, hang=2, between="  ")
    for change in finding.changes:
        before, after = change_parts(change)
        lines.flow([(f"{field_text(change)}:", "bold"), (before, "red"), (f"→ {after}", "green")], indent=6, hang=2)
