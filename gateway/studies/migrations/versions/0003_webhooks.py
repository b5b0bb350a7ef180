"""Webhooks of runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of webhooks."""
    op.create_table(
        "webhooks",
        sa.Column("run_key", sa.String(64), sa.ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("origin", sa.String(300), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
    )
    op.create_index("ix_webhooks_state_next_at", "webhooks", ["state", "next_at"])


def downgrade() -> None:
    """Drop the table of webhooks."""
    op.drop_table("webhooks")
