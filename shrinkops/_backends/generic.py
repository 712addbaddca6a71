"""Any library of the array API standard: the formula, in its namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np

from .. import _backends, _formula
from .._checks import refused_dtype, refused_mix, refused_out

if TYPE_CHECKING:
    from .._dispatch import Function


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return the formula of a function on arrays of the library of `cls`."""
    operator, which = function.operator, function.which
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        found = next(a for a in (x, *params, g) if isinstance(a, cls))
        xp = array_api_compat.array_namespace(found)
        place = functools.partial(xp.asarray, device=array_api_compat.device(found))
        if not isinstance(x, cls):
            x = converted(operator, place, x, (*params, g))
        with np.errstate(all="ignore"):  # there are libraries that compute with NumPy
            return evaluate(x, params, g, xp, place)

    def evaluate(x: Any, params: tuple[Any, ...], g: Any, xp: Any, place: Callable[..., Any]) -> Any:
        default = xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))["real floating"]
        params = tuple(cast(operator, k, xp, p, x) for k, p in enumerate(params))
        x = _formula.promoted(name, xp, x, default)
        if g is None:
            return function.formula(xp, x, params)
        if isinstance(g, np.ndarray):
            raise refused_mix(name, "g", g, x)
        y = function.formula(xp, x, params, place(g, dtype=x.dtype))
        argument = (x, *params)[which]
        return _formula.sum_to_shape(xp, y, () if isinstance(argument, float) else argument.shape)

    return call


def converted(operator: Any, asarray: Callable[..., Any], x: Any, others: tuple[Any, ...]) -> Any:
    """Return x, a number or lists of them, as an array of the library of another argument; refuse arrays of NumPy."""
    if isinstance(x, np.ndarray):
        names = (*operator.parameters, "g")
        k = next(k for k, a in enumerate(others) if _backends.is_array(a) and not _backends.is_numpy(type(a)))
        raise refused_mix(operator.__name__, names[k], others[k], x)
    return asarray(x)


def cast(operator: Any, k: int, xp: Any, p: Any, x: Any) -> Any:
    """Return the k-th parameter as an array of the namespace, if it is an array."""
    if isinstance(p, float):
        return p
    if _backends.is_numpy(type(p)) and not _backends.is_numpy(type(x)):
        raise refused_mix(operator.__name__, operator.parameters[k], p, x)
    if not xp.isdtype(p.dtype, ("real floating", "integral")):
        raise refused_dtype(operator.__name__, operator.parameters[k], p.dtype)
    return p
