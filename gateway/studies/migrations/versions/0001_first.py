"""The first shape of the index."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DIGEST = sa.String(64)
UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table."""
    _instances()
    _holdings()
    _results()
    _bundles()
    op.create_table(
        "input_digests",
        sa.Column("id", DIGEST, primary_key=True),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False, index=True),
    )


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("sha256", DIGEST, primary_key=True),
        sa.Column("location", sa.String(80), nullable=False),
        sa.Column("sop_instance_uid", UID, nullable=False),
        sa.Column("series_instance_uid", UID, nullable=False, index=True),
        sa.Column("study_instance_uid", UID, nullable=False, index=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("used_at", sa.Double, nullable=False, index=True),
    )


def _holdings() -> None:
    owned = sa.ForeignKey("instances.sha256", ondelete="CASCADE")
    op.create_table(
        "holdings",
        sa.Column("caller", sa.String(255), primary_key=True),
        sa.Column("sha256", DIGEST, owned, primary_key=True, index=True),
        sa.Column("sop_instance_uid", UID, nullable=False),
        sa.Column("held_at", sa.Double, nullable=False, index=True),
        sa.UniqueConstraint("caller", "sop_instance_uid", name="uq_holdings_caller"),
    )


def _results() -> None:
    op.create_table(
        "results",
        sa.Column("id", DIGEST, primary_key=True),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("version", sa.String(255), nullable=False),
        *(sa.Column(f"{name}_digest", DIGEST, nullable=False) for name in ("model", "weights", "parameters")),
        *(sa.Column(f"{name}_digest", DIGEST, nullable=False) for name in ("input", "output")),
        sa.Column("body_sha256", DIGEST, nullable=False),
        sa.Column("location", sa.String(80), nullable=False),
        sa.Column("parts", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False, index=True),
        sa.Column("used_at", sa.Double, nullable=False, index=True),
    )
    op.create_index("ix_results_caller_created_at", "results", ["caller", "created_at"])
    owned = sa.ForeignKey("results.id", ondelete="CASCADE")
    op.create_table(
        "result_instances",
        sa.Column("result_id", DIGEST, owned, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("sha256", DIGEST, nullable=False),
        sa.Column("series_instance_uid", UID, nullable=False, index=True),
        sa.Column("study_instance_uid", UID, nullable=False, index=True),
    )


def _bundles() -> None:
    op.create_table(
        "bundles",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("sha256", DIGEST, nullable=False, index=True),
        sa.Column("location", sa.String(80), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime", sa.Double, nullable=False),
        sa.UniqueConstraint("name", "folded", name="uq_bundles_name"),
    )


def downgrade() -> None:
    """Drop every table."""
    for name in ("input_digests", "bundles", "result_instances", "results", "holdings", "instances"):
        op.drop_table(name)
