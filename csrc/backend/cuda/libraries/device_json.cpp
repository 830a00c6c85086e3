// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/libraries/device_json.h"

#include <charconv>

namespace ostria::cuda {
namespace {

int64_t NumberOf(const std::string& json, std::string_view key) {
  size_t at = json.find(StrCat("\"", key, "\""));
  if (at != std::string::npos) at = json.find_first_not_of(" \t\n:", at + key.size() + 2);
  int64_t value = 0;
  if (at != std::string::npos) {
    const auto [end, error] = std::from_chars(json.data() + at, json.data() + json.size(), value);
    if (error == std::errc() && value > 0) return value;
  }
  Fail(ErrorCode::kInvalidArgument, "the description of a GPU gives no positive '", key,
       "'; it is an object of numbers in cuDNN's own form, with at least 'deviceVer' "
       "(900 for compute capability 9.0), 'multiProcessorCount', 'maxSharedMemoryPerBlockOptin' "
       "and 'l2CacheSize'; see "
       "tests/data/devices/h100.json");
}

}  // namespace

std::string DeviceJson(const DeviceProps& props) {
  if (!props.description.empty()) return props.description;
  const auto or_else = [](int64_t given, int64_t h100) { return given > 0 ? given : h100; };
  return StrCat(
      R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"pciDeviceId":0,)",
      R"("cudaDeviceId":0,"regsPerBlock":65536,"multiProcessorCount":)",
      or_else(props.multiprocessors, 132),
      R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":)",
      or_else(props.shared_bytes, 232448),
      R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,)",
      R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"isTccDriver":0,"supportCoopLaunch":1,)",
      R"("smClockRateKHz":1980000,"memClockRateKHz":2619000,"l2CacheSize":)",
      or_else(props.l2_bytes, 52428800), R"(,"deviceName":"NVIDIA H100 80GB HBM3","deviceVer":)",
      10 * or_else(props.compute_capability, 90),
      R"(,"driverVer":13000,"driverVersion":13000,"totalGlobalMem":85029158912})");
}

DeviceProps PropsOfJson(const std::string& json) {
  DeviceProps props;
  props.kind = DeviceKind::kCuda;
  props.compute_capability = static_cast<int>(NumberOf(json, "deviceVer") / 10);
  props.name = StrCat("cuda:sm_", props.compute_capability);
  props.multiprocessors = static_cast<int>(NumberOf(json, "multiProcessorCount"));
  props.shared_bytes = NumberOf(json, "maxSharedMemoryPerBlockOptin");
  props.l2_bytes = NumberOf(json, "l2CacheSize");
  props.description = json;
  return props;
}

}  // namespace ostria::cuda
