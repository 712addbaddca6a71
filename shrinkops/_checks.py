"""What is refused, and the one sentence that says so: the same from every array library."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_THREADS = 1024
BFLOAT16 = "bfloat16"  # the name of the dtype that ml_dtypes gives NumPy


def check_threads(n: Any) -> int:
    """Return the number of threads, if it is one."""
    try:
        if isinstance(n, bool):
            raise TypeError
        n = operator.index(n)
    except TypeError:
        msg = f"the number of threads must be an integer, got {n!r}"
        raise TypeError(msg) from None
    if not 1 <= n <= MAX_THREADS:
        msg = f"the number of threads must be between 1 and {MAX_THREADS}, got {n}"
        raise ValueError(msg)
    return int(n)


def check_count(name: str, argument: str, value: Any) -> None:
    """Refuse what is no number of things."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        msg = f"{name}: {argument} must be an integer, got {value!r}"
        raise TypeError(msg)
    if value < 0:
        msg = f"{name} requires {argument} >= 0, got {argument}={value}"
        raise ValueError(msg)


def usable_processors() -> int:
    """Return how many processors the CPU quota of the control group is worth; OMP_NUM_THREADS overrules it."""
    if os.environ.get("OMP_NUM_THREADS"):
        return MAX_THREADS
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            with open(quota_file) as file:
                words = file.read().split()
            if period_file:
                with open(period_file) as file:
                    words += file.read().split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max": no quota
            continue
        if quota > 0 and period > 0:
            return max(1, math.ceil(quota / period))
    return MAX_THREADS


def check_out(shape: Any, dtype: Any, expected_shape: Any, expected_dtype: Any, writeable: bool = True) -> None:
    """Refuse an output array of another shape or dtype than the result."""
    if tuple(shape) != tuple(expected_shape):
        msg = f"out must have shape {tuple(expected_shape)}, got {tuple(shape)}"
        raise ValueError(msg)
    if dtype != expected_dtype:
        msg = f"out must have dtype {dtype_name(expected_dtype)}, got {dtype_name(dtype)}"
        raise TypeError(msg)
    if not writeable:
        msg = "out must be writeable, got a read-only array"
        raise ValueError(msg)


def check_scalar(name: str, parameter: str, value: Any) -> float:
    """Return a scalar parameter as a Python float."""
    # NumPy counts timedelta64 among the real numbers, and ml_dtypes its bfloat16 not.
    real = is_real(value.dtype) if isinstance(value, np.generic) else isinstance(value, numbers.Real)
    if isinstance(value, bool) or not real:
        msg = f"{name}: {parameter} must be a real number or an array, got {value!r}"
        raise TypeError(msg)
    try:
        return float(value)
    except OverflowError:
        msg = f"{name}: {parameter} must be a real number that a float can hold, got {value!r}"
        raise ValueError(msg) from None


def refused_requirement(name: str, requirement: str, values: dict[str, float]) -> ValueError:
    """Return the error for scalar parameters that do not meet a requirement."""
    got = ", ".join(f"{parameter}={value!r}" for parameter, value in values.items())
    return ValueError(f"{name} requires {requirement}, got {got}")


def is_real(dtype: Any) -> bool:
    """Whether a dtype of NumPy (or of ml_dtypes) holds real numbers."""
    return dtype.kind in "fiu" or dtype.name == BFLOAT16


def dtype_name(dtype: Any) -> str:
    """Return a dtype by the name that all libraries give it."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def refused_dtype(name: str, argument: str, dtype: Any, or_complex: bool | None = None) -> TypeError:
    """Return the error for an array that does not hold real numbers, or complex ones where these may be: in x."""
    numbers = "real or complex numbers" if or_complex or (or_complex is None and argument == "x") else "real numbers"
    return TypeError(f"{name}: {argument} must hold {numbers}, got dtype {dtype_name(dtype)}")


def refused_type(name: str, argument: str, value: Any) -> TypeError:
    """Return the error for an object that is no array."""
    return TypeError(f"{name}: {argument} must be an array or a number, got {type_name(value)}")


def refused_mix(name: str, argument: str, value: Any, x: Any, which: str = "") -> TypeError:
    """Return the error for arrays of two libraries."""
    return TypeError(f"{name}: x is {type_name(x)} but {argument} is {type_name(value)}{which}")


def broadcasts(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Whether a shape broadcasts to another, which does not grow."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def check_shapes(operator: Any, x: Any, params: Sequence[Any], g: Any = None) -> Any:
    """
    Return the shape to which arrays and numbers broadcast; refuse one that does not go with those before it.

    None where a length is not known, as in a graph.
    """
    named = zip(("x", *operator.parameters), (x, *params), strict=True)
    shapes = {argument: tuple(getattr(a, "shape", ())) for argument, a in named}
    whole = joined(operator.__name__, shapes) if all(map(known, shapes.values())) else None
    if g is not None:
        check_cotangent(operator.__name__, g, x, whole)
    return whole


def joined(name: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast, which are those of arguments."""
    whole: tuple[int, ...] = ()
    for argument, shape in shapes.items():
        padded, others = ((1,) * (max(len(shape), len(whole)) - len(a)) + a for a in (shape, whole))
        if any(n != m and 1 not in (n, m) for n, m in zip(padded, others, strict=True)):
            msg = f"{name}: {argument} must broadcast with the shape {whole}, got shape {shape}"
            raise ValueError(msg)
        whole = tuple(m if n == 1 else n for n, m in zip(padded, others, strict=True))
    return whole


def check_cotangent(name: str, g: Any, x: Any, shape: Sequence[Any] | None) -> None:
    """Refuse a cotangent of other numbers than the result at x is of, or that does not broadcast to its shape."""
    dtype = g.dtype if hasattr(g, "dtype") else np.asarray(g).dtype
    kind, or_complex = dtype_name(dtype).lower(), "complex" in dtype_name(x.dtype).lower()
    if not ("int" in kind or "float" in kind or ("complex" in kind and or_complex)):
        raise refused_dtype(name, "g", dtype, or_complex)
    of_g = tuple(getattr(g, "shape", ()))
    if shape is not None and known(of_g) and known(shape) and not broadcasts(of_g, shape):
        raise refused_shape(name, "g", of_g, shape, " of the result")


def known(shape: Sequence[Any]) -> bool:
    """Whether the lengths are numbers: not in a graph, and not where Dask has not counted."""
    return all(type(n) is int for n in shape)


def refused_shape(name: str, argument: str, shape: Any, to: Any, whose: str = "") -> ValueError:
    """Return the error for an array that does not broadcast to a shape."""
    return ValueError(f"{name}: {argument} must broadcast to the shape {tuple(to)}{whose}, got shape {tuple(shape)}")


def refused_hybrid(name: str, argument: str) -> ValueError:
    """Return the error for an array beside a sparse one that stores arrays rather than numbers."""
    return ValueError(f"{name}: {argument} must be a number where x has dense dimensions")


def refused_filling(function: Any, value: Any, filling: Any, x: Any) -> ValueError:
    """Return the error for a function of a sparse array that is no zero, or not one number, where nothing is stored."""
    name = repr(function).removeprefix("<shrinkops.").removesuffix(">")
    return ValueError(f"{name} is {value} where x is {filling}, which {type_name(x)} cannot leave out")


def refused_device(name: str, argument: str, device: Any, x_device: Any) -> TypeError:
    """Return the error for arrays on two devices."""
    return TypeError(f"{name}: x is on {x_device} but {argument} is on {device}")


def check_strides(name: str, shape: Sequence[int], strides: Sequence[int]) -> None:
    """Refuse an output of which elements share their memory."""
    if any(s == 0 and n > 1 for n, s in zip(shape, strides, strict=True)):
        msg = f"{name}: out must not have elements that share their memory"
        raise ValueError(msg)


def refused_out(name: str, x: Any, which: str = "") -> TypeError:
    """Return the error for an output that the library of x cannot fill."""
    return TypeError(f"{name}: out= is not supported for {type_name(x)}{which}")


def type_name(value: Any) -> str:
    """Return the type of a value with the library that it comes from."""
    cls = type(value)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"
    )
