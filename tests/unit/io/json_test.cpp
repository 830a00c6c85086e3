// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include <gtest/gtest.h>

#include <string>

#include "base/json_string.h"
#include "io_testing.h"

namespace ostria {
namespace {

using testing::ErrorText;

std::string ReadOneString(std::string_view text) {
  JsonReader json(text, "file");
  std::string value = json.ReadString();
  json.Finish();
  return value;
}

TEST(Json, StringsRoundTrip) {
  const std::string all =
      std::string("\0\x01\x1f \"\\/\n\r\t\b\f", 12) + "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
  std::string literal;
  AppendJsonString(literal, all);
  EXPECT_EQ(ReadOneString(literal), all);
  EXPECT_EQ(ReadOneString(R"("A\u00e4\u20ac\ud83d\ude00")"),
            "A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST(Json, RejectsWithTheOffset) {
  const auto reject = [](std::string_view text) {
    return ErrorText(ErrorCode::kDataCorruption, [&] {
      JsonReader json(text, "file", 100);
      json.SkipValue();
      json.Finish();
    });
  };
  EXPECT_EQ(reject("[1, 2"), "file: damaged at byte 105: expected ']' in the JSON text");
  EXPECT_EQ(reject("{\"a\" 1}"), "file: damaged at byte 105: expected ':' in the JSON text");
  EXPECT_EQ(reject("1 2"), "file: damaged at byte 102: text after the end of the JSON document");
  EXPECT_EQ(reject("01"), "file: damaged at byte 100: a JSON number starts with 0");
  EXPECT_EQ(reject("\"ab"), "file: damaged at byte 103: unfinished JSON string");
  EXPECT_EQ(reject("\"a\nb\""), "file: damaged at byte 102: control character in a JSON string");
  EXPECT_EQ(reject("\"\\ud800x\""),
            "file: damaged at byte 107: half a surrogate pair in a JSON string");
  EXPECT_EQ(reject("[[[[[[[[[]]]]]]]]]"),
            "file: damaged at byte 108: JSON nested more than 8 deep");
  EXPECT_NE(
      reject(R"({"":{"":{"":{"":{"":{"":{"":{"":{"":1}}}}}}}}})").find("nested more than 8 deep"),
      std::string::npos);
  EXPECT_EQ(reject("[\"\xc0\x80\"]"),
            "file: damaged at byte 102: the JSON text is not valid UTF-8");
  for (std::string_view text : {"", "nul", "+1", "1.", "1e", "-", "[1,]", "{\"a\":1,}", "{a:1}"}) {
    EXPECT_NE(reject(text), "") << text;
  }
}

TEST(Json, IntegersAreExactAndBounded) {
  JsonReader json("[18446744073709551615, -9223372036854775808, 2.5e3]", "file");
  int n = 0;
  json.ReadArray([&] {
    ++n;
    if (n == 1)
      EXPECT_EQ(json.ReadUint64(), UINT64_MAX);
    else if (n == 2)
      EXPECT_EQ(json.ReadInt64(), INT64_MIN);
    else
      EXPECT_EQ(json.ReadDouble(), 2500.0);
  });
  EXPECT_EQ(n, 3);
  for (std::string_view text : {"18446744073709551616", "-1", "1.0", "1e3"}) {
    EXPECT_NE(ErrorText(ErrorCode::kDataCorruption, [&] { JsonReader(text, "f").ReadUint64(); }),
              "");
  }
}

TEST(Json, Utf8BordersOfTheStandard) {
  for (std::string_view good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(FindInvalidUtf8(good), std::string_view::npos) << good;
  }
  for (std::string_view bad :
       {"a\x80", "a\xc1\xbf", "a\xe0\x9f\xbf", "a\xed\xa0\x80", "a\xf0\x8f\xbf\xbf",
        "a\xf4\x90\x80\x80", "a\xf5\x80\x80\x80", "a\xe2\x82", "a\xff"}) {
    EXPECT_EQ(FindInvalidUtf8(bad), 1u) << bad;
  }
}

}  // namespace
}  // namespace ostria
