// SPDX-License-Identifier: Apache-2.0
// From a closed graph to a loop program.
#pragma once

#include <optional>
#include <string>

#include "ir/graph.h"
#include "loop/program.h"

namespace ostria {

/// The program that computes `body`'s outputs from its inputs (dense, in order), or nothing and the
/// reason in `why` (may be null). Sizes must be integers. Ops that are neither functors, casts,
/// folds nor moves along axes are taken apart by their decompositions first.
std::optional<LoopProgram> BuildLoop(const Graph& body, std::string* why = nullptr);

}  // namespace ostria
