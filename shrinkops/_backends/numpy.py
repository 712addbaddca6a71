"""NumPy: the kernels, and the formula for extended precision and penalties."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _formula
from .._checks import BFLOAT16, check_out, check_shapes, is_real, refused_dtype, refused_mix
from .._kernels.loops import KERNELS, Exact
from . import NUMPY_TYPES, PENALTY, VALUE

if TYPE_CHECKING:
    from .._dispatch import Function, Operator
    from .._structure import Structured

ARRAYS = NUMPY_TYPES


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function's kernel where it has one, on its arrays and on numbers and lists."""
    operator, which = function.operator, function.which
    name = operator.__name__
    kernel = None if which < VALUE else KERNELS[name]

    def anything(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if not isinstance(x, np.ndarray):
            scalar = np.ndim(x) == 0 and all(type(p) is float for p in params)
            with np.errstate(over="ignore"):
                array = np.asarray(x, _formula.weak_dtype(np, x, params))
            y = anything(array, params, out, g)
            return y[()] if scalar and out is None else y
        if any(isinstance(a, np.ndarray) and type(a) is not np.ndarray for a in (x, *params, g)):
            return wrapped(x, params, out, g)
        if out is not None and not isinstance(out, np.ndarray):
            raise refused_mix(name, "out", out, x)
        x = promoted(operator, x)
        real = np.real(x).dtype
        with np.errstate(all="ignore"):
            params = tuple(p if type(p) is float else parameter(k, p, real) for k, p in enumerate(params))
            if g is None:
                return computed(x, params, out, None, check_shapes(operator, x, params))
            g = np.asarray(g)
            shape = check_shapes(operator, x, params, g)
            g = np.broadcast_to(g.astype(x.dtype, copy=False), shape)
            return _formula.sum_to_shape(np, computed(x, params, None, g, shape), np.shape((x, *params)[which]))

    def computed(x: Any, params: tuple[Any, ...], out: Any, g: Any, shape: Any) -> Any:
        brain = x.dtype.name == BFLOAT16
        if out is not None:
            dtype = np.real(x).dtype if which == PENALTY else x.dtype
            check_out(out.shape, out.dtype.newbyteorder("="), shape, dtype.newbyteorder("="), out.flags.writeable)
        y: Any = NotImplemented
        if kernel is not None and brain:
            bits = [a.view(np.uint16) if isinstance(a, np.ndarray) else a for a in (x, out, g, *params)]
            y = kernel(bits[0], tuple(bits[3:]), bits[1], which, bits[2], True).view(x.dtype)
        elif kernel is not None:
            y = kernel(x, params, out, which, g)
        if y is not NotImplemented:
            return y if out is None else out
        if brain:  # NumPy's finfo does not know it
            rounded = [np.asarray(p, x.dtype).astype(np.float32) for p in params]
            y = function.formula(
                np, x.astype(np.float32), tuple(rounded), None if g is None else g.astype(np.float32)
            ).astype(x.dtype)
        else:
            y = function.formula(np, x, params, g)
        if out is None:
            return y
        out[...] = y
        return out

    def wrapped(x: Any, params: tuple[Any, ...], out: Any, g: Any) -> Any:
        """Subclasses: masks survive, others become what NumPy's own functions would make of them."""
        arrays = (x, *params)
        masks = [np.ma.getmask(a) for a in (*arrays, g)]
        if any(m is not np.ma.nomask for m in masks):
            return masked(arrays, masks, out, g)
        y = anything(np.asarray(x), tuple(map(plain, params)), out, g if g is None else np.asarray(g))
        named = arrays if g is None else (arrays[which],)
        like = [a for a in named if isinstance(a, np.ndarray) and type(a) is not np.ndarray]
        return y if out is not None or not like else like[0].__array_wrap__(np.asarray(y))

    def masked(arrays: tuple[Any, ...], masks: list[Any], out: Any, g: Any) -> Any:
        x, *params = map(plain, arrays)
        shape = check_shapes(operator, x, params, None if g is None else np.asarray(g))
        mask = np.logical_or.reduce(np.broadcast_arrays(*masks, np.zeros(shape, bool)))
        if g is not None:  # what is masked takes no part in a sum
            mask_of = np.ma.getmaskarray(arrays[which])
            if which == 0 and np.shape(g) == mask_of.shape:
                mask_of = mask_of | np.ma.getmaskarray(g)
            ones = [np.where(mask, np.ones_like(a), a) for a in (x, *map(np.asarray, params))]
            y = anything(ones[0], tuple(ones[1:]), None, np.where(mask, 0, np.asarray(g)))
            y = np.where(mask, np.zeros_like(y), y)  # NaN, where 1 is outside the domain of a parameter
            y = _formula.sum_to_shape(np, y, mask_of.shape)
            return np.ma.MaskedArray(y, mask_of) if mask_of.shape else y
        y = anything(x, tuple(params), out if out is None else np.asarray(out))
        if out is None:
            like: Any = arrays[0] if isinstance(arrays[0], np.ma.MaskedArray) else np.ma.MaskedArray(y)
            made = np.ma.MaskedArray(y, mask, hard_mask=like.hardmask)
            if like._fill_value is not None:
                made.fill_value = like.fill_value
            return made
        if isinstance(out, np.ma.MaskedArray):
            out.mask = mask
        return out

    def parameter(k: int, p: Any, dtype: Any) -> Any:
        array = np.asarray(p)
        if not is_real(array.dtype):
            raise refused_dtype(name, operator.parameters[k], array.dtype)
        return array.astype(dtype, copy=False)

    return anything if kernel is None or cls is not np.ndarray else Exact(kernel, function, anything)


def plain(a: Any) -> Any:
    """Return an array of a subclass as NumPy's own, and a number as it is."""
    return a if type(a) is float else np.asarray(a)


def promoted(operator: Operator | Structured, x: Any) -> Any:
    """Return x as floating-point numbers, integers as float64."""
    if x.dtype.kind == "c" and not operator.odd:
        raise refused_dtype(operator.__name__, "x", x.dtype, or_complex=False)
    if x.dtype.kind in "fc" or x.dtype.name == BFLOAT16:
        return x
    if x.dtype.kind in "iu":
        return x.astype(np.float64)
    raise refused_dtype(operator.__name__, "x", x.dtype)


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return what runs an operator that looks at more than one element, which takes more to import."""
    from .numpy_structured import bind

    return bind(operator, part, cls)
