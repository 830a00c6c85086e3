// SPDX-License-Identifier: Apache-2.0
#include "backend/along_axis_node.h"

#include "ops/common/along_axis.h"
#include "ops/common/infer.h"

namespace ostria {

int AlongAxisOf(const NodeDesc& node) {
  return ops::Axis(node.attr<int64_t>(ops::AlongAxisAttr::kAxis), node.inputs[0].rank);
}

Support NothingBroadcastsAlong(const NodeDesc& node) {
  const MemDesc& x = node.inputs[0];
  const int axis = AlongAxisOf(node);
  for (const MemDesc& m : node.inputs.subspan(1)) {
    bool alike = m.rank == x.rank;
    for (int k = 0; alike && k < x.rank; ++k) {
      alike = m.sizes[k] == (k == axis ? node.inputs[1].sizes[k] : x.sizes[k]);
    }
    if (!alike) return Support::No("an input broadcasts");
  }
  return Support::Yes();
}

}  // namespace ostria
