"""polars: series re-enter at the front door, null where they are null; expressions do so when they are evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .._checks import refused_dtype, refused_out, refused_shape
from . import is_array

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (pl.Series, pl.Expr)
DENSE = "x.to_numpy()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on series and expressions."""
    operator, which = function.operator, function.which
    name, names = operator.__name__, ("x", *operator.parameters, "g")

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        arguments = (x, *params, g)
        if any(isinstance(a, pl.Expr) for a in arguments):
            return lazily(arguments)
        found = next(a for a in arguments if isinstance(a, pl.Series))
        for argument, a in zip(names, arguments, strict=True):
            if not isinstance(a, pl.Series) and np.ndim(a) > 1:
                raise refused_shape(name, argument, np.shape(a), found.shape, " of x")
        first, *rest, last = (array(argument, a) for argument, a in zip(names, arguments, strict=True))
        y = function.enter(first, tuple(rest), last)
        like = arguments[which] if g is not None else x if isinstance(x, pl.Series) else found
        return series(like.name, y) if isinstance(like, pl.Series) else y

    def lazily(arguments: tuple[Any, ...]) -> Any:
        """Return an expression that calls when it is evaluated: in pieces, where it sums nothing."""
        columns = {
            k: a if isinstance(a, pl.Expr) else pl.lit(pl.Series(a)) for k, a in enumerate(arguments) if is_array(a)
        }

        def evaluate(found: Any) -> Any:
            given = dict(zip(columns, found, strict=True))
            x, *params, g = (given.get(k, a) for k, a in enumerate(arguments))
            return call(x, tuple(params), None, g)

        pulls = arguments[-1] is not None
        return pl.map_batches(
            list(columns.values()), evaluate, is_elementwise=not pulls, returns_scalar=pulls and which not in columns
        )

    def array(argument: str, a: Any) -> Any:
        """Return a series as an array, masked where it has nulls; what is none as it is."""
        if not isinstance(a, pl.Series):
            return a
        if a.dtype == pl.Boolean or not a.dtype.is_numeric():
            raise refused_dtype(name, argument, np.dtype(bool) if a.dtype == pl.Boolean else a.dtype)
        a = a if a.dtype.is_float() else a.cast(pl.Float64)
        return np.ma.MaskedArray(a.fill_null(0).to_numpy(), a.is_null().to_numpy()) if a.null_count() else a.to_numpy()

    return call


def series(name: str, y: Any) -> Any:
    """Return an array as a series, null where it is masked."""
    s = pl.Series(name, np.asarray(y))
    return s.set(pl.Series(np.ma.getmaskarray(y)), None) if isinstance(y, np.ma.MaskedArray) else s
