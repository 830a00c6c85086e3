// SPDX-License-Identifier: Apache-2.0
// Variables, single ops, debug mode and profiles on a device that computes by itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <thread>

#include "backend/backend.h"
#include "ir/builder.h"
#include "ops/ops.h"
#include "runtime/compiled_graph.h"
#include "runtime/eager.h"
#include "runtime/live_device.h"
#include "runtime/sim_device.h"

namespace ostria {
namespace {

constexpr auto kF32 = DType::kFloat32;
const Shape kShape = {37, 41};

Tensor Filled(const Shape& shape, float value) {
  Tensor t = Tensor::Empty(kF32, shape);
  std::fill_n(t.data<float>(), t.numel(), value);
  return t;
}

bool AllAre(const Tensor& t, float value) {
  const Tensor host = t.OnHost();
  return std::all_of(host.data<float>(), host.data<float>() + host.numel(),
                     [=](float x) { return x == value; });
}

bool SameBits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.OnHost(), y = b.OnHost();
  return x.bytes() == y.bytes() &&
         std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
}

Tensor Counted(const Shape& shape) {
  Tensor t = Tensor::Empty(kF32, shape);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(i) * 0.37f;
  t.data<float>()[1] = std::numeric_limits<float>::quiet_NaN();
  return t;
}

Tensor ToSim(const Tensor& t, int ordinal = 0) {
  return LiveDevice::Of(SimDevice(ordinal))->ToDevice(t);
}

// A thread of its own has a default device of its own.
template <class Fn>
void InThread(const Fn& fn) {
  std::jthread(fn).join();
}

// w <- w + x.
Graph Adds(const Variable& w) {
  Graph g;
  Builder b(g, 0);
  const Value x = g.AddInput("x", {kF32, w.shape()}, 0);
  const Value v = g.AddState(w.id(), "w", {kF32, w.shape()}, 0);
  const Value next = b(ops::kAdd, {v, x});
  g.SetStateOut(0, next);
  g.AddOutput("w", next);
  return g;
}

TEST(DeviceState, MovingKeepsEverythingButThePlace) {
  const auto before = Variable::Create("b", Counted({3}), StateClass::kTrainable);
  const auto w = Variable::Create("w", Counted(kShape), StateClass::kTrainable);
  const auto m = Variable::CreateSlot(w, "m", 0.5);
  const int64_t id = w->id(), moves = Variable::moves();
  const Tensor old = w->View();
  w->MoveTo(SimDevice());
  EXPECT_GT(Variable::moves(), moves);
  EXPECT_EQ(w->id(), id);
  EXPECT_EQ(w->device(), SimDevice());
  EXPECT_TRUE(SameBits(w->Snapshot(), Counted(kShape)));
  EXPECT_TRUE(SameBits(old, Counted(kShape)));
  EXPECT_EQ(w->View().device(), SimDevice());
  EXPECT_EQ(before->device(), DeviceId{});
  EXPECT_EQ(m->device(), DeviceId{});

  m->MoveTo(SimDevice());
  const auto v = Variable::CreateSlot(w, "v", 2);
  EXPECT_EQ(m->offset(), w->offset());
  EXPECT_EQ(v->offset(), w->offset());
  EXPECT_EQ(v->device(), SimDevice());
  EXPECT_NE(m->chunk_id(), w->chunk_id());
  EXPECT_TRUE(AllAre(m->Snapshot(), 0.5));
  EXPECT_TRUE(AllAre(v->Snapshot(), 2));

  m->MoveTo(SimDevice(1));  // a slot takes its variable along
  EXPECT_EQ(w->device(), SimDevice(1));
  EXPECT_EQ(m->offset(), w->offset());
  w->MoveTo(DeviceId{});
  EXPECT_TRUE(SameBits(w->Snapshot(), Counted(kShape)));
}

TEST(DeviceState, AViewLivesAndAnAssignmentIsInOrder) {
  const auto w = Variable::Create("w", Filled(kShape, 1), StateClass::kOther, SimDevice());
  const Tensor view = w->View();
  w->Assign(ToSim(Filled(kShape, 2)));
  EXPECT_TRUE(AllAre(view, 2));
  w->Assign(ToSim(Filled(kShape, 3), 1));
  EXPECT_TRUE(AllAre(view, 3));
  const auto on_cpu = Variable::Create("c", Filled(kShape, 0), StateClass::kOther);
  on_cpu->Assign(view);
  EXPECT_TRUE(AllAre(on_cpu->Snapshot(), 3));
}

TEST(DeviceState, ACompiledGraphMovesItsVariablesAndFollowsThem) {
  const auto w = Variable::Create("w", Filled(kShape, 0), StateClass::kTrainable);
  CompiledGraph on_sim(Adds(*w), {w}, SimDevice()), on_cpu(Adds(*w), {w});
  std::vector<Tensor> out;
  const Tensor one = Filled(kShape, 1);
  for (int i = 0; i < 3; ++i) on_sim.Run({&one, 1}, &out);
  EXPECT_EQ(w->device(), SimDevice());
  EXPECT_TRUE(AllAre(out[0], 3));
  on_cpu.Run({&one, 1}, &out);
  EXPECT_EQ(w->device(), DeviceId{});
  EXPECT_TRUE(AllAre(out[0], 4));
  for (int i = 0; i < 3; ++i) on_sim.Run({&one, 1}, &out);  // what was recorded holds no more
  EXPECT_TRUE(AllAre(out[0], 7));
  const Tensor there = ToSim(one);
  on_cpu.Run({&there, 1}, &out);  // a CPU's step takes what lies elsewhere
  EXPECT_TRUE(AllAre(out[0], 8));
  w->MoveTo(SimDevice());
  w->MoveTo(DeviceId{});  // to another place of the same device
  on_cpu.Run({&one, 1}, &out);
  EXPECT_TRUE(AllAre(w->Snapshot(), 9));
}

TEST(DeviceState, AnExecutableWhoseVariableIsElsewhereSaysSo) {
  const auto w = Variable::Create("w", Filled(kShape, 0), StateClass::kTrainable);
  Executable e(MakePlan(Adds(*w), {.device = FindBackend(DeviceKind::kCpu).Props(0)}), {w});
  w->MoveTo(SimDevice());
  std::vector<Tensor> out;
  const Tensor one = Filled(kShape, 1);
  try {
    e.Run({&one, 1}, &out);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "variable 'w' is on cuda:0, but the plan is bound to cpu; move it back with MoveTo");
  }
}

TEST(DeviceEager, RunsWhereItsInputsAre) {
  const Tensor x = ToSim(Filled(kShape, 2)), s = Filled({}, 3);
  std::vector<Tensor> out;
  const int64_t waits = Sim().waits;
  const Tensor in[] = {x, s};
  RunEager(ops::kMultiply, in, {}, &out);
  const Tensor again[] = {out[0], out[0]};
  RunEager(ops::kAdd, again, {}, &out);
  EXPECT_EQ(Sim().waits, waits);
  EXPECT_EQ(out[0].device(), SimDevice());
  EXPECT_TRUE(AllAre(out[0], 12));
}

std::string Message(const OpDef& op, std::span<const Tensor> inputs) {
  std::vector<Tensor> out;
  try {
    RunEager(op, inputs, {}, &out);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(DeviceEager, NamesBothDevices) {
  const Tensor apart[] = {ToSim(Filled(kShape, 1)), ToSim(Filled(kShape, 1), 1)};
  EXPECT_EQ(Message(ops::kAdd, apart),
            "add: its inputs are on cuda:0 and on cuda:1; all must be on one device; use "
            "ost.to_device(x, 'cuda:0')");
  const Tensor host[] = {Filled({2}, 1), ToSim(Filled({2}, 1), 1)};
  EXPECT_EQ(Message(ops::kAdd, host),
            "add: its inputs are on cuda:1 and on cpu (shape [2]); only scalars go along by "
            "themselves; use ost.to_device(x, 'cuda:1'), or `with ost.device('cuda:1'):`");
}

TEST(DeviceEager, TheDefaultDeviceIsOfTheThread) {
  std::vector<Tensor> out;
  const Tensor x[] = {Filled(kShape, 2)};
  InThread([&] {
    SetDefaultDevice(SimDevice(1));
    RunEager(ops::kNegative, x, {}, &out);
    const Attr full[] = {kShape, kF32, 4.0};
    std::vector<Tensor> made;
    RunEager(ops::kFull, {}, full, &made);
    EXPECT_EQ(made[0].device(), SimDevice(1));
    EXPECT_TRUE(AllAre(made[0], 4));
  });
  EXPECT_EQ(out[0].device(), SimDevice(1));
  EXPECT_TRUE(AllAre(out[0], -2));
  RunEager(ops::kNegative, x, {}, &out);
  EXPECT_TRUE(out[0].on_host());
}

TEST(DeviceEager, TheEnvironmentNamesTheFirstDefault) {
  ::setenv("OSTRIA_DEVICE", "cuda:1", 1);
  InThread([] { EXPECT_EQ(GetDefaultDevice(), SimDevice(1)); });
  ::setenv("OSTRIA_DEVICE", "gpu", 1);
  InThread([] { EXPECT_THROW(GetDefaultDevice(), Error); });
  ::unsetenv("OSTRIA_DEVICE");
  InThread([] { EXPECT_EQ(GetDefaultDevice(), DeviceId{}); });
}

TEST(DeviceEager, BadDataIsReportedWhenTheResultIsRead) {
  Tensor rows = Tensor::Zeros(DType::kInt64, {2});
  rows.data<int64_t>()[0] = 9;
  const Tensor in[] = {ToSim(Filled({5, 2}, 1)), ToSim(rows)};
  std::vector<Tensor> out;
  const Attr axis[] = {int64_t{0}};
  RunEager(ops::kGather, in, axis, &out);
  try {
    out[0].OnHost();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "gather: index 9 in its data is out of range on cuda:0; valid are -5..4");
  }
  out[0].OnHost();
}

// y = log(x), or log(x) + x in one fused step.
Graph Logs(bool fused) {
  Graph g;
  const SourceLine line{"train.py", 7, "step"};
  Builder b(g, InternLines({&line, 1}));
  const Value x = g.AddInput("x", {kF32, kShape}, 0);
  const Value y = b(ops::kLog, {x});
  g.AddOutput("y", fused ? b(ops::kAdd, {y, x}) : y);
  return g;
}

TEST(DeviceDebug, NamesTheFirstOpThatIsNotFinite) {
  for (const bool fused : {false, true}) {
    Executable e(MakePlan(Logs(fused), {.device = FindBackend(DeviceKind::kCuda).Props(0)}), {},
                 SimDevice());
    std::vector<Tensor> out;
    const Tensor fine = Filled(kShape, 1), zero = Filled(kShape, 0);
    e.RunDebug({&fine, 1}, &out);
    EXPECT_NEAR(*out[0].OnHost().data<float>(), fused ? 1 : 0, 1e-5);
    try {
      e.RunDebug({&zero, 1}, &out);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNonFinite);
      EXPECT_EQ(error.op(), "log");
      EXPECT_EQ(error.location(), "train.py:7");
    }
    const Tensor bad = Counted(kShape);
    EXPECT_THROW(e.RunDebug({&bad, 1}, &out), Error);
    for (int i = 0; i < 3; ++i) e.Run({&fine, 1}, &out);
    EXPECT_NEAR(*out[0].OnHost().data<float>(), fused ? 1 : 0, 1e-5);
  }
}

TEST(DeviceProfile, TimesEveryStepAndRestoresTheState) {
  const auto w = Variable::Create("w", Filled(kShape, 5), StateClass::kTrainable, SimDevice());
  Executable e(MakePlan(Adds(*w), {.device = FindBackend(DeviceKind::kCuda).Props(0)}), {w},
               SimDevice());
  const Tensor one = Filled(kShape, 1);
  const std::vector<double> ns = e.Profile({&one, 1}, 3);
  ASSERT_EQ(ns.size(), e.plan().steps.size());
  for (double t : ns) EXPECT_GT(t, 0);
  EXPECT_TRUE(AllAre(w->Snapshot(), 5));
}

}  // namespace
}  // namespace ostria
