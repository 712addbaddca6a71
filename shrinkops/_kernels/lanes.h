/* What groups.pyx does number by number, in vectors of four, for compilers that do not see how: sums of squares over
   eight groups, and products with one number. Every result comes of the same operations, in the same order, as there.

   A group is added in eight lanes, in two vectors of four; what it is too short for is loaded as zeros, which add
   nothing. The lanes of four groups are then added at once. Vectors of eight were not faster on Zen 4. */
#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define SHRINKOPS_AVX2 __attribute__((target("avx2,fma"))) static inline
#define AHEAD(x) __builtin_prefetch((const void *) ((size_t) (x) + 2048)) /* no pointer may be said to point there */

/* A step for every eight numbers of a group: their halves, of four doubles, are called a and b. */
#define STEPS(x, n, LOAD, LOAD_SOME, STEP)                                                        \
  do {                                                                                            \
    Py_ssize_t i = 0;                                                                             \
    for (; i + 8 <= (n); i += 8) {                                                                \
      __m256d a = LOAD((x) + i), b = LOAD((x) + i + 4);                                           \
      AHEAD((x) + i);                                                                             \
      STEP;                                                                                       \
    }                                                                                             \
    if (i < (n)) {                                                                                \
      __m128i left = _mm_set1_epi32((int) ((n) -i)), first = _mm_setr_epi32(0, 1, 2, 3);          \
      __m256d a = LOAD_SOME((x) + i, _mm_cmpgt_epi32(left, first));                               \
      __m256d b = LOAD_SOME((x) + i + 4, _mm_cmpgt_epi32(left, first + _mm_set1_epi32(4)));       \
      STEP;                                                                                       \
    }                                                                                             \
  } while (0)

#define FLOATS(x) _mm256_cvtps_pd(_mm_loadu_ps(x))
#define SOME_FLOATS(x, mask) _mm256_cvtps_pd(_mm_maskload_ps(x, mask))
#define SOME_DOUBLES(x, mask) _mm256_maskload_pd(x, _mm256_cvtepi32_epi64(mask))

/* The sums of the four numbers of each of four vectors, by halves. */
SHRINKOPS_AVX2 __m256d shrinkops_across(const __m256d *v) {
  __m256d even = _mm256_permute2f128_pd(v[0], v[2], 0x20) + _mm256_permute2f128_pd(v[0], v[2], 0x31);
  __m256d odd = _mm256_permute2f128_pd(v[1], v[3], 0x20) + _mm256_permute2f128_pd(v[1], v[3], 0x31);
  return _mm256_unpacklo_pd(even, odd) + _mm256_unpackhi_pd(even, odd);
}

SHRINKOPS_AVX2 void shrinkops_add_floats(const float *const *at, const Py_ssize_t *sizes, double *square) {
  for (int t = 0; t < 8; t += 4) {
    __m256d sums[4];
    for (int g = 0; g < 4; g++) {
      __m256d s = _mm256_setzero_pd(), u = s;
      STEPS(at[t + g], sizes[t + g], FLOATS, SOME_FLOATS, { /* no product is rounded */
        s = _mm256_fmadd_pd(a, a, s);
        u = _mm256_fmadd_pd(b, b, u);
      });
      sums[g] = s + u;
    }
    _mm256_storeu_pd(square + t, shrinkops_across(sums));
  }
}

SHRINKOPS_AVX2 void shrinkops_add_doubles(
    const double *const *at, const Py_ssize_t *sizes, const double *above, double *high, double *low) {
  for (int t = 0; t < 8; t += 4) {
    __m256d sums[4], rests[4];
    for (int g = 0; g < 4; g++) {
      __m256d s = _mm256_set1_pd(above[t + g]), u = -s, rest = _mm256_setzero_pd(), more = rest, next;
      STEPS(at[t + g], sizes[t + g], _mm256_loadu_pd, SOME_DOUBLES, {
        next = _mm256_fmadd_pd(a, a, s);
        rest += _mm256_fmsub_pd(a, a, next - s);
        s = next;
        next = _mm256_fmadd_pd(b, b, u);
        more += _mm256_fmsub_pd(b, b, next - u);
        u = next;
      });
      sums[g] = s + u;
      rests[g] = rest + more;
    }
    _mm256_storeu_pd(high + t, shrinkops_across(sums));
    _mm256_storeu_pd(low + t, shrinkops_across(rests));
  }
}

/* The products of as many numbers as make up whole vectors; of how many. */
SHRINKOPS_AVX2 Py_ssize_t shrinkops_times_floats(const float *x, float *y, Py_ssize_t n, double q) {
  __m256d qs = _mm256_set1_pd(q);
  Py_ssize_t i = 0;
  for (; i + 8 <= n; i += 8) {
    AHEAD(y + i);
    _mm_storeu_ps(y + i, _mm256_cvtpd_ps(FLOATS(x + i) * qs));
    _mm_storeu_ps(y + i + 4, _mm256_cvtpd_ps(FLOATS(x + i + 4) * qs));
  }
  for (; i + 4 <= n; i += 4) _mm_storeu_ps(y + i, _mm256_cvtpd_ps(FLOATS(x + i) * qs));
  return i;
}

SHRINKOPS_AVX2 Py_ssize_t shrinkops_times_doubles(const double *x, double *y, Py_ssize_t n, double q, double r) {
  __m256d qs = _mm256_set1_pd(q), rs = _mm256_set1_pd(r);
  Py_ssize_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256d a = _mm256_loadu_pd(x + i), b = _mm256_loadu_pd(x + i + 4);
    AHEAD(y + i);
    _mm256_storeu_pd(y + i, _mm256_fmadd_pd(a, qs, a * rs));
    _mm256_storeu_pd(y + i + 4, _mm256_fmadd_pd(b, qs, b * rs));
  }
  for (; i + 4 <= n; i += 4) {
    __m256d a = _mm256_loadu_pd(x + i);
    _mm256_storeu_pd(y + i, _mm256_fmadd_pd(a, qs, a * rs));
  }
  return i;
}

#undef AHEAD
#undef STEPS
#undef FLOATS
#undef SOME_FLOATS
#undef SOME_DOUBLES
#else /* there is one level, which does without */
#define shrinkops_add_floats(at, sizes, square) ((void) 0)
#define shrinkops_add_doubles(at, sizes, above, high, low) ((void) 0)
#define shrinkops_times_floats(x, y, n, q) 0
#define shrinkops_times_doubles(x, y, n, q, r) 0
#endif
