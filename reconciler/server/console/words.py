"""How the console shows times, numbers, values and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.core.model.ids import CustomerId, ShopDomain
from reconciler.core.model.reasons import reason_of
from reconciler.core.model.values import tag_changes
from reconciler.core.report.answer import span_text

_VALUE_MAX: Final = 120


def explain(reason: str) -> tuple[str, str]:
    """Return what a hold's reason means, and what to do; two empty texts for an unknown one."""
    known = reason_of(reason)
    return (known.meaning, known.next_step) if known else ("", "")


def span(seconds: float | None) -> str:
    """Return a duration in its largest unit; a dash for None."""
    return "–" if seconds is None else span_text(seconds)


def stamp(at: datetime | None) -> str:
    """Return the time in full, in UTC; empty for None."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at is not None else ""


def percent(share: float) -> str:
    """Return a share as per cent, never rounded up to 100."""
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.99):.2f}".rstrip("0").rstrip(".") + " %"


def shown(value: Any) -> str:
    """Return a field's value on one line."""
    if value is None or value == "":
        return "–"
    text = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
    if not text:
        return "–"
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 1] + "…"


def field_name(name: str) -> str:
    """Return our field name with spaces."""
    return name.replace("_", " ") if "." not in name else name


def admin_url(customer: CustomerId, shop: ShopDomain) -> str:
    """Return the customer's page in Shopify's admin."""
    return (
        f"https://admin.shopify.com/store/{shop.removesuffix('.myshopify.com')}/customers/{customer.rpartition('/')[2]}"
    )


def change_text(change: Mapping[str, Any]) -> str:
    """Return a change on one line: `tags + club`, `first name Ada → Adah`."""
    name, before, after = field_name(change["field"]), change["before"], change["after"]
    if change["field"] != "tags":
        return f"{name} {shown(before)} → {shown(after)}"
    come, gone = tag_changes(before, after)
    parts = [f"+ {tag}" for tag in come] + [f"− {tag}" for tag in gone]
    return f"{name} {', '.join(parts) or 'spelt differently'}"
