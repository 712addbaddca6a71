"""Shrinkage operators, exact and fast, on any array library."""

from ._dispatch import OPERATORS
from ._kernels.loops import get_num_threads, set_num_threads
from ._operators import (
    cauchyshrink,
    elasticnetshrink,
    firmshrink,
    garroteshrink,
    hardshrink,
    hubershrink,
    hyperbolicshrink,
    logshrink,
    lpshrink,
    mcpshrink,
    nonnegshrink,
    scadshrink,
    shrink,
    sigmoidshrink,
    softshrink,
    tanhshrink,
    threshold,
)
from ._threads import num_threads, show_config
from ._version import __version__

__all__ = [
    "OPERATORS",
    "__version__",
    "cauchyshrink",
    "elasticnetshrink",
    "firmshrink",
    "garroteshrink",
    "get_num_threads",
    "hardshrink",
    "hubershrink",
    "hyperbolicshrink",
    "logshrink",
    "lpshrink",
    "mcpshrink",
    "nonnegshrink",
    "num_threads",
    "scadshrink",
    "set_num_threads",
    "show_config",
    "shrink",
    "sigmoidshrink",
    "softshrink",
    "tanhshrink",
    "threshold",
]
