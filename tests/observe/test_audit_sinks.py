"""Sinks of records: the file, and copies in S3 and SQL; a failure is reported."""

import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.errors import Unavailable
from gateway.observe.audit.auditor import Auditor, open_auditor, signing_key
from gateway.observe.audit.canonical import read_key
from gateway.observe.audit.chain import ChainHead
from gateway.observe.audit.copies import Copies
from gateway.observe.audit.file import ChainFile
from gateway.observe.audit.verify import verify
from tests.observe import postgres
from tests.observe.chains import KEY, heads, lines, outcome
from tests.require import require
from tests.waiting import PATIENCE, eventually

CANARY = "Doe^Jane"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def auditing(file: Path, **given: Any) -> tuple[Auditor, Counter[str]]:
    """An auditor as the settings make it, and its failures by sink."""
    failures: Counter[str] = Counter()
    made = open_auditor(
        Settings(audit_file=file, audit_key_file=file.with_name("key"), **given), lambda sink: failures.update([sink])
    )
    assert made is not None
    return made, failures


def drained(auditor: Auditor) -> bool:
    return all(copies.drain(PATIENCE) for copies in auditor._copies)


def failed(auditor: Auditor) -> bool:
    """Wait until the copies fail or succeed, however busy the machine is."""
    return eventually(lambda: auditor._copies[0].failing)


def test_settings_without_a_file_write_no_audit() -> None:
    assert open_auditor(Settings()) is None
    assert signing_key(Settings()) is None


@pytest.mark.parametrize("setting", [{"audit_required": True}, {"audit_s3": "bucket"}, {"audit_sql": "sqlite://"}])
def test_a_copy_without_a_chain_to_copy_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need the chain of audit_file"):
        open_auditor(Settings(**setting))


def test_a_key_is_made_once_and_for_its_owner_only(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = file.with_name("key")
    auditing(file)[0](outcome())
    key = read_key(path)
    auditing(file)[0](outcome())
    assert read_key(path) == key
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert verify([file], key=key).records == 2
    assert caplog.records == []
    path.chmod(0o644)
    auditing(file)
    assert "may be read by others" in caplog.text


def test_an_invalid_key_stops_the_start(file: Path) -> None:
    for text in ("", "not hexadecimal", "ab" * 31):
        file.with_name("key").write_text(text)
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            auditing(file)


def test_a_key_in_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        open_auditor(Settings(audit_file=tmp_path / "a", audit_key_file=tmp_path / "no" / "key"))


@pytest.mark.parametrize(("module", "setting"), [("boto3", "audit_s3"), ("sqlalchemy", "audit_sql")])
def test_a_sink_whose_library_is_missing_names_what_to_install(
    file: Path, module: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"(?i){setting} .*needs {module}; run: pip install '{module}"):
        auditing(file, **{setting: "somewhere"})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_file_that_cannot_be_written_is_one_warning_and_a_count_for_each_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, failures = tmp_path / "later", Counter[str]()
    auditor = Auditor(ChainFile(folder / "audit.jsonl", KEY), on_failure=lambda sink: failures.update([sink]))
    for _ in range(3):
        auditor(outcome(caller=CANARY))
        auditor.ready()
    assert warnings(caplog) == ["the audit's file takes no records: FileNotFoundError"]
    assert failures == {"file": 3}
    folder.mkdir()
    auditor(outcome())
    assert verify([folder / "audit.jsonl"], key=KEY).records == 4
    assert CANARY not in caplog.text


def test_an_unwritable_file_is_reported_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_auditor(Settings(audit_file=tmp_path / "no" / "audit.jsonl", audit_key_file=tmp_path / "key"))
    assert warnings(caplog) == ["the audit's file takes no records: FileNotFoundError"]


def test_a_pipe_without_a_reader_delays_no_request(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(file)
    auditor = Auditor(ChainFile(file, KEY))
    for _ in range(200):  # more than a pipe takes
        auditor(outcome())
    assert warnings(caplog) == [
        "the audit's file takes no records: audit_file should be a file, not a device or a pipe."
    ]


def test_a_file_of_another_program_is_refused_with_a_sentence(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("notes of somebody")
    auditor = Auditor(ChainFile(file, KEY))
    auditor(outcome())
    assert warnings(caplog) == [
        "the audit's file takes no records: audit_file holds something else than a chain of this key."
    ]


def test_an_audit_that_is_required_and_cannot_be_written_refuses_the_next_request(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    auditor = Auditor(ChainFile(folder / "audit.jsonl", KEY), required=True)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            auditor.ready()
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
    assert str(tmp_path) not in refused.value.detail + refused.value.private
    auditor(outcome())
    folder.mkdir()
    auditor.ready()
    assert len(lines(folder / "audit.jsonl")) == 1, "the record that waited is written before the next is asked for"


def test_records_beyond_the_queue_are_dropped_and_counted(tmp_path: Path) -> None:
    failures: Counter[str] = Counter()
    missing = ChainFile(tmp_path / "no" / "audit.jsonl", KEY)
    auditor = Auditor(missing, limit=2, on_failure=lambda sink: failures.update([sink]))
    for _ in range(3):
        auditor(outcome())
    assert failures == {"file": 4}


@pytest.mark.server
def test_a_full_disk_is_reported_and_the_chain_stays_whole(file: Path) -> None:
    """The limit on a file's size stands in for the end of a disk: a write stops in the middle of a record."""
    import subprocess

    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.observe.chains import KEY, outcome\n"
        "from gateway.errors import Unavailable\n"
        "from gateway.observe.audit.auditor import Auditor\n"
        "from gateway.observe.audit.file import ChainFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "auditor = Auditor(ChainFile(Path(sys.argv[1]), KEY), required=True)\n"
        "auditor(outcome())\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))\n"
        "for _ in range(4): auditor(outcome())\n"
        "try: auditor.ready()\n"
        "except Unavailable: print('refused')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "auditor.ready()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert ran.stdout == "refused\n"
    verdict = verify([file], key=KEY)
    assert (verdict.faults, verdict.records) == ([], 5)
    assert "a writer was killed" in verdict.notes[0]


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    require(all(map(find_spec, ("boto3", "moto", "flask_cors"))), "boto3 and moto[server] stand in for S3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a store that has no bucket yet."""
    for name, value in {
        "AWS_ENDPOINT_URL": store,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3
    import requests

    requests.post(f"{store}/moto-api/reset", timeout=PATIENCE)
    client = boto3.Session().client("s3")
    yield client
    client.close()


def test_each_record_is_an_object_in_s3_and_their_names_sort_as_the_chain(s3: Any, file: Path) -> None:
    s3.create_bucket(Bucket="audit")
    auditor, failures = auditing(file, audit_s3="audit/site/7")
    for _ in range(12):
        auditor(outcome())
    assert drained(auditor)
    auditor.close()
    found = [item["Key"] for item in s3.list_objects_v2(Bucket="audit", Prefix="site/7/")["Contents"]]
    copy = file.with_name("copy.jsonl")
    copy.write_bytes(b"".join(s3.get_object(Bucket="audit", Key=key)["Body"].read() for key in found))
    assert copy.read_bytes() == file.read_bytes()
    assert verify([copy], expect=ChainHead.parse(list(heads(file))[-1])).whole
    assert failures == {}


def test_a_store_that_recovers_gets_the_missed_records(s3: Any, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    auditor, failures = auditing(file, audit_s3="audit", audit_required=True)
    auditor.ready()
    auditor(outcome(caller=CANARY))
    assert failed(auditor)
    with pytest.raises(Unavailable) as refused:
        auditor.ready()
    assert refused.value.private == "failing: s3"
    assert warnings(caplog) == ["the audit's sink s3 takes no records: NoSuchBucket"]
    assert failures["s3"] >= 1
    s3.create_bucket(Bucket="audit")
    assert drained(auditor)
    auditor.ready()
    auditor.close()
    assert s3.list_objects_v2(Bucket="audit")["KeyCount"] == 1
    assert CANARY not in caplog.text


def test_an_unreachable_store_that_is_not_required_delays_no_request(
    s3: Any, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        auditor, failures = auditing(file, audit_s3="audit", audit_queue=2)
        for _ in range(4):
            auditor(outcome())
            auditor.ready()
        assert len(lines(file)) == 4
        assert failures["s3"] >= 2, "two did not fit into the queue"
        auditor._copies[0].failing = True
        auditor.close()
    assert "did not reach s3" in caplog.text


def rows(url: str) -> list[Any]:
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT * FROM gateway_audit ORDER BY chain, seq")).mappings())
    engine.dispose()
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    require(find_spec("sqlalchemy"), "SQLAlchemy is not installed: it is in the extra sql")
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/audit.db"
        return
    require(find_spec("psycopg"), "psycopg is not installed: it is in the extra sql")
    with postgres.running() as url:
        yield url


def test_a_record_that_is_written_twice_is_one_row(database: str, file: Path) -> None:
    for _ in range(2):
        auditor, failures = auditing(file, audit_sql=database)
        for _ in range(3):
            auditor(outcome())
        assert drained(auditor)
        auditor._copies[0]._place.write(_sealed(file)[:4])
        auditor.close()
    found = rows(database)
    assert [row["line"].encode() + b"\n" for row in found] == lines(file)
    assert [f"{row['seq']}:{row['digest']}" for row in found] == list(heads(file))
    assert (found[0]["caller"], found[0]["route"], found[0]["model"]) == ("radiology", "/dense", "dense")
    assert failures == {}


def _sealed(file: Path) -> list[Any]:
    from gateway.observe.audit.chain import unseal

    return [unseal(line.rstrip(b"\n"), None) for line in lines(file)]


def test_a_database_that_is_away_is_a_warning_without_its_url(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    require(find_spec("sqlalchemy"), "SQLAlchemy is not installed: it is in the extra sql")
    url = f"sqlite:///{file.parent}/no-such-folder/audit.db"
    auditor, failures = auditing(file, audit_sql=url)
    auditor(outcome())
    assert failed(auditor)
    assert warnings(caplog) == ["the audit's sink sql takes no records: OperationalError"]
    assert failures["sql"] >= 1
    auditor.close()


class Slow:
    """A sink that blocks."""

    name = "slow"

    def __init__(self) -> None:
        import threading

        self.go = threading.Event()
        self.got: list[int] = []

    def write(self, records: Any) -> None:
        self.go.wait(PATIENCE)
        self.got += [record.head.seq for record in records]

    def close(self) -> None:
        self.go.set()


def test_a_slow_sink_gets_every_record_in_order_and_delays_no_request(file: Path) -> None:
    slow = Slow()
    copies = Copies(slow, limit=100, on_failure=lambda sink: None)
    auditor = Auditor(ChainFile(file, KEY), [copies])
    for _ in range(50):
        auditor(outcome())
    assert slow.got == []
    slow.go.set()
    assert copies.drain(PATIENCE)
    auditor.close()
    assert slow.got == list(range(1, 51))
