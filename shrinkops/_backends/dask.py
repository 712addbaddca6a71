"""Dask: blocks re-enter at the front door: what is right for their library is right here, and all stays lazy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat
import array_api_compat.dask.array as xp
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from .. import _formula, _structure
from .._checks import (
    broadcasts,
    check_cotangent,
    check_shapes,
    is_real,
    known,
    refused_dtype,
    refused_out,
    refused_shape,
)
from . import VALUE
from .numpy import promoted

if TYPE_CHECKING:
    from .._dispatch import Function
    from .._structure import Structured

ARRAYS = (da.Array,)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function that applies another to every block."""
    name = function.operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        x = x if isinstance(x, da.Array) else da.asarray(x, dtype=_formula.weak_dtype(np, x, params))
        # An empty array tells the dtype, and refuses what the operator refuses, at once.
        empty = promoted(function.operator, np.empty(0, x.dtype))
        dtype = empty.dtype if function.which in (VALUE, 0) else np.real(empty).dtype
        params = tuple(p if isinstance(p, float) else da.asanyarray(p) for p in params)
        for k, p in enumerate(params):
            if not isinstance(p, float) and not is_real(p.dtype):
                raise refused_dtype(name, function.operator.parameters[k], p.dtype)
        if g is not None and not isinstance(g, da.Array) and np.ndim(g):
            g = da.asanyarray(g)
        check_shapes(function.operator, x, params, g)
        if g is None:
            return lazily(Block(function), x, params, dtype)
        y = lazily(PullBlock(function), x, (g, *params), dtype)
        argument = (x, *params)[function.which]
        return _formula.sum_to_shape(Summing(), y, () if isinstance(argument, float) else argument.shape)

    return call


def lazily(block: Block, x: Any, others: tuple[Any, ...], dtype: Any) -> Any:
    """Return a function of blocks as an array of such blocks as x has, without calling it to learn what it returns."""
    arguments = (x, *others)
    ndim = max(map(np.ndim, arguments))
    axes = tuple(range(ndim))
    meta = meta_from_array(x._meta if dtype.kind == "c" else x._meta.real, ndim, dtype)
    indexed = [c for a in arguments for c in (a, axes[ndim - a.ndim :] if isinstance(a, da.Array) else None)]
    return da.blockwise(block, axes, *indexed, dtype=dtype, meta=meta, token=block.__name__)


class Summing:
    """The namespace, where sums may overflow however the caller has NumPy treat that."""

    def __getattr__(self, name: str) -> Any:
        """Return a function of the namespace."""
        return getattr(xp, name)

    @staticmethod
    def sum(a: Any, axis: tuple[int, ...], dtype: Any) -> Any:
        """Return the sum along axes."""
        return da.reduction(a, sum_quietly, sum_quietly, axis=axis, dtype=np.dtype(dtype))


def sum_quietly(a: Any, dtype: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the sum of a block, or of the sums of blocks."""
    with np.errstate(all="ignore"):
        return a.sum(axis=axis, dtype=dtype, keepdims=keepdims)


class Block:
    """A function on one block: the parameters come as arrays of the blocks' library or as floats."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.__name__ = function.operator.__name__

    def __call__(self, x: Any, *params: Any) -> Any:
        """Enter at the front door."""
        return self.function.enter(x, params)


class PullBlock(Block):
    """g times a derivative on one block, without summing: that needs all blocks."""

    def __call__(self, x: Any, g: Any, *params: Any) -> Any:
        """Give the argument in question the shape of the block, of which the sum is the block itself."""
        arguments = [x, *params]
        shape = np.broadcast_shapes(*map(np.shape, (g, *arguments)))
        which = self.function.which
        if np.shape(arguments[which]) != shape:
            like = array_api_compat.array_namespace(x)
            arguments[which] = like.broadcast_to(like.asarray(arguments[which]), shape)
        x, *params = arguments  # type: ignore[assignment]
        return self.function.enter(x, tuple(params), g)


# ---------------------------------------------------------------------------------------------------------------------
# Operators that look at more than one element


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return a function that applies a structured operator to blocks, each of which holds whole groups."""
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        x = x if isinstance(x, da.Array) else da.asarray(x)
        names = tuple(operator.names(options))
        empty = promoted(operator, np.empty(0, x.dtype))
        check_chunks(operator, x, options)
        layout = _structure.Layout(operator, options, x.shape)
        options = _structure.resolved(operator, options, x.shape)
        axes = layout.axes or (x.ndim - 2, x.ndim - 1)
        params = tuple(p if isinstance(p, float) else da.asanyarray(p) for p in params)
        for k, p in zip(names, params, strict=True):
            if not isinstance(p, float) and not is_real(p.dtype):
                raise refused_dtype(name, k, p.dtype)
        shapes = [layout.shape_of(k) for k in names]
        shapes_given = [() if isinstance(p, float) else p.shape for p in params]
        params = tuple(along_axis(layout, k, p, x.ndim) for k, p in zip(names, params, strict=True))
        for k, p, shape in zip(names, params, shapes, strict=True):
            if not isinstance(p, float) and known(p.shape) and known(shape) and not broadcasts(p.shape, shape):
                raise refused_shape(name, k, p.shape, shape)
        if part == _structure.PULL:
            g = g if isinstance(g, da.Array) else da.asarray(g)
            check_cotangent(name, g, x, x.shape)
            g = g.astype(empty.dtype)
            if known(x.shape) and known(g.shape):
                g = da.broadcast_to(g, x.shape, chunks=x.chunks) if g.shape != x.shape else g.rechunk(x.chunks)
            elif not g.ndim:
                g = da.ones_like(x) * g
            elif g.numblocks != x.numblocks:
                msg = f"{name}: g must have blocks as x has, got {g.numblocks} where x has {x.numblocks}"
                raise ValueError(msg)
            found = [over_blocks(operator, part, 0, x, params, options, g, x.shape, axes, empty.dtype)]
            for which, (p, shape) in enumerate(zip(params, shapes, strict=True), 1):
                c = over_blocks(operator, part, which, x, params, options, g, shape, axes, np.real(empty).dtype)
                given = shapes_given[which - 1]
                c = _formula.sum_to_shape(xp, c, () if isinstance(p, float) else p.shape)
                found.append(c if c.ndim == len(given) else c.reshape(given))
            return found
        if part == VALUE:
            return over_blocks(operator, part, 0, x, params, options, None, x.shape, axes, empty.dtype)
        shape = layout.reduced() if layout.axes else (*x.shape[:-2], 1, 1)
        y = over_blocks(operator, part, 0, x, params, options, None, shape, axes, np.real(empty).dtype)
        gone = axes if layout.groups is None else tuple(a for a in axes if a != max(axes))
        return y[tuple(0 if a in gone else slice(None) for a in range(x.ndim))]

    return call


def along_axis(layout: Any, name: str, p: Any, ndim: int) -> Any:
    """Return a parameter that runs along the axis with the dimensions of x."""
    if isinstance(p, float) or p.ndim != 1 or name not in layout.operator.along or len(layout.axes) > 1:
        return p
    return p.reshape(tuple(-1 if a in layout.axes else 1 for a in range(ndim)))


def check_chunks(operator: Structured, x: Any, options: dict[str, Any]) -> None:
    """Refuse groups that are spread over blocks, and those of which nobody knows how long they are."""
    axes = _structure.Layout(operator, {k: v for k, v in options.items() if k == "axis"}, x.shape).axes
    axes = axes or (x.ndim - 2, x.ndim - 1)
    chunked = [a for a in axes if len(x.chunks[a]) > 1]
    if chunked:
        raise refused_chunks(operator.__name__, x, chunked)
    if not known([x.shape[a] for a in axes]):
        msg = f"{operator.__name__}: x is of unknown length along its axis; x.compute_chunk_sizes() finds it"
        raise ValueError(msg)


def refused_chunks(name: str, x: Any, axes: list[int]) -> ValueError:
    """Return the error for groups that are spread over blocks."""
    which = f"axis {axes[0]}" if len(axes) == 1 else "axes " + " and ".join(map(str, axes))
    first = "after x.compute_chunk_sizes(), " if any(math.isnan(x.shape[a]) for a in axes) else ""
    one = "{" + ", ".join(f"{a}: -1" for a in axes) + "}"
    return ValueError(f"{name}: x is chunked along {which}; {first}x.rechunk({one}) has each group in one block")


def over_blocks(
    operator: Structured,
    part: int,
    which: int,
    x: Any,
    params: Any,
    options: Any,
    g: Any,
    shape: Any,
    axes: Any,
    dtype: Any,
) -> Any:
    """Return what becomes of blocks as an array of a shape, which differs from that of x in the axes."""
    ndim, spectral = x.ndim, "axis" not in options
    own = dict(zip(axes, range(ndim, ndim + len(axes)), strict=True))  # the axes of x, of which each is one chunk

    def index(a: Any) -> Any:
        if not isinstance(a, da.Array):
            return None
        count = ndim - 1 if spectral and a is not x and a is not g else ndim
        places = range(count - a.ndim, count)
        return tuple(own.get(k, k) if a is x or a is g else (own[k] + 2 * ndim if k in own else k) for k in places)

    arguments = [x, *params, g]
    lengths = dict(zip(range(ndim), shape, strict=False))
    of_values = spectral and len(shape) < ndim  # the cotangent of a parameter of singular values
    out = tuple(range(ndim - 1 if of_values else ndim))
    new = {k: lengths[k] for k in axes if k in out}
    meta = meta_from_array(x._meta if dtype.kind == "c" else x._meta.real, len(out), dtype)
    block = StructuredBlock(operator, part, which, options, tuple(lengths[k] if k in axes else 0 for k in out))
    indexed = [c for a in arguments for c in (a, index(a))]
    return da.blockwise(
        block, out, *indexed, new_axes=new, concatenate=True, dtype=dtype, meta=meta, token=operator.__name__
    )


class StructuredBlock:
    """A part of a structured operator on one block."""

    def __init__(self, operator: Any, part: int, which: int, options: Any, lengths: tuple[int, ...]) -> None:
        self.operator = operator
        self.part = part
        self.which = which
        self.options = options
        self.lengths = lengths
        self.__name__ = operator.__name__

    def __call__(self, x: Any, *rest: Any) -> Any:
        """Enter at the front door; what comes of a parameter is not summed yet."""
        *params, g = rest
        if self.part == _structure.PULL:
            y = self.pulled(x, params, g)
        else:
            y = self.operator.enter(self.part, x, tuple(params), self.options)
        return y.reshape(tuple(n or m for n, m in zip(self.lengths, self.batch(x), strict=True)))

    def batch(self, x: Any) -> tuple[int, ...]:
        """Return the lengths of the block along the axes of the result."""
        return tuple(x.shape[: len(self.lengths)])

    def pulled(self, x: Any, params: Any, g: Any) -> Any:
        """Return one cotangent in the shape of the result, by a parameter of that shape."""
        if self.which == 0:
            return self.operator.enter(self.part, x, tuple(params), self.options, g)[0]
        shape = tuple(n or m for n, m in zip(self.lengths, self.batch(x), strict=True))
        like = array_api_compat.array_namespace(x)
        params = list(params)
        p = like.asarray(params[self.which - 1])
        params[self.which - 1] = like.broadcast_to(p, shape)
        return self.operator.enter(self.part, x, tuple(params), self.options, g)[self.which]
