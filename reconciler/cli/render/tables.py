"""Prints results, status and mappings as tables and sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reconciler.cli.render.alike import for_any_store, group_alike, print_heading
from reconciler.cli.render.flow import LinePrinter, Piece
from reconciler.cli.render.parts import KIND_WORDS, docs_command
from reconciler.cli.render.plain import clean, count_text, customer_text, seconds_text, sentence, time_text
from reconciler.core.model.action import KINDS, Hold
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.report.status import ApplyResult, Replica, StatusRow
from reconciler.core.report.under_way import under_way_of

LAST_SCAN = "last scan, UTC"
STATUS_COLUMNS = ("profiles", "mapped", "in sync", "pending", "held", "parity", LAST_SCAN)
LEFT_OUT_FIRST = (LAST_SCAN, "mapped", "profiles", "pending")
STORE_WIDTH = 24  # minimum characters of a store's name on one line
WIDTH_MAX = 1000  # columns in which the natural width of a table is measured
FAILURES_SHOWN = 10
STORES_SHOWN = 5  # with holds of one reason
BATCH_ROWS = 500  # rows of a table that are measured together for its column widths
STATUS_STYLES = {"in_sync": "green", "pending": "cyan", "held": "yellow", "released": "dim", "erased": "dim"}
NONE = "–"
WHOLE = 1.0
NEARLY = 0.99


def print_results(results: Sequence[ApplyResult], console: Console) -> None:
    """Print a line for each store with the applied actions, the first failures with their messages, and the new holds."""
    lines = LinePrinter(console)
    lines.blank()
    quiet = []
    for result in results:
        name, parts = clean(result.store), _result_parts(result)
        if result.error is not None:
            lines.prose(f"{name}  nothing was applied: {sentence(result.error)}", "bold red", hang=2)
            continue
        if not parts:
            quiet.append(name)
            continue
        (first, style), *rest = parts
        lines.flow([(f"{name}  {first}", style), *rest], hang=2, between=" · ")
        for failure in islice(result.failed, FAILURES_SHOWN):
            what = f"✗ {failure.kind} {clean(failure.clerk_user_id)} {failure.result}: {sentence(failure.message)}"
            lines.prose(what, "red", indent=2, hang=4)
            if failure.hint:
                lines.prose(f"hint: {sentence(failure.hint)}", indent=6, hang=2)
        if len(result.failed) > FAILURES_SHOWN:
            lines.prose(f"… and {len(result.failed) - FAILURES_SHOWN:,} more: --output json has them", "dim", indent=6)
        _print_new_holds(result.holds, lines)
    if quiet:
        lines.put((quiet[0] if len(quiet) == 1 else f"{len(quiet):,} stores", "bold"), ("  nothing to do", "green"))
    if len(results) > 1:
        applied = [count for result in results if (count := sum(result.applied.values()))]
        places = f" in {count_text(len(applied), 'store')}" if applied else ""
        lines.put((f"{count_text(sum(applied), 'action')} applied{places}", "bold"))


def _result_parts(result: ApplyResult) -> list[Piece]:
    """What was applied in one store, what was not, and what it cost; empty if there was nothing to do."""
    parts = [(f"{result.applied[k]:,} {_past(k)}", KIND_WORDS[k].style) for k in KINDS if result.applied.get(k)]
    if result.done_already:
        parts.append((f"{result.done_already:,} done already by another process", "dim"))
    if result.failed:
        parts.append((f"{len(result.failed):,} not applied", "bold red"))
    if result.held:
        parts.append((f"{result.held:,} held", "yellow"))
    if any(result.applied.values()):
        spent = f"{count_text(result.points_spent, 'point')} in {seconds_text(result.seconds)}"
        parts.append((spent, "dim"))
    return parts


def _print_new_holds(holds: Collection[Hold], lines: LinePrinter) -> None:
    """Print the holds that were not in the plan, such as a value that Shopify refused."""
    for hold in islice(holds, FAILURES_SHOWN):
        said = f"! {hold.reason} {clean(hold.clerk_user_id)}: {sentence(hold.message)}"
        lines.prose(said, "yellow", indent=2, hang=4)
        lines.put((docs_command(hold.reason), "dim"), indent=4)
    if len(holds) > FAILURES_SHOWN:
        lines.prose(f"… and {len(holds) - FAILURES_SHOWN:,} more: --output json has them", "dim", indent=6)


def print_status(rows: Sequence[StatusRow], console: Console) -> None:
    """Print one row for each store, without the columns that don't fit; below, remarks on stores that need attention."""
    left_out = 0
    table = _status_table(rows, console, STATUS_COLUMNS)
    roomy = console.options.update(max_width=WIDTH_MAX)
    while left_out < len(LEFT_OUT_FIRST) and console.measure(table, options=roomy).maximum > console.width:
        left_out += 1
        table = _status_table(rows, console, [c for c in STATUS_COLUMNS if c not in LEFT_OUT_FIRST[:left_out]])
    console.print(table)
    lines = LinePrinter(console)
    _print_remarks(rows, lines)
    _print_holds(rows, lines)


def _status_table(rows: Sequence[StatusRow], console: Console, columns: Sequence[str]) -> Table:
    table = Table(box=table_box(console), pad_edge=False, collapse_padding=True, header_style="bold", show_edge=False)
    widest = max((len(clean(row.store)) for row in rows), default=0)
    table.add_column("store", overflow="fold", min_width=min(widest, STORE_WIDTH))
    for name in columns:
        table.add_column(name, justify="left" if name == LAST_SCAN else "right", no_wrap=True)
    for row in rows:
        held = sum(row.held.values())
        note = row.parity_note
        cells: dict[str, str | Text] = {
            "profiles": Text("–", "dim") if row.last_sweep_at is None and not row.profiles else f"{row.profiles:,}",
            "mapped": f"{row.mapped:,}",
            "in sync": Text(f"{row.in_sync:,}", "green"),
            "pending": Text(f"{row.pending:,}", "cyan" if row.pending else ""),
            "held": Text(f"{held:,}", "yellow" if held else ""),
            "parity": Text("–", "dim") if note else Text(_percent(row.parity), _parity_style(row.parity)),
            LAST_SCAN: time_text(row.last_sweep_at).removesuffix(" UTC"),
        }
        table.add_row(Text(clean(row.store), "bold"), *(cells[name] for name in columns))
    return table


def _parity_style(parity: float) -> str:
    return "green" if parity == WHOLE else "yellow" if parity >= NEARLY else "red"


def print_replicas(replicas: Sequence[Replica], digest: str, console: Console) -> None:
    """Print each replica of `run` that uses other settings files than `digest`, the digest of those on disk, and why."""
    lines = LinePrinter(console)
    for replica in replicas:
        if replica.config_problem is not None:
            said = f"run {replica.owner} does not use the files on disk: {sentence(replica.config_problem)}"
        elif replica.config_digest != digest:
            seen = time_text(replica.seen_at)
            said = f"run {replica.owner} has used different files since {time_text(replica.since)}, and was last seen {seen}"
        else:
            continue
        lines.blank()
        lines.prose(said, "yellow", hang=2)


def _notes(row: StatusRow) -> Iterator[tuple[str, str]]:
    """Notes on a pause, and on figures that may be wrong, each with its style."""
    if row.paused:
        yield f"{clean(row.paused)}: nothing is written to this shop", "yellow"
    if row.parity_note and row.last_sweep_at is not None:
        yield f"parity is unknown: {row.parity_note}", "dim"
    if row.failing:
        since = f" since {time_text(row.failing_since)}" if row.failing_since else ""
        yield (
            f"reconciles fail{since}: {sentence(row.failing)}; they are retried, other stores are not affected",
            "yellow",
        )
    if row.accepted:
        yield f"{count_text(row.accepted, 'user')} in sync but for drift that is accepted for now", "dim"
    if row.bulk is not None and row.bulk.abandoned:
        command = f"reconciler apply --store {clean(row.store)} --bulk auto"
        yield f"an apply ended before it read the results of its bulk operations; to continue: {command}", "yellow"
    if row.updated_at_note:
        yield row.updated_at_note, "yellow"


def _print_remarks(rows: Sequence[StatusRow], lines: LinePrinter) -> None:
    """Print the remarks on stores that need attention or have work in progress; once for stores with the same ones."""
    noted = [(row, remarks) for row in rows if (remarks := tuple(_remarks(row)))]
    shapes = (((row, said), tuple((for_any_store(w, row.store), style) for w, style in said)) for row, said in noted)
    for shape, alike in group_alike(shapes).items():
        lines.blank()
        print_heading([(row.store, row.shop) for row, _ in alike], lines)
        for words, style in alike[0][1] if len(alike) == 1 else shape:
            lines.prose(words, style, indent=2, hang=2)


def _remarks(row: StatusRow) -> Iterator[tuple[str, str]]:
    """What asks for attention, and what is in progress, each with its style."""
    if row.suspended:
        yield f"suspended: {sentence(row.suspended)}", "bold red"
        yield f"hint: reconciler doctor --store {clean(row.store)}", ""
    yield from _notes(row)
    if row.last_sweep_at is None:
        yield "never fully scanned, so its parity is unknown: reconciler apply, or reconciler run", "dim"
    for said in under_way_of(row):
        yield said, "cyan"
    if row.mirror is not None and row.mirror.complete_at is not None:
        caught_up = f", updated {time_text(row.mirror.listed_at)}" if row.mirror.listed_at else ""
        yield f"mirror filled {time_text(row.mirror.complete_at)}{caught_up}", "dim"
        if not row.mirror.fresh:
            yield "too old to be used by plans: reconciler backfill shopify", ""
    if row.oldest_request_s:
        yield f"the oldest request has waited for {seconds_text(row.oldest_request_s)}", ""


def _print_holds(rows: Sequence[StatusRow], lines: LinePrinter) -> None:
    """Print a line for each reason of holds, the most frequent first, with the stores that have most of them."""
    held: dict[str, list[tuple[StoreName, int]]] = {}
    for row in rows:
        for reason, count in row.held.items():
            held.setdefault(reason, []).append((row.store, count))
    if held:
        lines.blank()
    for reason, stores in sorted(held.items(), key=lambda item: (-sum(count for _, count in item[1]), item[0])):
        total = sum(count for _, count in stores)
        most = sorted(stores, key=lambda place: -place[1])[:STORES_SHOWN]
        places = [f"{clean(name)} ({count:,})" for name, count in most]
        if len(stores) > STORES_SHOWN:
            places.append(f"and {count_text(len(stores) - STORES_SHOWN, 'more store')}")
        heading = [(f"! {clean(reason)} {total:,}", "yellow"), (f" {docs_command(reason)}", "dim"), (" in", "")]
        lines.flow([*heading, *((f"{place},", "") for place in places[:-1]), (places[-1], "")], hang=4)
    if any(len(stores) > STORES_SHOWN for stores in held.values()):
        lines.put(("each store's reasons: reconciler status --store NAME, or --output json", "dim"), indent=2)


def print_mappings(rows: Iterable[Mapping], console: Console) -> None:
    """Print each mapping as a row of a table; where the table is too wide, as a line that wraps between its values.

    Both BATCH_ROWS at a time, so that a long list is never held in memory.
    """
    lines, total = LinePrinter(console), 0
    roomy = console.options.update(max_width=WIDTH_MAX)
    for part in batches(rows, BATCH_ROWS):
        cells = [_mapping_cells(row) for row in part]
        table = Table(
            box=table_box(console), pad_edge=False, show_header=not total, header_style="bold", show_edge=False
        )
        for name in ("user", "store", "customer", "email", "status"):
            table.add_column(name, overflow="fold")
        for row in cells:
            table.add_row(*(Text(words, style) for words, style in row))
        if console.measure(table, options=roomy).maximum <= console.width:
            console.print(table)
        else:
            for user, *values in cells:
                lines.flow([user, *(value for value in values if value[0] != NONE)], hang=4, between="  ")
        total += len(part)
    lines.put((count_text(total, "mapping"), "dim"))


def _mapping_cells(row: Mapping) -> list[Piece]:
    status = f"{row.status.replace('_', ' ')} {clean(row.reason or '')}".rstrip()
    return [
        (clean(row.clerk_user_id), ""),
        (clean(row.store), ""),
        (customer_text(row.customer_id).removeprefix("customer ") or NONE, ""),
        (clean(row.email or NONE), ""),
        (status, STATUS_STYLES[row.status]),
    ]


def _past(kind: str) -> str:
    return {"create": "created", "adopt": "adopted", "update": "updated", "relink": "re-linked", "merge": "merged"}.get(
        kind, "released"
    )


def _percent(parity: float) -> str:
    """The parity as a percentage; only exact parity is 100 %."""
    return "100 %" if parity == WHOLE else f"{int(parity * 1000) / 10:.1f} %"


def table_box(console: Console) -> box.Box:
    return box.ASCII if console.options.ascii_only else box.SIMPLE_HEAD
