// SPDX-License-Identifier: Apache-2.0
// Rows of several tables beside each other, as a model reads them that has a table for each of its
// columns. Pass join_gathers makes it of gather and concat.
#include "ir/builder.h"
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

using Ints = std::vector<int64_t>;

constexpr InputDef kInputs[] = {{"parts", Arity::kVariadic, false}};
constexpr AttrDef kAttrs[] = {{"gathers", AttrType::kInts}, {"axis", AttrType::kInt, "0"}};

void Infer(InferContext& c) {
  const Ints& gathers = c.attr<Ints>(GatherConcatAttr::kGathers);
  int parts = 0;
  for (int64_t is_gather : gathers) parts += is_gather != 0 ? 2 : 1;
  if (gathers.empty() || parts != c.size()) {
    c.Fail("'gathers' tells of ", parts, " parts, but ", c.size(),
           " were given; give 1 for a table and its indices, 0 for a tensor, at least one");
  }
  Shape out;
  int axis = 0;
  for (size_t k = 0, part = 0; k < gathers.size(); ++k) {
    const int i = static_cast<int>(part);
    Shape mine = c.shape(i);
    RequireSameDType(c, 0, i);
    if (gathers[k] != 0) {
      RequireIndex(c, i + 1);
      const Shape& indices = c.shape(i + 1);
      if (mine.rank() == 0) c.Fail("table ", k, " has rank 0, so it has no rows; give it an axis");
      if (mine[0] == Dim(0) && indices.is_static() && indices.numel() > 0) {
        c.Fail("table ", k, " of shape ", mine, " has no rows to take, but ", indices.numel(),
               " indices were given");
      }
      mine = GatheredShape(mine, 0, indices);
    }
    part += gathers[k] != 0 ? 2 : 1;
    if (k == 0) {
      if (mine.rank() == 0) c.Fail("a tensor of rank 0 has no axis to join along");
      axis = NormalizeAxis(c, c.attr<int64_t>(GatherConcatAttr::kAxis), mine);
      out = mine;
      continue;
    }
    bool fits = mine.rank() == out.rank();
    for (int d = 0; fits && d < out.rank(); ++d) {
      fits = d == axis || Equal(mine[d], out[d]) == Tri::kYes;
    }
    if (!fits) {
      c.Fail("tensor ", k, " has shape ", mine, ", which does not fit ", out,
             "; joined along axis ", axis, ", all other sizes must be equal");
    }
    out[axis] = out[axis] + mine[axis];
  }
  c.Out(c.dtype(0), out);
}

std::vector<Value> Decompose(Builder& b, std::span<const Value> in, std::span<const Attr> attrs) {
  const LocationId location = b.location();
  std::vector<Value> tensors;
  size_t part = 0;
  for (int64_t is_gather : std::get<Ints>(attrs[GatherConcatAttr::kGathers])) {
    if (is_gather == 0) {
      tensors.push_back(in[part++]);
      continue;
    }
    b.set_location(PartOf(location, static_cast<int>(tensors.size())));
    tensors.push_back(b(kGather, {in[part], in[part + 1]}, {int64_t{0}}));
    part += 2;
  }
  b.set_location(location);
  return {b(kConcat, tensors, {attrs[GatherConcatAttr::kAxis]})};
}

}  // namespace

constinit const OpDef ops::kGatherConcat = {
    .name = "gather_concat",
    .doc =
        "concat of tensors of which some are gather(table, indices), rows of a table along its "
        "first axis.\n"
        "parts: in the order of the result a table and its indices (int32 or int64, as for "
        "gather), or a\n"
        "tensor.\n"
        "gathers: of each joined tensor 1 when it is a table and indices, 0 when it is one part "
        "as it is.\n"
        "axis: the axis along which they follow each other.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOneOutput,
    .traits = {.checks_data = true, .internal = true},
    .infer = Infer,
    .grad = NoGrad("it is made after differentiation"),
    .decompose = Decompose,
    .flops = NoFlops,
};

}  // namespace ostria
