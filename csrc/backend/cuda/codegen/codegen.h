// SPDX-License-Identifier: Apache-2.0
// From a loop program to CUDA C++. Three forms:
//   flat     every element by itself, in vectors; sums of everything
//   rows     folds over columns whose value is read again: a few lanes, a warp, a block or two
//            blocks of a cluster per row, which stays in registers or shared memory while it is
//            short enough, and is read again otherwise (rows_plan.h)
//   columns  folds over rows: a grid of pieces, whose partial folds a second kernel joins
// The text begins with the program, as a comment. It names neither the node nor its operands, and
// the size of the outermost axis is a parameter: equal layers have equal text. No device is needed.
// The order of every fold depends on sizes alone.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/device.h"
#include "loop/program.h"

namespace ostria::cuda {

/// Pointers and words together are at most as many.
constexpr int kMostLoopWords = 384;

struct LoopLaunch {
  std::string function;
  LaunchShape shape;
};

struct GeneratedLoop {
  std::string text;       // the kernels, to stand behind LoopPrelude()
  std::string_view form;  // "flat", "rows", "columns"
  std::vector<LoopLaunch> launches;
  /// The parameters of every launch: these pointers (numbers of the program's inputs, then
  /// outputs), the workspace's, and these words.
  std::vector<int> pointers;
  std::vector<uint64_t> words;
  int64_t workspace_bytes = 0;
  int64_t repeated_bytes = 0;               // that are read and written beside every operand once
  std::vector<std::vector<bool>> alias_ok;  // [output][input]
};

/// The kernels of `program`, or nothing and the reason in `why` (may be null).
std::optional<GeneratedLoop> GenerateLoop(const LoopProgram& program, const DeviceProps& device,
                                          std::string* why = nullptr);

/// What every source of loops begins with.
std::string_view LoopPrelude();

}  // namespace ostria::cuda
