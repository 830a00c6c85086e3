// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/build_id.h"
#include "base/error.h"
#include "dist/gloo_library.h"

namespace ostria {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOfLoading(std::vector<std::string> paths) {
  try {
    LoadGloo(paths);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kDistributed);
    return e.what();
  }
}

TEST(LoadGloo, SaysWhatWasTriedAndWhatToInstall) {
  EXPECT_THAT(ErrorOfLoading({"no/such/libostria_gloo.so", "nor_this.so"}),
              AllOf(HasSubstr("apt-get install libgloo0"), HasSubstr("libgloo-dev"),
                    HasSubstr("no/such/libostria_gloo.so"), HasSubstr("nor_this.so")));
}

TEST(LoadGloo, RefusesALibraryOfAnotherBuild) {
  EXPECT_THAT(ErrorOfLoading({"libm.so.6"}),
              AllOf(HasSubstr("libm.so.6"), HasSubstr("unknown"), HasSubstr(kBuildId)));
}

#if defined(OSTRIA_GLOO)
TEST(LoadGloo, EntryTellsItsBuild) {
  const char* own = nullptr;
  EXPECT_EQ(ostria_gloo_entry("another", &own), nullptr);
  EXPECT_STREQ(own, kBuildId);
  EXPECT_NE(ostria_gloo_entry(kBuildId, &own), nullptr);
}

std::string ErrorOfJoining(int rank, int size, const GlooOptions& options) {
  const char* own = nullptr;
  try {
    ostria_gloo_entry(kBuildId, &own)(rank, size, MakeInProcessKeyValues(), options);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(Gloo, NamesWhoDoesNotComeToTheStart) {
  GlooOptions options;
  options.interface = "127.0.0.1";
  options.labels = {"rank 0 (a)", "rank 1 (b)"};
  options.join_timeout = std::chrono::milliseconds(100);
  EXPECT_THAT(ErrorOfJoining(0, 2, options), HasSubstr("rank 1 (b) did not come within 0.1 s"));
}

TEST(Gloo, AnInterfaceThatIsNotThereIsNamedWithWhatToGive) {
  GlooOptions options;
  for (const char* place : {"no-such-interface.invalid", "", "192.0.2.1" /* of no host */}) {
    options.interface = place;
    EXPECT_THAT(ErrorOfJoining(0, 2, options),
                AllOf(HasSubstr(StrCat("'", place, "'")), HasSubstr("eth0")));
  }
}
#endif

}  // namespace
}  // namespace ostria
