"""Proof by brute force: every operator with a penalty is its proximal map; limits and peers say the same.

Nothing here knows a formula of an operator: the objective is (y - x)^2 / 2 plus the penalty, and no other y, neither of
a dense grid nor close by, may have a lower one.
"""

from __future__ import annotations

import itertools
import warnings

import array_api_compat.numpy
import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shrinkops
from shrinkops import OPERATORS
from shrinkops.testing import reference, ulp_error

# Parameters of every size, of which each operator takes those that it accepts.
SIZES = (0.05, 0.3, 0.5, 0.8, 1.0, 1.5, 2.1, 3.7, 9.0)
PROXIMAL = {name: op for name, op in OPERATORS.items() if op.parameters and hasattr(op, "penalty")}
X = np.unique(np.concatenate([np.linspace(-6, 6, 241), [1e-9, -1e-9, 1e-3, 40.0, -300.0]]))
EPSILON = np.finfo(float).eps


def parameters(operator, help, sizes=SIZES):
    """Every tuple of these sizes that the operator accepts, with and without repetition."""
    found = [p for p in itertools.product(sizes, repeat=len(operator.parameters)) if help.accepts(operator, p)]
    assert len(found) >= len(sizes) // 3
    return found


def ids(operators):
    return pytest.mark.parametrize("operator", operators.values(), ids=operators)


def objective(operator, y, x, params):
    with np.errstate(invalid="ignore"):  # infinity where y must not be
        return (y - x) ** 2 / 2 + operator.penalty(y, *params)


# ---------------------------------------------------------------------------------------------------------------------
# The proximal map of its penalty


@ids(PROXIMAL)
def test_no_other_point_is_lower(operator, help):
    """Not on a grid of 2,001 points between the extremes, not within 1e-2 to 1e-7 of the result, nor at 0 and x."""
    grid = np.concatenate([np.linspace(-1.2, 1.2, 2001), [0.0, 1.0]])
    near = np.concatenate([sign * 10.0 ** np.arange(-7, -1.5, 0.5) for sign in (-1, 1)])
    for params in parameters(operator, help):
        y = operator(X, *params)
        lowest = objective(operator, y, X, params)
        assert np.isfinite(lowest).all()
        others = np.concatenate([X * grid[:, None], y + near[:, None], y * (1 + near[:, None])])
        best = objective(operator, others, X, params).min(axis=0)
        allowed = 16 * EPSILON * (X**2 + lowest)
        worst = np.argmin(best - lowest + allowed)
        assert best[worst] >= lowest[worst] - allowed[worst], (params, X[worst], y[worst])


@ids(PROXIMAL)
def test_the_penalty_is_one(operator, help):
    """0 at 0, nondecreasing in the magnitude, the same on both sides, infinite only where nothing may be."""
    z = np.concatenate([[0.0], np.geomspace(1e-8, 1e3, 400)])
    for params in parameters(operator, help):
        r = operator.penalty(z, *params)
        assert r[0] == 0
        assert (r >= 0).all()
        assert (np.diff(r) >= -4 * EPSILON * r[1:]).all()
        mirrored = operator.penalty(-z, *params)
        np.testing.assert_array_equal(mirrored, r if operator.odd else np.where(z == 0, 0, np.inf))


@ids(PROXIMAL)
def test_stationarity(operator, help):
    """What is lost is the slope of the penalty, wherever the result is not at a kink."""
    for params in parameters(operator, help):
        y = operator(X, *params)
        kept = np.abs(y) > 1e-3
        x, y, h = X[kept], y[kept], 1e-6 * np.abs(y[kept])
        low, middle, high = (operator.penalty(y + k * h, *params) for k in (-1, 0, 1))
        left, right = (middle - low) / h, (high - middle) / h
        slope, rough = (high - low) / (2 * h), 1e-4 * (1 + np.abs(x))
        smooth = np.abs(right - left) < rough
        assert smooth.mean() > 0.7
        assert (np.abs(x - y - slope) < rough)[smooth].all(), (operator, params)


def upper(operator, params):
    """Bisect to where the result jumps, to two neighbouring floats; None if it does not."""
    x = np.linspace(1e-3, 12, 4001)
    y = operator(x, *params)
    k = np.argmax(np.diff(y))
    low, high = x[k], x[k + 1]
    while (middle := (low + high) / 2) not in (low, high):
        if operator(middle, *params) - operator(low, *params) > operator(high, *params) - operator(middle, *params):
            high = middle
        else:
            low = middle
    jump = operator(high, *params) - operator(low, *params)
    return (low, high) if jump > 1e-4 * low else None


@pytest.mark.parametrize(
    ("name", "jumping"),
    [
        ("lpshrink", [(0.5, 0.5), (1.0, 2 / 3), (3.0, 0.1), (0.2, 0.9)]),
        ("logshrink", [(1.0, 0.5), (3.0, 0.1), (1.1, 1.0), (0.5, 0.2)]),
        ("cauchyshrink", [(5.0, 1.0), (1.0, 0.1), (4.5, 1.0), (0.7, 0.25)]),
        ("hardshrink", [(0.5,), (2.3,)]),
        ("shrink", [(1.0, 0.25), (0.5, 0.0)]),
    ],
)
def test_the_jump_is_where_both_minima_are_equal(name, jumping):
    """To the last digit: the float below it has the lower objective on its side, that above it on the other.

    But for Cauchy's, whose jump is computed in double precision, and may be some floats away.
    """
    operator = OPERATORS[name]

    def exact(y, x, params):
        a, p = abs(mpmath.mpf(float(y))), [mpmath.mpf(float(v)) for v in params]
        penalty = {
            "lpshrink": lambda: p[0] * a ** p[1],
            "logshrink": lambda: p[0] * mpmath.log(1 + a / p[1]),
            "cauchyshrink": lambda: p[0] * mpmath.log(1 + (a / p[1]) ** 2),
            "hardshrink": lambda: p[0] ** 2 / 2 if a else 0,
            "shrink": lambda: p[1] * a + (p[0] - p[1]) ** 2 / 2 if a else 0,
        }[name]()
        return (mpmath.mpf(float(y)) - mpmath.mpf(float(x))) ** 2 / 2 + penalty

    for params in jumping:
        found = upper(operator, params)
        assert found is not None, params
        low, high = found
        assert high == np.nextafter(low, np.inf)
        away = 4 * np.spacing(low) if name == "cauchyshrink" else 0
        low, high = low - away, high + away
        small, large = operator(low, *params), operator(high, *params)
        with mpmath.workdps(60):
            assert exact(small, low, params) <= exact(large, low, params)
            assert exact(large, high, params) <= exact(small, high, params)


@pytest.mark.parametrize("params", [(0.5, 1.0), (4.0, 2.0), (1.0, 1.0)])
def test_no_jump_where_the_problem_is_convex(params):
    assert upper(OPERATORS["logshrink"], params) is None
    assert upper(OPERATORS["cauchyshrink"], params) is None


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("scadshrink", (1.0, 2.0), "scadshrink requires a > 2, got a=2.0"),
        ("mcpshrink", (1.0, 1.0), "mcpshrink requires gamma > 1, got gamma=1.0"),
        ("lpshrink", (1.0, 1.0), "lpshrink requires 0 < p < 1, got p=1.0"),
        ("logshrink", (1.0, 0.0), "logshrink requires eps > 0, got eps=0.0"),
        ("shrink", (0.5, 0.75), "shrink requires bias <= lambd, got lambd=0.5, bias=0.75"),
    ],
)
def test_what_would_not_be_one_problem_is_refused(name, params, sentence):
    with pytest.raises(ValueError, match=sentence):
        OPERATORS[name](1.0, *params)


# ---------------------------------------------------------------------------------------------------------------------
# Shrinkage


@st.composite
def calls(draw):
    """An operator that is odd, parameters that it accepts, and increasing numbers of a dtype."""
    operator = draw(st.sampled_from([op for op in OPERATORS.values() if op.odd]))
    dtype = draw(st.sampled_from(["float16", "float32", "float64"]))
    width = np.dtype(dtype).itemsize * 8
    size = st.floats(2.0**-10, 100.0, width=width) | st.sampled_from([0.5, 1.0, 1.5, 3.0])
    params = draw(st.tuples(*(size for _ in operator.parameters)).filter(lambda p: _accepted(operator, p)))
    x = draw(st.lists(st.floats(0, allow_nan=False, width=width), min_size=2, max_size=30))
    beside = [f * p for p in params for f in (1.0, 2.0, 1.0 + 2.0**-9)]
    return operator, params, np.unique(np.array([*x, *beside, 0.0], dtype))


def _accepted(operator, params):
    return all(r.holds(*r.among(params)) for r in operator.requirements)


@settings(max_examples=300, deadline=None)
@given(calls())
@example((OPERATORS["logshrink"], (1.0, 1.0), np.array([0.0, 1.0, np.nextafter(1, 2), 1.5])))
@example((OPERATORS["hardshrink"], (0.5,), np.array([0.0, 0.5, np.inf])))
def test_odd_operators_shrink(call):
    """Odd, nondecreasing, never larger than x, never across zero."""
    operator, params, x = call
    y = operator(x, *params)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(operator(-x, *params).view(f"u{x.itemsize}"), (-y).view(f"u{x.itemsize}"))
    assert (y[1:] >= y[:-1]).all()
    assert (y >= 0).all()
    assert (y <= x).all()
    assert (operator.derivative(x, *params) >= 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Limits

INFINITY = float("inf")
soft, hard = OPERATORS["softshrink"], OPERATORS["hardshrink"]
LIMITS = {
    "firm with high = inf is soft": ("firmshrink", (0.7, INFINITY), lambda x: soft(x, 0.7)),
    "firm with low = high is hard": ("firmshrink", (0.7, 0.7), lambda x: hard(x, 0.7)),
    "MCP is firm": ("mcpshrink", (0.75, 4.0), lambda x: OPERATORS["firmshrink"](x, 0.75, 3.0)),
    "MCP with gamma = inf is soft": ("mcpshrink", (0.7, INFINITY), lambda x: soft(x, 0.7)),
    "SCAD with a = inf is soft": ("scadshrink", (0.7, INFINITY), lambda x: soft(x, 0.7)),
    "elastic net with l2 = 0 is soft": ("elasticnetshrink", (0.7, 0.0), lambda x: soft(x, 0.7)),
    "elastic net with l1 = 0 is ridge": ("elasticnetshrink", (0.0, 0.5), lambda x: x / 1.5),
    "Huber with delta = inf is ridge": ("hubershrink", (0.5, INFINITY), lambda x: x / 1.5),
    "Huber with delta = 0 is the identity": ("hubershrink", (0.5, 0.0), lambda x: x),
    "log with eps = inf is the identity": ("logshrink", (0.7, INFINITY), lambda x: x),
    "Cauchy with gamma = inf is the identity": ("cauchyshrink", (0.7, INFINITY), lambda x: x),
    "Shrink without a bias is hard": ("shrink", (0.7, 0.0), lambda x: hard(x, 0.7)),
    "Shrink with the threshold as bias is soft": ("shrink", (0.7, 0.7), lambda x: soft(x, 0.7)),
    "sigmoid with tau = inf is hard": ("sigmoidshrink", (0.7, INFINITY), lambda x: hard(x, 0.7)),
    "sigmoid with tau = 0 halves": ("sigmoidshrink", (0.7, 0.0), lambda x: x / 2),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits(limit):
    name, params, expected = LIMITS[limit]
    x = X[np.abs(X) != 0.7]
    np.testing.assert_allclose(OPERATORS[name](x, *params), expected(x), rtol=2 * EPSILON, atol=0)


@pytest.mark.parametrize(
    ("name", "near", "expected"),
    [
        ("lpshrink", lambda t: (0.7, 1 - t), lambda x: soft(x, 0.7)),
        ("lpshrink", lambda t: (0.245, t), lambda x: hard(x, 0.7)),
        ("logshrink", lambda t: (0.7, 1 / t), lambda x: x),
        ("logshrink", lambda t: (0.7 / t, 1 / t), lambda x: soft(x, 0.7)),
        ("cauchyshrink", lambda t: (0.25 / t**2, 1 / t), lambda x: x / 1.5),
        ("hubershrink", lambda t: (0.7 / t, t), lambda x: soft(x, 0.7)),
        ("scadshrink", lambda t: (0.7, 1 / t), lambda x: soft(x, 0.7)),
    ],
)
def test_limits_are_approached(name, near, expected):
    """The closer, the better: tenfold at every step, or nearly so."""
    x = X[(np.abs(np.abs(X) - 0.7) > 0.02) & (np.abs(X) < 7)]
    errors = [np.abs(OPERATORS[name](x, *near(t)) - expected(x)).max() for t in (1e-3, 1e-4, 1e-5)]
    assert errors[0] < 0.05
    assert errors[2] < errors[1] / 5 < errors[0] / 25


# ---------------------------------------------------------------------------------------------------------------------
# Peers, where they are right

SOME = np.random.default_rng(4).normal(scale=2.0, size=1000)


def test_as_torch(torch):
    functional = torch.nn.functional
    x = torch.from_numpy(SOME)
    for mine, theirs in (
        (soft(SOME, 0.7), functional.softshrink(x, 0.7)),
        (hard(SOME, 0.7), functional.hardshrink(x, 0.7)),
        (OPERATORS["threshold"](SOME, 0.7, -0.5), functional.threshold(x, 0.7, -0.5)),
        (OPERATORS["threshold"](SOME, -0.7), functional.threshold(x, -0.7, 0.0)),
        (OPERATORS["nonnegshrink"](SOME, 0.0), functional.relu(x)),
    ):
        np.testing.assert_array_equal(mine, theirs.numpy())
    np.testing.assert_allclose(shrinkops.tanhshrink(SOME), functional.tanhshrink(x), rtol=0, atol=4 * EPSILON)


def test_as_pywavelets():
    pywt = pytest.importorskip("pywt")
    for mode, operator in (("soft", soft), ("hard", hard), ("garrote", OPERATORS["garroteshrink"])):
        np.testing.assert_allclose(operator(SOME, 0.7), pywt.threshold(SOME, 0.7, mode), rtol=1e-12, atol=1e-14)
    firm = pywt.threshold_firm(SOME, 0.7, 2.0)
    np.testing.assert_allclose(OPERATORS["firmshrink"](SOME, 0.7, 2.0), firm, rtol=1e-12, atol=1e-14)


def test_as_skglm():
    from skglm.utils import prox_funcs

    x = SOME[np.abs(SOME) > 1e-6]
    for name, params, theirs in (
        ("lpshrink", (0.7, 0.5), lambda a: prox_funcs.prox_05(a, 0.7)),
        ("lpshrink", (0.7, 2 / 3), lambda a: prox_funcs.prox_2_3(a, 0.7)),
        ("scadshrink", (0.7, 3.7), lambda a: prox_funcs.prox_SCAD(a, 1.0, 0.7, 3.7)),
        ("mcpshrink", (0.7, 3.0), lambda a: prox_funcs.prox_MCP(a, 1.0, 0.7, 3.0)),
        ("logshrink", (0.7, 1.0), lambda a: prox_funcs.prox_log_sum(a, 0.7, 1.0)),
    ):
        np.testing.assert_allclose(OPERATORS[name](x, *params), [theirs(a) for a in x], rtol=1e-9, err_msg=name)


def test_as_jaxopt(jax):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is no longer maintained
        import jaxopt

    expected = jaxopt.prox.prox_elastic_net(jax.numpy.asarray(SOME), (0.7, 0.5))
    np.testing.assert_allclose(OPERATORS["elasticnetshrink"](SOME, 0.7, 0.35), expected, rtol=1e-12)


def test_the_oracle_agrees_where_nothing_is_close():
    """As the peers do: the definitions are the textbooks'."""
    angle = np.arccos((2 / 3) ** -1.5 / 4)
    assert reference("lpshrink", 2.0, 1.0, 0.5) == pytest.approx(4 / 3 * (1 + np.cos((2 * np.pi - 2 * angle) / 3)))
    assert reference("logshrink", 2.0, 1.0, 1.0) == pytest.approx((1 + 5**0.5) / 2, rel=1e-12)
    assert reference("cauchyshrink", 2.0, 1.0, 1.0) == pytest.approx(1.0, rel=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# The ends of the range


def exact_jump(lambd, p):
    """The threshold of lpshrink."""
    lambd, p = mpmath.mpf(lambd), mpmath.mpf(p)
    return (2 - p) / (2 * (1 - p)) * (2 * lambd * (1 - p)) ** (1 / (2 - p))


def test_the_threshold_of_lpshrink_is_exact():
    """But for floats that are nearer to it than 2^-58 of themselves."""
    rng = np.random.default_rng(0)
    with mpmath.workdps(50):
        for p, lambd in zip(rng.uniform(0.02, 0.99, 400), 10 ** rng.uniform(-9, 9, 400), strict=True):
            at = exact_jump(lambd, p)
            x = float(at) + np.spacing(float(at)) * np.arange(-2, 3)
            beyond = np.array([mpmath.mpf(float(a)) > at for a in x])
            close = np.array([abs(mpmath.mpf(float(a)) - at) < at * mpmath.mpf(2) ** -58 for a in x])
            np.testing.assert_array_equal((shrinkops.lpshrink(x, lambd, p) > 0) | close, beyond | close)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lpshrink", (1e308, 0.5)),
        ("lpshrink", (1.7e308, 0.1)),
        ("lpshrink", (5e-324, 0.8)),
        ("lpshrink", (5e-324, 0.01)),
        ("lpshrink", (1e-310, 0.99)),
        ("lpshrink", (1e-306, 0.999)),
        ("lpshrink", (5e-324, 1 - 2.0**-52)),
        ("lpshrink", (1e300, 0.999)),
        ("logshrink", (1e300, 1e-200)),
        ("logshrink", (1e150, 1e-308)),
        ("logshrink", (1e-300, 1e-200)),
        ("logshrink", (1e308, 5e-324)),
        ("cauchyshrink", (1.0, 1e-170)),
        ("cauchyshrink", (1e-200, 1e-300)),
    ],
)
def test_parameters_at_the_ends_of_the_range(name, params):
    """Small and large ones give no NaN, and the global minimiser; so do all x."""
    operator = OPERATORS[name]
    unit = float(exact_jump(*params)) if name == "lpshrink" else params[0] ** 0.5
    x = unit * 2.0 ** np.array([-40.0, -1, 3, 4, 7, 20])
    np.testing.assert_array_equal(operator(np.array([0.0, 1e-320, np.inf]), *params)[[0, 2]], [0, np.inf])
    for which, function in (("value", operator), ("derivative", operator.derivative)):
        error = ulp_error(function(x, *params), reference(name, x, *params, which=which))
        assert error.max() <= 1, (which, x[error.argmax()])


@pytest.mark.parametrize("name", ["lpshrink", "logshrink", "cauchyshrink"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivative_by_a_weight_of_zero(name, dtype):
    """It is that of the penalty, negative: not NaN, and not 0; by the kernel and by the formula."""
    operator, x = OPERATORS[name], np.array([3.0, -0.75, 0.0], dtype)
    expected = {"lpshrink": 0.5 * np.abs(x[:2]) ** -0.5, "logshrink": 1 / (0.5 + np.abs(x[:2]))}
    expected["cauchyshrink"] = 2 * np.abs(x[:2]) / (0.25 + x[:2] ** 2)
    expected = np.append(-np.sign(x[:2]) * expected[name], 0)
    zero, shape = np.zeros(3, dtype), np.full(3, 0.5, dtype)
    kernel, formula = operator.pulls[1], operator.pulls[1].formula(array_api_compat.numpy, x, (zero, shape))
    np.testing.assert_allclose(kernel(x, zero, shape), expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(formula, expected, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(operator.pulls[2](x, zero, shape), 0)


@pytest.mark.parametrize("tau", [1.5, 1e300, 0.3])
@pytest.mark.parametrize("lambd", [np.inf, 1e308])
def test_sigmoid_of_a_threshold_beyond_everything(lambd, tau):
    x = np.array([3.0, -1e10, 0.0])
    np.testing.assert_array_equal(shrinkops.sigmoidshrink(x, lambd, tau), 0)
    np.testing.assert_array_equal(shrinkops.sigmoidshrink(x.astype("f4"), np.inf, tau), 0)
    for cotangent in shrinkops.sigmoidshrink.vjp(np.ones(3), x, np.full(3, lambd), np.full(3, tau)):
        np.testing.assert_array_equal(cotangent, 0)


@pytest.mark.parametrize(
    ("name", "x", "params", "expected"),
    [
        ("cauchyshrink", np.float32(1e20), (2.0, 0.5), 4 * np.log(2e20)),
        ("cauchyshrink", 1e300, (2.0, 0.5), 4 * np.log(2e300)),
        ("logshrink", np.float32(1e34), (1e10, 1e-5), 1e10 * np.log(1e39)),
        ("mcpshrink", np.float32(3e21), (1e22, 3.0), np.inf),
        ("scadshrink", 2e155, (1e155, 3.0), np.inf),
        ("scadshrink", 2.0, (1.0, 3.0), 1.75),
        ("garroteshrink", 2.0, (np.inf,), np.inf),
        ("garroteshrink", 1e-320, (1e308,), 1e-12),
        ("hyperbolicshrink", 2.0, (np.inf,), np.inf),
        ("hyperbolicshrink", 1e-320, (1e308,), 1e-12),
        ("softshrink", np.inf, (0.0,), 0.0),
        ("lpshrink", np.inf, (0.0, 0.5), 0.0),
        ("elasticnetshrink", 1.0, (0.0, 1.7e308), 0.85e308),
        ("hubershrink", np.float32(2.68e20), (0.0326, 2.44e19), 0.0326 * 2.44e19 * (2.68e20 - 1.22e19)),
        ("hubershrink", np.inf, (1.0, 0.0), 0.0),
    ],
)
def test_penalties_at_the_ends_of_the_range(name, x, params, expected):
    np.testing.assert_allclose(OPERATORS[name].penalty(x, *params), expected, rtol=2e-4 if x == 1e-320 else 1e-6)
