// SPDX-License-Identifier: Apache-2.0
// Collectives over a Wire. Each rank reduces a slice: it gets that slice of everybody, adds in the
// order of the canonical tree, and sends the sum to all. That is as many bytes as a ring in two
// steps instead of 2 (n - 1), every rank hears from every other so it knows who is late, and the
// bits are those of `local`.
#pragma once

#include <memory>
#include <string_view>

#include "dist/wire.h"

namespace ostria {

/// `transport` names what the wire is made of, and outlives the communicator.
std::unique_ptr<Communicator> MakeWired(std::string_view transport, std::unique_ptr<Wire> wire);

}  // namespace ostria
