// SPDX-License-Identifier: Apache-2.0
// Running along an axis: cumsum, cumprod and linear_scan, one column after the other, so that the
// order of additions is that of the elements. Floats accumulate one size up.
#include "backend/cpu/columns.h"
#include "backend/cpu/combine.h"
#include "backend/cpu/kernels.h"
#include "base/check.h"
#include "ops/common/scan.h"

namespace ostria::cpu {
namespace {

// What one dtype accumulates in; integers, which are of 64 bits here, wrap around.
template <class T>
struct Accumulator {
  using type = std::conditional_t<std::is_same_v<T, float>, double, T>;
};
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) struct Accumulator<T> {
  using type = uint64_t;
};
template <class T>
requires(kIsHalf<T>) struct Accumulator<T> {
  using type = float;
};

struct ScanState final : KernelState {
  const OpDef* op = nullptr;
  DType dtype;
  Columns columns;
  bool exclusive = false, reverse = false;
};

Support Supports(const NodeDesc& d) {
  const DType from = d.inputs[0].dtype, to = d.outputs[0].dtype;
  if (from != to) return Support::No("runs in ", from, ", not as ", to);
  if (from == DType::kBool) return Support::No("not defined for bool");
  return NeedsDense(d);
}

std::unique_ptr<KernelState> Prepare(const NodeDesc& d) {
  auto state = std::make_unique<ScanState>();
  state->op = d.op;
  state->dtype = d.inputs[0].dtype;
  state->columns =
      Columns::Of(d.inputs[0], ops::Axis(d.attr<int64_t>(ops::kScanAxis), d.inputs[0].rank));
  state->exclusive = d.attr<bool>(ops::kScanExclusive);
  state->reverse = d.attr<bool>(ops::kScanReverse);
  return state;
}

// `step(accumulated, at)` gives the next accumulated value from the element at `at`, which it reads
// before the result is written there: the two may be one memory.
template <class T, class Acc, class Step>
void Scan(const ScanState& s, Acc initial, T* y, Step step) {
  constexpr int64_t kBlock = 64;  // columns at once
  const Columns& c = s.columns;
  ForColumns(c, c.size, [&](int64_t o, int64_t begin, int64_t end) {
    if (c.inner == 1) {  // one accumulator, in a register
      Acc acc = initial;
      for (int64_t i = 0; i < c.size; ++i) {
        const int64_t at = o * c.size + (s.reverse ? c.size - 1 - i : i);
        const Acc next = step(acc, at, i == 0);
        y[at] = static_cast<T>(s.exclusive ? acc : next);
        acc = next;
      }
      return;
    }
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t n = std::min(kBlock, end - first);
      Acc acc[kBlock];
      for (int64_t k = 0; k < n; ++k) acc[k] = initial;
      for (int64_t i = 0; i < c.size; ++i) {
        const int64_t row = s.reverse ? c.size - 1 - i : i;
        const int64_t at = (o * c.size + row) * c.inner + first;
        for (int64_t k = 0; k < n; ++k) {
          const Acc next = step(acc[k], at + k, i == 0);
          y[at + k] = static_cast<T>(s.exclusive ? acc[k] : next);
          acc[k] = next;
        }
      }
    }
  });
}

void Launch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const ScanState&>(state);
  DispatchDType(s.dtype, [&]<class T>(T*) {
    using Acc = typename Accumulator<T>::type;
    const T* x = static_cast<const T*>(ptrs[0]);
    if constexpr (std::is_same_v<T, bool>) {
      OSTRIA_CHECK(false, s.op->name);
    } else if (s.op == &ops::kCumsum) {
      Scan(s, Acc(0), static_cast<T*>(ptrs[1]),
           [x](Acc a, int64_t at, bool) { return static_cast<Acc>(a + static_cast<Acc>(x[at])); });
    } else if (s.op == &ops::kCumprod) {
      Scan(s, Acc(1), static_cast<T*>(ptrs[1]),
           [x](Acc a, int64_t at, bool) { return static_cast<Acc>(a * static_cast<Acc>(x[at])); });
    } else if constexpr (!std::is_integral_v<T>) {
      // Nothing comes before the first element: not even 0, which an infinite factor makes NaN.
      const T* b = static_cast<const T*>(ptrs[1]);
      Scan(s, Acc(0), static_cast<T*>(ptrs[2]), [x, b](Acc a, int64_t at, bool first) {
        const Acc own = static_cast<Acc>(b[at]);
        return first ? own : static_cast<Acc>(x[at]) * a + own;
      });
    }
  });
}

constexpr KernelDef Of(const OpDef& op) {
  return {.op = &op,
          .impl = "columns",
          .supports = Supports,
          .prepare = Prepare,
          .launch = Launch,
          .alias_ok = [](const NodeDesc&, int, int) { return true; }};
}

constexpr KernelDef kKernels[] = {Of(ops::kCumsum), Of(ops::kCumprod), Of(ops::kLinearScan)};

}  // namespace

std::span<const KernelDef> ScanKernels() { return kKernels; }

}  // namespace ostria::cpu
