// SPDX-License-Identifier: Apache-2.0
// What ctc_loss and its gradient share: operands, attributes and their checks.
#pragma once

#include "ops/common/infer.h"

namespace ostria::ops {

/// Operands of both, in their order; kG is the gradient's alone.
struct CtcInput {
  enum : int { kLogits, kLabels, kLogitLengths, kLabelLengths, kG };
};
struct CtcAttr {
  enum : int { kBlank, kZeroInfinity };
};

inline constexpr InputDef kCtcInputs[] = {{"logits"},
                                          {"labels", Arity::kOne, false},
                                          {"logit_lengths", Arity::kOne, false},
                                          {"label_lengths", Arity::kOne, false},
                                          {"g"}};
inline constexpr AttrDef kCtcAttrs[] = {{"blank", AttrType::kInt, "0"},
                                        {"zero_infinity", AttrType::kBool, "false"}};

/// Checks all operands but g; returns the batch size.
inline Dim InferCtc(const InferContext& c) {
  RequireFloat(c, CtcInput::kLogits);
  RequireRank(c, CtcInput::kLogits, 3, "[batch, time, classes]");
  RequireRank(c, CtcInput::kLabels, 2, "[batch, labels]");
  const Shape& logits = c.shape(CtcInput::kLogits);
  for (int i = CtcInput::kLabels; i <= CtcInput::kLabelLengths; ++i) {
    RequireIndex(c, i);
    if (i > CtcInput::kLabels) RequireRank(c, i, 1, "[batch]");
    RequireEqual(c, logits[0], c.shape(i)[0],
                 StrCat("the batch sizes of 'logits' and '", InputName(c, i), "'"));
  }
  const int64_t blank = c.attr<int64_t>(CtcAttr::kBlank);
  if (!logits[2].is_static()) c.Fail("the number of classes must be known while tracing");
  const int64_t classes = logits[2].value();
  if (blank < -classes || blank >= classes) {
    c.Fail("blank is ", blank, ", but logits with ", classes, " classes have classes ", -classes,
           "..", classes - 1, "; give the class that stands for no label");
  }
  return logits[0];
}

}  // namespace ostria::ops
