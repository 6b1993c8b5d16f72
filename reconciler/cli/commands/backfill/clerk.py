"""`reconciler backfill clerk`: writes profile rows for the users that no webhook reported, after a confirmation.

It reads Clerk page by page: once to show the counts, and again after the confirmation to write what is true by then. So
it keeps only counts and a few examples in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from rich.console import Console

from reconciler.clerk.users import ClerkUsers
from reconciler.cli.context import Context
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean, count_text, sentence
from reconciler.controller.profile_rows.backfill import Kind, Page, Tally, survey, write_rows
from reconciler.controller.profile_rows.writer import RowDone, RowWriter
from reconciler.controller.runs import record_run
from reconciler.core.model.profile import Profile
from reconciler.core.model.request import Priority, Request
from reconciler.core.model.run import NewRun, RunCounts
from reconciler.errors import ConfigError, ReconcilerError
from reconciler.wiring import Components

FAILED = 1
SHOWN = 10
_WORDS: tuple[tuple[Kind, str, str], ...] = (
    ("missing", "have no row", "green"),
    ("older", "have an older row", "cyan"),
    ("deleted", "are marked as deleted here, and remain deleted", "dim"),
    ("current", "are up to date", "dim"),
)


def backfill_clerk(
    context: Context,
    *,
    yes: bool,
    output: str,
) -> int:
    with context.components() as components:
        users = _clerk_users(components)
        _ = components.connections.upserts  # fails before Clerk is read if the table can't be written
        if not yes:
            tally = Tally()
            for _ in _survey_users(context, components, users, tally, "reading Clerk's users"):
                pass
            table = components.loaded.settings.profiles.table
            if output == "text" or tally.to_write:
                _show(tally, context.out if output == "text" else context.err, table)
            if not tally.to_write:
                _print_result(context, tally, output)
                return 0
            rows = count_text(tally.to_write, "row")
            if not context.confirm(f"Write {rows}?", waiting=f"{rows} to write"):
                return FAILED
        done = _write_all(context, components, users)
    _print_result(context, done, output)
    return FAILED if done.failed_count else 0


def _clerk_users(components: Components) -> ClerkUsers:
    users = components.connections.clerk
    if users is None:
        raise ConfigError(
            "clerk.secret_key is not set: Clerk's API needs it to list the users",
            hint="set CLERK_SECRET_KEY in the environment to the secret key from Clerk's dashboard, API keys",
        )
    return users


def _write_all(context: Context, components: Components, users: ClerkUsers) -> Tally:
    """Read all users again and write their rows page by page. Rows written before an error remain."""
    tally = Tally()
    stores = components.stores()

    def nudge(done: Sequence[RowDone]) -> None:
        """Enqueue the users of new rows: `updated_at` may be older than the last resync, which would miss them."""
        requests = [Request(store.name, row.user) for store in stores for row in done]
        components.queue.add(requests, components.state_clock.now(), priority=Priority.RESYNC, reason="backfill")

    writer = RowWriter(
        lambda: components.connections.upserts, components.profile_writes, components.state_clock, ask=None, nudge=nudge
    )
    new_run = NewRun("backfill_clerk", (), context.actor, components.state.leases.new_holder())
    try:
        with record_run(components.state.runs, new_run, components.state_clock) as run:
            try:
                for to_write in _survey_users(context, components, users, tally, "writing profile rows"):
                    write_rows(to_write, writer.write_now, tally)
            finally:
                counts = {"write": tally.written} if tally.written else {}
                run.counts = RunCounts(users=tally.users, actions=counts, failures=tally.failed_count)
            run.outcome = "failed" if tally.failed_count else "done"
    except ReconcilerError:
        if tally.written:
            context.say(f"{count_text(tally.written, 'row')} written before the error: run again to continue")
        raise
    return tally


def _survey_users(
    context: Context, components: Components, users: ClerkUsers, tally: Tally, words: str
) -> Iterator[list[Profile]]:
    with context.progress() as progress:
        bar = progress.add_task(words, total=None)
        pages = (Page([user.profile() for user in page.users], page.problems) for page in users.pages())
        for to_write in survey(pages, components.connections.upserts, components.profile_writes, tally):
            yield to_write
            progress.update(bar, completed=tally.users)


# --- output ---------------------------------------------------------------------------------------------------------


def _print_result(context: Context, tally: Tally, output: str) -> None:
    if output == "json":
        click.echo(_json(tally))
    else:
        _show_result(tally, context.out)


def _show(tally: Tally, console: Console, table: str) -> None:
    lines = LinePrinter(console)
    lines.put((f"Clerk has {count_text(tally.users, 'user')}", "bold"), (f", compared with {clean(table)}", "dim"))
    for kind, words, style in _WORDS:
        count = tally.counts[kind]
        if not count:
            continue
        lines.put((f"{count:,} {words}", style), indent=2)
        if kind in {"missing", "older"}:
            names = [(clean(user), "") for user in tally.examples[kind]]
            more = [(f"and {count - len(names):,} more", "dim")] if count > len(names) else []
            lines.flow([*names, *more], indent=6, between=", ")
    _show_problems(tally, lines)


def _show_result(tally: Tally, console: Console) -> None:
    lines = LinePrinter(console)
    if tally.written or not tally.failed_count:
        words = f"✓ wrote {count_text(tally.written, 'row')}" if tally.written else "✓ nothing to write"
        lines.put((words, "bold green"), (f"  of {count_text(tally.users, 'user')}", "dim"))
    if tally.failed_count:
        lines.put((f"✗ {count_text(tally.failed_count, 'row')} could not be written", "bold red"))
        for user, why in tally.failed[:SHOWN]:
            lines.prose(f"{clean(user)}: {sentence(why)}", "red", indent=4, hang=2)
        _show_more(tally.failed_count, lines)


def _show_problems(tally: Tally, lines: LinePrinter) -> None:
    if tally.problem_count:
        what = count_text(tally.problem_count, "part")
        lines.put(
            (f"! {what} of Clerk's response can't be read; these values are not changed here", "yellow"), indent=2
        )
        for problem in tally.problems[:SHOWN]:
            lines.prose(sentence(problem), "yellow", indent=6, hang=2)
        _show_more(tally.problem_count, lines)


def _show_more(count: int, lines: LinePrinter) -> None:
    if count > SHOWN:
        lines.put((f"… and {count - SHOWN:,} more", "dim"), indent=6)


def _json(tally: Tally) -> str:
    return dumps(
        {
            "version": 1,
            "users": tally.users,
            **tally.counts,
            "examples": {kind: tally.examples.get(kind, []) for kind in ("missing", "older")},
            "problems": tally.problems,
            "problem_count": tally.problem_count,
            "written": tally.written,
            "failed": [{"clerk_user_id": user, "message": why} for user, why in tally.failed],
            "failed_count": tally.failed_count,
        }
    )
