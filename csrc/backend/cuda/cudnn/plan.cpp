// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn/plan.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "backend/cuda/cache/choices.h"
#include "backend/cuda/cache/content_hash.h"
#include "backend/cuda/cache/disk_cache.h"
#include "backend/cuda/cudnn/descriptors.h"

namespace ostria::cuda {
namespace {

// Enough for every graph seen; the heuristics give their best first.
constexpr int64_t kMostOffers = 128;

struct Offered {
  PlanOffer offer;
  Descriptor config;
};

template <class Note>
bool Has(const Descriptor& engine, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, Note note) {
  Note notes[16];
  const int64_t count = std::min<int64_t>(16, engine.Get(name, type, 16, notes));
  return std::find(notes, notes + count, note) != notes + count;
}
bool Has(const Descriptor& engine, cudnnBackendNumericalNote_t note) {
  return Has(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, note);
}

// Whether tensor cores would round float32 operands of products to TF32; what lies inside a graph
// is the engine's own.
bool MultipliesFloat32(const CudnnGraph& graph) {
  for (const GraphNode& n : graph.nodes()) {
    if (n.op > GraphOp::kConvGradFilter && n.op != GraphOp::kMatmul) continue;
    for (size_t i = 0; i < 2; ++i) {
      const GraphTensor& t = graph.tensor(n.tensors[i].second);
      if (t.dtype == DType::kFloat32 && !t.is_virtual) return true;
    }
  }
  return false;
}

std::string RefusalOf(const Descriptor& engine, const PlanOffer& offer, const PlanOptions& options,
                      bool multiplies_float32) {
  if (options.deterministic && Has(engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) {
    return "its results differ from run to run";
  }
  if (Has(engine, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) {
    return "it sums in less than float32";
  }
  if (multiplies_float32 && !options.tf32 &&
      (Has(engine, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ||
       Has(engine, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS))) {
    return "it rounds float32 to TF32";
  }
  if (offer.workspace_bytes > options.workspace_limit) {
    return StrCat("it needs ", offer.workspace_bytes, " bytes of workspace, more than ",
                  options.workspace_limit);
  }
  return {};
}

Descriptor MakeDevice(const std::string& json) {
  Descriptor device(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  device.Set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
  device.Finalize("describing a device");
  return device;
}

std::vector<Offered> Ask(const CudnnGraph& graph, const OperationGraph& operations,
                         const Descriptor& device, const PlanOptions& options) {
  const bool multiplies_float32 = MultipliesFloat32(graph);
  std::vector<Offered> out;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.Set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations.descriptor());
    heuristics.Set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    heuristics.Set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    // A mode without any answer is refused, which says no more than an empty list.
    if (Cudnn().cudnnBackendFinalize(heuristics.raw()) != CUDNN_STATUS_SUCCESS) continue;
    int64_t count = std::min(
        kMostOffers,
        heuristics.Get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr));
    std::vector<Descriptor> configs;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (int64_t i = 0; i < count; ++i) {
      raw.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).raw());
    }
    count = std::min(count, heuristics.Get(CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                           CUDNN_TYPE_BACKEND_DESCRIPTOR, count, raw.data()));
    for (int64_t i = 0; i < count; ++i) {
      Descriptor& config = configs[static_cast<size_t>(i)];
      Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      cudnnBackendDescriptor_t into = engine.raw();
      config.Get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &into);
      PlanOffer offer;
      offer.engine = engine.GetInt(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
      offer.workspace_bytes = config.GetInt(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE);
      offer.runtime_compiled =
          Has(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
              CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
      offer.refusal = RefusalOf(engine, offer, options, multiplies_float32);
      out.push_back({std::move(offer), std::move(config)});
    }
  }
  std::vector<Offered> sorted;
  for (const bool compiled : {false, true}) {
    for (Offered& o : out) {
      if (o.offer.runtime_compiled == compiled && o.config.raw() != nullptr) {
        sorted.push_back(std::move(o));
      }
    }
  }
  return sorted;
}

// Whether the plan of `config` could be built; if so its workspace and text are in `plan`.
bool Build(const Descriptor& config, const Descriptor& device, CudnnPlan* plan) {
  Descriptor built(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  built.Set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  built.Set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
  if (Cudnn().cudnnBackendFinalize(built.raw()) != CUDNN_STATUS_SUCCESS) return false;
  plan->workspace_bytes = built.GetInt(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  plan->json = built.GetText(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
  return true;
}

std::string WhyNone(const std::vector<Offered>& offered) {
  if (offered.empty()) return "cuDNN has no engine for it";
  std::string out =
      StrCat("cuDNN has ", offered.size(), " engines for it, none of which may be used:");
  std::vector<std::string> seen;
  for (const Offered& o : offered) {
    const std::string why = o.offer.refusal.empty() ? "it could not be built" : o.offer.refusal;
    const std::string line = StrCat("engine ", o.offer.engine, ": ", why);
    if (std::find(seen.begin(), seen.end(), line) != seen.end()) continue;
    out += StrCat(seen.empty() ? " " : "; ", line);
    seen.push_back(line);
  }
  return out;
}

// A plan that failed on the device, as its record says it.
struct Failed {
  int64_t rank = 0, engine = 0;
  std::string why;
};

// Up to `most` plans in the order of preference, `first` (a rank) before all others; a plan with a
// refusal if there is none. Only a live device builds what is compiled at run time.
std::vector<CudnnPlan> Search(const CudnnGraph& graph, const std::string& device_json,
                              const PlanOptions& options, const std::vector<Failed>& failed,
                              bool live, int64_t first, int most) {
  const Descriptor device = MakeDevice(device_json);
  std::unique_ptr<OperationGraph> operations;
  try {
    operations = std::make_unique<OperationGraph>(graph);
  } catch (const Error& e) {
    return {{.refusal = e.message()}};
  }
  std::vector<Offered> offered = Ask(graph, *operations, device, options);
  for (const Failed& f : failed) {
    if (f.rank < 0 || f.rank >= std::ssize(offered)) continue;
    PlanOffer& offer = offered[static_cast<size_t>(f.rank)].offer;
    if (offer.engine == f.engine) offer.refusal = StrCat("it failed when it ran: ", f.why);
  }
  std::vector<size_t> order;
  int64_t allowed = 0;
  for (size_t i = 0; i < offered.size(); ++i) {
    if (!offered[i].offer.refusal.empty()) continue;
    ++allowed;
    order.insert(static_cast<int64_t>(i) == first ? order.begin() : order.end(), i);
  }
  std::vector<CudnnPlan> out;
  for (const size_t i : order) {
    const PlanOffer& offer = offered[i].offer;
    CudnnPlan plan{.engine = offer.engine,
                   .rank = static_cast<int64_t>(i),
                   .workspace_bytes = offer.workspace_bytes,
                   .offers = allowed,
                   .runtime_compiled = offer.runtime_compiled};
    const bool later = offer.runtime_compiled && !live;
    if (!later && (!Build(offered[i].config, device, &plan) ||
                   plan.workspace_bytes > options.workspace_limit)) {
      continue;
    }
    out.push_back(std::move(plan));
    if (std::ssize(out) == most) break;
  }
  if (out.empty()) out.push_back({.refusal = WhyNone(offered)});
  return out;
}

// --- what is remembered -------------------------------------------------------------------------

constexpr std::string_view kFolder = "cudnn";
constexpr int kRules = 2;  // goes up when choices change that the rest of the key does not tell

struct Memory {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<const CudnnPlan>> plans;

  static Memory& Get() {
    static auto* const memory = new Memory;  // outlives static teardown
    return *memory;
  }
};

std::string KeyOf(const CudnnGraph& graph, const std::string& device_json, std::string_view what) {
  return StrCat("cuDNN ", Cudnn().cudnnGetVersion(), " rules ", kRules, "\n", device_json, "\n",
                what, "\n", graph.Text());
}
std::string KeyOf(const CudnnGraph& graph, const std::string& device_json,
                  const PlanOptions& options, bool live) {
  return KeyOf(
      graph, device_json,
      StrCat(options.deterministic ? "deterministic" : "any order", options.tf32 ? " tf32" : "",
             " workspace ", options.workspace_limit, live ? " built on the device" : ""));
}

// "rank engine why", one after the other.
constexpr char kEndOfFailed = '|';

std::string KeyOfFailed(const CudnnGraph& graph, const std::string& device_json) {
  return HashOf(KeyOf(graph, device_json, "failed when they ran")).Hex();
}

std::vector<Failed> FailedFor(const CudnnGraph& graph, const std::string& device_json) {
  std::vector<Failed> out;
  const auto record = Choices::Of(kFolder).Find(KeyOfFailed(graph, device_json));
  if (!record) return out;
  for (size_t begin = 0; begin < record->size();) {
    const size_t end = std::min(record->find(kEndOfFailed, begin), record->size());
    const char *at = record->data() + begin, *const last = record->data() + end;
    Failed f;
    auto read = std::from_chars(at, last, f.rank);
    if (read.ec == std::errc() && read.ptr != last) {
      read = std::from_chars(read.ptr + 1, last, f.engine);
      if (read.ptr != last) f.why.assign(read.ptr + 1, last);
      out.push_back(std::move(f));
    }
    begin = end + 1;
  }
  return out;
}

bool Contains(const std::vector<Failed>& failed, const CudnnPlan& plan) {
  return std::any_of(failed.begin(), failed.end(), [&](const Failed& f) {
    return f.rank == plan.rank && f.engine == plan.engine;
  });
}

// "rank engine", or nothing.
std::optional<std::string> RecordedFor(const std::string& key) {
  return Choices::Of(kFolder).Find(HashOf(key).Hex());
}

std::string Write(const CudnnPlan& plan) {
  return StrCat(plan.engine, " ", plan.rank, " ", plan.workspace_bytes, " ", plan.offers, " ",
                plan.runtime_compiled ? 1 : 0, "\n", plan.json);
}

bool Read(const std::string& text, CudnnPlan* plan) {
  int64_t compiled = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int64_t* number :
       {&plan->engine, &plan->rank, &plan->workspace_bytes, &plan->offers, &compiled}) {
    const auto read = std::from_chars(at, end, *number);
    if (read.ec != std::errc() || read.ptr == end) return false;
    at = read.ptr + 1;
  }
  plan->runtime_compiled = compiled != 0;
  plan->json.assign(at, end);
  return true;
}

std::shared_ptr<const CudnnPlan> Remembered(const CudnnGraph& graph, const std::string& device_json,
                                            const PlanOptions& options, bool live) {
  Memory& memory = Memory::Get();
  std::string key = KeyOf(graph, device_json, options, live);
  const std::vector<Failed> failed = FailedFor(graph, device_json);
  int64_t first = -1;
  if (const auto chosen = RecordedFor(key)) {
    std::from_chars(chosen->data(), chosen->data() + chosen->size(), first);
    key += StrCat("chosen ", *chosen, "\n");
  }
  for (const Failed& f : failed) key += StrCat("without ", f.rank, " ", f.engine, "\n");
  {
    std::lock_guard lock(memory.mutex);
    if (const auto it = memory.plans.find(key); it != memory.plans.end()) return it->second;
  }
  auto plan = std::make_shared<CudnnPlan>();
  const auto kept = ReadCached(kFolder, key);
  if (!kept || !Read(*kept, plan.get())) {
    *plan = Search(graph, device_json, options, failed, live, first, 1)[0];
    if (plan->refusal.empty()) WriteCached(kFolder, key, Write(*plan));
  }
  for (const Failed& f : failed) {
    plan->passed_over +=
        StrCat(plan->passed_over.empty() ? "" : ", ", "engine ", f.engine, ": ", f.why);
  }
  std::lock_guard lock(memory.mutex);
  return memory.plans.emplace(key, std::move(plan)).first->second;
}

}  // namespace

std::string CudnnPlan::Detail() const {
  return StrCat("engine ", engine, runtime_compiled ? ", compiled at run time, " : ", ", offers,
                " offered",
                passed_over.empty() ? "" : StrCat(" (failed before: ", passed_over, ")"));
}

std::vector<PlanOffer> OffersFor(const CudnnGraph& graph, const std::string& device_json,
                                 const PlanOptions& options) {
  const OperationGraph operations(graph);
  std::vector<PlanOffer> out;
  for (Offered& o : Ask(graph, operations, MakeDevice(device_json), options)) {
    out.push_back(std::move(o.offer));
  }
  return out;
}

std::shared_ptr<const CudnnPlan> FindPlan(const CudnnGraph& graph, const std::string& device_json,
                                          const PlanOptions& options) {
  return Remembered(graph, device_json, options, false);
}

std::shared_ptr<const CudnnPlan> BuildPlan(const CudnnGraph& graph, const std::string& device_json,
                                           const PlanOptions& options, const CudnnPlan& planned) {
  const std::vector<Failed> failed = FailedFor(graph, device_json);
  if (!planned.json.empty() && !Contains(failed, planned)) {
    return std::make_shared<CudnnPlan>(planned);
  }
  PlanOptions within = options;
  within.workspace_limit = planned.workspace_bytes;
  auto plan = Remembered(graph, device_json, within, true);
  if (!plan->refusal.empty() && !failed.empty())
    plan = Remembered(graph, device_json, options, true);
  if (!plan->refusal.empty()) {
    Fail(ErrorCode::kInternal, "cuDNN: ", plan->refusal, ".",
         failed.empty() ? "" : " Compile the function anew: the op gets another implementation.",
         " The graph is\n", graph.Text());
  }
  return plan;
}

std::vector<CudnnPlan> PlansToTime(const CudnnGraph& graph, const std::string& device_json,
                                   const PlanOptions& options, const CudnnPlan& planned, int most) {
  if (planned.runtime_compiled || RecordedFor(KeyOf(graph, device_json, options, false))) return {};
  PlanOptions within = options;
  within.workspace_limit = planned.workspace_bytes;
  std::vector<CudnnPlan> plans =
      Search(graph, device_json, within, FailedFor(graph, device_json), false, -1, most);
  std::erase_if(plans, [](const CudnnPlan& p) { return p.json.empty(); });
  return plans;
}

void RecordChoice(const CudnnGraph& graph, const std::string& device_json,
                  const PlanOptions& options, const CudnnPlan& chosen) {
  Choices::Of(kFolder).Set(HashOf(KeyOf(graph, device_json, options, false)).Hex(),
                           StrCat(chosen.rank, " ", chosen.engine));
}

void PassOver(const CudnnGraph& graph, const std::string& device_json, const CudnnPlan& failed,
              const std::string& why) {
  if (Contains(FailedFor(graph, device_json), failed)) return;
  std::string line = why;
  for (char& c : line) {
    if (c == '\t' || c == '\n' || c == kEndOfFailed) c = ' ';
  }
  Choices& choices = Choices::Of(kFolder);
  const std::string key = KeyOfFailed(graph, device_json);
  std::string all = choices.Find(key).value_or("");
  if (!all.empty()) all += kEndOfFailed;
  choices.Set(key, StrCat(all, failed.rank, " ", failed.engine, " ", line));
}

void ForgetPlans() {
  Memory& memory = Memory::Get();
  std::lock_guard lock(memory.mutex);
  memory.plans.clear();
}

}  // namespace ostria::cuda
