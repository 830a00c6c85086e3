// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/codegen/exponentials.h"

#include <cmath>
#include <optional>

namespace ostria::cuda {
namespace {

using kernels::ScalarOp;

class Finder {
 public:
  explicit Finder(const LoopProgram& p) : p_(p) {}

  std::optional<ExponentialSum> At(int n) const {
    const LoopInstr& sum = p_.code[n];
    if (!IsFold(sum, LoopFold::kSum) || !IsFloat(sum.dtype)) return std::nullopt;
    const LoopInstr* const e = Scalar(sum.args[0], ScalarOp::kExp);
    if (e == nullptr) return std::nullopt;
    ExponentialSum out{.sum = n};
    int32_t below = e->args[0];
    if (const LoopInstr* const product = Scalar(below, ScalarOp::kMultiply)) {
      const bool first = Number(product->args[0]) != nullptr;
      const LoopInstr* const scale = Number(product->args[first ? 0 : 1]);
      if (scale == nullptr || !(scale->number[0] > 0) || !std::isfinite(scale->number[0])) {
        return std::nullopt;
      }
      out.scale = scale->number[0];
      below = product->args[first ? 1 : 0];
    }
    const LoopInstr* const difference = Scalar(below, ScalarOp::kSubtract);
    if (difference == nullptr) return std::nullopt;
    out.of = difference->args[0];
    out.most = difference->args[1];
    if (const LoopInstr* const where = Scalar(out.most, ScalarOp::kWhere)) {
      const LoopInstr* const finite = Scalar(where->args[0], ScalarOp::kIsFinite);
      const LoopInstr* const other = Number(where->args[2]);
      if (finite == nullptr || finite->args[0] != where->args[1] || other == nullptr ||
          !std::isfinite(other->number[0])) {
        return std::nullopt;
      }
      out.most = where->args[1];
      out.guarded = true;
    }
    const LoopInstr& most = p_.code[out.most];
    if (!IsFold(most, LoopFold::kMax) || most.args[0] != out.of) return std::nullopt;
    return out;
  }

 private:
  static bool IsFold(const LoopInstr& i, LoopFold fold) {
    return i.kind == LoopKind::kFoldCols && i.fold == fold;
  }
  const LoopInstr* Scalar(int32_t n, ScalarOp op) const {
    const LoopInstr& i = p_.code[n];
    return i.kind == LoopKind::kScalar && i.op == op ? &i : nullptr;
  }
  const LoopInstr* Number(int32_t n) const {
    return p_.code[n].kind == LoopKind::kNumber ? &p_.code[n] : nullptr;
  }
  const LoopProgram& p_;
};

}  // namespace

std::vector<ExponentialSum> FindExponentialSums(const LoopProgram& p) {
  std::vector<ExponentialSum> out;
  for (size_t n = 0; n < p.code.size(); ++n) {
    if (const auto found = Finder(p).At(static_cast<int>(n))) out.push_back(*found);
  }
  return out;
}

}  // namespace ostria::cuda
