# The proximal maps of lambd |y|^p, lambd log(1 + |y| / eps) and lambd log(1 + y^2 / gamma^2), at a = |x|.
#
# Each has a stationary point z, the largest where there are more, from its threshold or jump on. With low parts z is
# corrected by a step of Newton's method whose residual carries low parts; derivatives are rational functions of z.
# A float whose result is ill-conditioned is in doubt.

from .arithmetic cimport (
    INFINITY, absolute, as_bits, as_double, c_sqrt, copy_sign, maximum, minimum, real, uint32_t, uint64_t,
)
from .exponential cimport exponential_pair, logarithm, logarithm_pair, rough_exponential, rough_logarithm
from .pairs cimport (
    NOISE, below, chosen, negative, over, pair, plus, product, root, scaled, settle, summed, times, total, wants_low,
)

cdef extern from *:
    """
    /* What a low part that comes from exp and log may be wrong by, relative to the sum: 2^-57. */
    #define shrinkops_function_noise 6.938893903907228e-18
    """
    const double FUNCTION_NOISE "shrinkops_function_noise"


cdef inline double settled(
    real a, pair y, bint ill, bint taken, double noise, uint32_t *doubt,
) noexcept nogil:
    """settle(), where ill-conditioned floats are in doubt too."""
    if real is float:
        if doubt != NULL:
            doubt[0] |= <uint32_t> (ill & taken)
    return settle(a, y, taken, noise, doubt)


cdef inline pair power_scale(double greatest, real a, uint32_t *doubt) noexcept nogil:
    """A power of two that brings the greatest of some numbers near 1, so that one can cube them, and its inverse."""
    cdef uint64_t exponent
    if real is double:
        if doubt != NULL:
            greatest = maximum(minimum(greatest, <double> 4.49423283715579e+307), <double> 4.450147717014403e-308)
            exponent = as_bits(greatest) & 0x7FF0000000000000ULL
            return (as_double(0x7FE0000000000000ULL - exponent), as_double(exponent))
    return (1.0, 1.0)


# ---------------------------------------------------------------------------------------------------------------------
# |y|^p: z (1 + W) = a, W = lambd p z^(p - 2)

cdef struct Power:
    pair knot     # the threshold T
    double z      # and the root there
    double w      # W there: p / (2 (1 - p)); beyond, W is less

cdef inline Power lp_knot(double lambd, double p, bint fma) noexcept nogil:
    """T = (2 - p) / (2 (1 - p)) z, z = (2 lambd (1 - p))^(1 / (2 - p))."""
    cdef Power k
    cdef pair q = total(1, -p, True), two_q = total(2, -p, True)
    cdef pair z = times((2 * lambd, 0.0), q, True, fma)
    cdef pair log = plus(logarithm_pair(z[0], False, fma), (z[1] / z[0], 0.0), True)
    z = exponential_pair(over(log, two_q, True, fma), True, False, fma)
    k.z = z[0]
    k.w = 0.5 * p / q[0]
    k.knot = over(times(z, two_q, True, fma), scaled(q, 2), True, fma)
    k.knot = (k.knot[0], 0 if absolute(k.knot[1]) < k.knot[0] * FUNCTION_NOISE else k.knot[1])
    return k


cdef inline double lp_ratio(double t, double p, double knot_w, bint rough, bint fma) noexcept nogil:
    """W at t times the root at the knot, by what it is there."""
    cdef double power = maximum((p - 2) * (rough_logarithm(t, fma) if rough else logarithm(t, fma)), <double> -700)
    if rough:
        return knot_w * rough_exponential(power, fma)
    return knot_w * exponential_pair((power, 0.0), False, False, fma)[0]


cdef inline double lp_step(double t, double a, double p, double knot_w, bint rough, bint fma) noexcept nogil:
    """A step of Halley's method, after which three times as many digits are right; a rough one gives 20 bits."""
    cdef double w = lp_ratio(t, p, knot_w, rough, fma)
    cdef double f = t * (1 + w) - a, f1 = 1 - (1 - p) * w, f2 = (1 - p) * (2 - p) * w    # by 1 / t
    return t - 2 * t * f * f1 / (2 * t * f1 * f1 - f * f2)


cdef struct LpRoot:
    pair z, lost    # and lambd p z^(p - 1) = a - z


cdef inline LpRoot lp_polished(double z, double a, double lambd, double p, bint exact, bint fma) noexcept nogil:
    """A step of Newton's method with low parts."""
    cdef LpRoot result
    cdef pair log = times(logarithm_pair(z, exact, fma), total(p, -1, True), True, fma), f
    log = (maximum(log[0], <double> -700), log[1])
    cdef pair lost = times(product(lambd, p, True, fma), exponential_pair(log, True, exact, fma), True, fma)
    f = plus(total(z, -a, True), lost, True)
    cdef double step = (f[0] + f[1]) * z / (z - (1 - p) * lost[0])
    result.z = total(z, -step, True)
    result.lost = plus(lost, (lost[0] * (1 - p) * step / z, 0.0), True)
    return result


cdef inline LpRoot lp_root(
    real a, double lambd, double p, double knot, double knot_z, double knot_w, bint fma, uint32_t *doubt,
) noexcept nogil:
    cdef LpRoot result
    cdef double x = maximum(<double> a, knot)
    x = x if x < INFINITY else knot
    # In units of the root at the knot, and where squares do not overflow: far beyond nothing is lost. The root is a
    # concave function of x: below x and below its tangent at the knot.
    cdef double far = 1e100, unit = x / knot_z, z
    cdef bint beyond = unit > far
    unit = minimum(unit, far)
    cdef double t = minimum(unit, 1 + (unit - knot / knot_z) * (2 / (2 - p)))
    t = lp_step(t, unit, p, knot_w, True, fma)
    t = lp_step(t, unit, p, knot_w, True, fma)
    t = lp_step(t, unit, p, knot_w, False, fma)
    z = x if beyond else t * knot_z
    if not wants_low(a, doubt):
        result.z = (z, 0.0)
        result.lost = (z * lp_ratio(t, p, knot_w, False, fma), 0.0)
        return result
    result = lp_polished(z, x, lambd, p, False, fma)
    if doubt == NULL:    # the step squares what is missing of a double
        result = lp_polished(result.z[0], x, lambd, p, True, fma)
    return result


cdef inline double lp_value(
    real a, double lambd, double p, double knot, double knot_z, double knot_w, bint fma, uint32_t *doubt,
) noexcept nogil:
    cdef pair z = lp_root(a, lambd, p, knot, knot_z, knot_w, fma, doubt).z
    return settled(a, z, z[0] * 16 < a, a > knot, FUNCTION_NOISE, doubt)


cdef inline double lp_derivative(
    double k, real a, double lambd, double p, double knot, double knot_z, double knot_w, bint fma, uint32_t *doubt,
) noexcept nogil:
    """D = z / (z - (1 - p) (a - z)); -(a - z) / lambd D; -(a - z) (1 / p + log z) D."""
    cdef bint low = wants_low(a, doubt)
    cdef LpRoot at = lp_root(a, lambd, p, knot, knot_z, knot_w, fma, doubt)
    cdef pair log = (logarithm(at.z[0], fma), 0.0)
    if low:
        log = plus(logarithm_pair(at.z[0], doubt == NULL, fma), (at.z[1] / at.z[0], 0.0), True)
    cdef pair d = over(
        at.z, plus(at.z, negative(times(total(1, -p, low), at.lost, low, fma)), low), low, fma)
    log = plus(over((1.0, 0.0), (p, 0.0), True, fma), log, True)
    cdef double by_x = settled(a, d, at.z[0] * 16 < a, a > knot, FUNCTION_NOISE, doubt)
    d = times(at.lost, d, low, fma)
    cdef double by_lambd = -summed(a, over(d, (lambd, 0.0), low, fma), doubt)
    cdef double by_p = -summed(a, times(d, log, low, fma), doubt)
    return by_x if k < 1 else (by_lambd if k < 2 else by_p)


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + |y| / eps): (z - a) (z + eps) + lambd = 0

cdef inline double log_jump_step(double q, double log_kappa, bint fma) noexcept nogil:
    """A step of Newton's method for log kappa + log(2 (q - 1 + exp(-q))) = 2 log(exp(q) - 1)."""
    cdef double grown = 1 - exponential_pair((-q, 0.0), False, False, fma)[0], lost = q - grown
    cdef double gap = log_kappa + logarithm(2 * lost, fma) - 2 * (q + logarithm(grown, fma))
    return q - gap / (grown / lost - 2 / grown)


cdef inline double log_jump(double lambd, double eps, bint fma) noexcept nogil:
    """Where 0 and the other minimum are equal, for kappa = lambd / eps^2 > 1: at z = eps (exp(q) - 1)."""
    cdef double kappa = minimum(lambd / eps / eps, <double> 1.7976931348623157e+308)
    cdef double v = logarithm(maximum(kappa, <double> 1.0009765625), fma)
    cdef double q = 0.75 * v if v < 1 else 0.5 * v + 0.5 * logarithm(v + 1, fma) + 0.2
    q = log_jump_step(q, v, fma)
    q = log_jump_step(q, v, fma)
    q = log_jump_step(q, v, fma)
    v = kappa - 1
    v = v * (1 - 0.5 * v)    # log kappa
    q = q if kappa > 1.0009765625 else v * (0.75 - 0.0234375 * v)
    q = maximum(q, <double> 1e-300)
    # The least x for which z is better than 0 is z / 2 + lambd log(1 + z / eps) / z; at its minimum over z, errors of z
    # are of second order.
    cdef double z = eps * (q + (q * q * 0.5 if q < 1e-5 else exponential_pair((q, 0.0), False, False, fma)[0] - 1 - q))
    cdef pair u = plus((1.0, 0.0), over((z, 0.0), (eps, 0.0), True, fma), True)
    cdef pair log = plus(logarithm_pair(u[0], False, fma), (u[1] / u[0], 0.0), True)
    return below(plus((0.5 * z, 0.0), times(over((lambd, 0.0), (z, 0.0), True, fma), log, True, fma), True))


cdef inline double log_knot(double lambd, double eps, bint fma) noexcept nogil:
    cdef pair convex = over((lambd, 0.0), (eps, 0.0), True, fma)
    return log_jump(lambd, eps, fma) if lambd / eps > eps else below(convex)


cdef inline pair log_distance(double a, double lambd, double eps, bint low, bint fma) noexcept nogil:
    """S = sqrt((a + eps)^2 - 4 lambd), the distance of the two roots."""
    cdef pair s = total(a, eps, low)
    cdef pair square = plus(times(s, s, True, fma), (-4 * lambd, 0.0), True)
    return root((maximum(square[0], <double> 0), square[1]), low, fma)


cdef inline double log_value(
    real a, double lambd, double eps, double knot, bint fma, uint32_t *doubt,
) noexcept nogil:
    """((a - eps) + S) / 2, or 2 (a eps - lambd) / ((eps - a) + S)."""
    cdef bint low = wants_low(a, doubt), near = a < eps
    cdef pair scale = power_scale(maximum(<double> a, eps), a, doubt)
    cdef double x = a * scale[0], t = lambd * scale[0] * scale[0], e = eps * scale[0]
    cdef pair s = log_distance(x, t, e, low, fma)
    cdef pair far = plus(total(x, -e, low), s, low)
    cdef pair top = plus(product(x, e, low, fma), (-t, 0.0), low)
    cdef pair under = chosen(near, plus(total(e, -x, low), s, low), (2.0, 0.0))
    cdef pair y = over(chosen(near, scaled(top, 2), far), under, low, fma)
    return settled(a, y, s[0] * 8 < x + e, a > knot, NOISE, doubt) * scale[1]


cdef inline double log_derivative(
    double k, real a, double lambd, double eps, double knot, bint fma, uint32_t *doubt,
) noexcept nogil:
    """(1 + (a + eps) / S) / 2; -1 / S; (a - z) / S, where a - z = 2 lambd / (a + eps + S)."""
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = power_scale(maximum(<double> a, eps), a, doubt)
    cdef double x = a * scale[0], t = lambd * scale[0] * scale[0], e = eps * scale[0]
    cdef pair s = log_distance(x, t, e, low, fma), sum = plus(total(x, e, low), s, low)
    cdef double by_x = settled(a, over(sum, scaled(s, 2), low, fma), s[0] * 8 < x + e, a > knot, NOISE, doubt)
    cdef double by_lambd = -summed(a, over((scale[0], 0.0), s, low, fma), doubt)
    cdef double by_eps = summed(a, over(over((2 * t, 0.0), sum, low, fma), s, low, fma), doubt)
    return by_x if k < 1 else (by_lambd if k < 2 else by_eps)


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + y^2 / gamma^2): (z - a) (g + z^2) + 2 lambd z = 0, g = gamma^2

cdef inline double cauchy_step(double z, double a, double g, double b) noexcept nogil:
    """A step of Laguerre's method; b = g + 2 lambd."""
    cdef double f = z * (z * (z - a) + b) - a * g
    cdef double f1 = z * (3 * z - 2 * a) + b, f2 = 6 * z - 2 * a
    cdef double d = f1 + copy_sign(c_sqrt(maximum(4 * f1 * f1 - 6 * f * f2, <double> 0)), f1)
    return z - (3 * f / d if f != 0 else 0)


cdef inline double cauchy_single(double a, double g, double b, bint fma) noexcept nogil:
    """The only root, by Cardano's formula."""
    cdef double third = a * 0.3333333333333333, r = (b - third * a) * 0.3333333333333333
    cdef double q = 0.5 * third * (b - 3 * g) - third * third * third    # t^3 + 3 r t + 2 q = 0, t = z - third
    cdef double cube = absolute(q) + c_sqrt(maximum(q * q + r * r * r, <double> 0))
    cube = maximum(cube, <double> 1e-300)
    cdef double side = exponential_pair((logarithm(cube, fma) * 0.3333333333333333, 0.0), False, False, fma)[0]
    cdef double other = r / side    # side - other = 2 |q| / (side^2 + side other + other^2)
    return third - 2 * q / (side * side + r + other * other)


cdef inline pair cauchy_minima(double x, double b) noexcept nogil:
    """Two minima, for gamma = 1."""
    cdef double near = x / b, far = x
    near = cauchy_step(cauchy_step(cauchy_step(near, x, 1, b), x, 1, b), x, 1, b)
    far = cauchy_step(cauchy_step(cauchy_step(far, x, 1, b), x, 1, b), x, 1, b)
    return (near, far)


cdef inline double cauchy_jump_step(double x, double b, bint fma) noexcept nogil:
    """A step of Newton's method: the difference of the two minima changes by the difference of their places."""
    cdef pair z = cauchy_minima(x, b)
    cdef double width = z[1] - z[0]
    cdef double rise = 0.5 * (b - 1) * logarithm((1 + z[1] * z[1]) / (1 + z[0] * z[0]), fma)
    return 0.5 * (z[1] + z[0]) + rise / width if width > 0 else x


cdef inline double cauchy_knot(double lambd, double gamma, bint fma) noexcept nogil:
    """Where two minima are equal, if lambd > 4 gamma^2; there is but one otherwise."""
    cdef double kappa = minimum(maximum(lambd / gamma / gamma, <double> 4), <double> 1e100), b = 1 + 2 * kappa
    cdef double x = c_sqrt(kappa * (6.75 + 2.29 * logarithm(kappa * 0.25, fma)))
    x = cauchy_jump_step(x, b, fma)
    x = cauchy_jump_step(x, b, fma)
    x = cauchy_jump_step(x, b, fma)
    x = cauchy_jump_step(x, b, fma)
    return x * gamma if kappa > 4 else INFINITY


cdef inline pair cauchy_slope(double z, double a, double g, double b) noexcept nogil:
    """The derivative of the left-hand side, and g + z^2."""
    return (z * (3 * z - 2 * a) + b, g + z * z)


cdef inline pair cauchy_polished(pair z, double a, double gamma, double lambd, double slope, bint fma) noexcept nogil:
    """A step of Newton's method with low parts."""
    cdef pair lost = plus(z, (-a, 0.0), True)
    cdef pair f = plus(product(gamma, gamma, True, fma), times(z, z, True, fma), True)
    f = plus(times(lost, f, True, fma), times((2 * lambd, 0.0), z, True, fma), True)
    return plus(z, (-(f[0] + f[1]) / slope, 0.0), True)


cdef inline pair cauchy_root(
    double x, double lambd, double gamma, double knot, bint low, bint fma,
) noexcept nogil:
    cdef double g = gamma * gamma, b = g + 2 * lambd
    cdef double outside = x if x > knot else x * (g / b)
    outside = cauchy_step(outside, x, g, b)
    outside = cauchy_step(outside, x, g, b)
    outside = cauchy_step(outside, x, g, b)
    cdef double z = cauchy_single(x, g, b, fma) if knot == INFINITY else outside
    z = cauchy_step(z, x, g, b)
    cdef pair found = (z, 0.0)
    if low:
        found = cauchy_polished(found, x, gamma, lambd, cauchy_slope(found[0], x, g, b)[0], fma)
        found = cauchy_polished(found, x, gamma, lambd, cauchy_slope(found[0], x, g, b)[0], fma)
    return found


cdef inline double cauchy_value(
    real a, double lambd, double gamma, double knot, bint fma, uint32_t *doubt,
) noexcept nogil:
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = power_scale(maximum(maximum(<double> a, gamma), c_sqrt(lambd)), a, doubt)
    cdef double x = a * scale[0], t = lambd * scale[0] * scale[0], h = gamma * scale[0]
    cdef pair z = cauchy_root(x, t, h, knot * scale[0], low, fma)
    cdef pair slope = cauchy_slope(z[0], x, h * h, h * h + 2 * t)
    return settled(a, z, x * slope[1] > 16 * z[0] * slope[0], x > 0, NOISE, doubt) * scale[1]


cdef inline double cauchy_derivative(
    double k, real a, double lambd, double gamma, double knot, bint fma, uint32_t *doubt,
) noexcept nogil:
    """(g + z^2) / P; -2 z / P; 2 gamma (a - z) / P.

    P = g + z^2 - 2 z (a - z) + 2 lambd, and a - z = 2 lambd z / (g + z^2).
    """
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = power_scale(maximum(maximum(<double> a, gamma), c_sqrt(lambd)), a, doubt)
    cdef double x = a * scale[0], t = lambd * scale[0] * scale[0], h = gamma * scale[0]
    cdef pair z = cauchy_root(x, t, h, knot * scale[0], low, fma)
    cdef pair g = plus(product(h, h, low, fma), times(z, z, low, fma), low)
    cdef pair lost = over(times((2 * t, 0.0), z, low, fma), g, low, fma)
    cdef pair slope = plus(plus(g, (2 * t, 0.0), low), times(scaled(z, -2), lost, low, fma), low)
    cdef bint ill = x * g[0] > 16 * z[0] * slope[0]
    cdef double by_x = settled(a, over(g, slope, low, fma), ill, x > 0, NOISE, doubt)
    cdef double by_lambd = -summed(a, over(scaled(z, 2 * scale[0]), slope, low, fma), doubt)
    cdef double by_gamma = summed(a, over(times((2 * h, 0.0), lost, low, fma), slope, low, fma), doubt)
    return by_x if k < 1 else (by_lambd if k < 2 else by_gamma)
