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

#if __CUDA_ARCH__ >= 890
// Two floats as E4M3, the first in the lower byte: to nearest, ties to even, beyond 448 to 448, NaN to NaN. Without the instruction e4m3.cuh has it in C++.
#define PTX_E4M3
__device__ __forceinline__ u16 ptx_floats_to_e4m3x2(float low, float high) {
  u16 pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
// The two numbers of such a pair.
__device__ __forceinline__ void ptx_e4m3x2_to_floats(u16 pair, float& low, float& high) {
  asm("{ .reg .b32 halves; .reg .b16 a, b; cvt.rn.f16x2.e4m3x2 halves, %2; mov.b32 {a, b}, halves; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
      : "=f"(low), "=f"(high)
      : "h"(pair));
}
#endif

// 2^x, with an error of two units in the last place.
__device__ __forceinline__ float ptx_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1/x, with an error of one unit in the last place; 0 of what is beyond 2^126.
__device__ __forceinline__ float ptx_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ u32 ptx_shared_address(const void* pointer) {
  return (u32)__cvta_generic_to_shared(pointer);
}

// 16 bytes that are read once and by nobody else: past the first cache, with what follows fetched to the second. Nothing may write them meanwhile.
__device__ __forceinline__ void ptx_load_once(const void* from, u32 (&to)[4]) {
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "l"(from));
}

// Eight bytes of that kind.
__device__ __forceinline__ void ptx_load_once(const void* from, u32 (&to)[2]) {
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v2.u32 {%0,%1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "l"(from));
}

// Brings a line of 128 bytes to the first cache, for a load to come that shall not wait.
__device__ __forceinline__ void ptx_fetch(const void* from) {
  u32 unread;
  asm volatile("ld.global.ca.u32 %0, [%1];" : "=r"(unread) : "l"(from));
}

// A word by which blocks tell each other: what its writer wrote before it is seen after it was read so.
__device__ __forceinline__ u32 ptx_load_acquire(const u32* from) {
  u32 word;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(from) : "memory");
  return word;
}
__device__ __forceinline__ void ptx_store_release(u32* to, u32 word) { asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(word) : "memory"); }

// Has a line of 128 bytes brought to the second cache.
__device__ __forceinline__ void ptx_prefetch(const void* from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from)); }

// Of a kernel that may begin before the one before it has ended (src/device/launch.ts): waits until all it wrote is there. Nothing elsewhere.
__device__ __forceinline__ void ptx_wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets the next kernel begin, if it is one that waits: called by every block, it has only to wait for what this one writes.
__device__ __forceinline__ void ptx_let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
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

#if __CUDA_ARCH__ >= 890
// d += a·b of 16x32 and 32x8 E4M3, whose fragments lie as those of 16x16 and 16x8 numbers of two bytes do, two codes for each. Hopper has an instruction for
// it among warpgroups' only, and the compiler makes half floats of what mma.sync gets, as is done here, but adds up apart: first the lower two codes of
// each register, then the others.
__device__ __forceinline__ void ptx_mma_16832_e4m3(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    u32 x[6];
    const u32 codes[6] = {a[0], a[1], a[2], a[3], b0, b1};
#pragma unroll
    for (int i = 0; i < 6; i++) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(x[i]) : "h"((u16)(codes[i] >> 16 * half)));
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]));
  }
}
#endif

// Copies 16 bytes to shared memory without waiting; zeros where `valid` is false.
__device__ __forceinline__ void ptx_copy_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared_address(shared)), "l"(global), "r"(valid ? 16 : 0));
}
__device__ __forceinline__ void ptx_copy_async_16(u32 shared_address, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address), "l"(global));
}
__device__ __forceinline__ void ptx_copy_async_commit() { asm volatile("cp.async.commit_group;"); }
// Waits until at most N groups are under way.
template <int N> __device__ __forceinline__ void ptx_copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }

// The rows of an accumulator d, four numbers each, as operands.
#define PTX_ROW(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define PTX_ROWS_4 PTX_ROW(0), PTX_ROW(1), PTX_ROW(2), PTX_ROW(3)
#define PTX_ROWS_8 PTX_ROWS_4, PTX_ROW(4), PTX_ROW(5), PTX_ROW(6), PTX_ROW(7)
#define PTX_ROWS_16 PTX_ROWS_8, PTX_ROW(8), PTX_ROW(9), PTX_ROW(10), PTX_ROW(11), PTX_ROW(12), PTX_ROW(13), PTX_ROW(14), PTX_ROW(15)
#define PTX_ROWS_32                                                                                                                                      \
  PTX_ROWS_16, PTX_ROW(16), PTX_ROW(17), PTX_ROW(18), PTX_ROW(19), PTX_ROW(20), PTX_ROW(21), PTX_ROW(22), PTX_ROW(23), PTX_ROW(24), PTX_ROW(25), PTX_ROW(26), \
      PTX_ROW(27), PTX_ROW(28), PTX_ROW(29), PTX_ROW(30), PTX_ROW(31)

// Hopper's product of a warpgroup (four warps), sm_90a only: d += a·b, or d = a·b where accumulate is 0, of 64 x 16 and 16 x N bf16. Warp w has rows
// 16w … of a and d, in the fragments of mma.sync. a comes from registers or from shared memory, b from shared memory; with TRANSPOSE_B rows of b are
// stored one after the other, else columns; with TRANSPOSE_A columns of a, else rows. They run behind the warps' backs: fence before, commit and wait
// after, and touch no register meanwhile.
template <int TRANSPOSE_B, int TRANSPOSE_A = 0> __device__ __forceinline__ void ptx_wgmma(float (&d)[4][4], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, p, 1, 1, %19, %20; }"
      : PTX_ROWS_4
      : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B));
}
template <int TRANSPOSE_B, int TRANSPOSE_A = 0> __device__ __forceinline__ void ptx_wgmma(float (&d)[8][4], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, %35, %36; }"
      : PTX_ROWS_8
      : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B));
}
template <int TRANSPOSE_B> __device__ __forceinline__ void ptx_wgmma(float (&d)[8][4], const u32 (&a)[4], u64 b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, p, 1, 1, %38; }"
      : PTX_ROWS_8
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANSPOSE_B));
}
template <int TRANSPOSE_B, int TRANSPOSE_A = 0> __device__ __forceinline__ void ptx_wgmma(float (&d)[16][4], u64 a, u64 b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, p, 1, 1, %67, %68; }"
      : PTX_ROWS_16
      : "l"(a), "l"(b), "r"(accumulate), "n"(TRANSPOSE_A), "n"(TRANSPOSE_B));
}
template <int TRANSPOSE_B> __device__ __forceinline__ void ptx_wgmma(float (&d)[16][4], const u32 (&a)[4], u64 b, int accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, {%64,%65,%66,%67}, %68, p, 1, 1, %70; }"
      : PTX_ROWS_16
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANSPOSE_B));
}

__device__ __forceinline__ void ptx_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void ptx_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N groups are under way.
template <int N> __device__ __forceinline__ void ptx_wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// Keeps the compiler from moving uses of a register that wgmma reads or writes across this place.
__device__ __forceinline__ void ptx_keep(float& x) { asm volatile("" : "+f"(x)::"memory"); }
__device__ __forceinline__ void ptx_keep(u32& x) { asm volatile("" : "+r"(x)::"memory"); }
// What this thread wrote to shared memory becomes visible to wgmma (after the next barrier, to that of other threads).
__device__ __forceinline__ void ptx_fence_shared_for_wgmma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Barriers in shared memory, for parts of a block that run apart. A phase ends once `count` arrivals have come; phases alternate in parity, the first
// has 0.
__device__ __forceinline__ void ptx_barrier_init(u64* barrier, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(ptx_shared_address(barrier)), "r"(count) : "memory");
}
__device__ __forceinline__ void ptx_barrier_arrive(u64* barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(ptx_shared_address(barrier)) : "memory");
}
__device__ __forceinline__ bool ptx_barrier_test(u64* barrier, u32 parity) {
  u32 over;
  asm volatile("{ .reg .pred over; mbarrier.test_wait.parity.shared.b64 over, [%1], %2; selp.u32 %0, 1, 0, over; }"
               : "=r"(over)
               : "r"(ptx_shared_address(barrier)), "r"(parity)
               : "memory");
  return over;
}
// Waits until the phase of this parity is over.
__device__ __forceinline__ void ptx_barrier_wait(u64* barrier, u32 parity) {
  asm volatile(
      "{ .reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
      "@!done bra again; }" ::"r"(ptx_shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// A barrier of `threads` threads of the block, whole warps that come here by the same number, 1 to 15 (0 is __syncthreads').
__device__ __forceinline__ void ptx_named_barrier(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}
// A warpgroup gives registers back, or takes such as others gave back.
template <int N> __device__ __forceinline__ void ptx_fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> __device__ __forceinline__ void ptx_more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

#endif
