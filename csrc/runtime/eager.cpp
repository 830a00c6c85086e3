// SPDX-License-Identifier: Apache-2.0
#include "runtime/eager.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>

#include "backend/backend.h"
#include "runtime/executable.h"

namespace ostria {
namespace {

// Direct-mapped: a call that meets another one's entry replaces it.
constexpr size_t kEntries = 2048;

std::atomic<bool> debug{false};

struct Entry {
  const OpDef* op = nullptr;
  DeviceId device;
  std::vector<ValueType> inputs;
  std::vector<Attr> attrs;
  std::unique_ptr<Executable> executable;
};

struct Cache {
  std::vector<Entry> entries{kEntries};
  EagerStats stats;
};

Cache& GetCache() {
  thread_local Cache cache;
  return cache;
}

uint64_t Mix(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 32);
}

uint64_t Hash(DeviceId device, const OpDef& op, std::span<const Tensor> inputs,
              std::span<const Attr> attrs) {
  uint64_t h = reinterpret_cast<uintptr_t>(&op) + static_cast<uint64_t>(device.kind) * 64 +
               static_cast<uint64_t>(device.ordinal);
  for (const Tensor& t : inputs) {
    h = Mix(h, static_cast<uint64_t>(t.dtype()) * 16 + static_cast<uint64_t>(t.shape().rank()));
    for (Dim d : t.shape()) h = Mix(h, static_cast<uint64_t>(d.code()));
  }
  for (const Attr& a : attrs) h = Mix(h, HashAttr(a));
  return h;
}

bool Matches(const Entry& e, DeviceId device, const OpDef& op, std::span<const Tensor> inputs,
             std::span<const Attr> attrs) {
  if (e.op != &op || e.device != device || e.inputs.size() != inputs.size()) return false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (e.inputs[i].dtype != inputs[i].dtype() || !(e.inputs[i].shape == inputs[i].shape())) {
      return false;
    }
  }
  for (size_t i = 0; i < attrs.size(); ++i) {
    if (!SameAttr(e.attrs[i], attrs[i])) return false;
  }
  return true;
}

void Fill(Entry* e, DeviceId device, const OpDef& op, std::span<const Tensor> inputs,
          std::span<const Attr> attrs) {
  e->op = nullptr;  // stays invalid if anything below throws
  e->inputs.clear();
  Graph g;
  std::vector<Value> operands;
  for (const Tensor& t : inputs) {
    e->inputs.push_back({t.dtype(), t.shape()});
    operands.push_back(g.AddInput(StrCat("x", operands.size()), e->inputs.back(), 0));
  }
  e->attrs.assign(attrs.begin(), attrs.end());
  const NodeId n = g.AddNode(op, operands, e->attrs, 0);
  for (int i = 0; i < g.num_results(n); ++i) g.AddOutput(StrCat("y", i), g.result(n, i));
  PlanOptions options;
  options.device = FindBackend(device.kind).Props(device.ordinal);
  options.optimize = std::any_of(attrs.begin(), attrs.end(), [](const Attr& a) {
    return TypeOf(a) == AttrType::kBody;  // one op needs no passes, but a body is many
  });
  e->executable = std::make_unique<Executable>(
      MakePlan(g, options), std::vector<std::shared_ptr<Variable>>{}, device, Launching::kDirect);
  e->device = device;
  e->op = &op;
}

DeviceId FromEnvironment() {
  const char* name = std::getenv("OSTRIA_DEVICE");
  return name == nullptr || *name == '\0' ? DeviceId{} : ParseDevice(name);
}

thread_local DeviceId default_device;
thread_local bool default_known = false;

// Where an op on these inputs runs.
DeviceId DeviceOf(const OpDef& op, std::span<const Tensor> inputs) {
  const Tensor* first = nullptr;
  for (const Tensor& t : inputs) {
    if (t.on_host()) continue;
    if (first != nullptr && t.device() != first->device()) {
      throw Error(
          ErrorCode::kInvalidArgument, std::string(op.name),
          StrCat("its inputs are on ", ToString(first->device()), " and on ", ToString(t.device()),
                 "; all must be on one device; use ost.to_device(x, '", ToString(first->device()),
                 "')"));
    }
    first = &t;
  }
  if (first == nullptr) return GetDefaultDevice();
  if (first->device() == GetDefaultDevice()) return first->device();  // the others go there
  for (const Tensor& t : inputs) {
    if (!t.on_host() || t.numel() <= 1) continue;
    throw Error(ErrorCode::kInvalidArgument, std::string(op.name),
                StrCat("its inputs are on ", ToString(first->device()), " and on cpu (shape ",
                       t.shape(), "); only scalars go along by themselves; use ost.to_device(x, '",
                       ToString(first->device()), "'), or `with ost.device('",
                       ToString(first->device()), "'):`"));
  }
  return first->device();
}

}  // namespace

void RunEager(const OpDef& op, std::span<const Tensor> inputs, std::span<const Attr> attrs,
              std::vector<Tensor>* outputs) {
  RunEagerOn(DeviceOf(op, inputs), op, inputs, attrs, outputs);
}

void RunEagerOn(DeviceId device, const OpDef& op, std::span<const Tensor> inputs,
                std::span<const Attr> attrs, std::vector<Tensor>* outputs) {
  Cache& cache = GetCache();
  Entry& e = cache.entries[Hash(device, op, inputs, attrs) % kEntries];
  if (Matches(e, device, op, inputs, attrs)) {
    ++cache.stats.hits;
  } else {
    ++cache.stats.misses;
    Fill(&e, device, op, inputs, attrs);
  }
  if (debug.load(std::memory_order_relaxed)) {
    e.executable->RunDebug(inputs, outputs);
  } else {
    e.executable->Run(inputs, outputs);
  }
}

DeviceId GetDefaultDevice() {
  if (!default_known) SetDefaultDevice(FromEnvironment());
  return default_device;
}

void SetDefaultDevice(DeviceId device) {
  default_device = device;
  default_known = true;
}

void SetEagerDebug(bool on) { debug = on; }

EagerStats GetEagerStats() { return GetCache().stats; }

}  // namespace ostria
