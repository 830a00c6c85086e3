// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/parallel.h"

namespace ostria::cpu {
namespace {

constexpr int64_t kGrainBytes = 1 << 18;  // bytes worth a thread
constexpr int64_t kPanel = 16;            // rows of a transposed tile: a cache line of floats

struct Axis {
  int64_t size, src, dst;
};

// Outermost first by target stride, so that writes run forward; then joins axes that are one run.
int Collapse(Axis* axes, int rank) {
  std::stable_sort(axes, axes + rank,
                   [](const Axis& a, const Axis& b) { return std::abs(a.dst) > std::abs(b.dst); });
  int out = 0;
  for (int i = 0; i < rank; ++i) {
    if (axes[i].size == 1) continue;
    const Axis& a = axes[i];
    if (out > 0 && axes[out - 1].dst == a.dst * a.size && axes[out - 1].src == a.src * a.size) {
      axes[out - 1] = {axes[out - 1].size * a.size, a.src, a.dst};
    } else {
      axes[out++] = a;
    }
  }
  return out;
}

template <class T>
void Row(const std::byte* src, std::byte* dst, int64_t n, int64_t src_step, int64_t dst_step) {
  for (int64_t i = 0; i < n; ++i) {
    *reinterpret_cast<T*>(dst + i * dst_step) = *reinterpret_cast<const T*>(src + i * src_step);
  }
}

template <class T>
void Fill(std::byte* dst, const std::byte* value, int64_t n) {
  std::fill_n(reinterpret_cast<T*>(dst), n, *reinterpret_cast<const T*>(value));
}

// dst[r][c] = src[c][r]: a panel of rows at a time, so that every line read is used while it is
// cached.
template <class T>
void Tile(const std::byte* src, std::byte* dst, int64_t rows, int64_t cols, int64_t src_col,
          int64_t dst_row) {
  for (int64_t c0 = 0; c0 < cols; c0 += kPanel) {
    const int64_t c1 = std::min(cols, c0 + kPanel);
    for (int64_t r = 0; r < rows; ++r) {
      T* y = reinterpret_cast<T*>(dst + r * dst_row);
      for (int64_t c = c0; c < c1; ++c) y[c] = reinterpret_cast<const T*>(src + c * src_col)[r];
    }
  }
}

template <class T>
void RunItem(const CopyProgram& p, int64_t item, const std::byte* src, std::byte* dst) {
  int64_t panel = 0;
  if (p.inner == CopyProgram::Inner::kTranspose) {
    panel = item % p.panels;
    item /= p.panels;
  }
  for (int k = p.rank - 1; k >= 0; --k) {
    const int64_t at = item % p.sizes[k];
    item /= p.sizes[k];
    src += at * p.src[k];
    dst += at * p.dst[k];
  }
  switch (p.inner) {
    case CopyProgram::Inner::kBytes: std::memcpy(dst, src, static_cast<size_t>(p.n)); return;
    case CopyProgram::Inner::kFill: Fill<T>(dst, src, p.n); return;
    case CopyProgram::Inner::kGeneral: Row<T>(src, dst, p.n, p.src_step, p.dst_step); return;
    case CopyProgram::Inner::kTranspose: break;
  }
  const int64_t first = panel * kPanel;
  Tile<T>(src + first * static_cast<int64_t>(sizeof(T)), dst + first * p.dst_row,
          std::min(kPanel, p.rows - first), p.n, p.src_step, p.dst_row);
}

template <class T>
void RunTyped(const CopyProgram& p, const std::byte* src, std::byte* dst) {
  ParallelFor(p.items, p.grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) RunItem<T>(p, i, src, dst);
  });
}

}  // namespace

CopyProgram PrepareCopy(int64_t element_bytes, std::span<const int64_t> sizes,
                        std::span<const int64_t> src_strides,
                        std::span<const int64_t> dst_strides) {
  OSTRIA_CHECK(sizes.size() <= kMaxRank && src_strides.size() == sizes.size() &&
               dst_strides.size() == sizes.size());
  CopyProgram p;
  p.element_bytes = static_cast<int>(element_bytes);
  p.items = 1;
  Axis axes[kMaxRank + 1];
  int rank = static_cast<int>(sizes.size());
  for (int i = 0; i < rank; ++i) {
    axes[i] = {sizes[i], src_strides[i] * element_bytes, dst_strides[i] * element_bytes};
    if (sizes[i] == 0) {
      p.items = 0;
      return p;
    }
  }
  rank = Collapse(axes, rank);
  if (rank == 0) axes[rank++] = {1, element_bytes, element_bytes};

  const Axis row = axes[--rank];
  p.n = row.size;
  p.src_step = row.src;
  p.dst_step = row.dst;
  if (row.dst == element_bytes && row.src == element_bytes) {
    p.inner = CopyProgram::Inner::kBytes;
    p.n = row.size * element_bytes;
  } else if (row.dst == element_bytes && row.src == 0) {
    p.inner = CopyProgram::Inner::kFill;
  } else {
    p.inner = CopyProgram::Inner::kGeneral;
    for (int i = 0; row.dst == element_bytes && i < rank; ++i) {
      if (axes[i].src != element_bytes) continue;
      p.inner = CopyProgram::Inner::kTranspose;
      p.rows = axes[i].size;
      p.dst_row = axes[i].dst;
      p.panels = (p.rows + kPanel - 1) / kPanel;
      p.items = p.panels;
      std::copy(axes + i + 1, axes + rank, axes + i);
      --rank;
      break;
    }
  }
  p.rank = rank;
  for (int i = 0; i < rank; ++i) {
    p.sizes[i] = axes[i].size;
    p.src[i] = axes[i].src;
    p.dst[i] = axes[i].dst;
    p.items *= axes[i].size;
  }
  int64_t total = element_bytes;
  for (int64_t size : sizes) total *= size;
  p.grain = std::max<int64_t>(1, kGrainBytes * p.items / total);
  return p;
}

void RunCopy(const CopyProgram& program, const void* src, void* dst) {
  const auto* from = static_cast<const std::byte*>(src);
  auto* to = static_cast<std::byte*>(dst);
  switch (program.element_bytes) {
    case 1: return RunTyped<uint8_t>(program, from, to);
    case 2: return RunTyped<uint16_t>(program, from, to);
    case 4: return RunTyped<uint32_t>(program, from, to);
    default: return RunTyped<uint64_t>(program, from, to);
  }
}

void FillElements(void* dst, const void* value, int64_t element_bytes, int64_t n) {
  auto* to = static_cast<std::byte*>(dst);
  const auto* from = static_cast<const std::byte*>(value);
  ParallelFor(n, kGrainBytes / element_bytes, [&](int64_t begin, int64_t end) {
    std::byte* at = to + begin * element_bytes;
    switch (element_bytes) {
      case 1: return Fill<uint8_t>(at, from, end - begin);
      case 2: return Fill<uint16_t>(at, from, end - begin);
      case 4: return Fill<uint32_t>(at, from, end - begin);
      default: return Fill<uint64_t>(at, from, end - begin);
    }
  });
}

}  // namespace ostria::cpu
