"""`reconciler rollout status | continue | abort`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from reconciler.cli.context import Context
from reconciler.cli.render.rollout import headline, print_rollout, rollout_json
from reconciler.cli.render.tables import print_replicas
from reconciler.core.model.rollout import RolloutState
from reconciler.core.report.rollout import RolloutReport
from reconciler.errors import PermanentError
from reconciler.manager.config_files import digest_of

if TYPE_CHECKING:
    from reconciler.controller.rollouts import Rollouts
    from reconciler.settings import StoreSettings
    from reconciler.wiring import Components

FAILED = 1
ONE_WAVE = "all stores are in one wave: a change of policy reaches them together"


def show_rollout(context: Context, *, output: str) -> None:
    with context.components() as components:
        rollouts = components.rollouts_to_steer
        report = rollouts.report(rollouts.read(), with_changes=True) if rollouts is not None else None
        replicas = components.state.replicas.replicas(now=components.state_clock.now())
    if output == "json":
        click.echo(rollout_json(report))
    elif report is None:
        context.out.print(ONE_WAVE, markup=False)
    else:
        print_rollout(report, context.out)
        print_replicas(replicas, digest_of(context.paths), context.out)


def continue_rollout(context: Context, *, yes: bool, step: str | None) -> int:
    return _act(
        context,
        yes=yes,
        what="continue",
        question=lambda report: report.question,
        act=lambda rollouts, seen: rollouts.resume(context.actor, seen=step or seen),
        can=lambda state: state.rollout is not None and state.rollout.phase != "finished",
    )


def abort_rollout(context: Context, *, yes: bool) -> int:
    return _act(
        context,
        yes=yes,
        what="abort",
        question=lambda _report: "End the rollout, so that later waves keep the policy that they had?",
        act=lambda rollouts, _seen: rollouts.abort(context.actor),
        can=lambda state: state.rollout is not None and state.rollout.is_under_way,
    )


def _act(
    context: Context,
    *,
    yes: bool,
    what: str,
    question: Callable[[RolloutReport], str],
    act: Callable[[Rollouts[StoreSettings], str], RolloutState | None],
    can: Callable[[RolloutState], bool],
) -> int:
    """Show the rollout, ask, and act. PermanentError if there is none to act on."""
    with context.components() as components:
        rollouts = _rollouts(components, what)
        state = rollouts.read()
        if state.rollout is None or not can(state):
            raise _none(what)
        report = rollouts.report(state)
        _say(context, report)
        if not yes and not context.confirm(question(report), waiting=f"rollout {what} needs a confirmation"):
            return FAILED
        after = act(rollouts, state.rollout.step)
        if after is None:
            raise _none(what)
        _say(context, rollouts.report(after))
    return 0


def _say(context: Context, report: RolloutReport) -> None:
    for line in headline(report):
        context.say(line)


def _rollouts(components: Components, what: str) -> Rollouts[StoreSettings]:
    rollouts = components.rollouts_to_steer
    if rollouts is None:
        raise PermanentError(f"there is no rollout to {what}: {ONE_WAVE}", hint="set `wave` of stores in stores.yaml")
    return rollouts


def _none(what: str) -> PermanentError:
    return PermanentError(f"there is no rollout to {what}", hint="reconciler rollout status")
