"""JAX: the formula, compiled by XLA, with our derivatives in both modes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _backends, _formula, _structure
from .._checks import check_cotangent, check_shapes, refused_device, refused_dtype, refused_mix, refused_out
from . import jax_sparse
from .generic import cast, listed

if TYPE_CHECKING:
    from .._dispatch import Function
    from .._structure import Structured

ARRAYS = (jax.Array, jax.core.Tracer, *jax_sparse.ARRAYS)


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a compiled function; g is its cotangent where there is one."""
    if issubclass(cls, jax_sparse.ARRAYS):
        return jax_sparse.bind(function, cls)
    operator = function.operator
    name = operator.__name__

    @jax.custom_jvp
    def value(x: Any, *params: Any) -> Any:
        return function.formula(jnp, x, params)

    @value.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        x, *params = primals
        y = value(x, *params)
        pushed = (_formula.pull(operator, jnp, k, t, x, tuple(params), push=True) for k, t in enumerate(tangents))
        return y, jnp.broadcast_to(sum(pushed), y.shape)

    def pull(x: Any, *rest: Any) -> Any:
        return function.formula(jnp, x, rest[:-1], rest[-1])

    def plain(x: Any, *params: Any) -> Any:
        return function.formula(jnp, x, params)

    compiled = jax.jit(value if function.which == _backends.VALUE else plain)
    pulled = jax.jit(pull)

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        x = jnp.asarray(x, dtype=_formula.weak_dtype(jnp, x, params))
        for argument, a in zip((*operator.parameters, "g"), (*params, g), strict=True):
            if isinstance(a, jax_sparse.ARRAYS):
                raise refused_mix(name, argument, a, x)
            if committed(a) and committed(x) and a.devices() != x.devices():
                raise refused_device(name, argument, a.device, x.device)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            x = _formula.promoted(operator, jnp, x, jnp.result_type(float))
        real = jnp.finfo(x.dtype).dtype
        with np.errstate(over="ignore"):  # a number too large for the dtype is infinity
            arrays = tuple(parameter(k, p, x, real) for k, p in enumerate(params))
        check_shapes(operator, x, arrays, listed(jnp.asarray, g))
        if g is None:
            return compiled(x, *arrays)
        y = pulled(x, *arrays, jnp.asarray(g, x.dtype))
        return _formula.sum_to_shape(jnp, y, jnp.shape((x, *arrays)[function.which]))

    def parameter(k: int, p: Any, x: Any, real: Any) -> Any:
        if type(p) is float:
            return np.asarray(p, real)  # a constant under jit, and no transfer of its own
        p = cast(operator, k, jnp, p if isinstance(p, jax.Array) else jnp.asarray(p), x)
        return p if p.dtype == real else p.astype(real)

    return call


def committed(a: Any) -> bool:
    """Whether an array was put on its devices, and does not move to those of others."""
    return isinstance(a, jax.Array) and not isinstance(a, jax.core.Tracer) and a.committed


# ---------------------------------------------------------------------------------------------------------------------
# Operators that look at more than one element


def bind_structured(operator: Structured, part: int, cls: type) -> Callable[..., Any]:
    """Return the compiled formula of a structured operator, which JAX differentiates; but not singular values."""
    name = operator.__name__
    if issubclass(cls, jax_sparse.ARRAYS):

        def refuse(x: Any, *_: Any) -> Any:
            raise _structure.refused_conversion(name, x, jax_sparse.DENSE)

        return refuse

    def call(x: Any, params: tuple[Any, ...], options: dict[str, Any], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        names = tuple(operator.names(options))
        x = jnp.asarray(x)
        for argument, a in zip((*names, "g"), (*params, g), strict=True):
            if isinstance(a, jax_sparse.ARRAYS):
                raise refused_mix(name, argument, a, x)
            if committed(a) and committed(x) and a.devices() != x.devices():
                raise refused_device(name, argument, a.device, x.device)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            x = _formula.promoted(operator, jnp, x, jnp.result_type(float))
        real = jnp.finfo(x.dtype).dtype
        with np.errstate(over="ignore"):
            arrays = tuple(parameter(k, p, real) for k, p in zip(names, params, strict=True))
        if operator.inspect_arrays is not None and not any(isinstance(p, jax.core.Tracer) for p in (x, *params)):
            _structure.prepared(operator, LOOKING, x, arrays, options)
        kept = tuple(_structure.resolved(operator, options, x.shape).items())
        if part != _structure.PULL:
            return compiled(operator, part, kept)(x, *arrays)
        check_cotangent(name, listed(jnp.asarray, g), x, x.shape)
        first, *rest = compiled(operator, part, kept)(x, *arrays, jnp.asarray(g, x.dtype))
        return first, *(_formula.sum_to_shape(jnp, c, p.shape) for c, p in zip(rest, arrays, strict=True))

    def parameter(k: str, p: Any, real: Any) -> Any:
        if type(p) is float:
            return np.asarray(p, real)
        p = jnp.asarray(p)
        if not jnp.issubdtype(p.dtype, jnp.floating) and not jnp.issubdtype(p.dtype, jnp.integer):
            raise refused_dtype(name, k, p.dtype)
        return p.astype(real)

    return call


def kth_largest(a: Any, k: int) -> Any:
    """Return the k-th largest number along the last axis, by selection."""
    return jax.lax.top_k(a, k)[0][..., -1:]


LOOKING = _structure.Tools(jnp)
TOOLS = _structure.Tools(jnp, known=False, frozen=jax.lax.stop_gradient, kth_largest=kth_largest)


@functools.lru_cache(maxsize=256)
def compiled(operator: Structured, part: int, options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return a part of an operator with options, compiled."""
    kept = dict(options)

    def value(x: Any, *params: Any) -> Any:
        return _structure.value(operator, TOOLS, x, params, kept)

    def pull(x: Any, *rest: Any) -> Any:
        return _structure.pull(operator, TOOLS, rest[-1], x, rest[:-1], kept)

    def penalty(x: Any, *params: Any) -> Any:
        return _structure.penalty(operator, TOOLS, x, params, kept)

    if operator.spectral:
        value = jax.custom_jvp(value)

        @value.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            x, *params = primals
            return value(*primals), _structure.push(operator, TOOLS, tangents, x, tuple(params), kept)

    found: Callable[..., Any] = jax.jit(
        {_backends.VALUE: value, _structure.PULL: pull, _backends.PENALTY: penalty}[part]
    )
    return found
