"""Complex numbers: exact in magnitude and phase, the same bits everywhere, and by the kernels wherever there are any.

The oracle is mpmath: the definition of shrinkops.testing at the exact magnitude, turned to the phase; for what is
analytic, its definition in the plane. Neither knows how the library computes.
"""

import functools
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import shrinkops
from shrinkops import OPERATORS, _formula
from shrinkops._kernels import loops
from shrinkops.testing import reference, ulp_error

DTYPES = ("complex64", "complex128")
REAL = {"complex64": np.float32, "complex128": np.float64}
LEVELS = loops.config()["isa_supported"]
RADIAL = {name: op for name, op in OPERATORS.items() if not op.analytic and op.odd}
ANALYTIC = {name: op for name, op in OPERATORS.items() if op.analytic}
PLANE: dict[str, Callable[[Any], Any]] = {"tanhshrink": lambda z: z - mpmath.tanh(z)}

of_radial = pytest.mark.parametrize("operator", RADIAL.values(), ids=RADIAL)
of_analytic = pytest.mark.parametrize("operator", ANALYTIC.values(), ids=ANALYTIC)
of_all = pytest.mark.parametrize("operator", [*ANALYTIC.values(), *RADIAL.values()], ids=[*ANALYTIC, *RADIAL])
of_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture(params=LEVELS)
def level(request):
    before = loops.get_isa()
    loops.set_isa(request.param)
    yield request.param
    loops.set_isa(before)


def parameter_sets(operator: Any, dtype: str) -> list[tuple[float, ...]]:
    """Ordinary parameters, extremes and limits, of those that the operator accepts; numbers of the precision of x."""
    top = float(np.finfo(dtype).max)
    sets = {
        0: [()],
        1: [(0.5,), (1.25,), (0.0,), (1e-30,), (0.7 * top,), (np.inf,)],
        2: [(0.5, 1.5), (1.5, 0.5), (0.3, 0.7), (0.7, 3.7), (0.0, 3.0), (0.5 * top, 0.9 * top), (0.5, np.inf)],
    }[len(operator.parameters)]
    rounded = [tuple(float(REAL[dtype](p)) for p in params) for params in sets]
    found = [params for params in rounded if all(r.holds(*r.among(params)) for r in operator.requirements)]
    return [params for params in found if homogeneous(operator, params) or all(0.01 < p < 100 for p in params)]


def homogeneous(operator: Any, params: tuple[float, ...]) -> bool:
    """Whether all parameters are in the unit of x, so that extreme ones are like others."""
    p = (0.5, 1.5)[: len(params)]
    if not all(r.holds(*r.among(p)) for r in operator.requirements):
        return False
    x = np.linspace(0, 4, 50)
    return np.allclose(operator(2 * x, *(2 * a for a in p)), 2 * operator(x, *p))


def every_function(operator: Any) -> list[Callable[..., Any]]:
    """The value, the derivative, and the cotangents of x and of each parameter, of the shape of the result."""

    def cotangent(which: int) -> Callable[..., Any]:
        def f(x: Any, *params: Any) -> Any:
            pull = operator.pulls[which]
            g = np.empty_like(x)
            g.real, g.imag = x.imag / 2, x.real
            return pull.implementation(type(x), x)(x, tuple(np.broadcast_to(p, x.shape) for p in params), None, g)

        return f

    return [operator, operator.derivative, *(cotangent(k) for k in range(len(operator.pulls)))]


# ----------------------------------------------------------------------------------------------------------------------
# The oracle


def exact_magnitude(z: Any) -> Any:
    with mpmath.workprec(2 * 2200):
        return mpmath.sqrt(mpmath.mpf(float(z.real)) ** 2 + mpmath.mpf(float(z.imag)) ** 2)


def exact(operator: Any, x: Any, params: tuple[float, ...]) -> tuple[Any, Any]:
    """The real and imaginary parts of the results, as mpmath numbers."""
    parts = np.zeros((2, len(x)), object)
    for k, z in enumerate(x):
        a = exact_magnitude(z)
        with mpmath.workprec(500):
            ratio = reference(operator, +a, *params) / a if a else mpmath.mpf(0)
            parts[:, k] = float(z.real) * ratio, float(z.imag) * ratio
    return parts[0], parts[1]


def far_off(y: Any, z: Any, size: Any) -> float:
    """How far a result is from an exact one, in units of eps * size, beyond what underflow excuses."""
    eps, tiny = float(np.finfo(y.dtype).eps), float(np.finfo(y.dtype).smallest_subnormal)
    with mpmath.workprec(500):
        error = abs(mpmath.mpc(complex(y)) - z) - 2 * tiny
        return float(error / (abs(size) * eps)) if error > 0 else 0.0


# ----------------------------------------------------------------------------------------------------------------------
# Exactness


def turned(magnitudes: Any, dtype: str, random: np.random.Generator) -> Any:
    angles = random.uniform(0, 2 * np.pi, len(magnitudes))
    return (magnitudes * np.cos(angles) + 1j * (magnitudes * np.sin(angles))).astype(dtype)


def parts(real: Any, imag: Any, dtype: str) -> Any:
    z = np.zeros(len(real), dtype)
    z.real, z.imag = real, imag
    return z


def samples(dtype: str, seed: int = 0) -> Any:
    """In all directions: ordinary ones, every binade, parts of any proportion, near and at the knots, the largest."""
    random = np.random.default_rng(seed)
    form = np.finfo(dtype)
    lowest, highest = int(np.log2(form.smallest_subnormal)), form.maxexp - 1

    def binades(n: int) -> Any:
        return np.ldexp(random.uniform(1, 2, n), random.integers(lowest, highest, n)) * random.choice([-1, 1], n)

    knots = np.array([0.3, 0.5, 0.7, 1.25, 1.5])
    beside = np.repeat(knots, 12)
    # Where the slope changes with the magnitude, the last bits of that are worth less.
    nearest = 40 if dtype == "complex64" else 24
    return np.concatenate(
        [
            (random.normal(size=80) + 1j * random.normal(size=80)).astype(dtype),
            turned(abs(binades(40)), dtype, random),
            parts(binades(40), binades(40), dtype),
            turned(beside * (1 + random.choice([-1, 1], 60) * 2.0 ** -random.uniform(1, nearest, 60)), dtype, random),
            parts(random.uniform(0.2, 3, 20), np.ldexp(1.0, -random.integers(1, 100, 20)), dtype),
            turned(np.full(20, form.max) * random.uniform(0.3, 1, 20), dtype, random),
            np.outer([0.5, 1.5, 0.0], [1, -1, 1j, -1j]).ravel().astype(dtype),
        ]
    )


@of_radial
@of_dtypes
def test_values(operator, dtype, level):
    """The nearest numbers in single precision, but for what lies all but in the middle; below 2 ulp in double."""
    x = samples(dtype)
    for params in parameter_sets(operator, dtype):
        y = operator(x, *params)
        for part, sought in zip((y.real, y.imag), exact(operator, x, params), strict=True):
            errors = ulp_error(part.copy(), sought)
            worst = int(np.argmax(errors))
            assert errors[worst] <= (0.5001 if dtype == "complex64" else 2), (params, x[worst], errors[worst])


@of_radial
@of_dtypes
def test_magnitudes_beyond_the_largest_number(operator, dtype, level):
    top, params = np.finfo(dtype).max, parameter_sets(operator, dtype)[0]
    x = parts(top * np.linspace(-1, 1, 21).astype(REAL[dtype]), np.full(21, top), dtype)
    for part, sought in zip((lambda z: z.real, lambda z: z.imag), exact(operator, x, params), strict=True):
        assert ulp_error(part(operator(x, *params)).copy(), sought).max() < 2
    assert np.isfinite(operator.derivative(x, *params)).all()


@of_radial
@of_dtypes
def test_the_side_of_the_threshold(operator, dtype, level):
    """Magnitudes that only more digits than a double has can tell from a threshold."""
    real, params = REAL[dtype], parameter_sets(operator, dtype)[0]
    tiny = np.ldexp(real(1), -np.arange(5, 60)).astype(real)
    for knot in params:
        below = np.nextafter(real(knot), real(0))
        x = np.concatenate([parts(np.full(55, a), tiny, dtype) for a in (knot, below)])
        x = np.concatenate([x, 1j * x, -x, knot * np.array([1, -1j, 0.6 + 0.8j], dtype)])
        sought = [max(abs(a), abs(b)) > 1e-40 for a, b in zip(*exact(operator, x, params), strict=True)]
        np.testing.assert_array_equal(operator(x, *params) != 0, sought)


@of_analytic
@of_dtypes
def test_analytic_values(operator, dtype, level):
    """The nearest numbers in single precision; in double 4 eps of the larger of z and the result."""
    # Of the result itself where |z| < 1.
    random = np.random.default_rng(1)
    disc = turned(np.sqrt(random.uniform(0, 1.3, 150)), dtype, random)
    form = np.finfo(dtype)
    high = np.ldexp(random.uniform(-2, 2, 60), random.integers(-8, form.maxexp - 2, 60))
    poles = (np.arange(-30, 30) + 0.5) * np.pi
    near = np.ldexp(random.uniform(-2, 2, 60), random.integers(-50, -1, 60))
    x = [
        disc,
        disc * np.ldexp(1.0, -random.integers(1, 30, 150)),
        1.125 * np.exp(1j * random.uniform(0, 7, 60)),  # where the formulas meet
        (random.uniform(-40, 40, 150) + 1j * random.uniform(-40, 40, 150)),
        parts(random.normal(size=60), high, dtype),
        parts(high, random.normal(size=60), dtype),
        parts(near, poles, dtype),
        parts(near, poles + near[::-1], dtype),
        parts(disc.real, np.zeros(150), dtype),
        parts(np.zeros(150), disc.imag, dtype),
    ]
    x = np.concatenate([a.astype(dtype) for a in x])
    y, slope = operator(x), operator.derivative(x)
    for z, a, b in zip(x, y, slope, strict=True):
        with mpmath.workprec(1800):
            w = mpmath.mpc(complex(z))
            value = PLANE[operator.__name__](w)
            derivative = (PLANE[operator.__name__](w + mpmath.mpf(2) ** -400) - value) * mpmath.mpf(2) ** 400
        size = abs(value) if abs(z) < 1 or dtype == "complex64" else max(abs(z), abs(value))
        assert far_off(a, value, size) < (0.51 if dtype == "complex64" else 4), (z, a)
        assert far_off(b, derivative, abs(derivative)) < (0.51 if dtype == "complex64" else 6), (z, b)


def test_every_analytic_operator_has_an_oracle():
    assert set(PLANE) == set(ANALYTIC)


@of_radial
@of_dtypes
def test_cotangents(operator, dtype, level):
    """The derivative times g, in the plane: along the phase the slope, across it the ratio."""
    x = samples(dtype, 3)[:180]
    g = np.resize(np.array([1, 1j, 0.6 - 0.8j, -3 + 2j], dtype), x.shape)
    names = ("derivative", *operator.parameters)
    for params in parameter_sets(operator, dtype)[:2]:
        pulled = [
            pull.implementation(np.ndarray, x)(x, tuple(np.full(x.shape, p) for p in params), None, g)
            for pull in operator.pulls
        ]
        assert [a.dtype for a in pulled] == [x.dtype] + [np.dtype(REAL[dtype])] * len(params)
        for k, z in enumerate(x):
            a = exact_magnitude(z)
            with mpmath.workprec(500):
                slopes = [reference(operator, +a, *params, which=name) for name in names]
                ratio = reference(operator, +a, *params) / a if a else slopes[0]
                phase = mpmath.mpc(complex(z)) / a if a else mpmath.mpf(0)
                turned_g = mpmath.mpc(complex(g[k])) * mpmath.conj(phase)
                sought = [
                    (slopes[0] * turned_g.real + 1j * ratio * turned_g.imag) * phase if a else slopes[0] * complex(g[k])
                ]
                sought += [turned_g.real * slope for slope in slopes[1:]]
                size = abs(complex(g[k])) * max([ratio, *map(abs, slopes)])
            # Next to a vertical tangent the last digit of the magnitude decides about the slope.
            bound = max(4, slopes[0] ** 2) if operator.__name__ == "hyperbolicshrink" else 4
            for b, w in zip([c[k] for c in pulled], sought, strict=True):
                assert far_off(b, mpmath.mpc(w), size or 1) < bound, (params, z, b)


# ----------------------------------------------------------------------------------------------------------------------
# Special values


@of_all
@of_dtypes
def test_zeros_keep_the_signs_of_their_parts(operator, dtype, level):
    zeros = np.array([complex(0.0, 0.0), complex(-0.0, 0.0), complex(0.0, -0.0), complex(-0.0, -0.0)], dtype)
    for params in parameter_sets(operator, dtype):
        np.testing.assert_array_equal(signs(operator(zeros, *params)), signs(zeros))
        assert (operator(zeros, *params) == 0).all()


@of_radial
@of_dtypes
def test_what_is_shrunk_to_zero_keeps_the_signs_of_its_parts(operator, dtype, level):
    x = np.array([0.1 + 0.1j, 0.1 - 0.1j, -0.1 + 0.1j, -0.1 - 0.1j, complex(-0.1, 0.0), complex(-0.0, -0.1)], dtype)
    for params in parameter_sets(operator, dtype):
        np.testing.assert_array_equal(signs(operator(x, *params)), signs(x))


def signs(x: Any) -> Any:
    return np.stack([np.signbit(x.real), np.signbit(x.imag)])


@of_radial
@of_dtypes
def test_infinities_and_nan(operator, dtype, level):
    """They stay what they are, part by part; their derivative is that of the magnitude, or NaN."""
    inf, nan = np.inf, np.nan
    x = np.array([complex(a, b) for a in (inf, -inf, nan, 1.0, -0.0) for b in (inf, -inf, nan, 1.0, -0.0)], dtype)
    x = x[~np.isfinite(x)]
    params = parameter_sets(operator, dtype)[0]
    assert operator(x, *params).tobytes() == x.tobytes()
    slope, unknown = operator.derivative(x, *params), np.isnan(x)
    assert np.isnan(slope[unknown]).all()
    np.testing.assert_array_equal(slope[~unknown], operator.derivative(np.array(inf, REAL[dtype]), *params))


@of_analytic
@of_dtypes
def test_analytic_infinities_and_nan(operator, dtype, level):
    """Along the real axis they stay what they are; along the imaginary axis there is no limit."""
    x = np.array([complex(np.inf, 1.0), complex(-np.inf, 1.0), complex(np.inf, np.inf)], dtype)
    np.testing.assert_array_equal(operator(x), x)
    x = np.array([complex(1.0, np.inf), complex(np.nan, 1.0), complex(1.0, np.nan), complex(np.nan, np.nan)], dtype)
    assert np.isnan(operator(x)).all()
    assert np.isnan(operator.derivative(x)).all()


@pytest.mark.parametrize("operator", [op for op in RADIAL.values() if op.parameters], ids=lambda op: op.__name__)
@of_dtypes
def test_parameters_outside_the_domain(operator, dtype, level):
    """NaN at such an element of an array, whatever x."""
    x = np.array([0, 0.1j, 3 + 4j, complex(np.inf, 0), complex(np.nan, 0)], dtype)
    params = [np.full(5, p, REAL[dtype]) for p in parameter_sets(operator, dtype)[0]]
    for k, p in enumerate(params):
        for bad in (-1.0, np.nan):
            wrong = [*params[:k], np.full_like(p, bad), *params[k + 1 :]]
            y = operator(x, *wrong)
            assert np.isnan(y.real).all()
            assert np.isnan(y.imag).all()


# ----------------------------------------------------------------------------------------------------------------------
# The same bits


@functools.cache
def pool(dtype: str) -> Any:
    """240 different numbers, shuffled."""
    special = [0, -0.0, 1e-3j, complex(np.inf, 1), complex(1, -np.inf), complex(np.nan, 2), 1e6j, 0.5, 1.5j, 3 + 4j]
    x = np.concatenate(
        [samples(dtype, 5), np.array(special, dtype), turned(np.full(5, 1e30), dtype, np.random.default_rng(2))]
    )
    return np.random.default_rng(8).permutation(x)[:240]


@functools.cache
def alone(name: str, which: int, dtype: str, params: tuple[float, ...], level: str) -> Any:
    """The results for the pool, each in an array of its own."""
    assert loops.get_isa() == level
    f = every_function(OPERATORS[name])[which]
    return np.concatenate([f(pool(dtype)[k : k + 1].copy(), *params) for k in range(240)])


def same(a: Any, b: Any) -> None:
    """Assert that two arrays have the same bits, but for those of NaN."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    a, b = (np.ascontiguousarray(c).reshape(-1).view(c.real.dtype) for c in (a, b))
    unlike = np.flatnonzero((a.view(f"u{a.itemsize}") != b.view(f"u{a.itemsize}")) & ~(np.isnan(a) & np.isnan(b)))
    assert not len(unlike), (len(unlike), unlike[0], a[unlike[0]], b[unlike[0]])


def in_steps(step: int) -> Callable[[Any], Any]:
    def lay(v: Any) -> Any:
        a = np.zeros(len(v) * abs(step), v.dtype)[::step]
        a[...] = v
        return a

    return lay


def misaligned(v: Any) -> Any:
    a = np.zeros(v.nbytes + 3, np.uint8)[3:].view(v.dtype)
    a[...] = v
    return a


def cut(v: Any) -> Any:
    a = np.zeros((10, 7, 20), v.dtype)[::2, 6:0:-1, 4:12]
    a[...] = v.reshape(5, 6, 8)
    return a


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": np.copy,
    **{f"stride {s}": in_steps(s) for s in (2, 3, -1, -2)},
    "misaligned": misaligned,
    "Fortran": lambda v: np.array(v.reshape(5, 6, 8), order="F"),
    "transposed": lambda v: v.reshape(5, 6, 8).copy().transpose(2, 0, 1),
    "cut": cut,
    "byteswapped": lambda v: v.astype(v.dtype.newbyteorder()),
}


def lay_values(lay: Callable[[Any], Any], v: Any) -> Any:
    """What a layout makes of results, in an ordinary array."""
    a = lay(v)
    return np.ascontiguousarray(a.astype(a.dtype.newbyteorder("=")))


@of_all
@of_dtypes
def test_layouts(operator, dtype, level):
    for params in parameter_sets(operator, dtype)[:2]:
        for which, f in enumerate(every_function(operator)):
            results = alone(operator.__name__, which, dtype, params, level)
            for lay in LAYOUTS.values():
                same(np.ascontiguousarray(f(lay(pool(dtype)), *params)), lay_values(lay, results))
                arrays = [lay(np.full(240, p, REAL[dtype])) for p in params]
                same(np.ascontiguousarray(f(lay(pool(dtype)), *arrays)), lay_values(lay, results))


@of_all
@of_dtypes
def test_out(operator, dtype, level):
    """In another layout, in place, and over a part of the input."""
    params = parameter_sets(operator, dtype)[0]
    results = alone(operator.__name__, 0, dtype, params, level)
    for lay in LAYOUTS.values():
        x, out = lay(pool(dtype)), lay(np.zeros(240, dtype))
        assert operator(x, *params, out=out) is out
        same(lay_values(np.copy, out), lay_values(lay, results))
        operator(x, *params, out=x)
        same(lay_values(np.copy, x), lay_values(lay, results))
    for shift in (1, 3, 100):
        for turn in (1, -1):
            buffer = np.resize(pool(dtype), 2000)
            x, out = buffer[shift:][:1900], buffer[:1900][::turn]
            operator(x, *params, out=out)
            same(out, np.resize(results, 2000)[shift:][:1900])


@of_all
@of_dtypes
def test_positions_and_threads(operator, dtype, level):
    for n in (7, 255, 256, 257, 513, 5000, 70001):
        where = np.arange(n) % 239
        for threads in (1, 3):
            with shrinkops.num_threads(threads):
                for which, f in enumerate(every_function(operator)):
                    params = parameter_sets(operator, dtype)[0]
                    same(f(pool(dtype)[where], *params), alone(operator.__name__, which, dtype, params, level)[where])


@pytest.mark.parametrize("operator", [op for op in RADIAL.values() if op.parameters], ids=lambda op: op.__name__)
@of_dtypes
def test_a_parameter_for_each_row_and_column(operator, dtype, level):
    sets = parameter_sets(operator, dtype)[:2]
    x = np.broadcast_to(pool(dtype), (6, 240))
    pick = np.arange(6)[:, None] % len(sets)
    arrays = [np.array([params[k] for params in sets], REAL[dtype])[pick] for k in range(len(operator.parameters))]
    for which, f in enumerate(every_function(operator)[:2]):
        results = np.stack([alone(operator.__name__, which, dtype, params, level) for params in sets])
        same(f(x, *arrays), results[pick[:, 0]])
        same(np.ascontiguousarray(f(x.T, *(a.T for a in arrays))), np.ascontiguousarray(results[pick[:, 0]].T))


@of_all
@of_dtypes
def test_levels(operator, dtype, level, help):
    """All levels give the same bits, where the operator does for real double numbers."""
    if dtype == "complex128" and level == "baseline" and operator.__name__ in help.own_bits:
        return
    real = np.abs(pool("complex128"))
    for params in parameter_sets(operator, dtype)[:3]:
        found = []
        for name in (level, LEVELS[-1]):
            loops.set_isa(name)
            numbers = [f(real, *params) for f in (operator, operator.derivative)]
            found.append((numbers, [f(pool(dtype), *params) for f in every_function(operator)]))
        if operator.analytic or all(a.tobytes() == b.tobytes() for a, b in zip(found[0][0], found[1][0], strict=True)):
            for a, b in zip(found[0][1], found[1][1], strict=True):
                same(a, b)


# ----------------------------------------------------------------------------------------------------------------------
# The kernels are what runs


@pytest.fixture
def no_formula(monkeypatch):
    def formula(*_: Any, **__: Any) -> Any:
        msg = "the formula ran"
        raise AssertionError(msg)

    monkeypatch.setattr(_formula, "value", formula)
    monkeypatch.setattr(_formula, "pull", formula)


@of_all
@of_dtypes
def test_libraries_reach_the_kernels(operator, dtype, no_formula, torch, da, help):
    x, params = help.complexes(dtype), help.example(operator)
    g = np.roll(x, 1)
    y, pulls = operator(x, *params), operator.vjp(g, x, *params)
    arrays = [np.full(x.shape, p, REAL[dtype]) for p in params]
    same(operator(x, *arrays), y)
    t = torch.from_numpy(x.copy())
    same(operator(t, *params).numpy(), y)
    same(operator(t, *map(torch.from_numpy, arrays)).numpy(), y)
    same(operator(t.conj(), *params).resolve_conj().numpy(), operator(x.conj(), *params))
    out = torch.zeros_like(t)
    operator(t, *params, out=out)
    same(out.numpy(), y)
    t.requires_grad_()
    operator(t, *params).backward(torch.from_numpy(g))
    same(t.grad.numpy(), pulls[0])
    d = da.from_array(x, chunks=10)
    same(operator(d, *params).compute(), y)
    same(operator.vjp(da.from_array(g, chunks=10), d, *params)[0].compute(), pulls[0])
