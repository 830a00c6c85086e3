// SPDX-License-Identifier: Apache-2.0
// What CUDA offers as Backend::Connect.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "backend/communicator.h"

namespace ostria::cuda {

std::vector<std::unique_ptr<Communicator>> ConnectByNccl(
    std::span<const int> ordinals, std::vector<std::unique_ptr<Communicator>> hosts,
    std::chrono::milliseconds timeout);

}  // namespace ostria::cuda
