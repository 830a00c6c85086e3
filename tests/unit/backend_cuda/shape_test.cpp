// SPDX-License-Identifier: Apache-2.0
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {
namespace {

using Ints = std::vector<int64_t>;
constexpr DType kSizes[] = {DType::kBool, DType::kBFloat16, DType::kFloat32, DType::kInt64};
constexpr int64_t kOpen = INT64_MAX;

// Equal bits on both, for a dtype of every size.
void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Shape>& shapes, std::string_view impl = "") {
  for (const DType dtype : kSizes) {
    std::vector<Tensor> inputs;
    for (const Shape& shape : shapes) {
      inputs.push_back(
          RandomTensor(dtype, shape, 0, dtype == DType::kBool ? 2 : 100, inputs.size()));
    }
    SCOPED_TRACE(StrCat(op.name, " of ", shapes.empty() ? Shape() : shapes[0], " ", dtype));
    const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, inputs, impl);
    if (got.empty()) return;
    ExpectClose(got[0], EvaluateOnCpu(op, attrs, inputs)[0], 0);
  }
}

TEST(CudaShape, Transpose) {
  ExpectTheCpus(ops::kTranspose, {Ints{}}, {{71, 229}}, "tiles");
  ExpectTheCpus(ops::kTranspose, {Ints{0, 2, 1}}, {{3, 40, 33}}, "tiles");
  ExpectTheCpus(ops::kTranspose, {Ints{0, 3, 1, 2}}, {{2, 5, 7, 40}}, "tiles");
  ExpectTheCpus(ops::kTranspose, {Ints{}}, {{71, 29}}, "copy");
  ExpectTheCpus(ops::kTranspose, {Ints{2, 0, 1}}, {{9, 7, 3}}, "copy");
  ExpectTheCpus(ops::kTranspose, {Ints{1, 0, 2}}, {{9, 7, 64}});
  ExpectTheCpus(ops::kTranspose, {Ints{}}, {Shape{}});
  ExpectTheCpus(ops::kTranspose, {Ints{5, 3, 1, 0, 2, 4}}, {{2, 3, 4, 3, 2, 5}});
  ExpectTheCpus(ops::kTranspose, {Ints{}}, {{2, 1, 2, 3, 2, 1, 2, 3}});
}

TEST(CudaShape, BroadcastTileAndRepeat) {
  ExpectTheCpus(ops::kBroadcastTo, {Shape{5, 71}}, {{71}});
  ExpectTheCpus(ops::kBroadcastTo, {Shape{3, 4, 64}}, {{4, 1}});
  ExpectTheCpus(ops::kBroadcastTo, {Shape{7, 3}}, {Shape{}});
  ExpectTheCpus(ops::kBroadcastTo, {Shape{4, 3, 5, 2}}, {{4, 1, 5, 1}});
  ExpectTheCpus(ops::kTile, {Ints{2, 3}}, {{5, 7}});
  ExpectTheCpus(ops::kTile, {Ints{2, 1, 3, 4}}, {{5, 16}});
  ExpectTheCpus(ops::kTile, {Ints{3}}, {{2, 3, 4}});
  ExpectTheCpus(ops::kRepeat, {int64_t{3}, int64_t{1}}, {{5, 7, 4}});
  ExpectTheCpus(ops::kRepeat, {int64_t{2}, int64_t{-1}}, {{71}});
}

TEST(CudaShape, Slice) {
  ExpectTheCpus(ops::kSlice, {Ints{8}, Ints{1000}, Ints{}}, {{1031}});
  ExpectTheCpus(ops::kSlice, {Ints{1, -30, 2}, Ints{kOpen, -2, 17}, Ints{1, 3, 5}}, {{4, 40, 33}});
  ExpectTheCpus(ops::kSlice, {Ints{kOpen, kOpen}, Ints{INT64_MIN, INT64_MIN}, Ints{-1, -2}},
                {{13, 20}});
  ExpectTheCpus(ops::kSlice, {Ints{3, 0}, Ints{4, 32}, Ints{INT64_MAX, 1}}, {{7, 64}});
  ExpectTheCpus(ops::kSlice, {Ints{}, Ints{}, Ints{}}, {Shape{}});
}

TEST(CudaShape, SliceGrad) {
  const auto grad = [](const Shape& shape, const Ints& start, const Ints& stop, const Ints& step,
                       const Shape& g) {
    ExpectTheCpus(ops::kSliceGrad, {shape, start, stop, step}, {g});
  };
  grad({71, 64}, {3, 0}, {9, kOpen}, {}, {6, 64});
  grad({17, 9}, {1, 0}, {kOpen, kOpen}, {3, 2}, {6, 5});
  grad({17, 9}, {kOpen, 7}, {INT64_MIN, 0}, {-1, -3}, {17, 3});
  grad({5, 6}, {2, 6}, {3, kOpen}, {}, {1, 0});
  grad({5, 8}, {2, 0}, {3, kOpen}, {INT64_MAX, 1}, {1, 8});
  grad({}, {}, {}, {}, Shape{});
}

TEST(CudaShape, Pad) {
  ExpectTheCpus(ops::kPad, {Ints{0, 1, 1, 0}, Ints{0, 1, 1, 0}, 0.0}, {{2, 7, 5, 16}});
  ExpectTheCpus(ops::kPad, {Ints{3, 0}, Ints{0, 5}, 1.0}, {{11, 29}});
  ExpectTheCpus(ops::kPad, {Ints{2}, Ints{3}, 1.0}, {{0}});
  ExpectTheCpus(ops::kPad, {Ints{1, 0, 2, 1, 0, 1}, Ints{0, 1, 0, 1, 2, 1}, 1.0},
                {{2, 3, 1, 2, 3, 4}});
  ExpectTheCpus(ops::kPad, {Ints{}, Ints{}, 1.0}, {Shape{}});
}

TEST(CudaShape, Roll) {
  ExpectTheCpus(ops::kRoll, {Ints{3}, Ints{}}, {{7, 5}});
  ExpectTheCpus(ops::kRoll, {Ints{-2}, Ints{1}}, {{7, 5, 8}});
  ExpectTheCpus(ops::kRoll, {Ints{1, -3, 9}, Ints{0, 1, 0}}, {{7, 11}});
  ExpectTheCpus(ops::kRoll, {Ints{INT64_MIN}, Ints{0, 1}}, {{7, 11}});
  ExpectTheCpus(ops::kRoll, {Ints{0}, Ints{0}}, {{7, 11}});
}

TEST(CudaShape, Triangles) {
  for (const int64_t k : {-100, -2, 0, 1, 30}) {
    ExpectTheCpus(ops::kTril, {k}, {{3, 17, 29}});
    ExpectTheCpus(ops::kTriu, {k}, {{3, 29, 17}});
  }
}

TEST(CudaShape, Concat) {
  ExpectTheCpus(ops::kConcat, {int64_t{0}}, {{5}, {1}, {71}});
  ExpectTheCpus(ops::kConcat, {int64_t{1}}, {{9, 16, 4}, {9, 32, 4}});
  ExpectTheCpus(ops::kConcat, {int64_t{-1}}, {{9, 3}, {9, 0}, {9, 13}});
  ExpectTheCpus(ops::kConcat, {int64_t{1}}, std::vector<Shape>(150, Shape{3, 2}));
  ExpectTheCpus(ops::kConcat, {int64_t{2}}, {{2, 2, 1, 3, 2, 2}, {2, 2, 4, 3, 2, 2}});
}

}  // namespace
}  // namespace ostria
