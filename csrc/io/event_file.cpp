// SPDX-License-Identifier: Apache-2.0
#include "io/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <vector>

#include "io/wire.h"

namespace ostria {
namespace {

// Field numbers of event.proto, summary.proto and tensor.proto (TensorFlow).
namespace event {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSourceMetadata = 10;
}
namespace value {
constexpr int kTag = 1, kSimpleValue = 2, kTensor = 8, kMetadata = 9;
}
namespace tensor {
constexpr int kDType = 1, kShape = 2, kContent = 4, kFloatValue = 5, kDoubleValue = 6;
constexpr int kFloat = 1, kDouble = 2;  // enum DataType
}  // namespace tensor
constexpr int kScalarClass = 1, kTensorClass = 2;  // enum DataClass
constexpr double kFlushSeconds = 120;

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string FileName(double now, const std::string& suffix) {
  static std::atomic<int> count{0};
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  char name[400];
  std::snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%d.%d",
                static_cast<long long>(now), host, static_cast<int>(getpid()), count++);
  return name + suffix;
}

// A scalar stored as a rank-0 tensor, the newer form; false for any other tensor.
bool ScalarOf(WireReader message, double* out) {
  uint64_t dtype = 0;
  bool scalar = true, found = false;
  std::string_view content;
  double value = 0;
  while (message.Next()) {
    switch (message.field()) {
      case tensor::kDType: dtype = message.varint(); break;
      case tensor::kShape: scalar = message.bytes().empty(); break;
      case tensor::kContent: content = message.bytes(); break;
      case tensor::kFloatValue: message.EachFloat([&](float v) { value = v, found = true; }); break;
      case tensor::kDoubleValue:
        if (message.type() == WireType::kFixed64) value = message.as_double(), found = true;
        break;
      default: break;
    }
  }
  if (dtype == tensor::kFloat && content.size() == sizeof(float)) {
    float v;
    std::memcpy(&v, content.data(), sizeof v);
    value = v, found = true;
  } else if (dtype == tensor::kDouble && content.size() == sizeof(double)) {
    std::memcpy(&value, content.data(), sizeof value);
    found = true;
  }
  *out = value;
  return scalar && found && (dtype == tensor::kFloat || dtype == tensor::kDouble);
}

void ReadSummary(WireReader summary, std::map<std::string, double>& row) {
  while (summary.Next()) {
    if (summary.field() != 1) continue;
    WireReader item = summary.message();
    std::string_view tag;
    double number = 0;
    bool found = false;
    while (item.Next()) {
      switch (item.field()) {
        case value::kTag: tag = item.bytes(); break;
        case value::kSimpleValue: number = item.as_float(), found = true; break;
        case value::kTensor: found = ScalarOf(item.message(), &number); break;
        default: break;
      }
    }
    if (found) row[std::string(tag)] = number;
  }
}

void ReadScalarsOfFile(const std::string& path, ScalarTable& table) {
  RecordReader records(path, RecordReader::Tail::kStop);
  std::string record;
  for (;;) {
    const uint64_t start = records.offset();
    if (!records.Read(&record)) return;
    WireReader message(record, path, start + 12);
    int64_t step = 0;
    std::map<std::string, double> row;
    while (message.Next()) {
      if (message.field() == event::kStep) step = message.int64();
      if (message.field() == event::kSummary) ReadSummary(message.message(), row);
    }
    for (auto& [tag, number] : row) table[step][tag] = number;
  }
}

}  // namespace

EventWriter::EventWriter(const std::string& directory, const std::string& suffix) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) FailIo("create the directory", directory, error.value());
  const double now = Now();
  records_ = std::make_unique<RecordWriter>(
      (std::filesystem::path(directory) / FileName(now, suffix)).string());
  WireWriter w;
  w.Double(event::kWallTime, now);
  w.Bytes(event::kFileVersion, "brain.Event:2");
  w.Message(event::kSourceMetadata, [](WireWriter& m) { m.Bytes(1, "ostria"); });
  records_->Write(w.bytes());
  records_->Flush();
  flushed_at_ = now;
}

void EventWriter::WriteSummary(std::string_view tag, std::string_view plugin, int data_class,
                               std::string_view fields, int64_t step, double wall_time) {
  const double now = Now();
  const std::scoped_lock lock(mutex_);
  const bool first = described_.find(tag) == described_.end();
  WireWriter item;
  item.Bytes(value::kTag, tag);
  if (first) {
    item.Message(value::kMetadata, [&](WireWriter& metadata) {
      metadata.Message(1, [&](WireWriter& data) { data.Bytes(1, plugin); });
      metadata.Varint(4, static_cast<uint64_t>(data_class));
    });
  }
  WireWriter w;
  w.Double(event::kWallTime, wall_time < 0 ? now : wall_time);
  w.Varint(event::kStep, static_cast<uint64_t>(step));
  w.Message(event::kSummary, [&](WireWriter& summary) {
    summary.Bytes(1, item.Take().append(fields));  // a message is the sequence of its fields
  });
  records_->Write(w.bytes());
  if (first) described_.emplace(tag);
  if (now - flushed_at_ >= kFlushSeconds) {
    records_->Flush();
    flushed_at_ = now;
  }
}

void EventWriter::Scalar(std::string_view tag, double number, int64_t step, double wall_time) {
  WireWriter field;
  field.Float(value::kSimpleValue, static_cast<float>(number));
  WriteSummary(tag, "scalars", kScalarClass, field.bytes(), step, wall_time);
}

void EventWriter::Histogram(std::string_view tag, std::span<const double> values, int64_t step,
                            int buckets, double wall_time) {
  if (buckets < 1) {
    Fail(ErrorCode::kInvalidArgument, "histogram \"", tag, "\": ", buckets,
         " buckets were asked for; at least 1 is needed");
  }
  double low = INFINITY, high = -INFINITY;
  for (double v : values) {
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  }
  std::vector<double> rows;  // left, right, count
  if (low <= high) {
    rows.resize(static_cast<size_t>(buckets) * 3);
    // Equal values lie in the last bucket of a unit range around them, as TensorBoard's own writer
    // has it.
    const double left = low == high ? low - 0.5 : low, right = low == high ? low + 0.5 : high;
    const double width = right / buckets - left / buckets;  // the difference itself may overflow
    for (int i = 0; i < buckets; ++i) {
      rows[static_cast<size_t>(i) * 3] = left + i * width;
      rows[static_cast<size_t>(i) * 3 + 1] = i + 1 == buckets ? right : left + (i + 1) * width;
    }
    for (double v : values) {
      if (!std::isfinite(v)) continue;
      const double at = low == high ? buckets : (v / width - left / width);
      const int i = at > 0 ? (at < buckets ? static_cast<int>(at) : buckets - 1) : 0;
      rows[static_cast<size_t>(i) * 3 + 2] += 1;
    }
  }
  WireWriter field;
  field.Message(value::kTensor, [&](WireWriter& t) {
    t.Varint(tensor::kDType, tensor::kDouble);
    t.Message(tensor::kShape, [&](WireWriter& shape) {
      for (uint64_t size : {static_cast<uint64_t>(rows.size() / 3), uint64_t{3}}) {
        shape.Message(2, [&](WireWriter& dim) { dim.Varint(1, size); });
      }
    });
    t.Bytes(tensor::kContent,
            {reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(double)});
  });
  WriteSummary(tag, "histograms", kTensorClass, field.bytes(), step, wall_time);
}

void EventWriter::Flush() {
  const std::scoped_lock lock(mutex_);
  records_->Flush();
  flushed_at_ = Now();
}

void EventWriter::Close() {
  const std::scoped_lock lock(mutex_);
  records_->Close();
}

ScalarTable ReadScalars(const std::string& path) {
  ScalarTable table;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    ReadScalarsOfFile(path, table);
    return table;
  }
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().filename().string().find(".tfevents.") != std::string::npos) {
      files.push_back(it->path().string());
    }
  }
  if (error) FailIo("list", path, error.value());
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) ReadScalarsOfFile(file, table);
  return table;
}

}  // namespace ostria
