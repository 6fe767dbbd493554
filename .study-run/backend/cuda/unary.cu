// One number in, one out: OP names the function, FROM and TO the elements (types of spft.cuh). Functions are those of tfjs's cpu backend, of
// floats or, where an int32 tensor keeps its integers, of any number. `p` and `q` are their attributes.
#include "elements.cuh"

#define FUNCTION(name, expression)                                                               \
  struct name {                                                                                  \
    static __device__ __forceinline__ float of(float x, float p, float q) { return expression; } \
  };
#define NUMBER_FUNCTION(name, expression)                                                               \
  struct name {                                                                                         \
    template <typename N> static __device__ __forceinline__ N of(N x, float low, float high) {          \
      const N p = (N)low, q = (N)high;                                                                  \
      return expression;                                                                                \
    }                                                                                                   \
  };
// True or false.
#define TEST(name, expression)                                                   \
  struct name {                                                                  \
    static __device__ __forceinline__ int of(float x, float, float) { return expression; } \
  };

NUMBER_FUNCTION(Abs, x < 0 ? -x : x == 0 ? N(0) : x)
NUMBER_FUNCTION(Neg, -x)
NUMBER_FUNCTION(Square, x* x)
NUMBER_FUNCTION(Sign, N(x < 0 ? -1 : x > 0 ? 1 : 0))
NUMBER_FUNCTION(Relu, x < 0 ? N(0) : x)
NUMBER_FUNCTION(Relu6, x < 0 ? N(0) : x > 6 ? N(6) : x)
NUMBER_FUNCTION(ClipByValue, x > q ? q : x < p ? p : x)
NUMBER_FUNCTION(Floor, N(floorf(x)))
NUMBER_FUNCTION(Ceil, N(ceilf(x)))
NUMBER_FUNCTION(Round, N(rintf(x)))
template <> __device__ __forceinline__ int Floor::of<int>(int x, float, float) { return x; }
template <> __device__ __forceinline__ int Ceil::of<int>(int x, float, float) { return x; }
template <> __device__ __forceinline__ int Round::of<int>(int x, float, float) { return x; }
FUNCTION(Exp, expf(x))
FUNCTION(Expm1, expm1f(x))
FUNCTION(Log, logf(x))
FUNCTION(Log1p, log1pf(x))
FUNCTION(Sqrt, sqrtf(x))
FUNCTION(Rsqrt, 1.0f / sqrtf(x))
FUNCTION(Reciprocal, 1.0f / x)
FUNCTION(Sigmoid, 1.0f / (1.0f + expf(-x)))
// Above 13.9 it is x in float, below -13.9 e^x.
FUNCTION(Softplus, x > 13.9f ? x : x < -13.9f ? expf(x) : log1pf(expf(x)))
FUNCTION(LeakyRelu, x < 0 ? p * x : x)
FUNCTION(Elu, x >= 0 ? x : expm1f(x))
FUNCTION(Selu, x >= 0 ? 1.05070098735548f * x : 1.75809934084738f * expm1f(x))
FUNCTION(Step, x != x ? x : x > 0 ? 1.0f : p)
FUNCTION(Erf, erff(x))
FUNCTION(Sin, sinf(x))
FUNCTION(Cos, cosf(x))
FUNCTION(Tan, tanf(x))
FUNCTION(Asin, asinf(x))
FUNCTION(Acos, acosf(x))
FUNCTION(Atan, atanf(x))
FUNCTION(Sinh, sinhf(x))
FUNCTION(Cosh, coshf(x))
FUNCTION(Tanh, tanhf(x))
FUNCTION(Asinh, asinhf(x))
FUNCTION(Acosh, acoshf(x))
FUNCTION(Atanh, atanhf(x))
TEST(IsNan, x != x)
TEST(IsInf, x == SPFT_INFINITY || x == -SPFT_INFINITY)
TEST(IsFinite, x - x == 0.0f)
TEST(LogicalNot, x == 0.0f)

__device__ __forceinline__ TO result(FROM x, float p, float q) { return Stored<TO>::of(OP::of(number(x), p, q)); }

// The first 8 * packs elements in packs, for which both addresses are aligned; the others singly.
extern "C" __global__ void unary(const FROM* x, TO* y, i64 size, i64 packs, float p, float q) {
  for (i64 i = first_index(); i < packs; i += index_step()) {
    const Pack<FROM, 8> from = ((const Pack<FROM, 8>*)x)[i];
    Pack<TO, 8> to;
#pragma unroll
    for (int n = 0; n < 8; n++) to.item[n] = result(from.item[n], p, q);
    ((Pack<TO, 8>*)y)[i] = to;
  }
  for (i64 i = 8 * packs + first_index(); i < size; i += index_step()) y[i] = result(x[i], p, q);
}
