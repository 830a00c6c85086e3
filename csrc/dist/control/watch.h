// SPDX-License-Identifier: Apache-2.0
// Where the control channel meets the data path: heartbeats tell the latest collective of a rank's
// communicator, a failure of a peer aborts it and has it write its record, and transports find each
// other through the store.
#pragma once

#include <memory>
#include <string>

#include "dist/control/client.h"
#include "dist/flight_recorder.h"
#include "dist/key_values.h"

namespace ostria::control {

/// Holds the two together as long as it lives; it must not outlive `communicator`.
class Watch {
 public:
  Watch(std::shared_ptr<Client> client, RecordedCommunicator* communicator);
  ~Watch();
  Watch(const Watch&) = delete;

 private:
  std::shared_ptr<Client> client_;
  int source_ = -1, token_ = -1;
};

/// What a heartbeat tells of a recorder: its first collective is number 1.
Progress ProgressOf(const FlightRecorder& recorder);

/// The store's keys that begin with `prefix`, without it.
std::shared_ptr<KeyValues> MakeStoreKeyValues(std::shared_ptr<Client> client, std::string prefix);

}  // namespace ostria::control
