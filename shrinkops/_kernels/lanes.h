/* Sums over eight groups, and products, in vectors of as many doubles as a level has: vectors by name where the compiler
   has them, which takes no guess at what it vectorises and keeps them whole when it inlines, and numbers elsewhere.

   The squares of a group are added in eight lanes, and these by halves, across groups so that it is done for several at
   once. A group whose length is no multiple of eight is filled up with zeros, which add nothing. Whatever the vectors,
   every number comes of the same operations, so that it has the same bits.

   This file includes itself, once for each level. */
#ifndef SHRINKOPS_LEVEL

#include <math.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#define SHRINKOPS_JOIN(name, level) name##_##level
#define SHRINKOPS_NAME(name, level) SHRINKOPS_JOIN(name, level)
#define AT_LEVEL(name) SHRINKOPS_NAME(name, SHRINKOPS_LEVEL)

#if defined(__clang__) || __GNUC__ >= 12
#define PICKED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICKED(a, b, ...) __builtin_shuffle(a, b, (BITS) {__VA_ARGS__})
#endif

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi" /* nothing here is called from elsewhere */
#define SHRINKOPS_WIDTH 2
#else
#define SHRINKOPS_WIDTH 1
#endif
#define SHRINKOPS_LEVEL v2
#define SHRINKOPS_TARGET
#include "lanes.h"
#if defined(__x86_64__) && defined(__GNUC__)
#undef SHRINKOPS_WIDTH
#define SHRINKOPS_WIDTH 4
#define SHRINKOPS_LEVEL v3
#define SHRINKOPS_TARGET __attribute__((target("arch=x86-64-v3")))
#define SHRINKOPS_FUSED(a, b, c) ((VECTOR) _mm256_fmadd_pd((__m256d) (a), (__m256d) (b), (__m256d) (c)))
#define ROOTED(a) ((VECTOR) _mm256_sqrt_pd((__m256d) (a)))
#define WIDENED(x) ((VECTOR) _mm256_cvtps_pd(_mm_loadu_ps(x)))
#define NARROWED(y, v) _mm_storeu_ps(y, _mm256_cvtpd_ps((__m256d) (v)))
#include "lanes.h"
#undef SHRINKOPS_FUSED
#undef ROOTED
#undef SHRINKOPS_WIDTH
#define SHRINKOPS_WIDTH 8
#define SHRINKOPS_LEVEL v4
#define SHRINKOPS_TARGET __attribute__((target("arch=x86-64-v4" SHRINKOPS_WIDE)))
#define SHRINKOPS_FUSED(a, b, c) ((VECTOR) _mm512_fmadd_pd((__m512d) (a), (__m512d) (b), (__m512d) (c)))
#define ROOTED(a) ((VECTOR) _mm512_sqrt_pd((__m512d) (a)))
#define WIDENED(x) ((VECTOR) _mm512_cvtps_pd(_mm256_loadu_ps(x)))
#define NARROWED(y, v) _mm256_storeu_ps(y, _mm512_cvtpd_ps((__m512d) (v)))
#include "lanes.h"
#undef SHRINKOPS_FUSED
#undef ROOTED
#undef SHRINKOPS_WIDTH
#else /* one level, which the names of the others are names of, too: what calls them is compiled, if never run */
#undef SHRINKOPS_WIDTH
#define shrinkops_squares_float_v3 shrinkops_squares_float_v2
#define shrinkops_squares_float_v4 shrinkops_squares_float_v2
#define shrinkops_squares_double_v3 shrinkops_squares_double_v2
#define shrinkops_squares_double_v4 shrinkops_squares_double_v2
#define shrinkops_split_squares_v3 shrinkops_split_squares_v2
#define shrinkops_split_squares_v4 shrinkops_split_squares_v2
#define shrinkops_factors_v3 shrinkops_factors_v2
#define shrinkops_factors_v4 shrinkops_factors_v2
#define shrinkops_times_float_v3 shrinkops_times_float_v2
#define shrinkops_times_float_v4 shrinkops_times_float_v2
#define shrinkops_times_double_v3 shrinkops_times_double_v2
#define shrinkops_times_double_v4 shrinkops_times_double_v2
#endif

#else

#define WIDTH SHRINKOPS_WIDTH
#define PARTS (8 / WIDTH) /* vectors to the lanes of a group */
#define VECTOR AT_LEVEL(shrinkops_vector)
#define BITS AT_LEVEL(shrinkops_vector_bits)
#define FLOATS AT_LEVEL(shrinkops_vector_floats)

#if WIDTH > 1
typedef double VECTOR __attribute__((vector_size(8 * WIDTH), aligned(8)));
typedef long long BITS __attribute__((vector_size(8 * WIDTH), aligned(8)));
typedef float FLOATS __attribute__((vector_size(4 * WIDTH), aligned(4)));
#ifndef WIDENED /* which the compiler would do in halves */
#define WIDENED(x) __builtin_convertvector(*(const FLOATS *) (x), VECTOR)
#define NARROWED(y, v) (*(FLOATS *) (y) = __builtin_convertvector(v, FLOATS))
#endif
#define HIGH_HALF(a) ((VECTOR) (((BITS) (a) + 67108864) & -134217728LL))
#define WITH_SIGN(y, x) ((VECTOR) ((BITS) (y) | ((BITS) (x) & (-0x7FFFFFFFFFFFFFFFLL - 1))))
#define CHOSEN(condition, a, b) ((VECTOR) (((BITS) (a) & (condition)) | ((BITS) (b) & ~(condition))))
#else
typedef double VECTOR;
#define WIDENED(x) ((double) *(x))
#define NARROWED(y, v) (*(y) = (float) (v))
#define CHOSEN(condition, a, b) ((condition) ? (a) : (b))
#define HIGH_HALF(a) AT_LEVEL(shrinkops_high_half)(a)
static inline double AT_LEVEL(shrinkops_high_half)(double a) {
  long long bits;
  memcpy(&bits, &a, 8);
  bits = (bits + 67108864) & -134217728LL;
  memcpy(&a, &bits, 8);
  return a;
}
#endif
#define LOADED(x) (*(const VECTOR *) (x))
#ifdef __GNUC__ /* of the next block */
#define AHEAD(x, write) __builtin_prefetch((const char *) (x) + 8192, write)
#else
#define AHEAD(x, write)
#endif

/* a b - d, of a number d that is nearly the product: rounded once, with a fused multiply-add and without. Halves are
   rounded to 26 bits, so that no product of two takes more than there are. */
SHRINKOPS_TARGET static inline VECTOR AT_LEVEL(shrinkops_left)(VECTOR a, VECTOR b, VECTOR d) {
#ifdef SHRINKOPS_FUSED
  return SHRINKOPS_FUSED(a, b, -d);
#else
  VECTOR p = a * b, ah = HIGH_HALF(a), al = a - ah, bh = HIGH_HALF(b), bl = b - bh;
  return (p - d) + (((ah * bh - p) + (ah * bl + al * bh)) + al * bl);
#endif
}

SHRINKOPS_TARGET static inline VECTOR AT_LEVEL(shrinkops_root)(VECTOR a) {
#ifdef ROOTED
  return ROOTED(a);
#else
  for (int k = 0; k < WIDTH; k++) ((double *) &a)[k] = sqrt(((double *) &a)[k]);
  return a;
#endif
}

/* The sums of the lanes of as many groups as a vector has numbers. */
SHRINKOPS_TARGET static inline VECTOR AT_LEVEL(shrinkops_across)(const VECTOR *v) {
#if WIDTH == 8
  VECTOR s[4], w[2];
  for (int g = 0; g < 4; g++)
    s[g] = PICKED(v[g], v[g + 4], 0, 1, 2, 3, 8, 9, 10, 11) + PICKED(v[g], v[g + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  for (int g = 0; g < 2; g++)
    w[g] = PICKED(s[g], s[g + 2], 0, 1, 8, 9, 4, 5, 12, 13) + PICKED(s[g], s[g + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  return PICKED(w[0], w[1], 0, 8, 2, 10, 4, 12, 6, 14) + PICKED(w[0], w[1], 1, 9, 3, 11, 5, 13, 7, 15);
#elif WIDTH == 4
  VECTOR s[4], w[2];
  for (int g = 0; g < 4; g++) s[g] = v[2 * g] + v[2 * g + 1];
  for (int g = 0; g < 2; g++) w[g] = PICKED(s[g], s[g + 2], 0, 1, 4, 5) + PICKED(s[g], s[g + 2], 2, 3, 6, 7);
  return PICKED(w[0], w[1], 0, 4, 2, 6) + PICKED(w[0], w[1], 1, 5, 3, 7);
#elif WIDTH == 2
  VECTOR s = (v[0] + v[2]) + (v[1] + v[3]), w = (v[4] + v[6]) + (v[5] + v[7]);
  return PICKED(s, w, 0, 2) + PICKED(s, w, 1, 3);
#else
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#endif
}

/* A step for every eight numbers of a group. */
#define STEPS(type, x, n, STEP)                     \
  do {                                              \
    Py_ssize_t i = 0;                               \
    for (; i + 8 <= (n); i += 8) { STEP((x) + i); } \
    if (i < (n)) {                                  \
      type tail[8] = {0, 0, 0, 0, 0, 0, 0, 0};      \
      memcpy(tail, (x) + i, ((n) -i) * sizeof(type)); \
      STEP(tail);                                   \
    }                                               \
  } while (0)

/* The sums of the squares of eight groups. */
SHRINKOPS_TARGET static inline void AT_LEVEL(shrinkops_squares_float)(
    const float *const *at, const Py_ssize_t *sizes, double *square) {
#define STEP(x)                                   \
  for (int k = 0; k < PARTS; k++) {               \
    VECTOR a = WIDENED((x) + k * WIDTH);          \
    sum[k] += a * a;                              \
  }
  for (int t = 0; t < 8; t += WIDTH) {
    VECTOR sums[8];
    for (int g = 0; g < WIDTH; g++) {
      VECTOR sum[PARTS];
      for (int k = 0; k < PARTS; k++) sum[k] = (VECTOR) {0};
      STEPS(float, at[t + g], sizes[t + g], STEP);
      for (int k = 0; k < PARTS; k++) sums[g * PARTS + k] = sum[k];
    }
    *(VECTOR *) (square + t) = AT_LEVEL(shrinkops_across)(sums);
  }
#undef STEP
}

SHRINKOPS_TARGET static inline void AT_LEVEL(shrinkops_squares_double)(
    const double *const *at, const Py_ssize_t *sizes, double *square) {
#define STEP(x)                                   \
  for (int k = 0; k < PARTS; k++) {               \
    VECTOR a = LOADED((x) + k * WIDTH);           \
    sum[k] += a * a;                              \
  }
  for (int t = 0; t < 8; t += WIDTH) {
    VECTOR sums[8];
    for (int g = 0; g < WIDTH; g++) {
      VECTOR sum[PARTS];
      for (int k = 0; k < PARTS; k++) sum[k] = (VECTOR) {0};
      STEPS(double, at[t + g], sizes[t + g], STEP);
      for (int k = 0; k < PARTS; k++) sums[g * PARTS + k] = sum[k];
    }
    *(VECTOR *) (square + t) = AT_LEVEL(shrinkops_across)(sums);
  }
#undef STEP
}

/* The same in twice the precision: the products p = x x are added to a number in a binade above their sum, in which they
   are rounded to where that ends. Sums of what is added so are exact, and what each product has left is small. */
SHRINKOPS_TARGET static inline void AT_LEVEL(shrinkops_split_squares)(
    const double *const *at, const Py_ssize_t *sizes, const double *above, double *high, double *low) {
#define STEP(x)                                         \
  AHEAD(x, 0);                                          \
  for (int k = 0; k < PARTS; k++) {                     \
    VECTOR a = LOADED((x) + k * WIDTH), p = a * a;      \
    VECTOR t = sum[k] + p, d = t - sum[k];              \
    rest[k] += AT_LEVEL(shrinkops_left)(a, a, d);                           \
    sum[k] = t;                                         \
  }
  for (int t = 0; t < 8; t += WIDTH) {
    VECTOR sums[8], rests[8];
    for (int g = 0; g < WIDTH; g++) {
      VECTOR sum[PARTS], rest[PARTS], start = (VECTOR) {0} + above[t + g];
      for (int k = 0; k < PARTS; k++) sum[k] = start, rest[k] = (VECTOR) {0};
      STEPS(double, at[t + g], sizes[t + g], STEP);
      for (int k = 0; k < PARTS; k++) sums[g * PARTS + k] = sum[k] - start, rests[g * PARTS + k] = rest[k];
    }
    *(VECTOR *) (high + t) = AT_LEVEL(shrinkops_across)(sums);
    *(VECTOR *) (low + t) = AT_LEVEL(shrinkops_across)(rests);
  }
#undef STEP
}

/* Replace the squares of the norms of eight groups by 1 - lambd / norm, at least 0, in two parts or, if the low one of the
   squares is none, in one. Infinities keep what they are, unless lambd is infinite, and lambd = 0 keeps everything. */
SHRINKOPS_TARGET static inline void AT_LEVEL(shrinkops_factors)(
    double *high, double *low, const double *lambds, int parts) {
  for (int t = 0; t < 8; t += WIDTH) {
    VECTOR zero = (VECTOR) {0}, one = zero + 1, square = LOADED(high + t), lambd = LOADED(lambds + t);
    VECTOR n = AT_LEVEL(shrinkops_root)(square), positive = CHOSEN(n > zero, n, one), inverse = one / positive;
    VECTOR d = n - lambd, q, r = zero;
    if (parts) { /* n + rest is the norm, d + more the difference; then what the product and the inverse have left */
      VECTOR rest = (LOADED(low + t) - AT_LEVEL(shrinkops_left)(n, n, square)) * (0.5 * inverse), z = d - n;
      VECTOR more = rest + ((n - (d - z)) - (lambd + z)), sum = d + more;
      more = (d - sum) + more;
      d = sum;
      q = d * inverse;
      r = AT_LEVEL(shrinkops_left)(d, inverse, q) - q * AT_LEVEL(shrinkops_left)(inverse, positive, one);
      r = r + (more - q * rest) * inverse;
    } else {
      q = d * inverse;
    }
    q = CHOSEN(n == zero + INFINITY, one, q);
    q = CHOSEN((d <= zero) | ((lambd == zero + INFINITY) & (n == n)), zero, q);
    q = CHOSEN((lambd == zero) & (n == n), one, q);
    q = CHOSEN(lambd >= zero, q, zero + NAN);
    *(VECTOR *) (high + t) = q;
    *(VECTOR *) (low + t) = CHOSEN((n < zero + INFINITY) & (q != zero) & (lambd != zero), r, zero);
  }
}

/* The products x (q + r), with the signs of x where they are zeros, of as many numbers as make up whole vectors; returns of how many. */
SHRINKOPS_TARGET static inline Py_ssize_t AT_LEVEL(shrinkops_times_float)(
    const float *x, float *y, Py_ssize_t n, double q) {
  VECTOR qs = (VECTOR) {0} + q;
  Py_ssize_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int k = 0; k < 16; k += WIDTH) NARROWED(y + i + k, WIDENED(x + i + k) * qs);
  for (; i + WIDTH <= n; i += WIDTH) NARROWED(y + i, WIDENED(x + i) * qs);
  return i;
}

SHRINKOPS_TARGET static inline Py_ssize_t AT_LEVEL(shrinkops_times_double)(
    const double *x, double *y, Py_ssize_t n, double q, double r) {
  Py_ssize_t i = 0;
#ifdef SHRINKOPS_FUSED
  VECTOR qs = (VECTOR) {0} + q, rs = (VECTOR) {0} + r;
  for (; i + 16 <= n; i += 16) {
    AHEAD(y + i, 1);
    AHEAD(y + i + 8, 1);
    for (int k = 0; k < 16; k += WIDTH) {
      VECTOR a = LOADED(x + i + k);
      *(VECTOR *) (y + i + k) = WITH_SIGN(SHRINKOPS_FUSED(a, qs, a * rs), a);
    }
  }
  for (; i + WIDTH <= n; i += WIDTH) {
    VECTOR a = LOADED(x + i);
    *(VECTOR *) (y + i) = WITH_SIGN(SHRINKOPS_FUSED(a, qs, a * rs), a);
  }
#elif WIDTH > 1 && !defined(__aarch64__) && !defined(__FMA__)
  /* What a product has left, and the other product: made odd where that sum is not exact, so that it rounds as the sum
     of all does. A product that underflows has no such rest. */
  VECTOR qs = (VECTOR) {0} + q, rs = (VECTOR) {0} + r, zero = (VECTOR) {0};
  for (; i + WIDTH <= n; i += WIDTH) {
    VECTOR a = LOADED(x + i), p = a * qs, left = AT_LEVEL(shrinkops_left)(a, qs, p), c = a * rs, s = left + c;
    VECTOR z = s - left, lost = (left - (s - z)) + (c - z), size = CHOSEN(p < zero, -p, p);
    BITS odd = (BITS) s & 1, sure = ((size > 1e-280) & (left == left)) | (a == zero) | (qs == zero);
    s = (VECTOR) ((BITS) s + ((lost != zero) & (odd - 1) & (-2 * ((lost > zero) == (s > zero)) - 1)));
    *(VECTOR *) (y + i) = WITH_SIGN(p + s, a);
    for (int k = 0; k < WIDTH; k++)
      if (!sure[k]) y[i + k] = copysign(fma(x[i + k], q, x[i + k] * r), x[i + k]);
  }
#endif
  return i;
}

#undef WIDTH
#undef PARTS
#undef VECTOR
#undef BITS
#undef FLOATS
#undef WIDENED
#undef NARROWED
#undef HIGH_HALF
#undef CHOSEN
#undef WITH_SIGN
#undef LOADED
#undef AHEAD
#undef STEPS
#undef SHRINKOPS_LEVEL
#undef SHRINKOPS_TARGET
#endif
