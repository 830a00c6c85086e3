// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/copy.h"

#include <numeric>

#include "isa_test_util.h"

namespace ostria {
namespace {

template <class To, class From>
std::vector<To> CastTo(DType from, std::vector<From> v, DType to) {
  std::vector<To> out(v.size());
  Cast(from, v.data(), to, out.data(), v.size());
  return out;
}

TEST(Cast, FloatToIntegerTruncatesAndSaturates) {
  const std::vector<float> v = {1.9f, -1.9f, 300, -300, NAN, INFINITY, -INFINITY, 3e9f, 1e20f};
  EXPECT_EQ((CastTo<int8_t>(DType::kFloat32, v, DType::kInt8)),
            (std::vector<int8_t>{1, -1, 127, -128, 0, 127, -128, 127, 127}));
  EXPECT_EQ((CastTo<uint8_t>(DType::kFloat32, v, DType::kUInt8)),
            (std::vector<uint8_t>{1, 0, 255, 0, 0, 255, 0, 255, 255}));
  constexpr int64_t kTop = std::numeric_limits<int64_t>::max(),
                    kLow = std::numeric_limits<int64_t>::min();
  EXPECT_EQ((CastTo<int64_t>(DType::kFloat32, v, DType::kInt64)),
            (std::vector<int64_t>{1, -1, 300, -300, 0, kTop, kLow, 3000000000, kTop}));
  EXPECT_EQ(
      (CastTo<uint8_t>(DType::kFloat32, std::vector<float>{0, -0.0f, 0.5f, NAN}, DType::kBool)),
      (std::vector<uint8_t>{0, 0, 1, 1}));
  EXPECT_EQ((CastTo<int8_t>(DType::kInt32, std::vector<int32_t>{300, -129, 5}, DType::kInt8)),
            (std::vector<int8_t>{44, 127, 5}));
}

TEST(Cast, HalfTypesRoundAlikeOnEveryIsa) {
  std::vector<float> v = Numbers(1013, -70000, 70000);
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 99991)
    v.push_back(std::bit_cast<float>(bits));
  v.insert(v.end(), {INFINITY, -INFINITY, NAN, 65519.0f, 65520.0f, 0x1p-25f, 0x1.8p-24f});
  ForEachIsa([&] {
    const auto f16 = CastTo<uint16_t>(DType::kFloat32, v, DType::kFloat16);
    const auto bf16 = CastTo<uint16_t>(DType::kFloat32, v, DType::kBFloat16);
    const auto back = CastTo<float>(DType::kFloat16, f16, DType::kFloat32);
    const auto bback = CastTo<float>(DType::kBFloat16, bf16, DType::kFloat32);
    for (size_t i = 0; i < v.size(); ++i) {
      if (std::isnan(v[i])) {
        EXPECT_TRUE(std::isnan(back[i]) && std::isnan(bback[i]));
        continue;
      }
      ASSERT_EQ(f16[i], Float16(v[i]).bits) << v[i];
      ASSERT_EQ(bf16[i], BFloat16(v[i]).bits) << v[i];
      ASSERT_EQ(back[i], static_cast<float>(Float16(v[i])));
    }
  });
}

TEST(Cast, EveryPairAgreesOnSmallNumbers) {
  constexpr int64_t kCount = 40001;
  std::vector<uint8_t> small(kCount);
  for (int64_t i = 0; i < kCount; ++i) small[i] = i % 2;
  for (int f = 0; f < kNumDTypes; ++f) {
    for (int t = 0; t < kNumDTypes; ++t) {
      const DType from = static_cast<DType>(f), to = static_cast<DType>(t);
      std::vector<uint8_t> a(kCount * 8), b(kCount * 8), back(kCount);
      Cast(DType::kUInt8, small.data(), from, a.data(), kCount);
      Cast(from, a.data(), to, b.data(), kCount);
      Cast(to, b.data(), DType::kUInt8, back.data(), kCount);
      ASSERT_EQ(back, small) << Name(from) << " to " << Name(to);
    }
  }
}

TEST(Fill, WritesExactlyTheRange) {
  std::vector<double> x(100001, 1);
  const double value = 2.5;
  Fill(x.data(), &value, 8, 100000);
  EXPECT_EQ(std::count(x.begin(), x.end(), 2.5), 100000);
  EXPECT_EQ(x.back(), 1);
}

struct CopyCase {
  const char* name;
  std::vector<int64_t> sizes, src, dst;
  int64_t src_at, dst_at;
};

const CopyCase kCases[] = {
    {"scalar", {}, {}, {}, 3, 5},
    {"dense", {7, 9, 11}, {99, 11, 1}, {99, 11, 1}, 0, 0},
    {"transpose", {71, 229}, {1, 71}, {229, 1}, 0, 0},
    {"large transpose", {300, 500}, {1, 300}, {500, 1}, 0, 0},
    {"rotate axes", {5, 33, 40}, {1, 200, 5}, {1320, 40, 1}, 0, 0},
    {"NHWC to NCHW", {2, 3, 17, 19}, {969, 1, 57, 3}, {969, 323, 19, 1}, 0, 0},
    {"flip", {40, 50}, {-50, -1}, {50, 1}, 1999, 0},
    {"flip and transpose", {40, 50}, {-1, 40}, {50, 1}, 39, 0},
    {"slice with steps", {10, 20}, {200, 3}, {20, 1}, 7, 0},
    {"broadcast row", {300, 301}, {0, 1}, {301, 1}, 0, 0},
    {"broadcast column", {300, 301}, {1, 0}, {301, 1}, 0, 0},
    {"into a column of a concat", {60, 5}, {5, 1}, {50, 1}, 0, 10},
    {"into steps", {60, 5}, {5, 1}, {500, 7}, 0, 3},
    {"empty", {0, 4}, {4, 1}, {4, 1}, 0, 0},
};

template <class T>
void CheckCopies() {
  for (const CopyCase& c : kCases) {
    SCOPED_TRACE(c.name);
    std::vector<T> src(200000), want(200000, T(7)), got = want, again = want;
    for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<T>(i * 2654435761u >> 3);
    int64_t numel = 1;
    for (int64_t s : c.sizes) numel *= s;
    for (int64_t k = 0; k < numel; ++k) {
      int64_t rest = k, s = c.src_at, d = c.dst_at;
      for (int i = static_cast<int>(c.sizes.size()) - 1; i >= 0; --i) {
        s += rest % c.sizes[i] * c.src[i];
        d += rest % c.sizes[i] * c.dst[i];
        rest /= c.sizes[i];
      }
      want[d] = src[s];
    }
    const auto program = PrepareStridedCopy(
        {sizeof(T), static_cast<int>(c.sizes.size()), c.sizes.data(), c.src.data(), c.dst.data()});
    WithThreads(1, [&] { RunStridedCopy(program, src.data() + c.src_at, got.data() + c.dst_at); });
    WithThreads(2,
                [&] { RunStridedCopy(program, src.data() + c.src_at, again.data() + c.dst_at); });
    EXPECT_TRUE(SameBits(got, want));
    EXPECT_TRUE(SameBits(again, want));
  }
}

TEST(StridedCopy, EveryLayoutAndElementSize) {
  CheckCopies<uint8_t>();
  CheckCopies<uint16_t>();
  CheckCopies<uint32_t>();
  CheckCopies<uint64_t>();
}

}  // namespace
}  // namespace ostria
