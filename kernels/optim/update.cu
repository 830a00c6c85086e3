// SPDX-License-Identifier: Apache-2.0
// Updates of optimizers whose gradients are whole tensors, and averages of weights.
#include "kernels/optim/update_impl.h"

namespace ostria::kernels {
namespace {

template <class V>
using RmspropPlain = RmspropRule<V, false, false>;
template <class V>
using RmspropMomentum = RmspropRule<V, true, false>;
template <class V>
using RmspropCentered = RmspropRule<V, true, true>;

template <class T>
OSTRIA_DEVICE void Average(const EmaParams& p) {
  if (!*p.commit) return;
  const int64_t step = *p.step;
  const double share = step <= 1 ? 0 : p.momentum;
  const bool overwrites = p.overwrite > 0 && step % p.overwrite == 0;
  const EmaRule<T> rule(&share);
  ForTiles(p, [&](const UpdateSegment& s, int64_t begin, int64_t end) {
    T* const averages = static_cast<T*>(s.w) + begin;
    const T* const from = static_cast<const T*>(s.g) + begin;
    T* const to = static_cast<T*>(s.slots[0]) + begin;
    const VectorSplit split = SplitSegment<T, 1>(s, begin, end - begin);
    ForVectors<T>(split, threadIdx.x, blockDim.x, [&]<int kCount>(int64_t i, Count<kCount>) {
      T weights[kCount];
      LoadVector(from + i, weights);
      Move<T>(rule, T(1), T(1), averages, nullptr, i, weights);
      if (!overwrites) return;
      LoadVector(static_cast<const T*>(averages) + i, weights);
      StoreVector(to + i, weights);
    });
  });
}

}  // namespace

OSTRIA_UPDATE_KERNELS(sgd_update, Update, UpdateParams, SgdRule)
OSTRIA_UPDATE_KERNELS(momentum_update, Update, UpdateParams, MomentumRule)
OSTRIA_UPDATE_KERNELS(adam_update, Update, UpdateParams, AdamRule)
OSTRIA_UPDATE_KERNELS(adagrad_update, Update, UpdateParams, AdagradRule)
OSTRIA_UPDATE_KERNELS(rmsprop_update, Update, UpdateParams, RmspropPlain)
OSTRIA_UPDATE_KERNELS(rmsprop_momentum_update, Update, UpdateParams, RmspropMomentum)
OSTRIA_UPDATE_KERNELS(rmsprop_centered_update, Update, UpdateParams, RmspropCentered)
OSTRIA_UPDATE_KERNELS(adadelta_update, Update, UpdateParams, AdadeltaRule)
OSTRIA_UPDATE_KERNELS(adamax_update, Update, UpdateParams, AdamaxRule)
OSTRIA_UPDATE_KERNELS(nadam_update, Update, UpdateParams, NadamRule)
OSTRIA_UPDATE_KERNELS(ftrl_update, Update, UpdateParams, FtrlRule)
OSTRIA_UPDATE_KERNELS(lion_update, Update, UpdateParams, LionRule)

OSTRIA_KERNEL(ema_update_f32, EmaParams, kUpdateThreads) { Average<float>(p); }
OSTRIA_KERNEL(ema_update_f64, EmaParams, kUpdateThreads) { Average<double>(p); }

}  // namespace ostria::kernels
