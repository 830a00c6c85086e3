// SPDX-License-Identifier: Apache-2.0
// sum_rows, which adds up rows that indices name. Indices are sorted with their positions, then
// each row is made in the order of the positions: the CPU's bits.
#include <algorithm>
#include <bit>
#include <vector>

#include "backend/cuda/launch/indices.h"
#include "backend/cuda/launch/sort_launches.h"
#include "backend/cuda/ops/kernels.h"
#include "kernels/rows/segments.h"
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/ops.h"

namespace ostria::cuda {
namespace {

using kernels::kSegmentThreads;
using kernels::RowKeysParams;
using kernels::RowStartsParams;
using kernels::RowSumsParams;
using Ints = std::vector<int64_t>;

int64_t Whole(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Bits of the indices of an axis.
int BitsOf(int64_t size) {
  return std::max<int>(1, std::bit_width(static_cast<uint64_t>(std::max<int64_t>(size - 1, 0))));
}

LaunchShape ShapeFor(int64_t threads, const DeviceProps& device) {
  LaunchShape shape;
  shape.block = kSegmentThreads;
  shape.grid[0] = GridFor(threads, 1, shape.block, device, 16);
  return shape;
}

/// Collects parts of keys and launches them as many at a time as the parameters hold.
class KeyParts {
 public:
  KeyParts(Launches* to, Place keys, const DeviceProps& device)
      : to_(to), keys_(keys), device_(device) {}
  void Add(int operand, const kernels::RowKeysPart& part) {
    if (part.count == 0) return;
    if (operands_.size() == RowKeysParams::kMaxParts) Flush();
    params_.parts[operands_.size()] = part;
    operands_.push_back(operand);
    most_ = std::max(most_, part.count);
  }
  void Flush() {
    if (operands_.empty()) return;
    LaunchShape shape = ShapeFor(most_, device_);
    shape.grid[1] = static_cast<unsigned>(operands_.size());
    auto launch = to_->Add("rows/segments", "row_keys", shape, params_);
    launch.Point(&RowKeysParams::keys, keys_);
    for (size_t i = 0; i < operands_.size(); ++i) {
      launch.PointAt(&params_, &params_.parts[i].indices, {operands_[i]});
    }
    operands_.clear();
    most_ = 0;
  }

 private:
  Launches* to_;
  Place keys_;
  const DeviceProps& device_;
  RowKeysParams params_;
  std::vector<int> operands_;
  int64_t most_ = 0;
};

// --- sum_rows
// -------------------------------------------------------------------------------------

struct Table {
  int64_t n = 0, cols = 1, size = 0;
  int64_t rows_at = 0;  // in the output that names rows
  int number = 0, first_part = 0, last_part = 0;
};

Support SupportsSum(const NodeDesc& node) {
  const DType dtype = node.outputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  for (const int64_t table : node.attr<Ints>(ops::SumRowsAttr::kTables)) {
    const auto& tables = node.attr<Ints>(ops::SumRowsAttr::kTables);
    if (std::count(tables.begin(), tables.end(), table) > RowSumsParams::kMaxParts) {
      return Support::No("takes at most ", RowSumsParams::kMaxParts, " lists of ids for a table");
    }
  }
  if (node.outputs.back().numel() > INT32_MAX) return Support::No("are more ids than int32 counts");
  return NeedsDense(node);
}

class SumPlan {
 public:
  explicit SumPlan(const NodeDesc& node)
      : node_(node),
        numbers_(node.attr<Ints>(ops::SumRowsAttr::kTables)),
        sizes_(node.attr<Ints>(ops::SumRowsAttr::kSizes)),
        columns_(node.attr<Ints>(ops::SumRowsAttr::kColumns)),
        parts_(static_cast<int>(numbers_.size())),
        rows_{2 * parts_ + static_cast<int>(sizes_.size())},
        workspace_{rows_.operand + 1} {}

  std::unique_ptr<KernelState> Make() {
    auto state = std::make_unique<Launches>();
    std::vector<Table> tables = ReadTables();
    // Tables of as many ids are sorted at once.
    std::stable_sort(tables.begin(), tables.end(),
                     [](const Table& a, const Table& b) { return a.n < b.n; });
    int64_t workspace = 0;
    for (size_t begin = 0; begin < tables.size();) {
      size_t end = begin;
      while (end < tables.size() && tables[end].n == tables[begin].n &&
             end - begin < RowStartsParams::kMaxTables) {
        ++end;
      }
      workspace = std::max(workspace, AddGroup(state.get(), {&tables[begin], end - begin}));
      begin = end;
    }
    state->workspace_bytes = workspace;
    return state;
  }

 private:
  std::vector<Table> ReadTables() const {
    std::vector<Table> tables;
    int part = 0;
    int64_t rows_at = 0;
    for (size_t t = 0; t < sizes_.size(); ++t) {
      Table table;
      table.number = static_cast<int>(t);
      table.size = sizes_[t];
      table.first_part = part;
      while (part < parts_ && numbers_[part] == static_cast<int64_t>(t)) ++part;
      table.last_part = part;
      const MemDesc& sums = node_.outputs[t];
      table.n = sums.sizes[0];
      for (int i = 1; i < sums.rank; ++i) table.cols *= sums.sizes[i];
      table.rows_at = rows_at;
      rows_at += 1 + table.n;
      tables.push_back(table);
    }
    return tables;
  }

  // Returns the workspace that the group takes.
  int64_t AddGroup(Launches* to, std::span<const Table> tables) const {
    const int64_t n = tables[0].n, count = static_cast<int64_t>(tables.size());
    const DeviceProps& device = *node_.device;
    KeyRows what{count, n, 4, 1};
    const Place keys = workspace_, starts = keys + Whole(count * n * 4);
    const Place sorting = starts + Whole(count * (n + 2) * 4);
    KeyParts key_parts(to, keys, device);
    for (int64_t t = 0; t < count; ++t) {
      int64_t dst = t * n;
      for (int part = tables[t].first_part; part < tables[t].last_part; ++part) {
        const MemDesc& ids = node_.inputs[part];
        key_parts.Add(part, {nullptr, ids.numel(), dst, LawOf(ids, tables[t].size)});
        dst += ids.numel();
      }
      what.bits = std::max(what.bits, BitsOf(tables[t].size));
    }
    key_parts.Flush();
    const Sorted sorted = n == 0 ? Sorted{keys, keys} : AddSort(to, what, keys, sorting, device);
    RowStartsParams p;
    p.n = n;
    for (int64_t t = 0; t < count; ++t) p.dst[t] = tables[t].rows_at;
    LaunchShape shape;
    shape.block = kernels::kScanThreads;
    shape.grid[0] = static_cast<unsigned>(count);
    to->Add("rows/segments", "row_starts", shape, p)
        .Point(&RowStartsParams::keys, sorted.keys)
        .Point(&RowStartsParams::starts, starts)
        .Point(&RowStartsParams::rows, rows_);
    if (n > 0) AddSums(to, tables, sorted.positions, starts);
    return sorting.offset + (n == 0 ? 0 : SortWorkspace(what));
  }

  void AddSums(Launches* to, std::span<const Table> tables, Place positions, Place starts) const {
    const std::string function = StrCat("row_sums_", Suffix(node_.outputs[0].dtype));
    for (size_t begin = 0, end = 0; begin < tables.size(); begin = end) {
      RowSumsParams p;
      p.n = tables[0].n;
      int parts = 0;
      int64_t threads = 0;
      std::vector<int> operands;
      for (; end < tables.size() && end - begin < RowSumsParams::kMaxTables; ++end) {
        const Table& t = tables[end];
        if (parts + t.last_part - t.first_part > RowSumsParams::kMaxParts) break;
        kernels::RowSumsTable& table = p.tables[end - begin];
        table = {nullptr,
                 t.cols,
                 static_cast<int32_t>(end),
                 parts,
                 t.last_part - t.first_part,
                 kernels::LanesOfRow(t.cols)};
        threads = std::max(threads, p.n * table.lanes);
        int64_t at = 0;
        for (int part = t.first_part; part < t.last_part; ++part, ++parts) {
          p.parts[parts] = PartOf(part, &at);
          operands.push_back(parts_ + part);
        }
      }
      LaunchShape shape = ShapeFor(threads, *node_.device);
      shape.grid[1] = static_cast<unsigned>(end - begin);
      auto launch = to->Add("rows/segments", function, shape, p);
      launch.Point(&RowSumsParams::positions, positions).Point(&RowSumsParams::starts, starts);
      for (int i = 0; i < parts; ++i) launch.PointAt(&p, &p.parts[i].values, {operands[i]});
      for (size_t t = begin; t < end; ++t) {
        launch.PointAt(&p, &p.tables[t - begin].sums, {2 * parts_ + tables[t].number});
      }
    }
  }

  kernels::RowSumsPart PartOf(int part, int64_t* at) const {
    const MemDesc &ids = node_.inputs[part], &values = node_.inputs[parts_ + part];
    kernels::RowSumsPart p;
    p.stride = 1;
    for (int i = ids.rank; i < values.rank; ++i) p.stride *= values.sizes[i];
    const bool all = columns_.empty() || columns_[2 * part + 1] < 0;
    p.column = all ? 0 : columns_[2 * part];
    p.begin = *at;
    p.end = *at += ids.numel();
    return p;
  }

  const NodeDesc& node_;
  const Ints &numbers_, &sizes_, &columns_;
  int parts_;
  Place rows_, workspace_;
};

std::unique_ptr<KernelState> PrepareSum(const NodeDesc& node) { return SumPlan(node).Make(); }

constexpr KernelDef kKernels[] = {
    {.op = &ops::kSumRows,
     .impl = "sorted",
     .supports = SupportsSum,
     .prepare = PrepareSum,
     .launch = RunMany,
     .bind = BindMany},
};

}  // namespace

std::span<const KernelDef> RowKernels() { return kKernels; }

}  // namespace ostria::cuda
