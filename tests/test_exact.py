"""Exactness: the nearest floats in float16, bfloat16 and float32, less than 1 ulp in float64, 4 ulp for the formula.

The oracle is shrinkops.testing, which is slow; beside it stands a fast one, in extended precision (64 bits), by series
and expm1. Where that is too close to the middle of two floats to tell which is nearer, exact arithmetic or the oracle
decides. Both know nothing of the formulas and coefficients of the library, and one test compares them.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

import shrinkops
from shrinkops import OPERATORS
from shrinkops._kernels import loops
from shrinkops.testing import reference, rounded, ulp_error

LONG = np.longdouble
WIDE = np.finfo(LONG).nmant >= 63  # no: Windows, and macOS on ARM, where the slow oracle checks fewer numbers
DOUBT = LONG(2) ** -54  # the fast oracle has an error of a few 2^-64
LEVELS = loops.config()["isa_supported"]
WHICH = ("value", "derivative")

# Parameters of operators with none, one and two: nice ones that meet ties, others, and all extremes.
TENTH = float(np.float32(0.1))
PARAMETERS = {
    0: [()],
    1: [(p,) for p in (0.5, 1.5, TENTH, 1.0000001, 0.0, 3.0, 1e-30, 1e30, 1e-40, 2.0**-149, 3.4e38, np.inf)],
    2: [
        (0.5, 1.5),
        (0.5, 1.0),
        (TENTH, 0.3),
        (0.0, 1.0),
        (0.7, 0.7),
        (0.0, 0.0),
        (0.5, np.inf),
        (np.inf, np.inf),
        (1.0, float(np.nextafter(np.float32(1), np.float32(2)))),
        (0.1, 1000.0),
        (1e-30, 1e30),
        (1e-40, 3e-40),
        (2.0**-149, 2.0**-148),
        (2.9e38, 3.3e38),
        (0.5, 3.7),
        (1.0, 0.5),
        (TENTH, 2 / 3),
        (2.0, 0.25),
    ],
}
ODD = [op for op in OPERATORS.values() if op.odd]


def accepted(operator: Any, params: tuple[Any, ...]) -> Any:
    """Whether parameters are in the domain of the operator, element by element."""
    return np.logical_and.reduce([r.holds(*r.among(params)) for r in operator.requirements], axis=0)


def parameter_sets(operator: Any, of: dict[int, Any] = PARAMETERS, dtype: Any = "float64") -> list[tuple[float, ...]]:
    """Every set that the operator accepts; without a fast oracle, the ordinary ones, and few."""
    sets = [params for params in of[len(operator.parameters)] if accepted(operator, cast(params, dtype))]
    if operator.__name__ in FAST:
        return sets
    return [params for params in sets if all(1e-3 < p < 1e3 for p in params)][-3:]


def cases(dtype: Any, of: dict[int, Any] = PARAMETERS) -> list[Any]:
    return [pytest.param(op, p, id=f"{op.__name__}{p}") for op in ODD for p in parameter_sets(op, of, dtype)]


@pytest.fixture(params=LEVELS)
def level(request):
    before = loops.get_isa()
    loops.set_isa(request.param)
    yield request.param
    loops.set_isa(before)


# ----------------------------------------------------------------------------------------------------------------------
# The fast oracle


def series_coefficients(terms: int) -> list[Any]:
    """(x - tanh(x)) / x^3 in powers of x^2, from tanh' = 1 - tanh^2, in fractions."""
    t = [Fraction(1)]  # tanh(x) / x
    for n in range(1, terms + 1):
        t.append(-sum((t[i] * t[n - 1 - i] for i in range(n)), Fraction(0)) / (2 * n + 1))
    return [LONG(str(-c.numerator)) / LONG(str(c.denominator)) for c in t[1:]]


SERIES = series_coefficients(26)


def by_series(a: Any) -> Any:
    """(a - tanh(a)) / a^3, for a up to 1/2."""
    s = a * a
    ratio = float(np.max(s, initial=0)) / 2.4674  # of the terms: the pole is at pi / 2
    terms = 1
    while terms < len(SERIES) and ratio**terms > 2.0**-68:
        terms += 1
    y = np.full_like(a, SERIES[terms - 1])
    for c in SERIES[terms - 2 :: -1] if terms > 1 else ():
        y *= s
        y += c
    return y


def split_at_half(small: Callable[[Any], Any], large: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def both(a: Any) -> Any:
        below = a < 0.5
        if below.all():
            return small(a)
        if not below.any():
            return large(a)
        y = np.empty_like(a)
        y[below], y[~below] = small(a[below]), large(a[~below])
        return y

    return both


def tanhshrink_large(a: Any) -> Any:
    if a.min() > 50:
        return np.nextafter(a - 1, LONG(np.inf))
    b = np.minimum(a, LONG(5000))
    e = np.expm1(2 * b)
    # Whatever is small against a - 1 leaves its trace in the last bit.
    far = np.maximum((a - 1) + 2 / (e + 2), np.nextafter(a - 1, LONG(np.inf)))
    y = np.where(a < 1.5, a - e / (e + 2), far)
    return np.where(a < np.inf, y, a)


def tanh_squared_large(a: Any) -> Any:
    if a.min() > 50:
        return np.full_like(a, 1 - LONG(2) ** -63)
    e = np.expm1(2 * np.minimum(a, LONG(5000)))
    u = 2 / (e + 2)
    return np.where(a < 1, (e / (e + 2)) ** 2, 1 - np.maximum(u * (2 - u), LONG(2) ** -63))


def tanh_squared_small(a: Any) -> Any:
    return (a - a * (a * a * by_series(a))) ** 2


def zero(a: Any, *_: Any) -> Any:
    return np.zeros_like(a)


class Fast(NamedTuple):
    """Value and derivative at a >= 0; and terms whose sum has the sign of the exact result minus m.

    The terms are exact for inputs of 24 bits, and asked for where extended precision leaves doubt.
    """

    value: Callable[..., Any]
    derivative: Callable[..., Any]
    value_terms: Callable[..., Any] | None = None
    derivative_terms: Callable[..., Any] | None = None


def beyond(a: Any, l: Any, y: Any, identity: Any = False) -> Any:
    return np.where((a > l) | (identity & (l == 0)), y, zero(a))


def firm(a: Any, l: Any, h: Any) -> Any:
    y = np.where(h == np.inf, a - l, (a - l) * (h / (h - l)))
    return beyond(a, l, np.where(a < h, y, a))


def firm_slope(a: Any, l: Any, h: Any) -> Any:
    slope = np.where(h == np.inf, 1, h / (h - l))
    return beyond(a, l, np.where((a < h) | ((l == 0) & (h > 0)), slope, 1), True)


def squares(a: Any, m: Any, l: Any) -> Any:
    """l^2 - (m - 1) a^2, in products of at most 64 bits."""
    m = m - 1
    high = np.rint(np.ldexp(m, 13 - np.frexp(m)[1]))
    high = np.ldexp(high, np.frexp(m)[1] - 13)
    return l * l, -high * (a * a), -(m - high) * (a * a)


FAST = {
    "tanhshrink": Fast(
        split_at_half(lambda a: a * (a * a) * by_series(a), tanhshrink_large),
        split_at_half(tanh_squared_small, tanh_squared_large),
    ),
    "softshrink": Fast(
        lambda a, l: beyond(a, l, a - l), lambda a, l: beyond(a, l, 1, True), lambda a, m, l: (a, -l, -m)
    ),
    "hardshrink": Fast(lambda a, l: beyond(a, l, a), lambda a, l: beyond(a, l, 1, True)),
    "firmshrink": Fast(
        firm,
        firm_slope,
        lambda a, m, l, h: (a, -l, -m) if h == np.inf else (h * a, -h * l, -m * h, m * l),
        lambda a, m, l, h: (h, -m * h, m * l),
    ),
    "garroteshrink": Fast(
        lambda a, l: beyond(a, l, np.where(a < np.inf, (a - l) * ((a + l) / a), a)),
        lambda a, l: beyond(a, l, 1 + (l / a) ** 2, True) if np.any(l) else zero(a) + 1,
        lambda a, m, l: (a * a, -l * l, -m * a),
        squares,
    ),
}


def scad(a: Any, l: Any, c: Any) -> Any:
    y = (a - l) + np.maximum(a - 2 * l, 0) / (c - 2)
    return beyond(a, l, np.where((a < c * l) & (a < np.inf), y, a))


def scad_terms(a: Any, m: Any, l: Any, c: Any) -> Any:
    bent = (a > 2 * l) & (c < np.inf)
    c = np.where(bent, c, 3)
    return [np.where(bent, x, y) for x, y in zip((c * a, -a, -c * l, -c * m, 2 * m), (a, -l, -m, 0, 0), strict=True)]


def huber_terms(a: Any, m: Any, l: Any, d: Any) -> Any:
    near = (a <= d * (1 + l)) & (l * d > 0)
    return [np.where(near, x, y) for x, y in zip((a, -m, -m * l), (a, -m, -np.where(near, 0, l) * d), strict=True)]


FAST |= {
    "scadshrink": Fast(
        scad,
        lambda a, l, c: beyond(a, l, np.where((a > 2 * l) & (a < c * l), 1 + 1 / (c - 2), 1), True),
        scad_terms,
        lambda a, m, l, c: (c, -1, -m * c, 2 * m) if c < np.inf else (1, -m),
    ),
    "mcpshrink": Fast(
        lambda a, l, c: beyond(a, l, np.where((a < c * l) & (a < np.inf), (a - l) * (1 + 1 / (c - 1)), a)),
        lambda a, l, c: beyond(a, l, np.where(a < c * l, 1 + 1 / (c - 1), 1), True),
        lambda a, m, l, c: (c * a, -c * l, -c * m, m) if c < np.inf else (a, -l, -m),
        lambda a, m, l, c: (c, -m * c, m) if c < np.inf else (1, -m),
    ),
    "hyperbolicshrink": Fast(
        lambda a, l: beyond(a, l, np.where(a < np.inf, np.sqrt(a - l) * np.sqrt(a + l), a)),
        lambda a, l: beyond(
            a, l, np.where((a < np.inf) & (l > 0), a / (np.sqrt(np.abs(a - l)) * np.sqrt(a + l)), 1), True
        ),
        lambda a, m, l: (a * a, -l * l, -m * m),
    ),
    "elasticnetshrink": Fast(
        lambda a, l, c: beyond(a, l, (a - l) / (1 + c) if np.all(c < np.inf) else np.where(a == a, 0, a)),
        lambda a, l, c: beyond(a, l, 1 / (1 + c), True),
        lambda a, m, l, c: (a, -l, -m, -m * c),
        lambda a, m, l, c: (1, -m, -m * c),
    ),
    "hubershrink": Fast(
        lambda a, l, d: np.where(
            (l == 0) | (d == 0), a, np.where(l == np.inf, 0, np.where(a <= d * (1 + l), a / (1 + l), a - l * d))
        ),
        lambda a, l, d: np.where((a <= d * (1 + l)) & (l > 0) & (d > 0), 1 / (1 + l), 1 + zero(a)),
        huber_terms,
        lambda a, m, l, d: (1, -m, -m * l),
    ),
    "shrink": Fast(
        lambda a, l, b: beyond(a, l, a - b), lambda a, l, b: beyond(a, l, 1, True), lambda a, m, l, b: (a, -b, -m)
    ),
}


def two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    s = x + y
    z = s - x
    return s, (x - (s - z)) + (y - z)


def sign_of_sum(terms: Any) -> Any:
    """The sign of a sum of exact numbers; NaN where this does not tell."""
    terms = [np.array(t) for t in np.broadcast_arrays(*terms)]
    for _ in terms:
        for k in range(1, len(terms)):
            terms[k], terms[k - 1] = two_sum(terms[k], terms[k - 1])
    *rest, total = terms
    certain = np.abs(total) > 4 * sum(np.abs(t) for t in rest)
    return np.where(certain | ((total == 0) & (sum(np.abs(t) for t in rest) == 0)), np.sign(total), np.nan)


FORMATS = {"float16": (11, -24), "bfloat16": (8, -133), "float32": (24, -149), "float64": (53, -1074)}


def rounded_once(r: Any, dtype: Any) -> Any:
    """Round extended precision to a dtype, in one step."""
    if dtype.itemsize > 2:
        with np.errstate(over="ignore", under="ignore"):
            return r.astype(dtype)
    bits, least = FORMATS[dtype.name]
    place = np.maximum(np.frexp(r)[1] - bits, least)
    units = np.ldexp(np.rint(np.ldexp(np.where(np.isfinite(r), r, 0), -place)), place)
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(r), units, r).astype(np.float32).astype(dtype)


def evaluated(name: str, which: str, a: Any, params: Any) -> Any:
    with np.errstate(all="ignore"):
        return getattr(FAST[name], which)(a.astype(LONG), *(np.asarray(p).astype(LONG)[()] for p in params))


def nearest(operator: Any, which: str, a: Any, params: tuple[float, ...]) -> Any:
    """The nearest floats of the dtype of a >= 0, which is no NaN; params are numbers of that dtype."""
    name, dtype = operator.__name__, a.dtype
    if not WIDE or name not in FAST:
        return rounded(reference(name, a, *params, which=which), dtype)
    r = evaluated(name, which, a, params)
    low, high = rounded_once(r * (1 - DOUBT), dtype), rounded_once(r * (1 + DOUBT), dtype)
    doubt = np.flatnonzero(low != high)
    if not len(doubt):
        return high
    a, below, above = a[doubt], low[doubt], high[doubt]
    exact_terms = getattr(FAST[name], f"{which}_terms")
    if exact_terms is None:
        high[doubt] = rounded(reference(name, a, *params, which=which), dtype)
        return high
    largest = LONG(2) ** {"float16": 16, "bfloat16": 128, "float32": 128}[dtype.name]  # what comes before infinity
    middle = (below.astype(LONG) + np.where(np.isinf(above), largest, above.astype(LONG))) / 2
    with np.errstate(all="ignore"):
        side = sign_of_sum(exact_terms(a.astype(LONG), middle, *map(LONG, params)))
    chosen = np.where(side > 0, above, np.where(side < 0, below, rounded_once(middle, dtype)))
    unsure = np.isnan(side)
    if unsure.any():
        chosen[unsure] = rounded(reference(name, a[unsure], *params, which=which), dtype)
    high[doubt] = chosen
    return high


def cast(params: tuple[float, ...], dtype: Any) -> tuple[float, ...]:
    """Parameters in the precision of a dtype, as the operators round them."""
    return tuple(float(rounded(p, dtype)) for p in params)


def function(operator: Any, which: str) -> Any:
    return operator if which == "value" else operator.derivative


def bits(y: Any) -> Any:
    return y.view(f"u{y.dtype.itemsize}")


def assert_bits(y: Any, expected: Any, x: Any) -> None:
    wrong = np.flatnonzero(bits(y) != bits(expected))
    if len(wrong):
        k = wrong[0]
        where = f"x={x[k]!r} ({float(x[k]).hex()})"
        pytest.fail(f"{len(wrong)} of {len(x)} differ: {where} gives {y[k]!r}, not {expected[k]!r}")


def assert_nearest(operator: Any, which: str, a: Any, params: tuple[float, ...], expected: Any) -> None:
    """Both signs of a against the results for a."""
    for x in (a, -a):
        y = function(operator, which)(x, *params)
        assert_bits(y, np.copysign(expected, x) if which == "value" else expected, x)


# ----------------------------------------------------------------------------------------------------------------------
# Samples


def neighbours(numbers: Any, dtype: Any, distance: int = 100) -> Any:
    """Numbers at most so many ulps from these, at least 0."""
    around = np.asarray([abs(p) for p in numbers], dtype)
    integers = bits(around).astype(np.int64)[:, None] + np.arange(-distance, distance + 1)
    integers = integers[(integers >= 0) & (integers <= int(bits(np.array(np.inf, dtype))))]
    return np.unique(integers).astype(f"u{around.itemsize}").view(dtype)


def sample(dtype: Any, n: int, params: tuple[float, ...], seed: int = 0) -> Any:
    """Numbers >= 0: some of every binade, the hard regions, what lies around the knots, zero and infinity."""
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    mantissa = FORMATS[dtype.name][0] - 1
    unsigned = f"u{dtype.itemsize}"
    infinity = int(bits(np.array(np.inf, dtype)))
    per_binade = max(1, n // 2 // (infinity >> mantissa))
    exponents = np.repeat(np.arange(infinity >> mantissa, dtype=np.int64), per_binade)
    binades = (exponents << mantissa) + random.integers(0, 1 << mantissa, len(exponents))
    finite = [p for p in params if 0 < p < np.inf]
    hard = [random.uniform(0, 2, n // 8), random.uniform(0, 12, n // 8), 10 ** random.uniform(-6, 1, n // 8)]
    with np.errstate(over="ignore", under="ignore"):
        for p in finite:
            hard.append(p * random.uniform(0.5, 2, n // 8 // len(finite)))
            hard.append(p * (1 + 2.0 ** random.uniform(-20, 3, n // 8 // len(finite))))
        if len(finite) == 2:
            hard.append(random.uniform(*sorted(finite), n // 8))
        hard = [np.asarray(h).astype(dtype) for h in hard]
        ends = [np.finfo(dtype).tiny, np.finfo(dtype).max, np.inf] if dtype.itemsize > 2 else []
        knots = [0, 0.5, 1, 1.375, 2, 8.2, 9.4, 20, 2.0 ** (mantissa + 1), *ends]
        knots = neighbours(knots + [p * f for p in finite for f in (1, 2, 4, 0.5, 1.5)], dtype)
    whole = np.arange(0, 1 << 12, dtype=unsigned).view(dtype)  # the smallest
    # Numbers of few bits, whose cubes and quotients are in the middle of two floats, or beside it by x^2 of themselves.
    few = min(mantissa, 5 if params else 9)
    short = np.arange(0, infinity, 1 << (mantissa - few), dtype=unsigned).view(dtype) if mantissa < 52 else whole
    return np.concatenate([binades.astype(unsigned).view(dtype), knots, whole, short, *hard])


# ----------------------------------------------------------------------------------------------------------------------
# The oracles


@pytest.mark.skipif(not WIDE, reason="needs extended precision")
@pytest.mark.parametrize(("operator", "params"), cases("float32"))
@pytest.mark.parametrize("which", WHICH)
def test_oracles_agree(operator, params, which):
    if operator.__name__ not in FAST:
        pytest.skip("has no fast oracle")
    params = cast(params, "float32")
    a = np.random.default_rng(1).choice(sample(np.float32, 4000, params), 400)
    r = evaluated(operator.__name__, which, a, params)
    exact = reference(operator, a, *params, which=which)
    for computed, number in zip(r, exact, strict=True):
        if np.isinf(computed):
            assert number == computed
        else:
            n, d = computed.as_integer_ratio()
            with mpmath.workprec(20000):
                assert abs(n - number * d) <= abs(number) * d * 2.0**-59
    assert np.array_equal(bits(nearest(operator, which, a, params)), bits(rounded(exact, np.float32)))


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_rounding_is_that_of_numpy(name):
    random = np.random.default_rng(2)
    wide = {"float16": np.float32, "float32": np.float64, "float64": LONG}[name]
    limits = np.finfo(name)
    exponents = random.integers(limits.minexp - limits.nmant - 2, limits.maxexp + 1, 3000)
    numbers = np.ldexp(random.integers(-(2**12), 2**12, 3000).astype(wide), exponents - 11)
    with np.errstate(over="ignore", under="ignore"):
        expected = numbers.astype(name)
    mine = rounded(numbers, name)
    nonzero = numbers != 0
    assert np.array_equal(bits(mine[nonzero]), bits(expected[nonzero]))


def test_rounding_to_bfloat16_is_that_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    numbers = np.random.default_rng(3).integers(1, 2**31, 5000).astype(np.uint32).view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    with np.errstate(over="ignore"):
        assert np.array_equal(bits(rounded(numbers, ml_dtypes.bfloat16)), bits(numbers.astype(ml_dtypes.bfloat16)))


def test_a_definition_for_every_operator(help):
    from shrinkops.testing import DEFINITIONS

    assert set(DEFINITIONS) == set(OPERATORS)
    for name, operator in OPERATORS.items():
        params = help.example(operator)
        for which in ("value", "derivative", *operator.parameters):
            assert len(reference(name, [1.0, 2.0], *params, which=which)) == 2
        with pytest.raises(ValueError, match=f"which must be one of value, derivative.* for {name}, got 'slope'"):
            reference(name, 1.0, *params, which="slope")


def test_the_oracle_has_the_derivatives_of_its_values():
    for operator in ODD:
        for params in parameter_sets(operator, {0: [()], 1: [(0.75,)], 2: [(0.75, 3.5), (0.75, 0.5)]}):
            for x, k in itertools.product((0.25, 0.8125, 1.4375, 4.0), range(len(params) + 1)):
                which = ("derivative", *operator.parameters)[k]
                arguments = [x, *params]

                def moved(t, k=k, arguments=arguments, operator=operator):
                    return reference(operator, *arguments[:k], t, *arguments[k + 1 :], digits=60)

                with mpmath.workdps(40):
                    slope = mpmath.diff(moved, mpmath.mpf(arguments[k]))
                    assert abs(slope - reference(operator, *arguments, which=which)) < mpmath.mpf(10) ** -14


@pytest.mark.parametrize(
    ("computed", "exact", "error"),
    [
        (np.float32(1), 1, 0),
        (np.float32(1), 1 + 2.0**-24, 0.5),
        (np.float32(2), 2 - 2.0**-23, 1),
        (np.float32(0), 2.0**-150, 0.5),
        (np.float32(np.nan), np.nan, 0),
        (np.float32(np.nan), 1.0, np.inf),
        (np.float32(np.inf), 1e39, 0),
        (np.float32(np.inf), 3e38, np.inf),
        (np.float32(np.inf), np.inf, 0),
        (np.float32(-np.inf), np.inf, np.inf),
        (np.float16(65504), 65519, 15 / 32),
        (np.float16(np.inf), 65520, 0),
        (np.float64(5e-324), 0.0, 1),
    ],
)
def test_ulp_error(computed, exact, error):
    assert ulp_error(computed, exact) == error


def test_only_floating_point_types():
    with pytest.raises(TypeError, match="dtype must be float16, bfloat16, float32 or float64, got int64"):
        rounded(1.5, np.int64)


# ----------------------------------------------------------------------------------------------------------------------
# 16 bits: all inputs

SIXTEEN = ["float16", "bfloat16"]


def sixteen(name: str) -> Any:
    return np.dtype(np.float16 if name == "float16" else pytest.importorskip("ml_dtypes").bfloat16)


@pytest.mark.parametrize(("operator", "params"), cases("float64"))
@pytest.mark.parametrize("name", SIXTEEN)
def test_all_16_bit_inputs(operator, params, name, help):
    dtype = sixteen(name)
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    number = (bits(x) & 0x7FFF) <= bits(np.array(np.inf, dtype))
    numbers = np.arange(number[:32768].sum(), dtype=np.uint16).view(dtype)
    if not (WIDE and operator.__name__ in FAST):
        numbers = numbers[::64]
    exact = cast(params, dtype)
    if not accepted(operator, exact):
        params = exact = help.example(operator)
    for which in WHICH:
        results = nearest(operator, which, numbers, exact)
        expected = np.zeros(65536, dtype)
        for sign in (0, 0x8000):
            signed = bits(numbers) | sign
            expected[signed] = (bits(results) | sign).view(dtype) if which == "value" else results
        checked = np.concatenate([bits(numbers), bits(numbers) | 0x8000])
        evaluate = function(operator, which)
        apart = np.repeat(x, 2)[::2]  # a layout for which there is no table
        with at_every_level() as levels:
            for _ in levels:
                for y in (evaluate(apart, *params), evaluate(np.tile(x, 3), *params)[65536:131072]):
                    assert y.dtype == dtype
                    assert ((bits(y)[~number] & 0x7FFF) > bits(np.array(np.inf, dtype))).all()
                    assert_bits(y[checked], expected[checked], x[checked])


# ----------------------------------------------------------------------------------------------------------------------
# float32


@pytest.mark.parametrize(("operator", "params"), cases("float32"))
@pytest.mark.parametrize("which", WHICH)
def test_float32_is_nearest(operator, params, which):
    """The part of the proof below that runs every time."""
    fast = WIDE and operator.__name__ in FAST
    params = cast(params, "float32")
    a = sample(np.float32, (1 << (18 if params else 21)) if fast else 1 << 10, params)
    a = a if fast else np.random.default_rng(9).choice(a, 1000)
    with at_every_level() as levels, shrinkops.num_threads(2):
        expected = nearest(operator, which, a, params)
        for _ in levels:
            assert_nearest(operator, which, a, params, expected)


class at_every_level:
    """Iterate over the instruction set levels, and put back the one that was in use."""

    def __enter__(self) -> Any:
        self.before = loops.get_isa()
        return (loops.set_isa(name) or name for name in LEVELS)

    def __exit__(self, *_: object) -> None:
        loops.set_isa(self.before)


@pytest.mark.parametrize(("operator", "params"), cases("float32"))
def test_nan_in_nan_out(operator, params, level):
    payloads = np.random.default_rng(4).integers(1, 1 << 22, 1000).astype(np.uint32)
    x = np.concatenate([payloads | 0x7FC00000, payloads | 0xFFC00000]).view(np.float32)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(bits(operator(x, *params)), bits(x))
        assert np.isnan(operator.derivative(x, *params)).all()


@pytest.mark.parametrize(("operator", "params"), cases("float32"))
def test_derivatives_to_parameters_in_float32(operator, params, level):
    """Half an ulp and what double precision adds."""
    params = cast(params, "float32")
    a = np.random.default_rng(5).choice(sample(np.float32, 2000, params), 300)
    x = np.where(np.arange(len(a)) % 2 == 0, a, -a)
    for k, name in enumerate(operator.parameters, 1):
        y = loops.KERNELS[operator.__name__](x, params, which=k)
        assert np.max(ulp_error(y, reference(operator, x, *params, which=name))) < 0.5001, (name, level)


# Parameter sets of the proof: nice, arbitrary, extreme.
PROOF = {
    0: [()],
    1: [(0.5,), (TENTH,), (1e-30,)],
    2: [(0.5, 1.5), (TENTH, float(np.float32(0.3))), (1.0, 1.0000001), (0.5, 3.7)],
}
CHUNK = 1 << 20
PROOFS = cases("float32", PROOF)


def in_pieces(operator: Any, which: str, a: Any, params: Any, piece: int = 1 << 15) -> Any:
    """What fits the cache at a time."""
    return np.concatenate([nearest(operator, which, a[k : k + piece], params) for k in range(0, len(a), piece)])


@pytest.mark.exhaustive
@pytest.mark.skipif(not WIDE, reason="needs extended precision")
@pytest.mark.parametrize(("operator", "params"), PROOFS)
def test_all_float32_inputs(operator, params):
    """The proof: value and derivative at all 2^32 inputs, at every level."""
    tqdm = pytest.importorskip("tqdm").tqdm
    if operator.__name__ not in FAST:
        pytest.skip("has no fast oracle")
    params = cast(params, "float32")
    first_nan = 0x7F800001
    workers = os.cpu_count() or 1

    def numbers(start: int) -> Any:
        return np.arange(start, min(start + CHUNK, first_nan), dtype=np.uint32).view(np.float32)

    def expected(start: int) -> Any:
        return [in_pieces(operator, which, numbers(start), params) for which in WHICH]

    def check(job: Any) -> None:
        start, results = job
        for which, result in zip(WHICH, results, strict=True):
            assert_nearest(operator, which, numbers(start), params, result)

    starts = range(0, first_nan, CHUNK)
    with ThreadPoolExecutor(workers) as pool, at_every_level(), shrinkops.num_threads(1):
        for k in tqdm(range(0, len(starts), workers), desc=f"{operator.__name__}{params}", mininterval=5):
            some = starts[k : k + workers]
            jobs = list(zip(some, pool.map(expected, some), strict=True))
            for name in LEVELS:
                loops.set_isa(name)
                list(pool.map(check, jobs))
        for name in LEVELS:
            loops.set_isa(name)
            for start in range(first_nan, 1 << 31, CHUNK):
                for sign in (0, 1 << 31):
                    x = np.arange(start | sign, min(start + CHUNK, 1 << 31) | sign, dtype=np.int64)
                    x = x.astype(np.uint32).view(np.float32)
                    assert np.array_equal(bits(operator(x, *params)) | 0x400000, bits(x) | 0x400000)
                    assert np.isnan(operator.derivative(x, *params)).all()


# ----------------------------------------------------------------------------------------------------------------------
# float64


def long_error(y: Any, r: Any) -> Any:
    """Errors in ulps against extended precision, of float64 or float32 results."""
    p, least = FORMATS[y.dtype.name]
    with np.errstate(all="ignore"):
        place = np.maximum(np.frexp(r)[1] - p, least)
        error = np.abs(np.ldexp(y.astype(LONG) - r, -place))
        # what overflows rightly is an infinity; that of an infinity is itself
        right = (y == rounded_once(r, y.dtype)) | (np.isnan(y) & np.isnan(r))
    return np.where(right & ~np.isfinite(y), 0, np.where(np.isnan(error), np.inf, error)).astype(float)


def thresholds(operator: Any, n: int, random: Any) -> list[Any]:
    """Parameter arrays: of every magnitude, close pairs, and subnormal or huge ones; in increasing order."""
    made: list[Any] = []
    for k in range(len(operator.parameters)):
        p = np.ldexp(random.uniform(1, 2, n), random.integers(-1074, 1024, n))
        ordinary = random.random(n) < (0.5 if operator.__name__ in FAST else 1)
        p[ordinary] = 10.0 ** random.uniform(-3, 3, ordinary.sum())
        if k:
            low = made[-1]
            close = random.random(n) < 0.4
            with np.errstate(over="ignore"):
                p[close] = low[close] * (1 + 2.0 ** random.uniform(-52, 4, close.sum()))
            near = random.random(n) < 0.1
            p[near] = (bits(low) + random.integers(0, 9, n).astype(np.uint64)).view(float)[near]
            # in order, none beyond the largest number
            p = np.minimum(p, np.finfo(float).max)
            made[-1], p = np.minimum(low, p), np.maximum(low, p)
        made.append(p)
    kept = accepted(operator, tuple(made)) if made else None
    return [p[kept] for p in made]


def around(params: list[Any], n: int, random: Any) -> Any:
    """Numbers near and between the parameters, element by element."""
    if not params:
        return np.concatenate([random.uniform(0.4, 2.5, n - n // 2), random.uniform(0, 22, n // 2)])
    low, high = params[0], params[-1]
    with np.errstate(over="ignore"):
        choices = [
            low * (1 + 2.0 ** random.uniform(-52, 3, n)),
            low + (high - low) * random.random(n),
            high * (1 - 2.0 ** random.uniform(-53, -1, n)),
            high * 2.0 ** random.uniform(0, 60, n),
            (bits(low) + random.integers(0, 50, n).astype(np.uint64)).view(float),
            np.ldexp(random.uniform(1, 2, n), random.integers(-1074, 1024, n)),
        ]
    return np.minimum(np.choose(random.integers(0, len(choices), n), choices), np.finfo(float).max)


@pytest.mark.parametrize("operator", ODD, ids=lambda op: op.__name__)
@pytest.mark.parametrize("which", WHICH)
def test_float64_in_every_binade(operator, which, level):
    """A few of every binade against the slow oracle, for each parameter set."""
    random = np.random.default_rng(6)
    exponents = np.repeat(np.arange(-1074, 1024), 2)
    if not operator.parameters:
        exponents = np.concatenate([exponents, np.repeat(np.arange(-360, 6), 40), np.repeat(np.arange(-12, 5), 300)])
    a = np.ldexp(random.uniform(1, 2, len(exponents)), exponents)
    worst = 0.0
    for params in parameter_sets(operator):
        some = a if not params else random.choice(a, 200)
        x = np.concatenate([some, neighbours([p for p in params if p > 0], np.float64, 20)])
        x *= random.choice([-1, 1], len(x))
        exact = reference(operator, x, *params, which=which, digits=25)
        error = ulp_error(function(operator, which)(x, *params), exact)
        k = np.argmax(error)
        worst = max(worst, error[k])
        assert error[k] < 1, (x[k].hex(), params, level)
    print(f"\nfloat64 {operator.__name__} {which} ({level}), every binade: {worst:.4f} ulp")


@pytest.mark.skipif(not WIDE, reason="needs extended precision")
@pytest.mark.parametrize("operator", ODD, ids=lambda op: op.__name__)
@pytest.mark.parametrize("which", WHICH)
def test_float64_is_within_1_ulp(operator, which, level):
    """Dense, against extended precision, and where the errors are largest, against the slow oracle."""
    if operator.__name__ not in FAST:
        pytest.skip("has no fast oracle")
    n, random = 1 << 19, np.random.default_rng(7)
    params = thresholds(operator, n, random)
    n = len(params[0]) if params else n
    a = around(params, n, random)
    if not params:
        a = np.concatenate([a, sample(np.float64, 1 << 20, ()), 10 ** random.uniform(-108, -100, 1 << 16)])
    x = a * random.choice([-1, 1], len(a))
    y = function(operator, which)(x, *params)
    r = evaluated(operator.__name__, which, a, params)
    error = long_error(np.abs(y) if which == "value" else y, r)
    worst = np.argsort(error)[-20:]
    exact = reference(operator, x[worst], *(p[worst] for p in params), which=which)
    errors = ulp_error(y[worst], exact)
    k = worst[np.argmax(errors)]
    print(f"\nfloat64 {operator.__name__} {which} ({level}), dense: {errors.max():.4f} ulp")
    assert errors.max() < 1, (x[k].hex(), [p[k].hex() for p in params])


@pytest.mark.parametrize("operator", [op for op in ODD if op.parameters], ids=lambda op: op.__name__)
def test_derivatives_to_parameters_in_float64(operator, level):
    n, random = 2000 if operator.__name__ in FAST else 300, np.random.default_rng(8)
    params = thresholds(operator, n, random)
    n = len(params[0])
    x = around(params, n, random) * random.choice([-1, 1], n)
    for k, name in enumerate(operator.parameters, 1):
        y = loops.KERNELS[operator.__name__](x, tuple(params), which=k)
        errors = ulp_error(y, reference(operator, x, *params, which=name, digits=25))
        worst = np.argmax(errors)
        print(f"\nfloat64 {operator.__name__} d/d{name} ({level}): {errors.max():.4f} ulp")
        assert errors.max() < 4, (name, x[worst].hex(), [p[worst].hex() for p in params])


# ----------------------------------------------------------------------------------------------------------------------
# Other libraries


@pytest.mark.parametrize(("operator", "params"), cases("float32"))
@pytest.mark.parametrize("name", [*SIXTEEN, "float32", "float64"])
def test_torch_has_the_bits_of_numpy(operator, params, name, torch):
    dtype = sixteen(name) if name in SIXTEEN else np.dtype(name)
    a = sample(dtype, 1 << 12, params) if dtype.itemsize > 2 else np.arange(0, 0x7C00, dtype=np.uint16).view(dtype)
    x, unsigned = np.concatenate([a, -a]), f"u{dtype.itemsize}"
    signed = f"int{8 * dtype.itemsize}"

    def tensor(array):
        return torch.from_numpy(array.view(signed).copy()).view(getattr(torch, name))

    def bits_of(t):
        return t.detach().view(getattr(torch, signed)).numpy().view(unsigned)

    g = np.linspace(-2, 2, len(x)).astype(dtype)
    t = tensor(x).requires_grad_()
    y = operator(t, *params)
    assert np.array_equal(bits_of(y), bits(operator(x, *params)))
    (gradient,) = torch.autograd.grad(y, t, torch.ones_like(y), retain_graph=True)
    assert np.array_equal(bits_of(gradient), bits(operator.derivative(x, *params)))
    (gradient,) = torch.autograd.grad(y, t, tensor(g))
    assert np.array_equal(bits_of(gradient), bits(operator.vjp(g, x, *params)[0]))
    assert np.array_equal(bits_of(operator.derivative(tensor(x), *params)), bits(operator.derivative(x, *params)))


def formula_in(xp: Any, f: Any, x: Any, params: tuple[float, ...]) -> Any:
    if xp.__name__ == "jax":
        with xp.enable_x64(True):
            return np.asarray(f(xp.numpy.asarray(x), *params))
    with np.errstate(all="ignore"):
        return np.asarray(f(xp.asarray(x), *params))


@pytest.mark.skipif(not WIDE, reason="needs extended precision")
@pytest.mark.parametrize(("operator", "params"), cases("float32"))
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("library", ["strict", "jax"])
def test_the_formula_is_within_4_ulp(operator, params, which, name, library, request):
    """XLA takes subnormal numbers for zero: results, arguments and thresholds. Only that is allowed, and only there."""
    if operator.__name__ not in FAST:
        pytest.skip("has no fast oracle")
    dtype = np.dtype(name)
    params = cast(params, dtype)
    a = sample(dtype, 1 << 15, params)
    x = np.concatenate([a, -a])
    y = formula_in(request.getfixturevalue(library), function(operator, which), x, params)
    assert y.dtype == dtype
    r = evaluated(operator.__name__, which, np.abs(x), params)
    r = np.copysign(r, x) if which == "value" else r
    error = long_error(y, r)
    if library == "jax":
        tiny = np.finfo(dtype).tiny
        zeroed = tuple(float(flush(p, tiny)) for p in params)
        flushed = evaluated(operator.__name__, which, flush(np.abs(x), tiny), zeroed)
        flushed = np.copysign(flushed, x) if which == "value" else flushed
        error = np.minimum(error, long_error(y, flushed))
        error[(y == 0) & (np.abs(r) < tiny)] = 0
    k = np.argmax(error)
    print(f"\n{library} {name} {operator.__name__}{params} {which}: {error[k]:.2f} ulp")
    assert error[k] <= 4, (float(x[k]).hex(), y[k], r[k])


def flush(x: Any, tiny: Any) -> Any:
    return np.where(np.abs(x) < tiny, 0, x)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_formula_by_every_argument_is_within_4_ulp(operator, name, strict, help):
    """The value and all derivatives at random numbers and parameters, also where derivatives are large."""
    import array_api_compat

    rng, dtype = np.random.default_rng(11), np.dtype(name)
    x = (rng.choice([-1, 1], 150) * np.exp(rng.uniform(-6, 3, 150))).astype(dtype)
    params = [(a * np.exp(rng.uniform(-2, 2, 150))).astype(dtype) for a in help.example(operator)]
    kept = np.broadcast_to(accepted(operator, params), x.shape)
    x, params = x[kept], [p[kept] for p in params]
    assert x.size > 20
    arrays = tuple(map(strict.asarray, params))
    xp = array_api_compat.array_namespace(strict.asarray(x))
    for k, f in enumerate((operator, *operator.pulls)):
        which = ("value", "derivative", *range(1, len(params) + 1))[k]
        exact = reference(operator, x, *params, which=which)
        with np.errstate(all="ignore"):
            y = np.asarray(f.formula(xp, strict.asarray(x), arrays))
        error = ulp_error(y, exact)
        if operator.__name__ == "lpshrink":  # which divides them by 1 - p, and crosses 0 along p
            error = np.where(params[1] < 0.75, error, 0) if which != 2 else np.zeros(1)
        assert error.max() <= 4, (which, x[error.argmax()], [p[error.argmax()] for p in params])
