// SPDX-License-Identifier: Apache-2.0
// One functor over strided inputs as a loop program, run by the tile interpreter.
#pragma once

#include <vector>

#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/tile_program.h"
#include "base/check.h"
#include "loop/program.h"

namespace ostria {

inline constexpr int kMaxOneOpRank = 8;

struct OneOpArgs {
  ScalarOp op;
  DType dtype;           // of the data inputs (where: of its second and third; the first is bool)
  int rank;              // at most 8
  const int64_t* sizes;  // of the dense output
  const int64_t (*strides)[kMaxOneOpRank];  // per input, in elements; 0 repeats
  double params[2] = {};
};

class OneOp {
 public:
  explicit OneOp(const OneOpArgs& a) {
    const int n = kernels::Arity(a.op);
    LoopProgram p;
    p.sizes.assign(a.sizes, a.sizes + a.rank);
    LoopInstr call{.kind = LoopKind::kScalar, .op = a.op, .number = {a.params[0], a.params[1]}};
    for (int i = 0; i < n; ++i) {
      const DType dtype = a.op == ScalarOp::kWhere && i == 0 ? DType::kBool : a.dtype;
      p.inputs.push_back({.dtype = dtype, .strides = {a.strides[i], a.strides[i] + a.rank}});
      p.code.push_back({.kind = LoopKind::kLoad, .dtype = LoopDType(dtype), .operand = i});
      call.args[i] = i;
    }
    call.dtype = LoopDType(ElementwiseResult(a.op, a.dtype));
    p.code.push_back(call);
    LoopOperand out{.dtype = ElementwiseResult(a.op, a.dtype), .value = n};
    out.strides.assign(static_cast<size_t>(a.rank), 1);
    for (int d = a.rank - 1; d >= 0; --d) {
      out.strides[d] = numel_;
      numel_ *= a.sizes[d];
    }
    p.outputs.push_back(out);
    std::string why;
    auto tiles = cpu::MakeTiles(p, 2, &why);
    OSTRIA_CHECK(tiles.has_value(), kernels::Name(a.op), ": ", why);
    tiles_ = std::move(*tiles);
    workspace_.resize(static_cast<size_t>(cpu::WorkspaceBytes(tiles_)) + 64);
  }
  /// Dense inputs of the output's size, `n` elements each.
  OneOp(ScalarOp op, DType dtype, int64_t n, double param = 0)
      : OneOp(OneOpArgs{op, dtype, 1, &n, kFlat, {param, 0}}) {}

  int64_t numel() const { return numel_; }

  void Run(std::vector<const void*> in, void* out) {
    std::vector<void*> ptrs;
    for (size_t i = 0; i < tiles_.inputs.size(); ++i) ptrs.push_back(const_cast<void*>(in[i]));
    ptrs.push_back(out);
    ptrs.push_back(workspace_.data() +
                   (64 - reinterpret_cast<uintptr_t>(workspace_.data()) % 64) % 64);
    cpu::RunTiles(tiles_, ptrs.data());
  }

 private:
  static constexpr int64_t kFlat[3][kMaxOneOpRank] = {{1}, {1}, {1}};
  cpu::TileProgram tiles_;
  int64_t numel_ = 1;
  std::vector<std::byte> workspace_;
};

}  // namespace ostria
