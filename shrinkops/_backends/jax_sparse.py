"""Sparse arrays of JAX, BCOO and BCSR: functions of the stored values, through which JAX differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.experimental.sparse import BCOO, BCSR, bcoo_update_layout

from . import NUMPY_TYPES, stored

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (BCOO, BCSR)
DENSE = "x.todense()"  # what it takes to look along an axis


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on sparse arrays."""
    return stored.bind(function, LIBRARY)


def tidy(x: Any) -> Any:
    """Return x without duplicates; where these cannot be counted there are places to spare, out of bounds."""
    if isinstance(x, BCSR) or x.unique_indices:
        return x
    return x.sum_duplicates(nse=None if known(x.indices) and known(x.data) else x.nse, remove_zeros=False)


def complete(x: Any) -> bool:
    """Whether x stores all of its elements, none of them out of bounds."""
    if x.data.size != x.size or isinstance(x, BCSR):
        return bool(x.data.size == x.size)
    bounds = jnp.asarray(x.shape[x.n_batch : x.n_batch + x.n_sparse])
    return known(x.indices) and bool((x.indices < bounds).all())


def known(a: Any) -> bool:
    """Whether an array can be inspected."""
    return not isinstance(a, jax.core.Tracer)


def refilled(x: Any, y: Any, filling: Any) -> Any:
    """Return x with other values."""
    inner = (y, x.indices, x.indptr) if isinstance(x, BCSR) else (y, x.indices)
    return type(x)(inner, shape=x.shape, indices_sorted=x.indices_sorted, unique_indices=x.unique_indices)


def added(n: int, zero: float, at: Any, y: Any) -> Any:
    """Return n numbers, to which values are added at positions."""
    return jnp.full(n, zero, jnp.promote_types(y.dtype, jnp.float32)).at[at].add(y).astype(y.dtype)


LIBRARY = stored.Sparse(
    xp=jnp,
    types=(*ARRAYS, jax.Array, jax.core.Tracer, *NUMPY_TYPES),
    holds=lambda x: isinstance(x, ARRAYS),
    tidy=tidy,
    values=lambda x: x.data,
    complete=complete,
    listed=lambda x: bcoo_update_layout(x.to_bcoo() if isinstance(x, BCSR) else x, n_batch=0, n_dense=0),
    where=lambda x: tuple(x.indices.T),
    refilled=refilled,
    alike=lambda y, x: y if type(y) is type(x) else BCSR.from_bcoo(y),
    dense=lambda a: a.todense() if isinstance(a, ARRAYS) else jnp.asarray(a),
    added=added,
    known=known,
)
