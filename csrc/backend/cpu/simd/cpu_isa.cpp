// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/cpu_isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "base/error.h"

namespace ostria {
namespace {

constexpr std::string_view kNames[kNumIsas] = {"baseline", "avx2", "avx512"};
constexpr std::string_view kAll = "avx512_bf16";

// What OSTRIA_ISA says, or the most there is.
std::string_view Limit() {
  const char* text = std::getenv("OSTRIA_ISA");
  return text == nullptr || *text == 0 ? kAll : text;
}

Isa FromEnvironment() {
  const std::string_view limit = Limit();
  if (limit == kAll) return BestIsa();
  for (int i = 0; i < kNumIsas; ++i) {
    if (kNames[i] == limit) return std::min(static_cast<Isa>(i), BestIsa());
  }
  Fail(ErrorCode::kInvalidArgument, "OSTRIA_ISA: '", limit,
       "' is not an instruction set; give baseline, avx2, avx512 or avx512_bf16, or unset it for "
       "the best one");
}

std::atomic<Isa>& Current() {
  static std::atomic<Isa> isa{FromEnvironment()};
  return isa;
}

bool CpuHasBf16Products() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

std::atomic<bool>& Bf16Allowed() {
  static std::atomic<bool> allowed{Limit() == kAll && CpuHasBf16Products()};
  return allowed;
}

}  // namespace

Isa BestIsa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c")) {
    return Isa::kBaseline;
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? Isa::kAvx512 : Isa::kAvx2;
#else
  return Isa::kBaseline;
#endif
}

Isa CurrentIsa() { return Current().load(std::memory_order_relaxed); }
void SetIsa(Isa isa) { Current().store(std::min(isa, BestIsa()), std::memory_order_relaxed); }

bool HasBf16Products() {
  return CurrentIsa() == Isa::kAvx512 && Bf16Allowed().load(std::memory_order_relaxed);
}
void AllowBf16Products(bool allow) {
  Bf16Allowed().store(allow && CpuHasBf16Products(), std::memory_order_relaxed);
}

std::string_view Name(Isa isa) { return kNames[static_cast<int>(isa)]; }

}  // namespace ostria
