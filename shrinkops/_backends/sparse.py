"""sparse: functions of the stored values and of the fill value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import sparse

from . import NUMPY_TYPES, stored

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (sparse.SparseArray,)
DENSE = "x.todense()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on sparse arrays."""
    return stored.bind(function, LIBRARY)


def alike(y: Any, x: Any) -> Any:
    """Return y in the format of x, compressed along the same axes."""
    axes = {"compressed_axes": x.compressed_axes} if isinstance(x, sparse.GCXS) else {}
    return y if type(x) is type(y) else y.asformat(x.format, **axes)


LIBRARY = stored.Sparse(
    xp=np,
    types=(*ARRAYS, *NUMPY_TYPES),
    holds=lambda x: isinstance(x, ARRAYS),
    tidy=lambda x: x.asformat("coo"),
    values=lambda x: x.data,
    complete=lambda x: x.nnz == x.size,
    listed=lambda x: x,
    where=lambda x: tuple(x.coords.astype(np.int64)),
    refilled=lambda x, y, filling: sparse.COO(
        x.coords.copy(), y, x.shape, has_duplicates=False, sorted=True, fill_value=filling
    ),
    alike=alike,
    dense=lambda a: a.todense() if isinstance(a, ARRAYS) else np.asarray(a),
    added=stored.added,
    filling=lambda x: x.fill_value,
    fillings=True,
)
