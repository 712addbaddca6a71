"""PyTorch: the kernels on the CPU, under autograd too; the formula on other devices and under torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from .. import _formula
from .._checks import check_out, refused_mix, refused_out
from .._kernels.loops import KERNELS
from . import PENALTY, VALUE
from .generic import cast, converted

if TYPE_CHECKING:
    from .._dispatch import Function

BFLOAT16 = torch.bfloat16
NUMPY_DTYPES = {torch.float32, torch.float64, torch.float16}
KERNEL_DTYPES = {*NUMPY_DTYPES, BFLOAT16}


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on tensors."""
    operator, which = function.operator, function.which
    name = operator.__name__
    kernel = KERNELS[name]

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if not isinstance(x, torch.Tensor):
            x = converted(operator, torch.as_tensor, x, (*params, g))
        params = tuple(p if type(p) is float else parameter(k, p, x) for k, p in enumerate(params))
        x = _formula.promoted(name, xp, x, torch.get_default_dtype())
        if g is not None:
            y = torch.broadcast_shapes(x.shape, *(p.shape for p in params if type(p) is not float))
            if isinstance(g, np.ndarray):
                raise refused_mix(name, "g", g, x)
            g = torch.as_tensor(g, dtype=x.dtype, device=x.device).broadcast_to(y)
            traced = torch.compiler.is_compiling()
            pulled = function.formula(xp, x, params, g) if traced else differentiable(function, x, params, g)
            argument = (x, *params)[which]
            return _formula.sum_to_shape(xp, pulled, () if type(argument) is float else argument.shape)
        tracked = torch.is_grad_enabled() and any(
            isinstance(a, torch.Tensor) and a.requires_grad for a in (x, out, *params)
        )
        if out is not None:
            if tracked:
                raise refused_out(name, x, " that requires grad")
            return into(out, x, params)
        if torch.compiler.is_compiling():
            if tracked and which == VALUE:
                return Traced.apply(function, x, *params)
            return function.formula(xp, x, params)
        if tracked or forward_ad._current_level >= 0:
            return differentiable(function, x, params, None)
        y = on_kernel(function, x, params, None, None)
        return differentiable(function, x, params, None) if y is None else y

    def into(out: Any, x: Any, params: tuple[Any, ...]) -> Any:
        if not isinstance(out, torch.Tensor):
            raise refused_mix(name, "out", out, x)
        shape = torch.broadcast_shapes(x.shape, *(p.shape for p in params if type(p) is not float))
        check_out(out.shape, out.dtype, shape, x.dtype.to_real() if which == PENALTY else x.dtype)
        if on_kernel(function, x, params, out, None) is None:
            return out.copy_(function.formula(xp, x, params))
        torch.autograd.graph.increment_version(out)  # so that autograd sees it change
        return out

    def parameter(k: int, p: Any, x: Any) -> Any:
        if not isinstance(p, torch.Tensor):
            raise refused_mix(name, operator.parameters[k], p, x)
        return cast(operator, k, xp, p, x)

    def quick(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        """Plain tensors on the CPU with scalar parameters; whatever else there is to think of, call() does."""
        if (
            type(x) is cls
            and out is None
            and g is None
            and not torch.compiler.is_compiling()
            and not x.requires_grad
            and forward_ad._current_level < 0
            and x.dtype in NUMPY_DTYPES
        ):
            for p in params:
                if type(p) is not float:
                    break
            else:
                try:
                    return torch.from_numpy(kernel(x.numpy(), params, None, which))
                except (RuntimeError, TypeError):  # no memory that NumPy could read
                    pass
        return call(x, params, out, g)

    return quick if cls is torch.Tensor and which >= VALUE else call


def differentiable(function: Function, x: Any, params: Sequence[Any], g: Any) -> Any:
    """Evaluate under autograd: the value and its pulls by our derivatives, all else by those of the formula."""
    if function.which == VALUE:
        return Shrink.apply(function, x, *params)
    if function.which < VALUE or (g is None and x.is_complex()):
        return function.formula(xp, x, params)
    if g is None:
        g = torch.ones(torch.broadcast_shapes(x.shape, *(np.shape(p) for p in params)), dtype=x.dtype, device=x.device)
    return Pull.apply(function, x, *params, g)


def compute(function: Function, x: Any, params: tuple[Any, ...], g: Any = None) -> Any:
    """Evaluate without autograd."""
    y = on_kernel(function, x, params, None, g)
    return function.formula(xp, x, params, g) if y is None else y


def on_kernel(function: Function, x: Any, params: tuple[Any, ...], out: Any, g: Any) -> Any:
    """Run the kernel on the memory of the tensors; None where they have none that it could use."""
    if x.dtype not in KERNEL_DTYPES or function.which < VALUE:
        return None
    try:
        arrays = [a if a is None or type(a) is float else memory(a, x.dtype) for a in (x, out, g, *params)]
    except (RuntimeError, TypeError):  # another device, or no memory at all: meta, functorch, sparse
        return None
    kernel = KERNELS[function.operator.__name__]
    y = kernel(arrays[0], tuple(arrays[3:]), arrays[1], function.which, arrays[2], x.dtype is BFLOAT16)
    if out is not None:
        return out
    y = torch.from_numpy(y)
    return y.view(BFLOAT16) if x.dtype is BFLOAT16 else y


def memory(a: torch.Tensor, dtype: torch.dtype) -> Any:
    """Return the memory of a tensor as an array, bfloat16 as its bits."""
    if a.dtype is not dtype:
        a = a.to(dtype)
    if a.requires_grad:
        a = a.detach()
    return a.view(torch.int16).numpy().view(np.uint16) if dtype is BFLOAT16 else a.numpy()


class Elementwise(torch.autograd.Function):
    """What Shrink and Pull share: arguments are kept, and batches are one more axis."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the function, the tensors and the scalars."""
        ctx.function, *arguments = inputs
        ctx.scalars = [None if isinstance(a, torch.Tensor) else a for a in arguments]
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def arguments(ctx: Any) -> list[Any]:
        """Return the arguments as they were kept."""
        tensors = iter(ctx.saved_tensors)
        return [next(tensors) if a is None else a for a in ctx.scalars]

    @classmethod
    def batched(cls, in_dims: Any, function: Function, *arguments: Any) -> Any:
        """Put the axis of the batch first, and ones behind it where an argument has fewer axes."""
        rank = max(a.ndim - (d is not None) for a, d in zip(arguments, in_dims[1:], strict=True) if not is_number(a))
        aligned = []
        for a, d in zip(arguments, in_dims[1:], strict=True):
            if d is not None:
                a = a.movedim(d, 0)
                a = a.reshape(a.shape[0], *[1] * (rank + 1 - a.ndim), *a.shape[1:])
            aligned.append(a)
        return cls.apply(function, *aligned), 0


def is_number(a: Any) -> bool:
    """Whether a parameter is a Python number."""
    return not isinstance(a, torch.Tensor)


class Shrink(Elementwise):
    """The value of an operator, differentiated by Pull."""

    @staticmethod
    def forward(function: Function, x: Any, *params: Any) -> Any:
        """Evaluate."""
        return compute(function, x, params)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Pull g back to every argument that wants it."""
        x, *params = arguments = Elementwise.arguments(ctx)
        pulls = ctx.function.operator.pulls
        return None, *(
            _formula.sum_to_shape(xp, Pull.apply(pulls[k], x, *params, g), a.shape) if needed else None
            for k, (a, needed) in enumerate(zip(arguments, ctx.needs_input_grad[1:], strict=True))
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """Push the tangents forward."""
        x, *params = Elementwise.arguments(ctx)
        operator = ctx.function.operator
        return sum(
            _formula.pull(operator, xp, k, t, x, tuple(params), push=True)
            for k, t in enumerate(tangents)
            if t is not None
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Function, *arguments: Any) -> Any:
        """Map over a batch."""
        return Shrink.batched(in_dims, function, *arguments)


class Pull(Elementwise):
    """g times a derivative of an operator, differentiated again through the formula."""

    @staticmethod
    def forward(function: Function, x: Any, *rest: Any) -> Any:
        """Evaluate."""
        return compute(function, x, rest[:-1], rest[-1])

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Pull g back through the formula."""
        formula, tensors, places = Pull.of_tensors(ctx)
        cotangents = [None] * len(ctx.scalars)
        for place, cotangent in zip(places, torch.func.vjp(formula, *tensors)[1](g), strict=True):
            cotangents[place] = cotangent
        return None, *cotangents

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """Push the tangents forward through the formula: by pulling back twice, since forward mode does not nest."""
        formula, tensors, places = Pull.of_tensors(ctx)
        moving = tuple(
            torch.zeros_like(a) if tangents[p] is None else tangents[p] for a, p in zip(tensors, places, strict=True)
        )
        y, pullback = torch.func.vjp(formula, *tensors)
        return torch.func.vjp(pullback, torch.zeros_like(y))[1](moving)[0]

    @staticmethod
    def of_tensors(ctx: Any) -> Any:
        """Return the formula as a function of the tensors among the arguments, these, and their places."""
        function, arguments = ctx.function, Elementwise.arguments(ctx)
        places = [k for k, a in enumerate(arguments) if not is_number(a)]

        def formula(*tensors: Any) -> Any:
            filled = list(arguments)
            for place, a in zip(places, tensors, strict=True):
                filled[place] = a
            x, *params, g = filled
            return function.formula(xp, x, tuple(params), g)

        return formula, tuple(arguments[k] for k in places), places

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Function, *arguments: Any) -> Any:
        """Map over a batch."""
        return Pull.batched(in_dims, function, *arguments)


class Traced(torch.autograd.Function):
    """The value by its formula, for torch.compile, which knows no jvp or vmap of a Function."""

    @staticmethod
    def forward(ctx: Any, function: Function, x: Any, *params: Any) -> Any:
        """Evaluate."""
        Elementwise.setup_context(ctx, (function, x, *params), None)
        return function.formula(xp, x, params)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Pull g back to every argument that wants it, by the formula."""
        x, *params = arguments = Elementwise.arguments(ctx)
        pulls = ctx.function.operator.pulls
        return None, *(
            _formula.sum_to_shape(xp, pulls[k].formula(xp, x, tuple(params), g), a.shape) if needed else None
            for k, (a, needed) in enumerate(zip(arguments, ctx.needs_input_grad[1:], strict=True))
        )
