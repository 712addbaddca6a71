# The other page: every operator as a scalar formula, its value and its derivatives, for float and double.
#
# a) A struct names an operator and carries its parameters, in the order of the function's signature, each a double that
#    holds a number of the type of x. `Op is Softshrink` is resolved when Cython compiles.
# b) constants(op, x) is what a formula takes from the parameters alone. It is computed before a loop over scalar
#    parameters, because compilers do not vectorise a choice that is the same for all elements; where parameters are
#    arrays, for each element, and then the comparisons are those of the type of x, which fill a vector.
# c) value(op, c, x) is the operator. pull(op, c, k, g, x) is g times its derivative, with respect to x for k = 0 and to
#    the k-th parameter from k = 1 on; g = 1 gives the derivative itself.
# d) Branches are selections between numbers, which vectorise; they come in the order NaN last, so that a NaN in x is
#    returned as it came, and a parameter that is NaN or outside its domain, which makes c.t NaN, gives NaN.
# e) Most operators are odd: compute with a = |x| and give the sign back, on zeros too.
# f) Float results are the nearest: exact as they stand (soft, hard), or computed in double or as pairs of floats, where
#    a result that may be next to the middle of two floats raises *doubt; the loop then computes a stretch again with
#    doubt = NULL, in double with a low part, to decide it. That is enough: the exact value is a quotient of integers of
#    at most 74 bits, and cannot come closer to a midpoint than 2^-90 without being it.
# g) Complex numbers are shrunk in magnitude by the formulas for double (polar.pxd), but for the operators named in
#    Analytic: these have formulas of their own at the end, in doubles whatever the type, and no parameters.

from .analytic cimport plane_tanhshrink, plane_tanhshrink_derivative
from .arithmetic cimport (
    INFINITY, NAN, absolute, copy_sign, knot_of, maximum, minimum, nonnegative, real, uint32_t, unless_nan,
)
from .floats cimport Singles
from .nonconvex cimport (
    Power, cauchy_derivative, cauchy_knot, cauchy_value, log_derivative, log_knot, log_value, lp_derivative, lp_knot,
    lp_value,
)
from .pairs cimport NOISE, below, pair, plus, product, settle, total
from .smooth cimport sigmoid_derivative, sigmoid_value, tanhshrink, tanhshrink_derivative
from .thresholds cimport (
    bent_ramp, doubtful_from, firm_derivative, firm_slope, garrote_beyond, garrote_derivative, garrote_inverse,
    huber_value,
    hyperbolic_beyond, hyperbolic_derivative, inverse_of, knot_times, noise_of, ramp, ramp_derivative, scad_derivative,
    singles_of_each_huber, singles_of_each_scad, singles_of_elasticnet, singles_of_firm, singles_of_garrote,
    singles_of_huber, singles_of_mcp, singles_of_ramp, singles_of_scad, steepening, unit_of,
)


cdef struct Tanhshrink:
    double no_parameter

cdef struct Softshrink:
    double lambd

cdef struct Hardshrink:
    double lambd

cdef struct Firmshrink:
    double low, high

cdef struct Garroteshrink:
    double lambd

cdef struct Scadshrink:
    double lambd, a

cdef struct Mcpshrink:
    double lambd, gamma

cdef struct Lpshrink:
    double lambd, p

cdef struct Logshrink:
    double lambd, eps

cdef struct Cauchyshrink:
    double lambd, gamma

cdef struct Hyperbolicshrink:
    double lambd

cdef struct Sigmoidshrink:
    double lambd, tau

cdef struct Elasticnetshrink:
    double l1, l2

cdef struct Hubershrink:
    double lambd, delta

cdef struct Shrink:
    double lambd, bias

cdef struct Threshold:
    double threshold, value

cdef struct Nonnegshrink:
    double lambd

ctypedef fused Op:
    Tanhshrink
    Softshrink
    Hardshrink
    Firmshrink
    Garroteshrink
    Scadshrink
    Mcpshrink
    Lpshrink
    Logshrink
    Cauchyshrink
    Hyperbolicshrink
    Sigmoidshrink
    Elasticnetshrink
    Hubershrink
    Shrink
    Threshold
    Nonnegshrink

ctypedef fused Analytic:
    Tanhshrink

ctypedef fused OneSided:    # not odd: complex numbers have no side
    Threshold
    Nonnegshrink


cdef struct Constants:
    double t           # the threshold; NaN where a parameter is outside its domain
    double h           # the other parameter
    pair slope         # in units of a power of two
    pair excess        # of mcpshrink, slope - 1
    double unit
    pair loss
    Power power        # of lpshrink, what is known of the knot
    double knot        # the second knot, or the place of a jump
    double vanishing   # up to where the value is 0, if not of itself
    double doubtful    # beyond it results may be in doubt
    double noise       # see settle()
    Singles singles


cdef inline Constants constants(Op op, real x, bint each, bint fma) noexcept nogil:
    """x tells the type by its own, and nothing else; each: whether they are others for each element.

    What is not used of them is not computed.
    """
    cdef Constants c
    c.t = c.h = c.knot = c.vanishing = c.doubtful = 0
    c.slope = c.excess = c.loss = (0.0, 0.0)
    c.noise = NOISE
    c.unit = 1
    c.power = Power((0, 0), 0, 0, (0, 0), 0)
    c.singles = Singles((0, 0), (0, 0), 0, 0, 0)
    if Op is Tanhshrink:
        pass
    elif Op is Firmshrink:
        c.h = op.high
        c.t = nonnegative(<real> op.low) if <real> op.low <= <real> op.high else <real> NAN
        c.slope = firm_slope(op.low, op.high, fma)
        c.knot = op.high
        c.doubtful = doubtful_from(c.t, c.slope, (op.high <= 16 * op.low) | (op.low == 0))
        c.noise = noise_of(c.slope[0], 1)
        c.singles = singles_of_firm(<float> op.low, <float> op.high) if each else \
            singles_of_ramp(c.t, c.slope, c.doubtful)
    elif Op is Scadshrink:
        c.h = op.a
        c.t = nonnegative(<real> op.lambd) if <real> op.a > 2 else <real> NAN
        c.slope = inverse_of(total(op.a, -2, True), fma)
        c.knot = knot_times(op.lambd, op.a, fma)
        c.doubtful = doubtful_from(2 * c.t, c.slope, False) if (op.a <= 16) | (c.slope[0] == 0) else 2 * c.t
        c.noise = 0 if c.slope[0] < 1e-12 else NOISE
        c.singles = singles_of_each_scad(<float> op.lambd, <float> op.a) if each else \
            singles_of_scad(c.t, c.slope, c.doubtful, fma)
    elif Op is Mcpshrink:
        c.h = op.gamma
        c.t = nonnegative(<real> op.lambd) if <real> op.gamma > 1 else <real> NAN
        c.excess = inverse_of(total(op.gamma, -1, True), fma)
        c.slope = plus((1.0, 0.0), c.excess, True)
        c.knot = knot_times(op.lambd, op.gamma, fma)
        c.doubtful = doubtful_from(c.t, c.slope, op.gamma <= 16)
        c.noise = noise_of(c.slope[0], 1)
        c.singles = singles_of_mcp(<float> op.lambd, <float> op.gamma) if each else \
            singles_of_ramp(c.t, c.slope, c.doubtful)
    elif Op is Elasticnetshrink:
        c.h = nonnegative(<real> op.l2)
        c.t = nonnegative(<real> op.l1) if c.h == c.h else <double> NAN
        c.unit = unit_of(op.l2)
        c.slope = inverse_of(total(c.unit, op.l2 * c.unit, True), fma)
        c.doubtful = doubtful_from(c.t, c.slope, False)
        c.noise = noise_of(c.slope[0], 1)
        c.vanishing = c.t if op.l2 < INFINITY else <double> INFINITY
        c.singles = singles_of_elasticnet(<float> op.l1, <float> op.l2) if each else \
            singles_of_ramp(c.t, c.slope, c.doubtful)
    elif Op is Hubershrink:
        c.h = nonnegative(<real> op.delta)
        c.t = nonnegative(<real> op.lambd) if c.h == c.h else <double> NAN
        c.unit = unit_of(op.lambd)
        c.slope = inverse_of(total(c.unit, op.lambd * c.unit, True), fma)
        c.loss = product(op.lambd, op.delta, True, fma)
        if (c.t == 0) | (c.h == 0):
            c.slope = (1.0, 0.0)
            c.unit = 1
            c.loss = (0.0, 0.0)
        c.knot = below(plus((op.delta, 0.0), c.loss, True)) if op.delta + c.loss[0] < INFINITY else <double> INFINITY
        c.doubtful = doubtful_from(0, c.slope, False)
        c.vanishing = 0 if (<real> op.lambd < INFINITY) | (<real> op.delta == 0) else <real> INFINITY
        c.singles = singles_of_each_huber(<float> op.lambd, <float> op.delta) if each else \
            singles_of_huber(op.delta, c.slope, c.loss)
    elif Op is Lpshrink:
        c.h = op.p
        c.t = nonnegative(op.lambd) if (op.p > 0) & (op.p < 1) else <double> NAN
        c.power = lp_knot(op.lambd, op.p, fma)
        c.knot = below(c.power.knot)
    elif Op is Logshrink:
        c.h = op.eps
        c.t = nonnegative(op.lambd) if op.eps > 0 else <double> NAN
        c.knot = log_knot(op.lambd, op.eps, fma)
    elif Op is Cauchyshrink:
        c.h = op.gamma
        c.t = nonnegative(op.lambd) if op.gamma > 0 else <double> NAN
        c.knot = cauchy_knot(op.lambd, op.gamma, fma)
    elif Op is Sigmoidshrink:
        c.h = nonnegative(op.tau)
        c.t = nonnegative(op.lambd) if c.h == c.h else <double> NAN
        c.knot = c.t if c.h == INFINITY else <double> -1
    elif Op is Garroteshrink:
        c.t = nonnegative(<real> op.lambd)
        c.slope = (garrote_inverse(op.lambd), 0.0)
        c.singles = singles_of_garrote(<float> op.lambd)
    elif Op is Shrink:
        c.h = nonnegative(<real> op.bias)
        c.t = nonnegative(<real> op.lambd) if <real> op.bias <= <real> op.lambd else <real> NAN
        c.t = <real> c.t if <real> c.h == <real> c.h else <real> NAN
    elif Op is Threshold:
        c.h = op.value
        c.t = <real> op.threshold if <real> op.value == <real> op.value else <real> NAN
    else:
        c.t = nonnegative(<real> op.lambd)
    if Op is not Elasticnetshrink and Op is not Hubershrink:
        c.vanishing = c.t
    return c


cdef inline bint hopeless(Op op, Constants c) noexcept nogil:
    """Whether floats are of no use with these parameters: all values are computed as where one is in doubt."""
    cdef bint checked = Op is Elasticnetshrink or Op is Hubershrink    # at each element
    return c.singles.normal > (<float> 1 if checked else <float> 0)


cdef inline bint heavy(Op op, real x, bint odd) noexcept nogil:
    """Whether all derivatives come from one loop: where what they share is most of it, and speed not all."""
    if real is float:
        return False
    return Op is Lpshrink or Op is Logshrink or Op is Cauchyshrink or Op is Sigmoidshrink and odd


cdef inline int long_row(Op op) noexcept nogil:
    """From how many elements on that share their parameters it pays to take these as numbers."""
    return 16 if Op is Lpshrink or Op is Logshrink or Op is Cauchyshrink else 256


cdef inline bint rounds_once(Op op) noexcept nogil:
    """Whether value and derivatives are a number that is there, or one sum.

    Of numbers of 16 bits a sum that is rounded to float first is still the nearest of 16 bits, as floats have more than
    twice the digits: Figueroa, When is double rounding innocuous?, doi:10.1145/221332.221334.
    """
    return Op is Softshrink or Op is Hardshrink or Op is Shrink or Op is Threshold or Op is Nonnegshrink


cdef inline bint never_in_doubt(Op op) noexcept nogil:
    """Whether no float is, so that there is nothing to compute again: of tanhshrink all were tried."""
    return rounds_once(op) or Op is Tanhshrink


cdef inline real with_nan(real y, real t, bint each) noexcept nogil:
    """NaN where a threshold is. That which is the same for all elements is looked at before the loop."""
    if each:
        return y if t == t else t
    return y


cdef inline real value(Op op, Constants c, real x, bint each, bint fma, uint32_t *doubt) noexcept nogil:
    cdef real a = absolute(x), t = <real> c.t, h = <real> c.h, y
    cdef bint everywhere
    if Op is Tanhshrink:
        return tanhshrink(x, fma, doubt)
    elif Op is Softshrink:
        y = a - t
        return copy_sign(<real> 0 if a <= t else y, x)
    elif Op is Hardshrink:
        y = a + (<real> 0 if t == t else t)    # a sum vectorises better than a choice of loads
        return copy_sign(<real> 0 if a <= t else y, x)
    elif Op is Shrink:
        y = a - h
        return copy_sign(<real> 0 if a <= t else with_nan(y, t, each), x)
    elif Op is Threshold:
        return with_nan(h if x <= t else x, t, each)
    elif Op is Nonnegshrink:
        y = x - t
        return <real> 0 if x <= t else y
    elif Op is Hubershrink:
        y = minimum(huber_value(a, c.slope, c.unit, c.loss, c.knot, c.doubtful, c.singles, fma, doubt), a)
        if real is double or not fma:    # else all floats are in doubt
            y = <real> 0 if a <= <real> c.vanishing else y
        return copy_sign(with_nan(y, t, each), x)
    elif Op is Sigmoidshrink:
        y = sigmoid_value(a, c.t, c.h, fma, doubt)
        y = y if a < <real> INFINITY else a
        y = y if h < <real> INFINITY else (<real> 0 if a <= c.knot else a)    # tau = inf is a step
        return copy_sign(with_nan(y, t, each), x)
    elif Op is Lpshrink or Op is Logshrink or Op is Cauchyshrink:
        # Without a penalty, lambd = 0 or a parameter that is infinite, x as it is.
        if Op is Lpshrink:
            y = <real> lp_value(a, c.t, c.h, c.power, fma, doubt)
        elif Op is Logshrink:
            y = <real> log_value(a, c.t, c.h, c.knot, fma, doubt)
        else:
            y = <real> cauchy_value(a, c.t, c.h, c.knot, fma, doubt)
        y = y if a < <real> INFINITY else a
        if Op is not Cauchyshrink:
            y = <real> 0 if a <= c.knot else y
        y = y if h < <real> INFINITY else a
        y = y if t > 0 else a
        y = y if t < <real> INFINITY else <real> 0
        y = y if a == a else a
        return copy_sign(with_nan(y, t, each), x)
    else:
        # What is 0 up to the threshold, and x at infinity.
        if Op is Scadshrink:
            y = bent_ramp(a, c.t, c.slope, c.doubtful, c.noise, c.singles, each, fma, doubt)
        elif Op is Hyperbolicshrink:
            y = hyperbolic_beyond(a, c.t, fma, doubt)
        elif Op is Garroteshrink:
            y = garrote_beyond(a, c.t, c.slope[0], c.singles, each, fma, doubt)
        else:    # Firmshrink, Mcpshrink, Elasticnetshrink
            everywhere = each or Op is Elasticnetshrink
            y = ramp(a, c.t, c.slope, c.unit, c.doubtful, c.noise, c.singles, everywhere, fma, doubt)
        y = minimum(y, a)
        y = <real> 0 if a <= <real> c.vanishing else y
        return copy_sign(with_nan(y, t, each), x)


cdef inline real pull(Op op, Constants c, int k, real g, real x, bint fma, uint32_t *doubt) noexcept nogil:
    cdef real a = absolute(x), t = <real> c.t, h = <real> c.h, r
    cdef double d, by_x
    cdef bint near
    if Op is Tanhshrink:
        return <real> (g * tanhshrink_derivative(x, fma, doubt))
    elif Op is Softshrink:
        r = <real> (a > (t if k else knot_of(t)))
        return <real> (g * unless_nan(-copy_sign(r, x) if k else r, x, t))
    elif Op is Hardshrink:
        r = 0 if k else <real> (a > knot_of(t))
        return <real> (g * unless_nan(r, x, t))
    elif Op is Shrink:
        r = 0 if k == 1 else <real> (a > (t if k else knot_of(t)))
        return <real> (g * unless_nan(-copy_sign(r, x) if k else r, x, t))
    elif Op is Threshold:
        r = 0 if k == 1 else <real> (x <= t if k else x > t)
        return <real> (g * unless_nan(r, x, t))
    elif Op is Nonnegshrink:
        r = <real> (x > t)
        return <real> (g * unless_nan(-r if k else r, x, t))
    elif Op is Hubershrink:
        near = a <= c.knot
        if k == 0:
            d = settle(a, c.slope, False, c.noise, doubt) * c.unit
            d = d if near else 1
        elif k == 1:
            d = -steepening(a, 0, c.slope, fma, doubt) * c.unit * c.unit
            d = d if near else -c.h
        else:
            d = 0 if near else -c.t
        return signed(k, g, d, x, t)
    elif Op is Lpshrink or Op is Logshrink or Op is Cauchyshrink or Op is Sigmoidshrink:
        if Op is Lpshrink:
            d = lp_derivative(k, a, c.t, c.h, c.power, fma, doubt)
        elif Op is Logshrink:
            d = log_derivative(k, a, c.t, c.h, c.knot, fma, doubt)
        elif Op is Cauchyshrink:
            d = cauchy_derivative(k, a, c.t, c.h, c.knot, fma, doubt)
        else:
            d = sigmoid_derivative(k, a, c.t, c.h, fma, doubt)
        by_x = 1 if k == 0 else 0
        d = d if a < <real> INFINITY else (by_x if Op is not Sigmoidshrink or h > 0 else 0.5 * by_x)
        if Op is Sigmoidshrink:
            d = d if h < <real> INFINITY else (by_x if a > c.knot else 0)
        else:
            if Op is not Cauchyshrink:
                d = 0 if a <= c.knot else d
            d = d if h < <real> INFINITY else by_x
            d = d if (t > 0) | (by_x == 0) else 1
            d = d if t < <real> INFINITY else 0
        return signed(k, g, d, x, t)
    else:
        # What is 0 up to the threshold; where that is 0, the derivative with respect to x is what it is beyond.
        if Op is Garroteshrink or Op is Hyperbolicshrink:
            if Op is Garroteshrink:
                d = garrote_derivative(k, a, c.t, fma, doubt)
            else:
                d = hyperbolic_derivative(k, a, c.t, fma, doubt)
            d = d if a < <real> INFINITY else <double> (k == 0)
            d = d if t > 0 else <double> (k == 0)
        elif Op is Elasticnetshrink:
            d = -steepening(a, c.t, c.slope, fma, doubt) if k == 2 else ramp_derivative(k, a, c.slope, c.noise, doubt)
            d = d * c.unit * (c.unit if k == 2 else 1)
        else:
            if Op is Firmshrink:
                d = firm_derivative(k, a, c.t, c.h, c.slope, c.noise, fma, doubt)
            elif Op is Scadshrink:
                d = scad_derivative(k, a, c.t, c.slope, c.noise, fma, doubt)
            elif k == 2:    # Mcpshrink
                d = -steepening(a, c.t, c.excess, fma, doubt)
            else:
                d = ramp_derivative(k, a, c.slope, c.noise, doubt)
            d = d if a < c.knot else <double> (k == 0)
        d = d if a > (t if k else knot_of(t)) else 0
        return signed(k, g, d, x, t)


cdef inline real signed(double k, real g, double derivative, real x, real t) noexcept nogil:
    """g times a derivative at |x| of an odd operator: odd itself with respect to a parameter; NaN where x or t is."""
    cdef double sign = copy_sign(<double> 1, x)
    derivative = derivative + 0.0    # of zeros the positive one: a low part may have changed the sign
    return <real> (g * unless_nan(derivative * (sign if k > 0 else 1), x, t))


cdef inline pair plane_value(Analytic op, double re, double im, uint32_t *doubt) noexcept nogil:
    """The operator at re + i im."""
    return plane_tanhshrink(re, im, doubt)


cdef inline pair plane_derivative(Analytic op, double re, double im, uint32_t *doubt) noexcept nogil:
    return plane_tanhshrink_derivative(re, im, doubt)
