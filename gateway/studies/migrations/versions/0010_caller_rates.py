"""The rates of callers over all hosts: unlogged in PostgreSQL, where each request may change a row."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; SQLite has no unlogged ones."""
    op.create_table(
        "caller_rates",
        sa.Column("caller", sa.String(255), primary_key=True),
        sa.Column("tokens", sa.Double, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        prefixes=["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else [],
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("caller_rates")
