"""Sparse coding: the lasso as scikit-learn solves it, on handwritten digits, and any other operator, on any library."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import shrinkops
from shrinkops import sparse_coding
from shrinkops.sparse_coding import iterates, sparse_code

LAMBD = 0.2


@pytest.fixture(scope="module")
def digits():
    """Return 12 images of digits, and 80 others, of norm 1, as the dictionary."""
    from sklearn.datasets import load_digits

    images = load_digits().data[np.random.default_rng(0).permutation(1797)[:92]] / 16
    return images[:12], images[12:] / np.linalg.norm(images[12:], axis=1, keepdims=True)


@pytest.fixture(scope="module")
def lasso(digits):
    """Return the codes that scikit-learn finds by coordinate descent, and their objective."""
    from sklearn.linear_model import Lasso

    x, dictionary = digits
    model = Lasso(alpha=LAMBD / x.shape[1], fit_intercept=False, tol=1e-12, max_iter=100_000)
    codes = model.fit(dictionary.T, x.T).coef_
    return codes, ((x - codes @ dictionary) ** 2).sum(-1) / 2 + LAMBD * abs(codes).sum(-1)


def example(operator, help):
    """Return the example's parameters by name."""
    return dict(zip(operator.parameters, help.example(operator), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# The lasso


def test_as_scikit_learn(digits, lasso):
    """Its lasso, and its sparse_encode."""
    from sklearn.decomposition import sparse_encode

    x, dictionary = digits
    codes, objective = lasso
    found = sparse_code(x, dictionary, lambd=LAMBD, tolerance=1e-10, iterations=5000)
    assert found.converged
    assert len(found.objective) == found.iterations + 1
    np.testing.assert_allclose(found.codes, codes, atol=1e-6)
    np.testing.assert_allclose(found.objective[-1], objective, rtol=1e-10)
    assert ((found.codes != 0) == (abs(codes) > 1e-9)).all()
    encoded = sparse_encode(x, dictionary, algorithm="lasso_cd", alpha=LAMBD, max_iter=100_000)
    np.testing.assert_allclose(found.codes, encoded, atol=2e-5)


@pytest.mark.parametrize("method", sparse_coding.METHODS)
def test_the_gap_bounds_the_distance_from_the_minimum(digits, lasso, method):
    """At every iteration, for every signal; and ISTA never goes uphill."""
    x, dictionary = digits
    before = np.inf
    for k, current in enumerate(itertools.islice(iterates(x, dictionary, method=method, lambd=LAMBD), 60)):
        distance = current.objective - lasso[1]
        assert (distance > -1e-9).all()
        assert (current.gap > distance - 1e-9).all()
        assert method != "ista" or (current.objective < before + 1e-12).all()
        before = current.objective
        assert k or (current.codes == 0).all()


def test_thresholds_of_atoms(digits):
    """A threshold for each atom is the same as atoms divided by theirs."""
    x, dictionary = digits
    lambd = np.linspace(0.1, 0.4, len(dictionary))
    found = sparse_code(x, dictionary, lambd=lambd, tolerance=1e-10, iterations=5000)
    same = sparse_code(x, dictionary / lambd[:, None], lambd=1.0, tolerance=1e-10, iterations=20_000)
    np.testing.assert_allclose(found.codes, same.codes / lambd, atol=1e-5)


def test_complex_signals(digits):
    """No atom correlates with the residual more than the threshold, and those in use do exactly, in phase."""
    x, dictionary = digits
    turned = dictionary * np.exp(1j * np.arange(dictionary.shape[1]))
    x = x + 1j * x[::-1]
    found = sparse_code(x, turned, lambd=LAMBD, tolerance=1e-12, iterations=5000)
    assert found.converged
    correlation = (x - found.codes @ turned) @ turned.conj().T
    assert (abs(correlation) < LAMBD + 1e-5).all()
    used = abs(found.codes) > 1e-3
    phase = found.codes[used] / abs(found.codes[used])
    np.testing.assert_allclose(correlation[used], LAMBD * phase, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Any operator


@pytest.mark.parametrize("t", [0.05, 0.7])
def test_parameters_of_a_multiple_of_the_penalty(operator, help, t):
    """The operator at what the family makes of them minimises t times the penalty, as no point of a fine grid does."""
    family = sparse_coding.family_of(operator)
    p = help.example(operator)
    if family.exponents is None:
        assert not family.proportional
        return
    scaled = sparse_coding.scaled(p, family.exponents, t)
    grid = np.linspace(-4, 4, 40_001)
    for x in (-3.1, -0.9, -0.2, 0.0, 0.4, 0.75, 1.3, 2.2, 3.5):
        y = operator(x, *scaled)
        reached = (y - x) ** 2 / 2 + t * operator.penalty(y, *p)
        assert reached <= ((grid - x) ** 2 / 2 + t * operator.penalty(grid, *p)).min() + 1e-12


def test_families():
    """Of penalties that are known to be so."""
    known = {op.__name__: sparse_coding.family_of(op) for op in shrinkops.OPERATORS.values()}
    assert known["softshrink"] == ((1.0,), True)
    assert known["hardshrink"] == ((0.5,), False)
    assert known["firmshrink"] == ((1.0, 0.0), False)
    assert known["garroteshrink"] == (None, False)
    assert known["tanhshrink"] == (None, False)


def test_ista_goes_downhill_with_any_operator(operator, digits, help):
    """Where there is a penalty; and without one it runs."""
    x, dictionary = digits
    found = sparse_code(
        x, dictionary, operator, method="ista", iterations=50, tolerance=None, **example(operator, help)
    )
    assert found.iterations == 50
    assert np.isfinite(found.codes).all()
    assert (found.objective is not None) == hasattr(operator, "penalty")
    if found.objective is not None:
        assert found.objective.shape == (51, len(x))
        assert (np.diff(found.objective, axis=0) <= 1e-12).all()
    assert (found.gap is not None) == sparse_coding.family_of(operator).proportional


def test_stops_where_the_codes_no_longer_change(digits):
    """For a penalty without a duality gap."""
    found = sparse_code(*digits, shrinkops.firmshrink, low=0.3, high=3.0, tolerance=1e-6, iterations=20_000)
    assert found.converged
    assert found.gap is None
    further = next(
        itertools.islice(iterates(*digits, shrinkops.firmshrink, start=found.codes, low=0.3, high=3.0), 1, None)
    )
    assert (further.change < 1e-5).all()


# ---------------------------------------------------------------------------------------------------------------------
# Any library


@pytest.mark.libraries(lazy=False, algebra=True)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_libraries(library, dtype, digits):
    """The codes of NumPy, in arrays of the library, of the dtype."""
    x, dictionary = (a[:8].astype(dtype) for a in digits)
    arrays = library.array(x), library.array(dictionary)
    found, expected = (sparse_code(*a, lambd=LAMBD, tolerance=1e-3) for a in (arrays, (x, dictionary)))
    assert found.converged
    assert type(found.codes) is type(arrays[0])
    assert library.dtype_of(found.codes) == library.dtype_of(found.objective) == library.dtype_of(found.gap) == dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(library.to_numpy(found.codes), expected.codes, atol=tolerance)
    np.testing.assert_allclose(library.to_numpy(found.objective)[-1], expected.objective[-1], rtol=tolerance)


def test_torch_learns_through_the_iterations(digits, torch):
    """Gradients with respect to signals, thresholds and atoms, by finite differences; the step is a constant."""
    x, dictionary = (torch.tensor(a[:3, :5], requires_grad=True) for a in digits)
    lambd = torch.tensor([0.05, 0.1, 0.07], dtype=torch.float64, requires_grad=True)

    def codes(*arguments):
        a, d, p = arguments
        return sparse_code(a, d, lambd=p, iterations=7, tolerance=None, step=0.1).codes

    assert torch.autograd.gradcheck(codes, (x, dictionary, lambd))
    sparse_code(x, dictionary, lambd=lambd, iterations=7).codes.sum().backward()
    assert lambd.grad.isfinite().all()


def test_jax_traces_all_iterations(digits, jax):
    """Under jit, with traced signals, atoms and thresholds; and differentiates them."""
    arrays = [a[:4] for a in digits]

    def solve(a, d, lambd):
        return sparse_code(a, d, lambd=lambd, iterations=4, tolerance=None).codes

    expected = solve(*arrays, LAMBD)
    slope = jax.jit(jax.value_and_grad(lambda *a: (solve(*a) ** 2).sum() / 2, argnums=2))
    found = slope(*map(jax.numpy.asarray, arrays), LAMBD)
    h = 1e-5
    change = (solve(*arrays, LAMBD + h) - solve(*arrays, LAMBD - h)) / (2 * h)
    np.testing.assert_allclose(found[0], (expected**2).sum() / 2, rtol=1e-9)
    np.testing.assert_allclose(found[1], (change * expected).sum(), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The step


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (7, 3), (60, 60), (1, 50)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
def test_largest_eigenvalue(shape, dtype):
    """Never too small, up to rounding, and at most 1 % too large; with equal singular values as well."""
    rng = np.random.default_rng(3)
    some = rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype == "complex128" else 0)
    for matrix in (some, np.eye(*shape), 1e-3 * some):
        d = matrix.astype(dtype)
        exact = np.linalg.norm(d.astype(np.complex128), 2) ** 2
        assert exact * (1 - 1e-5) <= sparse_coding.largest_eigenvalue(np, d) <= exact * 1.0101


def test_atoms_of_zeros():
    assert (sparse_code(np.ones(3), np.zeros((2, 3)), lambd=0.1).codes == 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Shapes, progress, interruption, errors


def test_batches(digits):
    """Every signal as if it were alone; none at all is right too."""
    x, dictionary = digits
    together = sparse_code(x.reshape(2, 6, 64), dictionary, lambd=LAMBD, iterations=30, tolerance=None)
    alone = sparse_code(x[7], dictionary, lambd=LAMBD, iterations=30, tolerance=None)
    np.testing.assert_allclose(together.codes[1, 1], alone.codes, atol=1e-12)
    np.testing.assert_allclose(together.objective[:, 1, 1], alone.objective, atol=1e-12)
    none = sparse_code(x[:0], dictionary, lambd=LAMBD)
    assert none.codes.shape == (0, 80)
    assert none.converged
    assert none.iterations == 0
    integers = sparse_code([[2, 0], [0, 1]], [[1, 0], [0, 1]], lambd=0.5)
    np.testing.assert_allclose(integers.codes, [[1.5, 0], [0, 0.5]], atol=1e-3)


def test_warm_start_and_interruption(digits):
    """What was reached is a start; leaving the loop and going on is one run."""
    x, dictionary = digits
    found = sparse_code(x, dictionary, lambd=LAMBD, iterations=2000)
    again = sparse_code(x, dictionary, lambd=LAMBD, start=found.codes)
    assert again.iterations == 0
    steps = iterates(x, dictionary, lambd=LAMBD)
    for _ in range(5):
        next(steps)
    current = next(itertools.islice(steps, 5, None))
    ten = sparse_code(x, dictionary, lambd=LAMBD, iterations=10, tolerance=None)
    np.testing.assert_array_equal(current.codes, ten.codes)


def test_progress(digits, capsys, monkeypatch):
    sparse_code(*digits, lambd=LAMBD, iterations=3, tolerance=None)
    assert capsys.readouterr().err == ""
    sparse_code(*digits, lambd=LAMBD, iterations=3, tolerance=None, progress=True)
    assert "sparse coding" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match="tqdm is not installed"):
        sparse_code(*digits, lambd=LAMBD, progress=True)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "requires method to be one of ista, fista, got 'newton'", {"method": "newton"}),
        (ValueError, "requires iterations >= 0, got iterations=-1", {"iterations": -1}),
        (ValueError, "requires tolerance >= 0, got tolerance=nan", {"tolerance": float("nan")}),
        (ValueError, "requires x of shape .* got \\(3,\\) and \\(2, 4\\)", {"dictionary": np.ones((2, 4))}),
        (ValueError, "requires x of shape .* got \\(3,\\) and \\(3,\\)", {"dictionary": np.ones(3)}),
        (ValueError, "requires start of shape \\(2,\\), got \\(3,\\)", {"start": np.ones(3)}),
        (ValueError, "requires finite signals and atoms", {"x": np.array([1.0, np.nan, 0.0])}),
        (ValueError, "requires finite signals and atoms", {"dictionary": np.full((2, 3), np.inf)}),
        (ValueError, "softshrink requires lambd >= 0, got lambd=-1.0", {"lambd": -1}),
        (TypeError, "got an unexpected or repeated argument 'gamma'", {"gamma": 1}),
        (TypeError, "x must be an array of the array API, .* got pandas.DataFrame", {"x": pd.DataFrame([[1.0] * 3])}),
        (TypeError, "dictionary must be an array of the array API", {"dictionary": scipy.sparse.eye_array(2, 3)}),
        (TypeError, "operator must be one of tanhshrink, .* got 'softshrink'", {"operator": "softshrink"}),
    ],
)
def test_refused(error, message, arguments):
    with pytest.raises(error, match=message):
        sparse_code(**{"x": np.ones(3), "dictionary": np.eye(2, 3)} | arguments)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"iterations": 2.5}, TypeError, "iterations must be an integer, got 2.5"),
        ({"step": 0}, ValueError, "requires step > 0, got step=0"),
        ({"step": -1.0}, ValueError, "requires step > 0, got step=-1.0"),
    ],
)
def test_bad_options(options, error, said):
    with pytest.raises(error, match=said):
        sparse_code(np.ones(2), np.eye(2), lambd=0.1, **options)
