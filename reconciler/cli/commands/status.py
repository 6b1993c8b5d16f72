"""`reconciler status`: shows the sync state of each store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from reconciler.cli.context import Context
from reconciler.cli.render.tables import print_replicas, print_status
from reconciler.manager.config_files import digest_of
from reconciler.manager.http.status_rows import status_rows_of

if TYPE_CHECKING:
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
        replicas = components.state.replicas.replicas(now=now)
        rollouts = components.rollouts
        report = rollouts.report(rollouts.read()) if rollouts is not None else None
    if output == "json":
        from reconciler.cli.render.json import status_json  # noqa: PLC0415  text needs no documents

        click.echo(status_json(rows, now, replicas))
    else:
        print_status(rows, context.out)
        print_replicas(replicas, digest_of(context.paths), context.out)
        if report is not None:
            from reconciler.cli.render.rollout import print_headline  # noqa: PLC0415  with several waves only

            print_headline(report, context.out)
    return 0


def _print_certificate(context: Context, components: Components, names: tuple[str, ...], output: str) -> int:
    from reconciler.cli.render import certificate as render_certificate  # noqa: PLC0415  for --certificate only
    from reconciler.cli.scan_bars import scan_bars  # noqa: PLC0415  as above
    from reconciler.controller.observe import ObserveOptions  # noqa: PLC0415  as above
    from reconciler.controller.scan.plan import plan_stores  # noqa: PLC0415  as above
    from reconciler.core.report.certificate import certificate as certificate_of  # noqa: PLC0415  as above

    with scan_bars(context, components.profiles.count) as bar:
        now = components.clock.now()
        readers = {s.name: (s, components.readers(s)) for s in components.identify_stores(names)}
        planned = plan_stores(readers, ObserveOptions(now=now, explicit=False, guards=False), progress=bar)
    found = certificate_of(planned.scans.values(), at=now)
    if output == "json":
        click.echo(render_certificate.certificate_json(found))
    else:
        render_certificate.print_certificate(found, context.out)
    failed = [context.report_error(store) for store in planned.plan.stores]
    return FAILED if any(failed) else 0
