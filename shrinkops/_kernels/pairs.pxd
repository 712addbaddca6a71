# Numbers as a high and a low part, of about 104 bits together, for what a double does not hold.
#
# `low` says whether the low parts are wanted; it is a constant wherever these functions are inlined, and without it
# they are the plain operations on the high parts. A formula is written once: float results are first computed
# without low parts, float64 results and whatever is still in doubt with them (settle).

from .arithmetic cimport (
    INFINITY, as_bits, as_double, c_fma, c_sqrt, product_error, real, residual, round_to_odd, sum_error, uint32_t,
    near_midpoint,
)

ctypedef (double, double) pair

cdef extern from *:
    """
    /* What a low part may be wrong by, relative to the sum, where the exact one is 0: 2^-90. */
    #define shrinkops_noise 8.077935669463161e-28
    """
    const double NOISE "shrinkops_noise"


cdef inline pair total(double x, double y, bint low) noexcept nogil:
    """x + y."""
    cdef double s = x + y
    return (s, sum_error(x, y, s) if low else 0)


cdef inline pair product(double x, double y, bint low, bint fma) noexcept nogil:
    """x * y."""
    cdef double p = x * y
    return (p, product_error(x, y, p, fma) if low else 0)


cdef inline pair plus(pair x, pair y, bint low) noexcept nogil:
    cdef double s = x[0] + y[0], rest, h
    if not low:
        return (s, 0.0)
    rest = sum_error(x[0], y[0], s) + (x[1] + y[1])
    h = s + rest
    return (h, (s - h) + rest)


cdef inline pair times(pair x, pair y, bint low, bint fma) noexcept nogil:
    cdef double p = x[0] * y[0], rest, h
    if not low:
        return (p, 0.0)
    rest = product_error(x[0], y[0], p, fma) + (x[0] * y[1] + x[1] * y[0])
    h = p + rest
    return (h, (p - h) + rest)


cdef inline pair over(pair x, pair y, bint low, bint fma) noexcept nogil:
    """x / y, 0 for y = inf."""
    cdef double q = x[0] / y[0], rest
    if not low:
        return (q, 0.0)
    rest = ((residual(x[0], q, y[0], fma) + x[1]) - q * y[1]) / y[0]
    return (q, rest if y[0] < INFINITY else 0)


cdef inline pair root(pair x, bint low, bint fma) noexcept nogil:
    """The square root of a number >= 0."""
    cdef double r = c_sqrt(x[0]), rest
    if not low:
        return (r, 0.0)
    rest = (residual(x[0], r, r, fma) + x[1]) / (r + r)
    return (r, rest if r > 0 else 0)


cdef inline pair gap_of(double x, double y) noexcept nogil:
    """x - y, where x >= y >= 0."""
    cdef double d = x - y
    return (d, (x - d) - y)


cdef inline pair multiple_by(pair x, pair y) noexcept nogil:
    """x * y by fused multiply-adds, not normalised. What underflows of it is no harm to the sum."""
    cdef double p = x[0] * y[0]
    return (p, c_fma(x[0], y[1], c_fma(x[1], y[0], c_fma(x[0], y[0], -p))))


cdef inline double total_of(pair x) noexcept nogil:
    return x[0] + x[1]


cdef inline pair negative(pair x) noexcept nogil:
    return (-x[0], -x[1])


cdef inline pair scaled(pair x, double power_of_two) noexcept nogil:
    return (x[0] * power_of_two, x[1] * power_of_two)


cdef inline pair chosen(bint first, pair x, pair y) noexcept nogil:
    return (x[0] if first else y[0], x[1] if first else y[1])


cdef inline double below(pair x) noexcept nogil:
    """The double for which y <= below(x) is y <= x, where x > 0."""
    return as_double(as_bits(x[0]) - 1) if x[1] < 0 else x[0]


cdef inline bint wants_low(real x, uint32_t *doubt) noexcept nogil:
    """Whether a result of the type of x needs low parts: in double, and where a float is in doubt."""
    if real is double:
        return True
    else:
        return doubt == NULL


cdef inline double settle(real x, pair y, bint taken, double noise, uint32_t *doubt) noexcept nogil:
    """The result y >= 0, for one rounding to the type of x.

    A float that is next to the middle of two raises *doubt if it is taken; with doubt = NULL the sum is rounded to odd.
    """
    cdef double tiny = 1.1754943508222875e-38    # the least normal float; below, all floats are as far apart as above
    if doubt == NULL:
        return round_to_odd(y[0], y[1], noise)
    if real is float:
        doubt[0] |= <uint32_t> (near_midpoint(y[0] + (tiny if y[0] < tiny else 0)) & taken)
        return y[0]
    else:
        return y[0] + y[1]


cdef inline double summed(real x, pair y, uint32_t *doubt) noexcept nogil:
    """The result y of any sign, but for midpoints: for derivatives with respect to parameters."""
    if real is double:
        if doubt != NULL:
            return y[0] + y[1]
    return y[0]
