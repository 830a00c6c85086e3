// SPDX-License-Identifier: Apache-2.0
#include "io/wire.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "io_testing.h"

namespace ostria {
namespace {

using testing::ErrorText;

TEST(Wire, BytesOfTheGuide) {
  WireWriter w;
  w.Varint(1, 150);
  EXPECT_EQ(w.Take(), std::string("\x08\x96\x01", 3));
  w.Bytes(2, "testing");
  EXPECT_EQ(w.Take(), "\x12\x07testing");
  w.Message(3, [](WireWriter& m) { m.Varint(1, 150); });
  EXPECT_EQ(w.Take(), std::string("\x1a\x03\x08\x96\x01", 5));
  w.Varint(1, static_cast<uint64_t>(int64_t{-2}));
  EXPECT_EQ(w.Take(), "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST(Wire, RoundTrip) {
  WireWriter w;
  w.Double(1, -2.5);
  w.Float(2, 0.25f);
  w.Varint(536870911, UINT64_MAX);
  w.Message(4, [](WireWriter& m) { m.Bytes(1, "x"); });
  WireReader r(w.bytes());
  ASSERT_TRUE(r.Next());
  EXPECT_EQ(r.as_double(), -2.5);
  ASSERT_TRUE(r.Next());
  EXPECT_EQ(r.as_float(), 0.25f);
  ASSERT_TRUE(r.Next());
  EXPECT_EQ(r.field(), 536870911);
  EXPECT_EQ(r.varint(), UINT64_MAX);
  ASSERT_TRUE(r.Next());
  WireReader inner = r.message();
  ASSERT_TRUE(inner.Next());
  EXPECT_EQ(inner.bytes(), "x");
  EXPECT_FALSE(inner.Next());
  EXPECT_FALSE(r.Next());
}

TEST(Wire, RepeatedFieldsPackedAndUnpacked) {
  const std::string packed("\x0a\x03\x05\xac\x02", 5), unpacked("\x08\x05\x08\xac\x02", 5);
  for (const std::string& bytes : {packed, unpacked}) {
    std::vector<uint64_t> values;
    WireReader r(bytes);
    while (r.Next()) r.EachVarint([&](uint64_t v) { values.push_back(v); });
    EXPECT_EQ(values, (std::vector<uint64_t>{5, 300}));
  }
}

TEST(Wire, DamageIsAnErrorWithTheOffset) {
  const auto reject = [](std::string_view bytes) {
    return ErrorText(ErrorCode::kDataCorruption, [&] {
      WireReader r(bytes, "f", 10);
      while (r.Next()) {
      }
    });
  };
  EXPECT_EQ(reject("\x0a\x05"
                   "ab"),
            "f: damaged at byte 10: field 1 claims 5 bytes; 2 are left");
  EXPECT_EQ(reject("\x08\x96"),
            "f: damaged at byte 12: a number is cut off by the end of its message");
  EXPECT_EQ(reject("\x0d"
                   "abc"),
            "f: damaged at byte 10: field 1 is cut off by the end of its message");
  EXPECT_EQ(reject("\x0b"), "f: damaged at byte 10: field 1 has wire type 3");
  EXPECT_EQ(reject(std::string_view("\x00\x01", 2)),
            "f: damaged at byte 10: field number 0 is outside 1..536870911");
  EXPECT_EQ(reject("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            "f: damaged at byte 21: a number has more than 64 bits");
  WireReader r("\x08\x01");
  ASSERT_TRUE(r.Next());
  EXPECT_EQ(ErrorText(ErrorCode::kDataCorruption, [&] { r.bytes(); }),
            "message: damaged at byte 1: field 1 has wire type 0; 2 is expected");
}

}  // namespace
}  // namespace ostria
