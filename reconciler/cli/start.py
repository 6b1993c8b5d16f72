"""The installed command: until it knows what to do, an interrupt ends it quietly, as SIGTERM does."""

from __future__ import annotations

import signal


def main() -> None:
    """Import and run the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from reconciler.cli.main import main as run_and_exit  # noqa: PLC0415  imported after the signal is set

    run_and_exit()
