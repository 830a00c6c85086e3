// SPDX-License-Identifier: Apache-2.0
// What the rows form does before a line of it is written. Folds over columns come one after the
// other: pass 0 computes what needs none of them, pass k what needs those of pass k - 1. Who has a
// row, and where what several passes read of it is meanwhile, is decided by its length:
//
//   what is kept of a row   it belongs to                              and is kept in
//   up to 1024 columns      1 to 32 lanes, several rows to a block     registers
//   up to 64 KiB            a block of 32 to 1024 threads              registers
//   up to 113 KiB           a block of up to 512 threads, two to       shared memory
//                           a multiprocessor
//   up to 226 KiB           a cluster of two such blocks               shared memory of both
//   up to 454 KiB           a cluster of two blocks of up to 1024      shared memory of both
//                           threads, which fill a multiprocessor each
//   more, or nothing        a block of up to 512 threads               memory: it is read again
//
// In registers is what later passes need, computed values too; in shared memory what several passes
// read of inputs, as it lies in memory, and what folds over rows gather. A thread reads there what
// it has written itself. Rows that are not in registers have a maximum and the exponentials below
// it folded in one pass. Private to codegen.
#pragma once

#include <algorithm>
#include <vector>

#include "backend/cuda/codegen/exponentials.h"
#include "backend/cuda/codegen/loop.h"

namespace ostria::cuda {

/// Where later passes find what they read of a row.
enum class RowHome : uint8_t { kRegisters, kShared, kMemory };

/// Bytes from the begin of a block's dynamic shared memory; -1: it is not there.
struct SharedPlaces {
  std::vector<int64_t> inputs;  // a row of each
  std::vector<int64_t> folds;   // by instruction: over rows their accumulators, over columns parts
  int64_t bytes = 0;
};

class RowsPlan {
 public:
  RowsPlan(const LoopWriter& writer, const DeviceProps& device);

  enum class Place : uint8_t { kUniform, kRow, kElement };
  Place place(int n) const { return place_[n]; }
  /// How many folds over columns come before a value.
  int level(int n) const { return level_[n]; }
  int last_pass() const { return last_pass_; }
  /// In which an output is stored; the last that reads an input from memory.
  const std::vector<int>& output_pass() const { return output_pass_; }
  std::vector<int> input_pass() const;

  /// Elements that a pass computes, in order.
  const std::vector<int>& needed(int pass) const { return needed_[pass]; }
  /// Elements that it reads without computing them.
  std::vector<int> ReadIn(int pass) const;
  /// What it is all for: arguments of folds of both kinds, and elements to store.
  std::vector<int> Roots(int pass) const;
  /// The outputs that it stores elements of.
  std::vector<int> Stored(int pass) const;
  /// The folds over columns of its elements.
  std::vector<int> Folds(int pass) const;
  /// Elements that later passes find in registers.
  bool kept(int n) const { return kept_[n]; }

  /// Of fold `n` over columns: the sum of exponentials that it is made with.
  const ExponentialSum* ExponentialsOf(int n) const;
  bool AlongColumns(const LoopOperand& o) const;

  RowHome home() const { return home_; }
  /// Threads that share a row, and those of a block.
  int lanes() const { return lanes_; }
  int threads() const { return threads_; }
  int rows_per_block() const { return std::max(threads_ / lanes_, 1); }
  /// Blocks that share a row.
  int cluster() const { return std::max(lanes_ / threads_, 1); }
  /// Vectors that a lane has in flight: all of its row in registers, some of it otherwise.
  int per_lane() const { return per_lane_; }
  /// Whether all lanes have as many vectors.
  bool Exact() const;
  /// How many vectors of a row a lane has at most.
  int64_t vectors_per_lane() const;

  const SharedPlaces& shared() const { return shared_; }
  /// Whether a pass finds an input in shared memory, where an earlier one has left it.
  bool FindsShared(int input, int pass) const {
    return shared_.inputs[input] >= 0 && pass > reading_passes_[input].front();
  }
  /// Bytes that are read and written beside every operand once.
  int64_t RepeatedBytes() const;

 private:
  void FindLevels();
  int FoldedValue(int n) const;
  void FindNeeded(bool registers);
  double Held() const;
  bool FitsRegisters();
  void TakeBlocks(int blocks, int threads);
  SharedPlaces PlaceShared(bool accumulators) const;
  bool FitsShared(const DeviceProps& device);

  const LoopWriter& w_;
  const LoopProgram& p_;
  const int first_column_;
  std::vector<ExponentialSum> exponentials_;
  std::vector<int> level_;
  std::vector<Place> place_;
  std::vector<bool> kept_;
  std::vector<std::vector<int>> needed_;          // by pass
  std::vector<std::vector<int>> reading_passes_;  // by input
  std::vector<int> output_pass_;
  SharedPlaces shared_;
  int last_pass_ = 0;
  RowHome home_ = RowHome::kRegisters;
  int lanes_ = 32, threads_ = 0, per_lane_ = 1;
};

}  // namespace ostria::cuda
