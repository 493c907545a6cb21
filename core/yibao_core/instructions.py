"""Instructions of the processor that Numba has no name for. Each has a body that says the same in plain Python."""

from fractions import Fraction
from importlib import import_module
from typing import Any, cast

from numba import types
from numba.extending import intrinsic
from numba.extending import overload as compiled_as

from yibao_core._jit import Words

LINE_WORDS = 8  # of a line of the cache

_ir: Any = import_module("llvmlite.ir")  # Numba's own builder of instructions; it comes without types


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


def eight_bytes(text: Words, at: int) -> int:
    """Return text[at:at+8], bytes of any place in memory, as one word, the first byte lowest. All eight must be there."""
    return int.from_bytes(bytes(cast("Any", text)[at : at + 8]), "little", signed=True)


def _typed_load(_context: Any, text: Any, at: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(byte, _ir.IntType(64).as_pointer()), align=1)

    return types.int64(text, at), emit


def low_product(value: int, factor: int) -> int:
    """Return the lowest 63 bits of a product that may wrap. Written with *, a wrapping product is not defined."""
    return (int(value) * int(factor)) & (1 << 63) - 1


def _typed_product(_context: Any, value: Any, factor: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = _ir.IntType(64)
        return builder.and_(builder.mul(*arguments), _ir.Constant(word, (1 << 63) - 1))

    return types.int64(types.int64, types.int64), emit


_emitted_prefetch: Any = intrinsic(_typed_prefetch)


@compiled_as(prefetch, strict=False)
def _compiled_prefetch(words: Any, at: Any) -> Any:
    return lambda words, at: _emitted_prefetch(words, at)


_emitted_load: Any = intrinsic(_typed_load)


@compiled_as(eight_bytes, strict=False)
def _compiled_load(text: Any, at: Any) -> Any:
    return lambda text, at: _emitted_load(text, at)


_emitted_product: Any = intrinsic(_typed_product)


@compiled_as(low_product, strict=False)
def _compiled_product(value: Any, factor: Any) -> Any:
    return lambda value, factor: _emitted_product(value, factor)


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
