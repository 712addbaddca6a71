# Numbers as a high and a low float, of about 44 bits together: enough to round most floats, and sixteen to a register
# where there are eight doubles.
#
# The low parts come from fused multiply-adds, and are right where neither they nor the high parts come near the ends of
# the range: formulas for floats that are written with these put what lies there in doubt, and constants say from
# where on (Singles.normal).

from .arithmetic cimport INFINITY, c_fmaf, differ, uint32_t

ctypedef (float, float) floats

cdef struct Singles:    # what the formulas for floats take from the parameters
    floats slope, offset
    float inverse, margin
    float normal    # before it floats are in doubt; inf: all are


cdef inline floats halves(double high, double low) noexcept nogil:
    """A number that is the same for all elements."""
    cdef float h = <float> high
    return (h, <float> ((high - h) + low))


cdef inline floats gap(float x, float y) noexcept nogil:
    """x - y, where x >= y >= 0."""
    cdef float d = x - y
    return (d, (x - d) - y)


cdef inline floats sum_of(float x, float y) noexcept nogil:
    cdef float s = x + y, z = s - x
    return (s, (x - (s - z)) + (y - z))


cdef inline floats product_of(floats x, floats y) noexcept nogil:
    cdef float p = x[0] * y[0]
    return (p, c_fmaf(x[0], y[1], c_fmaf(x[1], y[0], c_fmaf(x[0], y[0], -p))))


cdef inline floats multiple_of(float x, floats y) noexcept nogil:
    cdef float p = x * y[0]
    return (p, c_fmaf(x, y[1], c_fmaf(x, y[0], -p)))


cdef inline floats quotient_of(float x, floats y) noexcept nogil:
    """x / y; the low part is 0 where the quotient is a float."""
    cdef float inverse = <float> 1 / y[0], q = x * inverse
    q = c_fmaf(c_fmaf(-q, y[0], x), inverse, q)
    return (q, (c_fmaf(-q, y[0], x) - q * y[1]) * inverse)


cdef inline float margin_of(bint inexact) noexcept nogil:
    """By what part of itself the low part of a sum may be wrong: none where the sum, and so its rounding, is exact."""
    return <float> 3.814697265625e-06 if inexact else <float> 0    # 2^-18


cdef inline float rounded_sum(floats y, float margin, uint32_t *doubt) noexcept nogil:
    """The nearest float; one that is next to the middle of two raises *doubt.

    The low part is added somewhat longer and somewhat shorter. It is nearly half the distance of two floats, or more,
    where that makes a difference: so near to the middle that an error of 2^-43 could decide.
    """
    cdef float longer = c_fmaf(y[1], 1 + margin, y[0]), shorter = c_fmaf(y[1], 1 - margin, y[0])
    doubt[0] |= <uint32_t> differ(longer, shorter)
    return longer


cdef inline float error_of(floats y, bint inexact) noexcept nogil:
    """What a constant or a quotient may be wrong by as a pair, and more: 2^-44 of it."""
    return y[0] * <float> 5.684341886080802e-14 if inexact else <float> 0


cdef inline float rounded_multiple(float x, floats y, float error, uint32_t *doubt) noexcept nogil:
    """The nearest float of x y, by a multiple that is somewhat longer, and one that is shorter."""
    cdef float longer = c_fmaf(x, y[0], x * (y[1] + error)), shorter = c_fmaf(x, y[0], x * (y[1] - error))
    doubt[0] |= <uint32_t> differ(longer, shorter)
    return longer


cdef inline float greater_of(floats y, float margin, float other, uint32_t *doubt) noexcept nogil:
    """The nearest float, or another one that is greater; where the low part is NaN, the other."""
    cdef float longer = c_fmaf(y[1], 1 + margin, y[0]), shorter = c_fmaf(y[1], 1 - margin, y[0])
    cdef bint taken = longer > other
    doubt[0] |= <uint32_t> (differ(longer, shorter) & taken)
    return longer if taken else other
