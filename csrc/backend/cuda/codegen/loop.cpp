// SPDX-License-Identifier: Apache-2.0
// The canonical form of a loop program.
#include "backend/cuda/codegen/loop.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace ostria::cuda {
namespace {

uint64_t Mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9E3779B97F4A7C15ull;
  return h ^ (h >> 29);
}

class Maker {
 public:
  explicit Maker(const LoopProgram& from) : from_(from) {}

  CanonicalLoop Run() {
    ChooseAxes();
    alias_.resize(from_.code.size());
    std::iota(alias_.begin(), alias_.end(), 0);
    bool folds = false;
    for (size_t n = 0; n < from_.code.size(); ++n) {
      const LoopInstr& i = from_.code[n];
      const bool of_one = (i.kind == LoopKind::kFoldCols && from_.cols() == 1) ||
                          (i.kind == LoopKind::kFoldRows && from_.rows() == 1);
      if (of_one) alias_[n] = alias_[i.args[0]];
      folds |= !of_one && (i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows);
    }
    if (!folds) to_.p.column_axes = 0;
    Emit();
    while (Merge()) {
    }
    to_.axes = LoopAxes(to_.p);
    return std::move(to_);
  }

 private:
  void ChooseAxes() {
    for (int d = 0; d < from_.rank(); ++d) {
      axis_.push_back(from_.sizes[d] == 1 ? -1 : to_.p.rank());
      if (from_.sizes[d] == 1) continue;
      to_.p.sizes.push_back(from_.sizes[d]);
      to_.p.column_axes += d >= from_.rank() - from_.column_axes;
    }
  }

  LoopOperand Operand(const LoopOperand& o) const {
    LoopOperand out{.dtype = o.dtype, .strides = {}};
    for (int d = 0; d < from_.rank(); ++d) {
      if (axis_[d] >= 0) out.strides.push_back(o.strides[d]);
    }
    return out;
  }

  // What a value is made of, without the numbers of instructions and operands.
  void Hash() {
    for (size_t n = 0; n < from_.code.size(); ++n) {
      const LoopInstr& i = from_.code[n];
      uint64_t h = Mix(static_cast<uint64_t>(i.kind), static_cast<uint64_t>(i.dtype));
      if (i.kind == LoopKind::kScalar) h = Mix(h, static_cast<uint64_t>(i.op));
      h = Mix(h, static_cast<uint64_t>(i.fold));
      h = Mix(h, std::bit_cast<uint64_t>(i.number[0]));
      if (i.kind == LoopKind::kIndex) h = Mix(h, static_cast<uint64_t>(i.operand));
      if (i.kind == LoopKind::kLoad) h = Mix(h, HashOf(from_.inputs[i.operand]));
      for (int32_t a : i.args) h = Mix(h, a < 0 ? 0 : hash_[alias_[a]]);
      hash_.push_back(h);
    }
  }
  static uint64_t HashOf(const LoopOperand& o) {
    uint64_t h = static_cast<uint64_t>(o.dtype);
    for (int64_t s : o.strides) h = Mix(h, static_cast<uint64_t>(s));
    return h;
  }

  int32_t Input(int32_t k) {
    const auto known = std::find(to_.inputs.begin(), to_.inputs.end(), k);
    if (known != to_.inputs.end()) return static_cast<int32_t>(known - to_.inputs.begin());
    to_.inputs.push_back(k);
    to_.p.inputs.push_back(Operand(from_.inputs[k]));
    return static_cast<int32_t>(to_.inputs.size()) - 1;
  }
  int64_t Stream(int64_t stream) {
    const auto known = std::find(to_.streams.begin(), to_.streams.end(), stream);
    if (known != to_.streams.end()) return known - to_.streams.begin();
    to_.streams.push_back(stream);
    return static_cast<int64_t>(to_.streams.size()) - 1;
  }

  int32_t Place(int32_t n) {
    n = alias_[n];
    if (moved_[n] >= 0) return moved_[n];
    LoopInstr i = from_.code[n];
    for (int32_t& a : i.args) {
      if (a >= 0) a = Place(a);
    }
    if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kDraw) i.operand = Input(i.operand);
    if (i.kind == LoopKind::kDraw) i.stream = Stream(i.stream);
    if (i.kind == LoopKind::kIndex) {
      i.operand = axis_[i.operand];
      if (i.operand < 0) i = {.kind = LoopKind::kNumber, .dtype = i.dtype};
    }
    auto& code = to_.p.code;
    const auto same = std::find(code.begin(), code.end(), i);
    moved_[n] = static_cast<int32_t>(same - code.begin());
    if (same == code.end()) code.push_back(i);
    return moved_[n];
  }

  void Emit() {
    Hash();
    moved_.assign(from_.code.size(), -1);
    to_.outputs.resize(from_.outputs.size());
    std::iota(to_.outputs.begin(), to_.outputs.end(), 0);
    const auto key = [&](int k) {
      const LoopOperand& o = from_.outputs[k];
      return Mix(hash_[alias_[o.value]], HashOf(o));
    };
    std::stable_sort(to_.outputs.begin(), to_.outputs.end(),
                     [&](int a, int b) { return key(a) < key(b); });
    for (int k : to_.outputs) {
      LoopOperand o = Operand(from_.outputs[k]);
      o.value = Place(from_.outputs[k].value);
      to_.p.outputs.push_back(std::move(o));
    }
  }

  bool MayMerge(int d) const {
    const LoopProgram& p = to_.p;
    if (d + 1 == p.rank() - p.column_axes) return false;
    for (const LoopInstr& i : p.code) {
      if (i.kind == LoopKind::kIndex && (i.operand == d || i.operand == d + 1)) return false;
    }
    for (const auto* list : {&p.inputs, &p.outputs}) {
      for (const LoopOperand& o : *list) {
        if (o.strides[d] != o.strides[d + 1] * p.sizes[d + 1]) return false;
      }
    }
    return true;
  }

  bool Merge() {
    LoopProgram& p = to_.p;
    for (int d = 0; d + 1 < p.rank(); ++d) {
      if (!MayMerge(d)) continue;
      if (d >= p.rank() - p.column_axes) --p.column_axes;
      p.sizes[d + 1] *= p.sizes[d];
      p.sizes.erase(p.sizes.begin() + d);
      for (auto* list : {&p.inputs, &p.outputs}) {
        for (LoopOperand& o : *list) o.strides.erase(o.strides.begin() + d);
      }
      for (LoopInstr& i : p.code) {
        if (i.kind == LoopKind::kIndex && i.operand > d) --i.operand;
      }
      return true;
    }
    return false;
  }

  const LoopProgram& from_;
  CanonicalLoop to_;
  std::vector<int> axis_;       // of the program -> of the canonical one, -1: of size 1
  std::vector<int32_t> alias_;  // an instruction -> the one whose value it has
  std::vector<int32_t> moved_;
  std::vector<uint64_t> hash_;
};

}  // namespace

CanonicalLoop Canonical(const LoopProgram& program) { return Maker(program).Run(); }

std::vector<int> Needed(const LoopProgram& p, const std::vector<int>& roots,
                        const std::vector<bool>& known) {
  std::vector<bool> used(p.code.size());
  for (int r : roots) used[r] = true;
  for (size_t n = p.code.size(); n-- > 0;) {
    if (!used[n] || known[n]) continue;
    for (int32_t a : p.code[n].args) {
      if (a >= 0) used[a] = true;
    }
  }
  std::vector<int> out;
  for (size_t n = 0; n < p.code.size(); ++n) {
    if (used[n] && !known[n]) out.push_back(static_cast<int>(n));
  }
  return out;
}

bool NeedsWide(const LoopProgram& p) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (p.rows() * p.cols() >= kMost) return true;
  for (const auto* list : {&p.inputs, &p.outputs}) {
    for (const LoopOperand& o : *list) {
      int64_t last = 0;
      for (int d = 0; d < p.rank(); ++d) last += (p.sizes[d] - 1) * o.strides[d];
      if (last >= kMost) return true;
    }
  }
  return false;
}

bool CallsLibrary(const LoopProgram& p) {
  return std::any_of(p.code.begin(), p.code.end(), [](const LoopInstr& i) {
    using enum kernels::ScalarOp;
    constexpr kernels::ScalarOp kLong[] = {
        kPow,  kMod,  kFloorDivide, kAtan2, kSin,   kCos,   kTan,  kAsin,  kAcos,
        kAtan, kSinh, kCosh,        kAsinh, kAcosh, kAtanh, kLog2, kLog10, kNextAfter};
    return i.kind == LoopKind::kScalar &&
           (i.dtype == DType::kFloat64 ||
            std::find(std::begin(kLong), std::end(kLong), i.op) != std::end(kLong));
  });
}

int MostUnrolled(const LoopProgram& p) {
  if (CallsLibrary(p) || p.code.size() > 48) return 1;
  const bool draws = std::any_of(p.code.begin(), p.code.end(),
                                 [](const LoopInstr& i) { return i.kind == LoopKind::kDraw; });
  return draws ? 2 : 4;
}

int VectorFor(const CanonicalLoop& loop) {
  const LoopProgram& p = loop.p;
  if (p.rank() == 0) return 1;
  int64_t smallest = 16;
  for (const auto* list : {&p.inputs, &p.outputs}) {
    for (const LoopOperand& o : *list) {
      if (o.strides.back() == 1) smallest = std::min(smallest, SizeOf(o.dtype));
    }
  }
  int vector = static_cast<int>(std::min<int64_t>(8, 16 / smallest));
  if (CallsLibrary(p)) vector = std::min(vector, 4);
  while (vector > 1 && VectorBytes(loop, vector) > 512) vector /= 2;
  // The outermost size is a parameter, and its last vector need not be whole.
  while (p.rank() > 1 && p.sizes.back() % vector != 0) vector /= 2;
  return vector;
}

int64_t VectorBytes(const CanonicalLoop& loop, int vector) {
  int64_t bytes = 0;
  for (const auto* list : {&loop.p.inputs, &loop.p.outputs}) {
    for (const LoopOperand& o : *list) {
      if (!o.strides.empty() && o.strides.back() != 0) bytes += vector * SizeOf(o.dtype);
    }
  }
  return bytes;
}

}  // namespace ostria::cuda
