// SPDX-License-Identifier: Apache-2.0
// TensorBoard's event files: TFRecords of Event messages (tensorflow/core/util/event.proto).
// Scalars are written as simple_value, which every reader takes, with the plugin's metadata on a
// tag's first value. Invariant: a reader meets whole records only; the record a writer is in the
// middle of is not seen.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "io/record_file.h"

namespace ostria {

/// Writes `<directory>/events.out.tfevents.<time>.<host>.<pid>.<n><suffix>`. Safe to use from
/// threads.
class EventWriter {
 public:
  /// Creates the directory and the file with its version record. Throws Error(kIo).
  explicit EventWriter(const std::string& directory, const std::string& suffix = "");
  /// `value` is stored as a float; `wall_time` in seconds since 1970, now when negative.
  void Scalar(std::string_view tag, double value, int64_t step, double wall_time = -1);
  /// Counts of `values` in `buckets` buckets of equal width, the last one closed; values that are
  /// not finite are left out. Throws Error(kInvalidArgument) when `buckets` < 1.
  void Histogram(std::string_view tag, std::span<const double> values, int64_t step,
                 int buckets = 30, double wall_time = -1);
  /// Hands everything to the system; happens by itself 120 seconds after the last time, on a write.
  void Flush();
  /// Flush and close; later writes throw Error(kIo).
  void Close();
  const std::string& path() const { return records_->file().path(); }

 private:
  void WriteSummary(std::string_view tag, std::string_view plugin, int data_class,
                    std::string_view value, int64_t step, double wall_time);

  std::mutex mutex_;
  std::unique_ptr<RecordWriter> records_;
  std::set<std::string, std::less<>> described_;  // tags whose metadata was written
  double flushed_at_ = 0;
};

/// step -> tag -> value.
using ScalarTable = std::map<int64_t, std::map<std::string, double>>;

/// The scalars of one event file, or of all event files directly in a directory in the order of
/// their names, the later value winning. A record cut off at the end of a file (its writer is
/// alive, or was killed) ends that file; damage elsewhere throws Error(kDataCorruption), a missing
/// path Error(kIo).
ScalarTable ReadScalars(const std::string& path);

}  // namespace ostria
