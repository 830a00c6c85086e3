// SPDX-License-Identifier: Apache-2.0
#include "runtime/blame.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "backend/communicator.h"
#include "ir/bytes.h"
#include "ops/common/collective.h"
#include "ops/ops.h"
#include "runtime/eager.h"

namespace ostria {

bool AllFinite(DType dtype, const void* data, int64_t n) {
  return DispatchDType(dtype, [&]<class T>(T*) {
    const auto finite = [](const T& x) {
      if constexpr (std::is_floating_point_v<T>)
        return std::isfinite(x);
      else if constexpr (std::is_integral_v<T>)
        return true;
      else
        return std::isfinite(static_cast<float>(x));
    };
    const T* p = static_cast<const T*>(data);
    return std::all_of(p, p + n, finite);
  });
}

namespace {

std::string NonFiniteMessage(const Graph& g, NodeId n, int k) {
  std::string text = StrCat("output ", k, " (", g.type(g.result(n, k)),
                            ") holds NaN or infinity although every input is finite; inputs:");
  for (int j = 0; j < g.num_operands(n); ++j) {
    text += StrCat(j ? ", " : " ", g.type(g.operand(n, j)));
  }
  return text;
}

}  // namespace

void StepAccess::Launch(const Plan& plan, size_t step, void* const* ptrs) const {
  const Step& s = plan.steps[step];
  (s.pack ? s.kernel->pack : s.kernel->launch)(*s.state, ptrs);
}

Tensor StepAccess::Read(const ValueType& type, const void* from) const {
  const auto bytes = static_cast<size_t>(Bytes(type));
  return Tensor(type.dtype, type.shape, Buffer::Borrow(const_cast<void*>(from), bytes, nullptr));
}

void StepAccess::Write(void* to, const Tensor& value) const {
  std::memcpy(to, value.raw(), static_cast<size_t>(value.bytes()));
}

void RunStepChecked(const Plan& plan, size_t i, void* const* ptrs, const StepAccess& access) {
  const Graph& g = plan.graph;
  const Step& step = plan.steps[i];
  if (step.pack) return access.Launch(plan, i, ptrs);
  const auto finite = [&](int operand, Value v) {
    if (operand == step.state->packed_input) return true;  // looked at when it was packed
    if (ptrs[operand] == nullptr) return true;             // nobody reads it
    if (!IsFloat(g.dtype(v))) return true;
    const Tensor value = access.Read(g.type(v), ptrs[operand]);
    return AllFinite(value.dtype(), value.raw(), value.numel());
  };
  bool inputs_finite = true;  // looked at before the launch: it may overwrite them
  for (int k = 0; k < step.num_inputs; ++k) inputs_finite &= finite(k, g.operand(step.node, k));
  const bool fused = inputs_finite && g.is(step.node, ops::kFused);
  FusedNonFinite found;
  for (int k = 0; fused && k < step.num_inputs; ++k) {
    const ValueType& type = g.type(g.operand(step.node, k));
    const Tensor value = access.Read(type, ptrs[k]);
    found.inputs.push_back(Tensor::Empty(type.dtype, type.shape));
    std::memcpy(found.inputs.back().raw(), value.raw(), static_cast<size_t>(Bytes(type)));
  }
  access.Launch(plan, i, ptrs);
  Communicator* c = Communicator::Current();
  if (c != nullptr &&
      g.is(step.node, ops::kAllReduceStart)) {  // or it would be looked at half done
    c->Wait(static_cast<int>(g.attr<int64_t>(step.node, ops::AllReduceAttr::kSlot)));
  }
  for (int k = 0; k < step.num_outputs && inputs_finite; ++k) {
    if (finite(step.num_inputs + k, g.result(step.node, k))) continue;
    const std::string message = NonFiniteMessage(g, step.node, k);
    for (size_t j = 0; j < found.inputs.size(); ++j) {  // state written in place is as it was
      access.Write(ptrs[j], found.inputs[j]);
    }
    if (!fused) throw Error(ErrorCode::kNonFinite, std::string(g.op(step.node).name), message);
    found.body = g.attr<Body>(step.node, 0);
    found.message = message;
    throw found;
  }
}

void BlameBody(const Graph& body, std::span<const Tensor> inputs) {
  std::vector<Tensor> values(static_cast<size_t>(body.value_capacity()));
  for (size_t i = 0; i < inputs.size(); ++i) values[body.inputs()[i].id] = inputs[i];
  const auto finite = [](const Tensor& t) { return AllFinite(t.dtype(), t.raw(), t.numel()); };
  for (NodeId n = body.first(); n.valid(); n = body.next(n)) {
    std::vector<Tensor> operands, results;
    for (int i = 0; i < body.num_operands(n); ++i) {
      operands.push_back(values[body.operand(n, i).id]);
    }
    try {
      RunEagerOn({}, body.op(n), operands, body.attrs(n), &results);
    } catch (Error& error) {  // eager debug mode was first; it knows no line
      throw error.At(ShortLocation(body.location(n)));
    }
    const bool sound = std::all_of(operands.begin(), operands.end(), finite);
    for (int k = 0; k < body.num_results(n); ++k) {
      if (sound && !finite(results[k])) {
        Error error(ErrorCode::kNonFinite, std::string(body.op(n).name),
                    NonFiniteMessage(body, n, k));
        throw error.At(ShortLocation(body.location(n)));
      }
      values[body.result(n, k).id] = results[k];
    }
  }
}

}  // namespace ostria
