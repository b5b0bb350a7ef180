"""Images that are held for later requests: in the worker that received them, for any worker, within their bounds."""

import weakref
from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway import Settings
from gateway.errors import SessionGone, Unavailable
from gateway.sessions import image_sessions
from gateway.sessions.image_sessions import ImageSessions
from gateway.spool.anonymous_files import AnonymousFile
from gateway.spool.parts import PartFile, Spool
from tests.waiting import eventually


def files(*parts: bytes) -> list[PartFile]:
    """Files in one shared spool."""
    spool = Spool(threshold=1 << 20, shared=lambda _: (AnonymousFile.in_memory(), None))
    for part in parts:
        spool.write(part)
        spool.end_part()
    return spool.parts()


@pytest.fixture
def workers() -> Iterator[tuple[ImageSessions, ImageSessions]]:
    """Two workers of one server, as far as sessions go."""
    with closing(ImageSessions(Settings(), linked=True)) as one, closing(ImageSessions(Settings(), linked=True)) as two:
        yield one, two


def test_a_session_is_found_through_any_worker(workers: tuple[ImageSessions, ImageSessions]) -> None:
    one, other = workers
    id = one.open("me", files(b"first", b"", b"second"))["name"]
    for worker in (one, other):
        assert [file.read() for file in worker.files("me", id)] == [b"first", b"", b"second"]
        assert worker.words("me", id)["meta"] == {"files": 3, "bytes": 11}
        for stranger in ("you", ""):
            with pytest.raises(SessionGone):
                worker.files(stranger, id)
    assert other.delete("me", id)["name"] == id
    for worker in (one, other):
        with pytest.raises(SessionGone):
            worker.words("me", id)


def test_files_that_are_in_use_outlive_their_session(workers: tuple[ImageSessions, ImageSessions]) -> None:
    one, other = workers
    id = one.open("me", files(b"image"))["name"]
    near, far = one.files("me", id), other.files("me", id)
    one.delete("me", id)
    one.close()
    assert [file.read() for file in (*near, *far)] == [b"image"] * 2
    with pytest.raises(SessionGone):
        other.words("me", id)


def test_two_readers_of_a_session_do_not_disturb_each_other(workers: tuple[ImageSessions, ImageSessions]) -> None:
    sessions, _ = workers
    id = sessions.open("me", files(b"0123456789"))["name"]
    (one,), (other,) = sessions.files("me", id), sessions.files("me", id)
    assert (one.read(4), other.read(), one.read()) == (b"0123", b"0123456789", b"456789")


def test_a_session_ends_by_its_idle_time_also_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sessions, "LOOK_SECONDS", 0.01)
    with closing(ImageSessions(Settings(monai_session_idle=0.05), linked=False)) as sessions:
        parts = files(b"image")
        held = weakref.ref(parts[0].raw.file)
        id = sessions.open("me", parts, 3600)["name"]
        parts.clear()
        assert held() is not None
        assert eventually(lambda: held() is None)
        with pytest.raises(SessionGone):
            sessions.words("me", id)


def test_other_callers_images_are_never_displaced() -> None:
    settings = Settings(sessions=3, session_caller_max=2, session_max_bytes=25)
    with closing(ImageSessions(settings, linked=False)) as sessions:
        yours = sessions.open("you", files(bytes(10)))["name"]
        first = sessions.open("me", files(bytes(10)))["name"]
        second = sessions.open("me", files(bytes(10)))["name"]  # 30 bytes: in place of the first
        with pytest.raises(SessionGone):
            sessions.words("me", first)
        with pytest.raises(Unavailable):
            sessions.open("me", files(bytes(16)))
        assert [sessions.words(*one)["name"] for one in (("you", yours), ("me", second))] == [yours, second]
