"""The checks of `doctor` on the profiles table and its rows, as functions of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from reconciler.cli.checks.conclusions import Check, Level
from reconciler.cli.checks.profile_sample import ProfileSample
from reconciler.cli.render.plain import count_text
from reconciler.outbound.databases.url import is_loopback
from reconciler.settings import Settings
from reconciler.supabase.checks.inspection import Inspection
from reconciler.supabase.limits import LOCK_S, STATEMENT_S

AREA = "profiles"
LARGE_BY_EMAIL = 50_000  # rows above which finding an email without an index takes a tenth of a second or more
LARGE = 10_000  # rows above which reading one user without an index is slow
STILL_MIN = 20  # never-updated rows below which there is no warning
PRESENT = ("active", "enabled", "current", "alive", "valid", "present")


def _check(what: str, level: Level, message: str, hint: str = "") -> Check:
    return Check(area=AREA, what=what, level=level, message=message, hint=hint)


def table_checks(found: Inspection, rows: int, settings: Settings) -> Iterator[Check]:
    """Checks of the table's kind, its key, its indexes, the role's limits and `updated_at`."""
    yield from _kind_checks(found)
    yield from _key_checks(found, rows)
    yield from _limit_checks(found)
    yield from _updated_checks(found, rows, settings)
    if settings.clerk.upsert_profiles:
        yield from _write_checks(found)


def _kind_checks(found: Inspection) -> Iterator[Check]:
    if found.kind == "m":
        hint = f"use the underlying table, or run regularly: refresh materialized view {found.table};"
        yield _check("kind", "warning", "a materialized view: changes are visible only after a REFRESH", hint)
    elif found.kind == "f":
        hint = "set profiles.url to the server that holds the table"
        yield _check("kind", "warning", "a foreign table: limits and indexes of the other server are unknown", hint)
    if found.is_standby:
        message = "a standby: while it lags, changes arrive late"
        if not found.updated:
            message += ", and an earlier row may be written once more: map updated_at"
        yield _check("server", "warning", message, "set profiles.url to the primary server")


def _key_checks(found: Inspection, rows: int) -> Iterator[Check]:
    if found.kind not in {"r", "p"}:
        return
    if not found.is_unique:
        message = f"{found.key} is not unique: a user may have two rows, and such a user is held"
        parted = (
            "a unique index of a partitioned table must contain the partition key: ensure that the app writes one row "
            "for each user"
        )
        yield _check("key", "warning", message, parted if found.kind == "p" else _index(found, found.key, "unique "))
    if found.collations is not None and found.is_indexed:
        built, there = found.collations
        message = (
            f"the index on {found.key} was built by version {built} of its collation, and the server has {there}: it may "
            "not find a row that is there, and its user would be released"
        )
        hint = f"reindex table {found.table}; then alter database … refresh collation version (or alter collation …)"
        yield _check("index", "warning", message, hint)
    if rows < LARGE:
        return
    if not found.is_indexed:
        message = f"{found.key} has no index ({count_text(rows, 'row')}): every read of one user scans the whole table"
        yield _check("index", "warning", message, _index(found, found.key))
    if found.updated and not found.is_updated_indexed:
        message = f"{found.updated} has no index ({count_text(rows, 'row')}): every resync scans the whole table"
        yield _check("index", "warning", message, _index(found, found.updated))
    if rows >= LARGE_BY_EMAIL and not found.is_email_indexed:
        message = (
            f"no index finds the users of an email ({count_text(rows, 'row')}): every such read scans the whole table"
        )
        yield _check("index", "warning", message, _index(found, found.email))


def _index(found: Inspection, column: str, unique: str = "") -> str:
    """The statement that creates the index, `concurrently` where possible."""
    words = column.strip('"').replace('"', "")
    how = f'"{words}_index"' if not found.is_postgres else "concurrently" if found.kind == "r" else ""
    return " ".join(f"create {unique}index {how} on {found.table} ({column});".split())


def _limit_checks(found: Inspection) -> Iterator[Check]:
    limits = (
        ("statement_timeout", found.statement_timeout_ms, STATEMENT_S),
        ("lock_timeout", found.lock_timeout_ms, LOCK_S),
    )
    for name, set_ms, ours_s in limits:
        if 0 < set_ms < ours_s * 1000:
            message = f"{found.role} has a {name} of {set_ms} ms: reads of a large table may take longer"
            hint = f"alter role {found.role} set {name} = '{ours_s:.0f}s';"
            yield _check("limits", "warning", message, hint)


def _updated_checks(found: Inspection, rows: int, settings: Settings) -> Iterator[Check]:
    if not found.updated or found.kind not in {"r", "p"}:
        return
    if found.moved_by:
        if settings.clerk.upsert_profiles:
            message = f"the trigger {found.moved_by} sets {found.updated} to the time of our write, instead of Clerk's"
            hint = f"nothing is lost by it; to keep Clerk's time: drop trigger {found.moved_by} on {found.table};"
            yield _check("updated_at", "warning", message, hint)
        return
    trigger = (
        "have the app set it on each change, or: create extension if not exists moddatetime; "
        f"create trigger set_updated_at before update on {found.table} for each row execute function "
        f"moddatetime({found.updated});"
        if found.role
        else "have the app set it on each change, or remove profiles.columns.updated_at"
    )
    if found.still is not None and found.still >= STILL_MIN:
        message = f"{found.updated} equals created_at in all {count_text(found.still, 'row')}: changes do not update it"
        yield _check("updated_at", "warning", message, trigger)
    elif found.still is None and found.updated_by_default and rows:
        message = f"{found.updated} is set when a row is inserted, and no trigger updates it afterwards: the app must"
        yield _check("updated_at", "warning", message, trigger)


def _write_checks(found: Inspection) -> Iterator[Check]:
    """Whether the role has the rights that `clerk.upsert_profiles` needs."""
    if found.is_read_only:
        hint = "set profiles.url to the primary server, or set clerk.upsert_profiles: false"
        yield _check("writing", "failed", "this server or role is read-only, but clerk.upsert_profiles is on", hint)
    policy = f"create policy reconciler_writes on {found.table} for all to {found.role} using (true) with check (true);"
    lacking = [word for word, may in (("insert", found.may_insert), ("update", found.may_update)) if not may]
    if lacking:
        message = (
            f"row level security lets {found.role} {' and '.join(lacking)} no row, but clerk.upsert_profiles is on"
        )
        yield _check("writing", "failed", message, policy)
    elif not found.may_all:
        message = f"policies let {found.role} write only some rows of {found.table}: the others are refused"
        yield _check("writing", "warning", message, policy)


def row_checks(sample: ProfileSample, found: Inspection | None, settings: Settings) -> Iterator[Check]:
    """Checks of the values in the sampled rows."""
    if not sample.rows:
        return
    columns = settings.profiles.columns
    for message, count in sample.problems.most_common():
        level: Level = "failed" if 2 * count >= sample.rows else "warning"
        words = f"{message}: {_share(count, sample)}, for example {sample.example[message]}"
        yield _check("values", level, words, _fix_hint(message, found, settings))
    if sample.deleted == sample.rows or _says_present(columns.get("deleted_at", "")):
        yield _deletion_check(sample, columns["deleted_at"])
    if "email" in columns and sample.without_email == sample.rows:
        hint = "map profiles.columns.email to the column with the email"
        yield _check("email", "warning", f"no row has an email in {columns['email']}", hint)
    elif settings.profiles.trust_email == "verified" and not sample.verified:
        message = f"{columns['email_verified']} is true in no row: with trust_email: verified no email is used"
        hint = "map email_verified to the column with Clerk's verification, or set profiles.trust_email"
        yield _check("email", "warning", message, hint)
    if sample.ahead:
        message = f"{columns['updated_at']} is in the future: {_share(sample.ahead, sample)}"
        hint = "a time without a zone is read as UTC: use timestamptz, or write UTC"
        yield _check("updated_at", "warning", message, hint)
    if sample.deleted_ahead:
        column = columns["deleted_at"]
        message = (
            f"{column} is in the future: {_share(sample.deleted_ahead, sample)}, users who count as deleted already"
        )
        hint = (
            f"create a view with (case when {column} <= current_timestamp then {column} end) as {column}, and name it"
        )
        yield _check("deleted_at", "warning", message, hint)
    yield from _consent_checks(sample)
    if not sample.clerk_ids:
        message = f"no value of {columns['clerk_user_id']} begins with user_, as Clerk's ids do: webhooks match no row"
        hint = "map profiles.columns.clerk_user_id to the column with Clerk's id"
        yield _check("key", "warning", message, hint)


def steady_check(fields: Sequence[str], settings: Settings) -> Iterator[Check]:
    """The check that two reads give the same; `fields` are those that differ in most rows."""
    columns = settings.profiles.columns
    names = [columns.get(field, columns.get("full_name", field)) for field in fields]
    if names:
        message = f"{', '.join(dict.fromkeys(names))} differ in each read: each resync reads every customer"
        hint = "leave values that a view computes from the time, such as now(), out of the mapped columns"
        yield _check("values", "warning", message, hint)


def _consent_checks(sample: ProfileSample) -> Iterator[Check]:
    """What the rows say at the paths of each consent."""
    for rule, found in sample.consents.items():
        if found.unreadable:
            message = (
                f"{' or '.join(filter(None, (rule.source, rule.at)))} can't be read: {_share(found.unreadable, sample)}"
            )
            yield _check("consent", "warning", message, "correct the rows; their users are held until then")
        if found.zoneless:
            message = f"{rule.at or rule.source} has no zone and is read as UTC: {_share(found.zoneless, sample)}"
            hint = "store it with its zone: a local time may make an old yes look newer than a later unsubscription"
            yield _check("consent", "warning", message, hint)
        if not found.answers:
            hint = "correct the path in stores.yaml, or wait for the first answer"
            yield _check("consent", "warning", f"no row says yes or no at {rule.source}: nothing is written", hint)
        elif found.undated:
            missing = (
                f"{rule.at} is missing beside an answer" if rule.at else f"{rule.source} has no `at` with its time"
            )
            message = f"{missing}: {_share(found.undated, sample)}, only a first yes is written"
            yield _check("consent", "warning", message, "have the app store when the user answered")
        elif not found.unreadable:
            yield _check("consent", "ok", f"{rule.source}: {_share(found.answers, sample)} with an answer and its time")


def _deletion_check(sample: ProfileSample, column: str) -> Check:
    hint = (
        "deleted_at is the time of deletion, or true if the user is deleted; for the opposite create a view with "
        f"(not {column}) as is_deleted; and map deleted_at: is_deleted"
    )
    if _says_present(column):
        message = (
            f"deleted_at is mapped to {column}, a name that says the opposite: {_share(sample.deleted, sample)} deleted"
        )
        return _check("deleted_at", "failed", message, hint)
    message = f"{column} marks {_share(sample.deleted, sample)} as deleted: no user remains"
    return _check("deleted_at", "failed", message, hint)


def _says_present(column: str) -> bool:
    words = column.lower().split("_")
    return bool(words) and not {"not", "in", "un", "no"} & set(words) and any(word in PRESENT for word in words)


def _share(count: int, sample: ProfileSample) -> str:
    if count == sample.rows:
        return f"all {count_text(count, 'row')}" if count > 1 else "the only row"
    return f"{count:,} of {count_text(sample.rows, 'row')}"


def _fix_hint(message: str, found: Inspection | None, settings: Settings) -> str:
    table = found.table if found is not None else settings.profiles.table
    key = found.key if found is not None else settings.profiles.columns["clerk_user_id"]
    if "rows have this key" in message:
        return f"select {key}, count(*) from {table} group by 1 having count(*) > 1;"  # noqa: S608  for people
    if message.startswith("deleted_at"):
        column = settings.profiles.columns["deleted_at"]
        return (
            f"deleted_at is a time or a boolean; for words create a view of {table} with ({column} = 'deleted') as "
            "is_deleted; and map deleted_at: is_deleted"
        )
    if "is mapped to the column" in message:
        return "correct profiles.columns; the users are held until then"
    return "correct the rows, or map another column; the users are held until then"


def url_checks(url: str) -> Iterator[Check]:
    """Whether the URL turns TLS off."""
    parts = urlsplit(url)
    modes = parse_qs(parts.query).get("sslmode", [])
    if (
        parts.scheme.startswith("postgres")
        and not is_loopback(parts.hostname or "")
        and modes
        and modes[-1] in {"disable", "allow", "prefer"}
    ):
        message = f"sslmode={modes[-1]}: passwords and profiles may cross the network unencrypted"
        yield _check(
            "TLS", "warning", message, "remove it (require is the default here), or use verify-full with sslrootcert"
        )
