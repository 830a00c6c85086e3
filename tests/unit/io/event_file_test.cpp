// SPDX-License-Identifier: Apache-2.0
#include "io/event_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include "io/wire.h"
#include "io_testing.h"

namespace ostria {
namespace {

using testing::ErrorText;
using testing::Slurp;
using testing::Spill;
using testing::TempDir;

std::vector<std::string> Records(const std::string& path) {
  RecordReader reader(path);
  std::vector<std::string> records;
  std::string record;
  while (reader.Read(&record)) records.push_back(record);
  return records;
}

// The first value of the event's summary, as its fields: number -> bytes (or raw bits as text).
WireReader FirstValue(const std::string& record) {
  WireReader event(record);
  while (event.Next()) {
    if (event.field() != 5) continue;
    WireReader summary = event.message();
    EXPECT_TRUE(summary.Next());
    return summary.message();
  }
  ADD_FAILURE() << "no summary";
  return WireReader("");
}

TEST(EventFile, NameAndVersionRecord) {
  TempDir dir;
  EventWriter writer(dir / "eval", ".v2");
  char host[256] = "";
  gethostname(host, sizeof host);
  const std::regex pattern(StrCat("events\\.out\\.tfevents\\.[0-9]{10}\\.", std::string(host),
                                  "\\.", getpid(), "\\.[0-9]+\\.v2"));
  EXPECT_TRUE(std::regex_match(std::filesystem::path(writer.path()).filename().string(), pattern))
      << writer.path();
  const auto records = Records(writer.path());  // on disk before any flush
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].substr(0, 1), "\x09");  // wall_time: field 1, fixed64
  EXPECT_EQ(records[0].substr(9, 15),
            "\x1a\x0d"
            "brain.Event:2");
}

TEST(EventFile, ScalarBytesAndMetadataOnce) {
  TempDir dir;
  EventWriter writer(dir.path());
  writer.Scalar("loss", 0.5, 7, 2.0);
  writer.Scalar("loss", 0.25, 8, 2.0);
  writer.Close();
  const auto records = Records(writer.path());
  ASSERT_EQ(records.size(), 3u);
  const std::string head = std::string("\x09\0\0\0\0\0\0\0\x40", 9);  // wall_time 2.0
  EXPECT_EQ(records[2],
            head + "\x10\x08\x2a\x0d\x0a\x0b\x0a\x04loss" + std::string("\x15\0\0\x80\x3e", 5));
  EXPECT_EQ(records[1],
            head + "\x10\x07\x2a\x1c\x0a\x1a\x0a\x04loss\x4a\x0d\x0a\x09\x0a\x07scalars\x20\x01" +
                std::string("\x15\0\0\0\x3f", 5));
}

TEST(EventFile, ScalarsReadBackAcrossFiles) {
  TempDir dir;
  {
    EventWriter a(dir.path(), ".a");
    a.Scalar("loss", 1.5, 1);
    a.Scalar("accuracy", 0.5, 1);
    a.Scalar("loss", std::numeric_limits<double>::quiet_NaN(), 2);
    a.Scalar("loss", 9, -1);
    a.Close();
    EventWriter b(dir.path(), ".b");
    b.Scalar("loss", 3, 2);
    b.Close();
    ScalarTable one = ReadScalars(a.path());
    EXPECT_TRUE(std::isnan(one[2]["loss"]));
    EXPECT_EQ(one[-1]["loss"], 9);
  }
  Spill(dir / "notes.txt", "not an event file");
  const ScalarTable table = ReadScalars(dir.path());
  EXPECT_EQ(table,
            (ScalarTable{
                {-1, {{"loss", 9}}}, {1, {{"accuracy", 0.5}, {"loss", 1.5}}}, {2, {{"loss", 3}}}}));
  EXPECT_EQ(ErrorText(ErrorCode::kIo, [&] { ReadScalars(dir / "absent"); }),
            "cannot open " + (dir / "absent") + ": No such file or directory; check the path");
}

TEST(EventFile, TensorScalarsOfOtherWritersAreRead) {
  TempDir dir;
  RecordWriter records(dir / "events.out.tfevents.1.h.1.0");
  const auto write = [&](int64_t step, auto&& fill_tensor) {
    WireWriter w;
    w.Varint(2, static_cast<uint64_t>(step));
    w.Message(5, [&](WireWriter& s) {
      s.Message(1, [&](WireWriter& v) {
        v.Bytes(1, "x");
        v.Message(8, fill_tensor);
      });
    });
    records.Write(w.bytes());
  };
  const float number = 2.5f;
  write(1, [&](WireWriter& t) {
    t.Varint(1, 1);
    t.Bytes(2, "");
    t.Bytes(4, {reinterpret_cast<const char*>(&number), 4});
  });
  write(2, [&](WireWriter& t) {
    t.Varint(1, 1);
    t.Bytes(5, {reinterpret_cast<const char*>(&number), 4});
  });
  write(3, [&](WireWriter& t) {  // rank 1: no scalar
    t.Varint(1, 1);
    t.Message(2, [](WireWriter& s) { s.Message(2, [](WireWriter& d) { d.Varint(1, 1); }); });
    t.Bytes(5, {reinterpret_cast<const char*>(&number), 4});
  });
  records.Close();
  EXPECT_EQ(ReadScalars(dir.path()), (ScalarTable{{1, {{"x", 2.5}}}, {2, {{"x", 2.5}}}}));
}

TEST(EventFile, CutTailEndsTheFileAndDamageIsAnError) {
  TempDir dir;
  std::string path;
  {
    EventWriter writer(dir.path());
    writer.Scalar("loss", 1, 1);
    writer.Scalar("loss", 2, 2);
    writer.Close();
    path = writer.path();
  }
  std::string bytes = Slurp(path);
  Spill(path, bytes.substr(0, bytes.size() - 3));
  EXPECT_EQ(ReadScalars(path), (ScalarTable{{1, {{"loss", 1}}}}));
  bytes[bytes.size() - 10] ^= 1;
  Spill(path, bytes);
  const std::string text = ErrorText(ErrorCode::kDataCorruption, [&] { ReadScalars(path); });
  EXPECT_NE(text.find("does not fit"), std::string::npos) << text;
}

std::vector<double> HistogramRows(const std::string& record) {
  std::vector<double> rows;
  WireReader value = FirstValue(record);
  while (value.Next()) {
    if (value.field() != 8) continue;
    WireReader tensor = value.message();
    while (tensor.Next()) {
      if (tensor.field() != 4) continue;
      rows.resize(tensor.bytes().size() / sizeof(double));
      if (!rows.empty()) std::memcpy(rows.data(), tensor.bytes().data(), tensor.bytes().size());
    }
  }
  return rows;
}

TEST(EventFile, HistogramCounts) {
  TempDir dir;
  EventWriter writer(dir.path());
  const double inf = std::numeric_limits<double>::infinity();
  const double values[] = {0, 1, 1.5, 2, 4, inf, -inf, NAN};
  writer.Histogram("h", values, 1, 4);
  const double equal[] = {3, 3};
  writer.Histogram("h", equal, 2, 2);
  writer.Histogram("h", {}, 3);
  const double huge[] = {-1.7e308, 1.7e308};
  writer.Histogram("h", huge, 4, 2);
  writer.Close();
  const auto records = Records(writer.path());
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(HistogramRows(records[1]), (std::vector<double>{0, 1, 1, 1, 2, 2, 2, 3, 1, 3, 4, 1}));
  EXPECT_EQ(HistogramRows(records[2]), (std::vector<double>{2.5, 3, 0, 3, 3.5, 2}));
  EXPECT_TRUE(HistogramRows(records[3]).empty());
  EXPECT_EQ(HistogramRows(records[4]), (std::vector<double>{-1.7e308, 0, 1, 0, 1.7e308, 1}));
}

}  // namespace
}  // namespace ostria
