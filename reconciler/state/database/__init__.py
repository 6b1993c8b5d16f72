"""The connection to our own database: engine, schema, version, clock and locks."""
