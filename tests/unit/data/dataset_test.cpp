// SPDX-License-Identifier: Apache-2.0
// Which elements come, in which order, and what is said about wrong arguments.
#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "data/rng.h"
#include "pipelines.h"

namespace ostria::data {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

Tensor Iota(std::initializer_list<int64_t> sizes) {
  Tensor t = Tensor::Empty(DType::kInt64, Shape::FromSizes({sizes.begin(), sizes.size()}));
  std::iota(t.data<int64_t>(), t.data<int64_t>() + t.numel(), 0);
  return t;
}

std::vector<int64_t> Sorted(std::vector<int64_t> v) {
  std::sort(v.begin(), v.end());
  return v;
}

TEST(Rng, IsSplitMix64) {  // outputs of the reference implementation for the seeds 0 and 1234567
  EXPECT_EQ(RandomBits(0, 0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(RandomBits(0, 1), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(RandomBits(1234567, 0), 6457827717110365317u);
  EXPECT_EQ(RandomBits(1234567, 1), 3203168211198807973u);
}

TEST(Dataset, RangeCountsBothWays) {
  EXPECT_EQ(ReadFlat(Range(2, 9, 3)), (std::vector<int64_t>{2, 5, 8}));
  EXPECT_EQ(ReadFlat(Range(5, 0, -2)), (std::vector<int64_t>{5, 3, 1}));
  EXPECT_EQ(ReadFlat(Range(0, 0, 1)), (std::vector<int64_t>{}));
  EXPECT_EQ(Range(INT64_MIN, INT64_MIN + 3, 2)->Cardinality(), 2);
}

TEST(Dataset, SlicesKeepComponentsTogether) {
  const DatasetPtr ds = FromTensorSlices({Iota({3, 2}), Iota({3})});
  EXPECT_EQ(Read(ds), (Rows{{0, 1, 0}, {2, 3, 1}, {4, 5, 2}}));
  EXPECT_EQ(Read(Batch(ds, 2, false)), (Rows{{0, 1, 2, 3, 0, 1}, {4, 5, 2}}));
  Iterator it(Batch(ds, 2, false));
  Element batch;
  ASSERT_TRUE(it.Next(&batch));
  EXPECT_EQ(batch[0].shape(), Shape({2, 2}));
  EXPECT_EQ(batch[1].shape(), Shape({2}));
}

TEST(Dataset, BatchSpansEpochsAndKeepsTheRest) {
  EXPECT_EQ(Read(Batch(Repeat(Range(0, 3, 1), 2), 4, false)), (Rows{{0, 1, 2, 0}, {1, 2}}));
  EXPECT_EQ(Read(Batch(Repeat(Range(0, 3, 1), 2), 4, true)), (Rows{{0, 1, 2, 0}}));
  EXPECT_EQ(Read(Repeat(Batch(Range(0, 3, 1), 2, false), 2)), (Rows{{0, 1}, {2}, {0, 1}, {2}}));
  EXPECT_EQ(Read(Batch(FromCounter(5), 2, false)), (Rows{{0, 1}, {2, 3}, {4}}));
  EXPECT_EQ(Read(Batch(FromCounter(5), 2, true)), (Rows{{0, 1}, {2, 3}}));
}

TEST(Dataset, ReadersOfOneBatchGatherTheirOwnRows) {
  // Two of six parts each: ceil(8 / 6) = 2 rows, then ceil(3 / 6) = 1. The last number is the rows.
  const auto share = [](int64_t first) {
    return Read(Batch(Range(0, 11, 1), 8, false, BatchShare{first, 2, 6}));
  };
  EXPECT_EQ(share(0), (Rows{{0, 1, 2, 3, 8}, {8, 9, 3}}));
  EXPECT_EQ(share(2), (Rows{{4, 5, 6, 7, 8}, {10, 3}}));
  EXPECT_EQ(share(4), (Rows{{8}, {3}}));
  // A position is that of the whole batch: whoever saved it, all can restore it.
  Iterator first(Batch(Range(0, 11, 1), 8, false, BatchShare{0, 2, 6}));
  Element element;
  ASSERT_TRUE(first.Next(&element));
  Iterator whole(Batch(Range(0, 11, 1), 8, false));
  whole.RestoreState(first.SaveState());
  ASSERT_TRUE(whole.Next(&element));
  EXPECT_EQ(element[0].shape(), Shape({3}));
  EXPECT_THROW(Batch(FromCounter(5), 2, false, BatchShare{0, 1, 2}), Error);
  EXPECT_THROW(Batch(Range(0, 3, 1), 2, false, BatchShare{1, 2, 2}), Error);
}

TEST(Dataset, TakeSkipEnumerateZip) {
  EXPECT_EQ(ReadFlat(Take(Skip(Range(0, 9, 1), 2), 3)), (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(ReadFlat(Take(FromCounter(3), -1)), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(ReadFlat(Skip(FromCounter(3), -1)), (std::vector<int64_t>{}));
  EXPECT_EQ(Read(Enumerate(Range(7, 9, 1), 5)), (Rows{{5, 7}, {6, 8}}));
  EXPECT_EQ(Read(Enumerate(Range(7, 9, 1), INT64_MAX)), (Rows{{INT64_MAX, 7}, {INT64_MIN, 8}}));
  EXPECT_EQ(Read(Zip({Range(0, 5, 1), FromCounter(2)})), (Rows{{0, 0}, {1, 1}}));
}

TEST(Dataset, RepeatOfNothingEnds) {
  EXPECT_EQ(ReadFlat(Repeat(Range(0, 0, 1), kInfinite)), (std::vector<int64_t>{}));
  EXPECT_EQ(ReadFlat(Repeat(FromCounter(0), kInfinite)), (std::vector<int64_t>{}));
  EXPECT_EQ(ReadFlat(Repeat(Range(0, 4, 1), 0)), (std::vector<int64_t>{}));
}

TEST(Shuffle, OrdersAreFixedForEver) {
  // Stored trainings resume into these orders: a change of one number here breaks them.
  EXPECT_EQ(ReadFlat(Shuffle(Range(0, 10, 1), 10, 42, true)),
            (std::vector<int64_t>{7, 4, 1, 5, 2, 9, 6, 8, 0, 3}));
  EXPECT_EQ(ReadFlat(Repeat(Shuffle(Range(0, 5, 1), 2, 7, true), 3)),
            (std::vector<int64_t>{0, 1, 3, 2, 4, 1, 2, 3, 4, 0, 1, 0, 2, 4, 3}));
}

TEST(Shuffle, ElementsAndRowsHaveOneOrder) {
  for (int64_t buffer : {1, 3, 10, 400, 1000}) {
    EXPECT_EQ(ReadFlat(Repeat(Shuffle(FromCounter(600), buffer, 3, true), 2)),
              ReadFlat(Batch(Repeat(Shuffle(Range(0, 600, 1), buffer, 3, true), 2), 500, false)))
        << buffer;
  }
}

TEST(Shuffle, IsAWindow) {
  const auto order = ReadFlat(Shuffle(Range(0, 1000, 1), 10, 1, true));
  EXPECT_EQ(Sorted(order), ReadFlat(Range(0, 1000, 1)));
  EXPECT_NE(order, ReadFlat(Range(0, 1000, 1)));
  for (size_t i = 0; i < order.size(); ++i) EXPECT_LT(order[i], static_cast<int64_t>(i) + 10);
  EXPECT_EQ(ReadFlat(Shuffle(Range(0, 9, 1), 1, 1, true)), ReadFlat(Range(0, 9, 1)));
}

TEST(Shuffle, MixesUniformly) {
  // 4 elements, 24 orders, 24,000 epochs: each about 1,000 times (chi-square with 23 degrees of
  // freedom exceeds 60 with probability 4e-5, and the seed is fixed).
  Iterator it(Batch(Repeat(Shuffle(Range(0, 4, 1), 4, 5, true), kInfinite), 4, false));
  std::map<std::vector<int64_t>, int> counts;
  for (const auto& order : Read(it, 24000)) ++counts[order];
  ASSERT_EQ(counts.size(), 24u);
  double chi2 = 0;
  for (const auto& [order, n] : counts) chi2 += (n - 1000.0) * (n - 1000.0) / 1000.0;
  EXPECT_LT(chi2, 60);
}

std::pair<std::vector<int64_t>, std::vector<int64_t>> Halves(const std::vector<int64_t>& v) {
  const auto middle = v.begin() + static_cast<int64_t>(v.size()) / 2;
  return {{v.begin(), middle}, {middle, v.end()}};
}

TEST(Shuffle, ReshufflesPerEpochAndPerIterator) {
  const DatasetPtr again = Shuffle(Range(0, 50, 1), 50, 9, true);
  const auto [a, b] = Halves(ReadFlat(Repeat(again, 2)));
  EXPECT_NE(a, b);
  EXPECT_EQ(Sorted(b), Sorted(a));  // epochs do not mix
  const auto second_iterator = ReadFlat(again);
  EXPECT_NE(second_iterator, a);
  const DatasetPtr same = Shuffle(Range(0, 50, 1), 50, 9, false);
  const auto [c, d] = Halves(ReadFlat(Repeat(same, 2)));
  EXPECT_EQ(c, d);
  EXPECT_EQ(ReadFlat(same), c);
  // The same program again gives the same orders.
  const DatasetPtr twin = Shuffle(Range(0, 50, 1), 50, 9, true);
  EXPECT_EQ(Halves(ReadFlat(Repeat(twin, 2))), std::pair(a, b));
  EXPECT_EQ(ReadFlat(twin), second_iterator);
  // Without a seed every dataset has its own.
  EXPECT_NE(ReadFlat(Shuffle(Range(0, 50, 1), 50, std::nullopt, true)),
            ReadFlat(Shuffle(Range(0, 50, 1), 50, std::nullopt, true)));
}

TEST(Shuffle, TheChainOfTheTutorials) {
  constexpr int64_t kN = 1000;
  const DatasetPtr ds = Batch(Repeat(Shuffle(Range(0, kN, 1), 1000, 1, true), 15), 128, false);
  EXPECT_EQ(ds->Cardinality(), (15 * kN + 127) / 128);
  const auto batches = Read(ds);
  EXPECT_EQ(static_cast<int64_t>(batches.size()), (15 * kN + 127) / 128);
  const auto all = Flat(batches);
  ASSERT_EQ(static_cast<int64_t>(all.size()), 15 * kN);
  for (int64_t epoch = 0; epoch < 15;
       ++epoch) {  // shuffle before repeat keeps the border of epochs
    const auto begin = all.begin() + epoch * kN;
    EXPECT_EQ(Sorted({begin, begin + kN}), ReadFlat(Range(0, kN, 1)));
  }
}

TEST(Map, KeepsOrderOnManyThreads) {
  EXPECT_EQ(ReadFlat(MapTen(Range(0, 500, 1), 4)), ReadFlat(Range(1, 5000, 10)));
  EXPECT_EQ(ReadFlat(MapTen(FromCounter(500))), ReadFlat(Range(1, 5000, 10)));
}

TEST(Cardinality, OfEveryTransform) {
  const DatasetPtr ten = Range(0, 10, 1), unknown = FromCounter(3);
  EXPECT_EQ(Batch(ten, 3, false)->Cardinality(), 4);
  EXPECT_EQ(Batch(ten, 3, true)->Cardinality(), 3);
  EXPECT_EQ(Repeat(ten, 3)->Cardinality(), 30);
  EXPECT_EQ(Repeat(ten, kInfinite)->Cardinality(), kInfinite);
  EXPECT_EQ(Repeat(ten, INT64_MAX)->Cardinality(), kInfinite);
  EXPECT_EQ(Take(Repeat(ten, kInfinite), 7)->Cardinality(), 7);
  EXPECT_EQ(Take(ten, 70)->Cardinality(), 10);
  EXPECT_EQ(Skip(ten, 7)->Cardinality(), 3);
  EXPECT_EQ(Skip(ten, 70)->Cardinality(), 0);
  EXPECT_EQ(Prefetch(MapTen(Shuffle(ten, 3, 1, true)), 2)->Cardinality(), 10);
  EXPECT_EQ(unknown->Cardinality(), kUnknown);
  EXPECT_EQ(Zip({ten, Repeat(ten, kInfinite)})->Cardinality(), 10);
}

TEST(Errors, WordForWord) {
  const DatasetPtr ten = Range(0, 10, 1);
  EXPECT_EQ(MessageOf([&] { Batch(ten, 0, false); }),
            "batch: batch_size is 0; it must be at least 1");
  EXPECT_EQ(MessageOf([&] { Shuffle(ten, 0, 1, true); }),
            "shuffle: buffer_size is 0; it must be at least 1 (1 keeps the order, the number of "
            "elements mixes fully)");
  EXPECT_EQ(MessageOf([&] { Repeat(ten, -2); }),
            "repeat: count is -2; it must be 0 or more, or -1 for no limit");
  EXPECT_EQ(MessageOf([&] { Prefetch(ten, 0); }),
            "prefetch: buffer_size is 0; it must be at least 1");
  EXPECT_EQ(MessageOf([&] { Range(0, 1, 0); }), "range: step is 0; it must not be");
  EXPECT_EQ(MessageOf([&] {
              FromTensorSlices({Iota({3, 2}), Iota({4})});
            }),
            "from_tensor_slices: component 0 has 3 rows and component 1 has 4 (int64[3, 2] and "
            "int64[4]); "
            "all arrays must have the same first size");
  EXPECT_EQ(
      MessageOf([&] { FromTensorSlices({Tensor::Scalar(DType::kFloat32, 1)}); }),
      "from_tensor_slices: component 0 is a scalar (float32[]); every array needs a first axis to "
      "slice along");
}

/// Element i is a vector of length i.
class Growing final : public ExternalSource {
 public:
  void Reset(int64_t) override { next_ = 1; }
  bool Next(Element* out) override {
    out->assign(1, Tensor::Zeros(DType::kInt64, {next_++}));
    return true;
  }

 private:
  int64_t next_ = 1;
};

TEST(Errors, ElementsThatDiffer) {
  const auto factory = [] { return std::make_unique<Growing>(); };
  EXPECT_EQ(
      MessageOf([&] { Read(FromSource(factory, std::nullopt)); }),
      "from_generator: component 0 of element 1 is int64[2], but the first element has int64[1]; "
      "all elements must have the same dtype and shape (a generator may declare axes that vary as "
      "None in output_signature)");
  const std::vector<ComponentSpec> any{{DType::kInt64, {-1}, false}};
  EXPECT_EQ(Read(Take(FromSource(factory, any), 2)), (Rows{{0}, {0, 0}}));
  EXPECT_EQ(MessageOf([&] { Read(Batch(FromSource(factory, any), 2, false)); }),
            "batch: component 0 of element 1 of the batch is int64[2], but element 0 has int64[1]; "
            "elements of one batch must have the same dtype and shape; pad or crop them with map");
  const std::vector<ComponentSpec> floats{{DType::kFloat32, {-1}, false}};
  EXPECT_EQ(
      MessageOf([&] { Read(FromSource(factory, floats)); }),
      "from_generator: component 0 of element 0 is int64[1], but the signature says float32[?]; "
      "all elements must have the same dtype and shape");
}

/// Returns its argument, but for value 2: a vector.
class Uneven final : public MapFunction {
 public:
  void Call(const Element& in, Element* out) override {
    *out = in;
    if (in[0].shape().rank() == 0 && in[0].data<int64_t>()[0] == 2) {
      out->assign(1, Tensor::Zeros(DType::kInt64, {3}));
    }
  }
};

TEST(Errors, MapThatReturnsSomethingElse) {
  for (int64_t threads : {1, 3}) {
    const auto fn = std::make_shared<Uneven>();
    EXPECT_EQ(MessageOf([&] { Read(Map(Range(0, 5, 1), fn, threads)); }),
              "map: component 0 of element 2 is int64[3], but the first element has int64[]; all "
              "elements "
              "must have the same dtype and shape");
    EXPECT_EQ(Read(Map(Batch(Range(0, 5, 1), 3, false), fn, threads)), (Rows{{0, 1, 2}, {3, 4}}))
        << "the short last batch is no mistake";
  }
}

}  // namespace
}  // namespace ostria::data
