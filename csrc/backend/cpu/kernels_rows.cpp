// SPDX-License-Identifier: Apache-2.0
// sum_rows: (id, position) pairs are sorted by id, stably, then every row is summed in the order of
// its positions. Sorting is one thread's per table, once for tables that share their ids; of the
// rows of every table each thread sums its share.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/dense_table.h"
#include "base/parallel.h"
#include "ops/common/attr_index.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

constexpr int kMostBits = 11;         // of a digit: 2,048 counters lie on the stack
constexpr int64_t kFewIds = 32;       // fewer are inserted in order
constexpr int64_t kSortGrain = 2048;  // ids worth a thread
constexpr int64_t kSumGrain = 16384;  // elements worth a thread
constexpr int64_t kRowCost = 16;      // of a row, in elements
constexpr int64_t kColumns = 64;      // of a partial sum at a time

struct Part {
  Indices ids;
  int64_t begin, end;      // positions within the table
  int64_t stride, column;  // elements from one id's values to the next one's, and before the first
};

struct Table {
  int64_t rows;        // of the table
  int64_t row;         // elements of a row
  int64_t begin, end;  // of its ids among those of all tables
  int first_part, last_part;
  int digits, bits;  // of an id, and of each
};

struct SumState final : KernelState {
  DType dtype;
  std::vector<Part> parts;
  std::vector<Table> tables;
  int64_t ids = 0, elements = 0;
};

Support SupportsSum(const NodeDesc& node) {
  const DType dtype = node.outputs[0].dtype;
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    return Support::No("is for float32 and float64, not ", dtype);
  }
  if (node.outputs.back().numel() > INT32_MAX) return Support::No("are more ids than int32 counts");
  return NeedsDense(node);
}

std::unique_ptr<KernelState> PrepareSum(const NodeDesc& node) {
  auto state = std::make_unique<SumState>();
  state->dtype = node.outputs[0].dtype;
  const auto& numbers = node.attr<Ints>(ops::SumRowsAttr::kTables);
  const auto& sizes = node.attr<Ints>(ops::SumRowsAttr::kSizes);
  const auto& columns = node.attr<Ints>(ops::SumRowsAttr::kColumns);
  for (size_t t = 0, part = 0; t < sizes.size(); ++t) {
    Table table = {};
    table.rows = sizes[t];
    table.begin = table.end = state->ids;
    table.first_part = static_cast<int>(part);
    for (; part < numbers.size() && numbers[part] == static_cast<int64_t>(t); ++part) {
      const MemDesc &ids = node.inputs[part], &values = node.inputs[numbers.size() + part];
      const int64_t at = table.end - table.begin, n = ids.numel();
      int64_t stride = 1;
      for (int i = ids.rank; i < values.rank; ++i) stride *= values.sizes[i];
      const int64_t column = columns.empty() || columns[2 * part + 1] < 0 ? 0 : columns[2 * part];
      state->parts.push_back(
          {Indices::Of(node, static_cast<int>(part), table.rows), at, at + n, stride, column});
      table.end += n;
    }
    table.last_part = static_cast<int>(part);
    table.row = 1;
    for (int i = 1; i < node.outputs[t].rank; ++i) table.row *= node.outputs[t].sizes[i];
    const int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(0, table.rows - 1)));
    table.digits = (bits + kMostBits - 1) / kMostBits;
    table.bits = table.digits == 0 ? 0 : (bits + table.digits - 1) / table.digits;
    state->ids = table.end;
    state->elements += (table.end - table.begin) * table.row;
    state->tables.push_back(table);
  }
  // Two lists of pairs, where each row's pairs begin, and which table is sorted for each.
  state->workspace_bytes =
      state->ids * 20 + static_cast<int64_t>(2 * sizeof(int32_t) * state->tables.size());
  return state;
}

uint64_t Id(uint64_t pair) { return pair >> 32; }
int64_t Position(uint64_t pair) { return static_cast<int64_t>(pair & 0xffffffffu); }

// Returns the list that holds the sorted pairs.
const uint64_t* Sort(const Table& t, uint64_t* a, uint64_t* b, int64_t n) {
  if (n <= kFewIds) {
    for (int64_t i = 1; i < n; ++i) {
      const uint64_t pair = a[i];
      int64_t k = i;
      for (; k > 0 && a[k - 1] > pair; --k) a[k] = a[k - 1];
      a[k] = pair;
    }
    return a;
  }
  uint32_t starts[1 << kMostBits];
  const uint64_t mask = (uint64_t{1} << t.bits) - 1;
  for (int digit = 0; digit < t.digits; ++digit) {
    const int shift = 32 + digit * t.bits;
    std::memset(starts, 0, (mask + 1) * sizeof(uint32_t));
    for (int64_t i = 0; i < n; ++i) ++starts[(a[i] >> shift) & mask];
    uint32_t sum = 0;
    for (uint64_t k = 0; k <= mask; ++k) {
      const uint32_t count = starts[k];
      starts[k] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n; ++i) b[starts[(a[i] >> shift) & mask]++] = a[i];
    std::swap(a, b);
  }
  return a;
}

/// The two lists, where rows begin, the output that names rows, and of every table the first one
/// that has the same rows and ids: only that one is sorted.
struct Work {
  uint64_t *a, *b;
  int32_t *starts, *rows, *sorted_as;
  // Of table number t.
  Work At(const Table& table, int64_t t) const {
    return {a + table.begin, b + table.begin, starts + table.begin + t, rows + table.begin + t,
            sorted_as};
  }
};

const uint64_t* Sorted(const Table& t, const Work& w) {
  return t.end - t.begin > kFewIds && t.digits % 2 == 1 ? w.b : w.a;
}

bool SameIds(const SumState& s, const Table& x, const Table& y, void* const* ids) {
  const int parts = x.last_part - x.first_part;
  if (x.rows != y.rows || parts != y.last_part - y.first_part) return false;
  for (int i = 0; i < parts; ++i) {
    const int p = x.first_part + i, q = y.first_part + i;
    const Indices &a = s.parts[p].ids, &b = s.parts[q].ids;
    if (ids[p] != ids[q] || a.count != b.count || a.dtype != b.dtype) return false;
  }
  return true;
}

void FindRows(const SumState& s, const Table& t, void* const* ptrs, const Work& w) {
  const int64_t n = t.end - t.begin;
  for (int p = t.first_part; p < t.last_part; ++p) {
    const Part& part = s.parts[p];
    WithIndices(part.ids.dtype, ptrs[p], [&](const auto* ids) {
      for (int64_t i = part.begin; i < part.end; ++i) {
        const auto id = static_cast<int64_t>(ids[i - part.begin]);
        w.a[i] = static_cast<uint64_t>(id < 0 ? id + t.rows : id) << 32 | static_cast<uint64_t>(i);
      }
    });
  }
  const uint64_t* pairs = Sort(t, w.a, w.b, n);
  int32_t count = 0;
  for (int64_t i = 0; i < n; ++i) {  // written for every pair: nobody can guess which are first
    w.starts[count] = static_cast<int32_t>(i);
    w.rows[count + 1] = static_cast<int32_t>(Id(pairs[i]));
    count += i == 0 || Id(pairs[i]) != Id(pairs[i - 1]);
  }
  w.starts[count] = static_cast<int32_t>(n);
  w.rows[0] = count;
  std::fill(w.rows + 1 + count, w.rows + 1 + n, 0);
}

// The values of pairs [begin, end), all of one row of a table of several parts, part by part.
template <class T>
void SumRow(const SumState& s, const Table& t, void* const* values, const uint64_t* pairs,
            int64_t begin, int64_t end, T* out) {
  for (int64_t column = 0; column < t.row; column += kColumns) {
    const int64_t width = std::min(kColumns, t.row - column);
    int p = t.first_part;
    T partial[kColumns];
    for (int64_t i = begin; i < end;) {
      while (Position(pairs[i]) >= s.parts[p].end) ++p;
      const Part& part = s.parts[p];
      int32_t run[2] = {static_cast<int32_t>(i), static_cast<int32_t>(i)};
      while (run[1] < end && Position(pairs[run[1]]) < part.end) ++run[1];
      T* to = i == begin ? out + column : partial;
      DenseOf<T>().sum_rows(static_cast<const T*>(values[p]) + part.column + column, part.stride,
                            part.begin, pairs, run, 1, width, to);
      for (int64_t c = 0; i != begin && c < width; ++c) out[column + c] += partial[c];
      i = run[1];
    }
  }
}

// Rows [begin, end) of the sums of table number k: as many as it has ids, zeros last.
template <class T>
void SumRange(const SumState& s, void* const* ptrs, const Work& work, size_t k, int64_t begin,
              int64_t end) {
  const Table& t = s.tables[k];
  void* const* values = ptrs + s.parts.size();
  T* out = static_cast<T*>(values[s.parts.size() + k]);
  const int32_t as = work.sorted_as[k];
  const Work w = work.At(s.tables[as], as);
  const uint64_t* pairs = Sorted(t, w);
  const int64_t last = std::max(begin, std::min<int64_t>(end, w.rows[0]));
  if (t.last_part - t.first_part == 1) {
    const Part& part = s.parts[t.first_part];
    const T* x = static_cast<const T*>(values[t.first_part]) + part.column;
    DenseOf<T>().sum_rows(x, part.stride, 0, pairs, w.starts + begin, last - begin, t.row,
                          out + begin * t.row);
  } else {
    for (int64_t r = begin; r < last; ++r) {
      SumRow<T>(s, t, values, pairs, w.starts[r], w.starts[r + 1], out + r * t.row);
    }
  }
  std::fill(out + last * t.row, out + end * t.row, T(0));
}

void LaunchSum(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const SumState&>(state);
  const size_t outputs = 2 * s.parts.size();
  const auto tables = static_cast<int64_t>(s.tables.size());
  auto* lists = static_cast<uint64_t*>(ptrs[outputs + s.tables.size() + 1]);
  auto* starts = reinterpret_cast<int32_t*>(lists + 2 * s.ids);
  const Work work = {lists, lists + s.ids, starts,
                     static_cast<int32_t*>(ptrs[outputs + s.tables.size()]),
                     starts + s.ids + tables};
  for (int32_t k = 0; k < tables; ++k) {
    int32_t as = 0;
    while (as < k && !SameIds(s, s.tables[as], s.tables[k], ptrs)) ++as;
    work.sorted_as[k] = as;
    if (as != k) continue;
    for (int p = s.tables[k].first_part; p < s.tables[k].last_part; ++p) {
      s.parts[p].ids.Check(ptrs[p]);
    }
  }
  ParallelFor(tables, tables * kSortGrain / (s.ids + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      if (work.sorted_as[k] == k) FindRows(s, s.tables[k], ptrs, work.At(s.tables[k], k));
    }
  });
  for (int64_t k = 0; k < tables; ++k) {
    const int64_t as = work.sorted_as[k], n = s.tables[k].end - s.tables[k].begin;
    if (as != k) std::copy_n(work.At(s.tables[as], as).rows, n + 1, work.At(s.tables[k], k).rows);
  }
  constexpr int64_t kShares = 64;
  const int64_t grain = kShares * kSumGrain / (s.elements + kRowCost * s.ids + 1) + 1;
  ParallelFor(kShares, grain, [&](int64_t begin, int64_t end) {
    for (size_t k = 0; k < s.tables.size(); ++k) {
      const int64_t n = s.tables[k].end - s.tables[k].begin;
      const int64_t from = n * begin / kShares, to = n * end / kShares;
      if (s.dtype == DType::kFloat32) {
        SumRange<float>(s, ptrs, work, k, from, to);
      } else {
        SumRange<double>(s, ptrs, work, k, from, to);
      }
    }
  });
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kSumRows,
     .impl = "radix",
     .supports = SupportsSum,
     .prepare = PrepareSum,
     .launch = LaunchSum},
};

}  // namespace

std::span<const KernelDef> RowKernels() { return kKernels; }

}  // namespace ostria::cpu
