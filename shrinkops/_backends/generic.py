"""Any library of the array API standard: the formula, in its namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import array_api_compat
import numpy as np

from .. import _backends, _formula, _structure
from .._checks import check_cotangent, check_shapes, refused_device, refused_dtype, refused_mix, refused_out

if TYPE_CHECKING:
    from .._dispatch import Function
    from .._structure import Structured


@runtime_checkable
class Array(Protocol):
    """What has a namespace."""

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """Return the namespace."""


ARRAYS = (Array,)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return the formula of a function on arrays of the library of `cls`."""
    operator, which = function.operator, function.which
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        arrays = [
            (argument, a)
            for argument, a in zip(("x", *operator.parameters, "g"), (x, *params, g), strict=True)
            if _backends.is_array(a) and not _backends.is_numpy(type(a))
        ]
        _, found = arrays[0]
        namespace = array_api_compat.array_namespace(found)
        for argument, a in arrays[1:]:
            if array_api_compat.array_namespace(a) is not namespace:
                raise refused_mix(name, argument, a, x)
            check_device(name, argument, a, found)
        xp: Any = Namespace(namespace)
        place = functools.partial(xp.asarray, device=getattr(found, "device", None))
        if x is not found:
            x = converted(operator, xp, place, x, params, g)
        with np.errstate(all="ignore"):  # there are libraries that compute with NumPy
            return evaluate(x, params, g, xp, place)

    def evaluate(x: Any, params: tuple[Any, ...], g: Any, xp: Any, place: Callable[..., Any]) -> Any:
        params = tuple(cast(operator, k, xp, p, x) for k, p in enumerate(params))
        x = _formula.promoted(operator, xp, x, place(0.0).dtype)
        if isinstance(g, np.ndarray):
            raise refused_mix(name, "g", g, x)
        check_shapes(operator, x, params, listed(place, g))
        if g is None:
            return function.formula(xp, x, params)
        y = function.formula(xp, x, params, place(g, dtype=x.dtype))
        argument = (x, *params)[which]
        return _formula.sum_to_shape(xp, y, () if isinstance(argument, float) else argument.shape)

    return call


def converted(
    operator: Any, xp: Any, asarray: Callable[..., Any], x: Any, params: tuple[Any, ...], g: Any = None
) -> Any:
    """Return x, a number or lists of them, as an array of the library of another argument; refuse arrays of NumPy."""
    others = (*params, g)
    if isinstance(x, np.ndarray):
        names = (*operator.parameters, "g")
        k = next(k for k, a in enumerate(others) if _backends.is_array(a) and not _backends.is_numpy(type(a)))
        raise refused_mix(operator.__name__, names[k], others[k], x)
    return asarray(x, dtype=_formula.weak_dtype(xp, x, [p for p in params if not _backends.is_numpy(type(p))]))


def listed(asarray: Callable[..., Any], g: Any) -> Any:
    """Return lists as an array, which tells of what they are; other cotangents as they are."""
    return asarray(g) if isinstance(g, list | tuple) else g


def cast(operator: Any, k: int, xp: Any, p: Any, x: Any) -> Any:
    """Return the k-th parameter as an array of the namespace, if it is an array."""
    if isinstance(p, float):
        return p
    if _backends.is_numpy(type(p)) and not _backends.is_numpy(type(x)):
        raise refused_mix(operator.__name__, operator.parameters[k], p, x)
    if not xp.isdtype(p.dtype, ("real floating", "integral")):
        raise refused_dtype(operator.__name__, operator.parameters[k], p.dtype)
    return p


def check_device(name: str, argument: str, a: Any, x: Any) -> None:
    """Refuse an array that is on another device than x."""
    here, there = (getattr(b, "device", None) for b in (x, a))
    if here is not None and there is not None and here != there and not isinstance(a, np.generic):
        raise refused_device(name, argument, there, here)


class Namespace:
    """
    A namespace, with what formulas use of later versions of the standard than it implements.

    Parameters
    ----------
    xp : module
        The namespace.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp

    def __getattr__(self, name: str) -> Any:
        """Return what has the name, or a function that tries that first and then does without."""
        without = WITHOUT.get(name)
        if without is None:
            return getattr(self.xp, name)

        def function(*args: Any, **named: Any) -> Any:
            try:
                return getattr(self.xp, name)(*args, **named)
            # The last but one is array_api_strict's, the last that of an argument which a library does not know.
            except (AttributeError, NotImplementedError, RuntimeError, TypeError):
                return without(self.xp, *args, **named)

        return function


def _asarray(xp: Any, a: Any, dtype: Any = None, device: Any = None) -> Any:
    return xp.asarray(a, dtype=dtype) if device is None else xp.asarray(a, dtype=dtype, device=device)


def _astype(xp: Any, x: Any, dtype: Any, copy: bool = True) -> Any:
    return xp.astype(x, dtype) if copy or x.dtype != dtype else x


def _sum(xp: Any, x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return xp.sum(x if dtype is None else _astype(xp, x, dtype, copy=False), axis=axis, keepdims=keepdims)


def _isdtype(xp: Any, dtype: Any, kinds: Any) -> bool:
    names = {
        "real floating": ("float32", "float64"),
        "complex floating": ("complex64", "complex128"),
        "integral": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    }
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    return any(dtype == getattr(xp, name, None) for kind in kinds for name in names[kind])


def _signbit(xp: Any, x: Any) -> Any:
    return (x < 0) | ((x == 0) & (1 / x < 0))


def _copysign(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(_signbit(xp, y), -xp.abs(x), xp.abs(x))


def _maximum(xp: Any, x: Any, y: Any) -> Any:
    return xp.where((x >= y) | xp.isnan(x), x, y)


def _minimum(xp: Any, x: Any, y: Any) -> Any:
    return xp.where((x <= y) | xp.isnan(x), x, y)


def _hypot(xp: Any, x: Any, y: Any) -> Any:
    a, b = xp.abs(x), xp.abs(y)
    large, small = _maximum(xp, a, b), _minimum(xp, a, b)
    ratio = small / xp.where((large > 0) & (large < xp.inf), large, xp.ones_like(large))
    return xp.where(large < xp.inf, large * xp.sqrt(1 + ratio * ratio), large)


def _cumulative_sum(xp: Any, x: Any, axis: int) -> Any:
    """Sum along the last axis: elements so far apart at a time that each is the sum of twice as many."""
    assert axis == -1
    step = 1
    while step < x.shape[-1]:
        x = x + xp.concat([xp.zeros_like(x[..., :step]), x[..., :-step]], axis=-1)
        step *= 2
    return x


WITHOUT: dict[str, Callable[..., Any]] = {
    "asarray": _asarray,
    "astype": _astype,
    "sum": _sum,
    "isdtype": _isdtype,
    "signbit": _signbit,
    "copysign": _copysign,
    "maximum": _maximum,
    "minimum": _minimum,
    "hypot": _hypot,
    "cumulative_sum": _cumulative_sum,
}


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return the formula of a structured operator on arrays of the library of `cls`."""
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        names = tuple(operator.names(options))
        arrays = [
            (argument, a)
            for argument, a in zip(("x", *names, "g"), (x, *params, g), strict=True)
            if _backends.is_array(a)
        ]
        found = next(a for _, a in arrays if not _backends.is_numpy(type(a)))
        namespace = array_api_compat.array_namespace(found)
        for argument, a in arrays:
            if _backends.is_numpy(type(a)) or array_api_compat.array_namespace(a) is not namespace:
                raise refused_mix(name, argument, a, found) if argument != "x" else refused_x(name, names, x, arrays)
            check_device(name, argument, a, found)
        xp: Any = _structure.Tools(Namespace(namespace))
        place = functools.partial(xp.asarray, device=getattr(found, "device", None))
        with np.errstate(all="ignore"):  # there are libraries that compute with NumPy
            x = _formula.promoted(operator, xp, place(x) if x is not found else x, place(0.0).dtype)
            for k, p in zip(names, params, strict=True):
                if not isinstance(p, float) and not xp.isdtype(p.dtype, ("real floating", "integral")):
                    raise refused_dtype(name, k, p.dtype)
            if part != _structure.PULL:
                function = _structure.value if part == _backends.VALUE else _structure.penalty
                return function(operator, xp, x, params, options)
            check_cotangent(name, g, x, x.shape)
            g = place(g, dtype=x.dtype) if not _backends.is_array(g) else xp.astype(g, x.dtype)
            first, *rest = _structure.pull(operator, xp, g, x, params, options)
        shapes = [() if isinstance(p, float) else p.shape for p in params]
        return first, *(_formula.sum_to_shape(xp, c, shape) for c, shape in zip(rest, shapes, strict=True))

    return call


def refused_x(name: str, names: tuple[str, ...], x: Any, arrays: list[tuple[str, Any]]) -> TypeError:
    """Return the error for x of NumPy beside an array of another library."""
    argument, a = next((k, a) for k, a in arrays if not _backends.is_numpy(type(a)))
    return refused_mix(name, argument, a, x)
