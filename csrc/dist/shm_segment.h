// SPDX-License-Identifier: Apache-2.0
// The memory that the ranks of a `shm` group map: a header, a block of words for each rank, and
// each rank's buffers. It is a file without a name, so nothing is left behind whoever dies.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "dist/shm.h"

namespace ostria {

enum class Presence : uint32_t { kNotYet, kHere, kLeft };

/// Of one rank. Only that rank writes, but for `sleepers`.
struct alignas(128) RankBlock {
  std::atomic<uint32_t> round;     // how often it has published; others sleep on it
  std::atomic<uint32_t> sleepers;  // so many may sleep on `round`
  std::atomic<Presence> presence;
  std::atomic<int32_t> pid;
  cpu_set_t cores;      // that it may run on
  CallRecord calls[2];  // of this round and of the one before
};

struct ShmHeader {
  uint64_t magic, token;
  int64_t segment_bytes;
  int32_t size;
  std::atomic<uint32_t> abort;  // 0: no; 1: `why` is being written; 2: it is there
  char why[1024];
};

class ShmSegment {
 public:
  /// Made by rank 0 and found by the others through `key_values`.
  ShmSegment(int rank, int size, KeyValues& key_values, const ShmOptions& options,
             std::span<const std::string> labels);
  ~ShmSegment();
  ShmSegment(const ShmSegment&) = delete;
  ShmSegment& operator=(const ShmSegment&) = delete;

  ShmHeader& header() { return *static_cast<ShmHeader*>(base_); }
  RankBlock& block(int rank);
  /// Buffer 0 or 1 of what a rank shows of its data, and of what it reduced.
  char* input(int rank, uint32_t round) { return Buffer(rank, round & 1); }
  char* result(int rank, uint32_t round) { return Buffer(rank, 2 + (round & 1)); }
  /// After all have mapped it nobody can do so any more.
  void CloseFile();

 private:
  void Create(int size, int64_t bytes, const std::string& key, KeyValues& key_values);
  void Open(int size, int64_t bytes, const std::string& key, KeyValues& key_values,
            const ShmOptions& options, const std::string& first);
  char* Buffer(int rank, uint32_t which);

  void* base_ = nullptr;
  int64_t bytes_ = 0, segment_bytes_, buffers_ = 0;
  int fd_ = -1;
};

}  // namespace ostria
