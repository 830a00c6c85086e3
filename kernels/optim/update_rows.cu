// SPDX-License-Identifier: Apache-2.0
// Updates of the optimizers that take gradients by rows, or leave rows without a gradient alone.
#include "kernels/optim/update_impl.h"

namespace ostria::kernels {

OSTRIA_UPDATE_KERNELS(sgd_update_rows, UpdateRows, UpdateRowsParams, SgdRule)
OSTRIA_UPDATE_KERNELS(adam_update_rows, UpdateRows, UpdateRowsParams, AdamRule)
OSTRIA_UPDATE_KERNELS(adagrad_update_rows, UpdateRows, UpdateRowsParams, AdagradRule)
OSTRIA_UPDATE_KERNELS(ftrl_update_rows, UpdateRows, UpdateRowsParams, FtrlRule)

}  // namespace ostria::kernels
