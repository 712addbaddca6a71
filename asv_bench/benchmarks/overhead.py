"""What is paid besides the numbers: the import, the call, the memory."""

from __future__ import annotations

import functools
import os

import numpy as np

import shrinkops

from .operators import OPERATORS, not_available, over, prepare, tensor
from .peers import data, parameters_of, sizes, use_threads


@over(module=["numpy", "shrinkops"])
class Import:
    """A fresh interpreter each time; NumPy's own import is the floor."""

    def timeraw_import(self, module: str) -> tuple[str, str]:
        """Return the statement to time, and what goes before it."""
        # asv keeps PYTHONPATH from this interpreter, and with it a package that is not installed
        home = os.path.dirname(os.path.dirname(shrinkops.__file__))
        return f"import {module}", f"import sys; sys.path.append({home!r})"


@over(operator=OPERATORS, how=["array", "array, out=", "array, by name", "tensor", "number", "torch", "numpy"])
class Call:
    """Ten elements: all overhead."""

    def setup(self, name: str, how: str) -> None:
        """Prepare the call."""
        x, params, call = data(10, "float32"), parameters_of(name), shrinkops.OPERATORS[name]
        use_threads(1)
        if how in ("torch", "numpy"):
            self.call = prepare(name, how, x, None, 1)
        elif how == "array, out=":
            self.call = functools.partial(call, x, *params, out=np.empty_like(x))
        elif how == "array, by name":
            if not params:
                not_available(f"{name} has no parameters")
            self.call = functools.partial(call, x, **dict(zip(call.parameters, params, strict=True)))
        else:
            x = {"array": x, "tensor": None, "number": 0.75}[how]
            self.call = functools.partial(call, tensor(10, "float32") if x is None else x, *params)

    def time_call(self, name: str, how: str) -> None:
        """Time one call."""
        self.call()


@over(operator=OPERATORS, thresholds=["scalar", "per channel"], n=sizes(10_000_000))
class PeakMemory:
    """Thresholds per channel broadcast without being spread out: the peak stays that of x and the result."""

    def setup(self, name: str, thresholds: str, n: int) -> None:
        """Make x of at most 100 channels."""
        channels = min(n, 100)
        self.x = data(n // channels * channels, "float32").reshape(channels, -1)
        self.parameters = parameters_of(name)
        if thresholds == "per channel":
            if not self.parameters:
                not_available(f"{name} has no parameters")
            self.parameters = tuple(np.full((channels, 1), p, "float32") for p in self.parameters)

    def peakmem_call(self, name: str, thresholds: str, n: int) -> None:
        """Take the peak of the process, setup and interpreter included: compare, do not read."""
        shrinkops.OPERATORS[name](self.x, *self.parameters)
