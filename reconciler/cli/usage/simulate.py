"""Usage of `reconciler simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from reconciler.cli.context import Context


@click.command("simulate")
@click.option(
    "--shops", type=click.IntRange(1, 100), metavar="N", help="Serve this many new shops; ignore stores.yaml."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4010, show_default=True, help="The first port; 0: any free ports."
)
@click.option(
    "--people", "count", type=click.IntRange(0, 2_000_000), default=0, metavar="N", help="Customers in each shop."
)
@click.option("--orders", type=click.FloatRange(0, 100), default=10, show_default=True, metavar="PERCENT",
              help="Share of customers with orders, which can't be deleted.")  # fmt: skip
@click.option("--restore-rate", type=click.FloatRange(min=1), default=100, show_default=True, metavar="POINTS",
              help="Points a second: 100 Standard, 200 Advanced, 1000 Plus. The bucket holds 20 times as many.")  # fmt: skip
@click.option("--webhooks-to", metavar="URL", help="Scheme, host and port on loopback that receive all webhooks.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated customers.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Serve a simulated Shopify on loopback: one shop for each store of stores.yaml, or new shops.

    Without a stores.yaml, one shop is created. Tokens and secrets are those of the file, if it has them.
    """
    from reconciler.cli.commands.demo.simulate import simulate

    return simulate(context, **options)
