// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/build_id.h"
#include "base/error.h"
#include "dist/gloo_library.h"
#include "dist/make_communicator.h"
#include "dist/mpi_library.h"

namespace ostria {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <class Load>
std::string ErrorOfLoading(const Load& load, std::vector<std::string> paths) {
  try {
    load(paths);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kDistributed);
    return e.what();
  }
}

TEST(LoadGloo, SaysWhatWasTriedAndWhatToInstall) {
  EXPECT_THAT(ErrorOfLoading(LoadGloo, {"no/such/libostria_gloo.so", "nor_this.so"}),
              AllOf(HasSubstr("apt-get install libgloo0"), HasSubstr("libgloo-dev"),
                    HasSubstr("no/such/libostria_gloo.so"), HasSubstr("nor_this.so")));
}

TEST(LoadMpi, SaysWhatWasTriedAndWhatToInstall) {
  EXPECT_THAT(
      ErrorOfLoading(LoadMpi, {"no/such/libostria_mpi.so", "nor_this.so"}),
      AllOf(HasSubstr("apt-get install openmpi-bin libopenmpi3"), HasSubstr("libopenmpi-dev"),
            HasSubstr("no/such/libostria_mpi.so: cannot open"), HasSubstr("nor_this.so")));
}

TEST(LoadMpi, RefusesALibraryOfAnotherBuild) {
  EXPECT_THAT(ErrorOfLoading(LoadMpi, {"libm.so.6"}),
              AllOf(HasSubstr("libm.so.6"), HasSubstr("unknown"), HasSubstr(kBuildId)));
}

TEST(LoadGloo, RefusesALibraryOfAnotherBuild) {
  EXPECT_THAT(ErrorOfLoading(LoadGloo, {"libm.so.6"}),
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

#if defined(OSTRIA_MPI)
TEST(LoadMpi, EntryTellsItsBuild) {
  const char* own = nullptr;
  EXPECT_EQ(ostria_mpi_entry("another", &own), nullptr);
  EXPECT_STREQ(own, kBuildId);
  EXPECT_NE(ostria_mpi_entry(kBuildId, &own), nullptr);
}

// Before MPI begins: outside of mpirun it would hang, or end this process.
TEST(Mpi, IsRefusedWhereMpiHasOtherRanksOrNone) {
  const auto error = [](int rank, int size) -> std::string {
    const char* own = nullptr;
    try {
      ostria_mpi_entry(kBuildId, &own)(rank, size, MakeInProcessKeyValues(), {});
      return "";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      return e.what();
    }
  };
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    unsetenv(name);
  EXPECT_THAT(error(1, 2), AllOf(HasSubstr("rank 1 of 2, was not started by MPI"),
                                 HasSubstr("mpirun -np 2"), HasSubstr("OMPI_COMM_WORLD_RANK")));
  setenv("OMPI_COMM_WORLD_RANK", "1", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
  EXPECT_THAT(error(1, 2), AllOf(HasSubstr("rank 1 of 2 of the job"),
                                 HasSubstr("rank 1 of 3 to MPI"), HasSubstr("mpirun -np 2")));
  EXPECT_THAT(error(0, 3), AllOf(HasSubstr("rank 0 of 3"), HasSubstr("rank 1 of 3")));
  unsetenv("OMPI_COMM_WORLD_RANK");
  unsetenv("OMPI_COMM_WORLD_SIZE");
}

TEST(Mpi, HasOneReplicaPerProcess) {
  CommunicatorOptions options;
  options.transport = "mpi";
  const std::string hosts[] = {"a", "a"};
  try {
    MakeCommunicators(0, 2, hosts, MakeInProcessKeyValues(), options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("one replica per process"), HasSubstr("has 2")));
  }
}
#endif

}  // namespace
}  // namespace ostria
