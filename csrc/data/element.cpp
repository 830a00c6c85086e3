// SPDX-License-Identifier: Apache-2.0
#include "data/element.h"

#include <algorithm>
#include <cstring>

namespace ostria::data {

std::string ToString(const ComponentSpec& spec) {
  if (spec.any_shape) return StrCat(spec.dtype, "[...]");
  return StrCat(
      spec.dtype, "[",
      Join(spec.sizes, ", ", [](int64_t n) { return n < 0 ? std::string("?") : StrCat(n); }), "]");
}

ComponentSpec SpecOf(const Tensor& tensor) {
  ComponentSpec spec{tensor.dtype(), {}, false};
  for (Dim d : tensor.shape()) spec.sizes.push_back(d.value());
  return spec;
}

std::string ToString(const Tensor& tensor) { return ToString(SpecOf(tensor)); }

bool Matches(const ComponentSpec& spec, const Tensor& tensor) {
  if (spec.dtype != tensor.dtype()) return false;
  if (spec.any_shape) return true;
  const auto rank = static_cast<size_t>(tensor.shape().rank());
  if (spec.sizes.size() != rank) return false;
  for (size_t i = 0; i < rank; ++i) {
    if (spec.sizes[i] >= 0 && spec.sizes[i] != tensor.shape()[static_cast<int>(i)].value()) {
      return false;
    }
  }
  return true;
}

void ElementCheck::Check(const char* op, const Element& element, int64_t index) {
  Check(op, element, index, true);
}

void ElementCheck::CheckResult(const char* op, const Element& in, const Element& out,
                               int64_t index) {
  if (!known_) {
    for (const Tensor& t : in) argument_.push_back(SpecOf(t));
  }
  bool same = in.size() == argument_.size();
  for (size_t i = 0; same && i < in.size(); ++i) same = Matches(argument_[i], in[i]);
  Check(op, out, index, same);
}

void ElementCheck::Check(const char* op, const Element& element, int64_t index, bool exact_sizes) {
  if (!known_) {
    for (const Tensor& t : element) specs_.push_back(SpecOf(t));
    known_ = true;
    return;
  }
  const char* expected_of = given_ ? "the signature says " : "the first element has ";
  if (element.size() != specs_.size()) {
    Fail(ErrorCode::kInvalidArgument, op, ": element ", index, " has ", element.size(),
         " components, but ", expected_of, specs_.size());
  }
  for (size_t i = 0; i < element.size(); ++i) {
    if (Matches(specs_[i], element[i])) continue;
    if (!exact_sizes && specs_[i].dtype == element[i].dtype() &&
        static_cast<int>(specs_[i].sizes.size()) == element[i].shape().rank()) {
      continue;
    }
    Fail(ErrorCode::kInvalidArgument, op, ": component ", i, " of element ", index, " is ",
         ToString(element[i]), ", but ", expected_of, ToString(specs_[i]),
         "; all elements must have the same dtype and shape",
         given_ || !argument_.empty()
             ? ""
             : " (a generator may declare axes that vary as None in output_signature)");
  }
}

Element Stack(std::span<const Element> elements) {
  Element out;
  const Element& first = elements.front();
  for (size_t c = 0; c < first.size(); ++c) {
    const Tensor& like = first[c];
    Shape shape = like.shape();
    shape.Insert(0, static_cast<int64_t>(elements.size()));
    Tensor batch = Tensor::Empty(like.dtype(), shape);
    const auto bytes = static_cast<size_t>(like.bytes());
    auto* to = static_cast<std::byte*>(batch.raw());
    for (size_t i = 0; i < elements.size(); ++i) {
      if (elements[i].size() != first.size()) {
        Fail(ErrorCode::kInvalidArgument, "batch: element ", i, " of the batch has ",
             elements[i].size(), " components, but element 0 has ", first.size());
      }
      const Tensor& t = elements[i][c];
      if (t.dtype() != like.dtype() || !(t.shape() == like.shape())) {
        Fail(ErrorCode::kInvalidArgument, "batch: component ", c, " of element ", i,
             " of the batch is ", ToString(t), ", but element 0 has ", ToString(like),
             "; elements of one batch must have the same dtype and shape; pad or crop them with "
             "map");
      }
      if (bytes > 0) std::memcpy(to + i * bytes, t.raw(), bytes);
    }
    out.push_back(std::move(batch));
  }
  return out;
}

}  // namespace ostria::data
