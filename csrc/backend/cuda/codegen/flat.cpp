// SPDX-License-Identifier: Apache-2.0
// The flat form. A thread takes `unroll` vectors, a block's width apart, loads all of them, then
// computes and stores; blocks stride over the grid. Where the pointers or the end do not allow
// vectors, the same vectors are read and written element by element.
#include <algorithm>

#include "backend/cuda/codegen/loop.h"
#include "backend/cuda/launch/launch.h"

namespace ostria::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostPieces = 1024;  // of a fold over everything

class FlatWriter {
 public:
  FlatWriter(const CanonicalLoop& loop, int vector, int unroll)
      : w_(loop, vector, NeedsWide(loop.p)), p_(loop.p), unroll_(unroll) {}

  LoopWriter& writer() { return w_; }

  void Write(bool direct) {
    w_.Open("OSTRIA_LOOP(@, @_params, ", kThreads, ")");
    w_.Pointers();
    const std::vector<int> uniform = Uniform();
    for (int n : uniform) w_.Define(n, "0");
    w_.Line("const Index n = static_cast<Index>(p.n);");
    w_.Line("const Index vectors = (n + ", w_.vector - 1, ") / ", w_.vector, ";");
    for (int f : w_.RowFolds()) w_.Line(w_.ValueType(f), " a", f, " = ", w_.FoldStart(f), ";");
    const int step = kThreads * unroll_;
    w_.Open("for (Index first = Index{blockIdx.x} * ", step, " + threadIdx.x; first < vectors; ",
            "first += Index{gridDim.x} * ", step, ")");
    Loads();
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int u = 0; u < ", unroll_, "; ++u)");
    Place();
    Vector();
    w_.Close();
    w_.Close();
    if (!w_.RowFolds().empty()) Join(direct);
    w_.Close();
  }

 private:
  std::vector<int> Uniform() {
    std::vector<int> out;
    known_.assign(p_.code.size(), false);
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      if (w_.loop.axes[n] != 0 || i.kind == LoopKind::kFoldRows || i.kind == LoopKind::kDraw)
        continue;
      const auto varies = [&](int32_t a) { return a >= 0 && !known_[a]; };
      if (std::any_of(std::begin(i.args), std::end(i.args), varies)) continue;
      out.push_back(static_cast<int>(n));
      known_[n] = true;
    }
    return out;
  }

  void Place() {
    w_.Line("const Index i = (first + u * ", kThreads, ") * ", w_.vector, ";");
    w_.Coordinates(0, p_.rank(), "i");
  }

  bool Varies(const LoopOperand& o) const {
    return std::any_of(o.strides.begin(), o.strides.end(), [](int64_t s) { return s != 0; });
  }

  void Loads() {
    w_.Line("const bool whole = aligned && (first + ", (unroll_ - 1) * kThreads + 1, ") * ",
            w_.vector, " <= n;");
    std::vector<int> inputs;
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      if (Varies(p_.inputs[k])) inputs.push_back(static_cast<int>(k));
    }
    for (int k : inputs) w_.DeclareInput(k, unroll_);
    for (const bool whole : {true, false}) {
      w_.Open(whole ? "if (whole)" : "else");
      w_.Line("OSTRIA_UNROLL");
      w_.Open("for (int u = 0; u < ", unroll_, "; ++u)");
      Place();
      for (int k : inputs) {
        w_.LoadInput(k, "u", whole, w_.IsStill(p_.inputs[k]) ? "i < n" : "i + j < n");
      }
      w_.Close();
      w_.Close();
    }
  }

  // One vector: r<k>[u] are loaded.
  void Vector() {
    std::vector<int> roots, stored;
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      roots.push_back(p_.outputs[k].value);
      if (!w_.StoresFold(static_cast<int>(k))) stored.push_back(static_cast<int>(k));
    }
    const std::vector<int> needed = Needed(p_, roots, known_);
    w_.Draws(needed, "i");
    for (int k : stored) w_.DeclareOutput(k);
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    for (int n : needed) {
      if (p_.code[n].kind != LoopKind::kFoldRows) {
        w_.Element(n, "u");
      } else {
        w_.Line("if (whole || i + j < n) a", n, " = ",
                w_.Folded(n, StrCat("a", n), StrCat("v", p_.code[n].args[0])), ";");
      }
    }
    for (int k : stored) w_.SetOutput(k);
    w_.Close();
    for (int k : stored) {
      w_.StoreOutput(k, "whole", w_.IsStill(p_.outputs[k]) ? "i < n" : "i + j < n");
    }
  }

  // What the threads of a block have folded.
  void Join(bool direct) {
    if (!direct) w_.Parts();
    for (int f : w_.RowFolds()) {
      w_.Line("OSTRIA_LOOP_SHARED(", w_.ValueType(f), ", shared", f, ", 32);");
      w_.Line("a", f, " = FoldBlock<", FoldName(p_.code[f].fold), ", ", kThreads, ">(a", f,
              ", shared", f, ");");
    }
    w_.Open("if (threadIdx.x == 0)");
    for (int f : w_.RowFolds()) {
      if (direct) {
        w_.StoreFold(f, StrCat("a", f));
      } else {
        w_.Line("part", f, "[blockIdx.x] = a", f, ";");
      }
    }
    w_.Close();
  }

  LoopWriter w_;
  const LoopProgram& p_;
  const int unroll_;
  std::vector<bool> known_;
};

}  // namespace

void WriteFlat(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out) {
  const int64_t n = loop.p.rows() * loop.p.cols();
  const int vector = VectorFor(loop);
  int unroll = MostUnrolled(loop.p);
  while (unroll > 1 && unroll * VectorBytes(loop, vector) > 256) unroll /= 2;
  FlatWriter probe(loop, vector, unroll);
  const bool folds = !probe.writer().RowFolds().empty();
  // Few elements are spread over the device, but what is folded must not depend on it.
  const int64_t spread = int64_t{2} * std::max(device.multiprocessors, 1) * kThreads * vector;
  while (!folds && unroll > 1 && n < spread * unroll) unroll /= 2;
  unsigned grid = GridFor(n, int64_t{vector} * unroll, kThreads, device);
  if (folds) {
    const int64_t each = int64_t{4} * kThreads * vector * unroll;
    grid = static_cast<unsigned>(std::clamp<int64_t>((n + each - 1) / each, 1, kMostPieces));
  }
  FlatWriter flat(loop, vector, unroll);
  flat.Write(grid == 1);
  LoopLaunch launch{.function = "@", .shape = {}};
  launch.shape.grid[0] = grid;
  launch.shape.block = kThreads;
  out->launches.push_back(std::move(launch));
  out->words = {static_cast<uint64_t>(n), grid, 0};
  if (folds && grid > 1) AddFinish(&flat.writer(), grid, out);
  out->text = std::move(flat.writer().out);
  FindAliases(loop, std::vector<int>(loop.p.inputs.size()), std::vector<int>(loop.p.outputs.size()),
              out);
}

}  // namespace ostria::cuda
