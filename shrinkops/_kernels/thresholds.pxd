# The pieces of the thresholds that are rational functions or a root, at a = |x| above the threshold, and the constants
# that these take from the parameters.

from .arithmetic cimport (
    INFINITY, as_bits, as_double, c_fma, c_fmaf, differ, madd, maximum, minimum, near_midpoint, product_error, real,
    reciprocal, residual, round_to_odd, sum_error, uint32_t, uint64_t,
)
from .floats cimport (
    Singles, error_of, floats, gap, greater_of, halves, margin_of, multiple_of, product_of, quotient_of,
    rounded_multiple, rounded_sum, sum_of,
)
from .pairs cimport (
    NOISE, chosen, gap_of, multiple_by, negative, over, pair, plus, product, root, scaled, settle, summed, times, total,
    total_of, wants_low,
)

cdef inline pair scale_of(double a) noexcept nogil:
    """A power of two that brings a double to where its reciprocal and its products are normal, and its inverse."""
    cdef double up = 4.149515568880993e+180, down = 2.409919865102884e-181
    cdef bint small = a < 3.8725919148493183e-121, large = a > 2.5822498780869086e+120
    return (up if small else (down if large else 1.0), down if small else (up if large else 1.0))


cdef inline pair scale_for(real a, uint32_t *doubt) noexcept nogil:
    """scale_of(a) where the product of two numbers of its type could leave the range of a double."""
    if real is double:
        if doubt != NULL:
            return scale_of(a)
    return (1.0, 1.0)


cdef inline pair raise_for(real a, uint32_t *doubt) noexcept nogil:
    """The same for what is only multiplied by slopes: too large is no harm."""
    cdef bint small = a < 3.8725919148493183e-121
    if real is double:
        if doubt != NULL:
            return (4.149515568880993e+180 if small else 1.0, 2.409919865102884e-181 if small else 1.0)
    return (1.0, 1.0)


cdef inline double knot_times(double knot, double factor, bint fma) noexcept nogil:
    """The double for which a < knot_times(knot, factor) is a < knot factor, exactly."""
    cdef bint small = (knot < 3.8725919148493183e-121) & (factor < 2.5822498780869086e+120)
    cdef double up = 4.149515568880993e+180 if small else 1
    cdef pair p = product(knot * up, factor, True, fma)
    cdef double y = p[0] * (2.409919865102884e-181 if small else 1), back = y * up
    cdef bint less = (back < p[0]) | ((back == p[0]) & (p[1] > 0))
    return as_double(as_bits(y) + <uint64_t> less)


cdef inline pair inverse_of(pair x, bint fma) noexcept nogil:
    """1 / x, 0 for x = inf."""
    return over((1.0, 0.0), x, True, fma)


cdef inline double unit_of(double weight) noexcept nogil:
    """A power of two in units of which 1 / (1 + weight) is near 1; of weights that a float may have, 1."""
    cdef uint64_t exponent = as_bits(minimum(weight, <double> 4.49423283715579e+307)) & 0x7FF0000000000000ULL
    return 1 if weight < 1e40 else as_double(0x7FE0000000000000ULL - exponent)


cdef inline pair firm_slope(double low, double high, bint fma) noexcept nogil:
    """high / (high - low), 1 for high = inf."""
    cdef double scale = 1 if high > 1e-270 else 1.3407807929942597e+154    # 2^512: keeps the residual normal
    cdef pair slope = over((high * scale, 0.0), total(high * scale, -low * scale, True), True, fma)
    return chosen(high < INFINITY, slope, (1.0, 0.0))


cdef inline double noise_of(double slope, double plain) noexcept nogil:
    """What to take for an error in the low part of a product: nothing, where the slope is just the plain one."""
    return 0 if slope == plain else NOISE


cdef inline double doubtful_from(double knot, pair slope, bint few) noexcept nogil:
    """The knot, or inf: from where on products with a slope may be in doubt.

    A slope of few bits, where there are few to multiply, and a power of two meet midpoints all the time, but exactly.
    """
    cdef uint64_t mask = 0x1FFFFFFFULL if few else 0xFFFFFFFFFFFFFULL
    return INFINITY if ((as_bits(slope[0]) & mask) == 0) & (slope[1] == 0) else knot


cdef inline float normal_from(real knot, real slope) noexcept nogil:
    """Where formulas of pairs of floats begin, whose low parts are normal from there on; inf: nowhere."""
    cdef bint usable = (((slope > <real> 9e-13) & (slope < <real> 1.1e12)) | (slope == 0)) & (knot < <real> 1e30)
    cdef real tiny = <real> 8.673617379884035e-19    # 2^-60
    return (<float> tiny if knot < tiny else <float> 0) if usable else INFINITY


# Firm, MCP, elastic net: a ramp

cdef inline Singles singles_of_ramp(double knot, pair slope, double doubtful) noexcept nogil:
    # With a slope of one part no midpoint is missed: the low part of the product is rounded once.
    return Singles(halves(slope[0], slope[1]), (0, 0), 0, margin_of(doubtful < INFINITY),
                   normal_from(knot, slope[0]))


cdef inline Singles singles_of_slope(float knot, floats slope, bint few) noexcept nogil:
    """The same for a slope that is another one for each element."""
    cdef bint exact = (slope[1] == 0) & (few | (slope[0] == 1))
    return Singles(slope, (0, 0), 0, margin_of(not exact), normal_from(knot, slope[0]))


cdef inline Singles singles_of_firm(float low, float high) noexcept nogil:
    cdef Singles s
    cdef floats slope = quotient_of(high, gap(high, low))
    cdef bint soft = high == <float> INFINITY
    slope = (<float> 1 if soft else slope[0], <float> 0 if soft else slope[1])
    s = singles_of_slope(low, slope, (high <= <float> 16 * low) | (low == 0))
    s.normal = INFINITY if high < <float> 8.673617379884035e-19 else s.normal    # 2^-60
    return s


cdef inline Singles singles_of_mcp(float knot, float gamma) noexcept nogil:
    cdef floats slope = quotient_of(gamma, gap(gamma, 1))
    cdef bint soft = gamma == <float> INFINITY
    slope = (<float> 1 if soft else slope[0], <float> 0 if soft else slope[1])
    return singles_of_slope(knot, slope, gamma <= 16)


cdef inline Singles singles_of_elasticnet(float knot, float weight) noexcept nogil:
    return singles_of_slope(knot, quotient_of(1, sum_of(1, weight)), True)


cdef inline float ramp_in_floats(float a, float t, Singles s, bint everywhere, uint32_t *doubt) noexcept nogil:
    if everywhere:
        doubt[0] |= <uint32_t> ((a < s.normal) & (not a <= t))
    return rounded_sum(product_of(gap(a, t), s.slope), s.margin, doubt)


cdef inline real ramp(
    real a, double knot, pair slope, double unit, double doubtful, double noise, Singles singles, bint everywhere,
    bint fma, uint32_t *doubt,
) noexcept nogil:
    """(a - knot) slope, which may be more than a, with the slope in units of a power of two.

    everywhere: whether a may be too small for a low part.
    """
    if real is float:
        if fma and doubt != NULL:
            return ramp_in_floats(a, <float> knot, singles, everywhere, doubt)
    elif fma and doubt != NULL:
        return total_of(multiple_by(gap_of(a, knot), slope)) * unit
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = raise_for(a, doubt)
    cdef double x = a * scale[0]
    cdef pair y = times(total(x, -knot * scale[0], low), slope, low, fma)
    return <real> (settle(a, y, (a > doubtful) & (y[0] < x), noise, doubt) * unit * scale[1])


cdef inline double steepening(real a, double knot, pair slope, bint fma, uint32_t *doubt) noexcept nogil:
    """(a - knot) slope^2."""
    cdef bint low = wants_low(a, doubt)
    cdef double y = summed(a, times(times(total(a, -knot, low), slope, low, fma), slope, low, fma), doubt)
    cdef double greatest = 1.7976931348623157e+308
    return y if a <= greatest else slope[0] * greatest * greatest    # inf, or 0 without a slope


cdef inline double ramp_derivative(int k, real a, pair slope, double noise, uint32_t *doubt) noexcept nogil:
    """The slope for k = 0, else that with respect to the knot."""
    return -summed(a, slope, doubt) if k else settle(a, slope, False, noise, doubt)


cdef inline double firm_derivative(
    int k, real a, double low, double high, pair slope, double noise, bint fma, uint32_t *doubt,
) noexcept nogil:
    """slope, -slope (high - a) / (high - low), -low (a - low) / (high - low)^2."""
    cdef bint full = wants_low(a, doubt)
    cdef pair width = total(high, -low, full), part
    if k == 0:
        return ramp_derivative(0, a, slope, noise, doubt)
    elif k == 1:
        part = over(total(high, -a, full), width, full, fma)
        part = chosen(high < INFINITY, part, (1.0, 0.0))
        return -summed(a, times(slope, part, full, fma), doubt)
    part = over(total(a, -low, full), width, full, fma)
    return -summed(a, times(plus(slope, (-1.0, 0.0), True), part, full, fma), doubt)


# SCAD: a ramp whose slope begins at 2 lambd

cdef inline Singles singles_of_scad(double knot, pair bend, double doubtful, bint fma) noexcept nogil:
    """Of the line beyond the bend, a slope - offset."""
    cdef pair slope = plus((1.0, 0.0), bend, True)
    cdef pair offset = times((knot, 0.0), plus((1.0, 0.0), (2 * bend[0], 2 * bend[1]), True), True, fma)
    # The inner line is exact; a bend that is a power of two meets midpoints exactly, and the low parts add up exactly.
    return Singles(halves(slope[0], slope[1]), halves(offset[0], offset[1]), 0, margin_of(doubtful < INFINITY),
                   normal_from_bend(knot, bend[0]))


cdef inline Singles singles_of_each_scad(float knot, float a) noexcept nogil:
    """The same where it is another one for each element."""
    cdef floats bend = quotient_of(1, gap(a, 2)), slope, factor
    cdef bint soft = a == <float> INFINITY, exact
    bend = (<float> 0 if soft else bend[0], <float> 0 if soft else bend[1])
    exact = (bend[1] == 0) & ((a <= 16) | soft)
    slope, factor = sum_of(1, bend[0]), sum_of(1, bend[0] + bend[0])
    slope = (slope[0], slope[1] + bend[1])
    factor = (factor[0], factor[1] + (bend[1] + bend[1]))
    return Singles(slope, multiple_of(knot, factor), 0, margin_of(not exact), normal_from_bend(knot, bend[0]))


cdef inline float normal_from_bend(real knot, real bend) noexcept nogil:
    """A bend that is too sharp cancels too much."""
    cdef float normal = normal_from(knot, <real> 1)
    return INFINITY if (bend > 7) | (normal > 0) & (knot > 0) else <float> 0


cdef inline float bent_ramp_in_floats(float a, float t, Singles s, bint each, uint32_t *doubt) noexcept nogil:
    """The greater of two lines."""
    cdef float inner = a - t
    cdef floats p = multiple_of(a, s.slope), y = gap(p[0], s.offset[0])
    if each:
        doubt[0] |= <uint32_t> ((a < s.normal) & (not a <= t))
    return greater_of((y[0], (p[1] - s.offset[1]) + y[1]), s.margin, inner, doubt)


cdef inline double bent_ramp_in_doubles(double a, double knot, pair bend) noexcept nogil:
    """(a - knot) + max(a - 2 knot, 0) bend."""
    cdef pair more = gap_of(a, 2 * knot), first = gap_of(a, knot), second
    cdef double y
    second = multiple_by(chosen(more[0] > 0, more, (0.0, 0.0)), bend)
    y = first[0] + second[0]
    return y + (sum_error(first[0], second[0], y) + (first[1] + second[1]))


cdef inline real bent_ramp(
    real a, double knot, pair bend, double doubtful, double noise, Singles singles, bint each, bint fma,
    uint32_t *doubt,
) noexcept nogil:
    """(a - knot) + max(a - 2 knot, 0) bend, which may be more than a: nothing cancels."""
    if real is float:
        if fma and doubt != NULL:
            return bent_ramp_in_floats(a, <float> knot, singles, each, doubt)
    elif fma and doubt != NULL:
        return bent_ramp_in_doubles(a, knot, bend)
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = raise_for(a, doubt)
    cdef double x = a * scale[0], t = knot * scale[0]
    cdef pair more = total(x, -2 * t, low)
    more = chosen(more[0] > 0, more, (0.0, 0.0))
    cdef pair y = plus(total(x, -t, low), times(more, bend, low, fma), low)
    return <real> (settle(a, y, (a > doubtful) & (y[0] < x), noise, doubt) * scale[1])


cdef inline double scad_derivative(
    int k, real a, double knot, pair bend, double noise, bint fma, uint32_t *doubt,
) noexcept nogil:
    """1 + bend beyond 2 knot, 1 before; by the knot -1 - 2 bend and -1; by the shape -(a - 2 knot) bend^2."""
    cdef double d
    cdef bint inner = a <= 2 * knot
    if k == 2:
        d = -steepening(a, 2 * knot, bend, fma, doubt)
        return 0 if inner else d
    bend = (bend[0] * (2 if k else 1), bend[1] * (2 if k else 1))
    d = ramp_derivative(k, a, plus((1.0, 0.0), bend, True), noise, doubt)
    return (-1 if k else 1) if inner else d


# Huber: the greater of two lines

cdef inline Singles singles_of_huber(double delta, pair slope, pair loss) noexcept nogil:
    cdef floats multiple = halves(slope[0], slope[1])
    cdef bint exact = (multiple[0] == slope[0]) & (slope[1] == 0)
    return Singles(multiple, halves(loss[0], loss[1]), 0, error_of(multiple, not exact),
                   normal_from_huber(delta, slope[0]))


cdef inline Singles singles_of_each_huber(float lambd, float delta) noexcept nogil:
    """The same where it is another one for each element."""
    cdef bint plain = (lambd == 0) | (delta == 0)
    cdef floats slope = quotient_of(1, sum_of(1, <float> 0 if plain else lambd))
    cdef floats loss = multiple_of(lambd, (delta, 0))
    loss = (<float> 0 if plain else loss[0], <float> 0 if plain else loss[1])
    return Singles(slope, loss, 0, error_of(slope, True), normal_from_huber(delta, slope[0]))


cdef inline float normal_from_huber(real delta, real slope) noexcept nogil:
    cdef float normal = normal_from(delta if delta < INFINITY else <real> 0, slope)
    return INFINITY if slope <= <real> 0.015625 else maximum(normal, <float> 8.673617379884035e-19)    # 2^-60


cdef inline float huber_in_floats(float a, Singles s, uint32_t *doubt) noexcept nogil:
    """The greater of two lines; of what an infinite loss leaves the low part is NaN."""
    cdef floats outer = gap(a, s.offset[0])
    cdef float inner = rounded_multiple(a, s.slope, s.margin, doubt)
    doubt[0] |= <uint32_t> ((a <= s.normal) & (a > 0))
    outer = (outer[0], outer[1] - s.offset[1])
    return greater_of(outer, margin_of(s.offset[1] != 0), inner, doubt)


cdef inline double huber_in_doubles(double a, pair slope, double unit, pair loss) noexcept nogil:
    cdef pair outer = gap_of(a, loss[0])
    return maximum(outer[0] + (outer[1] - loss[1]), total_of(multiple_by((a, 0.0), slope)) * unit)


cdef inline real huber_value(
    real a, pair slope, double unit, pair loss, double knot, double doubtful, Singles singles, bint fma,
    uint32_t *doubt,
) noexcept nogil:
    """Up to the knot a slope, in units of a power of two, and a - loss beyond it."""
    if real is float:
        if fma and doubt != NULL:
            return huber_in_floats(a, singles, doubt)
    elif fma and doubt != NULL:
        return huber_in_doubles(a, slope, unit, loss)
    cdef bint low = wants_low(a, doubt), near = <double> a <= knot
    cdef pair scale = raise_for(a, doubt)
    cdef double x = a * scale[0], lost = loss[0] * scale[0]
    cdef pair inner = scaled(times((x, 0.0), slope, low, fma), unit)
    cdef pair outer = plus((x, 0.0), (-lost, -loss[1] * scale[0]), low)
    cdef double exact = 0 if sum_error(x, -lost, outer[0]) == 0 else x
    cdef pair y = chosen(near, inner, outer)
    return <real> (settle(a, y, (x if near else exact) > (doubtful if near else 0), NOISE, doubt) * scale[1])


# Hyperbolic

cdef inline pair hyperbolic_root(real a, double lambd, double scale, bint low, bint fma) noexcept nogil:
    """sqrt((a - lambd) (a + lambd))."""
    cdef double x = a * scale, t = lambd * scale
    return root(times(total(x, -t, low), total(x, t, low), low, fma), low, fma)


cdef inline real hyperbolic_beyond(real a, double lambd, bint fma, uint32_t *doubt) noexcept nogil:
    cdef pair scale = scale_for(a, doubt)
    cdef pair y = hyperbolic_root(a, lambd, scale[0], wants_low(a, doubt), fma)
    return <real> (settle(a, y, a > lambd, NOISE, doubt) * scale[1])


cdef inline double hyperbolic_derivative(int k, real a, double lambd, bint fma, uint32_t *doubt) noexcept nogil:
    """a / y, and -lambd / y."""
    cdef bint low = wants_low(a, doubt)
    cdef pair scale = scale_for(a, doubt)
    cdef pair y = hyperbolic_root(a, lambd, scale[0], low, fma)
    if k == 0:
        return settle(a, over((a * scale[0], 0.0), y, low, fma), a > lambd, NOISE, doubt)
    return summed(a, over((-lambd * scale[0], 0.0), y, low, fma), doubt)


# Garrote

cdef inline Singles singles_of_garrote(float lambd) noexcept nogil:
    cdef floats square = multiple_of(lambd, (lambd, 0))
    cdef bint usable = (lambd > <float> 1.8e-12) & (lambd < <float> 4e18) | (lambd == 0)
    cdef float inverse = <float> 1 / square[0] if lambd > 0 else <float> 0
    return Singles((0, 0), square, inverse, <float> 5.684341886080802e-14, 0 if usable else INFINITY)    # 2^-44


cdef inline float garrote_in_floats(float a, float t, Singles s, bint each, uint32_t *doubt) noexcept nogil:
    """a - q, q = t^2 / a. Near the threshold that cancels, and is in doubt the sooner: it errs by less than 2^-44 a."""
    cdef float q = s.offset[0] / a
    cdef float low = (c_fmaf(-q, a, s.offset[0]) + s.offset[1]) * (q * s.inverse)    # of q
    cdef floats y = gap(a, q)
    cdef float longer = y[0] + c_fmaf(a, s.margin, y[1] - low), shorter = y[0] + c_fmaf(-a, s.margin, y[1] - low)
    doubt[0] |= <uint32_t> (differ(longer, shorter) & (not a <= t))
    if each:
        doubt[0] |= <uint32_t> ((a < s.normal) & (not a <= t))
    return longer


cdef inline double garrote_inverse(double lambd) noexcept nogil:
    """1 / lambd, for the low part of lambd / a; 0 where that needs none."""
    return 1 / lambd if lambd > 2.2250738585072014e-308 else 0    # the least normal number


cdef inline double garrote_in_doubles(double a, double t, double inverse) noexcept nogil:
    """d + d r, d = a - t, r = t / a, which is at most 1."""
    cdef pair d = gap_of(a, t)
    cdef double r = t / a
    cdef double low = c_fma(-r, a, t) * (r * inverse), p = d[0] * r, y = d[0] + p
    low = c_fma(d[0], low, c_fma(d[1], r, d[1])) + c_fma(d[0], r, -p)
    return y + (((d[0] - y) + p) + low)


cdef inline real garrote_beyond(
    real a, double lambd, double inverse, Singles singles, bint each, bint fma, uint32_t *doubt,
) noexcept nogil:
    """a - lambd^2 / a, where nothing cancels and nothing overflows."""
    if real is float:
        if fma and doubt != NULL:
            return garrote_in_floats(a, <float> lambd, singles, each, doubt)
    elif fma and doubt != NULL:
        return garrote_in_doubles(a, lambd, inverse)
    cdef double x = a, t = lambd, d, q, n, xx, tt, y, rest
    cdef pair scale
    if real is double:
        if doubt != NULL:
            # d + d (t / x), d = x - t
            scale = scale_of(a)
            x = x * scale[0]
            t = t * scale[0]
            inverse = 1 / x
            d = x - t
            q = t * inverse
            rest = d * residual(t, q, x, fma) * inverse + sum_error(x, -t, d) * (1 + q)
            n = d * q
            y = d + n
            return (y + (((d - y) + n) + (product_error(d, q, n, fma) + rest))) * scale[1]
    # (x^2 - t^2) / x, where the squares of floats are exact
    xx = x * x
    tt = t * t
    n = xx - tt
    if real is float:
        if doubt != NULL:
            y = n * reciprocal(a, fma)
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (a > lambd))
            return <float> y
    y = n / x
    return <real> round_to_odd(y, (residual(n, y, x, fma) + sum_error(xx, -tt, n)) / x, 8.077935669463161e-28)


cdef inline double garrote_derivative(int k, real a, double lambd, bint fma, uint32_t *doubt) noexcept nogil:
    """1 + (lambd / a)^2, and -2 lambd / a."""
    cdef double x = a, t = lambd
    cdef double r, rest, square, y
    if real is float:
        if k == 0 and doubt != NULL:
            r = t * reciprocal(a, fma)
            y = madd(r, r, 1, fma)
            doubt[0] |= <uint32_t> ((near_midpoint(y) | (not easy(a))) & (a > lambd))
            return y
    cdef pair scale
    if real is double:
        scale = scale_of(a)
        x = x * scale[0]
        t = t * scale[0]
    r = t / x
    if k:
        return -2 * r
    rest = residual(t, r, x, fma) / x
    square = r * r
    y = 1 + square
    rest = ((1 - y) + square) + (product_error(r, r, square, fma) + 2 * r * rest)
    if real is double:
        if doubt != NULL:
            return y + rest
    return round_to_odd(y, rest, 8.077935669463161e-28)


cdef inline bint easy(float a) noexcept nogil:
    """Whether a float is so far from the ends of its range that its reciprocal, and any difference, are normal."""
    return (a > <float> 7.888609052210118e-31) & (a < <float> 1.2676506002282294e+30)
