"""What surrounds every formula of the page: precision, sign and phase, and NaN outside the domain of the parameters.

A formula is called with the namespace of the arrays, a = abs(x) and the parameters, or with x itself if the operator is
not odd; here x may have any sign, any numeric dtype, and be complex. Whatever runs a formula - the fallback for an
array library, its compiler, its automatic differentiation - calls these functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._checks import dtype_name, refused_dtype

if TYPE_CHECKING:
    from ._dispatch import Operator

FLOATING = re.compile(r"b?float\d+")  # names of dtypes; those of eight bits and less say how they divide them


def promoted(op: Operator, xp: ModuleType, x: Any, default: Any) -> Any:
    """Return x as floating-point numbers, integers in the default dtype of the library."""
    if xp.isdtype(x.dtype, "complex floating") and not op.odd:
        raise refused_dtype(op.__name__, "x", x.dtype, or_complex=False)
    if xp.isdtype(x.dtype, ("real floating", "complex floating")):
        return x
    if xp.isdtype(x.dtype, "integral"):
        return xp.astype(x, default)
    raise refused_dtype(op.__name__, "x", x.dtype)


def weak_dtype(xp: Any, x: Any, params: Sequence[Any]) -> Any:
    """
    Return the dtype that arrays of parameters give a number of Python's, as in arithmetic.

    None for what is no such number, and where the arrays have no floating-point dtype that goes with all.
    """
    if type(x) not in (int, float, complex):
        return None
    dtypes = [p.dtype for p in params if hasattr(p, "dtype") and FLOATING.fullmatch(dtype_name(p.dtype).lower())]
    try:
        dtype = xp.result_type(*dtypes) if dtypes else None
    except TypeError:
        return None
    return xp.result_type(dtype, xp.complex64) if dtype is not None and type(x) is complex else dtype


def value(op: Operator, xp: ModuleType, x: Any, params: tuple[Any, ...]) -> Any:
    """Return the operator at x."""
    wide, params = _prepared(xp, x, params)
    if not op.odd:
        y = op.formula_at(xp, wide, *params)
    elif not xp.isdtype(x.dtype, "complex floating"):
        y = xp.copysign(op.formula_at(xp, xp.abs(wide), *params), wide)
    elif op.analytic:
        y = op.formula_at(xp, wide, *params)
    else:
        a, phase = _polar(xp, wide)
        y = xp.where(a < xp.inf, op.formula_at(xp, a, *params) * phase, wide)
    return xp.astype(_in_domain(op, xp, y, params), x.dtype, copy=False)


def pull(op: Operator, xp: ModuleType, which: int, g: Any, x: Any, params: tuple[Any, ...], push: bool = False) -> Any:
    """
    Return g times the derivative with respect to x (which = 0) or to a parameter, element by element.

    g is a cotangent of the result, or with push a tangent of the argument; these differ where x is complex. Without g
    it is the derivative.
    """
    push = push or g is None
    wide, params = _prepared(xp, x, params)
    g = 1 if g is None else _widened(xp, g)
    if not xp.isdtype(x.dtype, "complex floating"):
        d = op.partials(xp, xp.abs(wide) if op.odd else wide, *params)[which]
        if which and op.odd:
            d = xp.where(wide < 0, -d, d)
        y = g * xp.where(xp.isnan(wide), wide, d)
        dtype = x.dtype
    elif op.analytic:
        d = op.partials(xp, wide, *params)[which]
        y, dtype = g * (d if push else xp.conj(d)), x.dtype
    else:
        # y = f(a) e^(i t) moves by f'(a) along the phase, and by f(a) / a across it.
        a, phase = _polar(xp, wide)
        d = op.partials(xp, a, *params)[which]
        if which:
            y = g * d * phase if push else xp.real(g * xp.conj(phase)) * d
            dtype = x.dtype if push else xp.real(x).dtype
        else:
            turned = g * xp.conj(phase)
            along = xp.real(turned)
            ratio = xp.where(a > 0, op.formula_at(xp, a, *params) / xp.where(a > 0, a, xp.ones_like(a)), d)
            y, dtype = (along * d + (turned - along) * ratio) * phase, x.dtype
    return xp.astype(_in_domain(op, xp, y, params), dtype, copy=False)


def penalty(op: Operator, xp: ModuleType, x: Any, params: tuple[Any, ...]) -> Any:
    """Return the penalty at x, of which the operator is the proximal map."""
    wide, params = _prepared(xp, x, params)
    a = xp.abs(wide) if op.odd else wide
    y = op.penalty_formula(xp, a, *params)
    y = _in_domain(op, xp, xp.where(a == 0, xp.zeros_like(y), y), params)
    y = xp.where(xp.isnan(a), a, y)
    return xp.astype(y, xp.real(x).dtype if xp.isdtype(x.dtype, "complex floating") else x.dtype, copy=False)


def sum_to_shape(xp: ModuleType, a: Any, shape: tuple[int, ...]) -> Any:
    """Sum an array, in at least single precision, over the axes along which the shape was broadcast to its own."""
    extra = a.ndim - len(shape)
    axes = tuple(i for i in range(a.ndim) if i < extra or (shape[i - extra] == 1 and a.shape[i] != 1))
    if not axes:
        return a
    wide = xp.float32 if str(a.dtype).endswith("float16") else a.dtype
    return xp.astype(xp.reshape(xp.sum(a, axis=axes, dtype=wide), shape), a.dtype, copy=False)


def _widened(xp: ModuleType, x: Any) -> Any:
    """Return x in at least single precision."""
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def _prepared(xp: ModuleType, x: Any, params: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return x in at least single precision, and the parameters rounded to the precision of x, then as wide."""
    dtype = x.dtype
    real = xp.real(x).dtype if xp.isdtype(dtype, "complex floating") else dtype
    wide = xp.float32 if xp.finfo(real).bits < 32 else real
    device = getattr(x, "device", None)
    cast = []
    for p in params:
        number = isinstance(p, float)
        p = xp.asarray(p, dtype=real, device=device) if number else xp.astype(p, real, copy=False)
        cast.append(p if wide is real else xp.astype(p, wide, copy=False))
    return _widened(xp, x), tuple(cast)


def _polar(xp: ModuleType, x: Any) -> tuple[Any, Any]:
    """Return the magnitude of complex x and x / abs(x), which is x where that is not to be had."""
    a = xp.abs(x)
    whole = (a > 0) & (a < xp.inf)
    # Subnormal magnitudes have no reciprocal, which is what libraries divide by.
    up = xp.where(a < xp.finfo(a.dtype).smallest_normal * 2.0**30, 2.0**80 * xp.ones_like(a), xp.ones_like(a))
    return a, xp.where(whole, x * up, x) / xp.where(whole, a * up, xp.ones_like(a))


def _in_domain(op: Operator, xp: ModuleType, y: Any, params: tuple[Any, ...]) -> Any:
    """Return y, NaN where the parameters do not meet the requirements of the operator."""
    for requirement in op.requirements:
        y = xp.where(requirement.holds(*requirement.among(params)), y, xp.full_like(y, xp.nan))
    return y
