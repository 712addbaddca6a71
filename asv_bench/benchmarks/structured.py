"""Speed of the operators that look at more than one element, beside the expressions that NumPy users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import shrinkops

from .operators import not_available, over
from .peers import OURS, processors, sizes, use_threads

NUMPY = "numpy"


def group(x: Any, lambd: float) -> Any:
    """Shrink rows by their norms."""
    return x * np.maximum(1 - lambd / np.linalg.norm(x, axis=-1, keepdims=True), 0)


def sparse_group(x: Any, l1: float, l2: float) -> Any:
    """Shrink elements, and then rows."""
    return group(np.sign(x) * np.maximum(np.abs(x) - l1, 0), l2)


def singular_values(x: Any, lambd: float) -> Any:
    """Shrink singular values."""
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return (u * np.maximum(s - lambd, 0)[..., None, :]) @ vh


def top(x: Any, k: int) -> Any:
    """Keep the largest, found by sorting."""
    order = np.argsort(-np.abs(x), axis=-1, kind="stable")
    y = np.zeros_like(x)
    np.put_along_axis(y, order[..., :k], np.take_along_axis(x, order[..., :k], axis=-1), axis=-1)
    return y


def level(a: Any, total: float) -> Any:
    """Return the level above which numbers sum up to a total."""
    ordered = -np.sort(-a, axis=-1)
    levels = (np.cumsum(ordered, axis=-1) - total) / np.arange(1, a.shape[-1] + 1)
    last = np.sum(ordered > levels, axis=-1, keepdims=True) - 1
    return np.take_along_axis(levels, last, axis=-1)


def ball(x: Any, radius: float) -> Any:
    """Project rows onto an l1 ball."""
    return np.sign(x) * np.maximum(np.abs(x) - np.maximum(level(np.abs(x), radius), 0), 0)


# By operator: arguments after x, the shape of x for about so many elements, and the expression, if there is one.
CASES: dict[str, tuple[tuple[Any, ...], Callable[[int], tuple[int, ...]], Callable[..., Any] | None]] = {
    "groupshrink": ((3.0,), lambda n: (max(1, n // 16), 16), group),
    "sparsegroupshrink": ((0.5, 2.0), lambda n: (max(1, n // 16), 16), sparse_group),
    "svdshrink": ((2.0,), lambda n: (max(1, n // 256), 16, 16), singular_values),
    "topkshrink": ((32,), lambda n: (max(1, n // 1024), 1024), top),
    "linfshrink": ((2.0,), lambda n: (max(1, n // 1024), 1024), lambda x, lambd: x - ball(x, lambd)),
    "l1ball": ((2.0,), lambda n: (max(1, n // 1024), 1024), ball),
    "simplex": ((2.0,), lambda n: (max(1, n // 1024), 1024), lambda x, total: np.maximum(x - level(x, total), 0)),
    "slopeshrink": ((np.linspace(1, 0, 1024),), lambda n: (max(1, n // 1024), 1024), None),
}


@over(
    structured=list(shrinkops.STRUCTURED),
    library=[OURS, NUMPY],
    dtype=["float32", "float64"],
    n=sizes(16_384, 1_600_000),
    threads=[1, 2],
)
class Structured:
    """Groups of 16, matrices of 16 by 16, rows of 1,024."""

    def setup(self, name: str, who: str, dtype: str, n: int, threads: int) -> None:
        """Prepare the call."""
        arguments, shape, expression = CASES[name]
        if threads > (processors() if who == OURS else 1):
            not_available("there are no more threads")
        if who == NUMPY and expression is None:
            not_available(f"{name} is no expression")
        x = np.random.default_rng(0).normal(size=shape(n)).astype(dtype)
        arguments = tuple(a.astype(dtype) if isinstance(a, np.ndarray) else a for a in arguments)
        function = shrinkops.STRUCTURED[name] if who == OURS else expression
        self.call = lambda: function(x, *arguments)
        use_threads(threads)
        self.call()

    def time_call(self, name: str, who: str, dtype: str, n: int, threads: int) -> None:
        """Time one call."""
        self.call()
