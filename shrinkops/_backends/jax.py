"""JAX: the formula, compiled by XLA, with our derivatives in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _backends, _formula
from .._checks import refused_out, refused_type
from .generic import cast

if TYPE_CHECKING:
    from .._dispatch import Function


def bind(function: Function, cls: type) -> Callable[..., Any]:
    """Return a compiled function; g is its cotangent where there is one."""
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
        if not isinstance(x, jax.Array):
            if not _backends.is_numpy(type(x)):
                raise refused_type(name, "x", x)
            x = jnp.asarray(x)
        x = _formula.promoted(name, jnp, x, jnp.result_type(float))
        real = jnp.real(x).dtype
        with np.errstate(over="ignore"):  # a number too large for the dtype is infinity
            arrays = tuple(jnp.asarray(parameter(k, p, x), real) for k, p in enumerate(params))
        if g is None:
            return compiled(x, *arrays)
        y = pulled(x, *arrays, jnp.asarray(g, x.dtype))
        return _formula.sum_to_shape(jnp, y, jnp.shape((x, *arrays)[function.which]))

    def parameter(k: int, p: Any, x: Any) -> Any:
        return p if isinstance(p, float) else cast(operator, k, jnp, jnp.asarray(p), x)

    return call
