"""Compiled kernels on disk: a file for each kernel and signature, named after everything that it was made from.

Numba's own cache looks at one source file only: a kernel would outlive a change to a helper or a constant in another
file, and pay by the old rule. It also keeps an index that two processes can write at once, and stops at a file that is
cut off. Here a name is never given to another content, a file appears whole or not at all, and one that does not
carry its own digest is as good as absent.
"""

import contextlib
import hashlib
import os
import pickle
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

SUFFIX, UNFINISHED = ".nbc", ".nbc-part"
config: Any = import_module("numba.core.config")  # it makes its names when it is read
_DIGEST = hashlib.sha256().digest_size
_PACKAGE = Path(__file__).resolve().parent


@cache
def sources_digest(package: Path = _PACKAGE) -> str:
    """Return a digest of every source file of the core, and of a package, or one file, whose kernels are built on it."""
    digest = hashlib.sha256()
    for root in dict.fromkeys((_PACKAGE, package)):
        for source in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(str(source.relative_to(root)).encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


@cache
def folders() -> tuple[Path, ...]:
    """Return where kernels are looked for, in this order; the first that can be written gets new ones.

    $NUMBA_CACHE_DIR, the package's own folder, the user's cache. An image that was warmed up before its files became
    read-only is read all the same.
    """
    here = hashlib.sha256(str(_PACKAGE).encode()).hexdigest()[:12]  # other installations have kernels of their own
    found = [_PACKAGE / "__pycache__" / "kernels"]
    if config.CACHE_DIR:
        found.insert(0, Path(config.CACHE_DIR) / f"yibao-{here}")
    with contextlib.suppress(RuntimeError):  # a user without a home
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        found.append(Path(home) / "yibao" / here)
    return tuple(found)


def cached_files() -> list[Path]:
    """Return all files of this installation's cache, unfinished ones of killed processes too."""
    return [
        file
        for folder in folders()
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.name.endswith((SUFFIX, UNFINISHED))
    ]


def is_kept(file: Path) -> bool:
    """Return whether a file holds a kernel of the present sources, whole."""
    return f"-{sources_digest()[:12]}-" in file.name and _content(file) is not None


class KernelCache:
    """The compiled versions of one kernel on disk, as Numba's dispatchers ask for them."""

    def __init__(self, func: Callable[..., Any]) -> None:
        package, _, name = func.__module__.partition(".")
        self._kernel = f"{name.rpartition('.')[2]}.{func.__qualname__}"
        if package != __package__:  # other packages may name their kernels as the core does
            self._kernel = f"{package}.{self._kernel}"
        source = Path(func.__code__.co_filename).resolve()
        self._package = source.parent if name else source
        # Two kernels of one name, made by a function, differ in what it gave them.
        given = [cell.cell_contents for cell in func.__closure__ or ()]
        self._body = (func.__code__.co_code.hex(), repr(given))

    @property
    def cache_path(self) -> str:
        return str(folders()[0])

    def flush(self) -> None:
        """Do nothing: no file is ever out of date."""

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return a compiled version; None where it must be made, whatever the reason.

        The target is not refreshed, as Numba does it: that loads what only compiling needs, in 0.15 s of a new process.
        """
        name = self._name(signature, target.codegen())
        for folder in folders():
            content = _content(folder / name)
            if content is None:
                continue
            with contextlib.suppress(Exception):
                found: Any = CompileResult._rebuild(target, *pickle.loads(content))
                if tuple(found.signature.args) == tuple(signature):
                    return found
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled version; where nothing can be written it stays in memory."""
        content = dumps(compiled._reduce())
        name = self._name(signature, compiled.codegen)
        for folder in folders():
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                _write(folder / name, content)
                for file in self._outdated(folder):
                    file.unlink(missing_ok=True)
                return

    def _name(self, signature: Any, codegen: Any) -> str:
        settings = (
            config.BOUNDSCHECK, str(config.OPT), config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.DEBUGINFO_DEFAULT,
        )  # fmt: skip
        types = tuple(str(kind) for kind in signature)
        made_from = (self._sources, _compilers(), codegen.magic_tuple(), settings, self._kernel, self._body, types)
        key = hashlib.sha256(repr(made_from).encode()).hexdigest()
        return f"{self._kernel}-{self._sources[:12]}-{key[:32]}{SUFFIX}"

    def _outdated(self, folder: Path) -> Iterator[Path]:
        """Give the kernel's files made from other sources: an installation has one state of them."""
        for file in folder.glob(f"{self._kernel}-*{SUFFIX}"):
            if f"-{self._sources[:12]}-" not in file.name:
                yield file

    @property
    def _sources(self) -> str:
        return sources_digest(self._package)


def _compilers() -> tuple[str, ...]:
    llvmlite: Any = import_module("llvmlite")  # it comes without types
    return numba.__version__, llvmlite.__version__, str(sys.implementation.cache_tag)


def _content(file: Path) -> bytes | None:
    """Return what a file holds behind its digest; None where it is not there or not as it was written."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    whole = hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]
    return content[_DIGEST:] if whole else None


def _write(file: Path, content: bytes) -> None:
    """Write a file with its digest in front, so that it appears at once."""
    unfinished = file.with_name(f"{file.name[: -len(SUFFIX)]}-{secrets.token_hex(6)}{UNFINISHED}")
    try:
        unfinished.write_bytes(hashlib.sha256(content).digest() + content)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
