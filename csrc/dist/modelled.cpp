// SPDX-License-Identifier: Apache-2.0
#include "dist/modelled.h"

#include <chrono>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace ostria {
namespace {

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// As the sum of `n` equal numbers rounds: integers wrap around, half types go through float32.
template <class T>
T Times(T x, int n) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(x) * static_cast<uint64_t>(n));
  } else if constexpr (std::is_floating_point_v<T>) {
    return x * static_cast<T>(n);
  } else {
    return T(static_cast<float>(x) * static_cast<float>(n));
  }
}

void Multiply(void* data, int64_t count, DType dtype, int n) {
  DispatchDType(dtype, [&]<class T>(T*) {
    if constexpr (std::is_same_v<T, bool>) {
      Fail(ErrorCode::kTypeError, "cannot reduce bool over ranks; cast it to int32");
    } else {
      T* const at = static_cast<T*>(data);
      for (int64_t i = 0; i < count; ++i) at[i] = Times(at[i], n);
    }
  });
}

class Modelled final : public Communicator {
 public:
  Modelled(int size, std::shared_ptr<CallLog> log) : size_(size), log_(std::move(log)) {}

  int rank() const override { return 0; }
  int size() const override { return size_; }
  std::string_view transport() const override { return "modelled"; }

  void AllReduce(std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
                 ReduceOrder /*order*/) override {
    Reduce(ModelledKind::kAllReduce, -1, what, data, count, dtype, op);
  }
  void Start(int slot, std::string_view what, void* data, int64_t count, DType dtype, ReduceOp op,
             ReduceOrder /*order*/) override {
    Reduce(ModelledKind::kStart, slot, what, data, count, dtype, op);
  }
  void Wait(int slot) override { Write({ModelledKind::kWait, "", 0, slot, Now()}); }

  void ReduceScatter(std::string_view what, const void* blocks, void* out, int64_t count,
                     DType dtype, ReduceOp op, ReduceOrder /*order*/) override {
    const int64_t begin = Now();
    if (out != blocks && count > 0) {
      std::memcpy(out, blocks, static_cast<size_t>(count * SizeOf(dtype)));
    }
    if (op == ReduceOp::kSum) Multiply(out, count, dtype, size_);
    Write({ModelledKind::kReduceScatter, std::string(what), count * SizeOf(dtype) * size_, -1,
           begin});
  }
  void AllGather(std::string_view what, void* data, int64_t bytes) override {
    const int64_t begin = Now();
    auto* const at = static_cast<char*>(data);
    for (int64_t r = 1; bytes > 0 && r < size_; ++r) {
      std::memcpy(at + r * bytes, at, static_cast<size_t>(bytes));
    }
    Write({ModelledKind::kAllGather, std::string(what), bytes * size_, -1, begin});
  }
  void Broadcast(std::string_view what, void* /*data*/, int64_t bytes, int root) override {
    OSTRIA_CHECK(root >= 0 && root < size_);
    Write({ModelledKind::kBroadcast, std::string(what), bytes, -1, Now()});
  }
  void Barrier(std::string_view what) override {
    Write({ModelledKind::kBarrier, std::string(what), 0, -1, Now()});
  }

  void Abort(const std::string& /*why*/) override {}  // nobody else waits
  void set_timeout(std::chrono::milliseconds /*timeout*/) override {}

 private:
  void Reduce(ModelledKind kind, int slot, std::string_view what, void* data, int64_t count,
              DType dtype, ReduceOp op) {
    const int64_t begin = Now();
    if (op == ReduceOp::kSum) Multiply(data, count, dtype, size_);
    Write({kind, std::string(what), count * SizeOf(dtype), slot, begin});
  }
  void Write(ModelledCall call) { log_->Add(std::move(call)); }

  const int size_;
  const std::shared_ptr<CallLog> log_;
};

}  // namespace

std::string_view ToString(ModelledKind kind) {
  switch (kind) {
    case ModelledKind::kAllReduce: return "all_reduce";
    case ModelledKind::kReduceScatter: return "reduce_scatter";
    case ModelledKind::kAllGather: return "all_gather";
    case ModelledKind::kBroadcast: return "broadcast";
    case ModelledKind::kBarrier: return "barrier";
    case ModelledKind::kStart: return "start";
    case ModelledKind::kWait: return "wait";
  }
  return "?";
}

void CallLog::Add(ModelledCall call) {
  std::lock_guard lock(mutex_);
  const ModelledKind kind = call.kind;
  if (kind == ModelledKind::kAllReduce || kind == ModelledKind::kStart ||
      kind == ModelledKind::kReduceScatter) {
    reduced_bytes_ += call.bytes;
  }
  calls_.push_back(std::move(call));
  calls_.back().end = Now();  // writing it down is no work of the program
}

std::vector<ModelledCall> CallLog::Calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

int64_t CallLog::reduced_bytes() const {
  std::lock_guard lock(mutex_);
  return reduced_bytes_;
}

std::unique_ptr<Communicator> MakeModelled(int size, std::shared_ptr<CallLog> log) {
  OSTRIA_CHECK(size >= 1 && log != nullptr);
  return std::make_unique<Modelled>(size, std::move(log));
}

}  // namespace ostria
