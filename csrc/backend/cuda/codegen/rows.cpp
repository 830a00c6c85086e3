// SPDX-License-Identifier: Apache-2.0
// The rows form. Folds over columns come one after the other: pass 0 computes what needs none of
// them, pass k what needs those of pass k - 1. A row belongs to `lanes` threads. While it is short
// they keep what later passes read in registers; otherwise every pass reads and computes it again.
// Folds over rows gather in registers too, or in the piece's place of the workspace.
#include <algorithm>
#include <bit>

#include "backend/cuda/codegen/loop.h"
#include "backend/cuda/launch/launch.h"

namespace ostria::cuda {
namespace {

constexpr int64_t kMostPieces = 512;  // about four blocks of every multiprocessor
constexpr int kRegisters = 64;        // 32-bit, of a thread, for what it keeps of a row
constexpr int kFewRegisters = 16;     // the same where a block has 1024 threads
constexpr int kBlock = 256;           // threads, where several rows share a block

class RowsWriter {
 public:
  RowsWriter(const CanonicalLoop& loop, int vector)
      : w_(loop, vector, NeedsWide(loop.p)), p_(loop.p), first_column_(loop.first_column()) {
    Levels();
    Keep(true);
    Shape();
  }

  LoopWriter& writer() { return w_; }
  int threads() const { return threads_; }
  int rows_per_block() const { return threads_ / lanes_; }
  bool streams() const { return stream_; }
  const std::vector<int>& input_pass() const { return input_pass_; }
  const std::vector<int>& output_pass() const { return output_pass_; }

  void Write() {
    w_.Open("OSTRIA_LOOP(@, @_params, ", threads_, ")");
    w_.Pointers();
    if (!w_.RowFolds().empty()) w_.Parts();
    for (size_t n = 0; n < p_.code.size(); ++n) {
      if (place_[n] == Place::kUniform) w_.Define(static_cast<int>(n), "0");
    }
    for (size_t n = 0; n < p_.code.size(); ++n) {
      if (p_.code[n].kind != LoopKind::kFoldCols || lanes_ <= 32) continue;
      w_.Line("OSTRIA_LOOP_SHARED(", w_.ValueType(static_cast<int>(n)), ", shared", n, ", 64);");
    }
    w_.Line("const int lane = threadIdx.x % ", lanes_, ";");
    if (!w_.RowFolds().empty()) {
      w_.Line("const Index piece = Index{blockIdx.x} * ", rows_per_block(), " + threadIdx.x / ",
              lanes_, ";");
    }
    if (!stream_) Gathered(true);
    w_.Line("const Index n = static_cast<Index>(p.n);");
    w_.Line("int turn = 0;");
    // The whole block takes the turn, so that every lane is there for the folds.
    w_.Open("for (Index base = Index{blockIdx.x} * ", rows_per_block(),
            "; base < n; base += ", "Index{gridDim.x} * ", rows_per_block(), ", turn ^= 32)");
    const std::string own = StrCat("base + threadIdx.x / ", lanes_);
    if (rows_per_block() == 1) {
      w_.Line("constexpr bool live = true;");
      w_.Line("const Index row = ", own, ";");
    } else {
      // Threads beyond the last row compute the block's first again, and store nothing of it.
      w_.Line("const bool live = ", own, " < n;");
      w_.Line("const Index row = live ? ", own, " : base;");
    }
    w_.Coordinates(0, first_column_, "row");
    for (int pass = 0; pass <= last_pass_; ++pass) Pass(pass);
    w_.Close();
    if (!stream_) Gathered(false);
    w_.Close();
  }

 private:
  enum class Place : uint8_t { kUniform, kRow, kElement };

  void Levels() {
    const unsigned columns = ~((1u << first_column_) - 1);
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      int level = 0;
      Place place = Place::kUniform;
      for (int32_t a : i.args) {
        if (a < 0) continue;
        level = std::max(level, level_[a]);
        place = std::max(place, place_[a]);
      }
      if (i.kind == LoopKind::kFoldCols) {
        ++level;
        place = Place::kRow;
      } else if (i.kind == LoopKind::kDraw) {
        place = Place::kElement;
      } else if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kIndex) {
        const unsigned axes = w_.loop.axes[n];
        place = axes == 0 ? Place::kUniform : (axes & columns) == 0 ? Place::kRow : Place::kElement;
      }
      level_.push_back(level);
      place_.push_back(place);
    }
    for (const LoopOperand& o : p_.outputs) {
      output_pass_.push_back(level_[o.value]);
      last_pass_ = std::max(last_pass_, level_[o.value]);
    }
  }

  bool AlongColumns(const LoopOperand& o) const {
    return std::any_of(o.strides.begin() + first_column_, o.strides.end(),
                       [](int64_t s) { return s != 0; });
  }

  // What is computed in a pass: folds of both kinds, and elements to store.
  std::vector<int> Roots(int pass) const {
    std::vector<int> out;
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      const bool fold = i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows;
      if (fold && level_[i.args[0]] == pass) out.push_back(i.args[0]);
    }
    for (int k : Stored(pass)) out.push_back(p_.outputs[k].value);
    return out;
  }
  std::vector<int> Stored(int pass) const {
    std::vector<int> out;
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      if (output_pass_[k] == pass && !w_.StoresFold(static_cast<int>(k)) &&
          (AlongColumns(p_.outputs[k]) || place_[p_.outputs[k].value] == Place::kElement)) {
        out.push_back(static_cast<int>(k));
      }
    }
    return out;
  }

  // Which elements each pass computes, and which of them it leaves to later ones.
  void Keep(bool registers) {
    const size_t size = p_.code.size();
    std::vector<bool> known(size);
    for (size_t n = 0; n < size; ++n) known[n] = place_[n] != Place::kElement;
    std::vector<int> made(size, -1);
    kept_.assign(size, false);
    needed_.clear();
    input_pass_.assign(p_.inputs.size(), 0);
    for (int pass = 0; pass <= last_pass_; ++pass) {
      needed_.push_back(Needed(p_, Roots(pass), known));
      for (int n : needed_.back()) {
        if (p_.code[n].kind == LoopKind::kLoad) input_pass_[p_.code[n].operand] = pass;
        made[n] = pass;
      }
      if (registers) {
        for (int n : needed_.back()) known[n] = true;
      }
    }
    for (int pass = 0; registers && pass <= last_pass_; ++pass) {
      for (int n : ReadIn(pass)) {
        if (made[n] >= 0 && made[n] < pass) kept_[n] = true;
      }
    }
  }

  // Elements that the pass reads without computing them.
  std::vector<int> ReadIn(int pass) const {
    std::vector<bool> here(p_.code.size()), read(p_.code.size());
    for (int n : needed_[pass]) here[n] = true;
    for (int n : needed_[pass]) {
      for (int32_t a : p_.code[n].args) {
        if (a >= 0) read[a] = true;
      }
    }
    for (int n : Roots(pass)) read[n] = true;
    std::vector<int> out;
    for (size_t n = 0; n < p_.code.size(); ++n) {
      if (read[n] && !here[n] && place_[n] == Place::kElement) out.push_back(static_cast<int>(n));
    }
    return out;
  }

  // 32-bit registers per element of a row that a thread holds.
  double Held() const {
    double bytes = 0;
    for (const LoopOperand& o : p_.inputs) {
      if (AlongColumns(o) && !w_.IsStill(o)) bytes += static_cast<double>(SizeOf(o.dtype));
    }
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      const bool held = (kept_[n] && i.kind != LoopKind::kLoad) || i.kind == LoopKind::kFoldRows;
      if (held) bytes += static_cast<double>(std::max<int64_t>(SizeOf(i.dtype), 4));
    }
    // Arithmetic in double holds as much again.
    const bool doubles = std::any_of(p_.code.begin(), p_.code.end(),
                                     [](const LoopInstr& i) { return i.dtype == DType::kFloat64; });
    return doubles ? bytes / 2 : bytes / 4;
  }

  void Shape() {
    const int64_t vectors = p_.cols() / w_.vector;
    const auto fits = [&](int64_t per_lane, int registers) {
      return static_cast<double>(per_lane * w_.vector) * Held() <= registers;
    };
    const auto take = [&](int64_t lanes, int threads) {
      lanes_ = static_cast<int>(lanes);
      threads_ = threads;
      per_lane_ = static_cast<int>((vectors + lanes - 1) / lanes);
    };
    // A few lanes or a warp.
    const auto lanes = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(vectors)));
    const int64_t longest = w_.RowFolds().empty() ? 1024 : 32 * w_.vector;
    if (p_.cols() <= longest && fits((vectors + 31) / 32, kRegisters)) {
      return take(std::min<int64_t>(lanes, 32), kBlock);
    }
    struct Block {
      int threads, registers;
    };
    for (const Block block :
         {Block{256, kRegisters}, {512, kRegisters / 2}, {1024, kFewRegisters}}) {
      const int64_t each = (vectors + block.threads - 1) / block.threads;
      if (!fits(each, block.registers)) continue;
      const int64_t enough = ((vectors + each - 1) / each + 31) / 32 * 32;
      return take(enough, static_cast<int>(enough));
    }
    stream_ = true;
    Keep(false);
    const int64_t most = std::min<int64_t>(512, (vectors + 31) / 32 * 32);
    take(most, static_cast<int>(most));
    per_lane_ = 1;
  }

  bool Exact() const { return int64_t{per_lane_} * lanes_ * w_.vector == p_.cols(); }

  // acc<f>: what this thread has folded over its rows, begun or left in the workspace.
  void Gathered(bool begin) {
    if (w_.RowFolds().empty()) return;
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

  void Pass(int pass) {
    RowValues(pass);
    std::vector<int> folds;
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      if (i.kind == LoopKind::kFoldCols && level_[i.args[0]] == pass) {
        folds.push_back(static_cast<int>(n));
        w_.Line(w_.ValueType(static_cast<int>(n)), " a", n, " = ",
                w_.FoldStart(static_cast<int>(n)), ";");
      }
    }
    if (!Roots(pass).empty()) {
      if (!stream_) {
        for (int n : needed_[pass]) {
          if (!kept_[n] || p_.code[n].kind == LoopKind::kLoad) continue;
          w_.Line(w_.ValueType(n), " k", n, "[", per_lane_, "][", w_.vector, "];");
        }
        Loads(pass);
        w_.Line("OSTRIA_UNROLL");
        w_.Open("for (int k = 0; k < ", per_lane_, "; ++k)");
        w_.Line("const Index c = (k * ", lanes_, " + lane) * ", w_.vector, ";");
        if (!Exact()) w_.Open("if (c < ", p_.cols(), ")");
        w_.Coordinates(first_column_, p_.rank(), "c");
        Vector(pass, folds);
        if (!Exact()) w_.Close();
        w_.Close();
      } else {
        w_.Open("for (Index c = lane * ", w_.vector, "; c < ", p_.cols(),
                "; c += ", lanes_ * w_.vector, ")");
        w_.Line("constexpr int k = 0;");
        w_.Coordinates(first_column_, p_.rank(), "c");
        Loads(pass);
        Vector(pass, folds);
        w_.Close();
      }
    }
    for (int f : folds) {
      const std::string_view fold = FoldName(p_.code[f].fold);
      if (lanes_ <= 32) {
        w_.Line("const ", w_.ValueType(f), " v", f, " = FoldLanes<", fold, ", ", lanes_, ">(a", f,
                ");");
      } else {
        w_.Line("const ", w_.ValueType(f), " v", f, " = FoldBlock<", fold, ", ", threads_, ">(a", f,
                ", shared", f, " + turn);");
      }
    }
  }

  // Values per row that need the folds so far, and outputs of them.
  void RowValues(int pass) {
    for (size_t n = 0; n < p_.code.size(); ++n) {
      const LoopInstr& i = p_.code[n];
      if (place_[n] != Place::kRow || level_[n] != pass || i.kind == LoopKind::kFoldCols ||
          i.kind == LoopKind::kFoldRows) {
        continue;
      }
      if (i.kind == LoopKind::kLoad) {
        const LoopOperand& o = p_.inputs[i.operand];
        w_.Line("const ", w_.ValueType(static_cast<int>(n)), " v", n, " = Get(x", i.operand, "[",
                w_.Offset(o, 0, first_column_), "]);");
      } else {
        w_.Define(static_cast<int>(n), "0");
      }
    }
    for (size_t k = 0; k < p_.outputs.size(); ++k) {
      const LoopOperand& o = p_.outputs[k];
      if (output_pass_[k] != pass || w_.StoresFold(static_cast<int>(k)) || AlongColumns(o) ||
          place_[o.value] == Place::kElement) {
        continue;
      }
      w_.Line("if (live && lane == 0", w_.OncePerPlace(o, 0, first_column_), ") y", k, "[",
              w_.Offset(o, 0, first_column_), "] = Put<", StorageType(o.dtype), ">(v", o.value,
              ");");
    }
  }

  void Loads(int pass) {
    std::vector<int> inputs;
    for (int n : needed_[pass]) {
      if (p_.code[n].kind == LoopKind::kLoad) inputs.push_back(p_.code[n].operand);
    }
    if (inputs.empty()) return;
    for (int k : inputs) w_.DeclareInput(k, per_lane_);
    for (const bool whole : {true, false}) {
      w_.Open(whole ? "if (aligned)" : "else");
      if (!stream_) {
        w_.Line("OSTRIA_UNROLL");
        w_.Open("for (int k = 0; k < ", per_lane_, "; ++k)");
        w_.Line("const Index c = (k * ", lanes_, " + lane) * ", w_.vector, ";");
        if (!Exact()) w_.Open("if (c < ", p_.cols(), ")");
        w_.Coordinates(first_column_, p_.rank(), "c");
      }
      for (int k : inputs) w_.LoadInput(k, "k", whole, "");
      if (!stream_) {
        if (!Exact()) w_.Close();
        w_.Close();
      }
      w_.Close();
    }
  }

  void Vector(int pass, const std::vector<int>& folds) {
    const std::vector<int>& needed = needed_[pass];
    const std::vector<int> stored = Stored(pass);
    w_.Draws(needed, StrCat("uint64_t{row} * ", p_.cols(), " + c"));
    for (int k : stored) w_.DeclareOutput(k);
    w_.Line("OSTRIA_UNROLL");
    w_.Open("for (int j = 0; j < ", w_.vector, "; ++j)");
    if (!stream_) {
      for (int n : ReadIn(pass)) {
        if (p_.code[n].kind == LoopKind::kLoad) {
          w_.Element(n, "k");
        } else {
          w_.Line("const ", w_.ValueType(n), " v", n, " = k", n, "[k][j];");
        }
      }
    }
    for (int n : needed) {
      w_.Element(n, "k");
      if (kept_[n] && p_.code[n].kind != LoopKind::kLoad) w_.Line("k", n, "[k][j] = v", n, ";");
    }
    for (int f : folds) {
      w_.Line("a", f, " = ", w_.Folded(f, StrCat("a", f), StrCat("v", p_.code[f].args[0])), ";");
    }
    for (int f : w_.RowFolds()) {
      const int arg = p_.code[f].args[0];
      if (level_[arg] != pass) continue;
      if (!stream_) {
        const std::string acc = StrCat("acc", f, "[k][j]");
        w_.Line("if (live) ", acc, " = ", w_.Folded(f, acc, StrCat("v", arg)), ";");
      } else {
        const std::string part = StrCat("part", f, "[piece * ", p_.cols(), " + c + j]");
        w_.Line(part, " = base == blockIdx.x ? v", arg, " : ", w_.Folded(f, part, StrCat("v", arg)),
                ";");
      }
    }
    for (int k : stored) w_.SetOutput(k);
    w_.Close();
    if (stored.empty()) return;
    w_.Open("if (live)");
    for (int k : stored) w_.StoreOutput(k, "aligned", "");
    w_.Close();
  }

  LoopWriter w_;
  const LoopProgram& p_;
  const int first_column_;
  std::vector<int> level_;  // how many folds over columns come before a value
  std::vector<Place> place_;
  std::vector<bool> kept_;                // elements that later passes find in registers
  std::vector<std::vector<int>> needed_;  // per pass: elements that it computes
  std::vector<int> input_pass_, output_pass_;
  int last_pass_ = 0;
  bool stream_ = false;
  int lanes_ = 32, threads_ = kBlock, per_lane_ = 1;
};

// Where much of a row is kept, long vectors need more registers than a thread has. A row that is
// read once is worth more than accesses of 16 bytes of its smallest type.
int RowsVector(const CanonicalLoop& loop) {
  int longest = VectorFor(loop);
  while (loop.p.sizes.back() % longest != 0) longest /= 2;
  for (int vector = longest; vector >= 2; vector /= 2) {
    if (!RowsWriter(loop, vector).streams()) return vector;
  }
  return longest;
}

}  // namespace

void WriteRows(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out) {
  const LoopProgram& p = loop.p;
  RowsWriter rows(loop, RowsVector(loop));
  rows.Write();
  const int64_t each = rows.rows_per_block(), blocks = (p.rows() + each - 1) / each;
  int64_t grid = std::min<int64_t>(blocks, int64_t{16} * std::max(device.multiprocessors, 1));
  const bool folds = !rows.writer().RowFolds().empty();
  if (folds) grid = std::clamp<int64_t>(blocks / 4, 1, std::max<int64_t>(kMostPieces / each, 64));
  LoopLaunch launch{.function = "@", .shape = {}};
  launch.shape.grid[0] = static_cast<unsigned>(grid);
  launch.shape.block = static_cast<unsigned>(rows.threads());
  out->launches.push_back(std::move(launch));
  const int64_t pieces = grid * each;
  out->words = {static_cast<uint64_t>(p.rows()), static_cast<uint64_t>(pieces), 0};
  if (folds) AddFinish(&rows.writer(), pieces, out);
  out->text = std::move(rows.writer().out);
  FindAliases(loop, rows.input_pass(), rows.output_pass(), out);
}

}  // namespace ostria::cuda
