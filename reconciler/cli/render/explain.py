"""Renders the explanation of one user as text and as JSON."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from rich.console import Console
from rich.table import Table

from reconciler.cli.render.accepted import accepted_words, until_words
from reconciler.cli.render.alike import print_heading
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.parts import WHO_WORDS, docs_command
from reconciler.cli.render.plain import WAVE_UNKNOWN, clean, count_text, customer_text, time_text, value_text
from reconciler.cli.render.tables import STATUS_STYLES, table_box
from reconciler.core.model.consent import field_of
from reconciler.core.report.answer import span_text
from reconciler.core.report.documents import explained_document
from reconciler.core.report.explain import Explained, ExplainedField, ExplainedStore

EVENTS_SHOWN = 8
ALIKE_SHOWN = 3  # stores of one status that need nothing, each with its answer; more are only named
NAMED = (
    ("in_sync", "in sync in", "--store STORE shows the customer"),
    ("unwanted", "not wanted by", "--store STORE says why"),
)
WIDE = 100  # columns of a terminal that is wide enough for the time of each last write


def explain_json(found: Explained) -> str:
    """The explanation as JSON."""
    return dumps(explained_document(found))


def print_explained(found: Explained, console: Console, *, now: datetime, show_all: bool = False) -> None:
    """Print the answer, then each store: status, answer, a table of fields, what comes next, and the last writes.

    Of several stores, one that needs nothing is one line, after the others, unless `show_all`.
    """
    lines = LinePrinter(console)
    lines.put((clean(found.clerk_user_id), "bold"), ("  " + clean(found.name) if found.name else "", ""))
    for former in found.former:
        lines.prose(clean(former.words))
    lines.prose(clean(found.answer), "bold")
    short = [] if show_all or len(found.stores) == 1 else [store for store in found.stores if store.agrees]
    for store in (store for store in found.stores if store not in short):
        lines.blank()
        _print_store(store, lines, now, alone=len(found.stores) == 1)
    if short:
        lines.blank()
    counts = Counter(store.status for store in short)
    named = {status for status, _, _ in NAMED if counts[status] > ALIKE_SHOWN}
    for store in short:
        if store.status not in named:
            lines.prose(clean(store.answer), hang=2)
    for status, words, hint in NAMED:
        if status in named:
            lines.put((words, ""))
            print_heading([(store.store, store.shop) for store in short if store.status == status], lines)
            lines.put((hint, "dim"))
    if short:
        lines.put((f"{count_text(len(short), 'store')} in short: --all shows every field", "dim"))


def _print_store(store: ExplainedStore, lines: LinePrinter, now: datetime, *, alone: bool) -> None:
    _print_heading(store, lines)
    if store.error is not None:
        lines.prose(f"could not be read: {clean(store.error)}", "bold red", indent=2, hang=2)
        return
    if not alone:  # else it is the first line
        lines.prose(clean(store.answer), indent=2)
    if store.wave_error:
        lines.failure(WAVE_UNKNOWN, store.wave_error, store.wave_hint)
    if store.fields and (store.wanted is not None or store.observed is not None):
        lines.console.print(_table(store, lines.console, now))
    _print_consents(store, lines)
    _print_next(store, lines, now)
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


def _table(store: ExplainedStore, console: Console, now: datetime) -> Table:
    """The table of fields. Without a spec for this user, no field is marked as equal or different."""
    table = Table(box=table_box(console), pad_edge=False, collapse_padding=True, header_style="bold", show_edge=False)
    times = ("last written",) if console.width >= WIDE else ()
    for name in ("", "field", "wanted", "in Shopify", "owned by", *times):
        table.add_column(name, overflow="fold")
    for field in store.fields:
        mark, style = ("=", "green") if field.equal else ("≠", "yellow")
        if field.policy == "ignore" or store.wanted is None:
            mark, style = " ", "dim"
        owner = f"{field.owner} ({field.policy})"
        there = _there(field)
        at = field.last_written_at
        written = f"{span_text((now - at).total_seconds())} ago" if at is not None else "–"
        row = (mark, field.field, value_text(field.wanted), there, owner, written)
        table.add_row(*(clean(cell) for cell in row[: len(table.columns)]), style=style if mark == " " else None)
    return table


def _there(field: ExplainedField) -> str:
    """The value in Shopify; "the same" where it is that of the profile, so that both columns keep their width."""
    if not field.shown:
        return "not shown to us"
    there = value_text(field.observed)
    is_same = field.equal and field.wanted is not None and there == value_text(field.wanted)
    return "the same" if is_same else there


def _print_consents(store: ExplainedStore, lines: LinePrinter) -> None:
    """Each consent: what follows and why, both answers, and the proof of what was written."""
    for each in store.consent:
        field = field_of(each.channel)
        lines.prose(f"{field}: {each.outcome or 'not decided'}{f', {each.why}' if each.why else ''}", indent=2, hang=2)
        if each.source is not None and (each.outcome, each.granted, each.shown) != (None, None, None):
            answer = {True: "yes", False: "no", None: "nothing"}[each.granted]
            at = f", at {each.at}" if each.at is not None else ""
            words = f"profile: {answer}{at} ({each.source}); Shopify: {each.shown or 'nothing'}"
            lines.prose(clean(words), "dim", indent=4, hang=2)
        for proof in each.written[-EVENTS_SHOWN:]:
            by = f"run {proof.run_id}" if proof.run_id is not None else "the queue"
            lines.prose(clean(f"written {proof.at} by {by}: {value_text(proof.consent)}"), "dim", indent=4, hang=2)


def _print_next(store: ExplainedStore, lines: LinePrinter, now: datetime) -> None:
    if store.next is None:
        return
    lines.prose(f"next: {clean(store.next.does)}", "bold", indent=2, hang=2)
    if store.next_try_at is not None:
        due = "now" if store.next_try_at <= now else time_text(store.next_try_at)
        lines.put((f"next try: {due}", "dim"), indent=2)
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
    for each in store.acceptances:
        said = f"drift is accepted {until_words(each)}: {accepted_words(each)}"
        lines.prose(said, "dim", indent=2, hang=2)


def _print_events(store: ExplainedStore, lines: LinePrinter) -> None:
    if not store.events:
        lines.put(("no writes yet", "dim"), indent=2)
    for event in store.events[-EVENTS_SHOWN:]:
        fields = ", ".join(clean(c.field) for c in event.changes)
        words = f"{time_text(event.at)}  {event.kind}  {fields}".rstrip()
        lines.put((words, "dim"), indent=2)
