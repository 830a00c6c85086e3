// SPDX-License-Identifier: Apache-2.0
// Loops of a stream: asked for by the host, and in a captured graph.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "backend/backend.h"
#include "backend_cuda/evaluate.h"
#include "backend_cuda/fake.h"

namespace ostria {

Backend* CudaBackend();

namespace {

constexpr int kCells = 8;
using Cells = std::array<uint8_t, kCells>;

class CudaWhile : public testing::Test {
 protected:
  CudaWhile()
      : a(CudaBackend()->MakeStream(0)),
        inner(CudaBackend()->MakeStream(0)),
        innermost(CudaBackend()->MakeStream(0)),
        cells(static_cast<uint8_t*>(CudaBackend()->Allocate(0, 2 * kCells))) {}
  ~CudaWhile() override {
    a->Synchronize();
    CudaBackend()->Free(0, cells, 2 * kCells);
  }
  // Moves all cells from `row` on one place down.
  void Shift(Stream& stream, int row) {
    for (int i = 0; i + 1 < kCells; ++i) {
      stream.CopyOnDevice(cells + row * kCells + i, cells + row * kCells + i + 1, 1);
    }
  }
  void Set(int row, const Cells& values) {
    CudaBackend()->CopyToDevice(0, cells + row * kCells, values.data(), kCells);
  }
  Cells Get(int row) {
    a->Synchronize();
    Cells got = {};
    CudaBackend()->CopyToHost(0, got.data(), cells + row * kCells, kCells);
    return got;
  }

  std::unique_ptr<Stream> a, inner, innermost;
  uint8_t* cells;
};

const Cells kNone = {0, 9, 1, 1, 1, 1, 1, 1}, kThree = {1, 1, 1, 0, 5, 6, 7, 8},
            kThreeLater = {0, 5, 6, 7, 8, 8, 8, 8};

TEST_F(CudaWhile, TheHostAsksEachTime) {
  for (const auto& [begin, end] : {std::pair(kNone, kNone), std::pair(kThree, kThreeLater)}) {
    Set(0, begin);
    a->While(cells, *inner, [&] { Shift(*inner, 0); });
    EXPECT_EQ(Get(0), end);
  }
}

TEST_F(CudaWhile, ARecordingAsksOnTheDevice) {
  Set(0, kThree);
  a->While(cells, *inner, [&] { Shift(*inner, 0); });  // as the first run of a step
  a->BeginCapture();
  a->While(cells, *inner, [&] { Shift(*inner, 0); });
  a->CopyOnDevice(cells + kCells, cells, 1);  // comes after the loop
  const auto recording = a->EndCapture();
  for (uint64_t seed = 0; seed < 10; ++seed) {
    if (OnFakeDriver()) fake::Seed(seed);
    for (const auto& [begin, end] : {std::pair(kThree, kThreeLater), std::pair(kNone, kNone)}) {
      Set(0, begin);
      Set(1, kThree);
      const int64_t waits = DriverCalls("cuStreamSynchronize");
      recording->Launch(*a);
      EXPECT_EQ(DriverCalls("cuStreamSynchronize"), waits);
      EXPECT_EQ(Get(0), end);
      EXPECT_EQ(Get(1)[0], 0);
    }
  }
}

// The inner loop runs in the first round alone, since its flag is used up then.
TEST_F(CudaWhile, LoopsOfARecordingNest) {
  const auto work = [&] {
    a->While(cells, *inner, [&] {
      inner->While(cells + kCells, *innermost, [&] { Shift(*innermost, 1); });
      Shift(*inner, 0);
    });
  };
  Set(0, kNone);
  work();
  a->BeginCapture();
  work();
  const auto recording = a->EndCapture();
  Set(0, kThree);
  Set(1, kThree);
  recording->Launch(*a);
  EXPECT_EQ(Get(0), kThreeLater);
  EXPECT_EQ(Get(1), kThreeLater);
  Set(1, kThree);
  recording->Launch(*a);  // whose outer loop has nothing to do
  EXPECT_EQ(Get(1), kThree);
}

TEST_F(CudaWhile, AnErrorInItsBodyLeavesTheStreamsUsable) {
  Set(0, kNone);
  a->While(cells, *inner, [] {});
  a->BeginCapture();
  EXPECT_THROW(a->While(cells, *inner, [] { Fail(ErrorCode::kInternal, "no"); }), Error);
  a->EndCapture();
  Set(0, kThree);
  a->While(cells, *inner, [&] { Shift(*inner, 0); });
  EXPECT_EQ(Get(0), kThreeLater);
}

}  // namespace
}  // namespace ostria
