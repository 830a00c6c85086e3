// SPDX-License-Identifier: Apache-2.0
#include "backend/matmul_desc.h"

#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria {
namespace {

// Axes of one element say nothing, neighbours with matching strides are one axis.
void MergeBatch(MatmulDesc& d) {
  int rank = 0;
  for (int i = 0; i < d.batch_rank; ++i) {
    if (d.batch[i] == 1) continue;
    const int last = rank - 1;
    if (rank > 0 && d.a_batch[last] == d.a_batch[i] * d.batch[i] &&
        d.b_batch[last] == d.b_batch[i] * d.batch[i] &&
        d.y_batch[last] == d.y_batch[i] * d.batch[i]) {
      d.batch[last] *= d.batch[i];
      d.a_batch[last] = d.a_batch[i];
      d.b_batch[last] = d.b_batch[i];
      d.y_batch[last] = d.y_batch[i];
    } else {
      d.batch[rank] = d.batch[i];
      d.a_batch[rank] = d.a_batch[i];
      d.b_batch[rank] = d.b_batch[i];
      d.y_batch[rank] = d.y_batch[i];
      ++rank;
    }
  }
  d.batch_rank = rank;
}

}  // namespace

MatmulDesc DescribeMatmul(const NodeDesc& node) {
  const MemDesc &a = node.inputs[0], &b = node.inputs[1], &y = node.outputs[0];
  const bool ta = node.attr<bool>(ops::MatmulAttr::kTransposeA);
  const bool tb = node.attr<bool>(ops::MatmulAttr::kTransposeB);
  const int am = a.rank - (ta ? 1 : 2), ak = a.rank - (ta ? 2 : 1);
  const int bk = b.rank - (tb ? 1 : 2), bn = b.rank - (tb ? 2 : 1);
  MatmulDesc d;
  d.dtype = a.dtype;
  d.result = y.dtype;
  d.m = a.sizes[am];
  d.k = a.sizes[ak];
  d.n = b.sizes[bn];
  d.a_m = a.strides[am];
  d.a_k = a.strides[ak];
  d.b_k = b.strides[bk];
  d.b_n = b.strides[bn];
  d.y_m = y.strides[y.rank - 2];
  d.y_n = y.strides[y.rank - 1];
  d.batch_rank = y.rank - 2;
  for (int i = 0; i < d.batch_rank; ++i) {
    const int ia = i - (d.batch_rank - (a.rank - 2)), ib = i - (d.batch_rank - (b.rank - 2));
    d.batch[i] = y.sizes[i];
    d.a_batch[i] = ia < 0 || a.sizes[ia] == 1 ? 0 : a.strides[ia];
    d.b_batch[i] = ib < 0 || b.sizes[ib] == 1 ? 0 : b.strides[ib];
    d.y_batch[i] = y.strides[i];
  }
  MergeBatch(d);
  if (const int last = d.batch_rank - 1; last >= 0 && d.b_batch[last] == 0 &&
                                         d.a_batch[last] == d.m * d.a_m &&
                                         d.y_batch[last] == d.m * d.y_m) {
    d.m *= d.batch[last];
    d.batch_rank = last;
  }
  // A stride along one element is free: say it as a dense matrix would.
  if (d.k == 1) d.a_k = d.a_m == 1 ? d.m : 1;
  if (d.m == 1) d.a_m = d.a_k == 1 ? d.k : 1;
  if (d.n == 1) d.b_n = d.b_k == 1 ? d.k : 1;
  if (d.k == 1) d.b_k = d.b_n == 1 ? d.n : 1;
  if (d.n == 1) d.y_n = 1;
  if (d.m == 1) d.y_m = d.n;
  if (node.op == &ops::kMatmulFused) {
    ops::ParseEpilogue(node.attr<std::string>(ops::MatmulAttr::kEpilogue), &d.epilogue);
    const bool may = ops::DefOf(d.epilogue).third == ops::EpilogueOperand::kBias;
    d.has_bias = may && node.inputs.size() == 3;
  }
  return d;
}

}  // namespace ostria
