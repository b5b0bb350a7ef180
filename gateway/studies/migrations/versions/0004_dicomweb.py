"""The tables of QIDO-RS."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DIGEST, CALLER = sa.String(64), sa.String(255)
UID = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
EXACT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _exact(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, EXACT, nullable=False) for name in names]


def upgrade() -> None:
    """Make the three tables."""
    _studies()
    _series()
    _instances()


def _studies() -> None:
    referring, patient = "referring_physician_name", "patient_name"
    op.create_table(
        "dicom_studies",
        sa.Column("caller", CALLER, primary_key=True),
        sa.Column("study_instance_uid", UID, primary_key=True),
        sa.Column("held_at", sa.Double, nullable=False),
        *_exact("study_date", "study_time", "accession_number"),
        *_exact(referring, f"{referring}_ideographic", f"{referring}_phonetic", "study_description"),
        *_exact(patient, f"{patient}_ideographic", f"{patient}_phonetic", "patient_id", "study_id"),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    for name in ("study_date", "patient_name", "patient_id", "accession_number"):
        op.create_index(f"ix_dicom_studies_{name}", "dicom_studies", ["caller", name, "study_instance_uid"])


def _series() -> None:
    step = "performed_procedure_step_start"
    op.create_table(
        "dicom_series",
        sa.Column("caller", CALLER, primary_key=True),
        sa.Column("study_instance_uid", UID, primary_key=True),
        sa.Column("series_instance_uid", UID, primary_key=True),
        sa.Column("held_at", sa.Double, nullable=False),
        *_exact("modality", "series_description", "series_number", f"{step}_date", f"{step}_time"),
        *_exact("scheduled_procedure_step_id", "requested_procedure_id"),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    op.create_index("ix_dicom_series_series_instance_uid", "dicom_series", ["caller", "series_instance_uid"])


def _instances() -> None:
    holding = ["holdings.caller", "holdings.sha256"]
    op.create_table(
        "dicom_instances",
        sa.Column("caller", CALLER, primary_key=True),
        sa.Column("sha256", DIGEST, primary_key=True),
        sa.Column("study_instance_uid", UID, nullable=False),
        sa.Column("series_instance_uid", UID, nullable=False),
        sa.Column("sop_instance_uid", UID, nullable=False),
        sa.Column("held_at", sa.Double, nullable=False),
        *_exact("sop_class_uid", "instance_number"),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["caller", "sha256"], holding, ondelete="CASCADE"),
    )
    uids = ["study_instance_uid", "series_instance_uid", "sop_instance_uid"]
    op.create_index("ix_dicom_instances_study_instance_uid", "dicom_instances", ["caller", *uids])
    op.create_index("ix_dicom_instances_sop_instance_uid", "dicom_instances", ["caller", "sop_instance_uid"])


def downgrade() -> None:
    """Drop the three tables."""
    for name in ("dicom_instances", "dicom_series", "dicom_studies"):
        op.drop_table(name)
