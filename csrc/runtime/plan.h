// SPDX-License-Identifier: Apache-2.0
// Plan: everything about a step before it runs, immutable and relocatable: kernels chosen, operands
// as (region, offset), peak memory, bytes moved. It holds no address: an Executable binds one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/kernel.h"
#include "ir/graph.h"

namespace ostria {

enum class Region : uint8_t {
  kActivation,  // offset into the activation region (workspaces lie here too)
  kState,       // index: entry of Plan::state
  kInput,       // index: graph input
  kOutput,      // index: graph output; written into a fresh tensor of the caller
  kConstant,    // offset into the plan's constants
  kKept,        // offset into what an executable keeps from run to run
  kNone,        // no memory: an empty tensor, or a workspace of 0 bytes
  kUnread,      // null: an output that the kernel need not compute
};

struct Operand {
  Region region = Region::kNone;
  int32_t index = 0;
  int64_t offset = 0;
  friend bool operator==(const Operand&, const Operand&) = default;
};

struct Step {
  const KernelDef* kernel = nullptr;
  std::shared_ptr<const KernelState> state;
  NodeId node;                // in Plan::graph, for names and lines
  int32_t first_operand = 0;  // into Plan::operands: inputs, outputs, workspace
  int32_t num_inputs = 0, num_outputs = 0;
  bool pack = false;           // the kernel's pack: one operand of the node, then its packed form
  NodeId packed_by;            // whose packed form the kernel reads, where it wants one
  int32_t stream = 0;          // steps of one stream run in their order: streams.h
  std::vector<int32_t> waits;  // steps of other streams that must be done before
};

/// A copy that the plan needs besides its steps: a graph output or state out value that is an
/// input, a state value, or another output already. Runs after all steps, sources before any target
/// is written.
struct Copy {
  Operand from, to;
  int64_t bytes = 0;
};

struct StateSlot {
  int64_t variable = 0;  // id of the Variable that the trace saw
  std::string name;
  ValueType type;
  bool written = false;
};

struct PlanStats {
  int64_t activation_bytes = 0;  // planned size of the activation region
  int64_t liveness_bytes = 0;  // largest sum of live values and workspace at any step: lower bound
  int64_t state_bytes = 0, input_bytes = 0, output_bytes = 0, constant_bytes = 0;
  int64_t kept_bytes = 0;         // derived from state alone, computed when a Variable was written
  int64_t moved_bytes = 0;        // operands of the steps of every run, read and written
  int64_t fused_bound_bytes = 0;  // what a perfect fuser would move: fused_bound.h
  int64_t recomputed_nodes = 0;   // run twice, to stay within the memory limit
  int64_t peak_bytes() const {
    return activation_bytes + state_bytes + input_bytes + output_bytes + constant_bytes +
           kept_bytes;
  }
};

/// Byte offsets of variables within their chunks, so that gradients can mirror them.
struct StateLayout {
  struct Place {
    int64_t variable, chunk, offset;
  };
  std::vector<Place> places;
};

struct PlanOptions {
  DeviceProps device;
  StateLayout layout;
  bool recompute = false;  // over device.memory_limit: compute values again rather than keep them
  bool optimize = true;    // run the passes; off for debugging and comparisons
  bool keeps = true;       // what derives from state alone is computed now and then; off for bodies
  bool commits_together = false;  // no step writes state before or while data may be refused
  int streams = 1;                // at most so many steps run side by side, on devices with streams
};

struct Plan {
  Graph graph;  // specialised, optimised, lowered: what the steps execute
  DeviceProps device;
  std::vector<Step> steps;
  int32_t num_kept =
      0;  // the first steps: they run only when a Variable that they read was written
  int32_t num_streams = 1;
  std::vector<Operand> operands;
  std::vector<Copy> copies;
  std::vector<StateSlot> state;
  std::vector<ValueType> inputs, outputs;
  std::vector<std::byte> constants;
  std::vector<std::string> report;  // what passes decided, one line each
  PlanStats stats;
};

/// Runs the passes on a static graph, lowers ops without implementation, chooses kernels, plans
/// memory. Throws Error(kNotImplemented) that lists every implementation's reason, and
/// Error(kOutOfMemory) that names the largest values with the user's lines when device.memory_limit
/// is exceeded.
std::shared_ptr<const Plan> MakePlan(const Graph& graph, const PlanOptions& options);

/// Steps with kernels and operands, then the statistics. Stable text for golden tests.
std::string Print(const Plan& plan);

/// Throws Error(kInternal) naming two steps that touch common bytes, one writing, in a way that the
/// order of steps, streams and waits does not make safe (also: an operand that was overwritten
/// before its last reader).
void CheckRaces(const Plan& plan);

}  // namespace ostria
