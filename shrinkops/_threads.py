"""Threads for a while, and what this installation is made of."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from . import _backends
from ._checks import check_threads
from ._kernels import loops
from ._version import __version__


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """
    Use `n` threads within a ``with`` block, in the whole process.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import shrinkops
    >>> with shrinkops.num_threads(1):
    ...     shrinkops.get_num_threads()
    1
    """
    before = loops.swap_num_threads(check_threads(n))
    try:
        yield
    finally:
        loops.swap_num_threads(before)


def show_config() -> None:
    """
    Print what this installation was built with and runs on.

    Version, compiler, OpenMP, threads, the instruction set level chosen and those to choose from (``SHRINKOPS_ISA``),
    and the array libraries that are imported.

    Examples
    --------
    >>> import shrinkops
    >>> shrinkops.show_config()  # doctest: +ELLIPSIS
    shrinkops ...
    """
    config = loops.config()
    seen = sorted(
        f"{name} {getattr(sys.modules[name], '__version__', '')}".strip()
        for name in _backends.LIBRARIES
        if name in sys.modules
    )
    print(f"shrinkops {__version__}")
    print(f"compiler: {config['compiler']}")
    print(f"OpenMP: {'yes' if config['openmp'] else 'no'}")
    print(f"threads: {loops.get_num_threads()}")
    print(f"instruction set: {config['isa']} (of {', '.join(config['isa_supported'])})")
    print(f"array libraries seen: {', '.join(seen)}")
