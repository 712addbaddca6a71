"""xarray: what is inside re-enters at the front door; dimensions are matched by name, and lazy stays lazy."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np
import xarray as xr

from .. import _backends, _formula, _structure
from .._checks import refused_mix, refused_out, refused_shape

if TYPE_CHECKING:
    from .._dispatch import Function
    from .._structure import Structured

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


# ---------------------------------------------------------------------------------------------------------------------
# Operators that look at more than one element


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return a structured operator on labelled arrays: an axis may be the name of a dimension."""
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        names = tuple(operator.names(options))
        if not isinstance(x, ARRAYS):
            k, a = next((k, a) for k, a in zip((*names, "g"), (*params, g), strict=True) if isinstance(a, ARRAYS))
            raise refused_mix(name, k, a, x)
        if isinstance(x, xr.Dataset):
            return of_variables(x, params, options, g)
        if isinstance(x, xr.Variable):
            y = call(xr.DataArray(x), params, options, None, xr.DataArray(g) if isinstance(g, xr.Variable) else g)
            return [bare(c) for c in y] if part == _structure.PULL else bare(y)
        options = dict(options)
        if "axis" in options:
            options["axis"] = axes_of(x, options["axis"])
        if isinstance(options.get("groups"), xr.DataArray | xr.Variable):
            options["groups"] = options["groups"].data
        placed = tuple(beside(k, p, x) for k, p in zip(names, params, strict=True))
        if part == _structure.PULL:
            g = matched("g", g, x) if isinstance(g, xr.DataArray | xr.Variable) else g
            first, *rest = operator.enter(part, x.data, placed, options, g)
            return [
                x.copy(data=first),
                *(restored(c, p) for c, p in zip(rest, params, strict=True)),
            ]
        y = operator.enter(part, x.data, placed, options)
        if y.ndim == x.ndim and y.shape == x.shape and part != _backends.PENALTY:
            return x.copy(data=y)
        return without_axes(x, y, options)

    def of_variables(x: Any, params: tuple[Any, ...], options: dict[str, Any], g: Any) -> Any:
        def one(a: Any, of: Any) -> Any:
            return a[of] if isinstance(a, xr.Dataset) else a

        if part == _structure.PULL:
            msg = f"{name}: x is xarray.Dataset, of which each variable has cotangents of its own"
            raise TypeError(msg)
        results = {of: call(x[of], tuple(one(p, of) for p in params), options) for of in x.data_vars}
        return xr.Dataset(results, attrs=x.attrs)

    def axes_of(x: Any, axis: Any) -> Any:
        """Return axes by number."""
        if isinstance(axis, tuple):
            return tuple(axes_of(x, a) for a in axis)
        if not isinstance(axis, str):
            return axis
        if axis not in x.dims:
            msg = f"{name}: x has no dimension {axis!r}, but {', '.join(map(str, x.dims))}"
            raise ValueError(msg)
        return x.dims.index(axis)

    def beside(k: str, p: Any, x: Any) -> Any:
        """Return a parameter as it broadcasts to x, its groups or its singular values."""
        if not isinstance(p, xr.DataArray | xr.Variable):
            return p
        placed = matched(k, p, x)
        return p.data if "axis" not in operator.options or (k in operator.along and p.ndim == 1) else placed

    def matched(k: str, a: Any, x: Any) -> Any:
        """Return what is in an array in the dimensions of x, each of length 1 that it does not have."""
        a = xr.DataArray(a) if isinstance(a, xr.Variable) else a
        if any(dim not in x.dims for dim in a.dims):
            raise refused_shape(name, k, a.shape, x.shape, " of x")
        xr.align(x, a, join="exact", copy=False)
        kept = [dim for dim in x.dims if dim in a.dims]
        return a.transpose(*kept).data.reshape(tuple(a.sizes.get(dim, 1) for dim in x.dims))

    def restored(c: Any, p: Any) -> Any:
        if not isinstance(p, xr.DataArray | xr.Variable):
            return c
        array = p if isinstance(p, xr.DataArray) else xr.DataArray(p)
        kept = [n for n in c.shape if n != 1] if c.ndim != array.ndim else None
        c = c if kept is None else c.reshape(array.shape)
        return array.copy(data=c) if isinstance(p, xr.DataArray) else array.copy(data=c).variable

    def without_axes(x: Any, y: Any, options: dict[str, Any]) -> Any:
        layout = _structure.Layout(operator, options, x.shape)
        axes = layout.axes or (x.ndim - 2, x.ndim - 1)
        kept = [dim for k, dim in enumerate(x.dims) if k not in axes or (layout.groups is not None and k == max(axes))]
        gone = [dim for k, dim in enumerate(x.dims) if k in axes]
        coords = {k: v for k, v in x.coords.items() if not set(v.dims) & set(gone)}
        return xr.DataArray(y, coords, kept, name=x.name, attrs=x.attrs)

    return call


def bare(a: Any) -> Any:
    """Return an array without labels."""
    return a.variable if isinstance(a, xr.DataArray) else a
