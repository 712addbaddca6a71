# What the scalar formulas are written with: sign and bit patterns, fused multiply-adds, and the error terms of sums and
# products, each of which vectorises. `fma` says whether the instruction set has fused multiply-adds; it is a constant
# wherever these functions are inlined.

from libc.stdint cimport uint32_t, uint64_t

ctypedef fused real:
    float
    double

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>
    static CYTHON_INLINE uint64_t shrinkops_bits(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
    static CYTHON_INLINE double shrinkops_double(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
    """
    uint64_t as_bits "shrinkops_bits" (double x) noexcept nogil
    double as_double "shrinkops_double" (uint64_t bits) noexcept nogil
    double c_fma "fma" (double x, double y, double z) noexcept nogil
    float c_fmaf "fmaf" (float x, float y, float z) noexcept nogil
    bint differ "islessgreater" (float x, float y) noexcept nogil    # not, if one is NaN
    double c_sqrt "sqrt" (double x) noexcept nogil
    float c_fabsf "fabsf" (float x) noexcept nogil
    double c_fabs "fabs" (double x) noexcept nogil
    float c_copysignf "copysignf" (float x, float sign) noexcept nogil
    double c_copysign "copysign" (double x, double sign) noexcept nogil
    float NAN, INFINITY


cdef inline real absolute(real x) noexcept nogil:
    if real is float:
        return c_fabsf(x)
    else:
        return c_fabs(x)


cdef inline real copy_sign(real x, real sign) noexcept nogil:
    if real is float:
        return c_copysignf(x, sign)
    else:
        return c_copysign(x, sign)


cdef inline real maximum(real x, real limit) noexcept nogil:
    """max(x, limit); the limit where x is NaN."""
    return x if x > limit else limit


cdef inline real minimum(real x, real limit) noexcept nogil:
    """min(x, limit); the limit where x is NaN."""
    return x if x < limit else limit


cdef inline real nonnegative(real parameter) noexcept nogil:
    """The parameter, NaN if it is negative: an element of a threshold array that no operator accepts."""
    return parameter if parameter >= 0 else <real> NAN


ctypedef fused derivative_t:
    float
    double


cdef inline derivative_t unless_nan(derivative_t derivative, real x, real parameter) noexcept nogil:
    """The derivative, NaN where x or the parameter is."""
    return derivative if (x == x) & (parameter == parameter) else <derivative_t> (x + parameter)


cdef inline real knot_of(real threshold) noexcept nogil:
    """Beyond which |x| moves the value: the threshold, and everything where that is 0."""
    return threshold if threshold > 0 else <real> -1


cdef inline double high_part(double x, uint64_t mask) noexcept nogil:
    return as_double(as_bits(x) & mask)


cdef inline double madd(double x, double y, double z, bint fma) noexcept nogil:
    """x * y + z."""
    return c_fma(x, y, z) if fma else x * y + z


cdef inline double product_error(double x, double y, double product, bint fma) noexcept nogil:
    """x * y - product, where product is the rounded x * y."""
    if fma:
        return c_fma(x, y, -product)
    # The nearest number of 26 bits leaves as many, where nothing comes near the end of the range.
    cdef uint64_t nearer = 0x4000000 if (c_fabs(x) < 1e300) & (c_fabs(product) < 1e300) else 0
    cdef double xh = as_double((as_bits(x) + nearer) & 0xFFFFFFFFF8000000ULL), yh = high_part(y, 0xFFFFFFFFF8000000)
    cdef double xl = x - xh, yl = y - yh
    return (((xh * yh - product) + xh * yl) + xl * yh) + xl * yl    # each of them exact


cdef inline double residual(double numerator, double quotient, double denominator, bint fma) noexcept nogil:
    """numerator - quotient * denominator, where the quotient is nearly right."""
    if fma:
        return c_fma(-quotient, denominator, numerator)
    cdef double qh = high_part(quotient, 0xFFFFFFFFF8000000ULL), dh = high_part(denominator, 0xFFFFFFFFF8000000)
    cdef double ql = quotient - qh, dl = denominator - dh
    return (((numerator - qh * dh) - qh * dl) - ql * dh) - ql * dl


cdef inline double sum_error(double x, double y, double total) noexcept nogil:
    """x + y - total, where total is the rounded x + y."""
    cdef double z = total - x
    return (x - (total - z)) + (y - z)


cdef inline double round_to_odd(double high, double low, double noise) noexcept nogil:
    """high + low >= 0 in double, its last bit made to tell whether something is left.

    Rounding that to fewer bits rounds the exact sum. What is below `noise` times the sum is the error of an exact zero.
    """
    cdef double total = high + low
    cdef uint64_t bits = as_bits(total)
    low = (high - total) + low
    bits = ((bits - 1 if low < 0 else bits) | 1) if c_fabs(low) > total * noise else bits
    return as_double(bits)


cdef inline bint near_midpoint(double y) noexcept nogil:
    """Whether y is within 256 ulps of the middle of two neighbouring floats."""
    return ((as_bits(y) - 0xFFFFF00ULL) & 0x1FFFFE00ULL) == 0


cdef inline double reciprocal(float a, bint fma) noexcept nogil:
    """1 / a to 45 bits, by a division of floats, which is three times as fast."""
    cdef double r = <float> 1 / a
    return madd(r, madd(-r, a, 1, fma), r, fma)
