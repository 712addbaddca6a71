"""Print, as a Markdown table, what others get wrong here and now: every figure is measured by this run.

The truth is mpmath's to 60 digits. A row in which no library that is installed errs is left out; a library that is not
installed, or that has no such function, is shown as n/a. Exits with 1 if shrinkops errs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np

import shrinkops

LIBRARIES = ("shrinkops", "NumPy", "torch", "Keras", "PyWavelets")
mpmath.mp.dps = 60


def optional(module: str) -> Any:
    """Import a library; None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError:
        return None


os.environ.setdefault("KERAS_BACKEND", "jax")
torch, pywt, jax = optional("torch"), optional("pywt"), optional("jax")
keras = optional("keras") if jax is not None and os.environ["KERAS_BACKEND"] == "jax" else None
nn = torch.nn.functional if torch else None


class Row(NamedTuple):
    """What is asked, the truth, which answers count as right, and who is asked how."""

    question: str
    truth: str
    right: Callable[[Any], bool]
    calls: dict[str, Callable[[], Any]]


def show(value: Any) -> str:
    """Format an answer."""
    if isinstance(value, Exception):
        return type(value).__name__
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if value and math.isfinite(value) and not 1e-3 <= abs(value) < 1e4:
        digits = f"{value:.2e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
        return digits
    return f"{value:.4g}"


def close(truth: Any, ulps: float, dtype: str) -> Callable[[Any], bool]:
    """Return whether an answer is within some units in the last place."""
    return lambda value: not isinstance(value, Exception) and error(value, truth, dtype) <= ulps


def error(value: Any, truth: Any, dtype: str) -> float:
    """Return the distance of an answer from the truth in units in the last place of the truth."""
    if not math.isfinite(float(value)):
        return math.inf
    unit = float(np.spacing(np.abs(np.dtype(dtype).type(float(truth)))))
    return float(abs(mpmath.mpf(float(value)) - truth) / unit)


def worst(call: Callable[[np.ndarray], Any], xs: np.ndarray, truth: Callable[[Any], Any]) -> float:
    """Return the largest error over an array."""
    ys = np.asarray(call(xs))
    return max(error(y, truth(mpmath.mpf(float(x))), xs.dtype.name) for x, y in zip(xs, ys, strict=True))


def on(x: Any, dtype: str, **calls: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """Return the calls on one number, as an array of each library."""
    a = np.array([x], dtype)
    arrays = {"shrinkops": a, "NumPy": a, "PyWavelets": a}
    if torch:
        arrays["torch"] = torch.from_numpy(a)
    if keras:
        arrays["Keras"] = jax.numpy.asarray(a)
    return {
        who: lambda call=call, array=arrays[who]: float(np.asarray(call(array))[0])
        for who, call in calls.items()
        if who in arrays
    }


def torch_gradient(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the gradient by torch's autograd."""

    def gradient(x: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(call(x).sum(), x)[0]

    return gradient


def jax_gradient(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the gradient by JAX."""
    return lambda x: jax.grad(lambda t: call(t).sum())(x)


def shrunk_by_tanh(dtype: str) -> Row:
    """Return the row on the errors of tanhshrink over a decade."""
    xs = np.geomspace(1e-4, 1e-3, 500).astype(dtype)
    calls = {
        "shrinkops": lambda: worst(shrinkops.tanhshrink, xs, lambda x: x - mpmath.tanh(x)),
        "NumPy": lambda: worst(lambda x: x - np.tanh(x), xs, lambda x: x - mpmath.tanh(x)),
        "torch": lambda: worst(lambda x: nn.tanhshrink(torch.from_numpy(x)), xs, lambda x: x - mpmath.tanh(x)),
    }
    if dtype == "float32":  # JAX has no float64 unless asked for it
        calls["Keras"] = lambda: worst(keras.ops.tanh_shrink, xs, lambda x: x - mpmath.tanh(x))
    return Row(f"tanhshrink, {dtype}: largest error over 1e-4..1e-3, ulp", "at most 1", lambda e: e <= 1, calls)


def rows() -> list[Row]:
    """Return the questions."""
    small = mpmath.mpf(float(np.float32(1e-4)))
    value, slope = small - mpmath.tanh(small), mpmath.tanh(small) ** 2
    knot = np.float32(0.7)
    above = knot + np.geomspace(np.spacing(knot), 1e-3, 200).astype("float32")
    bf16 = torch.bfloat16 if torch else None

    def positive_zero(v: Any) -> bool:
        return v == 0 and math.copysign(1, v) > 0

    def negative_zero(v: Any) -> bool:
        return v == 0 and math.copysign(1, v) < 0

    def refused(v: Any) -> bool:
        return isinstance(v, Exception)

    def both(soft: Any, hard: Any) -> Callable[[], str]:
        x = torch.tensor([0.1], dtype=bf16)
        return lambda: f"{float(soft(x, 0.1)):.1e}, {float(hard(x, 0.1)):.1e}".replace("0.0e+00", "0")

    def checked(call: Any) -> Callable[[], Any]:
        x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        return lambda: bool(torch.autograd.gradcheck(lambda t: call(t, 0.0), x, raise_exception=False))

    def garrote(x: Any, l: float) -> Any:
        return np.where(np.abs(x) > l, x - x.dtype.type(l) ** 2 / x, 0)

    def beyond(x: Any) -> Any:
        return x - mpmath.mpf(float(knot)) ** 2 / x

    return [
        Row(
            "tanhshrink(1e-4), float32",
            show(float(value)),
            close(value, 1, "float32"),
            on(
                1e-4,
                "float32",
                shrinkops=shrinkops.tanhshrink,
                NumPy=lambda x: x - np.tanh(x),
                torch=lambda x: nn.tanhshrink(x),
                Keras=lambda x: keras.ops.tanh_shrink(x),
            ),
        ),
        shrunk_by_tanh("float32"),
        shrunk_by_tanh("float64"),
        Row(
            "gradient of tanhshrink at 1e-4, float32",
            show(float(slope)),
            close(slope, 1, "float32"),
            on(
                1e-4,
                "float32",
                shrinkops=shrinkops.tanhshrink.derivative,
                torch=torch_gradient(lambda t: nn.tanhshrink(t)),
                Keras=jax_gradient(lambda t: keras.ops.tanh_shrink(t)),
            ),
        ),
        Row(
            "tanhshrink(-0.0), an odd function",
            "-0",
            negative_zero,
            on(
                -0.0,
                "float32",
                shrinkops=shrinkops.tanhshrink,
                NumPy=lambda x: x - np.tanh(x),
                torch=lambda x: nn.tanhshrink(x),
                Keras=lambda x: keras.ops.tanh_shrink(x),
            ),
        ),
        Row(
            "hardshrink(NaN)",
            "nan",
            lambda v: v != v,
            on(
                math.nan,
                "float32",
                shrinkops=shrinkops.hardshrink,
                NumPy=lambda x: np.where(np.abs(x) > 0.5, x, 0),
                torch=lambda x: nn.hardshrink(x),
                Keras=lambda x: keras.ops.hard_shrink(x),
                PyWavelets=lambda x: pywt.threshold(x, 0.5, "hard"),
            ),
        ),
        Row(
            "gradient of softshrink at NaN",
            "nan",
            lambda v: v != v,
            on(
                math.nan,
                "float32",
                shrinkops=shrinkops.softshrink.derivative,
                torch=torch_gradient(lambda t: nn.softshrink(t)),
                Keras=jax_gradient(lambda t: keras.ops.soft_shrink(t)),
            ),
        ),
        Row(
            "softshrink(0.25, -0.5), a negative threshold",
            "an error",
            refused,
            on(
                0.25,
                "float32",
                shrinkops=lambda x: shrinkops.softshrink(x, -0.5),
                NumPy=lambda x: np.sign(x) * np.maximum(np.abs(x) + 0.5, 0),
                torch=lambda x: nn.softshrink(x, -0.5),
                Keras=lambda x: keras.ops.soft_shrink(x, -0.5),
                PyWavelets=lambda x: pywt.threshold(x, -0.5, "soft"),
            ),
        ),
        Row(
            "hardshrink(0.25, -0.5)",
            "an error",
            refused,
            on(
                0.25,
                "float32",
                shrinkops=lambda x: shrinkops.hardshrink(x, -0.5),
                NumPy=lambda x: np.where(np.abs(x) > -0.5, x, 0),
                torch=lambda x: nn.hardshrink(x, -0.5),
                Keras=lambda x: keras.ops.hard_shrink(x, -0.5),
                PyWavelets=lambda x: pywt.threshold(x, -0.5, "hard"),
            ),
        ),
        Row(
            "softshrink and hardshrink of 0.1 with threshold 0.1, bfloat16",
            "0, 0",
            lambda v: v == "0, 0",
            {"shrinkops": both(shrinkops.softshrink, shrinkops.hardshrink), "torch": both(nn.softshrink, nn.hardshrink)}
            if torch
            else {},
        ),
        Row(
            "gradcheck of softshrink at 0 with threshold 0, the identity",
            "true",
            lambda v: v is True,
            {"shrinkops": checked(shrinkops.softshrink), "torch": checked(nn.softshrink)} if torch else {},
        ),
        Row(
            "garrote just above the threshold 0.7, float32: largest error, ulp",
            "at most 1",
            lambda e: e <= 1,
            {
                "shrinkops": lambda: worst(lambda x: shrinkops.garroteshrink(x, 0.7), above, beyond),
                "NumPy": lambda: worst(lambda x: garrote(x, 0.7), above, beyond),
                "PyWavelets": lambda: worst(lambda x: pywt.threshold(x, 0.7, "garrote"), above, beyond),
            },
        ),
        Row(
            "garrote(1e20, 5e19), float32",
            "7.50e19",
            close(mpmath.mpf("7.5e19"), 2, "float32"),
            on(
                1e20,
                "float32",
                shrinkops=lambda x: shrinkops.garroteshrink(x, 5e19),
                NumPy=lambda x: garrote(x, 5e19),
                PyWavelets=lambda x: pywt.threshold(x, 5e19, "garrote"),
            ),
        ),
        Row(
            "soft threshold of 0.0 with threshold 0",
            "0",
            positive_zero,
            on(
                0.0,
                "float32",
                shrinkops=lambda x: shrinkops.softshrink(x, 0.0),
                NumPy=lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.0, 0),
                torch=lambda x: nn.softshrink(x, 0.0),
                Keras=lambda x: keras.ops.soft_shrink(x, 0.0),
                PyWavelets=lambda x: pywt.threshold(x, 0.0, "soft"),
            ),
        ),
    ]


def answer(call: Callable[[], Any]) -> Any:
    """Return the answer, be it an error."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call()
    except (ValueError, RuntimeError, TypeError) as raised:
        return raised


def version(who: str, module: Any) -> str:
    """Return the version that is installed, which is not always the one that a module reports."""
    try:
        return importlib.metadata.version(who)
    except importlib.metadata.PackageNotFoundError:
        return module.__version__


def main() -> int:
    """Ask, and print the table: wrong answers in bold."""
    there = {"shrinkops": shrinkops, "NumPy": np, "torch": torch, "Keras": keras, "PyWavelets": pywt}
    failed = 0
    lines = []
    for row in rows():
        cells, erred = [], False
        for who in LIBRARIES:
            if there[who] is None or who not in row.calls:
                cells.append("n/a")
                continue
            value = answer(row.calls[who])
            if row.right(value):
                cells.append(show(value))
                continue
            cells.append(f"**{show(value)}**")
            failed += who == "shrinkops"
            erred = True
        if erred:
            lines.append([row.question, row.truth, *cells])
    head = ["", "exact", *LIBRARIES]
    for line in (head, ["---"] * len(head), *lines):
        print("| " + " | ".join(line) + " |")
    versions = (f"{who} {version(who, there[who])}" for who in LIBRARIES if there[who] is not None)
    print(f"\nMeasured with {', '.join(versions)}; wrong answers in bold.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
