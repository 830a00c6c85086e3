// SPDX-License-Identifier: Apache-2.0
// One GPU: its primary context, its properties, the kernels loaded into it and its streams. A
// device that nobody asked for is never touched.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "backend/backend.h"
#include "backend/cuda/driver.h"

namespace ostria::kernels {
struct DataErrorWord;  // kernels/common/data_error.h
}

namespace ostria::cuda {

using kernels::DataErrorWord;

/// Grid, block and dynamic shared memory of a launch.
struct LaunchShape {
  unsigned grid[3] = {1, 1, 1};
  unsigned block = 256;
  unsigned shared_bytes = 0;
};

class CudaDevice {
 public:
  /// The device, made when first asked for. Throws Error(kDeviceUnavailable) with what there is.
  static CudaDevice& Get(int ordinal);
  static int Count();

  int ordinal() const { return ordinal_; }
  const DeviceProps& props() const { return props_; }
  CUdevice handle() const { return handle_; }

  /// Makes the primary context current for the calling thread.
  void MakeCurrent() const;
  /// Function `function` of kernels/<file>.cu, loaded when first asked for.
  CUfunction Kernel(std::string_view file, std::string_view function);
  /// Function of a module that was compiled at run time; `cubin` is loaded once per content.
  CUfunction Generated(std::string_view cubin, std::string_view function);
  /// The device address of the word that kernels report bad data in: pinned, one per device.
  DataErrorWord* data_error() const { return data_error_; }
  DataError TakeDataError();

  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

 private:
  explicit CudaDevice(int ordinal);
  CUfunction FunctionOf(const std::string& module, std::string_view image,
                        std::string_view function);

  int ordinal_ = 0;
  CUdevice handle_ = 0;
  CUcontext context_ = nullptr;
  DeviceProps props_;
  std::mutex mutex_;  // guards the maps
  std::unordered_map<std::string, CUmodule> modules_;
  std::unordered_map<std::string, CUfunction> functions_;
  DataErrorWord* data_error_ = nullptr;       // as the device sees it
  DataErrorWord* data_error_host_ = nullptr;  // the same memory
};

}  // namespace ostria::cuda
