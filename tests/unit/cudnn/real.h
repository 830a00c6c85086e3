// SPDX-License-Identifier: Apache-2.0
// The real cuDNN without a GPU: its heuristics and plans run on the host, for a device that a file
// describes. Tests skip, and say why, where the library is missing.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backend/cuda/cudnn/plan.h"
#include "ir/graph.h"

namespace ostria::cuda {

/// Empty if the library can be used; else why not.
const std::string& CudnnIsMissing();
#define OSTRIA_NEEDS_CUDNN() \
  if (!CudnnIsMissing().empty()) GTEST_SKIP() << CudnnIsMissing()

/// tests/data/devices/<name>.json.
std::string DeviceFile(std::string_view name);
/// Properties of that device, as a plan gets them.
DeviceProps DeviceNamed(std::string_view name);

/// A node for a device, with everything its NodeDesc points to.
class TestNode {
 public:
  TestNode(const OpDef& op, const std::vector<Attr>& attrs, const std::vector<ValueType>& inputs,
           const DeviceProps& device);
  TestNode(const TestNode&) = delete;
  const NodeDesc& desc() const { return desc_; }

 private:
  Graph graph_;
  std::vector<MemDesc> in_, out_;
  NodeDesc desc_;
};

/// What implementation `impl` says of a node: "engine 62, 40 offered, workspace 131", or the
/// reason why not.
std::string PlanOf(const OpDef& op, const std::vector<Attr>& attrs,
                   const std::vector<ValueType>& inputs, const DeviceProps& device,
                   std::string_view impl = "cudnn");
/// The same for a graph.
std::string PlanOf(const CudnnGraph& graph, const DeviceProps& device,
                   const PlanOptions& options = {});

/// Compares with tests/data/cudnn/<name>.txt, which is for one version of the library; writes it
/// where OSTRIA_WRITE_GOLDEN is set. Other versions only have to offer a plan for every line.
void ExpectGolden(std::string_view name, const std::string& text);

}  // namespace ostria::cuda
