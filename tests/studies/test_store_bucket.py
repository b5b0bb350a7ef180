"""A store with its bytes in a bucket obeys the same rules; S3 is moto's server here."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Settings
from gateway.errors import DigestMismatch, StudyNotFound, Unavailable
from gateway.studies.forgetting import forget
from gateway.studies.references import References
from gateway.studies.retention import sweep
from gateway.studies.store import Store
from tests.require import require
from tests.studies.files import File, file, files, states, upload


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    require(importlib.util.find_spec("moto") and importlib.util.find_spec("boto3"), "a bucket needs boto3 and moto")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="studies")
    yield client
    for key in keys(client):
        client.delete_object(Bucket="studies", Key=key)
    client.close()


@pytest.fixture
def store(s3: Any, tmp_path: Path) -> Iterator[Store]:
    settings = Settings(store_folder=tmp_path / "store", store_bucket="studies/here", store_max_bytes=20_000)
    opened = Store.open(settings)
    yield opened
    opened.close()


def keys(client: Any) -> list[str]:
    return [one["Key"] for one in client.list_objects_v2(Bucket="studies").get("Contents", ())]


def resolve(store: Store, sent: list[File], caller: str = "one") -> list[bytes]:
    with References(store).resolve({"instances": [one.entry.sha256 for one in sent]}, caller) as found:
        return [file.read() for file in found.files]


@pytest.mark.slow
def test_an_instance_of_two_callers_is_in_the_bucket_once_and_is_read_back(store: Store, s3: Any) -> None:
    sent = files(3)
    for caller in ("one", "other"):
        upload(store, caller, sent)
        assert resolve(store, sent, caller) == [one.data for one in sent]
    assert len(keys(s3)) == 3
    assert all(key.startswith("here/instances/") for key in keys(s3))
    assert [path for path in store.folder.rglob("*") if path.is_file() and path.parent.name == "incoming"] == []


def test_a_refused_chunk_leaves_nothing_in_the_bucket(store: Store, s3: Any) -> None:
    good, bad = files(2)
    with pytest.raises(DigestMismatch):
        upload(store, "one", [good, File(bad.entry, bad.data[:-1])])
    assert keys(s3) == []


def test_a_changed_object_is_quarantined_and_removed_with_its_study(store: Store, s3: Any) -> None:
    one = file(1)
    upload(store, "one", [one])
    (key,) = keys(s3)
    s3.put_object(Bucket="studies", Key=key, Body=one.data[:-1] + b"\xff")
    with pytest.raises(StudyNotFound):
        resolve(store, [one])
    assert states(store, "one", [one]) == ["missing"]
    assert [name.split("/")[:3] for name in keys(s3)] == [["here", "instances", "quarantine"]]
    upload(store, "one", [one])
    forget(store, one.entry.study_instance_uid, "one")
    assert keys(s3) == []


@pytest.mark.slow
def test_a_removed_object_is_missing(store: Store, s3: Any) -> None:
    one = file(1)
    upload(store, "one", [one])
    s3.delete_object(Bucket="studies", Key=keys(s3)[0])
    with pytest.raises(StudyNotFound):
        resolve(store, [one])
    assert states(store, "one", [one]) == ["missing"]


def test_a_bucket_obeys_the_quota_and_is_swept(store: Store, s3: Any) -> None:
    sent = [file("room", study=number) for number in range(8)]
    for one in sent:
        upload(store, "one", [one])
    here = states(store, "one", sent).count("present")
    assert 0 < here < 8
    assert len(keys(s3)) == here
    s3.put_object(Bucket="studies", Key="here/instances/stray", Body=b"")
    assert sweep(store.index, store.folder / "incoming", store.blobs, 4e9) == 1
    assert len(keys(s3)) == here


def test_a_bucket_that_does_not_answer_is_a_503(store: Store, s3: Any) -> None:
    s3.delete_bucket(Bucket="studies")
    with pytest.raises(Unavailable):
        upload(store, "one", [file(1)])
    s3.create_bucket(Bucket="studies")
    assert states(store, "one", [file(1)]) == ["missing"]
