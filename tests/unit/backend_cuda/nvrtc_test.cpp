// SPDX-License-Identifier: Apache-2.0
// Generated kernels by the real run-time compiler, which needs no GPU: what they use of one.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <nvrtc.h>

#include <algorithm>
#include <map>
#include <regex>

#include "backend/cuda/codegen.h"
#include "backend/cuda/nvrtc_cache.h"
#include "backend_cuda/evaluate.h"
#include "backend_cuda/model_loops.h"
#include "loop/build.h"
#include "tests/unit/loop/random_body.h"

namespace ostria {
namespace {

struct RealNvrtc {
  decltype(&nvrtcCreateProgram) create;
  decltype(&nvrtcDestroyProgram) destroy;
  decltype(&nvrtcCompileProgram) compile;
  decltype(&nvrtcGetProgramLogSize) log_size;
  decltype(&nvrtcGetProgramLog) log;
  decltype(&nvrtcGetPTXSize) ptx_size;
  decltype(&nvrtcGetPTX) ptx;
};

// nullptr where it is not installed.
const RealNvrtc* FindNvrtc() {
  static const RealNvrtc* const found = []() -> const RealNvrtc* {
    void* library = dlopen(OSTRIA_REAL_NVRTC, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return nullptr;
    auto* table = new RealNvrtc;
    const auto find = [&](auto* fn, const char* name) {
      *fn = reinterpret_cast<std::remove_pointer_t<decltype(fn)>>(dlsym(library, name));
    };
    find(&table->create, "nvrtcCreateProgram");
    find(&table->destroy, "nvrtcDestroyProgram");
    find(&table->compile, "nvrtcCompileProgram");
    find(&table->log_size, "nvrtcGetProgramLogSize");
    find(&table->log, "nvrtcGetProgramLog");
    find(&table->ptx_size, "nvrtcGetPTXSize");
    find(&table->ptx, "nvrtcGetPTX");
    return table;
  }();
  return found;
}

struct Compiled {
  bool ok = false;
  std::string log, ptx;
};

Compiled CompileReal(const std::string& kernels) {
  const RealNvrtc& nvrtc = *FindNvrtc();
  const std::string source =
      StrCat(cuda::LoopPrelude(), "namespace ostria::kernels::loop {\n", kernels, "}\n");
  nvrtcProgram program = nullptr;
  nvrtc.create(&program, source.c_str(), "loops.cu", 0, nullptr, nullptr);
  std::vector<std::string> options = cuda::NvrtcOptions(90);
  options.push_back("--ptxas-options=-v");
  std::vector<const char*> given;
  for (const std::string& o : options) given.push_back(o.c_str());
  Compiled out;
  out.ok = nvrtc.compile(program, static_cast<int>(given.size()), given.data()) == NVRTC_SUCCESS;
  size_t bytes = 0;
  nvrtc.log_size(program, &bytes);
  out.log.resize(bytes);
  nvrtc.log(program, out.log.data());
  if (out.ok) {
    nvrtc.ptx_size(program, &bytes);
    out.ptx.resize(bytes);
    nvrtc.ptx(program, out.ptx.data());
  }
  nvrtc.destroy(&program);
  return out;
}

int CountOf(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  return static_cast<int>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()));
}

// The largest number behind `pattern`.
int Largest(const std::string& text, const char* pattern) {
  int most = 0;
  const std::regex regex(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    most = std::max(most, std::stoi((*it)[1]));
  }
  return most;
}

int Spilled(const std::string& log) {
  return Largest(log, "([0-9]+) bytes spill") + Largest(log, "([0-9]+) bytes stack frame");
}

// Instructions of PTX, and registers at most: more would say that something went wrong.
struct Golden {
  const char* name;
  const char* form;
  int loads, stores, registers;
};
constexpr Golden kGolden[] = {
    {"add_f32", "flat", 8, 4, 64},
    {"add_odd", "flat", 0, 0, 40},
    {"bias_gelu_bf16", "flat", 8, 4, 72},
    {"gelu_grad_bf16", "flat", 8, 4, 72},
    {"cast_f32_bf16", "flat", 8, 4, 64},
    {"dropout_add_bf16", "flat", 4, 2, 64},
    {"adam_f32", "flat", 8, 6, 72},
    {"softmax_bf16", "rows", 4, 4, 96},
    {"softmax_short_f32", "rows", 0, 0, 40},
    {"softmax_grad_f32", "rows", 4, 2, 40},
    {"log_softmax_f32", "rows", 11, 3, 40},
    {"add_layer_norm_bf16", "rows", 6, 2, 48},
    {"rms_norm_f32", "rows", 8, 4, 64},
    {"layer_norm_grad_bf16", "rows", 4, 1, 72},
    {"bias_grad_bf16", "columns", 4, 0, 48},
    {"batch_statistics_f16", "columns", 2, 0, 48},
    {"sum_of_squares_f32", "flat", 4, 0, 40},
};

TEST(CudaLoopCompiled, ModelsUseVectorsAndRegistersOnly) {
  if (FindNvrtc() == nullptr) GTEST_SKIP() << "there is no " << OSTRIA_REAL_NVRTC;
  const std::vector<ModelLoop> models = ModelLoops(8192);
  ASSERT_EQ(models.size(), std::size(kGolden));
  for (size_t i = 0; i < models.size(); ++i) {
    const Golden& want = kGolden[i];
    ASSERT_EQ(models[i].name, want.name);
    const auto loop = cuda::GenerateLoop(models[i].program(), Sm90());
    ASSERT_TRUE(loop) << want.name;
    const Compiled c = CompileReal(loop->text);
    ASSERT_TRUE(c.ok) << want.name << "\n" << c.log << loop->text;
    EXPECT_EQ(loop->form, want.form) << want.name;
    EXPECT_EQ(CountOf(c.ptx, "ld\\.global\\.(v4\\.[a-z]+32|v2\\.[a-z]+64)"), want.loads)
        << want.name;
    EXPECT_EQ(CountOf(c.ptx, "st\\.global\\.(v4\\.[a-z]+32|v2\\.[a-z]+64)"), want.stores)
        << want.name;
    EXPECT_LE(Largest(c.log, "Used ([0-9]+) registers"), want.registers) << want.name;
    EXPECT_EQ(Spilled(c.log), 0) << want.name << "\n" << c.log;
    EXPECT_EQ(CountOf(c.ptx, "\\.f64"), 0) << want.name;
  }
}

// As many as the other test runs on the host.
TEST(CudaLoopCompiled, RandomProgramsCompileWithoutSpills) {
  if (FindNvrtc() == nullptr) GTEST_SKIP() << "there is no " << OSTRIA_REAL_NVRTC;
  constexpr int kBatches = 6, kEach = 16;
  uint32_t seed = 0;
  for (int batch = 0; batch < kBatches; ++batch) {
    std::map<std::string, std::string> kernels;  // by the name of the first: equal ones once
    while (kernels.size() < kEach) {
      RandomBody random(seed++);
      const auto program = BuildLoop(random.Make());
      if (!program) continue;
      const auto loop = cuda::GenerateLoop(*program, Sm90());
      ASSERT_TRUE(loop);
      kernels[loop->launches[0].function] = loop->text;
    }
    std::string text;
    for (const auto& [name, kernel] : kernels) text += kernel;
    const Compiled c = CompileReal(text);
    ASSERT_TRUE(c.ok) << c.log;
    EXPECT_EQ(Spilled(c.log), 0) << c.log;
  }
}

}  // namespace
}  // namespace ostria
