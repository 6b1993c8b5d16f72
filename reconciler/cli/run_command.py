"""`reconciler run`: the controller, until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
from types import FrameType

import click
import structlog

from reconciler import settings
from reconciler.cli.context import Context
from reconciler.manager.deadline import Deadline, leave
from reconciler.manager.logs import configure
from reconciler.manager.run import Files, Manager

_log = structlog.get_logger(__name__)


@click.command("run")
@click.option("--host", metavar="H", help="Where to listen [server.host].")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="P", help="Which port; 0 takes a free one [server.port]."
)
@click.pass_obj
def command(context: Context, host: str | None, port: int | None) -> int:
    """Keep the shops equal until SIGTERM or SIGINT; then finish what is in hand and exit 0.

    Webhooks nudge, sweeps heal. SIGHUP reads stores.yaml anew, and so does a change of the file. Logs are JSON on
    stderr, one object a line; only a terminal is also told in plain words where it runs.
    """
    configure(debug=context.debug)
    env = settings.environment()
    paths = settings.paths(context.config, context.stores, env)
    files = Files(paths, lambda: settings.load(context.config, context.stores, settings.environment()))
    with Deadline() as deadline:
        with context.house(warn=lambda message: _log.warning("warning", message=message)) as house:
            manager = Manager(house, files, host=host, port=port)

            def end(_number: int, _frame: FrameType | None) -> None:
                manager.stop()

            def again(_number: int, _frame: FrameType | None) -> None:
                manager.reload_soon()

            before = {sig: signal.signal(sig, end) for sig in (signal.SIGTERM, signal.SIGINT)}
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, again)
            try:
                manager.start()
                if context.err.is_terminal:
                    context.say(f"running: {manager.url}")
                else:  # a line that is no JSON would break whoever reads the log
                    _log.info("running", url=manager.url)
                manager.wait()
            finally:
                manager.close()
                for sig, handler in before.items():
                    signal.signal(sig, handler)
        if left := deadline.hanging():
            leave(left)
    return 0
