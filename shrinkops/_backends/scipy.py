"""scipy.sparse: functions of the stored values, in every format, of arrays and of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from . import NUMPY_TYPES, stored

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (sp.sparray, sp.spmatrix)
DENSE = "x.toarray()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on sparse arrays and matrices."""
    return stored.bind(function, LIBRARY)


def tidy(x: Any) -> Any:
    """Return x without duplicates, and with its values in an array, all of which are in it."""
    if x.format in ("lil", "dok", "dia"):
        x = x.tocoo()
    if not getattr(x, "has_canonical_format", True):
        x = x.copy()
        x.sum_duplicates()
    return x


def refilled(x: Any, y: Any, filling: Any) -> Any:
    """Return x with other values."""
    x = x.copy()
    x.data = y
    return x


def alike(y: Any, x: Any) -> Any:
    """Return y in the format of x, with blocks as large."""
    return y if y.format == x.format else y.tobsr(x.blocksize) if x.format == "bsr" else y.asformat(x.format)


LIBRARY = stored.Sparse(
    xp=np,
    types=(*ARRAYS, *NUMPY_TYPES),
    holds=lambda x: isinstance(x, ARRAYS),
    tidy=tidy,
    values=lambda x: x.data,
    complete=lambda x: x.nnz == math.prod(x.shape),
    listed=lambda x: x.tocoo(copy=False),
    where=lambda x: tuple(along.astype(np.int64) for along in x.coords),
    refilled=refilled,
    alike=alike,
    dense=lambda a: a.toarray() if isinstance(a, ARRAYS) else np.asarray(a),
    added=stored.added,
)
