// SPDX-License-Identifier: Apache-2.0
// The generators: adapters to simd/random.h. An element's global index is (offset + row) * row
// size, so the rows of a batch are the same numbers however the batch is split.
#include <algorithm>
#include <utility>

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/cpu_isa.h"
#include "backend/cpu/simd/random.h"
#include "ops/common/random.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

struct RandomState : KernelState {
  DType dtype = DType::kFloat32;
  int64_t numel = 0, row = 1;  // row: elements per unit of offset
  double a = 0, b = 1;
  uint64_t stream = 0;
};

RandomKey KeyOf(const RandomState& s, const void* key) {
  const auto* numbers = static_cast<const int64_t*>(key);
  return {static_cast<uint64_t>(numbers[0]), s.stream, static_cast<uint64_t>(numbers[1])};
}

uint64_t First(const RandomState& s, const void* offset) {
  return static_cast<uint64_t>(*static_cast<const int64_t*>(offset)) * static_cast<uint64_t>(s.row);
}

Support SupportsFloatOutput(const NodeDesc& node) {
  const DType dtype = node.outputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  return NeedsDense(node);
}

std::unique_ptr<RandomState> Make(const MemDesc& y, int64_t stream) {
  auto state = std::make_unique<RandomState>();
  state->dtype = y.dtype;
  state->numel = y.numel();
  for (int i = 1; i < y.rank; ++i) state->row *= y.sizes[i];
  state->stream = static_cast<uint64_t>(stream);
  state->detail = Name(CurrentIsa());
  return state;
}

std::unique_ptr<KernelState> PrepareDraw(const NodeDesc& node) {
  auto state = Make(node.outputs[0], node.attr<int64_t>(ops::RandomAttr::kStream));
  state->a = node.attr<double>(ops::RandomAttr::kA);
  state->b = node.attr<double>(ops::RandomAttr::kB);
  return state;
}

enum class Law { kUniform, kNormal, kTruncatedNormal };

template <Law law, class T>
void Fill(const RandomState& s, void* const* ptrs) {
  const RandomKey key = KeyOf(s, ptrs[0]);
  const uint64_t first = First(s, ptrs[1]);
  T* y = static_cast<T*>(ptrs[2]);
  if constexpr (law == Law::kUniform) FillUniform(key, first, y, s.numel, s.a, s.b);
  if constexpr (law == Law::kNormal) FillNormal(key, first, y, s.numel, s.a, s.b);
  if constexpr (law == Law::kTruncatedNormal) FillTruncatedNormal(key, first, y, s.numel, s.a, s.b);
}

template <Law law>
void LaunchDraw(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RandomState&>(state);
  s.dtype == DType::kFloat32 ? Fill<law, float>(s, ptrs) : Fill<law, double>(s, ptrs);
}

// --- dropout -----------------------------------------------------------------------------------

std::unique_ptr<KernelState> PrepareDropout(const NodeDesc& node) {
  auto state = Make(node.outputs[0], node.attr<int64_t>(ops::DropoutAttr::kStream));
  state->a = node.attr<double>(ops::DropoutAttr::kRate);
  return state;
}

void LaunchDropout(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RandomState&>(state);
  const RandomKey key = KeyOf(s, ptrs[1]);
  const uint64_t first = First(s, ptrs[2]);
  if (s.dtype == DType::kFloat32) {
    Dropout(key, first, static_cast<const float*>(ptrs[0]), static_cast<float*>(ptrs[3]), s.numel,
            s.a);
  } else {
    Dropout(key, first, static_cast<const double*>(ptrs[0]), static_cast<double*>(ptrs[3]), s.numel,
            s.a);
  }
}

bool AliasX(const NodeDesc&, int, int in) { return in == 0; }

// --- permutation -------------------------------------------------------------------------------

Support SupportsPermutation(const NodeDesc& node) { return NeedsDense(node); }

std::unique_ptr<KernelState> PreparePermutation(const NodeDesc& node) {
  return Make(node.outputs[0], node.attr<int64_t>(1));
}

// Fisher and Yates, from the back. 64 random bits per exchange: no order is favoured by more than n
// / 2^64.
void LaunchPermutation(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const RandomState&>(state);
  const RandomKey key = KeyOf(s, ptrs[0]);
  auto* y = static_cast<int64_t*>(ptrs[1]);
  for (int64_t i = 0; i < s.numel; ++i) y[i] = i;
  constexpr int64_t kChunk = 512;
  uint32_t words[2 * kChunk];
  for (int64_t begin = 0; begin < s.numel; begin += kChunk) {
    const int64_t count = std::min(kChunk, s.numel - begin);
    FillRandomBits(key, static_cast<uint64_t>(2 * begin), words, 2 * count);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t last = s.numel - 1 - (begin + k);
      const uint64_t bits = static_cast<uint64_t>(words[2 * k]) << 32 | words[2 * k + 1];
      const auto wide = static_cast<unsigned __int128>(bits) * static_cast<uint64_t>(last + 1);
      std::swap(y[last], y[static_cast<int64_t>(wide >> 64)]);
    }
  }
}

constexpr KernelDef kKernels[] = {
    {&ops::kRandomUniform, "philox", SupportsFloatOutput, PrepareDraw, LaunchDraw<Law::kUniform>},
    {&ops::kRandomNormal, "philox", SupportsFloatOutput, PrepareDraw, LaunchDraw<Law::kNormal>},
    {&ops::kTruncatedNormal, "philox", SupportsFloatOutput, PrepareDraw,
     LaunchDraw<Law::kTruncatedNormal>},
    {&ops::kDropout, "philox", SupportsFloatOutput, PrepareDropout, LaunchDropout, AliasX},
    {&ops::kRandomPermutation, "philox", SupportsPermutation, PreparePermutation,
     LaunchPermutation},
};

}  // namespace

std::span<const KernelDef> RandomKernels() { return kKernels; }

}  // namespace ostria::cpu
