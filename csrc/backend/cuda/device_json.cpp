// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device_json.h"

#include <cstdint>

namespace ostria::cuda {
namespace {

struct Number {
  std::string_view name;
  CUdevice_attribute attribute;
  int h100;
};
constexpr Number kNumbers[] = {
    {"regsPerBlock", CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {"multiProcessorCount", CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
    {"warpSize", CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {"maxSharedMemoryPerBlock", CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
    {"maxSharedMemoryPerBlockOptin", CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 232448},
    {"reservedSharedMemoryPerBlock", CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 1024},
    {"maxRegistersPerSM", CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
    {"maxCtasPerSM", CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, 32},
    {"maxThreadsPerBlock", CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {"maxThreadsPerSM", CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
    {"isTccDriver", CU_DEVICE_ATTRIBUTE_TCC_DRIVER, 0},
    {"supportCoopLaunch", CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
    {"smClockRateKHz", CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1980000},
    {"memClockRateKHz", CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2619000},
    {"l2CacheSize", CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 52428800},
};

// Which device of its machine it is makes no difference to a plan, so both ids are 0.
template <class NumberOf>
std::string Json(std::string_view name, int version, int driver, uint64_t memory,
                 NumberOf number_of) {
  std::string out =
      "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
      "\"pciDeviceId\":0,\"cudaDeviceId\":0";
  for (const Number& n : kNumbers) out += StrCat(",\"", n.name, "\":", number_of(n));
  out += StrCat(",\"deviceName\":\"", name, "\",\"deviceVer\":", version, ",\"driverVer\":", driver,
                ",\"driverVersion\":", driver, ",\"totalGlobalMem\":", memory, "}");
  return out;
}

int Attribute(CUdevice device, CUdevice_attribute attribute) {
  int value = 0;
  CheckDriver(Driver().cuDeviceGetAttribute(&value, attribute, device), "reading a property");
  return value;
}

}  // namespace

std::string DeviceJson(CUdevice device) {
  char name[256] = {};
  CheckDriver(Driver().cuDeviceGetName(name, sizeof name, device), "reading a name");
  int driver = 0;
  CheckDriver(Driver().cuDriverGetVersion(&driver), "reading the driver's version");
  size_t memory = 0;
  CheckDriver(Driver().cuDeviceTotalMem(&memory, device), "reading the size of memory");
  const int version = 100 * Attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                      10 * Attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  return Json(name, version, driver, memory,
              [&](const Number& n) { return Attribute(device, n.attribute); });
}

std::string DeviceJson(const DeviceProps& props) {
  if (!props.description.empty()) return props.description;
  const auto given = [&](const Number& n) -> int64_t {
    switch (n.attribute) {
      case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return props.multiprocessors;
      case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return props.shared_bytes;
      case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return props.l2_bytes;
      default: return 0;
    }
  };
  return Json("NVIDIA H100 80GB HBM3", 10 * props.compute_capability, 13000, 85029158912u,
              [&](const Number& n) { return given(n) > 0 ? given(n) : int64_t{n.h100}; });
}

}  // namespace ostria::cuda
