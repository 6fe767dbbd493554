// The instructions that C++ has no words for, one function each; the emulator (emulator/) has its own of the same names.
#pragma once

#ifndef SPFT_EMULATED

__device__ __forceinline__ u16 ptx_float_to_bf16(float x) {
  u16 bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ u32 ptx_floats_to_bf16x2(float low, float high) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// 2^x, with an error of two units in the last place.
__device__ __forceinline__ float ptx_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ u32 ptx_shared_address(const void* pointer) {
  return (u32)__cvta_generic_to_shared(pointer);
}

// Four 8x8 matrices of bf16 from shared memory: thread 8i + j of the warp gives the address of row j (16 bytes) of matrix i.
__device__ __forceinline__ void ptx_ldmatrix_x4(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(ptx_shared_address(row)));
}
// The same, each matrix transposed.
__device__ __forceinline__ void ptx_ldmatrix_x4_trans(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(ptx_shared_address(row)));
}

// d += a·b of 16x16 (row-major fragments) and 16x8 (column-major fragments) bf16, in float.
__device__ __forceinline__ void ptx_mma_16816(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies 16 bytes to shared memory without waiting; zeros where `valid` is false.
__device__ __forceinline__ void ptx_copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared_address(shared)), "l"(global), "r"(valid ? 16 : 0));
}
__device__ __forceinline__ void ptx_copy_async_commit() { asm volatile("cp.async.commit_group;"); }
// Waits until at most N groups are under way.
template <int N> __device__ __forceinline__ void ptx_copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }

#endif
