// SPDX-License-Identifier: Apache-2.0
// Generated kernels by the real run-time compiler, which needs no GPU: what they use of one.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <nvrtc.h>

#include <algorithm>
#include <map>
#include <regex>

#include "backend/cuda/cache/nvrtc_cache.h"
#include "backend/cuda/codegen/codegen.h"
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
    // In a namespace of its own: it asks for the driver by name, and must not find the fake.
    void* library = dlmopen(LM_ID_NEWLM, OSTRIA_REAL_NVRTC, RTLD_NOW | RTLD_LOCAL);
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

// Nothing that a generated loop sums may depend on which thread comes first.
constexpr const char* kAtomics = "\\b(atom|red)\\.";

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
    {"softmax_bf16", "rows", 4, 4, 72},
    {"softmax_short_f32", "rows", 0, 0, 40},
    {"softmax_grad_f32", "rows", 4, 2, 40},
    {"log_softmax_f32", "rows", 4, 4, 64},
    {"softmax_vocabulary_f32", "rows", 0, 0, 64},
    {"softmax_wide_f32", "rows", 4, 4, 64},
    {"softmax_long_bf16", "rows", 8, 4, 64},
    {"layer_norm_grad_wide_f32", "rows", 6, 2, 64},
    {"add_layer_norm_bf16", "rows", 6, 2, 48},
    {"rms_norm_f32", "rows", 8, 4, 64},
    {"layer_norm_grad_bf16", "rows", 4, 1, 72},
    {"layer_norm_grad_add_bf16", "rows", 3, 1, 72},
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
    EXPECT_EQ(CountOf(c.ptx, kAtomics), 0) << want.name;
  }
}

// A program of one instruction: loads of `inputs`, then `make`, stored as it is.
LoopProgram OneInstruction(const std::vector<DType>& inputs, LoopInstr i) {
  LoopProgram p{.sizes = {71, 64}, .column_axes = 1, .inputs = {}, .outputs = {}, .code = {}};
  for (size_t k = 0; k < inputs.size(); ++k) {
    p.inputs.push_back({.dtype = inputs[k], .strides = {64, 1}});
    p.code.push_back({.kind = LoopKind::kLoad,
                      .dtype = LoopDType(inputs[k]),
                      .operand = static_cast<int32_t>(k)});
    i.args[k] = static_cast<int32_t>(k);
  }
  std::vector<int64_t> strides = {64, 1};
  if (i.kind == LoopKind::kFoldRows) strides = {0, 1};
  if (i.kind == LoopKind::kFoldCols) strides = {1, 0};
  p.outputs.push_back(
      {.dtype = i.dtype, .strides = strides, .value = static_cast<int32_t>(inputs.size())});
  p.code.push_back(i);
  return p;
}

// Functors with every kind of element, casts, and folds of both kinds, many to a source.
std::vector<LoopProgram> AllInstructions() {
  std::vector<LoopProgram> out;
  for (int op = 0; op < kernels::kNumScalarOps; ++op) {
    const auto id = static_cast<kernels::ScalarOp>(op);
    const kernels::ScalarOpInfo& info = kernels::InfoOf(id);
    std::vector<DType> dtypes;
    if ((info.kinds & kernels::kFloats) != 0) dtypes = {DType::kFloat32, DType::kFloat64};
    if ((info.kinds & kernels::kInts) != 0) {
      dtypes.insert(dtypes.end(), {DType::kInt8, DType::kUInt64});
    }
    if ((info.kinds & kernels::kBools) != 0) dtypes.push_back(DType::kBool);
    for (DType dtype : dtypes) {
      std::vector<DType> in(static_cast<size_t>(info.arity), dtype);
      if (id == kernels::ScalarOp::kWhere) in[0] = DType::kBool;
      out.push_back(OneInstruction(in, {.kind = LoopKind::kScalar,
                                        .dtype = info.is_bool ? DType::kBool : dtype,
                                        .op = id,
                                        .number = {0.5, 0}}));
    }
  }
  for (int t = 0; t < kNumDTypes; ++t) {
    const auto dtype = static_cast<DType>(t);
    const auto other = LoopDType(static_cast<DType>((t + 5) % kNumDTypes));
    out.push_back(OneInstruction({dtype}, {.kind = LoopKind::kCast, .dtype = other}));
    for (LoopFold fold : {LoopFold::kSum, LoopFold::kProd, LoopFold::kMax, LoopFold::kMin}) {
      const bool sum = fold == LoopFold::kSum || fold == LoopFold::kProd;
      if (dtype == DType::kBool && sum) continue;
      for (LoopKind kind : {LoopKind::kFoldCols, LoopKind::kFoldRows}) {
        out.push_back(
            OneInstruction({dtype}, {.kind = kind, .dtype = LoopDType(dtype), .fold = fold}));
      }
    }
  }
  return out;
}

TEST(CudaLoopCompiled, EveryInstructionCompiles) {
  if (FindNvrtc() == nullptr) GTEST_SKIP() << "there is no " << OSTRIA_REAL_NVRTC;
  const std::vector<LoopProgram> programs = AllInstructions();
  EXPECT_GT(programs.size(), 300u);
  std::map<std::string, std::string> kernels;
  for (size_t i = 0; i < programs.size(); ++i) {
    const auto loop = cuda::GenerateLoop(programs[i], Sm90());
    ASSERT_TRUE(loop) << Print(programs[i]);
    kernels[loop->launches[0].function] = loop->text;
    if (kernels.size() < 40 && i + 1 < programs.size()) continue;
    std::string text;
    for (const auto& [name, kernel] : kernels) text += kernel;
    const Compiled c = CompileReal(text);
    ASSERT_TRUE(c.ok) << c.log;
    EXPECT_EQ(Largest(c.log, "([0-9]+) bytes spill"), 0) << c.log;
    kernels.clear();
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
    EXPECT_EQ(CountOf(c.ptx, kAtomics), 0);
  }
}

}  // namespace
}  // namespace ostria
