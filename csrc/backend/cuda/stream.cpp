// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/stream.h"

#include <mutex>

#include "base/check.h"

namespace ostria::cuda {
namespace {

class CudaEvent final : public Event {
 public:
  CudaEvent(CudaDevice& device, unsigned flags)
      : device_(device), flags_(flags), handle_(device.TakeEvent(flags)) {}
  ~CudaEvent() override { device_.GiveEvent(handle_, flags_); }
  bool Done() const override {
    const OutsideCapture outside;  // this thread may capture meanwhile
    const CUresult result = Driver().cuEventQuery(handle_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    CheckDriver(result, "a step");
    return true;
  }
  void Wait() const override {
    device_.MakeCurrent();
    const OutsideCapture outside;
    CheckDriver(Driver().cuEventSynchronize(handle_), "a step");
  }
  double SecondsSince(const Event& earlier) const override {
    float milliseconds = 0;
    CheckDriver(Driver().cuEventElapsedTime(
                    &milliseconds, static_cast<const CudaEvent&>(earlier).handle_, handle_),
                "reading a time");
    return 1e-3 * static_cast<double>(milliseconds);
  }
  CUevent handle() const { return handle_; }

 private:
  CudaDevice& device_;
  const unsigned flags_;
  CUevent handle_ = nullptr;
};

class CudaRecording final : public Recording {
 public:
  CudaRecording(CUgraph graph, const CudaStream& stream) : graph_(graph, Driver().cuGraphDestroy) {
    CheckDriver(Driver().cuGraphGetNodes(graph, nullptr, &num_nodes_), "a captured step");
    CUgraphExec exec = nullptr;
    CheckDriver(Driver().cuGraphInstantiate(&exec, graph, 0), "instantiating a captured step");
    exec_.reset(exec);
    CheckDriver(Driver().cuGraphUpload(exec, stream.handle()), "uploading a captured step");
  }
  void Launch(Stream& stream) const override {
    NoteReplay(num_nodes_);
    CheckDriver(Driver().cuGraphLaunch(exec_.get(), static_cast<CudaStream&>(stream).handle()),
                "launching a captured step");
  }
  int64_t num_nodes() const override { return static_cast<int64_t>(num_nodes_); }

 private:
  // Freed too where the constructor throws.
  std::unique_ptr<CUgraph_st, CUresult (*)(CUgraph)> graph_;
  std::unique_ptr<CUgraphExec_st, CUresult (*)(CUgraphExec)> exec_{nullptr,
                                                                   Driver().cuGraphExecDestroy};
  size_t num_nodes_ = 0;
};

CUdeviceptr Ptr(const void* p) { return reinterpret_cast<CUdeviceptr>(p); }

}  // namespace

CudaStream::CudaStream(CudaDevice& device) : device_(device) {
  device_.MakeCurrent();
  CheckDriver(Driver().cuStreamCreateWithPriority(&handle_, CU_STREAM_NON_BLOCKING, 0),
              "making a stream");
  device_.AddStream(handle_);
}

CudaStream::~CudaStream() {
  kept_.clear();
  device_.RemoveStream(handle_);
  Driver().cuStreamDestroy(handle_);  // its work goes on
}

DeviceId CudaStream::device() const {
  return {DeviceKind::kCuda, static_cast<int16_t>(device_.ordinal())};
}

void CudaStream::CopyToDevice(void* dst, const void* src, size_t bytes) {
  CheckDriver(Driver().cuMemcpyHtoDAsync(Ptr(dst), src, bytes, handle_), "copying to the device");
}
void CudaStream::CopyToHost(void* dst, const void* src, size_t bytes) {
  CheckDriver(Driver().cuMemcpyDtoHAsync(dst, Ptr(src), bytes, handle_), "copying to the host");
}
void CudaStream::CopyOnDevice(void* dst, const void* src, size_t bytes) {
  CheckDriver(Driver().cuMemcpyDtoDAsync(Ptr(dst), Ptr(src), bytes, handle_), "copying");
}

std::shared_ptr<const Event> CudaStream::Record() { return RecordEvent(CU_EVENT_DISABLE_TIMING); }
std::shared_ptr<const Event> CudaStream::RecordTime() { return RecordEvent(CU_EVENT_DEFAULT); }

std::shared_ptr<const Event> CudaStream::RecordEvent(unsigned flags) {
  auto event = std::make_shared<CudaEvent>(device_, flags);
  CheckDriver(Driver().cuEventRecord(event->handle(), handle_), "recording an event");
  return event;
}

void CudaStream::WaitFor(const Event& event) {
  std::lock_guard lock(device_.stream_mutex());
  CheckDriver(Driver().cuStreamWaitEvent(handle_, static_cast<const CudaEvent&>(event).handle(), 0),
              "waiting for an event");
}

void CudaStream::HoldBack(uintptr_t other) {
  const auto done = Record();
  CheckDriver(Driver().cuStreamWaitEvent(reinterpret_cast<CUstream>(other),
                                         static_cast<const CudaEvent&>(*done).handle(), 0),
              "making a stream of another library wait");
}

void CudaStream::Synchronize() {
  device_.MakeCurrent();
  CheckDriver(Driver().cuStreamSynchronize(handle_), "waiting for the device");
}

DataError CudaStream::TakeDataError() { return device_.TakeDataError(); }

void CudaStream::BeginCapture() {
  std::lock_guard lock(device_.stream_mutex());
  CheckDriver(Driver().cuStreamBeginCapture(handle_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
              "beginning to capture");
}

std::unique_ptr<Recording> CudaStream::EndCapture() {
  CUgraph graph = nullptr;
  CheckDriver(Driver().cuStreamEndCapture(handle_, &graph), "ending to capture");
  return std::make_unique<CudaRecording>(graph, *this);
}

}  // namespace ostria::cuda
