// SPDX-License-Identifier: Apache-2.0
// How many threads a call may use, for a while: a replica's share of the cores, or what a kernel
// was prepared for.
#pragma once

#include "base/parallel.h"

namespace ostria {

/// Gives the calling thread `n` threads while it lives. What is prepared for a number of threads,
/// as primitives of libraries are, must run under that number too.
class ThreadShare {
 public:
  explicit ThreadShare(int n) : before_(NumThreads()), n_(n) {
    if (n_ != before_) SetNumThreads(n_);
  }
  ~ThreadShare() {
    if (n_ != before_) SetNumThreads(before_);
  }
  ThreadShare(const ThreadShare&) = delete;
  ThreadShare& operator=(const ThreadShare&) = delete;

 private:
  const int before_, n_;
};

}  // namespace ostria
