"""The page of the operators that look at more than one element, as formulas in the functions of the array API.

A formula finds what it is about along the last axis of x; parameters have as many dimensions, and there one element, or
one for each group or element (`_structure`). Which elements belong together - the support of a projection, the pools of
sorted l1, the largest - is decided by comparisons and integers, and the value is then plain arithmetic of the elements:
libraries can differentiate that, in both modes and again. Only singular values must not be differentiated so.

Below each operator stand the cotangents of its arguments and the penalty of which it is the proximal map.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from . import _formula
from ._operators import softshrink
from ._structure import structured

# ---------------------------------------------------------------------------------------------------------------------
# Sign, phase and NaN


def _is_complex(xp: Any, x: Any) -> bool:
    return bool(xp.isdtype(x.dtype, "complex floating"))


def _phase(xp: Any, x: Any) -> Any:
    """Return x / abs(x); where x is real the sign, of zeros too."""
    if _is_complex(xp, x):
        return _formula._polar(xp, x)[1]
    one = xp.ones_like(x)
    return xp.where(xp.signbit(x), -one, one)


def _turned_back(xp: Any, phase: Any, g: Any) -> Any:
    """Return what of g is along x."""
    return xp.real(g * xp.conj(phase)) if _is_complex(xp, g) or _is_complex(xp, phase) else g * phase


def _moved(xp: Any, phase: Any, g: Any, radial: Any, ratio: Any) -> Any:
    """Return `radial` along x, and `ratio` times g across it."""
    if not _is_complex(xp, phase):
        return phase * radial
    turned = g * xp.conj(phase)
    return phase * (radial + (turned - xp.real(turned)) * ratio)


def _ratio(xp: Any, y: Any, a: Any) -> Any:
    return xp.where(a > 0, y / xp.where(a > 0, a, xp.ones_like(a)), xp.zeros_like(a))


def _count(xp: Any, condition: Any, dtype: Any) -> Any:
    return xp.sum(xp.astype(condition, dtype), axis=-1, keepdims=True)


def _tainted(xp: Any, y: Any, a: Any, *params: Any) -> Any:
    """Return y, NaN where something of the group or a parameter is."""
    bad = xp.any(xp.isnan(a), axis=-1, keepdims=True)
    for p in params:
        bad = bad | xp.isnan(p)
    return xp.where(bad, xp.full_like(y, xp.nan), y)


# ---------------------------------------------------------------------------------------------------------------------
# Groups


def _over(xp: Any, v: Any, groups: Any, reduce: str) -> Any:
    """Return the sums or maxima of groups, all of the last axis or as labelled."""
    if groups is None:
        return getattr(xp, reduce)(v, axis=-1, keepdims=True)
    device = getattr(v, "device", None)
    v = xp.take(v, xp.asarray(groups.order, device=device), axis=-1)
    for first, second in groups.halvings:
        v = xp.concat([v, xp.zeros_like(v[..., :1])], axis=-1)
        a, b = (xp.take(v, xp.asarray(at, device=device), axis=-1) for at in (first, second))
        v = a + b if reduce == "sum" else xp.where((a >= b) | xp.isnan(a), a, b)
    return v


def _spread(xp: Any, v: Any, groups: Any) -> Any:
    """Return for each element what there is for its group."""
    if groups is None:
        return v
    return xp.take(v, xp.asarray(groups.index, device=getattr(v, "device", None)), axis=-1)


def _norm(xp: Any, x: Any, groups: Any) -> tuple[Any, Any]:
    """Return the norms of groups times powers of two that keep their squares in range, and these."""
    parts = [xp.real(x), xp.imag(x)] if _is_complex(xp, x) else [x]
    down, up, low, high = (
        2.0**e for e in ((-700, 700, -300, 300) if xp.finfo(x.dtype).bits > 32 else (-88, 88, -40, 40))
    )
    sizes = [xp.abs(part) for part in parts]
    size = sizes[0] if len(sizes) == 1 else xp.where((sizes[0] >= sizes[1]) | xp.isnan(sizes[0]), *sizes)
    largest = _over(xp, xp.frozen(size), groups, "max")
    one = xp.ones_like(largest)
    scale = xp.where(largest > high, down * one, xp.where(largest < low, up * one, one))
    at = _spread(xp, scale, groups)
    squares = [(part * at) * (part * at) for part in parts]
    square = _over(xp, squares[0] if len(squares) == 1 else squares[0] + squares[1], groups, "sum")
    whole = square > 0
    norm = xp.where(whole, xp.sqrt(xp.where(whole, square, xp.ones_like(square))), square)
    return norm, scale


def _divisor(xp: Any, norm: Any) -> Any:
    """Return a norm as it may stand below a fraction."""
    return xp.where((norm > 0) & (norm < xp.inf), norm, xp.ones_like(norm))


def _factor(xp: Any, norm: Any, lambd: Any, scale: Any) -> Any:
    """Return max(1 - lambd / norm, 0)."""
    divisor = _divisor(xp, norm)
    factor = (divisor - xp.where(lambd < xp.inf, lambd * scale, xp.zeros_like(lambd))) / divisor
    zero, one = xp.zeros_like(factor), xp.ones_like(factor)
    factor = xp.where((norm <= lambd * scale) | (lambd == xp.inf), zero, factor)
    factor = xp.where((lambd == 0) | ((norm == xp.inf) & (lambd < xp.inf)), one, factor)
    return xp.where(xp.isnan(norm) | xp.isnan(lambd), xp.full_like(factor, xp.nan), factor)


@structured
def groupshrink(xp: ModuleType, x: Any, lambd: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    r"""
    Shrink groups by their norms, to zero at most: group soft thresholding.

    .. math:: y = x \max\Bigl(1 - \frac{\lambda}{\|x\|_2},\; 0\Bigr) \quad\text{in each group}

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against the norms of the groups, of which the
        shape is that of `x` with 1 for the axes (with `groups`, their number for the last of the axes). Where one of
        its elements is negative or NaN the group is NaN.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    groups : array of integers, optional
        Labels, one for each position along the axis (or, if that is a tuple, in the shape of `x` along it): positions
        of the same label are a group of their own, and the groups come in the order of the labels. Without it, all
        elements along the axis are one group.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or its shape does not fit, or there is no such axis.

    See Also
    --------
    sparsegroupshrink : Shrinks the elements as well.
    softshrink : The same with groups of one element.

    Notes
    -----
    The proximal map of :math:`\lambda \|x\|_2`, summed over groups: the group lasso, and joint or block thresholding.
    It is computed as :math:`x\,((n - \lambda) / n)`, so that nothing cancels, with norms that neither overflow nor
    underflow; NumPy arrays and tensors on the CPU take threads, within 0.5001 ulp in float32 and 0.51 ulp in
    float64 (1 ulp where the result is below 1e-290). A group with
    a norm of at most `lambd` becomes zeros with the signs of `x`, and its gradient is 0; with ``lambd = 0`` it is the
    identity. A group that holds infinity is kept as it is, its limit; one that holds NaN becomes NaN. Labels must be
    known, not traced; other libraries sum over them by halves, in as many steps as the largest group has bits.

    References
    ----------
    M. Yuan and Y. Lin, "Model selection and estimation in regression with grouped variables", Journal of the Royal
    Statistical Society B 68 (2006), doi:10.1111/j.1467-9868.2005.00532.x.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.groupshrink(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[2.4, 3.2],
           [0. , 0. ]])
    >>> shrinkops.groupshrink(np.array([3.0, 0.5, 4.0]), 1.0, groups=[0, 1, 0])
    array([2.4, 0. , 3.2])
    """
    y = xp.grouped(x, lambd, groups)
    if y is not None:
        return y
    norm, scale = _norm(xp, x, groups)
    factor = _spread(xp, _factor(xp, norm, lambd, scale), groups)
    y = xp.where((factor == 0) & ~(xp.abs(x) < xp.inf), xp.zeros_like(x), x) * factor
    return xp.where(factor == 1, x, y)  # infinity times 1 is NaN in part, where it is complex


@groupshrink.pulled_by
def _(xp: Any, g: Any, x: Any, lambd: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    norm, scale = _norm(xp, x, groups)
    factor = _factor(xp, norm, lambd, scale)
    moves = ~(factor == 0) & (norm > 0) & (norm < xp.inf) | xp.isnan(factor)
    inverse = xp.where(moves, scale / _divisor(xp, norm), xp.zeros_like(factor))
    steady = _spread(xp, inverse, groups)
    u = xp.where(steady == 0, xp.zeros_like(x), x) * steady
    along = _over(xp, xp.real(g * xp.conj(u)) if _is_complex(xp, x) else g * u, groups, "sum")
    pulled = xp.where(lambd < xp.inf, lambd, xp.zeros_like(lambd)) * inverse * along
    return g * _spread(xp, factor, groups) + u * _spread(xp, pulled, groups), -along


@groupshrink.penalty_of
def _(xp: Any, x: Any, lambd: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    norm, scale = _norm(xp, x, groups)
    return xp.where(norm == 0, norm, (norm / scale) * lambd)


@structured(elements=("l1",))
def sparsegroupshrink(xp: ModuleType, x: Any, l1: Any, l2: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    r"""
    Shrink elements, and then groups by what is left of them: the sparse group lasso.

    .. math:: y = \operatorname{groupshrink}(\operatorname{softshrink}(x, \lambda_1), \lambda_2)

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    l1 : number or array
        Threshold of the elements, at least 0, in the unit of `x`; an array broadcasts to `x`.
    l2 : number or array
        Threshold of the groups, at least 0, in the unit of `x`; an array broadcasts as that of `groupshrink`.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    groups : array of integers, optional
        Labels, as for `groupshrink`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If `l1` or `l2` is a negative number or NaN, or its shape does not fit, or there is no such axis.

    See Also
    --------
    groupshrink : The limit ``l1 = 0``.
    softshrink : The limit ``l2 = 0``.

    Notes
    -----
    The proximal map of :math:`\lambda_1 \|x\|_1 + \lambda_2 \|x\|_2`, summed over groups: the one of the sum is the
    one of the norm after the one of the elements. Zeros, infinities and NaN are those of the two operators.

    References
    ----------
    N. Simon, J. Friedman, T. Hastie and R. Tibshirani, "A sparse-group lasso", Journal of Computational and Graphical
    Statistics 22 (2013), doi:10.1080/10618600.2012.681250.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.sparsegroupshrink(np.array([[4.0, 5.0, 0.5], [0.5, 1.0, 1.5]]), 1.0, 1.0)
    array([[2.4, 3.2, 0. ],
           [0. , 0. , 0. ]])
    """
    return groupshrink.formula(xp, xp.elementwise(softshrink, x, l1), l2, axis=axis, groups=groups)


@sparsegroupshrink.pulled_by
def _(xp: Any, g: Any, x: Any, l1: Any, l2: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    soft = _formula.value(softshrink, xp, x, (l1,))
    g, along = groupshrink.pull(xp, g, soft, l2, axis=axis, groups=groups)
    return *(_formula.pull(softshrink, xp, k, g, x, (l1,)) for k in (0, 1)), along


@sparsegroupshrink.penalty_of
def _(xp: Any, x: Any, l1: Any, l2: Any, *, axis: Any = -1, groups: Any = None) -> Any:
    assert groupshrink.penalty_formula is not None
    elements = _over(xp, _formula.penalty(softshrink, xp, x, (l1,)), groups, "sum")
    return elements + groupshrink.penalty_formula(xp, x, l2, axis=axis, groups=groups)


# ---------------------------------------------------------------------------------------------------------------------
# Singular values


def _singular(xp: Any, x: Any) -> Any:
    """Return the singular value decomposition, of zeros where x is not finite, and whether it is."""
    finite = xp.all(xp.isfinite(x), axis=(-2, -1), keepdims=True)
    u, s, vh = xp.linalg.svd(xp.where(finite, x, xp.zeros_like(x)), full_matrices=False)
    return u, s, vh, finite


def _h(xp: Any, a: Any) -> Any:
    return xp.conj(xp.matrix_transpose(a)) if _is_complex(xp, a) else xp.matrix_transpose(a)


@structured(spectral=True)
def svdshrink(xp: ModuleType, x: Any, *params: Any, operator: Any = softshrink) -> Any:
    r"""
    Shrink the singular values of matrices: singular value thresholding.

    .. math:: y = U \operatorname{diag}(f(\sigma)) V^H \quad\text{where}\quad x = U \operatorname{diag}(\sigma) V^H

    Parameters
    ----------
    x : array of real or complex numbers
        Matrices, in the last two axes, tall or wide; all axes before them are those of a stack.
    *params : number or array
        The parameters of the operator, in the unit of `x`, by position or by name, with its defaults; arrays broadcast
        against the singular values, of which there are the smaller of the two lengths, in descending order along the
        last axis.
    operator : operator, default: softshrink
        Which elementwise operator :math:`f` shrinks the singular values; it must be odd.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, a parameter is no real number and no array, or `operator` is no operator.
    ValueError
        If `x` has less than two dimensions, a parameter is a number that the operator refuses, or the operator is not
        odd.

    See Also
    --------
    softshrink : What becomes of the singular values, and of the diagonal of a diagonal matrix.
    groupshrink : Shrinks rows or columns.

    Notes
    -----
    With `softshrink` the proximal map of the nuclear norm :math:`\lambda \sum \sigma_i`, with `hardshrink` of the rank.
    The derivative is that of a spectral function, in which singular vectors do not occur by themselves:

    .. math:: U \Bigl(\Gamma^- \circ \tfrac12 (M + M^H) + \Gamma^+ \circ \tfrac12 (M - M^H)\Bigr) V^H + \ldots,
        \quad \Gamma^\mp_{ij} = \frac{f(\sigma_i) \mp f(\sigma_j)}{\sigma_i \mp \sigma_j}, \quad M = U^H \dot x V

    with :math:`f'` where singular values are equal or zero: it is finite and right also where those of a matrix
    coincide or are zero, where differentiating the decomposition divides by zero. (Values nearer than the root of the
    machine precision are taken for equal.) Second derivatives differentiate the decomposition, and need singular
    values that differ and are not zero. Zeros have no sign here. A matrix that holds NaN or infinity becomes NaN.

    References
    ----------
    J.-F. Cai, E. J. Candes and Z. Shen, "A singular value thresholding algorithm for matrix completion", SIAM Journal
    on Optimization 20 (2010), doi:10.1137/080738970.

    A. S. Lewis and H. S. Sendov, "Nonsmooth analysis of singular values. Part I: theory", Set-Valued Analysis 13
    (2005), doi:10.1007/s11228-004-7197-7.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> x = np.array([[2.0, 0.0], [0.0, 0.25]])
    >>> print(shrinkops.svdshrink(x, 0.5))
    [[1.5 0. ]
     [0.  0. ]]
    >>> print(shrinkops.svdshrink(x, 0.125, operator=shrinkops.hardshrink))
    [[2.   0.  ]
     [0.   0.25]]
    """
    u, s, vh, finite = _singular(xp, x)
    f = _formula.value(operator, xp, s, params)
    y = (u * xp.astype(f, u.dtype, copy=False)[..., None, :]) @ vh
    return xp.where(finite, y, xp.full_like(y, xp.nan))


def _slope(xp: Any, g: Any, u: Any, s: Any, vh: Any, f: Any, d: Any) -> Any:
    """Return the derivative of the operator at u s vh in direction g; it is its own adjoint."""
    zero, one = xp.zeros_like(s), xp.ones_like(s)
    at, before = s[..., :, None], s[..., None, :]
    near = xp.abs(at - before) <= xp.finfo(s.dtype).eps ** 0.5 * (at + before)
    apart = xp.where(near, xp.ones_like(at - before), at - before)
    difference = (f[..., :, None] - f[..., None, :]) / apart
    difference = xp.where(near, (d[..., :, None] + d[..., None, :]) / 2, difference)
    whole = at + before > 0
    mean = (f[..., :, None] + f[..., None, :]) / xp.where(whole, at + before, xp.ones_like(at + before))
    mean = xp.where(whole, mean, d[..., :, None] + xp.zeros_like(mean))
    ratio = xp.where(s > 0, f / xp.where(s > 0, s, one), d + zero)
    difference, mean, ratio = (xp.astype(c, g.dtype, copy=False) for c in (difference, mean, ratio))
    v = _h(xp, vh)
    left, right = _h(xp, u) @ g, g @ v
    m = left @ v
    inside = (difference * (m + _h(xp, m)) + mean * (m - _h(xp, m))) / 2
    y = u @ inside @ vh
    y = y + ((right - u @ m) * ratio[..., None, :]) @ vh
    return y + u @ (ratio[..., :, None] * (left - m @ vh))


@svdshrink.pulled_by
def _(xp: Any, g: Any, x: Any, *params: Any, operator: Any = softshrink) -> Any:
    u, s, vh, finite = _singular(xp, x)
    f, d = _formula.value(operator, xp, s, params), _formula.pull(operator, xp, 0, None, s, params)
    first = _slope(xp, g, u, s, vh, f, d)
    along = xp.sum(xp.conj(u) * (g @ _h(xp, vh)), axis=-2)
    along = xp.real(along) if _is_complex(xp, along) else along
    rest = (_formula.pull(operator, xp, k + 1, along, s, params) for k in range(len(params)))
    bad = xp.where(finite, xp.zeros_like(xp.real(g) if _is_complex(xp, g) else g)[..., :1, :1], xp.nan)
    return first + bad, *(c + bad[..., 0] for c in rest)


@svdshrink.pushed_by
def _(xp: Any, tangents: Any, x: Any, *params: Any, operator: Any = softshrink) -> Any:
    u, s, vh, _ = _singular(xp, x)
    f, d = _formula.value(operator, xp, s, params), _formula.pull(operator, xp, 0, None, s, params)
    y = _slope(xp, tangents[0], u, s, vh, f, d)
    for k, t in enumerate(tangents[1:]):
        moved = _formula.pull(operator, xp, k + 1, t + xp.zeros_like(s), s, params, push=True)
        y = y + (u * xp.astype(moved, u.dtype, copy=False)[..., None, :]) @ vh
    return y


@svdshrink.penalty_of
def _(xp: Any, x: Any, *params: Any, operator: Any = softshrink) -> Any:
    _, s, _, finite = _singular(xp, x)
    if operator.penalty_formula is None:
        _ = operator.penalty  # says so
    y = xp.sum(_formula.penalty(operator, xp, s, params), axis=-1)
    return xp.where(finite[..., 0, 0], y, xp.full_like(y, xp.nan))


# ---------------------------------------------------------------------------------------------------------------------
# The largest


def _largest(xp: Any, x: Any, k: int) -> Any:
    """Return where the k largest magnitudes are, of equal ones the first."""
    a = xp.frozen(xp.abs(x))
    if k == 0:
        return xp.zeros_like(a) > 0
    threshold = xp.kth_largest(a, k)
    above, level = a > threshold, a == threshold
    wanted = k - xp.sum(xp.astype(above, xp.int64), axis=-1, keepdims=True)
    return above | (level & (xp.cumulative_sum(xp.astype(level, xp.int64), axis=-1) <= wanted))


@structured
def topkshrink(xp: ModuleType, x: Any, *, k: Any, axis: Any = -1) -> Any:
    r"""
    Keep the largest magnitudes and set the rest to zero.

    .. math::
        y_i = \begin{cases} x_i & |x_i| \text{ is among the } k \text{ largest} \\ 0 & \text{otherwise} \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    k : int
        How many to keep along the axis: at least 0, and at most its length.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or `k` or `axis` is no integer.
    ValueError
        If `k` is negative or more than there are elements, or there is no such axis.

    See Also
    --------
    hardshrink : Keeps what exceeds a threshold.
    l1ball : The convex relative.

    Notes
    -----
    The projection onto the vectors of at most `k` nonzeros, a proximal map of their indicator. Of equal magnitudes
    the first, in the order of the axis, are kept, whatever the library. They are found by selection, not by a full
    sort, where the library selects. The derivative is 1 where an element is kept. Infinities are the largest; with a
    NaN the whole group is NaN.

    References
    ----------
    T. Blumensath and M. E. Davies, "Iterative thresholding for sparse approximations", Journal of Fourier Analysis
    and Applications 14 (2008), doi:10.1007/s00041-008-9035-z.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.topkshrink(np.array([1.0, -3.0, 2.0, -2.0]), 2)
    array([ 0., -3.,  2., -0.])
    """
    zero = xp.zeros_like(x)
    if not _is_complex(xp, x):
        zero = xp.where(xp.signbit(x), -zero, zero)
    return _tainted(xp, xp.where(_largest(xp, x, k), x, zero), x)


@topkshrink.pulled_by
def _(xp: Any, g: Any, x: Any, *, k: Any, axis: Any = -1) -> Any:
    return (_tainted(xp, xp.where(_largest(xp, x, k), g, xp.zeros_like(g)), x),)


@topkshrink.penalty_of
def _(xp: Any, x: Any, *, k: Any, axis: Any = -1) -> Any:
    a = xp.abs(x)
    some = _count(xp, a != 0, a.dtype)
    return _tainted(xp, xp.where(some <= k, xp.zeros_like(some), xp.full_like(some, xp.inf)), a)


# ---------------------------------------------------------------------------------------------------------------------
# Balls


def _level(xp: Any, a: Any, total: Any) -> tuple[Any, Any, Any, Any]:
    """Return the level above which a sums up to the total: a below its maximum, the level there, the maximum, and
    what is above the level.
    """
    top = xp.max(xp.frozen(a), axis=-1, keepdims=True)
    unit, back = _unit(xp, total)  # of what is below the maximum by less the sums do not overflow
    a, total, top = a * unit, total * unit, top * unit
    whole = xp.abs(top) < xp.inf
    below = a - xp.where(whole, top, xp.zeros_like(top))
    zero = xp.zeros_like(below)
    below = xp.where(whole, below, xp.where(a == top, zero, zero - xp.inf))
    ordered = xp.sort(xp.frozen(below), axis=-1, descending=True)
    at = xp.arange(1, a.shape[-1] + 1, dtype=a.dtype, device=getattr(a, "device", None))
    longest = _count(xp, ordered * at > xp.cumulative_sum(ordered, axis=-1) - total, a.dtype)
    inside = at <= longest
    level = (xp.sum(xp.where(inside, ordered, zero), axis=-1, keepdims=True) - total) / _some(xp, longest)
    above = below > xp.frozen(level)
    count = _count(xp, above, a.dtype)
    level = (xp.sum(xp.where(above, below, zero), axis=-1, keepdims=True) - total) / _some(xp, count)
    level = xp.where(count == 0, xp.zeros_like(level), level)
    return below * back, level * back, top * back, above


def _unit(xp: Any, largest: Any) -> tuple[Any, Any]:
    """Return a power of two that brings large numbers to where their sums do not overflow, and its inverse."""
    one, bits = xp.ones_like(largest), 64 if xp.finfo(largest.dtype).bits > 32 else 32
    large = largest > xp.finfo(largest.dtype).max * 2.0 ** -(bits - 4)
    return xp.where(large, 2.0**-bits * one, one), xp.where(large, 2.0**bits * one, one)


def _some(xp: Any, count: Any) -> Any:
    return xp.where(count > 0, count, xp.ones_like(count))


def _mean(xp: Any, v: Any, above: Any) -> Any:
    count = _some(xp, _count(xp, above, v.dtype))
    return xp.sum(xp.where(above, v, xp.zeros_like(v)), axis=-1, keepdims=True) / count


def _short(xp: Any, total: Any, limit: Any) -> Any:
    """Whether a sum is at most a limit, but for rounding."""
    return total <= limit * (1 + xp.finfo(total.dtype).eps ** 0.5)


def _indicator(xp: Any, inside: Any, a: Any, *params: Any) -> Any:
    zero = xp.zeros_like(a[..., :1])
    return _tainted(xp, xp.where(inside, zero, zero + xp.inf), a, *params)


@structured
def linfshrink(xp: ModuleType, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    r"""
    Lower the largest magnitudes to one level: the proximal map of the maximum.

    .. math:: y = \operatorname{sign}(x) \min(|x|, \theta), \quad \sum_i \max(|x_i| - \theta, 0) = \lambda

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    lambd : number or array
        By how much the magnitudes are lowered together, at least 0, in the unit of `x`; an array broadcasts against
        the maxima, of which the shape is that of `x` with 1 for the axes. Where one of its elements is negative or
        NaN the group is NaN.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or its shape does not fit, or there is no such axis.

    See Also
    --------
    l1ball : The projection that this is what is left of, ``x - l1ball(x, lambd)``.
    groupshrink : The proximal map of the Euclidean norm.

    Notes
    -----
    The proximal map of :math:`\lambda \max |x_i|`. All is zero where the magnitudes sum up to at most `lambd`; with
    ``lambd = 0`` it is the identity. The level is found by sorting and computed as a mean of those above it, not by
    the difference of Moreau's identity, in which small results cancel; real NumPy arrays and tensors on the CPU find it
    by Newton's steps instead, in threads, within 0.5001 ulp in float32 and 0.51 ulp in float64. Real infinities stay
    (complex ones have no phase and become NaN); with a NaN the whole group is NaN.

    References
    ----------
    N. Parikh and S. Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1 (2014), section 6.5.2,
    doi:10.1561/2400000003.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.linfshrink(np.array([3.0, -2.0, 0.5]), 2.0)
    array([ 1.5, -1.5,  0.5])
    """
    y = xp.projected(x, lambd, signed=True, rest=True)
    if y is not None:
        return y
    a, phase = xp.abs(x), _phase(xp, x)
    _, level, top, above = _level(xp, a, lambd)
    level = level + top
    none = (level <= 0) | (lambd == xp.inf)
    y = xp.where(above, phase * xp.where(none, xp.zeros_like(level), level), x)
    y = xp.where(none, phase * xp.zeros_like(a), y)
    return _tainted(xp, y, x, lambd)


@linfshrink.pulled_by
def _(xp: Any, g: Any, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    a, phase = xp.abs(x), _phase(xp, x)
    _, level, top, above = _level(xp, a, lambd)
    level = level + top
    none = (level <= 0) & (lambd > 0)
    h = _turned_back(xp, phase, g)
    mean = _mean(xp, h, above)
    moved = _moved(xp, phase, g, mean + xp.zeros_like(h), _ratio(xp, level, a))
    first = xp.where(none, xp.zeros_like(g), xp.where(above, moved, g))
    return _tainted(xp, first, x, lambd), xp.where(none, xp.zeros_like(mean), -mean)


@linfshrink.penalty_of
def _(xp: Any, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    return xp.where(largest == 0, largest, lambd * largest)


@structured
def l1ball(xp: ModuleType, x: Any, radius: Any, *, axis: Any = -1) -> Any:
    r"""
    Project onto a ball of the l1 norm: soft thresholding by as much as it takes.

    .. math:: y = \operatorname{sign}(x) \max(|x| - \theta, 0), \quad \|y\|_1 = r \quad\text{where } \|x\|_1 > r

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    radius : number or array
        The largest sum of magnitudes :math:`r`, at least 0, in the unit of `x`; an array broadcasts against these sums,
        of which the shape is that of `x` with 1 for the axes. Where one of its elements is negative or NaN the group
        is NaN.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If `radius` is a negative number or NaN, or its shape does not fit, or there is no such axis.

    See Also
    --------
    simplex : The same of what is not negative.
    softshrink : Shrinks by a given threshold.
    linfshrink : What is left, ``x - l1ball(x, lambd)``.

    Notes
    -----
    The proximal map of the indicator of the ball, which ``penalty`` is: 0 within, infinity outside, to within the root
    of the machine precision relative to the radius. What is in the ball is returned as it is. An infinite element
    takes the whole radius; several share it. With a NaN the whole group is NaN. It is computed as `linfshrink` is, to
    within the same.

    References
    ----------
    J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, "Efficient projections onto the l1-ball for learning in high
    dimensions", ICML (2008), doi:10.1145/1390156.1390191.

    C. Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", Journal
    of Optimization Theory and Applications 50 (1986), doi:10.1007/BF00938486.

    L. Condat, "Fast projection onto the simplex and the l1 ball", Mathematical Programming 158 (2016),
    doi:10.1007/s10107-015-0946-6.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.l1ball(np.array([3.0, -2.0, 0.5]), 2.0)
    array([ 1.5, -0.5,  0. ])
    """
    y = xp.projected(x, radius, signed=True, rest=False)
    if y is not None:
        return y
    a, phase = xp.abs(x), _phase(xp, x)
    below, level, top, above = _level(xp, a, radius)
    y = phase * xp.where(above, below - level, xp.zeros_like(a))
    return _tainted(xp, xp.where(_within(xp, a, radius, level, top), x, y), x, radius)


def _within(xp: Any, a: Any, radius: Any, level: Any, top: Any) -> Any:
    """Whether magnitudes are in the ball."""
    return (xp.sum(a, axis=-1, keepdims=True) <= radius) | (level + top <= 0) & (radius > 0)


@l1ball.pulled_by
def _(xp: Any, g: Any, x: Any, radius: Any, *, axis: Any = -1) -> Any:
    a, phase = xp.abs(x), _phase(xp, x)
    below, level, top, above = _level(xp, a, radius)
    within = _within(xp, a, radius, level, top)
    h = _turned_back(xp, phase, g)
    mean, zero = _mean(xp, h, above), xp.zeros_like(h)
    ratio = _ratio(xp, xp.where(above, below - level, zero), a)
    moved = _moved(xp, phase, g, xp.where(above, h - mean, zero), ratio)
    return _tainted(xp, xp.where(within, g, moved), x, radius), xp.where(within, xp.zeros_like(mean), mean)


@l1ball.penalty_of
def _(xp: Any, x: Any, radius: Any, *, axis: Any = -1) -> Any:
    a = xp.abs(x)
    return _indicator(xp, _short(xp, xp.sum(a, axis=-1, keepdims=True), radius), a, radius)


@structured(real=True)
def simplex(xp: ModuleType, x: Any, total: Any, *, axis: Any = -1) -> Any:
    r"""
    Project onto a simplex: the nearest numbers that are not negative and have a given sum.

    .. math:: y = \max(x - \theta, 0), \quad \sum_i y_i = s

    Parameters
    ----------
    x : array of real numbers
        Values to project, of at least one dimension.
    total : number or array
        The sum :math:`s` of the result, at least 0, in the unit of `x`; an array broadcasts against the sums, of which
        the shape is that of `x` with 1 for the axes. Where one of its elements is negative or NaN the group is NaN.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers, or a parameter is no real number and no array.
    ValueError
        If `total` is a negative number or NaN, or its shape does not fit, or there is no such axis.

    See Also
    --------
    l1ball : The same of magnitudes.

    Notes
    -----
    The proximal map of the indicator of the simplex, which ``penalty`` is: 0 on it, infinity elsewhere, to within the
    root of the machine precision relative to the total. It is no shrinkage - where the sum is too small it raises - and
    adding a constant to `x` changes nothing. An infinite element takes the whole total; several share it. With a NaN
    the whole group is NaN. ``simplex(x, 1)`` is called sparsemax elsewhere. It is computed as `linfshrink` is, to
    within the same.

    References
    ----------
    J. Duchi, S. Shalev-Shwartz, Y. Singer and T. Chandra, "Efficient projections onto the l1-ball for learning in high
    dimensions", ICML (2008), doi:10.1145/1390156.1390191.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.simplex(np.array([0.75, 0.5, -1.0]), 1.0)
    array([0.625, 0.375, 0.   ])
    """
    y = xp.projected(x, total, signed=False, rest=False)
    if y is not None:
        return y
    below, level, _, above = _level(xp, x, total)
    return _tainted(xp, xp.where(above, below - level, xp.zeros_like(below)), x, total)


@simplex.pulled_by
def _(xp: Any, g: Any, x: Any, total: Any, *, axis: Any = -1) -> Any:
    _, _, _, above = _level(xp, x, total)
    mean = _mean(xp, g, above)
    return _tainted(xp, xp.where(above, g - mean, xp.zeros_like(g)), x, total), mean


@simplex.penalty_of
def _(xp: Any, x: Any, total: Any, *, axis: Any = -1) -> Any:
    sums = xp.sum(x, axis=-1, keepdims=True)
    near = _short(xp, sums, total) & _short(xp, total + xp.zeros_like(sums), sums)
    low = xp.min(x, axis=-1, keepdims=True) >= -total * xp.finfo(x.dtype).eps ** 0.5
    return _indicator(xp, near & low, x, total)


# ---------------------------------------------------------------------------------------------------------------------
# Sorted l1


def _refuse_weights(name: str, xp: Any, lambd: Any) -> None:
    """Refuse weights that increase, or are negative or NaN."""
    if not bool(xp.all(lambd >= 0)):
        msg = f"{name} requires lambd >= 0, got an array with a negative element or NaN"
        raise ValueError(msg)
    if not bool(xp.all(lambd[..., 1:] <= lambd[..., :-1])):
        msg = f"{name} requires that lambd does not increase, got an array that does"
        raise ValueError(msg)


def _regressed(xp: Any, x: Any, lambd: Any) -> Any:
    """Return magnitudes, where sorted ones come from and go, the pools, and the result in order."""
    a = xp.abs(x)
    infinite = xp.frozen(a) == xp.inf
    finite = xp.where(infinite, xp.zeros_like(a), a)
    highest = xp.max(xp.frozen(finite), axis=-1, keepdims=True)
    unit, back = _unit(xp, highest)
    finite, lambd, highest = finite * unit, lambd * unit, highest * unit
    # what is infinite stands above the others
    raised = xp.where(infinite, 2 * highest + 1 + 2 * xp.max(lambd, axis=-1, keepdims=True), finite)
    order = xp.argsort(xp.frozen(raised), axis=-1, descending=True, stable=True)
    there = xp.argsort(order, axis=-1, stable=True)
    left = xp.gathered(raised, order) - lambd
    pools = xp.pools(xp.frozen(left))
    return a, order, there, pools, xp.averaged(left, pools) * back


@structured(along=("lambd",), inspect_arrays=_refuse_weights)
def slopeshrink(xp: ModuleType, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    r"""
    Shrink the largest magnitudes most: the proximal map of sorted l1 (SLOPE, OWL).

    .. math::
        y = \arg\min_y \tfrac12 \|y - x\|^2 + \sum_i \lambda_i |y|_{(i)}, \quad |y|_{(1)} \ge |y|_{(2)} \ge \ldots

    Parameters
    ----------
    x : array of real or complex numbers
        Values to shrink, of at least one dimension.
    lambd : array or number
        Weights :math:`\lambda_1 \ge \lambda_2 \ge \ldots \ge 0`, in the unit of `x`, as many as `x` has elements along
        the axis; a number stands for that many.
    axis : int or tuple of int, default: -1
        Along which axes the elements belong together.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        The result, of the library, device, dtype and shape of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If a weight is negative or NaN, the weights increase, or their shape does not fit; where they are traced and
        cannot be looked at, negative ones give NaN. If there is no such axis.

    See Also
    --------
    softshrink : The same with equal weights.
    linfshrink : The same with the weights ``lambd, 0, 0, ...``.

    Notes
    -----
    Sorted magnitudes less the weights are made nonincreasing by isotonic regression and cut off at 0. NumPy pools
    adjacent violators, in time for the sorting; other libraries find the pools as the corners of a concave majorant,
    in memory for :math:`n^2` numbers along an axis of :math:`n`, and tensors on the CPU do so where a gradient is
    wanted. Real infinities stay (complex ones become NaN); with a NaN the whole group is NaN.

    References
    ----------
    M. Bogdan, E. van den Berg, C. Sabatti, W. Su and E. J. Candes, "SLOPE - adaptive variable selection via convex
    optimization", Annals of Applied Statistics 9 (2015), doi:10.1214/15-AOAS842.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.slopeshrink(np.array([3.0, -2.5, 0.5]), np.array([2.0, 1.0, 0.25]))
    array([ 1.25, -1.25,  0.25])
    """
    a, _, back, _, left = _regressed(xp, x, lambd)
    y = xp.gathered(xp.where(left > 0, left, xp.zeros_like(left)), back)
    y = _phase(xp, x) * y
    limit = xp.full_like(x, xp.nan) if _is_complex(xp, x) else x
    return _tainted(xp, xp.where(a == xp.inf, limit, y), x, _any_nan(xp, lambd))


def _any_nan(xp: Any, lambd: Any) -> Any:
    return xp.sum(xp.where(xp.isnan(lambd), lambd, xp.zeros_like(lambd)), axis=-1, keepdims=True)


@slopeshrink.pulled_by
def _(xp: Any, g: Any, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    a, order, back, pools, left = _regressed(xp, x, lambd)
    phase = _phase(xp, x)
    h = xp.gathered(_turned_back(xp, phase, g), order)
    zero = xp.zeros_like(h)
    keeps = (left > 0) | (lambd == 0) & (left == 0)
    mean = xp.where(keeps, xp.averaged(h, pools), zero)
    ratio = _ratio(xp, xp.gathered(xp.where(left > 0, left, zero), back), a)
    first = _moved(xp, phase, g, xp.gathered(mean, back), ratio)
    first = xp.where(a == xp.inf, g, first)
    return _tainted(xp, first, x, _any_nan(xp, lambd)), -mean


@slopeshrink.penalty_of
def _(xp: Any, x: Any, lambd: Any, *, axis: Any = -1) -> Any:
    ordered = xp.sort(xp.abs(x), axis=-1, descending=True)
    product = xp.where(ordered == 0, ordered, ordered * lambd)
    return xp.sum(product, axis=-1, keepdims=True)
