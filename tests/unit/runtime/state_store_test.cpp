// SPDX-License-Identifier: Apache-2.0
#include "runtime/state_store.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace ostria {
namespace {

std::shared_ptr<Variable> Make(const std::string& name, int64_t n, float value = 0) {
  Tensor t = Tensor::Empty(DType::kFloat32, {n});
  for (int64_t i = 0; i < n; ++i) t.data<float>()[i] = value;
  return Variable::Create(name, t, StateClass::kTrainable);
}

TEST(StateStore, VariablesLieInOrderOfCreationAligned) {
  SealStateChunks();
  const auto a = Make("a", 10), b = Make("b", 100), c = Make("c", 1);
  EXPECT_EQ(a->chunk_id(), b->chunk_id());
  EXPECT_EQ(a->offset(), 0);
  EXPECT_EQ(b->offset(), 256);
  EXPECT_EQ(c->offset(), 256 + 512);
}

TEST(StateStore, PaddingIsZero) {
  SealStateChunks();
  const auto a = Make("a", 10, 7.0f), b = Make("b", 1, 7.0f);
  const float* p = static_cast<const float*>(a->data());
  for (int i = 10; i < 64; ++i) EXPECT_EQ(p[i], 0.0f);
}

TEST(StateStore, SlotsMirrorTheirVariables) {
  SealStateChunks();
  const auto a = Make("a", 300), b = Make("b", 5);
  const auto mb = Variable::CreateSlot(b, "adam_m", 0), ma = Variable::CreateSlot(a, "adam_m", 0);
  const auto vb = Variable::CreateSlot(b, "adam_v", 0.5);
  EXPECT_EQ(ma->offset(), a->offset());
  EXPECT_EQ(mb->offset(), b->offset());
  EXPECT_EQ(ma->chunk_id(), mb->chunk_id());
  EXPECT_NE(ma->chunk_id(), vb->chunk_id());
  EXPECT_EQ(mb->name(), "b/adam_m");
  EXPECT_FALSE(mb->trainable);
  EXPECT_EQ(vb->Snapshot().data<float>()[4], 0.5f);
}

TEST(StateStore, SealingStartsANewChunk) {
  const auto a = Make("a", 1);
  SealStateChunks();
  const auto b = Make("b", 1);
  EXPECT_NE(a->chunk_id(), b->chunk_id());
}

TEST(StateStore, SnapshotIsACopyAndViewIsLive) {
  const auto a = Make("a", 2, 1.0f);
  const Tensor snapshot = a->Snapshot(), view = a->View();
  a->Assign(Make("other", 2, 3.0f)->Snapshot());
  EXPECT_EQ(snapshot.data<float>()[0], 1.0f);
  EXPECT_EQ(view.data<float>()[0], 3.0f);
}

TEST(StateStore, AViewKeepsTheMemoryAlive) {
  Tensor view;
  {
    SealStateChunks();
    const auto a = Make("a", 2, 4.0f);
    SealStateChunks();
    view = a->View();
  }
  EXPECT_EQ(view.data<float>()[1], 4.0f);
}

TEST(StateStore, AssignRefusesAnotherShapeByName) {
  const auto a = Make("encoder/kernel", 2);
  try {
    a->Assign(Tensor::Zeros(DType::kFloat32, {3}));
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_STREQ(
        e.what(),
        "variable 'encoder/kernel': cannot assign a value of float32[3]; it holds float32[2]; "
        "use cast or reshape first");
  }
}

}  // namespace
}  // namespace ostria
