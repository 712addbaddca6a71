"""What the tests are written about: the registry of operators, and the table of array libraries.

A test asks for what it is about by the names of its arguments, and is run for every

- ``operator``: of ``shrinkops.OPERATORS``; ``thresholding``: those of them that have parameters,
- ``library``: of LIBRARIES below; marked ``@pytest.mark.libraries(out=True)``: those of which that is so,
- ``dtype``: that the library has; marked ``@pytest.mark.dtypes("real")``: of a kind of DTYPES.

A library that cannot be imported is an error, not a skip, so that no backend goes untested unnoticed. To test less, say
so: SHRINKOPS_TEST_LIBRARIES=numpy,torch.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import warnings
from collections.abc import Callable
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
    make: Callable[[np.ndarray], Any]
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

    def dtype_of(self, a: Any) -> str:
        """Return the name of the dtype of an array of the library."""
        return getattr(a.dtype, "name", None) or str(a.dtype).removeprefix("torch.").removeprefix("array_api_strict.")


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


LIBRARIES = {
    library.name: library
    for library in (
        Library("numpy", ("ml_dtypes",), np.array, np.asarray, out=True),
        Library("numpy:readonly", ("ml_dtypes",), _readonly, np.asarray, out=True),
        Library(
            "array_api_strict",
            ("array_api_strict",),
            _to_strict(None),
            _from_strict,
            ("float32", "float64", *COMPLEX, *INTEGER, "bool"),
            kernels=False,
        ),
        Library(
            "array_api_strict:device1",
            ("array_api_strict",),
            _to_strict("device1"),
            _from_strict,
            ("float32", "float64", *COMPLEX, *INTEGER, "bool"),
            kernels=False,
        ),
        Library("torch", ("torch",), _to_torch, _from_torch, default="float32", out=True, differentiable=True),
        Library(
            "jax",
            ("jax",),
            _to_jax,
            np.asarray,
            differentiable=True,
            kernels=False,
            mixes=True,
            compiles=True,
            setup=_setup_jax,
        ),
        Library("dask", ("dask.array",), _to_dask, lambda a: np.asarray(a.compute()), lazy=True, mixes=True),
    )
}


def chosen() -> list[Library]:
    """Return the libraries to test, all imported."""
    names = os.environ.get("SHRINKOPS_TEST_LIBRARIES")
    roots = set(names.split(",")) if names else {name.partition(":")[0] for name in LIBRARIES}
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


CHOSEN = chosen()

# ---------------------------------------------------------------------------------------------------------------------
# Operators


def example(operator: Any) -> tuple[float, ...]:
    """Return parameters that the operator accepts: 0.5, 1, 1.5, ... in this order or the other."""
    upward = tuple((k + 1) * 0.5 for k in range(len(operator.parameters)))
    try:
        operator.checked(0.0, upward, {})
    except ValueError:
        return upward[::-1]
    return upward


def functions(operator: Any) -> list[Any]:
    """Return every function of an operator: ``function(x, *params)``."""
    found = [operator, operator.derivative, lambda x, *params: operator.vjp(1.0, x, *params)]
    return [*found, operator.penalty] if hasattr(operator, "penalty") else found


# ---------------------------------------------------------------------------------------------------------------------
# What a test may ask for


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "libraries(**capabilities): for the libraries of which that is so")
    config.addinivalue_line("markers", "dtypes(kind): for the dtypes of a kind")


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
    kinds = [mark.args[0] for mark in metafunc.definition.iter_markers("dtypes")] or ["real"]
    dtypes = DTYPES[kinds[0]]
    if {"library", "dtype"} <= wanted:
        pairs = [(library, dtype) for library in libraries for dtype in dtypes if dtype in library.dtypes]
        metafunc.parametrize("library,dtype", pairs, ids=[f"{library}-{dtype}" for library, dtype in pairs])
    elif "library" in wanted:
        metafunc.parametrize("library", libraries, ids=repr)
    elif "dtype" in wanted:
        metafunc.parametrize("dtype", dtypes)


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
def strict() -> ModuleType:
    """array_api_strict, where it is among the libraries to test."""
    return _only("array_api_strict")


@pytest.fixture
def libraries() -> dict[str, Library]:
    """The libraries to test, by name."""
    return {library.name: library for library in CHOSEN}


class Help:
    """What tests share; they cannot import one another."""

    example = staticmethod(example)
    functions = staticmethod(functions)
    numpy_dtype = staticmethod(numpy_dtype)

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

    def same(self, library: Library, a: Any, b: np.ndarray, ulps: int = 4) -> None:
        """Assert that an array of a library is a NumPy array: its bits, or within some ulp where no kernel made it."""
        a = library.to_numpy(a)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype.kind == "c":
            np.testing.assert_allclose(a, b, rtol=8 * np.finfo(a.dtype).eps, atol=0)
        elif library.kernels:
            np.testing.assert_array_equal(self.bits(a), self.bits(b))
        else:
            assert self.ulps(a, b) <= ulps


@pytest.fixture(scope="session", name="help")
def _help() -> Help:
    """What tests share."""
    return Help()
