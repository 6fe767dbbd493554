// CUDA C++ for the host: the words and functions that CUDA has without includes. compiler.cpp puts this before every kernel's source.
//
// The kernel runs as plain C++ of one thread; whatever concerns other threads is asked of the driver through SpftRuntime. Nothing is included,
// so that a kernel compiles in a fraction of a second.
#pragma once

#include "interface.h"

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;

// ---- Words -------------------------------------------------------------------------------------------------------------------------------

// compiler.cpp looks for these three attributes in the preprocessed source, to find the kernels.
#define __global__ __attribute__((spft_kernel))
#define __launch_bounds__(...) __attribute__((spft_bounds(__VA_ARGS__)))
#define __cluster_dims__(...) __attribute__((spft_cluster(__VA_ARGS__)))
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_assume(condition) ((void)0)
// One block runs at a time, so its shared memory is static; in a section of its own to be poisoned before every block.
#define __shared__ static __attribute__((section("spft_shared")))
#define SPFT_DYNAMIC_SHARED(type, name) type* name = (type*)spft_dynamic_shared

// Where the caller is, as further parameters.
#define SPFT_HERE const char* file = __builtin_FILE(), int line = __builtin_LINE()
#define SPFT_PLACE (SpftPlace{file, line})

// ---- What the driver sets and reads --------------------------------------------------------------------------------------------------------

static const SpftRuntime* spft_runtime;
static unsigned char* spft_dynamic_shared;
// Keeps the section there when a kernel has no shared memory.
__shared__ __attribute__((used, aligned(128))) unsigned char spft_shared_anchor[SPFT_SHARED_ANCHOR_BYTES];
extern "C" unsigned char __start_spft_shared[] __attribute__((visibility("hidden")));
extern "C" unsigned char __stop_spft_shared[] __attribute__((visibility("hidden")));

#ifdef SPFT_EMULATED_STORES
// What g++ calls before every store (compiler.cpp asks for it).
#define SPFT_STORE(bytes) \
  extern "C" __attribute__((visibility("hidden"), used)) void __asan_store##bytes##_noabort(const void* to) { spft_runtime->note_write(to, bytes); }
SPFT_STORE(1) SPFT_STORE(2) SPFT_STORE(4) SPFT_STORE(8) SPFT_STORE(16)
extern "C" __attribute__((visibility("hidden"), used)) void __asan_storeN_noabort(const void* to, size_t bytes) { spft_runtime->note_write(to, bytes); }
extern "C" __attribute__((visibility("hidden"), used)) void __asan_handle_no_return() {}
#endif

// ---- Vectors ---------------------------------------------------------------------------------------------------------------------------------

#define SPFT_VECTORS(name, type, align2, align4)                                                            \
  struct name##1 { type x; };                                                                               \
  struct __align__(align2) name##2 { type x, y; };                                                          \
  struct name##3 { type x, y, z; };                                                                         \
  struct __align__(align4) name##4 { type x, y, z, w; };                                                    \
  inline name##1 make_##name##1(type x) { return name##1{x}; }                                              \
  inline name##2 make_##name##2(type x, type y) { return name##2{x, y}; }                                   \
  inline name##3 make_##name##3(type x, type y, type z) { return name##3{x, y, z}; }                        \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return name##4{x, y, z, w}; }
SPFT_VECTORS(char, signed char, 2, 4)
SPFT_VECTORS(uchar, unsigned char, 2, 4)
SPFT_VECTORS(short, short, 4, 8)
SPFT_VECTORS(ushort, unsigned short, 4, 8)
SPFT_VECTORS(int, int, 8, 16)
SPFT_VECTORS(uint, unsigned, 8, 16)
SPFT_VECTORS(long, long, 16, 16)
SPFT_VECTORS(ulong, unsigned long, 16, 16)
SPFT_VECTORS(longlong, long long, 16, 16)
SPFT_VECTORS(ulonglong, unsigned long long, 16, 16)
SPFT_VECTORS(float, float, 8, 16)
SPFT_VECTORS(double, double, 16, 16)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

static SpftIndex threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// ---- The C library ---------------------------------------------------------------------------------------------------------------------------

extern "C" {
int printf(const char* format, ...);
void* memcpy(void* to, const void* from, size_t bytes);
void* memmove(void* to, const void* from, size_t bytes);
void* memset(void* to, int value, size_t bytes);
int abs(int x);
long labs(long x);
long long llabs(long long x);
}

// Both precisions by their C names, and float by the name of double too.
#define SPFT_MATH_1(name)                   \
  extern "C" double name(double x);         \
  extern "C" float name##f(float x);        \
  inline float name(float x) { return name##f(x); }
#define SPFT_MATH_2(name)                             \
  extern "C" double name(double x, double y);         \
  extern "C" float name##f(float x, float y);         \
  inline float name(float x, float y) { return name##f(x, y); }
SPFT_MATH_1(sqrt) SPFT_MATH_1(cbrt) SPFT_MATH_1(exp) SPFT_MATH_1(exp2) SPFT_MATH_1(exp10) SPFT_MATH_1(expm1)
SPFT_MATH_1(log) SPFT_MATH_1(log2) SPFT_MATH_1(log10) SPFT_MATH_1(log1p) SPFT_MATH_1(logb)
SPFT_MATH_1(sin) SPFT_MATH_1(cos) SPFT_MATH_1(tan) SPFT_MATH_1(asin) SPFT_MATH_1(acos) SPFT_MATH_1(atan)
SPFT_MATH_1(sinh) SPFT_MATH_1(cosh) SPFT_MATH_1(tanh) SPFT_MATH_1(asinh) SPFT_MATH_1(acosh) SPFT_MATH_1(atanh)
SPFT_MATH_1(erf) SPFT_MATH_1(erfc) SPFT_MATH_1(tgamma) SPFT_MATH_1(lgamma)
SPFT_MATH_1(floor) SPFT_MATH_1(ceil) SPFT_MATH_1(trunc) SPFT_MATH_1(round) SPFT_MATH_1(rint) SPFT_MATH_1(nearbyint) SPFT_MATH_1(fabs)
SPFT_MATH_2(pow) SPFT_MATH_2(fmod) SPFT_MATH_2(atan2) SPFT_MATH_2(hypot) SPFT_MATH_2(fmax) SPFT_MATH_2(fmin) SPFT_MATH_2(fdim)
SPFT_MATH_2(copysign) SPFT_MATH_2(remainder) SPFT_MATH_2(nextafter)
extern "C" {
double fma(double x, double y, double z);
float fmaf(float x, float y, float z);
double ldexp(double x, int e);
float ldexpf(float x, int e);
double scalbn(double x, int e);
float scalbnf(float x, int e);
double frexp(double x, int* e);
float frexpf(float x, int* e);
double modf(double x, double* whole);
float modff(float x, float* whole);
int ilogb(double x);
int ilogbf(float x);
long lrint(double x);
long lrintf(float x);
long lround(double x);
long lroundf(float x);
long long llrint(double x);
long long llrintf(float x);
long long llround(double x);
long long llroundf(float x);
void sincos(double x, double* sine, double* cosine);
void sincosf(float x, float* sine, float* cosine);
}
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
inline float ldexp(float x, int e) { return ldexpf(x, e); }
inline long abs(long x) { return labs(x); }
inline long long abs(long long x) { return llabs(x); }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbit(x); }
inline bool signbit(double x) { return __builtin_signbit(x); }

inline float rsqrtf(float x) { return (float)(1.0 / sqrt((double)x)); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float rcbrtf(float x) { return (float)(1.0 / cbrt((double)x)); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
inline float normcdff(float x) { return (float)normcdf((double)x); }
// Winitzki's approximation, then Newton's method.
inline double erfinv(double y) {
  if (!(y > -1 && y < 1)) return y == 1 || y == -1 ? y * __builtin_inf() : __builtin_nan("");
  const double l = log(1 - y * y), t = 2 / (3.14159265358979323846 * 0.147) + l / 2;
  double x = copysign(sqrt(sqrt(t * t - l / 0.147) - t), y);
  for (int i = 0; i < 4; i++) x -= (y > 0 ? (1 - y) - erfc(x) : erf(x) - y) / (1.12837916709551257390 * exp(-x * x));
  return x;
}
inline float erfinvf(float y) { return (float)erfinv((double)y); }
inline float sinpif(float x) { return (float)sin(3.14159265358979323846 * fmod((double)x, 2.0)); }
inline float cospif(float x) { return (float)cos(3.14159265358979323846 * fmod((double)x, 2.0)); }

#define SPFT_MINMAX(result, a, b)                                        \
  inline result min(a x, b y) { return (result)x < (result)y ? (result)x : (result)y; } \
  inline result max(a x, b y) { return (result)x > (result)y ? (result)x : (result)y; }
SPFT_MINMAX(int, int, int)
SPFT_MINMAX(unsigned, unsigned, unsigned)
SPFT_MINMAX(unsigned, int, unsigned)
SPFT_MINMAX(unsigned, unsigned, int)
SPFT_MINMAX(long, long, long)
SPFT_MINMAX(unsigned long, unsigned long, unsigned long)
SPFT_MINMAX(unsigned long, long, unsigned long)
SPFT_MINMAX(unsigned long, unsigned long, long)
SPFT_MINMAX(long long, long long, long long)
SPFT_MINMAX(unsigned long long, unsigned long long, unsigned long long)
SPFT_MINMAX(unsigned long long, long long, unsigned long long)
SPFT_MINMAX(unsigned long long, unsigned long long, long long)
// As in CUDA, the number wins where the other one is a NaN.
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }
inline double min(float x, double y) { return fmin((double)x, y); }
inline double max(float x, double y) { return fmax((double)x, y); }
inline double min(double x, float y) { return fmin(x, (double)y); }
inline double max(double x, float y) { return fmax(x, (double)y); }

// ---- Bits and conversions --------------------------------------------------------------------------------------------------------------------

template <typename To, typename From> inline To spft_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "of one size");
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return spft_bits<unsigned>(x); }
inline int __float_as_int(float x) { return spft_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return spft_bits<float>(x); }
inline float __int_as_float(int x) { return spft_bits<float>(x); }
inline long long __double_as_longlong(double x) { return spft_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return spft_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; i++) y |= (x >> i & 1u) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((unsigned long long)x * y >> 32); }
inline int __mulhi(int x, int y) { return (int)((long long)x * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return (unsigned long long)((unsigned __int128)x * y >> 64);
}
// The greater of each pair of halves, unsigned.
inline unsigned __vmaxu2(unsigned a, unsigned b) {
  const unsigned low_a = a & 0xffffu, low_b = b & 0xffffu, high_a = a & 0xffff0000u, high_b = b & 0xffff0000u;
  return (low_a > low_b ? low_a : low_b) | (high_a > high_b ? high_a : high_b);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = (unsigned long long)y << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned choice = selector >> 4 * i & 15u, byte = (unsigned)(bytes >> 8 * (choice & 7u)) & 255u;
    result |= (choice & 8u ? (byte & 128u ? 255u : 0u) : byte) << 8 * i;
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)((((unsigned long long)high << 32 | low) << (shift & 31u)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31u));
}

// Conversions saturate and make 0 of a NaN, which a plain cast on the host does not.
template <typename To> inline To spft_saturate(double x, double low, double high, To lowest, To highest) {
  return x != x ? (To)0 : x <= low ? lowest : x >= high ? highest : (To)x;
}
inline int spft_to_int(double x) { return spft_saturate<int>(x, -2147483648.0, 2147483647.0, -2147483647 - 1, 2147483647); }
inline unsigned spft_to_uint(double x) { return spft_saturate<unsigned>(x, 0.0, 4294967295.0, 0u, 4294967295u); }
inline int __float2int_rn(float x) { return spft_to_int(rint((double)x)); }
inline int __float2int_rz(float x) { return spft_to_int(trunc((double)x)); }
inline int __float2int_rd(float x) { return spft_to_int(floor((double)x)); }
inline int __float2int_ru(float x) { return spft_to_int(ceil((double)x)); }
inline unsigned __float2uint_rn(float x) { return spft_to_uint(rint((double)x)); }
inline unsigned __float2uint_rz(float x) { return spft_to_uint(trunc((double)x)); }
inline unsigned __float2uint_rd(float x) { return spft_to_uint(floor((double)x)); }
inline unsigned __float2uint_ru(float x) { return spft_to_uint(ceil((double)x)); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __ll2float_rn(long long x) { return (float)x; }
inline float __ull2float_rn(unsigned long long x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline void __sincosf(float x, float* sine, float* cosine) { sincosf(x, sine, cosine); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// ---- Memory ----------------------------------------------------------------------------------------------------------------------------------

template <typename T> inline T __ldg(const T* p) { return *p; }
template <typename T> inline T __ldcg(const T* p) { return *p; }
template <typename T> inline T __ldcs(const T* p) { return *p; }
template <typename T> inline T __ldca(const T* p) { return *p; }
template <typename T> inline void __stcg(T* p, T x) { *p = x; }
template <typename T> inline void __stcs(T* p, T x) { *p = x; }

// One thread runs at a time, so plain reads and writes are atomic.
#define SPFT_ATOMIC(name, type, next)   \
  inline type name(type* p, type x) {   \
    const type old = *p;                \
    *p = (next);                        \
    return old;                         \
  }
SPFT_ATOMIC(atomicAdd, int, (int)((unsigned)old + (unsigned)x))
SPFT_ATOMIC(atomicAdd, unsigned, old + x)
SPFT_ATOMIC(atomicAdd, unsigned long long, old + x)
SPFT_ATOMIC(atomicAdd, float, old + x)
SPFT_ATOMIC(atomicAdd, double, old + x)
SPFT_ATOMIC(atomicSub, int, (int)((unsigned)old - (unsigned)x))
SPFT_ATOMIC(atomicSub, unsigned, old - x)
#define SPFT_ATOMIC_INTEGERS(name, next)        \
  SPFT_ATOMIC(name, int, next)                  \
  SPFT_ATOMIC(name, unsigned, next)             \
  SPFT_ATOMIC(name, long long, next)            \
  SPFT_ATOMIC(name, unsigned long long, next)
SPFT_ATOMIC_INTEGERS(atomicMin, x < old ? x : old)
SPFT_ATOMIC_INTEGERS(atomicMax, x > old ? x : old)
SPFT_ATOMIC(atomicAnd, int, old & x)
SPFT_ATOMIC(atomicAnd, unsigned, old & x)
SPFT_ATOMIC(atomicAnd, unsigned long long, old & x)
SPFT_ATOMIC(atomicOr, int, old | x)
SPFT_ATOMIC(atomicOr, unsigned, old | x)
SPFT_ATOMIC(atomicOr, unsigned long long, old | x)
SPFT_ATOMIC(atomicXor, int, old ^ x)
SPFT_ATOMIC(atomicXor, unsigned, old ^ x)
SPFT_ATOMIC(atomicXor, unsigned long long, old ^ x)
SPFT_ATOMIC(atomicExch, int, x)
SPFT_ATOMIC(atomicExch, unsigned, x)
SPFT_ATOMIC(atomicExch, unsigned long long, x)
SPFT_ATOMIC(atomicExch, float, x)
SPFT_ATOMIC(atomicInc, unsigned, old >= x ? 0u : old + 1u)
SPFT_ATOMIC(atomicDec, unsigned, old == 0u || old > x ? x : old - 1u)
#define SPFT_ATOMIC_CAS(type)                              \
  inline type atomicCAS(type* p, type compare, type x) {   \
    const type old = *p;                                   \
    if (old == compare) *p = x;                            \
    return old;                                            \
  }
SPFT_ATOMIC_CAS(int)
SPFT_ATOMIC_CAS(unsigned)
SPFT_ATOMIC_CAS(unsigned short)
SPFT_ATOMIC_CAS(unsigned long long)

inline void __threadfence() { __asm__ volatile("" ::: "memory"); }
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }
inline long long clock64() {
#ifdef __x86_64__
  return (long long)__builtin_ia32_rdtsc();
#else
  return 0;
#endif
}
inline int clock() { return (int)clock64(); }
inline void __nanosleep(unsigned) {}

// ---- Other threads ---------------------------------------------------------------------------------------------------------------------------

inline void __trap(SPFT_HERE) {
  spft_runtime->fail(719, "__trap()", SPFT_PLACE);
  __builtin_unreachable();
}
#define assert(condition) \
  ((condition) ? (void)0 : spft_runtime->fail(710, "assertion failed: " #condition, SpftPlace{__FILE__, __LINE__}))

inline void __syncthreads(SPFT_HERE) { spft_runtime->barrier(SPFT_BARRIER, 0, SPFT_PLACE); }
inline int __syncthreads_or(int predicate, SPFT_HERE) { return spft_runtime->barrier(SPFT_BARRIER_OR, predicate, SPFT_PLACE); }
inline int __syncthreads_and(int predicate, SPFT_HERE) { return spft_runtime->barrier(SPFT_BARRIER_AND, predicate, SPFT_PLACE); }
inline int __syncthreads_count(int predicate, SPFT_HERE) { return spft_runtime->barrier(SPFT_BARRIER_COUNT, predicate, SPFT_PLACE); }
inline void __syncwarp(unsigned mask = 0xffffffffu, SPFT_HERE) { spft_runtime->warp_barrier(mask, SPFT_PLACE); }

template <typename T> inline T spft_shuffle(SpftShuffle kind, unsigned mask, T value, int operand, int width, SpftPlace place) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "numbers of 4 or 8 bytes can be shuffled");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = spft_runtime->shuffle(kind, mask, bits, operand, width, place);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename T> inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SPFT_HERE) {
  return spft_shuffle(SPFT_SHUFFLE, mask, value, lane, width, SPFT_PLACE);
}
template <typename T> inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SPFT_HERE) {
  return spft_shuffle(SPFT_SHUFFLE_UP, mask, value, (int)delta, width, SPFT_PLACE);
}
template <typename T> inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SPFT_HERE) {
  return spft_shuffle(SPFT_SHUFFLE_DOWN, mask, value, (int)delta, width, SPFT_PLACE);
}
template <typename T> inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SPFT_HERE) {
  return spft_shuffle(SPFT_SHUFFLE_XOR, mask, value, lanes, width, SPFT_PLACE);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SPFT_HERE) { return spft_runtime->ballot(mask, predicate, SPFT_PLACE); }
inline int __any_sync(unsigned mask, int predicate, SPFT_HERE) { return spft_runtime->ballot(mask, predicate, SPFT_PLACE) != 0; }
inline int __all_sync(unsigned mask, int predicate, SPFT_HERE) { return spft_runtime->ballot(mask, predicate, SPFT_PLACE) == mask; }
template <typename T> inline unsigned __match_any_sync(unsigned mask, T value, SPFT_HERE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "numbers of 4 or 8 bytes can be matched");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  return spft_runtime->match(mask, bits, SPFT_PLACE);
}
template <typename T> inline unsigned __match_all_sync(unsigned mask, T value, int* all, SPFT_HERE) {
  *all = __match_any_sync(mask, value, file, line) == mask;
  return *all ? mask : 0;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_ADD, mask, x, SPFT_PLACE); }
inline int __reduce_add_sync(unsigned mask, int x, SPFT_HERE) { return (int)spft_runtime->reduce(SPFT_REDUCE_ADD, mask, (unsigned)x, SPFT_PLACE); }
inline unsigned __reduce_min_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_MIN, mask, x, SPFT_PLACE); }
inline unsigned __reduce_max_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_MAX, mask, x, SPFT_PLACE); }
inline int __reduce_min_sync(unsigned mask, int x, SPFT_HERE) {
  return (int)spft_runtime->reduce(SPFT_REDUCE_MIN_SIGNED, mask, (unsigned)x, SPFT_PLACE);
}
inline int __reduce_max_sync(unsigned mask, int x, SPFT_HERE) {
  return (int)spft_runtime->reduce(SPFT_REDUCE_MAX_SIGNED, mask, (unsigned)x, SPFT_PLACE);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_AND, mask, x, SPFT_PLACE); }
inline unsigned __reduce_or_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_OR, mask, x, SPFT_PLACE); }
inline unsigned __reduce_xor_sync(unsigned mask, unsigned x, SPFT_HERE) { return spft_runtime->reduce(SPFT_REDUCE_XOR, mask, x, SPFT_PLACE); }

// ---- cuda/ptx.cuh ----------------------------------------------------------------------------------------------------------------------------

// To nearest, ties to even; every NaN becomes the canonical one, as the instruction does.
inline unsigned short ptx_float_to_bf16(float x) {
  if (x != x) return 0x7fff;
  const unsigned bits = __float_as_uint(x);
  return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline unsigned ptx_floats_to_bf16x2(float low, float high) {
  return (unsigned)ptx_float_to_bf16(high) << 16 | ptx_float_to_bf16(low);
}
inline float ptx_exp2(float x) { return exp2f(x); }
inline float ptx_reciprocal(float x) { return 1.0f / x; }
inline void ptx_load_once(const void* from, unsigned (&to)[4]) {
  const uint4 words = *(const uint4*)from;
  to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
}
inline void ptx_load_once(const void* from, unsigned (&to)[2]) {
  const uint2 words = *(const uint2*)from;
  to[0] = words.x, to[1] = words.y;
}
inline void ptx_fetch(const void* from) { __asm__ volatile("" ::"r"(*(const unsigned*)from)); }
inline void ptx_prefetch(const void* from) { ptx_fetch(from); }
// Blocks run one after the other here: what is waited for in a loop is there, or never comes.
inline unsigned ptx_load_acquire(const unsigned* from) { return *(const volatile unsigned*)from; }
inline void ptx_store_release(unsigned* to, unsigned word) { *to = word; }
inline void ptx_keep(float&) {}
inline void ptx_keep(unsigned&) {}
// Kernels run one after the other here.
inline void ptx_wait_for_previous() {}
inline void ptx_let_next_begin() {}

inline void ptx_ldmatrix_x4(unsigned (&r)[4], const void* row, SPFT_HERE) { spft_runtime->load_matrices(r, row, 0, SPFT_PLACE); }
inline void ptx_ldmatrix_x4_trans(unsigned (&r)[4], const void* row, SPFT_HERE) { spft_runtime->load_matrices(r, row, 1, SPFT_PLACE); }
inline void ptx_mma_16816(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, SPFT_HERE) {
  spft_runtime->multiply_16816(d, a, b0, b1, SPFT_PLACE);
}
// Two codes of E4M3 as a pair of bf16, which holds them exactly: the fields in their places, of which the exponent is 120 too small.
inline unsigned spft_codes_to_bf16(unsigned pair) {
  float x[2];
  for (int i = 0; i < 2; i++) {
    const unsigned code = pair >> 8 * i & 255u;
    const float magnitude = (code & 127u) == 127u ? __uint_as_float(0x7fc00000u) : __uint_as_float((code & 127u) << 20) * 0x1p120f;
    x[i] = code & 128u ? -magnitude : magnitude;
  }
  return ptx_floats_to_bf16x2(x[0], x[1]);
}
inline void ptx_mma_16832_e4m3(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, SPFT_HERE) {
  for (int shift = 0; shift < 32; shift += 16) {
    unsigned part[4];
    for (int i = 0; i < 4; i++) part[i] = spft_codes_to_bf16(a[i] >> shift);
    spft_runtime->multiply_16816(d, part, spft_codes_to_bf16(b0 >> shift), spft_codes_to_bf16(b1 >> shift), SPFT_PLACE);
  }
}
inline void ptx_copy_async_16(void* shared, const void* global, bool valid, SPFT_HERE) {
  spft_runtime->copy_async(shared, global, 16, valid, SPFT_PLACE);
}
inline void ptx_copy_async_16(unsigned shared_address, const void* global, SPFT_HERE) {
  spft_runtime->copy_async(spft_runtime->shared_pointer(shared_address, SPFT_PLACE), global, 16, 1, SPFT_PLACE);
}
inline void ptx_copy_async_commit() { spft_runtime->copy_async_commit(); }
template <int N> inline void ptx_copy_async_wait() { spft_runtime->copy_async_wait(N); }

inline unsigned ptx_shared_address(const void* pointer, SPFT_HERE) { return spft_runtime->shared_address(pointer, SPFT_PLACE); }
// Of accumulators [N][4], for products with 8 * N columns.
template <int TRANSPOSE_B, int TRANSPOSE_A = 0, int N>
inline void ptx_wgmma(float (&d)[N][4], unsigned long long a, unsigned long long b, int accumulate, SPFT_HERE) {
  static_assert(N == 4 || N == 8 || N == 16, "cuda/ptx.cuh has products with 32, 64 and 128 columns");
  const SpftProduct product = {d[0], 8 * N, nullptr, a, b, TRANSPOSE_A, TRANSPOSE_B, accumulate, 0};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
template <int TRANSPOSE_B, int N> inline void ptx_wgmma(float (&d)[N][4], const unsigned (&a)[4], unsigned long long b, int accumulate, SPFT_HERE) {
  static_assert(N == 8 || N == 16, "cuda/ptx.cuh has products of registers with 64 and 128 columns");
  const SpftProduct product = {d[0], 8 * N, a, 0, b, 0, TRANSPOSE_B, accumulate, 0};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
inline void ptx_wgmma_fence() { spft_runtime->product_fence(); }
inline void ptx_wgmma_commit(SPFT_HERE) { spft_runtime->product_commit(SPFT_PLACE); }
template <int N> inline void ptx_wgmma_wait(SPFT_HERE) { spft_runtime->product_wait(N, SPFT_PLACE); }
inline void ptx_fence_shared_for_wgmma() { spft_runtime->proxy_fence(); }

inline void ptx_barrier_init(unsigned long long* barrier, int count, SPFT_HERE) { spft_runtime->mbarrier_init(barrier, count, SPFT_PLACE); }
inline void ptx_barrier_arrive(unsigned long long* barrier, SPFT_HERE) { spft_runtime->mbarrier_arrive(barrier, SPFT_PLACE); }
inline bool ptx_barrier_test(unsigned long long* barrier, unsigned parity, SPFT_HERE) { return spft_runtime->mbarrier_test(barrier, parity, SPFT_PLACE); }
inline void ptx_barrier_wait(unsigned long long* barrier, unsigned parity, SPFT_HERE) { spft_runtime->mbarrier_wait(barrier, parity, SPFT_PLACE); }
inline void ptx_named_barrier(int number, int threads, SPFT_HERE) { spft_runtime->named_barrier(number, threads, SPFT_PLACE); }
template <int N> inline void ptx_fewer_registers() {}
template <int N> inline void ptx_more_registers() {}

// ---- cuda/ptx-codes.cuh ----------------------------------------------------------------------------------------------------------------------

inline void ptx_wgmma_e4m3(float (&d)[32][4], unsigned long long a, unsigned long long b, int accumulate, SPFT_HERE) {
  const SpftProduct product = {d[0], 256, nullptr, a, b, 0, 0, accumulate, 1};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
inline void ptx_wgmma_e4m3(float (&d)[32][4], const unsigned (&a)[4], unsigned long long b, int accumulate, SPFT_HERE) {
  const SpftProduct product = {d[0], 256, a, 0, b, 0, 0, accumulate, 1};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
inline void ptx_wgmma(float (&d)[32][4], unsigned long long a, unsigned long long b, SPFT_HERE) {
  const SpftProduct product = {d[0], 256, nullptr, a, b, 0, 0, 1, 0};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
inline void ptx_wgmma(float (&d)[32][4], const unsigned (&a)[4], unsigned long long b, SPFT_HERE) {
  const SpftProduct product = {d[0], 256, a, 0, b, 0, 0, 1, 0};
  spft_runtime->product_start(&product, SPFT_PLACE);
}
inline void ptx_ldmatrix_x4_trans(unsigned (&r)[4], unsigned row, SPFT_HERE) {
  spft_runtime->load_matrices(r, spft_runtime->shared_pointer(row, SPFT_PLACE), 1, SPFT_PLACE);
}
inline void ptx_stmatrix_x4(unsigned row, const unsigned (&x)[4], SPFT_HERE) {
  spft_runtime->store_matrices(spft_runtime->shared_pointer(row, SPFT_PLACE), x, SPFT_PLACE);
}
inline unsigned* spft_shared_word(unsigned address, SpftPlace place) {
  if (address & 3u) spft_runtime->fail(716, "the address of a word of shared memory is not a multiple of 4", place);
  return (unsigned*)((char*)spft_runtime->shared_pointer_in(spft_runtime->rank(), address & ~7u, place) + (address & 4u));
}
inline unsigned ptx_load_shared(unsigned from, SPFT_HERE) { return *spft_shared_word(from, SPFT_PLACE); }
inline void ptx_store_shared(unsigned to, unsigned x, SPFT_HERE) {
  unsigned* const at = spft_shared_word(to, SPFT_PLACE);
  *at = x;
  spft_runtime->note_write(at, 4);
}
inline void ptx_copy_box(unsigned to, const void* map, int x, int y, unsigned barrier, SPFT_HERE) {
  spft_runtime->bulk_copy(to, map, x, y, barrier, 1u << spft_runtime->rank(), SPFT_PLACE);
}
inline void ptx_copy_box_to_all(unsigned to, const void* map, int x, int y, unsigned barrier, unsigned short blocks, SPFT_HERE) {
  spft_runtime->bulk_copy(to, map, x, y, barrier, blocks, SPFT_PLACE);
}
inline void ptx_copy_box_out(const void* map, int x, int y, unsigned from, SPFT_HERE) { spft_runtime->bulk_copy_out(map, x, y, from, SPFT_PLACE); }
inline void ptx_copies_out_commit() { spft_runtime->copies_out_commit(); }
template <int N> inline void ptx_copies_out_wait() { spft_runtime->copies_out_wait(N); }
inline unsigned long long* spft_barrier(unsigned barrier, SpftPlace place) {
  return (unsigned long long*)spft_runtime->shared_pointer_in(spft_runtime->rank(), barrier, place);
}
inline void ptx_barrier_expect(unsigned barrier, unsigned bytes, SPFT_HERE) {
  spft_runtime->mbarrier_expect(spft_barrier(barrier, SPFT_PLACE), bytes, SPFT_PLACE);
}
inline void ptx_barrier_arrive_in(unsigned barrier, unsigned block, SPFT_HERE) {
  spft_runtime->mbarrier_arrive(spft_runtime->shared_pointer_in(block, barrier, SPFT_PLACE), SPFT_PLACE);
}
inline void ptx_barrier_init(unsigned barrier, int count, SPFT_HERE) { ptx_barrier_init(spft_barrier(barrier, SPFT_PLACE), count, file, line); }
inline void ptx_barrier_wait(unsigned barrier, unsigned parity, SPFT_HERE) { ptx_barrier_wait(spft_barrier(barrier, SPFT_PLACE), parity, file, line); }
inline void ptx_fence_barriers() {}
inline void ptx_cluster_meet(SPFT_HERE) { spft_runtime->cluster_barrier(SPFT_PLACE); }

// ---- A kernel's parameters -------------------------------------------------------------------------------------------------------------------

template <size_t... I> struct SpftNumbers {};
template <size_t N, size_t... I> struct SpftCount : SpftCount<N - 1, N - 1, I...> {};
template <size_t... I> struct SpftCount<0, I...> { typedef SpftNumbers<I...> Type; };
// Where the driver has a parameter it need not be aligned.
template <typename T> inline T spft_parameter(const void* from) {
  T x;
  __builtin_memcpy(&x, from, sizeof x);
  return x;
}
template <typename... A, size_t... I> inline void spft_call_each(void (*kernel)(A...), void** parameters, SpftNumbers<I...>) {
  kernel(spft_parameter<A>(parameters[I])...);
}
template <typename... A> inline void spft_call(void (*kernel)(A...), void** parameters) {
  spft_call_each(kernel, parameters, typename SpftCount<sizeof...(A)>::Type());
}
template <typename... A> constexpr int spft_parameters(void (*)(A...)) { return (int)sizeof...(A); }
template <typename... A> struct SpftSizes {
  static constexpr int bytes[] = {(int)sizeof(A)..., 0};
};
template <typename... A> constexpr const int* spft_parameter_bytes(void (*)(A...)) { return SpftSizes<A...>::bytes; }
constexpr int spft_cluster(int x = 1, int y = 1, int z = 1) { return x * y * z; }
constexpr int spft_bound(int most_threads = 0, int = 0, int = 0) { return most_threads; }
