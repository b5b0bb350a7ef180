"""A list is refused at its first faults, however many more it has, and a problem names a few of them."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from gateway import Settings
from gateway.errors import MAX_FAULTS, BrokenJSON, ParameterRefused
from gateway.studies.bundles import read_files, read_push
from gateway.studies.manifests import read_chunk, read_manifest

MANY = 10_000
LISTS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "a manifest": (lambda text: read_manifest(text, MANY), b"[%s]"),
    "a chunk": (lambda text: read_chunk(text, MANY), b'{"instances": [%s]}'),
    "a bundle": (lambda text: read_files(text, Settings()), b"[%s]"),
    "files of a push": (lambda text: read_push(text, Settings()), b'{"files": [%s], "remove": []}'),
    "keys that a push removes": (lambda text: read_push(text, Settings()), b'{"files": [], "remove": [%s]}'),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("entry", [b"{}", b"null", b"[]"])
def test_no_more_faults_are_looked_for_than_one_entry_has(name: str, entry: bytes) -> None:
    read, form = LISTS[name]
    with pytest.raises(BrokenJSON) as refused:
        read(form % b",".join([entry] * MANY))
    looked_at = refused.value.__context__
    assert isinstance(looked_at, ValidationError)
    assert looked_at.error_count() <= MAX_FAULTS


def test_a_problem_lists_the_first_faults_of_many() -> None:
    refused = ParameterRefused([(f"/{number}", f"{number} is missing.") for number in range(MANY)])
    assert [fault["pointer"] for fault in refused.members["errors"]] == [f"/{number}" for number in range(MAX_FAULTS)]
    assert len(refused.detail) < 20 * MAX_FAULTS
