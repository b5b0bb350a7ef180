"""What one association has stored, in numbers."""

from dataclasses import dataclass, field


@dataclass
class StudyTally:
    """Instances of one study that were stored, and that failed."""

    stored: int = 0
    failed: int = 0


@dataclass
class StoreTally:
    """Instances of an association by study; a failure before the study is known counts for ""."""

    studies: dict[str, StudyTally] = field(default_factory=dict)
    size: int = 0

    def count(self, study: str, why: str, size: int) -> None:
        """Count one instance of ``size`` bytes; ``why`` is its outcome in a word."""
        of_study = self.studies.setdefault(study, StudyTally())
        if why == "stored":
            of_study.stored += 1
            self.size += size
        else:
            of_study.failed += 1
