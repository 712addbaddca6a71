"""The minimisers of (y - a)^2 / 2 plus a penalty that is not convex, at a >= 0, in the functions of the array API.

Two minima compete, often 0 and another. The one that is returned has the lower objective: where they are equal, the
smaller. Both are computed by as many steps as always suffice, so that compilers can take the loops.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ._pairs import multiple, product, product_minus, quotient, total, unit_for

# ---------------------------------------------------------------------------------------------------------------------
# lambd |y|^p: z + lambd p z^(p - 1) = a


def lp(xp: ModuleType, a: Any, lambd: Any, p: Any) -> tuple[Any, Any, Any]:
    """Return the greater root z, a - z, and whether it is the minimiser; z = a without a penalty."""
    one = xp.ones_like(a + lambd + p)
    free = (lambd == 0) | (a == xp.inf)
    plain = (lambd > 0) & (lambd < xp.inf) & (p > 0) & (p < 1)
    p, l = xp.where(plain, p, one / 2), xp.where(plain, lambd, one)
    q = 1 - p
    jump = (2 * l * q) ** (1 / (1 + q))
    knot = jump * ((1 + q) / (2 * q))
    b = xp.where((a > knot) & (a < xp.inf), a + 0 * one, knot)

    def lost(z: Any) -> Any:
        return l * (p * (z**p / z))  # an exponent of p - 1 would be rounded

    # The root is a concave function of a: below a, and below its tangent at the jump.
    z = xp.minimum(b, jump + (b - knot) * (2 / (1 + p)))
    for _ in range(3):
        w = lost(z) / z
        f, f1, f2 = z * (1 + w) - b, 1 - q * w, q * (1 + q) * w
        z = z - 2 * f * f1 / (2 * f1 * f1 - f * (f2 / z))
    gone = lost(z)
    z = z - ((z - b) + gone) / (1 - q * gone / z)
    beyond = xp.where(plain, a > knot, free) & (lambd < xp.inf)
    return xp.where(free, a + 0 * one, z), xp.where(free, 0 * one, lost(z)), beyond


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + |y| / eps): (z - a) (z + eps) + lambd = 0


def log(xp: ModuleType, a: Any, lambd: Any, eps: Any) -> tuple[Any, Any, Any]:
    """Return the greater root z, its distance to the other, and whether it is the minimiser."""
    one = xp.ones_like(a + lambd + eps)
    free = (lambd == 0) | (eps == xp.inf) | (a == xp.inf)
    plain = (lambd > 0) & (lambd < xp.inf) & (eps > 0) & ~free
    x, l, e = (xp.where(plain, b + 0 * one, one) for b in (a, lambd, eps))
    unit, back = unit_for(xp, xp.maximum(x, e), 2)
    x, l, e = x * unit, l * unit * unit, e * unit
    excess = product_minus(xp, x, e, l)
    square = (x - e) * (x - e) + 4 * excess
    distance = xp.sqrt(xp.where(square > 0, square, one))
    near = x < e
    under = xp.where(near, (e - x) + distance, one)
    z = xp.where(near, 2 * excess / under, ((x - e) + distance) / 2)
    # Where the objective is convex, at the root and not at 0; else by the objectives themselves.
    root = xp.where(z > 0, z, one)
    gain = root * (x - root / 2) - l * xp.log1p(root / e)
    steep = (excess > 0) | ((excess == 0) & (a > xp.where(plain, lambd, one) / xp.where(plain, eps, one)))  # underflow
    better = (square > 0) & (z > 0) & xp.where(l > e * e, gain > 0, steep)
    z, distance = xp.where(free, a + 0 * one, z * back), xp.where(free, a + eps, distance * back)
    return z, distance, xp.where(plain, better, free) & (lambd < xp.inf)


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + y^2 / gamma^2): (z - a) (g + z^2) + 2 lambd z = 0, where g = gamma^2


def cauchy(xp: ModuleType, a: Any, lambd: Any, gamma: Any) -> Any:
    """Return the root that is the minimiser."""
    z, _, *_, back, free, plain = _cauchy(xp, a, lambd, gamma)
    return xp.where(free, a + 0 * back, xp.where(plain, z * back, 0 * back))


def cauchy_slopes(xp: ModuleType, a: Any, lambd: Any, gamma: Any) -> tuple[Any, Any, Any]:
    """Return the derivatives of the root z: n / e, -2 z / e and 4 lambd gamma z / (n e), where n = gamma^2 + z^2."""
    z, low, l, h, unit, _, free, plain = _cauchy(xp, a, lambd, gamma)
    one, zero = xp.ones_like(z), xp.zeros_like(z)
    (first, rest), of_scale = product(xp, z, z), product(xp, h, h)
    square = first, rest + 2 * (z * low)
    n, (first, rest) = total(of_scale, square), total(of_scale, (-square[0], -square[1]))
    some = n[0] > 0  # else both have underflowed, and so does every derivative
    n = xp.where(some, n[0], one), xp.where(some, n[1], zero)
    whole = n[0] + n[1]
    # e = n + 2 lambd (gamma^2 - z^2) / n: where the slope is large nearly all of that cancels, but not its errors.
    e = total(n, multiple(xp, quotient(xp, (first, rest), n), 2 * l))
    e = xp.where(some, e[0] + e[1], one)
    slopes = whole / e, -2 * (z / e) * unit, 4 * (l * (z * (h / whole)) / e)
    dx, dlambd, dgamma = (xp.where(plain & some, slope, zero) for slope in slopes)
    # Without a penalty -2 a / (gamma^2 + a^2).
    bare = (lambd == 0) & (a > 0) & (a < xp.inf) & (gamma < xp.inf)
    b = xp.where(bare, a + zero, one)
    dlambd = xp.where(bare, -2 / (b + gamma * (xp.where(bare, gamma + zero, one) / b)), dlambd)
    return xp.where(free, one, dx), dlambd, dgamma


def _cauchy(xp: ModuleType, a: Any, lambd: Any, gamma: Any) -> tuple[Any, ...]:
    """
    Return the minimiser and what it lacks, lambd and gamma, all in a unit; the unit and its inverse.

    And where it is a itself instead; and where it is neither that nor 0.
    """
    one = xp.ones_like(a + lambd + gamma)
    free = ((lambd == 0) | (gamma == xp.inf) | (a == xp.inf)) & (lambd < xp.inf)
    plain = (lambd > 0) & (lambd < xp.inf) & (gamma > 0) & ~free
    x, l, h = (xp.where(plain, b + 0 * one, one) for b in (a, lambd, gamma))
    unit, back = unit_for(xp, xp.maximum(xp.maximum(x, h), xp.sqrt(l)), 10)
    x, l, h = x * unit, l * unit * unit, h * unit
    g = h * h
    b = g + 2 * l
    # Sixth powers, and tenth ones where a library differentiates twice: t^3 + 3 r t + 2 q = 0, t = z - x / 3
    third = x / 3
    r = (b - third * x) / 3
    q = third * (b - 3 * g) / 2 - third * third * third
    discriminant = q * q + r * r * r
    single = (discriminant >= 0) | (l <= 4 * g)
    only = _only_root(xp, third, r, q, xp.where(single & (discriminant > 0), discriminant, 1e-30 * one))
    near = x * (g / xp.where(b > 0, b, one))  # both can vanish beside x
    low, high = xp.where(single, only, near), xp.where(single, only, x)
    for _ in range(3):
        low, high = _laguerre(xp, low, x, g, b), _laguerre(xp, high, x, g, b)
    # The logarithm of a quotient that may overflow, and of a square that may vanish.
    under, least = g + low * low, xp.finfo(x.dtype).smallest_normal * 2.0**24
    of_h = xp.log(xp.where(plain, gamma + 0 * one, one)) + xp.log(unit)
    of_under = xp.where(under > least, xp.log(xp.where(under > least, under, one)), 2 * of_h)
    ratio = (high - low) * ((high + low) / xp.where(under > least, under, one))
    usual = (under > least) & (ratio < 1 / least)
    rise = xp.log1p(xp.where(usual & (ratio > -1), ratio, 0 * one))
    rise = xp.where(usual, rise, 2 * xp.log(xp.where(high > 0, high, one)) - of_under)
    lead = (high - low) * (x - (high + low) / 2) - l * rise
    # Not by whether the root is single: at a discriminant of 0 a compiler may compute that twice, and differently.
    z = xp.where(lead > 0, high, low)
    # At a minimum this, which the equation says as well, does not enlarge an error; nothing cancels in it.
    square = g + z * z
    z = x * (square / (square + 2 * l))
    # A step of Newton's method with the digits of the equation that cancel, of which the result has the last.
    n = total(product(xp, h, h), product(xp, z, z))
    loss, lacking = total((z, 0 * z), (-x, 0 * x))
    first, rest = multiple(xp, n, loss)
    f, rest = total((first, rest + n[0] * lacking), product(xp, 2 * l, z))
    whole = xp.where(n[0] > 0, n[0], one)
    slope = whole + 2 * l * ((h - z) * (h + z) / whole)
    steady = (n[0] > 0) & (slope > (whole + 2 * l) / 1024)  # else the slope itself is made of errors
    step = xp.where(steady, (f + rest) / xp.where(steady, slope, one), 0 * one)
    better = z - step
    return better, (z - better) - step, l, h, unit, back, free, plain


def _only_root(xp: ModuleType, third: Any, r: Any, q: Any, discriminant: Any) -> Any:
    """Return the root by Cardano's formula, whose two terms are subtracted as a quotient."""
    cube = xp.abs(q) + xp.sqrt(discriminant)
    side = xp.where(cube > 0, cube, xp.ones_like(cube)) ** (1 / 3)
    other = r / side
    return third - 2 * q / (side * side + r + other * other)


def _laguerre(xp: ModuleType, z: Any, x: Any, g: Any, b: Any) -> Any:
    """Return where a step of Laguerre's method leads."""
    f = z * (z * (z - x) + b) - x * g
    f1, f2 = z * (3 * z - 2 * x) + b, 6 * z - 2 * x
    square = 4 * f1 * f1 - 6 * f * f2
    d = xp.sqrt(xp.where(square > 0, square, 1e-30 * xp.ones_like(square)))
    d = f1 + xp.where(f1 < 0, -d, d)
    return z - 3 * f / xp.where(d == 0, xp.ones_like(d), d)
