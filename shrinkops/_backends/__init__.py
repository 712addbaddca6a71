"""The array libraries: one module for each, with ``ARRAYS``, its array types, and a function ``bind(function, cls)``.

A library is named in its module and in LIBRARIES, nowhere else. The modules are imported by plain statements, each when
the first array of its library arrives: torch.compile can follow that, and no library is imported that is not in use.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


def _numpy() -> ModuleType:
    from . import numpy

    return numpy


def _torch() -> ModuleType:
    from . import torch

    return torch


def _jax() -> ModuleType:
    from . import jax

    return jax


def _dask() -> ModuleType:
    from . import dask

    return dask


def _cupy() -> ModuleType:
    from . import cupy

    return cupy


def _sparse() -> ModuleType:
    from . import sparse

    return sparse


def _scipy() -> ModuleType:
    from . import scipy

    return scipy


def _xarray() -> ModuleType:
    from . import xarray

    return xarray


def _pandas() -> ModuleType:
    from . import pandas

    return pandas


def _polars() -> ModuleType:
    from . import polars

    return polars


def _generic() -> ModuleType:
    from . import generic

    return generic


# By the root of the module in which an array type, or a base of it, is defined.
LIBRARIES: dict[str, Callable[[], ModuleType]] = {
    "numpy": _numpy,
    "torch": _torch,
    "jax": _jax,
    "jaxlib": _jax,
    "cupy": _cupy,
    "dask": _dask,
    "sparse": _sparse,
    "scipy": _scipy,
    "xarray": _xarray,
    "pandas": _pandas,
    "polars": _polars,
    "array_api_strict": _generic,
    "ndonnx": _generic,
}

# Which function of an operator: its value, its penalty, or the number of a derivative (0 for x, k for a parameter).
VALUE = -1
PENALTY = -2

NUMPY_TYPES = (np.ndarray, np.generic, bool, int, float, complex, list, tuple)


def backend_of(cls: type) -> ModuleType | None:
    """Return the backend module for a type, None if it is no array type."""
    if cls in NUMPY_TYPES:
        return _numpy()
    load = library_of(cls)
    # torch.compile cannot follow the bases of torch's Parameter.
    if load is not None and issubclass(cls, load().ARRAYS):
        return load()
    for base in cls.__mro__:
        load = library_of(base)
        if load is not None and issubclass(cls, load().ARRAYS):
            return load()
    return _generic() if hasattr(cls, "__array_namespace__") else None


def library_of(cls: type) -> Callable[[], ModuleType] | None:
    """Return what imports the backend of the library in which a type is defined."""
    return LIBRARIES.get(str(cls.__module__).partition(".")[0])


def is_numpy(cls: type) -> bool:
    """Whether NumPy is the library of a type, or makes arrays of it."""
    return issubclass(cls, NUMPY_TYPES)


def is_array(value: Any) -> bool:
    """Whether a parameter is an array (or nested lists of numbers, or an expression of one), not a number."""
    if isinstance(value, NUMPY_TYPES):
        return isinstance(value, (np.ndarray, list, tuple))  # torch.compile knows no | of these
    return hasattr(value, "shape") or backend_of(type(value)) is not None
