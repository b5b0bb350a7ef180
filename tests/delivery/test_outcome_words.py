"""Outcomes of deliveries for a person: a clause for each that a try can have."""

import pytest

from gateway.delivery import delivery_errands, send_outcomes
from gateway.delivery.outcome_words import in_words
from gateway.studies.delivery_rows import UNAVAILABLE

KNOWN = (
    *(UNAVAILABLE, delivery_errands.UNFINISHED, delivery_errands.NO_PEER),
    *(send_outcomes.STORED, send_outcomes.PRESENT, send_outcomes.GONE, send_outcomes.NOT_NAMED),
    *("rejected", "not-offered", "tls", "failed"),
)


@pytest.mark.parametrize("outcome", [word for word in KNOWN if word != send_outcomes.STORED])
def test_each_word_has_a_clause(outcome: str) -> None:
    assert " " in in_words(outcome)


@pytest.mark.parametrize(
    "outcome", [f"refused-{reason:04X}" for reason in (*send_outcomes.FINAL, 0xA700, 0xA900, 0xC000)]
)
def test_a_refusal_is_told_with_its_reason(outcome: str) -> None:
    assert in_words(outcome).endswith(f"({outcome.removeprefix('refused-')})")


def test_a_status_is_told_with_its_number() -> None:
    assert in_words("status-401") == "it does not accept the credentials of the gateway (401)"
    assert in_words("status-500") == "it answers with an error (500)"
    assert in_words("") == ""
