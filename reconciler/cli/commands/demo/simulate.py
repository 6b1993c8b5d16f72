"""`reconciler simulate`: serves a simulated Shopify on loopback, to test a stores.yaml without a real shop.

stdout is a stores.yaml of the served shops, unless the user's own leads to them already; messages go to stderr. Runs until
SIGINT or SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from reconciler import settings
from reconciler.cli.commands.demo.bulk_people import people
from reconciler.cli.context import Context
from reconciler.cli.render.plain import count_text
from reconciler.core.model.frozen import frozen
from reconciler.errors import PermanentError, UsageError
from reconciler.outbound.urls import parse_url
from reconciler.settings import StoreSettings
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.webhooks.delivery import Deliverer
from reconciler.simulator.world import SimShop, World

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@frozen
class ServedShop:
    """One shop to serve."""

    name: str
    shop: str
    port: int | None
    country: str
    store: StoreSettings | None

    @property
    def token(self) -> str:
        """A made-up access token, which is not secret."""
        return f"shpat_simulated_{self.name}"

    @property
    def secret(self) -> str:
        """The secret that signs the shop's webhooks: the configured one, or a made-up one."""
        given = self.store.webhook_secret if self.store else None
        return given.get_secret_value() if given else f"simulated-secret-{self.name}"


def simulate(
    context: Context,
    *,
    shops: int | None,
    port: int,
    count: int,
    orders: float,
    restore_rate: float,
    webhooks_to: str | None,
    seed: int,
) -> int:
    if webhooks_to is not None and ((url := parse_url(webhooks_to)) is None or url.host not in LOOPBACK):
        raise UsageError(f"--webhooks-to {webhooks_to} is not on loopback", hint="such as http://127.0.0.1:8080")
    to_serve = _shops_to_serve(context, shops, port)
    world = World()
    for served in to_serve:
        sim = _add_shop(world, served, restore_rate, seed)
        if count:
            _populate(sim, count, orders, seed)
    _serve(context, world, to_serve, webhooks_to)
    return 0


def _shops_to_serve(context: Context, shops: int | None, port: int) -> list[ServedShop]:
    stores = _stores(context) if shops is None else ()
    ports = iter(range(port, port + 1000)) if port else None
    if not stores:
        names = [f"sim-{number}" for number in range(1, (shops or 1) + 1)]
        return [ServedShop(name, f"{name}.myshopify.com", next(ports) if ports else 0, "US", None) for name in names]
    to_serve = []
    taken = {_port_of(store) for store in stores}
    free: Iterator[int] | None = (each for each in ports if each not in taken) if ports else None
    for store in stores:
        own = _port_of(store) or (next(free) if free else 0)
        to_serve.append(ServedShop(store.name, store.shop, own, store.country or "US", store))
    return to_serve


def _stores(context: Context) -> Sequence[StoreSettings]:
    """The stores of stores.yaml, if the file was named or exists."""
    named = context.stores or settings.environment().get("RECONCILER_STORES")
    return context.loaded.stores if named or Path("stores.yaml").exists() else ()


def _port_of(store: StoreSettings) -> int | None:
    """The port in the store's admin_url, if that is on loopback."""
    url = parse_url(store.admin_url or "")
    return url.port if url is not None and url.host in LOOPBACK else None


def _add_shop(world: World, served: ServedShop, restore_rate: float, seed: int) -> SimShop:
    auth = served.store.auth if served.store else None
    fixed = auth.access_token.get_secret_value() if auth and auth.access_token else None
    client = auth.client_id if auth and auth.client_id else f"simulated-app-{served.name}"
    secret = auth.client_secret.get_secret_value() if auth and auth.client_secret else served.secret
    refresh = auth.refresh_token.get_secret_value() if auth and auth.refresh_token else None
    return world.add_shop(
        served.shop,
        access_token=fixed or (None if auth and auth.client_id else served.token),
        client_id=client,
        client_secret=secret,
        refresh_token=refresh,
        restore_rate=restore_rate,
        bucket_size=20 * restore_rate,
        country=served.country,
        seed=seed,
    )


def _populate(sim: SimShop, count: int, orders: float, seed: int) -> None:
    country = sim.shop.country
    sim.shop.fill(people(count, country=country, bought=orders / 100, seed=seed), link=None)


def _serve(context: Context, world: World, to_serve: Sequence[ServedShop], webhooks_to: str | None) -> None:
    stop = threading.Event()
    before = {sign: signal.signal(sign, lambda *_: stop.set()) for sign in (signal.SIGINT, signal.SIGTERM)}
    server = SimulatorServer(world, ports={served.shop: served.port or 0 for served in to_serve})
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(server)
            except OSError as error:
                raise PermanentError(f"can't listen: {error.strerror}", hint="use --port N, or --port 0") from error
            if webhooks_to is not None:
                for served in to_serve:
                    deliverer = Deliverer(world.shops[served.shop].shop, secret=served.secret, origin=webhooks_to)
                    stack.enter_context(deliverer)
            _print_stores_file(context, world, to_serve)
            stop.wait()
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _print_stores_file(context: Context, world: World, to_serve: Sequence[ServedShop]) -> None:
    """Print a stores.yaml to stdout and a summary to stderr. Neither repeats secrets of the user's file."""
    leads_there = all(
        served.store is not None and served.store.admin_url == world.url(served.shop) for served in to_serve
    )
    lines = ["version: 1", "stores:"]
    for served in to_serve:
        url = world.url(served.shop)
        people_there = count_text(len(world.shops[served.shop].shop.people), "customer")
        given = served.store is not None and (served.store.auth.access_token or served.store.auth.client_id)
        token = "as in stores.yaml" if given else served.token
        context.say(f"{served.name}: {url}  token {token}  {people_there}")
        lines += [f"  - name: {served.name}", f"    shop: {served.shop}", f"    admin_url: {url}"]
        lines += [] if given else [f"    auth: {{access_token: {served.token}}}"]
        if served.store is None or served.store.webhook_secret is None:
            lines.append(f"    webhook_secret: {served.secret}")
        lines.append(f'    country: "{served.country}"')
    if not leads_there:
        click.echo("\n".join(lines))
        sys.stdout.flush()
    context.say("serving until Ctrl-C; POST /_sim/SHOP/edit and others act as staff")
