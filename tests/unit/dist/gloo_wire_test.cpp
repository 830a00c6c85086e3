// SPDX-License-Identifier: Apache-2.0
// Who is named where one rank waits for another, which waits for a third.
#if defined(OSTRIA_GLOO)
#include "dist/gloo/gloo_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "base/error.h"

namespace ostria {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class GlooWireOfThree : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto values = MakeInProcessKeyValues();
    GlooOptions options;
    options.interface = "127.0.0.1";
    std::vector<std::thread> threads;
    for (size_t r = 0; r < 3; ++r) {
      threads.emplace_back([&, r] {
        wires[r] = std::make_unique<GlooWire>(static_cast<int>(r), 3, values, options);
      });
    }
    for (std::thread& t : threads) t.join();
  }

  // What `rank` says of a byte that it awaits from `of`; "": it came.
  std::string Await(size_t rank, int of, milliseconds timeout) {
    char byte = 0;
    wires[rank]->set_timeout(timeout);
    const auto transfer = wires[rank]->Receive(of, 1, &byte, 1);
    try {
      wires[rank]->Wait(*transfer);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  std::array<std::unique_ptr<GlooWire>, 3> wires;
};

TEST_F(GlooWireOfThree, WhoIsLateBecauseOfAnotherIsNotNamed) {
  std::string zero;
  std::thread other([&] { zero = Await(0, 1, milliseconds(1600)); });
  EXPECT_THAT(Await(2, 0, milliseconds(1300)), HasSubstr("rank 1 did not come within"));
  other.join();
  EXPECT_THAT(zero, HasSubstr("rank 1 did not come within"));
}

TEST_F(GlooWireOfThree, WhoGotWhatItWaitedForIsNamedAgain) {
  std::string zero = "not yet";
  std::thread other([&] { zero = Await(0, 1, milliseconds(1000)); });
  std::thread third([&] {
    std::this_thread::sleep_for(milliseconds(700));  // it was said whom rank 0 waits for
    const char byte = 7;
    const auto sent = wires[1]->Send(0, 1, &byte, 1);
    wires[1]->Wait(*sent);
  });
  EXPECT_THAT(Await(2, 0, milliseconds(1500)), HasSubstr("rank 0 did not come within 1.5 s"));
  other.join();
  third.join();
  EXPECT_EQ(zero, "");
}

}  // namespace
}  // namespace ostria
#endif
