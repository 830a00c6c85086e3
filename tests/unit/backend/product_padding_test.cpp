// SPDX-License-Identifier: Apache-2.0
// Which sizes of products a device likes, and when larger ones pay: the rule itself.
#include "backend/product_padding.h"

#include <gtest/gtest.h>

namespace ostria {
namespace {

DeviceProps Gpu(bool tf32 = false, int capability = 90) {
  return {.kind = DeviceKind::kCuda, .compute_capability = capability, .tf32 = tf32};
}

TEST(ProductPadding, IsForTensorCoresThatReadVectors) {
  EXPECT_EQ(ProductMultiple(Gpu(), DType::kBFloat16), 8);
  EXPECT_EQ(ProductMultiple(Gpu(), DType::kFloat16), 8);
  EXPECT_EQ(ProductMultiple(Gpu(), DType::kFloat32), 1);
  EXPECT_EQ(ProductMultiple(Gpu(true), DType::kFloat32), 4);
  EXPECT_EQ(ProductMultiple(Gpu(true), DType::kFloat64), 1);
  EXPECT_EQ(ProductMultiple(Gpu(true), DType::kInt16), 1);
  EXPECT_EQ(ProductMultiple(Gpu(true, 75), DType::kBFloat16), 1);
  EXPECT_EQ(ProductMultiple({}, DType::kBFloat16), 1);
}

TEST(ProductPadding, TakesWholeLinesWhereThatIsLittle) {
  EXPECT_EQ(ops::PaddedSize(50257, 8), 50304);
  EXPECT_EQ(ops::PaddedSize(50264, 8), 50264);  // vectors, if no lines
  EXPECT_EQ(ops::PaddedSize(650, 8), 656);
  EXPECT_EQ(ops::PaddedSize(650, 4), 672);
  EXPECT_EQ(ops::PaddedSize(330, 4), 332);
  EXPECT_EQ(ops::PaddedSize(1001, 8), 1024);
  EXPECT_EQ(ops::PaddedSize(3, 8), 8);
  EXPECT_EQ(ops::PaddedSize(7, 1), 7);
}

ops::ProductPadding Of(double m, double n, double k, double wide_n, int64_t copied, int launches,
                       DType dtype = DType::kBFloat16) {
  return {dtype, 2 * m * n * k, 2 * m * wide_n * k, copied, launches};
}

TEST(ProductPadding, PaysWhereItSavesMoreThanItCopies) {
  // The logits of GPT-2, whose operands are cast anyway, and whose readers take wide rows.
  EXPECT_TRUE(PaddingPays(Gpu(), Of(16384, 50257, 768, 50304, 0, 0)));
  // Logits that are copied for a reader that does not: 768 products for each of them.
  const int64_t logits = int64_t{16384} * 50257 * 2;
  EXPECT_FALSE(PaddingPays(Gpu(), Of(16384, 50257, 768, 50304, 2 * logits, 1)));
  EXPECT_TRUE(PaddingPays(Gpu(), Of(16384, 50257, 4096, 50304, 2 * logits, 1)));
  // A gradient of a weight in float32, cut behind a sum over many rows.
  EXPECT_TRUE(PaddingPays(Gpu(), Of(768, 50257, 16384, 50304, int64_t{768} * 50257 * 8, 1)));
  // Ten classes of a small batch.
  EXPECT_FALSE(PaddingPays(Gpu(), Of(128, 10, 256, 16, 0, 0)));
  // Three columns of many rows: most of eight would be zeros.
  EXPECT_FALSE(PaddingPays(Gpu(), Of(1e6, 3, 4096, 8, 0, 0)));
  EXPECT_FALSE(PaddingPays({}, Of(16384, 50257, 768, 50304, 0, 0)));
}

// TF32 is half as fast, so the same bytes cost half as many of its products.
TEST(ProductPadding, CountsBytesInProductsOfTheType) {
  const auto padding = Of(700, 10000, 650, 10000, 9'000'000, 2, DType::kFloat32);
  EXPECT_TRUE(PaddingPays(Gpu(true), padding));
  EXPECT_FALSE(PaddingPays(Gpu(false), padding));
  auto halves = padding;
  halves.dtype = DType::kBFloat16;
  EXPECT_FALSE(PaddingPays(Gpu(true), halves));
}

}  // namespace
}  // namespace ostria
