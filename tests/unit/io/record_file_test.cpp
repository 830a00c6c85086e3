// SPDX-License-Identifier: Apache-2.0
#include "io/record_file.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "io_testing.h"

namespace ostria {
namespace {

using testing::AsBytes;
using testing::ErrorText;
using testing::Slurp;
using testing::Spill;
using testing::TempDir;

std::string FromHex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

const std::string kGolden = FromHex("000000000000000029039807d8ea82a2") +
                            FromHex("0500000000000000eab2043e68656c6c6fbb1f1c19");

TEST(RecordFile, WritesTheKnownBytes) {
  TempDir dir;
  RecordWriter writer(dir / "r");
  writer.Write("");
  writer.Write("hello");
  writer.Close();
  EXPECT_EQ(Slurp(dir / "r"), kGolden);
}

TEST(RecordFile, ReadsBackAndSeeks) {
  TempDir dir;
  std::vector<std::string> records;
  {
    RecordWriter writer(dir / "r");
    for (size_t size : {0, 1, 70'000, 5, 600'000, 3}) {  // below and above both buffers
      records.push_back(std::string(size, static_cast<char>('a' + records.size())));
      writer.Write(records.back());
    }
    writer.Close();
  }
  RecordReader reader(dir / "r");
  std::string record;
  std::vector<uint64_t> offsets;
  for (const std::string& expected : records) {
    offsets.push_back(reader.offset());
    ASSERT_TRUE(reader.Read(&record));
    EXPECT_EQ(record, expected);
  }
  EXPECT_FALSE(reader.Read(&record));
  for (size_t i = records.size(); i-- > 0;) {
    reader.Seek(offsets[i]);
    ASSERT_TRUE(reader.Read(&record));
    EXPECT_EQ(record, records[i]);
  }
  RecordWriter(dir / "r", OutputFile::Mode::kAppend).Write("more");
  reader.Seek(offsets.back());
  ASSERT_TRUE(reader.Read(&record));
  ASSERT_TRUE(reader.Read(&record));
  EXPECT_EQ(record, "more");
}

TEST(RecordFile, DamageNamesFileAndOffset) {
  TempDir dir;
  const std::string path = dir / "r";
  const auto read_all = [&](std::string bytes, RecordReader::Tail tail) {
    Spill(path, bytes);
    RecordReader reader(path, tail);
    std::string record;
    int n = 0;
    while (reader.Read(&record)) ++n;
    return n;
  };
  std::string bad = kGolden;
  bad[30] ^= 1;  // a byte of "hello"
  EXPECT_EQ(
      ErrorText(ErrorCode::kDataCorruption, [&] { read_all(bad, RecordReader::Tail::kError); }),
      path + ": damaged at byte 16: the checksum of record 1 of 5 bytes does not fit");
  bad = kGolden;
  bad[22] ^= 1;  // the length becomes 2^48 + 5: must not be believed
  EXPECT_EQ(
      ErrorText(ErrorCode::kDataCorruption, [&] { read_all(bad, RecordReader::Tail::kStop); }),
      path + ": damaged at byte 16: the checksum of record 1's length does not fit");
  const std::string cut = kGolden.substr(0, 30);
  EXPECT_EQ(
      ErrorText(ErrorCode::kDataCorruption, [&] { read_all(cut, RecordReader::Tail::kError); }),
      path + ": damaged at byte 16: the file ends inside record 1, 14 bytes after its start");
  EXPECT_EQ(read_all(cut, RecordReader::Tail::kStop), 1);
}

// What a reader that skips damage gives, each record followed by a comma, and how often it skipped.
std::pair<std::string, int64_t> ReadSkipping(const std::string& path) {
  RecordReader reader(path, RecordReader::Tail::kError, RecordReader::Damage::kSkip);
  std::string record, all;
  while (reader.Read(&record)) all += record + ",";
  return {all, reader.num_skipped()};
}

TEST(RecordFile, SkipsDamageAndCountsIt) {
  TempDir dir;
  const std::string path = dir / "r";
  {
    RecordWriter writer(path);
    for (const char* record : {"zero", "one", "two", "three"}) writer.Write(record);
    writer.Close();
  }
  const std::string whole = ReadWholeFile(path, 1 << 20);  // records begin at 0, 20, 39, 58
  const auto damaged = [&](std::vector<size_t> bytes, size_t size = std::string::npos) {
    std::string text = whole.substr(0, size);
    for (const size_t at : bytes) text[at] ^= 0x10;
    Spill(path, text);
    return ReadSkipping(path);
  };
  using Result = std::pair<std::string, int64_t>;
  EXPECT_EQ(damaged({}), Result("zero,one,two,three,", 0));
  EXPECT_EQ(damaged({33}), Result("zero,two,three,", 1));                // a byte of "one"
  EXPECT_EQ(damaged({20}), Result("zero,two,three,", 1));                // of its length
  EXPECT_EQ(damaged({28}), Result("zero,two,three,", 1));                // of the length's checksum
  EXPECT_EQ(damaged({33, 52}), Result("zero,three,", 2));                // of two records
  EXPECT_EQ(damaged({21, 40}), Result("zero,three,", 1));                // two lengths: one place
  EXPECT_EQ(damaged({}, whole.size() - 1), Result("zero,one,two,", 1));  // the end is cut off
  EXPECT_EQ(damaged({}, 62), Result("zero,one,two,", 1));                // within a header
  EXPECT_EQ(damaged({58}), Result("zero,one,two,", 1));                  // nothing whole behind it
}

TEST(RecordFile, RecordsHaveNumbersUntilAPositionIsSet) {
  TempDir dir;
  std::string bad = kGolden;
  bad[30] ^= 1;
  Spill(dir / "r", bad);
  RecordReader reader(dir / "r", RecordReader::Tail::kError, RecordReader::Damage::kSkip);
  std::string record;
  while (reader.Read(&record)) {
  }
  EXPECT_NE(reader.skipped().find("damaged at byte 16: the checksum of record 1 "),
            std::string::npos);
  reader.Seek(16);
  EXPECT_FALSE(reader.Read(&record));
  EXPECT_NE(reader.skipped().find("the checksum of a record of 5 bytes"), std::string::npos);
  EXPECT_EQ(reader.num_skipped(), 2);
}

TEST(RecordFile, MemoryAndFileReadersAgree) {
  uint64_t offset = 0;
  std::string_view record;
  ASSERT_TRUE(ParseRecord(AsBytes(kGolden), "m", &offset, &record));
  EXPECT_EQ(record, "");
  ASSERT_TRUE(ParseRecord(AsBytes(kGolden), "m", &offset, &record));
  EXPECT_EQ(record, "hello");
  EXPECT_FALSE(ParseRecord(AsBytes(kGolden), "m", &offset, &record));
  offset = 16;
  EXPECT_EQ(ErrorText(ErrorCode::kDataCorruption,
                      [&] { ParseRecord(AsBytes(kGolden.substr(0, 36)), "m", &offset, &record); }),
            "m: damaged at byte 16: the file ends inside a record, 20 bytes after its start");
}

TEST(RecordFile, MissingFileAndFullDisk) {
  EXPECT_EQ(ErrorText(ErrorCode::kIo, [] { RecordReader("/nonexistent/r"); }),
            "cannot open /nonexistent/r: No such file or directory; check the path");
  const std::string text = ErrorText(ErrorCode::kIo, [] {
    RecordWriter writer("/dev/full");
    writer.Write("hello");
    writer.Close();
  });
  EXPECT_EQ(
      text.find("cannot write /dev/full: No space left on device; 21 more bytes are needed; "), 0u)
      << text;
  EXPECT_NE(text.find("free space or choose a directory on another disk"), std::string::npos)
      << text;
}

}  // namespace
}  // namespace ostria
