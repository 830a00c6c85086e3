// SPDX-License-Identifier: Apache-2.0
// Which instruction set our kernels run with: the best this CPU and OS offer, lowered by OSTRIA_ISA
// (baseline, avx2 or avx512). Resolved once; the kernels of all three are always in the binary.
#pragma once

#include <cstdint>
#include <string_view>

namespace ostria {

enum class Isa : uint8_t { kBaseline, kAvx2, kAvx512 };
inline constexpr int kNumIsas = 3;

/// The instruction set in use. Throws Error when OSTRIA_ISA is not one of the three names.
Isa CurrentIsa();
/// The best that this machine can run (AVX2 means AVX2 + FMA + F16C, AVX-512 means F + BW + DQ +
/// VL).
Isa BestIsa();
/// Changes what CurrentIsa() says from now on, never above BestIsa(); for tests and benchmarks.
void SetIsa(Isa isa);
std::string_view Name(Isa isa);

}  // namespace ostria
