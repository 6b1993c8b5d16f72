"""Renders the explanation of one user as text and as JSON."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.parts import WHO_WORDS, docs_command
from reconciler.cli.render.plain import clean, customer_text, time_text, value_text
from reconciler.cli.render.tables import STATUS_STYLES, table_box
from reconciler.core.report.documents import explained_document
from reconciler.core.report.explain import Explained, ExplainedStore

EVENTS_SHOWN = 8


def explain_json(found: Explained) -> str:
    """The explanation as JSON."""
    return dumps(explained_document(found))


def print_explained(found: Explained, console: Console) -> None:
    """Print for each store the status, a table of fields, the next action, who must act, and the last writes."""
    lines = LinePrinter(console)
    lines.put((clean(found.clerk_user_id), "bold"))
    for store in found.stores:
        lines.blank()
        _print_heading(store, lines)
        if store.error is not None:
            lines.prose(f"could not be read: {clean(store.error)}", "bold red", indent=2, hang=2)
            continue
        if store.fields:
            console.print(_table(store, console))
        _print_next(store, lines)
        _print_events(store, lines)


def _print_heading(store: ExplainedStore, lines: LinePrinter) -> None:
    style = STATUS_STYLES.get(store.status, "")
    pieces = [
        (clean(store.store), "bold"),
        (clean(store.shop), "dim"),
        (customer_text(store.customer_id) or "no customer", "dim"),
        (store.status.replace("_", " "), style),
        (store.reason or "", "yellow"),
    ]
    lines.flow([p for p in pieces if p[0]], hang=2, between="  ")


def _table(store: ExplainedStore, console: Console) -> Table:
    """The table of fields. Without a spec for this user, no field is marked as equal or different."""
    table = Table(box=table_box(console), pad_edge=False, collapse_padding=True, header_style="bold", show_edge=False)
    for name in ("", "field", "wanted", "in Shopify", "owned by"):
        table.add_column(name, overflow="fold")
    for field in store.fields:
        mark, style = ("=", "green") if field.equal else ("≠", "yellow")
        if field.policy == "ignore" or store.wanted is None:
            mark, style = " ", "dim"
        owner = f"{field.owner} ({field.policy})"
        there = value_text(field.observed) if field.shown else "not shown to us"
        row = (mark, field.field, value_text(field.wanted), there, owner)
        table.add_row(*(clean(cell) for cell in row), style=style if mark == " " else None)
    return table


def _print_next(store: ExplainedStore, lines: LinePrinter) -> None:
    if store.next is None:
        return
    lines.prose(f"next: {clean(store.next.does)}", "bold", indent=2, hang=2)
    for hold in store.next.holds:
        lines.flow(
            [
                (f"! {hold.reason}", "yellow"),
                (WHO_WORDS[hold.who_acts], ""),
                (docs_command(hold.reason), "dim"),
            ],
            indent=2,
            hang=4,
            between="  ",
        )
    if store.accepted:
        lines.prose(f"accepted by stores.yaml for now: {', '.join(store.accepted)}", "dim", indent=2, hang=2)


def _print_events(store: ExplainedStore, lines: LinePrinter) -> None:
    if not store.events:
        lines.put(("no writes yet", "dim"), indent=2)
    for event in store.events[-EVENTS_SHOWN:]:
        fields = ", ".join(clean(c.field) for c in event.changes)
        words = f"{time_text(event.at)}  {event.kind}  {fields}".rstrip()
        lines.put((words, "dim"), indent=2)
