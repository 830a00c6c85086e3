// SPDX-License-Identifier: Apache-2.0
// The flat form. A thread takes `unroll` vectors, a block's width apart, loads all of them, then
// computes and stores; blocks stride over the grid. Where the pointers or the end do not allow
// vectors, the same vectors are read and written element by element.
#include <algorithm>

#include "backend/cuda/codegen_loop.h"
#include "backend/cuda/launch.h"
#include "kernels/scalar/philox.h"

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

  void Loads() {
    w_.Line("const bool whole = aligned && (first + ", (unroll_ - 1) * kThreads + 1, ") * ",
            w_.vector, " <= n;");
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      const LoopOperand& o = p_.inputs[k];
      if (!Varies(o)) continue;
      w_.Line(StorageType(o.dtype), " r", k, "[", unroll_, "][", Count(o), "];");
    }
    w_.Open("if (whole)");
    LoadAll(true);
    w_.Close();
    w_.Open("else");
    LoadAll(false);
    w_.Close();
  }

  bool Varies(const LoopOperand& o) const {
    return std::any_of(o.strides.begin(), o.strides.end(), [](int64_t s) { return s != 0; });
  }
  int Count(const LoopOperand& o) const { return w_.IsStill(o) ? 1 : w_.vector; }

  void LoadAll(bool whole) {
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int u = 0; u < ", unroll_, "; ++u)");
    Place();
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      const LoopOperand& o = p_.inputs[k];
      if (!Varies(o)) continue;
      const std::string at = w_.Offset(o, 0, p_.rank()), type(StorageType(o.dtype));
      if (whole && w_.IsVector(o)) {
        w_.Line("LoadVector<", w_.vector, ">(r", k, "[u], x", k, " + ", at, ");");
      } else {
        w_.Line("OSTRIA_UNROLL");
        w_.Line("for (int j = 0; j < ", Count(o), "; ++j) r", k,
                "[u][j] = ", whole ? "" : "i + j < n ? ", "x", k, "[", at,
                w_.IsStill(o) ? "" : StrCat(" + j * ", o.strides.back()), "]",
                whole ? "" : StrCat(" : ", type, "()"), ";");
      }
    }
    w_.Close();
  }

  // One vector: r<k>[u] are loaded.
  void Vector() {
    std::vector<int> roots;
    for (const LoopOperand& o : p_.outputs) roots.push_back(o.value);
    const std::vector<int> needed = Needed(p_, roots, known_);
    for (int n : needed) {
      const LoopInstr& i = p_.code[n];
      if (i.kind != LoopKind::kDraw) continue;
      w_.Line("bool d", n, "[", w_.vector, "];");
      w_.Line("Draw<", w_.vector, ">(d", n, ", key", n, ", static_cast<uint64_t>(v", i.args[0],
              ") + i, ", kernels::WordLimit(i.number[0]), "ull);");
    }
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      if (IsFold(k)) continue;
      w_.Line(StorageType(p_.outputs[k].dtype), " w", k, "[", w_.vector, "];");
    }
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    for (int n : needed) Element(n);
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      if (IsFold(k)) continue;
      w_.Line("w", k, "[j] = Put<", StorageType(p_.outputs[k].dtype), ">(v", p_.outputs[k].value,
              ");");
    }
    w_.Close();
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      if (!IsFold(k)) Store(k);
    }
  }

  bool IsFold(size_t k) const { return p_.code[p_.outputs[k].value].kind == LoopKind::kFoldRows; }

  void Element(int n) {
    const LoopInstr& i = p_.code[n];
    const std::string type = w_.ValueType(n);
    switch (i.kind) {
      case LoopKind::kLoad:
        return w_.Line("const ", type, " v", n, " = Get(r", i.operand,
                       w_.IsStill(p_.inputs[i.operand]) ? "[u][0]);" : "[u][j]);");
      case LoopKind::kDraw: return w_.Line("const bool v", n, " = d", n, "[j];");
      case LoopKind::kFoldRows:
        return w_.Line("if (whole || i + j < n) a", n, " = ",
                       w_.Folded(n, StrCat("a", n), StrCat("v", i.args[0])), ";");
      default: return w_.Define(n, StrCat("c", p_.rank() - 1, " + j"));
    }
  }

  void Store(size_t k) {
    const LoopOperand& o = p_.outputs[k];
    const std::string at = w_.Offset(o, 0, p_.rank());
    const std::string once = w_.OncePerPlace(o, 0, p_.rank());
    if (w_.IsStill(o)) {
      return w_.Line("if (i < n", once, ") y", k, "[", at, "] = w", k, "[0];");
    }
    if (!once.empty()) w_.Open("if (", once.substr(4), ")");
    if (w_.IsVector(o)) {
      w_.Open("if (whole)");
      w_.Line("StoreVector<", w_.vector, ">(y", k, " + ", at, ", w", k, ");");
      w_.Close();
      w_.Open("else");
    }
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    w_.Line("if (i + j < n) y", k, "[", at, " + j * ", o.strides.back(), "] = w", k, "[j];");
    w_.Close();
    if (w_.IsVector(o)) w_.Close();
    if (!once.empty()) w_.Close();
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
  int unroll = CallsLibrary(loop.p) || loop.p.code.size() > 48 ? 1 : 4;
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
