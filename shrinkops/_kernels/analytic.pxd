# Operators that are analytic, at complex numbers, in doubles. No multiplication is fused with a sum, so that all
# instruction sets give the same bits.
#
# tanh(x + iy) = (sinh x cosh x + i sin y cos y) / (cos^2 y + sinh^2 x) is as good as its four functions are, near poles
# too, where the denominator is a sum of two small squares.

from libc.math cimport cos as c_cos, sin as c_sin

from .arithmetic cimport absolute, as_bits, as_double, copy_sign, minimum, uint32_t, unless_nan
from .pairs cimport pair

cdef struct Quotient:
    double real, imag, denominator    # of tanh(x + iy), x and y >= 0: (real + i imag) / denominator
    double square, decay              # cos^2 y, and exp(-x)


cdef inline Quotient plane_tanh(double x, double y, uint32_t *doubt) noexcept nogil:
    """Where y is so large that the constant pi / 2 below has not the digits, *doubt is raised, or libm called."""
    cdef double farthest = 350, limit = 131072
    # x = k ln 2 + r, with r more often positive than not, so that less cancels below
    cdef double b = minimum(x, farthest)
    cdef double shifted = (b * 1.4426950408889634 - 0.35) + 6755399441055744.0
    cdef double k = shifted - 6755399441055744.0
    cdef double u = as_double(as_bits(1) + (as_bits(shifted) << 52))    # 2^k
    cdef double v = as_double(as_bits(1) - (as_bits(shifted) << 52))
    cdef double r = (b - k * 0.6931471805582987) - k * 1.646594958289708e-12
    cdef double s = r * r
    cdef double sinh = 7.647163731819816e-13
    sinh = sinh * s + 1.6059043836821613e-10
    sinh = sinh * s + 2.505210838544172e-08
    sinh = sinh * s + 2.7557319223985893e-06
    sinh = sinh * s + 0.0001984126984126984
    sinh = sinh * s + 0.008333333333333333
    sinh = sinh * s + 0.16666666666666666
    sinh = sinh * s * r + r
    cdef double cosh = 1.1470745597729725e-11
    cosh = cosh * s + 2.08767569878681e-09
    cosh = cosh * s + 2.755731922398589e-07
    cosh = cosh * s + 2.48015873015873e-05
    cosh = cosh * s + 0.001388888888888889
    cosh = cosh * s + 0.041666666666666664
    cosh = cosh * s + 0.5
    cosh = cosh * s + 1
    cdef double decay = v * (cosh - sinh)
    cdef double p = 0.5 * ((u - v) * cosh + (u + v) * sinh), q = 0.5 * ((u + v) * cosh + (u - v) * sinh)
    # y = k pi / 2 + r
    b = minimum(y, limit)
    shifted = b * 0.6366197723675814 + 6755399441055744.0
    k = shifted - 6755399441055744.0
    r = (b - k * 1.5707963267341256) - k * 6.077100506303966e-11
    r = (r - k * 2.0222662487111665e-21) - k * 8.4784276603689e-32
    s = r * r
    cdef double sine = 1.58969099521155010221e-10
    sine = sine * s - 2.50507602534068634195e-08
    sine = sine * s + 2.75573137070700676789e-06
    sine = sine * s - 1.98412698298579493134e-04
    sine = sine * s + 8.33333333332248946124e-03
    sine = sine * s - 1.66666666666666324348e-01
    sine = sine * s * r + r
    cdef double cosine = -1.13596475577881948265e-11
    cosine = cosine * s + 2.08757232129817482790e-09
    cosine = cosine * s - 2.75573143513906633035e-07
    cosine = cosine * s + 2.48015872894767294178e-05
    cosine = cosine * s - 1.38888888888741095749e-03
    cosine = cosine * s + 4.16666666666666019037e-02
    cosine = (cosine * s - 0.5) * s + 1
    cdef bint odd = as_bits(shifted) & 1
    cdef double c = sine if odd else cosine
    cdef double sc = -sine * cosine if odd else sine * cosine
    if doubt != NULL:
        doubt[0] |= <uint32_t> (y > limit)
    elif y > limit:
        c = c_cos(y)
        sc = c * c_sin(y)
    # Far out tanh is 1, whatever y.
    return Quotient(p * q, sc, c * c + p * p, c * c, decay) if x <= farthest else Quotient(1, 0, 1, 0.5, 0)


cdef inline pair times(pair a, pair b) noexcept nogil:
    return (a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])


cdef inline pair step(pair p, pair s, double coefficient) noexcept nogil:
    """p s + coefficient."""
    return (p[0] * s[0] - p[1] * s[1] + coefficient, p[0] * s[1] + p[1] * s[0])


cdef inline pair plane_tanhshrink(double re, double im, uint32_t *doubt) noexcept nogil:
    """z - tanh(z): near 0, where that cancels, by the continued fraction of tanh, cut at 19."""
    cdef double x = absolute(re), y = absolute(im)
    cdef pair z = (x, y), s = ((x - y) * (x + y), 2 * x * y)
    cdef pair n = (1.5273493085670588e-09, 0.0), d = n
    n = step(n, s, 2.184109511250894e-06)
    n = step(n, s, 0.0004422821760283061)
    n = step(n, s, 0.02456140350877193)
    n = step(n, s, 0.3333333333333333)
    d = step(d, s, 2.2681137232220826e-06)
    d = step(d, s, 0.00048159614723082214)
    d = step(d, s, 0.02889576883384933)
    d = step(d, s, 0.47368421052631576)
    d = step(d, s, 1.0)
    cdef double norm = d[0] * d[0] + d[1] * d[1]
    cdef pair near = times(times(times(z, s), n), (d[0], -d[1]))
    # Elsewhere as it is; from 1 on as (x - 1) + (1 - tanh) along the real axis.
    cdef Quotient t = plane_tanh(x, y, doubt)
    cdef double inverse = 1 / t.denominator
    cdef double left = x - t.real * inverse, right = (x - 1) + (t.square - 0.5 * (1 - t.decay * t.decay)) * inverse
    cdef bint small = (x < 1) & (x * x + y * y < 1.265625)
    cdef double a = near[0] / norm if small else (left if x < 1 else right)
    cdef double b = near[1] / norm if small else y - t.imag * inverse
    return ((a if x != 0 else x) * copy_sign(<double> 1, re), (b if y != 0 else y) * copy_sign(<double> 1, im))


cdef inline pair plane_tanhshrink_derivative(double re, double im, uint32_t *doubt) noexcept nogil:
    """tanh(z)^2."""
    cdef Quotient t = plane_tanh(absolute(re), absolute(im), doubt)
    cdef double a = t.real / t.denominator, b = t.imag / t.denominator
    b = b * copy_sign(<double> 1, re) * copy_sign(<double> 1, im)
    return (unless_nan((a - b) * (a + b), re, im), unless_nan(2 * a * b, re, im))
