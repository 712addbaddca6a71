# The smooth operators.
#
# tanhshrink: x - tanh(x), and its derivative tanh(x)^2, without the cancellation.
#
# float32, and the 16-bit types (doubt = NULL), in double: |x| <= 8.2 is a rational function of x^2 with positive
# coefficients, beyond it the nearest float of |x| - tanh|x| is that of |x| - (1 - 2^-24). The coefficients are minimax
# (2^-59.8 and 2^-49), then moved by single ulps until all 2^32 inputs round correctly, with fused multiply-adds and
# without: the value is the same at every instruction set level. N(0) is one ulp below the nearest double of 1/3 (of 1
# in the derivative), because x^3/3 (x^2) meets midpoints exactly where the true value is just below.
#
# float64: below 1.375 a rational function whose last steps and division carry a low part; above it
# (|x| - 1) + 2 / (exp(2|x|) + 1), where |x| - 1 is exact. One division serves both. At most 0.86 ulp measured
# (1 ulp among subnormal results), and 0.62 for the derivative.

from .arithmetic cimport (
    INFINITY, absolute, as_bits, as_double, copy_sign, high_part, madd, maximum, minimum, product_error, real, residual,
    uint32_t,
)
from .exponential cimport Exponential, exponential, power_of_two
from .pairs cimport NOISE, chosen, negative, over, pair, plus, scaled, settle, summed, times, total, wants_low


cdef inline double tanh_narrow(float x, bint fma) noexcept nogil:
    """|tanh(x)| of a number of at most 24 bits."""
    cdef double b = minimum(absolute(x), <float> 9.4)
    cdef double s = b * b
    cdef double n = 3.078816747034339e-13
    n = madd(n, s, 6.687720027697205e-10, fma)
    n = madd(n, s, 3.5613575460905064e-07, fma)
    n = madd(n, s, 6.892288409325905e-05, fma)
    n = madd(n, s, 0.005292844739829053, fma)
    n = madd(n, s, 0.14718182007251418, fma)
    n = madd(n, s, 0.9999999999999999, fma)
    cdef double q = 2.53293015727151e-15
    q = madd(q, s, 1.796956435139471e-11, fma)
    q = madd(q, s, 1.7756454868115726e-08, fma)
    q = madd(q, s, 5.567362329004364e-06, fma)
    q = madd(q, s, 0.0006788994676760785, fma)
    q = madd(q, s, 0.03213122920849684, fma)
    q = madd(q, s, 0.4805151534058224, fma)
    q = madd(q, s, 1.0, fma)
    return b * n / q


cdef inline double tanhshrink_narrow(float x, bint fma) noexcept nogil:
    """|x - tanh(x)| of a number of at most 24 bits, for one rounding to as many bits or fewer."""
    cdef float limit = <float> 8.2
    cdef float a = absolute(x)
    cdef double b = minimum(a, limit)
    cdef double s = b * b
    cdef double n = 1.3804111464632122e-14
    n = madd(n, s, 3.6219900553785464e-11, fma)
    n = madd(n, s, 2.4249277083517743e-08, fma)
    n = madd(n, s, 6.1532941470588816e-06, fma)
    n = madd(n, s, 0.0006538427170382156, fma)
    n = madd(n, s, 0.027395926807688663, fma)
    n = madd(n, s, 0.33333333333333326, fma)
    cdef double q = 1.3909101274994125e-14
    q = madd(q, s, 3.711477336705744e-11, fma)
    q = madd(q, s, 2.5359343390142468e-08, fma)
    q = madd(q, s, 6.610262625384459e-06, fma)
    q = madd(q, s, 0.0007311790743563032, fma)
    q = madd(q, s, 0.032931878415579104, fma)
    q = madd(q, s, 0.48218778042306565, fma)
    q = madd(q, s, 1.0, fma)
    cdef double near = b * s * n / q
    cdef double far = <double> a - 0.999999940395355224609375    # a - (1 - 2^-24)
    return near if a < limit else far


cdef inline double tanhshrink_double(double x, bint fma) noexcept nogil:
    cdef double limit = 1.375
    cdef double a = absolute(x), b = minimum(a, limit)
    cdef double s, sl, n1, q1, q2, q1l, nh, nl, qh, ql, gh, gl    # the names with l are low parts
    cdef double bh, bl, sh, t2, n1h, q1h, pn, pnl, pq, pql, nr
    # Below the limit: (b * s * n) / q with s = b^2, n = 1.25 + s n1, q = 3.75 + s q1.
    if fma:
        s = b * b
        sl = madd(b, b, -s, fma)
        n1 = madd(s, madd(s, 4.722220938444492e-06, 0.0013937403686586553, fma), 0.08812427902640181, fma)
        q2 = madd(s, madd(s, 4.828617055435084e-06, 0.0015005481139374786, fma), 0.10278749879480234, fma)
        q1 = madd(s, q2, 1.7643728370792053, fma)
        nh = madd(s, n1, 1.25, fma)
        nl = madd(s, n1, 1.25 - nh, fma)
        qh = madd(s, q1, 3.75, fma)
        q1l = madd(s, q2, 1.7643728370792053 - q1, fma) + sl * q2
        ql = madd(s, q1l, madd(s, q1, 3.75 - qh, fma) + sl * q1, fma)
        gh = s * nh
        gl = madd(s, nl, madd(sl, nh + s * n1, madd(s, nh, -gh, fma), fma), fma)
        nh = b * gh
        nl = madd(b, gl, product_error(b, gh, nh, fma), fma)
    else:
        bh = high_part(b, 0xFFFFFE0000000000ULL)
        bl = b - bh
        sh = bh * bh
        sl = bl * (b + bh)
        s = sh + sl
        n1 = 0.08812427902640181 + s * (0.0013937403686586553 + s * 4.722220938444492e-06)
        q2 = 0.10278749879480234 + s * (0.0015005481139374786 + s * 4.828617055435084e-06)
        t2 = s * q2
        q1 = 1.7643728370792053 + t2
        n1h = high_part(n1, 0xFFFFFFFF00000000ULL)
        q1h = high_part(q1, 0xFFFFFFFF00000000ULL)
        q1l = (q1 - q1h) + ((1.7643728370792053 - q1) + t2)
        pn = s * n1
        pnl = (sh * n1h - pn) + (sh * (n1 - n1h) + sl * n1)
        pq = s * q1
        pql = (sh * q1h - pq) + (sh * q1l + sl * q1)
        nr = 1.25 + pn
        nh = high_part(nr, 0xFFFFFFF000000000ULL)
        nl = (nr - nh) + (((1.25 - nr) + pn) + pnl)
        qh = 3.75 + pq
        ql = ((3.75 - qh) + pq) + pql
        gh = sh * nh
        gl = sh * nl + sl * nr
        nh = bh * gh
        nl = bl * gh + b * gl
    # Above it: 2 / (exp(2a) + 1), with 2a = k ln 2 + r.
    cdef double z = 2 * minimum(a, <double> 20)
    cdef double shifted = madd(z, 1.4426950408889634, 6755399441055744.0, fma)
    cdef double k = shifted - 6755399441055744.0
    cdef double u = as_double((as_bits(shifted) << 52) + as_bits(1))    # 2^k
    cdef double r = madd(-k, 0.6931471805582987, z, fma) - k * 1.646594958289708e-12
    cdef double e = 2.5109731570939406e-08
    e = madd(e, r, 2.7620200807272093e-07, fma)
    e = madd(e, r, 2.7557243266768955e-06, fma)
    e = madd(e, r, 2.4801520986491404e-05, fma)
    e = madd(e, r, 0.00019841269885653983, fma)
    e = madd(e, r, 0.0013888888917497598, fma)
    e = madd(e, r, 0.00833333333332258, fma)
    e = madd(e, r, 0.041666666666623164, fma)
    e = madd(e, r, 0.16666666666666674, fma)
    e = madd(e, r, 0.5000000000000001, fma)
    cdef double d = (u + 1) + u * (r + r * r * e)
    cdef bint small = a < limit
    cdef double numerator = nh if small else 2
    cdef double denominator = qh if small else d
    nl = nl if small else 0
    ql = ql if small else 0
    cdef double base = 0 if small else a - 1
    cdef double inverse = 1 / denominator
    cdef double y = numerator * inverse
    return copy_sign(base + (y + (residual(numerator, y, denominator, fma) + (nl - y * ql)) * inverse), x)


cdef inline double tanh_squared(double x, bint fma) noexcept nogil:
    """tanh(x)^2 by t = -m / (2 + m), m = expm1(-2|x|) with a low part throughout."""
    cdef Exponential exp = exponential((-2 * minimum(absolute(x), <double> 20), 0.0), True, False, fma)
    cdef double u = power_of_two(exp.k), p = exp.p[0], pl = exp.p[1]
    cdef double v = u - 1
    cdef double vl = u - (v + 1)
    cdef double up = u * p
    cdef double m = v + up
    cdef double ml = ((v - m) + up) + (u * pl + vl)
    cdef double d = 2 + m
    cdef double dl = ((2 - d) + m) + ml
    cdef double inverse = 1 / d
    cdef double t = -m * inverse
    cdef double tl = (residual(-m, t, d, fma) - (ml + t * dl)) * inverse
    cdef double f = t * t
    f = f + (product_error(t, t, f, fma) + 2 * t * tl)
    f = x * x if absolute(x) < 1e-120 else f
    return f if x == x else x


cdef inline real tanhshrink(real x, bint fma, uint32_t *doubt) noexcept nogil:
    if real is double:
        if doubt != NULL:
            return tanhshrink_double(x, fma)
    return copy_sign(<real> tanhshrink_narrow(<float> x, fma), x)    # a NaN as it came, in what is far


cdef inline double tanhshrink_derivative(real x, bint fma, uint32_t *doubt) noexcept nogil:
    cdef double t
    if real is double:
        if doubt != NULL:
            return tanh_squared(x, fma)
    t = tanh_narrow(<float> x, fma)
    return t * t if x == x else x


# sigmoidshrink: a sigmoid(t), t = tau (a - lambd). With w = exp(-|t|) nothing overflows; w = 2^k (1 + p) where it is a
# factor of the result, so that the power of two comes last.

cdef struct Sigmoid:
    bint inside           # t < 0
    pair factor, w, sum   # 1 + p, w, and 1 + w
    double scale, last    # whose product is 2^k

cdef inline Sigmoid sigmoid(real a, double lambd, double tau, bint low, bint exact, bint fma) noexcept nogil:
    cdef Sigmoid s
    cdef double enough = minimum(3000 / tau, <double> 1.7976931348623157e+308)    # beyond it nothing changes
    cdef pair d = total(a, -lambd, True), t
    d = (maximum(minimum(d[0], enough), -enough), d[1] if absolute(d[0]) < enough else 0)
    t = times(d, (tau, 0.0), True, fma)
    s.inside = t[0] < 0
    t = (absolute(t[0]), -t[1] if s.inside else t[1])
    t = (-minimum(t[0], <double> 2000), -t[1] if t[0] < 2000 else 0)
    cdef Exponential e = exponential(t, low, exact, fma)
    s.factor = plus((1.0, 0.0), e.p, low)
    s.scale = power_of_two(maximum(e.k, <double> -1021))
    s.last = power_of_two(minimum(maximum(e.k + 1021, <double> -1021), <double> 0)) if e.k > -2042 else 0
    s.w = scaled(scaled(s.factor, s.scale), s.last)
    s.sum = plus((1.0, 0.0), s.w, low)
    return s


cdef inline double sigmoid_settled(real a, pair y, double scale, double last, uint32_t *doubt) noexcept nogil:
    if real is double:
        if doubt != NULL:
            return (y[0] + y[1]) * scale * last
    return settle(a, scaled(scaled(y, scale), last), True, NOISE, doubt)


cdef inline real sigmoid_value(real a, double lambd, double tau, bint fma, uint32_t *doubt) noexcept nogil:
    cdef bint low = wants_low(a, doubt)
    cdef Sigmoid s = sigmoid(a, lambd, tau, low, doubt == NULL, fma)
    cdef pair top = chosen(s.inside, s.factor, (1.0, 0.0))
    cdef pair y = over(times((a, 0.0), top, low, fma), s.sum, low, fma)
    return <real> sigmoid_settled(a, y, s.scale if s.inside else 1, s.last if s.inside else 1, doubt)


cdef inline double sigmoid_derivative(
    double k, real a, double lambd, double tau, bint fma, uint32_t *doubt,
) noexcept nogil:
    """sigmoid(t) (1 + tau a sigmoid(-t)); -tau a sigmoid(t) sigmoid(-t) and a (a - lambd) sigmoid(t) sigmoid(-t)."""
    cdef bint low = wants_low(a, doubt)
    cdef Sigmoid s = sigmoid(a, lambd, tau, low, doubt == NULL, fma)
    cdef pair steep = times((a, 0.0), (tau, 0.0), low, fma), flat = times((a, 0.0), total(a, -lambd, low), low, fma)
    cdef pair y, even
    cdef double greatest = 1.7976931348623157e+308, by_x
    steep = (minimum(steep[0], greatest), steep[1] if steep[0] < greatest else 0)
    flat = (maximum(minimum(flat[0], greatest), -greatest), flat[1] if absolute(flat[0]) < greatest else 0)
    y = over(times(steep, chosen(s.inside, (1.0, 0.0), s.w), low, fma), s.sum, low, fma)
    y = times(chosen(s.inside, s.factor, (1.0, 0.0)), plus((1.0, 0.0), y, low), low, fma)
    y = over(y, s.sum, low, fma)
    by_x = sigmoid_settled(a, y, s.scale if s.inside else 1, s.last if s.inside else 1, doubt)
    even = over(over(s.factor, s.sum, low, fma), s.sum, low, fma)
    steep = times(negative(steep), even, low, fma)
    flat = times(flat, even, low, fma)
    y = chosen(k < 2, steep, flat)
    return by_x if k < 1 else summed(a, y, doubt) * s.scale * s.last
