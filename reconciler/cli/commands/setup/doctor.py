"""`reconciler doctor`: checks databases, secrets, tokens and shops, and says how to fix them. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import click
from rich.console import Console

from reconciler.cli.checks.clerk import clerk_instance_checks
from reconciler.cli.checks.conclusions import (
    Check,
    Level,
    clerk_checks,
    guard_check,
    rights_check,
    shop_checks,
    state_clock_check,
    state_schema_checks,
)
from reconciler.cli.checks.metafield_limits import limit_checks
from reconciler.cli.checks.profile_sample import sample_of, unsteady_fields
from reconciler.cli.checks.profiles import row_checks, steady_check, table_checks, url_checks
from reconciler.cli.checks.shop_needs import read_metafields, read_setup
from reconciler.cli.context import Context
from reconciler.cli.render.alike import for_any_store, group_alike, print_heading
from reconciler.cli.render.flow import LinePrinter, words_of
from reconciler.cli.render.json import dumps
from reconciler.cli.render.plain import clean, count_text, sentence
from reconciler.controller.scan.standing import CHANGES, FULL, suspects
from reconciler.core.model.json import time_z
from reconciler.core.report.status import updated_at_note
from reconciler.errors import ReconcilerError
from reconciler.ports import ScanRepository
from reconciler.settings import StoreSettings
from reconciler.state.access import openings
from reconciler.state.database.found import StateFound, find_state, open_read_only
from reconciler.state.processes.clock import DatabaseClock
from reconciler.state.schema import check as schema_differences
from reconciler.supabase.checks.inspection import inspect_profiles
from reconciler.supabase.checks.rights import rights_on
from reconciler.wiring import Components

FAILED = 1
PARALLEL_SHOPS = 8
OFF = ("–", "dim")
MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red")}


def diagnose(
    context: Context,
    *,
    stores: tuple[str, ...],
    output: str,
    everything: bool,
) -> int:
    with context.components() as components, context.progress() as progress:
        chosen = components.configured_stores(stores)
        task = progress.add_task("checking", total=len(chosen))
        checks = tuple(all_checks(components, chosen, checked=lambda: progress.advance(task)))
        at = components.clock.now()
    failed = any(c.level == "failed" for c in checks)
    if output == "json":
        body = {"version": 1, "at": time_z(at), "ok": not failed, "checks": [c.model_dump() for c in checks]}
        click.echo(dumps(body))
    else:
        show(checks, context.out, everything=everything)
    return FAILED if failed else 0


def all_checks(
    components: Components, stores: Sequence[StoreSettings], *, checked: Callable[[], None]
) -> Iterator[Check]:
    """All checks in a fixed order; the shops are read in parallel. `checked` is called after each store."""
    found, checks = inspect_state(components)
    yield from checks
    has_state = found is not None and found.is_usable
    if has_state:
        stores = components.targeted_stores([str(store.name) for store in stores])
    yield from profile_checks(
        components, lambda: sum(components.state.mappings.count(s.shop) for s in stores) if has_state else 0
    )
    yield from clerk_checks(components.loaded.settings)
    yield from _with_failures("clerk", "instance", lambda: clerk_instance_checks(components))
    with ThreadPoolExecutor(PARALLEL_SHOPS, thread_name_prefix="doctor") as pool:
        for found_in_shop in pool.map(
            lambda store: tuple(store_checks(components, store, has_state=has_state)), stores
        ):
            checked()
            yield from found_in_shop


def inspect_state(components: Components) -> tuple[StateFound | None, tuple[Check, ...]]:
    """The state and its checks: it answers, its schema is current, no other role reads it. None if it can't be read."""
    url = components.loaded.settings.state.url
    try:
        found = find_state(url, outage_s=components.connections.outage_s)
    except ReconcilerError as error:
        return None, (Check(area="state", what="database", level="failed", message=error.message, hint=error.hint),)
    return found, tuple(_with_failures("state", "schema", lambda: _state_checks(components, found)))


def _state_checks(components: Components, found: StateFound) -> Iterator[Check]:
    yield from state_schema_checks(found)
    differences, open_to = list[str](), list[str]()
    with open_read_only(components.loaded.settings.state.url, outage_s=components.connections.outage_s) as engine:
        if not found.is_sqlite:
            yield state_clock_check(DatabaseClock(engine, components.clock).ahead_s())
        if found.is_usable:
            differences, open_to = schema_differences(engine), openings(engine)
    if not found.is_usable:
        return
    if differences:
        message = f"differs: {'; '.join(differences)}"
        yield Check(area="state", what="schema", level="failed", message=message, hint="reconciler db upgrade")
    else:
        yield Check(area="state", what="schema", level="ok", message="current")
    if open_to:
        hint = "reconciler db upgrade revokes these rights"
        yield Check(area="state", what="roles", level="failed", message="; ".join(open_to), hint=hint)
    elif not found.is_sqlite:
        message = "row level security is on, and Supabase's API roles have no access"
        yield Check(area="state", what="roles", level="ok", message=message)


def profile_checks(components: Components, mapped: Callable[[], int]) -> Iterator[Check]:
    """Checks of the profiles: table and columns exist, the role sees every row, and the values are valid.

    `mapped` returns the number of mapped users: if there are some, an empty table is an error.
    """
    yield from _with_failures("profiles", "table", lambda: _profile_checks(components, mapped))


def _profile_checks(components: Components, mapped: Callable[[], int]) -> Iterator[Check]:
    settings = components.loaded.settings
    source = settings.profiles
    url = source.url or settings.state.url
    yield from url_checks(url)
    profiles = components.profiles
    count, oddities = profiles.count(), profiles.check()
    columns = ", ".join(source.columns)
    yield Check(area="profiles", what="table", level="ok", message=f"{source.table} can be read in full")
    yield Check(area="profiles", what="columns", level="ok", message=f"found: {columns}")
    yield from rights_check(rights_on(url, source.table), settings)
    for oddity in oddities:
        yield Check(
            area="profiles", what="keys", level="warning", message=oddity, hint="find out what writes such rows"
        )
    if count:
        yield Check(area="profiles", what="rows", level="ok", message=count_text(count, "row"))
    elif known := mapped():
        users = count_text(known, "mapped user")
        message = f"the table is empty, but {users} should be in it: nothing is planned or released"
        hint = "check profiles.table, the role's rights and row level security"
        yield Check(area="profiles", what="rows", level="failed", message=message, hint=hint)
    else:
        hint = "check table and role, if it should have users"
        yield Check(area="profiles", what="rows", level="warning", message="the table is empty", hint=hint)
    found = inspect_profiles(url, source.table, source.columns)
    if found is not None:
        yield from table_checks(found, count, settings)
    if settings.clerk.upsert_profiles:
        yield from _with_failures("profiles", "writing", lambda: _write_checks(components))
    consents = dict.fromkeys(rule for store in components.loaded.stores for rule in store.consent.rules.values())
    sample = sample_of(profiles.scan(), components.clock.now(), consents)
    yield from row_checks(sample, found, settings)
    again = profiles.get([profile.clerk_user_id for profile in sample.first])
    yield from steady_check(unsteady_fields(sample.first, again), settings)


def _write_checks(components: Components) -> Iterator[Check]:
    """Whether `run` could write the profile rows; otherwise it refuses to start."""
    fields = ", ".join(sorted(components.connections.upserts.fields()))
    yield Check(area="profiles", what="writing", level="ok", message=f"clerk.upsert_profiles may write {fields}")


def store_checks(components: Components, store: StoreSettings, *, has_state: bool) -> Iterator[Check]:
    """The checks of one shop. If it refuses the token, that is the only check of the shop itself."""
    if not has_state and store.auth.refresh_token is not None:
        message = "its token pair is stored in the state, which can't be used yet: the shop was not checked"
        hint = "reconciler db upgrade, then doctor again"
        yield Check(area=store.name, what="shop", level="failed", message=message, hint=hint)
        return

    def read_shop() -> Iterator[Check]:
        reader = components.setup(store, by_state=has_state)
        seen = replace(read_setup(reader, store), metafields=read_metafields(reader, store))
        now, monotonic_s = components.clock.now(), time.monotonic()
        yield from shop_checks(seen, store, components.loaded.settings, now=now, monotonic_s=monotonic_s)
        defined = seen.metafields
        yield from _with_failures(
            store.name, "metafields", lambda: limit_checks(components.profiles.scan(), store, defined)
        )

    yield from _with_failures(store.name, "shop", read_shop)
    if has_state:
        yield from _with_failures(store.name, "updated_at", lambda: updated_at_checks(components.state.scans, store))
    yield from _with_failures(
        store.name,
        "guards",
        lambda: [guard_check(store, components.state.mappings.count(store.shop) if has_state else 0)],
    )


def updated_at_checks(book: ScanRepository, store: StoreSettings) -> Iterator[Check]:
    """A warning if rows have changed without their `updated_at`; otherwise nothing."""
    if note := updated_at_note(suspects(book.mark(store.shop, CHANGES), book.mark(store.shop, FULL))):
        message, _, hint = note.partition("; ")
        yield Check(area=store.name, what="updated_at", level="warning", message=message, hint=hint)


def _with_failures(area: str, what: str, checks: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except ReconcilerError as error:
        yield Check(area=area, what=what, level="failed", message=error.message, hint=error.hint)


def show(checks: Sequence[Check], console: Console, *, everything: bool = False) -> None:
    """Print what needs attention first, then what is well; once for stores with the same results, unless `everything`."""
    lines = LinePrinter(console)
    areas = [(area, tuple(found)) for area, found in groupby(checks, key=attrgetter("area"))]
    areas.sort(key=lambda each: all(check.level == "ok" for check in each[1]))
    shapes = ((each, each[0] if everything else _shape(*each)) for each in areas)
    for alike in group_alike(shapes).values():
        _print_areas(alike, lines, everything=everything)
    _print_counts(checks, lines)


def _shape(area: str, found: Sequence[Check]) -> object:
    """What is printed of this area, without its name."""
    attention = tuple(
        (check.what, check.level, for_any_store(check.message, area), for_any_store(check.hint, area))
        for check in found
        if check.level != "ok" or check.is_off
    )
    return attention, _passed(found)


def _print_areas(alike: Sequence[tuple[str, Sequence[Check]]], lines: LinePrinter, *, everything: bool) -> None:
    """Print areas that have the same shape: one, or several stores."""
    (area, found), *more = alike
    is_well = all(check.level == "ok" for check in found) and not everything
    if is_well:
        title, each = (f"{len(alike)} stores", "each: ") if more else (clean(area), "")
        sign = OFF if all(check.is_off for check in found) else MARKS["ok"]
        lines.flow([sign, (f"{title:<17}", "bold"), *words_of(each + _passed(found))], hang=20)
    else:
        print_heading([(name, "") for name, _ in alike], lines)
    for check in found:
        if everything or check.level != "ok" or check.is_off:
            mark, style = OFF if check.is_off else MARKS[check.level]
            message, hint = (for_any_store(t, area) if more else t for t in (check.message, check.hint))
            lines.flow(
                [(mark, style), (f"{clean(check.what):<15}", style), *words_of(sentence(message))],
                indent=2,
                hang=18,
            )
            if hint:
                lines.prose(f"hint: {sentence(hint)}", "cyan", indent=20, hang=6)
    if not is_well and not everything and any(check.level == "ok" for check in found):
        lines.flow([("✓", "green"), *words_of(_passed(found))], indent=2, hang=2)


def _passed(found: Sequence[Check]) -> str:
    """`3 checks passed: token, scopes, clocks`; `not set up` where nothing is but what is off."""
    well = [clean(check.what) for check in found if check.level == "ok" and not check.is_off]
    return f"{count_text(len(well), 'check')} passed: {', '.join(well)}" if well else "not set up"


def _print_counts(checks: Sequence[Check], lines: LinePrinter) -> None:
    failed = sum(c.level == "failed" for c in checks)
    warnings = sum(c.level == "warning" for c in checks)
    lines.blank()
    if not failed and not warnings:
        lines.put((f"✓ all {count_text(len(checks), 'check')} passed", "bold green"))
    else:
        style = "bold red" if failed else "yellow"
        lines.put(
            (f"{failed:,} failed, {count_text(warnings, 'warning')}, of {count_text(len(checks), 'check')}", style)
        )
