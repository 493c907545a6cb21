"""How kernels are compiled and kept on disk: the only module that calls `numba.njit`."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from numba import njit, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic
from numba.extending import overload as compiled_as

P = ParamSpec("P")
R = TypeVar("R")


class Words(Protocol):
    """A flat, contiguous int64 array, as a kernel sees it."""

    @property
    def size(self) -> int: ...
    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> "Words": ...
    def __setitem__(self, at: int, value: int, /) -> None: ...


def _core_fingerprint() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


_FINGERPRINT = _core_fingerprint()


class _CoreCache(FunctionCache):
    """Numba's disk cache, keyed by every source file of the core.

    Numba's own key looks at one file only: a kernel would outlive a change to a helper
    or a constant in another file, and pay by the old rule.
    """

    def __init__(self, func: Callable[..., Any], salt: str) -> None:
        super().__init__(func)
        self._salt = salt

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), self._salt)


# Without Numba's run-time, arrays inside a kernel carry no reference counts. Counting them cost 0.9 s of 2.3 s in
# a run over 5 million rows, because the counters are atomic.
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy", "no_cfunc_wrapper": True}


def kernel(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled: it runs on the calling thread, holds no lock and allocates nothing."""
    return _compiled(func, _OPTIONS)


def helper(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled for other kernels alone: without the door from Python, which costs more than most of them."""
    return _compiled(func, {**_OPTIONS, "no_cpython_wrapper": True, "forceinline": True})


def routine(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled for other kernels alone, as a call of its own: a loop over a block of rows.

    Alone the compiler sees that its arrays do not overlap, and sets it on vectors; within a large kernel it gave up.
    """
    return _compiled(func, {**_OPTIONS, "no_cpython_wrapper": True})


def _compiled(func: Callable[P, R], options: dict[str, Any]) -> Callable[P, R]:
    compiled: Any = njit(**options)(func)
    if compiled is not func:  # NUMBA_DISABLE_JIT=1 gives `func` itself back
        checked = os.environ.get("NUMBA_BOUNDSCHECK", "")
        with contextlib.suppress(RuntimeError):  # nowhere to write: compile in memory
            compiled._cache = _CoreCache(func, f"{_FINGERPRINT} {checked}")
    return cast("Callable[P, R]", compiled)


@helper
def place(index: int) -> int:
    """Return an index below 2**32 as it is: inside a shard, a person, the plan.

    The mask tells the compiler that it is not negative. Otherwise every access first asks whether to count
    from the array's end, as Python does: a quarter of the time of a settled row.
    """
    return index & 0xFFFF_FFFF


@helper
def far_place(index: int) -> int:
    """Return an index below 2**48 as it is, like `place`: among the records of all shards."""
    return index & 0xFFFF_FFFF_FFFF


def prefetch(words: Words, at: int) -> None:
    """Ask the processor for the line of words[at], to be written soon. In plain Python nothing happens."""


def _typed_prefetch(_context: Any, words: Any, at: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = builder.bitcast(builder.gep(array.data, [arguments[1]]), _ir.IntType(8).as_pointer())
        int32 = _ir.IntType(32)
        kind = _ir.FunctionType(_ir.VoidType(), [byte.type, int32, int32, int32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte.type], kind)
        for_write, keep_near, data = (_ir.Constant(int32, value) for value in (1, 3, 1))
        builder.call(function, [byte, for_write, keep_near, data])
        return context.get_dummy_value()

    return types.void(words, at), emit


_ir: Any = import_module("llvmlite.ir")  # Numba's own builder of instructions; it comes without types
_emitted_prefetch: Any = intrinsic(_typed_prefetch)


@compiled_as(prefetch, strict=False)
def _compiled_prefetch(words: Any, at: Any) -> Any:
    return lambda words, at: _emitted_prefetch(words, at)


LINE_WORDS = 8  # of a line of the cache


def stream_line(words: Words, at: int, target: Words, to: int) -> None:
    """Copy LINE_WORDS words past the caches; `target[to]` begins a line. Call `streamed` before anybody reads them.

    A store through the caches first reads the line that it is going to overwrite: a third of all that is moved.
    """
    for word in range(LINE_WORDS):
        target[to + word] = words[at + word]


def streamed() -> None:
    """Wait until all streamed lines have arrived."""


def _typed_stream_line(_context: Any, words: Any, at: Any, target: Any, to: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = _ir.VectorType(_ir.IntType(64), LINE_WORDS).as_pointer()
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        target = context.make_array(signature.args[2])(context, builder, arguments[2])
        read = builder.load(builder.bitcast(builder.gep(source.data, [arguments[1]]), line), align=8)
        store = builder.store(read, builder.bitcast(builder.gep(target.data, [arguments[3]]), line), align=64)
        store.set_metadata("nontemporal", builder.module.add_metadata([_ir.Constant(_ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(words, at, target, to), emit


def _typed_streamed(_context: Any) -> Any:
    def emit(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


_emitted_stream_line: Any = intrinsic(_typed_stream_line)
_emitted_streamed: Any = intrinsic(_typed_streamed)


@compiled_as(stream_line, strict=False)
def _compiled_stream_line(words: Any, at: Any, target: Any, to: Any) -> Any:
    return lambda words, at, target, to: _emitted_stream_line(words, at, target, to)


@compiled_as(streamed, strict=False)
def _compiled_streamed() -> Any:
    return lambda: _emitted_streamed()


def fused(factor: float, other: float, addend: float) -> float:
    """Return factor * other + addend, rounded once."""
    return float(Fraction(factor) * Fraction(other) + Fraction(addend))


def _typed_fused(_context: Any, factor: Any, other: Any, addend: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(factor, other, addend), emit


_emitted_fused: Any = intrinsic(_typed_fused)


@compiled_as(fused, strict=False)
def _compiled_fused(factor: Any, other: Any, addend: Any) -> Any:
    return lambda factor, other, addend: _emitted_fused(factor, other, addend)
