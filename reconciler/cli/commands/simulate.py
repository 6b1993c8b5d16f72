"""`reconciler simulate`: serves a simulated Shopify on loopback, to rehearse a stores.yaml before it meets a real shop.

stdout is a stores.yaml for what is served; what people want to read goes to stderr. Runs until SIGINT or SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler import settings
from reconciler.cli.commands.simulate_people import people
from reconciler.cli.context import Context
from reconciler.cli.render.plain import counted
from reconciler.errors import PermanentError, UsageError
from reconciler.outbound.urls import parsed
from reconciler.settings import StoreSettings
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.webhooks.delivery import Deliverer
from reconciler.simulator.world import SimShop, World

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Wish:
    """One shop to be served."""

    name: str
    shop: str
    port: int | None
    country: str
    store: StoreSettings | None

    @property
    def token(self) -> str:
        """The token that is made up for it, which is no secret."""
        return f"shpat_simulated_{self.name}"

    @property
    def secret(self) -> str:
        """The same of the client secret, which signs its webhooks."""
        given = self.store.webhook_secret if self.store else None
        return given.get_secret_value() if given else f"simulated-secret-{self.name}"


@click.command("simulate")
@click.option("--shops", type=click.IntRange(1, 100), metavar="N", help="So many new shops, whatever stores.yaml says.")
@click.option("--port", type=click.IntRange(0, 65535), default=4010, show_default=True, help="The first; 0: any free.")
@click.option("--people", "count", type=click.IntRange(0, 2_000_000), default=0, metavar="N", help="Customers a shop.")
@click.option("--orders", type=click.FloatRange(0, 100), default=10, show_default=True, metavar="PERCENT",
              help="Of the people: who has bought, and can't be deleted.")  # fmt: skip
@click.option("--restore-rate", type=click.FloatRange(min=1), default=100, show_default=True, metavar="POINTS",
              help="A second: 100 Standard, 200 Advanced, 1000 Plus. The bucket holds 20 times as many.")  # fmt: skip
@click.option("--lag", type=click.FloatRange(min=0), default=1, show_default=True, metavar="SECONDS",
              help="How far search lies behind.")  # fmt: skip
@click.option("--latency", type=click.FloatRange(0, 30), default=0, show_default=True, metavar="SECONDS",
              help="Before each answer.")  # fmt: skip
@click.option("--bulk-rate", type=click.FloatRange(min=0.001), metavar="ROWS", help="A second; left out: no limit.")
@click.option("--webhooks-to", metavar="URL", help="Scheme, host and port on loopback where all webhooks go.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one gives other people.")
@click.pass_obj
def command(
    context: Context,
    shops: int | None,
    port: int,
    count: int,
    orders: float,
    restore_rate: float,
    lag: float,
    latency: float,
    bulk_rate: float | None,
    webhooks_to: str | None,
    seed: int,
) -> int:
    """Serve a simulated Shopify on loopback: one shop for each store of stores.yaml, or new ones.

    Where there is no stores.yaml, one shop is made. Its tokens and secrets are those of the file where it has some.
    """
    if webhooks_to is not None and ((url := parsed(webhooks_to)) is None or url.host not in LOOPBACK):
        raise UsageError(f"--webhooks-to {webhooks_to} is not on loopback", hint="such as http://127.0.0.1:8080")
    wishes = _wishes(context, shops, port)
    world = World()
    for wish in wishes:
        sim = _open(world, wish, restore_rate, seed)
        sim.shop.search_lag_s, sim.latency_s, sim.shop.bulk_rows_per_s = lag, latency, bulk_rate
        if count:
            _populate(sim, count, orders, seed)
    _serve(context, world, wishes, webhooks_to)
    return 0


def _wishes(context: Context, shops: int | None, port: int) -> list[Wish]:
    stores = _stores(context) if shops is None else ()
    ports = iter(range(port, port + 1000)) if port else None
    if not stores:
        names = [f"sim-{number}" for number in range(1, (shops or 1) + 1)]
        return [Wish(name, f"{name}.myshopify.com", next(ports) if ports else 0, "US", None) for name in names]
    wishes = []
    taken = {_port_of(store) for store in stores}
    free: Iterator[int] | None = (each for each in ports if each not in taken) if ports else None
    for store in stores:
        own = _port_of(store) or (next(free) if free else 0)
        wishes.append(Wish(store.name, store.shop, own, store.country or "US", store))
    return wishes


def _stores(context: Context) -> Sequence[StoreSettings]:
    """Those of stores.yaml, if one was named or lies there."""
    named = context.stores or settings.environment().get("RECONCILER_STORES")
    return context.loaded.stores if named or Path("stores.yaml").exists() else ()


def _port_of(store: StoreSettings) -> int | None:
    """The port at which the store looks for its shop, if that is on this machine."""
    url = parsed(store.admin_url or "")
    return url.port if url is not None and url.host in LOOPBACK else None


def _open(world: World, wish: Wish, restore_rate: float, seed: int) -> SimShop:
    auth = wish.store.auth if wish.store else None
    fixed = auth.access_token.get_secret_value() if auth and auth.access_token else None
    client = auth.client_id if auth and auth.client_id else f"simulated-app-{wish.name}"
    secret = auth.client_secret.get_secret_value() if auth and auth.client_secret else wish.secret
    refresh = auth.refresh_token.get_secret_value() if auth and auth.refresh_token else None
    return world.add_shop(
        wish.shop,
        access_token=fixed or (None if auth and auth.client_id else wish.token),
        client_id=client,
        client_secret=secret,
        refresh_token=refresh,
        restore_rate=restore_rate,
        bucket_size=20 * restore_rate,
        country=wish.country,
        seed=seed,
    )


def _populate(sim: SimShop, count: int, orders: float, seed: int) -> None:
    country = sim.shop.country
    sim.shop.fill(people(count, country=country, bought=orders / 100, seed=seed), link=None)


def _serve(context: Context, world: World, wishes: Sequence[Wish], webhooks_to: str | None) -> None:
    stop = threading.Event()
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGINT, signal.SIGTERM)}
    server = SimulatorServer(world, ports={wish.shop: wish.port or 0 for wish in wishes})
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(server)
            except OSError as error:
                raise PermanentError(f"no port to serve on: {error.strerror}", hint="--port N, or --port 0") from error
            if webhooks_to is not None:
                for wish in wishes:
                    deliverer = Deliverer(world.shops[wish.shop].shop, secret=wish.secret, origin=webhooks_to)
                    stack.enter_context(deliverer)
            _say_what_is_served(context, world, wishes)
            stop.wait()
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _say_what_is_served(context: Context, world: World, wishes: Sequence[Wish]) -> None:
    """A stores.yaml to stdout, the same in words to stderr. Secrets of the user's file are not repeated."""
    lines = ["version: 1", "stores:"]
    for wish in wishes:
        url = world.url(wish.shop)
        people_there = counted(len(world.shops[wish.shop].shop.people), "customer")
        given = wish.store is not None and (wish.store.auth.access_token or wish.store.auth.client_id)
        token = "as in stores.yaml" if given else wish.token
        context.say(f"{wish.name}: {url}  token {token}  {people_there}")
        lines += [f"  - name: {wish.name}", f"    shop: {wish.shop}", f"    admin_url: {url}"]
        lines += [] if given else [f"    auth: {{access_token: {wish.token}}}"]
        if wish.store is None or wish.store.webhook_secret is None:
            lines.append(f"    webhook_secret: {wish.secret}")
        lines.append(f'    country: "{wish.country}"')
    click.echo("\n".join(lines))
    sys.stdout.flush()
    context.say("serving until Ctrl-C; POST /_sim/SHOP/edit and the like play the staff")
