"""The environment of alembic: migrations run on the connection that is passed in, inside the caller's transaction."""

from alembic import context

from gateway.studies.migrating import VERSION_TABLE
from gateway.studies.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
