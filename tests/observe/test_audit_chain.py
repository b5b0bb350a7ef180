"""Every change of a chain of records is detected, and no failure of a writer damages it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.observe.audit.auditor import Auditor
from gateway.observe.audit.canonical import canonical
from gateway.observe.audit.chain import ChainHead, head_path, unseal
from gateway.observe.audit.file import ChainFile
from gateway.observe.audit.verify import ChainVerdict, verify
from gateway.observe.outcomes import Outcome
from tests.conftest import ROOT
from tests.examples import examples
from tests.observe.chains import KEY, OTHER_KEY, heads, lines, outcome, written
from tests.waiting import PATIENCE

COUNT = 6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def checked(*files: Path, **options: object) -> ChainVerdict:
    return verify(files, **({"key": KEY} | options))


def test_an_untouched_chain_is_whole(file: Path) -> None:
    written(file, COUNT)
    verdict = checked(file)
    assert (verdict.whole, verdict.records, verdict.notes) == (True, COUNT, [])
    assert str(verdict.head) == list(heads(file))[-1]


def test_an_event_that_is_no_inference_is_a_record_of_the_same_chain(file: Path) -> None:
    auditor = Auditor(ChainFile(file, KEY))
    auditor(outcome())
    auditor.event("forgotten", "radiology", study="f" * 64, instances=140, everybody=False)
    auditor(outcome())
    auditor.close()
    told = json.loads(lines(file)[1])
    assert (told["kind"], told["caller"], told["study"]) == ("forgotten", "radiology", "f" * 64)
    assert (told["instances"], told["everybody"]) == (140, False)
    assert verify([file], key=KEY).records == 3
    file.write_bytes(file.read_bytes().replace(b'"instances":140', b'"instances":139'))
    assert not verify([file], key=KEY).whole


def test_a_record_has_the_outcome_of_a_request_in_digests(file: Path) -> None:
    (line,) = written(file, 1)
    record = json.loads(line)
    assert canonical(record) == line.rstrip(b"\n")
    assert record["time"] == "2026-03-01T12:00:00.123456Z"
    assert (record["seq"], record["caller"], record["route"], record["status"]) == (1, "radiology", "/dense", 200)
    assert record["model"] == {"name": "dense", "version": "1.2.0", "digest": "d" * 64, "weights": "e" * 64}
    assert (record["input"], record["output"], record["parameters"]) == ("a" * 64, "b" * 64, "c" * 64)
    assert (record["seconds_us"], record["phases_us"]["predict"]) == (1_250_000, 1000)


def test_an_id_that_a_caller_chose_is_in_no_record(file: Path) -> None:
    Auditor(ChainFile(file, KEY))(outcome(request_id="Doe.Jane.1970"))
    assert b"Doe" not in file.read_bytes()


def test_the_files_may_be_read_by_their_owner_only(file: Path) -> None:
    written(file, 1)
    assert {path.stat().st_mode & 0o777 for path in (file, head_path(file))} == {0o600}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], bytes]:
    """The lines of a whole chain and its head file."""
    file = tmp_path_factory.mktemp("made") / "audit.jsonl"
    return written(file, COUNT), head_path(file).read_bytes()


def spoilt(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes) -> Path:
    file = tmp_path_factory.mktemp("spoilt") / "audit.jsonl"
    file.write_bytes(content)
    head_path(file).write_bytes(head)
    return file


Made = tuple[list[bytes], bytes]


@settings(deadline=None, max_examples=examples(60))
@given(places=st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_records_that_were_taken_out_are_missed(
    tmp_path_factory: pytest.TempPathFactory, made: Made, places: set[int]
) -> None:
    kept = [line for place, line in enumerate(made[0]) if place not in places]
    assert not checked(spoilt(tmp_path_factory, b"".join(kept), made[1])).whole


@settings(deadline=None, max_examples=examples(60))
@given(order=st.permutations(range(COUNT)).filter(lambda order: list(order) != sorted(order)))
def test_records_in_another_order_are_found(
    tmp_path_factory: pytest.TempPathFactory, made: Made, order: list[int]
) -> None:
    assert not checked(spoilt(tmp_path_factory, b"".join(made[0][place] for place in order), made[1])).whole


@settings(deadline=None, max_examples=examples(60))
@given(place=st.integers(0, COUNT - 1), times=st.integers(2, 3))
def test_a_record_that_stands_there_twice_is_found(
    tmp_path_factory: pytest.TempPathFactory, made: Made, place: int, times: int
) -> None:
    content = [line * (times if number == place else 1) for number, line in enumerate(made[0])]
    assert not checked(spoilt(tmp_path_factory, b"".join(content), made[1])).whole


@settings(deadline=None, max_examples=examples(100))
@given(data=st.data())
def test_a_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, made: Made, data: st.DataObject) -> None:
    content = bytearray(b"".join(made[0]))
    place = data.draw(st.integers(0, len(content) - 2))
    content[place] ^= data.draw(st.integers(1, 255))
    assert not checked(spoilt(tmp_path_factory, bytes(content), made[1])).whole


@settings(deadline=None, max_examples=examples(100))
@given(data=st.data())
def test_a_tail_that_was_cut_off_is_missed(
    tmp_path_factory: pytest.TempPathFactory, made: Made, data: st.DataObject
) -> None:
    content = b"".join(made[0])
    kept = content[: data.draw(st.integers(0, len(content) - 2))]
    assert not checked(spoilt(tmp_path_factory, kept, made[1])).whole


@settings(deadline=None, max_examples=examples(30))
@given(status=st.integers(100, 599), place=st.integers(0, COUNT - 1))
def test_a_rewritten_chain_is_detected_by_its_key_and_by_a_noted_head(
    tmp_path_factory: pytest.TempPathFactory, made: Made, status: int, place: int
) -> None:
    file = tmp_path_factory.mktemp("anew") / "audit.jsonl"
    auditor = Auditor(ChainFile(file, OTHER_KEY))
    for number in range(COUNT):
        auditor(outcome(status=status if number == place else 200 + number, caller="forged"))
    noted = unseal(made[0][place].rstrip(b"\n"), None).head
    assert verify([file], key=OTHER_KEY).whole
    assert not checked(file).whole
    assert not verify([file], expect=noted).whole
    assert not verify([file], key=OTHER_KEY, expect=noted).whole


def test_a_head_from_an_earlier_day_lies_on_the_way(file: Path) -> None:
    written(file, COUNT)
    third = ChainHead.parse(list(heads(file))[2])
    for verdict in (verify([file], expect=third), checked(file, expect=third)):
        assert verdict.whole
        assert "3 records follow the head that you expect" in verdict.notes


def test_a_tail_cut_off_with_its_head_is_missed_by_one_who_noted_the_head(file: Path, tmp_path: Path) -> None:
    written(file, 3)
    earlier, head_then = file.read_bytes(), head_path(file).read_bytes()
    written(file, 3)
    noted = ChainHead.parse(list(heads(file))[-1])
    file.write_bytes(earlier)
    head_path(file).write_bytes(head_then)
    assert checked(file).whole, "who kept an old head file can put it back: that is what noting heads elsewhere is for"
    assert not checked(file, expect=noted).whole


def test_with_neither_key_nor_head_nothing_is_vouched_for(file: Path) -> None:
    written(file, 1)
    with pytest.raises(ValueError, match="nothing can be vouched for"):
        verify([file])


def test_a_missing_head_file_is_reported_each_time(file: Path) -> None:
    written(file, 2)
    head_path(file).unlink()
    assert not checked(file).whole
    written(file, 2)
    (fault,) = checked(file).faults
    assert "before record 3 the head beside the file was gone" in fault


def test_what_was_cut_stays_missing_when_the_gateway_writes_on(file: Path) -> None:
    kept = written(file, 4)[:2]
    file.write_bytes(b"".join(kept))
    written(file, 2)
    assert checked(file).faults == ["line 3 is record 5, where record 3 should follow"]


def test_a_file_that_is_no_chain_of_this_key_is_not_written_to(file: Path) -> None:
    for content in (b"notes of somebody\n", b"".join(written(file, 2, OTHER_KEY))):
        head_path(file).unlink(missing_ok=True)
        file.write_bytes(content)
        with pytest.raises(ValueError, match="something else than a chain of this key"):
            ChainFile(file, KEY).append({})
        assert file.read_bytes() == content


def test_a_head_of_another_key_is_not_written_over(file: Path) -> None:
    written(file, 2, OTHER_KEY)
    with pytest.raises(ValueError, match="not signed with this key"):
        ChainFile(file, KEY).append({})


def test_a_renamed_file_continues_in_the_next(file: Path) -> None:
    chain, first = ChainFile(file, KEY), file.with_suffix(".1")
    for _ in range(3):
        chain.append({})
    file.rename(first)
    for _ in range(2):
        chain.append({})
    chain.close()
    assert (len(lines(first)), len(lines(file))) == (3, 2)
    assert checked(first, file).whole
    assert checked(file, after=ChainHead.parse(list(heads(first))[-1])).whole
    assert checked(file).faults == ["line 1 is record 4, where record 1 should follow"]


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_writer_killed_within_a_record_is_reported_by_the_next(file: Path, cut: int) -> None:
    whole, head = written(file, 3), head_path(file).read_bytes()
    (torn,) = written(file, 1)[3:]
    file.write_bytes(b"".join(whole) + torn[:cut])
    head_path(file).write_bytes(head)
    left = checked(file)
    assert left.whole
    assert left.notes == (["the last line is not whole: its writer was killed, or is writing now"] if cut else [])
    auditor = Auditor(ChainFile(file, KEY))
    for _ in range(2):
        auditor(outcome())
    verdict = checked(file)
    assert verdict.whole
    assert verdict.records == 5
    assert ["a writer was killed" in note for note in verdict.notes] == [True] * bool(cut)
    if cut:
        file.write_bytes(file.read_bytes().replace(torn[:cut] + b"\n", b""))
        assert checked(file).faults == ["what record 4 tells of a killed writer is gone"]


def test_a_record_that_lacks_its_line_end_alone_counts(file: Path) -> None:
    whole, head = written(file, 3), head_path(file).read_bytes()
    (last,) = written(file, 1)[3:]
    file.write_bytes(b"".join(whole) + last[:-1])
    head_path(file).write_bytes(head)
    assert checked(file).whole
    written(file, 1)
    assert (checked(file).whole, checked(file).records, checked(file).notes) == (True, 5, [])


def test_the_very_first_record_may_be_torn(file: Path) -> None:
    ChainFile(file, KEY).probe()
    file.write_bytes(b'{"algorithm"')
    written(file, 2)
    assert checked(file).whole


def test_a_record_before_its_head_was_noted_is_taken_up(file: Path) -> None:
    written(file, 2)
    head = head_path(file).read_bytes()
    written(file, 1)
    head_path(file).write_bytes(head)
    assert checked(file).notes == ["1 records follow the head beside the file"]
    written(file, 1)
    assert (checked(file).whole, checked(file).records, checked(file).notes) == (True, 4, [])


WRITER = """
import sys
from pathlib import Path
from tests.observe.chains import KEY, outcome
from gateway.observe.audit.auditor import Auditor
from gateway.observe.audit.file import ChainFile

auditor = Auditor(ChainFile(Path(sys.argv[1]), KEY))
for number in range(int(sys.argv[2])):
    auditor(outcome(caller=f"worker {sys.argv[3]}", status=200 + number % 300))
    print(number, flush=True)
"""

Writers = Callable[[int, int], list["subprocess.Popen[str]"]]


@pytest.fixture
def writers(file: Path) -> Writers:
    def start(count: int, records: int) -> list["subprocess.Popen[str]"]:
        return [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(file), str(records), str(number)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]

    return start


def test_four_processes_write_one_chain(file: Path, writers: Writers) -> None:
    for process in writers(4, 300):
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    verdict = checked(file)
    assert (verdict.whole, verdict.records, verdict.notes) == (True, 1200, [])


def test_no_confirmed_record_of_a_killed_process_is_lost(file: Path, writers: Writers) -> None:
    told = 0
    running = writers(4, 100_000)
    for number, process in enumerate(running):
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        time.sleep(0.05 * number)
        process.send_signal(signal.SIGKILL)
        told += len(process.stdout.readlines()) + 1
        process.stdout.close()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    Auditor(ChainFile(file, KEY))(outcome())
    verdict = checked(file)
    assert verdict.whole, verdict.faults
    assert told + 1 <= verdict.records <= told + 1 + len(running)


def test_a_fork_shares_no_lock_with_its_parent(file: Path) -> None:
    parent = Auditor(ChainFile(file, KEY))
    parent(outcome())
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            for _ in range(200):
                parent(outcome())
            os._exit(0)
        children.append(child)
    for _ in range(200):
        parent(outcome())
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    verdict = checked(file)
    assert (verdict.whole, verdict.records) == (True, 801)


def test_threads_take_turns(file: Path) -> None:
    auditor = Auditor(ChainFile(file, KEY))
    threads = [threading.Thread(target=lambda: [auditor(outcome()) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (checked(file).whole, checked(file).records) == (True, 800)


def test_a_chain_may_be_verified_while_it_is_written(file: Path, writers: Writers) -> None:
    (process,) = writers(1, 3000)
    assert process.stdout is not None
    process.stdout.readline()
    verdicts = [checked(file) for _ in range(5)]
    process.communicate(timeout=PATIENCE)
    assert [verdict.faults for verdict in verdicts] == [[]] * 5


def test_a_record_costs_a_millisecond_of_cpu_at_most_however_long_the_chain_is(file: Path) -> None:
    auditor, one = Auditor(ChainFile(file, KEY)), outcome()
    for _ in range(1000):
        auditor(one)
    assert min(_cpu_seconds(auditor, one) for _ in range(20)) <= 1e-3  # a twentieth of that where it was written


def _cpu_seconds(auditor: Auditor, one: Outcome) -> float:
    started = time.thread_time()
    for _ in range(10):
        auditor(one)
    return (time.thread_time() - started) / 10


@settings(deadline=None, max_examples=examples(100))
@given(junk=st.one_of(st.binary(max_size=200), st.just(b"[" * 100_000), st.just(b'{"seq":NaN}\n' * 30)))
def test_a_file_of_any_bytes_is_reported_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    file = tmp_path_factory.mktemp("junk") / "audit.jsonl"
    file.write_bytes(junk)
    assert not checked(file).whole
