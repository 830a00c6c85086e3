// SPDX-License-Identifier: Apache-2.0
// cuDNN's backend interface for the fake driver: stores what descriptors are given, offers two
// engines for every graph, and runs graphs by the loops of cudnn_math.cpp. The text of a plan is
// its engine and its graph, so that it can be kept and loaded like a real one.
// OSTRIA_FAKE_CUDNN_FAILS="0 1": plans of these engines can be built and fail when they run.
#include <cudnn.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>

#include "fake_cuda/cudnn.h"
#include "fake_cuda/cudnn_array.h"
#include "fake_cuda/cudnn_context.h"
#include "fake_cuda/cudnn_descriptor.h"
#include "fake_cuda/enqueue.h"

using fake_cudnn::Attribute;
using fake_cudnn::Descriptor;
using fake_cudnn::DescriptorPtr;

namespace {

constexpr int kGraphOfConfig = -1, kEngine = -2;
constexpr int64_t kWorkspace = 256;

std::mutex mutex;
std::map<void*, DescriptorPtr> alive;
thread_local std::string last_error;

cudnnStatus_t Bad(const std::string& why) {
  last_error = why;
  return CUDNN_STATUS_BAD_PARAM;
}

DescriptorPtr Find(void* raw) {
  const std::lock_guard lock(mutex);
  const auto it = alive.find(raw);
  return it == alive.end() ? nullptr : it->second;
}

// Of the tensors of a graph that go by value.
void CopyNumbers(const Descriptor& d, const std::map<int64_t, void*>& addresses,
                 std::map<int64_t, std::array<char, 8>>* numbers) {
  if (d.Has(CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {
    const auto uid = d.One<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const auto type = d.One<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
    const auto it = addresses.find(uid);
    if (it == addresses.end()) return;
    fake_cudnn::WithType(
        type, [&]<class T>(T) { std::memcpy((*numbers)[uid].data(), it->second, sizeof(T)); });
    return;
  }
  for (const auto& [name, attribute] : d.attributes) {
    for (const DescriptorPtr& part : attribute.parts) CopyNumbers(*part, addresses, numbers);
  }
}

size_t SizeOf(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR: return 8;
    case CUDNN_TYPE_FRACTION: return sizeof(cudnnFraction_t);
    default: return 4;  // enumerations, int32 and float
  }
}

void Write(std::ostream& out, const Descriptor& d) {
  out << d.type << ' ' << d.attributes.size() << ' ';
  for (const auto& [name, a] : d.attributes) {
    out << name << ' ' << a.type << ' ' << a.count << ' ' << a.bytes.size() << ' ' << a.parts.size()
        << ' ';
    for (const char c : a.bytes) out << static_cast<int>(static_cast<unsigned char>(c)) << ' ';
    for (const DescriptorPtr& part : a.parts) Write(out, *part);
  }
}

DescriptorPtr Read(std::istream& in) {
  auto d = std::make_shared<Descriptor>();
  d->finalized = true;
  int type = 0;
  size_t count = 0;
  if (!(in >> type >> count)) return nullptr;
  d->type = static_cast<cudnnBackendDescriptorType_t>(type);
  while (count-- > 0) {
    int name = 0;
    size_t bytes = 0, parts = 0;
    Attribute a;
    if (!(in >> name >> type >> a.count >> bytes >> parts)) return nullptr;
    a.type = static_cast<cudnnBackendAttributeType_t>(type);
    for (int byte = 0; bytes-- > 0;) {
      in >> byte;
      a.bytes.push_back(static_cast<char>(byte));
    }
    while (parts-- > 0) {
      a.parts.push_back(Read(in));
      if (a.parts.back() == nullptr) return nullptr;
    }
    d->attributes[name] = std::move(a);
  }
  return d;
}

void SetEngine(Descriptor* d, int64_t engine) {
  Attribute& a = d->attributes[kEngine];
  a.type = CUDNN_TYPE_INT64;
  a.count = 1;
  a.bytes.assign(reinterpret_cast<const char*>(&engine),
                 reinterpret_cast<const char*>(&engine) + sizeof engine);
}

std::atomic<int64_t> failures{0};

bool Fails(int64_t engine) {
  const char* engines = std::getenv("OSTRIA_FAKE_CUDNN_FAILS");
  std::istringstream in(engines == nullptr ? "" : engines);
  for (int64_t failing = 0; in >> failing;) {
    if (failing == engine) return ++failures > 0;
  }
  return false;
}

void Give(void* into, int64_t capacity, int64_t* count, const void* from, size_t size,
          int64_t available) {
  *count = available;
  if (into != nullptr) {
    std::memcpy(into, from, static_cast<size_t>(std::min(capacity, available)) * size);
  }
}

}  // namespace

extern "C" {

int64_t fake_cudnn_failures() { return failures; }

// Of no release, so that nothing it is asked to keep is given to the real one.
size_t cudnnGetVersion() { return 99999; }
const char* cudnnGetErrorString(cudnnStatus_t) { return "an error of the fake cuDNN"; }
void cudnnGetLastErrorString(char* text, size_t size) {
  std::strncpy(text, last_error.c_str(), size - 1);
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* raw) {
  auto d = std::make_shared<Descriptor>();
  d->type = type;
  *raw = d.get();
  const std::lock_guard lock(mutex);
  alive[d.get()] = d;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t raw) {
  const std::lock_guard lock(mutex);
  return alive.erase(raw) == 1 ? CUDNN_STATUS_SUCCESS : Bad("no such descriptor");
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t raw,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void* values) {
  const DescriptorPtr d = Find(raw);
  if (d == nullptr || d->finalized) return Bad("the descriptor is unknown or finalized");
  Attribute a;
  a.type = type;
  a.count = count;
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    for (int64_t i = 0; i < count; ++i) {
      const DescriptorPtr part = Find(static_cast<void* const*>(values)[i]);
      if (part == nullptr || !part->finalized) return Bad("a part is not finalized");
      a.parts.push_back(part);
    }
  } else {
    const auto* bytes = static_cast<const char*>(values);
    a.bytes.assign(bytes, bytes + static_cast<size_t>(count) * SizeOf(type));
  }
  d->attributes[name] = std::move(a);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t raw) {
  const DescriptorPtr d = Find(raw);
  if (d == nullptr || d->finalized) return Bad("the descriptor is unknown or finalized");
  if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    DescriptorPtr graph;
    if (d->Has(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION)) {
      const auto text = d->List<char>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
      std::istringstream in(std::string(text.begin(), text.end()));
      int64_t engine = 0;
      in >> engine;
      SetEngine(d.get(), engine);
      graph = Read(in);
      if (graph == nullptr) return Bad("the plan's text is damaged");
    } else {
      const Descriptor& config = d->Part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
      SetEngine(d.get(), config.One<int64_t>(kEngine));
      graph = config.attributes.at(kGraphOfConfig).parts[0];
    }
    d->attributes[kGraphOfConfig].parts = {graph};
  } else if (!fake_cudnn::Fits(*d)) {
    return Bad("the shapes of the operation do not fit");
  }
  d->finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t raw,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t capacity,
                                       int64_t* count, void* values) {
  const DescriptorPtr d = Find(raw);
  if (d == nullptr) return Bad("no such descriptor");
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
      *count =
          d->One<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_A ? 2 : 0;
      for (int64_t i = 0; values != nullptr && i < std::min(capacity, *count); ++i) {
        const DescriptorPtr config = Find(static_cast<void**>(values)[i]);
        config->attributes[kGraphOfConfig] =
            d->attributes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        SetEngine(config.get(), i);
        config->finalized = true;
      }
      break;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      *count = 1;
      SetEngine(Find(*static_cast<void**>(values)).get(), d->One<int64_t>(kEngine));
      break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX: {
      const auto engine = d->One<int64_t>(kEngine);
      Give(values, capacity, count, &engine, 8, 1);
      break;
    }
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE: *count = 0; break;
    case CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE:
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      Give(values, capacity, count, &kWorkspace, 8, 1);
      break;
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION: {
      std::ostringstream out;
      out << d->One<int64_t>(kEngine) << ' ';
      Write(out, d->Part(kGraphOfConfig));
      const std::string text = out.str();
      Give(values, capacity, count, text.data(), 1, static_cast<int64_t>(text.size()));
      break;
    }
    default: return Bad("an attribute that the fake does not know");
  }
  return CUDNN_STATUS_SUCCESS;
}

// What goes by value is read by the call: the caller's numbers may be gone when the work runs.
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  const DescriptorPtr p = Find(plan), v = Find(pack);
  if (p == nullptr || v == nullptr || !p->finalized || !v->finalized) return Bad("not finalized");
  if (!p->Has(CUDNN_ATTR_EXECUTION_PLAN_HANDLE)) return Bad("the plan has no handle");
  if (Fails(p->One<int64_t>(kEngine))) {
    last_error = "this engine is to fail";
    return CUDNN_STATUS_EXECUTION_FAILED;
  }
  const auto uids = v->List<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = v->List<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  auto* const workspace = v->One<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (uids.size() != pointers.size() || workspace == nullptr) return Bad("pointers are missing");
  std::map<int64_t, void*> addresses;
  for (size_t i = 0; i < uids.size(); ++i) addresses[uids[i]] = pointers[i];
  const DescriptorPtr graph = p->attributes.at(kGraphOfConfig).parts[0];
  const auto numbers = std::make_shared<std::map<int64_t, std::array<char, 8>>>();
  CopyNumbers(*graph, addresses, numbers.get());
  for (auto& [uid, number] : *numbers) addresses[uid] = number.data();
  // `numbers` is kept for `addresses`, some of which are its elements.
  const CUresult result =
      fake_cuda::Enqueue(handle->stream, [workspace, graph, addresses, numbers] {
        std::memset(workspace, 0xff, kWorkspace);
        if (!fake_cudnn::Run(*graph, addresses)) std::abort();
      });
  return result == CUDA_SUCCESS ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
