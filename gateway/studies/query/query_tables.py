"""The tables of QIDO-RS. They hold names of patients: no log, metric or operator's page reads them.

Each row belongs to one caller, so that no caller sees or changes what another has sent of the same study.
"""

from sqlalchemy import Column, Double, ForeignKeyConstraint, Index, Integer, Table, Text

from gateway.studies.tables import CALLER, DIGEST, UID, metadata

EXACT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared by its code points, so that an index serves a search by its beginning."""
STUDY_COLUMNS = (
    "study_date",
    "study_time",
    "accession_number",
    "referring_physician_name",
    "referring_physician_name_ideographic",
    "referring_physician_name_phonetic",
    "study_description",
    "patient_name",
    "patient_name_ideographic",
    "patient_name_phonetic",
    "patient_id",
    "study_id",
)
SERIES_COLUMNS = (
    "modality",
    "series_description",
    "series_number",
    "performed_procedure_step_start_date",
    "performed_procedure_step_start_time",
    "scheduled_procedure_step_id",
    "requested_procedure_id",
)
UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def _exact(*names: str) -> list[Column[str]]:
    return [Column(name, EXACT, nullable=False) for name in names]


dicom_studies = Table(
    "dicom_studies",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("study_instance_uid", UID, primary_key=True),
    Column("held_at", Double, nullable=False),
    *_exact(*STUDY_COLUMNS),
    Column("attributes", Text, nullable=False),
    *(
        Index(f"ix_dicom_studies_{name}", "caller", name, "study_instance_uid")
        for name in ("study_date", "patient_name", "patient_id", "accession_number")
    ),
)
"""Studies by caller. ``attributes`` is the JSON model of the level; ``held_at`` the last time that a part was sent."""

dicom_series = Table(
    "dicom_series",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("study_instance_uid", UID, primary_key=True),
    Column("series_instance_uid", UID, primary_key=True),
    Column("held_at", Double, nullable=False),
    *_exact(*SERIES_COLUMNS),
    Column("attributes", Text, nullable=False),
    Index("ix_dicom_series_series_instance_uid", "caller", "series_instance_uid"),
)

dicom_instances = Table(
    "dicom_instances",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("sha256", DIGEST, primary_key=True),
    Column("study_instance_uid", UID, nullable=False),
    Column("series_instance_uid", UID, nullable=False),
    Column("sop_instance_uid", UID, nullable=False),
    Column("held_at", Double, nullable=False),
    *_exact("sop_class_uid", "instance_number"),
    Column("attributes", Text, nullable=False),
    ForeignKeyConstraint(["caller", "sha256"], ["holdings.caller", "holdings.sha256"], ondelete="CASCADE"),
    Index("ix_dicom_instances_study_instance_uid", "caller", *UIDS),
    Index("ix_dicom_instances_sop_instance_uid", "caller", "sop_instance_uid"),
    *(Index(f"ix_dicom_instances_{name}", "caller", name, *UIDS) for name in ("sop_class_uid", "instance_number")),
)
"""Instances by caller; a row goes with its holding. Two indexes have them in the order of an answer."""

dicom_counts = Table(
    "dicom_counts",
    metadata,
    Column("caller", CALLER, primary_key=True),
    Column("study_instance_uid", UID, primary_key=True),
    Column("series_instance_uid", UID, primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("oldest_at", Double, nullable=False),
)
"""How many rows ``dicom_instances`` has of a series, counted by triggers: rows also go with holdings, by cascade.

None of them is held for longer than since ``oldest_at``.
"""
