// Copies and fills. Device addresses must lie within one allocation.
#include <vector>

#include "driver.hpp"

using namespace emulator;

namespace {

bool on_device(const char* function, uint64_t address, size_t bytes) {
  if (is_device_memory(address, bytes)) return true;
  complain("%s: %zu bytes at 0x%llx are not within an allocation of the device", function, bytes, (unsigned long long)address);
  return false;
}

int check(const char* function, uint64_t to, bool to_device, uint64_t from, bool from_device, size_t bytes) {
  if (to_device && !on_device(function, to, bytes)) return INVALID_VALUE;
  if (from_device && !on_device(function, from, bytes)) return INVALID_VALUE;
  // The host's side must be of the host: the real driver would take either by unified addressing, but no one means that.
  if (!to_device && (to == 0 || is_device_memory(to, 1))) return INVALID_VALUE;
  if (!from_device && (from == 0 || is_device_memory(from, 1))) return INVALID_VALUE;
  return SUCCESS;
}

int copy(const char* function, uint64_t to, bool to_device, uint64_t from, bool from_device, size_t bytes) {
  if (bytes == 0) return SUCCESS;
  if (int status = check(function, to, to_device, from, from_device, bytes)) return status;
  memmove((void*)to, (const void*)from, bytes);
  return SUCCESS;
}

int copy_later(const char* function, uint64_t to, bool to_device, uint64_t from, bool from_device, size_t bytes, uint64_t stream) {
  if (bytes == 0) return SUCCESS;
  if (idle()) {
    // The device's memory stays zeros.
    if (!to_device) memcpy((void*)to, (const void*)from, bytes);
    return SUCCESS;
  }
  if (int status = check(function, to, to_device, from, from_device, bytes)) return status;
  // From memory that is not page-locked the driver copies before it returns, to such memory it waits.
  if (!from_device && !is_pinned_memory(from, bytes)) {
    if (is_captured(stream)) return refuse_in_capture(stream, function, "copies from memory that is not page-locked");
    const std::vector<char> staged((const char*)from, (const char*)from + bytes);
    return submit(stream, [=] {
      memcpy((void*)to, staged.data(), bytes);
      return SUCCESS;
    });
  }
  const int status = submit(stream, [=] {
    memmove((void*)to, (const void*)from, bytes);
    return SUCCESS;
  });
  if (!to_device && !is_pinned_memory(to, bytes)) {
    if (is_captured(stream)) return refuse_in_capture(stream, function, "copies to memory that is not page-locked");
    finish_work();
  }
  return status;
}

template <typename T> int fill_later(const char* function, uint64_t to, T value, size_t count, uint64_t stream) {
  if (count == 0 || idle()) return SUCCESS;
  if (to % sizeof(T) != 0) return INVALID_VALUE;
  if (!on_device(function, to, count * sizeof(T))) return INVALID_VALUE;
  const auto fill = [=] {
    for (size_t i = 0; i < count; i++) ((T*)to)[i] = value;
    return SUCCESS;
  };
  return submit(stream, fill, Fill{to, value, sizeof(T), count * sizeof(T)});
}

}  // namespace

#define COPY(name, to_device, from_device)                                    \
  EXPORT int name##_v2(uint64_t to, uint64_t from, size_t bytes) {            \
    ENTER_WAITING(name##_v2);                                                 \
    return copy(#name "_v2", to, to_device, from, from_device, bytes);        \
  }                                                                           \
  EXPORT int name##Async_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream) { \
    ENTER(name##Async_v2);                                                    \
    if (!is_stream(stream)) return INVALID_HANDLE;                            \
    return copy_later(#name "Async_v2", to, to_device, from, from_device, bytes, stream); \
  }
COPY(cuMemcpyHtoD, true, false)
COPY(cuMemcpyDtoH, false, true)
COPY(cuMemcpyDtoD, true, true)

#define FILL(name, suffix, type)                                              \
  EXPORT int name##suffix(uint64_t to, type value, size_t count) {            \
    ENTER_WAITING(name##suffix);                                              \
    const int status = fill_later<type>(#name, to, value, count, 0);           \
    finish_work();                                                            \
    return status;                                                            \
  }                                                                           \
  EXPORT int name##Async(uint64_t to, type value, size_t count, uint64_t stream) { \
    ENTER(name##Async);                                                       \
    if (!is_stream(stream)) return INVALID_HANDLE;                            \
    return fill_later<type>(#name "Async", to, value, count, stream);               \
  }
FILL(cuMemsetD8, _v2, uint8_t)
FILL(cuMemsetD16, _v2, uint16_t)
FILL(cuMemsetD32, _v2, uint32_t)

namespace {

// CUDA_MEMCPY2D.
struct Copy2d {
  size_t from_x, from_y;
  int from_kind;
  const void* from_host;
  uint64_t from_device;
  void* from_array;
  size_t from_pitch;
  size_t to_x, to_y;
  int to_kind;
  void* to_host;
  uint64_t to_device;
  void* to_array;
  size_t to_pitch;
  size_t width, height;
};
enum Kind { HOST = 1, DEVICE = 2 };

int copy_2d(const char* function, const Copy2d* c) {
  if (!c || (c->from_kind != HOST && c->from_kind != DEVICE) || (c->to_kind != HOST && c->to_kind != DEVICE)) return INVALID_VALUE;
  const size_t from_pitch = c->from_pitch ? c->from_pitch : c->from_x + c->width, to_pitch = c->to_pitch ? c->to_pitch : c->to_x + c->width;
  if (from_pitch < c->from_x + c->width || to_pitch < c->to_x + c->width) return INVALID_VALUE;
  const uint64_t from = c->from_kind == DEVICE ? c->from_device : (uint64_t)c->from_host;
  const uint64_t to = c->to_kind == DEVICE ? c->to_device : (uint64_t)c->to_host;
  for (size_t row = 0; row < c->height; row++)
    if (int status = copy(function, to + (c->to_y + row) * to_pitch + c->to_x, c->to_kind == DEVICE,
                          from + (c->from_y + row) * from_pitch + c->from_x, c->from_kind == DEVICE, c->width))
      return status;
  return SUCCESS;
}

}  // namespace

EXPORT int cuMemcpy2D_v2(const Copy2d* description) {
  ENTER_WAITING(cuMemcpy2D_v2);
  return copy_2d("cuMemcpy2D_v2", description);
}
EXPORT int cuMemcpy2DAsync_v2(const Copy2d* description, uint64_t stream) {
  ENTER_WAITING(cuMemcpy2DAsync_v2);
  if (!is_stream(stream)) return INVALID_HANDLE;
  return copy_2d("cuMemcpy2DAsync_v2", description);
}
