// SPDX-License-Identifier: Apache-2.0
// What the files of scan/ share: one axis that is run along, forwards or in reverse, each result
// with its own element or exclusive of it.
#pragma once

#include <span>

#include "ir/grad_context.h"
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/common/reduce.h"
#include "ops/ops.h"

namespace ostria::ops {

enum ScanAttribute { kScanAxis, kScanExclusive, kScanReverse };
inline constexpr AttrDef kScanAttrs[] = {{"axis", AttrType::kInt, "0"},
                                         {"exclusive", AttrType::kBool, "false"},
                                         {"reverse", AttrType::kBool, "false"}};

/// cumsum and cumprod: the shape of x, and the dtype that sums and products come out in.
inline void InferCumulative(InferContext& c) {
  NormalizeAxis(c, c.attr<int64_t>(kScanAxis), c.shape(0));
  c.Out(AccumulateDType(c.dtype(0)), c.shape(0));
}

/// The attributes of a scan in the node's direction or against it.
inline std::vector<Attr> ScanAttrs(GradContext& c, bool exclusive, bool against) {
  const bool reverse = c.attr<bool>(kScanReverse);
  return {c.attr<int64_t>(kScanAxis), exclusive, against ? !reverse : reverse};
}

}  // namespace ostria::ops
