// Two numbers in, one out, with broadcasting: OP names the function; LEFT, RIGHT and TO are the elements (types of spft.cuh). Functions are
// those of tfjs's cpu backend; two integers are computed in int, anything else in float. ENTRY is the one entry point that is compiled; without it
// all are, which for a GPU takes three times as long.
#include "elements.cuh"
#include "strided.cuh"

#define NUMBER_FUNCTION(name, expression)                                                       \
  struct name {                                                                                 \
    template <typename N> static __device__ __forceinline__ N of(N a, N b) { return expression; } \
  };
#define TEST(name, expression)                                                                    \
  struct name {                                                                                   \
    template <typename N> static __device__ __forceinline__ int of(N a, N b) { return expression; } \
  };
#define FUNCTION(name, expression)                                                          \
  struct name {                                                                             \
    static __device__ __forceinline__ float of(float a, float b) { return expression; }     \
  };

NUMBER_FUNCTION(Add, a + b)
NUMBER_FUNCTION(Sub, a - b)
NUMBER_FUNCTION(Multiply, a * b)
NUMBER_FUNCTION(Maximum, greater_of(a, b))
NUMBER_FUNCTION(Minimum, lesser_of(a, b))
NUMBER_FUNCTION(SquaredDifference, (a - b) * (a - b))
NUMBER_FUNCTION(Prelu, a < 0 ? a * b : a)
// a is the gradient, b the result of elu.
NUMBER_FUNCTION(EluGrad, b >= 0 ? a : a * (b + 1))
FUNCTION(RealDiv, a / b)
FUNCTION(Atan2, atan2f(a, b))
TEST(Equal, a == b)
TEST(NotEqual, a != b)
TEST(Less, a < b)
TEST(LessEqual, a <= b)
TEST(Greater, a > b)
TEST(GreaterEqual, a >= b)
TEST(LogicalAnd, a != 0 && b != 0)
TEST(LogicalOr, a != 0 || b != 0)
struct BitwiseAnd {
  static __device__ __forceinline__ int of(int a, int b) { return a & b; }
};

// Division by zero gives what Int32Array makes of an infinity.
struct FloorDiv {
  static __device__ __forceinline__ int of(int a, int b) {
    if (b == 0) return 0;
    if (b == -1) return (int)(0u - (u32)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
  }
  static __device__ __forceinline__ int of(float a, float b) { return Stored<int>::of(floorf(a / b)); }
};
struct Mod {
  static __device__ __forceinline__ int of(int a, int b) {
    if (b == 0 || b == -1) return 0;
    const int rest = a % b;
    return (a < 0) == (b < 0) ? rest : (rest + b) % b;
  }
  static __device__ __forceinline__ float of(float a, float b) {
    const float rest = fmodf(a, b);
    return (a < 0 && b < 0) || (a >= 0 && b >= 0) ? rest : fmodf(rest + b, b);
  }
};
struct Pow {
  static __device__ __forceinline__ int of(int a, int b) {
    if (b < 0) return a == 1 || (a == -1 && b % 2 == 0) ? 1 : a == -1 ? -1 : 0;
    u32 power = 1, factor = (u32)a;
    for (; b > 0; b >>= 1, factor *= factor) power *= b & 1 ? factor : 1;
    return (int)power;
  }
  // JavaScript has NaN where C has 1^NaN = 1 and (-1)^∞ = 1.
  static __device__ __forceinline__ float of(float a, float b) {
    if (b != b || (fabsf(a) == 1.0f && fabsf(b) == SPFT_INFINITY)) return SPFT_NAN;
    return powf(a, b);
  }
};

#define SPFT_RESULT(a, b) Stored<TO>::of(OP::of(a, b))
typedef decltype(number(LEFT{})) NumberA;
typedef decltype(number(RIGHT{})) NumberB;

// One of a float and an int is float.
__device__ __forceinline__ TO result(float a, float b) { return SPFT_RESULT(a, b); }
__device__ __forceinline__ TO result(int a, int b) { return SPFT_RESULT(a, b); }
__device__ __forceinline__ TO result(float a, int b) { return result(a, (float)b); }
__device__ __forceinline__ TO result(int a, float b) { return result((float)a, b); }

// What ENTRY may be.
#define SAME 1
#define SCALAR_B 2
#define SCALAR_A 3
#define STRIDED 4
#define STRIDED_PACKS 5

#if !defined(ENTRY) || ENTRY == SAME
// Tensors of one shape; the first 8 * packs elements in packs.
extern "C" __global__ void binary_same(const LEFT* a, const RIGHT* b, TO* to, i64 size, i64 packs) {
  for (i64 i = first_index(); i < packs; i += index_step()) {
    const Pack<LEFT, 8> from_a = ((const Pack<LEFT, 8>*)a)[i];
    const Pack<RIGHT, 8> from_b = ((const Pack<RIGHT, 8>*)b)[i];
    Pack<TO, 8> results;
#pragma unroll
    for (int n = 0; n < 8; n++) results.item[n] = result(number(from_a.item[n]), number(from_b.item[n]));
    ((Pack<TO, 8>*)to)[i] = results;
  }
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step()) to[i] = result(number(a[i]), number(b[i]));
}
#endif

#if !defined(ENTRY) || ENTRY == SCALAR_B
// A tensor and a number: where `pointer` is null, `value`.
extern "C" __global__ void binary_scalar_b(const LEFT* a, const RIGHT* pointer, float value, TO* to, i64 size, i64 packs) {
  const NumberB b = pointer ? number(*pointer) : (NumberB)value;
  for (i64 i = first_index(); i < packs; i += index_step()) {
    const Pack<LEFT, 8> from = ((const Pack<LEFT, 8>*)a)[i];
    Pack<TO, 8> results;
#pragma unroll
    for (int n = 0; n < 8; n++) results.item[n] = result(number(from.item[n]), b);
    ((Pack<TO, 8>*)to)[i] = results;
  }
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step()) to[i] = result(number(a[i]), b);
}
#endif
#if !defined(ENTRY) || ENTRY == SCALAR_A
extern "C" __global__ void binary_scalar_a(const LEFT* pointer, float value, const RIGHT* b, TO* to, i64 size, i64 packs) {
  const NumberA a = pointer ? number(*pointer) : (NumberA)value;
  for (i64 i = first_index(); i < packs; i += index_step()) {
    const Pack<RIGHT, 8> from = ((const Pack<RIGHT, 8>*)b)[i];
    Pack<TO, 8> results;
#pragma unroll
    for (int n = 0; n < 8; n++) results.item[n] = result(a, number(from.item[n]));
    ((Pack<TO, 8>*)to)[i] = results;
  }
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step()) to[i] = result(a, number(b[i]));
}
#endif

#if !defined(ENTRY) || ENTRY >= STRIDED
// N neighbours of an operand, or one element N times.
template <typename T, int N> __device__ __forceinline__ Pack<T, N> neighbours(const T* from, bool one) {
  if (!one) return *(const Pack<T, N>*)from;
  Pack<T, N> pack;
  const T item = *from;
#pragma unroll
  for (int n = 0; n < N; n++) pack.item[n] = item;
  return pack;
}

// Any broadcast. The last dimension counts groups of N elements, along which an operand's stride is N or 0; the result is contiguous.
template <int N>
__device__ __forceinline__ void strided(const LEFT* a, const RIGHT* b, TO* to, i64 groups, int rank, const Index (&sizes)[SPFT_DIMENSIONS],
                                        const Offset (&strides)[2][SPFT_DIMENSIONS]) {
  const bool one_a = strides[0][SPFT_DIMENSIONS - 1] == 0, one_b = strides[1][SPFT_DIMENSIONS - 1] == 0;
  for (i64 i = first_index(); i < groups; i += index_step()) {
    Offset at[2];
    locate(i, rank, sizes, strides, at);
    const Pack<LEFT, N> from_a = neighbours<LEFT, N>(a + at[0], one_a);
    const Pack<RIGHT, N> from_b = neighbours<RIGHT, N>(b + at[1], one_b);
    Pack<TO, N> results;
#pragma unroll
    for (int n = 0; n < N; n++) results.item[n] = result(number(from_a.item[n]), number(from_b.item[n]));
    ((Pack<TO, N>*)to)[i] = results;
  }
}

#define BROADCAST(name, N)                                                                                                  \
  extern "C" __global__ void name(const LEFT* a, const RIGHT* b, TO* to, i64 groups, int rank, SPFT_SIX(Index, size),             \
                                  SPFT_SIX(Offset, stride_a), SPFT_SIX(Offset, stride_b)) {                                \
    SPFT_ARRAY(Index, size);                                                                                               \
    const Offset strides[2][SPFT_DIMENSIONS] = {                                                                           \
        {stride_a0, stride_a1, stride_a2, stride_a3, stride_a4, stride_a5},                                                \
        {stride_b0, stride_b1, stride_b2, stride_b3, stride_b4, stride_b5},                                                \
    };                                                                                                                     \
    strided<N>(a, b, to, groups, rank, size, strides);                                                                     \
  }
#if !defined(ENTRY) || ENTRY == STRIDED
BROADCAST(binary_strided, 1)
#endif
#if !defined(ENTRY) || ENTRY == STRIDED_PACKS
BROADCAST(binary_strided_packs, 8)
#endif
#endif
