// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn/handle.h"

#include <map>
#include <mutex>

namespace ostria::cuda {

std::shared_ptr<CudnnHandle> CudnnHandle::Of(const CudaStream& stream) {
  static std::mutex mutex;
  static auto* const handles = new std::map<CUstream, std::weak_ptr<CudnnHandle>>;
  std::lock_guard lock(mutex);
  std::weak_ptr<CudnnHandle>& known = (*handles)[stream.handle()];
  std::shared_ptr<CudnnHandle> handle = known.lock();
  if (handle == nullptr) {
    stream.cuda().MakeCurrent();
    known = handle = std::shared_ptr<CudnnHandle>(new CudnnHandle(stream.handle()));
  }
  return handle;
}

CudnnHandle::CudnnHandle(CUstream stream) {
  CheckCudnn(Cudnn().cudnnCreate(&raw_), "making a handle");
  const cudnnStatus_t status = Cudnn().cudnnSetStream(raw_, stream);
  if (status != CUDNN_STATUS_SUCCESS) Cudnn().cudnnDestroy(raw_);
  CheckCudnn(status, "choosing a stream");
}

}  // namespace ostria::cuda
