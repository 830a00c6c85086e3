// SPDX-License-Identifier: Apache-2.0
#include "io/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace ostria {
namespace {

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(MaskCrc32c(Crc32c("123456789")), 0xc78ab0e5u);
  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32c, SplitsAndImplementationsAgree) {
  std::mt19937 random(1);
  std::string data(301, '\0');
  for (char& c : data) c = static_cast<char>(random());
  for (size_t size = 0; size <= data.size(); ++size) {
    const uint32_t whole = Crc32c(data.data(), size);
    EXPECT_EQ(internal::ExtendCrc32cPortable(0, data.data(), size), whole) << size;
    const size_t cut = size == 0 ? 0 : random() % size;
    EXPECT_EQ(ExtendCrc32c(Crc32c(data.data(), cut), data.data() + cut, size - cut), whole) << size;
  }
}

}  // namespace
}  // namespace ostria
