// SPDX-License-Identifier: Apache-2.0
// Compiled kernels: equal ones once, many together, and the same again from files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backend/cuda/cache/nvrtc_cache.h"
#include "backend/cuda/codegen/codegen.h"
#include "backend_cuda/evaluate.h"
#include "ir/builder.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using cuda::NvrtcCache;

constexpr int kCapability = 90;

// A folder of its own for files, as long as it lives.
class Folder {
 public:
  Folder() : before_(std::getenv("OSTRIA_CACHE_DIR")) {
    path_ = std::filesystem::temp_directory_path() / "ostria_cache.XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    setenv("OSTRIA_CACHE_DIR", path_.c_str(), 1);
  }
  ~Folder() {
    setenv("OSTRIA_CACHE_DIR", before_.c_str(), 1);
    std::filesystem::remove_all(path_);
  }
  std::vector<std::filesystem::path> Files(const std::string& kind) const {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/" + kind)) {
      out.push_back(entry.path());
    }
    return out;
  }

 private:
  std::string before_, path_;
};

std::string TextOf(const Graph& body) {
  const auto program = BuildLoop(body);
  EXPECT_TRUE(program);
  return cuda::GenerateLoop(*program, Sm90())->text;
}

// gelu(dropout(x) + b) * c of layer `k`: operands come in another order in every layer, and draws
// are other ones.
std::string Layer(int k, int64_t width = 64) {
  Graph g;
  Builder b(g, 0);
  Value x, bias, key, offset;
  const auto in = [&](const char* name, DType dtype, const Shape& shape) {
    return g.AddInput(StrCat(name, k), {dtype, shape}, 0);
  };
  const Shape rows = Shape::FromSizes({{int64_t{12}, width}});
  const Shape vector = Shape::FromSizes({{width}});
  if (k % 2 == 0) bias = in("bias", DType::kFloat32, vector);
  x = in("x", DType::kFloat32, rows);
  key = in("key", DType::kInt64, {2});
  offset = in("offset", DType::kInt64, {});
  if (k % 2 == 1) bias = in("bias", DType::kFloat32, vector);
  const Value dropped = b(ops::kDropout, {x, key, offset}, {0.1, int64_t{77} + k});
  g.AddOutput("y", b(ops::kGelu, {b(ops::kAdd, {dropped, bias})}));
  return TextOf(g);
}

std::string Multiple(double by) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {33}}, 0);
  const Value factor = b(ops::kFull, {}, {Shape(), DType::kFloat32, by});
  g.AddOutput("y", b(ops::kMultiply, {x, factor}));
  return TextOf(g);
}

TEST(CudaLoopCache, EqualLayersAreOneKernel) {
  const Folder folder;
  NvrtcCache cache;
  for (int k = 0; k < 12; ++k) cache.Expect(Layer(k), kCapability);
  EXPECT_EQ(cache.counts().distinct, 1);
  EXPECT_NE(cache.Image(Layer(5), kCapability), nullptr);
  EXPECT_EQ(cache.counts().compiled, 1);
  EXPECT_EQ(cache.counts().sources, 1);
  EXPECT_NE(Layer(0), Layer(0, 72));
}

TEST(CudaLoopCache, TheNumberOfRowsIsNoPartOfAKernel) {
  const auto with_rows = [](int64_t rows) {
    Graph g;
    Builder b(g, 0);
    const Value x = g.AddInput("x", {DType::kFloat32, Shape::FromSizes({{rows, int64_t{40}}})}, 0);
    g.AddOutput("y", b(ops::kSoftmax, {x}, {int64_t{-1}}));
    return TextOf(g);
  };
  EXPECT_EQ(with_rows(1000), with_rows(1003));
}

TEST(CudaLoopCache, WhatAPlanExpectsIsCompiledTogether) {
  const Folder folder;
  NvrtcCache cache;
  for (int i = 0; i < 64; ++i) cache.Expect(Multiple(i + 2), kCapability);
  EXPECT_EQ(cache.counts().compiled, 0);
  const auto one = cache.Image(Multiple(2), kCapability);
  EXPECT_EQ(cache.counts().distinct, 64);
  EXPECT_EQ(cache.counts().compiled, 64);
  EXPECT_LE(cache.counts().sources, std::max<int64_t>(4, std::thread::hardware_concurrency()));
  for (int i = 0; i < 64; ++i) EXPECT_NE(cache.Image(Multiple(i + 2), kCapability), nullptr);
  EXPECT_EQ(cache.counts().compiled, 64);
}

TEST(CudaLoopCache, FilesReplaceTheCompiler) {
  const Folder folder;
  NvrtcCache cold;
  for (int i = 0; i < 3; ++i) cold.Expect(Multiple(i + 100), kCapability);
  const std::string image = cold.Image(Multiple(100), kCapability)->cubin;
  NvrtcCache warm;
  EXPECT_EQ(warm.Image(Multiple(100), kCapability)->cubin, image);
  EXPECT_EQ(warm.counts().compiled, 0);
  EXPECT_EQ(warm.counts().loaded, 1);
  // Another device is another kernel.
  warm.Image(Multiple(100), kCapability + 10);
  EXPECT_EQ(warm.counts().compiled, 1);
}

TEST(CudaLoopCache, SpoiltFilesAreCompiledAgain) {
  const Folder folder;
  NvrtcCache().Image(Multiple(7), kCapability);
  ASSERT_EQ(folder.Files("kernels").size(), 1u);
  ASSERT_EQ(folder.Files("cubins").size(), 1u);
  const auto spoil = [&](const std::string& kind, bool longer) {
    std::ofstream(folder.Files(kind)[0], longer ? std::ios::app : std::ios::trunc) << "x";
    NvrtcCache again, warm;
    EXPECT_NE(again.Image(Multiple(7), kCapability), nullptr);
    EXPECT_EQ(again.counts().compiled, 1) << kind;
    warm.Image(Multiple(7), kCapability);
    EXPECT_EQ(warm.counts().loaded, 1) << kind;  // it was written again
  };
  spoil("kernels", false);
  spoil("kernels", true);
}

TEST(CudaLoopCache, ASpoiltImageIsCompiledAgain) {
  const Folder folder;
  NvrtcCache().Image(Multiple(8), kCapability);
  for (const bool longer : {false, true}) {
    for (const auto& file : folder.Files("cubins")) {
      std::ofstream(file, longer ? std::ios::app : std::ios::trunc) << "x";
    }
    NvrtcCache again;
    EXPECT_NE(again.Image(Multiple(8), kCapability), nullptr);
    EXPECT_EQ(again.counts().compiled, 1);
  }
}

TEST(CudaLoopCache, AKernelThatDoesNotCompileTakesNoOtherWithIt) {
  const Folder folder;
  NvrtcCache cache;
  cache.Expect(Multiple(21), kCapability);
  cache.Expect("no code at all;", kCapability);
  EXPECT_NE(cache.Image(Multiple(21), kCapability), nullptr);
  try {
    cache.Image("no code at all;", kCapability);
    FAIL() << "it compiled";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInternal);
    EXPECT_NE(e.message().find("a generated kernel does not compile"), std::string::npos);
    EXPECT_NE(e.message().find("error"), std::string::npos) << e.message();
  }
}

}  // namespace
}  // namespace ostria
