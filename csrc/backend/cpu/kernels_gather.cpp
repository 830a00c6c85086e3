// SPDX-License-Identifier: Apache-2.0
// gather and gather_concat: rows of tables, and other tensors, copied to their places in the
// result. Of every source each thread copies its share, so that it writes the same part of all
// rows.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "backend/cpu/columns.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "base/parallel.h"
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/common/scatter.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

constexpr int64_t kShares = 256, kGrainBytes = 1 << 17;
constexpr int64_t kRowBytes = 64;   // what starting a row costs
constexpr int64_t kLeastRow = 512;  // bytes of a row that is cut out of a longer one

/// Rows of one tensor [outer, size, row] for the result. Row i comes from outer index i / count; it
/// goes to offset + i / block * stride + i % block * step. All but counts in bytes.
struct Source {
  int input = 0;       // its pointer; the indices' is the next
  bool picks = false;  // rows by indices; else all of them in order
  Indices indices;
  int64_t rows = 0, count = 1, row = 0;
  int64_t block = 1, offset = 0, stride = 0, step = 0;
};

struct GatherState final : KernelState {
  std::vector<Source> sources;
  int inputs = 0;
  int64_t grain = 1;  // of kShares

  void Add(const Source& s) {
    sources.push_back(s);
    cost_ += s.rows * (s.row + kRowBytes);
    grain = kGrainBytes * kShares / (cost_ + 1) + 1;
  }

 private:
  int64_t cost_ = 0;
};

std::unique_ptr<KernelState> PrepareGather(const NodeDesc& d) {
  auto state = std::make_unique<GatherState>();
  const MemDesc& x = d.inputs[0];
  const Columns c = Columns::Of(x, ops::Axis(d.attr<int64_t>(ops::kScatterAxis), x.rank));
  Source s;
  s.picks = true;
  s.indices = Indices::Of(d, 1, c.size);
  s.count = s.indices.count;
  s.rows = s.block = c.outer * s.count;
  s.row = s.step = c.inner * SizeOf(x.dtype);
  state->inputs = 2;
  state->Add(s);
  return state;
}

int64_t Product(const MemDesc& m, int from, int to) {
  int64_t n = 1;
  for (int i = from; i < to; ++i) n *= m.sizes[i];
  return n;
}

Support SupportsJoined(const NodeDesc& d) {
  const int axis = ops::Axis(d.attr<int64_t>(ops::GatherConcatAttr::kAxis), d.outputs[0].rank);
  size_t part = 0;
  for (int64_t is_gather : d.attr<Ints>(ops::GatherConcatAttr::kGathers)) {
    if (is_gather != 0 && axis > d.inputs[part + 1].rank) {
      return Support::No("joins pieces of rows along axis ", axis);
    }
    part += is_gather != 0 ? 2 : 1;
  }
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareJoined(const NodeDesc& d) {
  auto state = std::make_unique<GatherState>();
  const MemDesc& y = d.outputs[0];
  const int axis = ops::Axis(d.attr<int64_t>(ops::GatherConcatAttr::kAxis), y.rank);
  const int64_t size = SizeOf(y.dtype);
  int64_t offset = 0;
  for (int64_t is_gather : d.attr<Ints>(ops::GatherConcatAttr::kGathers)) {
    Source s;
    s.input = state->inputs;
    const MemDesc& x = d.inputs[s.input];
    s.picks = is_gather != 0;
    s.stride = Product(y, axis, y.rank) * size;
    s.offset = offset;
    if (s.picks) {
      const MemDesc& ids = d.inputs[s.input + 1];
      s.indices = Indices::Of(d, s.input + 1, x.sizes[0]);
      s.indices.op = &ops::kGather;  // what the user wrote
      s.indices.part = static_cast<int>(state->sources.size());
      s.rows = s.count = ids.numel();
      s.row = Product(x, 1, x.rank) * size;
      s.block = Product(ids, axis, ids.rank);
      s.step = s.row;
    } else {
      int split = axis;  // rows are as short as it takes to share them out
      while (split < x.rank && Product(x, 0, split) < kShares &&
             Product(x, split + 1, x.rank) * size >= kLeastRow) {
        ++split;
      }
      s.rows = s.count = Product(x, 0, split);
      s.block = Product(x, axis, split);
      s.row = s.step = Product(x, split, x.rank) * size;
    }
    offset += s.block * s.row;
    if (s.block == 1) {  // one long block of rows that lie apart
      s.block = s.rows;
      s.step = s.stride;
    }
    state->inputs += s.picks ? 2 : 1;
    state->Add(s);
  }
  return state;
}

// Copies `n` rows that indices name. Rows lie anywhere in a table that no cache holds: memory is
// asked for before it is needed, for up to `known` rows whose indices stand here.
template <class Index, class Bytes>
void CopyPicked(const Source& s, const std::byte* x, const Index* ids, int64_t n, int64_t known,
                std::byte* y, Bytes bytes) {
  constexpr int64_t kAhead = 12, kLine = 64, kMostLines = 4;
  const auto from = [&](int64_t i) {
    const auto id = static_cast<int64_t>(ids[i]);
    return x + (id < 0 ? id + s.indices.size : id) * static_cast<int64_t>(bytes);
  };
  for (int64_t i = 0; i < n; ++i, y += s.step) {
    if (i + kAhead < known) {
      const std::byte* next = from(i + kAhead);
      __builtin_prefetch(next);
      for (int64_t k = kLine; k < std::min<int64_t>(bytes, kMostLines * kLine); k += kLine) {
        __builtin_prefetch(next + k);
      }
    }
    std::memcpy(y, from(i), static_cast<size_t>(bytes));
  }
}

// A copy of a known size is a few instructions.
template <class Fn>
void WithBytes(int64_t row, Fn fn) {
  switch (row) {
    case 1: return fn(std::integral_constant<int64_t, 1>());
    case 2: return fn(std::integral_constant<int64_t, 2>());
    case 4: return fn(std::integral_constant<int64_t, 4>());
    case 8: return fn(std::integral_constant<int64_t, 8>());
    case 32: return fn(std::integral_constant<int64_t, 32>());
    case 64: return fn(std::integral_constant<int64_t, 64>());
    case 128: return fn(std::integral_constant<int64_t, 128>());
    default: return fn(row);
  }
}

// Rows [begin, end) of one source.
void CopyRows(const Source& s, void* const* ptrs, std::byte* y, int64_t begin, int64_t end) {
  const auto* x = static_cast<const std::byte*>(ptrs[s.input]);
  while (begin < end) {
    const int64_t in_block = begin % s.block, outer = begin / s.count, at = begin % s.count;
    const int64_t n = std::min({end - begin, s.block - in_block, s.count - at});
    std::byte* to = y + s.offset + begin / s.block * s.stride + in_block * s.step;
    if (!s.picks) {
      const std::byte* from = x + begin * s.row;
      for (int64_t i = 0; i < n; ++i, from += s.row, to += s.step) {
        std::memcpy(to, from, static_cast<size_t>(s.row));
      }
    } else {
      const std::byte* table = x + outer * s.indices.size * s.row;
      WithIndices(s.indices.dtype, ptrs[s.input + 1], [&](const auto* ids) {
        WithBytes(s.row,
                  [&](auto bytes) { CopyPicked(s, table, ids + at, n, s.count - at, to, bytes); });
      });
    }
    begin += n;
  }
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const GatherState&>(state);
  for (const Source& source : s.sources) {
    if (source.picks) source.indices.Check(ptrs[source.input + 1]);
  }
  auto* y = static_cast<std::byte*>(ptrs[s.inputs]);
  ParallelFor(kShares, s.grain, [&](int64_t begin, int64_t end) {
    for (const Source& source : s.sources) {
      CopyRows(source, ptrs, y, source.rows * begin / kShares, source.rows * end / kShares);
    }
  });
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kGather,
     .impl = "rows",
     .supports = NeedsDense,
     .prepare = PrepareGather,
     .launch = Launch},
    {.op = &ops::kGatherConcat,
     .impl = "rows",
     .supports = SupportsJoined,
     .prepare = PrepareJoined,
     .launch = Launch},
};

}  // namespace

std::span<const KernelDef> GatherKernels() { return kKernels; }

}  // namespace ostria::cpu
