"""How kernels are compiled: the only module that calls `numba.njit`."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from yibao_core._cache import KernelCache

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


class _Linked(JITCodeLibrary):
    """The code of a function that only kernels call: it is linked into them, and becomes machine code there alone.

    Numba makes machine code of each function by itself, too, which nobody would ever run.
    """

    class _Nowhere:
        @staticmethod
        def set_env(_name: str, _environment: Any) -> None:
            """Do nothing: Numba would note the function's environment in its machine code."""

    @property
    def codegen(self) -> Any:
        return self._Nowhere

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _LinkedCompiler(Compiler):
    """Numba's compiler for functions that only kernels call."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.state.library = _Linked(self.state.targetctx.codegen(), "linked")


# Without Numba's run-time, arrays inside a kernel carry no reference counts. Counting them cost 0.9 s of 2.3 s in
# a run over 5 million rows, because the counters are atomic.
_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False, "error_model": "numpy", "no_cfunc_wrapper": True}
_LINKED: dict[str, Any] = {"no_cpython_wrapper": True, "pipeline_class": _LinkedCompiler}


def kernel(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled: it runs on the calling thread, holds no lock and allocates nothing."""
    compiled = _compiled(func, _OPTIONS)
    # NUMBA_DISABLE_JIT=1 gives `func` itself back; what was typed in has no file that says what it was made from.
    if compiled is not func and Path(func.__code__.co_filename).is_file():
        compiled._cache = KernelCache(func)
    return cast("Callable[P, R]", compiled)


def helper(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled for other kernels alone: without the door from Python, which costs more than most of them."""
    return cast("Callable[P, R]", _compiled(func, {**_OPTIONS, **_LINKED, "forceinline": True}))


def routine(func: Callable[P, R]) -> Callable[P, R]:
    """Return `func` compiled for other kernels alone, as a call of its own: a loop over a block of rows.

    Alone the compiler sees that its arrays do not overlap, and sets it on vectors; within a large kernel it gave up.
    """
    return cast("Callable[P, R]", _compiled(func, {**_OPTIONS, **_LINKED}))


def _compiled(func: Callable[P, R], options: dict[str, Any]) -> Any:
    compiled: Any = njit(**options)(func)
    if compiled is not func:
        _forget_literals(compiled)
        _rest_collector(compiled)
    return compiled


def _forget_literals(compiled: Any) -> None:
    """Let a call with a constant find the version for its type: Numba would compile one for 0 and one for any integer."""
    template_of = compiled.get_call_template

    def by_types(arguments: Any, keywords: Any) -> Any:
        return template_of(tuple(types.unliteral(argument) for argument in arguments), keywords)

    compiled.get_call_template = by_types


def _rest_collector(compiled: Any) -> None:
    """Compile without the garbage collector: looking through the compiler's millions of objects again and again costs a tenth."""
    compile_version = compiled.compile

    def without_collector(signature: Any) -> Any:
        if not gc.isenabled():  # within another kernel's compilation
            return compile_version(signature)
        gc.disable()
        try:
            return compile_version(signature)
        finally:
            gc.enable()

    compiled.compile = without_collector


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
