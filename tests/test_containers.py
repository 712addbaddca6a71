"""What is special about each library of arrays: structure, labels, missing values, laziness, devices.

What they have in common is in test_contract.py, which runs on all of them.
"""

from __future__ import annotations

import csv
import importlib
import os
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import shrinkops
from shrinkops._dispatch import Function

pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta:UserWarning")

DENSE = np.array([[0.0, 1.0, -2.0, 0.0], [3.0, 0.0, -0.2, 0.0], [0.0, 0.0, 0.0, 0.0]])
COTANGENT = np.cos(np.arange(12.0)).reshape(3, 4)


def run(program: str, folder: Path, **environment: str) -> str:
    """Run a program from a file, which processes that it starts can import, and return what it prints."""
    file = folder / "program.py"
    file.write_text(textwrap.dedent(program))
    path = os.pathsep.join([str(Path(shrinkops.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---------------------------------------------------------------------------------------------------------------------
# Sparse arrays: that of DENSE, how to have it dense again, and how many values it stores


def sparse_arrays():
    """Return makers of sparse arrays of every library and format."""
    for format in ("coo", "gcxs", "dok"):
        yield f"sparse:{format}", lambda a, format=format: _module("sparse").COO(a).asformat(format)
    for format in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
        for kind in ("array", "matrix"):
            yield (
                f"scipy:{format}_{kind}",
                lambda a, name=f"{format}_{kind}": getattr(_module("scipy.sparse"), name)(a),
            )
    for layout in ("coo", "csr", "csc", "bsr", "bsc"):
        yield f"torch:{layout}", lambda a, layout=layout: _torch_sparse(a, layout)
    for name in ("BCOO", "BCSR"):
        yield f"jax:{name}", lambda a, name=name: getattr(_module("jax.experimental.sparse"), name).fromdense(a)


def _module(name):
    return importlib.import_module(name)


def _torch_sparse(a, layout):
    torch = _module("torch")
    with torch.sparse.check_sparse_tensor_invariants():
        blocks = (1, 2) if layout.startswith("b") else None
        return torch.from_numpy(a).to_sparse(layout=getattr(torch, f"sparse_{layout}"), blocksize=blocks)


def dense(a):
    """Return any array as one of NumPy."""
    for name in ("todense", "to_dense", "toarray"):
        if hasattr(a, name):
            return np.asarray(getattr(a, name)())
    return np.asarray(a)


def stored(a):
    """Return how many values an array stores."""
    return next(
        int(getattr(a, name)() if callable(getattr(a, name)) else getattr(a, name))
        for name in ("_nnz", "nse", "nnz")
        if hasattr(a, name)
    )


def dense_of(name):
    """Return the maker of dense arrays that go with sparse ones."""
    return {"torch": lambda a: _module("torch").from_numpy(a)}.get(name.partition(":")[0], lambda a: a)


@pytest.fixture(params=list(sparse_arrays()), ids=lambda pair: pair[0])
def sparse(request, libraries):
    """Return a maker of sparse arrays, and one of dense arrays that go with them."""
    name, make = request.param
    if name.partition(":")[0] not in libraries:
        pytest.skip(f"SHRINKOPS_TEST_LIBRARIES leaves out {name}")
    return make, dense_of(name)


def test_sparse_keeps_its_structure(operator, sparse, help):
    make, p = sparse[0], help.example(operator)
    x = make(DENSE)
    if (operator(np.zeros(1), *p) != 0).any():
        return
    for function in [operator, operator.derivative, *([operator.penalty] if hasattr(operator, "penalty") else [])]:
        if function(0.0, *p) != 0:  # is refused: see the next test
            continue
        y = function(x, *p)
        assert type(y) is type(x)
        assert getattr(y, "layout", None) == getattr(x, "layout", None)
        assert stored(y) == stored(x)  # zeros that have come stay until they are dropped
        np.testing.assert_allclose(dense(y), function(DENSE, *p), rtol=1e-14)
    np.testing.assert_array_equal(dense(x), DENSE)


def test_sparse_refuses_what_it_cannot_leave_out(operator, sparse, help):
    """Whatever is not 0 at 0, as the derivative with a threshold of 0; sparse has it as its fill value instead."""
    x = sparse[0](DENSE)
    for params in (help.example(operator), (0.0,) * len(operator.parameters)):
        for function in (operator, operator.derivative):
            try:
                rest = function(0.0, *params)
            except ValueError:  # parameters may not all be 0
                continue
            if rest == 0 or hasattr(x, "fill_value"):
                np.testing.assert_allclose(dense(function(x, *params)), function(DENSE, *params), rtol=1e-14)
            else:
                with pytest.raises(ValueError, match=rf" is {rest} where x is 0\.0, which .* cannot leave out"):
                    function(x, *params)
            if rest != 0 and function is operator.derivative:
                with pytest.raises(ValueError, match="cannot leave out"):
                    operator.vjp(1.0, x, *params)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4)])
def test_sparse_with_arrays_of_parameters(thresholding, sparse, help, shape):
    """Which broadcast to the shape of x; dense ones are looked up where x stores values."""
    make, plain = sparse
    x = make(DENSE)
    columns = [np.linspace(a, a + 0.25, int(np.prod(shape))).reshape(shape) for a in help.example(thresholding)]
    if (thresholding(0.0, *columns) != 0).any():
        return
    expected = thresholding(DENSE, *columns)
    pulls = thresholding.vjp(COTANGENT, DENSE, *columns)
    for params in [list(map(plain, columns))] + ([list(map(make, columns))] if shape == (3, 4) else []):
        y = thresholding(x, *params)
        assert type(y) is type(x)
        assert stored(y) == stored(x)
        np.testing.assert_allclose(dense(y), expected, rtol=1e-14)
        for g in (plain(COTANGENT), make(COTANGENT)):
            if (thresholding.derivative(0.0, *columns) != 0).any():
                continue
            found = thresholding.vjp(g, x, *params)
            assert type(found[0]) is type(x)
            for a, b in zip(found, pulls, strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(dense(a), b, rtol=1e-13, atol=1e-15)


def test_sparse_with_numbers(operator, sparse, help):
    """Cotangents of numbers are numbers, and do not miss what is not stored."""
    make, p = sparse[0], help.example(operator)
    if (operator(0.0, *p), operator.derivative(0.0, *p)) != (0, 0):
        return
    for g, plain in ((2.0, 2.0), (make(COTANGENT), COTANGENT)):
        for a, b in zip(operator.vjp(g, make(DENSE), *p), operator.vjp(plain, DENSE, *p), strict=True):
            np.testing.assert_allclose(dense(a), b, rtol=1e-13)


def test_sparse_does_not_grow(thresholding, sparse, help):
    make, plain = sparse
    params = [plain(np.full((2, 3, 4), a)) for a in help.example(thresholding)]
    said = rf"{thresholding.parameters[0]} must broadcast to the shape \(3, 4\) of x, got shape \(2, 3, 4\)$"
    with pytest.raises(ValueError, match=f"{thresholding.__name__}: {said}"):
        thresholding(make(DENSE), *params)


def test_dense_with_sparse_parameters_is_refused(thresholding, sparse, help):
    make, plain = sparse
    params = [make(np.full((3, 4), a)) for a in help.example(thresholding)]
    for x in (plain(DENSE), 2.0):
        with pytest.raises(TypeError, match=rf"{thresholding.__name__}: x is .* but {thresholding.parameters[0]} is "):
            thresholding(x, *params)


def duplicates():
    """Return makers of sparse arrays, with values that are to be added: 0.4 + 0.4 at (0, 1)."""
    values, rows, columns = np.array([0.4, 0.4, 2.0]), np.array([0, 0, 1]), np.array([1, 1, 2])
    for format, major, minor in (("csr", [0, 2, 3], columns), ("csc", [0, 0, 2, 3, 3], rows)):
        yield lambda format=format, major=major, minor=minor: getattr(_module("scipy.sparse"), f"{format}_array")(
            (values, minor, major), shape=(2, 4)
        )
    yield lambda: _module("scipy.sparse").coo_array((values, (rows, columns)), shape=(2, 4))
    yield lambda: _module("torch").sparse_coo_tensor(
        np.array([rows, columns]), _module("torch").from_numpy(values), (2, 4), check_invariants=True
    )
    yield lambda: _module("jax.experimental.sparse").BCOO((values, np.array([rows, columns]).T), shape=(2, 4))


@pytest.mark.parametrize("make", list(duplicates()))
def test_sparse_with_duplicates(operator, scipy, torch, jax, make, help):
    """They are added before they are shrunk, not after; and x keeps them."""
    p = help.example(operator)
    if operator(0.0, *p) != 0:
        return
    x = make()
    before = dense(x)
    for params in (p, [dense_of(type(x).__module__)(np.full(4, a)) for a in p]):
        np.testing.assert_allclose(dense(operator(x, *params)), operator(before, *p), rtol=1e-14)
    np.testing.assert_array_equal(dense(x), before)
    assert stored(x) == 3


def test_sparse_fill_value(operator, help):
    """What is not stored is shrunk too."""
    sparse, p = _module("sparse"), help.example(operator)
    plain = np.where(DENSE == 0, 7.0, DENSE)
    x = sparse.COO(plain, fill_value=7.0)
    y = operator(x, *p)
    assert y.fill_value == operator(7.0, *p)
    np.testing.assert_array_equal(y.todense(), operator(plain, *p))
    columns = [np.full(4, a) for a in p]
    np.testing.assert_array_equal(operator(x, *columns).todense(), operator(plain, *p))
    several = [c + np.arange(4) / 8 for c in columns]
    if len(np.unique(operator(7.0, *several))) > 1:
        with pytest.raises(ValueError, match="cannot leave out"):
            operator(x, *several)


def test_sparse_fill_value_of_nan():
    sparse = pytest.importorskip("sparse")
    y = shrinkops.softshrink(sparse.COO(np.array([[0]]), np.array([2.0]), shape=(3,), fill_value=np.nan), 0.5)
    np.testing.assert_array_equal(y.todense(), [1.5, np.nan, np.nan])


def test_diagonals_store_more_than_there_is():
    sp = pytest.importorskip("scipy.sparse")
    x = sp.dia_array((np.array([[9.0, 1.0, 2.0]]), [1]), shape=(3, 3))
    assert shrinkops.softshrink.vjp(1.0, x, 0.5)[1] == -2
    y = shrinkops.softshrink(x, 0.5)
    assert y.format == "dia"
    np.testing.assert_array_equal(y.toarray(), shrinkops.softshrink(x.toarray(), 0.5))


def test_torch_gradients_that_sparse_tensors_would_miss(torch):
    """By a value that is 0 now, which takes the place of what is not stored."""
    x, value = torch.eye(3).to_sparse(), torch.tensor(0.0, requires_grad=True)
    with pytest.raises(ValueError, match=r"threshold\.derivative is 1\.0 where x is 0\.0"):
        shrinkops.threshold(x, 0.5, value)
    assert shrinkops.threshold(x, 0.5, value.detach()).to_dense().equal(torch.eye(3))
    with pytest.raises(TypeError, match=r"takes numbers as parameters; x\.to_sparse\(\) takes arrays"):
        shrinkops.softshrink(torch.stack([torch.eye(2)] * 2).to_sparse_csr(), torch.tensor([0.5, 0.5]))


def test_masked_arrays_keep_what_they_are_filled_with():
    x = np.ma.array([2.0, -3.0], mask=[0, 1], fill_value=7.0, hard_mask=True)
    y = shrinkops.softshrink(x, 0.5)
    assert (y.fill_value, y.hardmask) == (7.0, True)
    cotangent = np.ma.array([1.0, 1.0], mask=[1, 0])
    by_x, by_lambd = shrinkops.softshrink.vjp(cotangent, np.array([2.0, 2.0]), 0.5)
    assert (by_x.mask.tolist(), by_lambd) == ([True, False], -1)


def test_sparse_zeros_are_dropped_by_the_library():
    """As the documentation says."""
    x = _module("scipy.sparse").csr_array(DENSE)
    y = shrinkops.softshrink(x, 1.0)
    assert (y.nnz, np.count_nonzero(y.toarray())) == (4, 2)
    y.eliminate_zeros()
    assert (y.nnz, x.nnz) == (2, 4)
    sparse = _module("sparse")
    y = shrinkops.softshrink(sparse.COO(DENSE), 1.0)
    assert (y.nnz, (y + 0).nnz) == (4, 2)


def test_torch_differentiates_sparse_tensors(operator, torch, help):
    """Of each layout that autograd can hold, with respect to stored values and thresholds."""
    p = help.example(operator)
    if (operator(0.0, *p), operator.derivative(0.0, *p)) != (0, 0):
        return
    expected = operator.vjp(COTANGENT, DENSE, *(np.full(4, a) for a in p))
    for layout in ("coo", "csr"):
        x = _torch_sparse(DENSE, layout).requires_grad_()
        params = [torch.full((4,), a, dtype=torch.float64, requires_grad=True) for a in p]
        (operator(x, *params).to_dense() * torch.from_numpy(COTANGENT)).sum().backward()
        for a, b in zip((x, *params), expected, strict=True):
            np.testing.assert_allclose(a.grad.to_dense().numpy(), b, rtol=1e-13, atol=1e-15)


def test_torch_values_that_are_arrays(torch):
    """Hybrid tensors: with numbers, not with arrays."""
    x = torch.sparse_coo_tensor([[0, 1]], torch.tensor([[0.4, 3.0], [1.0, -2.0]]), (3, 2), check_invariants=True)
    np.testing.assert_allclose(dense(shrinkops.softshrink(x, 0.5)), [[0, 2.5], [0.5, -1.5], [0, 0]])
    with pytest.raises(ValueError, match="softshrink: lambd must be a number where x has dense dimensions"):
        shrinkops.softshrink(x, torch.ones(2))


def test_jax_compiles_sparse_arrays(operator, jax, help):
    """Structure and all, with duplicates that cannot be counted; the derivative with respect to the values."""
    import jax.numpy as jnp
    from jax.experimental.sparse import BCOO

    p = help.example(operator)
    if (operator(0.0, *p), operator.derivative(0.0, *p)) != (0, 0):
        return
    where = np.array([[0, 1], [0, 1], [0, 2], [1, 0]])
    values = jnp.array([0.4, 0.4, -2.0, 3.0])

    def total(values, *params):
        return operator(BCOO((values, where), shape=(2, 3)), *params).todense().sum()

    plain = np.array([[0, 0.8, -2], [3, 0, 0]])
    slopes, *rest = operator.vjp(1.0, plain, *p)
    found = jax.jit(jax.grad(total, range(1 + len(p))))(values, *p)
    np.testing.assert_allclose(found[0], slopes[tuple(where.T)], rtol=1e-6)
    np.testing.assert_allclose(found[1:], rest, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(total)(values, *p), operator(plain, *p).sum(), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# xarray


@pytest.fixture
def labelled(xr):
    """An array with all that one can have."""
    return xr.DataArray(
        np.linspace(-3, 3, 6).reshape(2, 3),
        dims=("time", "place"),
        coords={"time": [10, 20], "place": ["x", "y", "z"], "height": ("place", [1.0, 2.0, 3.0])},
        attrs={"units": "m"},
        name="signal",
    )


def test_xarray_keeps_labels(operator, labelled, xr, help):
    p = help.example(operator)
    expected = labelled.copy(data=operator(labelled.values, *p))
    assert operator(labelled, *p).identical(expected)
    assert operator(labelled.variable, *p).identical(expected.variable)
    assert operator(labelled.to_dataset(), *p).identical(expected.to_dataset())
    with xr.set_options(keep_attrs=False):
        assert operator(labelled, *p).attrs == {}
    for a in (labelled, labelled.variable, labelled.to_dataset()):
        pulled = operator.vjp(a, a, *p)
        assert type(pulled[0]) is type(a)
        for b, c in zip(pulled, operator.vjp(labelled.values, labelled.values, *p), strict=True):
            np.testing.assert_allclose(b["signal"] if isinstance(b, xr.Dataset) else b, c, rtol=1e-14)


def test_xarray_broadcasts_by_name(thresholding, labelled, xr, help):
    """And aligns by label, as the option for arithmetic says; cotangents are summed over the other dimensions."""
    p = help.example(thresholding)
    columns = [np.array([a, a + 0.25]) for a in p]
    expected = thresholding(labelled.values, *(a[:, None] for a in columns))
    turned = [xr.DataArray(a[::-1], dims="time", coords={"time": [20, 10]}) for a in columns]
    y = thresholding(labelled, *turned)
    assert y.identical(labelled.copy(data=expected))
    pulled = thresholding.vjp(labelled, labelled, *turned)
    reference = thresholding.vjp(labelled.values, labelled.values, *(a[:, None] for a in columns))
    np.testing.assert_allclose(pulled[0], reference[0])
    for a, b in zip(pulled[1:], reference[1:], strict=True):
        np.testing.assert_allclose(a.sel(time=[10, 20]), b[:, 0], atol=1e-15)
        np.testing.assert_array_equal(a["time"], [20, 10])
    other = [xr.DataArray(a, dims="trial") for a in columns]
    grown = thresholding(labelled, *other)
    assert grown.dims == ("time", "place", "trial")
    assert thresholding.vjp(grown, labelled, *other)[0].dims == ("time", "place")
    some = [a.isel(time=[0]) for a in turned]
    assert list(thresholding(labelled, *some)["time"]) == [20]
    np.testing.assert_array_equal(thresholding.vjp(1.0, labelled, *some)[0].sel(time=10), [0, 0, 0])
    with xr.set_options(arithmetic_join="exact"), pytest.raises(ValueError, match="align"):
        thresholding(labelled, *some)


def test_xarray_of_dask_is_lazy_and_of_sparse_is_sparse(operator, labelled, da, help):
    p = help.example(operator)
    y = operator(labelled.chunk(time=1), *p)
    assert isinstance(y.data, da.Array)
    assert y.compute().identical(operator(labelled, *p))
    assert all(isinstance(a.data, da.Array) for a in operator.vjp(1.0, labelled.chunk(time=1), *p))
    sparse = _module("sparse")
    x = labelled.copy(data=sparse.COO(labelled.values))
    assert isinstance(operator(x, *p).data, sparse.COO)


def test_xarray_datasets_share_parameters(thresholding, labelled, xr, help):
    """A parameter of all variables has a cotangent from all."""
    p = help.example(thresholding)
    dataset = xr.Dataset({"a": labelled, "b": 2 * labelled.isel(time=0, drop=True)})
    pulled = thresholding.vjp(1.0, dataset, *p)
    assert type(pulled[0]) is xr.Dataset
    for k in range(1, 1 + len(p)):
        parts = [thresholding.vjp(1.0, v.values, *p)[k] for v in dataset.data_vars.values()]
        np.testing.assert_allclose(pulled[k], sum(parts), rtol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# pandas


def test_pandas_keeps_labels(operator, pd, help):
    p = help.example(operator)
    x = pd.Series([-2.0, 0.75, 3.0], index=["a", "b", "b"], name="signal")
    x.attrs["unit"] = "m"
    y = operator(x, *p)
    pd.testing.assert_series_equal(y, pd.Series(operator(x.to_numpy(), *p), index=x.index, name="signal"))
    assert y.attrs == x.attrs
    frame = pd.DataFrame({"a": [1.5, -2.0], "b": [1, 2], "c": [0.5 + 1j * operator.odd, 2]}, index=["r", "s"])
    frame["c"] = frame["c"] if operator.odd else frame["c"].to_numpy().real
    frame.columns = ["a", "b", "b"]
    y = operator(frame, *p)
    assert list(y.columns) == list(frame.columns)
    assert list(y.index) == list(frame.index)
    for i in range(3):
        np.testing.assert_array_equal(y.iloc[:, i], operator(frame.iloc[:, i].to_numpy(), *p))
    for empty in (pd.Series([], dtype=float), pd.DataFrame(index=[1, 2]), pd.DataFrame({"a": []}, dtype=float)):
        assert operator(empty, *p).shape == empty.shape


@pytest.mark.parametrize(
    "dtype", ["Float32", "Float64", "Int16", "UInt8", "float[pyarrow]", "double[pyarrow]", "int32[pyarrow]"]
)
def test_pandas_keeps_what_is_missing(operator, pd, dtype, help):
    """Missing is not NaN; what is missing has no part in sums."""
    p = help.example(operator)
    x = pd.Series([1, None, 3], dtype=dtype, index=list("abc"))
    kept = {"float[pyarrow]": "float[pyarrow]", "Float32": "Float32"}
    for function in (operator, operator.derivative):
        y = function(x, *p)
        assert str(y.dtype) == kept.get(dtype, "double[pyarrow]" if "pyarrow" in dtype else "Float64")
        assert list(y.isna()) == [False, True, False]
        np.testing.assert_allclose(y.dropna().to_numpy(float), function(np.array([1.0, 3.0]), *p), rtol=1e-6)
    pulled = operator.vjp(1.0, x, *p)
    assert list(pulled[0].isna()) == [False, True, False]
    np.testing.assert_allclose(pulled[1:], operator.vjp(1.0, np.array([1.0, 3.0]), *p)[1:], rtol=1e-6)
    if dtype == "Float64":
        x = pd.Series(pd.arrays.FloatingArray(np.array([1.0, np.nan, 3.0]), np.array([False, False, True])))
        y = operator(x, *p)
        assert np.isnan(y.iloc[1])
        assert y.iloc[2] is pd.NA


def test_pandas_of_sparse_values(operator, pd, help):
    x = pd.Series([0.0, 2.0, 0.0], dtype=pd.SparseDtype(float, 0.0))
    y = operator(x, *help.example(operator))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.to_numpy(), operator(x.to_numpy(), *help.example(operator)))


def test_pandas_with_numbers(pd):
    """Of any dtype of pandas', and what broadcasts to no shape, said by name."""
    p = pd.Series(pd.arrays.SparseArray([0.5, 0.0]))
    assert shrinkops.softshrink(2.0, p).tolist() == shrinkops.softshrink(np.full(2, 2.0), p).tolist() == [1.5, 2.0]
    for dtype in ("category", "str"):
        with pytest.raises(TypeError, match="lambd must hold real numbers, got dtype"):
            shrinkops.softshrink(2.0, pd.Series(["a", "b"], dtype=dtype))
    x = pd.Series([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"softshrink: lambd must broadcast to the shape \(3,\), got shape \(2,\)"):
        shrinkops.softshrink(x, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"softshrink: g must broadcast to the shape \(3,\), got shape \(2,\)"):
        shrinkops.softshrink.vjp(np.ones(2), x, 0.5)


def test_pandas_aligns_by_label(thresholding, pd, help):
    """As its own arithmetic does: labels that one of two lacks give NaN."""
    p = help.example(thresholding)
    x = pd.Series([-2.0, 0.75, 3.0], index=list("abc"))
    params = [pd.Series([a, a + 0.125, a + 0.25], index=list("dcb")) for a in p]
    y = thresholding(x, *params)
    assert list(y.index) == list((x + params[0]).index) == list("abcd")
    np.testing.assert_array_equal(np.isnan(y), [True, False, False, True])
    inner = [np.array([a + 0.25, a + 0.125]) for a in p]
    np.testing.assert_allclose(y["b":"c"], thresholding(np.array([0.75, 3.0]), *inner))
    pulled = thresholding.vjp(1.0, x, *params)
    assert [list(a.index) for a in pulled] == [list("abc"), *[list("dcb")] * len(p)]
    np.testing.assert_allclose(pulled[1]["b"], thresholding.vjp(np.ones(2), np.array([0.75, 3.0]), *inner)[1][0])


def test_pandas_parameters_of_frames(thresholding, pd, help):
    """A series has one value for each column, an array broadcasts by position."""
    p = help.example(thresholding)
    frame = pd.DataFrame({"a": [1.5, -2.0, 0.75], "b": [3.0, -0.5, 1.0]})
    columns = [np.array([a, a + 0.25]) for a in p]
    expected, pulls = thresholding(frame.to_numpy(), *columns), thresholding.vjp(1.0, frame.to_numpy(), *columns)
    for params in ([pd.Series(a, index=["a", "b"]) for a in columns], columns):
        np.testing.assert_array_equal(thresholding(frame, *params), expected)
        for a, b in zip(thresholding.vjp(1.0, frame, *params), pulls, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
    whole = [pd.DataFrame(np.broadcast_to(a, (3, 2)), columns=["a", "b"]) for a in columns]
    np.testing.assert_array_equal(thresholding(frame, *whole), expected)
    with pytest.raises(TypeError, match=r"x is pandas\.Series but .* is pandas\.DataFrame"):
        thresholding(frame["a"], *whole)


@pytest.mark.parametrize("dtype", ["str", "category", "datetime64[ns]", "boolean", "bool"])
def test_pandas_refuses_what_are_no_numbers(operator, pd, dtype, help):
    x = pd.Series([1, 0]).astype(dtype)
    with pytest.raises(TypeError) as raised:
        operator(x, *help.example(operator))
    said = f"{operator.__name__}: x must hold real or complex numbers, got dtype "
    assert str(raised.value) == said + dtype.removesuffix("ean")


# ---------------------------------------------------------------------------------------------------------------------
# polars


def test_polars_keeps_names_and_nulls(operator, pl, help):
    p = help.example(operator)
    x = pl.Series("signal", [1.0, None, 3.0, float("nan")], dtype=pl.Float32)
    for function in (operator, operator.derivative):
        y = function(x, *p)
        assert (y.name, y.dtype, y.is_null().to_list()) == ("signal", pl.Float32, [False, True, False, False])
        assert y.is_nan().to_list() == [False, None, False, True]
    pulled = operator.vjp(1.0, x[:3], *p)
    np.testing.assert_allclose(pulled[1:], operator.vjp(1.0, np.array([1, 3], np.float32), *p)[1:], rtol=1e-6)
    for dtype in (pl.Int128, pl.Decimal(5, 2), pl.UInt8):
        assert operator(pl.Series([1, 2]).cast(dtype), *p).dtype == pl.Float64
    for bad in (pl.Series(["a"]), pl.Series([[1.0]]), pl.Series([None, True])):
        with pytest.raises(TypeError, match="x must hold real or complex numbers, got dtype "):
            operator(bad, *p)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_polars_expressions(operator, pl, engine, help):
    """Run when they are evaluated, in pieces; parameters may be columns."""
    p = help.example(operator)
    rng = np.random.default_rng(2)
    x, columns = rng.normal(size=1000) * 2, [a + rng.uniform(0, 0.25, 1000) for a in p]
    frame = pl.LazyFrame({"x": x, **{f"p{k}": a for k, a in enumerate(columns)}})

    def found(expression):
        return frame.select(expression.alias("y")).collect(engine=engine)["y"].to_numpy()

    np.testing.assert_array_equal(found(operator(pl.col("x"), *p)), operator(x, *p))
    for params in ([pl.col(f"p{k}") for k in range(len(p))], columns):
        np.testing.assert_array_equal(found(operator(pl.col("x"), *params)), operator(x, *columns))
        pulled = operator.vjp(pl.col("x"), pl.col("x"), *params)
        for a, b in zip(pulled, operator.vjp(x, x, *columns), strict=True):
            np.testing.assert_array_equal(found(a), b)
    for a, b in zip(operator.vjp(1.0, pl.col("x"), *p)[1:], operator.vjp(1.0, x, *p)[1:], strict=True):
        np.testing.assert_allclose(found(a), [b], rtol=1e-12)
    assert frame.select(operator(pl.col("x"), *p)).collect_schema() == {"x": pl.Float64}
    small = pl.LazyFrame({"x": [1, 2]}).select(operator(pl.col("x"), *p))
    assert small.collect_schema() == {"x": pl.Float64}


def test_polars_refuses_frames_and_matrices(thresholding, pl, help):
    x, p = pl.Series([1.0, 2.0]), help.example(thresholding)
    with pytest.raises(ValueError, match=r"must broadcast to the shape \(2,\) of x, got shape \(3, 2\)"):
        thresholding(x, *(np.full((3, 2), a) for a in p))
    with pytest.raises(TypeError, match=r"x must be an array or a number, got polars\.DataFrame"):
        thresholding(pl.DataFrame({"x": x}), *p)


# ---------------------------------------------------------------------------------------------------------------------
# ONNX


def test_onnx_models(operator, ndx, help):
    """A model of an operator, for arrays of any length, gives the numbers of the operator in another program."""
    import onnx
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    p = help.example(operator)
    x = ndx.argument(shape=("n",), dtype=ndx.float32)
    params = [ndx.argument(shape=(), dtype=ndx.float32) for _ in p]
    inputs = {"x": x, **dict(zip(operator.parameters, params, strict=True))}
    model = ndx.build(inputs, {"y": operator(x, *params), "slope": operator.derivative(x, *params)})
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = {name: np.float32(a) for name, a in zip(operator.parameters, p, strict=True)}
    for n in (0, 1, 57):
        plain = np.linspace(-4, 4, n, dtype=np.float32)
        y, slope = session.run(["y", "slope"], {"x": plain, **{name: np.asarray(a) for name, a in fed.items()}})
        np.testing.assert_allclose(y, operator(plain, *p), rtol=1e-6)
        np.testing.assert_allclose(slope, operator.derivative(plain, *p), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# MLX, of which the library knows nothing


def test_mlx_differentiates(operator, mx, help):
    """By its own means, with respect to thresholds too."""
    plain, p = np.array([-2.5, -0.7, 0.25, 0.8, 1.75], np.float32), help.example(operator)
    x, params = mx.array(plain), [mx.array(a, dtype=mx.float32) for a in p]
    found = mx.grad(lambda *a: operator(*a).sum(), argnums=tuple(range(1 + len(p))))(x, *params)
    for a, b in zip(found if p else [found], operator.vjp(1.0, plain, *p), strict=True):
        np.testing.assert_allclose(np.array(a), b, rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="MLX compiles with a C++ compiler")
def test_mlx_compiles(mx):
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    y = mx.compile(lambda a: shrinkops.firmshrink(a, 0.5, 1.5))(mx.array(x))
    np.testing.assert_allclose(np.array(y), shrinkops.firmshrink(x, 0.5, 1.5), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Dask


def test_dask_calls_nothing_before_it_computes(operator, da, help, monkeypatch):
    """Not even on an empty block."""
    x, p = da.from_array(DENSE, chunks=2), help.example(operator)
    entered = []
    monkeypatch.setattr(Function, "enter", lambda *arguments: entered.append(arguments))
    for function in help.functions(operator):
        for params in (p, [da.full(4, a, chunks=2) for a in p]):
            function(x, *params)
            function(x[x > 0], *p)
    assert entered == []


def test_dask_of_sparse_blocks(operator, da, help):
    sparse, p = _module("sparse"), help.example(operator)
    x = da.from_array(sparse.COO(DENSE), chunks=2)
    if (operator(0.0, *p), operator.derivative(0.0, *p)) != (0, 0):
        return
    for params in (p, [np.full(4, a) for a in p], [da.full(4, a, chunks=3) for a in p]):
        y = operator(x, *params)
        assert type(y._meta) is sparse.COO
        assert type(y.compute()) is sparse.COO
        np.testing.assert_array_equal(y.compute().todense(), operator(DENSE, *p))
        for a, b in zip(operator.vjp(x, x, *params), operator.vjp(DENSE, DENSE, *map(dense, params)), strict=True):
            np.testing.assert_allclose(dense(a.compute()), b, rtol=1e-14)


def test_dask_masks_have_no_part_in_cotangents(operator, da, help):
    p = help.example(operator)
    plain = np.ma.MaskedArray(np.linspace(-3, 3, 10), np.arange(10) % 3 == 0)
    x = da.from_array(plain, chunks=4, asarray=False)
    for a, b in zip(operator.vjp(1.0, x, *p), operator.vjp(1.0, plain, *p), strict=True):
        np.testing.assert_array_equal(np.ma.getmaskarray(a.compute()), np.ma.getmaskarray(b))
        np.testing.assert_allclose(np.ma.filled(a.compute(), 0), np.ma.filled(b, 0), rtol=1e-14)


CLUSTER = """
    import os
    import resource

    import dask
    import dask.array as da
    import numpy as np
    from dask.distributed import Client, LocalCluster

    import shrinkops

    LIMIT = 500_000_000


    def state():
        return os.getpid(), shrinkops.get_num_threads(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


    if __name__ == "__main__":
        options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": LIMIT, "dashboard_address": None}
        with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
            started = client.run(state)
            x = (da.arange(150_000_000, chunks=1_000_000, dtype=np.float64) % 1000 - 500) / 100
            assert x.nbytes > 2 * LIMIT
            y = shrinkops.firmshrink(x, 1.0, 3.0)
            found = dask.compute(y.sum(), abs(y).sum(), *(a.sum() for a in shrinkops.firmshrink.vjp(x, x, 1.0, 3.0)))
            ended = client.run(state)
        period = (np.arange(1000.0) - 500) / 100
        y = shrinkops.firmshrink(period, 1.0, 3.0)
        expected = [y.sum(), abs(y).sum(), *(a.sum() for a in shrinkops.firmshrink.vjp(period, period, 1.0, 3.0))]
        np.testing.assert_allclose(found, 150_000 * np.array(expected), rtol=1e-9)
        assert len(ended) == 2
        for worker, (pid, threads, peak) in ended.items():
            assert pid == started[worker][0]
            assert threads == 1
            assert peak < LIMIT
        print("as expected")
"""


@pytest.mark.cluster
def test_dask_past_the_memory_of_its_workers(da, tmp_path):
    """1.2 GB through two processes of 0.5 GB each, in blocks: none is restarted, and each block has one thread."""
    assert run(CLUSTER, tmp_path) == "as expected"


# ---------------------------------------------------------------------------------------------------------------------
# Devices, and libraries that nobody has told us of

DEVICES = """
    import jax
    import jax.numpy as jnp
    import shrinkops

    first, second = jax.devices()
    x = jax.device_put(jnp.ones(3), first)
    lambd = jax.device_put(jnp.full(3, 0.5), second)
    for call in (lambda: shrinkops.softshrink(x, lambd), lambda: shrinkops.softshrink.vjp(lambd, x, 0.5)):
        try:
            call()
        except TypeError as error:
            print(error)
    print(shrinkops.softshrink(lambd, jnp.zeros(3)).devices() == {second})
"""


def test_jax_devices(jax, tmp_path):
    """Arrays that were put on two devices are refused; one that was not goes along."""
    said = run(DEVICES, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2", JAX_PLATFORMS="cpu")
    assert said.splitlines() == [
        "softshrink: x is on cpu:0 but lambd is on cpu:1",
        "softshrink: x is on cpu:0 but g is on cpu:1",
        "True",
    ]


def test_torch_devices(thresholding, torch, help):
    """Are named; a tensor that is a number may be on the CPU."""
    x, p = torch.ones(3, device="meta"), help.example(thresholding)
    with pytest.raises(TypeError) as raised:
        thresholding(x, *(torch.full((3,), a) for a in p))
    assert str(raised.value) == f"{thresholding.__name__}: x is on meta but {thresholding.parameters[0]} is on cpu"
    with pytest.raises(TypeError, match="x is on meta but g is on cpu"):
        thresholding.vjp(torch.ones(3), x, *p)
    with pytest.raises(TypeError, match="x is on meta but out is on cpu"):
        thresholding(x, *p, out=torch.ones(3))
    assert thresholding(x, *(torch.tensor(a) for a in p)).device == x.device


def test_subclasses_of_mixins(operator, strict, help):
    """An array is of the library that its type is an array type of, not of each from which it inherits."""

    class Array(np.lib.mixins.NDArrayOperatorsMixin):
        __module__ = "unheard_of"

        def __array_namespace__(self, api_version=None):
            raise NotImplementedError(self)

    with pytest.raises(NotImplementedError, match="unheard_of"):
        operator(Array(), *help.example(operator))


# ---------------------------------------------------------------------------------------------------------------------
# The table of support

ROOT = Path(__file__).parents[1]


def test_a_library_that_is_missing_is_an_error(every_library, help, monkeypatch):
    """Of the tests, as long as nobody asks for less: none is left out without a word, but CuPy without a GPU."""
    monkeypatch.delenv("SHRINKOPS_TEST_LIBRARIES", raising=False)
    for library in every_library.values():
        root = library.modules[0].partition(".")[0]
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, library.modules[0], None)
            if library.gpu and not help.gpus():
                assert library not in help.chosen()
            else:
                with pytest.raises(ImportError, match=root):
                    help.chosen()


def test_support_table(every_library):
    """Has a row for every library of the tests, and nothing in it has failed; the README has the same."""
    with (ROOT / "docs" / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["library"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(every_library)
    for name, row in rows.items():
        assert "FAILED" not in row.values()
        if every_library[name].gpu:
            continue
        assert row["value"] == row["derivative"] == row["vjp"] == row["array parameters"] == "yes"
        for capability in ("out", "lazy"):
            assert row[capability] == ("yes" if getattr(every_library[name], capability) else "-")
        assert row["autodiff"] == ("yes" if every_library[name].differentiable else "-")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "docs" / "support.py"))["updated"](readme) == readme
