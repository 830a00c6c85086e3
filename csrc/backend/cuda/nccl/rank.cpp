// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/nccl/rank.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include "backend/cuda/nccl/group.h"

namespace ostria::cuda {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kNames = 1024;  // more are told apart no longer

// So that a call says something of itself, even where NCCL has no words for it.
std::string Words(ncclComm_t comm, ncclResult_t result) {
  const char* last = Nccl().ncclGetLastError(comm);
  const std::string more = last == nullptr ? "" : last;
  return StrCat(Nccl().ncclGetErrorString(result), more.empty() ? "" : ": ", more);
}

}  // namespace

ncclDataType_t NcclTypeOf(std::string_view what, DType dtype) {
  switch (dtype) {
    case DType::kInt8: return ncclInt8;
    case DType::kUInt8: return ncclUint8;
    case DType::kInt32: return ncclInt32;
    case DType::kUInt32: return ncclUint32;
    case DType::kInt64: return ncclInt64;
    case DType::kUInt64: return ncclUint64;
    case DType::kFloat16: return ncclFloat16;
    case DType::kBFloat16: return ncclBfloat16;
    case DType::kFloat32: return ncclFloat32;
    case DType::kFloat64: return ncclFloat64;
    default:
      throw Error(ErrorCode::kNotImplemented, std::string(what),
                  StrCat("NCCL does not reduce ", ToString(dtype),
                         "; it takes int8, uint8, int32, uint32, int64, uint64, float16, bfloat16, "
                         "float32 and float64; cast before it and back"));
  }
}

ncclRedOp_t NcclOpOf(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return ncclSum;
    case ReduceOp::kMin: return ncclMin;
    case ReduceOp::kMax: return ncclMax;
  }
  return ncclSum;
}

NcclRank::NcclRank(NcclGroup& group, CudaDevice& device, std::unique_ptr<Communicator> host)
    : group_(group), device_(device), host_(std::move(host)), stream_(device), names_{"no call"} {
  std::vector<uint32_t> numbers(kNames);
  std::iota(numbers.begin(), numbers.end(), 0);
  const size_t bytes = kNames * sizeof(uint32_t);
  numbers_ = static_cast<uint32_t*>(device.memory().Allocate(bytes));
  device.CopyToDevice(numbers_, numbers.data(), bytes);
  begun_ = static_cast<volatile uint32_t*>(AllocatePinnedBlock(sizeof(uint32_t)));
  *begun_ = 0;
}

NcclRank::~NcclRank() {
  try {
    stream_.Synchronize();  // its last copy of a number
  } catch (const Error&) {  // of the device: whoever reads a result is told
  }
  FreePinnedBlock(const_cast<uint32_t*>(begun_), sizeof(uint32_t));
  device_.memory().Free(numbers_);
}

std::string NcclRank::Label() const {
  return StrCat("rank ", rank(), " (",
                ToString(DeviceId{DeviceKind::kCuda, static_cast<int16_t>(device_.ordinal())}),
                ")");
}

uint32_t NcclRank::NumberOf(std::string_view what) {
  std::lock_guard lock(names_mutex_);
  const auto it = std::find(names_.begin(), names_.end(), what);
  if (it == names_.end() && names_.size() < kNames) {
    names_.emplace_back(what);
    return static_cast<uint32_t>(names_.size() - 1);
  }
  return static_cast<uint32_t>(std::min<std::ptrdiff_t>(it - names_.begin(), kNames - 1));
}

std::string NcclRank::Begun() {
  std::lock_guard lock(names_mutex_);
  return names_[std::min<size_t>(*begun_, names_.size() - 1)];
}

void NcclRank::Settle(ncclResult_t result, std::string_view what) {
  const auto deadline = Clock::now() + group_.timeout();
  while (result == ncclInProgress) {
    group_.ThrowIfFailed(what);
    if (Clock::now() > deadline) {
      throw Error(ErrorCode::kDistributed, std::string(what),
                  StrCat(Label(), ": NCCL did not take the call within ",
                         static_cast<double>(group_.timeout().count()) / 1000,
                         " s; NCCL_DEBUG=INFO says what it waits for"));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    std::lock_guard lock(use_);
    if (comm_ == nullptr) continue;  // the group has failed
    const ncclResult_t asked = Nccl().ncclCommGetAsyncError(comm_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return;
  group_.ThrowIfFailed(what);
  std::lock_guard lock(use_);
  throw Error(ErrorCode::kDistributed, std::string(what),
              StrCat(Label(), ": NCCL says: ", Words(comm_, result)));
}

std::shared_ptr<const Event> NcclRank::Enqueue(
    CudaStream& stream, std::string_view what,
    FunctionRef<ncclResult_t(ncclComm_t, cudaStream_t)> make) {
  group_.ThrowIfFailed(what);
  stream_.WaitFor(*stream.Record());
  stream_.CopyToHost(const_cast<uint32_t*>(begun_), numbers_ + NumberOf(what), sizeof(uint32_t));
  ncclResult_t result = ncclSuccess;
  {
    std::lock_guard lock(use_);
    if (comm_ != nullptr) {
      const NcclTable& nccl = Nccl();
      nccl.ncclGroupStart();
      result = make(comm_, reinterpret_cast<cudaStream_t>(stream_.handle()));
      const ncclResult_t ended = nccl.ncclGroupEnd();
      if (result == ncclSuccess || result == ncclInProgress) {
        if (ended != ncclSuccess) result = ended;
      }
    }
  }
  Settle(result, what);
  group_.ThrowIfFailed(what);
  return stream_.Record();
}

void NcclRank::Keep(int slot, std::shared_ptr<const Event> done) {
  const auto at = static_cast<size_t>(slot);
  if (at >= slots_.size()) slots_.resize(at + 1);
  slots_[at] = std::move(done);
}

}  // namespace ostria::cuda
