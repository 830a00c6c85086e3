// SPDX-License-Identifier: Apache-2.0
// What a rank will compute, in a form that ranks compare before they compute it: sizes may still be
// symbols, so it is the same whatever batch a rank holds. Names of state, ops with versions,
// attributes, types, and collectives in their order are part of it; lines of source and what a plan
// decides are not.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace ostria {

struct Fingerprint {
  /// Equal for equal graphs, on every machine. No protection against those who want to deceive.
  std::array<uint8_t, 32> hash{};
  /// The graph's text, one node a line. Of a line that is long, its beginning and its hash.
  std::vector<std::string> lines;
};

/// `graph`: a traced one, as a CompiledGraph holds it.
Fingerprint FingerprintOf(const Graph& graph);

/// 64 hexadecimal digits.
std::string ToString(const std::array<uint8_t, 32>& hash);

}  // namespace ostria
