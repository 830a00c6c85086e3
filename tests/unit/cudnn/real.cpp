// SPDX-License-Identifier: Apache-2.0
#include "cudnn/real.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/backend.h"
#include "backend/cuda/libraries/cudnn.h"
#include "backend/cuda/libraries/device_json.h"

namespace ostria {

Backend* CudaBackend();

namespace cuda {
namespace {

std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Data(std::string_view name) { return StrCat(OSTRIA_TEST_DATA, "/", name); }

// A cache of this process alone, gone with it.
struct OwnCache {
  OwnCache() {
    ::mkdtemp(folder);
    ::setenv("OSTRIA_CACHE_DIR", folder, 1);
  }
  ~OwnCache() { std::filesystem::remove_all(folder); }
  char folder[64] = "cudnn_cache_XXXXXX";
};

std::string LoadLibraries() {
  static const OwnCache cache;
  if (const std::string why = OpenDriverOrStub(); !why.empty()) return why;
  try {
    Cudnn();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

}  // namespace

const std::string& CudnnIsMissing() {
  static const std::string why = LoadLibraries();
  return why;
}

std::string DeviceFile(std::string_view name) {
  std::string text = FileText(Data(StrCat("devices/", name, ".json")));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

DeviceProps DeviceNamed(std::string_view name) { return PropsOfJson(DeviceFile(name)); }

TestNode::TestNode(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<ValueType>& inputs, const DeviceProps& device) {
  std::vector<Value> operands;
  for (const ValueType& t : inputs) {
    operands.push_back(graph_.AddInput(StrCat("x", operands.size()), t, 0));
    in_.push_back(MemDesc::Dense(t.dtype, t.shape));
  }
  const NodeId n = graph_.AddNode(op, operands, attrs, 0);
  for (int i = 0; i < graph_.num_results(n); ++i) {
    const ValueType& t = graph_.type(graph_.result(n, i));
    out_.push_back(MemDesc::Dense(t.dtype, t.shape));
  }
  desc_ = {&op, graph_.attrs(n), in_, out_, &device};
}

std::string PlanOf(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<ValueType>& inputs, const DeviceProps& device,
                   std::string_view impl) {
  const TestNode made(op, attrs, inputs, device);
  const NodeDesc& node = made.desc();
  for (const KernelDef& k : CudaBackend()->Kernels()) {
    if (k.op != &op || k.impl != impl) continue;
    const Support support = k.supports(node);
    if (!support.ok) return StrCat("no: ", support.reason);
    const auto state = k.prepare(node);
    return StrCat(state->detail, ", workspace ", state->workspace_bytes);
  }
  return "no implementation";
}

std::string PlanOf(const CudnnGraph& graph, const DeviceProps& device, const PlanOptions& options) {
  const auto plan = FindPlan(graph, device.description, options);
  if (!plan->refusal.empty()) return StrCat("no: ", plan->refusal);
  return StrCat(plan->Detail(), ", workspace ", plan->workspace_bytes);
}

void ExpectGolden(std::string_view name, const std::string& text) {
  const std::string path = Data(StrCat("cudnn/", name, ".txt"));
  const std::string head = StrCat("cuDNN ", Cudnn().cudnnGetVersion(), "\n");
  if (std::getenv("OSTRIA_WRITE_GOLDEN") != nullptr) std::ofstream(path) << head << text;
  const std::string golden = FileText(path);
  if (golden.starts_with(head)) {
    EXPECT_EQ(golden, head + text) << "OSTRIA_WRITE_GOLDEN=1 writes " << path;
  } else {
    EXPECT_EQ(text.find("no:"), std::string::npos) << text;
  }
}

}  // namespace cuda
}  // namespace ostria
