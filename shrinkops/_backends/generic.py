"""Any library of the array API standard: the formula, in its namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat

from .. import _backends, _formula
from .._checks import refused_dtype, refused_mix, refused_out

if TYPE_CHECKING:
    from .._dispatch import Function


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return the formula of a function on arrays of the library of `cls`."""
    name = function.operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        found = next(a for a in (x, *params) if hasattr(type(a), "__array_namespace__"))
        xp = array_api_compat.array_namespace(found)
        device = array_api_compat.device(found)
        if x is not found:
            x = xp.asarray(x, device=device)
        return evaluate(function, xp, x, params, g)

    return call


def evaluate(function: Function, xp: Any, x: Any, params: tuple[Any, ...], g: Any) -> Any:
    """Evaluate the formula of a function in a namespace; vjp's cotangents are summed to their argument's shape."""
    operator = function.operator
    default = xp.__array_namespace_info__().default_dtypes(device=array_api_compat.device(x))["real floating"]
    params = tuple(cast(operator, k, xp, p, x) for k, p in enumerate(params))
    y = function.formula(xp, _formula.promoted(operator.__name__, xp, x, default), params, g)
    if g is None:
        return y
    argument = ((x, *params))[function.which]
    return _formula.sum_to_shape(xp, y, () if isinstance(argument, float) else argument.shape)


def cast(operator: Any, k: int, xp: Any, p: Any, x: Any) -> Any:
    """Return the k-th parameter as an array of the namespace, if it is an array."""
    if isinstance(p, float):
        return p
    if _backends.is_numpy(type(p)) and not _backends.is_numpy(type(x)):
        raise refused_mix(operator.__name__, operator.parameters[k], p, x)
    if not xp.isdtype(p.dtype, ("real floating", "integral")):
        raise refused_dtype(operator.__name__, operator.parameters[k], p.dtype)
    return p
