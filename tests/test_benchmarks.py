"""The benchmarks run, and compare like with like: nothing here measures."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import shrinkops

HOME = Path(__file__).resolve().parent.parent / "asv_bench"
PREFIXES = ("time_", "timeraw_", "peakmem_")


def loaded():
    """Import the benchmarks, small, under a name of their own."""
    spec = importlib.util.spec_from_file_location(
        "shrinkops_benchmarks",
        HOME / "benchmarks" / "__init__.py",
        submodule_search_locations=[str(HOME / "benchmarks")],
    )
    package = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    before = os.environ.get("SHRINKOPS_BENCH_SIZES")
    os.environ["SHRINKOPS_BENCH_SIZES"] = "12"
    try:
        spec.loader.exec_module(package)
        names = sorted(p.stem for p in (HOME / "benchmarks").glob("*.py") if p.stem != "__init__")
        return {name: importlib.import_module(f"{spec.name}.{name}") for name in names}
    finally:
        if before is None:
            del os.environ["SHRINKOPS_BENCH_SIZES"]
        else:
            os.environ["SHRINKOPS_BENCH_SIZES"] = before


MODULES = loaded()
peers = MODULES["peers"]
BENCHMARKS = list(
    dict.fromkeys(
        cls
        for module in MODULES.values()
        for cls in vars(module).values()
        if isinstance(cls, type) and any(name.startswith(PREFIXES) for name in vars(cls))
    )
)
ROWS = [(name, who) for name, row in peers.PEERS.items() for who in row]


@pytest.fixture(autouse=True)
def threads_as_before():
    """Leave everyone's threads as they were."""
    torch = sys.modules.get("torch")
    before = shrinkops.get_num_threads(), torch and torch.get_num_threads()
    yield
    shrinkops.set_num_threads(before[0])
    if torch:
        torch.set_num_threads(before[1])


def run(*command, **environment):
    """Run a script of the benchmarks."""
    paths = [str(HOME.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


def test_there_are_benchmarks():
    assert len(BENCHMARKS) >= 8


@pytest.mark.parametrize("cls", BENCHMARKS, ids=lambda cls: cls.__name__)
def test_benchmark_runs(cls):
    """Every combination of parameters is set up and run once, or not available for a reason."""
    ran, skipped = [], []
    assert len(cls.params) == len(cls.param_names) or cls.param_names == ["module"]
    axes = cls.params if isinstance(cls.params[0], list) else [cls.params]
    for combination in itertools.product(*axes):
        if "numba" in combination and "TwoThreads" in cls.__name__:
            continue  # starts threads that a fork does not survive, and other tests fork
        benchmark = cls()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other libraries' making
            try:
                if hasattr(benchmark, "setup"):
                    benchmark.setup(*combination)
            except NotImplementedError as reason:
                skipped.append((combination, str(reason)))
                continue
            for name in vars(cls):
                if name.startswith("timeraw_"):
                    statement, before = getattr(benchmark, name)(*combination)
                    assert run("-c", f"{before}\n{statement}").returncode == 0
                elif name.startswith(PREFIXES):
                    getattr(benchmark, name)(*combination)
        ran.append(combination)
    assert all(reason for _, reason in skipped)
    for name in dict(zip(cls.param_names, cls.params, strict=True)).get("operator", ()):
        assert any(name in combination for combination in ran), (name, skipped)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "who"), ROWS)
def test_peers_compute_the_same(name, who, dtype):
    """A peer that computes something else is no peer; into out= as well, and in the same dtype."""
    params = peers.parameters_of(name)
    x = peers.data(300, dtype)
    x = x[np.min([np.abs(np.abs(x) - p) for p in (0.0, *params)], axis=0) > 1e-2]
    expected = shrinkops.OPERATORS[name](x, *params)
    for out in (None, np.full_like(x, np.nan)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                y = np.asarray(peers.PEERS[name][who](x, params, out)())
            except (ImportError, NotImplementedError):
                continue
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)
        if out is not None:
            np.testing.assert_array_equal(out, y)


def test_peers_are_of_operators():
    assert set(peers.PEERS) <= set(shrinkops.OPERATORS)


def test_operator_without_peers(monkeypatch):
    """An operator that is new runs in every benchmark, against the copy and its own formula."""
    name = next(iter(shrinkops.OPERATORS))
    monkeypatch.delitem(peers.PEERS, name)
    assert peers.contestants(name) == [peers.OURS, peers.COPY, peers.FORMULA]
    benchmark = MODULES["operators"].Elementwise()
    benchmark.setup(name, peers.OURS, "float32", 12)
    with pytest.raises(NotImplementedError, match="no peer"):
        benchmark.setup(name, "numpy", "float32", 12)


def test_peer_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "numexpr", None)
    name = next(name for name, row in peers.PEERS.items() if "numexpr" in row)
    with pytest.raises(NotImplementedError, match="not installed"):
        MODULES["operators"].Elementwise().setup(name, "numexpr", "float32", 12)


@pytest.mark.parametrize("name", list(shrinkops.OPERATORS))
def test_layouts_are_what_they_say(name):
    """Each layout is computed as any other, and about as large."""
    params = peers.parameters_of(name)
    kinds = {kind: (x, p) for kind, x, p in peers.layouts(100, "float64", params)}
    assert set(kinds) <= set(peers.LAYOUTS)
    for kind, (x, p) in kinds.items():
        assert x.size == 100, kind
        spread = [np.broadcast_to(q, x.shape).ravel() for q in p]
        each = [shrinkops.OPERATORS[name](v, *map(float, q)) for v, *q in zip(x.ravel(), *spread, strict=True)]
        np.testing.assert_array_equal(shrinkops.OPERATORS[name](x, *p).ravel(), each)
    assert kinds["x[::2]"][0].strides == (16,)
    assert kinds["transposed"][0].flags.f_contiguous
    assert not kinds["x[:, ::2]"][0].flags.forc


def test_ratios():
    """The script runs with one operator, on tiny arrays, with two threads where there are two."""
    operator = next(name for name, row in peers.PEERS.items() if len(row) > 4)
    result = run(str(HOME / "ratios.py"), "--quick", "--sizes", "12", "--operators", operator, "--seconds", "0.001")
    assert result.returncode == 0, result.stderr
    assert "NaN" not in result.stdout
    for title in ("Elementwise", "10 elements", "Layouts", "Targets"):
        assert f"## {title}" in result.stdout or f"A call on {title}" in result.stdout


def test_ratios_on_threads():
    operator = next(name for name, row in peers.PEERS.items() if len(row) > 4)
    options = [
        "--sizes",
        "1000",
        "--operators",
        operator,
        "--threads",
        "2",
        "--sections",
        "elementwise",
        "--seconds",
        "0.01",
    ]
    result = run(str(HOME / "ratios.py"), *options, "--statistic", "median")
    assert result.returncode == 0, result.stderr
    assert "not measured" in result.stdout


def test_gpu(torch):
    """Every operator has a row; on this machine, or on the CPU where there is no GPU, which is said."""
    result = run(str(HOME / "gpu.py"), "--device", "cpu", "--elements", "1000", "--rounds", "1")
    assert result.returncode == 0, result.stderr
    for name in shrinkops.OPERATORS:
        assert f"| {name} | " in result.stdout
    assert "cupy: not run" in result.stdout
    if not torch.cuda.is_available():
        result = run(str(HOME / "gpu.py"))
        assert (result.returncode, "torch: not run, PyTorch sees no GPU" in result.stdout) == (2, True)


def test_accuracy():
    """The table is printed, and shrinkops is right in each row: it exits with 1 otherwise."""
    pytest.importorskip("mpmath")
    result = run(str(HOME / "accuracy.py"))
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [line.split(" | ") for line in result.stdout.splitlines() if line.startswith("| ")]
    assert len(lines) > 5
    assert not any("**" in line[2] for line in lines)
