"""`reconciler bootstrap`: shows what a shop needs and lacks, asks, and makes it. A second run finds nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import click
from rich.console import Console

from reconciler.cli.checks.shop_needs import Needs, look, needs_of
from reconciler.cli.context import Context
from reconciler.cli.render.flow import Lines
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean, counted, sentence
from reconciler.errors import ReconcilerError
from reconciler.ports import ShopMaker, ShopReader
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

FAILED = 1
SHOPS_AT_ONCE = 8


@dataclass(slots=True)
class Report:
    """One shop: what it lacks, what was made, or why nothing could be said or made."""

    store: StoreSettings
    needs: Needs | None = None
    made: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str = ""

    def fail(self, error: ReconcilerError) -> None:
        self.error, self.hint = error.message, error.hint


@click.command("bootstrap")
@click.option("--store", "stores", multiple=True, metavar="N", help="Only this store; may be repeated.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(context: Context, stores: tuple[str, ...], yes: bool, output: str) -> int:  # noqa: FBT001  click's call
    """Show, then make what a shop needs: the back-link's metafield definition, and webhook subscriptions."""
    with context.components() as components:
        reports = looked(components, components.identified_stores(stores))
        lacking = sum(r.needs.count for r in reports if r.needs)
        if output == "text":
            _show(reports, context.out)
        elif lacking and not yes:
            _show(reports, context.err)
        what = counted(lacking, "thing")
        if lacking:
            if not yes and not context.confirmed(f"Make {what}?", waiting=f"{what} to make"):
                return FAILED
            make(components, reports)
    if output == "json":
        click.echo(_json(reports))
    else:
        _show_made(reports, context.out)
    for report in reports:
        if report.error is not None:
            context.failed(report.store.name, report.error, report.hint)
    return FAILED if any(r.error for r in reports) else 0


def looked(components: Components, stores: Sequence[StoreSettings]) -> list[Report]:
    """What each of these shops lacks; one that can't be read comes back with its error, in its place."""
    public_url = components.loaded.settings.server.public_url

    def one(store: StoreSettings, reader: ShopReader) -> Report:
        report = Report(store)
        try:
            report.needs = needs_of(look(reader, store), store, public_url)
        except ReconcilerError as error:
            report.fail(error)
            return report
        if report.needs.wrong:
            report.error, report.hint = report.needs.wrong, report.needs.hint
        return report

    with ThreadPoolExecutor(SHOPS_AT_ONCE, thread_name_prefix="bootstrap") as pool:
        return list(pool.map(one, stores, [components.setup(s) for s in stores]))


def make(components: Components, reports: Sequence[Report]) -> None:
    """Make what is lacking. A shop that refuses keeps its error and what was made before it; the others go on."""

    def one(report: Report, maker: ShopMaker) -> None:
        if report.needs is None or not report.needs.count:
            return
        try:
            _make(maker, report, report.needs)
        except ReconcilerError as error:
            report.fail(error)

    with ThreadPoolExecutor(SHOPS_AT_ONCE, thread_name_prefix="bootstrap") as pool:
        list(pool.map(one, reports, [components.setup(r.store) for r in reports]))


def _make(maker: ShopMaker, report: Report, needs: Needs) -> None:
    link = report.store.backlink
    if needs.definition:
        maker.create_definition(link.namespace, link.key)
        report.made.append(f"metafield definition {link.namespace}.{link.key}")
    for topic in needs.topics:
        maker.subscribe(topic, needs.uri)
        report.made.append(f"webhook {topic}")


def lacking_of(report: Report) -> list[str]:
    """What would be made, a line each."""
    needs, link = report.needs, report.store.backlink
    if needs is None:
        return []
    found = []
    if needs.definition:
        found.append(f"metafield definition {link.namespace}.{link.key} of type id, unique, on customers")
    return found + [f"webhook {topic} to {needs.uri}" for topic in needs.topics]


def _show(reports: Sequence[Report], console: Console) -> None:
    lines = Lines(console)
    for report in reports:
        lines.put((clean(report.store.name), "bold"), ("  ", ""), (clean(report.store.domain), "dim"))
        for what in lacking_of(report):
            lines.prose(f"+ {clean(what)}", "green", indent=2, hang=2)
        for note in report.needs.notes if report.needs else ():
            lines.prose(f"! {clean(note)}", "yellow", indent=2, hang=2)
        _show_error(report, lines)
        if report.error is None and report.needs is not None and not report.needs.count:
            lines.put(("✓ nothing to make", "green"), indent=2)


def _show_made(reports: Sequence[Report], console: Console) -> None:
    lines = Lines(console)
    made = sum(len(r.made) for r in reports)
    if made:
        lines.put((f"✓ made {counted(made, 'thing')}", "bold green"))
    for report in reports:
        if report.error is not None and report.needs is not None and not report.needs.wrong:
            lines.put((clean(report.store.name), "bold"))
            _show_error(report, lines)


def _show_error(report: Report, lines: Lines) -> None:
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
            "lacked": lacking_of(r),
            "made": r.made,
            "notes": list(r.needs.notes) if r.needs else [],
        }
        for r in reports
    ]
    return dumps({"version": 1, "stores": stores})
