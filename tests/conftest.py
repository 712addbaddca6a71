"""What the tests are written about: the registry of operators, and the table of array libraries.

A test asks for what it is about by the names of its arguments, and is run for every

- ``operator``: of ``shrinkops.OPERATORS``; ``thresholding``: those of them that have parameters,
- ``library``: of LIBRARIES below; marked ``@pytest.mark.libraries(out=True)``: those of which that is so,
- ``dtype``: that the library has; marked ``@pytest.mark.dtypes("real")``: of a kind of DTYPES.

Variants of a library run what is marked ``@pytest.mark.core``, and slow ones what is marked with ``slow=True``; the
others run everything.

A library that cannot be imported is an error, not a skip, so that no backend goes untested unnoticed; those for a GPU
are tested where there is one. To test less, say so: SHRINKOPS_TEST_LIBRARIES=numpy,torch.

What a library can do is said by the tests that pass: those marked ``@pytest.mark.shows("out")`` show that it has out=.
``--support-table=docs/support.csv`` writes that down, for the documentation and the README.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import ctypes
import dataclasses
import importlib
import importlib.metadata
import itertools
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import shrinkops

# ---------------------------------------------------------------------------------------------------------------------
# Array libraries

REAL = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGER = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = {
    "real": REAL,
    "complex": COMPLEX,
    "integer": INTEGER,
    "number": REAL + COMPLEX,
    "working": ("float32", "float64"),
}


@dataclasses.dataclass(frozen=True, repr=False)
class Library:
    """An array library as the tests see it."""

    name: str
    """How tests and SHRINKOPS_TEST_LIBRARIES call it: the library, and a variant of it behind a colon."""
    modules: tuple[str, ...]
    """What must be importable."""
    from_numpy: Callable[[np.ndarray], Any]
    """An array of the library with the elements, shape and dtype of a NumPy array."""
    to_numpy: Callable[[Any], np.ndarray]
    """The way back."""
    dtypes: tuple[str, ...] = REAL + COMPLEX + INTEGER + ("bool",)
    """Dtypes that it has, by their NumPy names."""
    default: str = "float64"
    """The floating-point dtype that integers become."""
    out: bool = False
    """Whether operators take out=."""
    differentiable: bool = False
    """Whether it has automatic differentiation."""
    lazy: bool = False
    """Whether it computes only when asked to."""
    kernels: bool = True
    """Whether the kernels run it, so that results are the same bits as NumPy's; else the formula, within 4 ulp."""
    mixes: bool = False
    """Whether its own functions take NumPy arrays beside its own."""
    leads: bool = True
    """Whether x may be a number, or of NumPy, beside parameters of the library."""
    broadcasts: bool = True
    """Whether arrays broadcast by position, and x too."""
    aligns: bool = False
    """Whether arrays of other lengths are matched by their labels."""
    ndims: tuple[int, ...] = (0, 1, 2, 3)
    """The numbers of dimensions that its arrays may have, as far as there are tests of them."""
    algebra: bool = True
    """Whether its arrays are those of the array API, with products of matrices."""
    subnormals: bool = True
    """Whether it has numbers below the least normal one, or takes them for zero."""
    zeros: bool = True
    """Whether zeros have signs."""
    ulps: int = 4
    """Within how many ulp of the kernels it is where it runs the formula: more where its own exp is further off."""
    core: bool = False
    """Whether it runs the core of the tests only."""
    slow: bool = False
    """Whether it runs only what of the core is for slow libraries too."""
    gpu: bool = False
    """Whether it needs a GPU."""
    gradient: Callable[..., Any] | None = None
    """Gradients of the sum of a function of arrays, by its automatic differentiation."""
    bomb: Callable[[], Any] | None = None
    """An array that cannot be computed."""
    during: Callable[[], Any] = contextlib.nullcontext
    """What to do while a test runs."""
    compiles: bool = False
    """Whether every shape and dtype is compiled first, which takes time: ask for few."""
    setup: Callable[[], None] = lambda: None
    """What to do before the first array is made."""

    def __repr__(self) -> str:
        """Return the name, which becomes a part of the names of the tests."""
        return self.name

    def array(self, values: Any, dtype: Any = None) -> Any:
        """Return an array of the library, from anything that NumPy makes an array of."""
        return self.make(np.array(values, dtype=None if dtype is None else numpy_dtype(dtype)))

    def make(self, a: np.ndarray) -> Any:
        """Return an array of the library from one of NumPy."""
        if np.ndim(a) not in self.ndims:
            pytest.skip(f"{self.name} has no arrays of {np.ndim(a)} dimensions")
        return self.from_numpy(a)

    def dtype_of(self, a: Any) -> str:
        """Return the name of the dtype of an array of the library."""
        return getattr(getattr(a, "dtype", None), "name", self.to_numpy(a).dtype.name).lower()


def numpy_dtype(name: Any) -> np.dtype:
    """Return a dtype by name, bfloat16 as ml_dtypes has it."""
    if name == "bfloat16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(name)


def _readonly(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.setflags(write=False)
    return a


def _to_strict(device: str | None) -> Callable[[np.ndarray], Any]:
    def make(a: np.ndarray) -> Any:
        import array_api_strict as xp

        return xp.asarray(a, device=None if device is None else xp.Device(device))

    return make


def _from_strict(a: Any) -> np.ndarray:
    import array_api_strict as xp

    return (
        np.asarray(xp.to_device(a, xp.Device("CPU_DEVICE")))
        if hasattr(xp, "to_device")
        else np.asarray(a.to_device(xp.Device("CPU_DEVICE")))
    )


def _standard(version: str) -> Callable[[], Any]:
    @contextlib.contextmanager
    def during() -> Iterator[None]:
        import array_api_strict as xp

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is old
            xp.set_array_api_strict_flags(api_version=version)
        yield
        xp.reset_array_api_strict_flags()

    return during


def _to_torch(a: np.ndarray) -> Any:
    import torch

    a = np.asarray(a)
    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(a))


def _from_torch(a: Any) -> np.ndarray:
    import torch

    a = a.detach().resolve_conj().resolve_neg()
    if a.dtype is torch.bfloat16:
        return a.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    return a.numpy()


def _to_jax(a: np.ndarray) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(a)


def _setup_jax() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _to_dask(a: np.ndarray) -> Any:
    import dask.array as da

    return da.from_array(a, chunks=tuple(max(1, (n + 1) // 2) for n in a.shape))


def _dask_bomb() -> Any:
    import dask.array as da

    return da.map_blocks(_explode, chunks=((2, 2),), dtype=float, meta=np.empty(0))


def _explode(*_: Any) -> Any:
    raise Computed


class Computed(Exception):
    """Something was computed that should not have been."""


# Sparse arrays store every element, zeros too: what is not stored has tests of its own.


def _everywhere(a: np.ndarray) -> np.ndarray:
    return np.indices(a.shape).reshape(a.ndim, a.size)


def _placed(shape: Any, where: Any, values: Any) -> np.ndarray:
    a = np.zeros(shape, values.dtype)
    a[tuple(where)] = values  # not added, which would take the sign of a zero
    return a


def _to_sparse(format: str) -> Callable[[np.ndarray], Any]:
    def make(a: np.ndarray) -> Any:
        import sparse

        return sparse.COO(_everywhere(a), a.ravel(), shape=a.shape).asformat(format)

    return make


def _from_sparse(a: Any) -> np.ndarray:
    return np.asarray(a.todense() if hasattr(a, "todense") else a)


def _to_scipy(a: np.ndarray) -> Any:
    import scipy.sparse

    return scipy.sparse.coo_array((a.ravel(), tuple(_everywhere(a))), shape=a.shape)


def _from_scipy(a: Any) -> np.ndarray:
    return _placed(a.shape, a.coords, a.data) if hasattr(a, "coords") else np.asarray(a)


def _to_torch_sparse(a: np.ndarray) -> Any:
    import torch

    values = _to_torch(a.ravel())
    return torch.sparse_coo_tensor(_everywhere(a), values, a.shape, is_coalesced=True, check_invariants=True)


def _from_torch_sparse(a: Any) -> np.ndarray:
    if not a.is_sparse:
        return _from_torch(a)
    a = a.coalesce()
    return _placed(a.shape, a.indices().numpy(), _from_torch(a.values()))


def _to_jax_sparse(a: np.ndarray) -> Any:
    import jax.numpy as jnp
    from jax.experimental.sparse import BCOO

    return BCOO((jnp.asarray(a.ravel()), jnp.asarray(_everywhere(a).T)), shape=a.shape, unique_indices=True)


def _from_jax_sparse(a: Any) -> np.ndarray:
    return _placed(a.shape, np.asarray(a.indices).T, np.asarray(a.data)) if hasattr(a, "indices") else np.asarray(a)


def _torch_gradient(function: Any, *arrays: Any) -> list[Any]:
    arrays = tuple(a.detach().clone().requires_grad_() for a in arrays)
    y = function(*arrays)
    (y.coalesce().values() if y.is_sparse else y).sum().backward()
    return [a.grad for a in arrays]


def _jax_gradient(function: Any, *arrays: Any) -> Any:
    import jax

    found = jax.grad(lambda *a: function(*a).sum(), range(len(arrays)), allow_int=True)(*arrays)
    pairs = zip(arrays, found, strict=True)
    return [type(a)((g.data, a.indices), shape=a.shape) if hasattr(a, "indices") else g for a, g in pairs]


def _to_xarray(chunks: int | None) -> Callable[[np.ndarray], Any]:
    """Dimensions have names counted from the last, so that they broadcast as those of NumPy do."""

    def make(a: np.ndarray) -> Any:
        import xarray as xr

        array = xr.DataArray(a, dims=[f"axis{n}" for n in range(a.ndim, 0, -1)])
        return array if chunks is None else array.chunk(chunks)

    return make


def _xarray_bomb() -> Any:
    import xarray as xr

    return xr.DataArray(_dask_bomb())


def _to_pandas(a: np.ndarray) -> Any:
    import pandas as pd

    return (pd.Series if a.ndim == 1 else pd.DataFrame)(a)


def _to_nullable(a: np.ndarray) -> Any:
    import pandas as pd

    kind = pd.arrays.FloatingArray if a.dtype.kind == "f" else pd.arrays.IntegerArray
    return pd.Series(kind(a, np.zeros(a.shape, bool)))


def _from_pandas(a: Any) -> np.ndarray:
    return np.asarray(a, getattr(getattr(a, "dtype", None), "numpy_dtype", None))


def _to_polars(a: np.ndarray) -> Any:
    import polars as pl

    return pl.Series("x", a)


def _from_polars(a: Any) -> np.ndarray:
    return a.to_numpy() if hasattr(a, "to_numpy") else np.asarray(a)


COLUMNS: dict[str, Any] = {}


def _emptied(kept: dict[str, Any]) -> Callable[[], Any]:
    @contextlib.contextmanager
    def during() -> Iterator[None]:
        kept.clear()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'asinh' is not implemented", UserWarning)  # by ONNX Runtime in float64
            yield

    return during


def _to_expression(a: np.ndarray) -> Any:
    import polars as pl

    COLUMNS[f"c{len(COLUMNS)}"] = _to_polars(a)
    return pl.col(f"c{len(COLUMNS) - 1}")


def _from_expression(a: Any) -> np.ndarray:
    import polars as pl

    frame = pl.LazyFrame({name: COLUMNS[name] for name in a.meta.root_names()})
    return frame.select(a).collect().to_series().to_numpy()


def _polars_bomb() -> Any:
    import polars as pl

    return pl.col("x").map_batches(_explode, return_dtype=pl.Float64)


FED: dict[str, Any] = {}


def _to_onnx(a: np.ndarray) -> Any:
    """An argument of a model, which is fed with the array when it is run."""
    import ndonnx as ndx

    x = ndx.argument(shape=a.shape, dtype=getattr(ndx, a.dtype.name))
    FED[f"x{len(FED)}"] = (x, a)
    return x


def _from_onnx(a: Any) -> np.ndarray:
    """Export the model, and run it."""
    import ndonnx as ndx
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    model = ndx.build({name: x for name, (x, _) in FED.items()}, {"y": a}).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    taken = {node.name for node in session.get_inputs()}
    return session.run(["y"], {name: plain for name, (_, plain) in FED.items() if name in taken})[0]


def _onnx_bomb() -> Any:
    import ndonnx as ndx

    return ndx.argument(shape=(4,), dtype=ndx.float64)


def _to_mlx(a: np.ndarray) -> Any:
    import mlx.core as mx

    a = np.asarray(a)
    if a.dtype.name == "bfloat16":
        return mx.array(a.view(np.uint16)).view(mx.bfloat16)
    return mx.array(a)


def _from_mlx(a: Any) -> np.ndarray:
    import mlx.core as mx

    return np.array(a.view(mx.uint16)).view(numpy_dtype("bfloat16")) if a.dtype == mx.bfloat16 else np.array(a)


def _to_cupy(a: np.ndarray) -> Any:
    import cupy

    return cupy.asarray(a)


def _from_cupy(a: Any) -> np.ndarray:
    import cupy

    return cupy.asnumpy(a)


STRICT = ("float32", "float64", *COMPLEX, *INTEGER, "bool")
NARROW = ("float32", "float64", *INTEGER, "bool")
SPARSE = {"mixes": True, "leads": False, "broadcasts": False}

LIBRARIES = {
    library.name: library
    for library in (
        Library("numpy", ("ml_dtypes",), np.array, np.asarray, out=True),
        Library("numpy:readonly", ("ml_dtypes",), _readonly, np.asarray, out=True),
        Library("array_api_strict", ("array_api_strict",), _to_strict(None), _from_strict, STRICT, kernels=False),
        Library(
            "array_api_strict:device1",
            ("array_api_strict",),
            _to_strict("device1"),
            _from_strict,
            STRICT,
            kernels=False,
        ),
        *(
            Library(
                f"array_api_strict:{version}",
                ("array_api_strict",),
                _to_strict(None),
                _from_strict,
                NARROW if version == "2021.12" else STRICT,
                kernels=False,
                core=True,
                during=_standard(version),
            )
            for version in ("2021.12", "2022.12", "2023.12", "2024.12")
        ),
        Library(
            "torch",
            ("torch",),
            _to_torch,
            _from_torch,
            default="float32",
            out=True,
            differentiable=True,
            gradient=_torch_gradient,
        ),
        Library(
            "torch:sparse",
            ("torch",),
            _to_torch_sparse,
            _from_torch_sparse,
            default="float32",
            leads=False,
            broadcasts=False,
            differentiable=True,
            gradient=_torch_gradient,
            core=True,
        ),
        Library(
            "jax",
            ("jax",),
            _to_jax,
            np.asarray,
            differentiable=True,
            kernels=False,
            mixes=True,
            compiles=True,
            subnormals=False,
            setup=_setup_jax,
            gradient=_jax_gradient,
        ),
        Library(
            "jax:sparse",
            ("jax",),
            _to_jax_sparse,
            _from_jax_sparse,
            ("float16", "float32", "float64", "complex64", "bool"),
            differentiable=True,
            kernels=False,
            compiles=True,
            subnormals=False,
            gradient=_jax_gradient,
            core=True,
            slow=True,
            **SPARSE,
        ),
        Library(
            "cupy",
            ("cupy",),
            _to_cupy,
            _from_cupy,
            ("float16", *STRICT),
            out=True,
            kernels=False,
            compiles=True,
            gpu=True,
        ),
        Library(
            "dask",
            ("dask.array",),
            _to_dask,
            lambda a: np.asarray(a.compute()),
            lazy=True,
            mixes=True,
            bomb=_dask_bomb,
        ),
        Library("sparse", ("sparse",), _to_sparse("coo"), _from_sparse, **SPARSE),
        Library("sparse:gcxs", ("sparse",), _to_sparse("gcxs"), _from_sparse, STRICT, core=True, slow=True, **SPARSE),
        Library("scipy", ("scipy.sparse",), _to_scipy, _from_scipy, STRICT, algebra=False, ndims=(1, 2), **SPARSE),
        Library("xarray", ("xarray",), _to_xarray(None), np.asarray, mixes=True, broadcasts=False, algebra=False),
        Library(
            "xarray:dask",
            ("xarray", "dask.array"),
            _to_xarray(2),
            np.asarray,
            lazy=True,
            mixes=True,
            broadcasts=False,
            core=True,
            bomb=_xarray_bomb,
        ),
        Library(
            "pandas",
            ("pandas",),
            _to_pandas,
            _from_pandas,
            ("float16", *STRICT),
            mixes=True,
            broadcasts=False,
            algebra=False,
            aligns=True,
            ndims=(1, 2),
        ),
        Library(
            "pandas:nullable",
            ("pandas",),
            _to_nullable,
            _from_pandas,
            ("float32", "float64", *INTEGER),
            mixes=True,
            broadcasts=False,
            ndims=(1,),
            core=True,
        ),
        Library(
            "polars",
            ("polars",),
            _to_polars,
            _from_polars,
            ("float16", *NARROW),
            mixes=True,
            broadcasts=False,
            ndims=(1,),
        ),
        Library(
            "polars:expr",
            ("polars",),
            _to_expression,
            _from_expression,
            ("float16", "float32", "float64", *INTEGER),
            lazy=True,
            mixes=True,
            broadcasts=False,
            ndims=(1,),
            core=True,
            bomb=_polars_bomb,
            during=_emptied(COLUMNS),
        ),
        Library(
            "mlx",
            ("mlx.core",),
            _to_mlx,
            _from_mlx,
            ("float16", "bfloat16", "float32", "complex64", *INTEGER, "bool"),
            default="float32",
            kernels=False,
            ulps=32,
            core=True,
        ),
        Library(
            "ndonnx",
            ("ndonnx", "onnxruntime"),
            _to_onnx,
            _from_onnx,
            NARROW,
            lazy=True,
            kernels=False,
            compiles=True,
            zeros=False,
            core=True,
            slow=True,
            bomb=_onnx_bomb,
            during=_emptied(FED),
        ),
    )
}


def chosen() -> list[Library]:
    """Return the libraries to test, all imported."""
    names = os.environ.get("SHRINKOPS_TEST_LIBRARIES")
    roots = set(names.split(",")) if names else {a.name.partition(":")[0] for a in LIBRARIES.values() if runs(a)}
    unknown = roots - {name.partition(":")[0] for name in LIBRARIES}
    if unknown:
        msg = f"SHRINKOPS_TEST_LIBRARIES names no library of the tests: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    found = [library for name, library in LIBRARIES.items() if name.partition(":")[0] in roots]
    for library in found:
        for module in library.modules:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(module)
        library.setup()
    return found


def runs(library: Library) -> bool:
    """Whether the machine has what a library needs; whether the library is installed shows when it is imported."""
    return not library.gpu or gpus() > 0


def gpus() -> int:
    """Return how many GPUs the driver of NVIDIA sees, if there is one."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return 0 if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) else count.value
    except OSError:
        return 0


CHOSEN = chosen()

# ---------------------------------------------------------------------------------------------------------------------
# Operators


# Whose last bits in float64 may depend on fused multiply-adds, as is documented: of what takes exp and log, and of what
# multiplies and divides.
OWN_BITS = (
    *("tanhshrink", "lpshrink", "logshrink", "cauchyshrink", "sigmoidshrink"),
    *("firmshrink", "garroteshrink", "scadshrink", "mcpshrink", "elasticnetshrink", "hubershrink"),
)
# So many operators, the first ones, stand for all where compiling takes long.
REPRESENTATIVES = 5
SLOW_TO_COMPILE = ("lpshrink", "logshrink", "cauchyshrink")  # by XLA: seconds for every shape


def example(operator: Any, candidates: tuple[float, ...] = (0.5, 1.0, 1.5, 3.0)) -> tuple[float, ...]:
    """Return the first parameters of these numbers, each another, that the operator accepts."""
    return next(p for p in itertools.permutations(candidates, len(operator.parameters)) if accepts(operator, p))


def accepts(operator: Any, params: tuple[float, ...]) -> bool:
    """Whether an operator accepts numbers as parameters."""
    try:
        operator.checked(0.0, tuple(params), {})
    except ValueError:
        return False
    return True


def functions(operator: Any) -> list[Any]:
    """Return every function of an operator: ``function(x, *params)``."""
    found = [operator, operator.derivative, lambda x, *params: operator.vjp(1.0, x, *params)]
    return [*found, operator.penalty] if hasattr(operator, "penalty") else found


# ---------------------------------------------------------------------------------------------------------------------
# What a test may ask for


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "libraries(**capabilities): for the libraries of which that is so")
    config.addinivalue_line("markers", "compiles: takes a compiler long, for some operators too long for every run")
    config.addinivalue_line("markers", "complex: about complex numbers, which only operators that are odd take")
    config.addinivalue_line("markers", "dtypes(kind): for the dtypes of a kind")
    config.addinivalue_line("markers", "core(slow=False): for all variants of libraries, and those that are slow")
    config.addinivalue_line("markers", "shows(*capabilities): of the library, if the test passes")

    file = config.getoption("--support-table")
    if file:
        config.pluginmanager.register(Support(Path(file)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the table of support."""
    parser.addoption("--support-table", metavar="FILE", help="write what the tests show of each library as CSV")


class Support:
    """What the tests show of each library: of every test marked so, whether all of its runs have passed."""

    capabilities = ("value", "derivative", "vjp", "array parameters", "complex", "out", "lazy", "autodiff")

    def __init__(self, file: Path) -> None:
        self.file = file
        self.passed: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
        self.dtypes: dict[str, dict[str, bool]] = collections.defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Take down how a test has ended."""
        report = yield
        mark = item.get_closest_marker("shows")
        if mark and not report.skipped and (report.when == "call" or report.failed):
            params = item.callspec.params  # type: ignore[attr-defined]
            for capability in mark.args:
                self.passed[params["library"].name, capability].append(report.passed)
                if capability == "dtypes":
                    kept = self.dtypes[params["library"].name]
                    kept[params["dtype"]] = report.passed and kept.get(params["dtype"], True)
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the table."""
        with self.file.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["library", "version", *self.capabilities, "dtypes kept", "run on"])
            writer.writerows(map(self.row, LIBRARIES.values()))

    def row(self, library: Library) -> list[str]:
        """Return the row of a library."""
        root = library.name.partition(":")[0]
        if library not in CHOSEN:
            return [library.name, *["not run"] * (len(self.capabilities) + 3)]
        found = [self.passed.get((library.name, capability)) for capability in self.capabilities]
        words = ["-" if a is None else "yes" if all(a) else "FAILED" for a in found]
        kept = " ".join(dtype for dtype, passed in self.dtypes[library.name].items() if passed)
        place = "GPU" if library.gpu else f"CPU, {platform.system()} {platform.machine()}"
        version = getattr(importlib.import_module(root), "__version__", None) or importlib.metadata.version(root)
        return [library.name, version, *words, kept, place]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for every operator, library and dtype that it is about."""
    taken = {
        name.strip()
        for mark in metafunc.definition.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    }
    wanted = set(metafunc.fixturenames) - taken
    operators = list(shrinkops.OPERATORS.values())
    if "operator" in wanted:
        metafunc.parametrize("operator", operators, ids=lambda op: op.__name__)
    if "thresholding" in wanted:
        metafunc.parametrize("thresholding", [op for op in operators if op.parameters], ids=lambda op: op.__name__)
    libraries = CHOSEN
    for mark in metafunc.definition.iter_markers("libraries"):
        libraries = [a for a in libraries if all(getattr(a, key) == value for key, value in mark.kwargs.items())]
    core = metafunc.definition.get_closest_marker("core")
    if core is None:
        libraries = [a for a in libraries if not a.core]
    elif not core.kwargs.get("slow"):
        libraries = [a for a in libraries if not a.slow]
    kinds = [mark.args[0] for mark in metafunc.definition.iter_markers("dtypes")] or ["real"]
    dtypes = DTYPES[kinds[0]]
    if {"library", "dtype"} <= wanted:
        pairs = [(library, dtype) for library in libraries for dtype in dtypes if dtype in library.dtypes]
        marked = [pytest.param(*pair, marks=_marks(pair[0]), id=f"{pair[0]}-{pair[1]}") for pair in pairs]
        metafunc.parametrize("library,dtype", marked)
    elif "library" in wanted:
        metafunc.parametrize("library", [pytest.param(a, marks=_marks(a), id=a.name) for a in libraries])
    elif "dtype" in wanted:
        metafunc.parametrize("dtype", dtypes)


def _marks(library: Library) -> list[pytest.MarkDecorator]:
    return [pytest.mark.gpu] if library.gpu else []


@pytest.fixture(autouse=True)
def _during(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the library of a test wants done while it runs."""
    library = getattr(request.node, "callspec", None) and request.node.callspec.params.get("library")
    with library.during() if isinstance(library, Library) else contextlib.nullcontext():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what an operator does not take, and where a compiler takes seconds what others stand for.

    Operators that are not odd take no complex numbers. On a library that compiles, the first operators stand for all in
    the tests that are not of the core: what surrounds the formulas is the same. Environment variable
    SHRINKOPS_TEST_ALL=1 runs these as well.
    """

    def takes(item: pytest.Item) -> bool:
        asked = item.callspec.params if hasattr(item, "callspec") else {}
        operator, library = asked.get("operator", asked.get("thresholding")), asked.get("library")
        name = getattr(operator, "__name__", "")
        planar = asked.get("dtype") in COMPLEX or item.get_closest_marker("complex")
        if planar and not getattr(operator, "odd", True):
            return False
        if not name or os.environ.get("SHRINKOPS_TEST_ALL"):
            return True
        if item.get_closest_marker("compiles"):
            return name not in SLOW_TO_COMPILE
        compiled = isinstance(library, Library) and library.compiles
        core = item.get_closest_marker("core") or item.get_closest_marker("shows")
        return not compiled or bool(core) or name in first

    first = list(shrinkops.OPERATORS)[:REPRESENTATIVES]
    items[:] = filter(takes, items)


def _only(name: str) -> ModuleType:
    if not any(library.name == name for library in CHOSEN):
        pytest.skip(f"SHRINKOPS_TEST_LIBRARIES leaves out {name}")
    return importlib.import_module(LIBRARIES[name].modules[0])


@pytest.fixture
def torch() -> ModuleType:
    """PyTorch, where it is among the libraries to test."""
    return _only("torch")


@pytest.fixture
def jax() -> ModuleType:
    """JAX, where it is among the libraries to test."""
    return _only("jax")


@pytest.fixture
def da() -> ModuleType:
    """Dask's arrays, where they are among the libraries to test."""
    return _only("dask")


@pytest.fixture
def scipy() -> ModuleType:
    """scipy.sparse, where it is among the libraries to test."""
    return _only("scipy")


@pytest.fixture
def xr() -> ModuleType:
    """xarray, where it is among the libraries to test."""
    return _only("xarray")


@pytest.fixture
def pd() -> ModuleType:
    """pandas, where it is among the libraries to test."""
    return _only("pandas")


@pytest.fixture
def pl() -> ModuleType:
    """polars, where it is among the libraries to test."""
    return _only("polars")


@pytest.fixture
def ndx() -> ModuleType:
    """ndonnx, where it is among the libraries to test."""
    return _only("ndonnx")


@pytest.fixture
def mx() -> ModuleType:
    """MLX, where it is among the libraries to test."""
    return _only("mlx")


@pytest.fixture
def strict() -> ModuleType:
    """array_api_strict, where it is among the libraries to test."""
    return _only("array_api_strict")


@pytest.fixture
def every_library() -> dict[str, Library]:
    """All libraries that there are tests of, by name."""
    return LIBRARIES


@pytest.fixture
def libraries() -> dict[str, Library]:
    """The libraries to test, by name."""
    return {library.name: library for library in CHOSEN}


@pytest.fixture
def every_level():
    """Call a function at every instruction set level."""
    from shrinkops._kernels import loops

    before = loops.get_isa()

    def call(function: Any) -> dict[str, Any]:
        found = {}
        for level in loops.config()["isa_supported"]:
            loops.set_isa(level)
            found[level] = function()
        return found

    yield call
    loops.set_isa(before)


class Help:
    """What tests share; they cannot import one another."""

    accepts = staticmethod(accepts)
    chosen = staticmethod(chosen)
    gpus = staticmethod(gpus)
    slow_to_compile = SLOW_TO_COMPILE
    own_bits = OWN_BITS
    example = staticmethod(example)
    functions = staticmethod(functions)
    numpy_dtype = staticmethod(numpy_dtype)

    @staticmethod
    def arrays(operator: Any, shape: tuple[int, ...], seed: int = 3) -> list[np.ndarray]:
        """Return parameters around the example, that the operator accepts."""
        rng = np.random.default_rng(seed)
        return [a * rng.uniform(0.9, 1.1, shape) for a in example(operator)]

    @staticmethod
    def exact(operator: Any, x: Any, params: Any, which: str = "value", dtype: Any = "float64") -> np.ndarray:
        """Return what the definition gives, to the nearest number of a dtype; zeros have the sign of x."""
        from shrinkops.testing import reference, rounded

        exact = np.asarray(rounded(reference(operator, x, *params, which=which), dtype))
        return np.copysign(exact, x) if operator.odd and which == "value" else exact

    @staticmethod
    def reals(dtype: str) -> np.ndarray:
        """Return numbers of all kinds and both signs, those on and beside the example's knots, NaN and infinity."""
        dtype = numpy_dtype(dtype)
        rng = np.random.default_rng(7)
        some = [
            0,
            1e-3,
            0.1,
            0.25,
            0.5,
            0.75,
            1,
            1.25,
            1.5,
            2,
            3,
            5,
            11,
            24,
            100,
            3e4,
            *abs(rng.normal(size=12)),
            np.inf,
        ]
        x = np.array(some).astype(dtype)
        beside = [np.nextafter(dtype.type(knot), dtype.type(to)) for knot in (0.5, 1, 1.5) for to in (0, 2)]
        x = np.concatenate([x, np.array(beside, dtype=dtype)])
        return np.concatenate([x, -x, np.array([np.nan], dtype)])

    @staticmethod
    def complexes(dtype: str) -> np.ndarray:
        """Return finite complex numbers in all directions, zeros of every sign among them."""
        magnitudes = np.array([0.1, 0.45, 0.55, 0.8, 1.1, 1.4, 1.7, 2.3, 7, 30])  # away from the knots
        turned = (magnitudes[:, None] * np.exp(2j * np.pi * np.arange(7) / 7)).ravel()
        return np.concatenate([turned, [0, complex(-0.0, 0.0), complex(0.0, -0.0), 2, -2, 2j, -2j]]).astype(dtype)

    @staticmethod
    def bits(a: np.ndarray) -> np.ndarray:
        """Return the bits of an array."""
        a = np.ascontiguousarray(a)
        return a.view(f"u{min(a.dtype.itemsize, 8)}") if a.ndim else a.reshape(1).view(f"u{min(a.dtype.itemsize, 8)}")

    @staticmethod
    def equal(a: Any, b: Any) -> None:
        """Assert that two arrays are equal, NaN where NaN is; NumPy's own test does not know the NaN of bfloat16."""
        a, b = np.asarray(a), np.asarray(b)
        a, b = (c.astype(np.float32) if c.dtype.name == "bfloat16" else c for c in (a, b))
        np.testing.assert_array_equal(a, b)

    @staticmethod
    def ulps(a: np.ndarray, b: np.ndarray) -> float:
        """Return how many floating-point numbers lie between two real arrays at most; inf where NaN or shape differ."""
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
            return np.inf
        kept = ~np.isnan(a)

        def line(c: np.ndarray) -> np.ndarray:
            i = np.ascontiguousarray(c[kept]).view(f"i{c.dtype.itemsize}").astype(object)
            return np.where(i < 0, -(i + (1 << (8 * c.dtype.itemsize - 1))), i)

        return float(max(abs(line(a) - line(b)), default=0))

    def same(self, library: Library, a: Any, b: np.ndarray, ulps: int | None = None) -> None:
        """Assert that an array of a library is a NumPy array: its bits, or within some ulp where no kernel made it."""
        a = library.to_numpy(a)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype.kind == "c":
            np.testing.assert_allclose(a, b, rtol=8 * np.finfo(a.dtype).eps, atol=0)
        elif library.kernels:
            a, b = (np.where(np.isnan(c), np.array(np.nan, c.dtype), c) for c in (a, b))  # whatever NaN
            np.testing.assert_array_equal(self.bits(a), self.bits(b))
        else:
            if not library.subnormals:
                tiny = np.finfo(np.float32 if a.dtype.name == "bfloat16" else a.dtype).tiny
                a, b = (np.where(np.abs(c) < tiny, np.zeros_like(c), c) for c in (a, b))
            assert self.ulps(a, b) <= (library.ulps if ulps is None else ulps)


@pytest.fixture(scope="session", name="help")
def _help() -> Help:
    """What tests share."""
    return Help()
