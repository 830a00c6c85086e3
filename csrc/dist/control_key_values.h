// SPDX-License-Identifier: Apache-2.0
// The control channel's store, as what transports ask for.
#pragma once

#include <memory>

#include "dist/control/client.h"
#include "dist/key_values.h"

namespace ostria {

/// Keys of this generation; `client` must outlive every communicator that is made with it. Waits
/// end with PeerFailedError where a peer failed.
std::shared_ptr<KeyValues> MakeKeyValues(control::Client& client);

}  // namespace ostria
