"""The front door: exact types, lazily bound backends, the registry, and what is turned away."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import pydoc
import subprocess
import sys
import textwrap
import types
import typing

import numpy as np
import pytest

import shrinkops
from shrinkops import _backends
from shrinkops._kernels.loops import KERNELS


def run(program: str) -> str:
    """Run a program in a process of its own, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---------------------------------------------------------------------------------------------------------------------
# The registry


def test_names_agree():
    """What is exported, registered and compiled."""
    assert list(shrinkops.OPERATORS) == [op.__name__ for op in shrinkops.OPERATORS.values()]
    assert set(shrinkops.OPERATORS) == set(KERNELS)
    exported = {
        name
        for name in shrinkops.__all__
        if isinstance(getattr(shrinkops, name), type(next(iter(shrinkops.OPERATORS.values()))))
    }
    assert exported == set(shrinkops.OPERATORS)
    assert all(getattr(shrinkops, name) is op for name, op in shrinkops.OPERATORS.items())
    assert sorted(shrinkops.__all__, key=lambda name: (name != name.upper(), name)) == list(shrinkops.__all__)
    assert len(set(shrinkops.__all__)) == len(shrinkops.__all__)


def test_every_operator_has_its_derivatives(operator, help):
    xp, p = np, [np.asarray(a) for a in help.example(operator)]
    assert len(operator.partials(xp, np.ones(3), *p)) == 1 + len(p) == len(operator.pulls)


def companions(operator):
    """Return the operator and everything that hangs on it."""
    found = [operator, operator.derivative, *operator.pulls]
    return [*found, operator.penalty] if hasattr(operator, "penalty") else found


def test_pickle_and_copy(operator, help):
    for function in companions(operator):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(function, protocol)) is function
        assert copy.copy(function) is function
        assert copy.deepcopy([function])[0] is function
    assert pickle.loads(pickle.dumps(operator.vjp))(1.0, 2.0, *help.example(operator))


def test_pickle_into_another_process(operator):
    """Which unpickles before it has imported anything of ours."""
    for function in companions(operator):
        said = run(f"import pickle; print(repr(pickle.loads({pickle.dumps(function)!r})))")
        assert said == repr(function)


def test_repr_and_help(operator):
    name = operator.__name__
    assert repr(operator) == f"<shrinkops.{name}>"
    assert repr(operator.derivative) == f"<shrinkops.{name}.derivative>"
    assert operator.__module__ == "shrinkops"
    assert operator.__qualname__ == name
    assert inspect.getdoc(operator).splitlines()[0].endswith(".")
    for function in companions(operator)[:2]:
        page = io.StringIO()
        pydoc.Helper(output=page).help(function)
        assert name in page.getvalue()
    for section in ("Parameters", "Returns", "Raises", "Notes", "Examples"):
        assert section in operator.__doc__
    if hasattr(operator, "penalty"):
        assert repr(operator.penalty) == f"<shrinkops.{name}.penalty>"
        assert operator.penalty.__doc__
    inspect.signature(operator).bind(1.0, *[0.5] * len(operator.parameters), out=None)
    assert typing.get_type_hints(operator) == typing.get_type_hints(operator.derivative) == {}
    assert "vjp" in dir(operator)


# ---------------------------------------------------------------------------------------------------------------------
# Imports


def test_import_imports_no_array_library_but_numpy():
    said = run(
        """
        import sys, numpy
        before = set(sys.modules)
        import shrinkops
        shrinkops.softshrink(numpy.ones(3))
        print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
        """
    )
    others = {
        "torch",
        "jax",
        "dask",
        "cupy",
        "scipy",
        "array_api_compat",
        "array_api_strict",
        "pandas",
        "mpmath",
        "pywt",
        "matplotlib",
    }
    assert not others & set(said.split())


def test_import_changes_nothing():
    """Neither warnings filters, environment, threads' settings nor NumPy's treatment of errors."""
    run(
        """
        import os, sys, signal, warnings, numpy
        def state():
            return dict(os.environ), list(warnings.filters), numpy.geterr(), signal.getsignal(signal.SIGINT)
        before = state()
        import shrinkops
        shrinkops.tanhshrink(numpy.ones(100000))
        assert state() == before
        """
    )


def test_first_call_from_many_threads(help):
    """Binding a backend races with nothing."""
    examples = {name: help.example(op) for name, op in shrinkops.OPERATORS.items()}
    run(
        f"        examples = {examples}"
        """
        import threading, numpy, shrinkops
        barrier, failures = threading.Barrier(16), []
        def call():
            barrier.wait()
            try:
                for name, op in shrinkops.OPERATORS.items():
                    p = examples[name]
                    for x in (numpy.linspace(-3, 3, 1000), numpy.float32(2), [1, 2]):
                        op(x, *p), op.derivative(x, *p), op.vjp(1.0, x, *p)
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=call) for _ in range(16)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not failures, failures
        """
    )


def test_each_type_is_bound_once(operator, library, help):
    p = help.example(operator)
    x = library.array([1.0, -2.0], "float32")
    operator(x, *p)
    bound = operator.implementations[type(x)]
    operator(x, *p)
    assert operator.implementations[type(x)] is bound


def test_libraries_are_named_in_one_place(libraries):
    """Every name leads to a module of one function and the types that it is for; who has none takes the road of all."""
    roots = {name.partition(":")[0]: library for name, library in libraries.items()}
    for root, library in roots.items():
        if root in _backends.LIBRARIES:
            module = _backends.LIBRARIES[root]()
            assert callable(module.bind)
            assert module.ARRAYS
        else:
            array = library.array([1.0], "float32")
            assert hasattr(array, "__array_namespace__")
            assert _backends.backend_of(type(array)) is _backends.LIBRARIES["array_api_strict"]()


# ---------------------------------------------------------------------------------------------------------------------
# What is turned away


class Convertible:
    """What NumPy would convert without a word: a Series, a DataFrame, a quantity."""

    shape = (2,)
    dtype = np.dtype(float)

    def __array__(self, dtype=None, copy=None):
        """Return what would be lost: the index, the unit."""
        return np.array([1.0, 2.0], dtype)


class Duck(Convertible):
    """The same without a shape."""

    shape = property()


class Subscriptable:
    """A sequence that is none of ours."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return [1.0, 2.0][i]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "1.0",
        b"1",
        object(),
        {1.0},
        {"a": 1.0},
        range(3),
        memoryview(b"12"),
        bytearray(b"12"),
        iter([1.0]),
        Convertible(),
        Duck(),
        Subscriptable(),
        np,
        float,
    ],
    ids=lambda a: type(a).__name__,
)
def test_unknown_types(operator, help, bad):
    for function in help.functions(operator):
        with pytest.raises(TypeError) as raised:
            function(bad, *help.example(operator))
        cls = type(bad)
        full = (
            cls.__qualname__
            if cls.__module__ == "builtins"
            else f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"
        )
        assert str(raised.value) == f"{operator.__name__}: x must be an array or a number, got {full}"
    assert cls not in operator.implementations


def test_unknown_types_as_parameters(thresholding, library, help):
    x, rest = library.array([1.0, 2.0]), help.example(thresholding)[1:]
    for bad in (Convertible(), Duck(), Subscriptable(), object()):
        with pytest.raises(TypeError, match=f"{thresholding.__name__}: {thresholding.parameters[0]} must be"):
            thresholding(x, bad, *rest)
    with pytest.raises(TypeError, match=f"{thresholding.__name__}: g must be an array or a number, got "):
        thresholding.vjp(Convertible(), x, *help.example(thresholding))


# ---------------------------------------------------------------------------------------------------------------------
# Array libraries that nobody has told us of


def make_library(strict):
    """Return an array library that wraps another: a namespace, and a class that forwards to the arrays of that."""

    class Array:
        def __init__(self, inner):
            self.inner = inner

        def __array_namespace__(self, api_version=None):
            return namespace

        def __getattr__(self, name):
            return wrapped(getattr(self.inner, name))

    def unwrap(a):
        if isinstance(a, list | tuple):
            return type(a)(map(unwrap, a))
        return a.inner if isinstance(a, Array) else a

    def wrapped(a):
        if callable(a) and not isinstance(a, type):
            return lambda *args, **named: wrapped(a(*map(unwrap, args), **{k: unwrap(v) for k, v in named.items()}))
        return Array(a) if isinstance(a, type(strict.asarray(1.0))) else a

    def special(name):
        return lambda self, *args: wrapped(getattr(self.inner, name)(*map(unwrap, args)))

    names = "add sub mul truediv pow neg pos abs lt le gt ge eq ne and or xor invert getitem"
    reflected = "radd rsub rmul rtruediv rpow"
    for name in f"{names} {reflected}".split():
        setattr(Array, f"__{name}__", special(f"__{name}__"))
    Array.__hash__ = None
    namespace = types.ModuleType("unheard_of")
    for name in strict.__all__:
        value = getattr(strict, name)
        setattr(namespace, name, wrapped(value) if inspect.isfunction(value) else value)
    namespace.__array_namespace_info__ = strict.__array_namespace_info__
    namespace.isdtype = strict.isdtype
    Array.__module__ = "unheard_of"
    return Array


def test_a_library_of_the_standard(operator, strict, help):
    """By nothing but the standard: no name, no registration."""
    cls = make_library(strict)
    for dtype in ("float32", "float64", *(["complex128"] if operator.odd else []), "int32"):
        plain = np.array([-3.0, 0.25, 0.75, 2.0]).astype(dtype)
        x, p = cls(strict.asarray(plain)), help.example(operator)
        for function in help.functions(operator):
            found, expected = function(x, *p), function(plain, *p)
            pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
            for a, b in pairs:
                assert type(a) is cls
                np.testing.assert_allclose(np.asarray(a.inner), b, rtol=2e-6 if dtype == "float32" else 1e-14)
    arrays = [cls(strict.asarray([a] * 4)) for a in help.example(operator)]
    assert type(operator(x, *arrays)) is cls
    assert operator.implementations.pop(cls)


def test_a_library_of_less_than_the_standard(operator, strict, help):
    """Of arrays without a device, and functions without the keywords that the standard gives them, as MLX has them."""
    cls = make_library(strict)
    namespace = cls.__array_namespace__(None)

    def nowhere(self, name):
        if name == "device":
            raise AttributeError(name)
        return whole(self, name)

    def without(name, keyword):
        function = getattr(namespace, name)

        def narrow(*args, **named):
            if keyword in named:
                msg = f"{name}(): incompatible function arguments"
                raise TypeError(msg)
            return function(*args, **named)

        setattr(namespace, name, narrow)

    whole, cls.__getattr__ = cls.__getattr__, nowhere
    for name, keyword in {"asarray": "device", "astype": "copy", "sum": "dtype"}.items():
        without(name, keyword)
    plain, p = np.array([-3.0, 0.25, 0.75, 2.0], np.float32), help.example(operator)
    x, arrays = cls(strict.asarray(plain)), [cls(strict.asarray([a] * 4)) for a in p]
    for function in help.functions(operator):
        for params, numbers in ((p, p), (arrays, [np.full(4, a) for a in p])):
            found, expected = function(x, *params), function(plain, *numbers)
            for a, b in zip(*((found, expected) if isinstance(found, tuple) else ((found,), (expected,))), strict=True):
                assert type(a) is cls
                np.testing.assert_allclose(np.asarray(a.inner), b, rtol=2e-6)


def test_every_version_of_the_standard_is_tested(every_library, strict):
    """That array_api_strict offers, the newest as its default."""
    from array_api_strict import _flags

    named = {name.partition(":")[2] for name in every_library if name.startswith("array_api_strict:2")}
    assert named | {strict.get_array_api_strict_flags()["api_version"]} == set(_flags.supported_versions)


def test_the_device_is_kept(operator, strict, help):
    device = strict.Device("device1")
    x, p = strict.asarray([-3.0, 0.25, 0.75], device=device), help.example(operator)
    arrays = [strict.asarray(a, device=device) for a in p]
    for function in help.functions(operator):
        for params in (p, arrays):
            found = function(x, *params)
            assert all(a.device == device for a in (found if isinstance(found, tuple) else (found,)))
    for a in arrays:
        assert operator(2.0, *arrays).device == a.device


def test_arrays_on_two_devices(thresholding, strict, help):
    """Are refused by a sentence that names both."""
    there = strict.Device("device1")
    x, name = strict.asarray([1.0]), f"{thresholding.__name__}: x is on {strict.Device('CPU_DEVICE')}"
    params = [strict.asarray([a], device=there) for a in help.example(thresholding)]
    with pytest.raises(TypeError) as raised:
        thresholding(x, *params)
    assert str(raised.value) == f"{name} but {thresholding.parameters[0]} is on {there}"
    with pytest.raises(TypeError) as raised:
        thresholding.vjp(strict.asarray([1.0], device=there), x, *help.example(thresholding))
    assert str(raised.value) == f"{name} but g is on {there}"


# ---------------------------------------------------------------------------------------------------------------------
# Dask


class Computed(Exception):
    """Something was computed that should not have been."""


def fused_bomb(*_, **__):
    """Raise when a block is computed."""
    raise Computed


def bomb(da, shape=(4, 6), chunks=(2, 3), dtype=float):
    """Return an array that cannot be computed."""
    return da.map_blocks(
        fused_bomb, chunks=da.core.normalize_chunks(chunks, shape), dtype=dtype, meta=np.empty((0,) * len(shape), dtype)
    )


def test_dask_computes_nothing(operator, da, help):
    plane = [np.complex64] if operator.odd else []
    for dtype in (np.float32, np.float64, *plane, np.int16, help.numpy_dtype("bfloat16")):
        x, p = bomb(da, dtype=dtype), help.example(operator)
        arrays = [bomb(da) for _ in p]
        for params in (p, arrays, [np.float64(a) for a in p]):
            for function in help.functions(operator):
                found = function(x, *params)
                for a in found if isinstance(found, tuple) else (found,):
                    assert isinstance(a, da.Array)
        y = operator(x, *p)
        assert y.chunks == x.chunks
        assert y.dtype == operator(np.zeros(1, dtype), *p).dtype
        assert type(y._meta) is np.ndarray
        assert y._meta.dtype == y.dtype
        with pytest.raises(Computed):
            y.compute(scheduler="synchronous")


def test_dask_runs_chunk_by_chunk(operator, da, help):
    """Blocks are computed one by one, each at the front door, and give the bits of the whole."""
    p = help.example(operator)
    plain = np.random.default_rng(0).normal(size=(30, 40)) * 2
    y = operator(plain, *p)
    for chunks in ((7, 11), (1, 40), (30, 1), (30, 40), ((10, 20), (1, 39))):
        x = da.from_array(plain, chunks=chunks)
        found = operator(x, *p)
        assert found.chunks == x.chunks
        assert len(found.__dask_graph__()) > 0
        np.testing.assert_array_equal(found.compute(), y)
        np.testing.assert_array_equal(found.blocks[0, 0].compute(), y[: x.chunks[0][0], : x.chunks[1][0]])
    np.testing.assert_array_equal(operator(operator(x, *p), *p).compute(scheduler="synchronous"), operator(y, *p))


def test_dask_in_processes(operator, da, help):
    """The graph can be pickled."""
    x, p = da.from_array(np.linspace(-3, 3, 10), chunks=5), help.example(operator)
    lazy = [operator(x, *p), operator.derivative(x, *p), *operator.vjp(x, x, *p)]
    for a in lazy:
        b = pickle.loads(pickle.dumps(a))
        np.testing.assert_array_equal(b.compute(scheduler="synchronous"), a.compute(scheduler="synchronous"))


def test_dask_names_are_deterministic(operator, da, help):
    """The same call gives the same name, so that graphs merge; another function or parameter gives another."""
    x, p = da.from_array(np.linspace(-3, 3, 10), chunks=5, name="x"), help.example(operator)
    assert operator(x, *p).name == operator(x, *p).name
    others = {operator(x, *p).name, operator.derivative(x, *p).name, *(a.name for a in operator.vjp(x, x, *p))}
    assert len(others) == 3 + len(p)
    if p:
        assert operator(x, *(float(a) for a in help.arrays(operator, ()))).name != operator(x, *p).name


def test_dask_of_unknown_chunks(operator, da, help):
    p = help.example(operator)
    plain = np.linspace(-3, 3, 20)
    x = da.from_array(plain, chunks=5)
    x = x[x > 0]
    assert np.isnan(x.shape[0])
    np.testing.assert_array_equal(operator(x, *p).compute(), operator(plain[plain > 0], *p))
    for a, b in zip(operator.vjp(1.0, x, *p), operator.vjp(1.0, plain[plain > 0], *p), strict=True):
        np.testing.assert_allclose(a.compute(), b, rtol=1e-14)


def test_dask_thresholds(thresholding, da, help):
    """Lazy too: a threshold that is computed from the data; x may be NumPy's or a number."""
    plain, p = np.linspace(-3, 3, 24).reshape(4, 6), help.example(thresholding)
    x = da.from_array(plain, chunks=(2, 3))
    lazy = [a + 0 * abs(x).mean() for a in p]
    expected = thresholding(plain, *p)
    for a in (x, plain):
        y = thresholding(a, *lazy)
        assert isinstance(y, da.Array)
        np.testing.assert_array_equal(y.compute(), expected)
    columns = [da.full((4, 1), a, chunks=1) for a in p]
    np.testing.assert_array_equal(thresholding(x, *columns).compute(), expected)
    np.testing.assert_array_equal(
        thresholding(2.0, *columns).compute(), thresholding(2.0, *[np.full((4, 1), a) for a in p])
    )
    g = da.ones((4, 6), chunks=(4, 2))
    for a, b in zip(
        thresholding.vjp(g, x, *columns),
        thresholding.vjp(np.ones((4, 6)), plain, *[np.full((4, 1), a) for a in p]),
        strict=True,
    ):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.compute(), b, rtol=1e-14)


def test_dask_of_masked_blocks(operator, da, help):
    """Blocks are of any kind that the front door takes."""
    plain = np.ma.MaskedArray(np.linspace(-3, 3, 10), np.arange(10) % 3 == 0)
    y = operator(da.from_array(plain, chunks=4, asarray=False), *help.example(operator)).compute()
    np.testing.assert_array_equal(np.ma.getmaskarray(y), plain.mask)


class Kept(np.ndarray):
    """A subclass of no meaning."""


def test_subclasses_among_the_parameters():
    """They come out, as of NumPy's functions."""
    assert type(shrinkops.softshrink(np.ones(3), np.full(3, 0.25).view(Kept))) is Kept
    assert type(shrinkops.softshrink(np.ones(3).view(Kept), 0.25)) is Kept
    for lambd in (np.full(3, 0.25).view(Kept), np.ma.array(np.full(3, 0.25))):
        for x in (2.0, np.full(3, 2.0)):
            dx, dlambd = shrinkops.softshrink.vjp(np.ones(3), x, lambd)
            assert (type(dx), np.shape(dx)) == (np.ndarray if np.ndim(x) else np.float64, np.shape(x))
            assert (type(dlambd), dlambd.tolist()) == (type(lambd), [-1.0] * 3)


@pytest.mark.parametrize("g", [np.array(["1", "2", "3"]), np.ones(3, bool), np.ones(3, "m8[s]"), np.ones(3, object)])
def test_cotangents_that_are_no_numbers(g):
    for operator in (shrinkops.softshrink, shrinkops.groupshrink):
        with pytest.raises(TypeError, match=f"{operator.__name__}: g must hold real numbers, got dtype"):
            operator.vjp(g, np.ones(3), 0.5)
