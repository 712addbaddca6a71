# cython: binding=True
"""The only loops.

a) evaluate() is the loop: one operator over one block, its body inlined from operators.pxd. It is compiled once for
   every operator, type and instruction set level; LEVEL picks a level when the module is imported.
b) dense() runs it over contiguous arrays, blocks shared among threads by prange. tiled() runs it over any other
   layout: each operand of a small tile is used where it lies if it is contiguous there, and gathered otherwise, so that
   strides, broadcast parameters and 16-bit types meet the same loop.
c) A Kernel holds the loops of one operator. KERNELS has one for each.

Results are the same bits whatever the layout, position, block, thread count and level (float64 tanhshrink at the
baseline level, which has no fused multiply-add, excepted), because every element goes through the same scalar formula.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

import numpy as np

from .._checks import check_out, check_threads, usable_processors
from .arithmetic cimport real
from .half cimport BRAIN, DOUBLE, FLOAT, HALF, NONE, narrow, widen
from .operators cimport Firmshrink, Garroteshrink, Hardshrink, Op, Softshrink, Tanhshrink, pull, value

cnp.import_array()

cdef extern from *:
    """
    #ifdef _OPENMP
      #include <omp.h>
      #define shrinkops_openmp 1
    #else
      #define shrinkops_openmp 0
      #define omp_get_max_threads() 1
    #endif

    /* A loop is the same text three times over; the type that it returns says for which instructions to compile it. */
    #if defined(__x86_64__) && defined(__GNUC__)
      #define shrinkops_levels 3
      #ifdef __clang__
        #define SHRINKOPS_WIDE
      #else
        #define SHRINKOPS_WIDE ",prefer-vector-width=512"
      #endif
      #define shrinkops_v2 __attribute__((target("arch=x86-64-v2"), flatten)) void
      #define shrinkops_v3 __attribute__((target("arch=x86-64-v3"), flatten)) void
      #define shrinkops_v4 __attribute__((target("arch=x86-64-v4" SHRINKOPS_WIDE), flatten)) void
      static int shrinkops_best_level(void) {
        __builtin_cpu_init();
        if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) return -1;
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi")
            || !__builtin_cpu_supports("bmi2")) return 0;
        if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
            || !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq")
            || !__builtin_cpu_supports("avx512vl")) return 1;
        return 2;
      }
    #else
      #define shrinkops_levels 1
      #define shrinkops_v2 void
      #define shrinkops_v3 void
      #define shrinkops_v4 void
      static int shrinkops_best_level(void) { return 0; }
    #endif
    #if defined(__aarch64__) || defined(__FMA__)
      #define shrinkops_baseline_fma 1
    #else
      #define shrinkops_baseline_fma 0
    #endif

    /* libgomp hangs in a child forked after its parent had entered a parallel region. The child runs serial. */
    static int shrinkops_forked = 0;
    #ifdef _WIN32
      static int shrinkops_watch_forks(void) { return 0; }
    #else
      #include <pthread.h>
      static void shrinkops_in_child(void) { shrinkops_forked = 1; }
      static int shrinkops_watch_forks(void) { return pthread_atfork(0, 0, shrinkops_in_child); }
    #endif

    #if defined(__clang__)
      #define shrinkops_compiler "clang " __clang_version__
    #elif defined(__GNUC__)
      #define shrinkops_compiler "gcc " __VERSION__
    #else
      #define shrinkops_compiler "unknown"
    #endif
    """
    ctypedef void v2_void "shrinkops_v2"
    ctypedef void v3_void "shrinkops_v3"
    ctypedef void v4_void "shrinkops_v4"
    const int LEVELS "shrinkops_levels"
    const int BASELINE_FMA "shrinkops_baseline_fma"
    const int OPENMP "shrinkops_openmp"
    const char *COMPILER "shrinkops_compiler"
    int best_level "shrinkops_best_level" () noexcept nogil
    int forked "shrinkops_forked"
    int watch_forks "shrinkops_watch_forks" () noexcept nogil
    int omp_get_max_threads() noexcept nogil

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewLikeArray(cnp.ndarray prototype, cnp.NPY_ORDER order, void *dtype, int subok)


# ---------------------------------------------------------------------------------------------------------------------
# The loop

# Elements of a block: two blocks and what a tile gathers stay in the first-level cache.
cdef enum:
    BLOCK = 512
    SHARE = 8192      # of a contiguous array, to a thread
    MAX_PARAMETERS = 4
    MAX_OPERANDS = 7    # out, x, g and the parameters
    MAX_DIMENSIONS = 64
    VALUE = -1    # which function of an operator: this, or the number of a derivative

# What a loop needs to know: the operator's struct, whether its parameters are arrays, which function of it (VALUE, or
# the number of the derivative to pull back), the operands (x, g, then the parameters where they are arrays), the
# output, and n.
ctypedef void (*loop_t)(
    const double *scalars, bint arrays, int which, const char **operands, char *out, Py_ssize_t n,
) noexcept nogil


cdef inline Op element(Op op, const real **operands, Py_ssize_t i) noexcept nogil:
    """The operator with the i-th element of each parameter."""
    cdef int k
    for k in range(<int> (sizeof(Op) // sizeof(double))):
        (<double *> &op)[k] = operands[2 + k][i]
    return op


cdef inline void evaluate(
    Op op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n, bint odd, bint fma,
) noexcept nogil:
    """The loop; odd: doubles that are to be rounded once more, exactly."""
    cdef uint32_t doubt = 0
    # Where parameters are arrays, the loop that settles all doubt at once is the one that compilers vectorise.
    cdef bint settled = odd or (arrays and real is float)
    if not settled:
        run(op, arrays, which, operands, y, n, fma, &doubt)
    if settled or doubt:
        run(op, arrays, which, operands, y, n, fma, NULL)


cdef inline void run(
    Op op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n, bint fma, uint32_t *doubt,
) noexcept nogil:
    cdef const real *x = operands[0]
    cdef const real *g = operands[1]
    cdef uint32_t mark = 0
    cdef uint32_t *marks = NULL if doubt == NULL else &mark    # a local number can stay in a register
    cdef Py_ssize_t i
    if arrays:
        if which == VALUE:
            for i in range(n):
                y[i] = value(element(op, operands, i), x[i], fma, marks)
        elif which == 0:
            for i in range(n):
                y[i] = pull(element(op, operands, i), 0, g[i], x[i], fma, marks)
        elif which == 1:
            for i in range(n):
                y[i] = pull(element(op, operands, i), 1, g[i], x[i], fma, marks)
        else:
            for i in range(n):
                y[i] = pull(element(op, operands, i), 2, g[i], x[i], fma, marks)
    elif which == VALUE:
        for i in range(n):
            y[i] = value(op, x[i], fma, marks)
    elif which == 0:
        for i in range(n):
            y[i] = pull(op, 0, g[i], x[i], fma, marks)
    elif which == 1:
        for i in range(n):
            y[i] = pull(op, 1, g[i], x[i], fma, marks)
    else:
        for i in range(n):
            y[i] = pull(op, 2, g[i], x[i], fma, marks)
    if doubt != NULL:
        doubt[0] = mark


cdef v2_void loop_v2(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, False, BASELINE_FMA)


cdef v2_void odd_loop_v2(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, True, BASELINE_FMA)


cdef v3_void loop_v3(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, False, True)


cdef v3_void odd_loop_v3(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, True, True)


cdef v4_void loop_v4(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, False, True)


cdef v4_void odd_loop_v4(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(op[0], arrays, which, operands, y, n, True, True)


# ---------------------------------------------------------------------------------------------------------------------
# Blocks of contiguous arrays

# What a derivative is multiplied by where it is not to be multiplied.
ONES = (np.ones(BLOCK, np.float32), np.ones(BLOCK, np.float64))


cdef inline void block_of(
    loop_t loop, const double *scalars, int which, const char *x, const char *g, char *y, Py_ssize_t n,
    Py_ssize_t itemsize, bint derivative,
) noexcept nogil:
    """A block of any length. g has BLOCK ones, used again and again, where only the derivative is wanted; where the
    output lies on an input the loop runs through a buffer, so that it may assume that it does not."""
    cdef const char *operands[2]
    cdef double buffer[BLOCK]
    cdef Py_ssize_t start = 0, m = n
    cdef bint aliased = x == y or g == y
    if aliased or derivative:
        m = BLOCK
    while start < n:
        m = min(m, n - start)
        operands[0] = x + start * itemsize
        operands[1] = g if derivative else g + start * itemsize
        if aliased:
            loop(scalars, False, which, operands, <char *> buffer, m)
            memcpy(y + start * itemsize, buffer, m * itemsize)
        else:
            loop(scalars, False, which, operands, y + start * itemsize, m)
        start += m


cdef void dense(
    loop_t loop, const double *scalars, int which, const real[::1] x, const real[::1] g, real[::1] y, bint derivative,
    int threads,
) noexcept nogil:
    """A contiguous array, its blocks shared among the threads."""
    cdef Py_ssize_t n = x.shape[0], block, start
    for block in prange((n + SHARE - 1) // SHARE, schedule="static", num_threads=threads, use_threads_if=threads > 1):
        start = block * SHARE
        block_of(loop, scalars, which, <const char *> &x[start], <const char *> &g[0 if derivative else start],
                 <char *> &y[start], min(SHARE, n - start), sizeof(real), derivative)


# ---------------------------------------------------------------------------------------------------------------------
# 16-bit types: two bytes in, double inside, rounded once

ctypedef void (*widen_t)(const uint16_t *source, double *target, Py_ssize_t n, int kind) noexcept nogil
ctypedef void (*narrow_t)(const double *source, uint16_t *target, Py_ssize_t n, int kind) noexcept nogil
ctypedef void (*table_pull_t)(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil


cdef inline void widen_all(const uint16_t *source, double *target, Py_ssize_t n, int kind) noexcept nogil:
    cdef Py_ssize_t i
    if kind == HALF:
        for i in range(n):
            target[i] = widen(source[i], HALF)
    else:
        for i in range(n):
            target[i] = widen(source[i], BRAIN)


cdef inline void narrow_all(const double *source, uint16_t *target, Py_ssize_t n, int kind) noexcept nogil:
    cdef Py_ssize_t i
    if kind == HALF:
        for i in range(n):
            target[i] = narrow(source[i], HALF)
    else:
        for i in range(n):
            target[i] = narrow(source[i], BRAIN)


cdef inline void table_pull(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil:
    """g times the derivative that the table holds for x."""
    cdef Py_ssize_t i
    if kind == HALF:
        for i in range(n):
            y[i] = narrow(widen(g[i], HALF) * table[x[i]], HALF)
    else:
        for i in range(n):
            y[i] = narrow(widen(g[i], BRAIN) * table[x[i]], BRAIN)


cdef v2_void widen_v2(const uint16_t *source, double *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind)


cdef v3_void widen_v3(const uint16_t *source, double *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind)


cdef v4_void widen_v4(const uint16_t *source, double *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind)


cdef v2_void narrow_v2(const double *source, uint16_t *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind)


cdef v3_void narrow_v3(const double *source, uint16_t *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind)


cdef v4_void narrow_v4(const double *source, uint16_t *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind)


cdef v2_void table_pull_v2(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil:
    table_pull(table, x, g, y, n, kind)


cdef v3_void table_pull_v3(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil:
    table_pull(table, x, g, y, n, kind)


cdef v4_void table_pull_v4(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil:
    table_pull(table, x, g, y, n, kind)


cdef widen_t *WIDEN = [<widen_t> <void *> widen_v2, <widen_t> <void *> widen_v3, <widen_t> <void *> widen_v4]
cdef narrow_t *NARROW = [<narrow_t> <void *> narrow_v2, <narrow_t> <void *> narrow_v3, <narrow_t> <void *> narrow_v4]
cdef table_pull_t *TABLE_PULL = [
    <table_pull_t> <void *> table_pull_v2, <table_pull_t> <void *> table_pull_v3, <table_pull_t> <void *> table_pull_v4,
]


cdef void look_up(
    const uint16_t[::1] table, const uint16_t[::1] x, uint16_t[::1] y, int threads,
) noexcept nogil:
    """y = table[x], for values and derivatives."""
    cdef Py_ssize_t i
    for i in prange(x.shape[0], schedule="static", num_threads=threads, use_threads_if=threads > 1):
        y[i] = table[x[i]]


cdef void look_up_pull(
    table_pull_t loop, const double[::1] table, const uint16_t[::1] x, const uint16_t[::1] g, uint16_t[::1] y, int kind,
    int threads,
) noexcept nogil:
    """y = g * table[x]."""
    cdef Py_ssize_t n = x.shape[0], block, start
    for block in prange((n + SHARE - 1) // SHARE, schedule="static", num_threads=threads, use_threads_if=threads > 1):
        start = block * SHARE
        loop(&table[0], &x[start], &g[start], &y[start], min(SHARE, n - start), kind)


# ---------------------------------------------------------------------------------------------------------------------
# Tiles of any other layout

cdef struct Operand:
    char *data
    Py_ssize_t strides[MAX_DIMENSIONS + 1]    # and one to put an axis aside

cdef struct Plan:
    # out, x, g and the parameters, over one shape; the last two axes are cut into tiles of rows x columns.
    int kind, operands, dimensions
    Py_ssize_t shape[MAX_DIMENSIONS + 1]
    Operand operand[MAX_OPERANDS]
    Py_ssize_t rows, columns, tiles
    widen_t widen
    narrow_t narrow


cdef inline void gather(
    char *target, const char *source, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row, Py_ssize_t column,
    Py_ssize_t itemsize,
) noexcept nogil:
    """Copy a tile with these strides, in bytes, into contiguous memory."""
    cdef Py_ssize_t i
    for i in range(rows):
        if itemsize == 4:
            gather_row(<uint32_t *> target + i * columns, source + i * row, columns, column)
        elif itemsize == 8:
            gather_row(<uint64_t *> target + i * columns, source + i * row, columns, column)
        else:
            gather_row(<uint16_t *> target + i * columns, source + i * row, columns, column)


ctypedef fused word:
    uint16_t
    uint32_t
    uint64_t


cdef inline void gather_row(word *target, const char *source, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t j
    cdef const word *items = <const word *> source
    if stride == sizeof(word):
        memcpy(target, source, n * sizeof(word))
    elif stride == 0:
        for j in range(n):
            target[j] = items[0]
    elif stride == 2 * <Py_ssize_t> sizeof(word):    # a constant stride vectorises
        for j in range(n):
            target[j] = items[2 * j]
    elif stride == -<Py_ssize_t> sizeof(word):
        for j in range(n):
            target[j] = items[-j]
    else:
        for j in range(n):
            target[j] = (<const word *> (source + j * stride))[0]


cdef inline void scatter(
    char *target, const char *source, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t row, Py_ssize_t column,
    Py_ssize_t itemsize,
) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(rows):
        for j in range(columns):
            if itemsize == 4:
                (<uint32_t *> (target + i * row + j * column))[0] = (<const uint32_t *> source)[i * columns + j]
            elif itemsize == 8:
                (<uint64_t *> (target + i * row + j * column))[0] = (<const uint64_t *> source)[i * columns + j]
            else:
                (<uint16_t *> (target + i * row + j * column))[0] = (<const uint16_t *> source)[i * columns + j]


cdef void tiles(
    const Plan *plan, loop_t loop, const double *scalars, bint arrays, int which, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    """The tiles from first to last, in order."""
    cdef double buffers[MAX_OPERANDS][BLOCK]
    cdef uint16_t narrow_buffer[BLOCK]
    cdef const char *held[MAX_OPERANDS]       # what a buffer holds, if it may be used again
    cdef Py_ssize_t held_rows[MAX_OPERANDS]
    cdef Py_ssize_t held_columns[MAX_OPERANDS]
    cdef const char *operands[MAX_OPERANDS]
    cdef char *here[MAX_OPERANDS]
    cdef bint sixteen = plan.kind >= HALF, direct
    cdef Py_ssize_t itemsize = 2 if sixteen else (4 if plan.kind == FLOAT else 8)
    cdef int d = plan.dimensions, j, axis
    cdef Py_ssize_t r = plan.shape[d - 2], c = plan.shape[d - 1], rows, columns, tile, index, rest, row, column
    cdef char *source
    for j in range(MAX_OPERANDS):
        held[j] = NULL
    for tile in range(first, last):
        rest = tile
        index = (rest % ((c + plan.columns - 1) // plan.columns)) * plan.columns
        rest = rest // ((c + plan.columns - 1) // plan.columns)
        columns = min(plan.columns, c - index)
        for j in range(plan.operands):
            here[j] = plan.operand[j].data + index * plan.operand[j].strides[d - 1]
        index = (rest % ((r + plan.rows - 1) // plan.rows)) * plan.rows
        rest = rest // ((r + plan.rows - 1) // plan.rows)
        rows = min(plan.rows, r - index)
        for j in range(plan.operands):
            here[j] += index * plan.operand[j].strides[d - 2]
        for axis in range(d - 3, -1, -1):
            index = rest % plan.shape[axis]
            rest = rest // plan.shape[axis]
            for j in range(plan.operands):
                here[j] += index * plan.operand[j].strides[axis]
        for j in range(1, plan.operands):
            row = plan.operand[j].strides[d - 2]
            column = plan.operand[j].strides[d - 1]
            direct = column == itemsize and (rows == 1 or row == columns * itemsize) and here[j] != here[0]
            if direct and not sixteen:
                operands[j - 1] = here[j]
                continue
            operands[j - 1] = <const char *> buffers[j]
            if held[j] == here[j] and held_rows[j] == rows and held_columns[j] == columns:
                continue
            source = here[j]
            if sixteen:
                if not direct:
                    gather(<char *> narrow_buffer, source, rows, columns, row, column, 2)
                    source = <char *> narrow_buffer
                plan.widen(<const uint16_t *> source, buffers[j], rows * columns, plan.kind)
            else:
                gather(<char *> buffers[j], source, rows, columns, row, column, itemsize)
            held[j] = here[j]    # a broadcast operand comes again
            held_rows[j] = rows
            held_columns[j] = columns
        row = plan.operand[0].strides[d - 2]
        column = plan.operand[0].strides[d - 1]
        direct = column == itemsize and (rows == 1 or row == columns * itemsize)
        if sixteen:
            loop(scalars, arrays, which, operands, <char *> buffers[0], rows * columns)
            source = here[0] if direct else <char *> narrow_buffer
            plan.narrow(buffers[0], <uint16_t *> source, rows * columns, plan.kind)
            if not direct:
                scatter(here[0], source, rows, columns, row, column, 2)
        elif direct:
            loop(scalars, arrays, which, operands, here[0], rows * columns)
        else:
            loop(scalars, arrays, which, operands, <char *> buffers[0], rows * columns)
            scatter(here[0], <const char *> buffers[0], rows, columns, row, column, itemsize)


cdef void tiled(
    const Plan *plan, loop_t loop, const double *scalars, bint arrays, int which, int threads,
) noexcept nogil:
    cdef int t
    for t in prange(threads, schedule="static", num_threads=threads, use_threads_if=threads > 1):
        tiles(plan, loop, scalars, arrays, which, plan.tiles * t // threads, plan.tiles * (t + 1) // threads)


# ---------------------------------------------------------------------------------------------------------------------
# Levels and threads

LEVEL_NAMES = ("baseline", "v3", "v4")[:LEVELS]
cdef int LEVEL = 0


def get_isa():
    """The instruction set level in use."""
    return LEVEL_NAMES[LEVEL]


def set_isa(name=None):
    """Choose an instruction set level, by default the best that this processor has."""
    global LEVEL
    cdef int best = best_level()
    if best < 0:
        raise ImportError("shrinkops needs a processor of level x86-64-v2 (SSE4.2)")
    supported = LEVEL_NAMES[:best + 1]
    if name is None:
        name = supported[best]
    if name not in supported:
        raise ValueError(f"SHRINKOPS_ISA must be one of {', '.join(supported)} on this processor, got {name!r}")
    LEVEL = supported.index(name)


set_isa(os.environ.get("SHRINKOPS_ISA") or None)

# Below SERIAL elements there is one thread. Two break even near 60,000 float32 elements of a cheap operator, and below
# 30,000 of tanhshrink (asv_bench, ThreadCutOff).
cdef Py_ssize_t SERIAL = 32768
cdef int chosen = 0    # by set_num_threads; 0: by OpenMP
cdef int openmp_threads = omp_get_max_threads()
cdef int usable = usable_processors()
if watch_forks():
    raise ImportError("shrinkops could not register its handler for fork()")


def get_num_threads():
    """
    Number of threads that the kernels use on large arrays.

    Returns
    -------
    int
        The number chosen with `set_num_threads` if any, else what OpenMP would use (``OMP_NUM_THREADS``, the
        processors that the process may run on and, without ``OMP_NUM_THREADS``, the CPU quota of its control group).
        A limit that threadpoolctl has put on OpenMP caps either. 1 in a process that was forked, since GNU OpenMP
        does not work there, and in a build without OpenMP.

    Examples
    --------
    >>> import shrinkops
    >>> shrinkops.get_num_threads() >= 1
    True
    """
    if forked or not OPENMP:
        return 1
    cdef int available = omp_get_max_threads()
    if chosen and available >= openmp_threads:
        return chosen
    return min(available, chosen or usable)


def set_num_threads(n):
    """
    Set the number of threads that the kernels use on large arrays, in the whole process.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import shrinkops
    >>> before = shrinkops.get_num_threads()
    >>> shrinkops.set_num_threads(1)
    >>> shrinkops.get_num_threads()
    1
    >>> shrinkops.set_num_threads(before)
    """
    global chosen
    chosen = check_threads(n)


def swap_num_threads(n):
    """Set the number of threads (0: as OpenMP has it), and return what was set before."""
    global chosen
    before = chosen
    chosen = n
    return before


cdef int threads_for(Py_ssize_t n):
    return 1 if n < SERIAL else <int> min(<Py_ssize_t> get_num_threads(), n // (SERIAL // 2))


def config():
    """What the extension was built with and runs on."""
    return {
        "compiler": COMPILER.decode(),
        "openmp": bool(OPENMP),
        "isa": get_isa(),
        "isa_supported": LEVEL_NAMES[:best_level() + 1],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Kernels

# From this many elements on a 16-bit operator with scalar parameters builds its table of all 65,536 results.
cdef enum:
    TABLE = 131072
    TABLES_KEPT = 64


cdef class Kernel:
    """The loops of one operator: kernel(x, params) is its value on NumPy arrays.

    x, g, out and the parameters that are arrays have one type: float32, float64, float16, or uint16 that holds the bits
    of bfloat16 (brain=True). Scalar parameters are Python floats, at least 0, not NaN. which=0 gives g times the
    derivative with respect to x, which=k with respect to the k-th parameter; without g, the derivative itself.
    """
    cdef loop_t loops[3][3]    # by level, and FLOAT, DOUBLE or a double for 16 bits
    cdef dict tables

    def __call__(self, cnp.ndarray x, tuple params=(), out=None, int which=VALUE, g=None, bint brain=False):
        cdef int kind = kind_of(x, brain)
        if kind == NONE:
            return NotImplemented
        cdef double scalars[MAX_PARAMETERS]
        cdef bint arrays = False
        cdef int k = 0
        for parameter in params:
            if type(parameter) is float:
                scalars[k] = rounded(parameter, kind)
            else:
                arrays = True
            k += 1
        cdef bint plain = not arrays and cnp.PyArray_ISONESEGMENT(x) and cnp.PyArray_ISBEHAVED_RO(x)
        if not plain or not (g is None or alike(x, g)) or not (out is None or alike(x, out)):
            return self.general(x, params, out, which, g, kind, scalars, arrays)
        cdef cnp.ndarray y = out if out is not None else PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0)
        if out is not None and (not cnp.PyArray_ISWRITEABLE(y) or partly_on(y, x) or g is not None and partly_on(y, g)):
            return self.general(x, params, out, which, g, kind, scalars, arrays)
        self.flat(x, g, y, which, kind, scalars, params)
        return y

    cdef int flat(
        self, cnp.ndarray x, cnp.ndarray g, cnp.ndarray y, int which, int kind, const double *scalars, tuple params,
    ) except -1:
        """Arrays of one layout without gaps, and scalar parameters."""
        cdef Py_ssize_t n = cnp.PyArray_SIZE(x)
        cdef loop_t loop = self.loops[LEVEL][min(kind, 2)]
        cdef int threads = threads_for(n)
        cdef char *data = cnp.PyArray_BYTES(x)
        cdef char *target = cnp.PyArray_BYTES(y)
        cdef const uint16_t[::1] table, x16, g16
        cdef const double[::1] slopes
        cdef uint16_t[::1] y16
        if kind >= HALF:
            known = self.table(which, kind, params, scalars, n, g is not None)
            if known is None:
                return self.planned(x, params, y, which, g, kind, scalars, False)
            x16, y16 = line(x).view(np.uint16), line(y).view(np.uint16)
            if g is None:
                table = known
                with nogil:
                    look_up(table, x16, y16, threads)
            else:
                slopes, g16 = known, line(g).view(np.uint16)
                with nogil:
                    look_up_pull(TABLE_PULL[LEVEL], slopes, x16, g16, y16, kind, threads)
            return 0
        cdef int itemsize = 4 if kind == FLOAT else 8
        cdef bint derivative = g is None
        cdef cnp.ndarray pulls = ONES[kind] if derivative else g
        cdef char *pulled = cnp.PyArray_BYTES(pulls)
        if threads == 1:
            if n <= SHARE:    # too short to be worth releasing the interpreter
                block_of(loop, scalars, which, data, pulled, target, n, itemsize, derivative)
            else:
                with nogil:
                    block_of(loop, scalars, which, data, pulled, target, n, itemsize, derivative)
            return 0
        cdef const float[::1] xf, gf
        cdef const double[::1] xd, gd
        cdef float[::1] yf
        cdef double[::1] yd
        if kind == FLOAT:
            xf, gf, yf = line(x), line(pulls), line(y)
            with nogil:
                dense(loop, scalars, which, xf, gf, yf, derivative, threads)
        else:
            xd, gd, yd = line(x), line(pulls), line(y)
            with nogil:
                dense(loop, scalars, which, xd, gd, yd, derivative, threads)
        return 0

    cdef general(
        self, x, tuple params, out, int which, g, int kind, const double *scalars, bint arrays,
    ):
        """Any layout: broadcast, check the output, and part what overlaps it."""
        operands = [x if cnp.PyArray_ISBEHAVED_RO(x) else native(x)]
        operands.append(None if g is None else g if cnp.PyArray_ISBEHAVED_RO(g) else native(g))
        for p in params:
            if type(p) is not float:
                p = np.asarray(p)
                if p.dtype != x.dtype:
                    p = p.astype(x.dtype)
            operands.append(p if type(p) is float or cnp.PyArray_ISBEHAVED_RO(p) else native(p))
        given = [a for a in operands if isinstance(a, np.ndarray)]
        x = operands[0]
        shape = x.shape
        if any([a.shape != shape for a in given]):
            shape = np.broadcast_shapes(*[a.shape for a in given])
        if out is None:
            y = (PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0) if x.shape == shape
                 else np.empty(shape, x.dtype))
        else:
            if out.shape != shape or out.dtype != x.dtype or not out.flags.writeable:
                check_out(out.shape, out.dtype.newbyteorder("="), shape, x.dtype, out.flags.writeable)
            y = out
            if not cnp.PyArray_ISBEHAVED(out) or 0 in out.strides and out.size > 1:
                y = np.empty(shape, x.dtype)
            else:
                for k, a in enumerate(operands):
                    if isinstance(a, np.ndarray) and np.may_share_memory(a, y) and not same_layout(a, y):
                        operands[k] = a.copy()
        x, g = operands[0], operands[1]
        params = tuple(operands[2:])
        if (not arrays and same_layout_but_data(x, y) and cnp.PyArray_ISONESEGMENT(x)
                and (g is None or same_layout_but_data(g, y))):
            self.flat(x, g, y, which, kind, scalars, params)
        else:
            self.planned(x, params, y, which, g, kind, scalars, arrays)
        if out is not None and y is not out:
            out[...] = y
            return out
        return y

    cdef int planned(
        self, x, tuple params, cnp.ndarray y, int which, g, int kind, const double *scalars, bint arrays,
    ) except -1:
        """Lay out the operands over the shape of y, and run the tiles."""
        cdef Plan plan
        cdef double cells[MAX_OPERANDS]    # the scalars among the operands
        cdef loop_t loop = self.loops[LEVEL][min(kind, 2)]
        cdef int axis
        if cnp.PyArray_SIZE(y) == 0:
            return 0
        plan.kind = kind
        plan.widen = WIDEN[LEVEL]
        plan.narrow = NARROW[LEVEL]
        plan.operands = 0
        plan.dimensions = cnp.PyArray_NDIM(y)
        for axis in range(plan.dimensions):
            plan.shape[axis] = cnp.PyArray_DIM(y, axis)
        for a in (y, x, 1.0 if g is None else g) + (params if arrays else ()):
            if type(a) is float:
                store(<char *> &cells[plan.operands], a, kind)
                add_operand(&plan, None, <char *> &cells[plan.operands])
            else:
                add_operand(&plan, a, cnp.PyArray_BYTES(a))
        lay_out(&plan)
        cdef int threads = <int> min(<Py_ssize_t> threads_for(cnp.PyArray_SIZE(y)), plan.tiles)
        with nogil:
            tiled(&plan, loop, scalars, arrays, which, threads)
        return 0

    cdef table(self, int which, int kind, tuple params, const double *scalars, Py_ssize_t n, bint wide):
        """All 65,536 results of a 16-bit operator, if they are there or n makes them worth while; wide: as doubles."""
        key = (which, kind, params, wide)
        table = self.tables.get(key)
        if table is None and n >= TABLE:
            bits = np.arange(65536, dtype=np.uint16)
            if wide:
                table = self.slopes(bits, which, kind, scalars)
            else:
                x = bits if kind == BRAIN else bits.view(np.float16)
                table = self(x, params, which=which, brain=kind == BRAIN).view(np.uint16)
            if len(self.tables) >= TABLES_KEPT:
                self.tables.clear()
            self.tables[key] = table
        return table

    cdef slopes(self, const uint16_t[::1] bits, int which, int kind, const double *scalars):
        """The derivative at all 16-bit numbers, before it is rounded to 16 bits."""
        x, y = np.empty(bits.shape[0]), np.empty(bits.shape[0])
        cdef double[::1] source = x, target = y
        cdef cnp.ndarray ones = ONES[DOUBLE]
        WIDEN[LEVEL](&bits[0], &source[0], bits.shape[0], kind)
        block_of(self.loops[LEVEL][2], scalars, which, <char *> &source[0], cnp.PyArray_BYTES(ones),
                 <char *> &target[0], bits.shape[0], sizeof(double), True)
        return y


cdef int kind_of(cnp.ndarray x, bint brain) noexcept:
    cdef int number = cnp.PyArray_TYPE(x)
    if brain and number == cnp.NPY_UINT16:
        return BRAIN
    if number == cnp.NPY_FLOAT32:
        return FLOAT
    if number == cnp.NPY_FLOAT64:
        return DOUBLE
    if number == cnp.NPY_FLOAT16:
        return HALF
    return NONE


cdef bint alike(cnp.ndarray x, cnp.ndarray a) noexcept:
    """Whether an array lies in its memory as x does in its own, without gaps."""
    return (cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(x) and cnp.PyArray_SAMESHAPE(a, x) and cnp.PyArray_ISBEHAVED_RO(a)
            and (cnp.PyArray_IS_C_CONTIGUOUS(x) and cnp.PyArray_IS_C_CONTIGUOUS(a)
                 or cnp.PyArray_IS_F_CONTIGUOUS(x) and cnp.PyArray_IS_F_CONTIGUOUS(a)))


cdef bint partly_on(cnp.ndarray y, cnp.ndarray a) noexcept:
    """Whether two arrays that are alike share memory without being in the same place."""
    cdef size_t here = <size_t> cnp.PyArray_DATA(y), there = <size_t> cnp.PyArray_DATA(a)
    return here != there and here < there + cnp.PyArray_NBYTES(a) and there < here + cnp.PyArray_NBYTES(y)


cdef double rounded(double parameter, int kind) noexcept:
    """A scalar parameter in the precision of x."""
    if kind == FLOAT:
        return <float> parameter
    if kind == DOUBLE:
        return parameter
    return widen(narrow(parameter, kind), kind)


cdef void store(char *cell, double scalar, int kind) noexcept:
    if kind == FLOAT:
        (<float *> cell)[0] = <float> scalar
    elif kind == DOUBLE:
        (<double *> cell)[0] = scalar
    else:
        (<uint16_t *> cell)[0] = narrow(scalar, kind)


cdef line(a):
    """An array without gaps as one line, in the order of its memory."""
    return (a if a.flags.c_contiguous else a.T).reshape(-1)


cdef native(a):
    """An aligned copy in the byte order of the machine."""
    return a.astype(a.dtype.newbyteorder("="))


cdef bint same_layout_but_data(a, b):
    return a.shape == b.shape and a.strides == b.strides


cdef bint same_layout(a, b):
    return same_layout_but_data(a, b) and a.ctypes.data == b.ctypes.data


cdef void add_operand(Plan *plan, cnp.ndarray a, char *data) noexcept:
    """Broadcast an array, or one number, over the shape of the plan."""
    cdef int missing = plan.dimensions - (0 if a is None else cnp.PyArray_NDIM(a)), axis
    cdef Operand *operand = &plan.operand[plan.operands]
    operand.data = data
    for axis in range(plan.dimensions):
        operand.strides[axis] = 0
        if a is not None and axis >= missing and cnp.PyArray_DIM(a, axis - missing) != 1:
            operand.strides[axis] = cnp.PyArray_STRIDE(a, axis - missing)
    plan.operands += 1


cdef void put_axis(Plan *plan, int target, int source) noexcept:
    """Make one axis what another is."""
    cdef int j
    plan.shape[target] = plan.shape[source]
    for j in range(plan.operands):
        plan.operand[j].strides[target] = plan.operand[j].strides[source]


cdef void single_axis(Plan *plan, int target) noexcept:
    """Make an axis one of length 1."""
    cdef int j
    plan.shape[target] = 1
    for j in range(plan.operands):
        plan.operand[j].strides[target] = 0


cdef bint follows(const Plan *plan, int outer, int inner) noexcept:
    """Whether two axes are one for every operand."""
    cdef int j
    for j in range(plan.operands):
        if plan.operand[j].strides[outer] != plan.operand[j].strides[inner] * plan.shape[inner]:
            return False
    return True


cdef void lay_out(Plan *plan) noexcept:
    """Order the axes by the strides of the output, merge those that lie behind one another, and cut tiles."""
    cdef Py_ssize_t *strides = plan.operand[0].strides
    cdef int axis, place, d = 0
    cdef Py_ssize_t length
    for axis in range(plan.dimensions):
        if plan.shape[axis] != 1:
            place = d
            put_axis(plan, MAX_DIMENSIONS, axis)
            while place > 0 and abs(strides[place - 1]) < abs(strides[MAX_DIMENSIONS]):
                put_axis(plan, place, place - 1)
                place -= 1
            put_axis(plan, place, MAX_DIMENSIONS)
            d += 1
    plan.dimensions = min(d, 1)
    for axis in range(1, d):
        if follows(plan, plan.dimensions - 1, axis):
            length = plan.shape[plan.dimensions - 1]
            put_axis(plan, plan.dimensions - 1, axis)
            plan.shape[plan.dimensions - 1] *= length
        else:
            put_axis(plan, plan.dimensions, axis)
            plan.dimensions += 1
    while plan.dimensions < 2:
        if plan.dimensions:
            put_axis(plan, 1, 0)
        single_axis(plan, 0)
        plan.dimensions += 1
    d = plan.dimensions
    plan.columns = min(plan.shape[d - 1], BLOCK)
    plan.rows = min(plan.shape[d - 2], BLOCK // plan.columns)
    plan.tiles = (plan.shape[d - 1] + plan.columns - 1) // plan.columns
    plan.tiles *= (plan.shape[d - 2] + plan.rows - 1) // plan.rows
    for axis in range(d - 2):
        plan.tiles *= plan.shape[axis]


cdef Kernel kernel(Op op):
    """The kernel of the operator that the struct names."""
    cdef Kernel self = Kernel.__new__(Kernel)
    self.tables = {}
    self.loops[0][0] = <loop_t> <void *> loop_v2[Op, float]
    self.loops[0][1] = <loop_t> <void *> loop_v2[Op, double]
    self.loops[0][2] = <loop_t> <void *> odd_loop_v2[Op]
    self.loops[1][0] = <loop_t> <void *> loop_v3[Op, float]
    self.loops[1][1] = <loop_t> <void *> loop_v3[Op, double]
    self.loops[1][2] = <loop_t> <void *> odd_loop_v3[Op]
    self.loops[2][0] = <loop_t> <void *> loop_v4[Op, float]
    self.loops[2][1] = <loop_t> <void *> loop_v4[Op, double]
    self.loops[2][2] = <loop_t> <void *> odd_loop_v4[Op]
    return self


KERNELS = {
    "tanhshrink": kernel(Tanhshrink(0)),
    "softshrink": kernel(Softshrink(0)),
    "hardshrink": kernel(Hardshrink(0)),
    "firmshrink": kernel(Firmshrink(0, 0)),
    "garroteshrink": kernel(Garroteshrink(0)),
}
