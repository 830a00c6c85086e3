// SPDX-License-Identifier: Apache-2.0
// The columns form: folds over rows alone. A block owns `across` vectors of columns of one piece of
// the rows; its threads take rows in turn, several at a time, and join what they folded at the end.
#include <algorithm>

#include "backend/cuda/codegen/loop.h"

namespace ostria::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlocks = 1024;  // about as many are wanted, whatever the device

class ColumnsWriter {
 public:
  ColumnsWriter(const CanonicalLoop& loop, int vector, int unroll)
      : w_(loop, vector, NeedsWide(loop.p)),
        p_(loop.p),
        first_column_(loop.first_column()),
        unroll_(unroll) {
    while (across_ < 32 && across_ * vector < p_.cols()) across_ *= 2;
  }

  LoopWriter& writer() { return w_; }
  int across() const { return across_; }
  int down() const { return kThreads / across_; }

  void Write(bool direct) {
    w_.Open("OSTRIA_LOOP(@, @_params, ", kThreads, ")");
    w_.Pointers();
    if (!direct) w_.Parts();
    known_.assign(p_.code.size(), false);
    Uniform();
    w_.Line("const int tx = threadIdx.x % ", across_, ", ty = threadIdx.x / ", across_, ";");
    w_.Line("const Index c = (Index{blockIdx.x} * ", across_, " + tx) * ", w_.vector, ";");
    w_.Line("const bool inside = c < ", p_.cols(), ";");
    w_.Coordinates(first_column_, p_.rank(), "c");
    ColumnLoads();
    for (int f : w_.RowFolds()) {
      w_.Line(w_.ValueType(f), " acc", f, "[", w_.vector, "];");
      w_.Line("OSTRIA_UNROLL");
      w_.Line("for (int j = 0; j < ", w_.vector, "; ++j) acc", f, "[j] = ", w_.FoldStart(f), ";");
    }
    Rows();
    Join(direct);
    w_.Close();
  }

 private:
  void Uniform() {
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      const auto varies = [&](int32_t a) { return a >= 0 && !known_[a]; };
      if (w_.loop.axes[n] != 0 || i.kind == LoopKind::kFoldRows || i.kind == LoopKind::kDraw ||
          std::any_of(std::begin(i.args), std::end(i.args), varies)) {
        continue;
      }
      w_.Define(static_cast<int>(n), "0");
      known_[n] = true;
    }
  }

  bool AlongRows(const LoopOperand& o) const {
    return std::any_of(o.strides.begin(), o.strides.begin() + first_column_,
                       [](int64_t s) { return s != 0; });
  }
  bool Varies(const LoopOperand& o) const {
    return std::any_of(o.strides.begin(), o.strides.end(), [](int64_t s) { return s != 0; });
  }

  // What is the same in every row is read once.
  void ColumnLoads() {
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      const LoopOperand& o = p_.inputs[k];
      if (!Varies(o) || AlongRows(o)) continue;
      w_.DeclareInput(static_cast<int>(k), 1);
      for (const bool whole : {true, false}) {
        w_.Open(whole ? "if (aligned && inside)" : "else if (inside)");
        w_.LoadInput(static_cast<int>(k), "0", whole, "");
        w_.Close();
      }
    }
  }

  void Rows() {
    std::vector<int> inputs;
    for (size_t k = 0; k < p_.inputs.size(); ++k) {
      if (AlongRows(p_.inputs[k])) inputs.push_back(static_cast<int>(k));
    }
    w_.Line("const Index n = static_cast<Index>(p.n);");
    w_.Line("const Index begin = Index{blockIdx.y} * p.per;");
    w_.Line("const Index end = begin + p.per < n ? begin + p.per : n;");
    w_.Open("for (Index first = begin + ty; first < end; first += ", down() * unroll_, ")");
    w_.Line("const bool whole = aligned && inside && first + ", (unroll_ - 1) * down(), " < end;");
    for (int k : inputs) w_.DeclareInput(k, unroll_);
    if (!inputs.empty()) {
      for (const bool whole : {true, false}) {
        w_.Open(whole ? "if (whole)" : "else");
        EachRow();
        for (int k : inputs) w_.LoadInput(k, "u", whole, "inside && row < end");
        w_.Close();
        w_.Close();
      }
    }
    EachRow();
    w_.Open("if (whole || (inside && row < end))");
    Vector();
    w_.Close();
    w_.Close();
    w_.Close();
  }

  void EachRow() {
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int u = 0; u < ", unroll_, "; ++u)");
    w_.Line("const Index row = first + u * ", down(), ";");
    w_.Coordinates(0, first_column_, "row");
  }

  void Vector() {
    std::vector<int> roots, stored;
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      roots.push_back(p_.outputs[k].value);
      if (!w_.StoresFold(static_cast<int>(k))) stored.push_back(static_cast<int>(k));
    }
    const std::vector<int> needed = Needed(p_, roots, known_);
    w_.Draws(needed, StrCat("uint64_t{row} * ", p_.cols(), " + c"));
    for (int k : stored) w_.DeclareOutput(k);
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    for (int n : needed) {
      const LoopInstr& i = p_.code[n];
      if (i.kind == LoopKind::kFoldRows) {
        const std::string acc = StrCat("acc", n, "[j]");
        w_.Line(acc, " = ", w_.Folded(n, acc, StrCat("v", i.args[0])), ";");
      } else {
        const bool once = i.kind == LoopKind::kLoad && !AlongRows(p_.inputs[i.operand]);
        w_.Element(n, once ? "0" : "u");
      }
    }
    for (int k : stored) w_.SetOutput(k);
    w_.Close();
    for (int k : stored) w_.StoreOutput(k, "aligned", "");
  }

  void Join(bool direct) {
    for (int f : w_.RowFolds()) {
      w_.Line("OSTRIA_LOOP_SHARED(", w_.ValueType(f), ", shared", f, ", ", kThreads, ");");
    }
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    for (int f : w_.RowFolds()) w_.Line("shared", f, "[threadIdx.x] = acc", f, "[j];");
    w_.Line("__syncthreads();");
    w_.FoldThreads(across_);
    w_.Open("if (ty == 0 && inside)");
    w_.Line("const Index column = c + j;");
    if (direct) w_.Coordinates(first_column_, p_.rank(), "column");
    for (int f : w_.RowFolds()) {
      if (direct) {
        w_.StoreFold(f, StrCat("shared", f, "[tx]"));
      } else {
        w_.Line("part", f, "[Index{blockIdx.y} * ", p_.cols(), " + column] = shared", f, "[tx];");
      }
    }
    w_.Close();
    w_.Line("__syncthreads();");
    w_.Close();
  }

  LoopWriter w_;
  const LoopProgram& p_;
  const int first_column_, unroll_;
  int across_ = 1;
  std::vector<bool> known_;
};

}  // namespace

void WriteColumns(const CanonicalLoop& loop, const DeviceProps&, GeneratedLoop* out) {
  const LoopProgram& p = loop.p;
  int vector = VectorFor(loop);
  while (p.sizes.back() % vector != 0) vector /= 2;
  int unroll = MostUnrolled(p);
  while (unroll > 1 && unroll * VectorBytes(loop, vector) > 256) unroll /= 2;
  ColumnsWriter columns(loop, vector, unroll);
  const int64_t width = int64_t{columns.across()} * vector, tiles = (p.cols() + width - 1) / width;
  const int64_t step = int64_t{columns.down()} * unroll;
  const int64_t most = std::clamp<int64_t>(kBlocks / tiles, 1, kBlocks);
  int64_t pieces = std::clamp<int64_t>(p.rows() / (4 * step), 1, most);
  const int64_t per = ((p.rows() + pieces - 1) / pieces + step - 1) / step * step;
  pieces = (p.rows() + per - 1) / per;
  columns.Write(pieces == 1);
  LoopLaunch launch{.function = "@", .shape = {}};
  launch.shape.grid[0] = static_cast<unsigned>(tiles);
  launch.shape.grid[1] = static_cast<unsigned>(pieces);
  launch.shape.block = kThreads;
  out->launches.push_back(std::move(launch));
  out->words = {static_cast<uint64_t>(p.rows()), static_cast<uint64_t>(pieces),
                static_cast<uint64_t>(per)};
  if (pieces > 1) AddFinish(&columns.writer(), pieces, out);
  out->text = std::move(columns.writer().out);
  FindAliases(loop, std::vector<int>(p.inputs.size()), std::vector<int>(p.outputs.size()), out);
}

}  // namespace ostria::cuda
