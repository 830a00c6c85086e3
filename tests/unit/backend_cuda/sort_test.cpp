// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cuda/launch/sort_launches.h"
#include "backend_cuda/evaluate.h"
#include "ops/ops.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr DType kAll[] = {DType::kBool,   DType::kInt8,    DType::kInt16,    DType::kInt32,
                          DType::kInt64,  DType::kUInt8,   DType::kUInt16,   DType::kUInt32,
                          DType::kUInt64, DType::kFloat16, DType::kBFloat16, DType::kFloat32,
                          DType::kFloat64};

// Few different numbers, so that there are equal ones; of floats also zeros of both signs,
// infinities and NaN.
Tensor Mixed(DType dtype, const Shape& shape, uint64_t seed) {
  const bool is_signed = KindOf(dtype) == DTypeKind::kSigned || IsFloat(dtype);
  Tensor t = RandomTensor(dtype, shape, is_signed ? -9 : 0, dtype == DType::kBool ? 2 : 9, seed);
  if (!IsFloat(dtype)) return t;
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, -1.5};
  for (int64_t i = 0; i < t.numel(); i += 3) {
    const double x = special[(i / 3 + static_cast<int64_t>(seed)) % 6];
    const Tensor one = Tensor::Scalar(dtype, x);
    std::memcpy(static_cast<char*>(t.raw()) + i * SizeOf(dtype), one.raw(),
                static_cast<size_t>(SizeOf(dtype)));
  }
  return t;
}

void ExpectTheCpus(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> want = EvaluateOnCpu(op, attrs, inputs);
  for (int run = 0; run < 2; ++run) {  // each in another order of threads
    const std::vector<Tensor> got = EvaluateOnCuda(op, attrs, inputs);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(StrCat(op.name, " of ", inputs[0].dtype(), inputs[0].shape(), ", output ", i));
      ExpectClose(got[i], want[i], 0);
    }
  }
}

// By counting, by a small block, by a block; along the last and another axis.
TEST(CudaSort, OrdersEveryDTypeAsTheCpu) {
  for (const DType dtype : kAll) {
    for (const bool descending : {false, true}) {
      for (const Shape& shape : {Shape{9, 1}, Shape{5, 7, 3}, Shape{2, 65, 3}, Shape{1, 1030}}) {
        const Tensor x = Mixed(dtype, shape, 3);
        const std::vector<Attr> attrs = {int64_t{1}, descending};
        ExpectTheCpus(ops::kSort, attrs, {x});
        ExpectTheCpus(ops::kArgsort, attrs, {x});
      }
    }
  }
}

// Rows of several tiles, by a radix sort.
TEST(CudaSort, OrdersLongRowsAsTheCpu) {
  for (const DType dtype : {DType::kInt32, DType::kFloat16, DType::kFloat32, DType::kFloat64}) {
    const Tensor x = Mixed(dtype, dtype == DType::kFloat32 ? Shape{2, 9001, 2} : Shape{1, 4500}, 4);
    ExpectTheCpus(ops::kArgsort, {int64_t{1}, true}, {x});
    ExpectTheCpus(ops::kSort, {int64_t{dtype == DType::kFloat32 ? 1 : -1}, false}, {x});
  }
}

TEST(CudaSort, TakesTheFirstAsTheCpu) {
  for (const DType dtype :
       {DType::kInt8, DType::kUInt64, DType::kBFloat16, DType::kFloat32, DType::kFloat64}) {
    for (const bool largest : {true, false}) {
      for (const int64_t k : {0, 1, 5}) {
        ExpectTheCpus(ops::kTopK, {k, int64_t{-1}, largest}, {Mixed(dtype, {37, 10}, 5)});
        ExpectTheCpus(ops::kTopK, {k, int64_t{0}, largest}, {Mixed(dtype, {130, 3}, 6)});
      }
    }
  }
}

// Rounds of tiles until one is left, with a last tile that has fewer elements than are wanted, and
// rows too long for what is wanted of them.
TEST(CudaSort, TakesTheFirstOfLongRowsAsTheCpu) {
  for (const DType dtype : {DType::kFloat32, DType::kInt64}) {
    for (const int64_t k : {1, 500, 3000}) {
      ExpectTheCpus(ops::kTopK, {k, int64_t{-1}, true}, {Mixed(dtype, {2, 3 * 4096 + 5}, 7)});
    }
  }
  ExpectTheCpus(ops::kTopK, {int64_t{512}, int64_t{-1}, false},
                {Mixed(DType::kFloat64, {1, 20003}, 8)});
}

TEST(CudaSort, FindsPlacesAsTheCpu) {
  for (const DType dtype : kAll) {
    for (const int64_t n : {0, 1, 100}) {
      const Tensor x = EvaluateOnCpu(ops::kSort, {int64_t{0}, false}, {Mixed(dtype, {n}, 9)})[0];
      for (const char* side : {"left", "right"}) {
        ExpectTheCpus(ops::kSearchsorted, {std::string(side)}, {x, Mixed(dtype, {71, 3}, 10)});
      }
    }
  }
}

// The sort that other nodes begin with: keys as they are, of one tile and of many.
TEST(CudaSort, SortsKeysWithTheirPositions) {
  for (const auto& [n, bits] : {std::pair<int64_t, int>{1, 1}, {1000, 17}, {9001, 17}, {9001, 0}}) {
    std::vector<int32_t> keys(static_cast<size_t>(n));
    for (size_t i = 0; i < keys.size(); ++i) {
      keys[i] = static_cast<int32_t>((i * 7919 % 1237 * 101) & ((1u << bits) - 1));
    }
    std::vector<int32_t> want(keys.size());
    std::iota(want.begin(), want.end(), 0);
    std::stable_sort(want.begin(), want.end(), [&](int32_t a, int32_t b) {
      return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)];
    });
    Backend& cuda = *CudaBackend();
    const cuda::KeyRows what{1, n, 4, bits};
    auto plan = std::make_shared<cuda::Launches>();
    const cuda::Sorted sorted = AddSort(plan.get(), what, {0, 0}, {1, 0}, Sm90());
    const auto bytes = static_cast<size_t>(n) * 4;
    const auto workspace = static_cast<size_t>(SortWorkspace(what));
    void* ptrs[] = {cuda.Allocate(0, bytes), cuda.Allocate(0, workspace)};
    cuda.CopyToDevice(0, ptrs[0], keys.data(), bytes);
    const auto stream = cuda.MakeStream(0);
    cuda::RunMany(*cuda::BindMany(plan, {*stream, 0}), ptrs);
    stream->Synchronize();
    std::vector<int32_t> got(keys.size()), got_keys(keys.size());
    const auto read = [&](cuda::Place place, std::vector<int32_t>* to) {
      cuda.CopyToHost(0, to->data(), static_cast<char*>(ptrs[place.operand]) + place.offset, bytes);
    };
    read(sorted.positions, &got);
    read(sorted.keys, &got_keys);
    EXPECT_EQ(got, want) << n;
    for (size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(got_keys[i], keys[static_cast<size_t>(want[i])]);
    }
    cuda.Free(0, ptrs[0], bytes);
    cuda.Free(0, ptrs[1], workspace);
  }
}

}  // namespace
}  // namespace ostria
