"""`reconciler demo`: two simulated shops, 200 people, from nothing to an empty plan, with the real commands.

Needs no file and no network. Each claim it makes is checked; one that does not hold ends it with exit code 1.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from reconciler.cli.commands.demo_people import (
    EU_LOCALES,
    EU_PEOPLE,
    US_LOCALES,
    US_PEOPLE,
    PeopleTable,
    Person,
    people,
)
from reconciler.cli.context import Context
from reconciler.cli.render.flow import Lines
from reconciler.cli.render.plain import counted
from reconciler.errors import PermanentError, UsageError
from reconciler.simulator.control import all_customers
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import SimShop, World

US, EU = "acme-us", "acme-eu"
RATE, BUCKET = 1000.0, 20_000.0  # as a Plus shop's
GUESTS = 5
DONE, FAILED, ACTIONS = 0, 1, 2  # exit codes of plan and apply

CONFIG = """\
version: 1
state: {{url: {state}}}
profiles:
  url: {profiles}
  table: customers
  columns:
    clerk_user_id: clerk_user_id
    email: email
    email_verified: email_verified
    first_name: first_name
    last_name: last_name
    phone: phone
    image_url: avatar_url
    locale: locale
    updated_at: updated_at
"""
STORES = """\
version: 1
defaults:
  tags: [app-user]
  metafields: {{clerk.avatar_url: {{from: image_url, type: url, policy: enforce}}}}
  on_leave: tag
stores:
  - name: acme-us
    shop: acme-us.myshopify.com
    admin_url: {us_url}
    auth: {{access_token: demo-token-us}}
    where: {{locale: {us}}}
    country: US
  - name: acme-eu
    shop: acme-eu.myshopify.com
    admin_url: {eu_url}
    auth: {{access_token: demo-token-eu}}
    where: {{locale: {eu}}}
"""


@dataclass(slots=True)
class Stage:
    """Where the demo plays: the shops, the table, the files, and the front door of the real commands."""

    lines: Lines
    run: Callable[[list[str]], int]
    folder: Path
    us: SimShop
    eu: SimShop
    table: PeopleTable
    users: dict[str, Person] = field(default_factory=dict)
    step: int = 0

    def tell(self, title: str, words: str) -> None:
        """The narrator: a heading, and what is about to happen."""
        self.step += 1
        self.lines.blank()
        self.lines.put((f"━━ {self.step}. {title}", "bold cyan"))
        self.lines.prose(words)

    def type(self, *words: str, expect: int) -> None:
        """Type a command, and run it by the front door."""
        shown = [w.removeprefix(f"{self.folder}/") for w in words]
        self.lines.put((f"$ reconciler {' '.join(shown)}", "bold"))
        self.lines.blank()
        files = ["--config", str(self.folder / "reconciler.yaml"), "--stores", str(self.folder / "stores.yaml")]
        code = self.run([*files, *words])
        claim(code == expect, f"`reconciler {words[0]}` ends with exit code {expect}, not {code}")

    def customers(self, sim: SimShop) -> dict[str, dict[str, Any]]:
        """The customers of a shop, by e-mail."""
        return {c["email"]: c for c in all_customers(sim) if c["email"]}

    @property
    def mutations(self) -> int:
        """How many mutations both shops have seen."""
        return self.us.mutations + self.eu.mutations


@click.command("demo")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Leave the files there.")
@click.pass_obj
def command(context: Context, folder: Path | None) -> None:
    """Two simulated shops, 200 people, from nothing to an empty plan. Needs no files; safe to repeat."""
    from reconciler.cli.main import run  # noqa: PLC0415  main imports the commands

    with _folder(folder) as place, _shops() as (world, server):
        stage = _stage(context.out, run, place, world, server)
        for act in (_opening, _first_round, _life_goes_on, _second_round, _nothing_left):
            act(stage)
        _closing(stage, kept=folder is not None)


def claim(holds: bool, words: str) -> None:  # noqa: FBT001  a claim holds or not
    """Stop the demo where it does not do what it says."""
    if not holds:
        raise PermanentError(f"the demo's claim does not hold: {words}", hint="a fault of this program: report it")


@contextmanager
def _folder(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as name:
            yield Path(name)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", hint="name a new one, or leave out --dir")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder.resolve()


@contextmanager
def _shops() -> Iterator[tuple[World, SimulatorServer]]:
    world = World()
    for name, country in ((US, "US"), (EU, "DE")):
        world.add_shop(
            f"{name}.myshopify.com",
            access_token=f"demo-token-{name[-2:]}",
            restore_rate=RATE,
            bucket_size=BUCKET,
            country=country,
        )
    with SimulatorServer(world) as server:
        yield world, server


def _stage(
    console: Console, run: Callable[[list[str]], int], folder: Path, world: World, server: SimulatorServer
) -> Stage:
    """Write the files and the table, and let some guests buy something."""
    us, eu = (f"{name}.myshopify.com" for name in (US, EU))
    config = CONFIG.format(state=_sqlite(folder / "state.db"), profiles=_sqlite(folder / "profiles.db"))
    (folder / "reconciler.yaml").write_text(config, encoding="utf-8")
    urls = {"us_url": server.url(us), "eu_url": server.url(eu)}
    stores = STORES.format(**urls, us=json.dumps(US_LOCALES), eu=json.dumps(EU_LOCALES))
    (folder / "stores.yaml").write_text(stores, encoding="utf-8")
    americans = people(US_LOCALES, US_PEOPLE, phones="+161345")
    europeans = people(EU_LOCALES, EU_PEOPLE, phones="+493045")
    stage = Stage(Lines(console), run, folder, world.shops[us], world.shops[eu], PeopleTable(folder / "profiles.db"))
    cast = {f"guest {n}": americans[n] for n in range(GUESTS)}
    cast |= dict(zip(("unverified", "twin", "other twin", "bad phone"), americans[GUESTS:], strict=False))
    cast |= dict(zip(("renamed", "moved", "edited", "vip", "leaver"), americans[20:], strict=False))
    cast |= {"renamed in Europe": europeans[0]}
    cast["unverified"].email_verified = False
    cast["other twin"].email = cast["twin"].email
    cast["bad phone"].phone = "ring the bell twice"
    for role in (*(f"guest {n}" for n in range(GUESTS)), "unverified"):
        stage.us.staff("guest_checkout", email=cast[role].email)
    stage.table.make([*americans, *europeans])
    stage.users = cast
    return stage


def _sqlite(path: Path) -> str:
    return json.dumps(f"sqlite:///{path}")


def _opening(stage: Stage) -> None:
    stage.lines.prose(
        f"Two simulated Shopify shops have just been opened on this machine, and a table with {US_PEOPLE + EU_PEOPLE} "
        "people who signed up in an app. No customer is linked to anybody yet. Watch how the shops are brought in line "
        "with the table, what happens when life goes on, and how it ends with nothing left to do."
    )
    stage.tell(
        "Prepare the shops",
        "Each shop needs one metafield definition: it carries the user's id on her customer, so that nobody is ever "
        "guessed by name.",
    )
    stage.type("bootstrap", "--yes", expect=DONE)
    stage.tell("Check that all is well", "Doctor looks at everything that has to be right, and changes nothing.")
    stage.type("doctor", expect=DONE)


def _first_round(stage: Stage) -> None:
    stage.tell(
        "Plan for one",
        f"{GUESTS} people bought as guests before they signed up. What would happen to one of them? A plan only reads: "
        "her customer is adopted with its orders, never doubled.",
    )
    before = stage.mutations
    stage.type("plan", "--user", stage.users["guest 0"].clerk_user_id, "--detailed-exitcode", expect=ACTIONS)
    claim(stage.mutations == before, "a plan changes nothing in a shop")
    stage.tell(
        "Plan and apply for all",
        "Apply shows the whole plan, asks (--yes answers), and carries it out. Whoever has an unverified address, or "
        "shares one with somebody, waits; a bad phone is left out, and the rest goes on.",
    )
    stage.type("apply", "--yes", expect=DONE)
    us, eu = stage.customers(stage.us), stage.customers(stage.eu)
    waiting = ("unverified", "twin", "other twin")
    claim(len(us) == US_PEOPLE - len(waiting) + 1, "no customer is missing in acme-us, and none is double")
    claim(len(eu) == EU_PEOPLE, "no customer is missing in acme-eu, and none is double")
    for n in range(GUESTS):
        guest = us[stage.users[f"guest {n}"].email]
        claim(guest["numberOfOrders"] == "1" and "app-user" in guest["tags"], "guests keep their customer and orders")
    claim(us[stage.users["unverified"].email]["tags"] == [], "an unverified address takes over nobody's customer")
    stage.tell("Parity", "How far each shop is in line, and who is held and why.")
    stage.type("status", expect=DONE)


def _life_goes_on(stage: Stage) -> None:
    stage.tell("Life goes on", "Things happen on both sides.")
    users, us = stage.users, stage.customers(stage.us)
    new_mail = f"new.{users['moved'].email}"
    stage.table.change(users["renamed"].clerk_user_id, first_name="Maximiliane", last_name="Weiß-O’Connor")
    stage.table.change(users["renamed in Europe"].clerk_user_id, last_name="Ångström")
    stage.table.change(users["moved"].clerk_user_id, email=new_mail)
    stage.table.change(users["unverified"].clerk_user_id, email_verified=True)
    stage.table.change(users["other twin"].clerk_user_id, email=f"own.{users['other twin'].email}")
    stage.table.remove(users["leaver"].clerk_user_id)
    stage.us.staff("edit", id=us[users["edited"].email]["id"], first_name="Tpyo")
    stage.us.staff("tag", id=us[users["vip"].email]["id"], tags=["vip"])
    for words in (
        "in the app, two people marry and change their names, and one has a new e-mail address",
        "in the app, one verifies her address, and two who shared one have one each now",
        "in the app, one closes her account",
        "in Shopify, staff mistype a first name (drift), and tag somebody as vip (theirs, so it stays)",
    ):
        stage.lines.prose(f"· {words}", indent=2, hang=2)


def _second_round(stage: Stage) -> None:
    stage.tell("Plan once more", "Only what differs is touched, field by field, and each change says why.")
    before, file = stage.mutations, str(stage.folder / "second.plan")
    stage.type("plan", "--out", file, "--detailed-exitcode", expect=ACTIONS)
    claim(stage.mutations == before, "a plan changes nothing in a shop")
    stage.tell("Apply what was reviewed", "The saved plan is sealed: just that is carried out, and only where it fits.")
    stage.type("apply", file, "--yes", expect=DONE)
    users, us, eu = stage.users, stage.customers(stage.us), stage.customers(stage.eu)
    claim(us[users["renamed"].email]["firstName"] == "Maximiliane", "a new name in the app arrives in the shop")
    claim(eu[users["renamed in Europe"].email]["lastName"] == "Ångström", "it does in every shop")
    claim(f"new.{users['moved'].email}" in us and users["moved"].email not in us, "a new address moves no one else")
    claim(us[users["edited"].email]["firstName"] == users["edited"].first_name, "drift is healed")
    claim(us[users["vip"].email]["tags"] == ["app-user", "vip"], "tags of staff stay")
    claim("clerk-left" in us[users["leaver"].email]["tags"], "who leaves is tagged, not deleted")
    claim("app-user" in us[users["unverified"].email]["tags"], "a verified address is taken up")


def _nothing_left(stage: Stage) -> None:
    stage.tell(
        "Nothing left to do", "The same world gives the same answer: the plan is empty, and applying it writes nothing."
    )
    before = stage.mutations
    stage.type("plan", "--detailed-exitcode", expect=DONE)
    stage.lines.blank()
    stage.type("apply", "--yes", expect=DONE)
    claim(stage.mutations == before, "a second apply sends no mutation")
    stage.lines.blank()
    stage.type("status", expect=DONE)


def _closing(stage: Stage, *, kept: bool) -> None:
    stage.lines.blank()
    calls = sum(len(sim.calls) for sim in (stage.us, stage.eu))
    throttled = sum(sim.bucket.throttled for sim in (stage.us, stage.eu))
    stage.lines.put(("✓ Every claim above was checked against the simulated shops.", "bold green"))
    stage.lines.prose(
        f"They answered {counted(calls, 'call')}, {counted(stage.mutations, 'mutation')} among them; "
        f"{throttled} were throttled. The last apply sent none."
    )
    if kept:
        stage.lines.put((f"The files are in {stage.folder}", ""))
    stage.lines.prose("Next: docs/tutorial.md leads to a real shop.")
