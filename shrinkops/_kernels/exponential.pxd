# The exponential function, for numbers that may carry a low part: exp(z) = 2^k (1 + p) with |p| <= 0.415.
#
# Without low parts 1 + p is right to 2^-53, with them to 2^-61 and, where a result must be rounded to odd, to 2^-96.

from .arithmetic cimport as_bits, as_double, madd, maximum, minimum, product_error, uint64_t
from .pairs cimport pair, plus, scaled, times, total

cdef struct Exponential:
    double k    # the exponent of 2
    pair p


cdef inline double power_of_two(double k) noexcept nogil:
    """2^k for an integer -1022 <= k <= 1023."""
    return as_double((as_bits(k + 6755399441056767.0)) << 52)    # 1.5 * 2^52 + 1023


cdef inline Exponential exponential(pair z, bint low, bint exact, bint fma) noexcept nogil:
    """exp(z) for |z| <= 2000."""
    cdef Exponential result
    cdef double shifted = madd(z[0], 1.4426950408889634, 6755399441055744.0, fma)
    cdef double k = shifted - 6755399441055744.0
    cdef double r0 = z[0] - k * 0.6931471805582987    # exact: the factor has 36 bits
    cdef double c = k * 1.6465949582897082e-12 - z[1]
    cdef double r = r0 - c, rl = 0, rr, rrl, e, h, cubic, w, p
    cdef pair x, sum
    result.k = k
    if exact:
        x = plus((r0, 0.0), times((-k, 0.0), (1.6465949582897082e-12, -1.0077949135905144e-28), True, fma), True)
        x = plus(x, (z[1], 0.0), True)
        x = (x[0] * 0.015625, x[1] * 0.015625)    # 2^-6
        sum = (1.6059043836821613e-10, 1.2585294588752098e-26)
        sum = plus(times(sum, x, True, fma), (2.08767569878681e-09, -1.20734505911326e-25), True)
        sum = plus(times(sum, x, True, fma), (2.505210838544172e-08, -1.448814070935912e-24), True)
        sum = plus(times(sum, x, True, fma), (2.755731922398589e-07, 2.3767714622250297e-23), True)
        sum = plus(times(sum, x, True, fma), (2.7557319223985893e-06, -1.858393274046472e-22), True)
        sum = plus(times(sum, x, True, fma), (2.48015873015873e-05, 2.1511947866775882e-23), True)
        sum = plus(times(sum, x, True, fma), (0.0001984126984126984, 1.7209558293420705e-22), True)
        sum = plus(times(sum, x, True, fma), (0.001388888888888889, -5.300543954373577e-20), True)
        sum = plus(times(sum, x, True, fma), (0.008333333333333333, 1.1564823173178714e-19), True)
        sum = plus(times(sum, x, True, fma), (0.041666666666666664, 2.3129646346357427e-18), True)
        sum = plus(times(sum, x, True, fma), (0.16666666666666666, 9.25185853854297e-18), True)
        sum = plus(times(sum, x, True, fma), (0.5, 0.0), True)
        sum = plus(times(times(sum, x, True, fma), x, True, fma), x, True)
        sum = doubled(doubled(doubled(doubled(doubled(doubled(sum, fma), fma), fma), fma), fma), fma)
        result.p = sum
        return result
    if low:
        rl = (r0 - r) - c
    rr = r * r
    rrl = product_error(r, r, rr, fma) if low else 0
    e = 2.0920350094831164e-09
    e = madd(e, r, 2.5105415038674527e-08, fma)
    e = madd(e, r, 2.755725700547098e-07, fma)
    e = madd(e, r, 2.755725481475451e-06, fma)
    e = madd(e, r, 2.4801587342422265e-05, fma)
    e = madd(e, r, 0.00019841269875417748, fma)
    e = madd(e, r, 0.0013888888888876985, fma)
    e = madd(e, r, 0.008333333333325895, fma)
    e = madd(e, r, 0.04166666666666668, fma)
    e = madd(e, r, 0.1666666666666667, fma)
    h = 0.5 * rr
    cubic = madd(rr * r, e, (0.5 * rrl + (rl + rl * r)) if low else 0, fma)
    w = h + cubic
    p = r + w
    result.p = (p, ((r - p) + w) + ((h - w) + cubic) if low else 0)
    return result


cdef inline pair doubled(pair p, bint fma) noexcept nogil:
    """(1 + p)^2 - 1."""
    return plus((2 * p[0], 2 * p[1]), times(p, p, True, fma), True)


cdef inline pair rough_exponential(double z, bint fma) noexcept nogil:
    """exp(z) - 1 and exp(z) to 2^-21, where that is a normal number."""
    cdef double shifted = madd(z, 1.4426950408889634, 6755399441055744.0, fma)
    cdef double k = shifted - 6755399441055744.0, r = z - k * 0.6931471805599453, e = 0.001388888888888889
    cdef double u = power_of_two(k)
    e = madd(e, r, 0.008333333333333333, fma)
    e = madd(e, r, 0.041666666666666664, fma)
    e = madd(e, r, 0.16666666666666666, fma)
    e = madd(e, r, 0.5, fma)
    e = madd(e, r, 1.0, fma) * r
    return (madd(u, e, u - 1, fma), madd(u, e, u, fma))


cdef struct Octave:
    double e, f    # x = 2^e (1 + f)


cdef inline Octave octave(double x) noexcept nogil:
    """A number 0 < x < inf by its exponent and what is left, from sqrt(1/2) to sqrt(2)."""
    cdef bint small = x < 2.2250738585072014e-308
    cdef uint64_t bits = as_bits(x * (18014398509481984.0 if small else 1.0))    # 2^54
    cdef double least = 4503599627371573.0 if small else 4503599627371519.0
    cdef double e = as_double((bits >> 52) | 0x4330000000000000ULL) - least
    cdef double m = as_double((bits & 0xFFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL)
    cdef bint upper = m > 1.4142135623730951
    m = m * (0.5 if upper else 1.0)
    return Octave(e + (1.0 if upper else 0.0), m - 1)


cdef inline double rough_logarithm(double x, bint fma) noexcept nogil:
    """log(x) for 0 < x < inf, to 2^-24: 2 atanh(f / (f + 2)) and the exponent."""
    cdef Octave o = octave(x)
    cdef double s = o.f / (o.f + 2), z = s * s, t = 0.2857142857142857
    t = madd(t, z, 0.4, fma)
    t = madd(t, z, 0.6666666666666666, fma)
    return madd(o.e, 0.6931471805599453, s * madd(t, z, 2, fma), fma)


cdef inline double logarithm(double x, bint fma) noexcept nogil:
    """log(x) for 0 < x < inf, to about 1 ulp: 2 atanh(f / (f + 2)) and the exponent."""
    cdef Octave o = octave(x)
    cdef double f = o.f, s = f / (f + 2), z = s * s, t = 0.047619047619047616    # 1 / 21
    t = madd(t, z, 0.05263157894736842, fma)
    t = madd(t, z, 0.058823529411764705, fma)
    t = madd(t, z, 0.06666666666666667, fma)
    t = madd(t, z, 0.07692307692307693, fma)
    t = madd(t, z, 0.09090909090909091, fma)
    t = madd(t, z, 0.1111111111111111, fma)
    t = madd(t, z, 0.14285714285714285, fma)
    t = madd(t, z, 0.2, fma)
    t = madd(t, z, 0.3333333333333333, fma)
    # 2 s = f - s f: the rest of the series and of s is small beside f
    return madd(o.e, 0.6931471805582987, f, fma) - (s * (f - 2 * z * t) - o.e * 1.6465949582897082e-12)


cdef inline pair logarithm_pair(double x, bint exact, bint fma) noexcept nogil:
    """log(x) by one step of Newton's method on exp: to 2^-61, or 2^-96."""
    cdef double y = logarithm(x, fma)
    cdef Exponential e = exponential((-y, 0.0), True, exact, fma)
    cdef double half = maximum(minimum(e.k, <double> 1000), <double> -1000)
    cdef double near = x * power_of_two(half) * power_of_two(e.k - half)
    cdef pair rest = plus(total(near, -1, True), times((near, 0.0), e.p, True, fma), True)
    rest = plus(rest, (-0.5 * rest[0] * rest[0], 0.0), True)
    return plus((y, 0.0), rest, True)


cdef inline pair exponential_pair(pair z, bint low, bint exact, bint fma) noexcept nogil:
    """exp(z) where that is a normal number."""
    cdef Exponential e = exponential(z, low, exact, fma)
    return scaled(plus((1.0, 0.0), e.p, low), power_of_two(e.k))


cdef inline pair exponential_less_one(pair z, bint low, bint fma) noexcept nogil:
    """exp(z) - 1 where exp(z) is a normal number."""
    cdef Exponential e = exponential(z, low, False, fma)
    cdef double u = power_of_two(e.k)
    return plus(total(u, -1, low), scaled(e.p, u), low)
