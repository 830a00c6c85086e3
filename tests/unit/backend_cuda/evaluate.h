// SPDX-License-Identifier: Apache-2.0
// One node on the (fake) GPU beside the CPU: prepare, bind, launch, compare.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "core/tensor.h"

namespace ostria {

/// Properties as of an H100, whatever device runs.
DeviceProps Sm90();

/// Where the operands of one node lie.
struct Placement {
  std::string_view impl;  // "": the first that supports the node
  int64_t skew = 0;       // every operand begins so many elements after a boundary of 256 bytes
  bool in_place = false;  // outputs are the first inputs that they may be
  bool joined = false;    // in one region, operand after operand, as chunks hold state
  DeviceProps device = Sm90();  // what the node is planned for
};

/// Runs `op` by implementation `impl` of the CUDA backend ("": the first that supports it) and
/// returns its outputs on the host. Memory on the device is poisoned first. A refusal is a test
/// failure that shows the reasons.
std::vector<Tensor> EvaluateOnCuda(const OpDef& op, const std::vector<Attr>& attrs,
                                   const std::vector<Tensor>& inputs, std::string_view impl = "");
std::vector<Tensor> EvaluateOnCuda(const OpDef& op, const std::vector<Attr>& attrs,
                                   const std::vector<Tensor>& inputs, const Placement& placement);
/// The error of data that the last node reported, if any.
DataError TakeDataError();
/// How often the driver's function was called so far.
int64_t DriverCalls(const char* function);
/// Whether the driver is the fake one: only that counts calls.
bool OnFakeDriver();
/// The same as EvaluateOnCuda on the CPU, through the eager path.
std::vector<Tensor> EvaluateOnCpu(const OpDef& op, const std::vector<Attr>& attrs,
                                  const std::vector<Tensor>& inputs);

/// Again, and in place: the same bits as EvaluateOnCuda's. Skewed, where sums may be taken in
/// another order: the same within `skewed`.
void ExpectPlacesDoNotMatter(const OpDef& op, const std::vector<Attr>& attrs,
                             const std::vector<Tensor>& inputs, double skewed = 0);

/// Random numbers in [low, high) (integers: low..high-1) of a dtype.
Tensor RandomTensor(DType dtype, const Shape& shape, double low, double high, uint64_t seed);

/// Expects equal shapes and elements that differ by at most `tolerance` * (1 + |expected|); 0:
/// equal bits.
void ExpectClose(const Tensor& got, const Tensor& want, double tolerance);

}  // namespace ostria
