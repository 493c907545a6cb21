"""How kernels are compiled and kept on disk: the only module that calls `numba.njit`."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from numba import njit
from numba.core.caching import FunctionCache

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
