"""Print how near the kernels on a GPU come to its copy bandwidth: the copy's time over ours, for as many bytes.

One read and one write of each element is what value and derivative cannot do without; a cotangent is read as well.

    python asv_bench/gpu.py               # 2^28 float32 elements; exits with 2 where there is no GPU
    python asv_bench/gpu.py --device cpu --elements 1000    # PyTorch's steps on the CPU, to try this file itself

The last line says whether the target of the project is met.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import shrinkops
from shrinkops._domain import example

TARGET = 0.85


Wait = Callable[[], None]


def of_torch(device: str) -> tuple[Any, Callable[[Any], Any], Wait]:
    """Return what makes normal numbers, what copies them, and what waits for the device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        msg = "PyTorch sees no GPU"
        raise ImportError(msg)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    return lambda n: torch.randn(n, device=device), lambda x: x.clone(), wait


def of_cupy(device: str) -> tuple[Any, Callable[[Any], Any], Wait]:
    """Return the same of CuPy."""
    import cupy

    if device != "cuda" or not cupy.cuda.is_available():
        msg = "CuPy sees no GPU"
        raise ImportError(msg)
    wait = cupy.cuda.runtime.deviceSynchronize
    return lambda n: cupy.random.standard_normal(n, dtype=cupy.float32), lambda x: x.copy(), wait


def seconds(call: Callable[[], Any], wait: Wait, rounds: int) -> float:
    """Return the least time of a call that has run before."""
    call()  # compiles
    wait()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def rows(x: Any, copy: Callable[[Any], Any], wait: Wait, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield each operator with the share of the copy bandwidth that value, derivative and cotangent reach."""
    of_copy = seconds(lambda: copy(x), wait, rounds)
    for name, operator in shrinkops.OPERATORS.items():
        p = example(operator)
        pull = operator.pulls[0].implementation(type(x), x)
        calls = [lambda: operator(x, *p), lambda: operator.derivative(x, *p), lambda: pull(x, p, None, x)]  # noqa: B023
        yield (
            name,
            [
                of_copy * streams / 2 / seconds(call, wait, rounds)
                for call, streams in zip(calls, (2, 2, 3), strict=True)
            ],
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where the arrays are")
    parser.add_argument("--elements", type=int, default=1 << 28, help="how many there are (default: 2^28)")
    parser.add_argument("--rounds", type=int, default=10, help="of how many calls the least counts")
    options = parser.parse_args(arguments)
    warnings.simplefilter("error", RuntimeWarning)  # that there is no one kernel
    worst: dict[str, float] = {}
    for library in (of_torch, of_cupy):
        name = library.__name__.removeprefix("of_")
        try:
            make, copy, wait = library(options.device)
        except ImportError as error:
            print(f"{name}: not run, {error}")
            continue
        x = make(options.elements)
        print(f"\n## {name}, {options.elements} float32 elements: share of the copy bandwidth\n")
        print("| operator | value | derivative | vjp |\n| --- | --- | --- | --- |")
        for operator, shares in rows(x, copy, wait, options.rounds):
            print(f"| {operator} | {' | '.join(f'{a:.2f}' for a in shares)} |", flush=True)
            worst[f"{name} {operator}"] = min(shares)
        del x
    if not worst:
        return 2
    least = min(worst, key=worst.__getitem__)
    said = "met" if worst[least] >= TARGET else "not met"
    print(f"\ntarget: {TARGET} of the copy bandwidth; least: {worst[least]:.2f} ({least}): {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
