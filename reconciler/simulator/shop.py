"""The domain of the simulated Shopify: one shop, put together from its rooms. `world.py` puts HTTP in front of it.

Each root field of the schema is a method in snake_case. The rooms stand on each other:
ledger, changes, metafields, definitions, customers, tagging, reading, merges, consent, residence, subscriptions,
staff, claims, uploads, bulk, populate.
"""

from reconciler.simulator.customers.populate import Filling


class Shop(Filling):
    """One simulated shop. All that may be switched is in `habits`, `search_lag_s` and `webhook_secret`."""
