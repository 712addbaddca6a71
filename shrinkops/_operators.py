"""The page: every operator, as a formula in the functions of the array API.

A formula gives the operator at a = abs(x) >= 0. That is enough: all operators are odd, and complex x is shrunk in
magnitude (tanhshrink, which is analytic, meets complex x itself). What surrounds it - sign and phase, precision, NaN
for parameters outside their domain - is in `_formula`, the choice of array library in `_dispatch`, and the same
operators as scalar formulas, for the kernels, in `_kernels/operators.pxd`.

Below each operator stand its derivatives with respect to a and to each parameter, and the penalty of which it is the
proximal map, where that has a closed form. Both branches of a `where` are finite where the other is taken, so that
libraries can differentiate them again.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ._dispatch import operator
from ._nonconvex import cauchy, cauchy_slopes, log, lp
from ._pairs import halves, less_than_product, product_minus


def _lambert(s: Any) -> Any:
    """
    1 - tanh(a) / a of s = a**2 below 2: Lambert's s / (3 + s + s / (5 + s / (7 + ... s / 21))).

    From 5 on the continued fraction is evaluated as one quotient, whose rounding errors hardly matter.
    """
    above = (((s + 1950.0) * s + 546975.0) * s + 43648605.0) * s + 916620705.0
    below = (((65.0 * s + 42900.0) * s + 6891885.0) * s + 349188840.0) * s + 4583103525.0
    return s / ((3 + s * (above / below)) + s)


@operator(analytic=True)
def tanhshrink(xp: ModuleType, x: Any) -> Any:
    r"""
    Subtract the hyperbolic tangent: a smooth attractor to zero.

    .. math:: y = x - \tanh x

    Small values are shrunk cubically, :math:`y \approx x^3 / 3`; large ones lose 1.

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, shape, device and dtype of `x`; integers become the library's default
        floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers.

    See Also
    --------
    softshrink : Shrinks by a constant, not smooth.

    Notes
    -----
    The derivative is :math:`\tanh^2 x`. Computed as written, :math:`x - \tanh x` loses every digit near zero; here
    results are the nearest floating-point numbers in float16, bfloat16 and float32, and within 1 ulp in float64.
    There is no penalty in closed form. Complex `x` is not shrunk in magnitude: the function is analytic. This is
    ``torch.nn.functional.tanhshrink`` and ``keras.ops.tanh_shrink``.

    References
    ----------
    J. H. Lambert, "Mémoire sur quelques propriétés remarquables des quantités transcendentes circulaires et
    logarithmiques", Histoire de l'Académie royale des sciences et belles-lettres, Berlin, 1761 (the continued
    fraction of tanh).

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.tanhshrink(np.array([-2.0, 0.0, 1e-5, 3.0]))
    array([-1.03597242e+00,  0.00000000e+00,  3.33333333e-16,  2.00494525e+00])
    """
    if xp.isdtype(x.dtype, "complex floating"):
        small = xp.abs(x) < 1
        z = xp.where(small, x, xp.zeros_like(x))
        return xp.where(small, x * _lambert(z * z), x - xp.tanh(x))
    small = x < 1.375
    b = xp.where(small, x, xp.ones_like(x))
    e = xp.exp(2 * xp.where(x < 20, x, xp.full_like(x, 20.0)))
    return xp.where(small, b * _lambert(b * b), (x - 1) + 2 / (e + 1))


@tanhshrink.derivatives
def _(xp: ModuleType, x: Any) -> Any:
    if xp.isdtype(x.dtype, "complex floating"):
        t = xp.tanh(x)
        return (t * t,)
    small = x < 1.375
    b = xp.where(small, x, xp.ones_like(x))
    r = b - b * _lambert(b * b)
    u = 2 / (xp.exp(2 * xp.where(x < 20, x, xp.full_like(x, 20.0))) + 1)
    return (xp.where(small, r * r, 1 - u * (2 - u)),)


@operator
def softshrink(xp: ModuleType, x: Any, lambd: Any = 0.5) -> Any:
    r"""
    Shrink by a constant, to zero at most: soft thresholding.

    .. math:: y = \operatorname{sign}(x) \max(|x| - \lambda, 0)

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array, default: 0.5
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x` and `lambd` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or `lambd` is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or `out` has another shape.

    See Also
    --------
    hardshrink : Leaves what it does not remove.
    firmshrink : Between the two.

    Notes
    -----
    The proximal map of :math:`\lambda |x|`, and as such the heart of the lasso and of ISTA. At
    :math:`|x| = \lambda` the value and the derivative are 0; with :math:`\lambda = 0` it is the identity. Called
    ``torch.nn.functional.softshrink``, ``keras.ops.soft_shrink`` and ``pywt.threshold(mode="soft")`` elsewhere.

    References
    ----------
    D. L. Donoho, "De-noising by soft-thresholding", IEEE Transactions on Information Theory 41 (1995),
    doi:10.1109/18.382009.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.softshrink(np.array([-2.0, -0.25, 0.5, 1.0]))
    array([-1.5, -0. ,  0. ,  0.5])
    >>> shrinkops.softshrink(np.array([3 + 4j]), 1.0)
    array([2.4+3.2j])
    """
    return xp.where(x <= lambd, xp.zeros_like(x), x - lambd)


@softshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    beyond = xp.where(x > lambd, xp.ones_like(x), xp.zeros_like(x))
    return xp.where(lambd == 0, xp.ones_like(beyond), beyond), -beyond


def _weighted(xp: ModuleType, weight: Any, y: Any) -> Any:
    """Return weight times y, and 0 without a weight."""
    return xp.where(weight == 0, xp.zeros_like(weight * y), weight * y)


@softshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    return _weighted(xp, lambd, x)


@operator
def hardshrink(xp: ModuleType, x: Any, lambd: Any = 0.5) -> Any:
    r"""
    Keep what exceeds a threshold and set the rest to zero: hard thresholding.

    .. math:: y = \begin{cases} x & |x| > \lambda \\ 0 & \text{otherwise} \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are compared in magnitude.
    lambd : number or array, default: 0.5
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x` and `lambd` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or `lambd` is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or `out` has another shape.

    See Also
    --------
    softshrink : Continuous, at the price of a bias.
    firmshrink : Between the two.

    Notes
    -----
    A proximal map of the penalty :math:`\lambda^2 / 2` where :math:`x \ne 0`, which is :math:`\ell_0`. At
    :math:`|x| = \lambda` the value and the derivative are 0 (PyWavelets keeps `x` there); the derivative with respect
    to the threshold is 0 everywhere. With :math:`\lambda = 0` it is the identity. Called
    ``torch.nn.functional.hardshrink``, ``keras.ops.hard_shrink`` and ``pywt.threshold(mode="hard")`` elsewhere.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994),
    doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.hardshrink(np.array([-2.0, -0.25, 0.5, 1.0]))
    array([-2., -0.,  0.,  1.])
    """
    return xp.where(x <= lambd, xp.zeros_like(x), x)


@hardshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    beyond = xp.where(x > lambd, xp.ones_like(x), xp.zeros_like(x))
    return xp.where(lambd == 0, xp.ones_like(beyond), beyond), xp.zeros_like(beyond)


@hardshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    return xp.where(x == 0, xp.zeros_like(x), lambd * (lambd / 2) + xp.zeros_like(x))


@operator(requires={"low <= high": lambda low, high: low <= high})
def firmshrink(xp: ModuleType, x: Any, low: Any, high: Any) -> Any:
    r"""
    Remove what is below one threshold and keep what is above another: firm thresholding.

    .. math::
        y = \begin{cases}
            0 & |x| \le l \\
            \operatorname{sign}(x)\, \dfrac{h\, (|x| - l)}{h - l} & l < |x| < h \\
            x & |x| \ge h
        \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    low, high : number or array
        The two thresholds :math:`0 \le l \le h`, in the unit of `x`; arrays broadcast against `x`, and where their
        elements are out of order, negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `low` and `high` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a threshold is no real number and no array.
    ValueError
        If the thresholds are numbers and ``0 <= low <= high`` does not hold, or `out` has another shape.

    See Also
    --------
    softshrink : The limit ``high = inf``.
    hardshrink : The limit ``low = high``.

    Notes
    -----
    The proximal map of the minimax concave penalty (MCP) with :math:`\lambda = l` and :math:`\gamma = h / l`. The
    derivative is 0 up to `low`, :math:`h / (h - l)` between the thresholds and 1 from `high` on; ``low = 0`` is the
    identity. Called ``pywt.threshold_firm`` elsewhere.

    References
    ----------
    H.-Y. Gao and A. G. Bruce, "WaveShrink with firm shrinkage", Statistica Sinica 7 (1997), pages 855 to 874.

    C.-H. Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38 (2010),
    doi:10.1214/09-AOS729.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.firmshrink(np.array([-2.0, -0.75, 0.5, 1.0]), 0.5, 1.5)
    array([-2.   , -0.375,  0.   ,  0.75 ])
    """
    slope = _firm_slope(xp, low, high)
    y = xp.where(x < high, slope * (x - low), x)
    return xp.where(x <= low, xp.zeros_like(y), y)


def _firm_slope(xp: ModuleType, low: Any, high: Any) -> Any:
    width = xp.where(low < high, high - low, xp.ones_like(high - low))
    return xp.where(high == xp.inf, xp.ones_like(width), high / xp.where(high == xp.inf, xp.ones_like(width), width))


@firmshrink.derivatives
def _(xp: ModuleType, x: Any, low: Any, high: Any) -> Any:
    slope = _firm_slope(xp, low, high) + xp.zeros_like(x)
    between = (x > low) & (x < high)
    finite = between & (high < xp.inf)
    one, zero = xp.ones_like(slope), xp.zeros_like(slope)
    h, l = xp.where(finite, high, 2 * one), xp.where(finite, low, one)
    dx = xp.where(between, slope, xp.where((x > low) | (low == 0), one, zero))
    dlow = xp.where(finite, slope * ((h - x) / (h - l)), xp.where(between, one, zero))
    dhigh = xp.where(finite, (l / (h - l)) * ((x - l) / (h - l)), zero)
    return dx, -dlow, -dhigh


@firmshrink.penalty_of
def _(xp: ModuleType, x: Any, low: Any, high: Any) -> Any:
    a = xp.where(x < high, x, high + xp.zeros_like(x))
    quadratic = xp.where(
        (high == 0) | (high == xp.inf), xp.zeros_like(a), a / xp.where(high > 0, high, xp.ones_like(a))
    )
    return xp.where(low == 0, xp.zeros_like(a), low * a * (1 - quadratic / 2))


@operator
def garroteshrink(xp: ModuleType, x: Any, lambd: Any) -> Any:
    r"""
    Shrink large values less than small ones: the non-negative garrote.

    .. math:: y = \begin{cases} x - \lambda^2 / x & |x| > \lambda \\ 0 & \text{otherwise} \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x` and `lambd` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or `lambd` is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or `out` has another shape.

    See Also
    --------
    softshrink : The same near the threshold, but biased by it everywhere.
    firmshrink : Unbiased from a second threshold on.

    Notes
    -----
    The proximal map of :math:`\bigl(a \sqrt{a^2 + 4 \lambda^2} - a^2\bigr) / 4 + \lambda^2
    \operatorname{arsinh}(a / 2 \lambda)` with :math:`a = |x|` and :math:`\lambda` the threshold. The
    formula is :math:`d + d\, (\lambda / a)` with :math:`d = a - \lambda`, where nothing cancels and nothing overflows.
    At :math:`|x| = \lambda` the value and the derivative are 0; with :math:`\lambda = 0` it is the identity. Called
    ``pywt.threshold(mode="garrote")`` elsewhere.

    References
    ----------
    L. Breiman, "Better subset regression using the nonnegative garrote", Technometrics 37 (1995),
    doi:10.1080/00401706.1995.10484371.

    H.-Y. Gao, "Wavelet shrinkage denoising using the non-negative garrote", Journal of Computational and Graphical
    Statistics 7 (1998), doi:10.1080/10618600.1998.10474789.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.garroteshrink(np.array([-2.0, -0.25, 0.5, 1.0]), 0.5)
    array([-1.875, -0.   ,  0.   ,  0.75 ])
    """
    finite = x < xp.inf
    d = xp.where(finite, x, xp.zeros_like(x)) - xp.where(lambd < xp.inf, lambd, xp.zeros_like(lambd))
    y = xp.where(finite, d + d * _garrote_ratio(xp, x, lambd), x)
    return xp.where(x <= lambd, xp.zeros_like(y), y)


def _garrote_ratio(xp: ModuleType, x: Any, lambd: Any) -> Any:
    beyond = x > lambd
    return xp.where(beyond, lambd + xp.zeros_like(x), xp.zeros_like(x)) / xp.where(beyond, x, xp.ones_like(x))


@garroteshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    r = _garrote_ratio(xp, x, lambd)
    return xp.where((x > lambd) | (lambd == 0), 1 + r * r, xp.zeros_like(r)), -2 * r


@garroteshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    positive = lambd > 0
    l = xp.where(positive, lambd, xp.ones_like(lambd))
    b = x / l
    # (b sqrt(b^2 + 4) - b^2) / 4 without the cancellation of large b
    root = xp.where(
        b > 0, 1 / (xp.hypot(xp.ones_like(b), 2 / xp.where(b > 0, b, xp.ones_like(b))) + 1), xp.zeros_like(b)
    )
    return _of_square(xp, x, lambd, b, root + xp.asinh(b / 2))


def _of_square(xp: ModuleType, x: Any, lambd: Any, b: Any, y: Any) -> Any:
    """Return lambd^2 y, where y is b = x / lambd if that is small: lambd x."""
    small = b < xp.finfo(b.dtype).eps / 8
    return _weighted(xp, lambd, xp.where(small, x + xp.zeros_like(b), lambd * y))


@operator(requires={"a > 2": lambda a: a > 2})
def scadshrink(xp: ModuleType, x: Any, lambd: Any, a: Any = 3.7) -> Any:
    r"""
    Shrink small values softly, large ones not at all: smoothly clipped absolute deviation (SCAD).

    .. math::
        y = \begin{cases}
            \operatorname{sign}(x) \max(|x| - \lambda, 0) & |x| \le 2 \lambda \\
            \operatorname{sign}(x)\, \dfrac{(a - 1) |x| - a \lambda}{a - 2} & 2 \lambda < |x| < a \lambda \\
            x & |x| \ge a \lambda
        \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.

    a : number or array, default: 3.7
        Where shrinkage ends, in units of the threshold; greater than 2, without a unit.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `a` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    softshrink : The limit ``a = inf``.
    mcpshrink : Begins to relax the penalty at the threshold, not at twice the threshold.

    Notes
    -----
    The proximal map of the SCAD penalty, :math:`\lambda |y|` up to :math:`\lambda`, :math:`(2 a \lambda |y| - y^2 -
    \lambda^2) / 2 (a - 1)` up to :math:`a \lambda` and :math:`\lambda^2 (a + 1) / 2` from there on, with step 1. Its
    minimiser is unique for :math:`a > 2`; at and below 2 the operator would jump, and the parameter is refused. The
    formula is :math:`(|x| - \lambda) + (|x| - 2 \lambda) / (a - 2)`, where nothing cancels. With ``lambd = 0`` it is
    the identity.

    References
    ----------
    J. Fan and R. Li, "Variable selection via nonconcave penalized likelihood and its oracle properties", Journal of the
    American Statistical Association 96 (2001), doi:10.1198/016214501753382273.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.scadshrink(np.array([-4.0, 0.5, 1.5, 3.0]), 1.0)
    array([-4.        ,  0.        ,  0.5       ,  2.58823529])
    """
    more = xp.where(x > 2 * lambd, x - 2 * lambd, xp.zeros_like(x + lambd))
    y = xp.where(x < xp.inf, (x - lambd) + more / (a - 2), x)
    return xp.where(x <= lambd, xp.zeros_like(y), xp.where(y < x, y, x))


@scadshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, a: Any) -> Any:
    bend = xp.where(x > 2 * lambd, 1 / (a - 2), xp.zeros_like(x + lambd + a))
    one, zero = xp.ones_like(bend), xp.zeros_like(bend)
    between = (x > lambd) & less_than_product(xp, x, a, lambd)
    dx = xp.where(between, 1 + bend, xp.where((x > lambd) | (lambd == 0), one, zero))
    more = xp.where(between & (bend > 0), x - 2 * lambd, zero)
    return dx, xp.where(between, -1 - 2 * bend, zero), -more * bend * bend


@scadshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, a: Any) -> Any:
    shape = xp.where(a < xp.inf, a, 2 * xp.ones_like(a))
    top = xp.where(a < xp.inf, a * lambd, xp.inf * xp.ones_like(a * lambd))
    rest = xp.where(x < top, x, top + xp.zeros_like(x)) - lambd
    bends = (rest > 0) & (a < xp.inf)
    rest = xp.where(bends, rest, xp.zeros_like(rest))
    bent = lambd * lambd + rest * (lambd - rest / (2 * (shape - 1)))
    return xp.where(bends, bent, _weighted(xp, lambd, xp.where(x < top, x, top + xp.zeros_like(x))))


@operator(requires={"gamma > 1": lambda gamma: gamma > 1})
def mcpshrink(xp: ModuleType, x: Any, lambd: Any, gamma: Any = 3.0) -> Any:
    r"""
    Shrink less and less from the threshold on, in the end not at all: the minimax concave penalty (MCP).

    .. math::
        y = \begin{cases}
            0 & |x| \le \lambda \\
            \operatorname{sign}(x)\, \dfrac{\gamma\, (|x| - \lambda)}{\gamma - 1} & \lambda < |x| < \gamma \lambda \\
            x & |x| \ge \gamma \lambda
        \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.

    gamma : number or array, default: 3.0
        Where shrinkage ends, in units of the threshold; greater than 1, without a unit.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `gamma` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    firmshrink : The same with the two thresholds as parameters.
    softshrink : The limit ``gamma = inf``.

    Notes
    -----
    The proximal map of :math:`\lambda |y| - y^2 / 2 \gamma` up to :math:`\gamma \lambda` and :math:`\gamma \lambda^2 /
    2` from there on, with step 1. The objective is convex for :math:`\gamma > 1`; at and below 1 the minimiser is that
    of `hardshrink` with another threshold, and the parameter is refused. With ``lambd = 0`` it is the identity.

    References
    ----------
    C.-H. Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38 (2010),
    doi:10.1214/09-AOS729.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.mcpshrink(np.array([-4.0, 0.5, 1.5, 2.0]), 1.0)
    array([-4.  ,  0.  ,  0.75,  1.5 ])
    """
    y = xp.where(x < xp.inf, (x - lambd) * (1 + 1 / (gamma - 1)), x)
    return xp.where(x <= lambd, xp.zeros_like(y), xp.where(y < x, y, x))


@mcpshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, gamma: Any) -> Any:
    slope = 1 + 1 / (gamma - 1) + xp.zeros_like(x + lambd)
    one, zero = xp.ones_like(slope), xp.zeros_like(slope)
    between = (x > lambd) & less_than_product(xp, x, gamma, lambd)
    dx = xp.where(between, slope, xp.where((x > lambd) | (lambd == 0), one, zero))
    more = xp.where(between, x - lambd, zero)
    return dx, xp.where(between, -slope, zero), -(more / (gamma - 1)) / (gamma - 1)


@mcpshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, gamma: Any) -> Any:
    top = xp.where(gamma < xp.inf, gamma * lambd, xp.inf * xp.ones_like(gamma * lambd))
    b = xp.where(x < top, x, top + xp.zeros_like(x))
    bends = (gamma < xp.inf) & (b < xp.inf)
    less = xp.where(bends, xp.where(bends, b, xp.zeros_like(b)) / (2 * gamma), xp.zeros_like(b + gamma))
    return xp.where(lambd == 0, xp.zeros_like(less), b * (lambd - less))


@operator(
    requires={"0 < p < 1": lambda p: (p > 0) & (p < 1)},
    unit=((2 / 3) ** 1.5, 0.5),
)
def lpshrink(xp: ModuleType, x: Any, lambd: Any, p: Any) -> Any:
    r"""
    Minimise with a fractional power of the magnitude as the penalty.

    .. math::
        y = \operatorname*{arg\,min}_y\; \tfrac12 (y - x)^2 + \lambda |y|^p

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Weight of the penalty, at least 0, of the dimension of `x` to the power of 2 - p; an array broadcasts against
        `x`, and where one of its elements is negative or NaN the result is NaN.

    p : number or array
        Exponent, between 0 and 1.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `p` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    hardshrink : The limit towards ``p = 0``, with the threshold ``sqrt(2 * lambd)``.
    softshrink : The limit towards ``p = 1``.

    Notes
    -----
    The result is the global minimiser. It is 0 up to :math:`T = \frac{2 - p}{2 (1 - p)} z_T`, where it jumps to
    :math:`z_T = (2 \lambda (1 - p))^{1 / (2 - p)}`, the other minimiser there; the smaller one is returned at :math:`T`
    itself. Beyond, :math:`z + \lambda p z^{p - 1} = |x|` is solved by a fixed number of Halley's and Newton's steps, by
    the kernels with more digits than the result has: the nearest numbers in float16, bfloat16 and float32, below 1 ulp
    in float64 (1.1 where the result is subnormal, 1.2 next to :math:`T` with `p` beyond 0.95; :math:`T` itself is right
    to :math:`2^{-58}`).
    The array formula is within a few ulp, divided by :math:`1 - p`. The derivatives are :math:`D = 1 / (1 -
    (1 - p) (|x| - z) / z)`, :math:`-(|x| - z) D / \lambda` and :math:`-(|x| - z) (1 / p + \log z) D`, with respect to
    `x`, `lambd` and `p`. With ``lambd = 0`` it is the identity. The penalties of Xu et al. and of Cao et al. have no
    factor 1/2 before the square: their weight is ``2 * lambd``.

    References
    ----------
    Z. Xu, X. Chang, F. Xu and H. Zhang, "L1/2 regularization: a thresholding representation theory and a fast solver",
    IEEE Transactions on Neural Networks and Learning Systems 23 (2012), doi:10.1109/TNNLS.2012.2197412.

    W. Cao, J. Sun and Z. Xu, "Fast image deconvolution using closed-form thresholding formulas of Lq (q = 1/2, 2/3)
    regularization", Journal of Visual Communication and Image Representation 24 (2013),
    doi:10.1016/j.jvcir.2012.10.006.

    G. Marjanovic and V. Solo, "On lq optimization and matrix completion", IEEE Transactions on Signal Processing 60
    (2012), doi:10.1109/TSP.2012.2212015.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.lpshrink(np.array([-4.0, 1.0, 1.5, 2.0]), 1.0, 0.5)
    array([-3.74150827,  0.        ,  0.        ,  1.60537794])
    """
    z, _, beyond = lp(xp, x, lambd, p)
    return xp.where(beyond, z, xp.where(xp.isnan(x), x + xp.zeros_like(z), xp.zeros_like(z)))


@lpshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, p: Any) -> Any:
    z, gone, beyond = lp(xp, x, lambd, p)
    zero = xp.zeros_like(z)
    free = ~beyond | (lambd == 0) | (x == xp.inf)
    inside = xp.where(free, xp.ones_like(z), z)
    slope = xp.where(beyond, 1 / (1 - (1 - p) * (xp.where(free, zero, gone) / inside)), zero)
    lost = xp.where(free, zero, gone * slope)
    weight = xp.where(lambd > 0, lambd, xp.ones_like(lambd))
    bare = (lambd == 0) & (x > 0) & (x < xp.inf)
    at = xp.where(bare, x + zero, xp.ones_like(z))
    return slope, -xp.where(bare, p * (at**p / at), lost / weight), -lost * (1 / p + xp.log(inside))


@lpshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, p: Any) -> Any:
    return _weighted(xp, lambd, x**p)


@operator(requires={"eps > 0": lambda eps: eps > 0}, unit=(1.0, 1.0))
def logshrink(xp: ModuleType, x: Any, lambd: Any, eps: Any) -> Any:
    r"""
    Minimise with the logarithm of the magnitude as the penalty: reweighted soft thresholding in one step.

    .. math::
        y = \operatorname*{arg\,min}_y\; \tfrac12 (y - x)^2 + \lambda \log(1 + |y| / \varepsilon)

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Weight of the penalty, at least 0, of the dimension of `x` squared; an array broadcasts against `x`, and where
        one of its elements is negative or NaN the result is NaN.

    eps : number or array
        Where the penalty bends, greater than 0, of the dimension of `x`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `eps` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    lpshrink : A penalty that is steeper at 0.
    cauchyshrink : The same of the square: smooth at 0.

    Notes
    -----
    The result is the global minimiser: :math:`z = \bigl(|x| - \varepsilon + S\bigr) / 2` with :math:`S = \sqrt{(|x| +
    \varepsilon)^2 - 4 \lambda}`, or 0 where that is better. For :math:`\lambda \le \varepsilon^2` the objective is
    convex and the threshold is :math:`\lambda / \varepsilon`; else the result jumps, where both objectives are equal:
    at the least of :math:`z / 2 + \lambda \log(1 + z / \varepsilon) / z`. At the jump itself it is 0. Below :math:`|x|
    = \varepsilon`, where the difference cancels, :math:`z` is :math:`2 (|x| \varepsilon - \lambda) / (\varepsilon - |x|
    + S)`. Kernels return the nearest numbers in float16, bfloat16 and float32, and stay below 1 ulp in float64, 1.1
    where the result is subnormal; the array formula is within a few ulp, but where :math:`S` is small. The derivatives
    are :math:`(1 + (|x| + \varepsilon) / S) / 2`, :math:`-1 / S` and :math:`(|x| - z) / S`. With
    ``lambd = 0`` or ``eps = inf`` it is the identity.

    References
    ----------
    E. J. Candès, M. B. Wakin and S. P. Boyd, "Enhancing sparsity by reweighted l1 minimization", Journal of Fourier
    Analysis and Applications 14 (2008), doi:10.1007/s00041-008-9045-x.

    P. Gong, C. Zhang, Z. Lu, J. Huang and J. Ye, "A general iterative shrinkage and thresholding algorithm for
    non-convex regularized optimization problems", International Conference on Machine Learning (2013).

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.logshrink(np.array([-4.0, 0.5, 1.5, 2.0]), 1.0, 1.0)
    array([-3.79128785,  0.        ,  1.        ,  1.61803399])
    """
    z, _, beyond = log(xp, x, lambd, eps)
    return xp.where(beyond, z, xp.where(xp.isnan(x), x + xp.zeros_like(z), xp.zeros_like(z)))


@logshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, eps: Any) -> Any:
    z, distance, beyond = log(xp, x, lambd, eps)
    one, zero = xp.ones_like(z), xp.zeros_like(z)
    beyond = beyond & ((x > 0) | (lambd > 0))
    free = ~beyond | (distance == xp.inf)
    s = xp.where(free, one, distance)
    sum_ = xp.where(free, one, x + eps)
    return (
        xp.where(beyond | (lambd == 0), xp.where(free, one, (1 + sum_ / s) / 2), zero),
        xp.where(free, zero, -1 / s),
        xp.where(free, zero, 2 * (lambd / (sum_ + s)) / s),
    )


def _log1p_of(xp: ModuleType, x: Any, y: Any, power: int) -> Any:
    """Return log(1 + (x / y)^power), where the quotient and its power may overflow."""
    large = x * 2.0 ** (-60 / power) > y  # where adding 1 makes no difference
    x, y = x + xp.zeros_like(y), y + xp.zeros_like(x)
    one = xp.ones_like(x)
    of_quotient = xp.log(xp.where(large, x, one)) - xp.log(xp.where(large, y, one))
    return xp.where(large, power * of_quotient, xp.log1p((xp.where(large, one, x) / xp.where(large, one, y)) ** power))


@logshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, eps: Any) -> Any:
    finite = (x < xp.inf) & (eps < xp.inf)
    return _weighted(xp, lambd, xp.where(finite, _log1p_of(xp, x, eps, 1), xp.log1p(x / eps)))


@operator(requires={"gamma > 0": lambda gamma: gamma > 0}, unit=(2.0, 1.0))
def cauchyshrink(xp: ModuleType, x: Any, lambd: Any, gamma: Any) -> Any:
    r"""
    Minimise with the logarithm of the square as the penalty: the proximal map of Cauchy's distribution.

    .. math::
        y = \operatorname*{arg\,min}_y\; \tfrac12 (y - x)^2 + \lambda \log(1 + y^2 / \gamma^2)

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Weight of the penalty, at least 0, of the dimension of `x` squared; an array broadcasts against `x`, and where
        one of its elements is negative or NaN the result is NaN.

    gamma : number or array
        Scale of the distribution, greater than 0, of the dimension of `x`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `gamma` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    logshrink : The same of the magnitude: small values become 0.
    hubershrink : A convex penalty that is smooth at 0.

    Notes
    -----
    The result is the root of :math:`(z - |x|) (\gamma^2 + z^2) + 2 \lambda z = 0` that is the global minimiser. There
    is one root for :math:`\lambda \le 4 \gamma^2`; beyond, two minima compete, and the result jumps where their
    objectives are equal. Nothing becomes 0. Kernels return the nearest numbers in float16, bfloat16 and float32, and
    stay below 1 ulp in float64, 1.1 where the result is subnormal, and jump within 4 floats of where both minima are
    equal; the array formula is within 4 ulp, also where the derivative is large, but next to the
    one point in which it is infinite, for :math:`\lambda = 4 \gamma^2`. With :math:`g = \gamma^2 + z^2` and :math:`P =
    g + 2 \lambda - 4 \lambda z^2 / g` the derivatives are :math:`g / P`, :math:`-2 z / P` and :math:`4 \lambda \gamma
    z / (g P)`. With ``lambd = 0`` or ``gamma = inf`` it is the identity.

    References
    ----------
    O. Karakuş, P. Mayo and A. Achim, "Convergence guarantees for non-convex optimisation with Cauchy-based penalties",
    IEEE Transactions on Signal Processing 68 (2020), doi:10.1109/TSP.2020.3032231.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.cauchyshrink(np.array([-4.0, 0.5, 1.0, 2.0]), 1.0, 1.0)
    array([-3.46750386,  0.16984126,  0.36110308,  1.        ])
    """
    return cauchy(xp, x, lambd, gamma)


@cauchyshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, gamma: Any) -> Any:
    return cauchy_slopes(xp, x, lambd, gamma)


@cauchyshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, gamma: Any) -> Any:
    finite = (x < xp.inf) & (gamma < xp.inf)
    ratio = x / gamma
    return _weighted(xp, lambd, xp.where(finite, _log1p_of(xp, x, gamma, 2), xp.log1p(ratio * ratio)))


@operator
def hyperbolicshrink(xp: ModuleType, x: Any, lambd: Any) -> Any:
    r"""
    Shrink along a hyperbola: what is lost is the square of the threshold, of the square.

    .. math::
        y = \begin{cases}
            \operatorname{sign}(x) \sqrt{x^2 - \lambda^2} & |x| > \lambda \\
            0 & \text{otherwise}
        \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x` and `lambd` broadcast to; integers
        become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    garroteshrink : Shrinks large values twice as much as this, small ones less steeply.
    hardshrink : Jumps at the threshold.

    Notes
    -----
    The proximal map of :math:`\bigl(a \sqrt{a^2 + \lambda^2} - a^2\bigr) / 2 + \tfrac12 \lambda^2
    \operatorname{arsinh}(a / \lambda)` with :math:`a = |y|`. The derivative grows without bound towards the threshold;
    at it, value and derivative are 0. The formula is :math:`\sqrt{|x| - \lambda} \sqrt{|x| + \lambda}`, where nothing
    cancels and nothing overflows. With ``lambd = 0`` it is the identity.

    References
    ----------
    B. Vidakovic, "Nonlinear wavelet shrinkage with Bayes rules and Bayes factors", Journal of the American Statistical
    Association 93 (1998), doi:10.1080/01621459.1998.10474099.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.hyperbolicshrink(np.array([-5.0, 2.0, 3.0, 3.25]), 3.0)
    array([-4.  ,  0.  ,  0.  ,  1.25])
    """
    y = _hyperbola(xp, x, lambd)
    return xp.where(x <= lambd, xp.zeros_like(y), xp.where((y < x) & (x < xp.inf) & (lambd > 0), y, x))


def _hyperbola(xp: ModuleType, x: Any, lambd: Any) -> Any:
    """Return sqrt(x^2 - lambd^2), 0 up to the threshold."""
    d = xp.where((x > lambd) & (x < xp.inf), x - lambd, xp.ones_like(x + lambd))
    quarter = xp.where(x > 1, xp.full_like(x, 0.25), xp.ones_like(x))  # the sum could overflow
    total = xp.where(d > 0, x * quarter + lambd * quarter, xp.ones_like(d))
    return (xp.sqrt(d) * xp.sqrt(xp.where(total < xp.inf, total, xp.ones_like(d)))) / xp.sqrt(quarter)


@hyperbolicshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    usual = (x > lambd) & (x < xp.inf)
    one, zero = xp.ones_like(x + lambd), xp.zeros_like(x + lambd)
    bent = usual & (lambd > 0)
    a, l = xp.where(bent, x, 2 * one), xp.where(bent, lambd, one)
    quarter = xp.where(a > 1, one / 4, one)
    # Quotients under the roots: a product of roots of subnormal numbers would have few digits.
    less, more = a - l, a * quarter + l * quarter
    dx = xp.sqrt(a / less) * xp.sqrt((a * quarter) / more)
    dlambd = xp.sqrt(l / less) * xp.sqrt((l * quarter) / more)
    dx = xp.where(bent, dx, xp.where((x > lambd) | (lambd == 0), one, zero))
    return dx, -xp.where(bent, dlambd, zero)


@hyperbolicshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    positive = lambd > 0
    l = xp.where(positive, lambd, xp.ones_like(lambd))
    b = x / l
    # b (sqrt(b^2 + 1) - b) without the cancellation of large b
    inverse = xp.where(b > 0, 1 / xp.where(b > 0, b, xp.ones_like(b)), xp.ones_like(b))
    root = xp.where(b > 0, 1 / (xp.hypot(xp.ones_like(b), inverse) + 1), xp.zeros_like(b))
    return _of_square(xp, x, lambd, b, (root + xp.asinh(b)) / 2)


@operator(unit=(1.0, 5.0))
def sigmoidshrink(xp: ModuleType, x: Any, lambd: Any, tau: Any) -> Any:
    r"""
    Shrink by a sigmoid of the distance from the threshold: smooth hard thresholding (SigShrink).

    .. math::
        y = \frac{x}{1 + e^{-\tau (|x| - \lambda)}}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.

    tau : number or array
        Steepness, at least 0, of the dimension of 1 over `x`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `tau` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    hardshrink : The limit ``tau = inf``.
    tanhshrink : Smooth at 0 as well.

    Notes
    -----
    Nothing becomes 0; at the threshold half is kept. With ``tau = 0`` everything is halved. There is no penalty in
    closed form. The derivative with respect to `x` is :math:`\sigma(t) (1 + \tau |x| \sigma(-t))` with :math:`t = \tau
    (|x| - \lambda)`, which is computed with more digits than it has, since the exponential function makes relative
    errors of absolute ones.

    References
    ----------
    A. M. Atto, D. Pastor and G. Mercier, "Smooth sigmoid wavelet shrinkage for non-parametric estimation", IEEE
    International Conference on Acoustics, Speech and Signal Processing (2008), doi:10.1109/ICASSP.2008.4518347.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.sigmoidshrink(np.array([-4.0, 0.0, 1.0, 2.0]), 1.0, 5.0)
    array([-3.99999878,  0.        ,  0.5       ,  1.9866143 ])
    """
    inside, near, far, one_more = _sigmoid(xp, x, lambd, tau)
    y = xp.where(inside, (x * near) * far / one_more, x / one_more)
    y = xp.where(tau == xp.inf, xp.where(x <= lambd, xp.zeros_like(y), x), y)
    y = xp.where((lambd == xp.inf) & (tau > 0), 0 * y, y)
    return xp.where((x == xp.inf) & ((tau > 0) | (lambd < xp.inf)), x, y)


def _sigmoid(xp: ModuleType, x: Any, lambd: Any, tau: Any) -> tuple[Any, Any, Any, Any]:
    """Return whether t = tau (x - lambd) < 0, two factors of w = exp(-|t|), which can be too small, and 1 + w."""
    usual = (x < xp.inf) & (lambd < xp.inf) & (tau < xp.inf)
    a, l, steep = (xp.where(usual, b, xp.zeros_like(x + lambd + tau)) for b in (x, lambd, tau))
    d = a - l
    back = d - a
    rest = (a - (d - back)) - (l + back)
    (th, tl), (dh, dl) = halves(xp, steep), halves(xp, d)
    # The products of the halves that matter are exact: their exponential functions have errors of their own alone.
    t = th * dh
    sign = xp.where(t < 0, -xp.ones_like(t), xp.ones_like(t))
    t, less = t * sign, (th * dl + (tl * d + steep * rest)) * sign
    gone, cap = t > 2000, xp.full_like(t, 80.0 if xp.finfo(t.dtype).bits == 32 else 700.0)
    t, less = xp.where(gone, 2000 * xp.ones_like(t), t), xp.where(gone, xp.zeros_like(t), less)
    near, far = xp.exp(-xp.minimum(t, cap)), xp.exp(-xp.where(t > cap, t - cap, xp.zeros_like(t)))
    near = near + near * xp.expm1(-less)
    return sign < 0, near, far, 1 + near * far


@sigmoidshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, tau: Any) -> Any:
    inside, near, far, one_more = _sigmoid(xp, x, lambd, tau)
    one, zero = xp.ones_like(one_more), xp.zeros_like(one_more)
    steep, limit = xp.where(tau < xp.inf, tau, zero), (x == xp.inf) | (lambd == xp.inf) | (tau == xp.inf)
    a, l = xp.where(limit, zero, x), xp.where(limit, zero, lambd)
    w = near * far
    even = (a * near) / one_more / one_more
    lost = w - (one_more - 1)  # what the sum lacks counts twice
    even = even - even * (2 * (lost / one_more))
    # sigmoid(t) + steep a sigmoid(t) sigmoid(-t), where one of the two sigmoids is w / (1 + w), the other 1 / (1 + w)
    bend = xp.where(far > 0, (steep * even) * far, zero)
    slope = xp.where(inside, w, one) / one_more + bend
    step = xp.where((x > lambd) | ((x == xp.inf) & (lambd < xp.inf)), one, zero)
    dx = xp.where(limit, xp.where(tau > 0, step, one / 2), slope)
    return dx, -bend, even * ((a - l) * far)


@operator(unit=(1.0, 0.25))
def elasticnetshrink(xp: ModuleType, x: Any, l1: Any, l2: Any) -> Any:
    r"""
    Shrink by a constant and by a factor: the elastic net.

    .. math::
        y = \frac{\operatorname{sign}(x) \max(|x| - \lambda_1, 0)}{1 + \lambda_2}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    l1 : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    l2 : number or array
        Weight of the square, at least 0, without a unit.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `l1` and `l2` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    softshrink : The limit ``l2 = 0``.
    hubershrink : Shrinks small values by a factor, large ones by a constant.

    Notes
    -----
    The proximal map of :math:`\lambda_1 |y| + \tfrac12 \lambda_2 y^2`. At :math:`|x| = \lambda_1` the value and the
    derivative are 0; with ``l1 = 0`` it is the factor alone.

    References
    ----------
    H. Zou and T. Hastie, "Regularization and variable selection via the elastic net", Journal of the Royal Statistical
    Society B 67 (2005), doi:10.1111/j.1467-9868.2005.00503.x.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.elasticnetshrink(np.array([-2.0, 0.25, 0.5, 1.0]), 0.5, 1.0)
    array([-0.75,  0.  ,  0.  ,  0.25])
    """
    y = _quotient(xp, x - l1, xp.where(l2 < xp.inf, l2, xp.zeros_like(l2)))
    return xp.where((x <= l1) | ((l2 == xp.inf) & (x == x)), xp.zeros_like(y), y)


def _quotient(xp: ModuleType, x: Any, weight: Any) -> Any:
    """Return x / (1 + weight); of a huge weight a compiler may take the reciprocal, and flush that to zero."""
    quarter = xp.where(weight > 2.0**60, xp.full_like(weight, 0.25), xp.ones_like(weight))
    return (x * quarter) / (quarter + weight * quarter)


@elasticnetshrink.derivatives
def _(xp: ModuleType, x: Any, l1: Any, l2: Any) -> Any:
    factor = xp.where((x > l1) | (l1 == 0), 1 / (1 + l2), xp.zeros_like(x + l1 + l2))
    lost = xp.where((x > l1) & (l2 < xp.inf), x - l1, xp.zeros_like(factor))
    return factor, -xp.where(x > l1, factor, xp.zeros_like(factor)), -(lost * factor) * factor


@elasticnetshrink.penalty_of
def _(xp: ModuleType, x: Any, l1: Any, l2: Any) -> Any:
    return _weighted(xp, l1, x) + xp.where(l2 > 0, (l2 * (x / 2)) * x, xp.zeros_like(x + l2))


@operator(unit=(1.0, 1.0))
def hubershrink(xp: ModuleType, x: Any, lambd: Any, delta: Any) -> Any:
    r"""
    Shrink small values by a factor and large ones by a constant: the proximal map of Huber's loss.

    .. math::
        y = \begin{cases}
            x / (1 + \lambda) & |x| \le \delta\, (1 + \lambda) \\
            x - \operatorname{sign}(x)\, \lambda \delta & \text{otherwise}
        \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array
        Weight of the loss, at least 0, without a unit; an array broadcasts against `x`, and where one of its elements
        is negative or NaN the result is NaN.
    delta : number or array
        Where the loss becomes linear, at least 0, of the dimension of `x`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `delta` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    softshrink : The limit ``delta = 0`` with ``lambd * delta`` kept.
    elasticnetshrink : Shrinks by a constant first, then by a factor.

    Notes
    -----
    The proximal map of :math:`\lambda H_\delta(y)`, where :math:`H_\delta` is :math:`y^2 / 2` up to :math:`\delta` and
    :math:`\delta (|y| - \delta / 2)` beyond. With ``delta = inf`` it is ridge shrinkage, ``x / (1 + lambd)``; with
    ``lambd = 0`` or ``delta = 0`` the identity. Nothing becomes 0.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35 (1964),
    doi:10.1214/aoms/1177703732.

    N. Parikh and S. Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1 (2014),
    doi:10.1561/2400000003.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.hubershrink(np.array([-4.0, 0.5, 2.0, 3.0]), 1.0, 1.0)
    array([-3.  ,  0.25,  1.  ,  2.  ])
    """
    near, far = _huber(xp, x, lambd, delta)
    y = xp.where(near, _quotient(xp, x, lambd), far)
    y = xp.where((lambd == 0) | (delta == 0) | ~(x < xp.inf), x, y)
    return xp.where((lambd == xp.inf) & (delta > 0) & (x == x), xp.zeros_like(y), y)


def _huber(xp: ModuleType, x: Any, lambd: Any, delta: Any) -> tuple[Any, Any]:
    """Return whether x <= delta (1 + lambd), exactly, and x - lambd delta where it is not."""
    one = xp.ones_like(x + lambd + delta)
    usual = (x < xp.inf) & (lambd < xp.inf) & (delta < xp.inf)
    l, d, a = (xp.where(usual, b, one) for b in (lambd, delta, x))
    rest = a - d
    back = rest - a
    error = (a - (rest - back)) - (d + back)
    near = product_minus(xp, l, d, rest) >= error
    return xp.where(usual, near, (x <= delta) | (lambd == xp.inf)), -product_minus(xp, l, d, a)


@hubershrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, delta: Any) -> Any:
    near, _ = _huber(xp, x, lambd, delta)
    one = xp.ones_like(x + lambd + delta)
    zero = xp.zeros_like(one)
    loose = (lambd == 0) | (delta == 0) | ~near | ((x == xp.inf) & (delta < xp.inf))
    steep = (lambd == xp.inf) & (delta > 0)
    factor = xp.where(steep, zero, one / (1 + lambd))
    bent = near & (x < xp.inf) & (delta > 0)
    inner = factor * xp.where(bent, factor * xp.where(bent, x, zero), zero)
    dx = xp.where(loose & ~steep, one, factor)
    dlambd = xp.where(bent | steep, inner, delta + zero)
    return dx, -dlambd, -xp.where(near & (x < xp.inf), zero, lambd + zero)


@hubershrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, delta: Any) -> Any:
    near = x <= delta
    d = xp.where(near, xp.zeros_like(delta), delta)
    less, more = xp.where(lambd < d, lambd, d), xp.where(lambd < d, d, lambd)
    far = xp.where(d == 0, xp.zeros_like(less + x), (less * (x - d / 2)) * more)
    y = xp.where(near, (lambd * x) * (x / 2), far)
    return xp.where(lambd == 0, xp.zeros_like(y), y)


@operator(requires={"bias <= lambd": lambda lambd, bias: bias <= lambd})
def shrink(xp: ModuleType, x: Any, lambd: Any = 0.5, bias: Any = 0.0) -> Any:
    r"""
    Shrink by a bias what exceeds a threshold, and set the rest to zero: Shrink of ONNX.

    .. math::
        y = \begin{cases} x - \operatorname{sign}(x)\, b & |x| > \lambda \\ 0 & \text{otherwise} \end{cases}

    Parameters
    ----------
    x : array of real or complex numbers, or number
        Values to shrink, of any shape. Complex values are shrunk in magnitude and keep their phase.
    lambd : number or array, default: 0.5
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    bias : number or array, default: 0.0
        What is subtracted, from 0 to `lambd`, of the dimension of `x`; where it is greater the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `lambd` and `bias` broadcast to;
        integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    hardshrink : The same with ``bias = 0``.
    softshrink : The same with ``bias = lambd``.

    Notes
    -----
    A proximal map of the penalty :math:`b |y| + \tfrac12 (\lambda - b)^2` where :math:`y \ne 0`: of :math:`\ell_1` and
    :math:`\ell_0`. At :math:`|x| = \lambda` the value and the derivative are 0. ONNX allows a negative bias, and one
    beyond the threshold, which take values away from zero or across it; here these are refused.

    References
    ----------
    ONNX operators, "Shrink" (version 9). F. Bach et al., ONNX: Open Neural Network Exchange, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.shrink(np.array([-2.0, 0.25, 0.5, 1.0]), bias=0.25)
    array([-1.75,  0.  ,  0.  ,  0.75])
    """
    y = x - bias
    return xp.where(x <= lambd, xp.zeros_like(y), y)


@shrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any, bias: Any) -> Any:
    beyond = xp.where(x > lambd, xp.ones_like(x + bias), xp.zeros_like(x + bias))
    return xp.where(lambd == 0, xp.ones_like(beyond), beyond), xp.zeros_like(beyond), -beyond


@shrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any, bias: Any) -> Any:
    linear = xp.where(bias > 0, bias * x, xp.zeros_like(x + bias))
    gap = xp.where(lambd == bias, xp.zeros_like(lambd - bias), lambd - bias)
    return xp.where(x == 0, xp.zeros_like(x), linear + gap * (gap / 2))


@operator(
    odd=False,
    requires={
        "threshold != nan": lambda threshold: threshold == threshold,
        "value != nan": lambda value: value == value,
    },
)
def threshold(xp: ModuleType, x: Any, threshold: Any, value: Any = 0.0) -> Any:
    r"""
    Keep what exceeds a threshold, and replace the rest.

    .. math::
        y = \begin{cases} x & x > \theta \\ v & \text{otherwise} \end{cases}

    Parameters
    ----------
    x : array of real numbers, or number
        Values to shrink, of any shape.
    threshold : number or array
        What `x` must exceed, of either sign, of the dimension of `x`; an array broadcasts against `x`, and where one of
        its elements is NaN the result is NaN.
    value : number or array, default: 0.0
        What to put elsewhere, of the dimension of `x`.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x`, `threshold` and `value` broadcast
        to; integers become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    nonnegshrink : Subtracts the threshold from what exceeds it.
    hardshrink : Keeps what exceeds the threshold in magnitude.

    Notes
    -----
    One-sided, not odd: negative values are not kept unless the threshold is negative, and complex values are refused.
    At :math:`x = \theta` the result is the replacement, and the derivative with respect to `x` is 0; with respect to
    the threshold it is 0 everywhere. Called ``torch.nn.functional.threshold`` and ``keras.ops.threshold`` elsewhere.

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", University of Toronto (2010), where units are
    thresholded so.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.threshold(np.array([-2.0, 0.25, 0.5, 1.0]), 0.5, -1.0)
    array([-1., -1., -1.,  1.])
    """
    return xp.where(x <= threshold, value + xp.zeros_like(x), x)


@threshold.derivatives
def _(xp: ModuleType, x: Any, threshold: Any, value: Any) -> Any:
    beyond = xp.where(x > threshold, xp.ones_like(x + value), xp.zeros_like(x + value))
    return beyond, xp.zeros_like(beyond), 1 - beyond


@operator(odd=False)
def nonnegshrink(xp: ModuleType, x: Any, lambd: Any) -> Any:
    r"""
    Shrink by a constant, and set what is negative to zero: non-negative soft thresholding.

    .. math::
        y = \max(x - \lambda, 0)

    Parameters
    ----------
    x : array of real numbers, or number
        Values to shrink, of any shape.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.
    out : array, optional
        Where to put the result, of its shape and dtype (NumPy, PyTorch and CuPy); may be `x`.

    Returns
    -------
    array
        Shrunk values, of the library, device and dtype of `x`, in the shape that `x` and `lambd` broadcast to; integers
        become the library's default floating-point dtype.

    Raises
    ------
    TypeError
        If `x` does not hold real numbers, or a parameter is no real number and no array.
    ValueError
        If parameters are numbers outside their domain, or `out` has another shape.

    See Also
    --------
    softshrink : The same for numbers of either sign.
    threshold : Does not subtract.

    Notes
    -----
    The proximal map of :math:`\lambda y` for :math:`y \ge 0` and infinity for negative :math:`y`: of non-negative
    sparse coding, and a rectifier (ReLU) with a bias. Not odd; complex values are refused. At :math:`x = \lambda`, also
    for ``lambd = 0``, the value and the derivative are 0. Zeros are positive.

    References
    ----------
    P. O. Hoyer, "Non-negative sparse coding", IEEE Workshop on Neural Networks for Signal Processing (2002),
    doi:10.1109/NNSP.2002.1030067.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> shrinkops.nonnegshrink(np.array([-2.0, 0.25, 0.5, 1.0]), 0.5)
    array([0. , 0. , 0. , 0.5])
    """
    y = x - lambd
    return xp.where(x <= lambd, xp.zeros_like(y), y)


@nonnegshrink.derivatives
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    beyond = xp.where(x > lambd, xp.ones_like(x + lambd), xp.zeros_like(x + lambd))
    return beyond, -beyond


@nonnegshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    y = xp.where(lambd > 0, lambd * x, xp.zeros_like(x + lambd))
    return xp.where(x < 0, xp.full_like(y, xp.inf), y)
