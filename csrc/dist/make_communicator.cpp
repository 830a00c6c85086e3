// SPDX-License-Identifier: Apache-2.0
#include "dist/make_communicator.h"

#include <algorithm>

#include "base/check.h"
#include "dist/local.h"
#include "dist/shm.h"

namespace ostria {

MadeCommunicator MakeCommunicator(int rank, int size, std::span<const std::string> hosts,
                                  KeyValues& key_values, const CommunicatorOptions& options) {
  OSTRIA_CHECK(rank >= 0 && rank < size && static_cast<int>(hosts.size()) == size);
  CommunicatorOptions o = options;
  for (int r = 0; o.labels.size() < hosts.size(); ++r) {
    o.labels.push_back(StrCat("rank ", r, " (", hosts[static_cast<size_t>(r)], ")"));
  }
  ShmOptions shm{o};
  return {MakeShm(rank, size, key_values, shm), "shm"};
}

}  // namespace ostria
