// SPDX-License-Identifier: Apache-2.0
#include "io/record_file.h"

#include <gtest/gtest.h>

#include <string>
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
      path + ": damaged at byte 16: the checksum of a record of 5 bytes does not fit");
  bad = kGolden;
  bad[22] ^= 1;  // the length becomes 2^48 + 5: must not be believed
  EXPECT_EQ(
      ErrorText(ErrorCode::kDataCorruption, [&] { read_all(bad, RecordReader::Tail::kStop); }),
      path + ": damaged at byte 16: the checksum of a record's length does not fit");
  const std::string cut = kGolden.substr(0, 30);
  EXPECT_EQ(
      ErrorText(ErrorCode::kDataCorruption, [&] { read_all(cut, RecordReader::Tail::kError); }),
      path + ": damaged at byte 16: the file ends inside a record, 14 bytes after its start");
  EXPECT_EQ(read_all(cut, RecordReader::Tail::kStop), 1);
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
