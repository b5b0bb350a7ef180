"""Indexes for searches by SOP class and instance number, and the number of instances of each series."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
INDEXED = ("sop_class_uid", "instance_number")
UIDS = ["study_instance_uid", "series_instance_uid", "sop_instance_uid"]

COUNT = """
INSERT INTO dicom_counts (caller, study_instance_uid, series_instance_uid, instances, oldest_at)
SELECT caller, study_instance_uid, series_instance_uid, count(*), min(held_at) FROM dicom_instances
GROUP BY caller, study_instance_uid, series_instance_uid
"""
ADD = """
INSERT INTO dicom_counts (caller, study_instance_uid, series_instance_uid, instances, oldest_at)
VALUES (NEW.caller, NEW.study_instance_uid, NEW.series_instance_uid, 1, NEW.held_at)
ON CONFLICT (caller, study_instance_uid, series_instance_uid) DO UPDATE SET instances = dicom_counts.instances + 1,
oldest_at = CASE WHEN excluded.oldest_at < dicom_counts.oldest_at THEN excluded.oldest_at
ELSE dicom_counts.oldest_at END;
"""
REMOVE = """
UPDATE dicom_counts SET instances = instances - 1 WHERE caller = OLD.caller
AND study_instance_uid = OLD.study_instance_uid AND series_instance_uid = OLD.series_instance_uid;
"""
TRIGGERS = {"dicom_instances_added": ("INSERT", ADD), "dicom_instances_removed": ("DELETE", REMOVE)}


def upgrade() -> None:
    """Make the indexes and the table, count what is there, and keep counting."""
    for name in INDEXED:
        op.create_index(f"ix_dicom_instances_{name}", "dicom_instances", ["caller", name, *UIDS])
    op.create_table(
        "dicom_counts",
        sa.Column("caller", sa.String(255), primary_key=True),
        sa.Column("study_instance_uid", UID, primary_key=True),
        sa.Column("series_instance_uid", UID, primary_key=True),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("oldest_at", sa.Double, nullable=False),
    )
    op.execute(COUNT)
    for name, (change, statement) in TRIGGERS.items():
        head = f"CREATE TRIGGER {name} AFTER {change} ON dicom_instances FOR EACH ROW"
        if _is_postgresql():
            op.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN NULL; END $$"
            )
            op.execute(f"{head} EXECUTE FUNCTION {name}()")
        else:
            op.execute(f"{head} BEGIN {statement} END")


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def downgrade() -> None:
    """Drop all of it."""
    for name in TRIGGERS:
        if _is_postgresql():
            op.execute(f"DROP TRIGGER {name} ON dicom_instances")
            op.execute(f"DROP FUNCTION {name}()")
        else:
            op.execute(f"DROP TRIGGER {name}")
    op.drop_table("dicom_counts")
    for name in INDEXED:
        op.drop_index(f"ix_dicom_instances_{name}", "dicom_instances")
