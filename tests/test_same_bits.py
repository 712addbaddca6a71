"""Same bits: whatever the layout, length, position, threads and instruction set, an element is computed as if alone."""

import contextlib
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shrinkops
from shrinkops import OPERATORS
from shrinkops._kernels import loops
from shrinkops.testing import reference, ulp_error

LEVELS = loops.config()["isa_supported"]
DTYPES = ("float16", "bfloat16", "float32", "float64")
# Parameter sets by the number of parameters: thresholds among the elements, ties, extremes.
SETS = {
    0: [()],
    1: [(0.5,), (1.25,), (0.0,), (float("inf"),)],
    2: [(0.5, 1.5), (0.3, 0.7), (0.0, 1.0), (0.75, 0.75), (1.0, float("inf")), (1.0, 0.5), (0.5, 3.0)],
}
FUNCTIONS = ("tanhshrink", "lpshrink", "logshrink", "cauchyshrink", "sigmoidshrink")  # take exp and log
RATIONAL = ("firmshrink", "garroteshrink", "scadshrink", "mcpshrink", "elasticnetshrink", "hubershrink")


@pytest.fixture(params=LEVELS)
def level(request):
    before = loops.get_isa()
    loops.set_isa(request.param)
    yield request.param
    loops.set_isa(before)


def numpy_dtype(name: str) -> Any:
    return np.dtype(name) if name != "bfloat16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


def functions(operator: Any) -> list[Any]:
    """The value, the derivative, and the derivatives with respect to the parameters."""
    return [operator, *operator.pulls]


def sets(operator: Any) -> list[tuple[float, ...]]:
    """Those that it accepts; what takes exp and log, the ordinary ones."""
    found = [p for p in SETS[len(operator.parameters)] if all(r.holds(*r.among(p)) for r in operator.requirements)]
    return [p for p in found if all(0 < a < float("inf") for a in p)] if operator.__name__ in FUNCTIONS else found


def bits(a: Any) -> Any:
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}").reshape(a.shape)


@functools.cache
def pool(dtype: str) -> Any:
    """300 different numbers: ordinary ones, knots and their neighbours, every binade, zeros, infinities, NaN."""
    random = np.random.default_rng(0)
    made = numpy_dtype(dtype)
    limits = {"float16": (-24, 15), "bfloat16": (-133, 127), "float32": (-149, 127), "float64": (-1074, 1023)}[dtype]
    with np.errstate(over="ignore", under="ignore"):
        binades = np.ldexp(random.uniform(1, 2, 60), random.integers(*limits, 60)).astype(made)
        ordinary = np.concatenate([random.normal(0, 1, 150), random.uniform(-12, 12, 60)]).astype(made)
    knots = np.array([0, 0.25, 0.5, 0.3, 0.7, 0.75, 1, 1.25, 1.375, 1.5, 8.2, 20, np.inf]).astype(made)
    inner = bits(knots[1:-1])
    beside = np.concatenate([inner - 1, inner + 1]).view(made)
    a = np.concatenate([knots, beside, binades])
    a = np.concatenate([a, -a, ordinary, np.array([np.nan]).astype(made)])
    a = np.unique(bits(a)).view(made)
    random.shuffle(bits(a))
    a = a[random.permutation(len(a))][:300]
    a[7] = np.nan
    return a


@functools.cache
def alone(name: str, which: int, dtype: str, params: tuple[float, ...], level: str) -> Any:
    """The results for the pool, one element at a time, each in an array of its own."""
    before = loops.get_isa()
    loops.set_isa(level)
    f = functions(OPERATORS[name])[which]
    results = np.concatenate([f(pool(dtype)[k : k + 1].copy(), *params) for k in range(len(pool(dtype)))])
    loops.set_isa(before)
    return results


def expected(f: Any, dtype: str, params: tuple[float, ...]) -> Any:
    """The same at every level: that of the best one, but for the exception, which is documented."""
    name, level = f.operator.__name__, loops.get_isa()
    own = (dtype, level) == ("float64", "baseline") and name in FUNCTIONS + RATIONAL
    return alone(name, f.which + 1, dtype, params, level if own else LEVELS[-1])


def assert_same(y: Any, results: Any) -> None:
    assert y.shape == results.shape
    wrong = np.argwhere(bits(y) != bits(results))
    if len(wrong):
        k = tuple(wrong[0].tolist())
        pytest.fail(f"{len(wrong)} of {y.size} differ, first at {k}: {y[k]!r}, not {results[k]!r}")


# ----------------------------------------------------------------------------------------------------------------------
# Layouts: each takes numbers and gives an array of them, in any order and shape, and where in the numbers each was


def strided(step: int) -> Callable[[Any], Any]:
    def lay(v: Any) -> Any:
        buffer = np.zeros(len(v) * abs(step), v.dtype)
        a = buffer[::step]
        a[...] = v
        return a

    return lay


def misaligned(offset: int) -> Callable[[Any], Any]:
    def lay(v: Any) -> Any:
        raw = np.zeros(v.nbytes + 64, np.uint8)
        a = raw[offset : offset + v.nbytes].view(v.dtype)
        a[...] = v
        return a

    return lay


def field(v: Any) -> Any:
    a = np.zeros(len(v), [("before", "i1"), ("x", v.dtype), ("after", "i2")])["x"]
    a[...] = v
    return a


def in_memory(order: str, shape: tuple[int, ...] = (5, 6, 10)) -> Callable[[Any], Any]:
    return lambda v: np.array(v.reshape(shape), order=order)


def cut(v: Any) -> Any:
    buffer = np.zeros((10, 7, 20), v.dtype)
    a = buffer[::2, 6:0:-1, 3:13]
    a[...] = v.reshape(5, 6, 10)
    return a


def swapped(v: Any) -> Any:
    if v.dtype.name == "bfloat16":
        pytest.skip("ml_dtypes has one byte order")
    return v.astype(v.dtype.newbyteorder())


def readonly(v: Any) -> Any:
    a = v.copy()
    a.setflags(write=False)
    return a


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": np.copy,
    **{f"stride {s}": strided(s) for s in (2, 3, 100, -1, -2, -3)},
    **{f"offset {o}": misaligned(o) for o in (1, 2, 3, 4, 5, 7, 8, 12, 16, 20, 31, 32, 33, 48, 63)},
    "field": field,
    "Fortran": in_memory("F"),
    "C": in_memory("C"),
    "transposed": lambda v: v.reshape(5, 6, 10).copy().transpose(2, 0, 1),
    "permuted": lambda v: v.reshape(10, 5, 6).copy().transpose(1, 0, 2),
    "cut": cut,
    "reversed rows": lambda v: v.reshape(30, 10).copy()[::-1],
    "reversed columns": lambda v: v.reshape(30, 10).copy()[:, ::-1],
    "byteswapped": swapped,
    "read-only": readonly,
    "rows": lambda v: np.concatenate([v.reshape(3, 100), v.reshape(3, 100)], axis=1)[:, 100:],
    "many axes": lambda v: v.reshape(3, 1, 2, 5, 1, 2, 5).copy().transpose(6, 0, 3, 1, 5, 2, 4),
}


def where_in_pool(a: Any, dtype: str) -> Any:
    """Positions in the pool of the elements of an array, by their bits."""
    of_pool = bits(pool(dtype))
    order = np.argsort(of_pool)
    native = bits(np.array(a, numpy_dtype(dtype)))
    return order[np.searchsorted(of_pool, native, sorter=order)]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(operator, dtype, layout, level):
    x = LAYOUTS[layout](pool(dtype))
    where = where_in_pool(x, dtype)
    before = bits(np.array(x))
    for f in functions(operator):
        for params in sets(operator)[:2]:
            results = expected(f, dtype, params)[where]
            assert_same(f(x, *params), results)
            out = np.zeros(x.shape, numpy_dtype(dtype))
            assert f(x, *params, out=out) is out
            assert_same(out, results)
    assert np.array_equal(bits(np.array(x)), before)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
def test_layouts_of_out(operator, dtype, layout):
    params = sets(operator)[0]
    for f in functions(operator):
        out = LAYOUTS[layout](pool(dtype))
        where = where_in_pool(out, dtype)
        x = pool(dtype)[where]
        assert f(x, *params, out=out) is out
        assert_same(np.array(out, numpy_dtype(dtype)), expected(f, dtype, params)[where])


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_byte_offset_and_length_up_to_129(operator, dtype, level):
    """The offset goes with the length, so that all 64 offsets meet short and long arrays."""
    v, params = pool(dtype), sets(operator)[0]
    for f in functions(operator):
        results = expected(f, dtype, params)
        for n in range(130):
            start = 37 * n % 150
            for offset in (n % 64, 63 - n % 64, 0):
                assert_same(f(misaligned(offset)(v[start : start + n]), *params), results[start : start + n])


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [511, 512, 513, 1025, 8191, 8192, 8193, 16500])
def test_positions(operator, dtype, n, level):
    """Every element at many positions of blocks and shares."""
    where = np.arange(n) % 299
    for f in functions(operator):
        for params in sets(operator):
            assert_same(f(pool(dtype)[where], *params), expected(f, dtype, params)[where])


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_element_arrays_and_scalars(operator, dtype):
    for f in functions(operator):
        for params in sets(operator)[:2]:
            results = expected(f, dtype, params)
            for k in range(60):
                x = pool(dtype)[k]
                for y in (f(x, *params), f(np.array(x), *params), f(pool(dtype)[None, k, None], *params)):
                    assert np.asarray(y).dtype == x.dtype
                    assert np.array_equal(bits(np.asarray(y).ravel()), bits(results[k : k + 1]))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_thread_counts(operator, dtype, threads):
    """More threads than processors, below and above the cut-off, and where the shares do not come out even."""
    with shrinkops.num_threads(threads):
        for n in (32767, 32768, 40001, 131072 + 5):
            where = np.arange(n) % 299
            x = pool(dtype)[where]
            for f in functions(operator):
                params = sets(operator)[0]
                results = expected(f, dtype, params)[where]
                assert_same(f(x, *params), results)
                assert_same(f(np.repeat(x, 2)[::2], *params), results)
                if params:
                    arrays = [np.full(n, p).astype(x.dtype) for p in params]
                    assert_same(f(x, *arrays), results)


def test_python_threads_at_once():
    """The kernels hold no state of their own."""
    where = np.arange(50000) % 299
    x = pool("float32")[where]
    jobs = [(f, params) for op in OPERATORS.values() for f in functions(op) for params in sets(op)[:2]]
    wrong = []

    def work() -> None:
        for f, params in jobs:
            if not np.array_equal(bits(f(x, *params)), bits(expected(f, "float32", params)[where])):
                wrong.append(f)

    for f, params in jobs:
        expected(f, "float32", params)
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_repeated_elements(operator, dtype, level):
    """Zero strides: one element many times."""
    v, params = pool(dtype), sets(operator)[0]
    for f in functions(operator):
        results = expected(f, dtype, params)
        for shape in ((700,), (30, 40), (3, 1, 50)):
            assert_same(f(np.broadcast_to(v[3], shape), *params), np.broadcast_to(results[3], shape))
        assert_same(f(np.broadcast_to(v, (4, 300)), *params), np.broadcast_to(results, (4, 300)))
        assert_same(f(np.broadcast_to(v[:, None], (300, 4)), *params), np.broadcast_to(results[:, None], (300, 4)))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_files(operator, dtype, tmp_path):
    memory = np.memmap(tmp_path / "x", numpy_dtype(dtype), "w+", shape=(300,))
    memory[...] = pool(dtype)
    for f in functions(operator):
        params = sets(operator)[0]
        assert_same(np.asarray(f(memory, *params)), expected(f, dtype, params))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing(operator, dtype):
    for shape in ((0,), (3, 0), (0, 5, 2)):
        x = np.zeros(shape, numpy_dtype(dtype))
        for f in functions(operator):
            for params in (sets(operator)[0], [np.ones(shape, x.dtype)] * len(operator.parameters)):
                y = f(x, *params)
                assert y.shape == shape
                assert y.dtype == x.dtype


# ----------------------------------------------------------------------------------------------------------------------
# Parameters


THRESHOLDING = {name: op for name, op in OPERATORS.items() if op.parameters}


def parameter_arrays(operator: Any, dtype: str, pick: Any) -> list[Any]:
    """Arrays of the parameters of the sets that an array of numbers picks."""
    columns = np.array(sets(operator)).astype(numpy_dtype(dtype))
    return [np.ascontiguousarray(columns[:, k])[pick] for k in range(len(operator.parameters))]


@pytest.mark.parametrize("operator", THRESHOLDING.values(), ids=THRESHOLDING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_one_value(operator, dtype, level):
    """A threshold that is a number, an array of it of any shape, or one element repeated."""
    x = pool(dtype)
    for f in functions(operator):
        for params in sets(operator):
            results = expected(f, dtype, params)
            for shape in ((), (1,), (300,)):
                assert_same(f(x, *[np.full(shape, p).astype(x.dtype) for p in params]), results)
            assert_same(f(x, *[np.broadcast_to(np.array(p, x.dtype), (300,)) for p in params]), results)
            mixed = [np.full(300, p).astype(x.dtype) if k else p for k, p in enumerate(params)]
            assert_same(f(x, *mixed), results)


@pytest.mark.parametrize("operator", THRESHOLDING.values(), ids=THRESHOLDING)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3, 25), (2, 150, 1), (25, 4, 3), (3, 100), (1, 300), (300, 1), (4, 700)])
def test_a_threshold_for_each_channel(operator, dtype, shape, level):
    size = int(np.prod(shape))
    where = (np.arange(size) % 300).reshape(shape)
    x = pool(dtype)[where]
    for f in functions(operator):
        table = np.stack([expected(f, dtype, params) for params in sets(operator)])
        for axis in range(len(shape)):
            pick = np.arange(shape[axis]) % len(sets(operator))
            pick = pick.reshape([-1 if k == axis else 1 for k in range(len(shape))])
            results = table[pick, where]
            params = parameter_arrays(operator, dtype, pick)
            assert_same(f(x, *params), results)
            assert_same(f(np.asfortranarray(x), *params), results)
            swapped_axes = [p.T for p in params]
            assert_same(f(x.T, *swapped_axes), results.T)


@pytest.mark.parametrize("operator", THRESHOLDING.values(), ids=THRESHOLDING)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "byteswapped"])
def test_a_threshold_for_each_element(operator, dtype, layout, level):
    pick = np.arange(300) % len(sets(operator))
    picked = LAYOUTS[layout](pick.astype(np.float32)).astype(int)
    params = [LAYOUTS[layout](p) for p in parameter_arrays(operator, dtype, pick)]
    x = pool(dtype)[: picked.size].reshape(picked.shape)
    where = np.arange(picked.size).reshape(picked.shape)
    for f in functions(operator):
        table = np.stack([expected(f, dtype, some) for some in sets(operator)])
        assert_same(f(x, *params), table[picked, where])


@pytest.mark.parametrize("operator", THRESHOLDING.values(), ids=THRESHOLDING)
@pytest.mark.parametrize("dtype", DTYPES)
def test_thresholds_against_one_element(operator, dtype):
    """The result has the shape of the thresholds."""
    pick = np.arange(40) % len(sets(operator))
    params = parameter_arrays(operator, dtype, pick)
    for f in functions(operator):
        for k in range(0, 300, 17):
            results = np.stack([expected(f, dtype, some)[k] for some in sets(operator)])[pick]
            assert_same(f(pool(dtype)[k : k + 1], *params), results)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cotangents_do_not_change_with_the_layout(operator, dtype, level):
    v, params = pool(dtype), sets(operator)[0]
    g = np.roll(np.nan_to_num(v, nan=1, posinf=2, neginf=-2), 5)
    one = np.concatenate([operator.vjp(g[k : k + 1], v[k : k + 1], *params)[0] for k in range(300)])
    for lay in LAYOUTS.values():
        assert_same(operator.vjp(lay(g), lay(v), *params)[0].ravel(), lay_results(lay, one))


def lay_results(lay: Callable[[Any], Any], results: Any) -> Any:
    a = lay(results)
    return np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))).ravel()


# ----------------------------------------------------------------------------------------------------------------------
# out= over its own input

SIDE = 40


@st.composite
def slices(draw: Any) -> tuple[slice, slice]:
    """Two slices of an axis of SIDE elements that select as many."""
    n = draw(st.integers(1, 12))
    made = []
    for _ in range(2):
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2, -3]))
        reach = (n - 1) * abs(step)
        first = draw(st.integers(0, SIDE - 1 - reach))
        start, stop = (first, first + reach + 1) if step > 0 else (first + reach, first - 1)
        made.append(slice(start, None if stop < 0 else stop, step))
    return made[0], made[1]


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    rows=slices(),
    columns=slices(),
    turn=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    which=st.integers(0, 3),
    shared=st.booleans(),
)
def test_out_may_overlap(operator, rows, columns, turn, dtype, which, shared):
    """Shifted, reversed, interleaved, transposed: as if it did not overlap, and nothing else is written."""
    buffer = np.resize(pool(dtype), (SIDE, SIDE))
    x, out = (buffer[r, c] for r, c in zip(rows, columns, strict=True))
    assert x.shape == out.shape
    if turn and x.shape[0] == x.shape[1]:
        out = out.T
    available = functions(operator)
    f = available[which % len(available)]
    params = list(sets(operator)[0])
    if shared and params:
        np.abs(x, out=x)  # thresholds that lie in the output, too
        params = [buffer[rows[0], columns[1]] if rows[0] == rows[1] else out] * len(params)
    results = f(x.copy(), *[p.copy() if isinstance(p, np.ndarray) else p for p in params])
    before, mine = buffer.copy(), np.zeros(buffer.shape, bool)
    mine[rows[1], columns[1]] = True
    assert f(x, *params, out=out) is out
    assert_same(np.array(out), results)
    assert np.array_equal(bits(buffer)[~mine], bits(before)[~mine])


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5, 513, 20000, 140000])
@pytest.mark.parametrize("shift", [0, 1, -1, 3, 511, 512, -600])
def test_out_shifted(operator, dtype, n, shift):
    """In place and nearly so, over blocks and threads."""
    params = sets(operator)[0]
    for f in functions(operator)[:2]:
        buffer = np.resize(pool(dtype), n + abs(shift))
        x = buffer[max(0, -shift) :][:n]
        out = buffer[max(0, shift) :][:n]
        where = (np.arange(n) + max(0, -shift)) % 300
        results = expected(f, dtype, params)[where]
        f(x, *params, out=out)
        assert_same(out, results)


# ----------------------------------------------------------------------------------------------------------------------
# Large


@pytest.mark.skipif(sys.maxsize < 2**32, reason="needs 64-bit addresses")
@pytest.mark.skipif(os.name == "nt", reason="needs sparse files")
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_strides_beyond_2_to_31_bytes(operator, tmp_path):
    """A sparse file of 8 GiB of which 5 pages are used."""
    try:
        memory = np.memmap(tmp_path / "sparse", np.float32, "w+", shape=(2**31 + 1,))
    except OSError as error:
        pytest.skip(f"no sparse files here: {error}")
    params = sets(operator)[0]
    for step in (2**29, -(2**29)):
        x = np.asarray(memory)[::step]
        x[...] = pool("float32")[:5]
        for f in functions(operator):
            assert_same(f(x, *params), expected(f, "float32", params)[:5])
            f(x, *params, out=x)
            assert_same(x, expected(f, "float32", params)[:5])
            x[...] = pool("float32")[:5]
    (tmp_path / "sparse").unlink()


@pytest.mark.big
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_more_than_2_to_31_elements(operator, dtype):
    n, period = 2**31 + 1000, 299
    f, params = operator, sets(operator)[0]
    results = expected(f, dtype, params)[:period]
    for x in (np.broadcast_to(pool(dtype)[0], n), np.resize(pool(dtype)[:period], n)):
        y = f(x, *params)
        for start in (0, 2**31 - 5, n - 1000):
            where = np.arange(start, start + 1000)[: n - start] % period if x.strides[0] else np.zeros(1000, int)
            assert_same(y[start : start + 1000], results[where[: len(y[start : start + 1000])]])
        tail = y[: n - n % period].reshape(-1, period) if x.strides[0] else y[None]
        first = bits(tail[0])
        assert all(np.array_equal(bits(row), np.broadcast_to(first, row.shape)) for row in np.array_split(tail, 64))


# ----------------------------------------------------------------------------------------------------------------------
# Processes and threads


def script(source: str, timeout: float = 120, fails: str | None = None, **environment: str) -> str:
    """Run a program; return what it prints, or check how it fails."""
    env = {**os.environ, **environment}
    command = [sys.executable, "-c", textwrap.dedent(source)]
    ran = subprocess.run(command, env=env, timeout=timeout, capture_output=True, text=True, check=False)
    if fails is None:
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()
    assert ran.returncode != 0
    assert re.search(fails, ran.stderr), ran.stderr
    return ran.stderr


FORK_HEAD = """
    import os, sys, threading, warnings
    warnings.simplefilter("ignore")
    import numpy as np, shrinkops
    shrinkops.set_num_threads(4)
    x = np.linspace(-3, 3, 300000, dtype=np.float32)
    expected = np.concatenate([shrinkops.tanhshrink(x[k : k + 1000]) for k in range(0, len(x), 1000)])
    def work(*_):
        y = shrinkops.tanhshrink(x)
        assert np.array_equal(y, expected)
        z = shrinkops.softshrink(np.repeat(x, 2)[::2], np.full(len(x), 0.5, np.float32))
        assert len(z) == len(x)
        return 1
    def fork(child):
        pid = os.fork()
        if pid == 0:
            try:
                child()
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
    def in_thread(job):
        t = threading.Thread(target=job)
        t.start()
        t.join()
"""
FORKS = {
    "parent, child": "work(); fork(work); work()",
    "child, parent": "fork(work); work()",
    "child, parent, child": "fork(work); work(); fork(work); work()",
    "child of child": "work(); fork(lambda: (work(), fork(work), work())); work()",
    "child of cold child": "work(); fork(lambda: fork(work))",
    "from a thread": "work(); in_thread(lambda: fork(work)); work()",
    "warm in a thread": "in_thread(work); fork(work); work()",
    "thread in the child": "work(); fork(lambda: in_thread(work)); work()",
    "pool": """
import multiprocessing
work()
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map(work, range(9)) == [1] * 9
work()""",
    "pool before": """
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(4)) == [1] * 4
    work()
    assert pool.map(work, range(4)) == [1] * 4""",
    "after num_threads": "work()\nwith shrinkops.num_threads(7):\n    work(); fork(work); work()\nwork()",
    "set in the child": "work(); fork(lambda: (shrinkops.set_num_threads(3), work())); work()",
    "while another thread computes": """
stop = []
t = threading.Thread(target=lambda: [work() for _ in iter(lambda: bool(stop), True)])
t.start()
for _ in range(5):
    fork(work)
stop.append(1)
t.join()""",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("order", FORKS)
def test_forks(order):
    """No order of parallel work and forks hangs; results are right in every process."""
    script(textwrap.dedent(FORK_HEAD) + FORKS[order] + "\nprint('done')", timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("order", ["parent, child", "child, parent", "child of child", "pool"])
@pytest.mark.parametrize("first", ["torch", "shrinkops"])
def test_forks_beside_torch(order, first, torch):
    """With PyTorch's OpenMP in the process, whichever was imported first."""
    imports = f"import {first}\nimport torch\n"
    warm = "t = torch.linspace(-3, 3, 300000)\nassert len(shrinkops.tanhshrink(t)) == 300000\n"
    script(imports + textwrap.dedent(FORK_HEAD) + warm + FORKS[order], timeout=120)


@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError), (-1, ValueError), (10**9, ValueError), (2**70, ValueError), (1025, ValueError),
        (1.5, TypeError), (2.0, TypeError), ("2", TypeError), (True, TypeError), (None, TypeError), ([2], TypeError),
        (float("nan"), TypeError),
    ],
)  # fmt: skip
def test_numbers_of_threads_that_are_refused(n, error):
    before = shrinkops.get_num_threads()
    with pytest.raises(error, match="number of threads must be"):
        shrinkops.set_num_threads(n)
    with pytest.raises(error, match="number of threads must be"), shrinkops.num_threads(n):
        pass
    assert shrinkops.get_num_threads() == before


@pytest.mark.parametrize("n", [1, 2, 1024, np.int64(3), np.uint8(5)])
def test_numbers_of_threads_that_are_taken(n):
    before = shrinkops.get_num_threads()
    with shrinkops.num_threads(n):
        assert shrinkops.get_num_threads() == (n if loops.config()["openmp"] else 1)
    assert shrinkops.get_num_threads() == before


def test_threads_are_put_back():
    before = shrinkops.get_num_threads()
    with contextlib.suppress(KeyError), shrinkops.num_threads(3), shrinkops.num_threads(5):
        raise KeyError
    assert shrinkops.get_num_threads() == before
    with shrinkops.num_threads(3):
        with pytest.raises(ValueError, match="number of threads"), shrinkops.num_threads(0):
            pass
        assert shrinkops.get_num_threads() == (3 if loops.config()["openmp"] else 1)
    assert shrinkops.get_num_threads() == before


needs_openmp = pytest.mark.skipif(not loops.config()["openmp"], reason="built without OpenMP")


@needs_openmp
@pytest.mark.parametrize("n", [1, 3, 7])
def test_openmp_environment(n):
    assert script("import shrinkops; print(shrinkops.get_num_threads())", OMP_NUM_THREADS=str(n)) == str(n)


@needs_openmp
@pytest.mark.skipif(sys.platform == "win32", reason="threadpoolctl does not know the OpenMP of MSVC")
def test_threadpoolctl():
    pytest.importorskip("threadpoolctl")
    assert script(
        """
        import shrinkops, threadpoolctl
        print(shrinkops.get_num_threads())
        with threadpoolctl.threadpool_limits(1):
            print(shrinkops.get_num_threads())
            shrinkops.set_num_threads(4)
            print(shrinkops.get_num_threads())
        with threadpoolctl.threadpool_limits(2, user_api="openmp"):
            print(shrinkops.get_num_threads())
        print(shrinkops.get_num_threads())
        """,
        OMP_NUM_THREADS="3",
    ).split() == ["3", "1", "1", "2", "4"]


@pytest.mark.parametrize("name", LEVELS)
def test_levels_can_be_chosen(name):
    program = "import shrinkops; print(shrinkops._kernels.loops.config()['isa']); print(shrinkops.tanhshrink(2.0))"
    chosen, y = script(program, SHRINKOPS_ISA=name).split()
    assert chosen == name
    assert abs(float(y) - 1.0359724199241831) < 1e-15


@pytest.mark.parametrize("name", ["bogus", "V4", "v5", "avx512"])
def test_levels_that_are_refused(name):
    sentence = rf"SHRINKOPS_ISA must be one of {', '.join(LEVELS)} on this processor, got '{name}'"
    script("import shrinkops", fails=sentence, SHRINKOPS_ISA=name)
    before = loops.get_isa()
    with pytest.raises(ValueError, match=sentence):
        loops.set_isa(name)
    assert loops.get_isa() == before


def test_an_empty_level_is_none():
    assert script("import shrinkops; print(shrinkops._kernels.loops.get_isa())", SHRINKOPS_ISA="") == LEVELS[-1]


# ----------------------------------------------------------------------------------------------------------------------
# Vectorisation

WIDE = {"v3": "ymm", "v4": "zmm"}
PACKED = re.compile(r"\tv(?:add|sub|mul|div|cmp\w*|fn?m(?:add|sub)\d+)p[sd]\s.*%(?P<register>[yz]mm)")


@functools.cache
def wide_instructions() -> dict[tuple[int, int, str], int]:
    """How many wide arithmetic instructions the loop has of each operator (by number), type (0: float) and level."""
    objdump = shutil.which("objdump")
    if objdump is None or platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"):
        pytest.skip("needs objdump on x86-64")
    command = [objdump, "-d", "--no-show-raw-insn", loops.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    counts: dict[tuple[int, int, str], int] = {}
    current = None
    for line in listing.stdout.splitlines():
        if line.endswith(">:"):
            found = re.search(r"fuse_(\d+)_(\d+)__.*_loop_(v\d)>:", line)
            current = (int(found[1]), int(found[2]), found[3]) if found else None
            if current:
                counts[current] = 0
        elif current and (found := PACKED.search(line)) and found["register"] == WIDE.get(current[2]):
            counts[current] += 1
    if not counts:
        pytest.skip("the symbols have been stripped")
    return counts


@pytest.mark.parametrize("name", [name for name in WIDE if name in LEVELS])
@pytest.mark.parametrize("real", [0, 1], ids=["float32", "float64"])
def test_the_loops_are_vectorised(name, real):
    """Every operator's value and derivatives use the widest registers of their level."""
    counts = {key[0]: n for key, n in wide_instructions().items() if key[1:] == (real, name)}
    assert sorted(counts) == list(range(len(OPERATORS)))
    assert min(counts.values()) >= 15, counts


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
@pytest.mark.parametrize("turned", [False, True])
def test_windows_that_overlap(dtype, turned):
    """In place, each window is what it would be by itself, as NumPy has it."""
    whole = np.arange(3000.0).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(whole, 3, writeable=True)
    windows = windows.T if turned else windows
    expected = whole.copy()
    target = np.lib.stride_tricks.sliding_window_view(expected, 3, writeable=True)
    target = target.T if turned else target
    target[...] = shrinkops.softshrink(windows.copy(), 1.0)
    shrinkops.softshrink(windows, 1.0, out=windows)
    np.testing.assert_array_equal(whole, expected)


def test_many_dimensions():
    """As many as NumPy has."""
    x = np.full((1,) * 63 + (2,), 2.0)
    for y in (shrinkops.softshrink(x, 0.5), shrinkops.softshrink(x.astype(int), np.array([0.5]))):
        np.testing.assert_array_equal(y, x - 0.5)
    assert shrinkops.softshrink.vjp(x, x, 0.5)[1] == -4
    assert shrinkops.softshrink.penalty(x, 0.5).shape == x.shape


def test_the_threshold_of_logshrink_at_every_level(every_level):
    """Where products cancel, with fused multiply-adds and without."""
    rng = np.random.default_rng(1)
    eps = rng.uniform(1, 4, 40)
    lambd = eps**2 * rng.uniform(0.1, 1, 40)
    x = (lambd / eps)[:, None] + np.spacing(lambd / eps)[:, None] * np.arange(1, 6)
    exact = reference("logshrink", x, lambd[:, None], eps[:, None])
    for level, y in every_level(lambda: shrinkops.logshrink(x, lambd[:, None], eps[:, None])).items():
        assert ulp_error(y, exact).max() < 1, level
