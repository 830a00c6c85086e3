// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/launches.h"

#include <cstring>

namespace ostria::cuda {
namespace {

struct BoundMany final : KernelState {
  std::shared_ptr<const Launches> plan;
  const CudaStream* stream = nullptr;
  std::vector<CUfunction> functions;
  DataErrorWord* data_error = nullptr;
  int32_t step = 0;
};

}  // namespace

std::vector<std::string> Launches::LaunchNames() const {
  std::vector<std::string> names;
  for (const One& one : all) names.push_back(one.function);
  return names;
}

std::unique_ptr<KernelState> BindMany(const std::shared_ptr<const KernelState>& state,
                                      const BindContext& to) {
  auto bound = std::make_unique<BoundMany>();
  bound->plan = std::static_pointer_cast<const Launches>(state);
  bound->stream = &StreamOf(to);
  bound->data_error = StreamOf(to).cuda().data_error();
  bound->step = to.step;
  for (const Launches::One& one : bound->plan->all) {
    const CUfunction function = StreamOf(to).cuda().Kernel(one.file, one.function);
    constexpr unsigned kWithoutAsking = 48 << 10;
    if (one.shape.shared_bytes > kWithoutAsking) {
      CheckDriver(
          Driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                      static_cast<int>(one.shape.shared_bytes)),
          StrCat("giving ", one.function, " shared memory"));
    }
    bound->functions.push_back(function);
  }
  return bound;
}

void RunMany(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundMany&>(state);
  alignas(16) std::byte params[Launches::kMaxParams];
  for (size_t i = 0; i < s.functions.size(); ++i) {
    const Launches::One& one = s.plan->all[i];
    std::memcpy(params, one.params.data(), one.params.size());
    for (const Launches::Pointer& p : one.pointers) {
      char* const at = static_cast<char*>(ptrs[p.place.operand]) + p.place.offset;
      std::memcpy(params + p.at, &at, sizeof at);
    }
    if (one.data_error >= 0) {
      std::memcpy(params + one.data_error, &s.data_error, sizeof s.data_error);
      std::memcpy(params + one.step, &s.step, sizeof s.step);
    }
    LaunchKernel(*s.stream, s.functions[i], one.shape, params, one.params.size());
  }
}

}  // namespace ostria::cuda
