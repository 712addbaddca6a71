"""PyTorch: the kernels on the CPU, under autograd too; elsewhere the formula, one fused kernel on CUDA."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from .. import _formula
from .._checks import (
    check_cotangent,
    check_out,
    check_shapes,
    check_strides,
    refused_device,
    refused_dtype,
    refused_mix,
    refused_out,
    refused_type,
)
from .._dispatch import OPERATORS
from .._kernels.exchange import Exchange
from .._kernels.loops import KERNELS, Kernel
from . import PENALTY, VALUE, torch_sparse
from .generic import cast, converted, listed
from .torch_structured import bind_structured as bind_structured

if TYPE_CHECKING:
    from .._dispatch import Function

ARRAYS = (torch.Tensor, torch.fx.Proxy)
BFLOAT16 = torch.bfloat16
FUSED = ("cuda",)  # the devices on which a formula becomes one kernel
PLAIN = (torch.Tensor, torch.nn.Parameter)  # other subclasses give meaning to what the functions of torch return

# Called for every array: names of this module are found sooner.
Tensor = torch.Tensor
is_compiling = torch.compiler.is_compiling
is_followed = torch.compiler.is_dynamo_compiling
modes = torch._C._len_torch_dispatch_stack
is_tracing = torch._C._is_tracing


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a function on tensors."""
    operator, which = function.operator, function.which
    name = operator.__name__
    if issubclass(cls, torch.fx.Proxy):
        return lambda x, params, out=None, g=None: noted(operator, which == VALUE, (x, *params), {"out": out})
    kernel = KERNELS.get(name)
    sparse = torch_sparse.bind(function, cls)

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if type(x) not in PLAIN and not is_compiling():
            mode = fake_mode((x, *params, g))
            if mode is not None:  # in which the numbers that a fake tensor meets are fake too
                with mode:
                    return call(x, params, out, g)
        if not isinstance(x, torch.Tensor):
            x = converted(operator, xp, near(params, g), x, params, g)
        params = tuple(p if type(p) is float else parameter(k, p, x) for k, p in enumerate(params))
        if x.layout in torch_sparse.LAYOUTS:
            return sparse(x, params, out, g)
        if not x.dtype.is_floating_point:
            x = _formula.promoted(operator, xp, x, torch.get_default_dtype())
        if x.dtype is torch.complex32:  # with which PyTorch itself does next to nothing
            raise refused_dtype(name, "x", x.dtype)
        if not is_compiling() and any(type(p) is not float and p.ndim for p in params):
            check_shapes(operator, x, params)
        tracked = torch.is_grad_enabled() and any(
            isinstance(a, torch.Tensor) and a.requires_grad for a in (x, out, g, *params)
        )
        if g is not None:
            shape = shape_of(x, params)
            g = cotangent(name, g, x, shape).broadcast_to(shape)
            argument = (x, *params)[which]
            return summed(evaluated(x, params, g, tracked), () if type(argument) is float else argument.shape)
        if out is not None:
            if tracked:
                raise refused_out(name, x, " that requires grad")
            return into(out, x, params)
        return evaluated(x, params, None, tracked)

    def evaluated(x: Any, params: tuple[Any, ...], g: Any, tracked: bool) -> Any:
        if is_compiling() and OPERATORS.get(name) is operator:
            from .torch_graph import in_graph  # when there is a graph: it loads the compiler

            return in_graph(name, which, g, x, *params)
        if is_compiling() or is_tracing() or torch._is_functional_tensor(x):
            return function.formula(xp, x, params, g)
        return (differentiable if tracked or transformed() else compute)(function, x, params, g)

    def into(out: Any, x: Any, params: tuple[Any, ...]) -> Any:
        if not isinstance(out, torch.Tensor):
            raise refused_mix(name, "out", out, x)
        if torch_sparse.holds(out):
            raise refused_mix(name, "out", out, x, ", which is sparse")
        if out.device != x.device:
            raise refused_device(name, "out", out.device, x.device)
        if not is_compiling():
            check_strides(name, out.shape, out.stride())
        check_out(out.shape, out.dtype, shape_of(x, params), x.dtype.to_real() if which == PENALTY else x.dtype)
        if is_compiling() or out.is_conj() or out.is_neg() or on_kernel(function, x, params, out, None) is None:
            return out.copy_(evaluated(x, params, None, False))
        torch.autograd.graph.increment_version(out)  # so that autograd sees it change
        return out

    def parameter(k: int, p: Any, x: Any) -> Any:
        if not isinstance(p, torch.Tensor):
            raise refused_mix(name, operator.parameters[k], p, x)
        if torch_sparse.holds(p) and not torch_sparse.holds(x):
            raise refused_mix(name, operator.parameters[k], p, x, ", which is sparse")
        p = p if p.dtype.is_floating_point else cast(operator, k, xp, p, x)
        if p.device != x.device:
            if p.ndim or p.device.type != "cpu":
                raise refused_device(name, operator.parameters[k], p.device, x.device)
            # As PyTorch does with tensors that are numbers; there are devices without float64.
            p = p.to(x.device, x.dtype.to_real() if x.dtype.is_floating_point or x.is_complex() else None)
        return p

    def quick(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        """Plain tensors on the CPU with scalar parameters; whatever else there is to think of, call() does.

        Without the data_ptr that is 0 of what has no memory, and quick to say that it means nothing for what wraps a
        tensor, evaluated_by would take milliseconds to say so.
        """
        if (
            out is None
            and g is None
            and not is_followed()
            and type(x) is Tensor  # not a number that came with tensors
            and not x.requires_grad
            and forward_ad._current_level < 0
            and not modes()
            and not is_tracing()
            and not x.is_neg()
        ):
            try:
                y = evaluated_by(kernel, x, params, which) if x.data_ptr() else NotImplemented
                if y is not NotImplemented:
                    return y
            except (RuntimeError, TypeError):  # no memory that NumPy could read, or no kernel for what is there
                pass
        return call(x, params, out, g)

    return quick if cls is torch.Tensor and kernel is not None and which >= VALUE else call


def noted(operator: Any, value: bool, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Return the node that evaluates an operator, in a graph that torch.fx traces, which knows nothing but values."""
    proxy = next(a for a in (*arguments, options["out"]) if isinstance(a, torch.fx.Proxy))
    if not value:
        raise refused_type(operator.__name__, "x", proxy)
    given = {key: option for key, option in options.items() if option is not None}
    return proxy.tracer.create_proxy("call_function", operator, tuple(arguments), given)


def shape_of(x: Any, params: Sequence[Any]) -> Any:
    """Return the shape to which the arguments broadcast."""
    shapes = [p.shape for p in params if type(p) is not float and p.ndim]
    return torch.broadcast_shapes(x.shape, *shapes) if shapes else x.shape


def cotangent(name: str, g: Any, x: torch.Tensor, shape: Any) -> torch.Tensor:
    """Return a cotangent as a tensor beside x, of its dtype; refuse what is none of a result of a shape."""
    if isinstance(g, np.ndarray) or torch_sparse.holds(g):
        raise refused_mix(name, "g", g, x)
    if isinstance(g, torch.Tensor) and g.device != x.device:
        raise refused_device(name, "g", g.device, x.device)
    check_cotangent(name, listed(functools.partial(torch.as_tensor, device=x.device), g), x, shape)
    return torch.as_tensor(g, dtype=x.dtype, device=x.device)


def near(params: Sequence[Any], g: Any) -> Any:
    """Return how to make a tensor where those among the arguments are; one of no dimension goes where others are."""
    tensors = [a for a in (*params, g) if isinstance(a, torch.Tensor)]
    return functools.partial(torch.as_tensor, device=max(tensors, key=lambda a: a.ndim > 0).device)


def fake_mode(arguments: Sequence[Any]) -> Any:
    """Return the mode of the first tensor that has a shape and a dtype but no values, unless some mode is at work."""
    fakes = sys.modules.get("torch._subclasses.fake_tensor")
    if fakes is None or modes():
        return None
    return next((a.fake_mode for a in arguments if isinstance(a, fakes.FakeTensor)), None)


def summed(a: Any, shape: Any) -> Any:
    """Return a tensor summed to a shape, of which most have it already."""
    return a if a.shape == shape else _formula.sum_to_shape(xp, a, shape)


def unseen() -> bool:
    """Whether somebody watches the functions of torch, who would not see a kernel: torch.jit.trace, make_fx, modes."""
    return bool(modes() or is_tracing())


# ---------------------------------------------------------------------------------------------------------------------
# Memory that is NumPy's too


class ByNumpy:
    """What Exchange does, in three times the time: for releases of PyTorch that have nothing to exchange by."""

    def evaluated(self, kernel: Kernel, x: torch.Tensor, params: tuple[Any, ...], which: int) -> Any:
        """Return a function of a plain tensor with scalar parameters; NotImplemented where there is more to it."""
        if not all(type(p) is float for p in params):
            return NotImplemented
        brain = x.dtype is BFLOAT16
        y = kernel(self.to_numpy(x), params, None, which, None, brain)
        return y if y is NotImplemented else self.from_numpy(y, brain)

    def to_numpy(self, x: torch.Tensor) -> Any:
        """Return the memory of a tensor as an array, bfloat16 as its bits."""
        x = x.detach() if x.requires_grad else x
        return x.view(torch.uint16).numpy() if x.dtype is BFLOAT16 else x.numpy()

    def from_numpy(self, a: Any, brain: bool = False) -> torch.Tensor:
        """Return a tensor on the memory of an array, or of one with the bits of bfloat16."""
        return torch.from_numpy(a).view(BFLOAT16) if brain else torch.from_numpy(a)


SHOWN = "__dlpack_c_exchange_api__"
exchange = Exchange(getattr(torch.Tensor, SHOWN), torch.is_conj) if hasattr(torch.Tensor, SHOWN) else ByNumpy()
evaluated_by, to_numpy, from_numpy = exchange.evaluated, exchange.to_numpy, exchange.from_numpy


# ---------------------------------------------------------------------------------------------------------------------
# Without autograd


def compute(function: Function, x: Any, params: Sequence[Any], g: Any = None) -> Any:
    """Evaluate without autograd: by the kernel, or by the formula."""
    y = on_kernel(function, x, params, None, g)
    if y is None and x.device.type in FUSED and not unseen():
        from .torch_fused import in_one_kernel  # when there is a GPU

        y = in_one_kernel(function, x, params, g)
    return function.formula(xp, x, tuple(params), g) if y is None else y


def on_kernel(function: Function, x: Any, params: Sequence[Any], out: Any, g: Any) -> Any:
    """Run the kernel on the memory of the tensors; None where they have none that it could use."""
    kernel = KERNELS.get(function.operator.__name__)
    if kernel is None or function.which < VALUE or unseen():
        return None
    dtype, real = x.dtype, x.dtype.to_real()
    try:
        source = memory(resolved(x), dtype)
        target = None if out is None else memory(out, dtype)
        cotangent = None if g is None else memory(resolved(g), dtype)
        arrays = tuple(p if type(p) is float else operand(resolved(p), real) for p in params)
    except (RuntimeError, TypeError):  # another device, or no memory at all: meta, functorch, sparse
        return None
    y = kernel(source, arrays, target, function.which, cotangent, dtype is BFLOAT16)
    if y is NotImplemented or out is not None:
        return None if y is NotImplemented else out
    return from_numpy(y, dtype is BFLOAT16)


def memory(a: torch.Tensor, dtype: torch.dtype) -> Any:
    """Return the memory of a tensor as an array, bfloat16 as its bits."""
    if type(a) not in PLAIN or not a.data_ptr():
        raise TypeError
    return to_numpy(a if a.dtype is dtype else a.to(dtype))


def operand(p: torch.Tensor, dtype: torch.dtype) -> Any:
    """Return a parameter for the kernel, one without dimensions as a number, which saves time."""
    return float(p.item()) if p.ndim == 0 and type(p) in PLAIN else memory(p, dtype)


def resolved(a: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose memory holds its values, not their conjugates or negatives."""
    return a.resolve_conj().resolve_neg()


# ---------------------------------------------------------------------------------------------------------------------
# Under autograd


def differentiable(function: Function, x: Any, params: Sequence[Any], g: Any) -> Any:
    """Evaluate under autograd: the value and its pulls by our derivatives, all else by those of the formula."""
    if function.which == VALUE:
        return (TransformedShrink if transformed() else Shrink).apply(function, x, *params)
    if function.which < VALUE or (g is None and x.is_complex()):
        return function.formula(xp, x, tuple(params))
    if g is None:
        g = torch.ones(shape_of(x, params), dtype=x.dtype, device=x.device)
    return Pull.apply(function, x, *params, g)


def transformed() -> bool:
    """Whether torch.func or forward mode is at work."""
    return bool(torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def keep(ctx: Any, function: Function, arguments: Sequence[Any]) -> None:
    """Keep the function, the tensors and the scalars for the derivatives."""
    ctx.function = function
    ctx.scalars = [None if isinstance(a, torch.Tensor) else a for a in arguments]
    tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)


def kept(ctx: Any) -> list[Any]:
    """Return the arguments as they were kept."""
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if a is None else a for a in ctx.scalars]


def primals(ctx: Any) -> list[Any]:
    """Return the arguments without the tangents of this level of forward mode, but with those of the levels around."""
    return [forward_ad.unpack_dual(a, level=0).primal if isinstance(a, torch.Tensor) else a for a in kept(ctx)]


def batched(cls: Any, in_dims: Any, function: Function, *arguments: Any) -> Any:
    """Put the axis of the batch first, and ones behind it where an argument has fewer axes."""
    pairs = list(zip(arguments, in_dims[1:], strict=True))
    rank = max(a.ndim - (d is not None) for a, d in pairs if isinstance(a, torch.Tensor))
    aligned = []
    for a, d in pairs:
        if d is not None:
            a = a.movedim(d, 0)
            a = a.reshape(a.shape[0], *[1] * (rank + 1 - a.ndim), *a.shape[1:])
        aligned.append(a)
    return cls.apply(function, *aligned), 0


def pulled_back(ctx: Any, g: Any) -> Any:
    """Pull a cotangent of the value back to every argument that wants it."""
    x, *params = arguments = kept(ctx)
    pull = differentiable if torch.is_grad_enabled() or transformed() else compute
    functions = ctx.function.operator.pulls
    return None, *(
        summed(pull(function, x, params, g), a.shape) if needed else None
        for function, a, needed in zip(functions, arguments, ctx.needs_input_grad[1:], strict=True)
    )


class Shrink(torch.autograd.Function):
    """The value of an operator, for autograd alone: its arguments need not be bound to a signature at every call."""

    @staticmethod
    def forward(ctx: Any, function: Function, x: Any, *params: Any) -> Any:
        """Evaluate."""
        keep(ctx, function, (x, *params))
        return compute(function, x, params)

    backward = staticmethod(pulled_back)


class TransformedShrink(torch.autograd.Function):
    """The same for torch.func and forward mode too."""

    @staticmethod
    def forward(function: Function, x: Any, *params: Any) -> Any:
        """Evaluate."""
        return compute(function, x, params)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the derivatives need."""
        keep(ctx, inputs[0], inputs[1:])

    backward = staticmethod(pulled_back)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """Push the tangents forward."""
        operator = ctx.function.operator
        with forward_ad._set_fwd_grad_enabled(True):  # or forward mode around this one would see a constant
            x, *params = primals(ctx)
            return sum(
                _formula.pull(operator, xp, k, t, x, tuple(params), push=True)
                for k, t in enumerate(tangents)
                if t is not None
            )

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Function, *arguments: Any) -> Any:
        """Map over a batch."""
        return batched(TransformedShrink, in_dims, function, *arguments)


class Pull(torch.autograd.Function):
    """g times a derivative of an operator, differentiated again through the formula."""

    @staticmethod
    def forward(function: Function, x: Any, *rest: Any) -> Any:
        """Evaluate."""
        return compute(function, x, rest[:-1], rest[-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what the derivatives need."""
        keep(ctx, inputs[0], inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Pull g back through the formula."""
        formula, tensors, places = of_tensors(ctx.function, kept(ctx))
        cotangents = [None] * len(ctx.scalars)
        for place, cotangent in zip(places, torch.func.vjp(formula, *tensors)[1](g), strict=True):
            cotangents[place] = cotangent
        return None, *cotangents

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """Push the tangents forward through the formula: by pulling back twice, since forward mode does not nest."""
        with forward_ad._set_fwd_grad_enabled(True):
            formula, tensors, places = of_tensors(ctx.function, primals(ctx))
            moving = tuple(
                torch.zeros_like(a) if tangents[p] is None else tangents[p]
                for a, p in zip(tensors, places, strict=True)
            )
            y, pullback = torch.func.vjp(formula, *tensors)
            return torch.func.vjp(pullback, torch.zeros_like(y))[1](moving)[0]

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Function, *arguments: Any) -> Any:
        """Map over a batch."""
        return batched(Pull, in_dims, function, *arguments)


def of_tensors(function: Function, arguments: list[Any]) -> Any:
    """Return the formula as a function of the tensors among the arguments, these, and their places."""
    places = [k for k, a in enumerate(arguments) if isinstance(a, torch.Tensor)]

    def formula(*tensors: Any) -> Any:
        filled = list(arguments)
        for place, a in zip(places, tensors, strict=True):
            filled[place] = a
        x, *params, g = filled
        return function.formula(xp, x, tuple(params), g)

    return formula, tuple(arguments[k] for k in places), places
