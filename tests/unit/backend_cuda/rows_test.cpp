// SPDX-License-Identifier: Apache-2.0
// Rows that indices name, added up: the CPU's bits.
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<Tensor>& in,
                   double tolerance = 0) {
  const auto got = EvaluateOnCuda(op, attrs, in), want = EvaluateOnCpu(op, attrs, in);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    ExpectClose(got[i], want[i], tolerance);
  }
  ExpectPlacesDoNotMatter(op, attrs, in);
}

Tensor Ids(const Shape& shape, int64_t size, uint64_t seed, DType dtype = DType::kInt64) {
  return RandomTensor(dtype, shape, -static_cast<double>(size), static_cast<double>(size), seed);
}

// One table: few ids, more than a block sorts, ids that are all the same, and a single one.
TEST(CudaRows, SumsOfOneTableAreTheCpus) {
  for (const auto& [n, size, cols] : {std::tuple{71, 40, 16},
                                      {1, 9, 3},
                                      {5000, 300, 1},
                                      {300, 1, 29},
                                      {1500, 100000, 2},
                                      {40, 7, 229}}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      SCOPED_TRACE(StrCat(dtype, " ", n, " of ", size, " x ", cols));
      const std::vector<Attr> attrs = {Ints{0}, Ints{size}, Ints{}};
      ExpectTheCpus(ops::kSumRows, attrs,
                    {Ids({n}, size, 1), RandomTensor(dtype, {n, cols}, -1, 1, 2)});
    }
  }
}

// Tables of one size and of another, of several lists, and columns of something wider.
TEST(CudaRows, SumsOfTablesAreTheCpus) {
  const auto x = [](const Shape& shape) {
    return RandomTensor(DType::kFloat32, shape, -1, 1, static_cast<uint64_t>(shape.numel()));
  };
  const std::vector<Attr> attrs = {Ints{0, 0, 1, 2, 2, 3}, Ints{30, 50, 8, 1000},
                                   Ints{0, -1, 0, -1, 5, 7, 0, -1, 0, -1, 0, 2}};
  ExpectTheCpus(ops::kSumRows, attrs,
                {Ids({31}, 30, 1), Ids({40}, 30, 2, DType::kInt32), Ids({71}, 50, 3),
                 Ids({4, 5}, 8, 4), Ids({3}, 8, 5), Ids({71}, 1000, 6), x({31, 4}), x({40, 4}),
                 x({71, 20}), x({4, 5, 3, 2}), x({3, 3, 2}), x({71, 9})});
}

TEST(CudaRows, SumsOfManyTablesAreTheCpus) {
  std::vector<Tensor> in;
  Ints tables, sizes;
  for (int t = 0; t < 70; ++t) {
    in.push_back(Ids({9 + t % 2}, 5 + t, static_cast<uint64_t>(t)));
    tables.push_back(t);
    sizes.push_back(5 + t);
  }
  for (int t = 0; t < 70; ++t) {
    in.push_back(RandomTensor(DType::kFloat32, {9 + t % 2, 1 + t % 3}, -1, 1, 100 + t));
  }
  ExpectTheCpus(ops::kSumRows, {tables, sizes, Ints{}}, in);
}

TEST(CudaRows, SumsOfNothing) {
  const std::vector<Tensor> in = {Ids({0}, 5, 1), RandomTensor(DType::kFloat32, {0, 3}, 0, 1, 2)};
  const auto got = EvaluateOnCuda(ops::kSumRows, {Ints{0}, Ints{5}, Ints{}}, in);
  EXPECT_EQ(got[1].data<int32_t>()[0], 0);
}

TEST(CudaRows, ScattersAreTheCpus) {
  for (const OpDef* op : {&ops::kScatterAdd, &ops::kScatterMax, &ops::kScatterMin}) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64,
                              DType::kInt32, DType::kInt64}) {
      for (const auto& [shape, axis] :
           {std::pair{Shape{71, 29}, 0}, {Shape{5, 40, 3}, 1}, {Shape{3, 9}, 1}, {Shape{1}, 0}}) {
        SCOPED_TRACE(StrCat(op->name, " ", dtype, " ", shape));
        const std::vector<Attr> attrs = {int64_t{axis}};
        const Tensor x = RandomTensor(dtype, shape, -9, 9, 1);
        const Tensor ids = Ids({4, 23}, shape[axis].value(), 2, DType::kInt32);
        const Shape updates = EvaluateOnCpu(ops::kGather, attrs, {x, ids})[0].shape();
        ExpectTheCpus(*op, attrs, {x, ids, RandomTensor(dtype, updates, -9, 9, 3)});
      }
    }
  }
}

TEST(CudaRows, SegmentsAreTheCpus) {
  for (const OpDef* op : {&ops::kSegmentSum, &ops::kSegmentMax, &ops::kSegmentMin}) {
    for (const DType dtype : {DType::kFloat16, DType::kFloat32, DType::kFloat64, DType::kInt32}) {
      SCOPED_TRACE(StrCat(op->name, " ", dtype));
      ExpectTheCpus(
          *op, {int64_t{40}},
          {RandomTensor(dtype, {71, 29}, -9, 9, 1), RandomTensor(DType::kInt64, {71}, 0, 33, 2)});
    }
  }
}

TEST(CudaRows, IndicesOutOfRangeAreReported) {
  const std::vector<Tensor> in = {RandomTensor(DType::kFloat32, {5, 3}, 0, 1, 1), Ids({9}, 5, 2),
                                  RandomTensor(DType::kFloat32, {9, 3}, 0, 1, 3)};
  in[1].data<int64_t>()[4] = 5;
  EvaluateOnCuda(ops::kScatterAdd, {int64_t{0}}, in);
  const DataError error = TakeDataError();
  EXPECT_EQ(error.step, 7);
  EXPECT_EQ(error.value, 5);
  EXPECT_EQ(error.low, -5);
  EXPECT_EQ(error.high, 5);
  // A segment has no end to count from.
  in[1].data<int64_t>()[4] = -1;
  for (int i = 0; i < 9; ++i) in[1].data<int64_t>()[i] = i == 4 ? -1 : i % 5;
  EvaluateOnCuda(ops::kSegmentSum, {int64_t{5}}, {in[2], in[1]});
  EXPECT_EQ(TakeDataError().low, 0);
}

}  // namespace
}  // namespace ostria
