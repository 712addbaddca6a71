"""The contract (design, section 6): one test for every row, run for every operator on every library and dtype."""

from __future__ import annotations

import datetime
import decimal
import fractions
import inspect
import itertools

import numpy as np
import pytest

import shrinkops

# What the contract says of names: everything else is found in the registry.
DEFAULTS = {
    "softshrink": {"lambd": 0.5},
    "hardshrink": {"lambd": 0.5},
    "scadshrink": {"a": 3.7},
    "mcpshrink": {"gamma": 3.0},
    "shrink": {"lambd": 0.5, "bias": 0.0},
    "threshold": {"value": 0.0},
}


def same_error(error, call, reference):
    """Assert that two calls fail alike: the same class and the same sentence."""
    with pytest.raises(error) as expected:
        reference()
    with pytest.raises(error) as got:
        call()
    assert type(got.value) is type(expected.value) is error
    assert str(got.value) == str(expected.value)
    return str(got.value)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters: names, order, defaults


def test_signature(operator):
    x, *parameters, out = inspect.signature(operator).parameters.values()
    assert x.name == "x"
    assert [p.name for p in parameters] == list(operator.parameters)
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in (x, *parameters))
    assert out.name == "out"
    assert out.kind is out.KEYWORD_ONLY
    assert out.default is None
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert defaults == DEFAULTS.get(operator.__name__, {})


def test_parameters_by_position_and_by_name(operator, library, help):
    x, p = library.array([-2, 0.75, 3], "float32"), help.example(operator)
    y = library.to_numpy(operator(x, *p))
    for split in range(len(p) + 1):
        named = dict(list(zip(operator.parameters, p, strict=True))[split:])
        np.testing.assert_array_equal(library.to_numpy(operator(x, *p[:split], **named)), y)
        np.testing.assert_array_equal(
            library.to_numpy(operator.derivative(x, *p[:split], **named)), library.to_numpy(operator.derivative(x, *p))
        )
    defaults = DEFAULTS.get(operator.__name__, {})
    given = {name: a for name, a in zip(operator.parameters, p, strict=True) if name not in defaults}
    if defaults and help.accepts(operator, tuple((given | defaults)[name] for name in operator.parameters)):
        np.testing.assert_array_equal(
            library.to_numpy(operator(x, **given)), library.to_numpy(operator(x, **given, **defaults))
        )


def test_parameters_that_do_not_fit_the_signature(operator, library, help):
    p = help.example(operator)
    plain = np.ones(3, np.float32)
    x = library.make(plain)
    for function, n in itertools.product(
        (operator, operator.derivative, lambda *a, **k: operator.vjp(1.0, *a, **k)), (1, 3)
    ):
        same_error(TypeError, lambda: function(x, *p, *[1.0] * n), lambda: operator(plain, *p, *[1.0] * n))  # noqa: B023
        assert "unexpected" in same_error(
            TypeError,
            lambda: function(x, *p, lamda=1.0),  # noqa: B023
            lambda: operator(plain, *p, lamda=1.0),
        )
        for name in operator.parameters:
            same_error(TypeError, lambda: function(x, *p, **{name: 1.0}), lambda: operator(plain, *p, **{name: 1.0}))  # noqa: B023
    required = [
        p
        for p, default in zip(operator.parameters, operator.defaults, strict=True)
        if default is inspect.Parameter.empty
    ]
    if required:
        assert required[0] in same_error(TypeError, lambda: operator(x), lambda: operator(plain))


# ---------------------------------------------------------------------------------------------------------------------
# Scalar parameters


@pytest.mark.parametrize(
    "bad",
    [-1.0, -1e-300, -1, np.float32(-2), fractions.Fraction(-1, 3), float("nan"), np.float64("nan"), -float("inf")],
)
def test_scalar_parameter_out_of_domain(thresholding, library, help, bad):
    plain = np.array([0.25, -3.0], np.float32)
    x = library.make(plain)
    for k, name in enumerate(thresholding.parameters):
        p = list(help.example(thresholding))
        p[k] = bad
        if help.accepts(thresholding, p):  # a parameter may be any number, but never NaN
            assert bad == bad
            continue
        for function in help.functions(thresholding):
            said = same_error(ValueError, lambda: function(x, *p), lambda: thresholding(plain, *p))  # noqa: B023
            assert said.startswith(f"{thresholding.__name__} requires ")
            assert f"{name}={float(bad)!r}" in said


@pytest.mark.core
def test_scalar_parameters_out_of_order(operator, library, help):
    """Every requirement can be what fails, and its sentence is what is said."""
    x, p = library.array([1.0], "float32"), help.example(operator)
    said = set()
    for values in itertools.product((-1.0, 0.5, 2.0, float("nan")), repeat=len(p)):
        failing = [r for r in operator.requirements if not r.holds(*r.among(values))]
        if failing:
            with pytest.raises(ValueError, match=f"requires {failing[0].text}, got "):
                operator(x, *values)
            said.add(failing[0].text)
        else:
            operator(x, *values)
    assert said == {r.text for r in operator.requirements}


@pytest.mark.parametrize(
    "bad",
    [
        1j,
        "0.5",
        b"1",
        None,
        True,
        False,
        np.True_,
        np.complex64(1),
        np.timedelta64(1, "ns"),
        np.timedelta64(1, "s"),
        np.datetime64("2020"),
        np.str_("1"),
        decimal.Decimal("0.5"),
        datetime.timedelta(1),
        {"lambd": 1},
        {0.5},
        object,
    ],
    ids=repr,
)
def test_scalar_parameter_that_is_no_real_number(thresholding, library, help, bad):
    plain = np.array([0.25, -3.0], np.float32)
    x = library.make(plain)
    for k, name in enumerate(thresholding.parameters):
        p = list(help.example(thresholding))
        p[k] = bad
        for function in help.functions(thresholding):
            said = same_error(TypeError, lambda: function(x, *p), lambda: thresholding(plain, *p))  # noqa: B023
            assert said == f"{thresholding.__name__}: {name} must be a real number or an array, got {bad!r}"


def test_scalar_parameter_that_no_float_can_hold(thresholding, library, help):
    x = library.array([1.0], "float32")
    with pytest.raises(ValueError, match="that a float can hold"):
        thresholding(x, 10**400, *help.example(thresholding)[1:])


@pytest.mark.parametrize("kind", [int, np.float16, np.float32, np.float64, np.longdouble, np.int8, fractions.Fraction])
def test_scalar_parameter_of_any_real_kind(thresholding, library, help, kind):
    x = library.array([0.5, -1.5, 3, 4], "float32")
    values = help.example(thresholding, (1.0, 2.0, 3.0, 0.5))
    converted = [kind(a) if kind(a) == a else a for a in values]
    assert type(converted[0]) is kind
    y = library.to_numpy(thresholding(x, *values))
    np.testing.assert_array_equal(library.to_numpy(thresholding(x, *converted)), y)


def test_scalar_parameter_of_bfloat16(thresholding, library, help):
    x = library.array([0.5, -1.5, 3, 4], "float32")
    values = help.example(thresholding)
    kind = help.numpy_dtype("bfloat16").type
    np.testing.assert_array_equal(
        library.to_numpy(thresholding(x, *map(kind, values))), library.to_numpy(thresholding(x, *values))
    )


def test_a_bad_scalar_is_refused_before_anything_is_computed(thresholding, help):
    """An array of 2^60 bytes by stride 0 could not be computed; and an output is not touched."""
    x = np.broadcast_to(np.float32(1), (2**58,))
    for bad, error in ((-1.0, ValueError), (float("nan"), ValueError), (1j, TypeError), (None, TypeError)):
        if bad == -1.0 and help.accepts(thresholding, (bad, *help.example(thresholding)[1:])):
            continue
        for function in help.functions(thresholding):
            with pytest.raises(error):
                function(x, bad, *help.example(thresholding)[1:])
        out = np.full(3, 7.0)
        with pytest.raises(error):
            thresholding(np.ones(3), bad, *help.example(thresholding)[1:], out=out)
        assert (out == 7).all()


# ---------------------------------------------------------------------------------------------------------------------
# Thresholds: the knot, zero, infinity, precision


def has_threshold(operator, help, *params):
    """Whether the operator, by its definition, is 0 up to its first parameter and not beyond."""
    first = params[0]
    return operator.odd and help.exact(operator, first, params) == 0 and help.exact(operator, first * 1.001, params) > 0


@pytest.mark.core
def test_at_the_threshold_is_zero(thresholding, library, dtype, help):
    p = help.example(thresholding)
    if not has_threshold(thresholding, help, *p):
        return
    knots = np.array([p[0], -p[0]] * 2).astype(help.numpy_dtype(dtype))
    y = library.to_numpy(thresholding(library.make(knots), *p))
    np.testing.assert_array_equal(y, np.zeros_like(knots))
    if library.zeros:
        np.testing.assert_array_equal(np.signbit(y), [False, True] * 2)
    np.testing.assert_array_equal(
        library.to_numpy(thresholding.derivative(library.make(knots), *p)), np.zeros_like(knots)
    )
    above = np.nextafter(knots, np.array([9, -9] * 2).astype(knots.dtype))
    y = library.to_numpy(thresholding(library.make(above), *p))
    assert (np.sign(y) == [1, -1] * 2).all()
    assert (library.to_numpy(thresholding.derivative(library.make(above), *p)) > 0).all()


def test_threshold_zero_is_the_identity(thresholding, library, dtype, help):
    """Where it is by the definition."""
    plain = help.reals(dtype)
    x = library.make(plain)
    some = np.array([-3.0, -0.1, 0.7, 20.0])
    for rest in (help.example(thresholding)[1:], (0.0,) * (len(thresholding.parameters) - 1)):
        if not help.accepts(thresholding, (0.0, *rest)):
            continue
        if (help.exact(thresholding, some, (0.0, *rest)) != some).any():
            continue
        for zero in (0, 0.0, -0.0):
            help.same(library, thresholding(x, zero, *rest), plain, ulps=0)
            derivative = library.to_numpy(thresholding.derivative(x, zero, *rest))
            help.equal(derivative, np.where(np.isnan(plain), plain, np.ones_like(plain)))


def test_threshold_infinity_is_zero(thresholding, library, dtype, help):
    """Where it is by the definition."""
    plain = help.reals(dtype)
    plain = plain[np.isfinite(plain)]
    for rest in (help.example(thresholding)[1:], (float("inf"),) * (len(thresholding.parameters) - 1)):
        p = (float("inf"), *rest)
        if not (help.accepts(thresholding, p) and thresholding.odd and help.exact(thresholding, 3.0, p) == 0):
            continue
        help.same(library, thresholding(library.make(plain), *p), np.copysign(np.zeros_like(plain), plain), ulps=0)
        derivative = library.to_numpy(thresholding.derivative(library.make(plain), *p))
        np.testing.assert_array_equal(derivative, np.zeros_like(plain))


def test_threshold_too_large_for_the_dtype_is_infinity(thresholding, library, dtype, help):
    if dtype == "float64":
        return
    x = library.array([3e4, -2.0, 1.0, 0.0], dtype)
    for rest in (help.example(thresholding)[1:], (1e300,) * (len(thresholding.parameters) - 1)):
        p = (1e300, *rest)
        if not help.accepts(thresholding, p):
            continue
        infinite = [float("inf") if a == 1e300 else a for a in p]
        expected = help.exact(thresholding, [3e4, -2.0, 1.0, 0.0], infinite, dtype=help.numpy_dtype(dtype))
        for params in (p, [library.array([a] * 4, "float64") for a in p]):
            help.equal(library.to_numpy(thresholding(x, *params)), expected)


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, 0.7])
def test_threshold_is_rounded_to_the_precision_of_x(thresholding, library, dtype, help, threshold):
    """So that all operators agree at the knot: at the number that is written 0.1 in the precision of x."""
    scales = itertools.permutations((2.0, 5.0, 0.5, 40.0), len(thresholding.parameters) - 1)
    candidates = [(threshold, *(threshold * scale for scale in some)) for some in scales]
    p = next(p for p in candidates if help.accepts(thresholding, p))
    if not has_threshold(thresholding, help, *p):
        return
    knot = np.array([threshold, -threshold] * 2).astype(help.numpy_dtype(dtype))
    beyond = np.nextafter(knot, np.sign(knot) * knot.dtype.type(9))
    as_arrays = [library.array([a] * 4, "float64") for a in p]
    for params in (p, as_arrays):
        for function in (thresholding, thresholding.derivative):
            np.testing.assert_array_equal(library.to_numpy(function(library.make(knot), *params)), np.zeros_like(knot))
            assert (library.to_numpy(function(library.make(beyond), *params)) != 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Threshold arrays


def test_parameter_array_out_of_domain_is_nan_there_only(thresholding, library, dtype, help):
    p = help.example(thresholding)
    x = np.array([-2.0, 0.25, 1.0, 3.0]).astype(help.numpy_dtype(dtype))
    for k, bad in itertools.product(range(len(p)), (-1.0, float("nan"), -float("inf"))):
        if help.accepts(thresholding, (*p[:k], bad, *p[k + 1 :])):
            continue
        column = np.array([p[k], bad, p[k], bad])
        params = [library.array(column, dtype) if j == k else a for j, a in enumerate(p)]
        for function in help.functions(thresholding)[:2]:
            y = library.to_numpy(function(library.make(x), *params))
            good = library.to_numpy(function(library.make(x), *p))
            help.equal(y, np.where([False, True] * 2, np.array(np.nan).astype(y.dtype), good))
        if hasattr(thresholding, "penalty"):
            y = library.to_numpy(thresholding.penalty(library.make(x), *params))
            np.testing.assert_array_equal(np.isnan(y), [False, True] * 2)


def test_parameter_array_of_no_dimension_is_not_inspected(thresholding, library, help):
    for bad in (-1.0, float("nan")):
        values = (bad,) * len(thresholding.parameters)
        params = [library.array(a, "float32") for a in values]
        y = library.to_numpy(thresholding(library.array([1.0, -2.0], "float32"), *params))
        assert (np.isnan(y) != help.accepts(thresholding, values)).all()


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 3), (3,)),
        ((4, 3), (4, 1)),
        ((4, 3), ()),
        ((3,), (4, 3)),
        ((4, 1), (3,)),
        ((), (2, 2)),
        ((0, 3), (3,)),
        ((2, 0, 1), (5,)),
    ],
)
@pytest.mark.dtypes("working")
@pytest.mark.libraries(broadcasts=True)
def test_parameter_array_broadcasts(thresholding, library, dtype, help, shapes):
    rng = np.random.default_rng(3)
    x_shape, shape = shapes
    x = (2 * rng.normal(size=x_shape)).astype(help.numpy_dtype(dtype))
    params = [a.astype(x.dtype) for a in help.arrays(thresholding, shape)]
    whole = np.broadcast_arrays(x, *params)
    single = zip(*(a.ravel() for a in whole), strict=True)
    expected = np.array([thresholding(a, *map(float, p)) for a, *p in single]).astype(x.dtype).reshape(whole[0].shape)
    help.same(library, thresholding(library.make(x), *map(library.make, params)), expected)


@pytest.mark.core(slow=True)
@pytest.mark.shows("array parameters")
def test_parameters_that_are_numbers_and_arrays(thresholding, library, help):
    """Each parameter alone may be an array."""
    dtype = "float64" if "float64" in library.dtypes else "float32"
    x, p = np.array([-2.0, 0.75, 3.0, 0.5], dtype), help.example(thresholding)
    y = thresholding(x, *p)
    for k in range(len(p)):
        params = [library.array([a] * 4, dtype) if j == k else a for j, a in enumerate(p)]
        help.same(library, thresholding(library.make(x), *params), y)


def test_parameter_array_does_not_change_the_dtype(thresholding, library, dtype, help):
    x = library.array([-2.0, 0.75], dtype)
    for other in {"float16", "float32", "float64", "int32", "uint8"} & set(library.dtypes):
        params = [library.array([k + 1, k + 1], other) for k in range(len(thresholding.parameters))]
        for function in help.functions(thresholding)[:2]:
            assert library.dtype_of(function(x, *params)) == dtype


@pytest.mark.libraries(aligns=False)
def test_shapes_that_do_not_broadcast(thresholding, library, help):
    params = [library.array(np.ones(4) + k) for k in range(len(thresholding.parameters))]
    with pytest.raises((ValueError, RuntimeError, TypeError)):
        library.to_numpy(thresholding(library.array(np.ones(3)), *params))


@pytest.mark.parametrize("bad", ["bool", "complex64"])
def test_parameter_array_that_holds_no_real_numbers(thresholding, library, help, bad):
    if bad not in library.dtypes:
        pytest.skip(f"{library} has no such dtype")
    plain = np.ones(2, np.float32)
    for k, name in enumerate(thresholding.parameters):
        p = list(help.example(thresholding))

        def reference(k=k, p=p):
            thresholding(plain, *p[:k], np.ones(2, bad), *p[k + 1 :])

        for function in help.functions(thresholding):
            said = same_error(
                TypeError,
                lambda: function(library.make(plain), *p[:k], library.array([1, 1], bad), *p[k + 1 :]),  # noqa: B023
                reference,
            )
            assert name in said
            assert bad in said


# ---------------------------------------------------------------------------------------------------------------------
# Special values


@pytest.mark.core
def test_nan(operator, library, dtype, help):
    dtype = help.numpy_dtype(dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    quiet = np.array([np.nan, np.nan, np.nan, np.nan]).astype(dtype).view(unsigned) | np.array([0, 1, 5, 3], unsigned)
    quiet ^= np.array([0, 0, 1, 1], unsigned) << np.array(8 * dtype.itemsize - 1, unsigned)
    x, p = quiet.view(dtype), help.example(operator)
    y = library.to_numpy(operator(library.make(x), *p))
    assert np.isnan(y).all()
    if library.kernels:
        np.testing.assert_array_equal(help.bits(y), quiet)
    for function in help.functions(operator)[1:]:
        result = function(library.make(x), *p)
        for a in result if isinstance(result, tuple) else (result,):
            assert np.isnan(library.to_numpy(a)).all()


def test_nan_stays_at_its_place(operator, library, dtype, help):
    """For every position in vectors and their remainders."""
    p = help.example(operator)
    n = 67
    square = np.where(np.eye(n, dtype=bool), np.nan, 2.0).astype(help.numpy_dtype(dtype))
    for function in help.functions(operator)[:2]:
        y = library.to_numpy(function(library.make(square), *p))
        np.testing.assert_array_equal(np.isnan(y), np.eye(n, dtype=bool))
        assert len(np.unique(y[~np.eye(n, dtype=bool)])) == 1


@pytest.mark.core
def test_infinity(operator, library, dtype, help):
    """As large as it was, if odd, and the derivative that of the definition: 1, mostly."""
    plain = np.array([np.inf, -np.inf] * 2)
    x, params = library.array(plain, dtype), help.example(operator)
    for p in (params, (0.0,) * len(params)):
        if not help.accepts(operator, p):
            continue
        value, derivative = (
            help.exact(operator, plain, p, which, help.numpy_dtype(dtype)) for which in ("value", "derivative")
        )
        for given in (p, [library.array([a] * 4, dtype) for a in p]):
            help.equal(library.to_numpy(operator(x, *given)), value)
            help.equal(library.to_numpy(operator.derivative(x, *given)), derivative)
        assert not operator.odd or (value == plain).all()


def test_sign_is_kept(operator, library, dtype, help):
    """Of zeros too, and of what is shrunk to zero, by operators that are odd; others tell no sign of zeros."""
    plain = help.reals(dtype)
    plain = plain[~np.isnan(plain)]
    p = help.example(operator)
    if operator.odd:
        for params in (p, tuple(5 * a for a in p)):
            if help.accepts(operator, params):
                y = library.to_numpy(operator(library.make(plain), *params))
                np.testing.assert_array_equal(np.signbit(y), np.signbit(plain))
    else:
        zeros = library.to_numpy(operator(library.array([0.0, -0.0], dtype), *p))
        np.testing.assert_array_equal(np.signbit(zeros), [False, False])


@pytest.mark.core(slow=True)
@pytest.mark.shows("value", "derivative", "vjp")
def test_values(operator, library, dtype, help):
    """The same bits from every kernel, within 4 ulp where the formula is what runs: value, derivative, cotangents."""
    x, p = help.reals(dtype), help.example(operator)
    g = np.random.default_rng(1).normal(size=x.shape).astype(x.dtype)
    for function in (operator, operator.derivative):
        help.same(library, function(library.make(x), *p), function(x, *p))
    params = [np.full(x.shape, a, x.dtype) for a in p]
    pulled = operator.vjp(library.make(g), library.make(x), *map(library.make, params))
    for a, b in zip(pulled, operator.vjp(g, x, *params), strict=True):
        help.same(library, a, b)


def test_shrinks(operator, library, dtype, help):
    """Odd, monotone, never larger than x, never across zero; the derivative at least 0."""
    if not operator.odd:
        return
    x, p = np.sort(help.reals(dtype)), help.example(operator)
    x = x[~np.isnan(x)]
    y = library.to_numpy(operator(library.make(x), *p))
    np.testing.assert_array_equal(help.bits(y), help.bits(-library.to_numpy(operator(library.make(-x), *p))))
    assert (y[1:] >= y[:-1]).all()
    assert (abs(y) <= abs(x)).all()
    assert (np.sign(y) * np.sign(x) >= 0).all()
    assert (library.to_numpy(operator.derivative(library.make(x), *p)) >= 0).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 3)])
def test_shapes(operator, library, help, shape):
    x, p = np.full(shape, -2.0), help.example(operator)
    for function in help.functions(operator)[:2]:
        help.same(library, function(library.make(x), *p), np.full(shape, function(-2.0, *p)))


@pytest.mark.dtypes("number")
@pytest.mark.libraries(compiles=False)
def test_no_warning_and_no_floating_point_error(operator, library, dtype, help):
    """Not of any function on any special value, however the caller has NumPy treat errors."""
    dtype = help.numpy_dtype(dtype)
    info = np.finfo(np.float32 if dtype.name == "bfloat16" else dtype)
    some = [0.0, float(info.tiny), float(info.smallest_subnormal), float(info.max), 1e-3, 1.0, 30.0, np.inf, np.nan]
    with np.errstate(all="ignore"):
        x = np.array([*some, *(-a for a in some)]).astype(dtype)
        if dtype.kind == "c":
            x = (x[:, None] + 1j * x.real).ravel().astype(dtype)
    first, *rest = help.example(operator) or (0.0,)
    extremes = [help.example(operator)]
    for a in (0.0, 1e-300, 1e300, float("inf")):
        some = [(a,) * len(operator.parameters), (a, *rest)[: len(operator.parameters)], (first, *(a for _ in rest))]
        extremes += [p for p in some if len(p) == len(operator.parameters) and help.accepts(operator, p)]
    with np.errstate(all="raise"):
        for p in extremes:
            arrays = [library.array(np.full(x.shape, a)) for a in p]
            for function in help.functions(operator):
                results = [function(library.make(x), *p)]
                if p and not library.lazy:
                    results.append(function(library.make(x), *arrays))
                for a in results:
                    for b in a if isinstance(a, tuple) else (a,):
                        if library.lazy:
                            b.compute()


# ---------------------------------------------------------------------------------------------------------------------
# Dtypes


@pytest.mark.dtypes("number")
@pytest.mark.core(slow=True)
@pytest.mark.shows("dtypes")
def test_dtype_is_kept(operator, library, dtype, help):
    x, p = library.array([0.25, -3.0, 2.0, 1.0], dtype), help.example(operator)
    assert library.dtype_of(operator(x, *p)) == dtype
    assert library.dtype_of(operator.derivative(x, *p)) == dtype
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    for k, a in enumerate(operator.vjp(library.array([1] * 4, dtype), x, *p)):
        assert library.dtype_of(a) == (real if k else dtype)
    if hasattr(operator, "penalty"):
        assert library.dtype_of(operator.penalty(x, *p)) == real


@pytest.mark.dtypes("integer")
@pytest.mark.core
def test_integers_become_floating_point(operator, library, dtype, help):
    info = np.iinfo(dtype)
    plain = np.array([info.min, info.max, 1, 7], dtype)
    p = help.example(operator)
    for function in help.functions(operator)[:2] + help.functions(operator)[3:]:
        y = function(library.make(plain), *p)
        assert library.dtype_of(y) == library.default
        expected = library.to_numpy(function(library.array(plain.astype(library.default)), *p))
        np.testing.assert_array_equal(library.to_numpy(y), expected)
    assert library.dtype_of(operator.vjp(1.0, library.make(plain), *p)[0]) == library.default


@pytest.mark.core(slow=True)
def test_bool_is_refused(operator, library, help):
    if "bool" not in library.dtypes:
        pytest.skip(f"{library} has no such dtype")
    plain = np.array([True, False])
    for function in help.functions(operator):
        said = same_error(
            TypeError,
            lambda: function(library.make(plain), *help.example(operator)),  # noqa: B023
            lambda: operator(plain, *help.example(operator)),
        )
        assert said == f"{operator.__name__}: x must hold real or complex numbers, got dtype bool"


@pytest.mark.parametrize(
    "bad",
    [
        np.array([None, 1.0]),
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.array([1], "timedelta64[s]"),
        np.zeros(2, [("a", "f4"), ("b", "f4")]),
        np.zeros(2, "V4"),
        np.array(["a"], np.dtypes.StringDType()),
    ],
    ids=lambda a: a.dtype.name[:10],
)
def test_dtypes_that_are_no_numbers_are_refused(operator, help, bad):
    for function in help.functions(operator):
        with pytest.raises(TypeError) as raised:
            function(bad, *help.example(operator))
        assert str(raised.value).endswith(
            f"x must hold real or complex numbers, got dtype {bad.dtype.name or bad.dtype}"
        )


def test_dask_refuses_at_once(operator, da, help):
    x = da.from_array(np.array(["a"], dtype=object), chunks=1)
    with pytest.raises(TypeError, match="got dtype object"):
        operator(x, *help.example(operator))


def test_longdouble(operator, help):
    """By the formula, in its own precision."""
    x, p = help.reals("longdouble"), help.example(operator)
    with np.errstate(all="raise"):
        y = operator(x, *p)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    same = x.astype(float) == x  # what is next to a knot is on it in the other precision
    np.testing.assert_allclose(y[same].astype(float), operator(x[same].astype(float), *p), rtol=4e-16, atol=0)
    for function in help.functions(operator)[1:2] + help.functions(operator)[3:]:
        with np.errstate(all="raise"):
            a = function(x, *p)
        assert a.dtype == x.dtype
        np.testing.assert_allclose(a[same].astype(float), function(x[same].astype(float), *p), rtol=1e-15)
    with np.errstate(all="raise"):
        operator.vjp(x, x, *p)
        for a in (0.0, 1e-300, 1e300, np.inf):
            if help.accepts(operator, (a,) * len(p)):
                operator(x, *[a] * len(p))
    third = np.longdouble(1) / 3
    if operator.odd:
        assert operator(-third, *p) == -operator(third, *p)
        np.testing.assert_array_equal(np.signbit(y), np.signbit(x))


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers


def test_complex_is_refused_where_signs_matter(operator, library, help):
    """By one sentence, at once; every operator that is odd takes complex numbers."""
    if operator.odd or "complex128" not in library.dtypes:
        return
    plain = np.array([1j, 2.0])
    for function in help.functions(operator):
        said = same_error(
            TypeError,
            lambda: function(library.make(plain), *help.example(operator)),  # noqa: B023
            lambda: operator(plain, *help.example(operator)),
        )
        assert said == f"{operator.__name__}: x must hold real numbers, got dtype complex128"


@pytest.mark.dtypes("complex")
@pytest.mark.core(slow=True)
@pytest.mark.shows("complex")
def test_complex(operator, library, dtype, help):
    x, p = help.complexes(dtype), help.example(operator)
    y = library.to_numpy(operator(library.make(x), *p))
    wide = x.astype(np.complex128)
    if operator.analytic:
        expected = operator(wide, *p)
    else:
        a = abs(wide)
        expected = operator(a, *p) * np.where(a > 0, wide / np.where(a > 0, a, 1), 0)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=0, atol=0 if not eps else 1e-300 + 8 * eps * abs(x).max())
    assert (abs(y - expected) <= 16 * eps * np.maximum(abs(wide), abs(expected))).all()
    np.testing.assert_array_equal(y[x == 0], 0)


@pytest.mark.dtypes("complex")
def test_complex_with_real_values(operator, library, dtype, help):
    """On the real axis the complex operator is the real one."""
    real = {"complex64": "float32", "complex128": "float64"}[dtype]
    x, p = help.reals(real), help.example(operator)
    x = x[np.isfinite(x)]
    y = library.to_numpy(operator(library.make(x.astype(dtype)), *p))
    np.testing.assert_allclose(y, operator(x, *p), rtol=8 * np.finfo(real).eps)


@pytest.mark.dtypes("complex")
def test_complex_keeps_its_phase_at_any_magnitude(operator, library, dtype, help):
    if operator.analytic:
        return
    huge, tiny = (1e300, 1e-300) if dtype == "complex128" else (1e37, 1e-37)
    p = help.example(operator)
    for scale, params in itertools.product((huge, tiny), (p, (0.0,) * len(p))):
        if help.accepts(operator, params):
            x = np.array([scale + scale * 1j, scale - scale * 1j, 3 * scale + 4j * scale, -scale, 0], dtype)
            a = abs(x)
            kept = operator(a, *params) / np.where(a > 0, a, 1)
            np.testing.assert_allclose(
                library.to_numpy(operator(library.make(x), *params)), x * kept, rtol=8 * np.finfo(dtype).eps
            )


@pytest.mark.dtypes("complex")
def test_complex_nan_and_infinity(operator, library, dtype, help):
    p = help.example(operator)
    x = np.array([complex(np.nan, 1), complex(1, np.nan), complex(np.nan, np.nan), complex(np.nan, 0)], dtype)
    assert np.isnan(library.to_numpy(operator(library.make(x), *p))).all()
    assert np.isnan(library.to_numpy(operator.derivative(library.make(x), *p))).all()
    if not operator.analytic:
        inf = np.inf
        x = np.array([complex(inf, 1), complex(1, -inf), complex(-inf, inf), complex(-inf, 0)], dtype)
        y = library.to_numpy(operator(library.make(x), *p))
        np.testing.assert_array_equal(y.real, x.real)
        np.testing.assert_array_equal(y.imag, x.imag)


@pytest.mark.dtypes("complex")
def test_complex_analytic(operator, library, dtype, help):
    """What is analytic has one derivative in all directions; what is not changes along and across the phase."""
    x, p = help.complexes(dtype).astype("complex128"), help.example(operator)
    x = x[(abs(x) > 0) & (abs(x) < 5)]
    if dtype == "complex64":
        return
    h = 1e-6
    for turn in (1, 1j, np.exp(0.7j)):
        step = turn * h
        numeric = (operator(x + step, *p) - operator(x - step, *p)) / (2 * h)
        pulled = library.to_numpy(operator.vjp(library.array(np.full(x.shape, turn)), library.make(x), *p)[0])
        if operator.analytic:
            derivative = library.to_numpy(operator.derivative(library.make(x), *p))
            np.testing.assert_allclose(derivative * turn, numeric, atol=1e-6, rtol=1e-6)
            np.testing.assert_allclose(pulled, turn * np.conj(derivative), rtol=1e-12)
        else:  # the map of the plane has a symmetric Jacobian
            np.testing.assert_allclose(pulled, numeric, atol=1e-6, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# out=


@pytest.mark.libraries(out=True)
@pytest.mark.dtypes("number")
@pytest.mark.shows("out")
def test_out(operator, library, dtype, help):
    p = help.example(operator)
    x = library.array([[0.25, -3.0], [2.0, 1.0]], dtype)
    arrays = [
        library.array(np.full((2, 2), a), {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype))
        for a in p
    ]
    for function in help.functions(operator)[:2] + help.functions(operator)[3:]:
        for params in (p, arrays):
            y = function(x, *params)
            out = library.array(np.full((2, 2), 7), library.dtype_of(y))
            if not _writeable(out):
                out = out.copy()
            assert function(x, *params, out=out) is out
            np.testing.assert_array_equal(library.to_numpy(out), library.to_numpy(y))


@pytest.mark.libraries(out=True)
def test_out_may_be_x(operator, library, dtype, help):
    p = help.example(operator)
    for function in (operator, operator.derivative):
        x = library.array(np.linspace(-3, 3, 601), dtype)
        if not _writeable(x):
            x = x.copy()
        y = function(x, *p)
        assert function(x, *p, out=x) is x
        np.testing.assert_array_equal(library.to_numpy(x), library.to_numpy(y))


@pytest.mark.libraries(out=True)
def test_out_may_be_a_parameter(thresholding, library, dtype, help):
    x = library.array(np.linspace(-3, 3, 601), dtype)
    for k in range(len(thresholding.parameters)):
        params = [library.array(np.full(601, a), dtype) for a in help.example(thresholding)]
        y = library.to_numpy(thresholding(x, *params))
        if not _writeable(params[k]):
            params[k] = params[k].copy()
        thresholding(x, *params, out=params[k])
        np.testing.assert_array_equal(library.to_numpy(params[k]), y)


@pytest.mark.libraries(out=True)
@pytest.mark.dtypes("number")
@pytest.mark.parametrize("shift", [-700, -600, -64, -3, -1, 1, 2, 17, 599, 600, 601])
def test_out_may_overlap_x(operator, library, dtype, help, shift):
    """The result is that of no overlap."""
    p, n = help.example(operator), 601
    memory = library.array(np.linspace(-3, 3, n + abs(shift)), dtype)
    if not _writeable(memory):
        memory = memory.copy()
    x, out = (memory[:n], memory[shift : shift + n]) if shift > 0 else (memory[-shift : n - shift], memory[:n])
    y = library.to_numpy(operator(x, *p)).copy()
    assert operator(x, *p, out=out) is out
    np.testing.assert_array_equal(library.to_numpy(out), y)


@pytest.mark.libraries(out=True)
def test_out_may_overlap_x_turned(operator, library, help):
    p = help.example(operator)
    memory = library.array(np.linspace(-3, 3, 40 * 40).reshape(40, 40), "float32")
    if not _writeable(memory):
        memory = memory.copy()
    y = library.to_numpy(operator(memory, *p)).copy()
    operator(memory, *p, out=memory.T)
    np.testing.assert_array_equal(library.to_numpy(memory.T), y)


@pytest.mark.libraries(out=True)
@pytest.mark.dtypes("number")
def test_out_of_another_shape_or_dtype(operator, library, dtype, help):
    p = help.example(operator)
    plain = np.array([0.25, -3.0, 2.0]).astype(help.numpy_dtype(dtype))
    x = library.make(plain)
    other = "float32" if dtype == "float64" else "float64"
    for shape, kind, error, said in (
        ((2,), dtype, ValueError, "out must have shape (3,), got (2,)"),
        ((4,), dtype, ValueError, "out must have shape (3,), got (4,)"),
        ((1, 3), dtype, ValueError, "out must have shape (3,), got (1, 3)"),
        ((), dtype, ValueError, "out must have shape (3,), got ()"),
        ((3,), other, TypeError, f"out must have dtype {dtype}, got {other}"),
        ((3,), "int32", TypeError, f"out must have dtype {dtype}, got int32"),
    ):
        for function in (operator, operator.derivative):
            out = library.array(np.full(shape, 7), kind)
            with pytest.raises(error) as raised:
                function(x, *p, out=out)
            assert str(raised.value) == said
            np.testing.assert_array_equal(library.to_numpy(out), np.full(shape, 7).astype(help.numpy_dtype(kind)))


@pytest.mark.libraries(out=True)
def test_out_does_not_broadcast(thresholding, library, help):
    """An output of the shape of x is too small where a parameter makes the result larger."""
    x, out = library.array(np.ones(3)), library.array(np.full(3, 7.0))
    params = [library.array(np.full((2, 3), a)) for a in help.example(thresholding)]
    with pytest.raises(ValueError, match=r"out must have shape \(2, 3\), got \(3,\)"):
        thresholding(x, *params, out=out)
    assert (library.to_numpy(out) == 7).all()


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128", "longdouble"]
)
def test_out_that_is_readonly(operator, dtype, help):
    x = np.array([0.25, -3.0]).astype(help.numpy_dtype(dtype))
    out = x.copy()
    out.setflags(write=False)
    for function in (operator, operator.derivative):
        with pytest.raises(ValueError, match="out must be writeable, got a read-only array"):
            function(x, *help.example(operator), out=out)
    np.testing.assert_array_equal(out, x)


def test_out_of_no_array(operator, library, help):
    x = library.array([1.0, 2.0], "float32")
    for bad in ([0.0, 0.0], 1.0, "out", np.float32(1), object()):
        with pytest.raises(TypeError, match="out"):
            operator(x, *help.example(operator), out=bad)


@pytest.mark.libraries(out=False)
def test_out_where_there_is_none(operator, library, help):
    x = library.array([1.0, 2.0], "float32")
    with pytest.raises(TypeError, match=f"{operator.__name__}: out= is not supported for ") as raised:
        operator(x, *help.example(operator), out=library.array([7.0, 7.0], "float32"))
    assert type(x).__qualname__ in str(raised.value)


def test_out_of_numpy_in_any_layout(operator, help):
    p = help.example(operator)
    x = np.linspace(-3, 3, 24).reshape(4, 6)
    y = operator(x, *p)
    memory = np.full((8, 12), 7.0)
    for out in (
        memory[::2, ::2],
        memory[::-2, 1::2],
        memory[:6, :4].T,
        np.full((4, 6), 7.0, ">f8"),
        np.full((4, 6), 7.0, order="F"),
    ):
        assert operator(x, *p, out=out) is out
        np.testing.assert_array_equal(out, y)
    unaligned = np.zeros(24 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 6)
    np.testing.assert_array_equal(operator(x, *p, out=unaligned), y)


def _writeable(a):
    return not isinstance(a, np.ndarray) or a.flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# Numbers, lists, subclasses of ndarray


def test_numbers(operator, help):
    p = help.example(operator)
    for number, cls in (
        (-2.0, np.float64),
        (3, np.float64),
        (2**80, None),
        (np.float32(-2), np.float32),
        (np.float16(-2), np.float16),
        (np.int8(-128), np.float64),
        *([(3 + 4j, np.complex128), (np.complex64(3 + 4j), np.complex64)] if operator.odd else []),
        (np.longdouble(2), np.longdouble),
        (help.numpy_dtype("bfloat16").type(2), help.numpy_dtype("bfloat16").type),
    ):
        if cls is None:  # no integer of NumPy holds it
            with pytest.raises(TypeError, match="got dtype object"):
                operator(number, *p)
            continue
        for function in help.functions(operator)[:2]:
            y = function(number, *p)
            assert type(y) is cls
            np.testing.assert_allclose(
                y, function(np.asarray([number]), *p)[0], rtol=1e-6 if cls is np.complex64 else 1e-15
            )


def test_lists(operator, help):
    p = help.example(operator)
    for a in ([[-2, 0.75], [3, 0]], ((-2.0, 1), (1, 1)), [1, 2], *([[1j, 2]] if operator.odd else []), []):
        y = operator(a, *p)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, operator(np.asarray(a), *p))
    with pytest.raises(TypeError, match="got dtype bool"):
        operator([True, False], *p)
    with pytest.raises(TypeError, match="got dtype"):
        operator(["a"], *p)
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own words
        operator([[1, 2], [3]], *p)


def test_list_as_parameter(thresholding, help):
    x, p = np.array([-2.0, 0.75, 3.0]), help.example(thresholding)
    np.testing.assert_array_equal(thresholding(x, *([a] * 3 for a in p)), thresholding(x, *p))
    np.testing.assert_array_equal(thresholding(2.0, *([a] * 3 for a in p)), [thresholding(2.0, *p)] * 3)


def test_array_of_no_dimension_stays_an_array(operator, library, help):
    y = operator(library.array(2.0), *help.example(operator))
    assert type(y) is type(library.array(2.0))
    assert y.shape == ()


def test_out_with_a_number(operator, help):
    out = np.zeros(())
    assert operator(2.0, *help.example(operator), out=out) is out
    assert out == operator(2.0, *help.example(operator))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex128", "int32", "longdouble"])
def test_masks_survive(operator, help, dtype):
    p = help.example(operator)
    plain = np.array([-2.0, 0.75, 3.0]).astype(help.numpy_dtype(dtype))
    x = np.ma.MaskedArray(plain, [False, True, False])
    for function in help.functions(operator)[:2] + help.functions(operator)[3:]:
        y = function(x, *p)
        assert type(y) is np.ma.MaskedArray
        np.testing.assert_array_equal(y.mask, x.mask)
        np.testing.assert_array_equal(y.data[~x.mask], function(plain, *p)[~x.mask])
    y = operator(np.ma.MaskedArray(plain), *p)
    assert type(y) is np.ma.MaskedArray
    assert not np.ma.getmaskarray(y).any()
    y[0] = np.ma.masked
    assert not np.ma.getmaskarray(x)[0]  # the mask of the result is its own


def test_mask_of_a_parameter(thresholding, help):
    p, mask = help.example(thresholding), [True, False, False]
    x = np.array([-2.0, 0.75, 3.0])
    params = [np.ma.MaskedArray(np.full(3, a), mask) for a in p]
    for a in (x, np.ma.MaskedArray(x, [False, False, True])):
        y = thresholding(a, *params)
        assert type(y) is np.ma.MaskedArray
        np.testing.assert_array_equal(y.mask, np.logical_or(mask, np.ma.getmaskarray(a)))


def test_masks_in_out(operator, help):
    p = help.example(operator)
    x = np.ma.MaskedArray([-2.0, 0.75, 3.0], [False, True, False])
    out = np.ma.MaskedArray(np.full(3, 7.0))
    assert operator(x, *p, out=out) is out
    np.testing.assert_array_equal(out.mask, x.mask)
    assert out[0] == operator(-2.0, *p)


def test_what_is_masked_has_no_part_in_cotangents(operator, help):
    p = help.example(operator)
    x = np.ma.MaskedArray([-2.0, np.nan, 3.0], [False, True, False])
    pulled = operator.vjp(np.ones(3), x, *p)
    expected = operator.vjp(np.ones(2), np.array([-2.0, 3.0]), *p)
    np.testing.assert_array_equal(pulled[0].mask, x.mask)
    np.testing.assert_array_equal(pulled[0].compressed(), expected[0])
    for a, b in zip(pulled[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)  # the same numbers, summed in another order


class Tagged(np.ndarray):
    """A subclass that carries something, as NumPy's guide on subclassing has it."""

    def __array_finalize__(self, a):
        """Take the tag along."""
        self.tag = getattr(a, "tag", None)


def test_subclasses_are_kept(operator, help):
    p = help.example(operator)
    x = np.array([-2.0, 0.75, 3.0]).view(Tagged)
    x.tag = "unit"
    kinds = [x, x.astype(np.float32), x.astype(int), x[:2], x[0:0], x.reshape(3, 1)]
    for a in kinds + ([x.astype(complex)] if operator.odd else []):
        y, reference = operator(a, *p), np.conj(a)
        assert type(y) is type(reference) is Tagged
        assert y.tag == "unit"
        np.testing.assert_array_equal(np.asarray(y), operator(np.asarray(a), *p))
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[-2.0, 0.75]])
    y = operator(matrix, *p)
    assert type(y) is np.matrix
    assert y.shape == (1, 2)
    memory = np.zeros(3).view(np.memmap)
    assert type(operator(memory, *p)) is type(np.negative(memory))
    operator.vjp(np.ones(3), x, *p)


def test_recarray_and_other_numbers_are_refused(operator, help):
    for bad in (np.rec.array([(1.0, 2)], dtype=[("a", "f8"), ("b", "i4")]), np.ma.MaskedArray(["a"], [True])):
        with pytest.raises(TypeError, match="must hold real or complex numbers"):
            operator(bad, *help.example(operator))


# ---------------------------------------------------------------------------------------------------------------------
# Inputs are never modified


@pytest.mark.dtypes("number")
@pytest.mark.libraries(compiles=False)
def test_inputs_are_not_modified(operator, library, dtype, help):
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    plain = np.array([0.25, -3.0, 2.0, -0.0]).astype(help.numpy_dtype(dtype))
    plain_g = np.array([1.0, 2.0, 3.0, 4.0]).astype(help.numpy_dtype(dtype))
    p = help.example(operator)
    columns = [np.full(4, a).astype(help.numpy_dtype(real)) for a in p]
    x, g, params = library.make(plain), library.make(plain_g), [library.make(a) for a in columns]
    operator(x, *p)
    operator(x, *params)
    operator.derivative(x, *params)
    for a in operator.vjp(g, x, *params):
        if library.lazy:
            a.compute()
    if hasattr(operator, "penalty"):
        operator.penalty(x, *params)
    if params:
        with pytest.raises(ValueError, match="requires"):
            operator(x, float("nan"), *params[1:])
    with pytest.raises(TypeError):
        operator(x, *params, out="nothing")
    np.testing.assert_array_equal(help.bits(library.to_numpy(x)), help.bits(plain))
    np.testing.assert_array_equal(help.bits(library.to_numpy(g)), help.bits(plain_g))
    for a, b in zip(params, columns, strict=True):
        np.testing.assert_array_equal(help.bits(library.to_numpy(a)), help.bits(b))


@pytest.mark.dtypes("number")
def test_results_share_no_memory_with_inputs(operator, dtype, help):
    x = np.array([0.25, -3.0]).astype(help.numpy_dtype(dtype))
    p = (0.0,) * len(operator.parameters)  # the identity, of most
    p = p if help.accepts(operator, p) else help.example(operator)
    for function in (operator, operator.derivative):
        y = function(x, *p)
        assert not np.shares_memory(x, y)
        assert y.flags.writeable
    for a in operator.vjp(np.ones_like(x), x, *p):
        assert not np.shares_memory(a, x)


# ---------------------------------------------------------------------------------------------------------------------
# Lazy libraries, and those that differentiate


@pytest.mark.core(slow=True)
@pytest.mark.shows("lazy")
@pytest.mark.libraries(lazy=True)
def test_nothing_is_computed_before_it_is_asked_for(operator, library, help):
    x, p = library.bomb(), help.example(operator)
    for function in help.functions(operator):
        for params in (p, [library.array([a] * 4, "float64") for a in p]):
            found = function(x, *params)
            for a in found if isinstance(found, tuple) else (found,):
                assert type(a) is type(x)
    with pytest.raises(Exception):  # noqa: B017, PT011 - each library has its own, or wraps ours
        library.to_numpy(operator(x, *p))


@pytest.mark.core(slow=True)
@pytest.mark.shows("autodiff")
@pytest.mark.dtypes("working")
@pytest.mark.libraries(differentiable=True)
def test_automatic_differentiation_gives_the_cotangents(operator, library, dtype, help):
    plain, p = help.reals(dtype), help.example(operator)
    plain = plain[np.isfinite(plain)]
    x, params = library.make(plain), [library.array(np.full(plain.shape, a), dtype) for a in p]
    found = library.gradient(operator, x, *params)
    expected = operator.vjp(np.ones_like(plain), plain, *map(library.to_numpy, params))
    for a, b in zip(found, expected, strict=True):
        least = 0 if library.subnormals else np.finfo(dtype).tiny
        np.testing.assert_allclose(library.to_numpy(a), b, rtol=4 * np.finfo(dtype).eps, atol=least)


# ---------------------------------------------------------------------------------------------------------------------
# Two libraries


def test_two_libraries(thresholding, libraries, help):
    """Are refused, by a sentence that names both, unless the one takes NumPy's arrays for its own."""
    plain = np.array([1.0, -2.0], np.float32)
    for a, b in itertools.permutations(libraries.values(), 2):
        roots = [library.name.partition(":")[0] for library in (a, b)]
        other = a if roots[1] == "numpy" else b
        if roots[0] == roots[1] or ("numpy" in roots and other.mixes):
            continue
        x, y = a.make(plain), b.make(plain)
        p = help.example(thresholding)
        for k, name in enumerate(thresholding.parameters):
            params = [b.make(np.full(2, c, np.float32)) if j == k else c for j, c in enumerate(p)]
            for function in help.functions(thresholding):
                with pytest.raises(TypeError) as raised:
                    function(x, *params)
                said = str(raised.value)
                assert said == f"{thresholding.__name__}: x is {_full(x)} but {name} is {_full(y)}"
        with pytest.raises(TypeError) as raised:
            thresholding.vjp(y, x, *p)
        assert str(raised.value) == f"{thresholding.__name__}: x is {_full(x)} but g is {_full(y)}"


def _full(a):
    return f"{type(a).__module__.partition('.')[0]}.{type(a).__qualname__}"


def test_numpy_arrays_where_they_mix(thresholding, libraries, help):
    plain, p = np.array([1.0, -2.0]), help.example(thresholding)
    columns = [np.full(2, a) for a in p]
    for library in libraries.values():
        if library.mixes:
            x = library.make(plain)
            expected = thresholding(plain, *p)
            led = [(plain, *map(library.make, columns))] if library.leads else []
            for args in ((x, *columns), (x, *map(list, columns)), *led):
                y = thresholding(*args)
                assert isinstance(y, type(x))
                np.testing.assert_allclose(library.to_numpy(y), expected, rtol=1e-15)


@pytest.mark.libraries(leads=True)
def test_number_with_array_as_parameter(thresholding, library, help):
    """A number becomes an array of the library that the parameter brings."""
    params = [library.array([a, a], "float64") for a in help.example(thresholding)]
    y = thresholding(2.0, *params)
    assert isinstance(y, type(params[0]))
    np.testing.assert_allclose(library.to_numpy(y), [thresholding(2.0, *help.example(thresholding))] * 2, rtol=1e-6)


def test_cotangent_that_is_no_array(operator, library, help):
    x = library.array([1.0, 2.0])
    for bad in (None, "1", {}, object()):
        with pytest.raises(TypeError, match=f"{operator.__name__}: g must be an array or a number, got "):
            operator.vjp(bad, x, *help.example(operator))


# ---------------------------------------------------------------------------------------------------------------------
# Companions


@pytest.mark.core
def test_derivative_is_the_slope(operator, library, help):
    """Central differences, away from knots."""
    p, h = help.example(operator), 1e-6
    x = np.array([-3.3, -1.7, -1.2, -0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.8, 2.5])
    slope = (operator(x + h, *p) - operator(x - h, *p)) / (2 * h)
    np.testing.assert_allclose(library.to_numpy(operator.derivative(library.make(x), *p)), slope, rtol=1e-6, atol=1e-8)


def test_cotangents_of_parameters_are_slopes(thresholding, library, help):
    p, h = help.example(thresholding), 1e-6
    x = np.array([-3.3, -1.7, -1.2, -0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.1, 1.3, 1.8, 2.5])
    g = np.cos(x)
    for k in range(len(p)):
        up, down = ([a + s * h * (j == k) for j, a in enumerate(p)] for s in (1, -1))
        slope = (thresholding(x, *up) - thresholding(x, *down)) / (2 * h)
        each = [np.full(x.shape, a) for a in p]
        pulled = thresholding.vjp(library.make(g), library.make(x), *map(library.make, each))[k + 1]
        np.testing.assert_allclose(library.to_numpy(pulled), g * slope, rtol=1e-6, atol=1e-8)
        pulled = thresholding.vjp(library.make(g), library.make(x), *p)[k + 1]
        assert pulled.shape == ()
        np.testing.assert_allclose(library.to_numpy(pulled), (g * slope).sum(), rtol=1e-6, atol=1e-8)


def test_vjp_is_the_cotangent_times_the_derivative(operator, library, dtype, help):
    x, p = help.reals(dtype), help.example(operator)
    x = x[np.isfinite(x)]
    g = np.random.default_rng(5).normal(size=x.shape).astype(x.dtype)
    pulled = operator.vjp(library.make(g), library.make(x), *p)
    assert isinstance(pulled, tuple)
    assert len(pulled) == 1 + len(p)
    expected = g.astype(float) * library.to_numpy(operator.derivative(library.make(x), *p)).astype(float)
    eps = 2.0**-8 if dtype == "bfloat16" else np.finfo(x.dtype).eps
    np.testing.assert_allclose(library.to_numpy(pulled[0]).astype(float), expected, rtol=2 * eps, atol=1e-7)
    scaled = operator.vjp(2.0, library.make(x), *p)[0]
    twice = library.to_numpy(operator.derivative(library.make(x), *p)).astype(float) * 2
    np.testing.assert_allclose(library.to_numpy(scaled).astype(float), twice, rtol=2 * eps, atol=1e-7)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4,)), ((3, 4), (3, 1)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3, 4)), ((3, 4), ())]
)
@pytest.mark.libraries(broadcasts=True)
def test_vjp_sums_to_the_shapes_of_the_arguments(thresholding, library, help, shapes):
    rng = np.random.default_rng(9)
    x_shape, shape = shapes
    x = 2 * rng.normal(size=x_shape)
    params = help.arrays(thresholding, shape)
    whole = np.broadcast_arrays(x, *params)
    g = rng.normal(size=whole[0].shape)
    pulled = thresholding.vjp(library.make(g), library.make(x), *map(library.make, params))
    each = thresholding.vjp(g, *(np.ascontiguousarray(a) for a in whole))
    for a, b, argument in zip(pulled, each, (x, *params), strict=True):
        assert a.shape == argument.shape
        extra = tuple(range(b.ndim - argument.ndim))
        kept = tuple(i for i, n in enumerate(argument.shape, len(extra)) if n == 1 and b.shape[i] != 1)
        expected = b.sum(axis=extra + kept).reshape(argument.shape)
        np.testing.assert_allclose(library.to_numpy(a), expected, rtol=1e-12, atol=1e-14)


def test_vjp_sums_in_at_least_single_precision(thresholding, library, dtype, help):
    """4,096 ones are 4,096, not where 16-bit sums stop to grow."""
    plain = np.full((2, 2048), 3.5)
    x = library.array(plain if 2 in library.ndims else plain.ravel(), dtype)
    p = help.example(thresholding)
    single = thresholding.vjp(1.0, np.float32(3.5), *p)
    for params in (p, [library.array(np.full((1, 1), a), dtype) for a in p] if library.broadcasts else p):
        for a, b in zip(thresholding.vjp(1.0, x, *params)[1:], single[1:], strict=True):
            np.testing.assert_allclose(library.to_numpy(a).astype(float), 4096 * float(b), rtol=0.01)


def test_penalty_is_what_the_operator_is_the_proximal_map_of(operator, library, help):
    """No point of a fine grid has a smaller (y - x)^2 / 2 + penalty(y) than the operator's."""
    if not hasattr(operator, "penalty"):
        return
    for p in (
        help.example(operator),
        tuple(1.5 * a for a in help.example(operator)),
        (0.0,) * len(operator.parameters),
    ):
        if not help.accepts(operator, p):
            continue
        x = np.linspace(-5, 5, 101)
        y = operator(x, *p)
        grid = np.concatenate([np.linspace(-6, 6, 12001), [0.0]])
        penalty = library.to_numpy(operator.penalty(library.make(grid), *p))
        assert (penalty >= 0).all()
        best = ((grid[:, None] - x) ** 2 / 2 + penalty[:, None]).min(axis=0)
        own = (y - x) ** 2 / 2 + library.to_numpy(operator.penalty(library.make(y), *p))
        assert (own <= best + 1e-12).all()
        assert (own >= best - 1e-6).all()


def test_penalty(operator, library, dtype, help):
    """Even if the operator is odd, 0 at 0, growing; the same on all libraries."""
    if not hasattr(operator, "penalty"):
        return
    x, p = help.reals(dtype), help.example(operator)
    help.same(library, operator.penalty(library.make(x), *p), operator.penalty(x, *p)) if library.name.startswith(
        ("numpy", "dask")
    ) else np.testing.assert_allclose(
        library.to_numpy(operator.penalty(library.make(x), *p)).astype(float),
        operator.penalty(x, *p).astype(float),
        rtol=8e-3 if dtype == "bfloat16" else 4 * np.finfo(x.dtype).eps,
    )
    x = np.sort(abs(x[np.isfinite(x)]))
    y = library.to_numpy(operator.penalty(library.make(x), *p)).astype(float)
    if operator.odd:
        np.testing.assert_array_equal(y, library.to_numpy(operator.penalty(library.make(-x), *p)).astype(float))
    eps = 2.0**-8 if dtype == "bfloat16" else np.finfo(x.dtype).eps
    assert (y[1:] >= y[:-1] * (1 - 4 * eps)).all()
    assert y[0] == 0


@pytest.mark.dtypes("complex")
def test_penalty_of_complex_numbers(operator, library, dtype, help):
    if not hasattr(operator, "penalty"):
        return
    x, p = help.complexes(dtype), help.example(operator)
    y = library.to_numpy(operator.penalty(library.make(x), *p))
    np.testing.assert_allclose(y, operator.penalty(abs(x), *p), rtol=8 * np.finfo(dtype).eps)


def test_penalty_that_has_no_closed_form():
    missing = [op for op in shrinkops.OPERATORS.values() if op.penalty_formula is None]
    assert missing
    for operator in missing:
        assert not hasattr(operator, "penalty")
        with pytest.raises(AttributeError, match=f"{operator.__name__} has no penalty in closed form"):
            _ = operator.penalty


@pytest.mark.dtypes("working")
@pytest.mark.libraries(broadcasts=True)
def test_the_largest_numbers(operator, library, dtype, help):
    """Nothing that an exponential makes small again overflows before."""
    top = np.finfo(dtype).max
    plain = np.array([top, -top, top / 2, np.sqrt(top), top / 1e4], dtype)
    x, p = library.array(plain, dtype), help.example(operator)
    more = tuple(a * 8**k for k, a in enumerate(p, 1))
    for params in (p, more) if help.accepts(operator, more) else (p,):
        help.same(library, operator(x, *params), operator(plain, *params))
        help.same(library, operator.derivative(x, *params), operator.derivative(plain, *params))


@pytest.mark.core
@pytest.mark.dtypes("real")
def test_numbers_take_the_dtype_of_a_threshold(thresholding, library, dtype, help):
    """As in arithmetic."""
    if not library.leads:
        pytest.skip("x says where the elements are")
    p = [library.array(np.full(3, a), dtype) for a in help.example(thresholding)]
    assert library.dtype_of(thresholding(2.0, *p)) == dtype


@pytest.mark.core
def test_shapes_that_do_not_go_together(thresholding, library, help):
    """Say which argument, and which shape."""
    if not library.broadcasts:
        pytest.skip("broadcasts to the shape of x, or by labels")
    p = help.example(thresholding)
    x = library.array(np.ones(3), library.default)
    for k, name in enumerate(thresholding.parameters):
        params = [library.array(np.full(2, a), library.default) if j == k else a for j, a in enumerate(p)]
        with pytest.raises(ValueError, match=rf"{name} must broadcast .*\(3,\).*, got shape \(2,\)"):
            thresholding(x, *params)
    for of, shape in (([1.0, 1.0], "2,"), ([[1.0] * 3] * 2, "2, 3")):
        for g in (of, library.array(of, library.default)):
            with pytest.raises(ValueError, match=rf"g must broadcast to the shape \(3,\).*, got shape \({shape}\)"):
                thresholding.vjp(g, x, *p)


@pytest.mark.core
def test_cotangents_and_parameters_that_are_complex(thresholding, library, help):
    if "complex64" not in library.dtypes:
        pytest.skip(f"{library} has no complex numbers")
    x, z = library.array(np.ones(3), library.default), library.array(np.ones(3), "complex64")
    p = help.example(thresholding)
    with pytest.raises(TypeError, match=f"{thresholding.__name__}: g must hold real numbers, got dtype complex64"):
        thresholding.vjp(z, x, *p)
    for g, dtype in ((1j, "complex128"), (True, "bool")):
        with pytest.raises(TypeError, match=f"g must hold real numbers, got dtype {dtype}"):
            thresholding.vjp(g, x, *p)
    for k, name in enumerate(thresholding.parameters):
        for of in (x, z) if thresholding.odd else (x,):
            with pytest.raises(TypeError, match=f"{name} must hold real numbers, got dtype complex64"):
                thresholding(of, *(z if j == k else a for j, a in enumerate(p)))
