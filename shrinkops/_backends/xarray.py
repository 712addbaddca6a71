"""xarray: what is inside re-enters at the front door; dimensions are matched by name, and lazy stays lazy."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np
import xarray as xr

from .. import _formula
from .._checks import refused_out

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (xr.Variable, xr.DataArray, xr.Dataset)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on labelled arrays, aligned as xarray's own arithmetic aligns them."""

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(function.operator.__name__, x)
        if g is not None:
            return pulled(function, x, params, g)
        return xr.apply_ufunc(inside, x, *params, dask="allowed", join=join())

    def inside(x: Any, *params: Any) -> Any:
        """Enter at the front door, arrays of no dimension as such: xarray unwraps them as numbers."""
        return function.enter(x, tuple(np.asarray(p) if isinstance(p, np.generic) else p for p in params))

    return call


def join() -> Any:
    """Return how arithmetic is to align labels."""
    return xr.get_options()["arithmetic_join"]  # type: ignore[no-untyped-call,unused-ignore]


def pulled(function: Function, x: Any, params: tuple[Any, ...], g: Any) -> Any:
    """Return g times a derivative, summed over the dimensions that its argument does not have."""
    arguments = (x, *params, g)
    argument = arguments[function.which]
    if any(isinstance(a, xr.Dataset) for a in arguments):
        names = next(a for a in arguments if isinstance(a, xr.Dataset)).data_vars
        each = [[a[name] if isinstance(a, xr.Dataset) else a for a in arguments] for name in names]
        parts = [pulled(function, first, tuple(rest), last) for first, *rest, last in each]
        if isinstance(argument, xr.Dataset):
            return xr.Dataset(dict(zip(names, parts, strict=True)), attrs=argument.attrs)
        return functools.reduce(operator.add, parts)
    if any(isinstance(a, xr.Variable) for a in arguments):
        arrays = [xr.DataArray(a) if isinstance(a, xr.Variable) else a for a in arguments]
        y = pulled(function, arrays[0], tuple(arrays[1:-1]), arrays[-1])
        return y.variable if isinstance(y, xr.DataArray) else y
    places = [k for k, a in enumerate(arguments) if isinstance(a, xr.DataArray)]
    aligned = xr.align(*(arguments[k] for k in places), join=join())
    wide = dict(zip(places, xr.broadcast(*aligned), strict=True))
    x, *rest, g = (wide[k].data if k in wide else a for k, a in enumerate(arguments))
    y = function.enter(x, tuple(rest), g)
    if function.which not in wide:
        return xr.DataArray(y) if isinstance(argument, float) else y
    y = wide[function.which].copy(data=y)
    over = [dim for dim in y.dims if dim not in argument.dims]
    y = y.transpose(*over, *argument.dims)
    summed = _formula.sum_to_shape(array_api_compat.array_namespace(y.data), y.data, y.shape[len(over) :])
    y = y.isel(dict.fromkeys(over, 0), drop=True).copy(data=summed)
    return y.reindex_like(argument, fill_value=0)  # a label that no other argument has, has no part in the result
