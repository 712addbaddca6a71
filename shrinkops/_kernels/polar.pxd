# Complex numbers. Shrinking the magnitude and keeping the phase is one multiplication by the ratio of the shrunk and
# the original magnitude, of which this file has the two ends; between them stands the loop of any operator, on doubles.
#
# a) Near a threshold a rounded magnitude is not enough. It has a low part, which makes it exact for all practical
#    purposes. The loop gets a, the least double that is not below it, so that a <= lambd says whether it is; what comes
#    out moves by the derivative times what a is too much.
# b) Nothing overflows or underflows: doubles are computed with at a scale, a power of two. Floats need none.
# c) Infinities and NaN have the magnitude infinity, where no operator does anything; they are returned as they came.

from libc.math cimport sqrt

from .arithmetic cimport (
    INFINITY, absolute, as_bits, as_double, c_fma, copy_sign, minimum, product_error, real, residual, sum_error,
    uint64_t, unless_nan,
)
from .pairs cimport pair
from .thresholds cimport scale_of

cdef struct Polar:
    # scale * magnitude = scale * (a - gap) + low, where gap is the last place of a if low > 0, which is one more bit of
    # precision; inverse is 1 / (scale * magnitude), 0 where that is 0.
    double a, low, inverse


cdef inline pair scale_at(real re, real im) noexcept nogil:
    if real is double:
        return scale_of(absolute(re) if absolute(re) > absolute(im) else absolute(im))
    else:
        return (1.0, 1.0)


cdef inline uint64_t gap_of(double a, double low) noexcept nogil:
    """In last places. Where magnitudes may overflow there is none."""
    return (low > 0) & (a < 8.98846567431158e+307)


cdef inline double square_error(double x, double square, bint fma) noexcept nogil:
    """x * x - square, exactly, where square is the rounded x * x."""
    if fma:
        return c_fma(x, x, -square)
    cdef double c = 134217729 * x, high = c - (c - x), low = x - high
    return ((high * high - square) + 2 * high * low) + low * low


cdef inline Polar polar(real re, real im, bint fma) noexcept nogil:
    """The magnitude of re + i im."""
    cdef pair scale = scale_at(re, im)
    cdef double x = absolute(<double> re) * scale[0], y = absolute(<double> im) * scale[0]
    cdef double large = x if x > y else y, small = y if x > y else x
    cdef double p = large * large, q = small * small, s = p + q, root = sqrt(s), square = root * root
    cdef double rest = (s - square) - square_error(root, square, fma), lower = sum_error(p, q, s)
    if real is double:
        rest = rest + square_error(large, p, fma)    # these cancel where small is tiny
        lower = lower + square_error(small, q, fma)
    cdef double inverse = 1 / root if root > 0 else 0
    cdef double low = (rest + lower) * (0.5 * inverse)
    cdef double a = root
    if real is double:
        a = minimum(root * scale[1], 1.7976931348623157e+308)
        low = low + (root - a * scale[0])
    a = as_double(as_bits(a) + gap_of(a, low))
    cdef bint finite = s < INFINITY
    return Polar(a if finite else INFINITY, low if finite else 0, inverse)


cdef inline pair ratio(real re, real im, Polar at, double y, double slope, bint fma) noexcept nogil:
    """Of the shrunk to the original magnitude, as high + low; NaN where y is, and 1 where the magnitude is infinite."""
    cdef double scale = scale_at(re, im)[0], whole = as_double(as_bits(at.a) - gap_of(at.a, at.low))
    cdef double back, rest, nearly, high, q, last = 0
    slope = slope if absolute(slope) < INFINITY else 0
    back = slope * (whole - at.a) * scale
    rest = slope * at.low
    y = y * scale
    nearly = y + back
    high = nearly + rest
    q = high * at.inverse
    if real is double:
        q = 1 if q > 1 else q    # so that the product with the largest numbers is finite
        rest = (sum_error(nearly, rest, high) + sum_error(y, back, nearly)) - q * at.low
        last = (residual(high, q, whole * scale, fma) + rest) * at.inverse
    high = 1 if y == y else y
    return (q if at.a < INFINITY else high, last if at.a < INFINITY else 0)


cdef inline real shrunk(real part, double high, double low, bint fma) noexcept nogil:
    """The real or the imaginary part of what is shrunk by a ratio."""
    cdef double product = part * high, rest = part * low
    if real is double:
        # Among the smallest numbers the error is not a number.
        rest = rest + product_error(part, high, product, fma) if absolute(product) > 1e-270 else rest
        product = product + rest if absolute(product) < INFINITY else product
    return copy_sign(<real> product, part)


cdef inline pair direction(real re, real im, Polar at) noexcept nogil:
    """x / |x|; 0 at 0."""
    cdef double scale = scale_at(re, im)[0], x = re * scale * at.inverse, y = im * scale * at.inverse
    cdef double right = <double> (absolute(re) == <real> INFINITY), up = <double> (absolute(im) == <real> INFINITY)
    cdef double far = 1 if right + up < 2 else 0.7071067811865476
    cdef bint finite = at.a < INFINITY
    return (x if finite else copy_sign(far * right, <double> re), y if finite else copy_sign(far * up, <double> im))


cdef inline pair pull_at(
    real re, real im, Polar at, double y, double slope, double g, double h, bint fma,
) noexcept nogil:
    """g + ih times the derivative, which is the slope along the phase, and the ratio of the magnitudes across it."""
    cdef pair p = direction(re, im, at), by = ratio(re, im, at, y, slope, fma)
    cdef double across = by[0] + by[1]
    across = across if (at.a > 0) & (at.a < INFINITY) else slope
    cdef double along = (g * p[0] + h * p[1]) * (slope - across)
    g = g * across + along * p[0]
    h = h * across + along * p[1]
    return (unless_nan(g, <double> re, <double> im), unless_nan(h, <double> re, <double> im))
