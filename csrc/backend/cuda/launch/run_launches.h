// SPDX-License-Identifier: Apache-2.0
// Slices that are written to other slices, many to one, as launches of kernels/sort and
// kernels/data: what scatters, segments and put_along_axis end with.
#pragma once

#include <string>

#include "backend/cuda/launch/launches.h"
#include "kernels/data/runs.h"

namespace ostria::cuda {

/// Of rule "update", "sum", "mean", "max" or "min": what names of its kernels end in for a dtype.
std::string RuleSuffix(std::string_view rule, DType dtype);

struct ManyToOne {
  std::string_view rule;
  DType dtype = DType::kFloat32;
  kernels::KeysParams keys;  // all but the pointers
  kernels::RunsParams runs;  // outer, count, size, inner
};

/// Whether keys and positions are numbers of 32 bits.
Support SupportsRuns(const ManyToOne& what);

/// Appends the launches. Operand `indices` picks the slices of the node's output, which holds what
/// the slices of operand `updates` meet.
void AddRuns(Launches* to, const NodeDesc& node, const ManyToOne& what, int indices, int updates);

/// Appends the copy of operand 0 to the output, which does nothing where the two are one memory.
void AddScatterCopy(Launches* to, const NodeDesc& node);

}  // namespace ostria::cuda
