# The 16-bit types, two bytes that are computed with as a double, or a float where that is enough: to it exactly, and
# back with one rounding.

from libc.stdint cimport uint16_t, uint32_t

from .arithmetic cimport INFINITY, absolute, as_bits, as_double, uint64_t

cdef extern from *:
    """
    static CYTHON_INLINE float shrinkops_float(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
    static CYTHON_INLINE uint32_t shrinkops_float_bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
    /* Processors of level v3 convert halves themselves, as widen() and narrow() do. */
    #if defined(__x86_64__) && defined(__GNUC__)
      #include <immintrin.h>
      #define SHRINKOPS_CONVERTS __attribute__((target("arch=x86-64-v3"), unused)) static inline
      SHRINKOPS_CONVERTS void shrinkops_halves_to_floats(const uint16_t *x, float *y, Py_ssize_t n) {
        Py_ssize_t i = 0;
        for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (x + i))));
        for (; i < n; i++) y[i] = _cvtsh_ss(x[i]);
      }
      SHRINKOPS_CONVERTS void shrinkops_floats_to_halves(const float *x, uint16_t *y, Py_ssize_t n) {
        Py_ssize_t i = 0;
        for (; i + 8 <= n; i += 8) _mm_storeu_si128((__m128i *) (y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
        for (; i < n; i++) y[i] = _cvtss_sh(x[i], 0);
      }
    #else
      #define shrinkops_halves_to_floats(x, y, n)
      #define shrinkops_floats_to_halves(x, y, n)
    #endif
    """
    float as_float "shrinkops_float" (uint32_t bits) noexcept nogil
    uint32_t as_float_bits "shrinkops_float_bits" (float x) noexcept nogil
    void halves_to_floats "shrinkops_halves_to_floats" (const uint16_t *x, float *y, Py_ssize_t n) noexcept nogil
    void floats_to_halves "shrinkops_floats_to_halves" (const float *x, uint16_t *y, Py_ssize_t n) noexcept nogil

# The types of arrays that the kernels know.
cdef enum:
    FLOAT = 0     # also the index of a type's loops
    DOUBLE = 1
    HALF = 2      # float16
    BRAIN = 3     # bfloat16
    COMPLEX64 = 4
    COMPLEX128 = 5
    KINDS = 6
    NONE = -1


cdef inline double widen(uint16_t bits, int kind) noexcept nogil:
    cdef uint64_t magnitude = bits & 0x7FFF
    cdef double x
    if kind == HALF:
        x = as_double((magnitude << 42) + (<uint64_t> 1008 << 52))
        x = <double> <int> magnitude * 5.960464477539063e-08 if magnitude < 0x400 else x
        x = as_double((magnitude << 42) | as_bits(INFINITY)) if magnitude >= 0x7C00 else x
    else:
        x = as_double((magnitude << 45) + (<uint64_t> 896 << 52))
        x = <double> <int> magnitude * 9.183549615799121e-41 if magnitude < 0x80 else x
        x = as_double((magnitude << 45) | as_bits(INFINITY)) if magnitude >= 0x7F80 else x
    return -x if bits & 0x8000 else x


cdef inline uint16_t narrow(double x, int kind) noexcept nogil:
    """The nearest 16-bit float, ties to even; the payload of a NaN is kept."""
    cdef uint64_t bits = as_bits(absolute(x))
    cdef int shift = 42 if kind == HALF else 45
    cdef uint64_t bias = 1008 if kind == HALF else 896
    cdef uint64_t infinity = 0x7C00 if kind == HALF else 0x7F80
    cdef uint64_t quiet = 0x200 if kind == HALF else 0x40
    cdef double tiny = 6.103515625e-05 if kind == HALF else 1.1754943508222875e-38
    cdef double magic = 268435456.0 if kind == HALF else 4.1359030627651384e-25    # its last bit is the smallest number
    cdef uint64_t result
    result = ((bits + (<uint64_t> 1 << (shift - 1)) - 1 + ((bits >> shift) & 1)) >> shift) - (bias << (52 - shift))
    result = infinity if result > infinity else result
    result = as_bits(as_double(bits) + magic) - as_bits(magic) if absolute(x) < tiny else result
    result = infinity | quiet | ((bits >> shift) & (quiet - 1)) if x != x else result
    return <uint16_t> (result | ((as_bits(x) >> 48) & 0x8000))


cdef inline float widen_brain(uint16_t bits) noexcept nogil:
    return as_float(<uint32_t> bits << 16)


cdef inline uint16_t narrow_brain(float x) noexcept nogil:
    """narrow(x, BRAIN), which is a part of a float."""
    cdef uint32_t bits = as_float_bits(x)
    cdef uint32_t result = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return <uint16_t> ((bits >> 16) | 0x40 if x != x else result)
