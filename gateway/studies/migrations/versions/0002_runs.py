"""Runs, their records and their studies."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DIGEST = sa.String(64)
UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of runs."""
    op.create_table(
        "runs",
        sa.Column("key", DIGEST, primary_key=True),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(255), nullable=False),
        sa.Column("body_digest", DIGEST, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("sequence", "attempts")),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("lease_until", "available_at", "created_at")),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double, index=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("expired", sa.Boolean, nullable=False),
    )
    op.create_index("ix_runs_caller_created_at", "runs", ["caller", "created_at"])
    op.create_index("ix_runs_state_created_at", "runs", ["state", "created_at"])
    _records()


def _records() -> None:
    op.create_table(
        "run_records",
        sa.Column("key", DIGEST, sa.ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("location", sa.String(80), nullable=False, index=True),
        sa.Column("sha256", DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "run_studies",
        sa.Column("key", DIGEST, sa.ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("study_instance_uid", UID, primary_key=True, index=True),
    )


def downgrade() -> None:
    """Drop the tables of runs. Their payloads in the store are orphans then, and the next start sweeps them."""
    for name in ("run_studies", "run_records", "runs"):
        op.drop_table(name)
