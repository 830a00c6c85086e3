// SPDX-License-Identifier: Apache-2.0
// The record of choices as a file, and products that are chosen by it.
#include "backend/cuda/cache/choices.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "backend_cuda/evaluate.h"
#include "fake_cuda/cublaslt.h"
#include "ops/ops.h"

namespace ostria {
namespace {

namespace fs = std::filesystem;
using cuda::Choices;

// An empty folder, and OSTRIA_CACHE_DIR points to it.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "ostria_choices_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    const char* before = std::getenv("OSTRIA_CACHE_DIR");
    before_ = before == nullptr ? "" : before;
    ::setenv("OSTRIA_CACHE_DIR", path_.c_str(), 1);
  }
  ~Folder() {
    ::setenv("OSTRIA_CACHE_DIR", before_.c_str(), 1);
    fs::remove_all(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string File(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
  std::string before_;
};

std::string ReadAll(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
void WriteAll(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(Choices, OutliveTheObject) {
  const Folder folder;
  const std::string path = folder.File("deep/er/x.choices");
  {
    Choices c(path);
    EXPECT_FALSE(c.Find("a 1x2"));
    c.Set("a 1x2", "one");
    c.Set("b", "two words");
    c.Set("a 1x2", "three");
  }
  const Choices again(path);
  EXPECT_EQ(again.Find("a 1x2"), "three");
  EXPECT_EQ(again.Find("b"), "two words");
  EXPECT_EQ(std::distance(fs::directory_iterator(fs::path(path).parent_path()), {}), 1);
}

TEST(Choices, KeepWhatOthersWrote) {
  const Folder folder;
  const std::string path = folder.File("x.choices");
  Choices one(path), two(path);
  one.Set("a", "1");
  two.Set("b", "2");
  const Choices both(path);
  EXPECT_EQ(both.Find("a"), "1");
  EXPECT_EQ(both.Find("b"), "2");
}

TEST(Choices, IgnoreLinesThatAreNotIntact) {
  const Folder folder;
  const std::string path = folder.File("x.choices");
  Choices c(path);
  c.Set("first", "1");
  c.Set("second", "2");
  c.Set("third", "3");
  std::string text = ReadAll(path);
  text[text.find("second") + 7] = '7';  // its value
  text = "garbage\n\n\t\t\n" + text;
  text.resize(text.size() - 2);  // the last value is cut off
  WriteAll(path, text);
  Choices read(path);
  EXPECT_EQ(read.Find("first"), "1");
  EXPECT_FALSE(read.Find("second"));
  EXPECT_FALSE(read.Find("third"));
  read.Set("second", "5");
  EXPECT_EQ(Choices(path).Find("first"), "1");
  EXPECT_EQ(ReadAll(path).find("garbage"), std::string::npos);
}

TEST(Choices, HoldForTheProcessWhereNothingCanBeWritten) {
  Choices c("/proc/no/such/folder/x.choices");
  c.Set("a", "1");
  EXPECT_EQ(c.Find("a"), "1");
}

// --- products ----------------------------------------------------------------------------------

int64_t Count(const char* what) {
  static auto* const count = [] {
    const std::string path = StrCat(std::getenv("OSTRIA_CUDA_LIBRARIES"), "/libcublasLt.so.13");
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<decltype(&fake_cublaslt_count)>(dlsym(library, "fake_cublaslt_count"));
  }();
  return count(what);
}

struct Counts {
  int64_t products, slow, fast;
};

// What one node runs, binding included.
Counts RunProduct(bool deterministic, const Shape& a, const Shape& b, std::string epilogue = "") {
  const Counts before = {Count("cublasLtMatmul"), Count("slow"), Count("fast")};
  DeviceProps device = Sm90();
  device.deterministic = deterministic;
  std::vector<Tensor> inputs = {RandomTensor(DType::kFloat32, a, -1, 1, 1),
                                RandomTensor(DType::kFloat32, b, -1, 1, 2)};
  std::vector<Attr> attrs = {false, false};
  const bool fused = !epilogue.empty();
  if (fused) {
    if (epilogue == "relu") {
      inputs.push_back(RandomTensor(DType::kFloat32, {b[1]}, -1, 1, 3));
    } else if (epilogue == "relu_grad_sum") {
      inputs.push_back(RandomTensor(DType::kUInt8, {a[0], 16}, 0, 256, 3));
    }
    attrs.insert(attrs.end(), {epilogue, false});
  }
  const OpDef& op = fused ? ops::kMatmulFused : ops::kMatmul;
  const auto got = EvaluateOnCuda(op, attrs, inputs, {.impl = "cublaslt", .device = device});
  const auto want = EvaluateOnCpu(op, attrs, inputs);
  for (size_t i = 0; i < want.size(); ++i) ExpectClose(got[i], want[i], 2e-5);
  EXPECT_EQ(Count("in place"), 0);  // what the library would offer first if it were asked for
  return {Count("cublasLtMatmul") - before.products, Count("slow") - before.slow,
          Count("fast") - before.fast};
}

TEST(CudaProductChoice, IsTimedOnceAndRecorded) {
  const Folder folder;
  const Counts cold = RunProduct(false, {16, 32}, {32, 24});
  EXPECT_GT(cold.slow, 0);
  EXPECT_GT(cold.fast, cold.slow);  // the node itself ran it once more
  const std::string record = ReadAll(folder.File("cublaslt.choices"));
  EXPECT_NE(record.find("cublaslt 130100 on Fake H100"), std::string::npos) << record;
  EXPECT_NE(record.find("float32n24x32/24+0@16"), std::string::npos) << record;

  const Counts warm = RunProduct(false, {16, 32}, {32, 24});
  EXPECT_EQ(warm.products, 1);
  EXPECT_EQ(warm.fast, 1);
  // Another shape is another choice.
  EXPECT_GT(RunProduct(false, {16, 32}, {32, 28}).products, 1);
}

TEST(CudaProductChoice, IsNeverTimedWhereResultsMustNotDependOnIt) {
  const Folder cold;
  const Counts first = RunProduct(true, {16, 32}, {32, 24});
  EXPECT_EQ(first.products, 1);
  EXPECT_EQ(first.slow, 1);  // what the library offers first
  EXPECT_FALSE(fs::exists(cold.File("cublaslt.choices")));

  RunProduct(false, {16, 32}, {32, 24});
  const Counts recorded = RunProduct(true, {16, 32}, {32, 24});
  EXPECT_EQ(recorded.products, 1);
  EXPECT_EQ(recorded.fast, 1);
}

TEST(CudaProductChoice, IsMadeAgainWhereTheRecordIsBroken) {
  std::string record;
  {
    const Folder folder;
    RunProduct(false, {16, 32}, {32, 24});
    record = ReadAll(folder.File("cublaslt.choices"));
  }
  std::string damaged = record;
  damaged[damaged.size() - 2] ^= 1;
  {
    const Folder folder;
    WriteAll(folder.File("cublaslt.choices"), damaged);
    EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}).slow, 1);
  }
  {  // Intact lines whose algorithm the library does not know, or that are no algorithm.
    const std::string key = record.substr(33, record.find('\t', 33) - 33);
    for (const std::string value :
         {"epilogue 1 2 3 4 5 6 7 8", "epilogue 1 2", "epilogue", "", "kernel 1 2 3 4 5 6 7 8",
          "epilogue 99999999999999999999999 2 3 4 5 6 7 8", "epilogue 1 2 3 4 5 6 7 8 9"}) {
      const Folder folder;
      Choices(folder.File("cublaslt.choices")).Set(key, value);
      EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}).slow, 1) << value;
    }
  }
  {  // The line as it was is found.
    const Folder folder;
    WriteAll(folder.File("cublaslt.choices"), record);
    EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}).fast, 1);
  }
}

TEST(CudaProductChoice, IsBetweenEpilogueAndKernelToo) {
  for (const auto& [epilogue, kernel] :
       {std::pair<std::string, std::string>{"relu", "or bias_activation_float32 1"},
        {"relu_grad_sum",
         "drelu_aux_bgrad bias float32 aux 128+2048 runs 1 or "
         "apply_relu_mask_float32 sum"},
        {"sum_b", "bgrada bias float32 runs 1 or sum"}}) {
    const Folder folder;
    // Where nothing is recorded and nothing may be timed, what the library offers first.
    EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}, epilogue).slow, 1) << epilogue;
    // Two algorithms of two ways, one round to warm up and five that count, one copy at least.
    EXPECT_GE(RunProduct(false, {16, 32}, {32, 24}, epilogue).products, 2 * 2 * 6 + 1) << epilogue;
    const std::string record = ReadAll(folder.File("cublaslt.choices"));
    EXPECT_NE(record.find(kernel), std::string::npos) << record;
    EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}, epilogue).products, 1) << epilogue;
    EXPECT_EQ(RunProduct(false, {16, 32}, {32, 24}, epilogue).products, 1) << epilogue;
    EXPECT_EQ(ReadAll(folder.File("cublaslt.choices")), record) << epilogue;
    // A record that names the other way is kept to.
    const std::string key = record.substr(33, record.find('\t', 33) - 33);
    const std::string value = record.substr(record.find('\t', 33) + 1);
    const std::string words = value.substr(value.find(' '), value.find('\n') - value.find(' '));
    for (const std::string way : {"epilogue", "kernel"}) {
      const Folder other;
      Choices(other.File("cublaslt.choices")).Set(key, way + words);
      const int64_t launches = DriverCalls("cuLaunchKernel");
      EXPECT_EQ(RunProduct(true, {16, 32}, {32, 24}, epilogue).products, 1) << epilogue;
      EXPECT_EQ(DriverCalls("cuLaunchKernel") > launches, way == "kernel") << epilogue;
    }
  }
}

}  // namespace
}  // namespace ostria
