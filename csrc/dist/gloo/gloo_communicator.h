// SPDX-License-Identifier: Apache-2.0
// Collectives over Gloo's connections. Each rank reduces a slice: it gets that slice of everybody,
// adds in the order of the canonical tree, and sends the sum to all. That is as many bytes as a
// ring in two steps instead of 2 (n - 1), every rank hears from every other so it knows who is
// late, and the bits are those of `local`.
#pragma once

#include "dist/gloo_library.h"

namespace ostria {

std::unique_ptr<Communicator> MakeGlooCommunicator(int rank, int size,
                                                   std::shared_ptr<KeyValues> key_values,
                                                   const GlooOptions& options);

}  // namespace ostria
