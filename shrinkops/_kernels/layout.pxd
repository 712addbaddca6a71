# How the operands of a loop lie in memory: out, x, g and the parameters, over one shape, cut into tiles.

cimport numpy as cnp
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .half cimport BRAIN, COMPLEX64, COMPLEX128, DOUBLE, FLOAT, HALF

# Elements of a block: two blocks and what a tile gathers stay in the first-level cache.
cdef enum:
    BLOCK = 512
    LINE = 8192
    MAX_PARAMETERS = 4
    MAX_OPERANDS = 7    # out, x, g and the parameters
    PARAMETERS = 3      # where among the operands these begin
    MAX_DIMENSIONS = 64
    VALUE = -1    # which function of an operator: this, or the number of a derivative

# What a loop needs to know: the operator's struct, whether its parameters are arrays, which function of it (VALUE, or
# the number of the derivative to pull back), the operands (x, g, then the parameters where they are arrays), the
# output, and n.
ctypedef void (*loop_t)(
    const double *scalars, bint arrays, int which, const char **operands, char *out, Py_ssize_t n,
) noexcept nogil

# A block of complex numbers by a loop on doubles, which takes its parameters. Without g the operand is NULL.
ctypedef void (*polar_loop_t)(
    loop_t loop, const double *scalars, bint arrays, int which, const char **operands, char *out, Py_ssize_t n,
) noexcept nogil

# To and from the type that the loop computes in.
ctypedef void (*widen_t)(const char *source, char *target, Py_ssize_t n, int kind) noexcept nogil
ctypedef void (*narrow_t)(const char *source, char *target, Py_ssize_t n, int kind) noexcept nogil

cdef struct Operand:
    char *data    # NULL: there is none
    int kind
    Py_ssize_t itemsize
    bint widened    # to the type that the loop takes and gives
    Py_ssize_t strides[MAX_DIMENSIONS + 1]    # and one to put an axis aside

cdef struct Plan:
    # out, x, g and the parameters, over one shape; the last two axes are cut into tiles of rows x columns.
    int kind, operands, dimensions
    Py_ssize_t shape[MAX_DIMENSIONS + 1]
    Operand operand[MAX_OPERANDS]
    Py_ssize_t rows, columns, tiles
    Py_ssize_t long_row    # see in_numbers
    bint numbers
    # The loop, what it is told, and what surrounds it.
    loop_t loop
    const double *scalars
    bint arrays
    int which
    polar_loop_t polar    # NULL but for complex numbers that are shrunk in magnitude
    widen_t widen
    narrow_t narrow


cdef inline Py_ssize_t itemsize_of(int kind) noexcept nogil:
    return 16 if kind == COMPLEX128 else 8 if kind == DOUBLE or kind == COMPLEX64 else 4 if kind == FLOAT else 2


cdef inline int real_kind(int kind) noexcept:
    """The type of the parameters."""
    return FLOAT if kind == COMPLEX64 else DOUBLE if kind == COMPLEX128 else kind


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
        elif itemsize == 16:
            gather_row(<Sixteen *> target + i * columns, source + i * row, columns, column)
        else:
            gather_row(<uint16_t *> target + i * columns, source + i * row, columns, column)


cdef struct Sixteen:
    uint64_t first, second

ctypedef fused word:
    uint16_t
    uint32_t
    uint64_t
    Sixteen


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
    cdef Py_ssize_t i
    for i in range(rows):
        if itemsize == 4:
            scatter_row(target + i * row, <const uint32_t *> source + i * columns, columns, column)
        elif itemsize == 8:
            scatter_row(target + i * row, <const uint64_t *> source + i * columns, columns, column)
        elif itemsize == 16:
            scatter_row(target + i * row, <const Sixteen *> source + i * columns, columns, column)
        else:
            scatter_row(target + i * row, <const uint16_t *> source + i * columns, columns, column)


cdef inline void scatter_row(char *target, const word *source, Py_ssize_t n, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        (<word *> (target + j * stride))[0] = source[j]


cdef inline void add_operand(Plan *plan, cnp.ndarray a, char *data, int kind) noexcept:
    """Broadcast an array, or one number, over the shape of the plan."""
    cdef int missing = plan.dimensions - (0 if a is None else cnp.PyArray_NDIM(a)), axis
    cdef Operand *operand = &plan.operand[plan.operands]
    operand.data = data
    operand.kind = kind
    operand.itemsize = itemsize_of(kind)
    # The parameters that come with complex64 are widened; a cotangent that goes is real, and has been rounded.
    operand.widened = kind == HALF or kind == BRAIN or kind == FLOAT and plan.kind == COMPLEX64 and plan.operands > 0
    for axis in range(plan.dimensions):
        operand.strides[axis] = 0
        if a is not None and axis >= missing and cnp.PyArray_DIM(a, axis - missing) != 1:
            operand.strides[axis] = cnp.PyArray_STRIDE(a, axis - missing)
    plan.operands += 1


cdef inline void put_axis(Plan *plan, int target, int source) noexcept:
    """Make one axis what another is."""
    cdef int j
    plan.shape[target] = plan.shape[source]
    for j in range(plan.operands):
        plan.operand[j].strides[target] = plan.operand[j].strides[source]


cdef inline void single_axis(Plan *plan, int target) noexcept:
    """Make an axis one of length 1."""
    cdef int j
    plan.shape[target] = 1
    for j in range(plan.operands):
        plan.operand[j].strides[target] = 0


cdef inline bint follows(const Plan *plan, int outer, int inner) noexcept:
    """Whether two axes are one for every operand."""
    cdef int j
    for j in range(plan.operands):
        if plan.operand[j].strides[outer] != plan.operand[j].strides[inner] * plan.shape[inner]:
            return False
    return True


cdef inline bint in_numbers(const Plan *plan) noexcept:
    """Whether each parameter is one number along the last axis, which is long enough for a loop of its own."""
    cdef int j
    for j in range(PARAMETERS, plan.operands):
        if plan.operand[j].strides[plan.dimensions - 1] != 0:
            return False
    return plan.arrays and plan.shape[plan.dimensions - 1] >= plan.long_row


cdef inline bint in_place(const Plan *plan) noexcept:
    """Whether every operand is used where it lies, along the last axis."""
    cdef const Operand *operand
    cdef int j
    for j in range(PARAMETERS if plan.numbers else plan.operands):
        operand = &plan.operand[j]
        if operand.data == NULL:
            continue
        if operand.widened or operand.strides[plan.dimensions - 1] != operand.itemsize:
            return False
        if j and operand.data == plan.operand[0].data:
            return False
    return plan.polar == NULL


cdef inline void lay_out(Plan *plan) noexcept:
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
    # What the buffers of a tile hold; where none is needed, what is worth a turn.
    plan.numbers = in_numbers(plan)
    cdef bint whole = plan.shape[d - 1] >= 2 * BLOCK and in_place(plan)
    length = LINE if whole else BLOCK // 2 if plan.kind == COMPLEX128 else 2 * BLOCK if plan.kind == FLOAT else BLOCK
    plan.columns = min(plan.shape[d - 1], length)
    plan.rows = 1 if whole or plan.numbers else min(plan.shape[d - 2], length // plan.columns)
    plan.tiles = (plan.shape[d - 1] + plan.columns - 1) // plan.columns
    plan.tiles *= (plan.shape[d - 2] + plan.rows - 1) // plan.rows
    for axis in range(d - 2):
        plan.tiles *= plan.shape[axis]
