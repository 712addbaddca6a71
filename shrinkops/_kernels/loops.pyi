from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

__test__: dict[str, Any]

KERNELS: dict[str, Kernel]
LEVEL_NAMES: tuple[str, ...]
ONES: tuple[NDArray[np.float32], NDArray[np.float64]]

@disjoint_base
class Kernel:
    def __call__(
        self,
        x: NDArray[Any],
        params: tuple[Any, ...] = ...,
        out: NDArray[Any] | None = None,
        which: int = ...,
        g: NDArray[Any] | None = None,
        brain: bool = False,
    ) -> Any: ...

@disjoint_base
class Exact:
    def __init__(self, kernel: Kernel, function: Any, otherwise: Callable[..., Any]) -> None: ...
    def __call__(
        self, x: NDArray[Any], params: tuple[Any, ...], out: NDArray[Any] | None = None, g: Any = None
    ) -> Any: ...
    def quickly(self, x: NDArray[Any], params: tuple[Any, ...], out: NDArray[Any] | None = None) -> Any: ...
    def __reduce_cython__(self) -> Any: ...
    def __setstate_cython__(self, __pyx_state: Any) -> Any: ...

check_out: Callable[..., None]
check_threads: Callable[[Any], int]
usable_processors: Callable[[], int]

def __reduce_cython__(self: Any) -> Any: ...
def __setstate_cython__(self: Any, __pyx_state: Any) -> Any: ...
def config() -> dict[str, Any]: ...
def get_isa() -> str: ...
def set_isa(name: str | None = None) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def swap_num_threads(n: int) -> int: ...
