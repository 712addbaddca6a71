# cython: binding=True
"""The loops over groups: what looks at more than one element.

a) shrink_block() is the loop of group thresholding: the norms of some groups, their factors, then the products, once
   for every type and instruction set level. float32 is computed in double, float64 in pairs of doubles: neither loses
   digits, overflows or underflows, and the sum of a group has one order, whatever thread or level adds it up. Sums and
   products have vectors by name where there is AVX2 (lanes.h).
b) shrink() shares blocks of groups among threads by prange. Groups are rows of a matrix, or runs of any length of the
   elements of each row.
c) project_row() projects onto a simplex or a ball: the level by Newton's steps, and then what is above it.
d) pool() and average() are the isotonic regression of sorted l1: pool adjacent violators, and means over the pools.

The number of threads, the level and what is known of forks are those of loops.pyx.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

from . import loops
from .arithmetic cimport (
    INFINITY, NAN, absolute, as_bits, as_double, c_copysign, c_fabs, c_fma, c_sqrt, copy_sign, product_error, real,
    residual, sum_error,
)
from .platform cimport BASELINE_FMA, v2_void, v3_void, v4_void

cdef enum:
    LANES = 8       # partial sums of a group, and groups at a time
    TOGETHER = 32   # groups to a block, or fewer, of about
    ROOM = 4096     # elements
    SERIAL = 32768  # elements below which there is one thread

ctypedef void (*shrink_t)(
    const void *x, void *y, const void *lambd, Py_ssize_t step, const int64_t *offsets, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil

ctypedef void (*project_t)(
    const void *x, void *y, double total, Py_ssize_t n, bint signed, bint rest,
) noexcept nogil

cdef extern from "lanes.h":
    void add_floats "shrinkops_add_floats" (
        const float **at, const Py_ssize_t *sizes, double *square) noexcept nogil
    void add_doubles "shrinkops_add_doubles" (
        const double **at, const Py_ssize_t *sizes, const double *above, double *high, double *low) noexcept nogil
    Py_ssize_t times_floats "shrinkops_times_floats" (
        const float *x, float *y, Py_ssize_t n, double q) noexcept nogil
    Py_ssize_t times_doubles "shrinkops_times_doubles" (
        const double *x, double *y, Py_ssize_t n, double q, double r) noexcept nogil


# ---------------------------------------------------------------------------------------------------------------------
# Exact products and sums, the same with fused multiply-adds and without

cdef inline double high_half(double a) noexcept nogil:
    """The number rounded to 26 bits, so that no product of two halves takes more than there are."""
    return as_double((as_bits(a) + 0x4000000ULL) & 0xFFFFFFFFF8000000ULL)


cdef inline double left(double a, double b, double d, bint fma) noexcept nogil:
    """a b - d, of a number d that is nearly the product: rounded once."""
    if fma:
        return c_fma(a, b, -d)
    cdef double p = a * b, ah = high_half(a), al = a - ah, bh = high_half(b), bl = b - bh
    return (p - d) + (((ah * bh - p) + (ah * bl + al * bh)) + al * bl)


cdef inline double made_odd(double sum, double lost) noexcept nogil:
    """The sum with its last bit set if something was lost: to add that rounds as if nothing was."""
    cdef uint64_t bits = as_bits(sum), even = <uint64_t> (lost != 0) & ~bits & 1    # by integers: branches are guesses
    return as_double(bits + ((0 - even) & (1 - 2 * <uint64_t> ((lost > 0) != (sum > 0)))))


cdef inline double plus_square(double a, double sum, bint fma) noexcept nogil:
    """sum + a a, rounded once, where the sum is in a binade far above."""
    if fma:
        return c_fma(a, a, sum)
    return sum + made_odd(a * a, left(a, a, a * a, False))


cdef inline double binade(double x, Py_ssize_t up) noexcept nogil:
    """The power of two below x, times 2^up."""
    return as_double((as_bits(x) & 0x7FF0000000000000ULL) + (<uint64_t> up << 52))


# ---------------------------------------------------------------------------------------------------------------------
# Group thresholding

cdef inline double across(const double *lanes) noexcept nogil:
    """The sum of the lanes, by halves."""
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))


cdef inline double sum_of_squares(const real *x, Py_ssize_t n) noexcept nogil:
    """The sum of the squares of a group, in double."""
    cdef double sum[LANES]
    cdef Py_ssize_t i, j, whole = n // LANES * LANES
    for j in range(LANES):
        sum[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            sum[j] += <double> x[LANES * i + j] * x[LANES * i + j]
    for j in range(n - whole):
        sum[j] += <double> x[whole + j] * x[whole + j]
    return across(sum)


cdef inline void add_group(
    const double *x, Py_ssize_t n, double above, double *high, double *low, bint fma,
) noexcept nogil:
    """The same as a high and a low part, above a power of two.

    The squares are added to a number in a binade above their sum, in which they are rounded to where that ends. Sums
    of what is added so are exact, and what each square has left is small. Half of the lanes start below zero, so that
    nothing remains of where they started.
    """
    cdef double sum[LANES]
    cdef double rest[LANES]
    cdef double a, t
    cdef Py_ssize_t i, j, whole = n // LANES * LANES
    for j in range(LANES):
        sum[j] = above if j < LANES // 2 else -above
        rest[j] = 0
    for i in range(n // LANES):
        for j in range(LANES):
            a = x[LANES * i + j]
            t = plus_square(a, sum[j], fma)
            rest[j] += left(a, a, t - sum[j], fma)
            sum[j] = t
    for j in range(n - whole):
        a = x[whole + j]
        t = plus_square(a, sum[j], fma)
        rest[j] += left(a, a, t - sum[j], fma)
        sum[j] = t
    high[0] = across(sum)
    low[0] = across(rest)


cdef inline void add_eight(
    const real **at, const Py_ssize_t *sizes, const double *above, double *high, double *low, int level,
) noexcept nogil:
    """The sums of the squares of eight groups; of float64 as high and low parts."""
    cdef Py_ssize_t g
    if real is float:
        if level > 0:
            add_floats(at, sizes, high)
        else:
            for g in range(LANES):
                high[g] = sum_of_squares(at[g], sizes[g])
    else:
        if level > 0:
            add_doubles(at, sizes, above, high, low)
        else:
            for g in range(LANES):
                add_group(at[g], sizes[g], above[g], &high[g], &low[g], BASELINE_FMA)


cdef inline double add_up(const real *x, Py_ssize_t n, double scale, double *rest) noexcept nogil:
    """The sum of the squares of the numbers times the scale, and what rounding took from it: nothing is lost."""
    cdef double high[LANES]
    cdef double low[LANES]
    cdef double a, p, t
    cdef Py_ssize_t i, j, width = LANES // 2
    for j in range(LANES):
        high[j] = low[j] = 0
    for i in range(n):
        j = i % LANES
        a = x[i] * scale
        p = a * a
        t = high[j] + p
        low[j] += sum_error(high[j], p, t) + (0 if real is float else product_error(a, a, p, False))
        high[j] = t
    while width:
        for j in range(width):
            t = high[j] + high[j + width]
            low[j] += low[j + width] + sum_error(high[j], high[j + width], t)
            high[j] = t
        width = width // 2
    rest[0] = low[0]
    return high[0]


cdef inline void factor(
    double *high, double *low, double lambd, bint parts, bint ordinary, bint fma,
) noexcept nogil:
    """Replace the square of a norm by 1 - lambd / norm, at least 0; both in two parts, the low one >= 0, or in one.

    Infinities keep what they are, unless lambd is infinite, and lambd = 0 keeps everything; where all is ordinary there
    are none of these.
    """
    cdef double square = high[0], n = c_sqrt(square), positive = n if ordinary or n > 0 else 1, inverse = 1 / positive
    cdef double d = n - lambd, q, r = 0, rest, more, z, sum
    if parts:    # n + rest is the norm, d + more the difference; then what the product and the inverse have left
        rest = (low[0] - left(n, n, square, fma)) * (0.5 * inverse)
        z = d - n
        more = rest + ((n - (d - z)) - (lambd + z))
        sum = d + more
        more = (d - sum) + more
        d = sum
        q = d * inverse
        r = left(d, inverse, q, fma) - q * left(inverse, positive, 1, fma)
        r = r + (more - q * rest) * inverse
        z = as_double(as_bits(q) - 4)    # so that no sum of products with both is a zero of the other sign
        z = z if r < 0 else q
        r = r + (q - z)
        q = z
    else:
        q = d * inverse
    if ordinary:
        high[0] = q if d > 0 else 0
        low[0] = r if d > 0 else 0
        return
    q = 1 if n == <double> INFINITY else q
    q = 0 if (d <= 0) | ((lambd == <double> INFINITY) & (n == n)) else q
    q = 1 if (lambd == 0) & (n == n) else q
    q = q if lambd >= 0 else <double> NAN
    high[0] = q
    low[0] = r if (n < <double> INFINITY) & (q != 0) & (lambd != 0) else 0


cdef inline bint in_doubt(real x, double square, double threshold, double above) noexcept nogil:
    """Whether a sum is beyond what it was added above, or the threshold so near to the norm that digits are lost."""
    cdef double off = c_fabs(square - threshold * threshold)
    if real is float:
        return (off < 1e-4 * square) | (not square < <double> INFINITY)
    else:
        return (off < 1e-3 * square) | (not square < 0.25 * above)


cdef inline void think_again(
    const real **at, const Py_ssize_t *sizes, const double *threshold, const double *above, double *square,
    double *high, double *low, int level,
) noexcept nogil:
    """The factors of those of eight groups that are in doubt."""
    cdef bint again[LANES]
    cdef double sum[LANES]
    cdef double rest[LANES]
    cdef double start[LANES]
    cdef double lambd[LANES]
    cdef double scale, largest, p
    cdef bint fma = level > 0 or BASELINE_FMA
    cdef Py_ssize_t g, i
    for g in range(LANES):
        again[g] = in_doubt(at[g][0], square[g], threshold[g], above[g])
        lambd[g] = threshold[g]
        sum[g] = square[g]
        rest[g] = 0
    if real is double:    # above a first sum, where that is not at the ends of the range
        for g in range(LANES):
            square[g] = sum_of_squares(at[g], sizes[g]) if again[g] else square[g]
            start[g] = binade(square[g], 2)
        add_eight(at, sizes, start, sum, rest, level)
        for g in range(LANES):
            p = sum[g] + rest[g]
            rest[g] = (sum[g] - p) + rest[g]
            sum[g] = p if (1e-240 < square[g]) & (square[g] < 1e300) else square[g]
    for g in range(LANES):
        if not again[g]:
            continue
        scale = 1
        if real is double:
            if not ((1e-240 < square[g]) & (square[g] < 1e300)):
                largest = 0
                for i in range(sizes[g]):
                    p = absolute(at[g][i])
                    largest = p if p > largest else largest
                if 0 < largest < INFINITY:
                    scale = 1.90109156629516e-211 if largest > 1 else 5.260135901548374e+210    # 2^-700, 2^700
                    lambd[g] = lambd[g] * scale
                sum[g] = add_up(at[g], sizes[g], scale, &rest[g])
            elif c_fabs(sum[g] - lambd[g] * lambd[g]) < 1e-3 * sum[g]:
                sum[g] = add_up(at[g], sizes[g], 1, &rest[g])
        elif square[g] < <double> INFINITY:
            sum[g] = add_up(at[g], sizes[g], 1, &rest[g])
        square[g] = sum[g]
    for g in range(LANES):
        factor(&sum[g], &rest[g], lambd[g], True, False, fma)
        if again[g]:
            high[g] = sum[g]
            low[g] = rest[g]


cdef inline void multiply(
    const real *x, real *y, Py_ssize_t n, double q, double r, int level,
) noexcept nogil:
    """y = x (q + r), with the signs of x where it is zero."""
    cdef Py_ssize_t i = 0, start
    cdef double a, p, rest, more, sum
    cdef bint unsure = False
    if level > 0:
        if real is float:
            i = times_floats(x, y, n, q)
        else:
            i = times_doubles(x, y, n, q, r)
    start = i
    for i in range(start, n):
        if real is float:
            y[i] = <real> (x[i] * q)
        elif level > 0 or BASELINE_FMA:
            y[i] = c_fma(x[i], q, x[i] * r)
        else:    # what the product has left, and the other product: made odd, so that it rounds as the sum of all does
            a = x[i]
            p = a * q
            rest = left(a, q, p, False)
            more = a * r
            sum = rest + more
            y[i] = c_copysign(p + made_odd(sum, sum_error(rest, more, sum)), a)
            unsure |= (not c_fabs(p) > 1e-280) | (rest != rest)    # such a product has no such rest
    if unsure:
        for i in range(n):
            y[i] = c_fma(x[i], q, x[i] * r)


cdef inline void multiply_infinite(const real *x, real *y, Py_ssize_t n, double q) noexcept nogil:
    """y = x q where a product would be NaN."""
    cdef Py_ssize_t i
    for i in range(n):
        y[i] = copy_sign(<real> 0, x[i]) if q == 0 else x[i] if q == 1 else <real> q


cdef inline void shrink_block(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *offsets, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length, int level,
) noexcept nogil:
    """The groups from first to last, at most TOGETHER: of one length, or as the offsets say, `groups` to a row."""
    cdef const real *at[TOGETHER]
    cdef Py_ssize_t sizes[TOGETHER]
    cdef double threshold[TOGETHER]
    cdef double above[TOGETHER]
    cdef double square[TOGETHER]
    cdef double high[TOGETHER]
    cdef double low[TOGETHER]
    cdef double limit
    cdef int64_t doubt = 0
    cdef bint fma = level > 0 or BASELINE_FMA
    cdef Py_ssize_t g, i, m = last - first, whole = (m + LANES - 1) // LANES * LANES
    if offsets == NULL:
        for g in range(m):
            at[g] = x + (first + g) * length
            sizes[g] = length
    else:
        for g in range(m):
            i = first + g
            at[g] = x + (i // groups * length + offsets[i % groups])
            sizes[g] = offsets[i % groups + 1] - offsets[i % groups]
    for g in range(m):
        threshold[g] = lambd[first + g] if step else lambd[0]
    for g in range(m, whole):    # what fills up the last eight is the last group again
        at[g] = at[m - 1]
        sizes[g] = sizes[m - 1]
        threshold[g] = threshold[m - 1]
    # What the squares are added to comes of the threshold, which is known: the sum must be below 2^24 times its square,
    # or so, and no more numbers may be added than that what falls below its digits is a small part.
    if real is double:
        for g in range(whole):
            limit = threshold[g] * threshold[g]
            above[g] = binade(limit, 26)
            above[g] = above[g] if (limit > 1e-240) & (limit < 1e290) & (sizes[g] <= ROOM) else <double> NAN
    for i in range(whole // LANES):
        g = LANES * i
        add_eight(&at[g], &sizes[g], &above[g], &high[g], &low[g], level)
    for g in range(whole):
        if real is double:
            limit = high[g] + low[g]
            low[g] = (high[g] - limit) + low[g]
            high[g] = limit
        square[g] = high[g]
        doubt |= in_doubt(<real> 0, square[g], threshold[g], above[g])
        factor(&high[g], &low[g], threshold[g], real is double, real is double, fma)
    if doubt:
        for i in range(whole // LANES):
            g = LANES * i
            think_again(&at[g], &sizes[g], &threshold[g], &above[g], &square[g], &high[g], &low[g], level)
        for g in range(m):
            if square[g] < <double> INFINITY:
                multiply(at[g], y + (at[g] - x), sizes[g], high[g], low[g], level)
            else:
                multiply_infinite(at[g], y + (at[g] - x), sizes[g], high[g])
    else:
        for g in range(m):
            multiply(at[g], y + (at[g] - x), sizes[g], high[g], low[g], level)


cdef v2_void shrink_v2(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *offsets, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    shrink_block(x, y, lambd, step, offsets, first, last, groups, length, 0)


cdef v3_void shrink_v3(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *offsets, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    shrink_block(x, y, lambd, step, offsets, first, last, groups, length, 1)


cdef v4_void shrink_v4(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *offsets, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    shrink_block(x, y, lambd, step, offsets, first, last, groups, length, 2)


cdef shrink_t *FLOATS = [
    <shrink_t> <void *> shrink_v2[float], <shrink_t> <void *> shrink_v3[float], <shrink_t> <void *> shrink_v4[float],
]
cdef shrink_t *DOUBLES = [
    <shrink_t> <void *> shrink_v2[double], <shrink_t> <void *> shrink_v3[double],
    <shrink_t> <void *> shrink_v4[double],
]


cdef int threads_for(Py_ssize_t n):
    return 1 if n < SERIAL else <int> min(<Py_ssize_t> loops.get_num_threads(), n // (SERIAL // 2))


def shrink(const real[:, ::1] x, const real[::1] lambd, real[:, ::1] y, const int64_t[::1] offsets=None):
    """
    Shrink groups by their norms.

    Parameters
    ----------
    x : array of float32 or float64, of shape (rows, n)
        Every row is a group, or holds the groups that the offsets say.
    lambd : array of the dtype of x
        One threshold, or one for every group.
    y : array like x
        The result, no part of x.
    offsets : array of int64, optional
        Where each group starts in a row, and then the end of the last.
    """
    cdef Py_ssize_t rows = x.shape[0], length = x.shape[1]
    cdef Py_ssize_t groups = 1 if offsets is None else offsets.shape[0] - 1
    cdef Py_ssize_t count = rows * groups, step = 0 if lambd.shape[0] == 1 else 1, block, together
    cdef int threads = threads_for(rows * length)
    cdef int level = loops.LEVEL_NAMES.index(loops.get_isa())
    cdef shrink_t loop = FLOATS[level] if real is float else DOUBLES[level]
    cdef const int64_t *starts = NULL
    if rows * length == 0 or count == 0:
        return
    if offsets is not None:
        starts = &offsets[0]
    # few enough long groups that they are still in the cache when their norms are known
    together = min(max(ROOM * groups // length // LANES * LANES, LANES), TOGETHER)
    with nogil:
        for block in prange((count + together - 1) // together, schedule="static", num_threads=threads,
                            use_threads_if=threads > 1):
            loop(&x[0, 0], &y[0, 0], &lambd[0], step, starts, block * together,
                 min(block * together + together, count), groups, length)


# ---------------------------------------------------------------------------------------------------------------------
# Balls

cdef inline real size_of(real x, bint signed) noexcept nogil:
    """What is projected onto a simplex: the magnitude, if the sign comes back afterwards."""
    return absolute(x) if signed else x


cdef inline bint largest(const real *x, Py_ssize_t n, bint signed, real *top) noexcept nogil:
    """Find the largest size; whether none is NaN."""
    cdef real high[LANES]
    cdef bint bad[LANES]
    cdef bint any_bad = False
    cdef real a
    cdef Py_ssize_t i, j, whole = n // LANES * LANES
    for j in range(LANES):
        high[j] = <real> -INFINITY
        bad[j] = False
    for i in range(whole // LANES):
        for j in range(LANES):
            a = size_of(x[LANES * i + j], signed)
            high[j] = a if a > high[j] else high[j]
            bad[j] |= a != a
    for i in range(whole, n):
        a = size_of(x[i], signed)
        high[0] = a if a > high[0] else high[0]
        bad[0] |= a != a
    for j in range(LANES):
        high[0] = high[j] if high[j] > high[0] else high[0]
        any_bad |= bad[j]
    top[0] = high[0]
    return not any_bad


cdef inline Py_ssize_t support(
    const real *x, real *room, Py_ssize_t n, double unit, double top, double total, bint signed,
) noexcept nogil:
    """Write the sizes above the level to the room; how many they are.

    The largest, the total and the level are in a unit in which no sum overflows: it is of what is below the largest by
    less than the total.

    The sum of what is above a level is convex in it: Newton's steps, from a level that is too low, never go beyond the
    right one (Michelot), and only what is above stays. Below the largest by the total there is nothing.
    """
    cdef double b, level = -total, sum = 0
    cdef Py_ssize_t i, k = 0, before
    cdef real a
    for i in range(n):
        a = size_of(x[i], signed)
        b = a * unit - top
        room[k] = a
        k += b > level
    before = k + 1
    while 0 < k < before:
        sum = 0
        for i in range(k):
            sum += room[i] * unit - top
        level = (sum - total) / k
        before, k = k, 0
        for i in range(before):
            a = room[i]
            room[k] = a
            k += a * unit - top > level
    return k


cdef inline (double, double) level_of(
    const real *a, Py_ssize_t k, double unit, double top, double total,
) noexcept nogil:
    """The level above which k sizes sum up to the total, less the largest: as a high and a low part."""
    cdef double high = 0, low = 0, b, t, level
    cdef Py_ssize_t i
    if k == 0:
        return 0, 0
    for i in range(k):
        b = a[i] * unit - top
        t = high + b
        low += sum_error(high, b, t) + sum_error(a[i] * unit, -top, b)
        high = t
    t = high - total
    low += sum_error(high, -total, t)
    level = t / k
    if not c_fabs(level) < INFINITY:
        return level, 0
    return level, (residual(t, level, k, False) + low) / k


cdef inline double above(double a, double top, double high, double low) noexcept nogil:
    """By how much a size is above the level."""
    cdef double b = a - top, y = b - high
    return y + ((sum_error(a, -top, b) + sum_error(b, -high, y)) - low)


cdef inline void project_row(
    const real *x, real *y, double total, Py_ssize_t n, bint signed, bint rest,
) noexcept nogil:
    """One row; the result is also room for the sizes above the level."""
    cdef real top, zero = 0
    cdef double high = 0, low = 0, unit = 1, peak, level, v
    cdef Py_ssize_t i, k = 0
    if not largest(x, n, signed, &top) or total != total:
        for i in range(n):
            y[i] = <real> NAN
        return
    cdef bint endless = c_fabs(top) == INFINITY
    if real is double:
        unit = 5.421010862427522e-20 if total > 1e290 else 1    # 2^-64
    peak = top * unit
    if endless:
        for i in range(n):
            k += size_of(x[i], signed) == top
        high = -total / k if total > 0 else 0
    elif total == INFINITY:
        high = -INFINITY
    else:
        k = support(x, y, n, unit, peak, total * unit, signed)
        high, low = level_of(y, k, unit, peak, total * unit)
    if total == INFINITY:
        level = -INFINITY
    else:
        level = high + top if endless else above(0, -peak, -high, -low) / unit
    if signed and (total > 0 and level <= 0 or total == INFINITY and not rest):    # all is within
        for i in range(n):
            y[i] = copy_sign(zero, x[i]) if rest else x[i]
    elif endless or total == INFINITY:    # what is infinite shares what there is
        for i in range(n):
            if (size_of(x[i], signed) == top and total > 0) if endless else size_of(x[i], signed) > -INFINITY:
                v = level if rest else -high
            else:
                v = x[i] if rest else 0
            y[i] = copy_sign(<real> v, x[i]) if signed else <real> v
    elif rest:
        for i in range(n):
            v = above(absolute(x[i]) * unit, peak, high, low)
            y[i] = copy_sign(<real> level, x[i]) if v > 0 else x[i]
    elif signed:
        for i in range(n):
            v = above(absolute(x[i]) * unit, peak, high, low) / unit
            y[i] = copy_sign(<real> v if v > 0 else zero, x[i])
    else:
        for i in range(n):
            v = above(x[i] * unit, peak, high, low) / unit
            y[i] = <real> v if v > 0 else zero


cdef v2_void project_v2(
    const real *x, real *y, double total, Py_ssize_t n, bint signed, bint rest,
) noexcept nogil:
    project_row(x, y, total, n, signed, rest)


cdef v3_void project_v3(
    const real *x, real *y, double total, Py_ssize_t n, bint signed, bint rest,
) noexcept nogil:
    project_row(x, y, total, n, signed, rest)


cdef v4_void project_v4(
    const real *x, real *y, double total, Py_ssize_t n, bint signed, bint rest,
) noexcept nogil:
    project_row(x, y, total, n, signed, rest)


cdef project_t *FLOATS_PROJECTED = [
    <project_t> <void *> project_v2[float], <project_t> <void *> project_v3[float],
    <project_t> <void *> project_v4[float],
]
cdef project_t *DOUBLES_PROJECTED = [
    <project_t> <void *> project_v2[double], <project_t> <void *> project_v3[double],
    <project_t> <void *> project_v4[double],
]


def project(const real[:, ::1] x, const real[::1] total, real[:, ::1] y, bint signed, bint rest):
    """
    Project rows onto simplices or balls.

    Parameters
    ----------
    x : array of float32 or float64, of shape (rows, n)
        What to project.
    total : array of the dtype of x
        One sum of the result, or one for every row; where it is NaN the row is.
    y : array like x
        The result, no part of x.
    signed : bool
        Whether it is the magnitudes that sum up to at most the total.
    rest : bool
        Whether the result is what the projection leaves of `x`.
    """
    cdef Py_ssize_t rows = x.shape[0], n = x.shape[1], row, step = 0 if total.shape[0] == 1 else 1
    cdef int threads = threads_for(rows * n)
    cdef int level = loops.LEVEL_NAMES.index(loops.get_isa())
    cdef project_t loop = FLOATS_PROJECTED[level] if real is float else DOUBLES_PROJECTED[level]
    if rows * n == 0:
        return
    with nogil:
        for row in prange(rows, schedule="static", num_threads=threads, use_threads_if=threads > 1):
            loop(&x[row, 0], &y[row, 0], total[row * step], n, signed, rest)


# ---------------------------------------------------------------------------------------------------------------------
# Sorted l1

cdef inline void pool_row(const double *z, int64_t *pools, double *sums, int64_t *starts, Py_ssize_t n) noexcept nogil:
    """Number the pools of the nonincreasing regression: adjacent violators join until none is left."""
    cdef Py_ssize_t i, k = 0, j, width
    for i in range(n):
        sums[k] = z[i]
        starts[k] = i
        k += 1
        # a mean that exceeds the one before it: by products, the widths are positive
        while k > 1 and sums[k - 1] / (i + 1 - starts[k - 1]) >= sums[k - 2] / (starts[k - 1] - starts[k - 2]):
            sums[k - 2] += sums[k - 1]
            k -= 1
    for j in range(k):
        width = starts[j + 1] if j + 1 < k else n
        for i in range(starts[j], width):
            pools[i] = j


def pool(const double[:, ::1] z, int64_t[:, ::1] pools, double[:, ::1] sums, int64_t[:, ::1] starts):
    """
    Find the pools of the nonincreasing isotonic regression of every row.

    Parameters
    ----------
    z : array of float64, of shape (rows, n)
        What to regress.
    pools : array of int64, of that shape
        The number of the pool of each element: the result.
    sums, starts : arrays of float64 and int64, of that shape
        Room to work in.
    """
    cdef Py_ssize_t rows = z.shape[0], n = z.shape[1], row
    cdef int threads = threads_for(rows * n)
    if rows * n == 0:
        return
    with nogil:
        for row in prange(rows, schedule="static", num_threads=threads, use_threads_if=threads > 1):
            pool_row(&z[row, 0], &pools[row, 0], &sums[row, 0], &starts[row, 0], n)


cdef inline void average_row(const double *v, const int64_t *pools, double *means, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t start = 0, end, i
    cdef double total
    while start < n:
        end = start
        total = 0
        while end < n and pools[end] == pools[start]:
            total += v[end]
            end += 1
        total = total / (end - start)
        for i in range(start, end):
            means[i] = total
        start = end


def average(const double[:, ::1] v, const int64_t[:, ::1] pools, double[:, ::1] means):
    """
    Average every row over its pools.

    Parameters
    ----------
    v : array of float64, of shape (rows, n)
        What to average.
    pools : array of int64, of that shape
        The number of the pool of each element, nondecreasing.
    means : array of float64, of that shape
        The result.
    """
    cdef Py_ssize_t rows = v.shape[0], n = v.shape[1], row
    cdef int threads = threads_for(rows * n)
    if rows * n == 0:
        return
    with nogil:
        for row in prange(rows, schedule="static", num_threads=threads, use_threads_if=threads > 1):
            average_row(&v[row, 0], &pools[row, 0], &means[row, 0], n)
