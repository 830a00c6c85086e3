// SPDX-License-Identifier: Apache-2.0
// One GPU: its primary context, its properties and memory, the kernels loaded into it and its
// streams. A device that nobody asked for is never touched.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/libraries/driver.h"
#include "backend/cuda/memory.h"

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
  /// A device that was asked for already, else the first: for what belongs to all of them.
  static CudaDevice& Any();
  /// False in a process that was forked from one that used CUDA.
  static bool Usable();

  int ordinal() const { return ordinal_; }
  const DeviceProps& props() const { return props_; }
  CUdevice handle() const { return handle_; }
  size_t total_memory() const { return total_memory_; }
  MemoryPool& memory() { return *memory_; }

  /// Makes the primary context current for the calling thread. Throws Error(kDeviceUnavailable) in
  /// a forked process.
  void MakeCurrent() const;

  // Streams of this device, so that blocking calls know what they have to wait for:
  void AddStream(CUstream stream);
  void RemoveStream(CUstream stream);
  /// An event made with `flags`, one that was given back where there is one: a step of a replay
  /// makes none anew.
  CUevent TakeEvent(unsigned flags);
  void GiveEvent(CUevent event, unsigned flags);
  /// Held while a stream begins or joins a capture.
  std::mutex& stream_mutex() { return stream_mutex_; }
  /// The host waits for all streams that do not capture.
  CUresult SettleOrFail();

  // Blocking, after everything that is in the streams:
  void CopyToDevice(void* dst, const void* src, size_t bytes);
  void CopyToHost(void* dst, const void* src, size_t bytes);
  /// Sets bytes of memory that no stream uses yet to zero.
  void Clear(void* dst, size_t bytes);

  /// Function `function` of kernels/<file>.cu, loaded when first asked for.
  CUfunction Kernel(std::string_view file, std::string_view function);
  /// Function of a module that was compiled at run time; `cubin` is loaded once per `name`, which
  /// no other content has.
  CUfunction Generated(std::string_view name, std::string_view cubin, std::string_view function);
  /// The device address of the word that kernels report bad data in: pinned, one per device.
  DataErrorWord* data_error() const { return data_error_; }
  DataError TakeDataError();
  /// From now on TakeDataError says that what the device holds is lost, and `why`: the first one.
  void Lose(const std::string& why);

  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

 private:
  explicit CudaDevice(int ordinal);
  void Serve(CUresult (*enqueue)(CUstream, void*, const void*, size_t), void* dst, const void* src,
             size_t bytes, const char* what);
  CUfunction FunctionOf(const std::string& module, std::string_view image,
                        std::string_view function);

  int ordinal_ = 0;
  CUdevice handle_ = 0;
  CUcontext context_ = nullptr;
  DeviceProps props_;
  size_t total_memory_ = 0;
  std::unique_ptr<MemoryPool> memory_;
  std::mutex stream_mutex_;
  std::set<CUstream> streams_;
  std::mutex events_mutex_;
  std::unordered_map<unsigned, std::vector<CUevent>> events_;  // given back, by their flags
  std::mutex service_mutex_;
  CUstream service_ = nullptr;  // of the blocking calls; used under service_mutex_
  std::mutex mutex_;            // guards the maps
  std::unordered_map<std::string, CUmodule> modules_;
  std::unordered_map<std::string, CUfunction> functions_;
  std::atomic<bool> is_lost_{false};
  std::mutex lost_mutex_;                     // never held while anything waits for the device
  std::string lost_;                          // under lost_mutex_
  DataErrorWord* data_error_ = nullptr;       // as the device sees it
  DataErrorWord* data_error_host_ = nullptr;  // the same memory
};

}  // namespace ostria::cuda
