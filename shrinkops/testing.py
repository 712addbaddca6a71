"""The reference: every operator by its textbook definition, in as many digits as it takes.

Results are proved, not compared with another library that rounds too: `reference` evaluates a definition with mpmath at
a precision where nothing cancels, `rounded` gives the nearest floating-point numbers, and `ulp_error` says how far any
implementation - this library's or another's - is from the exact values. It needs ``shrinkops[testing]``.

The definitions stand in DEFINITIONS and know nothing of the formulas that the library computes. Derivatives follow from
them by exact differentiation (of pairs of a number and its slope), so that an operator needs one row here.
"""

from __future__ import annotations

import functools
import inspect
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


def _lifted(function: Callable[[Any], Any], slope_of: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Return a function that takes jets, made of it and of its derivative by argument and value."""

    def evaluate(x: Any) -> Any:
        value, slope = _parts(x)
        y = function(value)
        return _Jet(y, slope * slope_of(value, y) if slope else slope) if isinstance(x, _Jet) else y

    return evaluate


_exp = _lifted(mpmath.exp, lambda x, y: y)
_log = _lifted(mpmath.log, lambda x, y: 1 / x)
_sqrt = _lifted(mpmath.sqrt, lambda x, y: 1 / (2 * y))


def _power(x: Any, exponent: Any) -> Any:
    return _exp(exponent * _log(x))


def _root(equation: Callable[..., Any], start: Any, *arguments: Any) -> Any:
    """Solve ``equation(y, *arguments) = 0`` by Newton's method from the side from which it converges monotonically."""
    numbers = [_parts(a)[0] for a in arguments]
    y, step = start, mpmath.inf
    while abs(step) > mpmath.ldexp(abs(y), -mpmath.mp.prec // 2 - 8):
        f = equation(_Jet(y, mpmath.mpf(1)), *numbers)
        step = f.value / f.slope
        y = y - step
    if not any(isinstance(a, _Jet) for a in arguments):
        return y
    slope = equation(_Jet(y, mpmath.mpf(0)), *arguments).slope
    return _Jet(y, -slope / equation(_Jet(y, mpmath.mpf(1)), *numbers).slope)


def _precisely(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Evaluate a definition in more digits: where two minima are nearly one, their objectives differ by far less."""

    @functools.wraps(definition)
    def evaluate(*arguments: Any) -> Any:
        with mpmath.workprec(2 * mpmath.mp.prec + 600):
            return definition(*arguments)

    return evaluate


def _of_either_sign(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the definition of an operator that is not odd, which is given at x of either sign."""
    definition.of_either_sign = True  # type: ignore[attr-defined]
    return definition


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


def _scadshrink(x: Any, lambd: Any, a: Any) -> Any:
    if lambd == 0:
        return x
    if x <= 2 * lambd:
        return x - lambd if x > lambd else 0
    if a == mpmath.inf:
        return x - lambd
    return x if x >= a * lambd else ((a - 1) * x - a * lambd) / (a - 2)


def _mcpshrink(x: Any, lambd: Any, gamma: Any) -> Any:
    if lambd == 0:
        return x
    if x <= lambd or gamma == mpmath.inf:
        return x - lambd if x > lambd else 0
    return x if x >= gamma * lambd else gamma * (x - lambd) / (gamma - 1)


@_precisely
def _lpshrink(x: Any, lambd: Any, p: Any) -> Any:
    if lambd == 0:
        return x
    if lambd == mpmath.inf or x == 0:
        return 0
    l, q = _parts(lambd)[0], 1 - _parts(p)[0]
    if x <= (1 + q) / (2 * q) * (2 * l * q) ** (1 / (1 + q)) * (1 + mpmath.ldexp(1, -(mpmath.mp.prec // 2))):
        return 0
    if x == mpmath.inf:
        return x
    return _root(lambda y, x, lambd, p: y - x + lambd * p * _power(y, p - 1), _parts(x)[0], x, lambd, p)


@_precisely
def _logshrink(x: Any, lambd: Any, eps: Any) -> Any:
    if lambd == mpmath.inf:
        return 0
    if lambd == 0 or eps == mpmath.inf or x == mpmath.inf:
        return x
    square = (x + eps) * (x + eps) - 4 * lambd
    if square < 0:
        return 0
    y = (x - eps + _sqrt(square)) / 2 if square > 0 else (x - eps) / 2
    a, l, e, z = (_parts(argument)[0] for argument in (x, lambd, eps, y))
    return y if z > 0 and (z - a) ** 2 / 2 + l * mpmath.log(1 + z / e) < a * a / 2 else 0


@_precisely
def _cauchyshrink(x: Any, lambd: Any, gamma: Any) -> Any:
    if lambd == mpmath.inf:
        return 0
    if lambd == 0 or gamma == mpmath.inf or x == mpmath.inf:
        return x

    def cubic(y: Any, x: Any, lambd: Any, gamma: Any) -> Any:
        return (y - x) * (gamma * gamma + y * y) + 2 * lambd * y

    a, l, g = (_parts(argument)[0] for argument in (x, lambd, gamma))
    # Concave up to its inflection at a / 3, where its largest slope is that of a maximum if there is one, then convex.
    rest = a * a - 3 * (g * g + 2 * l)
    below = cubic(a / 3, a, l, g) > 0 or (rest > 0 and cubic((a - mpmath.sqrt(rest)) / 3, a, l, g) > 0)
    roots = [_root(cubic, mpmath.mpf(0), x, lambd, gamma)] if below or a == 0 else []
    roots += [_root(cubic, a, x, lambd, gamma)] if a > 0 and cubic(a / 3, a, l, g) <= 0 else []
    return min(roots, key=lambda y: (_parts(y)[0] - a) ** 2 / 2 + l * mpmath.log(1 + (_parts(y)[0] / g) ** 2))


def _hyperbolicshrink(x: Any, lambd: Any) -> Any:
    if lambd > 0 and x <= lambd:
        return 0
    return x if lambd == 0 or x == mpmath.inf else _sqrt((x - lambd) * (x + lambd))


def _sigmoidshrink(x: Any, lambd: Any, tau: Any) -> Any:
    if tau == mpmath.inf:
        return _hardshrink(x, lambd)
    if x == mpmath.inf and tau > 0:
        return x
    rise = tau * (x - lambd) if tau > 0 or (x < mpmath.inf and lambd < mpmath.inf) else 0
    # Beyond this nothing is left of it in any format, nor of its derivatives.
    return 0 if rise < -1e5 else x / (1 + _exp(-rise if rise < 1e5 else mpmath.ninf))


def _elasticnetshrink(x: Any, l1: Any, l2: Any) -> Any:
    if (l1 > 0 and x <= l1) or l2 == mpmath.inf:
        return 0
    return (x - l1) / (1 + l2)


def _hubershrink(x: Any, lambd: Any, delta: Any) -> Any:
    if lambd == mpmath.inf:
        return x if delta == 0 else 0
    if delta == mpmath.inf or (delta > 0 and x <= delta * (1 + lambd)):
        return x / (1 + lambd)
    return x - lambd * delta


def _shrink(x: Any, lambd: Any, bias: Any) -> Any:
    return x - bias if x > lambd or lambd == 0 else 0


@_of_either_sign
def _threshold(x: Any, threshold: Any, value: Any) -> Any:
    return x if x > threshold else value


@_of_either_sign
def _nonnegshrink(x: Any, lambd: Any) -> Any:
    return x - lambd if x > lambd else 0


DEFINITIONS: dict[str, Callable[..., Any]] = {
    "tanhshrink": _tanhshrink,
    "softshrink": _softshrink,
    "hardshrink": _hardshrink,
    "firmshrink": _firmshrink,
    "garroteshrink": _garroteshrink,
    "scadshrink": _scadshrink,
    "mcpshrink": _mcpshrink,
    "lpshrink": _lpshrink,
    "logshrink": _logshrink,
    "cauchyshrink": _cauchyshrink,
    "hyperbolicshrink": _hyperbolicshrink,
    "sigmoidshrink": _sigmoidshrink,
    "elasticnetshrink": _elasticnetshrink,
    "hubershrink": _hubershrink,
    "shrink": _shrink,
    "threshold": _threshold,
    "nonnegshrink": _nonnegshrink,
}
"""Every operator as in its docstring, ``definition(x, *params)``, of mpmath numbers; at x >= 0 if it is odd.

At a knot a definition takes the branch whose derivative the library promises there: 0 at the threshold, 1 from the
upper threshold on, and 1 everywhere, also at 0, where a threshold of 0 makes the operator the identity.
"""


def reference(operator: Any, x: Any, *params: Any, which: str | int = "value", digits: int = 40) -> Any:
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
    which : str or int, default: "value"
        "value"; "derivative", that with respect to `x`; or a parameter, for the derivative with respect to it: its
        name, or k for the k-th, since a parameter may be called "value".
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
    An operator that is odd has derivatives with respect to parameters that are (0 at ``x = 0``). Where the operator has
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
    if which not in (*functions, *range(1, len(functions) - 1)):
        message = f"which must be one of {', '.join(functions)} for {name}, got {which!r}"
        raise ValueError(message)
    # Which argument moves: none (-1), x (0) or a parameter.
    moving = which if isinstance(which, int) else functions.index(which) - 1
    arguments = np.broadcast_arrays(*(_objects(a) for a in (x, *params)))
    results = np.empty(arguments[0].shape, object)
    with _PRECISION:
        for index in np.ndindex(results.shape):
            results[index] = _evaluate(definition, [a[index] for a in arguments], moving, digits)
    return results[()]


def _parameter_names(definition: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(definition).parameters)[1:]


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
        sign = 1 if getattr(definition, "of_either_sign", False) else mpmath.sign(x)
        numbers = [x * sign, *params]
        if moving < 0:
            y = mpmath.mpf(definition(*numbers))
            return -y if sign < 0 else y
        numbers = [_Jet(a, mpmath.mpf(k == moving)) for k, a in enumerate(numbers)]
        slope = _parts(definition(*numbers))[1]
        return slope * sign if moving else slope


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
