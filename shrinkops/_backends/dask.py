"""Dask: blocks re-enter at the front door: what is right for their library is right here, and all stays lazy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat.dask.array as xp
import dask.array as da
import numpy as np

from .. import _formula
from .._checks import is_real, refused_dtype, refused_out, refused_type
from . import VALUE, is_numpy
from .numpy import promoted

if TYPE_CHECKING:
    from .._dispatch import Function


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function that applies another to every block."""
    name = function.operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        if not isinstance(x, da.Array):
            if not is_numpy(type(x)):
                raise refused_type(name, "x", x)
            x = da.asarray(x)
        # An empty array of the same kind tells the dtype, and refuses what the operator refuses, at once.
        meta = x._meta if x.dtype.kind not in "iu" else x._meta.astype(np.float64)
        if isinstance(meta, np.ndarray):
            promoted(name, meta)
        dtype = np.real(meta).dtype if function.which not in (VALUE, 0) else meta.dtype
        for k, p in enumerate(params):
            if hasattr(p, "dtype") and not is_real(p.dtype):
                raise refused_dtype(name, function.operator.parameters[k], p.dtype)
        if g is None:
            return da.core.elemwise(Block(function), x, *params, dtype=dtype)
        y = da.core.elemwise(PullBlock(function), x, da.asarray(g), *params, dtype=dtype)
        argument = (x, *params)[function.which]
        return _formula.sum_to_shape(xp, y, () if isinstance(argument, float) else argument.shape)

    return call


class Block:
    """A function on one block: the parameters come as arrays of the blocks' library or as floats."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.__name__ = function.operator.__name__

    def __call__(self, x: Any, *params: Any) -> Any:
        """Enter at the front door."""
        return self.function(x, *params)


class PullBlock(Block):
    """g times a derivative on one block, without summing: that needs all blocks."""

    def __call__(self, x: Any, g: Any, *params: Any) -> Any:
        """Give every argument the shape of the block."""
        x, g, *broadcast = np.broadcast_arrays(x, g, *params)
        return self.function.implementation(type(x), x)(x, tuple(broadcast), None, g)
