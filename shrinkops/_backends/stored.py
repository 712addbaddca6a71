"""What sparse arrays share: a function of the values that they store, as long as all others can stay as they are.

The structure is kept: a value that becomes zero stays stored until the library is asked to drop it. What is not stored
takes part too: where it would become what the array cannot hold there, the call is refused.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._checks import broadcasts, refused_filling, refused_hybrid, refused_mix, refused_out, refused_shape
from . import VALUE, is_array

if TYPE_CHECKING:
    from .._dispatch import Function


class Sparse(NamedTuple):
    """How a library has sparse arrays."""

    xp: Any
    """The namespace of their values."""
    types: tuple[type, ...]
    """The types of dense arrays that go with them."""
    holds: Callable[[Any], bool]
    """Whether something is a sparse array."""
    tidy: Callable[[Any], Any]
    """An array that stores every element at most once, and has values."""
    values: Callable[[Any], Any]
    """The values of a tidy array."""
    complete: Callable[[Any], bool]
    """Whether a tidy array stores all of its elements."""
    listed: Callable[[Any], Any]
    """A tidy array with its values in one line, and coordinates."""
    where: Callable[[Any], tuple[Any, ...]]
    """The coordinates of a listed array along each axis."""
    refilled: Callable[[Any, Any, Any], Any]
    """A tidy array with other values, and another element where it stores none."""
    alike: Callable[[Any, Any], Any]
    """An array in the format of another."""
    dense: Callable[[Any], Any]
    """An array with all its elements."""
    added: Callable[[int, float, Any, Any], Any]
    """An array of a length and of one number, to which values are added at positions."""
    filling: Callable[[Any], Any] = lambda x: 0
    """What an element is that is not stored."""
    fillings: bool = False
    """Whether that may be other than 0."""
    known: Callable[[Any], bool] = lambda a: True
    """Whether an array can be inspected."""
    tracked: Callable[[Any], bool] = lambda a: False
    """Whether the library will ask for the derivative with respect to an array."""


def bind(function: Function, lib: Sparse) -> Callable[..., Any]:
    """Return a function on sparse arrays; parameters that are arrays broadcast to x, best dense ones."""
    operator, which, xp = function.operator, function.which, lib.xp
    name = operator.__name__

    def call(x: Any, params: tuple[Any, ...], out: Any = None, g: Any = None) -> Any:
        if out is not None:
            raise refused_out(name, x)
        named = zip((*operator.parameters, "g"), (*params, g), strict=True)
        arrays = [(argument, a, np.shape(a)) for argument, a in named if is_array(a)]
        for argument, a, shape in arrays:
            if not lib.holds(x) or not isinstance(a, lib.types):
                raise refused_mix(name, argument, a, x)
            if not broadcasts(shape, x.shape):
                raise refused_shape(name, argument, shape, x.shape, " of x")
        tidy = lib.tidy(x)
        entries = lib.listed(tidy) if arrays else tidy
        values = lib.values(entries)
        if arrays and len(values.shape) > 1:
            raise refused_hybrid(name, arrays[0][0])
        params = tuple(lib.dense(p) if is_array(p) else p for p in params)
        g = lib.dense(g) if is_array(g) and not lib.holds(g) else g
        at, g_at = tuple(map(functools.partial(elements, lib, entries), params)), elements(lib, entries, g)
        y, filling = function.enter(values, at, g_at), filled(entries, params, g, x)
        if g is None or which == 0:
            return lib.alike(lib.refilled(entries, y, filling), x)
        p = params[which - 1]
        if not is_array(p):
            return y
        zero = -0.0 if lib.complete(entries) else 0.0  # the sum of nothing, to which what is not stored adds 0
        return xp.reshape(lib.added(math.prod(p.shape), zero, positions(lib, entries, p.shape), y), p.shape)

    def filled(entries: Any, params: tuple[Any, ...], g: Any, x: Any) -> Any:
        """Return what becomes of the elements that are not stored, if the array can hold it."""
        if lib.complete(entries):
            return 0
        values = lib.values(entries)
        filling = xp.full_like(values[:0].sum(), lib.filling(entries), dtype=values.dtype)  # where the values are
        rest = function.enter(filling, params)
        if not lib.known(rest) or not math.prod(rest.shape):
            return 0
        for k, p in enumerate(params, 1):
            if which == VALUE and is_array(p) and lib.tracked(p):  # autograd would miss what is not stored
                slope = operator.pulls[k].enter(filling, params)
                if (slope != 0).any():
                    raise refused_filling(operator.pulls[k], slope[slope != 0].reshape(-1)[0].item(), filling.item(), x)
        first = rest.reshape(-1)[0]
        same = (rest == first) | ((rest != rest) & (first != first))
        if same.all() and ((lib.fillings and g is None) or first == 0):
            return first
        raise refused_filling(function, rest[rest != 0].reshape(-1)[0].item(), filling.item(), x)

    return call


def positions(lib: Sparse, x: Any, shape: tuple[int, ...]) -> Any:
    """Return where the entries of x are in an array, made flat, of a shape that broadcasts to that of x."""
    where = lib.where(x)
    flat, step = lib.xp.zeros_like(lib.values(x), dtype=int), 1
    for n, along in zip(reversed(shape), reversed(where), strict=False):
        flat, step = (flat + step * along if n > 1 else flat), step * n
    return flat


def elements(lib: Sparse, x: Any, a: Any) -> Any:
    """Return the elements of an array, which broadcasts to the shape of x, at the entries of x; a number as it is."""
    if not is_array(a):
        return a
    wanted = positions(lib, x, a.shape)
    if not lib.holds(a):
        return lib.xp.reshape(a, (-1,))[wanted]
    a = lib.listed(lib.tidy(a))
    values, own = lib.values(a), positions(lib, a, a.shape)
    if not values.shape[0]:
        return lib.xp.full_like(wanted, lib.filling(a), dtype=values.dtype)
    order = lib.xp.argsort(own)
    k = lib.xp.searchsorted(own[order], wanted).clip(max=values.shape[0] - 1)
    return lib.xp.where(own[order][k] == wanted, values[order][k], lib.filling(a))


def added(n: int, zero: float, at: Any, y: Any) -> Any:
    """Return n numbers in an array of NumPy, to which values are added at positions."""
    sums = np.full(n, zero, np.result_type(y.dtype, np.float32))
    np.add.at(sums, at, y)
    return sums.astype(y.dtype)
