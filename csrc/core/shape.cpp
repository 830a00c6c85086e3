// SPDX-License-Identifier: Apache-2.0
#include "core/shape.h"

namespace ostria {

std::string ToString(const Shape& shape) { return StrCat("[", Join(shape.dims(), ", "), "]"); }

Shape Substitute(const Shape& shape, const Binding& binding) {
  Shape out;
  for (Dim d : shape) out.Append(Substitute(d, binding));
  return out;
}

}  // namespace ostria
