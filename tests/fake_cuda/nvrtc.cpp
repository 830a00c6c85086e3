// SPDX-License-Identifier: Apache-2.0
// The run-time compiler, by the host's: the "cubin" is a mark, a number of bytes and a shared
// library (see generated.cpp). Or, where the environment asks for it, programs to interpret.
#include <nvrtc.h>

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "fake_cuda/fake_cuda.h"
#include "fake_cuda/interpreted.h"

struct _nvrtcProgram {
  std::string source, image, log;
};

namespace {

// Gone with the process.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("fake_cuda." + std::to_string(getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::string OwnPath() {
  Dl_info info;
  return dladdr(reinterpret_cast<const void*>(&fake_cuda_open_generated), &info) != 0
             ? info.dli_fname
             : "";
}

}  // namespace

extern "C" {

nvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 999;
  return NVRTC_SUCCESS;
}
const char* nvrtcGetErrorString(nvrtcResult r) {
  return r == NVRTC_ERROR_COMPILATION ? "compilation" : "an error of the fake compiler";
}
nvrtcResult nvrtcCreateProgram(nvrtcProgram* p, const char* source, const char*, int,
                               const char* const*, const char* const*) {
  *p = new _nvrtcProgram{source, "", ""};
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram* p) {
  delete *p;
  *p = nullptr;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int, const char* const*) {
  fake_cuda_add("nvrtcCompileProgram");
  static const char* const interpret = std::getenv("FAKE_CUDA_INTERPRET");
  if (interpret != nullptr && std::strcmp(interpret, "1") == 0) {
    p->image = fake_cuda::InterpretedImage(p->source);
    return NVRTC_SUCCESS;
  }
  static const Folder folder;
  static std::atomic<int> number = 0;
  const std::filesystem::path base = folder.path / std::to_string(number++);
  const std::string source = base.string() + ".cpp", library = base.string() + ".so",
                    log = base.string() + ".log";
  std::ofstream(source) << "#include \"kernels/host/cluster.h\"\n" << p->source;
  const std::string command = std::string(FAKE_CUDA_COMPILER) +
                              " -std=c++20 -O1 -w -fPIC -shared -ffp-contract=off " +
                              FAKE_CUDA_FLAGS + " -I" + FAKE_CUDA_SOURCES + " '" + source + "' '" +
                              OwnPath() + "' -o '" + library + "' 2> '" + log + "'";
  const bool ok = std::system(command.c_str()) == 0;
  p->log = ReadFile(log);
  if (ok) {
    const std::string code = ReadFile(library);
    p->image = "fake-cubin:" + std::to_string(code.size()) + "\n" + code;
  }
  return ok ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
}
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t* bytes) {
  *bytes = p->image.size();
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char* image) {
  std::memcpy(image, p->image.data(), p->image.size());
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t* bytes) {
  *bytes = p->log.size() + 1;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char* log) {
  std::memcpy(log, p->log.c_str(), p->log.size() + 1);
  return NVRTC_SUCCESS;
}

}  // extern "C"
