// SPDX-License-Identifier: Apache-2.0
// What plans and Variables lie in: which of its pages are huge, by what the kernel says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "backend/backend.h"
#include "base/huge_pages.h"

namespace ostria {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What the kernel has noted of the mapping that `at` lies in: " rd wr … hg " where it shall be
// huge.
std::string FlagsOf(const void* at) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  std::ifstream file("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream range(line);
    if (range >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= address && address < end;
    }
    if (inside && line.starts_with("VmFlags:")) return line + " ";
  }
  return "none";
}

class CpuMemory : public ::testing::Test {
 protected:
  static constexpr size_t kAll = 32 * kHugePage;

  void SetUp() override {
    if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
      GTEST_SKIP() << "this kernel has no huge pages for whom asks";
    }
    base = static_cast<std::byte*>(cpu.Reserve(0, kAll));
  }
  void TearDown() override {
    if (base != nullptr) cpu.Release(0, base, kAll);
  }

  Backend& cpu = FindBackend(DeviceKind::kCpu);
  std::byte* base = nullptr;
};

TEST_F(CpuMemory, WhatIsCommittedComesInHugePagesAndNoMore) {
  EXPECT_THAT(FlagsOf(base + 4 * kHugePage), Not(HasSubstr(" hg ")));
  cpu.Commit(0, base, 10 * kHugePage);
  EXPECT_THAT(FlagsOf(base + 4 * kHugePage), HasSubstr(" hg "));
  EXPECT_THAT(FlagsOf(base + 10 * kHugePage), Not(HasSubstr(" hg ")));
  cpu.Commit(0, base, 20 * kHugePage);
  EXPECT_THAT(FlagsOf(base + 18 * kHugePage), HasSubstr(" hg "));
  EXPECT_EQ(base[18 * kHugePage], std::byte{0});
}

TEST_F(CpuMemory, LittleStaysInSmallPages) {
  cpu.Commit(0, base, kHugePage - 1);
  EXPECT_THAT(FlagsOf(base), Not(HasSubstr(" hg ")));
  cpu.Commit(0, base, 0);
  EXPECT_THAT(FlagsOf(base), Not(HasSubstr(" hg ")));
}

}  // namespace
}  // namespace ostria
