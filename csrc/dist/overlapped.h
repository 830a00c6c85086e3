// SPDX-License-Identifier: Apache-2.0
// A communicator with a thread of its own for what is started beside the caller, in the order in
// which it was called: other calls wait until all that was started is done, so every rank's calls
// come in one order. After the first step a step allocates nothing.
#pragma once

#include <memory>

#include "backend/communicator.h"

namespace ostria {

/// Owns `inner`, which does the work. Destroyed while calls run, it aborts their group. `companion`
/// is whatever must go before `inner` does.
std::unique_ptr<Communicator> MakeOverlapped(std::unique_ptr<Communicator> inner,
                                             std::shared_ptr<void> companion = nullptr);

}  // namespace ostria
