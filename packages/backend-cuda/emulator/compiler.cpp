// libnvrtc.so: compiles CUDA C++ for the host with g++. The "machine code" of a program is a shared object that exports `spft_module`.
//
// Two steps: the source is preprocessed, so that kernels which macros wrote are found too and one hash covers all headers; then the result, with
// a table of its kernels behind it, is compiled, unless the cache has it. The source lies in an anonymous namespace: nothing that it defines is
// exported or merged with another's, and what is not used is not compiled.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "common.hpp"

extern char** environ;

namespace {

enum Result { SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6, INTERNAL_ERROR = 11 };

struct Program {
  std::string source, name, log, image;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
};

std::mutex mutex;
std::set<uint64_t> programs;

Program* find(uint64_t handle) {
  std::lock_guard<std::mutex> lock(mutex);
  return programs.count(handle) ? (Program*)handle : nullptr;
}

// ---- Files and processes ----

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void make_folders(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) mkdir(path.substr(0, at).c_str(), 0777);
  mkdir(path.c_str(), 0777);
}

// Beside, then renamed: another process may want the same file at the same time.
bool write_file(const std::string& path, const std::string& text) {
  const std::string beside = path + "." + std::to_string(getpid()) + "-" + std::to_string((unsigned long long)&text) + ".part";
  {
    std::ofstream file(beside, std::ios::binary);
    file << text;
    if (!file.flush()) return false;
  }
  return rename(beside.c_str(), path.c_str()) == 0;
}

std::string cache_folder() {
  const char* wanted = getenv("SPFT_EMULATOR_CACHE");
  if (wanted && *wanted) return wanted;
  const char* temporary = getenv("TMPDIR");
  return std::string(temporary && *temporary ? temporary : "/tmp") + "/spft-emulator-cache-" + std::to_string(getuid());
}

// The folder of this library, which has the headers beside it.
std::string own_folder() {
  Dl_info info;
  dladdr((void*)own_folder, &info);
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  char* real = realpath(slash == std::string::npos ? "." : path.substr(0, slash).c_str(), nullptr);
  const std::string folder = real ? real : ".";
  free(real);
  return folder;
}

// Runs a program with files as its input and for what it says; returns its exit status, or -1 when it could not be started.
int run(const std::vector<std::string>& command, const std::string& input, const std::string& messages) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back((char*)word.c_str());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, input.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  // Node ignores or blocks signals that the compiler wants.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child;
  const int failed = posix_spawnp(&child, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A folder that is gone when it goes out of scope.
struct WorkFolder {
  std::string path;
  explicit WorkFolder(const std::string& within) {
    std::string pattern = within + "/work-XXXXXX";
    if (mkdtemp(pattern.data())) path = pattern;
  }
  ~WorkFolder() {
    if (path.empty()) return;
    for (const char* name : {"source", "unit.ii", "messages", "image.so"}) unlink((path + "/" + name).c_str());
    rmdir(path.c_str());
  }
};

// 128 bits of FNV-1a.
std::string hash(const std::string& text) {
  unsigned __int128 state = ((unsigned __int128)0x6c62272e07bb0142ull << 64) | 0x62b821756295c58dull;
  const unsigned __int128 prime = ((unsigned __int128)0x1000000ull << 64) | 0x13bull;
  for (const unsigned char byte : text) state = (state ^ byte) * prime;
  char digits[33];
  snprintf(digits, sizeof digits, "%016llx%016llx", (unsigned long long)(state >> 64), (unsigned long long)state);
  return digits;
}

// ---- Options ----

struct Options {
  std::vector<std::string> folders;
  // Lines before the source, not options of g++: a definition of `T` or `A` must not meddle with emulated.cuh.
  std::string definitions;
  int architecture = 75;  // NVRTC's default
  bool specific = false;  // of that architecture alone, as sm_90a
  bool valid = true;
};

bool starts_with(const std::string& text, const char* with) { return text.compare(0, strlen(with), with) == 0; }

// NAME, NAME=VALUE or NAME(X)=VALUE.
std::string define(const std::string& option) {
  const size_t equals = option.find('=');
  const std::string name = option.substr(0, equals), value = equals == std::string::npos ? "1" : option.substr(equals + 1);
  return "#undef " + name.substr(0, name.find('(')) + "\n#define " + name + " " + value + "\n";
}

Options read_options(const std::vector<std::string>& given, std::string& log) {
  // Taken and without effect here.
  static const char* ignored[] = {"--std", "-std", "--use_fast_math", "-use_fast_math", "--fmad", "-fmad", "--ftz", "-ftz", "--prec-", "-prec-",
                                  "--extra-device-vectorization", "-extra-device-vectorization", "--maxrregcount", "-maxrregcount",
                                  "--generate-line-info", "-lineinfo", "--device-debug", "-G", "--restrict", "-restrict", "--device-as-default",
                                  "-default-device", "--disable-warnings", "-w", "--diag-", "-diag-", "--display-error-number", "-err-no",
                                  "--split-compile", "-split-compile", "--minimal", "-minimal", "--no-cache", "-no-cache", "--dopt", "-dopt",
                                  "--ptxas-options", "-Xptxas", "--optimization-info", "--builtin-", "--no-source-include", "-no-source-include"};
  Options options;
  const auto value_of = [&](size_t& at, const char* name) -> std::string {
    const std::string& option = given[at];
    if (option.size() > strlen(name)) return option.substr(strlen(name) + (option[strlen(name)] == '=' ? 1 : 0));
    return at + 1 < given.size() ? given[++at] : "";
  };
  for (size_t i = 0; i < given.size(); i++) {
    std::string option = given[i];
    while (!option.empty() && option.back() == ' ') option.pop_back();
    const auto is = [&](const char* name) { return starts_with(option, name); };
    if (is("--gpu-architecture") || is("-arch")) {
      const std::string value = value_of(i, is("-arch") ? "-arch" : "--gpu-architecture");
      const size_t digits = value.find('_');
      if (digits == std::string::npos || !isdigit((unsigned char)value[digits + 1])) options.valid = false;
      else options.architecture = atoi(value.c_str() + digits + 1);
      options.specific = !value.empty() && value.back() == 'a';
    } else if (is("--include-path")) {
      options.folders.push_back("-I" + value_of(i, "--include-path"));
    } else if (is("--define-macro")) {
      options.definitions += define(value_of(i, "--define-macro"));
    } else if (is("--undefine-macro")) {
      options.definitions += "#undef " + value_of(i, "--undefine-macro") + "\n";
    } else if (is("--pre-include")) {
      options.definitions += "#include \"" + value_of(i, "--pre-include") + "\"\n";
    } else if (is("-I")) {
      options.folders.push_back("-I" + value_of(i, "-I"));
    } else if (is("-D")) {
      options.definitions += define(value_of(i, "-D"));
    } else if (is("-U")) {
      options.definitions += "#undef " + value_of(i, "-U") + "\n";
    } else {
      bool known = false;
      for (const char* name : ignored) known = known || is(name);
      options.valid = options.valid && known;
    }
    if (!options.valid) {
      log = "nvrtc: error: invalid option: " + given[i];
      break;
    }
  }
  return options;
}

// ---- Kernels ----

struct Kernel {
  std::string name, bounds, cluster;
};

size_t skip_space(const std::string& text, size_t at) {
  for (;;) {
    while (at < text.size() && isspace((unsigned char)text[at])) at++;
    // A line marker of the preprocessor.
    if (at < text.size() && text[at] == '#' && (at == 0 || text[at - 1] == '\n')) at = text.find('\n', at);
    else return at;
    if (at == std::string::npos) return text.size();
  }
}

// Where the bracket at `at` closes.
size_t closing(const std::string& text, size_t at) {
  int depth = 0;
  for (; at < text.size(); at++) {
    if (text[at] == '(') depth++;
    if (text[at] == ')' && --depth == 0) return at;
  }
  return text.size();
}

// The functions with the attribute that __global__ became, declared extern "C"; the bounds that stand between it and the name. Both attributes
// are blanked out, as g++ does not know them.
std::vector<Kernel> find_kernels(std::string& text) {
  static const std::string kernel_mark = "__attribute__((spft_kernel))", bounds_mark = "__attribute__((spft_bounds(",
                           cluster_mark = "__attribute__((spft_cluster(";
  std::vector<Kernel> kernels;
  std::set<std::string> names;
  for (size_t mark = text.find(kernel_mark); mark != std::string::npos; mark = text.find(kernel_mark, mark)) {
    // What the declaration begins with.
    const size_t begin = text.find_last_of(";}{>", mark) == std::string::npos ? 0 : text.find_last_of(";}{>", mark) + 1;
    const bool of_c = text.substr(begin, mark - begin).find("extern \"C\"") != std::string::npos;
    text.replace(mark, kernel_mark.size(), kernel_mark.size(), ' ');
    Kernel kernel;
    size_t at = mark;
    for (;;) {
      at = skip_space(text, at);
      const bool bounds = text.compare(at, bounds_mark.size(), bounds_mark) == 0;
      if (bounds || text.compare(at, cluster_mark.size(), cluster_mark) == 0) {
        const size_t open = at + (bounds ? bounds_mark : cluster_mark).size() - 1, close = closing(text, open), end = closing(text, at + strlen("__attribute__"));
        (bounds ? kernel.bounds : kernel.cluster) = text.substr(open + 1, close - open - 1);
        for (size_t i = at; i <= end && i < text.size(); i++)
          if (text[i] != '\n') text[i] = ' ';
        at = end + 1;
        continue;
      }
      size_t end = at;
      while (end < text.size() && (isalnum((unsigned char)text[end]) || text[end] == '_')) end++;
      if (end == at) break;
      kernel.name = text.substr(at, end - at);
      at = end;
    }
    // Declarations without a body count as well: the definition has the same name.
    if (of_c && !kernel.name.empty() && text[at] == '(' && names.insert(kernel.name).second) kernels.push_back(kernel);
  }
  // Bounds that stand before __global__, or at no kernel.
  for (const std::string& left : {bounds_mark, cluster_mark})
    for (size_t at = text.find(left); at != std::string::npos; at = text.find(left, at)) {
      const size_t end = closing(text, at + strlen("__attribute__"));
      for (size_t i = at; i <= end && i < text.size(); i++)
        if (text[i] != '\n') text[i] = ' ';
    }
  return kernels;
}

// What stands behind the source: the table of its kernels, and the module's.
std::string table(const std::vector<Kernel>& kernels, int architecture) {
  std::ostringstream text;
  text << "\n# 1 \"<kernels>\"\nnamespace {\n";
  for (const Kernel& kernel : kernels)
    text << "void " << kernel.name << "__launch(void** parameters) { spft_call(" << kernel.name << ", parameters); }\n";
  text << "const SpftKernel spft_kernels[] = {\n";
  for (const Kernel& kernel : kernels)
    text << "{\"" << kernel.name << "\", " << kernel.name << "__launch, spft_parameters(" << kernel.name << "), spft_parameter_bytes("
         << kernel.name << "), spft_bound(" << kernel.bounds << "), spft_cluster(" << kernel.cluster << ")},\n";
  text << "{nullptr, nullptr, 0, nullptr, 0, 1}};\n}\n"
       << "extern \"C\" __attribute__((visibility(\"default\"))) const SpftModule spft_module = {SPFT_INTERFACE_VERSION, " << architecture
       << ", &threadIdx, &blockIdx, &blockDim, &gridDim, &spft_dynamic_shared, __start_spft_shared, __stop_spft_shared, &spft_runtime, spft_kernels, "
       << kernels.size() << "};\n";
  return text.str();
}

// ---- Compiling ----

std::vector<std::string> code_options() {
  std::vector<std::string> options = {
      "-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-pipe", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables",
      "-fno-threadsafe-statics", "-fno-math-errno", "-fno-trapping-math",
      // CUDA's compiler lets pointers of different types point to the same thing.
      "-fno-strict-aliasing",
      // The same results on every host.
      "-ffp-contract=off",
      // fail() leaves kernels by a switch of stacks.
      "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-Wl,-z,defs"};
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) options.insert(options.end(), {"-mavx2", "-mfma"});
#endif
  if (emulator::flag("SPFT_EMULATOR_SANITIZE"))
    options.insert(options.end(), {"-fsanitize=bounds,alignment,shift,integer-divide-by-zero,vla-bound", "-fsanitize-undefined-trap-on-error"});
  if (emulator::flag("SPFT_EMULATOR_PROXY"))
    // A call of emulated.cuh's functions before every store.
    options.insert(options.end(), {"-fsanitize=kernel-address", "--param=asan-instrumentation-with-call-threshold=0",
                                   "--param=asan-instrument-reads=0", "--param=asan-globals=0", "--param=asan-stack=0"});
  return options;
}

Result compile(Program& program, const std::vector<std::string>& given) {
  program.log.clear();
  program.image.clear();
  const Options options = read_options(given, program.log);
  if (!options.valid) return INVALID_OPTION;
  const char* wanted = getenv("CXX");
  const std::string compiler = wanted && *wanted ? wanted : "g++", cache = cache_folder(), own = own_folder();
  make_folders(cache);
  const WorkFolder work(cache);
  if (work.path.empty()) {
    program.log = "emulator: cannot write to " + cache;
    return INTERNAL_ERROR;
  }

  std::vector<std::string> command = {compiler, "-E", "-x", "c++", "-std=c++17", "-w", "-DSPFT_EMULATED=1", "-D__CUDACC__=1", "-D__CUDACC_RTC__=1",
                                      "-D__CUDA_ARCH__=" + std::to_string(options.architecture * 10), "-I" + own};
  if (emulator::flag("SPFT_EMULATOR_PROXY")) command.push_back("-DSPFT_EMULATED_STORES=1");
  if (options.specific) command.push_back("-D__CUDA_ARCH_FEAT_SM" + std::to_string(options.architecture) + "_ALL=1");
  if (!program.headers.empty()) {
    // In a folder named by what is in it, so that the same headers have the same path in the preprocessed source, which is the cache's key.
    std::string all;
    for (const auto& [name, text] : program.headers) all += name + '\0' + text + '\0';
    const std::string folder = cache + "/headers-" + hash(all);
    for (const auto& [name, text] : program.headers) {
      const std::string path = folder + "/" + name;
      make_folders(path.substr(0, path.rfind('/')));
      if (access(path.c_str(), R_OK) != 0 && !write_file(path, text)) return INTERNAL_ERROR;
    }
    command.push_back("-I" + folder);
  }
  command.insert(command.end(), options.folders.begin(), options.folders.end());
  const std::string unit = work.path + "/unit.ii", messages = work.path + "/messages", source = work.path + "/source", image = work.path + "/image.so";
  command.insert(command.end(), {"-", "-o", unit});
  std::ofstream(source, std::ios::binary) << "#include \"" << own << "/emulated.cuh\"\n" << options.definitions << "namespace {\n#line 1 \"" << program.name << "\"\n"
                                          << program.source << "\n}\n";
  const int preprocessed = run(command, source, messages);
  program.log = read_file(messages);
  if (preprocessed == -1) program.log = "emulator: cannot run " + compiler;
  if (preprocessed != 0) return COMPILATION;

  std::string text = read_file(unit);
  const std::vector<Kernel> kernels = find_kernels(text);
  text += table(kernels, options.architecture);
  command = {compiler};
  const std::vector<std::string> code = code_options();
  command.insert(command.end(), code.begin(), code.end());
  std::string key = text;
  for (const std::string& word : command) key += '\0' + word;
  const std::string cached = cache + "/" + hash(key) + ".so";
  program.image = read_file(cached);
  if (!program.image.empty()) return SUCCESS;

  std::ofstream(unit, std::ios::binary) << text;
  command.insert(command.end(), {unit, "-o", image, "-lm"});
  const int compiled = run(command, "/dev/null", messages);
  program.log = read_file(messages);
  if (compiled == -1) program.log = "emulator: cannot run " + compiler;
  if (compiled != 0) return COMPILATION;
  program.image = read_file(image);
  rename(image.c_str(), cached.c_str());
  return SUCCESS;
}

}  // namespace

#define ENTER(name) \
  if (int status = emulator::injected(#name)) return status
#define ENTER_PROGRAM(name)               \
  ENTER(name);                            \
  Program* const program = find(handle);  \
  if (!program) return INVALID_PROGRAM

// The minor version stands for all that the code of a kernel depends on beside its source: caches of compiled kernels have it in their keys, so
// they neither confuse the emulator with a real compiler nor one state of it with another.
EXPORT int nvrtcVersion(int* major, int* minor) {
  ENTER(nvrtcVersion);
  std::string all = read_file(own_folder() + "/emulated.cuh") + read_file(own_folder() + "/interface.h");
  for (const std::string& option : code_options()) all += option + '\0';
  *major = 13;
  *minor = 1000000 + (int)(strtoul(hash(all).substr(0, 8).c_str(), nullptr, 16) % 1000000);
  return SUCCESS;
}

namespace {
const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
}
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  ENTER(nvrtcGetNumSupportedArchs);
  *count = (int)std::size(architectures);
  return SUCCESS;
}
EXPORT int nvrtcGetSupportedArchs(int* list) {
  ENTER(nvrtcGetSupportedArchs);
  std::copy(std::begin(architectures), std::end(architectures), list);
  return SUCCESS;
}

EXPORT int nvrtcCreateProgram(uint64_t* handle, const char* source, const char* name, int count, const char* const* headers, const char* const* names) {
  ENTER(nvrtcCreateProgram);
  if (!handle || !source || count < 0 || (count > 0 && (!headers || !names))) return INVALID_INPUT;
  auto program = std::make_unique<Program>();
  program->source = source;
  program->name = name ? name : "default_program";
  for (int i = 0; i < count; i++) program->headers.emplace_back(names[i], headers[i]);
  std::lock_guard<std::mutex> lock(mutex);
  *handle = (uint64_t)program.release();
  programs.insert(*handle);
  return SUCCESS;
}
EXPORT int nvrtcDestroyProgram(uint64_t* handle) {
  ENTER(nvrtcDestroyProgram);
  std::lock_guard<std::mutex> lock(mutex);
  if (!handle || programs.erase(*handle) == 0) return INVALID_PROGRAM;
  delete (Program*)*handle;
  *handle = 0;
  return SUCCESS;
}
EXPORT int nvrtcCompileProgram(uint64_t handle, int count, const char* const* given) {
  ENTER_PROGRAM(nvrtcCompileProgram);
  if (count < 0 || (count > 0 && !given)) return INVALID_INPUT;
  return compile(*program, std::vector<std::string>(given, given + count));
}

EXPORT int nvrtcGetProgramLogSize(uint64_t handle, size_t* bytes) {
  ENTER_PROGRAM(nvrtcGetProgramLogSize);
  *bytes = program->log.size() + 1;
  return SUCCESS;
}
EXPORT int nvrtcGetProgramLog(uint64_t handle, char* log) {
  ENTER_PROGRAM(nvrtcGetProgramLog);
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return SUCCESS;
}

#define IMAGE(kind)                                                 \
  EXPORT int nvrtcGet##kind##Size(uint64_t handle, size_t* bytes) { \
    ENTER_PROGRAM(nvrtcGet##kind##Size);                            \
    *bytes = program->image.size();                                 \
    return SUCCESS;                                                 \
  }                                                                 \
  EXPORT int nvrtcGet##kind(uint64_t handle, char* image) {         \
    ENTER_PROGRAM(nvrtcGet##kind);                                  \
    if (program->image.empty()) return INVALID_PROGRAM;             \
    memcpy(image, program->image.data(), program->image.size());    \
    return SUCCESS;                                                 \
  }
IMAGE(CUBIN)
IMAGE(PTX)

EXPORT const char* nvrtcGetErrorString(int result) {
  static const char* names[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT",
                                "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION",
                                "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"};
  return result >= 0 && result < (int)std::size(names) ? names[result] : "NVRTC_ERROR_INTERNAL_ERROR";
}
