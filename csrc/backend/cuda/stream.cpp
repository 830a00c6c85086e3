// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/stream.h"

#include "base/check.h"

namespace ostria::cuda {
namespace {

class CudaEvent final : public Event {
 public:
  CudaEvent(const CudaDevice& device, unsigned flags) : device_(device) {
    CheckDriver(Driver().cuEventCreate(&handle_, flags), "making an event");
  }
  ~CudaEvent() override { Driver().cuEventDestroy(handle_); }
  bool Done() const override {
    const CUresult result = Driver().cuEventQuery(handle_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    CheckDriver(result, "a step");
    return true;
  }
  void Wait() const override {
    device_.MakeCurrent();
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
  const CudaDevice& device_;
  CUevent handle_ = nullptr;
};

class CudaRecording final : public Recording {
 public:
  CudaRecording(CUgraph graph, const CudaStream& stream) : graph_(graph) {
    CheckDriver(Driver().cuGraphGetNodes(graph_, nullptr, &num_nodes_), "a captured step");
    CheckDriver(Driver().cuGraphInstantiate(&exec_, graph_, 0), "instantiating a captured step");
    CheckDriver(Driver().cuGraphUpload(exec_, stream.handle()), "uploading a captured step");
  }
  ~CudaRecording() override {
    if (exec_ != nullptr) Driver().cuGraphExecDestroy(exec_);
    Driver().cuGraphDestroy(graph_);
  }
  void Launch(Stream& stream) const override {
    CheckDriver(Driver().cuGraphLaunch(exec_, static_cast<CudaStream&>(stream).handle()),
                "launching a captured step");
  }
  int64_t num_nodes() const override { return static_cast<int64_t>(num_nodes_); }

 private:
  CUgraph graph_ = nullptr;
  CUgraphExec exec_ = nullptr;
  size_t num_nodes_ = 0;
};

CUdeviceptr Ptr(const void* p) { return reinterpret_cast<CUdeviceptr>(p); }

}  // namespace

CudaStream::CudaStream(CudaDevice& device) : device_(device) {
  device_.MakeCurrent();
  CheckDriver(Driver().cuStreamCreateWithPriority(&handle_, CU_STREAM_NON_BLOCKING, 0),
              "making a stream");
}

CudaStream::~CudaStream() {
  if (handle_ != nullptr) Driver().cuStreamDestroy(handle_);
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
  CheckDriver(Driver().cuStreamWaitEvent(handle_, static_cast<const CudaEvent&>(event).handle(), 0),
              "waiting for an event");
}

void CudaStream::Synchronize() {
  device_.MakeCurrent();
  CheckDriver(Driver().cuStreamSynchronize(handle_), "waiting for the device");
}

DataError CudaStream::TakeDataError() { return device_.TakeDataError(); }

void CudaStream::BeginCapture() {
  CheckDriver(Driver().cuStreamBeginCapture(handle_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
              "beginning to capture");
}

std::unique_ptr<Recording> CudaStream::EndCapture() {
  CUgraph graph = nullptr;
  CheckDriver(Driver().cuStreamEndCapture(handle_, &graph), "ending to capture");
  return std::make_unique<CudaRecording>(graph, *this);
}

}  // namespace ostria::cuda
