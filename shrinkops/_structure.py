"""The front door of the operators that look at more than one element, and what surrounds their formulas.

`structured` makes a `Structured` of a formula of `_structured` and enters it in STRUCTURED. A formula is called with
the namespace of the arrays, x, the parameters that may be arrays, and by keyword the options that are none. It finds
what it is about along the last axis: the axes that the caller names are moved there and made one. Parameters come with
as many dimensions as x; along the last axis they have one element, or one for each group or element.

Backends bind these operators as they bind the others: ``bind_structured(operator, part, cls)``, where the part is
VALUE, PENALTY or PULL, returns ``implementation(x, params, options, out, g)``.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator as operators
from collections.abc import Callable
from typing import Any, TypeVar, overload

import numpy as np

from . import _backends, _formula
from ._backends import PENALTY, VALUE
from ._checks import (
    broadcasts,
    check_scalar,
    refused_requirement,
    refused_shape,
    refused_type,
    type_name,
)
from ._dispatch import Operator, check_operator

F = TypeVar("F", bound=Callable[..., Any])

STRUCTURED: dict[str, Structured] = {}

PULL = 0  # the part of a structured operator beside VALUE and PENALTY: all cotangents at once


class Structured:
    """
    An operator that looks at more than one element: a function with cotangents and, where it has one, a penalty.

    Parameters
    ----------
    formula : callable
        ``formula(xp, x, *params, **options)``, along the last axis.
    elements : tuple of str, optional
        The parameters that have one value for each element rather than for each group.
    along : tuple of str, optional
        Those of them that run along the axis, whichever it is, if they have one dimension.
    real : bool, default: False
        Whether complex `x` is refused.
    spectral : bool, default: False
        Whether the derivative must not be taken of the formula: there is a ``push`` then.
    inspect_arrays : callable, optional
        ``inspect_arrays(name, xp, *params)`` refuses parameters that are arrays by what is in them.
    """

    def __init__(
        self,
        formula: Callable[..., Any],
        elements: tuple[str, ...] = (),
        along: tuple[str, ...] = (),
        real: bool = False,
        spectral: bool = False,
        inspect_arrays: Callable[..., None] | None = None,
    ) -> None:
        self.__name__ = self.__qualname__ = formula.__name__
        self.__module__ = "shrinkops"
        self.__doc__ = inspect.getdoc(formula)
        self.__wrapped__ = formula
        self.__annotations__ = {}
        self.formula = formula
        self.elements = (*elements, *along)
        self.along = along
        self.odd = not real  # as the other operators say whether complex x has a meaning
        self.spectral = spectral
        self.inspect_arrays = inspect_arrays
        _, *shown = inspect.signature(formula).parameters.values()
        keyword = inspect.Parameter.KEYWORD_ONLY
        self.defaults = {
            p.name: p.default for p in shown[1:] if p.kind is not keyword and p.kind is not p.VAR_POSITIONAL
        }
        self.options = {p.name: p.default for p in shown if p.kind is keyword}
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in shown)
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in shown]
        if not self.variadic:  # options may be given by position too
            bare = [p.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in bare]
        out = inspect.Parameter("out", keyword, default=None)
        self.__signature__ = inspect.Signature([*bare, out])
        self.implementations: dict[tuple[int, type], Callable[..., Any]] = {}
        self.pull: Callable[..., Any]
        self.push: Callable[..., Any]
        self.penalty_formula: Callable[..., Any] | None = None
        self._penalty = Penalty(self)

    def pulled_by(self, formula: F) -> F:
        """Register ``formula(xp, g, x, *params, **options)``, the cotangents of x and of every parameter."""
        self.pull = formula
        return formula

    def pushed_by(self, formula: F) -> F:
        """Register ``formula(xp, tangents, x, *params, **options)``, the tangent of the result."""
        self.push = formula
        return formula

    def penalty_of(self, formula: F) -> F:
        """Register ``formula(xp, x, *params, **options)``, the penalty of each group."""
        self.penalty_formula = formula
        return formula

    def __call__(self, x: Any, *args: Any, out: Any = None, **named: Any) -> Any:
        """Evaluate the operator; see its docstring."""
        cls, params, options = self.checked(x, args, named)
        return self.implementation(VALUE, cls, x)(x, params, options, out, None)

    @property
    def penalty(self) -> Penalty:
        """The penalty of which the operator is the proximal map, of each group."""
        if self.penalty_formula is None:
            msg = f"{self.__name__} has no penalty in closed form"
            raise AttributeError(msg)
        return self._penalty

    def vjp(self, g: Any, x: Any, *args: Any, **named: Any) -> tuple[Any, ...]:
        """
        Pull a cotangent of the result back to the arguments.

        Parameters
        ----------
        g : array
            Cotangent of the result, of its shape and dtype.
        x : array
            Argument of the operator.
        *args : number, array or option
            Parameters and options of the operator.
        **named : number, array or option
            The same by name.

        Returns
        -------
        tuple of arrays
            Cotangents of `x` and of every parameter that may be an array: `g` times the derivative, summed to the shape
            of the argument.

        Raises
        ------
        TypeError, ValueError
            As the operator does.

        Examples
        --------
        >>> import numpy as np
        >>> import shrinkops
        >>> x = np.array([0.0, 2.0])
        >>> shrinkops.groupshrink.vjp(np.ones(2), x, 1.0)
        (array([0.5, 1. ]), np.float64(-1.0))
        """
        cls, params, options = self.checked(x, args, named)
        cls = Operator.checked_cotangent(self, cls, x, g)  # type: ignore[arg-type]
        return tuple(self.implementation(PULL, cls, x)(x, params, options, None, g))

    def enter(self, part: int, x: Any, params: tuple[Any, ...], options: dict[str, Any], g: Any = None) -> Any:
        """Evaluate at the front door, for arrays that hold others."""
        cls, params, options = self.checked(x, params, options)
        return self.implementation(part, cls, x)(x, params, options, None, g)

    def implementation(self, part: int, cls: type, x: Any) -> Callable[..., Any]:
        """Return what runs a part of this operator on arrays of a type."""
        found = self.implementations.get((part, cls))
        if found is None:
            backend = _backends.backend_of(cls)
            if backend is None:
                raise refused_type(self.__name__, "x", x)
            bind = getattr(backend, "bind_structured", None)
            if bind is None:
                raise refused_conversion(self.__name__, x, backend.DENSE)
            found = self.implementations[part, cls] = bind(self, part, cls)
        return found

    def names(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters that may be arrays, with their defaults."""
        if not self.variadic:
            return self.defaults
        of = options["operator"]
        return dict(zip(of.parameters, of.defaults, strict=True))

    def checked(
        self, x: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
        """Return the type that decides the backend, the parameters, checked if numbers, and the options."""
        named = dict(named)
        options = {name: named.pop(name, default) for name, default in self.options.items() if self.variadic}
        if self.variadic:
            check_operator(options["operator"])
            if not options["operator"].odd:
                msg = f"{self.__name__}: operator must be odd, got {options['operator'].__name__}"
                raise ValueError(msg)
        places = {**self.names(options), **({} if self.variadic else self.options)}
        if len(args) > len(places):
            msg = f"{self.__name__} takes x and {len(places)} arguments, got {len(args)}"
            raise TypeError(msg)
        given = dict(zip(places, args, strict=False))
        for name, default in list(places.items())[len(args) :]:
            given[name] = named.pop(name, default)
            if given[name] is inspect.Parameter.empty:
                msg = f"{self.__name__} requires the parameter {name!r}"
                raise TypeError(msg)
        if named:
            msg = f"{self.__name__} got an unexpected or repeated argument {next(iter(named))!r}"
            raise TypeError(msg)
        options |= {name: given.pop(name) for name in list(given) if name in self.options}
        if self.variadic:
            cls, params = options["operator"].checked(x, tuple(given.values()), {})
            return cls, params, options
        cls, converted = type(x), []
        for name, p in given.items():
            if _backends.is_array(p):
                cls = self._joined(cls, x, name, p)
            else:
                p = check_scalar(self.__name__, name, p)
                if not p >= 0:
                    raise refused_requirement(self.__name__, f"{name} >= 0", {name: p})
            converted.append(p)
        return cls, tuple(converted), options

    def _joined(self, cls: type, x: Any, argument: str, value: Any) -> type:
        return Operator._joined(self, cls, x, argument, value)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        """Return the name of the operator."""
        return f"<shrinkops.{self.__name__}>"

    def __reduce__(self) -> str:
        """Pickle by name."""
        return self.__name__


class Penalty:
    """
    The penalty of which an operator is the proximal map with step 1.

    Parameters
    ----------
    operator : Structured
        The operator.
    """

    def __init__(self, operator: Structured) -> None:
        self.operator = operator
        self.__doc__ = _PENALTY.format(name=operator.__name__)

    def __call__(self, x: Any, *args: Any, **named: Any) -> Any:
        """Evaluate the penalty; see its docstring."""
        cls, params, options = self.operator.checked(x, args, named)
        return self.operator.implementation(PENALTY, cls, x)(x, params, options, None, None)

    def __repr__(self) -> str:
        """Return the name of the function."""
        return f"<shrinkops.{self.operator.__name__}.penalty>"

    def __reduce__(self) -> Any:
        """Pickle by name."""
        return getattr, (self.operator, "penalty")


_PENALTY = """Evaluate the penalty of which `{name}` is the proximal map with step 1.

Parameters
----------
x : array of numbers
    As for `{name}`.
*args : number, array or option
    The parameters and options of `{name}`.
**named : number, array or option
    The same by name.

Returns
-------
array
    The penalty of each group, without the axes that the operator looks along; real where `x` is complex.

Raises
------
TypeError, ValueError
    As `{name}` does."""


@overload
def structured(formula: Callable[..., Any]) -> Structured: ...
@overload
def structured(**settings: Any) -> Callable[[Callable[..., Any]], Structured]: ...
def structured(formula: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """
    Make a structured operator of a formula, as a decorator, bare or with the settings of `Structured`.

    Parameters
    ----------
    formula : callable, optional
        ``formula(xp, x, *params, **options)``.
    **settings
        Passed to `Structured`.

    Returns
    -------
    Structured or decorator
        The operator, which is entered in STRUCTURED.
    """
    if formula is None:
        return functools.partial(structured, **settings)
    made = STRUCTURED[formula.__name__] = Structured(formula, **settings)
    return made


def refused_conversion(name: str, x: Any, how: str) -> TypeError:
    """Return the error for an array that has no axes to look along."""
    return TypeError(f"{name}: x is {type_name(x)}, which has to be converted first: {how}")


# ---------------------------------------------------------------------------------------------------------------------
# Options


class Groups:
    """
    Labels, one for each position along an axis, as the formulas use them.

    Parameters
    ----------
    labels : 1-D array of integers
        Which group each position belongs to; the groups are in the order of their labels.
    """

    def __init__(self, labels: np.ndarray[Any, Any]) -> None:
        _, self.index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        self.order: np.ndarray[Any, Any] = np.argsort(self.index, kind="stable")
        self.offsets: np.ndarray[Any, Any] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.count = len(sizes)
        self.sorted = bool((self.index[1:] >= self.index[:-1]).all())
        # Sums by halves: in each step every second element is added to the one before it; n stands for a neutral one.
        self.halvings = []
        while sizes.size and sizes.max() > 1:
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            halves = (sizes + 1) // 2
            within = np.arange(halves.sum()) - np.repeat(np.cumsum(halves) - halves, halves)
            first = np.repeat(starts, halves) + 2 * within
            second = np.where(2 * within + 1 < np.repeat(sizes, halves), first + 1, sizes.sum())
            self.halvings.append((first, second))
            sizes = halves


@functools.lru_cache(maxsize=16)
def _groups(data: bytes, dtype: str) -> Groups:
    return Groups(np.frombuffer(data, dtype))


def _checked_axis(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes, counted from the first."""
    found = []
    for a in axis if isinstance(axis, tuple) else (axis,):
        try:
            if isinstance(a, bool):
                raise TypeError
            a = operators.index(a)
        except TypeError:
            msg = f"{name}: axis must be an integer or a tuple of integers, got {axis!r}"
            raise TypeError(msg) from None
        if not -ndim <= a < ndim:
            msg = f"{name}: axis {a} is out of bounds for x of {ndim} dimensions"
            raise ValueError(msg)
        found.append(a % ndim)
    if len(set(found)) < len(found) or not found:
        msg = f"{name}: axis must name one axis or several different ones, got {axis!r}"
        raise ValueError(msg)
    return tuple(found)


def _checked_groups(name: str, groups: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Groups | None:
    if groups is None or isinstance(groups, Groups):
        return groups
    try:
        labels = np.asarray(groups)
    except Exception:  # whatever a library says of an array without values: under jit, on another device
        msg = f"{name}: groups must be integers on the CPU, known when it is called, got {groups!r}"
        raise TypeError(msg) from None
    if labels.dtype.kind not in "iu":
        msg = f"{name}: groups must be integers, got dtype {labels.dtype}"
        raise TypeError(msg)
    lengths = tuple(shape[a] for a in axes)
    if labels.shape not in (lengths, (math.prod(lengths),)):
        msg = f"{name}: groups must have shape {lengths}, that of x along its axis, got {labels.shape}"
        raise ValueError(msg)
    return _groups(labels.tobytes(), labels.dtype.str)


def _checked_k(name: str, k: Any, n: int) -> int:
    try:
        if isinstance(k, bool | np.bool_):
            raise TypeError
        k = operators.index(k)
    except TypeError:
        msg = f"{name}: k must be an integer, got {k!r}"
        raise TypeError(msg) from None
    if not 0 <= k <= n:
        msg = f"{name} requires 0 <= k <= {n}, the length of x along its axis, got k={k}"
        raise ValueError(msg)
    return int(k)


class Layout:
    """
    How the axes that an operator looks along become the last one, and back.

    Parameters
    ----------
    operator : Structured
        The operator.
    options : dict
        Its options, as they were given.
    shape : tuple of int
        The shape of x.
    """

    def __init__(self, operator: Structured, options: dict[str, Any], shape: tuple[int, ...]) -> None:
        name, ndim = operator.__name__, len(shape)
        self.operator = operator
        self.shape = shape
        self.options = dict(options)
        self.axes: tuple[int, ...] = ()
        self.groups: Groups | None = None
        if "axis" not in options:
            if ndim < 2:
                msg = f"{name}: x must have at least 2 dimensions, got {ndim}"
                raise ValueError(msg)
            return
        if ndim == 0:
            msg = f"{name}: x must have at least 1 dimension, got 0"
            raise ValueError(msg)
        self.axes = axes = _checked_axis(name, options["axis"], ndim)
        self.last = axes == (ndim - 1,)
        self.order = (*(a for a in range(ndim) if a not in axes), *axes)
        self.batch = tuple(shape[a] for a in self.order[: ndim - len(axes)])
        self.options["axis"] = -1
        if "groups" in options:
            self.groups = self.options["groups"] = _checked_groups(name, options["groups"], shape, axes)
        if "k" in options:
            self.options["k"] = _checked_k(name, options["k"], math.prod([shape[a] for a in axes]))

    def reduced(self, elements: bool = False) -> tuple[int, ...]:
        """Return the shape of x with 1 for the axes, or the number of groups for the last of them."""
        if elements:
            return self.shape
        lengths = list(self.shape)
        for a in self.axes:
            lengths[a] = 1
        if self.groups is not None:
            lengths[max(self.axes)] = self.groups.count
        return tuple(lengths)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape that a parameter broadcasts to: that of x or its groups, or of singular values."""
        if not self.axes:
            return *self.shape[:-2], min(self.shape[-2:])
        return self.reduced(name in self.operator.elements)

    def lined(self, xp: Any, a: Any) -> Any:
        """Return an array of as many dimensions as x with the axes moved to the end and made one."""
        if not self.axes or self.last:
            return a
        a = xp.permute_dims(a, self.order)
        kept = a.ndim - len(self.axes)
        return xp.reshape(a, (*a.shape[:kept], math.prod(a.shape[kept:])))

    def restored(self, xp: Any, a: Any, shape: tuple[int, ...]) -> Any:
        """Return an array with the axes where they were, of the lengths that the shape has there."""
        if not self.axes or self.last:
            return a
        kept = a.ndim - 1
        a = xp.reshape(a, (*a.shape[:kept], *(shape[i] for i in self.axes)))
        return xp.permute_dims(a, tuple(np.argsort(self.order).tolist()))

    def parameter(self, xp: Any, name: str, p: Any) -> Any:
        """Return a parameter, which broadcasts to the shape of x or of its groups, as the formula takes it."""
        shape = self.shape_of(name)
        if name in self.operator.along and p.ndim == 1:
            length = math.prod([shape[a] for a in self.axes])
            if p.shape[0] not in (1, length):
                raise refused_shape(self.operator.__name__, name, p.shape, (length,))
            return xp.reshape(p, (*[1] * len(self.batch), p.shape[0]))
        if not broadcasts(p.shape, shape):
            raise refused_shape(self.operator.__name__, name, p.shape, shape)
        if not self.axes:
            return p
        p = xp.reshape(p, (*[1] * (len(shape) - p.ndim), *p.shape))
        lengths = tuple(p.shape[a] for a in self.axes)
        whole = tuple(shape[a] for a in self.axes)
        if lengths != whole and any(n != 1 for n in lengths):  # some of the axes: all of them
            p = xp.broadcast_to(p, tuple(shape[a] if a in self.axes else p.shape[a] for a in range(p.ndim)))
        return self.lined(xp, p)

    def cotangent(self, xp: Any, name: str, c: Any, ndim: int) -> Any:
        """Return the cotangent of a parameter of some dimensions in the shape of x or of its groups."""
        if not self.axes:
            return c
        shape = self.shape_of(name)
        c = xp.broadcast_to(c, (*self.batch, math.prod([shape[a] for a in self.axes])))
        if name in self.operator.along and ndim == 1:
            return c
        return self.restored(xp, c, shape)

    def squeezed(self, xp: Any, y: Any) -> Any:
        """Return what the formula made of each group without the axes, but with one for the groups."""
        if not self.axes:
            return y
        if self.groups is None:
            return xp.reshape(y, self.batch)
        y = self.restored(xp, y, self.reduced())
        away = [a for a in self.axes if a != max(self.axes)]
        return xp.reshape(y, tuple(n for a, n in enumerate(y.shape) if a not in away))


def resolved(op: Structured, options: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the options as they can be compared and kept, checked against a shape."""
    layout = Layout(op, options, shape)
    return {**layout.options, "axis": layout.axes} if layout.axes else layout.options


# ---------------------------------------------------------------------------------------------------------------------
# What surrounds a formula


def prepared(op: Structured, xp: Any, x: Any, params: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the layout, x in at least single precision along the last axis, and the parameters likewise."""
    layout = Layout(op, options, tuple(x.shape))
    wide, cast = _formula._prepared(xp, x, params)
    cast = tuple([layout.parameter(xp, name, p) for name, p in zip(op.names(options), cast, strict=True)])
    if op.inspect_arrays is not None and xp.known:
        op.inspect_arrays(op.__name__, xp, *cast)
    if not op.variadic:  # outside its domain a parameter is NaN; numbers have been checked
        cast = tuple(
            [
                p if isinstance(given, float) else xp.where(p >= 0, p, xp.full_like(p, xp.nan))
                for given, p in zip(params, cast, strict=True)
            ]
        )
    return layout, layout.lined(xp, wide), cast


def value(op: Structured, xp: Any, x: Any, params: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the operator at x."""
    layout, wide, wide_params = prepared(op, xp, x, params, options)
    if 0 in x.shape:
        return x
    y = op.formula(xp, wide, *wide_params, **layout.options)
    return xp.astype(layout.restored(xp, y, tuple(x.shape)), x.dtype, copy=False)


def pull(op: Structured, xp: Any, g: Any, x: Any, params: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the cotangents: of x in its shape, of every parameter in the shape of x or of its groups."""
    layout, wide, wide_params = prepared(op, xp, x, params, options)
    real = xp.real(x).dtype if xp.isdtype(x.dtype, "complex floating") else x.dtype
    g = layout.lined(xp, _formula._widened(xp, xp.broadcast_to(g, x.shape)))
    if 0 in x.shape:
        return x, *(xp.zeros_like(p) for p in wide_params)
    first, *rest = op.pull(xp, g, wide, *wide_params, **layout.options)
    first = xp.astype(layout.restored(xp, first, tuple(x.shape)), x.dtype, copy=False)
    ndims = [0 if isinstance(p, float) else p.ndim for p in params]
    cotangents = [layout.cotangent(xp, *each) for each in zip(op.names(options), rest, ndims, strict=True)]
    return first, *(xp.astype(c, real, copy=False) for c in cotangents)


def push(op: Structured, xp: Any, tangents: Any, x: Any, params: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the tangent of the result, of which x and every parameter has one."""
    layout, wide, wide_params = prepared(op, xp, x, params, options)
    if 0 in x.shape:
        return x
    y = op.push(xp, [_formula._widened(xp, t) for t in tangents], wide, *wide_params, **layout.options)
    return xp.astype(y, x.dtype, copy=False)


def penalty(op: Structured, xp: Any, x: Any, params: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the penalty of every group."""
    layout, wide, wide_params = prepared(op, xp, x, params, options)
    assert op.penalty_formula is not None
    if 0 in x.shape:
        empty = xp.sum(xp.abs(wide), axis=-1, keepdims=True) if layout.axes else xp.sum(xp.abs(wide), axis=(-2, -1))
        y = layout.squeezed(xp, empty)
    else:
        y = layout.squeezed(xp, op.penalty_formula(xp, wide, *wide_params, **layout.options))
    return xp.astype(y, xp.real(x).dtype if xp.isdtype(x.dtype, "complex floating") else x.dtype, copy=False)


class Tools:
    """
    A namespace, with what the formulas of structured operators use beside it.

    Parameters
    ----------
    xp : namespace
        The namespace.
    known : bool, default: True
        Whether the values of arrays can be looked at.
    **better : callable
        What the library does better than the functions below, by their names.
    """

    def __init__(self, xp: Any, known: bool = True, **better: Callable[..., Any]) -> None:
        self.xp = xp
        self.known = known
        for name, function in better.items():
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        """Return what the namespace has."""
        return getattr(self.xp, name)

    def frozen(self, a: Any) -> Any:
        """Return an array that counts as a constant."""
        return a

    def kth_largest(self, a: Any, k: int) -> Any:
        """Return the k-th largest number along the last axis, k >= 1."""
        return self.sort(a, axis=-1, descending=True)[..., k - 1 : k]

    def grouped(self, x: Any, lambd: Any, groups: Groups | None) -> Any:
        """Return groups shrunk by their norms, or None to have the formula do it."""
        return None

    def projected(self, x: Any, total: Any, signed: bool, rest: bool) -> Any:
        """Return rows projected onto simplices or balls, or the rest of them, or None to have the formula do it."""
        return None

    def elementwise(self, op: Any, x: Any, *params: Any) -> Any:
        """Return an operator of elements at x."""
        xp: Any = self
        return _formula.value(op, xp, x, params)

    def gathered(self, a: Any, order: Any) -> Any:
        """Return the elements along the last axis in an order of each row."""
        n = a.shape[-1]
        flat = self.reshape(a, (-1,))
        order = self.reshape(order, (-1, n))
        rows = self.reshape(self.arange(order.shape[0], dtype=order.dtype, device=_device(order)), (-1, 1))
        return self.reshape(self.take(flat, self.reshape(order + n * rows, (-1,)), axis=0), a.shape)

    def pools(self, z: Any) -> Any:
        """Number the pools of the nonincreasing regression along the last axis, in memory for n * n numbers a row.

        A pool ends where the slope of the sums to every point on the left exceeds that to every point on the right:
        at the corners of their least concave majorant.
        """
        n = z.shape[-1]
        sums = self.concat([self.zeros_like(z[..., :1]), self.cumulative_sum(z, axis=-1)], axis=-1)
        at = self.arange(n + 1, dtype=z.dtype, device=_device(z))
        run = at[None, :] - at[:, None]
        rise = sums[..., None, :] - sums[..., :, None]
        slope = rise / self.where(run == 0, self.ones_like(run), run)
        infinity = self.full_like(slope, self.inf)
        left = self.min(self.where(run > 0, slope, infinity), axis=-2)
        right = self.max(self.where(run > 0, slope, -infinity), axis=-1)
        corner = left[..., 1:-1] > right[..., 1:-1]
        ends = self.concat([self.zeros_like(z[..., :1]), self.astype(corner, z.dtype)], axis=-1)
        return self.cumulative_sum(ends, axis=-1)

    def averaged(self, v: Any, pools: Any) -> Any:
        """Return the means over the pools, at each element of them."""
        together = self.astype(pools[..., None, :] == pools[..., :, None], v.dtype)
        return self.sum(together * v[..., None, :], axis=-1) / self.sum(together, axis=-1)


def _device(a: Any) -> Any:
    return getattr(a, "device", None)
