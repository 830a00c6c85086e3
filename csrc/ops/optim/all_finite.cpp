// SPDX-License-Identifier: Apache-2.0
#include "ops/common/build.h"
#include "ops/common/infer.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

using Ints = std::vector<int64_t>;

constexpr InputDef kInputs[] = {{"xs", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {kOuterRows};

void Infer(InferContext& c) {
  if (c.size() == 0) c.Fail("needs at least one tensor");
  const Ints& outer = c.attr<Ints>(0);
  if (!outer.empty() && static_cast<int>(outer.size()) != c.size()) {
    c.Fail("outer has ", outer.size(), " entries for ", c.size(),
           " tensors; give one per tensor or none");
  }
  for (int i = 0; i < c.size(); ++i) {
    RequireFloat(c, i);
    const int64_t rows = OuterRows(outer, i);
    if (rows == 0) continue;
    const Shape& shape = c.shape(i);
    if (rows < 0 || shape.rank() != 1 || !shape.is_static() || shape[0].value() < rows) {
      c.Fail("tensor ", i, " of shape ", shape, " cannot hold a column of ", rows,
             " elements and a row");
    }
  }
  c.Out(DType::kBool, {});
}

// A product of two vectors is finite where both are and their largest elements' product is.
Value Largest(Builder& b, Value vectors, int64_t begin, int64_t end) {
  const Value part = b(kSlice, {vectors}, {Ints{begin}, Ints{end}, Ints{1}});
  return b(kMax, {b(kAbs, {part})});
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const Ints& outer = std::get<Ints>(attrs[0]);
  Value all;
  for (size_t i = 0; i < in.size(); ++i) {
    Value x = in[i];
    const int64_t rows = OuterRows(outer, static_cast<int>(i));
    if (const int64_t size = rows == 0 ? 0 : b.shape(x)[0].value(); rows != 0 && rows < size) {
      x = b(kMultiply, {Largest(b, x, 0, rows), Largest(b, x, rows, size)});
    }
    const Value one = b(kAll, {b(kIsfinite, {x})});
    all = all.valid() ? b(kLogicalAnd, {all, one}) : one;
  }
  return {all};
}

}  // namespace

constinit const OpDef ops::kAllFinite = {
    .name = "all_finite",
    .doc =
        "Whether no element of any of the tensors is infinite or NaN; bool[].\n"
        "outer: rows of tensors that are given as a column and a row, 0 for others.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.internal = true},
    .infer = Infer,
    .grad = NoGrad("the result is bool"),
    .decompose = Decompose,
    .on_empty = OnEmpty::kRun,
};

}  // namespace ostria
