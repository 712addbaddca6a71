from typing import Any

import numpy as np
from numpy.typing import NDArray

__test__: dict[str, Any]

def shrink(
    x: NDArray[Any],
    lambd: NDArray[Any],
    y: NDArray[Any],
    offsets: NDArray[np.int64] | None = None,
) -> None: ...
def project(x: NDArray[Any], total: NDArray[Any], y: NDArray[Any], signed: bool, rest: bool) -> None: ...
def pool(
    z: NDArray[np.float64], pools: NDArray[np.int64], sums: NDArray[np.float64], starts: NDArray[np.int64]
) -> None: ...
def average(v: NDArray[np.float64], pools: NDArray[np.int64], means: NDArray[np.float64]) -> None: ...
