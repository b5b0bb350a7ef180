"""A manifest that cannot be read is refused by the attribute at fault, without its value."""

import json

import pytest

from gateway.errors import BrokenJSON
from gateway.studies.manifests import read_manifest

UIDS = {
    "sop_instance_uid": "SOP Instance UID",
    "series_instance_uid": "Series Instance UID",
    "study_instance_uid": "Study Instance UID",
}


@pytest.mark.parametrize("value", ["", "series-1", "1." + "2" * 70, None])
@pytest.mark.parametrize("key", UIDS)
def test_an_entry_without_a_uid_is_refused_by_the_name_of_its_attribute(key: str, value: str | None) -> None:
    entry = {**dict.fromkeys(UIDS, "1.2.3"), "size": 1, "sha256": "0" * 64, key: value}
    with pytest.raises(BrokenJSON) as refused:
        read_manifest(json.dumps([entry]).encode(), 10)
    assert UIDS[key] in refused.value.detail
    assert not value or value not in refused.value.detail
