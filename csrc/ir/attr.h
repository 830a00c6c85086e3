// SPDX-License-Identifier: Apache-2.0
// Attributes of a node: a fixed-order vector of a closed variant. Op files name the indices; there
// are no string keys at run time (names appear in the printer, the parser and the bindings only).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/tensor.h"

namespace ostria {

class Graph;
using Body = std::shared_ptr<const Graph>;  // a closed sub-graph: captures are operands of its node

using Attr = std::variant<bool, int64_t, double, std::string, DType, std::vector<int64_t>, Shape,
                          Tensor, Body>;

/// In the order of Attr's alternatives.
enum class AttrType : uint8_t {
  kBool,
  kInt,
  kFloat,
  kString,
  kDType,
  kInts,
  kShape,
  kTensor,
  kBody
};

inline AttrType TypeOf(const Attr& attr) { return static_cast<AttrType>(attr.index()); }

/// "int", "shape", …: as the stubs and the messages call it.
std::string_view Name(AttrType type);

/// Structural equality: tensors by dtype, shape and bytes; bodies by their printed text.
bool SameAttr(const Attr& a, const Attr& b);
/// Consistent with SameAttr within one process.
uint64_t HashAttr(const Attr& attr);

/// The graph text of one attribute (`true`, `-1`, `0.5`, `"same"`, `float32`, `ints[1, 2]`,
/// `shape[batch, 3]`, `tensor<float32[2]>{…}`, `{ body }`).
std::string ToString(const Attr& attr);

}  // namespace ostria
