// SPDX-License-Identifier: Apache-2.0
// What flows through an input pipeline: a flat list of tensors. Nesting (dicts, tuples) is kept by
// the Python layer. Also how elements are described and compared in messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace ostria::data {

using Element = std::vector<Tensor>;

/// Shape and dtype of one component; -1 stands for a size that may differ between elements.
struct ComponentSpec {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> sizes;
  bool any_shape = false;
};

/// `float32[28, 28, 1]`, `int64[?]`.
std::string ToString(const ComponentSpec& spec);
std::string ToString(const Tensor& tensor);
ComponentSpec SpecOf(const Tensor& tensor);
bool Matches(const ComponentSpec& spec, const Tensor& tensor);

/// Holds what the elements of one stage must look like: given beforehand, or taken from the first.
class ElementCheck {
 public:
  ElementCheck() = default;
  explicit ElementCheck(std::vector<ComponentSpec> given)
      : specs_(std::move(given)), known_(true), given_(true) {}

  /// Throws Error(kInvalidArgument) naming both sides when `element` (the `index`-th) differs.
  void Check(const char* op, const Element& element, int64_t index);
  /// For `out`, a function's result of `in`: sizes may differ from the first where those of `in` do
  /// (the short last batch), dtype and rank never.
  void CheckResult(const char* op, const Element& in, const Element& out, int64_t index);

 private:
  void Check(const char* op, const Element& element, int64_t index, bool exact_sizes);
  std::vector<ComponentSpec> argument_;  // the first `in`
  std::vector<ComponentSpec> specs_;
  bool known_ = false;
  bool given_ = false;
};

/// One tensor per component with a new leading axis. Throws when the elements differ in shape or
/// dtype.
Element Stack(std::span<const Element> elements);

}  // namespace ostria::data
