"""The domain of the simulated Shopify: one shop, combined from its parts. `world.py` adds tokens, faults and the call log.

Each root field of the schema is a method in snake_case. The parts inherit from each other in this order:
ledger, changes, metafields, definitions, customers, tagging, reading, merges, consent, residence, subscriptions,
staff, claims, uploads, bulk, populate.
"""

from reconciler.simulator.customers.people.populate import Filling


class Shop(Filling):
    """One simulated shop. Its settings are `habits`, `search_lag_s` and `webhook_secret`."""
