"""Shrinkage operators, exact and fast, on any array library."""

from ._dispatch import OPERATORS
from ._kernels.loops import get_num_threads, set_num_threads
from ._operators import firmshrink, garroteshrink, hardshrink, softshrink, tanhshrink
from ._threads import num_threads, show_config
from ._version import __version__

__all__ = [
    "OPERATORS",
    "__version__",
    "firmshrink",
    "garroteshrink",
    "get_num_threads",
    "hardshrink",
    "num_threads",
    "set_num_threads",
    "show_config",
    "softshrink",
    "tanhshrink",
]
