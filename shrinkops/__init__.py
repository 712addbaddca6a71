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
from ._structure import STRUCTURED
from ._structured import (
    groupshrink,
    l1ball,
    linfshrink,
    simplex,
    slopeshrink,
    sparsegroupshrink,
    svdshrink,
    topkshrink,
)
from ._threads import num_threads, show_config
from ._version import __version__

__all__ = [
    "OPERATORS",
    "STRUCTURED",
    "__version__",
    "cauchyshrink",
    "elasticnetshrink",
    "firmshrink",
    "garroteshrink",
    "get_num_threads",
    "groupshrink",
    "hardshrink",
    "hubershrink",
    "hyperbolicshrink",
    "l1ball",
    "linfshrink",
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
    "simplex",
    "slopeshrink",
    "softshrink",
    "sparsegroupshrink",
    "svdshrink",
    "tanhshrink",
    "threshold",
    "topkshrink",
]
