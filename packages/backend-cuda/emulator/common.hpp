// What all three fake libraries share: settings from the environment, messages, and injected failures.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace emulator {

// Read at every use, so that a test may change them while it runs.
inline bool flag(const char* name) {
  const char* value = getenv(name);
  return value && *value && strcmp(value, "0") != 0;
}

// Whether launches, products and copies to the device are not done, nor looked at: what the host takes for them is measured so.
inline bool idle() {
  static const bool wanted = flag("SPFT_EMULATOR_IDLE");
  return wanted;
}

// Statuses are as poor as the real ones; what is wrong in detail goes to stderr.
__attribute__((format(printf, 1, 2))) inline void complain(const char* format, ...) {
  if (flag("SPFT_EMULATOR_QUIET")) return;
  va_list arguments;
  va_start(arguments, format);
  char text[2048];
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "spft emulator: %s\n", text);
}

// SPFT_EMULATOR_FAIL=cuLaunchKernel:3:700,cuMemAllocAsync:1+:2: the third launch fails with 700, every allocation with 2. Calls are counted from
// when the variable was last changed.
inline int injected(const char* function) {
  static std::mutex mutex;
  static std::string seen;
  static std::map<std::string, long> calls;
  const char* wanted = getenv("SPFT_EMULATOR_FAIL");
  if (!wanted || !*wanted) {
    if (!seen.empty()) {
      std::lock_guard<std::mutex> lock(mutex);
      seen.clear();
      calls.clear();
    }
    return 0;
  }
  std::lock_guard<std::mutex> lock(mutex);
  if (seen != wanted) {
    seen = wanted;
    calls.clear();
  }
  const long call = ++calls[function];
  const size_t length = strlen(function);
  for (const char* rule = wanted; rule; rule = strchr(rule, ',') ? strchr(rule, ',') + 1 : nullptr) {
    if (strncmp(rule, function, length) != 0 || rule[length] != ':') continue;
    char* end;
    const long nth = strtol(rule + length + 1, &end, 10);
    const bool onward = *end == '+';
    if (onward) end++;
    if (*end == ':' && (onward ? call >= nth : call == nth)) return (int)strtol(end + 1, nullptr, 10);
  }
  return 0;
}

}  // namespace emulator
