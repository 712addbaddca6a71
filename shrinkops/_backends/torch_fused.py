"""One kernel on the GPU of every function of an operator: the array formula, which torch.compile makes a kernel of."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import torch

from .torch import PLAIN, resolved, shape_of

if TYPE_CHECKING:
    from .._dispatch import Function

EVEN = 16  # so many elements are loaded as vectors, if it is known that there are no others
# Unasked, the compiler makes two kernels of the longest formulas, and divides to within 2 ulp.
COMPILED_TO = {
    "max_fusion_size": 1 << 16,
    "eager_numerics.division_rounding": True,
    "eager_numerics.disable_ftz": True,
}
serial = itertools.count()
unfusable: set[tuple[Function, Any]] = set()


@functools.cache
def fused(function: Function, even: bool, *variant: Any) -> Callable[..., Any]:
    """Return the formula of a function, compiled for a variant: what torch.compile would compile anew for."""

    def formula(x: Any, params: tuple[Any, ...], g: Any = None) -> Any:
        if even:
            torch._check(x.shape[0] % EVEN == 0)
        return function.formula(xp, x, params, g)

    # torch.compile keeps what it compiles with the code object, and few for each: this one is not shared.
    formula.__code__ = formula.__code__.replace(co_name=f"{function.operator.__name__}_{next(serial)}")
    known = {key: value for key, value in COMPILED_TO.items() if key in torch._inductor.list_options()}
    compiled: Callable[..., Any] = torch.compile(formula, dynamic=True, options=known)
    return compiled


def in_one_kernel(function: Function, x: Any, params: Sequence[Any], g: Any) -> Any:
    """Evaluate in one pass over memory, by a kernel that torch.compile makes; None where it cannot."""
    if not x.dtype.is_floating_point or (function, x.dtype) in unfusable or not have_memory(x, g, *params):
        return None
    # Numbers would be constants of the kernel, compiled anew for each; tensors on the CPU it takes by value. It would
    # widen them without having rounded them to 16 bits, so that is done here.
    params = [
        torch.tensor(p, dtype=x.dtype, device="cpu").double() if type(p) is float else p.to(x.dtype) for p in params
    ]
    dense = [resolved(a) for a in (x, g) if a is not None]
    shape = torch.broadcast_shapes(shape_of(x, params), *(a.shape for a in dense))
    flat = all(a.is_contiguous() and a.shape == shape for a in dense) and not any(p.ndim for p in params)
    if flat:  # one kernel for all shapes
        dense = [a.view(-1) for a in dense]
    where = tuple((p.ndim, p.device.type) for p in params)
    compiled = fused(
        function, flat and x.numel() % EVEN == 0, x.dtype, x.device, 0 if flat else x.ndim, where, len(dense)
    )
    # Without the tensors that these are views of, on which what is compiled would depend.
    x, *rest = (a.data for a in dense)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what compilers say of themselves
            return compiled(x, tuple(p.data for p in params), *rest).view(shape)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # no compiler, or one that does not know this device
        unfusable.add((function, x.dtype))
        msg = f"{function} runs as one kernel for each of its steps, since torch.compile failed: {error}"
        warnings.warn(msg, RuntimeWarning, stacklevel=2)
        return None


def have_memory(*arguments: Any) -> bool:
    """Whether no tensor among the arguments gives meaning to what is done to it, or wraps another, or is empty."""
    try:
        return all(type(a) in PLAIN and a.data_ptr() for a in arguments if isinstance(a, torch.Tensor))
    except RuntimeError:
        return False
