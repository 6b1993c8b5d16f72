"""A simulated Shopify for tests and demos. It is independent of the product, which uses it only over HTTP.

`World` holds shops, `SimulatorServer` serves them on loopback, `make_app` is the ASGI application between the two.
It executes GraphQL on an excerpt of Shopify's schema, charges Shopify's costs, and produces faults on demand.
"""
