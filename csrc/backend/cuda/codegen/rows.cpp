// SPDX-License-Identifier: Apache-2.0
// The rows form, written as rows_plan.h has it planned. A row belongs to `lanes` threads, which
// take its vectors in turn. In every pass they load some vectors, all of them where the row is kept
// registers, compute and store. Folds over rows gather where the row is kept, or in the piece's
// place of the workspace.
#include <algorithm>

#include "backend/cuda/codegen/rows_plan.h"
#include "backend/cuda/launch/launch.h"

namespace ostria::cuda {
namespace {

constexpr int64_t kMostPieces = 512;  // about four blocks of every multiprocessor

class RowsWriter {
 public:
  RowsWriter(const CanonicalLoop& loop, int vector, const DeviceProps& device)
      : w_(loop, vector, NeedsWide(loop.p)),
        p_(loop.p),
        plan_(w_, device),
        first_column_(loop.first_column()),
        lanes_(plan_.lanes()),
        per_lane_(plan_.per_lane()),
        cluster_(plan_.cluster()),
        registers_(plan_.home() == RowHome::kRegisters),
        shared_(plan_.home() == RowHome::kShared) {}

  LoopWriter& writer() { return w_; }
  const RowsPlan& plan() const { return plan_; }

  void Write() {
    const int rows = plan_.rows_per_block();
    if (cluster_ == 1) {
      w_.Open("OSTRIA_LOOP(@, @_params, ", plan_.threads(), ")");
    } else {
      w_.Open("OSTRIA_LOOP_CLUSTER(@, @_params, ", plan_.threads(), ", ", cluster_, ")");
    }
    w_.Pointers();
    if (!w_.RowFolds().empty()) w_.Parts();
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const int i = static_cast<int>(n);
      if (plan_.place(i) == Place::kUniform) w_.Define(i, "0");
    }
    Shared();
    const auto team = [&](const char* number) {
      return cluster_ == 1 ? StrCat("Index{", number, "}")
                           : StrCat("Index{", number, " / ", cluster_, "}");
    };
    w_.Line("const int lane = ",
            cluster_ == 1
                ? StrCat("threadIdx.x % ", lanes_)
                : StrCat("blockIdx.x % ", cluster_, " * ", plan_.threads(), " + threadIdx.x"),
            ";");
    if (!w_.RowFolds().empty()) {
      w_.Line("const Index piece = ", team("blockIdx.x"), " * ", rows, " + threadIdx.x / ", lanes_,
              ";");
    }
    Gathered(true);
    w_.Line("const Index n = static_cast<Index>(p.n);");
    w_.Line("int turn = 0;");
    // The whole block takes the turn, so that every lane is there for the folds.
    w_.Open("for (Index base = ", team("blockIdx.x"), " * ", rows,
            "; base < n; base += ", team("gridDim.x"), " * ", rows, ", turn ^= 32)");
    const std::string own = StrCat("base + threadIdx.x / ", lanes_);
    if (rows == 1) {
      w_.Line("constexpr bool live = true;");
      w_.Line("const Index row = ", own, ";");
    } else {
      // Threads beyond the last row compute the block's first again, and store nothing of it.
      w_.Line("const bool live = ", own, " < n;");
      w_.Line("const Index row = live ? ", own, " : base;");
    }
    w_.Coordinates(0, first_column_, "row");
    for (int pass = 0; pass <= plan_.last_pass(); ++pass) Pass(pass);
    w_.Close();
    Gathered(false);
    if (cluster_ > 1) w_.Line("SyncCluster();");  // the other block may still read the parts
    w_.Close();
  }

 private:
  using Place = RowsPlan::Place;

  // s<i>: a row of input i; acc<f>: of fold f over rows; shared<f>: of a fold over columns.
  void Shared() {
    if (shared_) w_.Line("OSTRIA_LOOP_DYNAMIC_SHARED(dynamic);");
    const auto place = [&](std::string_view type, const char* name, size_t k, int64_t at) {
      w_.Line("auto* const ", name, k, " = reinterpret_cast<", type, "*>(dynamic + ", at, ");");
    };
    const SharedPlaces& places = plan_.shared();
    for (size_t k = 0; shared_ && k < p_.inputs.size(); ++k) {
      if (places.inputs[k] >= 0) place(StorageType(p_.inputs[k].dtype), "s", k, places.inputs[k]);
    }
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const bool columns = p_.code[n].kind == LoopKind::kFoldCols;
      const std::string type = w_.ValueType(static_cast<int>(n));
      if (shared_ && places.folds[n] >= 0) {
        place(type, columns ? "shared" : "acc", n, places.folds[n]);
      } else if (columns && lanes_ > 32) {
        w_.Line("OSTRIA_LOOP_SHARED(", type, ", shared", n, ", 64);");
      }
    }
  }

  // acc<f>: what this thread has folded over its rows, begun or left in the workspace.
  void Gathered(bool begin) {
    if (w_.RowFolds().empty()) return;
    if (registers_) {
      GatheredInRegisters(begin);
    } else if (GathersShared()) {
      GatheredInShared(begin);
    }
  }
  bool GathersShared() const { return shared_ && plan_.shared().folds[w_.RowFolds().front()] >= 0; }
  void GatheredInShared(bool begin) {
    w_.Open("for (Index i = 0; i < ", plan_.vectors_per_lane(), "; ++i)");
    w_.Line("const Index slot = (i * ", plan_.threads(), " + threadIdx.x) * ", w_.vector, ";");
    if (!begin) w_.Line("const Index c = (i * ", lanes_, " + lane) * ", w_.vector, ";");
    w_.Open(begin ? "" : StrCat("if (c < ", p_.cols(), ")"));
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    for (int f : w_.RowFolds()) {
      const std::string acc = StrCat("acc", f, "[slot + j]");
      if (begin) {
        w_.Line(acc, " = ", w_.FoldStart(f), ";");
      } else {
        w_.Line("part", f, "[piece * ", p_.cols(), " + c + j] = ", acc, ";");
      }
    }
    w_.Close();
    w_.Close();
    w_.Close();
  }
  void GatheredInRegisters(bool begin) {
    for (int f : w_.RowFolds()) {
      if (begin) w_.Line(w_.ValueType(f), " acc", f, "[", per_lane_, "][", w_.vector, "];");
    }
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int k = 0; k < ", per_lane_, "; ++k)");
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    if (!begin) w_.Line("const Index c = (k * ", lanes_, " + lane) * ", w_.vector, " + j;");
    for (int f : w_.RowFolds()) {
      if (begin) {
        w_.Line("acc", f, "[k][j] = ", w_.FoldStart(f), ";");
      } else {
        w_.Line("if (c < ", p_.cols(), ") part", f, "[piece * ", p_.cols(), " + c] = acc", f,
                "[k][j];");
      }
    }
    w_.Close();
    w_.Close();
  }

  // A loop over vectors k of this lane, of which `c` is the first column.
  void OpenVectors() {
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int k = 0; k < ", per_lane_, "; ++k)");
    w_.Line("const Index c = ", registers_ ? "" : "at + ", "(k * ", lanes_, " + lane) * ",
            w_.vector, ";");
    if (!plan_.Exact()) w_.Open("if (c < ", p_.cols(), ")");
    w_.Coordinates(first_column_, p_.rank(), "c");
  }
  void CloseVectors() {
    if (!plan_.Exact()) w_.Close();
    w_.Close();
  }

  void Pass(int pass) {
    RowValues(pass);
    const std::vector<int> folds = plan_.Folds(pass);
    for (int f : folds) BeginFold(f);
    if (!plan_.Roots(pass).empty()) {
      for (int n : plan_.needed(pass)) {
        if (!plan_.kept(n) || p_.code[n].kind == LoopKind::kLoad) continue;
        w_.Line(w_.ValueType(n), " k", n, "[", per_lane_, "][", w_.vector, "];");
      }
      if (!registers_) {
        w_.Open("for (Index at = 0; at < ", p_.cols(),
                "; at += ", int64_t{per_lane_} * lanes_ * w_.vector, ")");
      }
      Loads(pass);
      OpenVectors();
      Vector(pass, folds);
      CloseVectors();
      if (!registers_) w_.Close();
    }
    for (int f : folds) EndFold(f);
  }

  // The state of a fold over columns is a<n>, or e<n> of the sum of exponentials that n is of.
  void BeginFold(int n) {
    const ExponentialSum* const e = plan_.ExponentialsOf(n);
    if (e == nullptr) {
      w_.Line(w_.ValueType(n), " a", n, " = ", w_.FoldStart(n), ";");
    } else if (e->sum == n) {
      w_.Line("Exponentials<", w_.ValueType(n), "> e", n, ";");
    }
  }
  void EndFold(int n) {
    const ExponentialSum* const e = plan_.ExponentialsOf(n);
    const std::string type = w_.ValueType(n), value = StrCat("const ", type, " v", n, " = ");
    if (e == nullptr) return w_.Line(value, Joined(n, StrCat("a", n)), ";");
    if (e->most == n) return w_.Line(value, Joined(n, StrCat("e", e->sum, ".largest")), ";");
    const std::string most = StrCat("v", e->most), scale = w_.Number(n, e->scale);
    w_.Line(value, "ExponentialSum<", e->guarded ? "true" : "false", ">(",
            Joined(n, StrCat("e", n, ".Below(", most, ", ", scale, ")")), ", ", most, ");");
  }
  // What all lanes of the row get of a fold to which each brings `own`.
  std::string Joined(int n, const std::string& own) const {
    const std::string_view fold = FoldName(p_.code[n].fold);
    if (lanes_ <= 32) return StrCat("FoldLanes<", fold, ", ", lanes_, ">(", own, ")");
    return StrCat(cluster_ == 1 ? "FoldBlock<" : "FoldCluster<", fold, ", ", plan_.threads(), ">(",
                  own, ", shared", n, " + turn)");
  }

  // Values per row that need the folds so far, and outputs of them.
  void RowValues(int pass) {
    for (size_t k = 0; k < p_.code.size(); ++k) {
      const int n = static_cast<int>(k);
      const LoopInstr& i = p_.code[n];
      if (plan_.place(n) != Place::kRow || plan_.level(n) != pass ||
          i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows) {
        continue;
      }
      if (i.kind == LoopKind::kLoad) {
        const LoopOperand& o = p_.inputs[i.operand];
        w_.Line("const ", w_.ValueType(n), " v", n, " = Get(x", i.operand, "[",
                w_.Offset(o, 0, first_column_), "]);");
      } else {
        w_.Define(n, "0");
      }
    }
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      const LoopOperand& o = p_.outputs[k];
      if (plan_.output_pass()[k] != pass || w_.StoresFold(static_cast<int>(k)) ||
          plan_.AlongColumns(o) || plan_.place(o.value) == Place::kElement) {
        continue;
      }
      w_.Line("if (live && lane == 0", w_.OncePerPlace(o, 0, first_column_), ") y", k, "[",
              w_.Offset(o, 0, first_column_), "] = Put<", StorageType(o.dtype), ">(v", o.value,
              ");");
    }
  }

  std::vector<int> Read(int pass) const {
    std::vector<int> out;
    for (int n : plan_.needed(pass)) {
      if (p_.code[n].kind == LoopKind::kLoad) out.push_back(p_.code[n].operand);
    }
    return out;
  }
  bool FindsShared(int input, int pass) const { return shared_ && plan_.FindsShared(input, pass); }

  void Loads(int pass) {
    std::vector<int> inputs;
    for (int k : Read(pass)) {
      if (!FindsShared(k, pass)) inputs.push_back(k);
    }
    if (inputs.empty()) return;
    for (int k : inputs) w_.DeclareInput(k, per_lane_);
    for (const bool whole : {true, false}) {
      w_.Open(whole ? "if (aligned)" : "else");
      OpenVectors();
      for (int k : inputs) w_.LoadInput(k, "k", whole, "");
      CloseVectors();
      w_.Close();
    }
  }

  void Vector(int pass, const std::vector<int>& folds) {
    const std::vector<int>& needed = plan_.needed(pass);
    const std::vector<int> stored = plan_.Stored(pass);
    if (shared_) SharedRow(pass);
    w_.Draws(needed, StrCat("uint64_t{row} * ", p_.cols(), " + c"));
    for (int k : stored) w_.DeclareOutput(k);
    std::vector<const ExponentialSum*> exponentials;
    for (int f : folds) {
      const ExponentialSum* const e = plan_.ExponentialsOf(f);
      if (e == nullptr || e->sum != f) continue;
      exponentials.push_back(e);
      w_.Line(w_.ValueType(f), " b", f, "[", w_.vector, "];");
    }
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    Elements(pass);
    for (const ExponentialSum* e : exponentials) w_.Line("b", e->sum, "[j] = v", e->of, ";");
    for (int f : folds) {
      if (plan_.ExponentialsOf(f) != nullptr) continue;
      w_.Line("a", f, " = ", w_.Folded(f, StrCat("a", f), StrCat("v", p_.code[f].args[0])), ";");
    }
    for (int k : stored) w_.SetOutput(k);
    w_.Close();
    for (const ExponentialSum* e : exponentials) {
      w_.Line("e", e->sum, ".Add(b", e->sum, ", ", w_.Number(e->sum, e->scale), ");");
    }
    for (int f : SharedFolds(pass)) {
      w_.Line("StoreVector<", w_.vector, ">(acc", f, " + slot, g", f, ");");
    }
    if (stored.empty()) return;
    w_.Open("if (live)");
    for (int k : stored) w_.StoreOutput(k, "aligned", "");
    w_.Close();
  }

  // What a vector leaves in shared memory for later passes, and finds there.
  void SharedRow(int pass) {
    w_.Line("const Index slot = ",
            cluster_ == 1 ? std::string("c")
                          : StrCat("at / ", cluster_, " + (k * ", plan_.threads(),
                                   " + threadIdx.x) * ", w_.vector),
            ";");
    for (int k : Read(pass)) {
      if (plan_.shared().inputs[k] < 0) continue;
      if (plan_.FindsShared(k, pass)) {
        w_.DeclareInput(k, 1);
        w_.Line("LoadVector<", w_.vector, ">(r", k, "[0], s", k, " + slot);");
      } else {
        w_.Line("StoreVector<", w_.vector, ">(s", k, " + slot, r", k, "[k]);");
      }
    }
    for (int f : SharedFolds(pass)) {
      w_.Line(w_.ValueType(f), " g", f, "[", w_.vector, "];");
      w_.Line("LoadVector<", w_.vector, ">(g", f, ", acc", f, " + slot);");
    }
  }
  std::vector<int> SharedFolds(int pass) const {
    std::vector<int> out;
    for (int f : w_.RowFolds()) {
      if (GathersShared() && plan_.level(p_.code[f].args[0]) == pass) out.push_back(f);
    }
    return out;
  }

  // Element j of a vector, and what it adds to folds over rows.
  void Elements(int pass) {
    if (registers_) {
      for (int n : plan_.ReadIn(pass)) {
        if (p_.code[n].kind == LoopKind::kLoad) {
          w_.Element(n, "k");
        } else {
          w_.Line("const ", w_.ValueType(n), " v", n, " = k", n, "[k][j];");
        }
      }
    }
    for (int n : plan_.needed(pass)) {
      const bool here = p_.code[n].kind == LoopKind::kLoad && FindsShared(p_.code[n].operand, pass);
      w_.Element(n, here ? "0" : "k");
      if (plan_.kept(n) && p_.code[n].kind != LoopKind::kLoad) {
        w_.Line("k", n, "[k][j] = v", n, ";");
      }
    }
    for (int f : w_.RowFolds()) {
      const int arg = p_.code[f].args[0];
      if (plan_.level(arg) != pass) continue;
      if (registers_) {
        const std::string acc = StrCat("acc", f, "[k][j]");
        w_.Line("if (live) ", acc, " = ", w_.Folded(f, acc, StrCat("v", arg)), ";");
      } else if (GathersShared()) {
        const std::string acc = StrCat("g", f, "[j]");
        w_.Line(acc, " = ", w_.Folded(f, acc, StrCat("v", arg)), ";");
      } else {
        const std::string part = StrCat("part", f, "[piece * ", p_.cols(), " + c + j]");
        w_.Line(part, " = base == piece ? v", arg, " : ", w_.Folded(f, part, StrCat("v", arg)),
                ";");
      }
    }
  }

  LoopWriter w_;
  const LoopProgram& p_;
  const RowsPlan plan_;
  const int first_column_, lanes_, per_lane_, cluster_;
  const bool registers_, shared_;
};

// Where much of a row is kept, long vectors need more registers than a thread has. A row that is
// read once is worth more than accesses of 16 bytes of its smallest type.
int RowsVector(const CanonicalLoop& loop, const DeviceProps& device) {
  int longest = VectorFor(loop);
  while (loop.p.sizes.back() % longest != 0) longest /= 2;
  for (int vector = longest; vector >= 2; vector /= 2) {
    if (RowsWriter(loop, vector, device).plan().home() == RowHome::kRegisters) return vector;
  }
  return longest;
}

}  // namespace

void WriteRows(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out) {
  const LoopProgram& p = loop.p;
  RowsWriter rows(loop, RowsVector(loop, device), device);
  const RowsPlan& plan = rows.plan();
  rows.Write();
  const int64_t each = plan.rows_per_block(), blocks = (p.rows() + each - 1) / each;
  const int64_t most = int64_t{16} * std::max(device.multiprocessors, 1) / plan.cluster();
  int64_t teams = std::min<int64_t>(blocks, std::max<int64_t>(most, 1));
  const bool folds = !rows.writer().RowFolds().empty();
  if (folds) teams = std::clamp<int64_t>(blocks / 4, 1, std::max<int64_t>(kMostPieces / each, 64));
  LoopLaunch launch{.function = "@", .shape = {}};
  launch.shape.grid[0] = static_cast<unsigned>(teams * plan.cluster());
  launch.shape.block = static_cast<unsigned>(plan.threads());
  launch.shape.shared_bytes = static_cast<unsigned>(plan.shared().bytes);
  out->launches.push_back(std::move(launch));
  const int64_t pieces = teams * each;
  out->words = {static_cast<uint64_t>(p.rows()), static_cast<uint64_t>(pieces), 0};
  if (folds) AddFinish(&rows.writer(), pieces, out);
  out->repeated_bytes = plan.RepeatedBytes();
  out->text = std::move(rows.writer().out);
  FindAliases(loop, plan.input_pass(), plan.output_pass(), out);
}

}  // namespace ostria::cuda
