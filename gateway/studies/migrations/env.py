"""What alembic runs for each migration: on the connection that it was given, inside the caller's transaction."""

from alembic import context

from gateway.studies.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table="store_version"
)
context.run_migrations()
