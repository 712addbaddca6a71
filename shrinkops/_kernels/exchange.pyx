# cython: binding=True
"""Arrays of other libraries as NumPy's and back, their memory shared.

By the functions in C that a library shows to others as ``__dlpack_c_exchange_api__`` of its array type (DLPack 1.3,
whose names are in brackets), which take a fraction of what the same takes in Python.
"""

cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

from .layout cimport MAX_DIMENSIONS

cnp.import_array()

cdef object NDARRAY = np.ndarray

cdef extern from "Python.h":
    bint Py_IsInitialized() noexcept nogil

cdef enum:
    VERSION = 1    # of all structures below
    PROCESSOR = 1  # the device [kDLCPU]

cdef enum Code:
    FLOATING = 2
    BRAIN = 4
    COMPLEX = 5

cdef struct View:    # [DLTensor]
    char *data
    int32_t device
    int32_t device_number
    int32_t dimensions
    uint8_t code
    uint8_t bits
    uint16_t lanes
    int64_t *shape
    int64_t *strides    # in elements
    uint64_t offset     # in bytes

cdef struct Owned:    # [DLManagedTensorVersioned]
    uint32_t version
    uint32_t minor
    void *owner
    void (*release)(Owned *self) noexcept nogil
    uint64_t flags
    View view

cdef struct Functions:    # [DLPackExchangeAPI]
    uint32_t version
    uint32_t minor
    void *older
    void *allocate
    void *take
    int (*give)(Owned *array, PyObject **made) except -1 nogil
    int (*look)(PyObject *array, View *view) except -1 nogil
    void *stream


cdef class Exchange:
    """What a library shows as ``__dlpack_c_exchange_api__``; a TypeError where it is of no use here.

    conjugated(x) says whether the memory of complex x holds the conjugates of its values.
    """
    cdef const Functions *functions
    cdef object capsule, conjugated

    def __init__(self, capsule, conjugated):
        self.capsule = capsule    # which keeps the functions
        self.conjugated = conjugated
        self.functions = <const Functions *> PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
        if self.functions.version != VERSION or self.functions.look == NULL:
            raise TypeError("an exchange of another version")

    def evaluated(self, kernel, x, tuple params, int which):
        """kernel(x, params) as an array of the library; NotImplemented where more is to be thought of.

        x must not be one whose memory holds the negatives of its values.
        """
        cdef View view
        for p in params:
            if type(p) is not float:
                return NotImplemented
        a = self.seen(x, &view)
        if view.code == COMPLEX and self.conjugated(x):
            return NotImplemented
        y = kernel(a, params, None, which, None, view.code == BRAIN)
        return y if y is NotImplemented else self.given(y, view.code == BRAIN)

    def to_numpy(self, x):
        """The memory of an array on the processor as an array of NumPy, bfloat16 as uint16 that holds its bits.

        Whether it holds the values themselves or their conjugates or negatives, x must say. Where there is none that
        a kernel could use, a TypeError or what the library raises.
        """
        cdef View view
        return self.seen(x, &view)

    def from_numpy(self, cnp.ndarray a not None, bint brain=False):
        """An array of the library on the memory of an array of NumPy; brain: its bits are bfloat16."""
        return self.given(a, brain)

    cdef cnp.ndarray seen(self, x, View *view):
        cdef cnp.npy_intp shape[MAX_DIMENSIONS]
        cdef cnp.npy_intp strides[MAX_DIMENSIONS]
        cdef Py_ssize_t size = 1
        cdef int axis
        self.functions.look(<PyObject *> x, view)
        cdef int number = number_of(view)
        if view.device != PROCESSOR or number == cnp.NPY_NOTYPE or view.dimensions > MAX_DIMENSIONS:
            raise TypeError("not an array for a kernel")
        for axis in range(view.dimensions):
            shape[axis] = view.shape[axis]
            strides[axis] = view.strides[axis] * (view.bits // 8)
            size *= view.shape[axis]
        if view.data == NULL and size:    # NumPy would give it memory
            raise TypeError("an array without memory")
        cdef cnp.ndarray a = cnp.PyArray_New(NDARRAY, view.dimensions, shape, number, strides,
                                             view.data + view.offset, 0, cnp.NPY_ARRAY_WRITEABLE, <object> NULL)
        cnp.set_array_base(a, x)
        return a

    cdef given(self, cnp.ndarray a, bint brain):
        cdef int dimensions = cnp.PyArray_NDIM(a), axis
        cdef int itemsize = <int> cnp.PyArray_ITEMSIZE(a)
        cdef bint taken = cnp.PyArray_ISBEHAVED(a) and itemsize > 0
        for axis in range(dimensions):
            taken = taken and cnp.PyArray_STRIDE(a, axis) >= 0 and cnp.PyArray_STRIDE(a, axis) % itemsize == 0
        cdef View view = View(cnp.PyArray_BYTES(a), PROCESSOR, 0, dimensions, FLOATING, 8 * itemsize, 1, NULL, NULL, 0)
        if brain or cnp.PyArray_ISCOMPLEX(a):
            view.code = BRAIN if brain else COMPLEX
        if not taken or number_of(&view) != cnp.PyArray_TYPE(a):
            raise TypeError("an array that other libraries do not take")
        cdef Owned *owned = <Owned *> PyMem_RawMalloc(sizeof(Owned) + 2 * dimensions * sizeof(int64_t))
        if owned == NULL:
            raise MemoryError
        cdef int64_t *lengths = <int64_t *> (owned + 1)
        for axis in range(dimensions):
            lengths[axis] = cnp.PyArray_DIM(a, axis)
            lengths[dimensions + axis] = cnp.PyArray_STRIDE(a, axis) // itemsize
        view.shape, view.strides = lengths, lengths + dimensions
        Py_INCREF(a)
        owned[0] = Owned(VERSION, 0, <PyObject *> a, release, 0, view)
        cdef PyObject *made
        self.functions.give(owned, &made)    # which has it from here on, whatever happens
        y = <object> made
        Py_DECREF(y)    # one reference is enough
        return y


cdef int number_of(const View *view) noexcept:
    """NumPy's number of a type that has kernels."""
    if view.lanes != 1:
        return cnp.NPY_NOTYPE
    if view.code == FLOATING:
        return (cnp.NPY_FLOAT32 if view.bits == 32 else cnp.NPY_FLOAT64 if view.bits == 64
                else cnp.NPY_FLOAT16 if view.bits == 16 else cnp.NPY_NOTYPE)
    if view.code == COMPLEX:
        return (cnp.NPY_COMPLEX64 if view.bits == 64 else cnp.NPY_COMPLEX128 if view.bits == 128
                else cnp.NPY_NOTYPE)
    return cnp.NPY_UINT16 if view.code == BRAIN and view.bits == 16 else cnp.NPY_NOTYPE


cdef void release(Owned *owned) noexcept nogil:
    """What the library calls when it needs the memory no longer, in any thread, and be it after Python has ended."""
    if Py_IsInitialized():
        with gil:
            Py_DECREF(<object> <PyObject *> owned.owner)
    PyMem_RawFree(owned)
