// SPDX-License-Identifier: Apache-2.0
#include "dist/control_key_values.h"

#include "dist/control/peer_failure.h"

namespace ostria {
namespace {

class OfControlChannel final : public KeyValues {
 public:
  explicit OfControlChannel(control::Client& client)
      : client_(client), prefix_(StrCat("transport/", client.options().generation, "/")) {}

  void Set(std::string_view key, std::string_view value) override {
    client_.Set(StrCat(prefix_, key), std::string(value));
  }
  std::optional<std::string> Get(std::string_view key, std::chrono::milliseconds timeout) override {
    const std::string name = StrCat(prefix_, key);
    if (auto value = client_.TryGet(name); value || timeout.count() <= 0) return value;
    try {
      return client_.Get(name, timeout);
    } catch (const PeerFailedError&) {
      throw;
    } catch (const Error&) {
      return client_.TryGet(name);  // its time is over; or the channel is, which this says too
    }
  }

 private:
  control::Client& client_;
  const std::string prefix_;
};

}  // namespace

std::shared_ptr<KeyValues> MakeKeyValues(control::Client& client) {
  return std::make_shared<OfControlChannel>(client);
}

}  // namespace ostria
