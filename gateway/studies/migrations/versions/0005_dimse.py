"""Arrivals by the DICOM network, and storage commitments."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "arrivals",
        sa.Column("association", sa.String(32), primary_key=True),
        sa.Column("study_instance_uid", UID, primary_key=True),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("sender", sa.String(16), nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("latest_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("instances", sa.Integer, nullable=False),
    )
    op.create_index("ix_arrivals_caller_study_instance_uid", "arrivals", ["caller", "study_instance_uid"])
    op.create_index("ix_arrivals_latest_at", "arrivals", ["latest_at"])
    op.create_table(
        "commitments",
        sa.Column("sender", sa.String(16), primary_key=True),
        sa.Column("transaction_uid", UID, primary_key=True),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("instances", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
    )
    op.create_index("ix_commitments_state_next_at", "commitments", ["state", "next_at"])


def downgrade() -> None:
    """Drop the two tables."""
    op.drop_table("commitments")
    op.drop_table("arrivals")
