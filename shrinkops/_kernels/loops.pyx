# cython: binding=True
"""The only loops.

a) run() is the loop: one operator over a stretch, its body inlined from operators.pxd; evaluate() runs it stretch by
   stretch, and a stretch of floats again where one is in doubt. Both are compiled once for every operator, type and
   instruction set level; LEVEL picks a level when the module is imported.
b) dense() runs it over contiguous arrays, blocks shared among threads by prange. tiled() runs it over any other
   layout: each operand of a small tile is used where it lies if it is contiguous there, and gathered otherwise, so that
   strides, broadcast parameters, 16-bit types and complex numbers meet the same loop.
c) run_polar() runs the loop over the magnitudes of complex numbers. What is analytic has a loop of its own.
d) A Kernel holds the loops of one operator. KERNELS has one for each.

Results are the same bits whatever the layout, position, block, thread count and level (float64 at the baseline level,
which has no fused multiply-add, excepted), because every element goes through the same scalar formula.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

import numpy as np

from .._checks import check_out, check_threads, usable_processors
from .arithmetic cimport real
from .half cimport (
    BRAIN, COMPLEX64, COMPLEX128, DOUBLE, FLOAT, HALF, KINDS, NONE, floats_to_halves, halves_to_floats, narrow,
    narrow_brain, widen, widen_brain,
)
from .layout cimport (
    BLOCK, MAX_DIMENSIONS, MAX_OPERANDS, MAX_PARAMETERS, PARAMETERS, VALUE, Plan, add_operand, gather, lay_out, loop_t,
    narrow_t, polar_loop_t, real_kind, scatter, widen_t,
)
from .operators cimport (
    Analytic, Cauchyshrink, Constants, Elasticnetshrink, Firmshrink, Garroteshrink, Hardshrink, Hubershrink,
    Hyperbolicshrink, Logshrink, Lpshrink, Mcpshrink, Nonnegshrink, OneSided, Op, Scadshrink, Shrink, Sigmoidshrink,
    Softshrink, Tanhshrink, Threshold, constants, heavy, hopeless, long_row, never_in_doubt, plane_derivative,
    plane_value, pull, rounds_once, value,
)
from .pairs cimport pair
from .platform cimport (
    BASELINE_FMA, COMPILER, LEVELS, OPENMP, best_level, doubles_out, floats_out, forked, omp_get_max_threads, output,
    v2_void, v3_void, v4_void, watch_forks,
)
from .polar cimport Polar, direction, polar, pull_at, ratio, shrunk

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewLikeArray(cnp.ndarray prototype, cnp.NPY_ORDER order, void *dtype, int subok)


# ---------------------------------------------------------------------------------------------------------------------
# The loop

cdef inline Op element(Op op, const real **operands, Py_ssize_t i) noexcept nogil:
    """The operator with the i-th element of each parameter."""
    cdef int k
    for k in range(<int> (sizeof(Op) // sizeof(double))):
        (<double *> &op)[k] = operands[2 + k][i]
    return op


cdef void settle_doubt(
    loop_t odd_loop, const double *scalars, bint arrays, int which, const float **operands, float *y, Py_ssize_t start,
    Py_ssize_t stop, int parameters,
) noexcept nogil:
    """A stretch again, in double and with low parts; rounded to odd there, results are the nearest floats."""
    cdef double wide[MAX_OPERANDS][BLOCK]
    cdef const double *rows[MAX_OPERANDS]
    cdef Py_ssize_t m, i
    cdef int j, used = 2 + (parameters if arrays else 0)
    while start < stop:
        m = min(<Py_ssize_t> BLOCK, stop - start)
        for j in range(used):
            rows[j] = wide[1 + j]
            for i in range(m if operands[j] != NULL else 0):    # without g
                wide[1 + j][i] = operands[j][start + i]
        odd_loop(scalars, arrays, which, <const char **> rows, <char *> &wide[0][0], m)
        for i in range(m):
            y[start + i] = <float> wide[0][i]
        start += m


cdef inline void run(
    Op op, Constants c, bint arrays, int which, const real **operands, output y, Py_ssize_t start, Py_ssize_t stop,
    bint fma, uint32_t *doubt,
) noexcept nogil:
    """The elements from start to stop, into an output that is none of the operands."""
    cdef const real *x = operands[0]
    cdef const real *g = operands[1]
    cdef uint32_t mark = 0
    cdef uint32_t *marks = NULL if doubt == NULL else &mark    # a local number can stay in a register
    cdef Py_ssize_t i
    if arrays:
        if which == VALUE:
            for i in range(start, stop):
                op = element(op, operands, i)
                y[i] = value(op, constants(op, <real> 0, True, fma), x[i], True, fma, marks)
        elif heavy(op, <real> 0, doubt == NULL):
            for i in range(start, stop):
                op = element(op, operands, i)
                y[i] = pull(op, constants(op, <real> 0, True, fma), which, g[i], x[i], fma, marks)
        elif which == 0:
            for i in range(start, stop):
                op = element(op, operands, i)
                y[i] = pull(op, constants(op, <real> 0, True, fma), 0, g[i], x[i], fma, marks)
        elif which == 1:
            for i in range(start, stop):
                op = element(op, operands, i)
                y[i] = pull(op, constants(op, <real> 0, True, fma), 1, g[i], x[i], fma, marks)
        else:
            for i in range(start, stop):
                op = element(op, operands, i)
                y[i] = pull(op, constants(op, <real> 0, True, fma), 2, g[i], x[i], fma, marks)
    elif which == VALUE and c.t != c.t:    # one number of an array
        for i in range(start, stop):
            y[i] = value(op, c, x[i], True, fma, marks)
    elif which == VALUE:
        for i in range(start, stop):
            y[i] = value(op, c, x[i], False, fma, marks)
    elif heavy(op, <real> 0, doubt == NULL):
        for i in range(start, stop):
            y[i] = pull(op, c, which, g[i], x[i], fma, marks)
    elif which == 0:
        for i in range(start, stop):
            y[i] = pull(op, c, 0, g[i], x[i], fma, marks)
    elif which == 1:
        for i in range(start, stop):
            y[i] = pull(op, c, 1, g[i], x[i], fma, marks)
    else:
        for i in range(start, stop):
            y[i] = pull(op, c, 2, g[i], x[i], fma, marks)
    if doubt != NULL:
        doubt[0] = mark


cdef enum:
    STRETCH = 1024    # elements that are computed again if one is in doubt, of which there are few in a million
    LANES = 16        # of the longest vector of floats, and of two of doubles

cdef inline void evaluate(
    loop_t odd_loop, const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n, bint fma,
) noexcept nogil:
    """The loop, stretch by stretch, in whole vectors: the last ones may do elements again, and a few get company.

    A first vector is done apart from the others if that puts their output at multiples of a cache line.
    """
    cdef int parameters = sizeof(Op) // sizeof(double), used = 2 + (parameters if arrays else 0), j
    cdef real few[MAX_OPERANDS][LANES]
    cdef const real *company[MAX_OPERANDS]
    cdef const real **here = operands
    cdef real *target = y
    cdef Constants c
    cdef Py_ssize_t m = n, start = 0, lead = 0, stop, i
    cdef uint32_t doubt = 0
    cdef bint again = False
    if not arrays:
        c = constants(op[0], <real> 0, False, fma)
        again = fma and real is float and which == VALUE and hopeless(op[0], c)
    if n < LANES:
        for j in range(used):
            company[j] = few[1 + j]
            for i in range(LANES if operands[j] != NULL else 0):    # without g
                few[1 + j][i] = operands[j][min(i, n - 1)]
        here = company
        target = few[0]
        m = LANES
    elif n > STRETCH:
        lead = (64 - <Py_ssize_t> (<size_t> y % 64)) % 64 // <Py_ssize_t> sizeof(real)
    while start < m:
        if lead:
            stop = LANES
        else:
            start = min(start, m - LANES)
            stop = m if never_in_doubt(op[0]) else min(m, start + STRETCH)
            stop -= (stop - start) % LANES
        if real is double:
            run(op[0], c, arrays, which, here, <doubles_out> target, start, stop, fma, &doubt)
        else:
            if not again:
                run(op[0], c, arrays, which, here, <floats_out> target, start, stop, fma, &doubt)
            if doubt or again:
                settle_doubt(odd_loop, <const double *> op, arrays, which, here, target, start, stop, parameters)
        start = lead if lead else stop
        lead = 0
    for i in range(n if n < LANES else 0):
        y[i] = few[0][i]


cdef inline void evaluate_odd(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n, bint fma,
) noexcept nogil:
    """The loop with low parts, rounded to odd."""
    run(op[0], constants(op[0], <double> 0, False, fma), arrays, which, operands, <doubles_out> y, 0, n, fma, NULL)


cdef v2_void odd_loop_v2(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate_odd(op, arrays, which, operands, y, n, BASELINE_FMA)


cdef v2_void loop_v2(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(<loop_t> <void *> odd_loop_v2[Op], op, arrays, which, operands, y, n, BASELINE_FMA)


cdef v3_void odd_loop_v3(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate_odd(op, arrays, which, operands, y, n, True)


cdef v3_void loop_v3(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(<loop_t> <void *> odd_loop_v3[Op], op, arrays, which, operands, y, n, True)


cdef v4_void odd_loop_v4(
    const Op *op, bint arrays, int which, const double **operands, double *y, Py_ssize_t n,
) noexcept nogil:
    evaluate_odd(op, arrays, which, operands, y, n, True)


cdef v4_void loop_v4(
    const Op *op, bint arrays, int which, const real **operands, real *y, Py_ssize_t n,
) noexcept nogil:
    evaluate(<loop_t> <void *> odd_loop_v4[Op], op, arrays, which, operands, y, n, True)


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers

# What a derivative is multiplied by where it is not to be multiplied.
ONES = (np.ones(BLOCK, np.float32), np.ones(BLOCK, np.float64))
cdef const char *UNITS = cnp.PyArray_BYTES(ONES[DOUBLE])

cdef inline void run_polar(
    loop_t loop, const double *scalars, bint arrays, int which, const char **operands, real *out, Py_ssize_t n,
    bint fma,
) noexcept nogil:
    """What the loop makes of the magnitudes, turned to where the numbers point."""
    cdef const real *x = <const real *> operands[0]
    cdef const real *g = <const real *> operands[1]
    cdef double a[BLOCK]
    cdef double low[BLOCK]
    cdef double inverse[BLOCK]
    cdef double y[BLOCK]
    cdef double slope[BLOCK]
    cdef const char *inner[MAX_OPERANDS]
    cdef Polar at
    cdef pair p
    cdef Py_ssize_t i
    for i in range(2, MAX_OPERANDS if arrays else 2):
        inner[i] = operands[i]
    inner[0] = <const char *> a
    inner[1] = UNITS
    for i in range(n):
        at = polar(x[2 * i], x[2 * i + 1], fma)
        a[i] = at.a
        low[i] = at.low
        inverse[i] = at.inverse
    if which <= 0:
        loop(scalars, arrays, VALUE, inner, <char *> y, n)
    loop(scalars, arrays, max(which, 0), inner, <char *> slope, n)
    # What is stored by twos is computed before: both loops vectorise, and one that does both does not.
    if which == VALUE:
        for i in range(n):
            p = ratio(x[2 * i], x[2 * i + 1], Polar(a[i], low[i], inverse[i]), y[i], slope[i], fma)
            y[i] = p[0]
            slope[i] = p[1]
        for i in range(n):
            out[2 * i] = shrunk(x[2 * i], y[i], slope[i], fma)
            out[2 * i + 1] = shrunk(x[2 * i + 1], y[i], slope[i], fma)
        return
    if which > 0 and g != NULL:    # real
        for i in range(n):
            p = direction(x[2 * i], x[2 * i + 1], Polar(a[i], low[i], inverse[i]))
            out[i] = <real> ((g[2 * i] * p[0] + g[2 * i + 1] * p[1]) * slope[i])
        return
    if which > 0:
        for i in range(n):
            p = direction(x[2 * i], x[2 * i + 1], Polar(a[i], low[i], inverse[i]))
            y[i] = slope[i] * p[0]
            slope[i] = slope[i] * p[1]
    elif g == NULL:
        for i in range(n):
            p = pull_at(x[2 * i], x[2 * i + 1], Polar(a[i], low[i], inverse[i]), y[i], slope[i], 1, 0, fma)
            y[i] = p[0]
            slope[i] = p[1]
    else:
        for i in range(n):
            at = Polar(a[i], low[i], inverse[i])
            p = pull_at(x[2 * i], x[2 * i + 1], at, y[i], slope[i], g[2 * i], g[2 * i + 1], fma)
            y[i] = p[0]
            slope[i] = p[1]
    for i in range(n):
        out[2 * i] = <real> y[i]
        out[2 * i + 1] = <real> slope[i]


cdef inline void run_analytic(
    Analytic op, int which, const real **operands, real *out, Py_ssize_t n, uint32_t *doubt,
) noexcept nogil:
    cdef const real *x = operands[0]
    cdef const real *g = operands[1]
    cdef uint32_t mark = 0
    cdef uint32_t *marks = NULL if doubt == NULL else &mark
    cdef pair p
    cdef Py_ssize_t i
    if which == VALUE:
        for i in range(n):
            p = plane_value(op, x[2 * i], x[2 * i + 1], marks)
            out[2 * i] = <real> p[0]
            out[2 * i + 1] = <real> p[1]
    elif g == NULL:
        for i in range(n):
            p = plane_derivative(op, x[2 * i], x[2 * i + 1], marks)
            out[2 * i] = <real> p[0]
            out[2 * i + 1] = <real> p[1]
    else:
        for i in range(n):    # the conjugate
            p = plane_derivative(op, x[2 * i], x[2 * i + 1], marks)
            out[2 * i] = <real> (g[2 * i] * p[0] + g[2 * i + 1] * p[1])
            out[2 * i + 1] = <real> (g[2 * i + 1] * p[0] - g[2 * i] * p[1])
    if doubt != NULL:
        doubt[0] = mark


cdef inline void evaluate_analytic(
    Analytic op, int which, const real **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    cdef uint32_t doubt = 0
    run_analytic(op, which, operands, out, n, &doubt)
    if doubt:
        run_analytic(op, which, operands, out, n, NULL)


cdef v2_void polar_v2(
    loop_t loop, const double *scalars, bint arrays, int which, const char **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    run_polar(loop, scalars, arrays, which, operands, out, n, BASELINE_FMA)


cdef v3_void polar_v3(
    loop_t loop, const double *scalars, bint arrays, int which, const char **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    run_polar(loop, scalars, arrays, which, operands, out, n, True)


cdef v4_void polar_v4(
    loop_t loop, const double *scalars, bint arrays, int which, const char **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    run_polar(loop, scalars, arrays, which, operands, out, n, True)


cdef v2_void analytic_v2(
    const Analytic *op, bint arrays, int which, const real **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    evaluate_analytic(op[0], which, operands, out, n)


cdef v3_void analytic_v3(
    const Analytic *op, bint arrays, int which, const real **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    evaluate_analytic(op[0], which, operands, out, n)


cdef v4_void analytic_v4(
    const Analytic *op, bint arrays, int which, const real **operands, real *out, Py_ssize_t n,
) noexcept nogil:
    evaluate_analytic(op[0], which, operands, out, n)


cdef polar_loop_t *POLAR64 = [
    <polar_loop_t> <void *> polar_v2[float], <polar_loop_t> <void *> polar_v3[float],
    <polar_loop_t> <void *> polar_v4[float],
]
cdef polar_loop_t *POLAR128 = [
    <polar_loop_t> <void *> polar_v2[double], <polar_loop_t> <void *> polar_v3[double],
    <polar_loop_t> <void *> polar_v4[double],
]


# ---------------------------------------------------------------------------------------------------------------------
# Blocks of contiguous arrays

cdef enum:
    SHARE = 8192    # elements to a thread at a time

cdef inline void block_of(
    loop_t loop, const double *scalars, int which, const char *x, const char *g, char *y, Py_ssize_t n,
    Py_ssize_t itemsize, bint derivative,
) noexcept nogil:
    """A block of any length. g has BLOCK ones, used again and again, where only the derivative is wanted, and is not
    looked at for a value; where the output lies on an input the loop runs through a buffer, so that it may assume that
    it does not."""
    cdef const char *operands[2]
    cdef double buffer[BLOCK]
    cdef Py_ssize_t start = 0, m = n
    cdef bint aliased = x == y or g == y
    if aliased or derivative and which != VALUE:
        m = BLOCK
    while start < n:
        m = min(m, n - start)
        operands[0] = x + start * itemsize
        operands[1] = NULL if which == VALUE else g if derivative else g + start * itemsize
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
# Types that are computed with as doubles: 16-bit types, and the floats that come with complex64; rounded once

ctypedef void (*table_pull_t)(
    const double *table, const uint16_t *x, const uint16_t *g, uint16_t *y, Py_ssize_t n, int kind,
) noexcept nogil


cdef inline void widen_all(const char *source, real *target, Py_ssize_t n, int kind, bint converts) noexcept nogil:
    """converts: whether the instruction set has conversions of halves to floats and back."""
    cdef const uint16_t *bits = <const uint16_t *> source
    cdef Py_ssize_t i
    if kind == HALF:
        if real is float:
            if converts:
                halves_to_floats(bits, target, n)
                return
        for i in range(n):
            target[i] = widen(bits[i], HALF)
    elif kind == BRAIN:
        for i in range(n):
            if real is float:
                target[i] = widen_brain(bits[i])
            else:
                target[i] = widen(bits[i], BRAIN)
    else:
        for i in range(n):
            target[i] = (<const float *> source)[i]


cdef inline void narrow_all(const real *source, char *target, Py_ssize_t n, int kind, bint converts) noexcept nogil:
    cdef uint16_t *bits = <uint16_t *> target
    cdef Py_ssize_t i
    if kind == HALF:
        if real is float:
            if converts:
                floats_to_halves(source, bits, n)
                return
        for i in range(n):
            bits[i] = narrow(source[i], HALF)
    else:
        for i in range(n):
            if real is float:
                bits[i] = narrow_brain(source[i])
            else:
                bits[i] = narrow(source[i], BRAIN)


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


cdef v2_void widen_v2(const char *source, real *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind, False)


cdef v3_void widen_v3(const char *source, real *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind, True)


cdef v4_void widen_v4(const char *source, real *target, Py_ssize_t n, int kind) noexcept nogil:
    widen_all(source, target, n, kind, True)


cdef v2_void narrow_v2(const real *source, char *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind, False)


cdef v3_void narrow_v3(const real *source, char *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind, True)


cdef v4_void narrow_v4(const real *source, char *target, Py_ssize_t n, int kind) noexcept nogil:
    narrow_all(source, target, n, kind, True)


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


# By level, and whether to float or double.
cdef widen_t *WIDEN = [
    <widen_t> <void *> widen_v2[float], <widen_t> <void *> widen_v2[double], <widen_t> <void *> widen_v3[float],
    <widen_t> <void *> widen_v3[double], <widen_t> <void *> widen_v4[float], <widen_t> <void *> widen_v4[double],
]
cdef narrow_t *NARROW = [
    <narrow_t> <void *> narrow_v2[float], <narrow_t> <void *> narrow_v2[double], <narrow_t> <void *> narrow_v3[float],
    <narrow_t> <void *> narrow_v3[double], <narrow_t> <void *> narrow_v4[float], <narrow_t> <void *> narrow_v4[double],
]
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

cdef inline void run_plan(
    const Plan *plan, const double *scalars, const char **operands, char *out, Py_ssize_t n,
) noexcept nogil:
    """The loop over one tile."""
    cdef bint arrays = plan.arrays and not plan.numbers
    if plan.polar == NULL:
        plan.loop(scalars, arrays, plan.which, operands, out, n)
    else:
        plan.polar(plan.loop, scalars, arrays, plan.which, operands, out, n)


cdef inline double number(const char *cell, int kind) noexcept nogil:
    if kind == FLOAT:
        return (<const float *> cell)[0]
    if kind == DOUBLE:
        return (<const double *> cell)[0]
    return widen((<const uint16_t *> cell)[0], kind)


cdef void tiles(const Plan *plan, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """The tiles from first to last, in order."""
    cdef double buffers[MAX_OPERANDS][BLOCK]
    cdef float narrow_buffer[BLOCK]
    cdef const char *held[MAX_OPERANDS]       # what a buffer holds, if it may be used again
    cdef Py_ssize_t held_rows[MAX_OPERANDS]
    cdef Py_ssize_t held_columns[MAX_OPERANDS]
    cdef const char *operands[MAX_OPERANDS]
    cdef double numbers[MAX_PARAMETERS]
    cdef const double *scalars = plan.scalars
    cdef char *here[MAX_OPERANDS]
    cdef bint direct, widened
    cdef Py_ssize_t itemsize
    cdef int d = plan.dimensions, j, axis
    cdef Py_ssize_t r = plan.shape[d - 2], c = plan.shape[d - 1], rows, columns, tile, index, rest, row, column
    cdef char *source
    if plan.numbers:
        scalars = &numbers[0]
    for j in range(MAX_OPERANDS):
        held[j] = operands[j] = NULL
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
        if plan.numbers:
            for j in range(PARAMETERS, plan.operands):
                numbers[j - PARAMETERS] = number(here[j], plan.operand[j].kind)
        for j in range(1, PARAMETERS if plan.numbers else plan.operands):
            row = plan.operand[j].strides[d - 2]
            column = plan.operand[j].strides[d - 1]
            itemsize = plan.operand[j].itemsize
            widened = plan.operand[j].widened
            direct = column == itemsize and (rows == 1 or row == columns * itemsize) and here[j] != here[0]
            if direct and not widened or here[j] == NULL:
                operands[j - 1] = here[j]
                continue
            operands[j - 1] = <const char *> buffers[j]
            if held[j] == here[j] and held_rows[j] == rows and held_columns[j] == columns:
                continue
            source = here[j]
            if widened:
                if not direct:
                    gather(<char *> narrow_buffer, source, rows, columns, row, column, itemsize)
                    source = <char *> narrow_buffer
                plan.widen(source, <char *> buffers[j], rows * columns, plan.operand[j].kind)
            else:
                gather(<char *> buffers[j], source, rows, columns, row, column, itemsize)
            held[j] = here[j]    # a broadcast operand comes again
            held_rows[j] = rows
            held_columns[j] = columns
        row = plan.operand[0].strides[d - 2]
        column = plan.operand[0].strides[d - 1]
        itemsize = plan.operand[0].itemsize
        direct = column == itemsize and (rows == 1 or row == columns * itemsize)
        if plan.operand[0].widened:
            run_plan(plan, scalars, operands, <char *> buffers[0], rows * columns)
            source = here[0] if direct else <char *> narrow_buffer
            plan.narrow(<const char *> buffers[0], source, rows * columns, plan.operand[0].kind)
        else:
            source = here[0] if direct else <char *> buffers[0]
            run_plan(plan, scalars, operands, source, rows * columns)
        if not direct:
            scatter(here[0], source, rows, columns, row, column, itemsize)


cdef void tiled(const Plan *plan, int threads) noexcept nogil:
    cdef int t
    for t in prange(threads, schedule="static", num_threads=threads):
        tiles(plan, plan.tiles * t // threads, plan.tiles * (t + 1) // threads)


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
        A limit that threadpoolctl has put on OpenMP, below what that had at import, caps either. 1 in a process that
        was forked, since GNU OpenMP does not work there, and in a build without OpenMP.

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

# After this many elements a 16-bit operator with scalar parameters builds its table of all 65,536 results.
cdef enum:
    TABLE = 131072
    TABLES_KEPT = 64


cdef class Kernel:
    """The loops of one operator: kernel(x, params) is its value on NumPy arrays.

    x, g, out and the parameters that are arrays have one type: float32, float64, float16, or uint16 that holds the bits
    of bfloat16 (brain=True). Scalar parameters are Python floats, at least 0, not NaN. which=0 gives g times the
    derivative with respect to x, which=k with respect to the k-th parameter; without g, the derivative itself.

    x, g and out may also be complex64 or complex128, and parameters then are float32 or float64; g times the derivative
    with respect to a parameter is then real. An array of another type, or one that does not broadcast with the others,
    gives NotImplemented.
    """
    cdef loop_t loops[3][KINDS]    # by level and type; for complex magnitudes on doubles
    cdef int wide[KINDS]           # the type that its loop computes in: for 16 bits float or double
    cdef bint analytic
    cdef int long_row
    cdef dict tables

    def __call__(self, cnp.ndarray x, tuple params=(), out=None, int which=VALUE, g=None, bint brain=False):
        return self.evaluated(x, params, out, which, g, brain)

    cdef evaluated(self, cnp.ndarray x, tuple params, out, int which, g, bint brain):
        cdef int kind = kind_of(x, brain)
        if kind == NONE or self.loops[LEVEL][kind] == NULL:
            return NotImplemented
        cdef double scalars[MAX_PARAMETERS]
        cdef bint arrays = False
        cdef int k = 0
        for parameter in params:
            if type(parameter) is float:
                scalars[k] = rounded(parameter, real_kind(kind))
            else:
                arrays = True
            k += 1
        cdef bint plain = not arrays and cnp.PyArray_ISONESEGMENT(x) and cnp.PyArray_ISBEHAVED_RO(x)
        plain = plain and not (kind >= COMPLEX64 and which > 0)
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
        cdef loop_t loop = self.loops[LEVEL][kind]
        cdef int threads = threads_for(n)
        cdef char *data = cnp.PyArray_BYTES(x)
        cdef char *target = cnp.PyArray_BYTES(y)
        cdef const uint16_t[::1] table, x16, g16
        cdef const double[::1] slopes
        cdef uint16_t[::1] y16
        if kind >= COMPLEX64:
            return self.planned(x, params, y, which, g, kind, scalars, False)
        if kind >= HALF:
            # What floats are enough for is faster computed.
            known = self.table(which, kind, params, scalars, n, g is not None) if self.wide[kind] == DOUBLE else None
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
        self, cnp.ndarray x, tuple params, cnp.ndarray out, int which, cnp.ndarray g, int kind, const double *scalars,
        bint arrays,
    ):
        """Any layout: broadcast, check the output, and part what overlaps it."""
        x = behaved(x)
        cdef list operands = [x, None if g is None else behaved(g), *params]
        cdef Shape shape
        cdef cnp.ndarray y, a
        cdef bint copied
        cdef int k
        dtype = real_dtype = x.dtype
        if kind >= COMPLEX64:
            real_dtype = x.real.dtype
            dtype = x.dtype if g is None or which <= 0 else real_dtype
        shape.dimensions = 0
        for k in range(len(operands)):
            if isinstance(operands[k], cnp.ndarray):
                a = operands[k]
                if k >= 2:
                    operands[k] = a = behaved(a if a.dtype is real_dtype else a.astype(real_dtype, copy=False))
                if not broadcast(&shape, a):
                    return NotImplemented
        if out is not None:
            if (not has_shape(out, &shape) or not cnp.PyArray_ISWRITEABLE(out)
                    or out.dtype is not dtype and out.dtype != dtype):
                check_out(np.shape(out), out.dtype.newbyteorder("="), tuple_of(&shape), dtype, out.flags.writeable)
            copied = not cnp.PyArray_ISBEHAVED(out) or repeats(out)
            y = np.empty(tuple_of(&shape), dtype) if copied else out
            for k in range(0 if copied else len(operands)):
                if isinstance(operands[k], cnp.ndarray):
                    a = operands[k]
                    if share_memory(a, y) and not (same_layout(a, y) and cnp.PyArray_DATA(a) == cnp.PyArray_DATA(y)):
                        operands[k] = a.copy()
            x = operands[0]
        elif has_shape(x, &shape) and x.dtype is dtype:
            y = PyArray_NewLikeArray(x, cnp.NPY_KEEPORDER, NULL, 0)
        else:
            y = np.empty(tuple_of(&shape), dtype)
        g = operands[1]
        params = tuple(operands[2:])
        if (not arrays and cnp.PyArray_ISONESEGMENT(x) and same_layout(x, y) and (g is None or same_layout(g, y))):
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
        cdef int axis
        if cnp.PyArray_SIZE(y) == 0:
            return 0
        plan.kind = kind
        plan.loop = self.loops[LEVEL][kind]
        plan.scalars = scalars
        plan.arrays = arrays
        plan.which = which
        plan.long_row = self.long_row
        plan.polar = NULL
        if kind >= COMPLEX64 and not self.analytic:
            plan.polar = POLAR64[LEVEL] if kind == COMPLEX64 else POLAR128[LEVEL]
        plan.widen = WIDEN[2 * LEVEL + self.wide[kind]]
        plan.narrow = NARROW[2 * LEVEL + self.wide[kind]]
        plan.operands = 0
        plan.dimensions = cnp.PyArray_NDIM(y)
        for axis in range(plan.dimensions):
            plan.shape[axis] = cnp.PyArray_DIM(y, axis)
        if g is None and kind < COMPLEX64 and which != VALUE:
            g = 1.0
        for a in (y, x, g) + (params if arrays else ()):
            if a is None:
                add_operand(&plan, None, NULL, kind)
            elif type(a) is float:
                store(<char *> &cells[plan.operands], a, real_kind(kind))
                add_operand(&plan, None, <char *> &cells[plan.operands], real_kind(kind))
            else:
                add_operand(&plan, a, cnp.PyArray_BYTES(a), kind_of(a, kind == BRAIN))
        lay_out(&plan)
        cdef int threads = <int> min(<Py_ssize_t> threads_for(cnp.PyArray_SIZE(y)), plan.tiles)
        if plan.tiles == 1:
            tiles(&plan, 0, 1)
            return 0
        with nogil:
            if threads == 1:
                tiles(&plan, 0, plan.tiles)
            else:
                tiled(&plan, threads)
        return 0

    cdef table(self, int which, int kind, tuple params, const double *scalars, Py_ssize_t n, bint wide):
        """All 65,536 results of a 16-bit operator, once they are worth while, else None; wide: as doubles."""
        key = (which, kind, params, wide)
        table = self.tables.get(key, 0)
        if type(table) is int:
            if len(self.tables) >= TABLES_KEPT:
                self.tables.clear()
            self.tables[key] = table = table + n    # elements so far
            if table < TABLE:
                return None
            bits = np.arange(65536, dtype=np.uint16)
            if wide:
                table = self.slopes(bits, which, kind, scalars)
            else:
                table = np.empty(65536, np.uint16)
                x, y = (bits, table) if kind == BRAIN else (bits.view(np.float16), table.view(np.float16))
                self.planned(x, params, y, which, None, kind, scalars, False)
            self.tables[key] = table
        return table

    cdef slopes(self, const uint16_t[::1] bits, int which, int kind, const double *scalars):
        """The derivative at all 16-bit numbers, before it is rounded to 16 bits."""
        x, y = np.empty(bits.shape[0]), np.empty(bits.shape[0])
        cdef double[::1] source = x, target = y
        cdef cnp.ndarray ones = ONES[DOUBLE]
        WIDEN[2 * LEVEL + DOUBLE](<const char *> &bits[0], <char *> &source[0], bits.shape[0], kind)
        block_of(self.loops[LEVEL][kind], scalars, which, <char *> &source[0], cnp.PyArray_BYTES(ones),
                 <char *> &target[0], bits.shape[0], sizeof(double), True)
        return y


cdef class Exact:
    """A function of an operator on arrays of one dtype by its kernel, and by another function on all else.

    exact(x, params, out, g), as a backend binds it; `otherwise` takes the same. exact.quickly(x, params, out) takes
    parameters that nobody has checked, and gives NotImplemented where it would not be quick.
    """
    cdef Kernel kernel
    cdef int which, count
    cdef tuple further
    cdef object otherwise

    def __init__(self, Kernel kernel not None, function, otherwise):
        self.kernel = kernel
        self.which = function.which
        self.count = function.count
        self.further = function.further
        self.otherwise = otherwise

    def __call__(self, cnp.ndarray x, tuple params, out=None, g=None):
        y = NotImplemented
        if g is None and (out is None or type(out) is cnp.ndarray) and alone(params, x):
            y = self.kernel.evaluated(x, params, out, self.which, None, False)
        return self.otherwise(x, params, out, g) if y is NotImplemented else y

    def quickly(self, cnp.ndarray x, tuple params, out=None):
        if len(params) != self.count or not (out is None or type(out) is cnp.ndarray) or not alone(params, x):
            return NotImplemented
        for p in params:
            if type(p) is float and not <double> p >= 0:
                return NotImplemented
        for k, holds in self.further:
            for p in params:
                if type(p) is not float:
                    return NotImplemented
            if not (holds(*params) if k < 0 else holds(params[k])):    # ALL of them, or one
                return NotImplemented
        return self.kernel.evaluated(x, params, out, self.which, None, False)


cdef bint alone(tuple params, cnp.ndarray x):
    """Whether parameters are floats and NumPy's own arrays of the dtype of x, which is real where there are such."""
    for p in params:
        if type(p) is not float and (type(p) is not cnp.ndarray or p.dtype is not x.dtype or cnp.PyArray_ISCOMPLEX(x)):
            return False
    return True


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
    if number == cnp.NPY_COMPLEX64:
        return COMPLEX64
    if number == cnp.NPY_COMPLEX128:
        return COMPLEX128
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


cdef cnp.ndarray behaved(cnp.ndarray a):
    """An array that is aligned and in the byte order of the machine: itself, or a copy."""
    return a if cnp.PyArray_ISBEHAVED_RO(a) else a.astype(a.dtype.newbyteorder("="))


cdef bint same_layout(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two arrays have one shape and the same strides."""
    cdef int axis
    if not cnp.PyArray_SAMESHAPE(a, b):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return True


cdef bint repeats(cnp.ndarray a) noexcept:
    """Whether elements of an array may share memory: whether a step along an axis is shorter than what is inside it."""
    cdef Py_ssize_t span = cnp.PyArray_ITEMSIZE(a)
    cdef uint64_t seen = 0
    cdef int axis, least
    while True:    # from the shortest steps to the longest
        least = -1
        for axis in range(cnp.PyArray_NDIM(a)):
            if cnp.PyArray_DIM(a, axis) > 1 and not (seen >> axis) & 1 and (
                    least < 0 or abs(cnp.PyArray_STRIDE(a, axis)) < abs(cnp.PyArray_STRIDE(a, least))):
                least = axis
        if least < 0:
            return False
        if abs(cnp.PyArray_STRIDE(a, least)) < span:
            return True
        span += abs(cnp.PyArray_STRIDE(a, least)) * (cnp.PyArray_DIM(a, least) - 1)
        seen |= <uint64_t> 1 << least


cdef bint share_memory(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether the memory from the first to the last element of one array meets that of another."""
    cdef Extent first = extent(a), second = extent(b)
    return first.start < second.stop and second.start < first.stop


cdef struct Extent:
    const char *start
    const char *stop


cdef Extent extent(cnp.ndarray a) noexcept:
    cdef const char *data = cnp.PyArray_BYTES(a)
    cdef Extent e = Extent(data, data + cnp.PyArray_ITEMSIZE(a))
    cdef Py_ssize_t reach
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, axis) - 1) * cnp.PyArray_STRIDE(a, axis)
        if reach < 0:
            e.start += reach
        else:
            e.stop += reach
    return e if cnp.PyArray_SIZE(a) else Extent(data, data)


cdef struct Shape:
    int dimensions
    Py_ssize_t lengths[MAX_DIMENSIONS]


cdef bint broadcast(Shape *shape, cnp.ndarray a) noexcept:
    """Broadcast a shape with that of an array, if that is possible."""
    cdef int axis, more = cnp.PyArray_NDIM(a) - shape.dimensions
    cdef Py_ssize_t length
    if more > 0:
        for axis in range(shape.dimensions - 1, -1, -1):
            shape.lengths[axis + more] = shape.lengths[axis]
        for axis in range(more):
            shape.lengths[axis] = 1
        shape.dimensions += more
        more = 0
    for axis in range(cnp.PyArray_NDIM(a)):
        length = cnp.PyArray_DIM(a, axis)
        if length != 1 and length != shape.lengths[axis - more]:
            if shape.lengths[axis - more] != 1:
                return False
            shape.lengths[axis - more] = length
    return True


cdef bint has_shape(cnp.ndarray a, const Shape *shape) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(a) != shape.dimensions:
        return False
    for axis in range(shape.dimensions):
        if cnp.PyArray_DIM(a, axis) != shape.lengths[axis]:
            return False
    return True


cdef tuple tuple_of(const Shape *shape):
    cdef int axis
    return tuple([shape.lengths[axis] for axis in range(shape.dimensions)])


cdef Kernel kernel(Op op):
    """The kernel of the operator that the struct names."""
    cdef Kernel self = Kernel.__new__(Kernel)
    cdef int level
    self.tables = {}
    self.long_row = long_row(op)
    self.loops[0][FLOAT] = <loop_t> <void *> loop_v2[Op, float]
    self.loops[0][DOUBLE] = <loop_t> <void *> loop_v2[Op, double]
    self.loops[0][HALF] = <loop_t> <void *> odd_loop_v2[Op]
    self.loops[1][FLOAT] = <loop_t> <void *> loop_v3[Op, float]
    self.loops[1][DOUBLE] = <loop_t> <void *> loop_v3[Op, double]
    self.loops[1][HALF] = <loop_t> <void *> odd_loop_v3[Op]
    self.loops[2][FLOAT] = <loop_t> <void *> loop_v4[Op, float]
    self.loops[2][DOUBLE] = <loop_t> <void *> loop_v4[Op, double]
    self.loops[2][HALF] = <loop_t> <void *> odd_loop_v4[Op]
    cdef int kind
    for kind in range(KINDS):
        self.wide[kind] = DOUBLE
    if rounds_once(op):
        self.wide[HALF] = self.wide[BRAIN] = FLOAT
        for level in range(3):
            self.loops[level][HALF] = self.loops[level][FLOAT]
    for level in range(3):
        self.loops[level][BRAIN] = self.loops[level][HALF]
        if Op in OneSided:
            continue    # complex numbers have no side: there is no loop
        self.loops[level][COMPLEX64] = self.loops[level][COMPLEX128] = self.loops[level][DOUBLE]
    if Op in Analytic:
        self.analytic = True
        self.loops[0][COMPLEX64] = <loop_t> <void *> analytic_v2[Op, float]
        self.loops[0][COMPLEX128] = <loop_t> <void *> analytic_v2[Op, double]
        self.loops[1][COMPLEX64] = <loop_t> <void *> analytic_v3[Op, float]
        self.loops[1][COMPLEX128] = <loop_t> <void *> analytic_v3[Op, double]
        self.loops[2][COMPLEX64] = <loop_t> <void *> analytic_v4[Op, float]
        self.loops[2][COMPLEX128] = <loop_t> <void *> analytic_v4[Op, double]
    return self


KERNELS = {
    "tanhshrink": kernel(Tanhshrink(0)),
    "softshrink": kernel(Softshrink(0)),
    "hardshrink": kernel(Hardshrink(0)),
    "firmshrink": kernel(Firmshrink(0, 0)),
    "garroteshrink": kernel(Garroteshrink(0)),
    "scadshrink": kernel(Scadshrink(0, 0)),
    "mcpshrink": kernel(Mcpshrink(0, 0)),
    "lpshrink": kernel(Lpshrink(0, 0)),
    "logshrink": kernel(Logshrink(0, 0)),
    "cauchyshrink": kernel(Cauchyshrink(0, 0)),
    "hyperbolicshrink": kernel(Hyperbolicshrink(0)),
    "sigmoidshrink": kernel(Sigmoidshrink(0, 0)),
    "elasticnetshrink": kernel(Elasticnetshrink(0, 0)),
    "hubershrink": kernel(Hubershrink(0, 0)),
    "shrink": kernel(Shrink(0, 0)),
    "threshold": kernel(Threshold(0, 0)),
    "nonnegshrink": kernel(Nonnegshrink(0)),
}
