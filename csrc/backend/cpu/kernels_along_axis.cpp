// SPDX-License-Identifier: Apache-2.0
// take_along_axis and put_along_axis: elements picked by an index of their own. What broadcasts,
// the ops' decompositions repeat first.
#include <cstring>

#include "backend/along_axis_node.h"
#include "backend/cpu/columns.h"
#include "backend/cpu/combine.h"
#include "backend/cpu/indices.h"
#include "backend/cpu/kernels.h"
#include "ops/common/along_axis.h"
#include "ops/ops.h"

namespace ostria::cpu {
namespace {

using ops::AlongAxisAttr;

struct AlongState final : KernelState {
  DType dtype;
  Columns columns;    // of x
  int64_t count = 0;  // indices along the axis
  Indices indices;
  int64_t bytes = 0;
  std::string reduce;  // put_along_axis
};

Support Supports(const NodeDesc& d) {
  const Support alike = NothingBroadcastsAlong(d);
  return alike.ok ? NeedsDense(d) : alike;
}

Support SupportsPut(const NodeDesc& d) {
  const DType t = d.inputs[0].dtype;
  if ((t == DType::kFloat16 || t == DType::kBFloat16) &&
      d.attr<std::string>(ops::AlongAxisAttr::kReduce) == "add") {
    return Support::No("would round ", t, " after every addition");
  }
  return Supports(d);
}

std::unique_ptr<AlongState> Make(const NodeDesc& d) {
  auto state = std::make_unique<AlongState>();
  const int axis = AlongAxisOf(d);
  state->dtype = d.inputs[0].dtype;
  state->columns = Columns::Of(d.inputs[0], axis);
  state->count = d.inputs[1].sizes[axis];
  state->indices = Indices::Of(d, 1, state->columns.size);
  state->bytes = d.outputs[0].bytes();
  return state;
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) { return Make(d); }

std::unique_ptr<KernelState> PreparePut(const NodeDesc& d) {
  auto state = Make(d);
  state->reduce = d.attr<std::string>(AlongAxisAttr::kReduce);
  return state;
}

template <class T>
void Take(const AlongState& s, const T* x, const void* indices, T* y) {
  const Columns& c = s.columns;
  ForColumns(c, s.count, [&](int64_t o, int64_t begin, int64_t end) {
    const T* from = x + o * c.size * c.inner;
    for (int64_t i = o * s.count; i < (o + 1) * s.count; ++i) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t at = i * c.inner + k;
        y[at] = from[s.indices.Place(indices, at) * c.inner + k];
      }
    }
  });
}

void LaunchTake(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AlongState&>(state);
  s.indices.Check(ptrs[1]);
  const auto run = [&]<class T>(T*) {
    Take(s, static_cast<const T*>(ptrs[0]), ptrs[1], static_cast<T*>(ptrs[2]));
  };
  switch (SizeOf(s.dtype)) {
    case 1: return run(static_cast<uint8_t*>(nullptr));
    case 2: return run(static_cast<uint16_t*>(nullptr));
    case 4: return run(static_cast<uint32_t*>(nullptr));
    default: return run(static_cast<uint64_t*>(nullptr));
  }
}

template <class T, class Rule>
void Put(const AlongState& s, const void* indices, const T* values, T* y, Rule rule) {
  const Columns& c = s.columns;
  ForColumns(c, s.count, [&](int64_t o, int64_t begin, int64_t end) {
    T* to = y + o * c.size * c.inner;
    for (int64_t i = o * s.count; i < (o + 1) * s.count; ++i) {
      for (int64_t k = begin; k < end; ++k) {
        const int64_t at = i * c.inner + k;
        T& element = to[s.indices.Place(indices, at) * c.inner + k];
        element = rule(element, values[at]);
      }
    }
  });
}

void LaunchPut(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const AlongState&>(state);
  s.indices.Check(ptrs[1]);
  if (ptrs[3] != ptrs[0]) std::memcpy(ptrs[3], ptrs[0], static_cast<size_t>(s.bytes));
  DispatchDType(s.dtype, [&]<class T>(T*) {
    const auto run = [&](auto rule) {
      Put(s, ptrs[1], static_cast<const T*>(ptrs[2]), static_cast<T*>(ptrs[3]), rule);
    };
    if (s.reduce == "update") return run(Replace());
    if (s.reduce == "add") return run(Sum());
    return s.reduce == "max" ? run(Larger()) : run(Smaller());
  });
}

constexpr KernelDef kKernels[] = {
    {.op = &ops::kTakeAlongAxis,
     .impl = "columns",
     .supports = Supports,
     .prepare = Prepare,
     .launch = LaunchTake},
    {.op = &ops::kPutAlongAxis,
     .impl = "columns",
     .supports = SupportsPut,
     .prepare = PreparePut,
     .launch = LaunchPut,
     .alias_ok = [](const NodeDesc&, int, int in) { return in == 0; }},
};

}  // namespace

std::span<const KernelDef> AlongAxisKernels() { return kKernels; }

}  // namespace ostria::cpu
