// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "backend_cuda/evaluate.h"
#include "core/dtype.h"
#include "ops/ops.h"

namespace ostria {
namespace {

constexpr DType kNumbers[] = {DType::kInt8,    DType::kInt16,    DType::kInt32,   DType::kInt64,
                              DType::kUInt8,   DType::kUInt16,   DType::kUInt32,  DType::kUInt64,
                              DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64};

double Low(DType dtype) { return KindOf(dtype) == DTypeKind::kUnsigned ? 0 : -90; }

Tensor Numbers(DType dtype, const Shape& shape, uint64_t seed) {
  return RandomTensor(dtype, shape, Low(dtype), 100, seed);
}

// Of an axis, counted from both ends.
Tensor Ids(const Shape& shape, int64_t size, uint64_t seed, DType dtype = DType::kInt64) {
  return RandomTensor(dtype, shape, static_cast<double>(-size), static_cast<double>(size), seed);
}

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<Tensor>& in,
                   std::string_view impl = "") {
  SCOPED_TRACE(StrCat(op.name, " of ", in[0].shape(), " ", in[0].dtype()));
  const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, in, impl);
  if (got.empty()) return;
  ExpectClose(got[0], EvaluateOnCpu(op, attrs, in)[0], 0);
}

struct Case {
  Shape x;
  int64_t axis;
  Shape indices;
};
const Case kScatters[] = {{{71, 29}, 0, {4, 23}}, {{5, 40, 3}, 1, {300}},
                          {{3, 9}, 1, {2}},       {{1}, 0, {5}},
                          {{9, 2}, 0, {0}},       {{2, 3, 7, 2, 2, 2}, 2, {11}}};

TEST(CudaData, Scatters) {
  for (const OpDef* op :
       {&ops::kScatterAdd, &ops::kScatterMax, &ops::kScatterMin, &ops::kScatterUpdate}) {
    for (const DType dtype : kNumbers) {
      for (const Case& c : kScatters) {
        const Tensor x = Numbers(dtype, c.x, 1);
        const Tensor ids = Ids(c.indices, c.x[static_cast<int>(c.axis)].value(), 2, DType::kInt32);
        const Shape updates = EvaluateOnCpu(ops::kGather, {c.axis}, {x, ids})[0].shape();
        ExpectTheCpus(*op, {c.axis}, {x, ids, Numbers(dtype, updates, 3)});
      }
    }
  }
  ExpectTheCpus(ops::kScatterUpdate, {int64_t{0}},
                {RandomTensor(DType::kBool, {9, 3}, 0, 2, 1), Ids({40}, 9, 2),
                 RandomTensor(DType::kBool, {40, 3}, 0, 2, 3)});
}

TEST(CudaData, Segments) {
  for (const OpDef* op :
       {&ops::kSegmentSum, &ops::kSegmentMax, &ops::kSegmentMin, &ops::kSegmentMean}) {
    for (const DType dtype : kNumbers) {
      if (op == &ops::kSegmentMean && !IsFloat(dtype)) continue;
      for (const auto& [data, ids] :
           {std::pair{Shape{71, 29}, Shape{71}}, {Shape{3, 200}, {3, 200}}, {Shape{0, 3}, {0}}}) {
        ExpectTheCpus(*op, {int64_t{40}},
                      {Numbers(dtype, data, 1), RandomTensor(DType::kInt64, ids, 0, 33, 2)});
      }
    }
  }
}

// The order of the indices decides between zeros of both signs, and NaN stays.
TEST(CudaData, TiesGoAsOnTheCpu) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Tensor data = Tensor::Zeros(DType::kFloat32, {6});
  Tensor ids = Tensor::Zeros(DType::kInt64, {6});
  const float values[] = {0.0f, -0.0f, -0.0f, 0.0f, nan, 5.0f};
  for (int64_t i = 0; i < 6; ++i) {
    data.data<float>()[i] = values[i];
    ids.data<int64_t>()[i] = i / 2;
  }
  for (const OpDef* op : {&ops::kSegmentMax, &ops::kSegmentMin}) {
    ExpectTheCpus(*op, {int64_t{4}}, {data, ids});
  }
}

TEST(CudaData, TakeAlongAxis) {
  for (const DType dtype : {DType::kBool, DType::kBFloat16, DType::kFloat32, DType::kInt64}) {
    for (const Case& c :
         {Case{{71, 29}, 0, {40, 29}}, Case{{71, 29}, 1, {71, 3}}, Case{{3, 5, 7}, 1, {3, 200, 7}},
          Case{{9}, 0, {1}}, Case{{2, 2, 3, 2, 4, 2}, 4, {2, 2, 3, 2, 5, 2}}}) {
      for (const DType index : {DType::kInt32, DType::kInt64}) {
        ExpectTheCpus(ops::kTakeAlongAxis, {c.axis},
                      {RandomTensor(dtype, c.x, 0, 2, 1),
                       Ids(c.indices, c.x[static_cast<int>(c.axis)].value(), 2, index)});
      }
    }
  }
}

TEST(CudaData, PutAlongAxis) {
  for (const std::string reduce : {"update", "add", "max", "min"}) {
    for (const DType dtype : kNumbers) {
      const bool half = SizeOf(dtype) == 2 && IsFloat(dtype);
      for (const std::string_view impl : {"columns", "sorted"}) {
        if (half && reduce == "add" && impl == "columns") continue;
        for (const Case& c : {Case{{7, 29}, 0, {40, 29}}, Case{{3, 5, 7}, 1, {3, 30, 7}},
                              Case{{9}, 0, {300}}, Case{{2, 3, 2, 3, 2}, 3, {2, 3, 2, 17, 2}}}) {
          ExpectTheCpus(ops::kPutAlongAxis, {c.axis, reduce},
                        {Numbers(dtype, c.x, 1),
                         Ids(c.indices, c.x[static_cast<int>(c.axis)].value(), 2, DType::kInt32),
                         Numbers(dtype, c.indices, 3)},
                        impl);
        }
      }
    }
  }
}

TEST(CudaData, IndicesOutOfRangeAreReportedAndClamped) {
  const Tensor x = Numbers(DType::kFloat32, {5, 3}, 1);
  Tensor ids = Tensor::Zeros(DType::kInt64, {2, 3});
  ids.data<int64_t>()[4] = 9;
  const Tensor taken = EvaluateOnCuda(ops::kTakeAlongAxis, {int64_t{0}}, {x, ids})[0];
  EXPECT_EQ(taken.data<float>()[4], x.data<float>()[4 * 3 + 1]);
  DataError error = TakeDataError();
  EXPECT_EQ(error.step, 7);
  EXPECT_EQ(error.value, 9);
  EXPECT_EQ(error.low, -5);
  EXPECT_EQ(error.high, 5);
  ids.data<int64_t>()[4] = -6;
  const Tensor values = Numbers(DType::kFloat32, {2, 3}, 2);
  const Tensor put =
      EvaluateOnCuda(ops::kPutAlongAxis, {int64_t{0}, std::string("update")}, {x, ids, values})[0];
  EXPECT_EQ(put.data<float>()[1], values.data<float>()[4]);
  error = TakeDataError();
  EXPECT_EQ(error.value, -6);
  EXPECT_EQ(TakeDataError().step, -1);
  // A segment has no end to count from.
  Tensor segments = Tensor::Zeros(DType::kInt64, {5});
  segments.data<int64_t>()[3] = -1;
  EvaluateOnCuda(ops::kSegmentMean, {int64_t{5}}, {x, segments});
  error = TakeDataError();
  EXPECT_EQ(error.value, -1);
  EXPECT_EQ(error.low, 0);
}

}  // namespace
}  // namespace ostria
