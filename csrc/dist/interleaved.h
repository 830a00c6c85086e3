// SPDX-License-Identifier: Apache-2.0
// A communicator whose started calls are made by the calling thread itself, in pieces between what
// it computes: for a rank that has one core, where a thread beside it (dist/overlapped.h) would
// only take turns with it.
#pragma once

#include <memory>

#include "backend/communicator.h"

namespace ostria {

/// As MakeOverlapped. `inner` has pieces.
std::unique_ptr<Communicator> MakeInterleaved(std::unique_ptr<Communicator> inner,
                                              std::shared_ptr<void> companion = nullptr);

}  // namespace ostria
