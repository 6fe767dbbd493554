// libcublasLt.so: products of matrices on the host, in float.
//
// What the real library refuses is refused here too: types that do not go together, leading dimensions that are too small, addresses that are not
// of the device. SPFT_EMULATOR_BLAS_ANY=1 takes every mix of f32 and bf16.
#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "driver.hpp"

namespace {

enum BlasStatus { BLAS_SUCCESS = 0, NOT_INITIALIZED_BLAS = 1, INVALID = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Type { F32 = 0, BF16 = 14, E4M3 = 28 };
enum ScaleMode { SCALAR = 0, BY_ROW = 3 };
enum Order { COLUMN = 0, ROW = 1 };
enum Epilogue { EPILOGUE_DEFAULT = 1, RELU = 2, BIAS = 4, GELU = 32 };

struct Description {
  int compute, scale_type;
  int pointer_mode = 0, transpose_a = 0, transpose_b = 0, epilogue = EPILOGUE_DEFAULT, bias_type = -1;
  uint64_t bias = 0;
  // Of A and B; with `BY_ROW` a float for each of their rows that are not multiplied away.
  uint64_t scale_a = 0, scale_b = 0;
  int scale_mode_a = SCALAR, scale_mode_b = SCALAR;
};
struct Layout {
  int type;
  int order = COLUMN;
  uint64_t rows, columns;
  int64_t leading;
  int batches = 1;
  int64_t batch_stride = 0;
};
struct Preference {
  uint64_t workspace = 0;
};
// cublasLtMatmulHeuristicResult_t.
struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "as cublasLt.h has it");
const uint64_t ALGORITHM_MAGIC = 0x53504654454d5531;
// The algorithm that the second suggestion is: the same, but it wants a workspace.
const size_t WORKSPACE_OF_SECOND = 1 << 20;
// The first one counts in its workspace, where it has one, what it has done, and clears that before, by a call of its own.
const size_t WORKSPACE_OF_FIRST = 16;

// SPFT_EMULATOR_BLAS_PICKY=8: the second suggestion is one only for products whose columns, our rows, are a multiple of 8. Launched for others it
// fails, though cublasLtMatmulAlgoCheck takes it, as real algorithms were seen to.
bool suits(const uint64_t* algorithm, const Layout& d) {
  const char* picky = getenv("SPFT_EMULATOR_BLAS_PICKY");
  return !picky || !*picky || algorithm[1] == 0 || d.columns % strtoul(picky, nullptr, 10) == 0;
}

// SPFT_EMULATOR_BLAS_CLUSTER=9: the cluster shape of the first suggestion, here 2x4. With one of eight blocks (7, 9) it fails when it is launched.
uint16_t cluster_of(const uint64_t* algorithm) {
  const char* cluster = getenv("SPFT_EMULATOR_BLAS_CLUSTER");
  return cluster && algorithm[1] == 0 ? (uint16_t)atoi(cluster) : 0;
}

std::mutex mutex;
std::set<uint64_t> handles;

template <typename T> int create(uint64_t* handle, T&& contents) {
  if (!handle) return INVALID;
  std::lock_guard<std::mutex> lock(mutex);
  *handle = (uint64_t) new std::decay_t<T>(contents);
  handles.insert(*handle);
  return BLAS_SUCCESS;
}
template <typename T> int destroy(uint64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  if (handles.erase(handle) == 0) return INVALID;
  delete (T*)handle;
  return BLAS_SUCCESS;
}
bool lives(uint64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  return handles.count(handle) != 0;
}

template <typename T> int assign(T& to, const void* value, size_t bytes) {
  if (!value || bytes != sizeof(T)) return INVALID;
  memcpy(&to, value, sizeof(T));
  return BLAS_SUCCESS;
}

int refuse(int status, const char* why) {
  emulator::complain("cublasLtMatmul: %s", why);
  return status;
}

// ---- What goes together ----

size_t bytes_of(int type) { return type == E4M3 ? 1 : type == BF16 ? 2 : 4; }

// Elements from the first to behind the last, of one matrix.
uint64_t extent(const Layout& l) {
  const uint64_t across = l.order == COLUMN ? l.columns : l.rows, along = l.order == COLUMN ? l.rows : l.columns;
  return across == 0 || along == 0 ? 0 : (across - 1) * (uint64_t)l.leading + along;
}

int check_layout(const Layout& l) {
  if (l.type != F32 && l.type != BF16 && l.type != E4M3) return refuse(NOT_SUPPORTED, "only f32, bf16 and e4m3 are emulated");
  if (l.order != COLUMN && l.order != ROW) return refuse(NOT_SUPPORTED, "only the orders COL and ROW are emulated");
  if (l.rows == 0 || l.columns == 0) return refuse(INVALID, "a matrix is empty");
  if (l.leading < (int64_t)(l.order == COLUMN ? l.rows : l.columns)) return refuse(INVALID, "a leading dimension is too small");
  if (l.batches < 1) return refuse(INVALID, "a batch count is below 1");
  return BLAS_SUCCESS;
}

// What 8-bit operands need on compute capability 8.9 and 9.0: both with the inner dimension along their memory, all in units of 16 bytes.
int check_codes(const Description& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  if (a.type != E4M3 || b.type != E4M3) return refuse(NOT_SUPPORTED, "A and B must both be e4m3, or neither");
  const int capability = emulator::capability();
  if (capability < 89) return refuse(NOT_SUPPORTED, "products of e4m3 need compute capability 8.9");
  if (!p.transpose_a || p.transpose_b || a.order != COLUMN || b.order != COLUMN || d.order != COLUMN)
    return refuse(NOT_SUPPORTED, "products of e4m3 are of a transposed A and a plain B, in order COL");
  if (a.rows % 16 || a.leading % 16 || b.leading % 16 || d.rows % 16) return refuse(NOT_SUPPORTED, "a dimension of a product of e4m3 is no multiple of 16");
  if (c.leading * bytes_of(c.type) % 16 || d.leading * bytes_of(d.type) % 16) return refuse(NOT_SUPPORTED, "columns of C or D are not 16 bytes apart");
  if ((d.type != BF16 && d.type != F32) || c.type != d.type) return refuse(NOT_SUPPORTED, "a product of e4m3 must be bf16 or f32");
  if (p.compute != 68) return refuse(NOT_SUPPORTED, "products of e4m3 are computed in f32 (68)");
  if (p.scale_mode_a != p.scale_mode_b) return refuse(NOT_SUPPORTED, "A and B must be scaled alike");
  if (p.scale_mode_a == BY_ROW && capability != 90) return refuse(NOT_SUPPORTED, "scales by row need compute capability 9.0");
  if (p.scale_mode_a == BY_ROW && (!p.scale_a || !p.scale_b)) return refuse(INVALID, "scales by row are wanted and there are none");
  return BLAS_SUCCESS;
}

int check(const Description& p, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  for (const Layout* l : {&a, &b, &c, &d})
    if (int status = check_layout(*l)) return status;
  const uint64_t m = p.transpose_a ? a.columns : a.rows, k = p.transpose_a ? a.rows : a.columns;
  const uint64_t of_k = p.transpose_b ? b.columns : b.rows, n = p.transpose_b ? b.rows : b.columns;
  if (k != of_k) return refuse(INVALID, "the inner sizes differ");
  if (d.rows != m || d.columns != n || c.rows != m || c.columns != n) return refuse(INVALID, "the sizes of C or D are not those of the product");
  if (a.batches != d.batches || b.batches != d.batches || c.batches != d.batches) return refuse(INVALID, "the batch counts differ");
  if (p.compute != 68 && p.compute != 69 && p.compute != 74 && p.compute != 75 && p.compute != 77)
    return refuse(NOT_SUPPORTED, "only computing in f32 (68; 74, 75, 77) is emulated");
  if (p.scale_type != F32) return refuse(NOT_SUPPORTED, "alpha and beta must be f32");
  if (p.pointer_mode != 0) return refuse(NOT_SUPPORTED, "alpha and beta must be on the host");
  if (p.epilogue & ~(EPILOGUE_DEFAULT | RELU | BIAS | GELU)) return refuse(NOT_SUPPORTED, "this epilogue is not emulated");
  if (a.type == E4M3 || b.type == E4M3) return check_codes(p, a, b, c, d);
  if (p.scale_a || p.scale_b) return refuse(NOT_SUPPORTED, "only operands of e4m3 are scaled");
  if (!emulator::flag("SPFT_EMULATOR_BLAS_ANY")) {
    if (a.type != b.type) return refuse(NOT_SUPPORTED, "A and B must be of one type");
    if (c.type != d.type) return refuse(NOT_SUPPORTED, "C and D must be of one type");
    if (a.type == F32 && d.type != F32) return refuse(NOT_SUPPORTED, "the product of f32 must be f32");
  }
  return BLAS_SUCCESS;
}

// ---- The product ----

float load(const void* matrix, int type, uint64_t at) {
  if (type == F32) return ((const float*)matrix)[at];
  if (type == E4M3) {
    const uint8_t code = ((const uint8_t*)matrix)[at];
    const int exponent = code >> 3 & 15, fraction = code & 7;
    if ((code & 0x7f) == 0x7f) return __builtin_nanf("");
    const float size = exponent ? __builtin_ldexpf((float)(8 + fraction), exponent - 10) : __builtin_ldexpf((float)fraction, -9);
    return code & 0x80 ? -size : size;
  }
  const uint32_t bits = (uint32_t)((const uint16_t*)matrix)[at] << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

void store(void* matrix, int type, uint64_t at, float x) {
  if (type == F32) {
    ((float*)matrix)[at] = x;
    return;
  }
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  ((uint16_t*)matrix)[at] = x != x ? 0x7fff : (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

typedef float Vector __attribute__((vector_size(32), aligned(4)));
const size_t TILE_M = 16, TILE_N = 6, BLOCK_K = 256, BLOCK_M = 128;

// sums[n][m] += the product of a panel of A (depth x 16) and one of B (depth x 6).
__attribute__((target_clones("arch=x86-64-v3", "default"))) void multiply_tile(const float* a, const float* b, size_t depth, float* sums) {
  Vector low[TILE_N], high[TILE_N];
  for (size_t n = 0; n < TILE_N; n++) {
    low[n] = *(const Vector*)(sums + n * TILE_M);
    high[n] = *(const Vector*)(sums + n * TILE_M + 8);
  }
  for (size_t k = 0; k < depth; k++) {
    const Vector a_low = *(const Vector*)(a + k * TILE_M), a_high = *(const Vector*)(a + k * TILE_M + 8);
#pragma GCC unroll 6
    for (size_t n = 0; n < TILE_N; n++) {
      const float factor = b[k * TILE_N + n];
      low[n] += a_low * factor;
      high[n] += a_high * factor;
    }
  }
  for (size_t n = 0; n < TILE_N; n++) {
    *(Vector*)(sums + n * TILE_M) = low[n];
    *(Vector*)(sums + n * TILE_M + 8) = high[n];
  }
}

// A matrix as it lies: element (i, j) at i·row + j·column.
struct View {
  const void* data;
  int type;
  uint64_t row, column;
};
View view(const void* data, const Layout& l, bool transposed) {
  const uint64_t row = l.order == COLUMN ? 1 : (uint64_t)l.leading, column = l.order == COLUMN ? (uint64_t)l.leading : 1;
  return transposed ? View{data, l.type, column, row} : View{data, l.type, row, column};
}

// Panels of `tile` neighbours along the first index: panel, then k, then the neighbour; zeros behind the end.
void pack(const View& v, bool first_is_k, size_t from, size_t count, size_t k_from, size_t depth, size_t tile, std::vector<float>& to) {
  const size_t panels = (count + tile - 1) / tile;
  to.assign(panels * tile * depth, 0);
  const uint64_t along = first_is_k ? v.column : v.row, deep = first_is_k ? v.row : v.column;
  const auto at = [&](size_t i, size_t k) -> float& { return to[i / tile * tile * depth + k * tile + i % tile]; };
  if (along <= deep) {
    for (size_t k = 0; k < depth; k++)
      for (size_t i = 0; i < count; i++) at(i, k) = load(v.data, v.type, (from + i) * along + (k_from + k) * deep);
  } else {
    for (size_t i = 0; i < count; i++)
      for (size_t k = 0; k < depth; k++) at(i, k) = load(v.data, v.type, (from + i) * along + (k_from + k) * deep);
  }
}

float finish(const Description& p, float x, size_t row) {
  if (p.epilogue & BIAS) x += load((const void*)p.bias, p.bias_type, row);
  if (p.epilogue & RELU) x = std::max(x, 0.0f);
  if (p.epilogue & GELU) x = 0.5f * x * (1 + __builtin_tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
  return x;
}

void multiply(const Description& p, const View& a, const View& b, size_t m, size_t n, size_t k, float alpha, float beta, const View& c, void* d,
              const View& d_view) {
  const size_t n_panels = (n + TILE_N - 1) / TILE_N, m_panels = (m + TILE_M - 1) / TILE_M;
  std::vector<float> sums(n_panels * m_panels * TILE_N * TILE_M, 0), a_panels, b_panels;
  for (size_t k_from = 0; k_from < k; k_from += BLOCK_K) {
    const size_t depth = std::min(BLOCK_K, k - k_from);
    pack(b, true, 0, n, k_from, depth, TILE_N, b_panels);
    for (size_t m_from = 0; m_from < m; m_from += BLOCK_M) {
      const size_t rows = std::min(BLOCK_M, m - m_from);
      pack(a, false, m_from, rows, k_from, depth, TILE_M, a_panels);
      for (size_t j = 0; j < n_panels; j++)
        for (size_t i = 0; i < (rows + TILE_M - 1) / TILE_M; i++)
          multiply_tile(&a_panels[i * TILE_M * depth], &b_panels[j * TILE_N * depth], depth,
                        &sums[(j * m_panels + m_from / TILE_M + i) * TILE_N * TILE_M]);
    }
  }
  for (size_t j = 0; j < n; j++)
    for (size_t i = 0; i < m; i++) {
      float x = alpha * sums[(j / TILE_N * m_panels + i / TILE_M) * TILE_N * TILE_M + j % TILE_N * TILE_M + i % TILE_M];
      if (p.scale_a) x *= ((const float*)p.scale_a)[p.scale_mode_a == BY_ROW ? i : 0];
      if (p.scale_b) x *= ((const float*)p.scale_b)[p.scale_mode_b == BY_ROW ? j : 0];
      // With beta = 0 C is not read: it may hold a NaN.
      if (beta != 0) x += beta * load(c.data, c.type, i * c.row + j * c.column);
      store(d, d_view.type, i * d_view.row + j * d_view.column, finish(p, x, i));
    }
}

}  // namespace

#define ENTER_BLAS(name) \
  if (int status = emulator::injected(#name)) return status

EXPORT int cublasLtCreate(uint64_t* handle) {
  ENTER_BLAS(cublasLtCreate);
  if (emulator::usable()) return NOT_INITIALIZED_BLAS;
  return create(handle, char());
}
EXPORT int cublasLtDestroy(uint64_t handle) {
  ENTER_BLAS(cublasLtDestroy);
  return destroy<char>(handle);
}
EXPORT size_t cublasLtGetVersion() { return 130000; }
EXPORT size_t cublasLtGetCudartVersion() { return 13000; }
EXPORT const char* cublasLtGetStatusName(int status) {
  switch (status) {
    case 0: return "CUBLAS_STATUS_SUCCESS";
    case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unknown cublas status";
  }
}
EXPORT const char* cublasLtGetStatusString(int status) { return cublasLtGetStatusName(status); }

EXPORT int cublasLtMatmulDescCreate(uint64_t* handle, int compute, int scale_type) {
  ENTER_BLAS(cublasLtMatmulDescCreate);
  Description description;
  description.compute = compute;
  description.scale_type = scale_type;
  return create(handle, description);
}
EXPORT int cublasLtMatmulDescSetAttribute(uint64_t handle, int attribute, const void* value, size_t bytes) {
  ENTER_BLAS(cublasLtMatmulDescSetAttribute);
  if (!lives(handle)) return INVALID;
  Description& p = *(Description*)handle;
  int transpose = 0;
  int8_t fast = 0;
  switch (attribute) {
    case 0: return assign(p.compute, value, bytes);
    case 1: return assign(p.scale_type, value, bytes);
    case 2: return assign(p.pointer_mode, value, bytes);
    case 3: case 4: case 5:  // TRANSA, TRANSB, TRANSC
      if (int status = assign(transpose, value, bytes)) return status;
      if (transpose < 0 || transpose > 2 || (attribute == 5 && transpose != 0)) return INVALID;
      if (attribute != 5) (attribute == 3 ? p.transpose_a : p.transpose_b) = transpose != 0;
      return BLAS_SUCCESS;
    case 7: return assign(p.epilogue, value, bytes);
    case 8: return assign(p.bias, value, bytes);
    case 15:  // SM_COUNT_TARGET
      if (int status = assign(transpose, value, bytes)) return status;
      return transpose >= 0 ? BLAS_SUCCESS : INVALID;
    case 17: return assign(p.scale_a, value, bytes);
    case 18: return assign(p.scale_b, value, bytes);
    case 31: case 32:  // A_SCALE_MODE, B_SCALE_MODE
      if (int status = assign(transpose, value, bytes)) return status;
      if (transpose != SCALAR && transpose != BY_ROW) return refuse(NOT_SUPPORTED, "only scales that are scalars or by row are emulated");
      (attribute == 31 ? p.scale_mode_a : p.scale_mode_b) = transpose;
      return BLAS_SUCCESS;
    case 25: return assign(fast, value, bytes);  // FAST_ACCUM
    case 26: return assign(p.bias_type, value, bytes);
    default: return refuse(NOT_SUPPORTED, "this attribute of the product is not emulated");
  }
}
EXPORT int cublasLtMatmulDescDestroy(uint64_t handle) {
  ENTER_BLAS(cublasLtMatmulDescDestroy);
  return destroy<Description>(handle);
}

EXPORT int cublasLtMatrixLayoutCreate(uint64_t* handle, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  ENTER_BLAS(cublasLtMatrixLayoutCreate);
  Layout layout;
  layout.type = type;
  layout.rows = rows;
  layout.columns = columns;
  layout.leading = leading;
  return create(handle, layout);
}
EXPORT int cublasLtMatrixLayoutSetAttribute(uint64_t handle, int attribute, const void* value, size_t bytes) {
  ENTER_BLAS(cublasLtMatrixLayoutSetAttribute);
  if (!lives(handle)) return INVALID;
  Layout& l = *(Layout*)handle;
  switch (attribute) {
    case 0: return assign(l.type, value, bytes);
    case 1: return assign(l.order, value, bytes);
    case 2: return assign(l.rows, value, bytes);
    case 3: return assign(l.columns, value, bytes);
    case 4: return assign(l.leading, value, bytes);
    case 5: return assign(l.batches, value, bytes);
    case 6: return assign(l.batch_stride, value, bytes);
    default: return refuse(NOT_SUPPORTED, "this attribute of a layout is not emulated");
  }
}
EXPORT int cublasLtMatrixLayoutDestroy(uint64_t handle) {
  ENTER_BLAS(cublasLtMatrixLayoutDestroy);
  return destroy<Layout>(handle);
}

EXPORT int cublasLtMatmulPreferenceCreate(uint64_t* handle) {
  ENTER_BLAS(cublasLtMatmulPreferenceCreate);
  return create(handle, Preference());
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(uint64_t handle, int attribute, const void* value, size_t bytes) {
  ENTER_BLAS(cublasLtMatmulPreferenceSetAttribute);
  if (!lives(handle)) return INVALID;
  if (attribute == 1) return assign(((Preference*)handle)->workspace, value, bytes);
  return attribute >= 0 && attribute <= 11 && value ? BLAS_SUCCESS : INVALID;
}
EXPORT int cublasLtMatmulPreferenceDestroy(uint64_t handle) {
  ENTER_BLAS(cublasLtMatmulPreferenceDestroy);
  return destroy<Preference>(handle);
}

// Two suggestions where there is the workspace for the second one.
EXPORT int cublasLtMatmulAlgoGetHeuristic(uint64_t handle, uint64_t description, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t preference,
                                          int wanted, Heuristic* results, int* found) {
  ENTER_BLAS(cublasLtMatmulAlgoGetHeuristic);
  for (uint64_t each : {handle, description, a, b, c, d, preference})
    if (!lives(each)) return INVALID;
  if (wanted < 1 || !results || !found) return INVALID;
  *found = 0;
  if (int status = check(*(Description*)description, *(Layout*)a, *(Layout*)b, *(Layout*)c, *(Layout*)d)) return status;
  const uint64_t second[] = {ALGORITHM_MAGIC, 1};
  const bool two = ((Preference*)preference)->workspace >= WORKSPACE_OF_SECOND && suits(second, *(Layout*)d);
  const int there = std::min(wanted, two ? 2 : 1);
  for (int i = 0; i < there; i++) {
    const size_t first = ((Preference*)preference)->workspace >= WORKSPACE_OF_FIRST ? WORKSPACE_OF_FIRST : 0;
    results[i] = Heuristic{{ALGORITHM_MAGIC, (uint64_t)i}, i == 1 ? WORKSPACE_OF_SECOND : first, BLAS_SUCCESS, 1.0f, {}};
    results[i].algorithm[2] = results[i].workspace;
  }
  *found = there;
  return BLAS_SUCCESS;
}

// What the settings of an algorithm are: its number, and nothing else to be set but the cluster shape.
EXPORT int cublasLtMatmulAlgoConfigGetAttribute(const uint64_t* algorithm, int setting, void* value, size_t bytes, size_t* written) {
  ENTER_BLAS(cublasLtMatmulAlgoConfigGetAttribute);
  const size_t sizes[] = {4, 4, 4, 4, 4, 4, 4, 2, 2};
  if (!algorithm || algorithm[0] != ALGORITHM_MAGIC || setting < 0 || setting > 8 || !value || bytes < sizes[setting]) return INVALID;
  memset(value, 0, sizes[setting]);
  if (setting == 0) memcpy(value, &algorithm[1], 4);
  if (setting == 8) {
    const uint16_t shape = cluster_of(algorithm);
    memcpy(value, &shape, 2);
  }
  if (written) *written = sizes[setting];
  return BLAS_SUCCESS;
}

EXPORT int cublasLtMatmulAlgoCheck(uint64_t handle, uint64_t description, uint64_t a, uint64_t b, uint64_t c, uint64_t d, const uint64_t* algorithm,
                                   Heuristic* result) {
  ENTER_BLAS(cublasLtMatmulAlgoCheck);
  for (uint64_t each : {handle, description, a, b, c, d})
    if (!lives(each)) return INVALID;
  if (!algorithm || algorithm[0] != ALGORITHM_MAGIC || !result) return INVALID;
  if (int status = check(*(Description*)description, *(Layout*)a, *(Layout*)b, *(Layout*)c, *(Layout*)d)) return status;
  *result = Heuristic{{algorithm[0], algorithm[1], algorithm[2]}, algorithm[2], BLAS_SUCCESS, 1.0f, {}};
  return BLAS_SUCCESS;
}

EXPORT int cublasLtMatmul(uint64_t handle, uint64_t description, const float* alpha, uint64_t a, uint64_t layout_a, uint64_t b, uint64_t layout_b,
                          const float* beta, uint64_t c, uint64_t layout_c, uint64_t d, uint64_t layout_d, const uint64_t* algorithm,
                          uint64_t workspace, size_t workspace_bytes, uint64_t stream) {
  if (emulator::idle()) return BLAS_SUCCESS;
  ENTER_BLAS(cublasLtMatmul);
  if (emulator::usable()) return EXECUTION_FAILED;
  for (uint64_t each : {handle, description, layout_a, layout_b, layout_c, layout_d})
    if (!lives(each)) return refuse(INVALID, "a handle is not alive");
  if (!alpha || !beta) return refuse(INVALID, "alpha or beta is null");
  Description p = *(Description*)description;
  const Layout &la = *(Layout*)layout_a, &lb = *(Layout*)layout_b, &lc = *(Layout*)layout_c, &ld = *(Layout*)layout_d;
  if (int status = check(p, la, lb, lc, ld)) return status;
  if (algorithm) {
    if (algorithm[0] != ALGORITHM_MAGIC) return refuse(INVALID, "the algorithm is not one of the heuristic's");
    if (workspace_bytes < algorithm[2]) return refuse(INVALID, "the workspace is too small for the algorithm");
    const uint16_t cluster = cluster_of(algorithm);
    if (!suits(algorithm, ld) || cluster == 7 || cluster == 9) return EXECUTION_FAILED;
  }
  if (workspace_bytes && !emulator::is_device_memory(workspace, workspace_bytes)) return refuse(INVALID, "the workspace is not within an allocation");
  const struct {
    uint64_t address;
    const Layout& layout;
    bool used;
  } matrices[] = {{a, la, *alpha != 0}, {b, lb, *alpha != 0}, {c, lc, *beta != 0}, {d, ld, true}};
  for (const auto& matrix : matrices) {
    const Layout& l = matrix.layout;
    if (!matrix.used) continue;
    if (l.batch_stride < 0) return refuse(NOT_SUPPORTED, "a negative batch stride");
    if (matrix.address % bytes_of(l.type) != 0) return refuse(INVALID, "a matrix is not aligned to its numbers");
    if (!emulator::is_device_memory(matrix.address, ((uint64_t)(l.batches - 1) * (uint64_t)l.batch_stride + extent(l)) * bytes_of(l.type)))
      return refuse(EXECUTION_FAILED, "a matrix does not lie within an allocation of the device");
  }
  if (p.epilogue & BIAS) {
    if (p.bias_type < 0) p.bias_type = ld.type;
    if (!emulator::is_device_memory(p.bias, ld.rows * bytes_of(p.bias_type))) return refuse(INVALID, "the bias does not lie within an allocation");
  }
  const struct {
    uint64_t address;
    uint64_t count;
    int mode;
  } scales[] = {{p.scale_a, ld.rows, p.scale_mode_a}, {p.scale_b, ld.columns, p.scale_mode_b}};
  for (const auto& scale : scales) {
    if (!scale.address) continue;
    if (scale.mode == BY_ROW && scale.address % 16) return refuse(NOT_SUPPORTED, "scales by row do not begin at a multiple of 16 bytes");
    if (scale.address % 4 || !emulator::is_device_memory(scale.address, 4 * (scale.mode == BY_ROW ? scale.count : 1)))
      return refuse(INVALID, "scales do not lie within an allocation");
  }
  if (la.type == E4M3)
    for (uint64_t address : {a, b, c, d})
      if (address % 16) return refuse(NOT_SUPPORTED, "a matrix of a product of e4m3 does not begin at a multiple of 16 bytes");
  // C may be D, but only where both lie alike.
  if (*beta != 0 && c == d && (lc.leading != ld.leading || lc.order != ld.order)) return refuse(INVALID, "C and D are in one place but lie differently");

  const bool counts = algorithm && algorithm[2] == WORKSPACE_OF_FIRST;
  if (counts) {
    const emulator::Fill fill{workspace, 0, 1, WORKSPACE_OF_FIRST};
    const auto clear = [workspace] { return memset((void*)workspace, 0, WORKSPACE_OF_FIRST), (int)BLAS_SUCCESS; };
    if (int status = emulator::submit(stream, clear, fill)) return status;
  }
  // What is pointed to may change or be gone when the product is computed.
  return emulator::submit(stream, [=, alpha = *alpha, beta = *beta, la = la, lb = lb, lc = lc, ld = ld] {
    if (counts && (*(uint64_t*)workspace)++ != 0) {
      emulator::complain("cublasLtMatmul: a product's counter was not cleared before it");
      return (int)LAUNCH_FAILED;
    }
    const size_t m = ld.rows, n = ld.columns, k = p.transpose_a ? la.rows : la.columns;
    for (int i = 0; i < ld.batches; i++) {
      const auto at = [&](uint64_t address, const Layout& l) { return (void*)(address + (uint64_t)i * (uint64_t)l.batch_stride * bytes_of(l.type)); };
      multiply(p, view(at(a, la), la, p.transpose_a), view(at(b, lb), lb, p.transpose_b), m, n, k, alpha, beta, view(at(c, lc), lc, false), at(d, ld),
               view(nullptr, ld, false));
    }
    return (int)BLAS_SUCCESS;
  });
}
