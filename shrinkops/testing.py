"""The reference: every operator by its textbook definition, in as many digits as it takes.

Results are proved, not compared with another library that rounds too: `reference` evaluates a definition with mpmath at
a precision where nothing cancels, `rounded` gives the nearest floating-point numbers, and `ulp_error` says how far any
implementation - this library's or another's - is from the exact values. It needs ``shrinkops[testing]``.

The definitions stand in DEFINITIONS and know nothing of the formulas that the library computes. Derivatives follow from
them by exact differentiation (of pairs of a number and its slope), so that an operator needs one row here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

try:
    import mpmath
except ImportError as error:
    _message = "shrinkops.testing needs mpmath: install shrinkops[testing]"
    raise ImportError(_message) from error

__all__ = ["DEFINITIONS", "reference", "rounded", "ulp", "ulp_error"]

_PRECISION = threading.RLock()  # mpmath's precision is one for all threads


class _Jet:
    """A number with its derivative: what a definition makes of x + epsilon."""

    __slots__ = ("slope", "value")

    def __init__(self, value: Any, slope: Any) -> None:
        self.value = value
        self.slope = slope

    def __add__(self, other: Any) -> _Jet:
        value, slope = _parts(other)
        return _Jet(self.value + value, self.slope + slope)

    def __neg__(self) -> _Jet:
        return _Jet(-self.value, -self.slope)

    def __sub__(self, other: Any) -> _Jet:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> _Jet:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> _Jet:
        value, slope = _parts(other)
        return _Jet(self.value * value, _times(self.slope, value) + _times(slope, self.value))

    def __truediv__(self, other: Any) -> _Jet:
        value, slope = _parts(other)
        quotient = self.value / value
        return _Jet(quotient, self.slope / value - _times(slope, quotient / value))

    def __rtruediv__(self, other: Any) -> _Jet:
        return _Jet(other, mpmath.mpf(0)).__truediv__(self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __lt__(self, other: Any) -> Any:
        return self.value < _parts(other)[0]

    def __le__(self, other: Any) -> Any:
        return self.value <= _parts(other)[0]

    def __gt__(self, other: Any) -> Any:
        return self.value > _parts(other)[0]

    def __ge__(self, other: Any) -> Any:
        return self.value >= _parts(other)[0]

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _parts(other)[0])

    __hash__ = None  # type: ignore[assignment]


def _parts(number: Any) -> tuple[Any, Any]:
    return (number.value, number.slope) if isinstance(number, _Jet) else (mpmath.mpf(number), mpmath.mpf(0))


def _times(slope: Any, factor: Any) -> Any:
    """Multiply by a slope, which annihilates infinities if it is exactly 0."""
    return slope * factor if slope else slope


def _tanh(x: Any) -> Any:
    """Evaluate tanh with an error that x - tanh(x) does not see, and below 1 however large x is."""
    value, slope = _parts(x)
    if mpmath.isinf(value):
        return _Jet(mpmath.mpf(1), mpmath.mpf(0)) if isinstance(x, _Jet) else mpmath.mpf(1)
    precision = mpmath.mp.prec - (abs(mpmath.mag(value)) if value else 0) - 8
    t = min(mpmath.tanh(value, prec=precision), 1 - mpmath.ldexp(1, -precision))
    return _Jet(t, slope * (1 - t * t)) if isinstance(x, _Jet) else t


def _tanhshrink(x: Any) -> Any:
    return x - _tanh(x)


def _softshrink(x: Any, lambd: Any) -> Any:
    return x - lambd if x > lambd or lambd == 0 else 0


def _hardshrink(x: Any, lambd: Any) -> Any:
    return x if x > lambd or lambd == 0 else 0


def _firmshrink(x: Any, low: Any, high: Any) -> Any:
    if x <= low and low > 0:
        return 0
    if x >= high:
        return x
    return x - low if high == mpmath.inf else high * (x - low) / (high - low)


def _garroteshrink(x: Any, lambd: Any) -> Any:
    if lambd == 0:
        return x
    return x - lambd * lambd / x if x > lambd else 0


DEFINITIONS: dict[str, Callable[..., Any]] = {
    "tanhshrink": _tanhshrink,
    "softshrink": _softshrink,
    "hardshrink": _hardshrink,
    "firmshrink": _firmshrink,
    "garroteshrink": _garroteshrink,
}
"""Every operator at x >= 0 as in its docstring, ``definition(x, *params)``, of mpmath numbers.

At a knot a definition takes the branch whose derivative the library promises there: 0 at the threshold, 1 from the
upper threshold on, and 1 everywhere, also at 0, where a threshold of 0 makes the operator the identity.
"""


def reference(operator: Any, x: Any, *params: Any, which: str = "value", digits: int = 40) -> Any:
    """
    Evaluate an operator or one of its derivatives exactly, for all practical purposes.

    Parameters
    ----------
    operator : str or operator
        The operator, or its name: a key of DEFINITIONS.
    x : number or array of real numbers
        Where to evaluate it. Every number is taken as it is, whatever its precision.
    *params : number or array of real numbers
        The parameters, all of them, within their domain; arrays broadcast against `x`. They are taken as they are:
        to check results of a dtype, round them to it first (`rounded`), as the operators do.
    which : str, default: "value"
        "value"; "derivative", that with respect to `x`; or the name of a parameter, for the derivative with respect
        to it.
    digits : int, default: 40
        Number of correct decimal digits, whatever cancels.

    Returns
    -------
    mpmath.mpf or array of mpmath.mpf
        The values, in the shape that `x` and the parameters broadcast to; a number if all are numbers.

    Raises
    ------
    KeyError
        If there is no definition of the operator.
    ValueError
        If `which` is none of its functions.

    See Also
    --------
    rounded : The nearest floating-point numbers.
    ulp_error : How far results are from these.

    Notes
    -----
    Operators are odd, and so are their derivatives with respect to parameters (0 at ``x = 0``). Where the operator has
    a knot the derivative is the one that the library promises: 0 at the threshold, 1 at the upper threshold, and 1 for
    a threshold of 0. NaN in `x` gives NaN. An mpmath zero has no sign: results of an operator have that of `x`.

    The result is on the same side of every midpoint of two floating-point numbers as the exact one, so that rounding
    it is rounding that; a result that is exactly a midpoint is one.

    Examples
    --------
    >>> import mpmath
    >>> from shrinkops.testing import reference
    >>> mpmath.nstr(reference("tanhshrink", 2.0**-20), 30)
    '2.89120579329362667614624650712e-19'
    >>> reference("softshrink", [-3.0, 0.5, 1.0], 0.5, which="derivative")
    array([mpf('1.0'), mpf('0.0'), mpf('1.0')], dtype=object)
    >>> reference("firmshrink", 1.0, 0.5, 1.5, which="low")
    mpf('-0.75')
    """
    name = getattr(operator, "__name__", operator)
    definition = DEFINITIONS[name]
    functions = ("value", "derivative", *_parameter_names(definition))
    if which not in functions:
        message = f"which must be one of {', '.join(functions)} for {name}, got {which!r}"
        raise ValueError(message)
    # Which argument moves: none (-1), x (0) or a parameter.
    moving = functions.index(which) - 1
    arguments = np.broadcast_arrays(*(_objects(a) for a in (x, *params)))
    results = np.empty(arguments[0].shape, object)
    with _PRECISION:
        for index in np.ndindex(results.shape):
            results[index] = _evaluate(definition, [a[index] for a in arguments], moving, digits)
    return results[()]


def _parameter_names(definition: Callable[..., Any]) -> tuple[str, ...]:
    code = definition.__code__
    return code.co_varnames[1 : code.co_argcount]


def _objects(numbers: Any) -> Any:
    """Return numbers as an array of exact mpmath numbers."""
    a = numbers if isinstance(numbers, np.ndarray) else np.asarray(numbers, object)
    made = np.empty(a.shape, object)
    with _PRECISION:
        for index in np.ndindex(a.shape):
            made[index] = _number(a[index])
    return made


def _number(number: Any) -> Any:
    """Return a number as an mpmath number, without rounding."""
    if isinstance(number, mpmath.mpf):
        return number
    if isinstance(number, np.longdouble) and np.isfinite(number):
        numerator, denominator = number.as_integer_ratio()
        with mpmath.workprec(max(64, int(numerator).bit_length())):
            return mpmath.mpf(int(numerator)) / denominator
    if isinstance(number, int | np.integer):
        with mpmath.workprec(max(64, int(number).bit_length())):
            return mpmath.mpf(int(number))
    with mpmath.workprec(64):
        return mpmath.mpf(float(number))


def _evaluate(definition: Callable[..., Any], arguments: list[Any], moving: int, digits: int) -> Any:
    x, *params = arguments
    if any(mpmath.isnan(a) for a in arguments):
        return mpmath.nan
    sizes = [0, *(mpmath.mag(a) for a in arguments if a and mpmath.isfinite(a))]
    # Below every digit of every argument, thrice: x - tanh(x) is of the order x^3.
    precision = math.ceil(digits * math.log2(10)) + 3 * (max(sizes) - min(sizes)) + 160
    with mpmath.workprec(precision):
        numbers = [abs(x), *params]
        if moving < 0:
            y = mpmath.mpf(definition(*numbers))
            return -y if x < 0 else y
        numbers = [_Jet(a, mpmath.mpf(k == moving)) for k, a in enumerate(numbers)]
        slope = _parts(definition(*numbers))[1]
        return slope * mpmath.sign(x) if moving else slope


def rounded(numbers: Any, dtype: Any) -> Any:
    """
    Round exact numbers to the nearest floating-point numbers.

    Parameters
    ----------
    numbers : number or array of real numbers
        What to round, as `reference` gives it; numbers of any precision are taken as they are.
    dtype : dtype
        One of float16, float32 and float64, or bfloat16 of ml_dtypes.

    Returns
    -------
    NumPy scalar or array
        The nearest numbers, to even where two are as near; infinities from the middle between the largest number
        and the next power of two on. What is rounded to zero keeps its sign, but an exact mpmath zero has none.

    Raises
    ------
    TypeError
        If `dtype` is no binary floating-point type of at most 64 bits.

    See Also
    --------
    ulp_error : How far numbers are from exact ones.

    Examples
    --------
    >>> from shrinkops.testing import rounded
    >>> import mpmath
    >>> rounded([mpmath.mpf(1) / 3, 2049, 2051, 65520], "float16")
    array([3.333e-01, 2.048e+03, 2.052e+03,       inf], dtype=float16)
    """
    form = _Format.of(dtype)
    a = _objects(numbers)
    made = np.empty(a.shape, np.float64)
    for index in np.ndindex(a.shape):
        made[index] = form.nearest(a[index])
    return made.astype(form.dtype)[()]


def ulp(exact: Any, dtype: Any) -> Any:
    """
    Measure the unit in the last place of a floating-point type around exact numbers.

    Parameters
    ----------
    exact : number or array of real numbers
        Exact numbers.
    dtype : dtype
        One of float16, float32 and float64, or bfloat16 of ml_dtypes.

    Returns
    -------
    float or array of float64
        The distance of two neighbouring numbers of the type in the binade of each exact number: for
        ``2**e <= abs(exact) < 2**(e + 1)`` and p bits it is ``2**(e - p + 1)``. Below the smallest normal number, and
        at zero, it is the smallest positive number; beyond the largest number, infinity and NaN, the distance there.

    Raises
    ------
    TypeError
        If `dtype` is no binary floating-point type of at most 64 bits.

    See Also
    --------
    ulp_error : How far numbers are from exact ones.

    Examples
    --------
    >>> from shrinkops.testing import ulp
    >>> ulp([1, 1.999, 2, 0], "float32") * 2**23
    array([1.00000000e+00, 1.00000000e+00, 2.00000000e+00, 1.17549435e-38])
    """
    form = _Format.of(dtype)
    a = _objects(exact)
    made = np.empty(a.shape, np.float64)
    for index in np.ndindex(a.shape):
        made[index] = math.ldexp(1.0, form.last_place(a[index]))
    return made[()]


def ulp_error(computed: Any, exact: Any) -> Any:
    """
    Measure how far computed numbers are from exact ones.

    Parameters
    ----------
    computed : NumPy scalar or array
        Results, in float16, bfloat16, float32 or float64.
    exact : number or array of real numbers
        The exact numbers, as `reference` gives them; they broadcast against `computed`.

    Returns
    -------
    float or array of float64
        ``abs(computed - exact) / ulp(exact)``, with `ulp` in the dtype of `computed`. The nearest number has an error
        of at most 0.5. Where `computed` is an infinity the error is 0 if that is the nearest number and infinity
        otherwise; 0 where both are NaN and infinity where one is. Signs of zeros do not count.

    Raises
    ------
    TypeError
        If `computed` is not of a binary floating-point type of at most 64 bits.

    See Also
    --------
    reference : The exact numbers.

    Examples
    --------
    How many units in the last place are lost where the textbook formula cancels, and by this library:

    >>> import numpy as np
    >>> import shrinkops
    >>> from shrinkops.testing import reference, ulp_error
    >>> x = np.float32([7e-4, 7e-3, 7e-2])
    >>> exact = reference("tanhshrink", x)
    >>> ulp_error(x - np.tanh(x), exact) > 100
    array([ True,  True,  True])
    >>> ulp_error(shrinkops.tanhshrink(x), exact) <= 0.5
    array([ True,  True,  True])
    """
    results = np.asarray(computed)
    form = _Format.of(results.dtype)
    results, targets = np.broadcast_arrays(results, _objects(exact))
    made = np.empty(results.shape, np.float64)
    for index in np.ndindex(results.shape):
        made[index] = form.error(float(results[index]), targets[index])
    return made[()]


class _Format:
    """A binary floating-point type: its precision, and the exponents of its last places."""

    def __init__(self, dtype: Any, bits: int, least: int, greatest: int) -> None:
        self.dtype = dtype
        self.bits = bits
        self.least = least  # the smallest positive number is 2**least
        self.greatest = greatest  # all numbers are below 2**greatest

    @classmethod
    def of(cls, dtype: Any) -> _Format:
        """Return the format of a dtype."""
        dtype = np.dtype(dtype)
        try:
            bits, exponents = {"float16": (11, 15), "bfloat16": (8, 127), "float32": (24, 127), "float64": (53, 1023)}[
                dtype.name
            ]
        except KeyError:
            message = f"dtype must be float16, bfloat16, float32 or float64, got {dtype}"
            raise TypeError(message) from None
        return cls(dtype, bits, 2 - exponents - bits, exponents + 1)

    def last_place(self, exact: Any) -> int:
        """Return the exponent of the last place of a number."""
        if not mpmath.isfinite(exact):
            return self.greatest - self.bits
        # mag is the exponent of the power of two above, also of a power of two itself.
        exponent = mpmath.mag(exact) if exact else self.least
        return int(min(max(exponent - self.bits, self.least), self.greatest - self.bits))

    def nearest(self, exact: Any) -> float:
        """Return the nearest number of the format, as a float."""
        if not mpmath.isfinite(exact):
            return float(exact)
        sign, mantissa, exponent, _ = exact._mpf_
        place = self.last_place(exact)
        shift = place - exponent
        whole = int(mantissa)
        if shift <= 0:
            units = whole << -shift
        else:
            units, rest = whole >> shift, whole & ((1 << shift) - 1)
            half = 1 << (shift - 1)
            units += rest > half or (rest == half and units & 1)
        magnitude = math.inf if units >> self.bits and place == self.greatest - self.bits else math.ldexp(units, place)
        return -magnitude if sign else magnitude

    def error(self, computed: float, exact: Any) -> float:
        """Return the distance of a number of the format from an exact number, in units in the last place."""
        if math.isnan(computed) or mpmath.isnan(exact):
            return 0.0 if math.isnan(computed) and mpmath.isnan(exact) else math.inf
        if math.isinf(computed) or mpmath.isinf(exact):
            return 0.0 if computed == self.nearest(exact) else math.inf
        place = self.last_place(exact)
        difference = _fraction(exact) - Fraction(computed)
        return float(abs(difference) / Fraction(2) ** place)


def _fraction(number: Any) -> Fraction:
    sign, mantissa, exponent, _ = number._mpf_
    units = -int(mantissa) if sign else int(mantissa)
    return Fraction(units << exponent) if exponent >= 0 else Fraction(units, 1 << -exponent)
