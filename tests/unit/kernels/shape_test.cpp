// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "kernels/host/shim.h"
#include "kernels/shape/join.h"
#include "kernels/shape/transpose.h"
#include "kernels/shape/window.h"

namespace ostria::kernels {
namespace {

using Bytes = std::vector<unsigned char>;

// `bytes` random bytes from a multiple of 16 on, and room around them.
struct Memory {
  explicit Memory(int64_t bytes, uint64_t seed = 0) : all(static_cast<size_t>(bytes) + 128) {
    std::mt19937_64 random(seed);
    for (auto& b : all) b = static_cast<unsigned char>(random());
    start = all.data() + 64 - reinterpret_cast<uintptr_t>(all.data()) % 16;
  }
  Bytes all;
  unsigned char* start;
};

// Calls fn with every index of `sizes`.
void ForEach(const std::vector<int64_t>& sizes, std::vector<int64_t>* index,
             const std::function<void()>& fn) {
  if (index->size() == sizes.size()) return fn();
  for (int64_t i = 0; i < sizes[index->size()]; ++i) {
    index->push_back(i);
    ForEach(sizes, index, fn);
    index->pop_back();
  }
}

struct Layout {
  std::vector<int64_t> sizes, src, dst;
};

// Every element in its place and no byte beside it, for starts on and off the boundaries.
void ExpectCopies(const Layout& layout, int64_t src_elements, int64_t src_begin,
                  int64_t dst_elements) {
  CopyAxes axes;
  for (size_t i = 0; i < layout.sizes.size(); ++i) {
    axes.Add(layout.sizes[i], layout.src[i], layout.dst[i]);
  }
  for (const int64_t size : {1, 2, 4, 8}) {
    for (const int64_t skew : {0, 1, 3}) {
      StridedCopyParams p;
      ASSERT_TRUE(PlanCopy(axes, static_cast<int>(size), &p));
      p.src_offset = src_begin * size;
      Memory src(src_elements * size + 16, 1), dst(dst_elements * size + 16, 2);
      Bytes want = dst.all;
      const unsigned char* from = src.start + skew * size;
      unsigned char* to = dst.start + skew * size;
      std::vector<int64_t> index;
      ForEach(layout.sizes, &index, [&] {
        int64_t s = src_begin, d = 0;
        for (size_t i = 0; i < index.size(); ++i) {
          s += index[i] * layout.src[i];
          d += index[i] * layout.dst[i];
        }
        std::memcpy(want.data() + (to - dst.all.data()) + d * size, from + s * size,
                    static_cast<size_t>(size));
      });
      for (const bool wide : {false, true}) {
        StridedCopyParams q = p;
        SetCopyAddresses(&q, from, to);
        EXPECT_EQ(q.wide, 0);
        if (wide) q.wide = 1;
        host::Launch("copy_strided", {3}, {64}, 0, &q, sizeof q);
        ASSERT_EQ(dst.all, want) << "size " << size << " skew " << skew << " wide " << wide;
        std::memcpy(dst.all.data(), Memory(dst_elements * size + 16, 2).all.data(), dst.all.size());
      }
      TransposeParams t;
      if (!PlanTranspose(p, &t)) continue;
      t.src = from + src_begin * size;
      t.dst = to;
      host::Launch(("transpose_" + std::to_string(size)).c_str(), {2}, {256}, 0, &t, sizeof t);
      ASSERT_EQ(dst.all, want) << "transposed, size " << size << " skew " << skew;
    }
  }
}

TEST(CopyKernel, CopiesAnyLayout) {
  ExpectCopies({{}, {}, {}}, 1, 0, 1);
  ExpectCopies({{1, 1}, {5, 1}, {5, 1}}, 1, 0, 1);
  ExpectCopies({{1031}, {1}, {1}}, 1031, 0, 1031);
  ExpectCopies({{71, 29}, {1, 71}, {29, 1}}, 71 * 29, 0, 71 * 29);     // transpose
  ExpectCopies({{3, 8, 16}, {0, 16, 1}, {128, 16, 1}}, 128, 0, 384);   // tile
  ExpectCopies({{7, 5, 3}, {5, 1, 0}, {15, 3, 1}}, 35, 0, 105);        // repeat
  ExpectCopies({{9, 16}, {64, 1}, {16, 1}}, 9 * 64, 32, 9 * 16);       // aligned slice
  ExpectCopies({{9, 15}, {37, 2}, {15, 1}}, 9 * 37, 3, 9 * 15);        // slice with steps
  ExpectCopies({{9, 16}, {16, 1}, {17, 1}}, 9 * 16, 0, 9 * 17);        // into a slice
  ExpectCopies({{6, 5, 4}, {-20, 4, -1}, {20, 4, 1}}, 120, 103, 120);  // flip
  ExpectCopies({{2, 3, 2, 3, 2, 3}, {1, 2, 6, 12, 36, 72}, {108, 36, 18, 6, 3, 1}}, 216, 0, 216);
}

TEST(TransposeKernel, TransposesBatchesOfAnySize) {
  ExpectCopies({{2, 45, 37}, {37 * 45, 1, 45}, {37 * 45, 37, 1}}, 2 * 45 * 37, 0, 2 * 45 * 37);
  ExpectCopies({{33, 3, 2, 64}, {1, 33 * 64 * 2, 33 * 64, 33}, {384, 128, 64, 1}}, 33 * 3 * 2 * 64,
               0, 33 * 3 * 2 * 64);
  ExpectCopies({{16, 16}, {1, 40}, {20, 1}}, 640, 7, 320);
}

TEST(TransposePlan, LeavesShortAxesToTheStridedCopy) {
  CopyAxes axes;
  axes.Add(3, 1, 1000);
  axes.Add(1000, 3, 1);
  StridedCopyParams copy;
  TransposeParams p;
  ASSERT_TRUE(PlanCopy(axes, 4, &copy));
  EXPECT_FALSE(PlanTranspose(copy, &p));
}

TEST(CopyPlan, MergesAxesAndTakesTheLargestUnit) {
  CopyAxes axes;
  axes.Add(5, 4 * 6 * 8, 3 * 6 * 8);
  axes.Add(3, 6 * 8, 6 * 8);
  axes.Add(1, 99, 77);
  axes.Add(6, 8, 8);
  axes.Add(8, 1, 1);
  StridedCopyParams p;
  ASSERT_TRUE(PlanCopy(axes, 2, &p));
  EXPECT_EQ(p.rank, 2);
  SetCopyAddresses(&p, nullptr, nullptr);
  EXPECT_EQ(p.unit_bytes, 16);
  EXPECT_EQ(p.units, 5 * 18);
  EXPECT_EQ(p.sizes[1], 18);
  EXPECT_EQ(p.src_strides[0], 24);
  EXPECT_EQ(p.dst_strides[0], 18);
  EXPECT_EQ(p.wide, 0);
  // Off the boundary, the same plan moves smaller units; back on it, large ones.
  SetCopyAddresses(&p, reinterpret_cast<const void*>(6), nullptr);
  EXPECT_EQ(p.unit_bytes, 2);
  EXPECT_EQ(p.sizes[1], 144);
  EXPECT_EQ(p.dst_strides[0], 144);
}

TEST(CopyPlan, UsesWideIndicesFromTwoToThe31On) {
  const int64_t two31 = int64_t{1} << 31;
  const auto wide = [](int64_t size, int64_t src, int64_t dst) {
    CopyAxes axes;
    axes.Add(size, src, dst);
    axes.Add(3, 1, 1);
    StridedCopyParams p;
    EXPECT_TRUE(PlanCopy(axes, 4, &p));
    SetCopyAddresses(&p, nullptr, nullptr);
    return p.wide;
  };
  EXPECT_EQ(wide(100, 10, 3), 0);
  EXPECT_EQ(wide(two31 / 3, 4, 3), 1);   // src reaches beyond
  EXPECT_EQ(wide(two31, 0, 3), 1);       // so many elements
  EXPECT_EQ(wide(3, -two31 / 2, 3), 1);  // backwards
  EXPECT_EQ(wide(3, 3, two31 / 2), 1);   // dst reaches beyond
  EXPECT_EQ(wide(3, 3, two31 / 2 - 2), 0);
  WindowParams w;
  w.units = two31;
  w.unit_bytes = 1;
  AddAxis(&w, {.size = two31, .low = 1, .extent = 5, .src_stride = 1});
  SetWindowAddresses(&w, nullptr, nullptr);
  EXPECT_EQ(w.wide, 1);
  JoinParams j;
  j.rows = 3;
  j.pitch = two31 / 2 + 1;
  j.parts = 1;
  j.part[0].end = 7;
  SetJoinUnit(&j);
  EXPECT_EQ(j.wide, 1);
}

TEST(CopyPlan, RefusesMoreAxesThanAKernelTakes) {
  CopyAxes axes;
  for (int i = 0; i < 9; ++i) axes.Add(2, 2 << (2 * i), 3 << (2 * i));
  StridedCopyParams p;
  EXPECT_FALSE(PlanCopy(axes, 4, &p));
}

TEST(Divisor, IsDivisionForEveryNumberBelow2To31) {
  std::mt19937_64 random(3);
  const uint32_t most = (uint32_t{1} << 31) - 1;
  for (const uint32_t by :
       {1u, 2u, 3u, 5u, 7u, 255u, 256u, 641u, 65535u, 65537u, most / 2 + 1, most - 1, most}) {
    const Divisor d = Divisor::Of(by);
    const auto divide = [&](uint32_t x) {
      return static_cast<uint32_t>((uint64_t{x} * d.multiplier >> 32) + x) >> d.shift;
    };
    for (const uint32_t x : {0u, 1u, by - 1, by, most - 1, most}) EXPECT_EQ(divide(x), x / by);
    for (int i = 0; i < 1000; ++i) {
      const auto x = static_cast<uint32_t>(random() & most);
      ASSERT_EQ(divide(x), x / by) << x << " / " << by;
    }
  }
}

// Every element of dst against the definition, by a window of one axis between two whole ones.
void ExpectWindow(int64_t outer, int64_t inner, const WindowAxis& axis) {
  for (const int64_t size : {1, 2, 4, 8}) {
    for (const int64_t skew : {0, 1}) {
      Memory src(outer * axis.extent * inner * size + 16, 1);
      Memory dst(outer * axis.size * inner * size + 16, 2);
      WindowParams p;
      p.units = outer * axis.size * inner;
      p.unit_bytes = static_cast<int32_t>(size);
      p.fill = 0x0101010101010101ull * 0x5a;
      AddAxis(&p, {.size = outer, .extent = outer, .src_stride = axis.extent * inner});
      WindowAxis middle = axis;
      middle.src_stride = inner;
      AddAxis(&p, middle);
      AddAxis(&p, {.size = inner, .extent = inner, .src_stride = 1});
      unsigned char* to = dst.start + skew * size;
      const unsigned char* from = src.start + skew * size;
      Bytes want = dst.all;
      unsigned char* wanted = want.data() + (to - dst.all.data());
      std::memset(wanted, 0x5a, static_cast<size_t>(outer * axis.size * inner * size));
      for (int64_t o = 0; o < outer; ++o) {
        for (int64_t e = 0; e < axis.extent; ++e) {
          const int64_t at = (axis.low + e * axis.step) % axis.size;
          std::memcpy(wanted + (o * axis.size + at) * inner * size,
                      from + (o * axis.extent + e) * inner * size,
                      static_cast<size_t>(inner * size));
        }
      }
      for (const bool wide : {false, true}) {
        WindowParams q = p;
        SetWindowAddresses(&q, from, to);
        if (wide) q.wide = 1;
        host::Launch("window", {3}, {64}, 0, &q, sizeof q);
        ASSERT_EQ(dst.all, want) << "size " << size << " skew " << skew << " wide " << wide;
      }
    }
  }
}

TEST(WindowKernel, PlacesElementsAndFillsTheRest) {
  ExpectWindow(1, 1, {.size = 1031, .low = 3, .extent = 1000});        // pad
  ExpectWindow(5, 16, {.size = 9, .low = 2, .extent = 4});             // in vectors
  ExpectWindow(5, 7, {.size = 9, .low = 9, .extent = 0});              // nothing inside
  ExpectWindow(3, 5, {.size = 17, .low = 1, .step = 3, .extent = 5});  // steps
  ExpectWindow(3, 1, {.size = 17, .low = 0, .step = 2, .extent = 9});
  ExpectWindow(3, 8, {.size = 6, .low = 2, .extent = 6, .wraps = 1});  // roll
  ExpectWindow(2, 1, {.size = 71, .low = 70, .extent = 71, .wraps = 1});
}

TEST(JoinKernel, JoinsPartsOfAnyWidth) {
  for (const std::vector<int64_t>& widths :
       {std::vector<int64_t>{5}, {16, 32, 16}, {0, 7, 0, 0, 3, 0}, std::vector<int64_t>(64, 2)}) {
    for (const int64_t size : {1, 4, 8}) {
      for (const int64_t rows : {1, 13}) {
        int64_t row = 0;
        JoinParams p;
        p.rows = rows;
        p.unit_bytes = static_cast<int32_t>(size);
        std::vector<Memory> parts;
        for (size_t i = 0; i < widths.size(); ++i) {
          parts.emplace_back(rows * widths[i] * size, i);
          row += widths[i];
          p.part[i] = {widths[i] == 0 ? nullptr : parts.back().start, row};
        }
        p.parts = static_cast<int32_t>(widths.size());
        p.pitch = row + 3;  // what lies between the rows is somebody else's
        Memory dst(rows * p.pitch * size, 99);
        Bytes want = dst.all;
        unsigned char* wanted = want.data() + (dst.start - dst.all.data());
        for (int64_t r = 0, begin = 0; r < rows; ++r, begin = 0) {
          for (size_t i = 0; i < widths.size(); begin += widths[i++]) {
            std::memcpy(wanted + (r * p.pitch + begin) * size,
                        parts[i].start + r * widths[i] * size,
                        static_cast<size_t>(widths[i] * size));
          }
        }
        p.dst = dst.start;
        SetJoinUnit(&p);
        for (const bool wide : {false, true}) {
          JoinParams q = p;
          if (wide) q.wide = 1;
          host::Launch("join", {2}, {64}, 0, &q, sizeof q);
          ASSERT_EQ(dst.all, want) << "size " << size << " rows " << rows;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ostria::kernels
