"""NumPy: the kernels, and the formula for complex and extended precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _formula
from .._checks import check_out, refused_dtype, refused_mix
from .._kernels.loops import KERNELS
from . import VALUE

if TYPE_CHECKING:
    from .._dispatch import Function

BFLOAT16 = "bfloat16"  # the name of the dtype that ml_dtypes gives NumPy


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function's kernel where it has one, on exact arrays and on all that NumPy makes arrays of."""
    operator, which = function.operator, function.which
    name = operator.__name__
    kernel = None if which < VALUE else KERNELS[name]

    def exact(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        y = NotImplemented if kernel is None or g is not None else kernel(x, params, out, which)
        return anything(x, params, out, g) if y is NotImplemented else y

    def anything(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if not isinstance(x, np.ndarray):
            array = np.asarray(x)
            scalar = np.ndim(x) == 0 and all(type(p) is float for p in params)
            return anything(array, params, out, g)[() if scalar and out is None else ...]
        if type(x) is not np.ndarray or any(isinstance(p, np.ma.MaskedArray) for p in params):
            return wrapped(x, params, out, g)
        if out is not None and not isinstance(out, np.ndarray):
            raise refused_mix(name, "out", out, x)
        x = promoted(name, x)
        real = np.real(x).dtype
        params = tuple(p if type(p) is float else parameter(k, p, real) for k, p in enumerate(params))
        if g is not None:
            g = np.broadcast_to(np.asarray(g, x.dtype), np.broadcast_shapes(x.shape, *map(np.shape, params)))
        y = computed(x, params, out, g)
        return y if g is None else _formula.sum_to_shape(np, y, np.shape((x, *params)[which]))

    def computed(x: Any, params: tuple[Any, ...], out: Any, g: Any) -> Any:
        if x.dtype.name == BFLOAT16:
            bits = [a.view(np.uint16) if isinstance(a, np.ndarray) else a for a in (x, out, g, *params)]
            if kernel is None:
                y = computed(x.astype(np.float32), params, None, None).astype(x.dtype)
            else:
                if out is not None:
                    check_out(out.shape, out.dtype, np.broadcast_shapes(x.shape, *map(np.shape, params)), x.dtype)
                return kernel(bits[0], tuple(bits[3:]), bits[1], which, bits[2], True).view(x.dtype)
        else:
            y = NotImplemented if kernel is None else kernel(x, params, out, which, g)
            if y is not NotImplemented:
                return y
            with np.errstate(all="ignore"):
                y = function.formula(np, x, params, g)
        if out is None:
            return y
        check_out(out.shape, out.dtype.newbyteorder("="), y.shape, y.dtype, out.flags.writeable)
        out[...] = y
        return out

    def wrapped(x: Any, params: tuple[Any, ...], out: Any, g: Any) -> Any:
        """Subclasses: masks survive, others become what NumPy's own functions would make of them."""
        plain = tuple(p if type(p) is float else np.asarray(p) for p in params)
        y = anything(np.asarray(x), plain, None if out is None else np.asarray(out), g)
        if out is not None:
            return out
        masks = [np.ma.getmask(a) for a in (x, *params)]
        if any(m is not np.ma.nomask for m in masks):
            mask = np.logical_or.reduce([np.broadcast_to(m, np.shape(y)) for m in masks])
            return np.ma.MaskedArray(y, mask)
        return x.__array_wrap__(y) if np.shape(y) != () else y

    def parameter(k: int, p: Any, dtype: Any) -> Any:
        array = np.asarray(p)
        if array.dtype.kind not in "fiu" and array.dtype.name != BFLOAT16:
            raise refused_dtype(name, operator.parameters[k], array.dtype)
        return array.astype(dtype, copy=False)

    return exact if cls is np.ndarray else anything


def promoted(name: str, x: Any) -> Any:
    """Return x as floating-point numbers, integers as float64."""
    if x.dtype.kind in "fc" or x.dtype.name == BFLOAT16:
        return x
    if x.dtype.kind in "iu":
        return x.astype(np.float64)
    raise refused_dtype(name, "x", x.dtype)
