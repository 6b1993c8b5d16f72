"""`reconciler status`: shows the sync state of each store."""

from __future__ import annotations

import click

from reconciler.cli.commands.sync.plan import report_error
from reconciler.cli.context import Context
from reconciler.cli.render import certificate as render_certificate
from reconciler.cli.render import outputs as render
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import plan_stores
from reconciler.core.report.certificate import certificate as certificate_of
from reconciler.manager.config_files import digest_of
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.wiring import Components

FAILED = 1


def show_status(
    context: Context,
    *,
    stores: tuple[str, ...],
    certificate: bool,
    output: str,
) -> int:
    with context.components() as components:
        if certificate:
            return _print_certificate(context, components, stores, output)
        rows = status_rows_of(components, components.stores(stores))
        now = components.state_clock.now()
        replicas = components.state.replicas(now=now)
    if output == "json":
        click.echo(render.status_json(rows, now, replicas))
    else:
        render.print_status(rows, context.out)
        render.print_replicas(replicas, digest_of(context.paths), context.out)
    return 0


def _print_certificate(context: Context, components: Components, names: tuple[str, ...], output: str) -> int:
    now = components.clock.now()
    readers = {s.name: (s, components.readers(s)) for s in components.identify_stores(names)}
    planned = plan_stores(readers, ObserveOptions(now=now, explicit=False, guards=False))
    found = certificate_of(planned.scans.values(), at=now)
    if output == "json":
        click.echo(render_certificate.certificate_json(found))
    else:
        render_certificate.print_certificate(found, context.out)
    failed = [report_error(context, store) for store in planned.plan.stores]
    return FAILED if any(failed) else 0
