"""`reconciler bootstrap`: shows what each shop lacks and creates it after a confirmation. A second run does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import click
from rich.console import Console

from reconciler.cli.checks.shop_needs import Needs, needs_of, read_setup
from reconciler.cli.context import Context
from reconciler.cli.render.alike import for_any_store, group_alike, print_heading
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean, count_text, sentence
from reconciler.errors import ReconcilerError
from reconciler.ports import ShopMaker, ShopReader
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

FAILED = 1
PARALLEL_SHOPS = 8


@dataclass(slots=True)
class Report:
    """The report on one shop: what it lacks, what was created, or the error."""

    store: StoreSettings
    needs: Needs | None = None
    made: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str = ""

    def fail(self, error: ReconcilerError) -> None:
        self.error, self.hint = error.message, error.hint


def bootstrap(
    context: Context,
    *,
    stores: tuple[str, ...],
    yes: bool,
    output: str,
) -> int:
    with context.components() as components:
        reports = read_needs(components, components.targeted_stores(stores))
        lacking = sum(r.needs.count for r in reports if r.needs)
        if output == "text":
            _show(reports, context.out)
        elif lacking and not yes:
            _show(reports, context.err)
        what = count_text(lacking, "thing")
        if lacking:
            if not yes and not context.confirm(f"Create {what}?", waiting=f"{what} to create"):
                return FAILED
            create_missing(components, reports)
    if output == "json":
        click.echo(_json(reports))
    else:
        _show_made(reports, context.out)
    for report in reports:
        if report.error is not None:
            context.report_failure(report.store.name, report.error, report.hint)
    return FAILED if any(r.error for r in reports) else 0


def read_needs(components: Components, stores: Sequence[StoreSettings]) -> list[Report]:
    """Read what each of these shops lacks. The report on a shop that can't be read has the error."""
    public_url = components.loaded.settings.server.public_url

    def one(store: StoreSettings, reader: ShopReader) -> Report:
        report = Report(store)
        try:
            report.needs = needs_of(read_setup(reader, store), store, public_url)
        except ReconcilerError as error:
            report.fail(error)
            return report
        if report.needs.wrong:
            report.error, report.hint = report.needs.wrong, report.needs.hint
        return report

    with ThreadPoolExecutor(PARALLEL_SHOPS, thread_name_prefix="bootstrap") as pool:
        return list(pool.map(one, stores, [components.setup(s) for s in stores]))


def create_missing(components: Components, reports: Sequence[Report]) -> None:
    """Create what each shop lacks. An error ends the work on its shop only, and is set in that shop's report."""

    def one(report: Report, maker: ShopMaker) -> None:
        if report.needs is None or not report.needs.count:
            return
        try:
            _create(maker, report, report.needs)
        except ReconcilerError as error:
            report.fail(error)

    with ThreadPoolExecutor(PARALLEL_SHOPS, thread_name_prefix="bootstrap") as pool:
        list(pool.map(one, reports, [components.setup(r.store) for r in reports]))


def _create(maker: ShopMaker, report: Report, needs: Needs) -> None:
    link = report.store.backlink
    if needs.definition:
        maker.create_definition(link.namespace, link.key)
        report.made.append(f"metafield definition {link.namespace}.{link.key}")
    for topic in needs.topics:
        maker.subscribe(topic, needs.uri)
        report.made.append(f"webhook {topic}")


def missing_items(report: Report) -> list[str]:
    """What would be created in the shop, one line each."""
    needs, link = report.needs, report.store.backlink
    if needs is None:
        return []
    found = []
    if needs.definition:
        found.append(f"metafield definition {link.namespace}.{link.key} of type id, unique, on customers")
    return found + [f"webhook {topic} to {needs.uri}" for topic in needs.topics]


def _show(reports: Sequence[Report], console: Console) -> None:
    """Print what each shop lacks; once for shops that lack the same."""
    lines = LinePrinter(console)
    for alike in group_alike((report, _shape(report)) for report in reports).values():
        first, is_one = alike[0], len(alike) == 1
        print_heading([(report.store.name, report.store.domain) for report in alike], lines)
        for what in missing_items(first):
            shown = what if is_one else for_any_store(what, first.store.name)
            lines.prose(f"+ {clean(shown)}", "green", indent=2, hang=2)
        for note in first.needs.notes if first.needs else ():
            lines.prose(f"! {clean(note)}", "yellow", indent=2, hang=2)
        _show_error(first, lines)
        if first.error is None and first.needs is not None and not first.needs.count:
            lines.put(("✓ nothing to create", "green"), indent=2)


def _shape(report: Report) -> object:
    """What is printed of this shop, without its name."""
    if report.error is not None:
        return report.store.name
    missing = tuple(for_any_store(what, report.store.name) for what in missing_items(report))
    return missing, report.needs.notes if report.needs else ()


def _show_made(reports: Sequence[Report], console: Console) -> None:
    lines = LinePrinter(console)
    made = sum(len(r.made) for r in reports)
    if made:
        lines.put((f"✓ created {count_text(made, 'thing')}", "bold green"))
    for report in reports:
        if report.error is not None and report.needs is not None and not report.needs.wrong:
            lines.put((clean(report.store.name), "bold"))
            _show_error(report, lines)


def _show_error(report: Report, lines: LinePrinter) -> None:
    if report.error is not None:
        lines.prose(f"✗ {sentence(report.error)}", "bold red", indent=2, hang=2)
        if report.hint:
            lines.prose(f"hint: {sentence(report.hint)}", indent=4, hang=2)


def _json(reports: Sequence[Report]) -> str:
    stores = [
        {
            "store": r.store.name,
            "shop": r.store.domain,
            "error": r.error,
            "hint": r.hint,
            "lacked": missing_items(r),
            "made": r.made,
            "notes": list(r.needs.notes) if r.needs else [],
        }
        for r in reports
    ]
    return dumps({"version": 1, "stores": stores})
