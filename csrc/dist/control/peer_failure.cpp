// SPDX-License-Identifier: Apache-2.0
#include "dist/control/peer_failure.h"

namespace ostria {

std::string ToString(const PeerFailure& f) {
  std::string text = f.rank >= 0  ? StrCat("rank ", f.rank)
                     : f.pid != 0 ? std::string("the launcher")
                                  : std::string("the job");
  if (!f.host.empty()) {
    text += StrCat(" (", f.host);
    if (f.pid != 0) text += StrCat(", pid ", f.pid);
    text += ")";
  }
  text += StrCat(": ", f.reason);
  if (!f.operation.empty()) text += StrCat("; its last known operation was ", f.operation);
  return text;
}

}  // namespace ostria
