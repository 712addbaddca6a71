"""Benchmarks over the registry of operators, with what people write today side by side."""

import contextlib
import sys

from .peers import LIBRARIES, load

if "run_server" in sys.argv:
    # The server of asv, which forks a process for each combination of parameters: what is imported here is imported
    # once, and not a thousand times. (Its environment variable ASV is not set where the environment exists already.)
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            load(library)
