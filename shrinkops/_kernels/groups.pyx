# cython: binding=True
"""The loops over groups: what looks at more than one element.

a) shrink_block() is the loop of group thresholding: the norms of some groups, their factors, then the products, so
   that each step is vectorised: the first and the last within a group, the second across groups. It is compiled once
   for every type and instruction set level. float32 is computed in double, float64 in pairs of doubles: neither
   loses digits, overflows or underflows, and the sum of a group has one order, whatever thread or level adds it up.
b) shrink() shares blocks of groups among threads by prange. Groups are rows of a matrix, or runs of any length of the
   elements of each row, in an order.
c) pool() and average() are the isotonic regression of sorted l1: pool adjacent violators, and means over the pools.

The number of threads, the level and what is known of forks are those of loops.pyx.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t

from . import loops
from .arithmetic cimport (
    INFINITY, NAN, absolute, c_fabs, c_sqrt, copy_sign, product_error, real, residual, sum_error,
)
from .platform cimport BASELINE_FMA, v2_void, v3_void, v4_void

cdef enum:
    LANES = 8       # partial sums of a group
    TOGETHER = 64   # groups to a block
    SERIAL = 32768  # elements below which there is one thread

ctypedef void (*shrink_t)(
    const void *x, void *y, const void *lambd, Py_ssize_t step, const int64_t *order, const int64_t *offsets,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil


# ---------------------------------------------------------------------------------------------------------------------
# Group thresholding

cdef inline Py_ssize_t length_of(const int64_t *offsets, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t n) noexcept nogil:
    """How many elements the g-th group has."""
    return n if offsets == NULL else offsets[g % groups + 1] - offsets[g % groups]


cdef inline Py_ssize_t start_of(
    const int64_t *order, const int64_t *offsets, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t n,
) noexcept nogil:
    """Where the g-th group starts, or its row if its elements do not follow each other."""
    if offsets == NULL:
        return g * n
    return g // groups * n + (0 if order != NULL else offsets[g % groups])


cdef extern from *:
    """
    /* Eight numbers at a time: as vectors of four where the compiler has them, which takes no guess at what it
       vectorises, and as loops elsewhere, with the same results. The sum of the squares of doubles has a low part, of
       the rounding of sums and products, these split in two halves. */
    #if defined(__GNUC__)
      #pragma GCC diagnostic ignored "-Wpsabi"    /* nothing here is called from elsewhere */
      typedef double shrinkops_four __attribute__((vector_size(32), aligned(8)));
      typedef float shrinkops_four_floats __attribute__((vector_size(16), aligned(4)));
      typedef long long shrinkops_four_bits __attribute__((vector_size(32), aligned(8)));
      #define SHRINKOPS_STEP 4
      #define shrinkops_wide(x) __builtin_convertvector(*(const shrinkops_four_floats *) (x), shrinkops_four)
      #define shrinkops_store(y, v) (*(shrinkops_four_floats *) (y) = __builtin_convertvector(v, shrinkops_four_floats))
      #define shrinkops_high_half(a) ((shrinkops_four) ((shrinkops_four_bits) (a) & -134217728LL))
      #define shrinkops_all(q) ((shrinkops_four) {q, q, q, q})
    #else
      typedef double shrinkops_four;
      #define SHRINKOPS_STEP 1
      #define shrinkops_wide(x) ((double) *(x))
      #define shrinkops_store(y, v) (*(y) = (float) (v))
      #define shrinkops_all(q) (q)
      static double shrinkops_high_half(double a) {
        long long u; memcpy(&u, &a, 8); u &= -134217728LL; memcpy(&a, &u, 8); return a;
      }
    #endif
    static CYTHON_INLINE void shrinkops_squares_float(const float *x, Py_ssize_t n, double *high) {
      for (int j = 0; j < 8; j += 2 * SHRINKOPS_STEP) {
        shrinkops_four one = shrinkops_all(0.0), two = one;
        for (Py_ssize_t i = j; i < n; i += 8) {
          shrinkops_four a = shrinkops_wide(x + i), b = shrinkops_wide(x + i + SHRINKOPS_STEP);
          one += a * a;
          two += b * b;
        }
        *(shrinkops_four *) (high + j) = one;
        *(shrinkops_four *) (high + j + SHRINKOPS_STEP) = two;
      }
    }
    static CYTHON_INLINE void shrinkops_times_float(const float *x, float *y, Py_ssize_t n, double q) {
      for (Py_ssize_t i = 0; i < n; i += SHRINKOPS_STEP) shrinkops_store(y + i, shrinkops_wide(x + i) * q);
    }
    /* The error of a product, by halves and by a fused multiply-add: the same number. */
    static CYTHON_INLINE shrinkops_four shrinkops_error(shrinkops_four a, shrinkops_four b, shrinkops_four p) {
      shrinkops_four ah = shrinkops_high_half(a), al = a - ah, bh = shrinkops_high_half(b), bl = b - bh;
      return ((ah * bh - p) + (ah * bl + al * bh)) + al * bl;
    }
    #if defined(__x86_64__) && defined(__GNUC__)
      #define SHRINKOPS_FUSED __attribute__((target("arch=x86-64-v3")))
      #define shrinkops_fused_error(a, b, p) ((shrinkops_four) __builtin_ia32_vfmaddpd256(a, b, -(p)))
    #else
      #define SHRINKOPS_FUSED
      #define shrinkops_fused_error shrinkops_error
    #endif
    #define SHRINKOPS_DOUBLES(squares, times, target, error) \
      target static CYTHON_INLINE void squares(const double *x, Py_ssize_t n, double *high, double *low) { \
        for (int j = 0; j < 8; j += SHRINKOPS_STEP) { \
          shrinkops_four sum = shrinkops_all(0.0), rest = sum; \
          for (Py_ssize_t i = j; i < n; i += 8) { \
            shrinkops_four a = *(const shrinkops_four *) (x + i), p = a * a, t = sum + p, z = t - sum; \
            rest += ((sum - (t - z)) + (p - z)) + error(a, a, p); \
            sum = t; \
          } \
          *(shrinkops_four *) (high + j) = sum; \
          *(shrinkops_four *) (low + j) = rest; \
        } \
      } \
      target static CYTHON_INLINE void times(const double *x, double *y, Py_ssize_t n, double q, double r) { \
        shrinkops_four qs = shrinkops_all(q), rs = shrinkops_all(r); \
        for (Py_ssize_t i = 0; i < n; i += SHRINKOPS_STEP) { \
          shrinkops_four a = *(const shrinkops_four *) (x + i), p = a * qs; \
          *(shrinkops_four *) (y + i) = p + (error(a, qs, p) + a * rs); \
        } \
      }
    SHRINKOPS_DOUBLES(shrinkops_squares_double, shrinkops_times_double, , shrinkops_error)
    SHRINKOPS_DOUBLES(shrinkops_squares_fused, shrinkops_times_fused, SHRINKOPS_FUSED, shrinkops_fused_error)
    """
    void squares_float "shrinkops_squares_float" (const float *x, Py_ssize_t n, double *high) noexcept nogil
    void squares_double "shrinkops_squares_double" (
        const double *x, Py_ssize_t n, double *high, double *low) noexcept nogil
    void squares_fused "shrinkops_squares_fused" (
        const double *x, Py_ssize_t n, double *high, double *low) noexcept nogil
    void times_fused "shrinkops_times_fused" (
        const double *x, double *y, Py_ssize_t n, double q, double r) noexcept nogil
    void times_float "shrinkops_times_float" (const float *x, float *y, Py_ssize_t n, double q) noexcept nogil
    void times_double "shrinkops_times_double" (
        const double *x, double *y, Py_ssize_t n, double q, double r) noexcept nogil


cdef inline double add_up(
    const real *x, const int64_t *order, Py_ssize_t n, double scale, bint low_parts, bint fma, double *rest,
) noexcept nogil:
    """The sum of the squares of the numbers times the scale, and what rounding took from it."""
    cdef double high[LANES]
    cdef double low[LANES]
    cdef double a, p, t
    cdef Py_ssize_t i = 0, j, width = LANES // 2
    if real is float and order == NULL and not low_parts:
        i = n - n % LANES
        squares_float(x, i, high)
    elif real is double and order == NULL and scale == 1:
        i = n - n % LANES
        if fma:
            squares_fused(x, i, high, low)
        else:
            squares_double(x, i, high, low)
    else:
        for j in range(LANES):
            high[j] = low[j] = 0
    while i < n:
        j = i % LANES
        a = x[i if order == NULL else order[i]]
        if real is double:
            a = a * scale
        p = a * a
        t = high[j] + p
        if low_parts:
            low[j] += sum_error(high[j], p, t) + (0 if real is float else product_error(a, a, p, False))
        high[j] = t
        i += 1
    while width:
        for j in range(width):
            t = high[j] + high[j + width]
            if low_parts:
                low[j] += low[j + width] + sum_error(high[j], high[j + width], t)
            high[j] = t
        width = width // 2
    rest[0] = low[0] if low_parts else 0
    return high[0]


cdef inline (double, double) factor(double square, double low, double lambd, bint low_parts, bint fma) noexcept nogil:
    """1 - lambd / norm, at least 0, as a high and a low part."""
    cdef double n = c_sqrt(square)
    cdef double positive = n if n > 0 else 1
    cdef double d = n - lambd, rest = 0, q, left
    if low_parts:
        rest = (residual(square, n, n, fma) + low) / (2 * positive)
        rest = rest if n < INFINITY else 0
        rest = rest + sum_error(n, -lambd, d)
        left = d + rest
        rest = (d - left) + rest
        d = left
    q = d / positive
    left = 0
    if low_parts:    # the norm is d + lambd
        left = ((residual(d, q, positive, fma) + rest) - q * (residual(square, n, n, fma) + low) / (2 * positive))
        left = left / positive
        left = left if left == left and n < INFINITY else 0
    q = 1 if n == INFINITY else q
    left = left if n < INFINITY else 0
    q = 0 if d <= 0 or lambd == INFINITY and n == n else q
    left = 0 if q == 0 else left
    q = 1 if lambd == 0 and n == n else q
    left = 0 if lambd == 0 else left
    q = q if lambd >= 0 else NAN
    return q, left


cdef inline void multiply(
    const real *x, real *y, const int64_t *order, Py_ssize_t n, double q, double r, bint fma,
) noexcept nogil:
    """y = x (q + r); zeros, with the signs of x, for q = 0."""
    cdef double p, rest
    cdef Py_ssize_t i = 0, j
    if q == 0:
        for i in range(n):
            y[i if order == NULL else order[i]] = copy_sign(<real> 0, x[i if order == NULL else order[i]])
        return
    if order == NULL:
        if real is float:
            i = n - n % LANES
            times_float(x, y, i, q)
        elif q != 1:    # or infinities would become NaN
            i = n - n % LANES
            if fma:
                times_fused(x, y, i, q, r)
            else:
                times_double(x, y, i, q, r)
    while i < n:
        j = i if order == NULL else order[i]
        if real is float:
            y[j] = <real> (x[j] * q)
        elif q == 1:
            y[j] = x[j]
        else:
            p = x[j] * q
            rest = product_error(x[j], q, p, False) + x[j] * r
            y[j] = <real> (p + rest)
        i += 1


cdef inline void shrink_block(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *order, const int64_t *offsets,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length, bint fma,
) noexcept nogil:
    """The groups from first to last, at most TOGETHER: of one length, or as the offsets say, `groups` to a row."""
    cdef double high[TOGETHER]
    cdef double low[TOGETHER]
    cdef double threshold[TOGETHER]
    cdef bint close[TOGETHER]
    cdef bint doubt = False
    cdef double scale, largest, p
    cdef Py_ssize_t g, i, j, n, m = last - first
    cdef const real *source
    cdef const int64_t *index
    for g in range(m):
        source = x + start_of(order, offsets, first + g, groups, length)
        index = NULL if order == NULL else &order[offsets[(first + g) % groups]]
        n = length_of(offsets, first + g, groups, length)
        threshold[g] = lambd[(first + g) * step]
        high[g] = add_up(source, index, n, 1, real is double, fma, &low[g])
        if real is double:
            if not (1e-240 < high[g] < 1e300) and high[g] == high[g]:
                largest = 0
                for i in range(n):
                    p = absolute(source[i if index == NULL else index[i]])
                    largest = p if p > largest else largest
                if 0 < largest < INFINITY:
                    scale = 1.90109156629516e-211 if largest > 1 else 5.260135901548374e+210    # 2^-700, 2^700
                    high[g] = add_up(source, index, n, scale, True, fma, &low[g])
                    threshold[g] = threshold[g] * scale
    if real is float:    # where the threshold is so near to the norm that a double loses digits
        for g in range(m):
            close[g] = c_fabs(high[g] - threshold[g] * threshold[g]) < 1e-4 * high[g]
            doubt |= close[g]
    if doubt:
        for g in range(m):
            if close[g]:
                source = x + start_of(order, offsets, first + g, groups, length)
                index = NULL if order == NULL else &order[offsets[(first + g) % groups]]
                n = length_of(offsets, first + g, groups, length)
                high[g] = add_up(source, index, n, 1, True, fma, &low[g])
            else:
                low[g] = 0
    if real is double or doubt:
        for g in range(m):
            high[g], low[g] = factor(high[g], low[g], threshold[g], True, fma)
    else:
        for g in range(m):
            high[g], low[g] = factor(high[g], 0, threshold[g], False, fma)
    for g in range(m):
        j = start_of(order, offsets, first + g, groups, length)
        index = NULL if order == NULL else &order[offsets[(first + g) % groups]]
        multiply(x + j, y + j, index, length_of(offsets, first + g, groups, length), high[g], low[g], fma)


cdef v2_void shrink_v2(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *order, const int64_t *offsets,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    shrink_block(x, y, lambd, step, order, offsets, first, last, groups, length, BASELINE_FMA)


cdef v3_void shrink_v3(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *order, const int64_t *offsets,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    if order == NULL and offsets == NULL:
        shrink_block(x, y, lambd, step, NULL, NULL, first, last, groups, length, True)
    else:
        shrink_block(x, y, lambd, step, order, offsets, first, last, groups, length, True)


cdef v4_void shrink_v4(
    const real *x, real *y, const real *lambd, Py_ssize_t step, const int64_t *order, const int64_t *offsets,
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t groups, Py_ssize_t length,
) noexcept nogil:
    if order == NULL and offsets == NULL:
        shrink_block(x, y, lambd, step, NULL, NULL, first, last, groups, length, True)
    else:
        shrink_block(x, y, lambd, step, order, offsets, first, last, groups, length, True)


cdef shrink_t *FLOATS = [
    <shrink_t> <void *> shrink_v2[float], <shrink_t> <void *> shrink_v3[float], <shrink_t> <void *> shrink_v4[float],
]
cdef shrink_t *DOUBLES = [
    <shrink_t> <void *> shrink_v2[double], <shrink_t> <void *> shrink_v3[double],
    <shrink_t> <void *> shrink_v4[double],
]


cdef int threads_for(Py_ssize_t n):
    return 1 if n < SERIAL else <int> min(<Py_ssize_t> loops.get_num_threads(), n // (SERIAL // 2))


def shrink(const real[:, ::1] x, const real[::1] lambd, real[:, ::1] y, const int64_t[::1] order=None,
           const int64_t[::1] offsets=None):
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
    order : array of int64, optional
        In which order the elements of a row make up the groups, if not in their own.
    offsets : array of int64, optional
        Where each group starts in that order, and then the end of the last.
    """
    cdef Py_ssize_t rows = x.shape[0], length = x.shape[1]
    cdef Py_ssize_t groups = 1 if offsets is None else offsets.shape[0] - 1
    cdef Py_ssize_t count = rows * groups, step = 0 if lambd.shape[0] == 1 else 1, block
    cdef int threads = threads_for(rows * length)
    cdef int level = loops.LEVEL_NAMES.index(loops.get_isa())
    cdef shrink_t loop = FLOATS[level] if real is float else DOUBLES[level]
    cdef const int64_t *places = NULL
    cdef const int64_t *starts = NULL
    if rows * length == 0 or count == 0:
        return
    if order is not None:
        places = &order[0]
    if offsets is not None:
        starts = &offsets[0]
    with nogil:
        for block in prange((count + TOGETHER - 1) // TOGETHER, schedule="static", num_threads=threads,
                            use_threads_if=threads > 1):
            loop(&x[0, 0], &y[0, 0], &lambd[0], step, places, starts, block * TOGETHER,
                 min(block * TOGETHER + TOGETHER, count), groups, length)


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
