// What a compiled kernel (a shared object that compiler.cpp makes) and the driver (launch.cpp) know of each other.
//
// No header is included, as this is a part of every kernel's source, which is to compile in a fraction of a second.
#pragma once

struct SpftIndex {
  unsigned x, y, z;
};

// Where in the source a thread waits, for messages.
struct SpftPlace {
  const char* file;
  int line;
};

enum SpftBarrier { SPFT_BARRIER, SPFT_BARRIER_OR, SPFT_BARRIER_AND, SPFT_BARRIER_COUNT };
enum SpftShuffle { SPFT_SHUFFLE, SPFT_SHUFFLE_UP, SPFT_SHUFFLE_DOWN, SPFT_SHUFFLE_XOR };
enum SpftReduce {
  SPFT_REDUCE_ADD,
  SPFT_REDUCE_MIN,
  SPFT_REDUCE_MAX,
  SPFT_REDUCE_MIN_SIGNED,
  SPFT_REDUCE_MAX_SIGNED,
  SPFT_REDUCE_AND,
  SPFT_REDUCE_OR,
  SPFT_REDUCE_XOR
};

// A product of a warpgroup (ptx_wgmma), as a thread brings it: of bf16, 16 of the inner dimension, or of codes in E4M3, 32.
struct SpftProduct {
  float* d;  // [columns / 8][4]
  int columns;
  const unsigned* a_registers;  // null where a is in shared memory
  unsigned long long a, b;      // descriptors
  int transpose_a, transpose_b, accumulate, codes;
};

// What the driver does for a kernel: everything that concerns more than one thread.
struct SpftRuntime {
  int (*barrier)(SpftBarrier kind, int predicate, SpftPlace place);
  void (*warp_barrier)(unsigned mask, SpftPlace place);
  unsigned long long (*shuffle)(SpftShuffle kind, unsigned mask, unsigned long long value, int operand, int width, SpftPlace place);
  unsigned (*ballot)(unsigned mask, int predicate, SpftPlace place);
  unsigned (*match)(unsigned mask, unsigned long long value, SpftPlace place);
  unsigned (*reduce)(SpftReduce kind, unsigned mask, unsigned value, SpftPlace place);
  void (*load_matrices)(unsigned* registers, const void* row, int transposed, SpftPlace place);
  void (*store_matrices)(void* row, const unsigned* registers, SpftPlace place);
  void (*multiply_16816)(float* d, const unsigned* a, unsigned b0, unsigned b1, SpftPlace place);
  void (*copy_async)(void* shared, const void* global, int bytes, int valid, SpftPlace place);
  void (*copy_async_commit)();
  void (*copy_async_wait)(int groups);
  unsigned (*shared_address)(const void* pointer, SpftPlace place);
  void* (*shared_pointer)(unsigned address, SpftPlace place);
  void (*note_write)(const void* to, unsigned long bytes);
  void (*product_fence)();
  void (*proxy_fence)();
  void (*product_start)(const SpftProduct* product, SpftPlace place);
  void (*product_commit)(SpftPlace place);
  void (*product_wait)(int under_way, SpftPlace place);
  void (*mbarrier_init)(void* barrier, int count, SpftPlace place);
  void (*mbarrier_arrive)(void* barrier, SpftPlace place);
  int (*mbarrier_test)(void* barrier, unsigned parity, SpftPlace place);
  void (*mbarrier_wait)(void* barrier, unsigned parity, SpftPlace place);
  void (*mbarrier_expect)(void* barrier, unsigned bytes, SpftPlace place);
  void* (*shared_pointer_in)(unsigned rank, unsigned address, SpftPlace place);  // of eight bytes in that block of the cluster
  unsigned (*rank)();
  void (*bulk_copy)(unsigned to, const void* map, int x, int y, unsigned barrier, unsigned blocks, SpftPlace place);
  void (*bulk_copy_out)(const void* map, int x, int y, unsigned from, SpftPlace place);
  void (*copies_out_commit)();
  void (*copies_out_wait)(int groups);
  void (*cluster_barrier)(SpftPlace place);
  void (*named_barrier)(int number, int threads, SpftPlace place);
  void (*fail)(int status, const char* what, SpftPlace place);
};

struct SpftKernel {
  const char* name;
  void (*run)(void** parameters);  // one thread
  int parameters;
  const int* parameter_bytes;
  int most_threads;  // of __launch_bounds__, or 0
  int cluster;       // blocks of __cluster_dims__, or 1
};

// What a kernel's shared object exports, as `spft_module`.
struct SpftModule {
  int version;
  int architecture;  // 90 for sm_90
  SpftIndex *thread, *block, *block_size, *grid_size;
  unsigned char** dynamic_shared;
  unsigned char *static_shared, *static_shared_end;
  const SpftRuntime** runtime;
  const SpftKernel* kernels;
  int kernel_count;
};

enum { SPFT_INTERFACE_VERSION = 4, SPFT_SHARED_ANCHOR_BYTES = 128 };
