# The other page: every operator as a scalar formula, its value and its derivatives, for float and double.
#
# a) A struct names an operator and carries its parameters, in the order of the function's signature, each a double that
#    holds a number of the type of x. `Op is Softshrink` is resolved when Cython compiles.
# b) value(op, x) is the operator. pull(op, k, g, x) is g times its derivative, with respect to x for k = 0 and to the
#    k-th parameter from k = 1 on; g = 1 gives the derivative itself.
# c) Branches are selections between numbers, which vectorise; they come in the order NaN last, so that a NaN in x is
#    returned as it came, and a parameter that is NaN, negative or out of order gives NaN.
# d) Every operator is odd: compute with a = |x| and give the sign back, on zeros too.
# e) Float results are the nearest: exact as they stand (soft, hard), or computed in double, where a result that may
#    be next to the middle of two floats raises *doubt; the loop then computes the block again with doubt = NULL, with
#    a low part to decide it. That is enough: the exact value is a quotient of integers of at most 74 bits, and cannot
#    come closer to a midpoint than 2^-90 without being it.

from .arithmetic cimport INFINITY, NAN, absolute, copy_sign, knot_of, nonnegative, real, uint32_t, unless_nan
from .smooth cimport tanhshrink, tanhshrink_derivative
from .thresholds cimport firm_between, firm_derivative, garrote_beyond, garrote_derivative


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

ctypedef fused Op:
    Tanhshrink
    Softshrink
    Hardshrink
    Firmshrink
    Garroteshrink


cdef inline real value(Op op, real x, bint fma, uint32_t *doubt) noexcept nogil:
    cdef real a = absolute(x), t, h, y
    if Op is Tanhshrink:
        return tanhshrink(x, fma, doubt)
    elif Op is Softshrink:
        t = nonnegative(<real> op.lambd)
        y = a - t
        return copy_sign(<real> 0 if a <= t else y, x)
    elif Op is Hardshrink:
        t = nonnegative(<real> op.lambd)
        y = a + (<real> 0 if t == t else t)    # a sum vectorises better than a choice of loads
        return copy_sign(<real> 0 if a <= t else y, x)
    elif Op is Firmshrink:
        t = nonnegative(<real> op.low)
        h = <real> op.high
        y = firm_between(a, t, h, fma, doubt)
        y = y if a < h else a
        y = <real> 0 if a <= t else y
        return copy_sign(y, x) if t <= h else <real> NAN
    elif Op is Garroteshrink:
        t = nonnegative(<real> op.lambd)
        y = garrote_beyond(a, t, fma, doubt)
        h = a if t == t else t
        y = y if a < <real> INFINITY else h
        return copy_sign(<real> 0 if a <= t else y, x)


cdef inline real pull(Op op, int k, real g, real x, bint fma, uint32_t *doubt) noexcept nogil:
    cdef real a = absolute(x), t, h, r
    cdef double d
    if Op is Tanhshrink:
        return <real> (g * tanhshrink_derivative(x, fma, doubt))
    elif Op is Softshrink:
        t = nonnegative(<real> op.lambd)
        if k == 0:
            return <real> (g * unless_nan(<real> (a > knot_of(t)), x, t))
        return <real> (g * unless_nan(-copy_sign(<real> (a > t), x), x, t))
    elif Op is Hardshrink:
        t = nonnegative(<real> op.lambd)
        if k == 0:
            return <real> (g * unless_nan(<real> (a > knot_of(t)), x, t))
        return <real> (g * unless_nan(<real> 0, x, t))
    elif Op is Firmshrink:
        t = nonnegative(<real> op.low)
        h = <real> op.high
        r = <real> firm_derivative(k, a, t, h, fma, doubt)
        r = r if a < h else <real> (k == 0)
        r = r if a > t else <real> ((k == 0) & (t == 0))
        r = r * copy_sign(<real> 1, x) if k else r
        return <real> (g * unless_nan(r if t <= h else <real> NAN, x, t))
    elif Op is Garroteshrink:
        t = nonnegative(<real> op.lambd)
        d = garrote_derivative(k, a, t, fma, doubt)
        d = d if a < <real> INFINITY else <double> (k == 0)
        d = d if a > t else <double> ((k == 0) & (t == 0))
        d = d * copy_sign(<double> 1, x) if k else d
        return <real> (g * unless_nan(d, x, t))
