"""The environment of alembic: migrations run on the connection that is passed in, inside the caller's transaction."""

from alembic import context

from gateway.studies.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table="store_version"
)
context.run_migrations()
