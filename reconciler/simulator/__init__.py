"""A Shopify of our own, for tests, demos and rehearsals: somebody else's program that happens to live in this package.

`World` holds shops, `SimulatorServer` serves them on loopback, `make_app` is the ASGI application between the two.
It executes real GraphQL on an excerpt of Shopify's schema, charges Shopify's costs, and fails in every way on demand.
"""
