"""Dask: blocks re-enter at the front door: what is right for their library is right here, and all stays lazy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat
import array_api_compat.dask.array as xp
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from .. import _formula
from .._checks import is_real, refused_dtype, refused_out
from . import VALUE
from .numpy import promoted

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (da.Array,)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function that applies another to every block."""
    name = function.operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        x = x if isinstance(x, da.Array) else da.asarray(x)
        # An empty array tells the dtype, and refuses what the operator refuses, at once.
        empty = promoted(function.operator, np.empty(0, x.dtype))
        dtype = empty.dtype if function.which in (VALUE, 0) else np.real(empty).dtype
        params = tuple(p if isinstance(p, float) else da.asanyarray(p) for p in params)
        for k, p in enumerate(params):
            if not isinstance(p, float) and not is_real(p.dtype):
                raise refused_dtype(name, function.operator.parameters[k], p.dtype)
        if g is None:
            return lazily(Block(function), x, params, dtype)
        g = g if np.ndim(g) == 0 and not isinstance(g, da.Array) else da.asanyarray(g)
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
