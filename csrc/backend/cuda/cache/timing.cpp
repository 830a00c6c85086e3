// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cache/timing.h"

#include <algorithm>
#include <limits>

namespace ostria::cuda {
namespace {

constexpr int kMostCopies = 8, kRounds = 5;
constexpr unsigned char kSmallNumber = 0x2c;  // 0x2c2c…: 0.065 in float16, less in the others

class TimedEvent {
 public:
  TimedEvent() {
    CheckDriver(Driver().cuEventCreate(&handle_, CU_EVENT_DEFAULT), "making an event");
  }
  ~TimedEvent() { Driver().cuEventDestroy(handle_); }
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;
  CUevent handle() const { return handle_; }

 private:
  CUevent handle_ = nullptr;
};

}  // namespace

RotatingOperands::RotatingOperands(const CudaStream& stream, std::span<const int64_t> bytes)
    : stream_(stream) {
  for (const int64_t b : bytes) {
    offsets_.push_back(each_);
    each_ += (b + 255) / 256 * 256;
  }
  const int64_t wanted = 2 * stream.cuda().props().l2_bytes;
  copies_ = static_cast<int>(
      std::clamp<int64_t>((wanted + each_ - 1) / std::max<int64_t>(each_, 1), 1, kMostCopies));
  const auto all = static_cast<size_t>(std::max<int64_t>(each_ * copies_, 1));
  stream.cuda().MakeCurrent();
  CheckDriver(Driver().cuMemAlloc(&memory_, all), "allocating operands to time kernels on");
  CheckDriver(Driver().cuMemsetD8Async(memory_, kSmallNumber, all, stream.handle()),
              "filling operands to time kernels on");
}

RotatingOperands::~RotatingOperands() {
  Driver().cuStreamSynchronize(stream_.handle());
  Driver().cuMemFree(memory_);
}

void* RotatingOperands::at(int copy, int operand) const {
  return reinterpret_cast<void*>(memory_ + static_cast<CUdeviceptr>(copy * each_) +
                                 static_cast<CUdeviceptr>(offsets_[static_cast<size_t>(operand)]));
}

size_t FastestOf(const CudaStream& stream, int copies,
                 std::span<const std::function<void(int copy)>> ways) {
  std::vector<float> best(ways.size(), std::numeric_limits<float>::infinity());
  const TimedEvent begin, end;
  // In turns, so that clocks and neighbours are the same for all. The first round warms up.
  for (int round = 0; round <= kRounds; ++round) {
    for (size_t i = 0; i < ways.size(); ++i) {
      CheckDriver(Driver().cuEventRecord(begin.handle(), stream.handle()), "timing kernels");
      for (int copy = 0; copy < copies; ++copy) ways[i](copy);
      CheckDriver(Driver().cuEventRecord(end.handle(), stream.handle()), "timing kernels");
      CheckDriver(Driver().cuEventSynchronize(end.handle()), "timing kernels");
      float ms = 0;
      CheckDriver(Driver().cuEventElapsedTime(&ms, begin.handle(), end.handle()), "timing kernels");
      if (round > 0) best[i] = std::min(best[i], ms);
    }
  }
  return static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin());
}

}  // namespace ostria::cuda
