"""Where the parameters of an operator may lie, found by trying its requirements, and how to keep learnt ones there.

A parameter that leaves its domain is reflected at the bound that it has crossed: ``low + abs(p - low)``. That is the
identity inside, so that a layer begins with the very numbers that it was given, and stores them; its slope is 1 or -1
everywhere, so that no gradient vanishes and no parameter is stuck, where clamping has slope 0 outside and softplus
near the bound; and it reaches the bound itself, a threshold of 0, where softplus and exp do not.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Collection
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ._dispatch import Operator, Requirement

_CANDIDATES = (0.5, 1.5, 3.0, 0.75, 6.0, 20.0)


class Domain(NamedTuple):
    """Where the parameters of an operator may lie."""

    bounds: tuple[tuple[float, float], ...]
    """The smallest and the largest number that each parameter may be, by itself."""
    ordered: tuple[tuple[int, int], ...]
    """Pairs of parameters of which the first must not exceed the second."""
    others: tuple[Requirement, ...]
    """What else they must meet, which reflection would not keep."""


@functools.cache
def domain_of(operator: Operator) -> Domain:
    """Return where the parameters of an operator may lie."""
    bounds = [(-math.inf, math.inf)] * len(operator.parameters)
    ordered, others = [], []
    for requirement in operator.requirements:
        if len(requirement.positions) == 1:
            (k,) = requirement.positions
            low, high = _interval(requirement)
            bounds[k] = max(bounds[k][0], low), min(bounds[k][1], high)
        elif _is_order(requirement):
            ordered.append((requirement.positions[0], requirement.positions[1]))
        elif _is_order(requirement, reverse=True):
            ordered.append((requirement.positions[1], requirement.positions[0]))
        else:
            others.append(requirement)
    return Domain(tuple(bounds), tuple(ordered), tuple(others))


def example(operator: Operator) -> tuple[float, ...]:
    """Return numbers that an operator accepts as parameters, its defaults where it has some."""
    choices = [
        (float(d),) if isinstance(d, int | float) else _CANDIDATES[k:] + _CANDIDATES[:k]
        for k, d in enumerate(operator.defaults)
    ]
    return next(params for params in itertools.product(*choices) if _accepted(operator, params))


def check_learnable(operator: Operator, names: Collection[str]) -> None:
    """Refuse to learn parameters of which reflection would not keep the requirements."""
    for requirement in domain_of(operator).others:
        touched = [operator.parameters[k] for k in requirement.positions if operator.parameters[k] in names]
        if touched:
            msg = f"{operator.__name__} requires {requirement.text}, which learning {touched[0]!r} would not keep"
            raise ValueError(msg)


def reflected(xp: ModuleType, domain: Domain, params: Any, learnt: Collection[int], dtype: Any) -> list[Any]:
    """
    Return parameters in a floating-point dtype, those that are learnt by their positions inside the domain.

    What is not learnt bounds what is, and of two that are learnt the first bounds the second.
    """
    values = list(params)
    bounds = _bounds(xp, domain, dtype)
    settled = {k for k in range(len(values)) if k not in learnt}
    for k in sorted(learnt):
        low, high = bounds[k]
        lows = [low, *(_cast(xp, values[i], dtype) for i, j in domain.ordered if j == k and i in settled)]
        highs = [high, *(_cast(xp, values[j], dtype) for i, j in domain.ordered if i == k and j in settled)]
        values[k] = _reflected(xp, _cast(xp, values[k], dtype), lows, highs)
        settled.add(k)
    return values


def holds(xp: ModuleType, domain: Domain, params: Any, learnt: Collection[int], dtype: Any) -> bool:
    """
    Whether parameters of a dtype, as numbers or arrays of NumPy, are where `reflected` would not change any.

    To look costs much less than to reflect, but takes parameters that can be looked at.
    """
    bounds = _bounds_known(xp, domain, dtype)
    return all(_between(bounds[k], params[k]) for k in learnt) and all(
        _all(params[i] <= params[j]) for i, j in domain.ordered if i in learnt or j in learnt
    )


def _bounds(xp: ModuleType, domain: Domain, dtype: Any) -> list[tuple[float, float]]:
    """Return the smallest and the largest number of a dtype that each parameter may be."""
    return [(_inward(xp, dtype, low, 1), _inward(xp, dtype, high, -1)) for low, high in domain.bounds]


_bounds_known = functools.cache(_bounds)


def _between(bounds: tuple[float, float], p: Any) -> bool:
    low, high = bounds
    return (low == -math.inf or _all(low <= p)) and (high == math.inf or _all(p <= high))


def _all(condition: Any) -> bool:
    return condition if isinstance(condition, bool) else bool(condition.all())


def _reflected(xp: ModuleType, p: Any, lows: list[Any], highs: list[Any]) -> Any:
    low, high = (_extreme(xp, bounds, p, way) for bounds, way in ((lows, 1), (highs, -1)))
    if high is None:
        return p if low is None else xp.where(p < low, low + (low - p), p)
    if low is None:
        return xp.where(p > high, high - (p - high), p)
    # Between two bounds, a wave of triangles.
    low, high = (xp.full_like(p, bound) if isinstance(bound, float) else bound for bound in (low, high))
    width = high - low
    period = 2 * xp.where(width > 0, width, xp.ones_like(width))
    distance = xp.where(p < low, low - p, p - low) % period
    folded = low + xp.where(distance > width, period - distance, distance)
    folded = xp.where(folded > high, high, xp.where(folded < low, low, folded))
    return xp.where((p < low) | (p > high), folded, p)


def _extreme(xp: ModuleType, bounds: list[Any], p: Any, way: int) -> Any:
    """Return the tightest of some bounds, a number if all are, or None where there is none."""
    numbers = [b for b in bounds if isinstance(b, float) and not math.isinf(b)]
    found = max(numbers, key=lambda b: b * way, default=None)
    for bound in bounds:
        if not isinstance(bound, float):
            found = (
                bound if found is None else xp.where((bound - found) * way > 0, bound, xp.full_like(bound, 0) + found)
            )
    return found


def _cast(xp: ModuleType, p: Any, dtype: Any) -> Any:
    return float(p) if isinstance(p, int | float) else xp.astype(p, dtype, copy=False)


def _inward(xp: ModuleType, dtype: Any, bound: float, way: int) -> float:
    """Return a bound rounded to a dtype, up or down: beside 2 is 2.0000002, and not 2, in single precision."""
    info = xp.finfo(dtype)
    if bound == 0 or abs(bound) >= float(info.max):
        return bound and math.copysign(math.inf, bound)
    # Numbers below the smallest normal one may be flushed to zero.
    unit = max(float(info.eps) * 2.0 ** (math.frexp(bound)[1] - 1), float(info.smallest_normal))
    return way * math.ceil(way * bound / unit) * unit


def _accepted(operator: Operator, params: tuple[float, ...]) -> bool:
    try:
        operator.checked(0.0, params, {})
    except ValueError:
        return False
    return True


def _interval(requirement: Requirement) -> tuple[float, float]:
    """Return the smallest and the largest number that meets a requirement of one parameter, by bisection."""
    inside = next(c for c in (*_CANDIDATES, -1.0) if requirement.holds(c))
    return _last(requirement, inside, -math.inf), _last(requirement, inside, math.inf)


def _last(requirement: Requirement, inside: float, end: float) -> float:
    """Return the last number from one inside to an end that meets a requirement."""
    if requirement.holds(end):
        return end
    a, b = _ordinal(inside), _ordinal(end)
    while abs(a - b) > 1:
        middle = (a + b) // 2
        a, b = (middle, b) if requirement.holds(_number(middle)) else (a, middle)
    return _number(a)


def _ordinal(x: float) -> int:
    """Return the place of a number among all of double precision, 0 at 0."""
    bits = int(np.float64(abs(x)).view(np.int64))
    return bits if x >= 0 else -bits


def _number(ordinal: int) -> float:
    return math.copysign(float(np.int64(abs(ordinal)).view(np.float64)), ordinal)


def _is_order(requirement: Requirement, reverse: bool = False) -> bool:
    """Whether a requirement of two parameters is that the first is at most the second."""
    numbers = (0.0, 1e-9, 0.25, 0.5, np.nextafter(0.5, 1.0), 0.75, 1.0, 1.5, 2.0, 3.0, 7.0, 1e6)
    return len(requirement.positions) == 2 and all(
        bool(requirement.holds(a, b)) == (a >= b if reverse else a <= b)
        for a, b in itertools.product(numbers, repeat=2)
    )
