// SPDX-License-Identifier: Apache-2.0
// Running plans on the CPU: results, state, batch sizes, errors with the user's line.
#include "runtime/executable.h"

#include <gtest/gtest.h>

#include <limits>

#include "autodiff/gradient.h"
#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/eager.h"

namespace ostria {
namespace {

const SourceLine kLine{"train.py", 42, "step"};
LocationId Here() { return InternLines({&kLine, 1}); }

Tensor Floats(std::initializer_list<float> values, const Shape& shape) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

std::shared_ptr<Variable> MakeVariable(const std::string& name, const Tensor& t) {
  return Variable::Create(name, t, StateClass::kTrainable);
}

TEST(CompiledGraph, OneTraceServesEveryBatchSize) {
  const Dim batch = Dim::Symbol("batch");
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {DType::kFloat32, {batch, 3}}, 0);
  g.AddOutput("y", b(ops::kSum, {b(ops::kAdd, {x, x})}, {std::vector<int64_t>{1}, false}));
  CompiledGraph compiled(std::move(g), {});
  std::vector<Tensor> out;
  for (int64_t n : {128, 37, 0, 128}) {
    const Tensor x = Tensor::Zeros(DType::kFloat32, {n, 3});
    for (int64_t i = 0; i < 3 * n; ++i) x.data<float>()[i] = 1;
    compiled.Run({&x, 1}, &out);
    EXPECT_EQ(out[0].shape(), (Shape{n}));
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(out[0].data<float>()[i], 6.0f);
  }
  EXPECT_EQ(compiled.num_specialised(), 3);
  EXPECT_EQ(compiled.specialisations().front().why, "first call");
}

TEST(CompiledGraph, NamesTheInputThatDoesNotFit) {
  Graph g;
  Builder b(g, 0);
  g.AddOutput("y", b(ops::kExp, {g.AddInput("x", {DType::kFloat32, {2, 3}}, 0)}));
  CompiledGraph compiled(std::move(g), {});
  std::vector<Tensor> out;
  const Tensor x = Tensor::Zeros(DType::kFloat32, {2, 4});
  try {
    compiled.Run({&x, 1}, &out);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "compiled function: input 'x' must be float32[2, 3], but float32[2, 4] was "
                 "given");
  }
}

TEST(Executable, StateSurvivesSteps) {
  const auto w = MakeVariable("w", Floats({1, 2}, {2}));
  Graph g;
  Builder b(g, 0);
  const Value in = g.AddState(w->id(), "w", {DType::kFloat32, {2}}, 0);
  g.SetStateOut(0, b(ops::kAdd, {in, in}));
  g.AddOutput("old", in);
  CompiledGraph compiled(std::move(g), {w});
  std::vector<Tensor> out;
  for (int i = 0; i < 3; ++i) compiled.Run({}, &out);
  EXPECT_EQ(w->Snapshot().data<float>()[1], 16.0f);
  EXPECT_EQ(out[0].data<float>()[1], 8.0f);  // the value before the third step
}

TEST(Executable, SwappedVariables) {
  const auto a = MakeVariable("a", Floats({1}, {1})), c = MakeVariable("c", Floats({2}, {1}));
  Graph g;
  const Value x = g.AddState(a->id(), "a", {DType::kFloat32, {1}}, 0);
  const Value y = g.AddState(c->id(), "c", {DType::kFloat32, {1}}, 0);
  g.SetStateOut(0, y);
  g.SetStateOut(1, x);
  CompiledGraph compiled(std::move(g), {a, c});
  std::vector<Tensor> out;
  compiled.Run({}, &out);
  EXPECT_EQ(*a->Snapshot().data<float>(), 2.0f);
  EXPECT_EQ(*c->Snapshot().data<float>(), 1.0f);
}

TEST(Executable, GradientsOfOneChunkLieAsTheVariablesDo) {
  SealStateChunks();
  const auto w1 = MakeVariable("w1", Tensor::Zeros(DType::kFloat32, {64})),
             w2 = MakeVariable("w2", Tensor::Zeros(DType::kFloat32, {128}));
  Graph g;
  Builder b(g, 0);
  const Value a = g.AddState(w1->id(), "w1", {DType::kFloat32, {64}}, 0);
  const Value c = g.AddState(w2->id(), "w2", {DType::kFloat32, {128}}, 0);
  const std::vector<int64_t> all;
  const Value loss = b(ops::kAdd, {b(ops::kSum, {b(ops::kSquare, {a})}, {all, false}),
                                   b(ops::kSum, {b(ops::kExp, {c})}, {all, false})});
  const Value wrt[] = {a, c};
  const std::vector<Value> grads = Gradients(g, {&loss, 1}, {}, wrt);
  const Value one = b(ops::kFull, {}, {Shape{}, DType::kFloat32, 1.0});
  const Value yes = b(ops::kFull, {}, {Shape{}, DType::kBool, 1.0});
  const auto updated = b.Multi(ops::kSgdUpdate, {a, c, grads[0], grads[1], one, one, yes});
  g.SetStateOut(0, updated[0]);
  g.SetStateOut(1, updated[1]);
  PlanOptions options;
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  for (const auto& v : {w1, w2})
    options.layout.places.push_back({v->id(), v->chunk_id(), v->offset()});
  const auto plan = MakePlan(g, options);
  CheckRaces(*plan);
  const Step& update = plan->steps.back();
  const Operand &g1 = plan->operands[update.first_operand + 2],
                &g2 = plan->operands[update.first_operand + 3];
  EXPECT_EQ(g1.region, Region::kActivation);
  EXPECT_EQ(g2.offset - g1.offset, w2->offset() - w1->offset()) << Print(*plan);
  EXPECT_TRUE(plan->copies.empty()) << Print(*plan);
}

TEST(Executable, DebugNamesTheFirstNonFiniteOpAndTheLine) {
  Graph g;
  Builder b(g, Here());
  const Value x = g.AddInput("x", {DType::kFloat32, {2}}, 0);
  g.AddOutput("y", b(ops::kExp, {b(ops::kLog, {x})}));
  CompiledGraph compiled(std::move(g), {});
  std::vector<Tensor> out;
  const Tensor x0 = Floats({1, -1}, {2});
  compiled.Run({&x0, 1}, &out);  // an ordinary run says nothing
  try {
    compiled.Run({&x0, 1}, &out, /*debug=*/true);
    FAIL() << "not noticed";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kNonFinite);
    EXPECT_EQ(e.op(), "log");
    EXPECT_EQ(e.location(), "train.py:42");
  }
}

TEST(Executable, BadIndexInTheDataNamesTheLine) {
  Graph g;
  Builder b(g, Here());
  const Value table = g.AddInput("table", {DType::kFloat32, {4, 2}}, 0);
  const Value ids = g.AddInput("ids", {DType::kInt64, {1}}, 0);
  g.AddOutput("y", b(ops::kGather, {table, ids}, {int64_t{0}}));
  CompiledGraph compiled(std::move(g), {});
  const Tensor inputs[] = {Tensor::Zeros(DType::kFloat32, {4, 2}),
                           Tensor::Zeros(DType::kInt64, {1})};
  inputs[1].data<int64_t>()[0] = 9;
  std::vector<Tensor> out;
  try {
    compiled.Run(inputs, &out);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kIndexError);
    EXPECT_EQ(e.op(), "gather");
    EXPECT_EQ(e.location(), "train.py:42");
  }
}

TEST(Eager, SecondCallOfAKindIsAHit) {
  const Tensor x = Floats({1, 2}, {2});
  std::vector<Tensor> out;
  const Tensor inputs[] = {x, x};
  RunEager(ops::kAdd, inputs, {}, &out);
  const EagerStats before = GetEagerStats();
  RunEager(ops::kAdd, inputs, {}, &out);
  EXPECT_EQ(GetEagerStats().hits, before.hits + 1);
  EXPECT_EQ(GetEagerStats().misses, before.misses);
  EXPECT_EQ(out[0].data<float>()[1], 4.0f);
}

}  // namespace
}  // namespace ostria
