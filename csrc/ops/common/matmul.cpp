// SPDX-License-Identifier: Apache-2.0
#include "ops/common/matmul.h"

#include "ops/common/attr_index.h"
#include "ops/common/infer.h"

namespace ostria::ops {

Shape InferProduct(const InferContext& c) {
  RequireSameDType(c, 0, 1);
  RequireNumber(c, 0);
  const Shape &a = c.shape(0), &b = c.shape(1);
  for (int i = 0; i < 2; ++i) {
    if (c.shape(i).rank() < 2) {
      c.Fail("'", InputName(c, i), "' must have rank 2 or more, but has shape ", c.shape(i),
             "; give a vector a second axis with expand_dims");
    }
  }
  const bool ta = c.attr<bool>(MatmulAttr::kTransposeA), tb = c.attr<bool>(MatmulAttr::kTransposeB);
  const int ra = a.rank(), rb = b.rank();
  const Dim m = a[ta ? ra - 1 : ra - 2], ka = a[ta ? ra - 2 : ra - 1];
  const Dim kb = b[tb ? rb - 1 : rb - 2], n = b[tb ? rb - 2 : rb - 1];
  if (Equal(ka, kb) != Tri::kYes) {
    const auto side = [](const Shape& s, bool t) { return StrCat(s, t ? " (transposed)" : ""); };
    c.Fail("cannot multiply shapes ", side(a, ta), " and ", side(b, tb), ": ", ka,
           " columns on the left, ", kb, " rows on the right",
           Equal(ka, kb) == Tri::kUnknown ? ", equal only for some sizes" : "",
           "; they must be equal; transpose or reshape one of them");
  }
  Shape batch_a = a, batch_b = b;
  for (int i = 0; i < 2; ++i) {
    batch_a.Remove(batch_a.rank() - 1);
    batch_b.Remove(batch_b.rank() - 1);
  }
  Shape out = BroadcastShapes(c, batch_a, batch_b);
  out.Append(m);
  out.Append(n);
  return out;
}

double ProductFlops(std::span<const ValueType> inputs, std::span<const ValueType> outputs,
                    std::span<const Attr> attrs) {
  const Shape& a = inputs[0].shape;
  const bool ta = std::get<bool>(attrs[MatmulAttr::kTransposeA]);
  const double k = static_cast<double>(a[a.rank() - (ta ? 2 : 1)].value());
  return 2.0 * k * static_cast<double>(outputs[0].shape.numel());
}

}  // namespace ostria::ops
