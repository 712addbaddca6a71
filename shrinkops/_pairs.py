"""What a formula needs more digits for than its numbers have, in the functions of the array API.

A compiler of an array library may fuse a product and a sum into one operation that rounds once. So nothing here takes a
product for rounded: numbers are split into halves whose products are exact.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def halves(xp: ModuleType, x: Any) -> tuple[Any, Any]:
    """Return two numbers whose sum is finite x, and whose products with such halves are exact; huge x is not split."""
    single = xp.finfo(x.dtype).bits == 32
    split = xp.abs(x) < (2.0**100 if single else 2.0**900)
    shifted = xp.where(split, x, xp.zeros_like(x)) * (2.0**12 if single else 2.0**27)
    high = (x + shifted) - shifted
    return high, x - high


def product_minus(xp: ModuleType, x: Any, y: Any, z: Any) -> Any:
    """Return x y - z of finite numbers, accurately also where they are nearly equal."""
    (xh, xl), (yh, yl) = halves(xp, x), halves(xp, y)
    return ((xh * yh - z) + (xh * yl + xl * yh)) + xl * yl


def total(p: tuple[Any, Any], q: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the sum of two pairs, each a number that no operation rounded, or a rounded one, and what it lacks."""
    s = p[0] + q[0]
    t = s - p[0]
    return s, ((p[0] - (s - t)) + (q[0] - t)) + (p[1] + q[1])


def product(xp: ModuleType, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the product of two numbers as a pair: that of the upper halves, which is exact, and what it lacks."""
    (xh, xl), (yh, yl) = halves(xp, x), halves(xp, y)
    return xh * yh, (xh * yl + xl * yh) + xl * yl


def multiple(xp: ModuleType, p: tuple[Any, Any], y: Any) -> tuple[Any, Any]:
    """Return a pair times a number."""
    first, rest = product(xp, p[0], y)
    return first, rest + p[1] * y


def quotient(xp: ModuleType, p: tuple[Any, Any], q: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return a pair divided by another."""
    divisor = q[0] + q[1]
    first = (p[0] + p[1]) / divisor
    rest, lacking = total(p, multiple(xp, q, -first))
    return first, (rest + lacking) / divisor


def less_than_product(xp: ModuleType, x: Any, y: Any, z: Any) -> Any:
    """Return whether x < y z, exactly, of numbers that are at least 0."""
    one = xp.ones_like(x + y + z)
    finite = (x < xp.inf) & (y < xp.inf) & (z < xp.inf)
    difference = product_minus(xp, *(xp.where(finite, a, one) for a in (y, z, x)))
    return xp.where(finite, difference > 0, x < y * z)


def unit_for(xp: ModuleType, x: Any, power: int) -> tuple[Any, Any]:
    """Return a power of two that brings x >= 0, and it to some power, into the range of the type, and its inverse."""
    exponents, least = (120, 149) if xp.finfo(x.dtype).bits == 32 else (1000, 1074)
    bound = exponents // power
    step = 2 * bound - 4
    unit = xp.ones_like(x)
    for _ in range(-((bound - least) // step)):
        large, small = x * unit > 2.0**bound, x * unit < 2.0**-bound
        factor = xp.where(large, xp.full_like(x, 2.0**-step), xp.ones_like(x))
        unit = unit * xp.where(small, xp.full_like(x, 2.0**step), factor)
    return unit, 1 / unit
