"""`reconciler explain USER`: for each shop the spec, the observed customer, the holds and the next action."""

from __future__ import annotations

from dataclasses import replace

import click

from reconciler.cli.context import Context
from reconciler.cli.render import explain as render_explain
from reconciler.cli.render.plain import clean
from reconciler.cli.users import resolve_person
from reconciler.wiring.explanations import explain_user

FAILED = 1


def explain(
    context: Context,
    *,
    user: str,
    stores: tuple[str, ...],
    output: str,
    show_all: bool,
) -> int:
    with context.components() as components, context.progress() as progress:
        finding = progress.add_task(f"finding {clean(user)}", total=None)
        name, former = resolve_person(components, user)
        chosen = components.identify_stores(stores)
        progress.update(finding, visible=False)
        task = progress.add_task("reading the shops", total=len(chosen))
        explained = explain_user(components, name, chosen, note_read=lambda: progress.advance(task))
        found = replace(explained, former=former)
        now = components.clock.now()
    for store in (s for s in found.stores if s.error is not None):
        context.report_failure(store.store, store.error or "", store.error_hint)
    if output == "json":
        click.echo(render_explain.explain_json(found))
    else:
        render_explain.print_explained(found, context.out, now=now, show_all=show_all)
    return FAILED if any(s.error for s in found.stores) else 0
