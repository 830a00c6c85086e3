// SPDX-License-Identifier: Apache-2.0
// MPI's point-to-point messages as a wire. Requests are started and polled, so a wait ends at its
// deadline and when any rank ends the group, whatever MPI would do. MPI keeps the order of messages
// between two ranks, so a slot need not fit into a tag.
#pragma once

#include <mpi.h>

#include "dist/wire.h"

namespace ostria {

class MpiWire final : public Wire {
 public:
  MpiWire(int rank, int size, std::shared_ptr<KeyValues> key_values, const GroupOptions& options);
  ~MpiWire() override;

  std::unique_ptr<Transfer> Send(int rank, uint64_t slot, const void* data, int64_t bytes) override;
  std::unique_ptr<Transfer> Receive(int rank, uint64_t slot, void* data, int64_t bytes) override;
  void Wait(Transfer& transfer) override;

 private:
  class Request;

  void Connect(const GroupOptions& options);
  // Polls until `request` is done; `rank`: whose it is, -1 for that of all.
  void Poll(MPI_Request& request, int rank, std::chrono::milliseconds patience);
  // An error of MPI's ends the group.
  void Check(int error, int rank);
  void Wake() override {}  // a wait polls

  MPI_Comm group_ = MPI_COMM_NULL;
};

}  // namespace ostria
