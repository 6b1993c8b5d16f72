"""The checks of `doctor` as functions: from observed values to results (ok, warning, failed). They read nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.cli.checks.shop_needs import (
    ObservedSetup,
    has_scope,
    missing_topics,
    topics_of,
    webhook_uri,
    wrong_definition,
)
from reconciler.core.model.store import Store
from reconciler.core.plan.guard import closed_kinds
from reconciler.ports import Definition, ShopFacts, Subscription
from reconciler.settings import Settings, StoreSettings
from reconciler.state.database.found import StateFound
from reconciler.state.database.version import head
from reconciler.supabase.checks.rights import Rights

Level = Literal["ok", "warning", "failed"]
SUPPORTED_MONTHS = 12  # a quarterly version at least (shopify.dev, versioning, read 2026-11-23)
SOON_DAYS = 90
CLOCK_S = 60.0
KEY_BYTES = range(16, 65)  # Svix generates 24; it accepts other lengths for imported keys
WHSEC = "whsec_"
_REVOKE = "revoke select on {table} from anon, authenticated;"


class Check(BaseModel):
    """One line of the report: what was checked, its level, a message, and a hint if there is something to do.

    `is_off`: an optional part is not set up, which is no problem.
    """

    model_config = ConfigDict(frozen=True)

    area: str
    what: str
    level: Level
    message: str
    hint: str = ""
    is_off: bool = Field(default=False, exclude=True)


def token_check(domain: str, store: StoreSettings) -> Check:
    """Whether the shop that answered is the configured one."""
    if domain == store.domain:
        return Check(area=store.name, what="token", level="ok", message=f"works for {domain}")
    return Check(
        area=store.name,
        what="token",
        level="failed",
        message=f"the shop that answers is {domain}, but stores.yaml says {store.domain}",
        hint="if the shop was renamed, set its new name in stores.yaml: its state is kept; otherwise correct shop, "
        "admin_url or auth of this store in stores.yaml before you apply",
    )


def shop_checks(
    seen: ObservedSetup, store: StoreSettings, settings: Settings, *, now: datetime, monotonic_s: float
) -> Iterator[Check]:
    """All checks of a shop that answered. `monotonic_s` is the monotonic clock at `now`."""
    yield token_check(seen.facts.domain, store)
    yield scope_check(seen.facts.scopes, store)
    yield version_check(seen.facts, store, now.date())
    yield definition_check(seen.definition, store)
    yield from metafield_checks(seen.metafields, store)
    yield from webhook_checks(seen, store, settings)
    asked_at, answered_at = (
        now - timedelta(seconds=monotonic_s - at_s) for at_s in (seen.facts.asked_s, seen.facts.answered_s)
    )
    yield clock_check(seen.facts.server_time, store, asked_at, answered_at)


def guard_check(store: StoreSettings, mappings: int) -> Check:
    """Which kinds of action the guards withhold in every plan: a percentage of few mappings may allow none."""
    closed = closed_kinds(store, mappings)
    if not closed:
        return Check(area=store.name, what="guards", level="ok", message="every kind of action is possible")
    kinds = ", ".join(f"{kind} (needs {needed})" for kind, needed in closed.items())
    message = f"with {mappings} mappings the percentages allow no {kinds}: such actions need `apply --approve`"
    return Check(area=store.name, what="guards", level="ok", message=message)


def scopes_needed(store: Store) -> dict[str, str]:
    """Each scope that this store's policy needs, with its purpose."""
    needed = {"read_customers": "to read", "write_customers": "to write"}
    if store.on_email_conflict == "merge":
        needed |= dict.fromkeys(("read_customer_merge", "write_customer_merge"), "for on_email_conflict: merge")
    if store.on_leave == "erase":
        needed["write_customer_data_erasure"] = "for on_leave: erase"
    return needed


def scope_check(scopes: frozenset[str], store: Store) -> Check:
    needed = scopes_needed(store)
    missing = [f"{scope} ({why})" for scope, why in needed.items() if not has_scope(scopes, scope)]
    if missing:
        hint = "grant the app these scopes in Shopify, and have the shop accept them"
        return Check(
            area=store.name, what="scopes", level="failed", message=f"missing: {', '.join(missing)}", hint=hint
        )
    return Check(area=store.name, what="scopes", level="ok", message=", ".join(needed))


def version_check(facts: ShopFacts, store: StoreSettings, today: date) -> Check:
    """Whether the configured API version answered: for a retired one Shopify silently uses its oldest version."""
    asked, answered = store.api_version, facts.api_version
    newest = max((v for v in facts.supported_versions if v[:2] == "20"), default=answered)
    hint = f"read Shopify's changelog, then set api_version: {newest!r}"
    if answered != asked:
        message = f"api_version is {asked}, but {answered} answered: Shopify does not serve {asked}"
        return Check(area=store.name, what="API version", level="failed", message=message, hint=hint)
    if facts.supported_versions and answered not in facts.supported_versions:
        message = f"{answered} is no longer supported"
        return Check(area=store.name, what="API version", level="failed", message=message, hint=hint)
    end = end_of_support(answered)
    left = (end - today).days
    message = f"{answered}, supported until at least {end}"
    level: Level = "warning" if left < SOON_DAYS else "ok"
    words = f"{message}: {left} days left" if level == "warning" else message
    return Check(area=store.name, what="API version", level=level, message=words, hint="" if level == "ok" else hint)


def end_of_support(version: str) -> date:
    """The first day on which Shopify may retire this quarterly version."""
    year, month = (int(part) for part in version.split("-"))
    return date(year + SUPPORTED_MONTHS // 12, month, 1)


def definition_check(definition: Definition | None, store: Store) -> Check:
    name = f"{store.backlink.namespace}.{store.backlink.key}"
    wrong = wrong_definition(definition, store.backlink)
    if definition is None:
        message, hint = f"there is no metafield definition {name}", f"reconciler bootstrap --store {store.name}"
        return Check(area=store.name, what="back-link", level="failed", message=message, hint=hint)
    if wrong:
        hint = "delete it in Shopify's settings and run bootstrap, or set another backlink"
        return Check(area=store.name, what="back-link", level="failed", message=wrong, hint=hint)
    pinned = "pinned" if definition.pinned else "not pinned: staff must open all metafields to see it"
    message = f"metafield definition {name} of type id, unique, {pinned}"
    return Check(area=store.name, what="back-link", level="ok", message=message)


def metafield_checks(definitions: Mapping[str, Definition], store: Store) -> Iterator[Check]:
    """Whether the metafields that the store writes have the types of their definitions: Shopify refuses all others."""
    wrong = {
        name: definition.type
        for name, definition in definitions.items()
        if definition.type != store.metafields[name].type
    }
    for name, theirs in wrong.items():
        message = (
            f"{name} is of type {theirs} in Shopify, but stores.yaml writes {store.metafields[name].type}: Shopify"
        )
        hint = f"set type: {theirs} for {name} in stores.yaml, or delete the definition in Shopify's settings"
        yield Check(
            area=store.name, what="metafields", level="failed", message=f"{message} refuses every value", hint=hint
        )
    if store.metafields and not wrong:
        yield Check(area=store.name, what="metafields", level="ok", message=", ".join(store.metafields))


def webhook_checks(seen: ObservedSetup, store: StoreSettings, settings: Settings) -> Iterator[Check]:
    """Whether every topic has a subscription, and whether a secret to verify the webhooks is set."""
    public_url = settings.server.public_url
    uri = webhook_uri(public_url, store.name)
    if not public_url:
        message = "not used: server.public_url is not set, so only resyncs find drift"
        yield Check(area=store.name, what="webhooks", level="ok", message=message, is_off=True)
        return
    if not uri:
        message = f"server.public_url is {public_url}, but Shopify sends to https only"
        yield Check(area=store.name, what="webhooks", level="failed", message=message, hint="set an https:// address")
        return
    yield _subscription_check(seen.subscriptions, uri, seen.facts.scopes, store)
    if store.webhook_secret is None and store.auth.client_secret is None:
        message = "no secret to verify Shopify's webhooks is set: all are refused"
        hint = "set webhook_secret (the app's client secret) in stores.yaml"
        yield Check(area=store.name, what="webhook secret", level="failed", message=message, hint=hint)


def _subscription_check(subscriptions: Sequence[Subscription], uri: str, scopes: frozenset[str], store: Store) -> Check:
    missing, notes = missing_topics(subscriptions, uri, scopes, store)
    hint = f"reconciler bootstrap --store {store.name}"
    if missing:
        message = f"missing, or removed by Shopify after failed deliveries: {', '.join(missing)}"
        return Check(area=store.name, what="webhooks", level="failed", message=message, hint=hint)
    path = f"/webhooks/shopify/{store.name}"
    strays = sorted({s.uri for s in subscriptions if s.uri != uri and s.uri.endswith(path)})
    if strays:
        message = f"webhooks are also sent to {', '.join(strays)}"
        return Check(
            area=store.name,
            what="webhooks",
            level="warning",
            message=message,
            hint="delete these subscriptions in Shopify",
        )
    if notes:
        return Check(
            area=store.name, what="webhooks", level="warning", message="; ".join(notes), hint="grant the app that scope"
        )
    app_uri = uri.rpartition("/")[0]
    unsaid = f"Shopify does not say whether the app sends those about erasure to {app_uri}"
    message = f"{len(topics_of(store))} topics to {uri}; {unsaid}"
    return Check(area=store.name, what="webhooks", level="ok", message=message)


def clock_check(
    server_time: datetime | None, store: Store, asked_at: datetime, answered_at: datetime | None = None
) -> Check:
    """The difference between the shop's clock and ours. The shop read its clock between `asked_at` and `answered_at`."""
    if server_time is None:
        return Check(area=store.name, what="clocks", level="warning", message="the shop's response has no Date header")
    late = (server_time - (answered_at or asked_at)).total_seconds()
    apart = max(0.0, late, (asked_at - server_time).total_seconds())
    message = f"{apart:.0f} s from the shop's clock"
    if apart > CLOCK_S:
        hint = "set this machine's clock (NTP): webhooks older than five minutes are refused"
        return Check(area=store.name, what="clocks", level="warning", message=message, hint=hint)
    return Check(area=store.name, what="clocks", level="ok", message=message)


def state_clock_check(ahead_s: float) -> Check:
    """The difference between the clocks of the state's database and of this machine."""
    message = f"{abs(ahead_s):.0f} s from the database's clock"
    if abs(ahead_s) > CLOCK_S:
        hint = "synchronise both clocks (NTP): times in the state and in the profiles are compared"
        return Check(area="state", what="clocks", level="warning", message=message, hint=hint)
    return Check(area="state", what="clocks", level="ok", message=message)


def state_schema_checks(found: StateFound) -> Iterator[Check]:
    """Whether the state's database answers, and whether this program can use its schema."""
    message = f"{found.place}, {'not created yet' if found.standing == 'absent' and found.is_sqlite else 'answers'}"
    if found.trouble:
        yield Check(
            area="state", what="database", level="failed", message=f"{found.place}: {found.trouble}", hint=found.hint
        )
    else:
        yield Check(area="state", what="database", level="ok", message=message)
    if found.standing == "absent" and not found.trouble:
        message = "not created yet: the first command that needs it creates it"
        yield Check(area="state", what="schema", level="ok", message=message)
    elif found.standing == "newer":
        message = f"version {found.version} is newer than this program"
        yield Check(area="state", what="schema", level="failed", message=message, hint="upgrade customer-parity")
    elif found.standing == "older":
        hint = (
            "reconciler db upgrade" if not found.is_sqlite else "reconciler db upgrade; the next command also does it"
        )
        level: Level = "warning" if found.is_sqlite else "failed"
        message = f"version is {found.version}, this program needs {head()}"
        yield Check(area="state", what="schema", level=level, message=message, hint=hint)


def clerk_checks(settings: Settings) -> Iterator[Check]:
    """Whether Clerk's secrets have the right form. No message contains a secret."""
    secrets = settings.clerk.webhook_secrets
    for place, secret in enumerate(secrets):
        yield secret_check(secret.get_secret_value(), f"webhook_secrets[{place}]")
    if not secrets:
        message = "not set: Clerk's webhooks are refused, only resyncs find changes"
        yield Check(
            area="clerk",
            what="webhook_secrets",
            level="warning" if settings.server.public_url else "ok",
            message=message,
            hint="copy the endpoint's signing secret from Clerk's dashboard" if settings.server.public_url else "",
            is_off=not settings.server.public_url,
        )
    if secrets and settings.clerk.upsert_profiles and settings.clerk.instance_id is None:
        yield Check(
            area="clerk",
            what="instance_id",
            level="warning",
            message="not set: example events of Clerk's dashboard, and those of other instances, write rows as well",
            hint="set clerk.instance_id to the id of your instance: ins_…",
        )
    if settings.clerk.secret_key is not None:
        right = is_secret_key(settings.clerk.secret_key.get_secret_value())
        yield Check(
            area="clerk",
            what="secret_key",
            level="ok" if right else "failed",
            message="well formed" if right else "not a secret key: those begin with sk_live_ or sk_test_",
            hint="" if right else "copy it from Clerk's dashboard, API keys",
        )


def is_secret_key(text: str) -> bool:
    """Whether this has the form of a Clerk secret key."""
    return text.startswith(("sk_live_", "sk_test_"))


def rights_check(rights: Rights | None, settings: Settings) -> Iterator[Check]:
    """Whether the role has more rights than it needs, and whether Supabase's API exposes the table."""
    if rights is None:
        return
    apart = settings.profiles.url not in {None, settings.state.url}
    if rights.superuser:
        hint = "create a role for the reconciler that has only usage on the schema and select on the table"
        message = f"{rights.role} is a superuser"
        yield Check(area="profiles", what="role", level="warning", message=message, hint=hint)
    elif rights.writes and apart and not settings.clerk.upsert_profiles:
        hint = f"revoke insert, update, delete on {rights.table} from {rights.role};"
        message = f"{rights.role} may write the profiles, but only needs to read them"
        yield Check(area="profiles", what="role", level="warning", message=message, hint=hint)
    else:
        yield Check(area="profiles", what="role", level="ok", message=f"{rights.role}, sees every row")
    if rights.public:
        message = "Supabase's API exposes the table to everyone who has the app's public key"
        hint = {
            "v": f"alter view {rights.table} set (security_invoker = true); and row level security on the tables below",
            "m": _REVOKE.format(table=rights.table),
            "f": _REVOKE.format(table=rights.table),
        }.get(rights.kind, f"alter table {rights.table} enable row level security;")
        yield Check(area="profiles", what="RLS", level="warning", message=message, hint=hint)


def secret_check(secret: str, what: str) -> Check:
    """Whether a signing secret is `whsec_` and base64 of 16 to 64 bytes. Other text would silently yield a wrong key."""
    hint = "copy the endpoint's signing secret from Clerk's dashboard, Webhooks"
    text = secret.strip()
    body = text.removeprefix(WHSEC)
    padded = body.rstrip("=") + "=" * (-len(body.rstrip("=")) % 4)
    try:
        size = len(base64.b64decode(padded, validate=True))
    except (binascii.Error, ValueError):
        message = "what follows whsec_ is not base64: every webhook would be refused"
        return Check(area="clerk", what=what, level="failed", message=message, hint=hint)
    if size not in KEY_BYTES:
        message = f"the key has {size} bytes, but Clerk's keys have 24"
        return Check(area="clerk", what=what, level="failed", message=message, hint=hint)
    if not text.startswith(WHSEC):
        return Check(area="clerk", what=what, level="warning", message="does not begin with whsec_", hint=hint)
    return Check(area="clerk", what=what, level="ok", message=f"well formed, {size} bytes")
