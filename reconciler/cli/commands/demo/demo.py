"""`reconciler demo`: syncs 200 users to two simulated shops with the real commands, until the plan is empty.

It needs no file and no network. It checks each of its claims; a false one ends it with exit code 1.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from reconciler.cli.commands.demo.people import (
    EU_LOCALES,
    EU_PEOPLE,
    US_LOCALES,
    US_PEOPLE,
    DemoUser,
    UsersTable,
    demo_users,
)
from reconciler.cli.commands.demo.play import LOOPBACK, Playground, serve_playground
from reconciler.cli.context import Context
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.plain import count_text
from reconciler.errors import PermanentError, UsageError
from reconciler.simulator.control import all_customers
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import SimShop, World

US, EU = "acme-us", "acme-eu"
RATE, BUCKET = 1000.0, 20_000.0  # as in a Plus shop
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

SERVED = """\
server: {{console_token: {token}}}
controller: {{absence_grace_s: 30, resync_s: 15}}
"""
THINGS_TO_TRY = (
    "sign somebody up in the app: a customer appears",
    "change a name in the app: only that field is written",
    "edit a customer in Shopify: the managed field is corrected, the tag of staff stays",
    "close an account: the customer gets the tag clerk-left after 30 s",
    "freeze a shop: its work waits, and the other shop is not affected",
)


@dataclass(slots=True)
class Demo:
    """What the demo runs on: the shops, the profiles table, the files, and the function that runs commands."""

    lines: LinePrinter
    run: Callable[[list[str]], int]
    folder: Path
    us: SimShop
    eu: SimShop
    table: UsersTable
    users: dict[str, DemoUser] = field(default_factory=dict)
    step: int = 0
    everything: bool = False

    def tell(self, title: str, words: str) -> None:
        """Print a heading and what happens next."""
        self.step += 1
        self.lines.blank()
        self.lines.put((f"━━ {self.step}. {title}", "bold cyan"))
        if words:
            self.lines.prose(words)

    def run_command(self, *words: str, expect: int) -> None:
        """Print a command and run it. PermanentError if it does not exit with `expect`."""
        shown = [w.removeprefix(f"{self.folder}/") for w in words]
        self.lines.put((f"$ reconciler {' '.join(shown)}", "bold"))
        files = ["--config", str(self.folder / "reconciler.yaml"), "--stores", str(self.folder / "stores.yaml")]
        code = self.run([*files, *words])
        claim(code == expect, f"`reconciler {words[0]}` exits with {expect}, not {code}")

    def run_plan(self, *save_as: str, expect: int) -> None:
        """Run `plan` with a few lines for each store (all of them with `--all`), and save the plan if it gets a name."""
        out = [word for name in save_as for word in ("--out", str(self.folder / name))]
        self.run_command("plan", self.detail, *out, "--detailed-exitcode", expect=expect)

    @property
    def detail(self) -> str:
        """How much of a plan is shown, as an option."""
        return "--all" if self.everything else "--brief"

    def customers(self, sim: SimShop) -> dict[str, dict[str, Any]]:
        """The shop's customers that have an email, by email."""
        return {c["email"]: c for c in all_customers(sim) if c["email"]}

    @property
    def mutations(self) -> int:
        """The number of mutations that both shops received."""
        return self.us.mutations + self.eu.mutations


def run_demo(
    context: Context,
    *,
    folder: Path | None,
    everything: bool,
    serve: bool,
) -> None:
    from reconciler.cli.main import run  # noqa: PLC0415  main imports the commands

    if serve:
        with _demo_folder(folder) as place, _serve_shops() as (world, server):
            _play(_prepare(context.out, run, place, world, server))
        return
    with _demo_folder(folder) as place, _serve_shops() as (world, server):
        demo = _prepare(context.out, run, place, world, server)
        demo.everything = everything
        for perform in (_prepare_shops, _sync_first, _change_both_sides, _sync_again, _show_empty_plan):
            perform(demo)
        _print_summary(demo, kept=folder is not None)


def claim(holds: bool, words: str) -> None:  # noqa: FBT001  a claim holds or not
    """PermanentError if the claim does not hold."""
    if not holds:
        raise PermanentError(
            f"a claim of the demo does not hold: {words}", hint="this is a defect of the program: report it"
        )


@contextmanager
def _demo_folder(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as name:
            yield Path(name)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", hint="name a new folder, or omit --dir")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder.resolve()


@contextmanager
def _serve_shops() -> Iterator[tuple[World, SimulatorServer]]:
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


def _prepare(
    console: Console, run: Callable[[list[str]], int], folder: Path, world: World, server: SimulatorServer
) -> Demo:
    """Write the files and the table, and add orders of guests to one shop."""
    us, eu = (f"{name}.myshopify.com" for name in (US, EU))
    config = CONFIG.format(state=_sqlite(folder / "state.db"), profiles=_sqlite(folder / "profiles.db"))
    (folder / "reconciler.yaml").write_text(config, encoding="utf-8")
    urls = {"us_url": server.url(us), "eu_url": server.url(eu)}
    stores = STORES.format(**urls, us=json.dumps(US_LOCALES), eu=json.dumps(EU_LOCALES))
    (folder / "stores.yaml").write_text(stores, encoding="utf-8")
    americans = demo_users(US_LOCALES, US_PEOPLE, phones="+161345")
    europeans = demo_users(EU_LOCALES, EU_PEOPLE, phones="+493045")
    demo = Demo(LinePrinter(console), run, folder, world.shops[us], world.shops[eu], UsersTable(folder / "profiles.db"))
    roles = {f"guest {n}": americans[n] for n in range(GUESTS)}
    roles |= dict(zip(("unverified", "twin", "other twin", "bad phone"), americans[GUESTS:], strict=False))
    roles |= dict(zip(("renamed", "moved", "edited", "vip", "leaver"), americans[20:], strict=False))
    roles |= {"renamed in Europe": europeans[0]}
    roles["unverified"].email_verified = False
    roles["other twin"].email = roles["twin"].email
    roles["bad phone"].phone = "ring the bell twice"
    for role in (*(f"guest {n}" for n in range(GUESTS)), "unverified"):
        demo.us.staff("guest_checkout", email=roles[role].email)
    demo.table.make([*americans, *europeans])
    demo.users = roles
    return demo


def _sqlite(path: Path) -> str:
    return json.dumps(f"sqlite:///{path}")


def _prepare_shops(demo: Demo) -> None:
    demo.lines.prose(
        f"Two simulated Shopify shops run on this machine, next to a table of {US_PEOPLE + EU_PEOPLE} users of an app. No "
        "customer is linked to a user yet. The demo syncs the shops, changes both sides, and ends with an empty plan."
    )
    demo.tell(
        "Prepare and check",
        "Each shop needs one metafield definition: the back-link, which stores the user's id on the customer. Doctor "
        "checks databases, tokens, scopes and shops.",
    )
    demo.run_command("bootstrap", "--yes", expect=DONE)
    demo.lines.blank()
    demo.run_command("doctor", expect=DONE)


def _sync_first(demo: Demo) -> None:
    demo.tell(
        "Plan and apply",
        f"Apply shows the plan, asks and writes. {GUESTS} users bought as guests: their customers are adopted with their "
        "orders. Users with an unverified or shared email are held. An invalid phone is omitted.",
    )
    demo.run_command("apply", demo.detail, "--yes", expect=DONE)
    us, eu = demo.customers(demo.us), demo.customers(demo.eu)
    waiting = ("unverified", "twin", "other twin")
    claim(len(us) == US_PEOPLE - len(waiting) + 1, "no customer is missing in acme-us, and none exists twice")
    claim(len(eu) == EU_PEOPLE, "no customer is missing in acme-eu, and none exists twice")
    for n in range(GUESTS):
        guest = us[demo.users[f"guest {n}"].email]
        claim(guest["numberOfOrders"] == "1" and "app-user" in guest["tags"], "guests keep their customer and orders")
    claim(us[demo.users["unverified"].email]["tags"] == [], "an unverified email adopts no customer")
    demo.lines.blank()
    demo.run_command("status", expect=DONE)


def _change_both_sides(demo: Demo) -> None:
    demo.tell("Changes on both sides", "")
    users, us = demo.users, demo.customers(demo.us)
    new_mail = f"new.{users['moved'].email}"
    demo.table.change(users["renamed"].clerk_user_id, first_name="Maximiliane", last_name="Weiß-O’Connor")
    demo.table.change(users["renamed in Europe"].clerk_user_id, last_name="Ångström")
    demo.table.change(users["moved"].clerk_user_id, email=new_mail)
    demo.table.change(users["unverified"].clerk_user_id, email_verified=True)
    demo.table.change(users["other twin"].clerk_user_id, email=f"own.{users['other twin'].email}")
    demo.table.remove(users["leaver"].clerk_user_id)
    demo.us.staff("edit", id=us[users["edited"].email]["id"], first_name="Tpyo")
    demo.us.staff("tag", id=us[users["vip"].email]["id"], tags=["vip"])
    for words in (
        "in the app: two new names, a new email, an email verified, one no longer shared",
        "in the app: one user closes the account",
        "in Shopify: staff mistype a first name (drift), and add a tag, which remains",
    ):
        demo.lines.prose(f"· {words}", indent=2, hang=2)


def _sync_again(demo: Demo) -> None:
    demo.tell("Plan again, and apply", "The plan has only the fields that differ. The file is sealed.")
    before = demo.mutations
    demo.run_plan("second.plan", expect=ACTIONS)
    claim(demo.mutations == before, "a plan changes nothing in a shop")
    demo.lines.blank()
    demo.run_command("apply", str(demo.folder / "second.plan"), "--yes", expect=DONE)
    users, us, eu = demo.users, demo.customers(demo.us), demo.customers(demo.eu)
    claim(us[users["renamed"].email]["firstName"] == "Maximiliane", "a new name in the app is written to the shop")
    claim(eu[users["renamed in Europe"].email]["lastName"] == "Ångström", "a new name is written to every shop")
    claim(
        f"new.{users['moved'].email}" in us and users["moved"].email not in us,
        "a new email changes the user's customer only",
    )
    claim(us[users["edited"].email]["firstName"] == users["edited"].first_name, "drift is corrected")
    claim(us[users["vip"].email]["tags"] == ["app-user", "vip"], "tags of staff remain")
    claim("clerk-left" in us[users["leaver"].email]["tags"], "the customer of a deleted user is tagged, not deleted")
    claim("app-user" in us[users["unverified"].email]["tags"], "a verified email is used")


def _show_empty_plan(demo: Demo) -> None:
    demo.tell("Nothing left to do", "The plan is empty: a second apply would send nothing.")
    demo.run_plan(expect=DONE)


def _play(demo: Demo) -> None:
    """Sync once, then run the controller beside the page with the forms until SIGINT or SIGTERM."""
    demo.table.maintain_updated_at()
    config = demo.folder / "reconciler.yaml"
    token = secrets.token_urlsafe(12)
    config.write_text(config.read_text(encoding="utf-8") + SERVED.format(token=json.dumps(token)), encoding="utf-8")
    demo.lines.prose("Two simulated shops, a table of 200 users, and the controller. A first sync takes some seconds.")
    demo.run_command("bootstrap", "--yes", expect=DONE)
    demo.lines.blank()
    demo.run_command("apply", "--brief", "--yes", expect=DONE)
    port = _free_port()
    playground = Playground(demo.table, demo.us, demo.eu, controller=f"http://{LOOPBACK}:{port}", token=token)
    with serve_playground(playground) as page:
        demo.lines.blank()
        demo.lines.put(("━━ Now try it", "bold cyan"))
        options = f"--config {config} --stores {demo.folder / 'stores.yaml'}"
        addresses = {
            "things to try": page,
            "console": playground.console,
            "second shell": f"{_program()} {options} status",
        }
        for name, value in addresses.items():
            demo.lines.put((f"{name:<15}", "bold"), (value, ""))
        for words in THINGS_TO_TRY:
            demo.lines.prose(f"· {words}", indent=2, hang=2)
        demo.lines.prose("Ctrl-C ends it.")
        demo.lines.blank()
        demo.run_command("run", "--host", LOOPBACK, "--port", str(port), expect=DONE)


def _program() -> str:
    """The command as a second shell finds it: its name where that is on the path, else where it is installed."""
    installed = Path(sys.executable).with_name("reconciler")
    return "reconciler" if shutil.which("reconciler") or not installed.exists() else str(installed)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _print_summary(demo: Demo, *, kept: bool) -> None:
    demo.lines.blank()
    calls = sum(len(sim.calls) for sim in (demo.us, demo.eu))
    throttled = sum(sim.bucket.throttled for sim in (demo.us, demo.eu))
    demo.lines.put(("✓ The simulated shops confirm every claim above.", "bold green"))
    demo.lines.prose(
        f"They answered {count_text(calls, 'call')}, {count_text(demo.mutations, 'mutation')} among them; "
        f"{throttled} were throttled. `reconciler demo --all` shows the plans in full."
    )
    if kept:
        demo.lines.put((f"The files are in {demo.folder}", ""))
    demo.lines.prose(
        "Next: `reconciler demo --serve` keeps shops and controller running, to try things. "
        "`reconciler docs tutorial` leads to a real shop."
    )
