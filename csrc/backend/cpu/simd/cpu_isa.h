// SPDX-License-Identifier: Apache-2.0
// Which instruction set our kernels run with: the best this CPU and OS offer, lowered by OSTRIA_ISA
// (baseline, avx2, avx512 or avx512_bf16). Resolved once; the kernels of the first three are always
// in the binary, and the last is the library's: AVX-512 with products of bfloat16.
#pragma once

#include <cstdint>
#include <string_view>

namespace ostria {

enum class Isa : uint8_t { kBaseline, kAvx2, kAvx512 };
inline constexpr int kNumIsas = 3;

/// The instruction set in use. Throws Error when OSTRIA_ISA is not one of its names.
Isa CurrentIsa();
/// Of what is compiled once per instruction set, the one in use.
template <class T>
const T& OfCurrentIsa(const T& baseline, const T& avx2, const T& avx512) {
  const T* const all[] = {&baseline, &avx2, &avx512};
  return *all[static_cast<int>(CurrentIsa())];
}
/// The best that this machine can run (AVX2 means AVX2 + FMA + F16C, AVX-512 means F + BW + DQ +
/// VL).
Isa BestIsa();
/// Changes what CurrentIsa() says from now on, never above BestIsa(); for tests and benchmarks.
void SetIsa(Isa isa);

/// Whether products of bfloat16 have instructions of their own (AVX512_BF16): the CPU's, where
/// CurrentIsa() is AVX-512 and OSTRIA_ISA does not stop there.
bool HasBf16Products();
/// Allows or forbids them from now on; for tests and benchmarks.
void AllowBf16Products(bool allow);
std::string_view Name(Isa isa);

}  // namespace ostria
