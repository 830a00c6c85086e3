// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/codegen/rows_plan.h"

#include <algorithm>
#include <bit>

namespace ostria::cuda {
namespace {

constexpr int kRegisters = 64;             // 32-bit, of a thread, for what it keeps of a row
constexpr int kFewRegisters = 16;          // the same where a block has 1024 threads
constexpr int kBlock = 256;                // threads, where several rows share a block
constexpr int kLongRowThreads = 512;       // of which a multiprocessor takes two blocks
constexpr int kMostThreads = 1024;         // where a block fills a multiprocessor
constexpr int64_t kReservedShared = 1024;  // of every block, by the system
constexpr int64_t kParts = 64;             // of a fold: two turns of a number per warp
// Of every thread, on their way: with 1024 threads of a multiprocessor enough to hide the latency.
constexpr int64_t kBytesInFlight = 64;
constexpr int kMostInFlight = 16;  // vectors, which are single elements where rows are odd

}  // namespace

RowsPlan::RowsPlan(const LoopWriter& writer, const DeviceProps& device)
    : w_(writer), p_(writer.p), first_column_(writer.loop.first_column()) {
  FindLevels();
  FindNeeded(true);
  if (FitsRegisters()) return;
  exponentials_ = FindExponentialSums(p_);
  FindLevels();
  FindNeeded(false);
  if (FitsShared(device)) return;
  home_ = RowHome::kMemory;
  TakeBlocks(1, kLongRowThreads);
}

const ExponentialSum* RowsPlan::ExponentialsOf(int n) const {
  for (const ExponentialSum& e : exponentials_) {
    if (e.sum == n || e.most == n) return &e;
  }
  return nullptr;
}

// Of which a fold over columns is made: that of a sum of exponentials is what they are taken of.
int RowsPlan::FoldedValue(int n) const {
  for (const ExponentialSum& e : exponentials_) {
    if (e.sum == n) return e.of;
  }
  return p_.code[n].args[0];
}

void RowsPlan::FindLevels() {
  level_.clear();
  place_.clear();
  output_pass_.clear();
  last_pass_ = 0;
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
      level = level_[FoldedValue(static_cast<int>(n))] + 1;
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

bool RowsPlan::AlongColumns(const LoopOperand& o) const {
  return std::any_of(o.strides.begin() + first_column_, o.strides.end(),
                     [](int64_t s) { return s != 0; });
}

std::vector<int> RowsPlan::Folds(int pass) const {
  std::vector<int> out;
  for (size_t k = 0; k < p_.code.size(); ++k) {
    const int n = static_cast<int>(k);
    if (p_.code[n].kind == LoopKind::kFoldCols && level_[FoldedValue(n)] == pass) out.push_back(n);
  }
  return out;
}

std::vector<int> RowsPlan::Roots(int pass) const {
  std::vector<int> out;
  for (int n : Folds(pass)) out.push_back(FoldedValue(n));
  for (int n : w_.RowFolds()) {
    if (level_[p_.code[n].args[0]] == pass) out.push_back(p_.code[n].args[0]);
  }
  for (int k : Stored(pass)) out.push_back(p_.outputs[k].value);
  return out;
}

std::vector<int> RowsPlan::Stored(int pass) const {
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
void RowsPlan::FindNeeded(bool registers) {
  const size_t size = p_.code.size();
  std::vector<bool> known(size);
  for (size_t n = 0; n < size; ++n) known[n] = place_[n] != Place::kElement;
  std::vector<int> made(size, -1);
  kept_.assign(size, false);
  needed_.clear();
  reading_passes_.assign(p_.inputs.size(), {});
  for (int pass = 0; pass <= last_pass_; ++pass) {
    needed_.push_back(Needed(p_, Roots(pass), known));
    for (int n : needed_.back()) {
      if (p_.code[n].kind == LoopKind::kLoad) {
        std::vector<int>& passes = reading_passes_[p_.code[n].operand];
        if (passes.empty() || passes.back() != pass) passes.push_back(pass);
      }
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

std::vector<int> RowsPlan::ReadIn(int pass) const {
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
double RowsPlan::Held() const {
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

bool RowsPlan::FitsRegisters() {
  const int64_t vectors = p_.cols() / w_.vector;
  const auto fits = [&](int64_t per_lane, int registers) {
    return static_cast<double>(per_lane * w_.vector) * Held() <= registers;
  };
  const auto take = [&](int64_t lanes, int threads) {
    lanes_ = static_cast<int>(lanes);
    threads_ = threads;
    per_lane_ = static_cast<int>((vectors + lanes - 1) / lanes);
    return true;
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
  for (const Block block : {Block{256, kRegisters}, {512, kRegisters / 2}, {1024, kFewRegisters}}) {
    const int64_t each = (vectors + block.threads - 1) / block.threads;
    if (!fits(each, block.registers)) continue;
    const int64_t enough = ((vectors + each - 1) / each + 31) / 32 * 32;
    return take(enough, static_cast<int>(enough));
  }
  return false;
}

// Blocks that have a row, of at most so many threads.
void RowsPlan::TakeBlocks(int blocks, int threads) {
  const int64_t vectors = p_.cols() / w_.vector, each = (vectors + blocks - 1) / blocks;
  threads_ = static_cast<int>(std::min<int64_t>(threads, (each + 31) / 32 * 32));
  lanes_ = threads_ * blocks;
  int64_t bytes = 0;
  for (const LoopOperand& o : p_.inputs) {
    if (AlongColumns(o) && !w_.IsStill(o)) bytes += w_.vector * SizeOf(o.dtype);
  }
  per_lane_ = MostUnrolled(p_) == 1 ? 1 : kMostInFlight;
  while (per_lane_ > 1 && (per_lane_ * bytes > kBytesInFlight || per_lane_ * lanes_ > vectors)) {
    per_lane_ /= 2;
  }
}

int64_t RowsPlan::vectors_per_lane() const { return (p_.cols() / w_.vector + lanes_ - 1) / lanes_; }

// Of a block of the plan's threads.
SharedPlaces RowsPlan::PlaceShared(bool accumulators) const {
  SharedPlaces out;
  const auto add = [&](int64_t bytes) {
    const int64_t at = out.bytes;
    out.bytes += (bytes + 15) / 16 * 16;
    return at;
  };
  const int64_t elements = vectors_per_lane() * threads_ * w_.vector;
  for (size_t k = 0; k < p_.inputs.size(); ++k) {
    const LoopOperand& o = p_.inputs[k];
    const bool again = reading_passes_[k].size() > 1 && AlongColumns(o) && !w_.IsStill(o);
    out.inputs.push_back(again ? add(elements * SizeOf(o.dtype)) : -1);
  }
  bool any = out.bytes > 0;
  for (const LoopInstr& i : p_.code) {
    const bool gathers = accumulators && i.kind == LoopKind::kFoldRows;
    any |= gathers;
    const int64_t count = gathers ? elements : i.kind == LoopKind::kFoldCols ? kParts : 0;
    out.folds.push_back(count > 0 ? add(count * SizeOf(i.dtype)) : -1);
  }
  if (!any) out = {};
  return out;
}

bool RowsPlan::FitsShared(const DeviceProps& device) {
  struct Blocks {
    int number, threads;
    int64_t bytes;  // that each may have
  };
  const int64_t half = (device.shared_bytes + kReservedShared) / 2 - kReservedShared;
  const bool clusters = device.compute_capability >= 90;
  for (const bool accumulators : {true, false}) {
    for (const Blocks& b : {Blocks{1, kLongRowThreads, half},
                            {2, kLongRowThreads, half},
                            {2, kMostThreads, device.shared_bytes}}) {
      if (b.number > 1 && !clusters) continue;
      TakeBlocks(b.number, b.threads);
      SharedPlaces places = PlaceShared(accumulators);
      if (places.bytes == 0) break;  // nothing is worth it
      if (places.bytes > b.bytes) continue;
      home_ = RowHome::kShared;
      shared_ = std::move(places);
      return true;
    }
    if (w_.RowFolds().empty()) break;
  }
  return false;
}

std::vector<int> RowsPlan::input_pass() const {
  std::vector<int> out;
  for (size_t k = 0; k < p_.inputs.size(); ++k) {
    const std::vector<int>& passes = reading_passes_[k];
    const bool shared = home_ == RowHome::kShared && shared_.inputs[k] >= 0;
    out.push_back(passes.empty() ? 0 : shared ? passes.front() : passes.back());
  }
  return out;
}

int64_t RowsPlan::RepeatedBytes() const {
  if (home_ == RowHome::kRegisters) return 0;
  int64_t bytes = 0;
  for (size_t k = 0; k < p_.inputs.size(); ++k) {
    const LoopOperand& o = p_.inputs[k];
    const bool shared = home_ == RowHome::kShared && shared_.inputs[k] >= 0;
    const bool along_rows = std::any_of(o.strides.begin(), o.strides.begin() + first_column_,
                                        [](int64_t s) { return s != 0; });
    // What all rows read alike stays in the cache.
    if (shared || reading_passes_[k].size() < 2 || !along_rows || !AlongColumns(o)) continue;
    int64_t once = SizeOf(o.dtype);
    for (int d = 0; d < p_.rank(); ++d) once *= o.strides[d] == 0 ? 1 : p_.sizes[d];
    bytes += once * static_cast<int64_t>(reading_passes_[k].size() - 1);
  }
  for (int f : w_.RowFolds()) {
    const bool shared = home_ == RowHome::kShared && shared_.folds[f] >= 0;
    if (!shared) bytes += 2 * p_.rows() * p_.cols() * SizeOf(p_.code[f].dtype);
  }
  return bytes;
}

bool RowsPlan::Exact() const {
  return home_ == RowHome::kRegisters && int64_t{per_lane_} * lanes_ * w_.vector == p_.cols();
}

}  // namespace ostria::cuda
