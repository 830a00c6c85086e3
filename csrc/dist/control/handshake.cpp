// SPDX-License-Identifier: Apache-2.0
#include "dist/control/handshake.h"

namespace ostria::control {

std::string Transcript(Side side, const Hello& hello, uint32_t generation, const Nonce& server) {
  Writer w;
  w.Text(side == Side::kServer ? "ostria control: server" : "ostria control: client", 64, "a side");
  w.Number(kVersion);
  w.Number(generation);
  Hello::Fields(w, hello);
  w.Raw(server);
  return std::move(w.bytes);
}

}  // namespace ostria::control
