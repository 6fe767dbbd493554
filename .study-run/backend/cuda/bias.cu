// y [rows, n] += bias, in place: of column c bias[c], or bias[indices[c]] where there are indices. Y and TYPE_B are the types of y and of the bias.
#include "octets.cuh"

extern "C" __global__ void add_bias(Y* y, const TYPE_B* bias, const int* indices, int n, i64 size) {
  const i64 stride = (i64)gridDim.x * blockDim.x;
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
    const int column = (int)(i % n);
    y[i] = from_float<Y>(to_float(y[i]) + to_float(bias[indices ? indices[column] : column]));
  }
}
