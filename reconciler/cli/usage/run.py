"""Usage of `reconciler run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("run")
@click.option("--host", metavar="H", help="Address to listen on [server.host].")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="P", help="Port to listen on; 0: any free port [server.port]."
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="auto: readable lines on a terminal, JSON otherwise.",
)
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Keep the shops in sync until SIGTERM or SIGINT; then finish the requests in progress and exit 0.

    Webhooks enqueue users, and scheduled resyncs find what no webhook reported. A changed stores.yaml takes effect once the
    file has settled, or immediately on SIGHUP. The start waits for a database that does not answer. Logs go to
    stderr: readable lines on a terminal, otherwise JSON, one object a line.
    """
    from reconciler.cli.signals import Signals

    with Signals() as signals:
        from reconciler.cli.commands.run import run

        return run(context, signals, **options)
