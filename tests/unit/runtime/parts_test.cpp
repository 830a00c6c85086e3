// SPDX-License-Identifier: Apache-2.0
// Variables of which each replica holds a part.
#include <gtest/gtest.h>

#include <thread>

#include "runtime/replicas.h"

namespace ostria {
namespace {

using namespace testing;

TEST(Parts, CoverTheValueAndOverlapAtItsEnd) {
  for (const auto& [n, total] : {std::pair{12, 3}, {10, 3}, {5, 4}, {2, 4}, {1, 3}, {0, 2}}) {
    const Parts parts{total, 0, {}};
    std::vector<bool> covered(static_cast<size_t>(n));
    for (int i = 0; i < total; ++i) {
      const int64_t begin = parts.BeginOf(i, n), end = begin + parts.SizeOf(n);
      EXPECT_GE(begin, 0);
      EXPECT_LE(end, n);
      std::fill(covered.begin() + begin, covered.begin() + end, true);
    }
    EXPECT_EQ(std::count(covered.begin(), covered.end(), false), 0) << n << " in " << total;
  }
}

TEST(Parts, OfASlotLieOneOnEachReplica) {
  const VariablePtr w = Made(2);
  const auto group = Group(3);
  const Parts parts{3, 0, group};
  const VariablePtr slot = Variable::CreateSlot(w, "m", 7, parts);
  const VariablePtr later = Variable::CreateSlot(w, "v", 0);
  later->Assign(Counting({100}));
  later->Mirror(group->devices(), parts);
  EXPECT_EQ(w->num_copies(), 3);
  EXPECT_EQ(w->copy_shape(), Shape{100});
  EXPECT_EQ(Numbers(slot->Snapshot()), std::vector<float>(100, 7));
  const auto after = Variable::CreateSlot(w, "u", 0, parts);  // behind it, and no further
  EXPECT_EQ(static_cast<std::byte*>(after->data(1)) - static_cast<std::byte*>(later->data(1)), 256);
  for (const VariablePtr& v : {slot, later}) {
    EXPECT_EQ(v->num_copies(), 3);
    EXPECT_EQ(v->shape(), Shape{100});
    EXPECT_EQ(v->copy_shape(), Shape{34});
    v->Assign(Counting({100}));
    for (const auto& [copy, first] : {std::pair{0, 0.0f}, {1, 34.0f}, {2, 66.0f}}) {
      EXPECT_EQ(First(v->SnapshotCopy(copy)), first);
    }
    EXPECT_EQ(Numbers(v->Snapshot()), Numbers(Counting({100})));
    EXPECT_EQ(Numbers(v->View()), Numbers(Counting({100})));
  }
  later->AssignCopy(1, Filled({34}, -1));
  EXPECT_EQ(later->Snapshot().data<float>()[33], 33);
  EXPECT_EQ(later->Snapshot().data<float>()[34], -1);
}

TEST(Parts, AreJoinedWhereOthersTakeTheVariable) {
  const VariablePtr w = Made(2);
  const auto three = Group(3), two = Group(2);
  const VariablePtr slot = Variable::CreateSlot(w, "m", 0, Parts{3, 0, three});
  slot->Assign(Counting({100}));
  slot->Mirror(two->devices(), Parts{2, 0, two});
  EXPECT_EQ(slot->copy_shape(), Shape{50});
  EXPECT_EQ(Numbers(slot->Snapshot()), Numbers(Counting({100})));
  slot->Mirror(two->devices());
  EXPECT_EQ(slot->copy_shape(), Shape{100});
  EXPECT_EQ(Numbers(slot->SnapshotCopy(1)), Numbers(Counting({100})));
  slot->Mirror(three->devices(), Parts{3, 0, three});
  slot->MoveTo(Cpu(0));
  EXPECT_EQ(slot->num_copies(), 1);
  EXPECT_EQ(slot->copy_shape(), Shape{100});
  EXPECT_EQ(Numbers(slot->Snapshot()), Numbers(Counting({100})));
}

// Two processes as two groups: each holds a part, and both read.
TEST(Parts, OfOtherProcessesAreAskedFor) {
  const auto ranks =
      std::make_shared<std::vector<std::unique_ptr<Communicator>>>(MakeLocalGroup({"a", "b"}));
  const auto one = [&](int rank) {
    return std::make_shared<ReplicaGroup>(std::vector{Cpu(rank)}, [ranks, rank] {
      std::vector<std::unique_ptr<Communicator>> mine;
      mine.push_back(std::move((*ranks)[static_cast<size_t>(rank)]));
      return mine;
    });
  };
  std::vector<std::shared_ptr<ReplicaGroup>> groups = {one(0), one(1)};
  const VariablePtr w = Made(2);
  std::vector<VariablePtr> slots;
  for (int r = 0; r < 2; ++r) {
    slots.push_back(Variable::CreateSlot(w, r == 0 ? "m" : "n", 0, Parts{2, r, groups[r]}));
    slots[r]->Assign(Counting({100}));
    EXPECT_EQ(slots[r]->num_copies(), 1);
    EXPECT_EQ(First(slots[r]->SnapshotCopy(0)), 50.0f * static_cast<float>(r));
  }
  // Groups of one process take turns, so the other process is played by its communicator.
  std::thread other([&] {
    std::vector<float> all(100);
    std::iota(all.begin() + 50, all.end(), 150.0f);
    (*ranks)[1]->AllGather("the value of 'w/m'", all.data(), 50 * sizeof(float));
  });
  std::vector<float> want = Numbers(Counting({100}));
  std::iota(want.begin() + 50, want.end(), 150.0f);
  EXPECT_EQ(Numbers(slots[0]->Snapshot()), want);
  other.join();
  groups.clear();
  EXPECT_NE(ErrorOf([&] { slots[0]->Snapshot(); }).find("'w/m': 2 replicas of several processes"),
            std::string::npos);
}

TEST(Parts, AreWhatAStepReadsAndWrites) {
  const VariablePtr w = Made(0);
  const auto group = Group(2);
  const Parts parts{2, 0, group};
  const VariablePtr m = Variable::CreateSlot(w, "m", 0);
  m->Assign(Counting({100}));
  CompiledGraph compiled(Dividing(w->id(), m->id()), {w, m}, group, 0, false, {{}, parts});
  std::vector<std::vector<Tensor>> outputs;
  const std::vector<Tensor> inputs[] = {{Filled({100}, 1)}, {Filled({100}, 2)}};
  for (int step = 1; step <= 2; ++step) {
    compiled.RunReplicas(inputs, &outputs, true);
    std::vector<float> want = Numbers(Counting({100}));
    for (float& v : want) v += 3.0f * static_cast<float>(step);
    EXPECT_EQ(Numbers(m->Snapshot()), want);
    EXPECT_EQ(m->copy_shape(), Shape{50});
    if (step == 1) m->MoveTo(Cpu(0));  // somebody else uses it meanwhile
  }
  EXPECT_EQ(w->Snapshot().data<float>()[99], 2 * 99 + 3 + 6);
}

}  // namespace
}  // namespace ostria
