# What the compiler and the processor have: OpenMP, instruction set levels, forks.

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
      #define shrinkops_v2 __attribute__((target("arch=x86-64-v2"), flatten, noinline)) void
      #define shrinkops_v3 __attribute__((target("arch=x86-64-v3"), flatten, noinline)) void
      #define shrinkops_v4 __attribute__((target("arch=x86-64-v4" SHRINKOPS_WIDE), flatten, noinline)) void
      static CYTHON_INLINE int shrinkops_best_level(void) {
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
      static CYTHON_INLINE int shrinkops_best_level(void) { return 0; }
    #endif
    #if defined(__aarch64__) || defined(__FMA__)
      #define shrinkops_baseline_fma 1
    #else
      #define shrinkops_baseline_fma 0
    #endif

    /* An output that is none of the inputs: a loop needs no second version for the case that it is. */
    #if defined(__GNUC__) || defined(_MSC_VER)
      #define shrinkops_restrict __restrict
    #else
      #define shrinkops_restrict
    #endif
    typedef float *shrinkops_restrict shrinkops_floats_out;
    typedef double *shrinkops_restrict shrinkops_doubles_out;

    /* libgomp hangs in a child forked after its parent had entered a parallel region. The child runs serial. */
    static int shrinkops_forked = 0;
    #ifdef _WIN32
      static CYTHON_INLINE int shrinkops_watch_forks(void) { return 0; }
    #else
      #include <pthread.h>
      static void shrinkops_in_child(void) { shrinkops_forked = 1; }
      static CYTHON_INLINE int shrinkops_watch_forks(void) { return pthread_atfork(0, 0, shrinkops_in_child); }
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
    ctypedef float *floats_out "shrinkops_floats_out"
    ctypedef double *doubles_out "shrinkops_doubles_out"
    const int LEVELS "shrinkops_levels"
    const int BASELINE_FMA "shrinkops_baseline_fma"
    const int OPENMP "shrinkops_openmp"
    const char *COMPILER "shrinkops_compiler"
    int best_level "shrinkops_best_level" () noexcept nogil
    int forked "shrinkops_forked"
    int watch_forks "shrinkops_watch_forks" () noexcept nogil
    int omp_get_max_threads() noexcept nogil

ctypedef fused output:
    floats_out
    doubles_out
