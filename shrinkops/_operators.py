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


def _lambert(s: Any) -> Any:
    """3 + s / (5 + s / (7 + ...)), with which tanh(a) = a / (1 + s / _lambert(s)), s = a**2."""
    t = 25.0
    for odd in range(23, 1, -2):
        t = odd + s / t
    return t


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
        Where to put the result, of its shape and dtype (NumPy and PyTorch); may be `x`.

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
        s = xp.where(small, x, xp.zeros_like(x)) ** 2
        return xp.where(small, x * (s / (_lambert(s) + s)), x - xp.tanh(x))
    small = x < 1.375
    b = xp.where(small, x, xp.ones_like(x))
    s = b * b
    e = xp.exp(2 * xp.where(x < 20, x, xp.full_like(x, 20.0)))
    return xp.where(small, b * (s / (_lambert(s) + s)), (x - 1) + 2 / (e + 1))


@tanhshrink.derivatives
def _(xp: ModuleType, x: Any) -> Any:
    if xp.isdtype(x.dtype, "complex floating"):
        return (xp.tanh(x) ** 2,)
    small = x < 1.375
    b = xp.where(small, x, xp.ones_like(x))
    s = b * b
    t = _lambert(s)
    r = b * (t / (t + s))
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
        Where to put the result, of its shape and dtype (NumPy and PyTorch); may be `x`.

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


@softshrink.penalty_of
def _(xp: ModuleType, x: Any, lambd: Any) -> Any:
    return lambd * x


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
        Where to put the result, of its shape and dtype (NumPy and PyTorch); may be `x`.

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
        Where to put the result, of its shape and dtype (NumPy and PyTorch); may be `x`.

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
        Where to put the result, of its shape and dtype (NumPy and PyTorch); may be `x`.

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
    return xp.where(positive, l * (l * (root + xp.asinh(b / 2))), xp.zeros_like(b))
