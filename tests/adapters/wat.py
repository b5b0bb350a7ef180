"""WASM functions in WebAssembly's text format, each with one fault or one feature."""

from pathlib import Path

import wasmtime

WASI = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 64) "{data}")
  (func $print (param $descriptor i32) (param $length i32)
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (local.get $descriptor) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") {body}))
"""
"""A command: ``$print`` writes the first bytes of ``data`` to a descriptor."""

ECHO = """
  (loop $again
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1024))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (i32.load (i32.const 8)) (then (call $print (i32.const 1) (i32.load (i32.const 8))) (br $again))))
"""
ENDLESS = "(loop $again (br $again))"
ALLOCATING = """
  (loop $again
    (if (i32.eq (memory.grow (i32.const 256)) (i32.const -1)) (then unreachable))
    (br $again))
"""
"""It asks for more memory until there is none, and traps."""
TALKATIVE = "(loop $again (call $print (i32.const 1) (i32.const 64)) (br $again))"
WHISPERING = "(loop $again (call $print (i32.const 2) (i32.const 64)) (br $again))"
TRAPPING = "(drop (i32.load (i32.const -1)))"
FALLING = "(call $print (i32.const 1) (i32.const 4)) unreachable"
"""It writes four bytes, and traps."""

EMBEDDED = """
(module
  (memory (export "memory") 2)
  (func (export "alloc") (param $size i32) (result i32) {alloc})
  (func (export "infer") (param $at i32) (param $length i32) (result i64)
    {infer}))
"""
SAME = "(i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))"
"""It returns its input."""


def command(body: str, data: str = "") -> bytes:
    """Return a command."""
    return bytes(wasmtime.wat2wasm(WASI.replace("{data}", data).replace("{body}", body)))


def embedded(infer: str = SAME, alloc: str = "(i32.const 1024)") -> bytes:
    """Return an embedded function."""
    return bytes(wasmtime.wat2wasm(EMBEDDED.replace("{infer}", infer).replace("{alloc}", alloc)))


def importing(module: str, name: str, types: str = "(param i32 i32) (result i32)", then: str = "") -> bytes:
    """Return a command that imports one function as ``$it``."""
    text = f"""
      (module
        (import "{module}" "{name}" (func $it {types}))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (func (export "_start") {then}))"""
    return bytes(wasmtime.wat2wasm(text))


def saved(wasm: bytes, folder: Path, name: str = "function.wasm") -> Path:
    """Write a module to a file."""
    path = folder / name
    path.write_bytes(wasm)
    return path
