# The proximal maps of lambd |y|^p, lambd log(1 + |y| / eps) and lambd log(1 + y^2 / gamma^2), at a = |x|.
#
# Each has a stationary point z, the largest where there are more, from its threshold or jump on. With low parts z is
# corrected by a step of Newton's method whose residual carries low parts; derivatives are rational functions of z.
# A float whose result is ill-conditioned is in doubt.

from .arithmetic cimport (
    INFINITY, absolute, as_bits, as_double, c_sqrt, copy_sign, madd, maximum, minimum, real, uint32_t, uint64_t,
)
from .exponential cimport (
    Exponential, exponential, exponential_less_one, exponential_pair, logarithm, logarithm_pair, power_of_two,
    rough_exponential, rough_logarithm,
)
from .pairs cimport (
    NOISE, below, chosen, negative, over, pair, plus, product, root, scaled, settle, summed, times, total, total_of,
    wants_low,
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

cdef inline pair lp_power(pair log, double p, bint low, bint exact, bint fma) noexcept nogil:
    """p z^(p - 1), by log z."""
    cdef pair power = times(log, total(p, -1, low), low, fma)
    power = (maximum(power[0], <double> -700), power[1])
    return times((p, 0.0), exponential_pair(power, low, exact, fma), low, fma)


cdef struct Power:
    pair knot    # the threshold T
    double up    # a power of two by which the following are multiplied, so that none is subnormal
    double z     # the root at the knot
    pair lost    # lambd p z^(p - 1) there
    double w     # W there: p / (2 (1 - p)); beyond, it is less

cdef inline Power lp_knot(double lambd, double p, bint fma) noexcept nogil:
    """T = (2 - p) / (2 (1 - p)) z, z = (2 lambd (1 - p))^(1 / (2 - p))."""
    cdef Power k
    cdef pair q = total(1, -p, True), two_q = total(2, -p, True), z, log, unit
    cdef bint large = lambd > 1, small = lambd < 1e-200, tiny
    cdef double up = 0.25 if large else (1.6069380442589903e+60 if small else 1.0)    # 2^200
    unit = (138.62943611198907 if small else 0, -3.3555121496085278e-15 if small else 0)    # log of it
    unit = (-1.3862943611198906 if large else unit[0], -4.638093627692599e-17 if large else unit[1])
    z = times((lambd * (2 * up), 0.0), q, True, fma)
    log = plus(logarithm_pair(z[0], False, fma), (z[1] / z[0], 0.0), True)
    log = over(plus(log, negative(unit), True), two_q, True, fma)
    tiny = log[0] < -600
    unit = (138.62943611198907 if tiny else 0, -3.3555121496085278e-15 if tiny else 0)
    z = exponential_pair(plus(log, unit, True), True, False, fma)
    k.up = 1.6069380442589903e+60 if tiny else 1
    k.knot = plus(over(times(z, two_q, True, fma), scaled(q, 2), True, fma), (0.0, 0.0), True)
    k.knot = (k.knot[0], 0 if absolute(k.knot[1]) < k.knot[0] * 1.734723475976807e-18 else k.knot[1])    # 2^-59
    k.knot = scaled(k.knot, 6.223015277861142e-61 if tiny else 1)    # 2^-200
    k.knot = chosen(lambd > 0, k.knot, (0.0, 0.0))
    k.z = z[0] if lambd > 0 else 1
    k.lost = times(lp_power(plus(log, (-z[1] / z[0], 0.0), True), p, True, False, fma), (lambd * k.up, 0.0), True, fma)
    k.lost = chosen(lambd > 0, k.lost, (0.0, 0.0))
    k.w = k.lost[0] / k.z
    return k


cdef inline double lp_step(double s, double d, double p, double w, bint fma) noexcept nogil:
    """A step of Halley's method for exp(s) + w exp((p - 1) s) = 1 + w + d, after which three times as many digits are
    right, of twenty bits: z is exp(s), in units of the root at the knot, and d what x is beyond it.

    What cancels near the knot, the more the nearer p is to 1, is not there: exp() - 1 is what is computed.
    """
    cdef pair inverse = rough_exponential(-s, fma), power = rough_exponential((p - 1) * s, fma)
    cdef double f = madd(inverse[1], madd(w, power[0], -d, fma), -inverse[0], fma), h = w * inverse[1] * power[1]
    cdef double f1 = madd(p - 1, h, 1, fma), f2 = madd((p - 1) * (p - 1), h, 1, fma)
    return s - 2 * f * f1 / (2 * f1 * f1 - f * f2)


cdef inline pair lp_polished(double z, double a, double lambd, double p, bint fma) noexcept nogil:
    """A step of Newton's method in more digits, which squares what is missing of a double."""
    cdef pair lost = times(lp_power(logarithm_pair(z, True, fma), p, True, True, fma), (lambd, 0.0), True, fma)
    cdef pair f = plus(total(z, -a, True), lost, True)
    return total(z, -(f[0] + f[1]) * z / (z - (1 - p) * lost[0]), True)


cdef inline pair lp_root(real a, double lambd, double p, Power k, bint fma, uint32_t *doubt) noexcept nogil:
    """The larger root, z_T exp(s), where z_T is that at the knot, by steps of Halley's method in s, the last one with
    low parts where they are wanted. Times k.up."""
    cdef bint low = wants_low(a, doubt)
    cdef double x = maximum(<double> a, k.knot[0]), far = 1e307
    cdef pair past = plus((x * k.up, 0.0), negative(plus((k.z, 0.0), k.lost, True)), True)
    cdef double d = minimum(past[0] * (1 / k.z), far)    # beyond which nothing is lost; so it is where x is inf
    # It is a concave function of x: below x and below its tangent at the knot.
    cdef double s = rough_logarithm(minimum(1 + k.w + d, 1 + d * (2 / (2 - p))), fma)
    s = lp_step(s, d, p, k.w, fma)
    s = lp_step(s, d, p, k.w, fma)
    cdef pair power = times((s, 0.0), total(p, -1, low), low, fma)
    cdef pair grown = times((k.z, 0.0), exponential_less_one((s, 0.0), low, fma), low, fma)
    cdef pair change = times(k.lost, exponential_less_one(power, low, fma), low, fma)
    cdef pair f = plus(plus(grown, negative(past), low), change, low), z = plus((k.z, 0.0), grown, low)
    cdef double lost = k.lost[0] + change[0], inverse = 1 / (z[0] - (1 - p) * lost), step = (f[0] + f[1]) * inverse
    step = step * (1 + 0.5 * step * inverse * (z[0] + (1 - p) * (1 - p) * lost))
    z = plus(z, (z[0] * (0.5 * step * step - step), 0.0), low)
    z = chosen((d < far) & (lambd > 0), z, (minimum(x * k.up, <double> 1.7976931348623157e+308), 0.0))
    return lp_polished(z[0], x, lambd, p, fma) if doubt == NULL else z


cdef inline double lp_value(real a, double lambd, double p, Power k, bint fma, uint32_t *doubt) noexcept nogil:
    cdef pair z = lp_root(a, lambd, p, k, fma, doubt)
    cdef double y = settled(a, z, z[0] * 16 < a, a > k.knot[0], FUNCTION_NOISE, doubt) * (1 / k.up)
    return y if a * k.up < INFINITY else a


cdef inline double lp_derivative(
    double k, real a, double lambd, double p, Power at, bint fma, uint32_t *doubt,
) noexcept nogil:
    """D = z / (z - (1 - p) (a - z)); -p z^(p - 1) D; -lambd p z^(p - 1) (1 / p + log z) D."""
    cdef bint low = wants_low(a, doubt)
    cdef pair z = lp_root(a, lambd, p, at, fma, doubt), log = (logarithm(z[0], fma), 0.0), by_power
    cdef pair lost = plus((minimum(a * at.up, <double> 1.7976931348623157e+308), 0.0), negative(z), low)
    cdef pair d = over(z, plus(z, negative(times(total(1, -p, low), lost, low, fma)), low), low, fma)
    cdef double by_x = settled(a, d, z[0] * 16 < a, a > at.knot[0], FUNCTION_NOISE, doubt)
    if low:
        log = plus(logarithm_pair(z[0], False, fma), (z[1] / z[0], 0.0), True)
        log = plus(log, chosen(at.up > 1, (-138.62943611198907, 3.3555121496085278e-15), (0.0, 0.0)), True)
    by_power = times(lp_power(log, p, low, False, fma), d, low, fma)
    log = plus(over((1.0, 0.0), (p, 0.0), True, fma), log, True)
    cdef double by_lambd = -summed(a, by_power, doubt)
    cdef double by_p = -summed(a, times(times((lambd, 0.0), by_power, low, fma), log, low, fma), doubt)
    return by_x if k < 1 else (by_lambd if k < 2 else by_p)


# ---------------------------------------------------------------------------------------------------------------------
# log(1 + |y| / eps): (z - a) (z + eps) + lambd = 0

cdef inline double log_jump_step(double q, double log_kappa, bint fma) noexcept nogil:
    """A step of Newton's method for log kappa + log(2 (q - 1 + exp(-q))) = 2 log(exp(q) - 1)."""
    cdef double grown = 1 - exponential_pair((-minimum(q, <double> 700), 0.0), False, False, fma)[0], lost = q - grown
    cdef double gap = log_kappa + logarithm(2 * lost, fma) - 2 * (q + logarithm(grown, fma))
    return q - gap / (grown / lost - 2 / grown)


cdef inline double log_jump(double lambd, double eps, bint fma) noexcept nogil:
    """Where 0 and the other minimum are equal, for kappa = lambd / eps^2 > 1: at z = eps (exp(q) - 1)."""
    cdef double kappa = lambd / eps / eps    # which may be inf
    cdef double v = maximum(logarithm(lambd, fma) - 2 * logarithm(eps, fma), <double> 9e-4)
    cdef double q = 0.75 * v if v < 1 else 0.5 * v + 0.5 * logarithm(v + 1, fma) + 0.2
    q = log_jump_step(q, v, fma)
    q = log_jump_step(q, v, fma)
    q = log_jump_step(q, v, fma)
    v = minimum(kappa, <double> 2) - 1
    v = v * (1 - 0.5 * v)    # log kappa
    q = q if kappa > 1.0009765625 else v * (0.75 - 0.0234375 * v)
    q = maximum(q, <double> 1e-300)
    # The least x for which z is better than 0 is z / 2 + lambd q / z; at its minimum over z, errors of z are of second
    # order. 2^k may leave the range, while z does not.
    cdef Exponential e = exponential((q, 0.0), True, False, fma)
    cdef double k = minimum(e.k, <double> 1000), u = power_of_two(k)
    cdef pair z = times((eps, 0.0), plus(total(u, -1, True), scaled(e.p, u), True), True, fma)
    z = scaled(z, power_of_two(minimum(e.k - k, <double> 1000)))
    return below(plus(scaled(z, 0.5), times((q, 0.0), over((lambd, 0.0), z, True, fma), True, fma), True))


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


cdef inline pair cauchy_minima(double x, double g, double b) noexcept nogil:
    cdef double near = x * (g / b), far = x
    near = cauchy_step(cauchy_step(cauchy_step(near, x, g, b), x, g, b), x, g, b)
    far = cauchy_step(cauchy_step(cauchy_step(far, x, g, b), x, g, b), x, g, b)
    return (near, far)


cdef inline double cauchy_jump_step(double x, double g, double log_kappa, bint fma) noexcept nogil:
    """A step of Newton's method: the difference of the two minima changes by the difference of their places."""
    cdef pair z = cauchy_minima(x, g, g + 2)
    cdef bint tiny = g < 1e-200    # and with it the lower minimum
    cdef double width = z[1] - z[0], top = g + z[1] * z[1]
    cdef double rise = logarithm(top if tiny else top / (g + z[0] * z[0]), fma) + (log_kappa if tiny else 0)
    return 0.5 * (z[1] + z[0]) + rise / width if width > 0 else x


cdef inline double cauchy_knot(double lambd, double gamma, bint fma) noexcept nogil:
    """Where two minima are equal, if kappa = lambd / gamma^2 > 4; there is but one otherwise."""
    cdef double kappa = lambd / gamma / gamma, g = 1 / maximum(kappa, <double> 4)
    cdef double log_kappa = logarithm(lambd, fma) - 2 * logarithm(gamma, fma)
    cdef double x = c_sqrt(6.75 + 2.29 * maximum(log_kappa - 1.3862943611198906, <double> 0))
    x = cauchy_jump_step(x, g, log_kappa, fma)
    x = cauchy_jump_step(x, g, log_kappa, fma)
    x = cauchy_jump_step(x, g, log_kappa, fma)
    x = cauchy_jump_step(x, g, log_kappa, fma)
    return x * c_sqrt(lambd) if kappa > 4 else INFINITY


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
    cdef pair slope = cauchy_slope(z[0], x, h * h, h * h + 2 * t), lower
    if real is double:
        if doubt != NULL:    # of which the square would vanish
            lower = scaled(over(product(x, h, True, fma), (2 * t, 0.0), True, fma), scale[1])
            lower = times(lower, (h, 0.0), True, fma)
            z = scaled(z, scale[1])
            return total_of(chosen((h * h < 1e-280) & (<double> a <= knot) & (knot < INFINITY), lower, z))
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
    lost = chosen(g[0] > 0, lost, (x - z[0], 0.0))
    cdef pair slope = plus(plus(g, (2 * t, 0.0), low), times(scaled(z, -2), lost, low, fma), low)
    cdef bint ill = x * g[0] > 16 * z[0] * slope[0]
    cdef double by_x = settled(a, over(g, slope, low, fma), ill, x > 0, NOISE, doubt)
    cdef double by_lambd = -summed(a, over(scaled(z, 2 * scale[0]), slope, low, fma), doubt)
    cdef double by_gamma = summed(a, over(times((2 * h, 0.0), lost, low, fma), slope, low, fma), doubt)
    return by_x if k < 1 else (by_lambd if k < 2 else by_gamma)
