"""Alembic's environment: the caller passes the connection; there is no ini file."""

from alembic import context

from reconciler.state.schema import options

connection = context.config.attributes["connection"]
context.configure(connection=connection, **options(connection))
with context.begin_transaction():
    context.run_migrations()
