// SPDX-License-Identifier: Apache-2.0
// The driver: collapses shapes, cuts the output into tiles and threads, and feeds the loops what
// they accept (inputs that advance by 0 or 1 along a row, float32 instead of half types).
#include "backend/cpu/simd/elementwise.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/simd/cpu_isa.h"
#include "base/check.h"
#include "base/parallel.h"

namespace ostria {
namespace {

constexpr int64_t kTile = 512;     // elements of a stack buffer
constexpr int64_t kShortRow = 64;  // rows shorter than this are joined where a repeat allows it
constexpr int64_t kCheapGrain = 16384;  // a loop of 2 * 16k adds costs what waking a thread costs
constexpr int64_t kCostlyGrain = 4096;

const ElementwiseTable& TableOf(Isa isa) {
  switch (isa) {
    case Isa::kAvx512: return kElementwiseAvx512;
    case Isa::kAvx2: return kElementwiseAvx2;
    case Isa::kBaseline: break;
  }
  return kElementwiseBaseline;
}

ElementwiseFn Resolve(ScalarOp op, DType dtype) {
  if (!IsFloat(dtype)) return IntElementwise(op, static_cast<int>(dtype));
  const ElementwiseTable& table = TableOf(CurrentIsa());
  return dtype == DType::kFloat64 ? table.f64[static_cast<int>(op)]
                                  : table.f32[static_cast<int>(op)];
}

int64_t GrainOf(ScalarOp op) {
  switch (op) {
    case ScalarOp::kPow:
    case ScalarOp::kMod:
    case ScalarOp::kFloorDivide:
    case ScalarOp::kAtan2:
    case ScalarOp::kLogAddExp:
    case ScalarOp::kNextAfter:
    case ScalarOp::kExp:
    case ScalarOp::kLog:
    case ScalarOp::kTanh:
    case ScalarOp::kSigmoid:
    case ScalarOp::kErf:
    case ScalarOp::kGelu:
    case ScalarOp::kGeluTanh:
    case ScalarOp::kElu:
    case ScalarOp::kSelu:
    case ScalarOp::kSilu:
    case ScalarOp::kSoftplus:
    case ScalarOp::kLog1p:
    case ScalarOp::kExpm1:
    case ScalarOp::kSin:
    case ScalarOp::kCos:
    case ScalarOp::kTan:
    case ScalarOp::kAsin:
    case ScalarOp::kAcos:
    case ScalarOp::kAtan:
    case ScalarOp::kSinh:
    case ScalarOp::kCosh:
    case ScalarOp::kAsinh:
    case ScalarOp::kAcosh:
    case ScalarOp::kAtanh:
    case ScalarOp::kLog2:
    case ScalarOp::kLog10: return kCostlyGrain;
    default: return kCheapGrain;
  }
}

// Drops dimensions of size 1 and joins neighbours that every input walks as one.
void Collapse(const ElementwiseArgs& args, ElementwiseProgram* p) {
  int rank = 0;
  for (int d = 0; d < args.rank; ++d) {
    if (args.sizes[d] == 1) continue;
    bool joins = rank > 0;
    for (int i = 0; i < p->n_inputs && joins; ++i) {
      joins = p->strides[i][rank - 1] == args.strides[i][d] * args.sizes[d];
    }
    if (joins) --rank;
    p->sizes[rank] = joins ? p->sizes[rank] * args.sizes[d] : args.sizes[d];
    for (int i = 0; i < p->n_inputs; ++i) p->strides[i][rank] = args.strides[i][d];
    ++rank;
  }
  // Rows and columns always exist.
  const int missing = std::max(0, 2 - rank);
  if (missing > 0) {
    for (int d = rank - 1; d >= 0; --d) {
      p->sizes[d + missing] = p->sizes[d];
      for (int i = 0; i < p->n_inputs; ++i) p->strides[i][d + missing] = p->strides[i][d];
    }
    for (int d = 0; d < missing; ++d) {
      p->sizes[d] = 1;
      for (int i = 0; i < p->n_inputs; ++i) p->strides[i][d] = 0;
    }
    rank += missing;
  }
  p->rank = rank;
}

const char* At(const void* p, int64_t bytes) { return static_cast<const char*>(p) + bytes; }
char* At(void* p, int64_t bytes) { return static_cast<char*>(p) + bytes; }

template <class T>
void GatherAs(const char* src, int64_t stride, void* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(static_cast<char*>(dst) + i * sizeof(T), src + i * stride * int64_t{sizeof(T)},
                sizeof(T));
  }
}

void Gather(const char* src, int64_t stride, int size, void* dst, int64_t n) {
  switch (size) {
    case 1: return GatherAs<uint8_t>(src, stride, dst, n);
    case 2: return GatherAs<uint16_t>(src, stride, dst, n);
    case 4: return GatherAs<uint32_t>(src, stride, dst, n);
    default: return GatherAs<uint64_t>(src, stride, dst, n);
  }
}

// One stretch of a row, tile by tile, for inputs the loop does not take as they are.
void RunStretchBuffered(const ElementwiseProgram& p, const char* const* in, char* out, int64_t n) {
  const ElementwiseTable& table = TableOf(CurrentIsa());
  alignas(64) char gathered[3][kTile * 8];
  alignas(64) float widened[3][kTile];
  alignas(64) float result[kTile];
  const int last = p.rank - 1;
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t count = std::min(kTile, n - begin);
    ElementwiseTile tile = {};
    tile.rows = 1;
    tile.cols = count;
    tile.params = p.params;
    for (int i = 0; i < p.n_inputs; ++i) {
      const int64_t stride = p.strides[i][last];
      const char* src = in[i] + begin * stride * p.in_size[i];
      const int64_t items = stride == 0 ? 1 : count;
      tile.in_col[i] = stride == 0 ? 0 : 1;
      if (stride != 0 && stride != 1) {
        Gather(src, stride, p.in_size[i], gathered[i], count);
        src = gathered[i];
      }
      if (p.half != 0 && p.in_size[i] == 2) {
        table.from_half[p.half - 1](reinterpret_cast<const uint16_t*>(src), widened[i], items);
        src = reinterpret_cast<const char*>(widened[i]);
      }
      tile.in[i] = src;
    }
    char* const dst = out + begin * p.out_size;
    const bool narrow = p.half != 0 && !p.bool_result;
    tile.out = narrow ? static_cast<void*>(result) : dst;
    p.fn(tile);
    if (narrow) table.to_half[p.half - 1](result, reinterpret_cast<uint16_t*>(dst), count);
  }
}

// Output elements [begin, end).
void RunRange(const ElementwiseProgram& p, const void* const* in, void* out, int64_t begin,
              int64_t end) {
  const int row_dim = p.rank - 2, col_dim = p.rank - 1;
  const int64_t cols = p.sizes[col_dim], rows = p.sizes[row_dim];
  const bool buffered = p.gathers || p.half != 0;
  while (begin < end) {
    const int64_t row = begin / cols, col = begin % cols;
    int64_t offset[3] = {};
    int64_t rest = row / rows;
    const int64_t r = row % rows;
    for (int i = 0; i < p.n_inputs; ++i) {
      offset[i] = r * p.strides[i][row_dim] + col * p.strides[i][col_dim];
    }
    for (int d = row_dim - 1; d >= 0 && rest > 0; --d) {
      const int64_t index = rest % p.sizes[d];
      rest /= p.sizes[d];
      for (int i = 0; i < p.n_inputs; ++i) offset[i] += index * p.strides[i][d];
    }
    ElementwiseTile tile = {};
    tile.out = At(out, begin * p.out_size);
    for (int i = 0; i < p.n_inputs; ++i) {
      tile.in[i] = At(in[i], offset[i] * p.in_size[i]);
      tile.in_row[i] = p.strides[i][row_dim];
      tile.in_col[i] = p.strides[i][col_dim];
    }
    tile.out_row = cols;
    tile.params = p.params;
    tile.rows = 1;
    tile.cols = std::min(cols - col, end - begin);
    if (buffered) {
      const char* src[3];
      for (int i = 0; i < p.n_inputs; ++i) src[i] = static_cast<const char*>(tile.in[i]);
      RunStretchBuffered(p, src, static_cast<char*>(tile.out), tile.cols);
    } else {
      if (tile.cols == cols) tile.rows = std::min(rows - r, (end - begin) / cols);
      p.fn(tile);
    }
    begin += tile.rows * tile.cols;
  }
}

// [N, C] op [C] with a short C: the repeated row is written out k times once, then k rows are one.
bool RunJoinedRows(const ElementwiseProgram& p, const void* const* in, void* out) {
  const int64_t rows = p.sizes[0], cols = p.sizes[1];
  if (p.rank != 2 || cols >= kShortRow || cols < 2 || rows < 4 || p.gathers || p.half != 0) {
    return false;
  }
  for (int i = 0; i < p.n_inputs; ++i) {
    const int64_t row = p.strides[i][0], col = p.strides[i][1];
    if (!(col == 1 && (row == cols || row == 0)) && !(col == 0 && row == 0)) return false;
  }
  const int64_t k = std::min(kTile / cols, rows), joined = k * cols;
  alignas(64) char repeated[3][kTile * 8];
  ElementwiseTile tile = {};
  tile.params = p.params;
  tile.out_row = joined;
  for (int i = 0; i < p.n_inputs; ++i) {
    tile.in[i] = in[i];
    tile.in_col[i] = p.strides[i][1];
    tile.in_row[i] = p.strides[i][0] == 0 ? 0 : joined;
    if (p.strides[i][0] == 0 && p.strides[i][1] == 1) {
      const int64_t bytes = cols * p.in_size[i];
      for (int64_t j = 0; j < k; ++j) std::memcpy(repeated[i] + j * bytes, in[i], bytes);
      tile.in[i] = repeated[i];
    }
  }
  const auto run = [&](int64_t begin, int64_t count, int64_t width) {
    ElementwiseTile t = tile;
    for (int i = 0; i < p.n_inputs; ++i)
      t.in[i] = At(tile.in[i], begin * tile.in_row[i] * p.in_size[i]);
    t.out = At(out, begin * joined * p.out_size);
    t.rows = count;
    t.cols = width;
    p.fn(t);
  };
  const int64_t groups = rows / k;
  ParallelFor(groups, std::max<int64_t>(1, p.grain / joined),
              [&](int64_t begin, int64_t end) { run(begin, end - begin, joined); });
  if (rows % k != 0) run(groups, 1, (rows % k) * cols);
  return true;
}

}  // namespace

bool ElementwiseSupports(ScalarOp op, DType dtype) { return Resolve(op, dtype) != nullptr; }

ElementwiseFn ElementwiseFunction(ScalarOp op, DType dtype) { return Resolve(op, dtype); }
ElementwiseFn ElementwisePair(ScalarOp first, ScalarOp second, bool swapped, DType dtype) {
  const int index = PairIndex(first, second, swapped);
  if (index < 0) return nullptr;
  const ElementwiseTable& table = TableOf(CurrentIsa());
  if (dtype == DType::kFloat32) return table.pair_f32[index];
  return dtype == DType::kFloat64 ? table.pair_f64[index] : nullptr;
}
bool ElementwiseIsCostly(ScalarOp op) { return GrainOf(op) == kCostlyGrain; }
const ElementwiseTable& HalfConversions() { return TableOf(CurrentIsa()); }

DType ElementwiseResult(ScalarOp op, DType dtype) {
  return kernels::InfoOf(op).is_bool ? DType::kBool : dtype;
}

ElementwiseProgram PrepareElementwise(const ElementwiseArgs& args) {
  ElementwiseProgram p;
  p.fn = Resolve(args.op, args.dtype);
  if (p.fn == nullptr) {
    Fail(ErrorCode::kNotImplemented, kernels::Name(args.op), ": not defined for ", args.dtype,
         " inputs; cast them first");
  }
  OSTRIA_CHECK(args.rank >= 0 && args.rank <= kMaxElementwiseRank);
  p.n_inputs = kernels::Arity(args.op);
  p.half = args.dtype == DType::kFloat16 ? 1 : args.dtype == DType::kBFloat16 ? 2 : 0;
  p.bool_result = kernels::InfoOf(args.op).is_bool;
  p.out_size = static_cast<int8_t>(p.bool_result ? 1 : SizeOf(args.dtype));
  for (int i = 0; i < p.n_inputs; ++i) p.in_size[i] = static_cast<int8_t>(SizeOf(args.dtype));
  if (args.op == ScalarOp::kWhere) p.in_size[0] = 1;
  p.grain = GrainOf(args.op);
  p.params[0] = args.params[0];
  p.params[1] = args.params[1];
  Collapse(args, &p);
  p.numel = 1;
  for (int d = 0; d < p.rank; ++d) p.numel *= p.sizes[d];
  for (int i = 0; i < p.n_inputs; ++i) {
    const int64_t stride = p.strides[i][p.rank - 1];
    p.gathers |= stride != 0 && stride != 1;
  }
  return p;
}

ElementwiseProgram PrepareElementwiseFlat(ScalarOp op, DType dtype, int64_t n, double param) {
  const int64_t strides[3][kMaxElementwiseRank] = {{1}, {1}, {1}};
  ElementwiseArgs args = {op, dtype, 1, &n, strides, {param, 0}};
  return PrepareElementwise(args);
}

void RunElementwise(const ElementwiseProgram& p, const void* const* in, void* out) {
  if (p.numel == 0) return;
  if (RunJoinedRows(p, in, out)) return;
  if (p.numel < 2 * p.grain) return RunRange(p, in, out, 0, p.numel);
  // Whole cache lines of output per thread.
  const int64_t blocks = (p.numel + 63) / 64;
  ParallelFor(blocks, p.grain / 64, [&](int64_t begin, int64_t end) {
    RunRange(p, in, out, begin * 64, std::min(end * 64, p.numel));
  });
}

}  // namespace ostria
