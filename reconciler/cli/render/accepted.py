"""Prints drift that is accepted for now, for plans, drift and explanations."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.cli.render.flow import LinePrinter, Piece
from reconciler.cli.render.parts import accepted_users, change_parts, field_text
from reconciler.cli.render.plain import clean, count_text, time_text
from reconciler.core.model.action import AcceptedDrift


def accepted_words(accepted: AcceptedDrift) -> str:
    """`first_name: Adele, the profile has Ada`."""
    before, after = change_parts(accepted.change)
    if accepted.field == "tags":
        return f"tags: without {after}"
    return f"{field_text(accepted.change)}: {before}, the profile has {after}"


def until_words(accepted: AcceptedDrift) -> str:
    """`until 2027-03-31 23:59 UTC, by ada (console)`."""
    return f"until {time_text(accepted.until)}, by {clean(accepted.by)}"


def accepted_pieces(accepted: AcceptedDrift) -> list[Piece]:
    """The user, the field with both values, until when that is accepted, and who accepted it."""
    return [
        (clean(accepted.clerk_user_id), "bold"),
        (accepted_words(accepted), ""),
        (until_words(accepted), "dim"),
    ]


def print_accepted(accepted: Sequence[AcceptedDrift], lines: LinePrinter, limit: int | None) -> None:
    """Print a heading, and a line for each field; the first ones, or all without a limit."""
    users = count_text(accepted_users(accepted), "user")
    lines.put(("drift that is accepted for now", "bold"), (f"  {users}", "dim"), indent=2)
    for each in accepted[:limit]:
        lines.flow(accepted_pieces(each), indent=4, hang=2, between="  ")
    if limit is not None and len(accepted) > limit:
        lines.prose(f"… and {len(accepted) - limit:,} more: --all shows them", "dim", indent=4)
