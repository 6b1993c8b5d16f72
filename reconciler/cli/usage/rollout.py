"""Usage of `reconciler rollout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.usage.parameters import output_option

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.group("rollout")
def command() -> None:
    """Show, continue or abort the rollout of a change of policy, wave by wave."""


@command.command("status")
@output_option
@click.pass_obj
def status(context: Context, /, **options: Any) -> None:
    """Show the waves, which policy each store has, what each wave did, and what happens next."""
    from reconciler.cli.commands.rollout import show_rollout

    show_rollout(context, **options)


@command.command("continue")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--step", metavar="STEP", help="Only from this step (`rollout status --output json`), so once if repeated."
)
@click.pass_obj
def continue_(context: Context, /, **options: Any) -> int:
    """Open the next wave now: after a wave that waits for you, in spite of a limit, without a store, or after an abort.

    A running controller then continues by itself; without one, `reconciler apply` does the wave. After the last wave, the
    rollout finishes. Exits 1 if there is no rollout to continue.
    """
    from reconciler.cli.commands.rollout import continue_rollout

    return continue_rollout(context, **options)


@command.command("abort")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def abort(context: Context, /, **options: Any) -> int:
    """End the rollout: later waves keep the policy that they had until stores.yaml changes, or until `rollout continue`.

    Waves that were reached keep the new policy. Exits 1 if no rollout is under way.
    """
    from reconciler.cli.commands.rollout import abort_rollout

    return abort_rollout(context, **options)
