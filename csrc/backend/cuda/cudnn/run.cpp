// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn/run.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "backend/cuda/cache/cache_folder.h"
#include "backend/cuda/cache/content_hash.h"
#include "backend/cuda/cache/timing.h"
#include "backend/cuda/cudnn/descriptors.h"
#include "backend/cuda/cudnn/handle.h"
#include "backend/cuda/cudnn/plan.h"
#include "backend/cuda/libraries/device_json.h"
#include "backend/cuda/ops/kernels.h"
#include "backend/cuda/stream.h"
#include "core/tensor.h"

namespace ostria::cuda {
namespace {

PlanOptions OptionsOf(const NodeDesc& node, const CudnnNode& described) {
  return {.deterministic = node.device->deterministic,
          .tf32 = node.device->tf32,
          .workspace_limit = described.workspace_limit};
}

constexpr int kPlansToTime = 4;
constexpr int64_t kAlignment = 16;  // of operands, bytes; as GraphTensor's

struct CudnnState : KernelState {
  CudnnNode node;
  std::string device_json;
  PlanOptions options;
  std::shared_ptr<const CudnnPlan> plan;
  std::vector<std::pair<int64_t, int64_t>> scratch;  // uid and offset in the workspace
  std::shared_ptr<Launches> before, after;           // of kernels that use some of that, or null
  std::vector<std::string> LaunchNames() const override {
    std::vector<std::string> names;
    if (before != nullptr) names = before->LaunchNames();
    names.push_back(StrCat("cudnn ", Name(node.graph.nodes()[0].op), " ",
                           HashOf(node.graph.Text()).Hex().substr(0, 12)));
    if (after != nullptr) {
      for (std::string& name : after->LaunchNames()) names.push_back(std::move(name));
    }
    return names;
  }
};

bool Contains(const std::vector<int64_t>& values, int64_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

int64_t BytesOf(const GraphTensor& t) {
  int64_t last = 0;
  for (size_t i = 0; i < t.sizes.size(); ++i) last += (t.sizes[i] - 1) * t.strides[i];
  return (last + 1) * SizeOf(t.dtype);
}

// A plan that is ready to run.
struct Way {
  CudnnGraph graph;
  CudnnPlan plan;
  std::unique_ptr<Descriptor> loaded;
  std::shared_ptr<void> workspace;  // the engine's, where the planned one is too small
};

// Bound to a stream, and so used by one thread at a time.
struct BoundCudnn : KernelState {
  std::shared_ptr<const CudnnState> state;
  std::unique_ptr<KernelState> before, after;
  std::shared_ptr<CudnnHandle> handle;
  std::unique_ptr<Way> way;
  std::unique_ptr<Way> unaligned;  // where operands may lie anywhere
  std::vector<int64_t> uids;       // operands, then scratch, then what goes by value
  std::vector<size_t> operand;     // which of launch's pointers each is,
  std::vector<int64_t> offset;     // and how far behind it, in bytes
  std::vector<Tensor> values;      // the numbers that go by value
  mutable std::vector<void*> pointers;
  mutable void *planned = nullptr, *workspace = nullptr;
  mutable std::unique_ptr<Descriptor> pack;  // of these pointers and this workspace
};

void Run(const BoundCudnn& s, const Way& way, void* const* ptrs) {
  void* const planned = ptrs[s.state->node.uids.size()];
  void* const workspace = way.workspace == nullptr ? planned : way.workspace.get();
  bool same = s.pack != nullptr && s.planned == planned && s.workspace == workspace;
  for (size_t i = 0; i < s.operand.size(); ++i) {
    void* const p = static_cast<char*>(ptrs[s.operand[i]]) + s.offset[i];
    same = same && s.pointers[i] == p;
    s.pointers[i] = p;
  }
  if (!same) {
    s.planned = planned;
    s.workspace = workspace;
    for (size_t i = 0; i < s.state->scratch.size(); ++i) {
      s.pointers[s.operand.size() + i] = static_cast<char*>(planned) + s.state->scratch[i].second;
    }
    s.pack = std::make_unique<Descriptor>(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    s.pack->Set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, s.uids);
    s.pack->Set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                static_cast<int64_t>(s.pointers.size()), s.pointers.data());
    s.pack->Set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &s.workspace);
    s.pack->Finalize("naming operands");
  }
  CheckCudnn(Cudnn().cudnnBackendExecute(s.handle->raw(), way.loaded->raw(), s.pack->raw()),
             "running a plan");
}

std::unique_ptr<Descriptor> Load(const CudnnHandle& handle, const std::string& json) {
  auto plan = std::make_unique<Descriptor>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  const cudnnHandle_t raw = handle.raw();
  plan->Set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &raw);
  plan->Set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, json);
  plan->Finalize("loading a plan");
  return plan;
}

// Of each input and output in order, as far as the graph reads or writes it.
std::vector<int64_t> OperandBytes(const CudnnNode& node) {
  std::vector<int64_t> bytes;
  for (const int64_t uid : node.uids) {
    bytes.push_back(uid == 0 ? 0 : BytesOf(node.graph.tensor(uid)));
  }
  for (const CudnnNode::Inside& part : node.inside) {
    int64_t& most = bytes[part.operand];
    most = std::max(most, part.offset + BytesOf(node.graph.tensor(part.uid)));
  }
  return bytes;
}

// Slices of operands, as a scan passes them, may begin off a boundary where these hold.
bool MayBeUnaligned(const CudnnNode& node) {
  for (const int64_t uid : node.uids) {
    if (uid != 0 && BytesOf(node.graph.tensor(uid)) % kAlignment != 0) return true;
  }
  for (const CudnnNode::Inside& part : node.inside) {
    if (BytesOf(node.graph.tensor(part.uid)) % kAlignment != 0) return true;
  }
  return false;
}

std::unique_ptr<Way> MakeWay(const BoundCudnn& bound, const CudaStream& stream,
                             const CudnnGraph& graph, const CudnnPlan& plan) {
  auto way = std::make_unique<Way>(Way{graph, plan, Load(*bound.handle, plan.json), nullptr});
  if (plan.workspace_bytes > bound.state->plan->workspace_bytes) {
    MemoryPool& memory = stream.cuda().memory();
    way->workspace =
        std::shared_ptr<void>(memory.Allocate(static_cast<size_t>(plan.workspace_bytes)),
                              [&memory](void* p) { memory.Free(p); });
  }
  return way;
}

// Plans of this process that ran once.
bool RanBefore(const CudnnPlan& plan, bool runs_now) {
  static std::mutex mutex;
  static auto* const known = new std::set<std::string>;
  const std::string key = HashOf(plan.json).Hex();
  std::lock_guard lock(mutex);
  if (runs_now) known->insert(key);
  return known->contains(key);
}

// Runs it once, on zeros, and tells what went wrong. A plan that was built without a fault can
// still fail when it runs, and a step that is being captured is no place to find that out.
std::string Try(const BoundCudnn& bound, const CudaStream& stream, const Way& way,
                CUresult* device) {
  if (RanBefore(way.plan, false)) return {};
  const CudnnState& s = *bound.state;
  int64_t most = 0;  // operands may share memory: nobody looks at the result
  for (const int64_t bytes : OperandBytes(s.node)) most = std::max(most, bytes);
  most = Aligned(most);
  const OutsideCapture outside;
  stream.cuda().MakeCurrent();
  CUdeviceptr memory = 0;
  const auto all = static_cast<size_t>(most + std::max<int64_t>(s.workspace_bytes, 1));
  if (Driver().cuMemAlloc(&memory, all) != CUDA_SUCCESS) return {};  // no room: it runs untried
  auto* const operand = reinterpret_cast<std::byte*>(memory);
  std::vector<void*> ptrs(s.node.uids.size(), operand);
  ptrs.push_back(operand + most);
  std::string why;
  *device = Driver().cuMemsetD8Async(memory, 0, all, stream.handle());
  try {
    Run(bound, way, ptrs.data());
  } catch (const Error& e) {
    why = e.message();
  }
  if (*device == CUDA_SUCCESS) *device = Driver().cuStreamSynchronize(stream.handle());
  Driver().cuMemFree(memory);
  if (why.empty() && *device != CUDA_SUCCESS) why = DriverText(*device);
  if (why.empty()) RanBefore(way.plan, true);
  return why;
}

// Passed over from now on, on this device and for all: said once, and never tried again.
void GiveUp(const BoundCudnn& bound, const CudnnGraph& graph, const CudnnPlan& plan,
            const std::string& why) {
  PassOver(graph, bound.state->device_json, plan, why);
  NoteOnce(StrCat("cuDNN engine ", plan.engine, " ", plan.rank, " ", graph.Text()),
           StrCat("an engine of cuDNN's is passed over from now on, since it failed: engine ",
                  plan.engine, ": ", why));
}

// The plan, ready to run; nothing where it fails on the device, and is given up.
std::unique_ptr<Way> UnlessItFails(const BoundCudnn& bound, const CudaStream& stream,
                                   const CudnnGraph& graph, const CudnnPlan& plan) {
  if (!RanBefore(plan, false)) {  // what failed before this is not the engine's fault
    const OutsideCapture outside;
    stream.cuda().MakeCurrent();
    CheckDriver(Driver().cuStreamSynchronize(stream.handle()), "waiting for the device");
  }
  std::unique_ptr<Way> way;
  std::string why;
  CUresult device = CUDA_SUCCESS;
  try {
    way = MakeWay(bound, stream, graph, plan);
    why = Try(bound, stream, *way, &device);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kOutOfMemory) throw;
    why = e.message();
  }
  if (why.empty()) return way;
  GiveUp(bound, graph, plan, why);
  CheckDriver(device, "trying a plan of cuDNN's");
  return nullptr;
}

// The plan, or, where that fails on the device, the next one that does not.
std::unique_ptr<Way> FirstThatRuns(const BoundCudnn& bound, const CudaStream& stream,
                                   const CudnnGraph& graph, const CudnnPlan& planned) {
  for (;;) {
    const auto plan = BuildPlan(graph, bound.state->device_json, bound.state->options, planned);
    if (auto way = UnlessItFails(bound, stream, graph, *plan)) return way;
  }
}

// Records the fastest of the first few plans, where something is to be timed.
void Time(const BoundCudnn& bound, const CudaStream& stream, const CudnnPlan& planned) {
  const CudnnState& s = *bound.state;
  const std::vector<CudnnPlan> plans =
      PlansToTime(s.node.graph, s.device_json, s.options, planned, kPlansToTime);
  if (plans.size() < 2) return;
  std::vector<std::unique_ptr<Way>> tried;
  for (const CudnnPlan& p : plans) {
    if (auto way = UnlessItFails(bound, stream, s.node.graph, p)) tried.push_back(std::move(way));
  }
  if (tried.empty()) return;
  std::vector<int64_t> bytes = OperandBytes(s.node);
  bytes.push_back(s.workspace_bytes);
  const RotatingOperands operands(stream, bytes);
  std::vector<std::function<void(int)>> ways;
  for (const auto& way : tried) {
    ways.emplace_back([&](int copy) {
      std::vector<void*> ptrs;
      for (size_t i = 0; i < bytes.size(); ++i) {
        ptrs.push_back(operands.at(copy, static_cast<int>(i)));
      }
      Run(bound, *way, ptrs.data());
    });
  }
  RecordChoice(s.node.graph, s.device_json, s.options,
               tried[FastestOf(stream, operands.copies(), ways)]->plan);
}

// Of our kernels that use tensors in the workspace; null where there are none.
std::shared_ptr<Launches> LaunchesOf(const CudnnState& state,
                                     const std::vector<CudnnNode::Scratch>& used) {
  if (used.empty()) return nullptr;
  auto launches = std::make_shared<Launches>();
  const auto workspace = static_cast<int>(state.node.uids.size());
  for (const CudnnNode::Scratch& s : used) {
    for (const auto& [uid, offset] : state.scratch) {
      if (uid == s.uid) s.add(launches.get(), {workspace, offset});
    }
  }
  return launches;
}

}  // namespace

Support SupportsCudnn(const NodeDesc& node, const CudnnNode& described) {
  if (Support s = NeedsDense(node); !s.ok) return s;
  if (!described.refusal.empty()) return Support::No(described.refusal);
  const auto plan = FindPlan(described.graph, DeviceJson(*node.device), OptionsOf(node, described));
  if (!plan->refusal.empty()) return Support::No(plan->refusal);
  if (described.comes_built && plan->runtime_compiled) {
    return Support::No("cuDNN's engines for it are compiled at run time");
  }
  return Support::Yes();
}

std::unique_ptr<KernelState> PrepareCudnn(const NodeDesc& node, CudnnNode described) {
  auto state = std::make_unique<CudnnState>();
  state->device_json = DeviceJson(*node.device);
  state->options = OptionsOf(node, described);
  state->node = std::move(described);
  state->plan = FindPlan(state->node.graph, state->device_json, state->options);
  state->workspace_bytes = state->plan->workspace_bytes;
  std::vector<int64_t> passed = state->node.uids;
  for (const CudnnNode::Inside& part : state->node.inside) passed.push_back(part.uid);
  for (const GraphTensor& t : state->node.graph.tensors()) {
    if (t.is_virtual || t.by_value || Contains(passed, t.uid)) continue;
    state->scratch.emplace_back(t.uid, Aligned(state->workspace_bytes));
    state->workspace_bytes = state->scratch.back().second + BytesOf(t);
  }
  state->before = LaunchesOf(*state, state->node.written);
  state->after = LaunchesOf(*state, state->node.read);
  state->detail = state->plan->Detail();
  return state;
}

std::unique_ptr<KernelState> BindCudnn(const std::shared_ptr<const KernelState>& state,
                                       const BindContext& to) {
  auto bound = std::make_unique<BoundCudnn>();
  bound->state = std::static_pointer_cast<const CudnnState>(state);
  bound->handle = CudnnHandle::Of(StreamOf(to));
  if (bound->state->before != nullptr) bound->before = BindMany(bound->state->before, to);
  if (bound->state->after != nullptr) bound->after = BindMany(bound->state->after, to);
  const CudnnState& s = *bound->state;
  const auto pass = [&](int64_t uid, size_t operand, int64_t offset) {
    bound->uids.push_back(uid);
    bound->operand.push_back(operand);
    bound->offset.push_back(offset);
  };
  for (size_t i = 0; i < s.node.uids.size(); ++i) {
    if (s.node.uids[i] != 0) pass(s.node.uids[i], i, 0);
  }
  for (const CudnnNode::Inside& part : s.node.inside) pass(part.uid, part.operand, part.offset);
  for (const auto& [uid, offset] : s.scratch) bound->uids.push_back(uid);
  bound->pointers.resize(bound->uids.size());
  for (const GraphTensor& t : s.node.graph.tensors()) {
    if (!t.by_value) continue;
    bound->uids.push_back(t.uid);
    bound->pointers.push_back(bound->values.emplace_back(Tensor::Scalar(t.dtype, t.value)).raw());
  }
  const CudaStream& stream = StreamOf(to);
  std::shared_ptr<const CudnnPlan> planned = s.plan;
  if (!s.options.deterministic) {
    Time(*bound, stream, *planned);
    planned = FindPlan(s.node.graph, s.device_json, s.options);
  }
  bound->way = FirstThatRuns(*bound, stream, s.node.graph, *planned);
  if (MayBeUnaligned(s.node)) {
    PlanOptions within = s.options;
    within.workspace_limit = s.plan->workspace_bytes;
    const CudnnGraph anywhere = s.node.graph.Unaligned();
    const auto plan = FindPlan(anywhere, s.device_json, within);
    if (!plan->json.empty()) bound->unaligned = FirstThatRuns(*bound, stream, anywhere, *plan);
  }
  return bound;
}

void LaunchCudnn(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const BoundCudnn&>(state);
  uintptr_t bits = 0;
  for (const size_t i : s.operand) bits |= reinterpret_cast<uintptr_t>(ptrs[i]);
  const Way* const way = bits % kAlignment == 0 ? s.way.get() : s.unaligned.get();
  if (way == nullptr) {
    Fail(ErrorCode::kInternal, "cuDNN: an operand does not lie on a ", kAlignment,
         "-byte boundary, and there is no engine for that; pin another implementation");
  }
  if (s.before != nullptr) RunMany(*s.before, ptrs);
  try {
    Run(s, *way, ptrs);
  } catch (const Error& e) {
    GiveUp(s, way->graph, way->plan, e.message());
    Fail(e.code(), e.message(), "; engine ", way->plan.engine,
         " is passed over when this is planned again: compile the function anew");
  }
  if (s.after != nullptr) RunMany(*s.after, ptrs);
}

}  // namespace ostria::cuda
