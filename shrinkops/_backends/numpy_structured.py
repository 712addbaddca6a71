"""NumPy's arrays in the operators that look at more than one element: the formula, with kernels where it has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat.numpy as xp
import numpy as np

from .. import _formula, _structure
from .._checks import BFLOAT16, check_cotangent, check_out, is_real, refused_dtype, refused_mix
from .._kernels import groups as loops_over_groups
from . import VALUE
from .numpy import promoted

if TYPE_CHECKING:
    from .._dispatch import Operator
    from .._structure import Groups, Structured


def bind(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return the formula of a structured operator, with kernels where it looks for them."""
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        for a in (x, g, *params):
            if isinstance(a, np.ma.MaskedArray):
                raise _structure.refused_conversion(name, a, "filled()")
        if out is not None and not isinstance(out, np.ndarray):
            raise refused_mix(name, "out", out, x)
        given, x = x, promoted(operator, np.asarray(x))
        if g is not None:
            g = np.asarray(g)
            check_cotangent(name, g, x, x.shape)
        names = operator.names(options)
        arrays = tuple(p if type(p) is float else parameter(k, p) for k, p in zip(names, params, strict=True))
        if out is not None:
            check_out(out.shape, out.dtype.newbyteorder("="), x.shape, x.dtype.newbyteorder("="), out.flags.writeable)
        with np.errstate(all="ignore"):
            y = computed(x, arrays, options, g)
        if part == _structure.PULL:
            return tuple(c if np.ndim(c) else c[()] for c in y)
        if out is not None:
            out[...] = y
            return out
        return given.__array_wrap__(y) if isinstance(given, np.ndarray) and type(given) is not np.ndarray else y[()]

    def parameter(k: str, p: Any) -> Any:
        array = np.asarray(p)
        if not is_real(array.dtype):
            raise refused_dtype(name, k, array.dtype)
        return array.astype(np.float64) if array.dtype.kind in "iu" else array

    def computed(x: Any, params: tuple[Any, ...], options: dict[str, Any], g: Any) -> Any:
        x = x.astype(x.dtype.newbyteorder("="), copy=False)
        brain = x.dtype if x.dtype.kind not in "fc" and x.dtype.name == BFLOAT16 else None
        if brain is not None:  # NumPy's functions do not know it
            params = tuple(np.asarray(p, brain).astype(np.float32) for p in params)
            x = x.astype(np.float32)
        params = tuple(p if type(p) is float else p.astype(x.real.dtype) for p in params)
        if part != _structure.PULL:
            function = _structure.value if part == VALUE else _structure.penalty
            y = np.asarray(function(operator, TOOLS, x, params, options))
            return y if brain is None else y.astype(brain)
        first, *rest = _structure.pull(operator, TOOLS, g.astype(x.dtype), x, params, options)
        rest = [_formula.sum_to_shape(np, c, np.shape(p)) for c, p in zip(rest, params, strict=True)]
        return tuple(np.asarray(c) if brain is None else c.astype(brain) for c in (first, *rest))

    return call


def grouped(x: Any, lambd: Any, groups: Groups | None) -> Any:
    """Shrink groups along the last axis by their norms, in threads; None where there is no kernel for the dtype."""
    real = x.real.dtype
    if real not in (np.float32, np.float64):
        return None
    x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    order = None if groups is None or groups.sorted else groups.order
    x = x if order is None else np.take(x, order, axis=-1)
    twice = 1 if x.dtype.kind == "f" else 2
    y = np.empty_like(x)
    count = 1 if groups is None else groups.count
    if lambd.size > 1:
        lambd = np.broadcast_to(lambd, (*x.shape[:-1], count))
    lambd = np.ascontiguousarray(lambd, real.newbyteorder("=")).reshape(-1)
    rows, length = x.size // x.shape[-1], x.shape[-1] * twice
    flat, target = (a.view(real.newbyteorder("=")).reshape(rows, length) for a in (x, y))
    if groups is None:
        loops_over_groups.shrink(flat, lambd, target)
    else:
        loops_over_groups.shrink(flat, lambd, target, groups.offsets * twice)
    if order is not None:
        x[..., order] = y
        return x
    return y


def projected(x: Any, total: Any, signed: bool, rest: bool) -> Any:
    """Project onto simplices or balls along the last axis, in threads; None where there is no kernel for the dtype."""
    if x.dtype not in (np.float32, np.float64):
        return None
    x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    y = np.empty_like(x)
    if total.size > 1:
        total = np.broadcast_to(total, (*x.shape[:-1], 1))
    flat, target = (a.reshape(-1, x.shape[-1]) for a in (x, y))
    loops_over_groups.project(flat, np.ascontiguousarray(total, x.dtype).reshape(-1), target, signed, rest)
    return y


def elementwise(op: Operator, x: Any, *params: Any) -> Any:
    """Return an operator of elements at x, by its kernel."""
    return op.implementation(np.ndarray, x)(x, params, None)


def kth_largest(a: Any, k: int) -> Any:
    """Return the k-th largest number along the last axis, by selection."""
    n = a.shape[-1]
    return np.partition(a, n - k, axis=-1)[..., n - k : n - k + 1]


def pools(z: Any) -> Any:
    """Number the pools of the nonincreasing regression along the last axis."""
    rows = np.ascontiguousarray(z, np.float64).reshape(-1, z.shape[-1])
    found = np.empty(rows.shape, np.int64)
    loops_over_groups.pool(rows, found, np.empty_like(rows), np.empty_like(found))
    return found.reshape(z.shape)


def averaged(v: Any, pools: Any) -> Any:
    """Return the means over the pools, at each element of them."""
    rows = np.ascontiguousarray(v, np.float64).reshape(-1, v.shape[-1])
    means = np.empty_like(rows)
    loops_over_groups.average(rows, pools.reshape(rows.shape), means)
    return means.reshape(v.shape).astype(v.dtype)


TOOLS = _structure.Tools(
    xp,
    grouped=grouped,
    projected=projected,
    elementwise=elementwise,
    kth_largest=kth_largest,
    pools=pools,
    averaged=averaged,
)
