"""The tables of an index, from one revision to the next: alembic on the connection of the only writer."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from gateway.errors import Unavailable

if TYPE_CHECKING:  # imported late, once its loggers are quiet
    from alembic.config import Config

VERSION_TABLE = "store_version"
"""The table of the index with the revision that it has."""


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date. Raises Unavailable for an index that a later version of the gateway has changed."""
    config = configured(connection)
    from alembic import command

    _refuse_later(connection, config)
    command.upgrade(config, "head")


def configured(connection: Connection) -> "Config":
    """Return the configuration for alembic's commands, which then work in the transaction of ``connection``."""
    plugins = logging.getLogger("alembic")
    if plugins.level == logging.NOTSET:  # it names each of its own at each start
        plugins.setLevel(logging.WARNING)
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _refuse_later(connection: Connection, config: "Config") -> None:
    from alembic.script import ScriptDirectory

    if not inspect(connection).has_table(VERSION_TABLE):
        return
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    later = set(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars()) - known
    if later:
        raise Unavailable(
            "A later version of the gateway has changed the index of the study store; start that version,"
            " or restore the index from the backup before the upgrade.",
            private=f"index: its revision is {', '.join(sorted(later))}, and {max(known)} is the last known here",
        )
