"""CuPy: the formula, fused into one kernel by ``cupy.fuse``; as it stands for complex numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from .. import _formula
from .._checks import check_out, check_shapes, check_strides, refused_mix
from . import PENALTY, generic
from .generic import cast, check_device, converted, listed

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (cupy.ndarray,)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function that is compiled for the dtypes and the numbers of dimensions that it meets."""
    operator, which = function.operator, function.which
    name = operator.__name__

    def formula(x: Any, *params: Any) -> Any:
        return function.formula(Traced(), x, params)

    def pull(x: Any, g: Any, *params: Any) -> Any:
        return function.formula(Traced(), x, params, g)

    def into(out: Any, x: Any, *params: Any) -> None:
        out[...] = formula(x, *params)

    fused, fused_pull, fused_into = (cupy.fuse(kernel_name=f"shrinkops_{name}")(f) for f in (formula, pull, into))

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if not isinstance(x, cupy.ndarray):
            x = converted(operator, xp, cupy.asarray, x, params, g)
        with on(x):
            return placed(x, params, out, listed(cupy.asarray, g))

    def placed(x: Any, params: tuple[Any, ...], out: Any, g: Any) -> Any:
        for argument, a in zip((*operator.parameters, "g", "out"), (*params, g, out), strict=True):
            if isinstance(a, np.ndarray) or (argument == "out" and not isinstance(a, cupy.ndarray | None)):
                raise refused_mix(name, argument, a, x)
            check_device(name, argument, a, x)
        arrays = tuple(cast(operator, k, xp, p, x) for k, p in enumerate(params))
        x = _formula.promoted(operator, xp, x, xp.float64)
        shape = check_shapes(operator, x, arrays, g)
        traced = x.dtype.kind == "f"
        if traced:  # a number is a constant to the tracer, which would compile again for another: unless NumPy's
            arrays = tuple(x.dtype.type(p) if isinstance(p, float) else p for p in arrays)
        if g is not None:
            g = g.astype(x.dtype, copy=False) if isinstance(g, cupy.ndarray) else x.dtype.type(g)
            y = fused_pull(x, g, *arrays) if traced else function.formula(xp, x, arrays, g)
            return _formula.sum_to_shape(xp, y, np.shape((x, *params)[which]))
        if out is None:
            return fused(x, *arrays) if traced else function.formula(xp, x, arrays)
        dtype = x.real.dtype if which == PENALTY else x.dtype
        check_out(out.shape, out.dtype, shape, dtype)
        check_strides(name, out.shape, out.strides)
        x, arrays = apart(x, out), tuple(apart(p, out) for p in arrays)
        if traced:
            fused_into(out, x, *arrays)
        else:
            out[...] = function.formula(xp, x, arrays)
        return out

    return call


def on(x: Any) -> Any:
    """Return a context in which CuPy computes where an array is."""
    return x.device


def apart(a: Any, out: Any) -> Any:
    """Return an array as it is if what is written to the output comes after what is read there, else a copy."""
    if not isinstance(a, cupy.ndarray):
        return a
    place, place_of_out = ((b.data.ptr, b.shape, b.strides, b.dtype) for b in (a, out))
    return a.copy() if place != place_of_out and cupy.may_share_memory(a, out) else a


class Traced:
    """The namespace that formulas see while they are traced: of its variables, which have operators and a dtype."""

    def __getattr__(self, name: str) -> Any:
        """Return a function that can be traced as it is."""
        return getattr(xp, name)

    def astype(self, a: Any, dtype: Any, copy: bool = True) -> Any:
        """Return a variable in another dtype."""
        return a.astype(dtype)

    def full_like(self, a: Any, value: float) -> Any:
        """Return a constant."""
        return a.dtype.type(value)

    def zeros_like(self, a: Any) -> Any:
        """Return a constant."""
        return a.dtype.type(0)

    def ones_like(self, a: Any) -> Any:
        """Return a constant."""
        return a.dtype.type(1)


def bind_structured(operator: Any, part: int, cls: type) -> Callable[..., Any]:
    """Return the formula of a structured operator."""
    formula = generic.bind_structured(operator, part, cls)

    def call(x: Any, *arguments: Any, **named: Any) -> Any:
        with on(x) if isinstance(x, cupy.ndarray) else contextlib.nullcontext():
            return formula(x, *arguments, **named)

    return call
