"""Print the ratios of one run: our time over theirs, of the same numbers in the same process, turn by turn.

Below 1 we are faster. Figures of different runs, machines or processes are not comparable and none are stored. The last
section holds the ratios against the targets that the project has set itself.

    python asv_bench/ratios.py            # about 20 minutes
    python asv_bench/ratios.py --quick    # one or two minutes
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from benchmarks import peers, structured
from benchmarks.peers import COPY, FORMULA, OURS, PEERS, Thunk
from benchmarks.structured import NUMPY

import shrinkops

SECTIONS = ("elementwise", "gradient", "sixteen", "overhead", "layouts", "groups")
IN_CACHE = (1_000, 30_000)
FROM_MEMORY = 10_000_000


def count(n: int) -> str:
    """Format a number of elements, shortly where that loses nothing."""
    short = f"{n:.0e}".replace("e+0", "e")
    return short if float(short) == n and n >= 1000 else str(n)


class Cell(NamedTuple):
    """One comparison: what was compared, and the seconds of each contestant."""

    section: str
    operator: str
    dtype: str
    n: int
    threads: int
    out: bool
    seconds: dict[str, float]

    def ratio(self, theirs: str, mine: str = OURS) -> float:
        """Return our time over theirs; NaN where one of them was not there."""
        return self.seconds.get(mine, math.nan) / self.seconds.get(theirs, math.nan)

    def where(self) -> str:
        """Say which comparison this is."""
        return f"{self.dtype}, n={count(self.n)}, {self.threads} thr{', out=' if self.out else ''}"


class Timer:
    """Time contestants in turns, within a budget of seconds for all of them together."""

    def __init__(self, budget: float, rounds: int, statistic: str) -> None:
        self.budget = budget
        self.rounds = rounds
        self.statistic: Callable[[list[float]], float] = {"min": min, "median": statistics.median}[statistic]

    def __call__(self, calls: dict[str, Thunk], threads: int = 1) -> dict[str, float]:
        """Return the seconds of one call of each."""
        repeats, once = {}, {}
        for who, call in calls.items():
            call()  # compiles, fills tables, touches pages
            start = time.perf_counter()
            call()
            once[who] = max(time.perf_counter() - start, 1e-7)
            repeats[who] = max(1, int(3e-4 / once[who]))  # long against the clock
        turn = sum(repeats[who] * once[who] for who in calls)
        rounds = max(3, min(self.rounds, int(self.budget / turn)))
        samples: dict[str, list[float]] = {who: [] for who in calls}
        order = list(calls)
        gc.disable()
        try:
            for k in range(rounds):
                for who in order[k % len(order) :] + order[: k % len(order)]:
                    if k and once[who] > max(0.02, 4 * min(once.values())):
                        continue  # long enough to know, and nobody's target
                    call, n = calls[who], repeats[who]
                    if threads > 1:
                        time.sleep(2e-3)  # the other libraries' threads still spin for work, on our processors
                    if once[who] < 3e-3:
                        call()  # the cache is that of the one before
                    start = time.perf_counter()
                    for _ in range(n):
                        call()
                    samples[who].append((time.perf_counter() - start) / n)
        finally:
            gc.enable()
        return {who: self.statistic(values) for who, values in samples.items()}


def bound(
    name: str, names: Iterable[str], x: Any, params: tuple[float, ...], out: Any, threads: int
) -> dict[str, Thunk]:
    """Return those contestants that are there."""
    calls = {}
    for who in names:
        try:
            calls[who] = peers.contestant(name, who)(x, params, out, threads)
        except (KeyError, ImportError, NotImplementedError):
            continue
    peers.use_threads(threads)
    return calls


Job = Callable[[], list[Cell]]


def elementwise(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield the comparisons with everyone, by size, dtype, threads and out=."""
    for n in options.sizes:
        for dtype in options.dtypes:
            for name in options.operators:
                for threads in options.threads:
                    for out in options.out:

                        def job(n=n, dtype=dtype, name=name, threads=threads, out=out) -> list[Cell]:
                            x = peers.data(n, dtype)
                            names = [
                                w for w in peers.contestants(name) if w not in PEERS.get(name, ()) or w in options.peers
                            ]
                            result = np.zeros_like(x) if out else None
                            calls = bound(name, names, x, peers.parameters_of(name), result, threads)
                            return [Cell("elementwise", name, dtype, n, threads, out, timer(calls, threads))]

                        yield job


def gradient(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield the comparisons of value plus gradient with torch's autograd."""
    for n in options.gradient_sizes:
        for name in options.operators:
            for threads in options.threads:

                def job(n=n, name=name, threads=threads) -> list[Cell]:
                    names = [w for w in (OURS, "torch") if w == OURS or w in PEERS.get(name, {})]
                    x, params = peers.data(n, "float32"), peers.parameters_of(name)
                    calls = {who: peers.gradient(name, who, x, params) for who in names}
                    peers.use_threads(threads)
                    return [Cell("gradient", name, "float32", n, threads, False, timer(calls, threads))]

                yield job


def sixteen(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield the comparisons of 16-bit tensors with torch."""
    for n in options.sixteen_sizes:
        for dtype in ("float16", "bfloat16"):
            for name in options.operators:
                for threads in options.threads:

                    def job(n=n, dtype=dtype, name=name, threads=threads) -> list[Cell]:
                        torch = peers.load("torch")
                        x = torch.as_tensor(peers.data(n, dtype)).to(getattr(torch, dtype))
                        calls = bound(name, (OURS, "torch"), x, peers.parameters_of(name), None, threads)
                        return [Cell("sixteen", name, dtype, n, threads, False, timer(calls, threads))]

                    yield job


def overhead(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield the calls on ten elements, beside torch's tanhshrink, which is the yardstick for all of them."""
    for name in options.operators:

        def job(name=name) -> list[Cell]:
            x, params = peers.data(10, "float32"), peers.parameters_of(name)
            calls = bound(name, (OURS, "numpy", "torch"), x, params, None, 1)
            calls["out="] = peers.ours(name)(x, params, np.empty_like(x))
            if "torch" in sys.modules:
                torch = sys.modules["torch"]
                calls["tensor"] = peers.ours(name)(torch.as_tensor(x), params)
                calls["torch tanhshrink"] = peers.contestant("tanhshrink", "torch")(x, ())
            return [Cell("overhead", name, "float32", 10, 1, False, timer(calls))]

        yield job


def layouts(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield our layouts beside the dense one with scalar parameters."""
    for n in options.layout_sizes:
        for dtype in options.dtypes:
            for name in options.operators:

                def job(n=n, dtype=dtype, name=name) -> list[Cell]:
                    peers.use_threads(1)
                    calls = {
                        kind: peers.ours(name)(x, params, np.zeros_like(x))
                        for kind, x, params in peers.layouts(n, dtype, peers.parameters_of(name))
                    }
                    return [Cell("layouts", name, dtype, n, 1, True, timer(calls))]

                yield job


def groups(options: argparse.Namespace, timer: Timer) -> Iterator[Job]:
    """Yield the operators that look at more than one element beside NumPy's expressions, which have one thread."""
    for n in options.group_sizes:
        for dtype in ("float32", "float64"):
            for name, (arguments, shape, expression) in structured.CASES.items():
                for threads in options.threads if expression else ():

                    def job(n=n, dtype=dtype, name=name, threads=threads) -> list[Cell]:
                        arguments, shape, expression = structured.CASES[name]
                        x = np.random.default_rng(0).normal(size=shape(n)).astype(dtype)
                        peers.use_threads(threads)
                        ours = shrinkops.STRUCTURED[name]
                        calls = {OURS: lambda: ours(x, *arguments), NUMPY: lambda: expression(x, *arguments)}
                        return [Cell("groups", name, dtype, x.size, threads, False, timer(calls, threads))]

                    yield job


# The output.


def number(value: float) -> str:
    """Format a ratio or a time to the digits that it has."""
    if math.isnan(value):
        return "n/a"
    return f"{value:.2f}" if value < 99.5 else f"{value:.0f}"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print an aligned Markdown table."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    for row in (head, ["-" * w for w in widths], *rows):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |")
    print()


def per_element(cell: Cell, who: str) -> str:
    """Format nanoseconds per element."""
    return number(cell.seconds.get(who, math.nan) / cell.n * 1e9)


def report(cells: list[Cell], options: argparse.Namespace) -> None:
    """Print all sections."""
    of = {section: [c for c in cells if c.section == section] for section in SECTIONS}
    if of["elementwise"]:
        print("## Elementwise: ns per element, and our time over theirs\n")
        names = [w for w in peers.PEER_NAMES if w in options.peers]
        against = [COPY, FORMULA, *names]
        head = ["operator", "n", "dtype", "threads", "out=", "ours ns", "copy ns", *(f"/ {w}" for w in against)]
        rows = []
        for c in sorted(of["elementwise"], key=lambda c: options.operators.index(c.operator)):
            key = [c.operator, count(c.n), c.dtype, str(c.threads), "yes" if c.out else "no"]
            times = [per_element(c, OURS), per_element(c, COPY)]
            rows.append(key + times + [number(c.ratio(w)) for w in against])
        table(head, rows)
    for section, title in (("gradient", "Value and gradient of a tensor"), ("sixteen", "16-bit tensors")):
        if of[section]:
            print(f"## {title}: our time over torch's\n")
            rows = []
            for c in of[section]:
                key = [c.operator, c.dtype, count(c.n), str(c.threads)]
                rows.append([*key, per_element(c, OURS), per_element(c, "torch"), number(c.ratio("torch"))])
            table(["operator", "dtype", "n", "threads", "ours ns", "torch ns", "/ torch"], rows)
    if of["overhead"]:
        print("## A call on 10 elements: microseconds\n")
        columns = [OURS, "out=", "tensor", "numpy", "torch", "torch tanhshrink"]
        rows = [
            [c.operator, *(number(c.seconds.get(w, math.nan) * 1e6) for w in columns), number(c.ratio(columns[-1]))]
            for c in of["overhead"]
        ]
        table(["operator", "array", *columns[1:], "/ torch tanhshrink"], rows)
    if of["layouts"]:
        print("## Layouts: our time over that of dense input with scalar parameters, same n, one thread, out=\n")
        kinds = peers.LAYOUTS[1:]
        rows = [
            [c.operator, c.dtype, count(c.n), per_element(c, "dense")]
            + [number(c.ratio("dense", kind)) for kind in kinds]
            for c in of["layouts"]
        ]
        table(["operator", "dtype", "n", "dense ns", *kinds], rows)
    if of["groups"]:
        print("## Operators that look at more than one element: NumPy's expressions have one thread\n")
        rows = []
        for c in of["groups"]:
            key = [c.operator, c.dtype, count(c.n), str(c.threads)]
            rows.append([*key, per_element(c, OURS), per_element(c, NUMPY), number(c.ratio(NUMPY))])
        table(["operator", "dtype", "n", "threads", "ours ns", "numpy ns", "/ numpy"], rows)
    print("## Targets: the worst ratio measured in this run\n")
    table(["target", "at most", "worst", "where", "met"], [row for target in TARGETS for row in target(of)])


def worst(found: list[tuple[float, str]], text: str, limit: float) -> list[str]:
    """Return the row of a target; unmet by as little as it may be."""
    found = [f for f in found if not math.isnan(f[0])]
    if not found:
        return [text, number(limit), "n/a", "", "not measured"]
    value, where = max(found)
    kept = sum(ratio <= limit for ratio, _ in found)
    return [
        text,
        number(limit),
        number(value),
        where,
        "met" if kept == len(found) else f"NOT met ({kept} of {len(found)})",
    ]


THRESHOLDS = ("softshrink", "hardshrink", "firmshrink", "garroteshrink")
RATIONAL = ("scadshrink", "mcpshrink", "elasticnetshrink", "hubershrink", "shrink", "threshold", "nonnegshrink")
Measured = dict[str, list[Cell]]


def against_fastest(of: Measured) -> Iterator[list[str]]:
    """In cache, at least as fast as the fastest; the copy computes nothing, and is a target from memory only."""
    for name in THRESHOLDS:
        for n in IN_CACHE:
            found = []
            for c in of["elementwise"]:
                rivals = {w: s for w, s in c.seconds.items() if w in PEERS[name]}
                if (c.operator, c.n) == (name, n) and rivals:
                    best = min(rivals, key=rivals.__getitem__)
                    found.append((c.ratio(best), f"{c.where()}: {best}"))
            yield worst(found, f"{name}, in cache, n={n}: as fast as the fastest peer", 1.0)


def against_copy(of: Measured) -> Iterator[list[str]]:
    """From memory, the speed of a copy."""
    for limit, names in ((1.1, THRESHOLDS), (1.2, RATIONAL)):
        for name in names:
            found = [(c.ratio(COPY), c.where()) for c in of["elementwise"] if c.operator == name and c.n >= FROM_MEMORY]
            if found:
                yield worst(found, f"{name}, from memory: {limit}x np.copyto", limit)


def against_formula(of: Measured) -> Iterator[list[str]]:
    """What the kernel is worth."""
    for name in dict.fromkeys(c.operator for c in of["elementwise"]):
        found = [
            (c.ratio(FORMULA), c.where()) for c in of["elementwise"] if c.operator == name and c.n >= min(IN_CACHE)
        ]
        yield worst(found, f"{name}: 5x as fast as the formula in NumPy", 0.2)


def against_inexact(of: Measured) -> Iterator[list[str]]:
    """Exact tanhshrink beside the inexact ones."""
    cells = [c for c in of["elementwise"] if c.operator == "tanhshrink"]
    for text, limit, kept in (
        ("tanhshrink, from memory, out=: 1.3x as fast as", 1 / 1.3, [c for c in cells if c.n >= FROM_MEMORY and c.out]),
        ("tanhshrink, in cache: 0.5x as fast as", 2.0, [c for c in cells if c.n in IN_CACHE]),
    ):
        for who in ("torch", "numpy"):
            yield worst([(c.ratio(who), c.where()) for c in kept], f"{text} {who}", limit)


def against_torch(of: Measured) -> Iterator[list[str]]:
    """Gradients, 16 bits, ten elements."""
    for name in dict.fromkeys(c.operator for c in of["gradient"]):
        if "torch" in PEERS.get(name, {}):
            found = [(c.ratio("torch"), c.where()) for c in of["gradient"] if c.operator == name and c.n >= 1_000_000]
            yield worst(found, f"{name}, value and gradient: 2x as fast as torch", 0.5)
    for dtype in ("float16", "bfloat16"):
        found = [(c.ratio("torch"), f"{c.operator}, {c.where()}") for c in of["sixteen"] if c.dtype == dtype]
        yield worst(found, f"{dtype}: 3x as fast as torch", 1 / 3)
    found = [(c.ratio("torch tanhshrink"), c.operator) for c in of["overhead"]]
    yield worst(found, "10 elements: 0.6x the time of torch's tanhshrink", 0.6)


def against_dense(of: Measured) -> Iterator[list[str]]:
    """Layouts beside the dense scalar case."""
    for kind in peers.LAYOUTS[1:]:
        found = [(c.ratio("dense", kind), f"{c.operator}, {c.where()}") for c in of["layouts"]]
        yield worst(found, f"{kind}: 1.5x dense with scalar parameters", 1.5)


def against_expression(of: Measured) -> Iterator[list[str]]:
    """Groups of 16."""
    found = [(c.ratio(NUMPY), c.where()) for c in of["groups"] if c.operator == "groupshrink"]
    yield worst(found, "groupshrink, groups of 16: 5x as fast as NumPy's expression", 0.2)


TARGETS: tuple[Callable[[Measured], Iterator[list[str]]], ...] = (
    against_fastest,
    against_copy,
    against_formula,
    against_inexact,
    against_torch,
    against_dense,
    against_expression,
)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    known = list(shrinkops.OPERATORS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, and less time for each comparison")
    parser.add_argument("--operators", nargs="+", default=known, choices=known)
    parser.add_argument("--sizes", nargs="+", type=lambda n: int(float(n)), metavar="N", help="for every section")
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float64"])
    parser.add_argument("--threads", nargs="+", type=int, help="default: 1, and 2 where there are two processors")
    parser.add_argument("--out", choices=["yes", "no", "both"], default="both", help="with or without out=")
    parser.add_argument("--peers", nargs="*", default=peers.PEER_NAMES, choices=peers.PEER_NAMES)
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--statistic", choices=["min", "median"], default="min", help="of the turns; default: min")
    parser.add_argument("--seconds", type=float, help="for one comparison, at least three turns")
    options = parser.parse_args(arguments)
    quick, given = options.quick, options.sizes
    options.gradient_sizes = given or ([1_000_000] if quick else [1_000_000, 10_000_000])
    options.sixteen_sizes = given or ([1_000_000] if quick else [30_000, 1_000_000])
    options.group_sizes = given or [1_600_000]
    options.layout_sizes = given or ([30_000] if quick else [30_000, 1_000_000])
    options.sizes = given or ([1_000, 30_000, 10_000_000] if quick else [10, 1_000, 30_000, 1_000_000, 30_000_000])
    options.dtypes = options.dtypes or (["float32"] if quick else ["float32", "float64"])
    options.threads = options.threads or ([1] if quick or peers.processors() < 2 else [1, 2])
    options.out = {"yes": [True], "no": [False], "both": [True] if quick else [False, True]}[options.out]
    options.seconds = options.seconds or (0.15 if quick else 0.4)
    return options


def progress(jobs: list[Job]) -> Iterable[Job]:
    """Show how far it has come, on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return jobs
    return tqdm(jobs, disable=None, file=sys.stderr, unit="cell", leave=False)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    options = parsed(arguments)
    timer = Timer(options.seconds, 15 if options.quick else 25, options.statistic)
    makers = {f.__name__: f for f in (elementwise, gradient, sixteen, overhead, layouts, groups)}
    cells: list[Cell] = []
    interrupted = False
    try:
        try:
            peers.load("torch")
        except ImportError:  # these compare with nothing else
            options.sections = [s for s in options.sections if s not in ("gradient", "sixteen")]
        for job in progress([job for section in options.sections for job in makers[section](options, timer)]):
            cells += job()
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted: this is what was measured so far", file=sys.stderr)
    shrinkops.show_config()
    print(f"\nstatistic: {options.statistic} of the turns; standard normal data\n")
    report(cells, options)
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
