# The middle pieces of firm and garrote thresholding, at a = |x| between the knots.
#
# A float result is first computed in double to at least 45 bits, which tells its nearest float unless it lies next to
# the middle of two floats, one time in a million. Such elements raise *doubt, and the loop computes the block again
# with doubt = NULL: then everything carries a low part, and the sum is rounded to odd, for the rounding to come. So are
# 16-bit types from the start, which come as doubles. A double result for its own sake is below 1 ulp.

from .arithmetic cimport (
    INFINITY, as_bits, madd, near_midpoint, product_error, real, reciprocal, residual, round_to_odd, sum_error,
    uint32_t,
)

ctypedef (double, double) pair    # a number as high + low

cdef inline pair scale_of(double a) noexcept nogil:
    """A power of two that brings a double to where its reciprocal and its products are normal, and its inverse."""
    cdef double up = 4.149515568880993e+180, down = 2.409919865102884e-181
    cdef bint small = a < 3.8725919148493183e-121, large = a > 2.5822498780869086e+120
    return (up if small else (down if large else 1.0), down if small else (up if large else 1.0))


cdef inline pair firm_slope(double low, double high, bint fma) noexcept nogil:
    """high / (high - low), 1 for high = inf."""
    cdef double scale = 1 if high > 1e-270 else 1.3407807929942597e+154    # 2^512: keeps the residual normal
    low = low * scale
    high = high * scale
    cdef double width = high - low
    cdef double slope = high / width
    cdef double rest = (residual(high, slope, width, fma) - slope * sum_error(high, -low, width)) / width
    return (slope, rest) if high < INFINITY else (1.0, 0.0)


cdef inline double firm_noise(double slope) noexcept nogil:
    """What to take for the error of a low part, relative to the sum: nothing, where the slope is 1 and more cancels."""
    return 0 if slope == 1 else 8.077935669463161e-28


cdef inline real firm_between(real a, real low, real high, bint fma, uint32_t *doubt) noexcept nogil:
    """high (a - low) / (high - low)."""
    cdef pair slope = firm_slope(low, high, fma)
    cdef double x = a, t = low, d, y, rest
    cdef pair scale = (1.0, 1.0)
    cdef bint exact
    if real is double:
        if doubt != NULL:
            scale = scale_of(a)
            x = x * scale[0]
            t = t * scale[0]
    d = x - t
    y = d * slope[0]
    if real is float:
        if doubt != NULL:
            # A slope of few bits meets midpoints all the time, but exactly.
            exact = (slope[1] == 0) & ((as_bits(slope[0]) & 0x1FFFFFFFULL) == 0) & ((high <= 16 * low) | (low == 0))
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (not exact) & (a > low) & (a < high))
            return <float> y
    rest = product_error(d, slope[0], y, fma) + (d * slope[1] + sum_error(x, -t, d) * slope[0])
    if real is double:
        if doubt != NULL:
            return (y + rest) * scale[1]
    return <real> round_to_odd(y, rest, firm_noise(slope[0]))


cdef inline double firm_derivative(int k, real a, real low, real high, bint fma, uint32_t *doubt) noexcept nogil:
    cdef pair slope = firm_slope(low, high, fma)
    cdef double t = low, h = high, width = h - t
    if k == 0:
        if real is double:
            if doubt != NULL:
                return slope[0] + slope[1]
        return round_to_odd(slope[0], slope[1], firm_noise(slope[0]))
    elif k == 1:
        return -slope[0] * ((h - a) / width if h < INFINITY else <double> 1)
    return -(t / width) * ((a - t) / width)


cdef inline real garrote_beyond(real a, real lambd, bint fma, uint32_t *doubt) noexcept nogil:
    """a - lambd^2 / a, where nothing cancels and nothing overflows."""
    cdef double x = a, t = lambd, d, q, n, xx, tt, y, inverse, rest
    cdef pair scale
    if real is double:
        if doubt != NULL:
            # d + d (t / x), d = x - t
            scale = scale_of(a)
            x = x * scale[0]
            t = t * scale[0]
            inverse = 1 / x
            d = x - t
            q = t * inverse
            rest = d * residual(t, q, x, fma) * inverse + sum_error(x, -t, d) * (1 + q)
            n = d * q
            y = d + n
            return (y + (((d - y) + n) + (product_error(d, q, n, fma) + rest))) * scale[1]
    # (x^2 - t^2) / x, where the squares of floats are exact
    xx = x * x
    tt = t * t
    n = xx - tt
    if real is float:
        if doubt != NULL:
            y = n * reciprocal(a, fma)
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (a > lambd))
            return <float> y
    y = n / x
    return <real> round_to_odd(y, (residual(n, y, x, fma) + sum_error(xx, -tt, n)) / x, 8.077935669463161e-28)


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
    cdef pair scale
    if real is double:
        scale = scale_of(a)
        x = x * scale[0]
        t = t * scale[0]
    r = t / x
    if k:
        return -2 * r
    rest = residual(t, r, x, fma) / x
    square = r * r
    y = 1 + square
    rest = ((1 - y) + square) + (product_error(r, r, square, fma) + 2 * r * rest)
    if real is double:
        if doubt != NULL:
            return y + rest
    return round_to_odd(y, rest, 8.077935669463161e-28)


cdef inline bint easy(float a) noexcept nogil:
    """Whether a float is so far from the ends of its range that its reciprocal, and any difference, are normal."""
    return (a > <float> 7.888609052210118e-31) & (a < <float> 1.2676506002282294e+30)
