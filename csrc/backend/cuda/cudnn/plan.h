// SPDX-License-Identifier: Apache-2.0
// Which of cuDNN's engines runs a graph. The library is asked, on the host alone, for engines for a
// described device; those that the options exclude are left out, and the first that can be built is
// taken, unless the record of choices (choices.h) names another, or says that it failed when it
// ran. Choices are kept in memory and on disk, by the library's version, the device and the graph's
// text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/cudnn/nodes.h"

namespace ostria::cuda {

struct PlanOptions {
  bool deterministic = true;
  bool tf32 = false;  // float32 may be multiplied as TF32, with 10 bits of mantissa
  int64_t workspace_limit = kWorkspaceLimit;
};

/// An engine configuration that the heuristics offered.
struct PlanOffer {
  int64_t engine = 0;
  int64_t workspace_bytes = 0;
  bool runtime_compiled = false;  // built on the device, in seconds; comes after all others
  std::string refusal;            // why the options exclude it; empty: they do not
};

/// The choice for one graph; immutable.
struct CudnnPlan {
  std::string refusal;  // why there is none; empty: there is
  int64_t engine = 0;
  int64_t rank = 0;  // among all offers
  int64_t workspace_bytes = 0;
  int64_t offers = 0;  // that the options allow
  bool runtime_compiled = false;
  std::string json;  // the library's own form; empty: an engine that is built on the device
  std::string
      passed_over;  // "engine 67: <why>": what would have been taken, but failed when it ran

  /// "engine 62, 40 offered".
  std::string Detail() const;
};

/// In the order of preference: as offered, but what is compiled at run time behind everything else.
/// Throws Error(kInternal) with cuDNN's words where it does not take the graph.
std::vector<PlanOffer> OffersFor(const CudnnGraph& graph, const std::string& device_json,
                                 const PlanOptions& options);

/// The plan for a described device, made or remembered; needs no device. Throws
/// Error(kDeviceUnavailable) where the library is missing.
std::shared_ptr<const CudnnPlan> FindPlan(const CudnnGraph& graph, const std::string& device_json,
                                          const PlanOptions& options);

/// The same on the live device whose context is current: always with json. `planned`: what FindPlan
/// gave, whose workspace is exceeded only where all that keep to it are passed over. Throws
/// Error(kInternal) where no engine can be built.
std::shared_ptr<const CudnnPlan> BuildPlan(const CudnnGraph& graph, const std::string& device_json,
                                           const PlanOptions& options, const CudnnPlan& planned);

/// The first `most` plans that can be made without the device and need at most the workspace of
/// `planned`: what is worth timing. Empty where `planned` is recorded or compiled at run time.
std::vector<CudnnPlan> PlansToTime(const CudnnGraph& graph, const std::string& device_json,
                                   const PlanOptions& options, const CudnnPlan& planned, int most);
/// From now on FindPlan gives `chosen`, in this process and in others.
void RecordChoice(const CudnnGraph& graph, const std::string& device_json,
                  const PlanOptions& options, const CudnnPlan& chosen);

/// `failed` did not run on the device: from now on it is passed over for this graph, in this
/// process and in others, whatever the options. `why`: in the library's words.
void PassOver(const CudnnGraph& graph, const std::string& device_json, const CudnnPlan& failed,
              const std::string& why);

/// What is remembered in memory; the disk still knows.
void ForgetPlans();

}  // namespace ostria::cuda
