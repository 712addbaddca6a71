"""The operators that look at more than one element, on every library: CASES is what the tests are written about."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import textwrap
from fractions import Fraction
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

import shrinkops
from shrinkops import _structure
from shrinkops._kernels import loops

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

LABELS = (2, 0, 2, 7, 0, 2)  # of six positions: groups of two, three and one
WEIGHTS = (2.0, 1.5, 1.0, 0.75, 0.5, 0.0)

# By name: parameters, which may be arrays; options; and whether complex x has a meaning.
CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "group": ("groupshrink", (1.5,), {}),
    "group by labels": ("groupshrink", (1.5,), {"groups": LABELS}),
    "group by two axes": ("groupshrink", (2.0,), {"axis": (0, 1)}),
    "group by the first axis": ("groupshrink", (1.5,), {"axis": 0}),
    "sparse group": ("sparsegroupshrink", (0.5, 1.0), {}),
    "sparse group by labels": ("sparsegroupshrink", (0.25, 0.75), {"groups": LABELS}),
    "svd": ("svdshrink", (1.5,), {}),
    "svd firm": ("svdshrink", (0.75, 3.0), {"operator": shrinkops.firmshrink}),
    "svd tanh": ("svdshrink", (), {"operator": shrinkops.tanhshrink}),
    "top k": ("topkshrink", (), {"k": 2}),
    "linf": ("linfshrink", (2.0,), {}),
    "linf by the first axis": ("linfshrink", (1.0,), {"axis": 0}),
    "l1 ball": ("l1ball", (2.0,), {}),
    "simplex": ("simplex", (1.5,), {}),
    "slope": ("slopeshrink", (np.array(WEIGHTS),), {}),
    "slope of one weight": ("slopeshrink", (0.75,), {"axis": 1}),
}
DENSE = ("numpy", "array_api_strict", "torch", "jax", "cupy", "dask", "xarray")


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request: pytest.FixtureRequest) -> Any:
    """An operator, parameters and options."""
    name, params, options = CASES[request.param]
    return shrinkops.STRUCTURED[name], params, options


def data(dtype: Any = "float64", shape: tuple[int, ...] = (4, 6), seed: int = 5) -> np.ndarray:
    """Random numbers, that the example parameters shrink in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=1.2, size=shape)
    x[0] *= 3
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def takes(op: Any, x: np.ndarray) -> bool:
    return op.odd or x.dtype.kind != "c"


def over(op: Any, options: dict[str, Any]) -> Any:
    """The axes that an operator looks along in a matrix."""
    axis = options.get("axis", -1) if "axis" in op.options else (0, 1)
    return axis if isinstance(axis, tuple) else (axis,)


def give(library: Any, a: np.ndarray, axes: Any = ()) -> Any:
    """An array of a library, which Dask has in one block along the axes."""
    made = library.make(a)
    return made.rechunk({k % a.ndim: -1 for k in axes}) if library.name == "dask" else made


def given_params(library: Any, params: tuple[Any, ...], dtype: Any = None) -> tuple[Any, ...]:
    """Parameters, arrays as those of a library; labelled arrays go by names, of which these have none."""
    mixed = library.name == "xarray"
    return tuple(p if isinstance(p, float) or mixed else library.make(p.astype(dtype or p.dtype)) for p in params)


def test_registry():
    assert {name for name, _, _ in CASES.values()} == set(shrinkops.STRUCTURED)
    for name, op in shrinkops.STRUCTURED.items():
        assert getattr(shrinkops, name) is op
        assert name in shrinkops.__all__
        assert pickle.loads(pickle.dumps(op)) is op
        assert copy.deepcopy(op) is op
        assert callable(op.pull)
        assert pickle.loads(pickle.dumps(op.penalty)) is op.penalty
        assert repr(op.penalty) == f"<shrinkops.{name}.penalty>"


# ---------------------------------------------------------------------------------------------------------------------
# Every library


@pytest.mark.dtypes("number")
def test_libraries_agree(library, dtype, case, help):
    """Value, penalty and cotangents: of NumPy's numbers, in the library's type and in the dtype of x."""
    op, params, options = case
    if library.name not in DENSE:
        pytest.skip("refuses: test_what_has_no_axes")
    if library.compiles and dtype not in ("bfloat16", "float32", "complex64"):
        pytest.skip("takes seconds to compile, and float64 is in test_jax_transforms")
    if op.__name__ == "svdshrink" and dtype in ("float16", "bfloat16") and library.name == "dask":
        pytest.skip("is the same as NumPy")
    x = data("complex64" if dtype.startswith("complex") else "float64").astype(help.numpy_dtype(dtype))
    if not takes(op, x):
        with pytest.raises(TypeError, match=f"simplex: x must hold real numbers, got dtype {dtype}"):
            op(library.make(x), *params, **options)
        return
    real = x.real.dtype
    narrow = {"float16": 2e-2, "bfloat16": 0.1, "float32": 3e-5, "complex64": 3e-5}.get(dtype, 1e-12)
    xs = give(library, x, over(op, options))
    ps = given_params(library, params, real)
    y = op(xs, *ps, **options)
    assert type(y) is type(xs)
    assert library.dtype_of(y) == dtype
    wide = x.astype(complex if x.dtype.kind == "c" else float)
    exact = tuple(p if isinstance(p, float) else p.astype(real).astype(float) for p in params)
    np.testing.assert_allclose(
        library.to_numpy(y).astype(wide.dtype), op(wide, *exact, **options), rtol=narrow, atol=narrow
    )
    if hasattr(options.get("operator", op), "penalty"):
        penalty = library.to_numpy(op.penalty(xs, *ps, **options))
        assert penalty.dtype == real
        np.testing.assert_allclose(penalty.astype(float), op.penalty(wide, *exact, **options), rtol=narrow, atol=narrow)
    g = data(wide.dtype, seed=6).astype(x.dtype)
    found = op.vjp(give(library, g, over(op, options)), xs, *ps, **options)
    wanted = op.vjp(g.astype(wide.dtype), wide, *exact, **options)
    assert len(found) == len(wanted) == 1 + len(params)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            library.to_numpy(a).astype(wide.dtype), b, rtol=5 * narrow, atol=(30 if narrow > 1e-3 else 10) * narrow
        )


def test_what_has_no_axes(every_library, libraries):
    """Tables, series and sparse arrays: a TypeError that says how to convert."""
    for library in libraries.values():
        if library.name.partition(":")[0] in DENSE or library.core:
            continue
        x = library.from_numpy(np.ones((2, 2)) if 2 in library.ndims else np.ones(4))
        for op in shrinkops.STRUCTURED.values():
            p = (1,) if op.__name__ == "topkshrink" else (1.0,) * max(1, len(op.defaults))
            with pytest.raises(TypeError, match=rf"^{op.__name__}: x is .*, which has to be converted first: x\.to"):
                op(x, *p)


def test_sparse_tensors_and_masks_are_refused(torch):
    for x in (torch.eye(3).to_sparse(), np.ma.masked_equal([1.0, 2.0], 2.0)):
        with pytest.raises(TypeError, match=r"groupshrink: x is .*, which has to be converted first"):
            shrinkops.groupshrink(x, 1.0)


@pytest.mark.dtypes("integer")
def test_integers(library, dtype):
    if library.name not in DENSE or dtype not in library.dtypes:
        pytest.skip("refuses, or has no such dtype")
    x = np.array([[3, 4], [1, 0]], dtype)
    y = shrinkops.groupshrink(give(library, x, (-1,)), 2.5)
    assert library.dtype_of(y) == library.default
    np.testing.assert_allclose(library.to_numpy(y), [[1.5, 2.0], [0, 0]], rtol=1e-6)


def test_mixed_libraries_are_refused(torch, jax):
    x = data()
    for a, b, types in (
        (torch.tensor(x), jax.numpy.ones((4, 1)), "torch.Tensor but lambd is jax"),
        (jax.numpy.asarray(x), torch.ones((4, 1)), "jaxlib.* but lambd is torch.Tensor"),
        (torch.tensor(x), np.ones((4, 1)), "torch.Tensor but lambd is numpy.ndarray"),
    ):
        with pytest.raises(TypeError, match=f"groupshrink: x is {types}"):
            shrinkops.groupshrink(a, b)


# ---------------------------------------------------------------------------------------------------------------------
# What they are


def objective(op: Any, y: np.ndarray, x: np.ndarray, params: Any, options: Any) -> float:
    return float(np.sum(abs(y - x) ** 2) / 2 + np.sum(op.penalty(y, *params, **options)))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_proximal_maps(case, dtype):
    """No random, scaled, swapped or local perturbation has a lower objective than the result."""
    op, params, options = case
    x = data(dtype)
    if not takes(op, x) or not hasattr(options.get("operator", op), "penalty"):
        pytest.skip("has no penalty, or takes no complex numbers")
    y = op(x, *params, **options)
    best = objective(op, y, x, params, options)
    assert np.isfinite(best)
    rng = np.random.default_rng(8)
    sparse = rng.random((300, *x.shape)) < 0.2
    steps = rng.normal(size=(300, *x.shape)) * (1 if dtype == "float64" else np.exp(1j * rng.normal(size=(300, 1, 1))))
    others = [y + size * step * kept for size in (1e-3, 0.1, 1) for step, kept in zip(steps, sparse, strict=True)]
    others += [y * t for t in (0, 0.5, 0.99, 1.01, 2)] + [x * t for t in (0, 0.1, 0.5, 0.9, 1)]
    others += [op(other, *params, **options) for other in others[:600:3]]  # for indicators: inside
    others += [(1 - t) * y + t * other for other in others[-200:] for t in (1e-3, 0.3)]
    values = [objective(op, other, x, params, options) for other in others]
    assert np.isfinite(values).sum() > 300 or op.__name__ == "topkshrink"
    assert min(values) >= best - 1e-7 * max(1, abs(best))


vectors = st.lists(st.floats(-10, 10, allow_subnormal=False), min_size=1, max_size=8).map(np.array)


@settings(max_examples=60, deadline=None)
@given(x=vectors, amount=st.floats(0, 8, allow_subnormal=False))
def test_levels_by_bisection(x, amount):
    """The three that find a level, against bisection for it."""

    def root(function: Any, low: float, high: float) -> float:
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if function(middle) > 0 else (low, middle)
        return (low + high) / 2

    a = abs(x)
    theta = root(lambda t: np.maximum(x - t, 0).sum() - amount, x.min() - amount - 1, x.max())
    np.testing.assert_allclose(shrinkops.simplex(x, amount), np.maximum(x - theta, 0), atol=1e-12)
    theta = root(lambda t: np.maximum(a - t, 0).sum() - amount, 0, a.max())
    np.testing.assert_allclose(abs(shrinkops.l1ball(x, amount)), np.maximum(a - theta, 0), atol=1e-12)
    level = theta if a.sum() > amount else 0
    np.testing.assert_allclose(abs(shrinkops.linfshrink(x, amount)), np.minimum(a, level), atol=1e-12)
    moreau = x - shrinkops.l1ball(x, amount)
    np.testing.assert_allclose(shrinkops.linfshrink(x, amount), moreau, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(x=vectors, seed=st.integers(0, 1000))
def test_slope_is_isotonic_regression(x, seed):
    weights = np.sort(np.random.default_rng(seed).uniform(0, 3, x.size))[::-1]
    order = np.argsort(-abs(x), kind="stable")
    wanted = np.empty_like(x)
    wanted[order] = np.maximum(isotonic_regression((abs(x)[order] - weights)[::-1]).x[::-1], 0)
    y = shrinkops.slopeshrink(x, weights)
    np.testing.assert_allclose(abs(y), wanted, atol=1e-12)
    assert ((y == 0) | (np.sign(y) == np.sign(x))).all()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_limits(dtype):
    """What ties the operators to those of elements, and to one another."""
    x, s = data(dtype), shrinkops
    w = np.linspace(2, 0.5, 6)
    same = [
        (s.groupshrink(x[..., None], 0.7)[..., 0], s.softshrink(x, 0.7)),
        (s.groupshrink(x, 0.7, groups=np.arange(6)), s.softshrink(x, 0.7)),
        (s.groupshrink(x, 0.7, groups=np.zeros(6, int)), s.groupshrink(x, 0.7)),
        (s.groupshrink(x, 0.0), x),
        (s.sparsegroupshrink(x, 0.7, 0.0), s.softshrink(x, 0.7)),
        (s.sparsegroupshrink(x, 0.0, 0.7), s.groupshrink(x, 0.7)),
        (s.slopeshrink(x, 0.7), s.softshrink(x, 0.7)),
        (s.slopeshrink(x, np.full(6, 0.7)), s.softshrink(x, 0.7)),
        (s.slopeshrink(x, np.array([2.0, 0, 0, 0, 0, 0])), s.linfshrink(x, 2.0)),
        (s.topkshrink(x, 6), x),
        (s.topkshrink(x, 0), 0 * x),
        (s.l1ball(x, 1e3), x),
        (s.l1ball(x, 0.0), 0 * x),
        (s.linfshrink(x, 0.0), x),
        (s.linfshrink(x, 1e3), 0 * x),
        (s.linfshrink(x, np.inf), 0 * x),
        (s.groupshrink(x, np.inf), 0 * x),
        (s.svdshrink(x, 0.0), x),
        (s.svdshrink(np.diag(x[0]), 0.7), np.diag(s.softshrink(x[0], 0.7))),
        (s.svdshrink(x[:1], 0.7), s.groupshrink(x[:1], 0.7)),
        (s.svdshrink(x, 0.75, 3.0, operator=s.firmshrink), s.svdshrink(x, low=0.75, high=3.0, operator=s.firmshrink)),
        (s.groupshrink(x, 0.7, axis=0), s.groupshrink(x.T, 0.7).T),
        (s.groupshrink(x, 0.7, (0, 1)), s.groupshrink(x.ravel(), 0.7).reshape(x.shape)),
        (s.l1ball(x, 2.0, axis=(1, 0)), s.l1ball(x.ravel(), 2.0).reshape(x.shape)),
        (s.topkshrink(x, 2, 0), s.topkshrink(x.T, 2).T),
        (s.slopeshrink(x, w[:4], axis=0), s.slopeshrink(x.T, w[:4]).T),
    ]
    for k, (a, b) in enumerate(same):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13, err_msg=str(k))


def test_ragged_groups_are_groups():
    x = data(shape=(3, 2, 6))
    labels = np.array(LABELS)
    lambd = np.random.default_rng(1).uniform(0, 2, (3, 1, 3))
    y = shrinkops.groupshrink(x, lambd, groups=labels)
    penalty = shrinkops.groupshrink.penalty(x, lambd, groups=labels)
    assert penalty.shape == (3, 2, 3)
    for k, label in enumerate(np.unique(labels)):
        at = labels == label
        one = lambd[:, :, k : k + 1]
        np.testing.assert_allclose(y[..., at], shrinkops.groupshrink(x[..., at], one), rtol=1e-15)
        np.testing.assert_allclose(penalty[..., k], shrinkops.groupshrink.penalty(x[..., at], one), rtol=1e-14)
    other = shrinkops.groupshrink(np.moveaxis(x, -1, 0), np.moveaxis(lambd, -1, 0), axis=0, groups=labels)
    np.testing.assert_array_equal(np.moveaxis(other, 0, -1), y)
    image = shrinkops.groupshrink(x[0], 1.0, axis=(0, 1), groups=np.tile(labels, (2, 1)))
    flat = shrinkops.groupshrink(x[0].ravel(), 1.0, groups=np.tile(labels, 2))
    np.testing.assert_array_equal(image.ravel(), flat)


def test_ties_keep_the_first(library):
    if library.name not in DENSE:
        pytest.skip("refuses")
    x = np.array([[1.0, -2.0, 2.0, 2.0, -1.0, 1.0], [3.0, 3.0, 3.0, 3.0, 3.0, 3.0], [0, 0, 0, 0, 0, 1]])
    for k, kept in ((2, [(1, 2), (0, 1), (0, 5)]), (4, [(0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 5)])):
        y = library.to_numpy(shrinkops.topkshrink(give(library, x, (-1,)), k))
        wanted = np.zeros_like(x)
        for row, columns in enumerate(kept):
            wanted[row, list(columns)] = x[row, list(columns)]
        np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 5), (2, 2, 5, 3)])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_singular_values(shape, dtype):
    x = data(dtype, shape)
    lambd = np.full((*shape[:-2], 1), 0.8)
    y = shrinkops.svdshrink(x, lambd)
    s = np.linalg.svd(x, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(y, compute_uv=False), np.maximum(s - 0.8, 0), atol=1e-12)
    np.testing.assert_allclose(shrinkops.svdshrink.penalty(x, 0.8), 0.8 * s.sum(-1))
    each = np.stack([shrinkops.svdshrink(a, 0.8) for a in x.reshape(-1, *shape[-2:])])
    np.testing.assert_allclose(y.reshape(each.shape), each, atol=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_cotangents_are_finite_differences(case, dtype):
    op, params, options = case
    x = data(dtype)
    if not takes(op, x):
        pytest.skip("takes no complex numbers")
    g, step, h = data(dtype, seed=6), data(dtype, seed=7), 1e-6

    def difference(k: int, d: Any) -> float:
        at = [(x, *params)[k] + sign * h * d for sign in (1, -1)]
        two = [op(*(a if j == k else b for j, b in enumerate((x, *params))), **options) for a in at]
        return float(np.real(np.sum(np.conj(g) * (two[0] - two[1]))) / (2 * h))

    first, *rest = op.vjp(g, x, *params, **options)
    assert first.shape == x.shape
    np.testing.assert_allclose(np.real(np.sum(np.conj(first) * step)), difference(0, step), rtol=1e-6, atol=1e-7)
    for k, (c, p) in enumerate(zip(rest, params, strict=True), 1):
        assert np.shape(c) == np.shape(p)
        d = 1.0 if np.ndim(p) == 0 else -np.arange(p.size)[::-1] * (p > 0.6) - 1.0 * (p > 0)
        np.testing.assert_allclose(np.sum(c * d), difference(k, d), rtol=1e-6, atol=1e-7)


def test_cotangents_of_arrays_sum_up():
    x, g = data(), data(seed=6)
    lambd = np.array([[0.5], [1.0], [1.5], [2.0]])
    c = shrinkops.groupshrink.vjp(g, x, lambd)[1]
    assert c.shape == (4, 1)
    rows = [shrinkops.groupshrink.vjp(g[k], x[k], lambd[k, 0])[1] for k in range(4)]
    np.testing.assert_allclose(c[:, 0], rows)
    np.testing.assert_allclose(shrinkops.groupshrink.vjp(g, x, np.array([1.0]))[1].shape, (1,))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_torch_autograd(torch, case, dtype):
    """The gradients of autograd are the cotangents; first and second ones are those of finite differences."""
    op, params, options = case
    x = data(dtype)
    if not takes(op, x):
        pytest.skip("takes no complex numbers")
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, *(np.asarray(p, float) for p in params))]
    g = data(dtype, seed=6)

    def function(*a: Any) -> Any:
        return op(*a, **options)

    found = torch.autograd.grad(function(*tensors), tensors, torch.tensor(g))
    for a, b in zip(found, op.vjp(g, x, *params, **options), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-9, atol=1e-10)
    movable = tensors[:1] if op.__name__ == "slopeshrink" else tensors  # one weight moved alone would increase
    rest = [t.detach() for t in tensors[len(movable) :]]
    assert torch.autograd.gradcheck(lambda *a: function(*a, *rest), movable, fast_mode=True)
    if op.__name__ != "svdshrink" or dtype == "float64":
        assert torch.autograd.gradgradcheck(lambda *a: function(*a, *rest), movable, atol=1e-4, fast_mode=True)


def test_torch_transforms(torch, case):
    op, params, options = case
    if "groups" in options or options.get("axis", -1) != -1:
        pytest.skip("the axes are one more under vmap; test_libraries_agree has the rest")
    x = torch.tensor(data(shape=(3, 4, 6)))
    params = tuple(p if isinstance(p, float) else torch.tensor(p) for p in params)
    wanted = op(x, *params, **options)
    torch.testing.assert_close(torch.func.vmap(lambda a: op(a, *params, **options))(x), wanted)
    one, t = x[0], torch.tensor(data(seed=9))
    _, tangent = torch.func.jvp(lambda a: op(a, *params, **options), (one,), (t,))
    near = (op(one + 1e-6 * t, *params, **options) - op(one - 1e-6 * t, *params, **options)) / 2e-6
    torch.testing.assert_close(tangent, near, rtol=1e-5, atol=1e-6)
    each = torch.func.vmap(torch.func.grad(lambda a: op(a, *params, **options).square().sum()))(x)
    wanted = torch.stack([torch.func.grad(lambda a: op(a, *params, **options).square().sum())(a) for a in x])
    torch.testing.assert_close(each, wanted)


@pytest.mark.parametrize("name", ["group", "top k", "l1 ball", "svd"])
def test_torch_compile(torch, name):
    of, params, options = CASES[name]
    op = shrinkops.STRUCTURED[of]
    x = torch.tensor(data(), requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(lambda a: op(a, *params, **options), fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, op(x, *params, **options))
    torch.testing.assert_close(
        torch.autograd.grad(y.square().sum(), x), torch.autograd.grad(op(x, *params, **options).square().sum(), x)
    )


def test_jax_transforms(jax, case):
    op, params, options = case
    x, g = data(), data(seed=6)
    params = tuple(jax.numpy.asarray(p) for p in params)

    def function(*a: Any) -> Any:
        return op(*a, **options)

    y, pulled = jax.vjp(function, jax.numpy.asarray(x), *params)
    for a, b in zip(pulled(jax.numpy.asarray(g)), op.vjp(g, x, *map(np.asarray, params), **options), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(jax.jit(function)(x, *params), y, rtol=1e-13, atol=1e-13)
    step = data(seed=7)
    _, tangent = jax.jvp(lambda a: function(a, *params), (jax.numpy.asarray(x),), (jax.numpy.asarray(step),))
    near = (
        op(x + 1e-6 * step, *map(np.asarray, params), **options)
        - op(x - 1e-6 * step, *map(np.asarray, params), **options)
    ) / 2e-6
    np.testing.assert_allclose(tangent, near, rtol=1e-5, atol=1e-6)
    if "axis" not in options:
        stack = np.stack([x, 2 * x])
        mapped = jax.vmap(lambda a: function(a, *params))(stack)
        np.testing.assert_allclose(mapped[1], function(2 * x, *map(np.asarray, params)), rtol=1e-12, atol=1e-12)


def test_traced_labels_are_refused(jax):
    with pytest.raises(TypeError, match="groups must be integers on the CPU, known"):
        jax.jit(lambda x, groups: shrinkops.groupshrink(x, 1.0, groups=groups))(np.ones(3), np.zeros(3, int))


def test_gradient_of_nothing(library, case):
    """At zeros everything is finite, and 0 where the operator keeps zeros."""
    op, params, options = case
    if library.gradient is None or library.name not in DENSE:
        pytest.skip("has no automatic differentiation")
    ps = given_params(library, params)
    found = library.gradient(lambda a: op(a, *ps, **options), library.make(np.zeros((4, 6))))[0]
    found = library.to_numpy(found)
    assert np.isfinite(found).all()
    if op.__name__ in ("groupshrink", "sparsegroupshrink", "svdshrink", "linfshrink"):
        assert (found == 0).all()
    for c in op.vjp(np.ones((4, 6)), np.zeros((4, 6)), *params, **options):
        assert np.isfinite(c).all()


DEGENERATE = {
    "equal": np.diag([2.0, 2.0, 2.0]),
    "a rotation": 2 * np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
    "rank one": np.outer([1.0, 2, 3], [1.0, -1, 2]),
    "zero": np.zeros((3, 3)),
    "tall, rank one": np.outer([1.0, 2, 3, 4, 5], [1.0, -1, 2]),
    "wide, equal": np.eye(3, 5) * 2,
    "two equal, one zero": np.diag([3.0, 3.0, 0.0]),
}


@pytest.mark.parametrize("matrix", DEGENERATE)
@pytest.mark.parametrize("operator", ["softshrink", "tanhshrink", "garroteshrink"])
def test_degenerate_singular_values(matrix, operator, torch, jax):
    """The derivative is that of finite differences, where differentiating the decomposition divides by zero."""
    x = DEGENERATE[matrix]
    operator = shrinkops.OPERATORS[operator]
    params = (0.5,) * len(operator.parameters)
    rng = np.random.default_rng(4)
    g, step = rng.normal(size=(2, *x.shape))

    def function(a: Any) -> Any:
        return shrinkops.svdshrink(a, *params, operator=operator)

    near = np.sum(g * (function(x + 1e-5 * step) - function(x - 1e-5 * step))) / 2e-5
    t = torch.tensor(x, requires_grad=True)
    (by_torch,) = torch.autograd.grad(function(t), t, torch.tensor(g))
    by_jax = jax.vjp(function, jax.numpy.asarray(x))[1](jax.numpy.asarray(g))[0]
    for c in (shrinkops.svdshrink.vjp(g, x, *params, operator=operator)[0], by_torch.numpy(), np.asarray(by_jax)):
        np.testing.assert_allclose(np.sum(c * step), near, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# The contract


def test_nan_stays_in_its_group(case, library):
    op, params, options = case
    if library.name not in DENSE:
        pytest.skip("refuses")
    x = data()
    x[1, 2] = np.nan
    y = library.to_numpy(op(give(library, x, over(op, options)), *given_params(library, params), **options))
    if over(op, options) == (0, 1):
        assert np.isnan(y).all()
    elif over(op, options) == (0,):
        assert np.isnan(y[:, 2]).all()
        assert np.isfinite(np.delete(y, 2, 1)).all()
    else:
        at = np.isin(np.arange(6), (0, 2, 5)) if "groups" in options else np.ones(6, bool)
        assert np.isnan(y[1, at]).all()
        assert np.isfinite(y[1, ~at]).all()
        assert np.isfinite(np.delete(y, 1, 0)).all()


def test_cotangents_that_do_not_fit(case, library):
    """Say g, and which shape."""
    op, params, options = case
    if library.name not in DENSE or not library.broadcasts:
        pytest.skip("refuses, or goes by names")
    x = give(library, data(), over(op, options))
    said = re.escape(f"{op.__name__}: g must broadcast to the shape (4, 6)") + ".*got"
    for shape in ((2,), (5, 4, 6)):
        g = library.array(np.ones(shape), library.default)
        with pytest.raises(ValueError, match=said):
            op.vjp(g, x, *given_params(library, params), **options)
    for g in (1j, library.array(np.ones((4, 6)), "complex128")):
        with pytest.raises(TypeError, match=f"{op.__name__}: g must hold real numbers, got dtype complex128"):
            op.vjp(g, x, *given_params(library, params), **options)


def test_infinity_is_the_limit(library):
    if library.name not in DENSE:
        pytest.skip("refuses")
    x = np.array([[np.inf, -1.0, 3.0], [2.0, -np.inf, np.inf]])
    s, half = shrinkops, 0.5
    for y, wanted in (
        (s.groupshrink(give(library, x, (-1,)), 1.0), x),
        (s.groupshrink(give(library, x, (-1,)), np.inf), 0 * np.sign(x)),
        (s.linfshrink(give(library, x, (-1,)), 1.0), x),
        (s.l1ball(give(library, x, (-1,)), 1.0), [[1, 0, 0], [0, -half, half]]),
        (s.simplex(give(library, x, (-1,)), 1.0), [[1, 0, 0], [0, 0, 1]]),
        (s.topkshrink(give(library, x, (-1,)), 1), [[np.inf, 0, 0], [0, -np.inf, 0]]),
        (s.slopeshrink(give(library, x, (-1,)), half), [[np.inf, -half, 2.5], [1.5, -np.inf, np.inf]]),
        (s.svdshrink(give(library, x, (0, 1)), 1.0), np.full((2, 3), np.nan)),
    ):
        np.testing.assert_allclose(library.to_numpy(y), wanted)


@pytest.mark.parametrize("scale", [1e300, 1e-300, 2.0**-1060, 1e200, 1e-200])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_nothing_overflows(library, scale, dtype):
    """Norms, sums and squares of large and small numbers."""
    if library.name not in ("numpy", "array_api_strict", "torch"):
        pytest.skip("the same, or flushes subnormal numbers to zero")
    x = data(dtype, (50, 6))
    got = library.to_numpy(shrinkops.groupshrink(give(library, x * scale, (-1,)), 2.0 * scale))
    tolerance = {"rtol": 1e-13, "atol": 8 * 2.0**-1074}
    np.testing.assert_allclose(got, shrinkops.groupshrink(x, 2.0) * scale, **tolerance)
    np.testing.assert_allclose(
        library.to_numpy(shrinkops.linfshrink(give(library, x * scale, (-1,)), 2.0 * scale)),
        shrinkops.linfshrink(x, 2.0) * scale,
        **tolerance,
    )
    mixed = np.array([[1.7e308, 1.7e308, 1e-300, -0.0, 5e-324, -1.7e308]])
    np.testing.assert_allclose(
        library.to_numpy(shrinkops.groupshrink(give(library, mixed, (-1,)), 1.0)), mixed, rtol=1e-15
    )


def test_sums_do_not_overflow(library):
    """Of rows whose sums would."""
    if library.name not in ("numpy", "array_api_strict", "torch"):
        pytest.skip("has no float64 here, or the same formula")
    large = np.finfo(float).max * np.array([0.6, 0.6, 0.9])
    for op in ("linfshrink", "l1ball", "simplex"):
        got = library.to_numpy(getattr(shrinkops, op)(give(library, large, (-1,)), large[0]))
        np.testing.assert_allclose(got / 2**60, getattr(shrinkops, op)(large / 2**60, large[0] / 2**60), rtol=1e-14)
    got = library.to_numpy(shrinkops.slopeshrink(give(library, large, (-1,)), give(library, [2.0, 1.0, 0.5], (-1,))))
    np.testing.assert_allclose(got, large, rtol=1e-14)
    tiny = give(library, [1e-300, 3e-301], (-1,))
    np.testing.assert_allclose(library.to_numpy(shrinkops.l1ball(tiny, 1e-300)).sum(), 1e-300, rtol=1e-14)
    np.testing.assert_array_equal(library.to_numpy(shrinkops.linfshrink(tiny, float("inf"))), 0)


@pytest.mark.parametrize("version", ["2022.12", "2025.12"])
def test_every_version_of_the_standard(strict, version):
    with strict.ArrayAPIStrictFlags(api_version=version):
        x = strict.asarray([[3.0, -1.0, 2.0], [0.5, 0.25, -4.0]])
        for op, params in (("topkshrink", (1,)), ("l1ball", (2.0,)), ("linfshrink", (2.0,)), ("simplex", (2.0,))):
            expected = getattr(shrinkops, op)(np.asarray(x), *params)
            np.testing.assert_allclose(np.asarray(getattr(shrinkops, op)(x, *params)), expected)
        weights = [1.5, 1.0, 0.5]
        expected = shrinkops.slopeshrink(np.asarray(x), np.array(weights))
        np.testing.assert_allclose(np.asarray(shrinkops.slopeshrink(x, strict.asarray(weights))), expected)


def test_kinds_of_tensors(case, torch):
    """Views whose memory holds the negatives, tensors without memory, and subclasses that say what comes out."""
    from torch._subclasses import FakeTensorMode

    class Named(torch.Tensor):
        pass

    op, params, options = case
    params = [torch.as_tensor(p) if isinstance(p, np.ndarray) else p for p in params]
    x = torch.tensor(data())
    negative = torch.complex(x, -x).conj().imag
    assert negative.is_neg()
    torch.testing.assert_close(op(negative, *params, **options), op(x, *params, **options))
    if not any(isinstance(p, torch.Tensor) for p in params):
        assert type(op(x.as_subclass(Named), *params, **options)) is Named
        for like in (FakeTensorMode().from_tensor(x), x.to("meta")):
            y = op(like, *params, **options)
            assert (type(y), y.shape, y.dtype, y.device) == (type(like), x.shape, x.dtype, like.device)


def test_zeros_keep_their_sign():
    x = np.array([0.0, -0.0, 0.1, -0.1])
    for op, params in (
        ("groupshrink", (1.0,)),
        ("sparsegroupshrink", (0.5, 1.0)),
        ("linfshrink", (1.0,)),
        ("l1ball", (0.0,)),
        ("topkshrink", (0,)),
        ("slopeshrink", (1.0,)),
    ):
        y = shrinkops.STRUCTURED[op](x, *params)
        assert (y == 0).all(), op
        np.testing.assert_array_equal(np.signbit(y), np.signbit(x), err_msg=op)


def test_numbers_outside_the_domain(case):
    op, params, options = case
    for k, bad in ((k, bad) for k in range(len(params)) for bad in (-1.0, np.nan)):
        given = tuple(bad if j == k else p for j, p in enumerate(params))
        name = list(
            op.names(options | ({} if "operator" in options or not op.variadic else {"operator": shrinkops.softshrink}))
        )[k]
        with pytest.raises(ValueError, match=rf" requires {name} .*got .*{name}={bad}"):
            op(data(), *given, **options)
    for bad in (True, "1", None, 1j):
        if params:
            with pytest.raises(TypeError, match=r"must be a real number or an array, got "):
                op(data(), bad, *params[1:], **options)


def test_elements_outside_the_domain(library):
    if library.name not in DENSE or library.name == "xarray":
        pytest.skip("refuses, or aligns by name")
    lambd = np.array([[1.0], [-1.0], [np.nan], [1.0]])
    for name in ("groupshrink", "linfshrink", "l1ball", "simplex"):
        y = library.to_numpy(shrinkops.STRUCTURED[name](give(library, data(), (-1,)), library.make(lambd)))
        np.testing.assert_array_equal(np.isnan(y).all(-1), [False, True, True, False], err_msg=name)
        assert np.isfinite(y[[0, 3]]).all()


def test_weights(library):
    if library.name not in DENSE or library.name == "dask":
        pytest.skip("refuses, or is lazy")
    x = give(library, data(), (-1,))
    for bad, message in (
        ([1.0, 2, 0, 0, 0, 0], "lambd does not increase"),
        ([1.0, 0, 0, 0, 0, -1], "lambd >= 0"),
        ([np.nan, 0, 0, 0, 0, 0], "lambd >= 0"),
        ([1.0, 0, 0], "lambd must broadcast to the shape"),
    ):
        with pytest.raises(ValueError, match=f"slopeshrink.* {message}"):
            shrinkops.slopeshrink(x, *given_params(library, (np.array(bad),)))


def test_options(library):
    if library.name not in DENSE:
        pytest.skip("refuses")
    x, s = give(library, data(), (0, 1)), shrinkops
    for error, message, call in (
        (ValueError, "axis 2 is out of bounds", lambda: s.groupshrink(x, 1.0, axis=2)),
        (ValueError, "several different ones", lambda: s.groupshrink(x, 1.0, axis=(1, -1))),
        (TypeError, "axis must be an integer", lambda: s.groupshrink(x, 1.0, axis=1.0)),
        (TypeError, "axis must be an integer", lambda: s.groupshrink(x, 1.0, axis=True)),
        (ValueError, "groups must have shape", lambda: s.groupshrink(x, 1.0, groups=[0, 1])),
        (TypeError, "groups must be integers", lambda: s.groupshrink(x, 1.0, groups=[0.5] * 6)),
        (ValueError, r"requires 0 <= k <= 6.*got k=7", lambda: s.topkshrink(x, 7)),
        (ValueError, r"requires 0 <= k <= 6.*got k=-1", lambda: s.topkshrink(x, -1)),
        (TypeError, "k must be an integer, got 2.0", lambda: s.topkshrink(x, 2.0)),
        (TypeError, "k must be an integer, got True", lambda: s.topkshrink(x, True)),
        (TypeError, "requires the parameter 'k'", lambda: s.topkshrink(x)),
        (TypeError, "requires the parameter 'lambd'", lambda: s.groupshrink(x)),
        (TypeError, "unexpected or repeated argument 'bogus'", lambda: s.groupshrink(x, 1.0, bogus=1)),
        (TypeError, "takes x and 3 arguments, got 4", lambda: s.groupshrink(x, 1.0, -1, None, 3)),
        (TypeError, "operator must be one of", lambda: s.svdshrink(x, 1.0, operator=np.tanh)),
        (TypeError, "operator must be one of", lambda: s.svdshrink(x, 1.0, operator=s.groupshrink)),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        s.svdshrink(np.ones(3), 1.0)
    with pytest.raises(ValueError, match="at least 1 dimension"):
        s.groupshrink(3.0, 1.0)
    with pytest.raises(TypeError, match="dtype bool"):
        s.groupshrink(np.array([True]), 1.0)
    with pytest.raises(TypeError, match="x must be an array"):
        s.groupshrink(object(), 1.0)
    with pytest.raises(ValueError, match=r"lambd must broadcast to the shape \(4, 1\)"):
        s.groupshrink(data(), np.ones(6))
    with pytest.raises(AttributeError, match="no penalty in closed form"):
        s.svdshrink.penalty(data(), operator=s.tanhshrink)


def test_output(case, torch):
    op, params, options = case
    x = data()
    wanted, before = op(x, *params, **options), x.copy()
    out = np.empty_like(x)
    assert op(x, *params, **options, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    np.testing.assert_array_equal(x, before)
    assert op(x, *params, **options, out=x) is x
    np.testing.assert_array_equal(x, wanted)
    with pytest.raises(ValueError, match=r"out must have shape \(4, 6\), got \(6,\)"):
        op(before, *params, **options, out=np.empty(6))
    with pytest.raises(TypeError, match="out must have dtype float64, got float32"):
        op(before, *params, **options, out=np.empty((4, 6), np.float32))
    t, ps = torch.tensor(before), tuple(p if isinstance(p, float) else torch.tensor(p) for p in params)
    assert op(t, *ps, **options, out=t) is t
    np.testing.assert_allclose(t.numpy(), wanted, rtol=1e-13, atol=1e-13)


def test_empty(case, library):
    op, params, options = case
    if library.name not in ("numpy", "array_api_strict", "torch", "jax"):
        pytest.skip("refuses, or has no empty blocks")
    for shape in ((0, 6), (4, 0)):
        if "k" in options or "groups" in options or (shape[1] == 0 and op.__name__ == "slopeshrink"):
            continue
        y = op(library.make(np.empty(shape)), *given_params(library, params), **options)
        assert tuple(y.shape) == shape
    if "axis" in op.options and "k" not in options:
        number = tuple(p if isinstance(p, float) else 1.0 for p in params)
        assert op.penalty(library.make(np.empty((3, 0))), *number).shape == (3,)
        assert op.penalty(library.make(np.empty((0, 3))), *number).shape == (0,)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("length", [1, 7, 16, 33, 1000])
def test_same_bits_whatever_the_layout(dtype, length, help):
    """Strides, order, position, byte order, threads and instruction sets."""
    x = data(dtype, (60000 // length, length))
    x[::7] *= 1e30
    lambd = (abs(x).max(-1, keepdims=True) / 2).astype(x.real.dtype)
    wanted = shrinkops.groupshrink(x, lambd)
    wide = np.repeat(x, 2, axis=1)
    wide[:, 1::2] = 7
    frozen = x.copy()
    frozen.setflags(write=False)
    layouts = [np.asfortranarray(x), wide[:, ::2], x[:, ::-1].copy()[:, ::-1], frozen, x.astype(x.dtype.newbyteorder())]
    for other in layouts:
        np.testing.assert_array_equal(help.bits(shrinkops.groupshrink(other, lambd)), help.bits(wanted))
    np.testing.assert_array_equal(shrinkops.groupshrink(x[3:9], lambd[3:9]), wanted[3:9])
    np.testing.assert_array_equal(shrinkops.groupshrink(x.T, lambd.T, axis=0), wanted.T)
    labels = np.random.default_rng(2).permutation(np.repeat(np.arange(len(x)), length))
    order = np.argsort(labels, kind="stable")
    mixed = np.empty(x.size, x.dtype)
    mixed[order] = x.ravel()
    by_labels = np.empty_like(mixed)
    by_labels = shrinkops.groupshrink(mixed, lambd[:, 0], groups=labels)[order]
    np.testing.assert_array_equal(help.bits(by_labels), help.bits(wanted.ravel()))
    for threads in (1, 2, 3):
        with shrinkops.num_threads(threads):
            np.testing.assert_array_equal(help.bits(shrinkops.groupshrink(x, lambd)), help.bits(wanted))
    before = loops.get_isa()
    try:
        for level in loops.config()["isa_supported"]:
            loops.set_isa(level)
            np.testing.assert_array_equal(help.bits(shrinkops.groupshrink(x, lambd)), help.bits(wanted), err_msg=level)
    finally:
        loops.set_isa(before)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0.5001), ("float64", 0.51)])
@pytest.mark.parametrize("close", [1 - 1e-12, 1 - 1e-5, 0.5, 1e-3, 1e-9, 1e-14])
def test_accuracy(dtype, bound, close):
    """Against mpmath, also where the threshold is close to the norm, and at the ends of the range."""
    from mpmath import mp, mpf

    rng = np.random.default_rng(9)
    x = (rng.normal(size=(40, 16)) * 10.0 ** rng.integers(-5, 5, (40, 1))).astype(dtype)
    if dtype == "float64":
        x[30:34] *= 1e290
        x[34:38] *= 1e-270
    exponent = np.frexp(abs(x).max(-1, keepdims=True).astype(float))[1]
    size = np.ldexp(np.linalg.norm(np.ldexp(x.astype(float), -exponent), axis=-1, keepdims=True), exponent)
    lambd = (size * (1 - close)).astype(dtype)
    y = shrinkops.groupshrink(x, lambd)
    worst = mpf(0)
    with mp.workdps(60):
        for row, lam, got in zip(x, lambd[:, 0], y, strict=True):
            n = mp.sqrt(sum(mpf(float(v)) ** 2 for v in row))
            if n <= mpf(float(lam)):
                assert (got == 0).all()
                continue
            factor = (n - mpf(float(lam))) / n
            for v, w in zip(row, got, strict=True):
                exact = mpf(float(v)) * factor
                ulp = mpf(float(np.spacing(abs(np.asarray(float(exact), dtype)))))
                worst = max(worst, abs(mpf(float(w)) - exact) / ulp)
    assert worst <= bound


SPECIAL = (0.0, -0.0, 5e-324, -1e-310, 1e-160, 1.0, -1.0, 3.0, 1e160, -1.7e308, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [1, 2, 8, 13, 16, 40])
def test_groups_at_the_ends_of_the_range(dtype, length, every_level, help):
    """Mixed magnitudes, thresholds of all sizes: the same bits at every level, and what the formula says."""
    rng = np.random.default_rng(length)
    with np.errstate(over="ignore"):
        x = rng.normal(size=(900, length)) * 10.0 ** rng.uniform(-9, 9, (900, 1))
        x[300:] *= 10.0 ** rng.integers(-320, 300, (600, 1))
        x[600:] = np.where(rng.random((300, length)) < 0.2, rng.choice(SPECIAL, (300, length)), x[600:])
        x = x.astype(dtype)
        x[np.isinf(x) & (np.arange(900) < 600)[:, None]] = 1
        size = abs(x).max(-1, keepdims=True)
        lambd = (size * rng.choice([1e-12, 1e-4, 0.3, 0.99, 1.0, 2.0], size.shape)).astype(dtype)
    lambd[::17] = 0
    lambd[1::17] = np.inf
    found = every_level(lambda: shrinkops.groupshrink(x, lambd))
    wanted = found.popitem()[1]
    for level, y in found.items():
        np.testing.assert_array_equal(help.bits(y), help.bits(wanted), err_msg=level)
    tools = _structure.Tools(array_api_compat.numpy)
    with np.errstate(all="ignore"):
        formula = _structure.value(shrinkops.groupshrink, tools, x, (lambd,), {"axis": -1, "groups": None})
    whole = np.isfinite(formula)
    np.testing.assert_array_equal(np.where(whole, 0, wanted), np.where(whole, 0, formula))
    off = 30 * np.finfo(dtype).eps * np.where(whole, abs(x), 0) + 8 * np.finfo(dtype).smallest_subnormal
    with np.errstate(invalid="ignore"):
        assert (abs(wanted - formula) <= off)[whole].all()
    whole = np.isfinite(wanted)
    np.testing.assert_array_equal(np.signbit(wanted)[whole], np.signbit(x)[whole])


BALLS = ("linfshrink", "l1ball", "simplex")


@pytest.mark.parametrize("name", BALLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [1, 5, 8, 100])
def test_balls_by_kernel(name, dtype, length, every_level, help):
    """What the formula says, also of ties, NaN and infinities; the same bits whatever the layout, threads and level."""
    op, rng = shrinkops.STRUCTURED[name], np.random.default_rng(length)
    x = rng.normal(size=(40_000 // length // 8 * 8 or 8, length)).astype(dtype)
    x[::3] = np.round(x[::3] * 2) / 2  # ties, and zeros of both signs
    with np.errstate(over="ignore"):
        special = rng.choice(np.array(SPECIAL[5:]).astype(dtype), x[1::9].shape)
    x[1::9] = np.where(rng.random(x[1::9].shape) < 0.1, special, x[1::9])
    x[4::9] *= 2.0**-100
    x[7::9] *= 2.0**100
    x[-1] = -np.inf
    total = rng.choice([0, 1e-30, 0.25, 2, 50, 1e30, np.inf], (len(x), 1)).astype(dtype)
    total[0] = np.nan
    found = every_level(lambda: op(x, total))
    wanted = found.popitem()[1]
    for level, y in found.items():
        np.testing.assert_array_equal(help.bits(y), help.bits(wanted), err_msg=level)
    tools = _structure.Tools(array_api_compat.numpy)
    with np.errstate(all="ignore"):
        formula = _structure.value(op, tools, x, (total,), {"axis": -1})
        # what one number of the group is off in the formula, in the unit of the largest, and of the total
        scale = np.where(np.isfinite(x), abs(x), 0).max(-1, keepdims=True)
        scale = scale + np.where(np.isfinite(total), total, 0)
        np.testing.assert_allclose(wanted / scale, formula / scale, rtol=0, atol=20 * np.finfo(dtype).eps)
    assert not np.signbit(wanted[wanted == 0]).any() or name != "simplex"
    if name != "simplex":
        whole = np.isfinite(wanted)
        np.testing.assert_array_equal(np.signbit(wanted)[whole], np.signbit(x)[whole])
    for other in (np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1], x.astype(x.dtype.newbyteorder())):
        np.testing.assert_array_equal(help.bits(op(other, total)), help.bits(wanted))
    np.testing.assert_array_equal(op(x.T, total.T, axis=0), wanted.T)
    np.testing.assert_array_equal(op(x[3:5], total[3:5]), wanted[3:5])
    for threads in (1, 3):
        with shrinkops.num_threads(threads):
            np.testing.assert_array_equal(help.bits(op(x, total)), help.bits(wanted))


@pytest.mark.parametrize("name", BALLS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0.5001), ("float64", 0.51)])
@pytest.mark.parametrize("total", [1e-9, 0.1, 3.0, 60.0])
def test_accuracy_of_balls(name, dtype, bound, total):
    """Against rational numbers."""
    op = shrinkops.STRUCTURED[name]
    x = np.random.default_rng(11).normal(size=(12, 90)).astype(dtype)
    y = op(x, total)
    amount = Fraction(float(x.dtype.type(total)))
    for row, got in zip(x, y, strict=True):
        exact = [Fraction(float(v)) for v in row]
        sizes = exact if name == "simplex" else [abs(v) for v in exact]
        ordered, sums = sorted(sizes, reverse=True), Fraction(0)
        for k, v in enumerate(ordered, 1):
            sums += v
            if v > (sums - amount) / k:
                level = (sums - amount) / k
        if name != "simplex" and level <= 0:
            wanted = [Fraction(0) if name == "linfshrink" else v for v in exact]
        else:
            wanted = [min(v, level) if name == "linfshrink" else max(v - level, Fraction(0)) for v in sizes]
            wanted = [-w if name != "simplex" and v < 0 else w for v, w in zip(exact, wanted, strict=True)]
        for w, g in zip(wanted, got, strict=True):
            ulp = Fraction(float(np.spacing(abs(x.dtype.type(float(w))))))
            assert abs(Fraction(float(g)) - w) <= Fraction(bound) * ulp


def test_balls_of_hard_rows():
    """Rows of which a step of Newton's removes few: geometric ones, also in ascending order."""
    for ratio in (0.5, 0.9, 0.999):
        x = ratio ** np.arange(800.0)
        y = shrinkops.simplex(np.stack([x, x[::-1], -x]), 1.0)
        np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-14)
        np.testing.assert_array_equal(y[1], y[0][::-1])


def test_forked_child_can_use_groups():
    if not hasattr(os, "fork"):
        pytest.skip("has no fork()")
    program = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import numpy as np, shrinkops
        x = np.random.default_rng(0).normal(size=(20000, 16))
        shrinkops.set_num_threads(2)
        y = shrinkops.groupshrink(x, 3.0)
        child = os.fork()
        if child == 0:
            os._exit(0 if (shrinkops.groupshrink(x, 3.0) == y).all() else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


# ---------------------------------------------------------------------------------------------------------------------
# Dask and xarray


def test_dask_is_lazy(da, every_library):
    bomb = every_library["dask"].bomb()
    for op in shrinkops.STRUCTURED.values():
        x = bomb.reshape(4, 1)[:, [0]].rechunk(-1) if op.__name__ == "svdshrink" else bomb[:, None]
        p = (1,) if op.__name__ == "topkshrink" else (1.0,) * max(1, len(op.defaults))
        y = op(x, *p)
        assert y.shape == (4, 1)
        assert op.penalty(x, *p).shape == (() if op.__name__ == "svdshrink" else (4,))
        assert op.vjp(x, x, *p)[0].shape == (4, 1)


def test_dask_says_how_to_rechunk(da, case):
    op, params, options = case
    axis = over(op, options)[-1] % 2
    x = da.from_array(data(), chunks=(2, 3))
    with pytest.raises(ValueError, match=re.escape(f"{op.__name__}: x is chunked along ax")) as caught:
        op(x, *params, **options)
    where = re.search(r"rechunk\({(.*)}\)", str(caught.value))[1].split(", ")
    assert f"{axis}: -1" in where
    with pytest.raises(ValueError, match=r"x\.rechunk\({1: -1}\)"):
        shrinkops.groupshrink(da.ones((4, 4), chunks=2), 1.0)
    with pytest.raises(ValueError, match=r"chunked along axes 0 and 1; x\.rechunk\({0: -1, 1: -1}\)"):
        shrinkops.groupshrink(da.ones((4, 4), chunks=2), 1.0, axis=(0, 1))
    unknown = da.ones(6, chunks=2)
    with pytest.raises(ValueError, match=r"after x\.compute_chunk_sizes\(\), x\.rechunk\({0: -1}\)"):
        shrinkops.groupshrink(unknown[unknown > 0], 1.0)
    with pytest.raises(ValueError, match=r"x is of unknown length along its axis; x\.compute_chunk_sizes\(\) finds it"):
        shrinkops.topkshrink(unknown.rechunk(-1)[unknown.rechunk(-1) > 0], k=2)


def test_dask_need_not_know_how_many_groups_there_are(da):
    """Only how long they are."""
    a = np.arange(1.0, 13.0).reshape(6, 2)
    x, some = da.from_array(a, chunks=(3, 2)), a[:, 0] > 3
    unknown = x[da.from_array(some, chunks=3)]
    np.testing.assert_array_equal(shrinkops.groupshrink(unknown, 1.0), shrinkops.groupshrink(a[some], 1.0))
    for g in (2 * unknown, 1.0):
        dx, dlambd = shrinkops.groupshrink.vjp(g, unknown, unknown[:, :1])
        expected = shrinkops.groupshrink.vjp(g if isinstance(g, float) else 2 * a[some], a[some], a[some][:, :1])
        np.testing.assert_allclose(dx, expected[0])
        np.testing.assert_allclose(dlambd, expected[1])
    with pytest.raises(ValueError, match=r"groupshrink: g must have blocks as x has, got \(1,\) where x has \(2, 1\)"):
        shrinkops.groupshrink.vjp(np.ones(2), unknown, 1.0)


def test_xarray_names_dimensions(xr):
    a = data(shape=(2, 4, 6))
    x = xr.DataArray(a, dims=["time", "row", "column"], coords={"row": [3, 5, 7, 9]}, name="signal")
    y = shrinkops.groupshrink(x, 1.0, axis="row")
    assert y.dims == x.dims
    assert y.name == "signal"
    np.testing.assert_array_equal(y, shrinkops.groupshrink(a, 1.0, axis=1))
    np.testing.assert_array_equal(
        shrinkops.l1ball(x, 1.0, axis=("time", "column")), shrinkops.l1ball(a, 1.0, axis=(0, 2))
    )
    lambd = xr.DataArray(np.array([0.5, 1.0, 1.5, 2.0]), dims=["row"], coords={"row": [3, 5, 7, 9]})
    got = shrinkops.groupshrink(x, lambd, axis="column")
    np.testing.assert_array_equal(got, shrinkops.groupshrink(a, lambd.data[None, :, None]))
    penalty = shrinkops.groupshrink.penalty(x, lambd, axis="column")
    assert penalty.dims == ("time", "row")
    assert list(penalty.row) == [3, 5, 7, 9]
    c = shrinkops.groupshrink.vjp(x, x, lambd, axis="column")[1]
    assert c.dims == ("row",)
    np.testing.assert_allclose(c, shrinkops.groupshrink.vjp(a, a, lambd.data[None, :, None])[1].ravel())
    one = xr.DataArray(np.arange(4.0), dims=["row"])
    np.testing.assert_array_equal(
        shrinkops.groupshrink.vjp(one, x, 1.0, axis="row")[0],
        shrinkops.groupshrink.vjp(one.data[:, None], a, 1.0, axis=1)[0],
    )
    across = xr.Variable(["column", "row"], a[0].T)
    np.testing.assert_array_equal(
        shrinkops.groupshrink.vjp(across, x, 1.0)[0], shrinkops.groupshrink.vjp(a[0], a, 1.0)[0]
    )
    with pytest.raises(ValueError, match="cannot align"):
        shrinkops.groupshrink.vjp(x.isel(row=[0, 1, 3, 2]), x, 1.0)
    with pytest.raises(ValueError, match="groupshrink: g must broadcast"):
        shrinkops.groupshrink.vjp(xr.DataArray(np.ones(2), dims=["depth"]), x, 1.0)
    both = shrinkops.groupshrink(xr.Dataset({"a": x, "b": 2 * x}), 1.0, axis="row")
    np.testing.assert_array_equal(both.b, shrinkops.groupshrink(2 * a, 1.0, axis=1))
    np.testing.assert_array_equal(shrinkops.groupshrink(x.variable, 1.0, axis="row"), y)
    with pytest.raises(ValueError, match="x has no dimension 'depth', but time, row, column"):
        shrinkops.groupshrink(x, 1.0, axis="depth")
