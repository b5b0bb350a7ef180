"""Sessions of Backend.AI's API with their files and executions, and the signatures of its requests."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

DIGEST = sa.String(64)
UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "compute_sessions",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("route", sa.String(255), nullable=False),
        sa.Column("image", sa.String(255), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False, index=True),
        sa.UniqueConstraint("caller", "name", name="uq_compute_sessions_caller"),
    )
    op.create_table(
        "session_files",
        _session(),
        sa.Column("path", sa.String(1024), primary_key=True),
        sa.Column("location", sa.String(80), nullable=False, index=True),
        sa.Column("sha256", DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("study_instance_uid", UID, nullable=False, index=True),
    )
    op.create_table(
        "session_executions",
        _session(),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("after", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.create_table(
        "request_signatures",
        sa.Column("digest", DIGEST, primary_key=True),
        sa.Column("until", sa.Double, nullable=False, index=True),
    )


def _session() -> sa.Column[str]:
    return sa.Column(
        "session", sa.String(36), sa.ForeignKey("compute_sessions.id", ondelete="CASCADE"), primary_key=True
    )


def downgrade() -> None:
    """Drop the tables. Uploaded files are orphans then, and the next start sweeps them."""
    for name in ("request_signatures", "session_executions", "session_files", "compute_sessions"):
        op.drop_table(name)
