"""CuPy without a GPU: the kernel that it would have NVIDIA's compiler make is compiled for the processor here.

That it is one, and what it computes, is told by its source; how fast it is, by a GPU alone. On a GPU CuPy is one of the
libraries of the contract.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shrinkops

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the test extra has CuPy for 64-bit Linux on x86"
)

COMPILER = shutil.which("g++")
TYPES = {"bool": "bool", "float16": "float16", "float32": "float", "float64": "double", "int64": "long long"}
# As on a GPU: products and sums become one operation, wherever they can.
FLAGS = ("-O1", "-march=native", "-ffp-contract=fast", "-w", "-shared", "-fPIC")
UNARY = ("exp", "expm1", "log", "log1p", "sqrt", "asinh", "fabs")
PRELUDE = "\n".join(
    (
        "#define __device__ __attribute__((always_inline)) static",
        '#define CUDART_NAN_F __builtin_nanf("")',
        '#define CUDART_NAN __builtin_nan("")',
        "#define CUDART_INF_F __builtin_inff()",
        "#define CUDART_INF __builtin_inf()",
        '#define __int_as_float(bits) __builtin_nanf("")',  # of which CuPy makes NAN
        "#define fabsf __builtin_fabsf",
        "#define powf __builtin_powf",
        "#define isnan(x) __builtin_isnan(x)",
        *(
            f"static inline {t} {f}({t} x) {{ return __builtin_{f}{s}(x); }}"
            for f in UNARY
            for t, s in (("float", "f"), ("double", ""))
        ),
        *(
            f"static inline {t} {f}({t} x, {t} y) {{ return __builtin_{g}{s}(x, y); }}"
            for f, g in (("copysign", "copysign"), ("hypot", "hypot"), ("pow", "pow"), ("min", "fmin"), ("max", "fmax"))
            for t, s in (("float", "f"), ("double", ""))
        ),
        "struct float16 { _Float16 h; float16() {} float16(double x) : h(x) {} float16(float x) : h(x) {}",
        "  float16(long long x) : h(x) {} float16(bool x) : h(x) {} operator float() const { return h; } };",
    )
)


@pytest.fixture(scope="module")
def cupy() -> Any:
    """CuPy, which can be imported without a GPU."""
    import cupy

    return cupy


def of_host(cupy: Any, a: np.ndarray) -> Any:
    """An array of CuPy in memory of the host."""
    a = np.array(a)
    memory = cupy.cuda.UnownedMemory(a.ctypes.data, max(a.nbytes, 1), a, device_id=0)
    return cupy.ndarray(a.shape, a.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))


def to_host(a: Any) -> np.ndarray:
    """Such an array as one of NumPy."""
    return memory_of(a).copy()


def memory_of(a: Any) -> np.ndarray:
    """Its memory as one, for as long as it lives itself."""
    memory = (ctypes.c_char * max(a.nbytes, 1)).from_address(a.data.ptr)
    return np.ndarray(a.shape, a.dtype, memory, strides=a.strides)


class Fused:
    """What ``cupy.fuse`` returns, with the compiler of the host; anything but one kernel is an error."""

    def __init__(self, cupy: Any, function: Callable[..., Any]) -> None:
        self.cupy, self.function = cupy, function

    def __call__(self, *args: Any) -> Any:
        """Run the kernel on memory of the host."""
        kernel = self.traced(args)
        loop = compiled(source(kernel))
        arrays = [memory_of(a) if isinstance(a, self.cupy.ndarray) else np.asarray(a) for a in args]
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        flat = [np.broadcast_to(a, shape).ravel() for a in arrays]
        flat += [np.empty(flat[0].size, p.dtype) for p in kernel.out_params]
        loop(ctypes.c_long(flat[0].size), *(ctypes.c_void_p(a.ctypes.data) for a in flat))
        for parameter, of, a in zip(kernel.in_params, arrays, flat, strict=False):
            if not parameter.is_const:
                of[...] = a.reshape(shape)
        return of_host(self.cupy, flat[-1].reshape(shape)) if kernel.out_params else None

    def traced(self, args: tuple[Any, ...]) -> Any:
        """Return the kernel that CuPy makes, as it does when there is a GPU."""
        from cupy._core import _fusion_thread_local, fusion

        state = _fusion_thread_local.thread_local
        state.history, state.is_old_fusing = fusion._FusionHistory(), True
        try:
            kernel, options = state.history.get_fusion(self.function, args, "kernel")
        finally:
            state.history, state.is_old_fusing = None, False
        assert type(kernel) is self.cupy.ElementwiseKernel
        assert not options
        return kernel


def source(kernel: Any) -> str:
    """Return C++ that does for every element what the kernel does."""
    parameters = {p.name: TYPES[p.dtype.name] for p in (*kernel.in_params, *kernel.out_params)}
    pointers = ", ".join(f"{type_} *_{name}" for name, type_ in parameters.items())
    written = [p.name for p in (*kernel.in_params, *kernel.out_params) if not p.is_const]
    return "\n".join(
        (
            PRELUDE,
            *(line for line in kernel.preamble.splitlines() if not line.startswith("#include")),
            f'extern "C" void loop(long n, {pointers}) {{ for (long i = 0; i < n; i++) {{',
            *(f"{type_} {name} = _{name}[i];" for name, type_ in parameters.items()),
            kernel.operation,
            *(f"_{name}[i] = {name};" for name in written),
            "} }",
        )
    )


@functools.cache
def compiled(code: str) -> Any:
    """Return the loop that C++ says."""
    assert COMPILER is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "loop.cpp")
        file.write_text(code, encoding="utf-8")
        subprocess.run([COMPILER, *FLAGS, str(file), "-o", f"{folder}/loop.so"], check=True)
        return ctypes.CDLL(f"{folder}/loop.so").loop


@pytest.fixture
def bound(cupy, monkeypatch) -> Any:
    """What makes the CuPy version of a function of an operator."""
    from shrinkops._backends import cupy as backend

    monkeypatch.setattr(backend, "on", lambda x: contextlib.nullcontext())  # there is no device to be on
    monkeypatch.setattr(cupy, "fuse", lambda kernel_name: functools.partial(Fused, cupy))
    return lambda function: backend.bind(function, cupy.ndarray)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_kernel_computes_what_the_cpu_does(operator, dtype, cupy, bound, help):
    """Values, penalties, and cotangents of x and every parameter."""
    a, p = help.reals(dtype), help.example(operator)
    x = of_host(cupy, a)
    rows = [np.full_like(a, b) for b in p]
    params = tuple(of_host(cupy, b) for b in rows)
    assert help.ulps(to_host(bound(operator)(x, p)), operator(a, *p)) <= 4
    if hasattr(operator, "penalty"):
        assert help.ulps(to_host(bound(operator.penalty)(x, p)), operator.penalty(a, *p)) <= 4
    assert help.ulps(to_host(bound(operator.derivative)(x, p)), operator.derivative(a, *p)) <= 4
    ones = np.ones_like(a)
    for pull, expected in zip(operator.pulls, operator.vjp(ones, a, *rows), strict=True):
        assert help.ulps(to_host(bound(pull)(x, params, None, of_host(cupy, ones))), expected) <= 4


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_output_and_thresholds_that_broadcast(operator, cupy, bound, help):
    """Also where the output is x."""
    a = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    rows = [b[:, None] for b in (a_.astype(np.float32) for a_ in help.arrays(operator, (3,)))]
    expected = operator(a, *rows)
    params = tuple(of_host(cupy, b) for b in rows)
    x, out = of_host(cupy, a), of_host(cupy, np.empty_like(a))
    call = bound(operator)
    assert call(x, params, out) is out
    assert call(x, params, x) is x
    for found in (to_host(out), to_host(x)):
        assert help.ulps(found, expected) <= 4
    with pytest.raises(ValueError, match=f"{operator.__name__}: out must not have elements that share"):
        call(x, params, cupy.broadcast_to(of_host(cupy, a[:1]), (3, 4)))
    expected = operator.vjp(np.float32(2), a, *rows)[0]
    assert help.ulps(to_host(bound(operator.derivative)(of_host(cupy, a), params, None, np.float32(2))), expected) <= 4


def test_what_does_not_fit(cupy, bound):
    """Is refused before anything runs."""
    x, call = of_host(cupy, np.ones(3)), bound(shrinkops.softshrink)
    with pytest.raises(TypeError, match=r"softshrink: x is cupy.ndarray but lambd is numpy.ndarray"):
        call(x, (np.ones(3),))
    with pytest.raises(ValueError, match=r"softshrink: lambd must broadcast with the shape \(3,\), got shape \(2,\)"):
        call(x, (of_host(cupy, np.ones(2)),))
    for g in (np.ones((2, 3)), [1.0, 1.0]):
        with pytest.raises(ValueError, match=r"softshrink: g must broadcast to the shape \(3,\) of the result, got"):
            bound(shrinkops.softshrink.derivative)(x, (0.5,), None, of_host(cupy, np.array(g)))
    with pytest.raises(TypeError, match="softshrink: g must hold real numbers, got dtype complex128"):
        bound(shrinkops.softshrink.derivative)(x, (0.5,), None, of_host(cupy, np.ones(3, complex)))
    with pytest.raises(ValueError, match=r"out must have shape \(3,\), got \(2,\)"):
        call(x, (0.5,), of_host(cupy, np.ones(2)))
    with pytest.raises(TypeError, match="out must have dtype float64, got float32"):
        call(x, (0.5,), of_host(cupy, np.ones(3, np.float32)))
    with pytest.raises(TypeError, match="softshrink: x must hold real or complex numbers, got dtype bool"):
        call(of_host(cupy, np.ones(3, bool)), (0.5,))
    assert to_host(x).tolist() == [1, 1, 1]
