// SPDX-License-Identifier: Apache-2.0
// The loops that models are made of, at the widths of models.
#pragma once

#include <string>
#include <vector>

#include "ir/builder.h"
#include "loop/build.h"
#include "ops/ops.h"

namespace ostria {

struct ModelLoop {
  std::string name;
  Graph body;
  LoopProgram program() const {
    std::string why;
    auto p = BuildLoop(body, &why);
    if (!p) throw Error(ErrorCode::kInternal, StrCat(name, ": ", why));
    return std::move(*p);
  }
};

/// `rows` is the number of rows of all of them.
std::vector<ModelLoop> ModelLoops(int64_t rows);

}  // namespace ostria
