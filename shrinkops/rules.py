"""Rules for thresholds: the noise level, the universal threshold, and any operator at a single threshold."""

from __future__ import annotations

import inspect
import math
import operator as arithmetic
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ._backends import is_array
from ._checks import check_scalar, refused_dtype, refused_requirement
from ._dispatch import check_operator

__all__ = ["AtThreshold", "noise_level", "universal_threshold"]

# The median of abs(z), z standard normal, which textbooks round to 0.6745.
_NORMAL_MAD = 0.674489750196081743


def noise_level(details: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    r"""
    Estimate the standard deviation of white noise from the detail coefficients of the finest scale.

    .. math:: \hat\sigma = \operatorname{median}(|d|) / 0.6745

    The finest details of a signal are mostly noise, and the median does not see the few that are not.

    Parameters
    ----------
    details : array of real numbers
        Detail coefficients of an orthonormal wavelet at the finest scale, in the unit of the signal.
    axis : int, optional
        Axis along which one signal lies; by default all of `details` is one signal.
    keepdims : bool, default: False
        Whether the axes that are reduced stay, with length 1.

    Returns
    -------
    array
        The estimate, in the unit of the signal, of the library of `details`: of its shape without `axis`, or 0-d.

    Raises
    ------
    TypeError
        If `details` does not hold real numbers.
    ValueError
        If there are no coefficients along `axis`.

    See Also
    --------
    universal_threshold : The threshold that belongs to a noise level.

    Notes
    -----
    A signal with NaN has the noise level NaN. Where more than half of the coefficients are 0, so is the estimate.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994),
    doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> import numpy as np
    >>> from shrinkops.rules import noise_level
    >>> float(noise_level(np.random.default_rng(0).normal(scale=2.0, size=100_000)).round(2))
    2.0
    """
    xp, details = _array(details)
    if xp.isdtype(details.dtype, "integral"):
        details = xp.astype(details, xp.float64)
    if not xp.isdtype(details.dtype, "real floating"):
        raise refused_dtype(noise_level.__name__, "details", details.dtype)
    kept = (1,) * details.ndim
    if axis is None:
        details, axis = xp.reshape(details, (-1,)), 0
    else:
        kept = tuple(1 if k == axis % details.ndim else n for k, n in enumerate(details.shape))
    n = details.shape[axis]
    if n == 0:
        msg = "noise_level requires at least one coefficient along the axis, got none"
        raise ValueError(msg)
    magnitudes = xp.sort(xp.abs(details), axis=axis)
    middle = slice((n - 1) // 2, n // 2 + 1)
    level = xp.mean(magnitudes[(slice(None),) * (axis % details.ndim) + (middle,)], axis=axis) / _NORMAL_MAD
    # Where NaN is sorted to differs between libraries.
    level = xp.where(xp.any(xp.isnan(details), axis=axis), xp.full_like(level, math.nan), level)
    return xp.reshape(level, kept) if keepdims else level


def universal_threshold(sigma: Any, n: int) -> Any:
    r"""
    Return the threshold that white noise does not exceed, with a probability that tends to 1.

    .. math:: \lambda = \sigma \sqrt{2 \log n}

    Parameters
    ----------
    sigma : number or array
        Standard deviation of the noise, at least 0, in the unit of the signal.
    n : int
        Number of samples of the signal, at least 1.

    Returns
    -------
    number or array
        The threshold, in the unit of `sigma` and of its shape.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is less than 1, or `sigma` is a negative number or NaN.

    See Also
    --------
    noise_level : Estimates `sigma`.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994),
    doi:10.1093/biomet/81.3.425.

    Examples
    --------
    >>> from shrinkops.rules import universal_threshold
    >>> round(universal_threshold(1.0, 1024), 4)
    3.7233
    """
    n = arithmetic.index(n)
    if n < 1:
        msg = f"universal_threshold requires n >= 1, got n={n}"
        raise ValueError(msg)
    _check_number("universal_threshold", "sigma", sigma)
    return sigma * math.sqrt(2 * math.log(n))


class AtThreshold:
    """
    An operator with its parameters chosen by a single threshold, whatever they are.

    The first parameter is the threshold; a further one keeps its default and, where it has none, is the threshold times
    its place, so that ``firmshrink(x, low, high)`` runs from once to twice the threshold. An operator without
    parameters, or whose parameters are no thresholds (an exponent, a weight), works in units of the threshold, with
    fixed ones: ``lambd * tanhshrink(x / lambd)``. There an infinite threshold gives 0.

    Parameters
    ----------
    operator : Operator
        One of `shrinkops.OPERATORS` that is odd.
    lambd : number or array
        Threshold, at least 0, in the unit of `x`; an array broadcasts against `x`, and where one of its elements is
        negative or NaN the result is NaN.

    Raises
    ------
    TypeError
        If `operator` is none, or `lambd` is no real number and no array.
    ValueError
        If `lambd` is a negative number or NaN, or `operator` not odd.

    Examples
    --------
    >>> import numpy as np
    >>> import shrinkops
    >>> from shrinkops.rules import AtThreshold
    >>> print(AtThreshold(shrinkops.firmshrink, 0.5))
    firmshrink(x, low=0.5, high=1)
    >>> print(AtThreshold(shrinkops.tanhshrink, 0.5))
    0.5 * tanhshrink(x / 0.5)
    >>> AtThreshold(shrinkops.firmshrink, 0.5)(np.array([0.25, 0.75, 1.0]))
    array([0. , 0.5, 1. ])
    """

    def __init__(self, operator: Any, lambd: Any) -> None:
        check_operator(operator)
        if not operator.odd:
            msg = f"AtThreshold requires an odd operator, which shrinks either sign alike, got {operator.__name__}"
            raise ValueError(msg)
        _check_number(operator.__name__, "lambd", lambd)
        self.operator = operator
        self.lambd = lambd
        self.scaled = operator.unit is not None
        if self.scaled:
            self.parameters = dict(zip(operator.parameters, operator.unit, strict=True))
        else:
            self.parameters = {
                name: place * lambd if place == 1 or default is inspect.Parameter.empty else default
                for place, (name, default) in enumerate(zip(operator.parameters, operator.defaults, strict=True), 1)
            }

    def __call__(self, x: Any) -> Any:
        """
        Shrink.

        Parameters
        ----------
        x : array of real floating-point numbers
            Values to shrink.

        Returns
        -------
        array
            Shrunk values, as the operator gives them.
        """
        if not self.scaled:
            return self.operator(x, **self.parameters)
        xp, x = _array(x)
        threshold = xp.asarray(self.lambd, dtype=x.dtype, device=getattr(x, "device", None))
        limits = xp.finfo(x.dtype)
        unit = xp.clip(threshold, limits.smallest_normal, limits.max)
        unit = xp.where(threshold >= 0, unit, xp.full_like(unit, math.nan))
        with np.errstate(over="ignore"):
            scaled = x / unit
        # A threshold of 0 is the identity, and what overflows in units of the threshold is too large to be shrunk.
        y = unit * self.operator(scaled, **self.parameters)
        y = xp.where((threshold == xp.inf) & xp.isfinite(x), xp.copysign(xp.zeros_like(x), x), y)
        return xp.where((threshold == 0) | xp.isinf(scaled), x, y)

    def __str__(self) -> str:
        """Return the formula, with its numbers rounded."""
        rest = "".join(f", {key}={value:.4g}" for key, value in self.parameters.items())
        name, unit = self.operator.__name__, f"{self.lambd:.4g}"
        return f"{unit} * {name}(x / {unit}{rest})" if self.scaled else f"{name}(x{rest})"


def _array(x: Any) -> tuple[ModuleType, Any]:
    """Return an array and its namespace; NumPy's for lists and numbers."""
    if not array_api_compat.is_array_api_obj(x):
        x = np.asarray(x)
    return array_api_compat.array_namespace(x), x


def _check_number(name: str, parameter: str, value: Any) -> None:
    """Refuse a number that is no threshold; an array cannot be inspected."""
    if not is_array(value) and not check_scalar(name, parameter, value) >= 0:
        raise refused_requirement(name, f"{parameter} >= 0", {parameter: float(value)})
