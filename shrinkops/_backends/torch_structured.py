"""PyTorch: operators that look at more than one element, as formulas that autograd follows; kernels on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import torch

from .. import _formula, _structure
from .._checks import check_out, refused_device, refused_dtype, refused_mix, refused_out
from . import PENALTY, VALUE, torch_sparse
from . import numpy_structured as on_numpy
from .generic import converted

if TYPE_CHECKING:
    from .._structure import Structured

is_compiling = torch.compiler.is_compiling


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return a part of a structured operator on tensors."""
    from .torch import PLAIN, cotangent, fake_mode, near, noted, transformed, unseen

    name = operator.__name__
    if issubclass(cls, torch.fx.Proxy):

        def note(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
            return noted(operator, part == VALUE, (x, *params), {**options, "out": out})

        return note

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        names = tuple(operator.names(options))
        if type(x) not in PLAIN and not is_compiling():
            mode = fake_mode((x, *params, g))
            if mode is not None:
                with mode:
                    return call(x, params, options, out, g)
        if not isinstance(x, torch.Tensor):
            x = converted(Named(name, names), xp, near(params, g), x, params, g)
        if torch_sparse.holds(x):
            raise _structure.refused_conversion(name, x, torch_sparse.DENSE)
        params = tuple(p if type(p) is float else parameter(k, p, x) for k, p in zip(names, params, strict=True))
        if not x.dtype.is_floating_point:
            x = _formula.promoted(operator, xp, x, torch.get_default_dtype())
        involved = [a for a in (x, out, g, *params) if isinstance(a, torch.Tensor)]
        tracked = torch.is_grad_enabled() and any(a.requires_grad for a in involved)
        watched = is_compiling() or transformed() or unseen()
        watched = watched or any(type(a) not in PLAIN or a.is_meta for a in involved)  # whose values nobody sees
        plain = not watched and all(a.device.type == "cpu" for a in involved)
        tools = WATCHED if watched else LOOKING if not plain else TRACKED if tracked else UNTRACKED
        if part == _structure.PULL:
            g = cotangent(name, g, x, x.shape)
            first, *rest = _structure.pull(operator, tools, g, x, params, options)
            shapes = [() if type(p) is float else p.shape for p in params]
            return first, *(_formula.sum_to_shape(xp, c, shape) for c, shape in zip(rest, shapes, strict=True))
        if out is not None:
            if tracked:
                raise refused_out(name, x, " that requires grad")
            if not isinstance(out, torch.Tensor):
                raise refused_mix(name, "out", out, x)
            check_out(out.shape, out.dtype, x.shape, x.dtype)
        if part == PENALTY:
            return _structure.penalty(operator, tools, x, params, options)
        if operator.spectral and (tracked or watched):
            function = Spectral if is_compiling() else TransformedSpectral
            y = function.apply(operator, _structure.resolved(operator, options, tuple(x.shape)), x, *params)
        else:
            y = _structure.value(operator, tools, x, params, options)
        return y if out is None else out.copy_(y)

    def parameter(k: str, p: Any, x: Any) -> Any:
        if not isinstance(p, torch.Tensor) or torch_sparse.holds(p):
            raise refused_mix(name, k, p, x)
        if p.dtype.is_complex or p.dtype is torch.bool:
            raise refused_dtype(name, k, p.dtype)
        if p.device != x.device:
            if p.ndim or p.device.type != "cpu":
                raise refused_device(name, k, p.device, x.device)
            p = p.to(x.device, x.dtype.to_real() if x.dtype.is_floating_point or x.is_complex() else None)
        return p

    return call


class Named:
    """
    What `converted` asks of an operator.

    Parameters
    ----------
    name : str
        Its name.
    parameters : tuple of str
        Those of its parameters.
    """

    def __init__(self, name: str, parameters: tuple[str, ...]) -> None:
        self.__name__ = name
        self.parameters = parameters


def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of NumPy's arrays as one of tensors on the CPU."""

    def call(*arguments: Any, **options: Any) -> Any:
        arrays = (
            a.detach().resolve_conj().resolve_neg().numpy() if isinstance(a, torch.Tensor) else a for a in arguments
        )
        y = function(*arrays, **options)
        return None if y is None else torch.from_numpy(y)

    return call


def kth_largest(a: Any, k: int) -> Any:
    """Return the k-th largest number along the last axis, by selection."""
    return torch.topk(a, k, dim=-1).values[..., -1:]


def cumulative_sum(a: Any, axis: int) -> Any:
    """Return sums along an axis; array_api_compat looks for the namespace first, which torch.compile warns of."""
    return torch.cumsum(a, axis)


WATCHED = _structure.Tools(
    xp, known=False, frozen=torch.Tensor.detach, cumulative_sum=cumulative_sum, kth_largest=kth_largest
)
LOOKING = _structure.Tools(xp, frozen=torch.Tensor.detach, cumulative_sum=cumulative_sum, kth_largest=kth_largest)
TRACKED = _structure.Tools(
    xp,
    frozen=torch.Tensor.detach,
    cumulative_sum=cumulative_sum,
    kth_largest=kth_largest,
    pools=on_arrays(on_numpy.pools),
)
UNTRACKED = _structure.Tools(
    xp,
    frozen=torch.Tensor.detach,
    cumulative_sum=cumulative_sum,
    kth_largest=on_arrays(on_numpy.kth_largest),
    pools=on_arrays(on_numpy.pools),
    averaged=on_arrays(on_numpy.averaged),
    grouped=on_arrays(on_numpy.grouped),
    projected=on_arrays(on_numpy.projected),
    elementwise=on_arrays(on_numpy.elementwise),
)


class Spectral(torch.autograd.Function):
    """A spectral function, whose derivative is not that of its decomposition."""

    generate_vmap_rule = True

    @staticmethod
    def forward(operator: Structured, options: dict[str, Any], x: Any, *params: Any) -> Any:
        """Evaluate."""
        return _structure.value(operator, WATCHED, x, params, options)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the arguments."""
        ctx.operator, ctx.options, *arguments = inputs
        ctx.scalars = [None if isinstance(a, torch.Tensor) else a for a in arguments]
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """Pull g back."""
        tensors = iter(ctx.saved_tensors)
        x, *params = (next(tensors) if a is None else a for a in ctx.scalars)
        pulled = _structure.pull(ctx.operator, WATCHED, g, x, tuple(params), ctx.options)
        found = [
            _formula.sum_to_shape(xp, c, a.shape) if needed else None
            for c, a, needed in zip(pulled, (x, *params), ctx.needs_input_grad[2:], strict=True)
        ]
        return None, None, *found


class TransformedSpectral(Spectral):
    """The same for forward mode too, which torch.compile does not know."""

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, *tangents: Any) -> Any:
        """Push the tangents forward."""
        tensors = iter(ctx.saved_tensors)
        x, *params = (next(tensors) if a is None else a for a in ctx.scalars)
        given = [
            torch.zeros_like(torch.as_tensor(a, dtype=x.dtype)) if t is None else t
            for a, t in zip((x, *params), tangents, strict=True)
        ]
        return _structure.push(ctx.operator, WATCHED, given, x, tuple(params), ctx.options)
