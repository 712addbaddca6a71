"""pandas: columns re-enter at the front door; labels are aligned, and what is missing stays missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import _formula
from .._checks import broadcasts, refused_dtype, refused_mix, refused_out, refused_shape

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (pd.Series, pd.DataFrame)
DENSE = "x.to_numpy()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on series and frames, aligned as in pandas' own arithmetic."""
    operator, which = function.operator, function.which
    names = ("x", *operator.parameters, "g")

    def labelled(argument: str, a: Any, x: Any, dtype: Any = None) -> Any:
        """Return an array with the labels of x, to the shape of which it must broadcast."""
        a = np.asarray(a, dtype)
        if not broadcasts(a.shape, x.shape):
            raise refused_shape(operator.__name__, argument, a.shape, x.shape)
        labels = {"columns": x.columns} if isinstance(x, pd.DataFrame) else {"name": x.name}
        return type(x)(np.broadcast_to(a, x.shape), index=x.index, **labels)

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(operator.__name__, x)
        if not isinstance(x, ARRAYS):
            like = [a for a in (*params, g) if isinstance(a, ARRAYS)]
            x = labelled("x", x, like[0], _formula.weak_dtype(np, x, [e for a in like for e in empties(a)]))
        frame = isinstance(x, pd.DataFrame)
        given = (x, *params, g)
        for name, a in zip(names, given, strict=True):
            if isinstance(a, pd.DataFrame) and not frame:
                raise refused_mix(operator.__name__, name, a, x)
            if isinstance(a, pd.Series) and not pd.api.types.is_numeric_dtype(a.dtype):
                raise refused_dtype(operator.__name__, name, a.dtype)
        lists = (np.ndarray, list, tuple)
        x, *others = aligned(
            [labelled(k, a, x) if isinstance(a, lists) else a for k, a in zip(names, given, strict=True)]
        )
        columns = []
        for i in range(x.shape[1] if frame else 1):
            first, *rest, last = (column(a, i, frame) for a in (x, *others))
            columns.append(function.enter(first, tuple(rest), last))
        argument = given[which] if g is not None else x
        if isinstance(argument, float):
            return np.sum(columns, dtype=np.result_type(np.float32, *columns)).astype(np.result_type(*columns))
        if frame and isinstance(argument, pd.Series):
            return pd.Series(columns, x.columns, name=argument.name).reindex(argument.index)
        y = filled(x, columns)
        if isinstance(argument, ARRAYS):
            return relabelled(y, argument)
        return _formula.sum_to_shape(np, y.to_numpy(), np.shape(argument))

    return call


def empties(a: Any) -> list[Any]:
    """Return empty arrays of the dtypes of the columns, those that NumPy has."""
    dtypes = a.dtypes if isinstance(a, pd.DataFrame) else [a.dtype]
    plain = [getattr(dtype, "subtype", getattr(dtype, "numpy_dtype", dtype)) for dtype in dtypes]
    return [np.empty(0, dtype) for dtype in plain if isinstance(dtype, np.dtype)]


def aligned(arguments: list[Any]) -> list[Any]:
    """Return x and the others with all the labels that one of them has."""
    x, *others = arguments
    for a in others:
        if isinstance(a, ARRAYS):
            x, _ = x.align(a, axis=1 if type(a) is not type(x) else None)
    return [x, *(relabelled(a, x) if isinstance(a, ARRAYS) else a for a in others)]


def relabelled(a: Any, x: Any) -> Any:
    """Return a with the labels of x; a series beside a frame has one value for each column."""
    if isinstance(a, pd.DataFrame) and not a.columns.equals(x.columns):
        a = a.reindex(columns=x.columns)
    index = x.columns if isinstance(a, pd.Series) and isinstance(x, pd.DataFrame) else x.index
    return a if a.index.equals(index) else a.reindex(index)


def column(a: Any, i: int, frame: bool) -> Any:
    """Return what belongs to the i-th column as an array, masked if values can be missing; a number as it is."""
    if not isinstance(a, ARRAYS):
        return a
    one = frame and isinstance(a, pd.Series)
    a = a.iloc[:, i] if isinstance(a, pd.DataFrame) else a.iloc[i : i + 1] if one else a
    kind = getattr(a.dtype, "numpy_dtype", None)
    array = a.to_numpy() if kind is None else np.ma.MaskedArray(a.to_numpy(kind, na_value=0), a.isna().to_numpy())
    return array.reshape(()) if one else array


def filled(x: Any, columns: list[Any]) -> Any:
    """Return a series or frame like x of other columns, in arrays of the kind of those of x."""
    if isinstance(x, pd.DataFrame):
        parts = {i: filled(x.iloc[:, i], [y]) for i, y in enumerate(columns)}
        return x._constructor(pd.DataFrame(parts, x.index).set_axis(x.columns, axis=1)).__finalize__(x)
    (y,) = columns
    if isinstance(x.dtype, pd.SparseDtype):
        y = pd.arrays.SparseArray(y, fill_value=x.dtype.fill_value)
    elif isinstance(y, np.ma.MaskedArray) and isinstance(x.dtype, pd.ArrowDtype):
        import pyarrow as pa

        y = pd.arrays.ArrowExtensionArray(pa.array(y.data, mask=np.ma.getmaskarray(y)))
    elif isinstance(y, np.ma.MaskedArray):
        y = pd.arrays.FloatingArray(y.data, np.ma.getmaskarray(y))
    return x._constructor(y, index=x.index, name=x.name).__finalize__(x)
