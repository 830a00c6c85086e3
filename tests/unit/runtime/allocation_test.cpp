// SPDX-License-Identifier: Apache-2.0
// The executor's loop allocates nothing: a run of 200 nodes makes as many allocations as one of
// two.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"

// A sanitizer has allocation functions of its own, which must stay in pairs.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// Of the whole test binary.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace ostria {
namespace {

// Elementwise ops, reductions over rows and a product of our own, on a state that is updated.
int64_t AllocationsOfARun(int layers) {
  Graph g;
  const Value x = g.AddInput("x", {DType::kFloat32, {4, 8}}, 0);
  const Value w = g.AddState(0, "w", {DType::kFloat32, {4, 8}}, 0);
  Builder b(g, 0);
  Value y = x;
  for (int i = 0; i < layers; ++i) y = b(ops::kSoftmax, {b(ops::kAdd, {b(ops::kTanh, {y}), w})});
  g.SetStateOut(0, b(ops::kAdd, {w, y}));
  g.AddOutput("y", b(ops::kSum, {y}));
  const auto variable =
      Variable::Create("w", Tensor::Zeros(DType::kFloat32, {4, 8}), StateClass::kOther);
  CompiledGraph compiled(std::move(g), {variable});
  const std::vector<Tensor> inputs = {Tensor::Zeros(DType::kFloat32, {4, 8})};
  std::vector<Tensor> outputs;
  for (int i = 0; i < 2; ++i) compiled.Run(inputs, &outputs);
  const int64_t before = allocations;
  compiled.Run(inputs, &outputs);
  return allocations - before;
}

TEST(Allocation, ARunOfManyNodesAllocatesAsMuchAsOneOfFew) {
  const int64_t few = AllocationsOfARun(1);
  EXPECT_LE(few, 8);  // the output tensor
  EXPECT_EQ(AllocationsOfARun(60), few);
}

}  // namespace
}  // namespace ostria

#endif
