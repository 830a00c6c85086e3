// SPDX-License-Identifier: Apache-2.0
#include "dist/control/watch.h"

namespace ostria::control {
namespace {

class StoreKeyValues final : public KeyValues {
 public:
  StoreKeyValues(std::shared_ptr<Client> client, std::string prefix)
      : client_(std::move(client)), prefix_(std::move(prefix)) {}
  void Set(std::string_view key, std::string_view value) override {
    client_->Set(StrCat(prefix_, key), std::string(value));
  }
  std::optional<std::string> Get(std::string_view key, std::chrono::milliseconds timeout) override {
    const std::string full = StrCat(prefix_, key);
    return timeout.count() <= 0 ? client_->TryGet(full) : client_->WaitFor(full, timeout);
  }

 private:
  std::shared_ptr<Client> client_;
  std::string prefix_;
};

}  // namespace

Progress ProgressOf(const FlightRecorder& recorder) {
  const LastCollective last = recorder.Last();
  if (last.sequence < 0) return {};
  Progress progress;
  progress.number = static_cast<uint64_t>(last.sequence) + 1;
  // Of a graph's collectives "what" says the kind too: "all_reduce of step (graph 1)".
  const std::string_view kind = static_cast<const char*>(last.kind);
  const std::string_view what = static_cast<const char*>(last.what);
  const bool has_kind = what.starts_with(kind);
  progress.name = Clip(has_kind ? std::string(what) : StrCat(kind, " of ", what), kMaxOperation);
  progress.inside = last.state == CollectiveState::kStarted;
  return progress;
}

Watch::Watch(std::shared_ptr<Client> client, RecordedCommunicator* communicator)
    : client_(std::move(client)) {
  source_ = client_->AddProgressSource(
      [recorder = &communicator->recorder()] { return ProgressOf(*recorder); },
      [recorder = &communicator->recorder()] { return recorder->blocked(); });
  // Also where nothing of ours waits, so that a rank that others wait for tells what it did last.
  token_ = client_->AddHandler([communicator](const PeerFailure& failure) {
    communicator->Abort(ToString(failure));
    communicator->Dump(ToString(failure));
  });
}

Watch::~Watch() {
  client_->RemoveHandler(token_);
  client_->RemoveProgressSource(source_);
}

std::shared_ptr<KeyValues> MakeStoreKeyValues(std::shared_ptr<Client> client, std::string prefix) {
  return std::make_shared<StoreKeyValues>(std::move(client), std::move(prefix));
}

}  // namespace ostria::control
