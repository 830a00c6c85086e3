// SPDX-License-Identifier: Apache-2.0
// How client and server prove to each other that they know the job's secret, without saying it:
//   client: Hello(who, nonce c)          server: Challenge(HMAC("server", who, c, s), nonce s)
//   client: Proof(HMAC("client", who, c, s))                          server: Welcome or Refusal
// `who` is protocol version, job, generation, role, rank and world, so a proof serves nothing else.
#pragma once

#include "dist/control/messages.h"

namespace ostria::control {

enum class Side : uint8_t { kServer, kClient };

/// What `side` authenticates.
std::string Transcript(Side side, const Hello& hello, uint32_t generation, const Nonce& server);

}  // namespace ostria::control
