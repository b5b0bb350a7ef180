"""Rounds of studies that arrive, their handling by rules, and the objects that rules have sent out."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DIGEST, CALLER = sa.String(64), sa.String(255)
UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "rounds",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("caller", CALLER, nullable=False),
        sa.Column("study_instance_uid", UID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("replaces", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("content", DIGEST, nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("senders", sa.Text, nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("latest_at", sa.Double, nullable=False, index=True),
        sa.Column("ended_at", sa.Double),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("stated", sa.Text, nullable=False),
        sa.Column("verdicts", sa.Text, nullable=False),
        sa.UniqueConstraint("caller", "study_instance_uid", "number", name="uq_rounds_caller"),
    )
    op.create_index("ix_rounds_state_due_at", "rounds", ["state", "due_at"])
    op.create_table(
        "routings",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("round", sa.String(32), sa.ForeignKey("rounds.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("caller", CALLER, nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("content", DIGEST, nullable=False),
        sa.Column("digests", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("run_key", DIGEST, nullable=False, index=True),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("results", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.UniqueConstraint("caller", "rule", "content", name="uq_routings_caller"),
    )
    op.create_index("ix_routings_state_due_at", "routings", ["state", "due_at"])
    op.create_table(
        "own_results",
        sa.Column("digest", DIGEST, primary_key=True),
        sa.Column("made_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("own_results", "routings", "rounds"):
        op.drop_table(name)
