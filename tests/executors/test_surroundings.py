"""A call of a model begins in the folder that it is given, and its own changes end with it."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.contract.model import adapt
from gateway.contract.requests import Request
from gateway.executors.runner import AnswerChecks, answer, retire
from gateway.executors.surroundings import RECURSION_LIMIT, Folder, ModelsCode, set_apart, working_folder
from tests.require import require

T = TypeVar("T")


def in_thread(act: Callable[[], T]) -> T:
    """What ``act`` returns in a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(act).result()


def umask() -> int:
    """The umask of this thread."""
    before = os.umask(0o077)
    os.umask(before)
    return before


def test_a_call_s_folder_and_umask_are_seen_by_no_other_thread() -> None:
    require(in_thread(set_apart), "unshare(2) for threads: this system gives them no folder of their own")
    moved, seen = threading.Event(), threading.Event()
    before, folder = (working_folder(), umask()), Folder()

    def call() -> tuple[str | None, int]:
        set_apart()
        with folder:
            os.chdir("/")
            os.umask(0o007)
            moved.set()
            seen.wait()
        return working_folder(), umask()

    with ThreadPoolExecutor(1) as threads:
        call_of_a_model = threads.submit(call)
        moved.wait()
        during = working_folder(), umask()
        seen.set()
        assert call_of_a_model.result() == before
    assert during == before


def test_where_threads_have_no_folder_of_their_own_it_is_put_back() -> None:
    before, first, second = (working_folder(), umask()), Folder(), Folder()
    with first:
        os.chdir("/")
        os.umask(0)
        with second:  # of another model at the same time
            assert umask() == 0
    assert (working_folder(), umask()) == before


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def call() -> str | None:
        set_apart()
        os.chdir(gone)
        with Folder():
            gone.rmdir()
            os.chdir("/")
        return working_folder()

    require(in_thread(set_apart), "unshare(2) for threads: this system gives them no folder of their own")
    assert in_thread(call) == "/"


def test_a_lower_recursion_limit_and_blocked_signals_end_with_the_call() -> None:
    def call() -> set[signal.Signals | int]:
        with ModelsCode():
            sys.setrecursionlimit(200)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    assert signal.SIGUSR2 not in in_thread(call)
    assert sys.getrecursionlimit() >= RECURSION_LIMIT


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_an_answer_that_exits_while_it_is_encoded_is_a_failed_request(error: BaseException) -> None:
    def exits(*_: object) -> Iterable[object]:
        raise error

    model = adapt("/model", lambda json_input, files, digest: ({"protocol_version": "1.0", "parts": []}, []))
    (outcome,) = answer(model, [Request({}, [], "sha256:")], AnswerChecks(exits, True, print))
    assert type(outcome).__name__ == "ModelFailed"


def test_a_model_that_exits_when_it_is_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = adapt("/model", lambda json_input, files, digest: ({}, []))
    model.close = lambda: sys.exit(3)
    retire(model)
    assert "the model on /model was not closed\nbuiltins.SystemExit" in "".join(caplog.messages)
