"""What people write today: per operator, the same values in every library that is fast at it.

PEERS[operator][peer] is a factory: ``factory(x, params, out, threads)`` returns a function of no arguments that does
one evaluation and returns the result, so that nothing but the evaluation is timed. A library that is not installed
raises ImportError there and nowhere else. An operator without a row has no peers, and every benchmark still runs.

Peers are written as well as their users write them at best: no temporaries that ``out=`` can avoid, nothing constant
computed per element, float32 kept float32.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import shrinkops

Thunk = Callable[[], Any]
Factory = Any  # Callable[..., Thunk], with attributes

OURS = "shrinkops"
COPY = "np.copyto"
FORMULA = "formula"
LIBRARIES = ("torch", "numexpr", "numba", "pywt")


def parameters_of(name: str) -> tuple[float, ...]:
    """Return parameters for an operator: its defaults, else the first distinct values that it does not refuse."""
    call = shrinkops.OPERATORS[name]
    defaults = [p.default for p in list(inspect.signature(call).parameters.values())[1:] if p.name != "out"]
    free = [k for k, default in enumerate(defaults) if default is inspect.Parameter.empty]
    for chosen in itertools.permutations((0.5, 1.5, 0.25, 3.0, 1.0), len(free)):
        for k, value in zip(free, chosen, strict=True):
            defaults[k] = value
        try:
            call(1.0, *defaults)
        except ValueError:
            continue
        return tuple(defaults)
    msg = f"no parameters found that {name} takes"
    raise LookupError(msg)


def data(n: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Return standard normal numbers: on both sides of the thresholds, in an order that no branch predictor learns."""
    return np.random.default_rng(seed).standard_normal(n, dtype="float64" if dtype == "float64" else "float32")


def sizes(*default: int) -> list[int]:
    """Return the numbers of elements to measure; SHRINKOPS_BENCH_SIZES ("10,1000") overrules them for a quick run."""
    given = os.environ.get("SHRINKOPS_BENCH_SIZES")
    return [int(float(n)) for n in given.split(",")] if given else list(default)


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load(module: str) -> Any:
    """Import a library; what it warns of is not ours to report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def use_threads(n: int) -> None:
    """Let everyone use n threads: ourselves, and the libraries that are imported (so: after the factories)."""
    shrinkops.set_num_threads(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
    if "numexpr" in sys.modules:
        sys.modules["numexpr"].set_num_threads(n)
    if "numba" in sys.modules:
        numba = sys.modules["numba"]
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))


# The libraries: each makes a factory of an expression.


def numpy_(plain: Callable[..., Any], into: Callable[..., Any]) -> Factory:
    """NumPy: ``plain(x, *params)`` and, for an array that is there already, ``into(x, out, *params)``."""

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        return functools.partial(plain, x, *params) if out is None else functools.partial(into, x, out, *params)

    return factory


def torch_(plain: Callable[..., Any], into: Callable[..., Any]) -> Factory:
    """PyTorch: the same, as functions of the module, which is imported when it is wanted."""

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        torch = load("torch")
        x = torch.as_tensor(x)
        if out is None:
            return functools.partial(plain(torch), x, *params)
        return functools.partial(into(torch), x, torch.as_tensor(out), *params)

    factory.on_tensors = plain
    return factory


def numexpr_(expression: str, *names: str, **derived: Callable[..., float]) -> Factory:
    """Numexpr: the expression, the names of the parameters in it, and what is computed from them once."""

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        numexpr = load("numexpr")
        scalars = dict(zip(names, params, strict=True)) | {k: f(*params) for k, f in derived.items()}
        # a Python float would make everything float64
        variables = {"x": x} | {k: x.dtype.type(v) for k, v in scalars.items()}
        return functools.partial(numexpr.evaluate, expression, local_dict=variables, global_dict={}, out=out)

    return factory


def numba_(scalar: Callable[..., float]) -> Factory:
    """Numba: a loop over ``scalar(x, zero, *params)``, where zero is typed as x so that float32 stays float32."""

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        fill, fresh = numba_loops(scalar, threads > 1)
        typed = (x.dtype.type(0), *map(x.dtype.type, params))
        return functools.partial(fresh, x, *typed) if out is None else functools.partial(fill, x, out, *typed)

    return factory


@functools.cache
def numba_loops(scalar: Callable[..., float], parallel: bool) -> tuple[Any, Any]:
    """Compile the two loops: into an array that is there, and into a new one."""
    numba = load("numba")
    # "numpy": IEEE division; the default raises ZeroDivisionError, and the check costs the vectorisation
    jit = functools.partial(numba.njit, error_model="numpy")
    inner, span = jit(scalar), numba.prange

    def fill(x: Any, out: Any, *typed: Any) -> Any:
        for i in span(x.size):
            out[i] = inner(x[i], *typed)
        return out

    def fresh(x: Any, *typed: Any) -> Any:
        out = np.empty_like(x)
        for i in span(x.size):
            out[i] = inner(x[i], *typed)
        return out

    return jit(fill, parallel=parallel), jit(fresh, parallel=parallel)


def pywt_(function: str, **options: Any) -> Factory:
    """PyWavelets, which has no ``out=``."""

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        pywt = load("pywt")
        if out is not None:
            msg = "PyWavelets has no out="
            raise NotImplementedError(msg)
        return functools.partial(getattr(pywt, function), x, *params, **options)

    return factory


# The expressions.


def tanhshrink_into(x: Any, out: Any) -> Any:
    np.tanh(x, out=out)
    return np.subtract(x, out, out=out)


def tanhshrink_torch_into(torch: Any) -> Any:
    return lambda x, out: torch.sub(x, torch.tanh(x, out=out), out=out)


def soft_sign_into(x: Any, out: Any, l: float) -> Any:
    np.abs(x, out=out)
    np.subtract(out, l, out=out)
    np.maximum(out, 0, out=out)
    return np.copysign(out, x, out=out)  # times sign(x) would need a second array


def soft_clip_into(x: Any, out: Any, l: float) -> Any:
    np.clip(x, -l, l, out=out)
    return np.subtract(x, out, out=out)


def soft_scalar(x: Any, zero: Any, l: Any) -> Any:
    return max(x - l, zero) + min(x + l, zero)


def hard_where_into(x: Any, out: Any, l: float) -> Any:
    np.copyto(out, 0)
    np.copyto(out, x, where=np.abs(x) > l)
    return out


def hard_scalar(x: Any, zero: Any, l: Any) -> Any:
    return x if abs(x) > l else zero


def firm_slope(l: float, h: float) -> float:
    return h / (h - l)


def firm_plain(x: Any, l: float, h: float) -> Any:
    return np.where(np.abs(x) >= h, x, firm_slope(l, h) * (x - np.clip(x, -l, l)))


def firm_into(x: Any, out: Any, l: float, h: float) -> Any:
    np.clip(x, -l, l, out=out)
    np.subtract(x, out, out=out)
    np.multiply(out, firm_slope(l, h), out=out)
    np.copyto(out, x, where=np.abs(x) >= h)
    return out


def firm_torch(torch: Any) -> Any:
    soft, where = torch.nn.functional.softshrink, torch.where
    return lambda x, l, h: where(x.abs() >= h, x, firm_slope(l, h) * soft(x, l))


def firm_torch_into(torch: Any) -> Any:
    soft, where = torch._C._nn.softshrink, torch.where
    return lambda x, out, l, h: where(x.abs() >= h, x, soft(x, l, out=out).mul_(firm_slope(l, h)), out=out)


def firm_scalar(x: Any, zero: Any, l: Any, h: Any) -> Any:
    soft = max(x - l, zero) + min(x + l, zero)
    return x if abs(x) >= h else h / (h - l) * soft


def garrote_where(x: Any, l: float) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(x) > l, x - l * l / x, 0)


def garrote_where_into(x: Any, out: Any, l: float) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(l * l, x, out=out)
    np.subtract(x, out, out=out)
    np.copyto(out, 0, where=np.abs(x) <= l)
    return out


def garrote_factor(x: Any, l: float) -> Any:
    with np.errstate(divide="ignore"):
        return x * np.maximum(1 - l * l / (x * x), 0)


def garrote_factor_into(x: Any, out: Any, l: float) -> Any:
    np.multiply(x, x, out=out)
    with np.errstate(divide="ignore"):
        np.divide(l * l, out, out=out)
    np.subtract(1, out, out=out)
    np.maximum(out, 0, out=out)
    return np.multiply(x, out, out=out)


def garrote_torch(torch: Any) -> Any:
    return lambda x, l: x * (1 - l * l / (x * x)).clamp(min=0)


def garrote_torch_into(torch: Any) -> Any:
    return lambda x, out, l: torch.mul(x, x, out=out).reciprocal_().mul_(-l * l).add_(1).clamp_(min=0).mul_(x)


def garrote_scalar(x: Any, zero: Any, l: Any) -> Any:
    return x - l * l / x if abs(x) > l else zero


PEERS: dict[str, dict[str, Factory]] = {
    "tanhshrink": {
        "numpy": numpy_(lambda x: x - np.tanh(x), tanhshrink_into),
        "torch": torch_(lambda torch: torch.nn.functional.tanhshrink, tanhshrink_torch_into),
        "numexpr": numexpr_("x - tanh(x)"),
        "numba": numba_(lambda x, zero: x - math.tanh(x)),
    },
    "softshrink": {
        "numpy": numpy_(lambda x, l: np.sign(x) * np.maximum(np.abs(x) - l, 0), soft_sign_into),
        "numpy (2)": numpy_(lambda x, l: x - np.clip(x, -l, l), soft_clip_into),
        "torch": torch_(
            lambda torch: torch.nn.functional.softshrink,
            lambda torch: lambda x, out, l: torch._C._nn.softshrink(x, l, out=out),
        ),
        "numexpr": numexpr_("where(x > l, x - l, where(x < -l, x + l, 0))", "l"),
        "numba": numba_(soft_scalar),
        "pywt": pywt_("threshold", mode="soft"),
    },
    "hardshrink": {
        "numpy": numpy_(lambda x, l: np.where(np.abs(x) > l, x, 0), hard_where_into),
        "numpy (2)": numpy_(lambda x, l: x * (np.abs(x) > l), lambda x, out, l: np.multiply(x, np.abs(x) > l, out=out)),
        "torch": torch_(
            lambda torch: torch.nn.functional.hardshrink,
            lambda torch: lambda x, out, l: torch.hardshrink(x, l, out=out),
        ),
        "numexpr": numexpr_("where(abs(x) > l, x, 0)", "l"),
        "numba": numba_(hard_scalar),
        "pywt": pywt_("threshold", mode="hard"),
    },
    "firmshrink": {
        "numpy": numpy_(firm_plain, firm_into),
        "torch": torch_(firm_torch, firm_torch_into),
        "numexpr": numexpr_(
            "where(abs(x) >= h, x, s * where(x > l, x - l, where(x < -l, x + l, 0)))", "l", "h", s=firm_slope
        ),
        "numba": numba_(firm_scalar),
        "pywt": pywt_("threshold_firm"),
    },
    "garroteshrink": {
        "numpy": numpy_(garrote_where, garrote_where_into),
        "numpy (2)": numpy_(garrote_factor, garrote_factor_into),
        "torch": torch_(garrote_torch, garrote_torch_into),
        "numexpr": numexpr_("where(abs(x) > l, x - l * l / x, 0)", "l"),
        "numba": numba_(garrote_scalar),
        "pywt": pywt_("threshold", mode="garrote"),
    },
}

PEER_NAMES = list(dict.fromkeys(itertools.chain.from_iterable(PEERS.values())))


def ours(name: str) -> Factory:
    """Return the factory of our own operator; x may be an array or a tensor."""
    call = shrinkops.OPERATORS[name]

    def factory(x: Any, params: tuple[Any, ...], out: Any = None, threads: int = 1) -> Thunk:
        return functools.partial(call, x, *params) if out is None else functools.partial(call, x, *params, out=out)

    return factory


def copy(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
    """Return the copy that every one of them contains."""
    return functools.partial(np.copy, x) if out is None else functools.partial(np.copyto, out, x)


def formula(name: str) -> Factory:
    """Return the factory of our array formula in NumPy, which has no ``out=``: what an operator is without a kernel."""
    call = shrinkops.OPERATORS[name].formula

    def factory(x: Any, params: tuple[float, ...], out: Any = None, threads: int = 1) -> Thunk:
        def step() -> Any:
            with np.errstate(all="ignore"):
                return call(np, x, params)

        return step

    return factory


def contestant(name: str, who: str) -> Factory:
    """Return a factory by name; KeyError where there is no such peer of this operator."""
    everyone = {OURS: ours, FORMULA: formula}
    return everyone[who](name) if who in everyone else copy if who == COPY else PEERS[name][who]


def contestants(name: str) -> list[str]:
    """Return the names of all contestants."""
    return [OURS, COPY, FORMULA, *PEERS.get(name, {})]


def gradient(name: str, who: str, x: Any, params: tuple[float, ...]) -> Thunk:
    """Return the value and the gradient with respect to a torch tensor, as one step of training does it."""
    torch = load("torch")
    call = shrinkops.OPERATORS[name] if who == OURS else PEERS[name][who].on_tensors(torch)
    x = torch.as_tensor(x).clone().requires_grad_()
    g = torch.ones_like(x)

    def step() -> Any:
        return torch.autograd.grad(call(x, *params), x, g)[0]

    return step


def layouts(n: int, dtype: str, params: tuple[float, ...]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the ways in which about n elements can lie in memory, dense with scalar parameters first."""
    rows = max(1, math.isqrt(n))
    columns = max(1, n // rows)
    x = data(4 * rows * columns, dtype)
    dense = x[: rows * columns]
    yield "dense", dense, params
    yield "x[::2]", x[: 2 * dense.size : 2], params
    yield "transposed", dense.reshape(rows, columns).T, params
    yield "x[:, ::2]", x[: 2 * dense.size].reshape(rows, -1)[:, ::2], params
    # a view that no axis order makes dense, and whose innermost stride is the long one of the other
    yield "x[::2].T", x[: 2 * dense.size].reshape(-1, columns)[::2].T, params
    if params:
        spread = np.random.default_rng(1).uniform(0.9, 1.1, dense.shape).astype(dense.dtype)
        first, *rest = (spread * dense.dtype.type(p) for p in params)
        yield "per element", dense, (first, *params[1:])
        table, per = dense.reshape(rows, columns), first.reshape(rows, columns)
        yield "per row", table, (per[:, :1].copy(), *params[1:])
        yield "per column", table, (per[0].copy(), *params[1:])
        if rest:
            yield "all per element", dense, (first, *rest)


LAYOUTS = [
    "dense",
    "x[::2]",
    "transposed",
    "x[:, ::2]",
    "x[::2].T",
    "per element",
    "per row",
    "per column",
    "all per element",
]
