// SPDX-License-Identifier: Apache-2.0
#include "ops/common/via_float32.h"

#include "ops/common/build.h"

namespace ostria::ops {
namespace {

bool IsHalf(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

}  // namespace

bool HasHalf(const Builder& b, std::span<const Value> inputs) {
  for (Value v : inputs) {
    if (IsHalf(b.dtype(v))) return true;
  }
  return false;
}

std::vector<Value> ViaFloat32(Builder& b, const OpDef& op, std::span<const Value> inputs,
                              std::span<const Attr> attrs) {
  std::vector<ValueType> types, results;
  std::vector<Value> wide;
  for (Value v : inputs) {
    types.push_back(b.type(v));
    wide.push_back(IsHalf(b.dtype(v)) ? Cast(b, v, DType::kFloat32) : v);
  }
  InferTypes(op, types, attrs, &results);
  std::vector<Value> out = b.Multi(op, wide, {attrs.begin(), attrs.end()});
  for (size_t i = 0; i < out.size(); ++i) out[i] = Cast(b, out[i], results[i].dtype);
  return out;
}

}  // namespace ostria::ops
