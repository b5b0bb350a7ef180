"""API keys: stored as digests, read again when the file changes, and compared in constant time."""

import hashlib
import hmac
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import api_keys as keys_module
from gateway.access.api_keys import KeyRing, fingerprint, new_key
from gateway.access.callers import ROLES, Caller
from gateway.access.callers_file import CallerEntry, change, dump, parse
from gateway.errors import Unavailable
from tests.house.pages import ROOT
from tests.waiting import PATIENCE

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
CALLERS = st.builds(
    Caller, NAMES, st.frozensets(st.sampled_from(ROLES)), st.lists(st.text(st.characters(exclude_categories=["Cs"])))
)
PROOFS = st.one_of(
    st.binary().map(lambda data: {"sha256": hashlib.sha256(data).hexdigest()}),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(lambda text: {"subject": text}),
)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))


@st.composite
def entries(draw: st.DrawFn) -> CallerEntry:
    caller = draw(CALLERS)
    return CallerEntry(Caller(caller.name, caller.roles, tuple(caller.routes)), **draw(PROOFS), expires=draw(TIMES))


@given(st.lists(entries(), unique_by=lambda entry: entry.caller.name))
def test_what_is_written_is_what_is_read(written: list[CallerEntry]) -> None:
    assert list(parse(dump(written))) == written


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["infer", "name", "*", "a" * 64]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["version", "callers", "name", "sha256", "subject", "roles", "routes", "expires"]), inner
        )
    ),
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_whatever_the_file_holds_it_is_read_or_refused_in_a_sentence(data: bytes) -> None:
    try:
        parse(data)
    except ValueError as error:
        assert str(error).startswith("The file of callers cannot be read: ")


@given(st.fixed_dictionaries({"version": st.just(1), "callers": st.lists(JSON, min_size=1, max_size=2)}))
def test_a_file_with_one_faulty_caller_admits_no_caller(file: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="has a fault"):
        parse(json.dumps(file).encode())


def written(path: Path, *callers: CallerEntry) -> KeyRing:
    path.write_bytes(dump(callers))
    return KeyRing(path)


def test_a_key_finds_its_caller_and_no_other(tmp_path: Path) -> None:
    keys = {name: new_key() for name in ("one", "two", "three")}
    ring = written(tmp_path / "callers", *(CallerEntry(Caller(name), fingerprint(key)) for name, key in keys.items()))
    for name, key in keys.items():
        found = ring.of_key(key)
        assert found is not None
        assert found.caller.name == name
        for wrong in (key[:-1], key + "a", key.upper(), fingerprint(key), name, ""):
            assert ring.of_key(wrong) is None


def test_neither_the_file_nor_a_new_key_repeats_a_secret(tmp_path: Path) -> None:
    made = [new_key() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(len(key) >= 43 and "." not in key for key in made)
    written(tmp_path / "callers", CallerEntry(Caller("one"), fingerprint(made[0])))
    assert made[0] not in (tmp_path / "callers").read_text()


class Recording:
    """The module ``hmac`` as the ring sees it: each comparison is written down, and done."""

    def __init__(self) -> None:
        self.compared: list[tuple[str, str]] = []

    def compare_digest(self, a: str, b: str) -> bool:
        self.compared.append((a, b))
        return hmac.compare_digest(a, b)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("callers")


@given(st.text(st.characters(max_codepoint=255)), st.integers(1, 8), st.data())
def test_every_comparison_is_done_on_digests_wherever_the_match_is(
    folder: Path, presented: str, count: int, data: st.DataObject
) -> None:
    """The number and the operands of comparisons, on which the time depends, are the same for each presented key."""
    held = [new_key() for _ in range(count)]
    ring = written(folder / "callers", *(CallerEntry(Caller(f"c{i}"), fingerprint(key)) for i, key in enumerate(held)))
    tried = data.draw(st.sampled_from([presented, *held, held[0][:20], held[0][:-1] + "!"]))
    recording = Recording()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "hmac", recording)
        found = ring.of_key(tried)
    assert recording.compared == [(fingerprint(key), fingerprint(tried)) for key in held]
    assert (found is not None) == (tried in held)


def test_a_change_takes_effect_at_once_and_an_expiry_at_its_time(tmp_path: Path) -> None:
    path, key = tmp_path / "callers", new_key()
    ring = written(path)
    assert ring.of_key(key) is None
    entry = CallerEntry(Caller("one"), fingerprint(key), expires=datetime.now(UTC) + timedelta(hours=1))
    change(path, lambda callers: [*callers, entry])
    assert ring.of_key(key) == entry
    assert not entry.expired()
    assert entry.expired(datetime.now(UTC) + timedelta(hours=2))
    change(path, lambda callers: [])
    assert ring.of_key(key) is None


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "broken": lambda path: path.write_text("{"),
    "too large": lambda path: path.write_text("9" * (1 << 21)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_unreadable_file_admits_no_caller(tmp_path: Path, damage: str) -> None:
    path, key = tmp_path / "callers", new_key()
    ring = written(path, CallerEntry(Caller("one"), fingerprint(key)))
    assert ring.of_key(key)
    DAMAGE[damage](path)
    with pytest.raises(Unavailable) as refusal:
        ring.of_key(key)
    assert str(path) not in refusal.value.detail
    assert str(path) in refusal.value.private


def test_the_file_is_its_owners_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "callers"
    change(path, lambda callers: [CallerEntry(Caller("one"), "0" * 64)])
    first = path.stat()
    assert stat.S_IMODE(first.st_mode) == 0o600
    change(path, lambda callers: [*callers, CallerEntry(Caller("two"), "1" * 64)])
    assert path.stat().st_ino != first.st_ino
    with pytest.raises(RuntimeError):
        change(path, lambda callers: (_ for _ in ()).throw(RuntimeError))
    assert len(parse(path.read_bytes())) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_concurrent_processes_that_add_callers_lose_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "callers"
    code = (
        "import sys, pathlib; from gateway.access.callers_file import *;"
        "[change(pathlib.Path(sys.argv[1]), lambda c: [*c, CallerEntry(Caller(f'{sys.argv[2]}-{i}'), '0' * 64)])"
        " for i in range(20)]"
    )
    adding = [subprocess.Popen([sys.executable, "-c", code, str(path), name], cwd=ROOT) for name in "abc"]
    assert [process.wait(PATIENCE) for process in adding] == [0, 0, 0]
    assert len(parse(path.read_bytes())) == 60
