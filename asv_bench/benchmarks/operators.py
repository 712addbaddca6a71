"""Speed of the operators, and of what people write today, on the same numbers."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

import shrinkops

from .peers import (
    COPY,
    FORMULA,
    LAYOUTS,
    OURS,
    PEER_NAMES,
    Thunk,
    contestant,
    contestants,
    data,
    gradient,
    layouts,
    load,
    parameters_of,
    processors,
    sizes,
    use_threads,
)

OPERATORS = list(shrinkops.OPERATORS)
CONTESTANTS = list(dict.fromkeys([OURS, COPY, FORMULA, *PEER_NAMES]))


def over(**axes: list[Any]) -> Any:
    """Give a benchmark class its parameters, by name."""

    def mark(cls: type) -> type:
        cls.param_names, cls.params = list(axes), list(axes.values())
        return cls

    return mark


def not_available(why: str) -> NoReturn:
    """Leave a benchmark out in setup: asv shows n/a, and does not count it as failed."""
    raise NotImplementedError(why)


def prepare(name: str, who: str, x: Any, out: Any, threads: int) -> Thunk:
    """Return the function to time, compiled and warm; n/a where there is none."""
    if threads > processors():
        not_available(f"{threads} threads on {processors()} processors")
    try:
        call = contestant(name, who)(x, parameters_of(name), out, threads)
    except KeyError:
        not_available(f"{name} has no peer {who}")
    except ImportError:
        not_available(f"{who} is not installed")
    use_threads(threads)
    call()
    return call


@over(
    operator=OPERATORS,
    library=CONTESTANTS,
    dtype=["float32", "float64"],
    n=sizes(10, 1_000, 30_000, 1_000_000, 30_000_000),
)
class Elementwise:
    """Into an array that is there, on one thread."""

    def setup(self, name: str, who: str, dtype: str, n: int) -> None:
        """Prepare the call."""
        x = data(n, dtype)
        self.call = prepare(name, who, x, np.empty_like(x), 1)

    def time_call(self, name: str, who: str, dtype: str, n: int) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, library=CONTESTANTS, n=sizes(10, 30_000, 1_000_000, 30_000_000))
class Allocating:
    """Into a new array: what most code does, and the price of it."""

    def setup(self, name: str, who: str, n: int) -> None:
        """Prepare the call."""
        self.call = prepare(name, who, data(n, "float32"), None, 1)

    def time_call(self, name: str, who: str, n: int) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, library=CONTESTANTS, n=sizes(30_000, 1_000_000, 30_000_000))
class TwoThreads:
    """On two threads, into an array that is there."""

    def setup(self, name: str, who: str, n: int) -> None:
        """Prepare the call."""
        x = data(n, "float32")
        self.call = prepare(name, who, x, np.empty_like(x), 2)

    def time_call(self, name: str, who: str, n: int) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, n=sizes(4_096, 8_192, 16_384, 32_768, 65_536, 131_072, 262_144), threads=[1, 2])
class ThreadCutOff:
    """Around the number of elements from which a second thread is worth waking."""

    def setup(self, name: str, n: int, threads: int) -> None:
        """Prepare the call."""
        x = data(n, "float32")
        self.call = prepare(name, OURS, x, np.empty_like(x), threads)

    def time_call(self, name: str, n: int, threads: int) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, layout=LAYOUTS, n=sizes(30_000, 1_000_000))
class Layouts:
    """Strided input and arrays of thresholds, against "dense"."""

    def setup(self, name: str, layout: str, n: int) -> None:
        """Prepare the call."""
        found = {kind: (x, params) for kind, x, params in layouts(n, "float32", parameters_of(name))}
        if layout not in found:
            not_available(f"{name} has no parameters that could be arrays so")
        use_threads(1)
        self.operator, (self.x, self.parameters) = shrinkops.OPERATORS[name], found[layout]
        self.out = np.empty_like(self.x)

    def time_call(self, name: str, layout: str, n: int) -> None:
        """Time one call."""
        self.operator(self.x, *self.parameters, out=self.out)


def tensor(n: int, dtype: str) -> Any:
    """Return random numbers as a tensor; n/a without torch."""
    try:
        torch = load("torch")
    except ImportError:
        not_available("torch is not installed")
    return torch.as_tensor(data(n, dtype)).to(getattr(torch, dtype))


@over(operator=OPERATORS, library=[OURS, "torch"], n=sizes(10, 30_000, 1_000_000))
class Gradient:
    """Value and gradient of a tensor, one step of training, against autograd through torch's own."""

    def setup(self, name: str, who: str, n: int) -> None:
        """Prepare the step."""
        if who not in contestants(name):
            not_available(f"{name} has no peer {who}")
        self.call = gradient(name, who, tensor(n, "float32"), parameters_of(name))
        use_threads(1)
        self.call()

    def time_step(self, name: str, who: str, n: int) -> None:
        """Time one step."""
        self.call()


@over(
    operator=[name for name in OPERATORS if shrinkops.OPERATORS[name].odd],
    library=[OURS, FORMULA],
    dtype=["complex64", "complex128"],
    n=sizes(30_000, 1_000_000),
)
class Complex:
    """Complex numbers, shrunk in magnitude, against the formula in NumPy."""

    def setup(self, name: str, who: str, dtype: str, n: int) -> None:
        """Prepare the call."""
        x = data(2 * n, "float32" if dtype == "complex64" else "float64").view(dtype)
        self.call = prepare(name, who, x, np.empty_like(x), 1)

    def time_call(self, name: str, who: str, dtype: str, n: int) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, library=[OURS, "torch"], dtype=["float16", "bfloat16"], n=sizes(30_000, 1_000_000))
class SixteenBits:
    """float16 and bfloat16, which have 65,536 inputs."""

    def setup(self, name: str, who: str, dtype: str, n: int) -> None:
        """Prepare the call."""
        self.call = prepare(name, who, tensor(n, dtype), None, 1)

    def time_call(self, name: str, who: str, dtype: str, n: int) -> None:
        """Time one call."""
        self.call()
