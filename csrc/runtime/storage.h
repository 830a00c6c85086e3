// SPDX-License-Identifier: Apache-2.0
// Which memory each value of a lowered graph uses: state, inputs, outputs, constants, or a block of
// the activation region with a lifetime. Decides what is updated in place and what needs a copy at
// the end.
#pragma once

#include <unordered_map>
#include <vector>

#include "runtime/lower.h"
#include "runtime/memory_planner.h"
#include "runtime/plan.h"
#include "runtime/schedule.h"

namespace ostria {

class StorageMap {
 public:
  /// Assigns storages; appends constants and end-of-step copies to `plan`.
  StorageMap(const Graph& g, const std::vector<Choice>& choices, const Schedule& schedule,
             const PlanOptions& options, Plan* plan);
  /// Plans the activation region and fills in its sizes. With `streams`, steps that may run side by
  /// side get workspaces of their own where that costs little memory.
  void Place(int streams, PlanStats* stats);

  Operand OperandOf(Value v) const;
  Operand WorkspaceOf(NodeId n) const;
  Operand PackedOf(NodeId n) const { return {Region::kKept, 0, packed_[n.id]}; }
  /// Whether `b` was laid out to follow `a`, but for the padding of `a`.
  bool Follows(Value a, Value b) const;

 private:
  struct Storage {
    Operand operand;    // region kNone until decided, then final except activation offsets
    Value first_value;  // the value that defines it
    int64_t bytes = 0;
    int32_t first = 0, last = -1;  // steps that touch it
    int32_t block = -1;            // into blocks_
    int64_t block_offset = 0;      // within the block (mirrored gradients share one)
    bool computed = false;         // written by a step: may be placed anywhere
  };

  // What is asked of a node once per operand or result: an optimizer's has thousands of both.
  struct Described {
    std::vector<MemDesc> inputs, outputs;
    std::unordered_multimap<int32_t, int> operands;  // by storage
  };

  const Described& Describe(NodeId n);
  int32_t Root(Value v) const { return root_[v.id]; }
  bool Placed(int32_t s) const { return storages_[s].operand.region != Region::kNone; }
  void AddValues(const std::vector<Choice>& choices, Plan* plan);
  bool IsUnread(const Choice& choice, Value v) const;
  void NumberSteps(const Schedule& schedule);
  void FindLifetimes(const std::vector<Choice>& choices, const Schedule& schedule);
  void Keep(const std::vector<Choice>& choices, const Schedule& schedule, PlanStats* stats);
  void AssignState(const std::vector<Choice>& choices, Plan* plan);
  void AssignOutputs(Plan* plan);
  void ReuseInputs(const std::vector<Choice>& choices);
  void ReduceInPlace(const std::vector<Choice>& choices);
  void MirrorGradients(const StateLayout& layout);
  void LayOutReduced();
  template <class Find>
  void Redirect(Find find);
  void MakeBlocks(const std::vector<Choice>& choices);
  std::vector<Block> WorkspacesApart(int32_t reach) const;
  bool MayOverwriteState(const StateEntry& entry, const std::vector<Choice>& choices);
  bool AliasOk(const Choice& choice, NodeId n, int out, int in);
  int32_t EndOf() const { return num_steps_; }  // a time after every step: outputs and copies

  const Graph& g_;
  const DeviceProps& device_;
  const bool commits_together_;
  std::vector<int32_t> root_;     // value -> storage
  std::vector<int32_t> step_of_;  // node -> step index, -1 where nothing runs
  std::vector<Storage> storages_;
  std::vector<Block> blocks_;
  std::unordered_map<int32_t, Described> described_;  // by node, while it is asked about
  std::vector<int32_t> workspace_;                    // node -> block, -1 without
  std::vector<int64_t> packed_;  // node -> offset of its packed operand among what is kept
  std::vector<Copy>* copies_ =
      nullptr;  // the plan's; a kNone operand in it names a storage until Place
  int32_t num_steps_ = 0;
  int32_t last_check_ = -1;  // the last step that may refuse its data
};

}  // namespace ostria
