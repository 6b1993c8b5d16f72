"""What may be set: each value checked at start, each error with its file, line, key and way out."""

from __future__ import annotations

from datetime import UTC, datetime

import phonenumbers
import pytest

from reconciler.core.model.countries import COUNTRIES
from reconciler.core.model.ids import ClerkUserId
from tests.settings.domain import CONFIG, STORES, Files, with_store


def test_the_least_that_can_be_said_is_enough(files: Files) -> None:
    loaded = files.load()
    assert loaded.settings.state.url == "sqlite:///var/reconciler.db"
    assert loaded.settings.profiles.url is None
    assert loaded.settings.controller.workers == 8
    assert "full_name" not in loaded.settings.profiles.columns
    [store] = loaded.stores
    assert (store.api_version, store.on_leave, store.trust_email) == ("2026-10", "keep", "verified")


def test_the_table_is_customers_on_sqlite_and_public_customers_on_postgres(files: Files) -> None:
    assert files.load().settings.profiles.table == "customers"
    assert files.load(CONFIG + "profiles: {url: postgresql://h/x}\n").settings.profiles.table == "public.customers"
    assert files.load(CONFIG + "state: {url: postgresql://h/x}\n").settings.profiles.table == "public.customers"
    both = CONFIG + "state: {url: postgresql://h/x}\nprofiles: {url: 'sqlite:///p.db'}\n"
    assert files.load(both).settings.profiles.table == "customers"
    assert files.load(CONFIG + "profiles: {table: people}\n").settings.profiles.table == "people"


def test_a_section_without_content_has_its_defaults(files: Files) -> None:
    loaded = files.load("version: 1\nclerk:\nserver:\n  # port: 1\n", "version: 1\ndefaults:\n" + STORES[11:])
    assert loaded.settings.server.port == 8080


@pytest.mark.parametrize(
    "said", ["", "version: 2\n", "version: '1'\n", "version: true\n", "version:\n", "version: 1.0\n"]
)
def test_a_file_says_which_version_it_is(files: Files, said: str) -> None:
    wrong = files.refused(said + "server: {port: 1}\n", said + "stores: [{name: a, shop: a.myshopify.com}]\n")
    assert wrong == [
        "config.yaml:1: version: write `version: 1`, the only known version of this file",
        "stores.yaml:1: version: write `version: 1`, the only known version of this file",
    ]


@pytest.mark.parametrize(
    ("config", "line", "path", "meant"),
    [
        ("stat: {url: x}", 2, "stat", "state"),
        ("state:\n  ulr: x", 3, "state.ulr", "url"),
        ("profiles:\n  colums: {}", 3, "profiles.colums", "columns"),
        ("profiles:\n  columns:\n    clerk_user_id: id\n    emial: mail", 5, "profiles.columns.emial", "email"),
        ("clerk:\n  webhook_secret: []", 3, "clerk.webhook_secret", "webhook_secrets"),
        ("server:\n  Port: 1", 3, "server.Port", "port"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    files: Files, config: str, line: int, path: str, meant: str
) -> None:
    assert files.refused(f"version: 1\n{config}\n") == [
        f"config.yaml:{line}: {path}: unknown key; did you mean '{meant}'?"
    ]


@pytest.mark.parametrize(
    ("lines", "path", "meant"),
    [
        ("on_leaf: keep", "on_leaf", "on_leave"),
        ("auth: {acces_token: x}", "auth.acces_token", "access_token"),
        ("fields: {fist_name: fill}", "fields.fist_name", "first_name"),
        ("backlink: {namespce: clerk}", "backlink.namespce", "namespace"),
        ("guards: {updates: {max: 1}}", "guards.updates", "update"),
        ("guards: {update: {max: 1, percents: 1}}", "guards.update.percents", "percent"),
        ("metafields: {crm.tier: {from: metadata.tier, polcy: fill}}", "metafields.crm.tier.polcy", "policy"),
        ("consent: {emial: {from: metadata.news, at: metadata.at}}", "consent.emial", "email"),
        ("accept: [{user: u, fields: [note], until: 2027-01-01, wy: x}]", "accept[0].wy", "why"),
    ],
)
def test_an_unknown_key_of_a_store_is_refused_at_every_depth(files: Files, lines: str, path: str, meant: str) -> None:
    assert f"stores.yaml:5: stores[0].{path}: unknown key; did you mean '{meant}'?" in files.store_refused(lines)


def test_a_key_like_no_other_is_refused_with_all_that_are_known(files: Files) -> None:
    assert files.store_refused("backlink: {zzzzzz: 1}") == [
        "stores.yaml:5: stores[0].backlink.zzzzzz: unknown key; known are namespace, key"
    ]


def test_the_name_of_a_metafields_source_is_from_and_nothing_else(files: Files) -> None:
    assert any("unknown key" in line for line in files.store_refused("metafields: {crm.tier: {source: locale}}"))


def test_a_soak_that_ends_beyond_all_dates_is_refused(files: Files) -> None:
    [line] = files.refused(stores=f"{STORES}rollout: {{soak_s: 1000000000000}}\n")
    assert line.endswith("rollout.soak_s: it must be less than or equal to 31536000")


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("state: 7", "state"),
        ("state: {url: 7}", "state.url"),
        ("state: {url: ''}", "state.url"),
        ("state: {url: mysql://h/x}", "state.url"),
        ("state: {url: reconciler.db}", "state.url"),
        ("state: {url: postgresql://h:many/x}", "state.url"),
        ("profiles: {table: ''}", "profiles.table"),
        ("profiles: {columns: {email: email}}", "profiles.columns"),
        ("profiles: {columns: {clerk_user_id: ''}}", "profiles.columns.clerk_user_id"),
        ("profiles: {columns: [email]}", "profiles.columns"),
        ("profiles: {trust_email: maybe}", "profiles.trust_email"),
        ("profiles: {trust_email: yes}", "profiles.trust_email"),
        ("clerk: {api_url: http://api.clerk.com/v1}", "clerk.api_url"),
        ("clerk: {api_url: api.clerk.com}", "clerk.api_url"),
        ("clerk: {upsert_profiles: sometimes}", "clerk.upsert_profiles"),
        ("controller: {workers: 0}", "controller.workers"),
        ("controller: {workers: many}", "controller.workers"),
        ("controller: {workers: true}", "controller.workers"),
        ("controller: {workers: 1.5}", "controller.workers"),
        ("controller: {resync_s: 0}", "controller.resync_s"),
        ("controller: {resync_s: nan}", "controller.resync_s"),
        ("controller: {resync_s: inf}", "controller.resync_s"),
        ("controller: {resync_s: 1000000000000}", "controller.resync_s"),
        ("controller: {absence_grace_s: 1000000000000}", "controller.absence_grace_s"),
        ("controller: {full_resync_cron: daily}", "controller.full_resync_cron"),
        ("controller: {full_resync_cron: 0 3 * * 5-1}", "controller.full_resync_cron"),
        ("controller: {full_resync_cron: 0 3 * * 8}", "controller.full_resync_cron"),
        ("controller: {full_resync_cron: 99 * * * *}", "controller.full_resync_cron"),
        ("server: {port: 70000}", "server.port"),
        ("server: {port: -1}", "server.port"),
        ("server: {host: }", "server.host"),
        ("server: {public_url: http://acme.example}", "server.public_url"),
        ("server: {public_url: 'https://acme.example/?a=b'}", "server.public_url"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(files: Files, config: str, path: str) -> None:
    [line] = files.refused(f"version: 1\n{config}\n")
    assert line.startswith(f"config.yaml:2: {path}: ")


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ("api_version: 2026-11", "api_version"),
        ("api_version: 2026-10-01", "api_version"),
        ("api_version: unstable", "api_version"),
        ("admin_url: http://acme.example", "admin_url"),
        ("admin_url: http://192.168.1.10:4010", "admin_url"),
        ("admin_url: http://localhost.evil.example", "admin_url"),
        ("admin_url: https://acme.example/admin", "admin_url"),
        ("admin_url: https://acme.example/?x=1", "admin_url"),
        ("admin_url: 'https://acme.example/#x'", "admin_url"),
        ("admin_url: https://ada@acme.example", "admin_url"),
        ("admin_url: https://acme.example:many", "admin_url"),
        ("admin_url: ftp://acme.example", "admin_url"),
        ("admin_url: acme.example", "admin_url"),
        ("admin_url: 'http://[::1'", "admin_url"),
        ("admin_url: 'https://ac me.example'", "admin_url"),
        ("auth: {client_id: x}", "auth"),
        ("auth: {client_secret: x}", "auth"),
        ("auth: {refresh_token: x}", "auth"),
        ("auth: {access_token: x, client_id: y, client_secret: z}", "auth"),
        ("auth: {access_token: x, refresh_token: y}", "auth"),
        ("where: {metdata.brand: acme}", "where"),
        ("where: {metadata: {brand: acme}}", "where"),
        ("where: {metadata: acme}", "where"),
        ("where: {locale.a: acme}", "where"),
        ("where: {locale: []}", "where"),
        ("where: {locale: [[da-DK]]}", "where"),
        ("where: {metadata.brand: {a: b}}", "where"),
        ("where: [locale]", "where"),
        ("backlink: {namespace: x}", "backlink.namespace"),
        ("fields: {email: sometimes}", "fields.email"),
        ("tags: app-user", "tags"),
        ("tags: [a, A]", "tags"),
        ("tags: ['a,b']", "tags"),
        ("tags: ['']", "tags[0]"),
        (f"tags: [a, {'x' * 256}]", "tags[1]"),
        (f"tags: [{', '.join(f't{n}' for n in range(251))}]", "tags"),
        (f"leave_tag: {'x' * 256}", "leave_tag"),
        ("metafields: {tier: {from: locale}}", "metafields"),
        ("metafields: {crm.tier: {from: tier}}", "metafields.crm.tier.from"),
        ("consent: {email: {from: newsletter, at: metadata.at}}", "consent.email.from"),
        ("consent: {email: {at: metadata.at}}", "consent.email.from"),
        ("consent: {sms: {from: metadata.news, at: metadata.}}", "consent.sms.at"),
        ("consent: {sms: {from: metadata.news, at: metadata.at, level: unknown}}", "consent.sms.level"),
        ("metafields: {crm.tier: {}}", "metafields.crm.tier.from"),
        ("country: Denmark", "country"),
        ("country: dk", "country"),
        ("country: UK", "country"),
        ("require_email: perhaps", "require_email"),
        ("on_leave: archive", "on_leave"),
        ("leave_tag: ''", "leave_tag"),
        ("on_email_conflict: take", "on_email_conflict"),
        ("on_missing: ignore", "on_missing"),
        ("heal_drift: true", "heal_drift"),
        ("roll_out: manual", "roll_out"),
        ("guards: {update: {max: -1}}", "guards.update.max"),
        ("guards: {update: {max: 1, percent: 101}}", "guards.update.percent"),
        ("guards: {update: 5}", "guards.update"),
        ("guards: {update: {percent: 5}}", "guards.update.max"),
        ("paused: maybe", "paused"),
        ("accept: [{user: u, fields: [], until: 2027-01-01, why: x}]", "accept[0].fields"),
        ("accept: [{user: u, fields: [shoe], until: 2027-01-01, why: x}]", "accept[0].fields"),
        ("accept: [{user: u, fields: [note], until: soon, why: x}]", "accept[0].until"),
        ("accept: [{user: u, fields: [note], until: 2027-01-01}]", "accept[0].why"),
    ],
)
def test_a_wrong_value_of_a_store_is_refused_with_its_place(files: Files, lines: str, path: str) -> None:
    wrong = files.store_refused(lines)
    assert {line.split(": ")[0] for line in wrong} == {"stores.yaml:5"}
    assert {line.split(": ")[1].split(".date")[0] for line in wrong} == {f"stores[0].{path}"}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4010", "http://localhost:4010/", "http://[::1]:4010", "https://acme.example:8443"]
)
def test_admin_url_may_be_another_host_or_this_machine(files: Files, url: str) -> None:
    assert files.store(f"admin_url: '{url}'").stores[0].admin_url == url.rstrip("/")


@pytest.mark.parametrize(
    "shop",
    [
        "acme.com",
        "https://acme.myshopify.com",
        "acme.myshopify.com/",
        "ACME.myshopify.com",
        "acme",
        "a.b.myshopify.com",
        "acme.myshopify.com.evil.example",
        "-acme.myshopify.com",
        ".myshopify.com",
        "acme_1.myshopify.com",
    ],
)
def test_a_shop_is_a_bare_name_of_myshopify(files: Files, shop: str) -> None:
    [line] = files.refused(stores=STORES.replace("one.myshopify.com", shop))
    assert line.startswith("stores.yaml:4: stores[0].shop: ")
    assert "is not a shop domain such as acme.myshopify.com" in line


@pytest.mark.parametrize("name", ["a b", "../x", "", "a/b", "'1' '"])
def test_a_stores_name_fits_in_an_address(files: Files, name: str) -> None:
    assert files.refused(stores=STORES.replace("name: one", f'name: "{name}"'))[0].startswith(
        "stores.yaml:3: stores[0].name"
    )


def test_two_stores_may_share_neither_a_name_nor_a_shop(files: Files) -> None:
    stores = STORES + "  - {name: two, shop: one.myshopify.com}\n  - name: one\n    shop: three.myshopify.com\n"
    assert files.refused(stores=stores) == [
        "stores.yaml:5: stores[1].shop: 'one.myshopify.com' is already the shop of stores[0]",
        "stores.yaml:6: stores[2].name: 'one' is already the name of stores[0]",
    ]


def test_trust_in_verified_addresses_needs_the_column_that_says_so(files: Files) -> None:
    config = "version: 1\nprofiles:\n  columns: {clerk_user_id: id, email: email}\n"
    [line] = files.refused(config)
    assert line.startswith("config.yaml:2: profiles: trust_email: verified needs columns.email_verified")
    for said in ("always", "never"):
        assert files.load(config + f"  trust_email: {said}\n").stores[0].trust_email == said


def test_a_table_without_addresses_needs_no_word_on_their_trust(files: Files) -> None:
    loaded = files.load("version: 1\nprofiles: {columns: {clerk_user_id: id, full_name: name}}\n")
    assert loaded.settings.profiles.trust_email == "verified"


def test_trust_is_one_setting_for_all_stores(files: Files) -> None:
    [line] = files.store_refused("trust_email: always")
    assert line == (
        "stores.yaml:5: stores[0].trust_email: "
        "unknown key; it is set for all stores by profiles.trust_email in reconciler.yaml"
    )


def test_a_selector_on_a_column_that_is_never_read_is_refused(files: Files) -> None:
    config = "version: 1\nprofiles: {columns: {clerk_user_id: id, full_name: name}}\n"
    assert dict(files.load(config, with_store("where: {first_name: Ada}")).stores[0].where) == {"first_name": "Ada"}
    assert files.refused(config, with_store("where: {metadata.brand: acme}")) == [
        "stores.yaml:5: stores[0].where.metadata.brand: profiles.columns maps no metadata, so this would match no user"
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("0 3 * * 0", "0 3 * * sun"),
        ("0 3 * * 7", "0 3 * * sun"),
        ("*/30 2-4 * * 1-5", "*/30 2-4 * * mon,tue,wed,thu,fri"),
        ("0 3 1 jan sat,sun", "0 3 1 jan sat,sun"),
    ],
)
def test_weekdays_are_those_of_cron(files: Files, written: str, meant: str) -> None:
    config = f"version: 1\ncontroller: {{full_resync_cron: '{written}'}}\n"
    assert files.load(config).settings.controller.full_resync_cron == meant


@pytest.mark.parametrize("lines", ["metafields: {clerk.moved_to: {from: locale}}", "backlink: {key: moved_to}"])
def test_what_a_re_link_leaves_behind_has_no_other_use(files: Files, lines: str) -> None:
    [line] = files.store_refused(lines)
    assert "moved_to" in line


def test_the_countries_are_those_in_which_phones_are_dialled() -> None:
    assert frozenset(phonenumbers.SUPPORTED_REGIONS) == COUNTRIES


def test_a_day_that_never_comes_is_no_time_for_a_full_resync(files: Files) -> None:
    [line] = files.refused("version: 1\ncontroller: {full_resync_cron: '0 0 31 2 *'}\n")
    assert line.startswith("config.yaml:2: controller.full_resync_cron: no such day ever comes")
    files.load("version: 1\ncontroller: {full_resync_cron: '0 0 29 2 *'}\n")


def test_an_acceptance_has_an_end(files: Files) -> None:
    lines = "accept: [{user: user_1, fields: [note, tags], until: 2027-03-31, why: agreed}]"
    [store] = files.store(lines).stores
    user = ClerkUserId("user_1")
    assert store.accepts(user, datetime(2027, 3, 31, 23, 59, tzinfo=UTC)).keys() == {"note", "tags"}
    assert store.accepts(user, datetime(2027, 4, 1, 0, 0, 1, tzinfo=UTC)) == {}
    [timed] = files.store(lines.replace("2027-03-31", "2027-03-31T12:00:00Z")).stores
    assert timed.accepts(user, datetime(2027, 3, 31, 11, 59, tzinfo=UTC)).keys() == {"note", "tags"}
    assert timed.accepts(user, datetime(2027, 3, 31, 12, 0, 1, tzinfo=UTC)) == {}


def test_stores_inherit_key_by_key_and_replace_lists_selectors_and_credentials_whole(files: Files) -> None:
    stores = """\
version: 1
defaults:
  tags: [a, b]
  fields: {phone: enforce, note: fill}
  auth: {client_id: x, client_secret: y}
  where: {locale: da-DK}
  country: DK
  guards: {update: {max: 7, percent: 7}}
stores:
  - {name: one, shop: one.myshopify.com}
  - name: two
    shop: two.myshopify.com
    tags: [c]
    fields: {note: ignore}
    auth: {access_token: z}
    where: {metadata.brand: acme}
    country: ~
    guards: {update: {max: 8}}
"""
    one, two = files.load(stores=stores).stores
    assert (one.tags, one.fields.phone, one.fields.note, one.country) == (("a", "b"), "enforce", "fill", "DK")
    assert (two.tags, two.fields.phone, two.fields.note, two.country) == (("c",), "enforce", "ignore", None)
    assert two.auth.client_id is None
    assert dict(two.where) == {"metadata.brand": "acme"}
    assert (two.guards.update.max, two.guards.update.percent, two.guards.relink.max) == (8, 7, 25)


def test_an_error_in_the_defaults_is_reported_once_where_it_is(files: Files) -> None:
    stores = "version: 1\ndefaults:\n  on_leave: kepp\n  fields:\n    emial: fill\n" + STORES[11:]
    wrong = files.refused(stores=stores + "  - {name: two, shop: two.myshopify.com}\n")
    assert [line.split(": ")[:2] for line in wrong] == [
        ["stores.yaml:3", "defaults.on_leave"],
        ["stores.yaml:5", "defaults.fields.emial"],
    ]


def test_names_and_shops_have_no_place_in_the_defaults(files: Files) -> None:
    wrong = files.refused(stores="version: 1\ndefaults:\n  shop: x.myshopify.com\n  trust_email: never\n" + STORES[11:])
    assert [line.split(": ", 1)[0] for line in wrong] == ["stores.yaml:3", "stores.yaml:4"]
    assert all("unknown key" in line for line in wrong)


def test_all_that_is_wrong_in_both_files_is_said_together_in_the_order_of_the_files(files: Files) -> None:
    config = "version: 1\nserver:\n  port: many\ncontroller:\n  wokers: 8\nstate: {url: '${NONE}'}\n"
    stores = STORES + "    country: Denmark\n  - name: one\n    shop: nowhere\n    auth: {client_id: x}\n"
    assert [line.split(": ")[:2] for line in files.refused(config, stores)] == [
        ["config.yaml:3", "server.port"],
        ["config.yaml:5", "controller.wokers"],
        ["config.yaml:6", "state.url"],
        ["stores.yaml:5", "stores[0].country"],
        ["stores.yaml:6", "stores[1].name"],
        ["stores.yaml:7", "stores[1].shop"],
        ["stores.yaml:8", "stores[1].auth"],
    ]


def test_a_file_of_stores_names_at_least_one(files: Files) -> None:
    for text in (
        "stores: []",
        "stores:",
        "defaults: {}",
        "stores: {name: x}",
        "stores: [one]",
        "defaults: [x]\nstores: []",
    ):
        wrong = files.refused(stores=f"version: 1\n{text}\n")
        assert all(line.startswith("stores.yaml:") for line in wrong)
    assert files.refused(stores="version: 1\nstores: []\n") == ["stores.yaml:2: stores: add at least one store"]
    assert files.refused(stores="version: 1\nstores: [{}]\n") == [
        "stores.yaml:2: stores[0].name: it must be set",
        "stores.yaml:2: stores[0].shop: it must be set",
    ]
