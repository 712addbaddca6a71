# The middle pieces of firm and garrote thresholding, at a = |x| between the knots.
#
# A float result is first computed in double to at least 45 bits, which tells its nearest float unless it lies next to
# the middle of two floats, one time in a million. Such elements raise *doubt, and the loop computes the block again
# with doubt = NULL: then everything carries a low part, and round_once decides. A double result is below 1 ulp at once.

from .arithmetic cimport (
    INFINITY, as_bits, madd, near_midpoint, product_error, real, reciprocal, residual, round_once, sum_error, uint32_t,
)

ctypedef (double, double) pair    # a number as high + low


cdef inline pair firm_slope(double low, double high, bint fma) noexcept nogil:
    """high / (high - low), 1 for high = inf."""
    cdef double scale = 1 if high > 1e-270 else 1.3407807929942597e+154    # 2^512: keeps the residual normal
    low = low * scale
    high = high * scale
    cdef double width = high - low
    cdef double slope = high / width
    cdef double rest = (residual(high, slope, width, fma) - slope * sum_error(high, -low, width)) / width
    return (slope, rest) if high < INFINITY else (1.0, 0.0)


cdef inline real firm_between(real a, real low, real high, bint fma, uint32_t *doubt) noexcept nogil:
    """high (a - low) / (high - low)."""
    cdef pair slope = firm_slope(low, high, fma)
    cdef double x = a, t = low
    cdef double d = x - t
    cdef double y = d * slope[0]
    cdef bint exact
    if real is float:
        if doubt != NULL:
            # A slope of few bits meets midpoints all the time, but exactly.
            exact = (slope[1] == 0) & ((as_bits(slope[0]) & 0x1FFFFFFFULL) == 0) & ((high <= 16 * low) | (low == 0))
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (not exact) & (a > low) & (a < high))
            return <float> y
    return <real> round_once(a, y, product_error(d, slope[0], y, fma) + (
        d * slope[1] + sum_error(x, -t, d) * slope[0]))


cdef inline double firm_derivative(int k, real a, real low, real high, bint fma) noexcept nogil:
    cdef pair slope = firm_slope(low, high, fma)
    cdef double t = low, h = high, width = h - t
    if k == 0:
        return round_once(a, slope[0], slope[1])
    elif k == 1:
        return -slope[0] * ((h - a) / width if h < INFINITY else <double> 1)
    return -(t / width) * ((a - t) / width)


cdef inline real garrote_beyond(real a, real lambd, bint fma, uint32_t *doubt) noexcept nogil:
    """a - lambd^2 / a, where nothing cancels and nothing overflows: d + d (lambd / a) with d = a - lambd for double,
    and (a^2 - lambd^2) / a for float, where the squares are exact in double."""
    cdef double x = a, t = lambd, d, n, xx, ll, y
    if real is double:
        d = x - t
        return d + d * (t / x)
    else:
        xx = x * x    # exact, as is ll
        ll = t * t
        n = xx - ll
        if doubt != NULL:
            y = n * reciprocal(a, fma)
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (a > lambd))
        else:
            y = n / x
            y = round_once(a, y, (residual(n, y, x, fma) + sum_error(xx, -ll, n)) / x)
        return <float> y


cdef inline double garrote_derivative(int k, real a, real lambd, bint fma, uint32_t *doubt) noexcept nogil:
    """1 + (lambd / a)^2, and -2 lambd / a."""
    cdef double x = a, t = lambd
    cdef double r, rest, square, y
    if real is float:
        if k == 0 and doubt != NULL:
            r = t * reciprocal(a, fma)
            y = madd(r, r, 1, fma)
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (a > lambd))
            return y
    r = t / x
    if k:
        return -2 * r
    square = r * r
    y = 1 + square
    if real is double:
        return y
    else:
        rest = residual(t, r, x, fma) / x
        return round_once(a, y, ((1 - y) + square) + (product_error(r, r, square, fma) + 2 * r * rest))


cdef inline bint easy(float a) noexcept nogil:
    """Whether a float is so far from the ends of its range that its reciprocal, and any difference, are normal."""
    return (a > <float> 7.888609052210118e-31) & (a < <float> 1.2676506002282294e+30)
