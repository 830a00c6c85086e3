// SPDX-License-Identifier: Apache-2.0
#include "loop/program.h"

namespace ostria {
namespace {

using kernels::ScalarOp;

constexpr int64_t kMostElements = int64_t{1} << 48;

struct Check {
  const LoopProgram& p;
  int at = -1;  // instruction

  template <class... Args>
  [[noreturn]] void Fail(const Args&... args) const {
    throw Error(ErrorCode::kInvalidArgument,
                at < 0 ? StrCat("loop: ", args...) : StrCat("loop: %", at, ": ", args...));
  }
  const LoopInstr& Arg(const LoopInstr& i, int k) const {
    if (i.args[k] < 0 || i.args[k] >= at) Fail("argument ", k, " is not an earlier value");
    if (p.code[i.args[k]].kind == LoopKind::kFoldRows) {
      Fail("argument ", k, " is a fold over rows, which can only be stored");
    }
    return p.code[i.args[k]];
  }
  void NoMoreArgs(const LoopInstr& i, int from) const {
    for (int k = from; k < 3; ++k) {
      if (i.args[k] != -1) Fail("takes ", from, " argument(s)");
    }
  }

  void Space() const {
    if (p.rank() > kMaxRank) Fail("rank ", p.rank(), " is over ", kMaxRank);
    if (p.column_axes < 0 || p.column_axes > p.rank()) {
      Fail(p.column_axes, " column axes of ", p.rank());
    }
    int64_t n = 1;
    for (int64_t size : p.sizes) {
      if (size < 1 || size > kMostElements || (n *= size) > kMostElements) {
        Fail("the size [", Join(p.sizes, ", "), "] is empty or too large");
      }
    }
  }
  void Operand(const LoopOperand& o, std::string_view what, size_t i) const {
    if (static_cast<int>(o.strides.size()) != p.rank()) {
      Fail(what, " ", i, " has ", o.strides.size(), " strides for ", p.rank(), " axes");
    }
  }

  void Scalar(const LoopInstr& i) const {
    const kernels::ScalarOpInfo& info = kernels::InfoOf(i.op);
    NoMoreArgs(i, info.arity);
    const int data = i.op == ScalarOp::kWhere ? 1 : 0;
    if (data == 1 && Arg(i, 0).dtype != DType::kBool) Fail("the condition must be bool");
    const DType dtype = Arg(i, data).dtype;
    for (int k = data; k < info.arity; ++k) {
      if (Arg(i, k).dtype != dtype) {
        Fail("arguments of ", info.name, " are ", dtype, " and ", Arg(i, k).dtype);
      }
    }
    const uint8_t kind = IsFloat(dtype)          ? kernels::kFloats
                         : dtype == DType::kBool ? kernels::kBools
                                                 : kernels::kInts;
    if ((info.kinds & kind) == 0) Fail(info.name, " is not defined for ", dtype);
    if (i.dtype != (info.is_bool ? DType::kBool : dtype)) {
      Fail(info.name, " of ", dtype, " is not ", i.dtype);
    }
  }

  void Instr(const LoopInstr& i) const {
    if (LoopDType(i.dtype) != i.dtype) Fail(i.dtype, " is a storage type; values are float32");
    switch (i.kind) {
      case LoopKind::kLoad:
        NoMoreArgs(i, 0);
        if (i.operand < 0 || i.operand >= static_cast<int>(p.inputs.size())) {
          Fail("there is no input ", i.operand);
        }
        if (i.dtype != LoopDType(p.inputs[i.operand].dtype)) {
          Fail("input ", i.operand, " is ", p.inputs[i.operand].dtype, ", not ", i.dtype);
        }
        return;
      case LoopKind::kNumber: return NoMoreArgs(i, 0);
      case LoopKind::kIndex:
        NoMoreArgs(i, 0);
        if (i.operand < 0 || i.operand >= p.rank()) Fail("there is no axis ", i.operand);
        if (i.dtype != DType::kInt64 && i.dtype != DType::kInt32) Fail("an index is an integer");
        return;
      case LoopKind::kScalar: return Scalar(i);
      case LoopKind::kCast: Arg(i, 0); return NoMoreArgs(i, 1);
      case LoopKind::kFoldCols:
      case LoopKind::kFoldRows:
        NoMoreArgs(i, 1);
        if (Arg(i, 0).dtype != i.dtype) Fail("a fold has the dtype of what it folds");
        return;
      case LoopKind::kDraw:
        NoMoreArgs(i, 1);
        if (i.operand < 0 || i.operand >= static_cast<int>(p.inputs.size()) ||
            p.inputs[i.operand].dtype != DType::kInt64) {
          Fail("there is no int64 input ", i.operand, " to be the key");
        }
        if (Arg(i, 0).dtype != DType::kInt64) Fail("the number of the first element is int64");
        if (i.dtype != DType::kBool) Fail("a draw is bool");
        if (!(i.number[0] >= 0 && i.number[0] <= 1)) Fail("a draw's share is in [0, 1]");
        return;
    }
  }
};

}  // namespace

int64_t LoopProgram::rows() const {
  int64_t n = 1;
  for (int d = 0; d < rank() - column_axes; ++d) n *= sizes[d];
  return n;
}

int64_t LoopProgram::cols() const {
  int64_t n = 1;
  for (int d = rank() - column_axes; d < rank(); ++d) n *= sizes[d];
  return n;
}

std::vector<uint8_t> LoopAxes(const LoopProgram& p) {
  static_assert(kMaxRank <= 8);
  const int first_column = p.rank() - p.column_axes;
  const auto rows = static_cast<uint8_t>((1u << first_column) - 1);
  std::vector<uint8_t> out;
  for (const LoopInstr& i : p.code) {
    unsigned axes = 0;
    switch (i.kind) {
      case LoopKind::kLoad:
        for (int d = 0; d < p.rank(); ++d) {
          if (p.sizes[d] > 1 && p.inputs[i.operand].strides[d] != 0) axes |= 1u << d;
        }
        break;
      case LoopKind::kNumber: break;
      case LoopKind::kIndex:
        if (p.sizes[i.operand] > 1) axes |= 1u << i.operand;
        break;
      case LoopKind::kScalar:
      case LoopKind::kCast:
        for (int32_t a : i.args) {
          if (a >= 0) axes |= out[a];
        }
        break;
      case LoopKind::kFoldCols: axes = out[i.args[0]] & rows; break;
      case LoopKind::kFoldRows: axes = out[i.args[0]] & ~static_cast<unsigned>(rows); break;
      case LoopKind::kDraw:
        for (int d = 0; d < p.rank(); ++d) {
          if (p.sizes[d] > 1) axes |= 1u << d;
        }
        break;
    }
    out.push_back(static_cast<uint8_t>(axes));
  }
  return out;
}

void Verify(const LoopProgram& p) {
  Check check{p};
  check.Space();
  for (size_t i = 0; i < p.inputs.size(); ++i) check.Operand(p.inputs[i], "input", i);
  for (const LoopInstr& i : p.code) {
    ++check.at;
    check.Instr(i);
  }
  const std::vector<uint8_t> axes = LoopAxes(p);
  check.at = 0;
  for (const LoopInstr& i : p.code) {
    if (i.kind == LoopKind::kDraw && axes[i.args[0]] != 0) {
      check.Fail("the number of the first element is not the same everywhere");
    }
    ++check.at;
  }
  check.at = -1;
  for (size_t i = 0; i < p.outputs.size(); ++i) {
    const LoopOperand& o = p.outputs[i];
    check.Operand(o, "output", i);
    if (o.value < 0 || o.value >= static_cast<int>(p.code.size())) {
      check.Fail("output ", i, " stores %", o.value, ", which does not exist");
    }
    if (LoopDType(o.dtype) != p.code[o.value].dtype) {
      check.Fail("output ", i, " is ", o.dtype, ", but stores ", p.code[o.value].dtype);
    }
    for (int d = 0; d < p.rank(); ++d) {
      if (o.strides[d] == 0 && (axes[o.value] >> d & 1) != 0) {
        check.Fail("output ", i, " writes different values to one place along axis ", d);
      }
    }
  }
}

}  // namespace ostria
