# Numbers as a high and a low float, of about 44 bits together: enough to round most floats, and sixteen to a register
# where there are eight doubles.
#
# The low parts come from fused multiply-adds, and are right where neither they nor the high parts come near the ends of
# the range: formulas for floats that are written with these put what lies there in doubt, and constants say from
# where on (Constants.normal).

from .arithmetic cimport c_fmaf, differ, uint32_t

ctypedef (float, float) floats


cdef inline floats halves(double high, double low) noexcept nogil:
    """A number that is the same for all elements."""
    cdef float h = <float> high
    return (h, <float> ((high - h) + low))


cdef inline floats gap(float x, float y) noexcept nogil:
    """x - y, where x >= y >= 0."""
    cdef float d = x - y
    return (d, (x - d) - y)


cdef inline floats sum_of(floats x, floats y) noexcept nogil:
    cdef float s = x[0] + y[0], z = s - x[0]
    return (s, ((x[0] - (s - z)) + (y[0] - z)) + (x[1] + y[1]))


cdef inline floats product_of(floats x, floats y) noexcept nogil:
    cdef float p = x[0] * y[0]
    return (p, c_fmaf(x[0], y[1], c_fmaf(x[1], y[0], c_fmaf(x[0], y[0], -p))))


cdef inline float stretch_of(bint inexact) noexcept nogil:
    """By what rounded_sum stretches the rest: by nothing, where the sum is exact, and so its rounding."""
    return <float> 1.000003814697265625 if inexact else <float> 1    # 1 + 2^-18


cdef inline float rounded_sum(floats y, float stretch, uint32_t *doubt) noexcept nogil:
    """The nearest float; one that is next to the middle of two raises *doubt.

    What the sum leaves over is added again, somewhat longer: if that changes it, it was nearly half the distance of two
    floats, so near that an error of 2^-43 could decide.
    """
    cdef float s = y[0] + y[1]
    cdef float rest = (y[0] - s) + y[1]
    doubt[0] |= <uint32_t> differ(c_fmaf(rest, stretch, s), s)
    return s
