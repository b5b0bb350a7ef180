"""The index of a store with many studies, made without their files: what a search reads, and nothing else."""

from sqlalchemy import Connection, text

ROOT = "1.2.826.0.1.3680043.8.498."
"""The UIDs below are made up; no device has sent them."""
NAMES = ("doe", "roe", "muller", "garcia", "yamada", "nowak", "rossi")
MODALITIES = ("CT", "MR", "US", "CR", "PT")
SERIES = 2
"""Series of a study."""


def fill(connection: Connection, studies: int, instances: int, now: float) -> None:
    """Add ``studies`` of ``instances`` each for the anonymous caller, by SQL that SQLite and PostgreSQL share."""
    numbers = {"studies": studies, "each": instances, "total": studies * instances, "now": now}
    for statement in (_INSTANCES, _HOLDINGS, _DICOM_INSTANCES, _DICOM_SERIES, _DICOM_STUDIES):
        connection.execute(text(statement), numbers)
    if connection.dialect.name == "postgresql":  # does so by itself after a while; SQLite never does
        connection.execute(text("ANALYZE"))


def study_uid(number: int) -> str:
    """Return the UID of a study, counted from 0."""
    return f"{ROOT}{number}"


def _one_of(words: tuple[str, ...], number: str) -> str:
    cases = " ".join(f"WHEN {place} THEN '{word}'" for place, word in enumerate(words))
    return f"CASE ({number}) % {len(words)} {cases} END"


def _numbers(count: str) -> str:
    return f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < CAST(:{count} AS INTEGER))"


_EACH = "CAST(:each AS INTEGER)"
_NOW = "CAST(:now AS DOUBLE PRECISION)"
_STUDY = f"'{ROOT}' || (i / {_EACH})"
_SERIE = f"'{ROOT}' || (i / {_EACH}) || '.' || (i % {SERIES})"
_SOP = f"'{ROOT}' || (i / {_EACH}) || '.' || (i % {SERIES}) || '.' || i"
_DIGEST = "CAST(i AS VARCHAR(64))"

_INSTANCES = f"""INSERT INTO instances {_numbers("total")}
SELECT {_DIGEST}, {_DIGEST}, {_SOP}, {_SERIE}, {_STUDY}, 524288, {_NOW}, {_NOW} FROM n"""
_HOLDINGS = f"""INSERT INTO holdings {_numbers("total")}
SELECT '', {_DIGEST}, {_SOP}, {_NOW} FROM n"""
_DICOM_INSTANCES = f"""INSERT INTO dicom_instances
(caller, sha256, study_instance_uid, series_instance_uid, sop_instance_uid, held_at, sop_class_uid, instance_number,
attributes) {_numbers("total")}
SELECT '', {_DIGEST}, {_STUDY}, {_SERIE}, {_SOP}, {_NOW}, '1.2.840.10008.5.1.4.1.1.2', CAST(i % {_EACH} AS VARCHAR(16)),
'{{"00080018":{{"vr":"UI","Value":["' || {_SOP} || '"]}}}}' FROM n"""
_DICOM_SERIES = f"""INSERT INTO dicom_series
(caller, study_instance_uid, series_instance_uid, held_at, modality, series_description, series_number,
performed_procedure_step_start_date, performed_procedure_step_start_time, scheduled_procedure_step_id,
requested_procedure_id, attributes) {_numbers("studies")}, m(s) AS (SELECT 0 UNION ALL SELECT 1)
SELECT '', '{ROOT}' || i, '{ROOT}' || i || '.' || s, {_NOW}, {_one_of(MODALITIES, "i + s")}, 'axial',
CAST(s AS VARCHAR(4)), '', '', '', '',
'{{"00080060":{{"vr":"CS","Value":["' || {_one_of(MODALITIES, "i + s")} || '"]}}}}' FROM n CROSS JOIN m"""
_NAME = f"{_one_of(NAMES, 'i')} || '^' || i"
_DATE = "CAST(20150101 + (i % 10) * 10000 + ((i / 10) % 12) * 100 + (i / 120) % 28 AS VARCHAR(8))"
_DICOM_STUDIES = f"""INSERT INTO dicom_studies
(caller, study_instance_uid, held_at, study_date, study_time, accession_number, referring_physician_name,
referring_physician_name_ideographic, referring_physician_name_phonetic, study_description, patient_name,
patient_name_ideographic, patient_name_phonetic, patient_id, study_id, attributes) {_numbers("studies")}
SELECT '', '{ROOT}' || i, {_NOW}, {_DATE}, '101500.000000', 'A' || i, 'house^gregory', '', '', 'Chest', {_NAME}, '', '',
'P' || i, 'S' || i, '{{"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"' || {_NAME} || '"}}]}}}}' FROM n"""
