"""WASM functions: fresh instances, what they may use, and where they end."""

import itertools
import os
import re
import signal
import stat
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.adapters.wasm import compiled_code, wasi
from gateway.adapters.wasm.module_checks import InvalidFunction
from gateway.adapters.wasm.wasi import Grants
from gateway.adapters.wasm.wasm_function import FunctionLimits, WasmFunction, printable, read_module
from gateway.config import MiB
from gateway.errors import DeadlineExceeded, FunctionFailed, FunctionRefused, FunctionTimeout
from tests.adapters import wat
from tests.waiting import PATIENCE

NOTHING = Grants()
SHIPPED = Path(__file__).parents[2] / "models/wasm"
STORE = "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 8))"
SHOW = f"{STORE} (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))"
"""Write the eight bytes at 64 to standard output."""


def made(wasm: bytes, *, grants: Grants = NOTHING, cache: Path | None = None, **limits: float) -> WasmFunction:
    return WasmFunction("function.wasm", wasm, FunctionLimits(**limits), grants, cache)


def answer(function: WasmFunction, data: bytes = b"", seconds: float = 10.0) -> bytes:
    return bytes(function.call(memoryview(data), seconds))


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 300_000])
def test_a_command_reads_all_of_its_input_and_its_output_is_what_it_wrote(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert answer(made(wat.command(wat.ECHO)), data) == data


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_an_embedded_function_gets_its_input_in_its_memory_and_returns_a_place_there(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert answer(made(wat.embedded()), data) == data


def test_each_call_has_an_instance_of_its_own() -> None:
    counted = "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))"
    function = made(wat.command(f"{counted} (call $print (i32.const 1) (i32.const 4))"))
    assert [answer(function) for _ in range(3)] == [b"\x01\0\0\0"] * 3


def test_many_threads_call_one_function_and_each_gets_its_own_answer_or_its_own_problem() -> None:
    """Their ends are raised by host functions, whose exceptions wasmtime stores in one place for all threads."""
    exits = "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))"
    reads = "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
    function = made(wat.command(f"{exits} {reads} (call $exit (i32.load8_u (i32.const 64)))"))
    wrong = []

    def call(status: int) -> None:
        for _ in range(50):
            try:
                got = 0 if answer(function, bytes([status])) == b"" else -1
            except FunctionRefused as error:
                got = error.members["exit_status"]
            if got != status:
                wrong.append((status, got))

    threads = [threading.Thread(target=call, args=[status]) for status in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_status_other_than_zero_is_refused_with_the_end_of_standard_error_in_one_printable_line() -> None:
    said = r"no\n\1b[31mpicture\00\c3\28 in it"
    with pytest.raises(FunctionRefused) as caught:
        answer(made(wat.command("(call $print (i32.const 2) (i32.const 26)) (call $exit (i32.const 3))", said)))
    assert (caught.value.status, caught.value.members) == (422, {"exit_status": 3})
    assert caught.value.detail == "The function ended with status 3. no [31mpicture \N{REPLACEMENT CHARACTER}( in it"


def test_a_long_standard_error_is_shown_in_part() -> None:
    thousand = "(i32.lt_u (i32.load (i32.const 200)) (i32.const 1000))"
    counted = "(i32.store (i32.const 200) (i32.add (i32.load (i32.const 200)) (i32.const 1)))"
    said = f"(loop $again (call $print (i32.const 2) (i32.const 64)) {counted} (br_if $again {thousand}))"
    with pytest.raises(FunctionRefused) as caught:
        answer(made(wat.command(f"{said} (call $exit (i32.const 1))", "abcdefg " * 8)))
    assert len(caught.value.detail) < 600


def test_text_of_a_program_has_no_control_characters() -> None:
    assert printable(b"a\r\n\tb\x1b]0;x\x07" + "‮c".encode() + b"\xff") == "a b ]0;x c\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("body", [wat.TRAPPING, wat.FALLING, "unreachable"], ids=["memory", "after output", "at once"])
def test_a_trap_is_a_failure_and_nothing_of_the_output_is_sent(body: str) -> None:
    with pytest.raises(FunctionFailed) as caught:
        answer(made(wat.command(body, "half")))
    assert caught.value.status == 502


def test_a_function_that_never_ends_is_stopped_by_its_limit() -> None:
    started = time.monotonic()
    with pytest.raises(FunctionTimeout) as caught:
        answer(made(wat.command(wat.ENDLESS), seconds=0.05))
    assert caught.value.status == 504
    assert time.monotonic() - started < PATIENCE


def test_a_function_that_never_ends_is_stopped_by_the_deadline_of_its_request() -> None:
    for seconds in (0.05, 0.0, -5.0):
        with pytest.raises(DeadlineExceeded):
            answer(made(wat.command(wat.ENDLESS)), seconds=seconds)


def test_a_function_that_waits_in_no_call_of_the_host_is_stopped_while_it_writes_errors_without_end() -> None:
    with pytest.raises(FunctionTimeout):
        answer(made(wat.command(wat.WHISPERING, "x" * 64), seconds=0.05))


def test_a_call_ends_neither_before_its_limit_nor_long_after_it_where_the_clock_s_thread_is_late() -> None:
    """Python's own code holds its lock, for which the thread waits; a call begins while the epoch lags behind."""
    endless, limit = made(wat.command(wat.ENDLESS), seconds=0.3), 0.3
    held = threading.Thread(target=lambda: sum(range(40_000_000)))
    before = threading.Thread(target=lambda: pytest.raises(FunctionTimeout, answer, endless))
    for thread in (before, held):
        thread.start()
    started = time.monotonic()
    with pytest.raises(FunctionTimeout):
        answer(endless)
    assert limit <= time.monotonic() - started
    before.join()
    held.join()


def test_one_that_ends_in_time_is_not_stopped_by_the_limit_of_another() -> None:
    endless, echo = made(wat.command(wat.ENDLESS), seconds=0.2), made(wat.command(wat.ECHO))
    thread = threading.Thread(target=lambda: pytest.raises(FunctionTimeout, answer, endless))
    thread.start()
    while thread.is_alive():
        assert answer(echo, b"still here", 60) == b"still here"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12, of a fork beside threads
def test_a_forked_process_stops_its_functions_itself() -> None:
    endless = made(wat.command(wat.ENDLESS), seconds=0.05)
    with pytest.raises(FunctionTimeout):
        answer(endless)  # by a thread that the other process has not
    process = os.fork()
    if not process:
        signal.alarm(10)
        try:
            answer(endless)
        except FunctionTimeout:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_a_command_may_write_after_its_memory_has_grown() -> None:
    """The view that the host has of it is another one then."""
    grown = "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 4000000) (i32.const 0x21212121))"
    place = "(i32.store (i32.const 0) (i32.const 4000000)) (i32.store (i32.const 4) (i32.const 4))"
    written = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
    body = f"(call $print (i32.const 1) (i32.const 4)) {grown} {place} {written}"
    assert answer(made(wat.command(body, "ABCD"))) == b"ABCD!!!!"


def test_memory_ends_at_its_limit() -> None:
    with pytest.raises(FunctionFailed):
        answer(made(wat.command(wat.ALLOCATING), memory=64 * MiB))


def test_output_ends_at_its_limit_and_the_function_with_it() -> None:
    with pytest.raises(FunctionFailed) as caught:
        answer(made(wat.command(wat.TALKATIVE, "x" * 64), output=1000))
    assert "wasm_output" in caught.value.detail
    with pytest.raises(FunctionFailed):
        answer(made(wat.embedded(), output=3), b"four")
    assert answer(made(wat.embedded(), output=4), b"four") == b"four"


@pytest.mark.parametrize(
    "wasm",
    [
        wat.embedded(alloc="(i32.const -8)"),
        wat.embedded(infer="(i64.const -1)"),
        wat.embedded(infer="(i64.const 0x1ffff00000002)"),
    ],
    ids=["alloc", "infer", "infer by one byte"],
)
def test_a_place_outside_the_memory_of_an_embedded_function_is_a_failure(wasm: bytes) -> None:
    with pytest.raises(FunctionFailed):
        answer(made(wasm), b"sixteen bytes of")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("(call $write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 8))", 21),
        ("(call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8))", 28),
        ("(call $write (i32.const 1) (i32.const 0) (i32.const 1025) (i32.const 8))", 28),
        ("(call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 131070))", 21),
        ("(call $write (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))", 8),
        ("(call $write (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 8))", 8),
        ("(call $read (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))", 8),
    ],
    ids=["vectors outside", "4 Gi vectors", "too many", "result outside", "write to input", "other", "read output"],
)
def test_a_host_function_answers_an_impossible_call_with_an_error_code(call: str, error: int) -> None:
    with pytest.raises(FunctionRefused) as caught:
        answer(made(wat.command(f"(call $exit {call})")), b"input")
    assert caught.value.members == {"exit_status": error}


def test_a_buffer_outside_the_memory_is_refused_by_a_write() -> None:
    outside = "(i32.store (i32.const 0) (i32.const 131000)) (i32.store (i32.const 4) (i32.const 1000))"
    call = "(call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))"
    with pytest.raises(FunctionRefused) as caught:
        answer(made(wat.command(f"{outside} (call $exit {call})")))
    assert caught.value.members == {"exit_status": 21}


GRANTED = {
    "clock_time_get": ("(param i32 i64 i32) (result i32)", "(i32.const 0) (i64.const 1) (i32.const 64)"),
    "random_get": ("(param i32 i32) (result i32)", "(i32.const 64) (i32.const 8)"),
}


@pytest.mark.parametrize("name", GRANTED)
def test_the_time_and_random_numbers_are_there_as_granted_alone(name: str) -> None:
    types, arguments = GRANTED[name]
    wasm = wat.importing("wasi_snapshot_preview1", name, types, f"(drop (call $it {arguments})) {SHOW}")
    grant = name.partition("_")[0]
    with pytest.raises(InvalidFunction, match=f"{grant}=True"):
        made(wasm)
    before = time.time_ns()
    (number,) = struct.unpack("<Q", answer(made(wasm, grants=Grants(**{grant: True}))))
    if grant == "clock":
        assert before <= number <= time.time_ns()
    else:
        assert number != struct.unpack("<Q", answer(made(wasm, grants=Grants(random=True))))[0]


def calling(name: str, arguments: str, then: str = SHOW) -> bytes:
    """A command that stores the result of a host function at 64, and shows what is there."""
    types = re.sub(r"[()]|\.const -?\d+", "", arguments)
    store = f"(i32.store (i32.const 72) (call $it {arguments}))"
    return wat.importing("wasi_snapshot_preview1", name, f"(param {types}) (result i32)", f"{store} {then}")


@pytest.mark.parametrize("name", ["args_sizes_get", "environ_sizes_get"])
def test_there_are_no_arguments_and_no_environment_variables(name: str) -> None:
    assert answer(made(calling(name, "(i32.const 64) (i32.const 68)"))) == bytes(8)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("fd_prestat_get", "(i32.const 3) (i32.const 96)", wasi.BAD_DESCRIPTOR),
        ("path_open", "(i32.const 3) " * 5 + "(i64.const 3) " * 2 + "(i32.const 3) " * 2, wasi.NOT_CAPABLE),
        ("sock_accept", "(i32.const 3) " * 3, wasi.NOT_CAPABLE),
        ("poll_oneoff", "(i32.const 3) " * 4, wasi.NOT_CAPABLE),
        ("fd_seek", "(i32.const 0) (i64.const 0) (i32.const 0) (i32.const 96)", wasi.NO_SEEK),
        ("fd_fdstat_get", "(i32.const 0) (i32.const 131060)", wasi.FAULT),
        ("fd_fdstat_get", "(i32.const 1) (i32.const 96)", wasi.SUCCESS),
        ("fd_close", "(i32.const 1)", wasi.SUCCESS),
    ],
)
def test_there_are_no_folders_no_sockets_and_no_sleep(name: str, arguments: str, error: int) -> None:
    shown = SHOW.replace("(i32.const 64)", "(i32.const 72)")
    assert answer(made(calling(name, arguments, shown))) == struct.pack("<Q", error)


HEAD = b"\0asm\x01\0\0\0"
INVALID = {
    "an unknown function": wat.importing("wasi_snapshot_preview1", "fd_fly"),
    "another module": wat.importing("env", "fd_write"),
    "another type": wat.importing("wasi_snapshot_preview1", "fd_close", "(param i64) (result i32)"),
    "a type of its own for what is absent": wat.importing("wasi_snapshot_preview1", "path_open", "(param i32)"),
    "no exports": HEAD,
    "garbage behind the head": HEAD + b"\xff" * 100,
    "cut": wat.command(wat.ECHO)[:-20],
}


@pytest.mark.parametrize("wasm", INVALID.values(), ids=INVALID.keys())
def test_an_invalid_module_is_refused_before_it_runs(wasm: bytes) -> None:
    with pytest.raises(InvalidFunction, match=r"^function.wasm .+[.)\]a-z0-9]$"):
        made(wasm)


def test_a_module_with_neither_form_or_with_too_much_memory_is_refused() -> None:
    text = '(module (memory (export "memory") 17))'
    with pytest.raises(InvalidFunction, match="neither"):
        made(bytes(wat.wasmtime.wat2wasm(text)))
    with pytest.raises(InvalidFunction, match="wasm_memory"):
        made(bytes(wat.wasmtime.wat2wasm(text)), memory=MiB)


def test_a_file_that_is_no_module_or_too_large_is_refused(tmp_path: Path) -> None:
    limits = FunctionLimits(module=MiB)
    component = wat.saved(b"\0asm\x0d\0\x01\0", tmp_path, "component.wasm")
    text = wat.saved(b"(module)", tmp_path, "text.wasm")
    large = tmp_path / "large.wasm"
    large.write_bytes(HEAD)
    os.truncate(large, 100 * MiB)
    for path, why in [(component, "no WebAssembly module"), (text, "no WebAssembly module"), (large, "wasm_module")]:
        with pytest.raises(InvalidFunction, match=why):
            read_module(path, limits)


class TestCompiledCode:
    """The cache of compiled code."""

    def entry(self, folder: Path) -> Path:
        (found,) = folder.iterdir()
        return found

    def test_a_module_is_compiled_once(self, tmp_path: Path) -> None:
        folder, wasm = tmp_path / "cache", wat.command(wat.ECHO)
        assert answer(made(wasm, cache=folder), b"one") == b"one"
        stored = self.entry(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        before = stored.stat()
        assert answer(made(wasm, cache=folder), b"two") == b"two"
        assert self.entry(folder).stat().st_ino == before.st_ino  # not written again

    @pytest.mark.parametrize("spoil", ["cut", "changed", "empty", "link", "writable", "folder"])
    def test_code_that_is_damaged_or_that_another_may_have_written_is_not_loaded(
        self, tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder, wasm = tmp_path / "cache", wat.command(wat.ECHO)
        made(wasm, cache=folder)
        stored = self.entry(folder)
        code = stored.read_bytes()
        if spoil == "link":
            stored.rename(tmp_path / "elsewhere")
            stored.symlink_to(tmp_path / "elsewhere")
        elif spoil in ("writable", "folder"):
            (stored if spoil == "writable" else folder).chmod(0o777)
        else:
            stored.write_bytes({"cut": code[:-1], "changed": code[:-1] + b"!", "empty": b""}[spoil])
        assert answer(made(wasm, cache=folder), b"same") == b"same"
        assert "compiled code not used" in caplog.text

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
    def test_code_of_another_user_is_not_loaded(self, tmp_path: Path) -> None:
        made(wat.command(wat.ECHO), cache=tmp_path / "cache")
        stored = self.entry(tmp_path / "cache")
        os.chown(stored, 65534, 65534)
        with pytest.raises(compiled_code.CacheRefused):
            compiled_code.load(tmp_path / "cache", stored.name)

    def test_a_folder_that_cannot_be_used_costs_a_compilation(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert answer(made(wat.command(wat.ECHO), cache=tmp_path / "file"), b"same") == b"same"


class TestShipped:
    """The functions of models/wasm, against the same arithmetic in numpy."""

    def function(self, name: str) -> WasmFunction:
        return made((SHIPPED / f"{name}.wasm").read_bytes())

    def test_grayscale_is_the_luma_of_bt_709(self) -> None:
        rgb = np.random.default_rng(7).integers(0, 256, (37, 53, 3), np.uint8)
        grey = (rgb.astype(np.uint32) @ np.array([13933, 46871, 4732], np.uint32) + 32768) >> 16
        exact = rgb @ np.array([0.2126, 0.7152, 0.0722])
        output = answer(self.function("grayscale"), b"P6\n# a comment\n53 37\n255\n" + rgb.tobytes())
        assert output == b"P5\n53 37\n255\n" + grey.astype(np.uint8).tobytes()
        assert np.abs(exact - grey).max() <= 0.51

    @pytest.mark.parametrize("largest", [255, 65535])
    def test_otsu_s_threshold_has_the_largest_variance_between_the_classes(self, largest: int) -> None:
        rng = np.random.default_rng(largest)
        dark, bright = rng.normal(0.2, 0.05, 3000), rng.normal(0.7, 0.1, 2000)
        values = np.clip(np.concatenate([dark, bright]) * largest, 0, largest).astype(np.uint16).reshape(50, 100)
        samples = values.astype(np.uint8).tobytes() if largest == 255 else values.astype(">u2").tobytes()
        output = answer(self.function("otsu_mask"), f"P5\n100 50\n{largest}\n".encode() + samples)
        mask = np.frombuffer(output[-5000:], np.uint8).reshape(50, 100)
        best = max(
            itertools.pairwise([*np.unique(values)]),
            key=lambda pair: (
                np.mean(values <= pair[0])
                * np.mean(values > pair[0])
                * (values[values <= pair[0]].mean() - values[values > pair[0]].mean()) ** 2
            ),
        )
        assert output.startswith(b"P5\n100 50\n255\n")
        assert (mask == (values > best[0]) * 255).all()

    def test_an_image_of_one_value_has_an_empty_mask(self) -> None:
        assert answer(self.function("otsu_mask"), b"P5 2 2 255\n\x07\x07\x07\x07") == b"P5\n2 2\n255\n" + bytes(4)

    def test_the_embedded_outline_is_the_mask_without_what_it_encloses(self) -> None:
        mask = np.random.default_rng(5).random((40, 60)) < 0.8
        inner = np.pad(mask, 1)
        enclosed = inner[1:-1, :-2] & inner[1:-1, 2:] & inner[:-2, 1:-1] & inner[2:, 1:-1]
        output = answer(self.function("outline"), b"P5\n60 40\n255\n" + (mask * np.uint8(255)).tobytes())
        assert output == b"P5\n60 40\n255\n" + ((mask & ~enclosed) * np.uint8(255)).tobytes()

    @pytest.mark.parametrize("name", ["grayscale", "otsu_mask", "outline"])
    @pytest.mark.parametrize(
        "tail",
        [b"", b"\n", b"\n2", b"\n2 2 255", b"\n0 2 255\n", b"\n2 2 65536\n", b"\n# no end", b"\n2 2 255\n123"]
        + [b"\n99999999999999999999 2 255\n", b"\n1048576 1048576 255\nx", b"\n-2 2 255\n"],
    )
    def test_damaged_images_are_refused_in_words(self, name: str, tail: bytes) -> None:
        magic = b"P6" if name == "grayscale" else b"P5"
        with pytest.raises(FunctionRefused) as caught:
            answer(self.function(name), magic + tail)
        assert caught.value.members == {"exit_status": 1}
        assert "image" in caught.value.detail

    def test_another_kind_of_file_is_refused_in_words(self) -> None:
        for name in ("grayscale", "otsu_mask", "outline"):
            for data in (b"", b"P", b"\x89PNG\r\n", b"P4\n1 1\n\0"):
                with pytest.raises(FunctionRefused, match=r"\(P[56]\)"):
                    answer(self.function(name), data)
