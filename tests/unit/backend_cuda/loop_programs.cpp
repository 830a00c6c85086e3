// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/loop_programs.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backend/cuda/cache/nvrtc_cache.h"
#include "backend/cuda/launch/launch.h"
#include "backend_cuda/evaluate.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr size_t kGuard = 256;
constexpr std::byte kPoison{0xff};

double At(const Tensor& t, int64_t i) {
  return DispatchDType(t.dtype(), [&]<class T>(T*) {
    if constexpr (std::is_arithmetic_v<T>)
      return static_cast<double>(t.data<T>()[i]);
    else
      return static_cast<double>(static_cast<float>(t.data<T>()[i]));
  });
}

cuda::GeneratedLoop Generate(const LoopProgram& program) {
  std::string why;
  auto loop = cuda::GenerateLoop(program, Sm90(), &why);
  if (!loop) throw Error(ErrorCode::kInternal, StrCat("no loop: ", why));
  return std::move(*loop);
}

}  // namespace

GuardedBlock::GuardedBlock(DType dtype, int64_t elements, int skew)
    : bytes_(static_cast<size_t>(elements * SizeOf(dtype))), total_(bytes_ + 3 * kGuard) {
  base_ = static_cast<std::byte*>(CudaBackend()->Allocate(0, total_));
  std::fill(base_, base_ + total_, kPoison);  // the fake's memory is the host's
  data_ = base_ + kGuard + static_cast<size_t>(skew * SizeOf(dtype));
}
GuardedBlock::~GuardedBlock() { CudaBackend()->Free(0, base_, total_); }
bool GuardedBlock::Intact() const {
  const auto poisoned = [](std::byte b) { return b == kPoison; };
  return std::all_of(base_, data_, poisoned) &&
         std::all_of(data_ + bytes_, base_ + total_, poisoned);
}

void ExpectLoop(const LoopProgram& program) {
  cuda::NvrtcCache::Get().Expect(Generate(program).text, 90);
}

std::vector<Tensor> RunLoop(const LoopProgram& program, const std::vector<Tensor>& inputs,
                            const std::vector<Tensor>& like, int skew, bool in_place) {
  const cuda::GeneratedLoop loop = Generate(program);
  const auto stream = CudaBackend()->MakeStream(0);
  auto& s = static_cast<cuda::CudaStream&>(*stream);
  const auto image = cuda::NvrtcCache::Get().Image(loop.text, 90);
  std::vector<std::unique_ptr<GuardedBlock>> blocks;
  const auto add = [&](DType dtype, int64_t n, int by) {
    blocks.push_back(std::make_unique<GuardedBlock>(dtype, n, by));
    return blocks.back()->data();
  };
  for (const Tensor& t : inputs) {
    std::memcpy(add(t.dtype(), t.numel(), skew), t.raw(), static_cast<size_t>(t.bytes()));
  }
  for (const Tensor& t : like) add(t.dtype(), t.numel(), skew);
  void* const work = add(DType::kInt8, loop.workspace_bytes, 0);
  std::vector<void*> places;
  for (size_t k = 0; k < inputs.size() + like.size(); ++k) places.push_back(blocks[k]->data());
  std::vector<bool> taken(inputs.size());
  for (size_t k = 0; in_place && k < like.size(); ++k) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!loop.alias_ok[k][i] || taken[i]) continue;
      places[inputs.size() + k] = places[i];
      taken[i] = true;
      break;
    }
  }
  std::array<uint64_t, cuda::kMostLoopWords> params;
  size_t n = 0;
  for (int k : loop.pointers) params[n++] = reinterpret_cast<uintptr_t>(places[k]);
  params[n++] = reinterpret_cast<uintptr_t>(work);
  for (uint64_t word : loop.words) params[n++] = word;
  for (const cuda::LoopLaunch& l : loop.launches) {
    cuda::LaunchKernel(s, s.cuda().Generated(image->name, image->cubin, l.function), l.shape,
                       params.data(), n * sizeof params[0]);
  }
  stream->Synchronize();
  std::vector<Tensor> out;
  for (size_t k = 0; k < like.size(); ++k) {
    Tensor t = Tensor::Empty(like[k].dtype(), like[k].shape());
    std::memcpy(t.raw(), places[inputs.size() + k], static_cast<size_t>(t.bytes()));
    out.push_back(std::move(t));
  }
  for (const auto& b : blocks) EXPECT_TRUE(b->Intact()) << "written outside of an operand";
  return out;
}

void SetThreadOrder(uint64_t seed) {
  if (!OnFakeDriver()) return;  // a GPU has its own
  const std::string path = StrCat(std::getenv("OSTRIA_CUDA_LIBRARIES"), "/libcuda.so.1");
  void* const fake = dlopen(path.c_str(), RTLD_NOW);
  auto* const set = reinterpret_cast<void (*)(uint64_t)>(
      fake == nullptr ? nullptr : dlsym(fake, "_ZN6ostria7kernels4host7SetSeedEm"));
  ASSERT_NE(set, nullptr) << path << " runs no kernels on the host";
  set(seed);
}

std::vector<Tensor> RunLoopReference(const LoopProgram& program, const std::vector<Tensor>& inputs,
                                     const std::vector<Tensor>& like) {
  std::vector<Tensor> out;
  std::vector<const void*> from;
  std::vector<void*> to;
  for (const Tensor& t : inputs) from.push_back(t.raw());
  for (const Tensor& t : like) out.push_back(Tensor::Empty(t.dtype(), t.shape()));
  for (Tensor& t : out) to.push_back(t.raw());
  RunReference(program, from, to);
  return out;
}

void ExpectLoopClose(const Tensor& got, const Tensor& want, const std::string& what) {
  ASSERT_EQ(got.dtype(), want.dtype()) << what;
  double largest = 1;
  for (int64_t i = 0; i < want.numel(); ++i) {
    if (std::isfinite(At(want, i))) largest = std::max(largest, std::fabs(At(want, i)));
  }
  const double tolerance = want.dtype() == DType::kFloat64   ? 1e-10
                           : want.dtype() == DType::kFloat32 ? 2e-5
                                                             : 2e-2;
  for (int64_t i = 0; i < want.numel(); ++i) {
    const double a = At(got, i), b = At(want, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    ASSERT_LE(std::fabs(a - b), largest * tolerance)
        << what << " at " << i << ": " << a << " for " << b;
  }
}

}  // namespace ostria
