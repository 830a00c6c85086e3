// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/properties.h"

#include "backend/cuda/device.h"
#include "backend/cuda/launch/embedded.h"
#include "backend/cuda/libraries/cublaslt.h"
#include "backend/cuda/libraries/cudnn.h"
#include "backend/cuda/libraries/nccl.h"
#include "backend/cuda/libraries/nvrtc.h"

namespace ostria::cuda {
namespace {

int64_t Attribute(CUdevice device, CUdevice_attribute attribute) {
  int value = 0;
  CheckDriver(Driver().cuDeviceGetAttribute(&value, attribute, device), "reading a property");
  return value;
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

struct Property {
  const char* key;
  CUdevice_attribute attribute;
};
constexpr Property kProperties[] = {
    {"regsPerBlock", CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK},
    {"multiProcessorCount", CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT},
    {"warpSize", CU_DEVICE_ATTRIBUTE_WARP_SIZE},
    {"maxSharedMemoryPerBlock", CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK},
    {"maxSharedMemoryPerBlockOptin", CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN},
    {"reservedSharedMemoryPerBlock", CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK},
    {"maxRegistersPerSM", CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR},
    {"maxCtasPerSM", CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR},
    {"maxThreadsPerBlock", CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK},
    {"maxThreadsPerSM", CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR},
    {"isTccDriver", CU_DEVICE_ATTRIBUTE_TCC_DRIVER},
    {"supportCoopLaunch", CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH},
    {"smClockRateKHz", CU_DEVICE_ATTRIBUTE_CLOCK_RATE},
    {"memClockRateKHz", CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE},
    {"l2CacheSize", CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE},
};

std::string Description(CUdevice device, const std::string& name, int capability) {
  const auto dimensions = [&](CUdevice_attribute x, CUdevice_attribute y, CUdevice_attribute z) {
    return StrCat("[", Attribute(device, x), ",", Attribute(device, y), ",", Attribute(device, z),
                  "]");
  };
  std::string out =
      StrCat("{\"maxGridSize\":",
             dimensions(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
                        CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z),
             ",\"maxBlockSize\":",
             dimensions(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y,
                        CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z));
  for (const Property& p : kProperties) {
    out += StrCat(",\"", p.key, "\":", Attribute(device, p.attribute));
  }
  int driver = 0;
  size_t bytes = 0;
  CheckDriver(Driver().cuDriverGetVersion(&driver), "reading the driver's version");
  CheckDriver(Driver().cuDeviceTotalMem(&bytes, device), "reading the size of memory");
  // Where it sits is left at 0: plans are made for a kind of device, and two of a kind share them.
  return StrCat(out, ",\"deviceName\":", Quoted(name), ",\"deviceVer\":", 10 * capability,
                ",\"driverVer\":", driver, ",\"driverVersion\":", driver,
                ",\"pciDeviceId\":0,\"cudaDeviceId\":0,\"totalGlobalMem\":", bytes, "}");
}

int Capability(CUdevice device) {
  return static_cast<int>(10 * Attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                          Attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
}

std::string Dotted(int capability) { return StrCat(capability / 10, ".", capability % 10); }

// Code for x.y runs on x.z with z at least y.
bool Runs(int compiled, int capability) {
  return compiled / 10 == capability / 10 && compiled <= capability;
}

std::string Compiled() {
  return Join(EmbeddedArchitectures(), ", ", [](int a) { return Dotted(a); });
}

}  // namespace

std::string MarketingName(CUdevice device) {
  char name[256] = {};
  CheckDriver(Driver().cuDeviceGetName(name, sizeof name, device), "reading a name");
  return name;
}

DeviceProps ReadProperties(CUdevice device) {
  DeviceProps props;
  props.kind = DeviceKind::kCuda;
  props.compute_capability = Capability(device);
  props.name = StrCat("cuda:sm_", props.compute_capability);
  props.multiprocessors =
      static_cast<int>(Attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  props.shared_bytes = Attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  props.l2_bytes = Attribute(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  props.description = Description(device, MarketingName(device), props.compute_capability);
  return props;
}

void ReadOptions(DeviceProps* props) {
  props->deterministic = Environment("OSTRIA_AUTOTUNE") != "1";
  props->tf32 = Environment("OSTRIA_TF32") == "1";
}

void CheckArchitecture(int ordinal, CUdevice device) {
  const int capability = Capability(device);
  for (const int compiled : EmbeddedArchitectures()) {
    if (Runs(compiled, capability)) return;
  }
  Fail(ErrorCode::kDeviceUnavailable, "device 'cuda:", ordinal, "' (", MarketingName(device),
       ") has compute capability ", Dotted(capability), ", and the kernels of this build are for ",
       Compiled(), "; build with -DOSTRIA_CUDA_ARCHITECTURES=", capability,
       ", or install a release for this GPU");
}

namespace {

using State = Diagnosis::State;

// One part of what works, or why it does not.
template <class Text>
Diagnosis Part(std::string title, State otherwise, const Text& text) {
  Diagnosis d;
  d.title = std::move(title);
  try {
    d.text = text();
  } catch (const std::exception& e) {
    d.text = e.what();
    d.state = otherwise;
  }
  return d;
}

template <class Table>
Diagnosis LibraryPart(const LibraryName& name, const Table& table) {
  const int parts = name.package.empty() ? 2 : 3;
  Diagnosis d = Part(std::string(name.what), State::kMissing, [&] {
    static_cast<void>(table());
    return std::string();
  });
  d.needed = NeededText(name);
  for (const LoadedLibrary& l : LoadedLibraries()) {
    if (l.what != name.what || (l.refused && !d.path.empty())) continue;
    d.path = l.path;
    d.found = l.version < 0 ? std::string() : VersionText(l.version, parts);
    if (d.state == State::kMissing) d.state = State::kBroken;
  }
  if (d.state == State::kWorks) d.text = StrCat(d.found, " in ", d.path);
  return d;
}

std::string DeviceText(int ordinal) {  // without a context, which would take memory
  CUdevice device = 0;
  size_t bytes = 0;
  CheckDriver(Driver().cuDeviceGet(&device, ordinal), "opening a device");
  CheckDriver(Driver().cuDeviceTotalMem(&bytes, device), "reading the size of memory");
  CheckArchitecture(ordinal, device);
  return StrCat(MarketingName(device), ", compute capability ", Dotted(Capability(device)), ", ",
                BytesText(bytes), ", ", Attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
                " multiprocessors");
}

}  // namespace

std::vector<Diagnosis> DescribeInstallation() {
  std::vector<Diagnosis> out;
  out.push_back(LibraryPart(kDriverLibrary, Driver));
  const bool driver = out.back().state == State::kWorks;
  out.push_back(LibraryPart(kCublasLtLibrary, CublasLt));
  out.push_back(LibraryPart(kCudnnLibrary, Cudnn));
  out.push_back(LibraryPart(kNvrtcLibrary, Nvrtc));
  out.push_back(LibraryPart(kNcclLibrary, Nccl));
  out.push_back(Part("kernels", State::kBroken, [] {
    return StrCat(AllEmbedded().size(), " files, for compute capability ", Compiled());
  }));
  if (!driver) {
    out.push_back(
        {.title = "devices", .text = "none without the driver", .state = State::kMissing});
    return out;
  }
  int count = 0;
  const bool hidden =
      std::getenv("CUDA_VISIBLE_DEVICES") != nullptr && Environment("CUDA_VISIBLE_DEVICES").empty();
  out.push_back(Part("devices", hidden ? State::kMissing : State::kBroken, [&] {
    count = CudaDevice::Count();
    return StrCat(count);
  }));
  for (int i = 0; i < count; ++i) {
    out.push_back(Part(StrCat("cuda:", i), State::kBroken, [i] { return DeviceText(i); }));
  }
  return out;
}

}  // namespace ostria::cuda
