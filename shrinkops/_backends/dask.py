"""Dask: blocks re-enter at the front door, so that what is right for their library is right here, and all stays lazy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from .. import _formula
from .._checks import refused_out, refused_type
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
        operands = (x, *params) if g is None else (x, *params, da.asarray(g))
        y = da.core.elemwise(Block(function, len(params)), *operands, dtype=dtype)
        if g is None:
            return y
        argument = (x, *params)[function.which]
        return _formula.sum_to_shape(da, y, () if isinstance(argument, float) else argument.shape)

    return call


class Block:
    """A function on one block: the parameters, and g after them, come as arrays of the blocks' library or as floats."""

    def __init__(self, function: Function, parameters: int) -> None:
        self.function, self.parameters = function, parameters
        self.__name__ = function.operator.__name__

    def __call__(self, x: Any, *rest: Any) -> Any:
        """Enter at the front door, g once more if there is one."""
        params, g = rest[: self.parameters], rest[self.parameters :]
        if not g:
            return self.function(x, *params)
        return g[0] * self.function(x, *params)
