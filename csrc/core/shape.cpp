// SPDX-License-Identifier: Apache-2.0
#include "core/shape.h"

namespace ostria {

std::string ToString(const Shape& shape) { return StrCat("[", Join(shape.dims(), ", "), "]"); }

void Shape::FailTooLarge() const {
  Fail(ErrorCode::kInvalidArgument, "a tensor of shape ", ToString(*this),
       " has more elements than any machine can hold; check its sizes");
}

Shape Substitute(const Shape& shape, const Binding& binding) {
  Shape out;
  for (Dim d : shape) out.Append(Substitute(d, binding));
  return out;
}

}  // namespace ostria
