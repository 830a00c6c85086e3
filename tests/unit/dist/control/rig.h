// SPDX-License-Identifier: Apache-2.0
// A hub without sockets: tests speak the protocol to it by hand and turn its clock.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dist/control/handshake.h"
#include "dist/control/hub.h"

namespace ostria::control {

struct Rig final : Outbox {
  using ms = std::chrono::milliseconds;

  explicit Rig(int world, Timers timers = {}, size_t max_pending = 64, int served_by = 0)
      : hub({"job", 1, world, timers, served_by, "server", 99, max_pending}, secret, this, now) {}

  void Send(ConnectionId to, Bytes bytes) override {
    if (!closed.contains(to)) sent[to] += *bytes;
  }
  void Close(ConnectionId id) override { closed.insert(id); }
  void Log(const std::string& line) override { log += line + "\n"; }

  ConnectionId Open() {
    ++last;
    hub.Connected(last, StrCat("peer ", last), now);
    return last;
  }
  void Feed(ConnectionId id, const std::string& bytes) {
    hub.Received(id, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, now);
  }
  template <class T>
  void Say(ConnectionId id, const T& message, uint32_t generation = 1) {
    Feed(id, Encode(message, generation));
  }
  void Forget(ConnectionId id) {
    sent.erase(id);
    closed.erase(id);
  }

  /// All messages of one type that a connection got since it was last asked.
  template <class T>
  std::vector<T> Got(ConnectionId id) {
    std::vector<T> found;
    std::string& all = sent[id];
    std::string rest;
    size_t at = 0;
    while (at < all.size()) {
      const Frame frame =
          ParseFrame({reinterpret_cast<const uint8_t*>(all.data()) + at, all.size() - at});
      if (frame.header.type == T::kType)
        found.push_back(*Decode<T>(frame.body));
      else
        rest += all.substr(at, frame.size());
      at += frame.size();
    }
    all = rest;
    return found;
  }

  void Greet(ConnectionId id, Hello hello, uint32_t generation) {
    hellos[id] = {hello, generation};
    Say(id, hello, generation);
  }
  /// Answers the challenge; with `other` as the secret where given.
  void Prove(ConnectionId id, const Secret* other = nullptr, const std::string& host = "host") {
    const auto [hello, generation] = hellos[id];
    const auto challenge = Got<Challenge>(id);
    if (challenge.empty()) return;
    const Secret& mine = other == nullptr ? secret : *other;
    const std::string transcript = Transcript(Side::kClient, hello, generation, challenge[0].nonce);
    Say(id, Proof{mine.Hmac(transcript), host, 1000 + hello.rank}, generation);
  }
  /// Rank `rank` of "host-<rank>", welcome.
  ConnectionId Enter(int rank, uint32_t generation = 1) {
    const ConnectionId id = Open();
    Greet(id, {"job", Role::kRank, rank, hub.members().world(), {}}, generation);
    Prove(id, nullptr, StrCat("host-", rank));
    return id;
  }
  /// Everybody, joined.
  std::vector<ConnectionId> EnterAll() {
    std::vector<ConnectionId> ids;
    for (int r = 0; r < hub.members().world(); ++r) {
      ids.push_back(Enter(r, hub.options().generation));
      Say(ids.back(), Join{1, {}}, hub.options().generation);
    }
    return ids;
  }

  uint64_t Begin(ConnectionId id, RequestKind kind, const std::string& key = "",
                 const std::string& value = "", int64_t number = 0, int64_t timeout_ms = 100,
                 const std::string& operation = "") {
    Say(id, Request{++request, kind, timeout_ms, number, key, value, operation},
        hub.options().generation);
    return request;
  }
  Reply Ask(ConnectionId id, RequestKind kind, const std::string& key = "",
            const std::string& value = "", int64_t number = 0, const std::string& operation = "") {
    Begin(id, kind, key, value, number, 100, operation);
    const auto replies = Got<Reply>(id);
    return replies.empty() ? Reply() : replies.back();
  }
  /// Turns the clock in small steps; those who `beat` send a heartbeat every 5 ms.
  void Pass(ms time, const std::vector<ConnectionId>& beat = {}) {
    for (const Time end = now + time; now < end;) {
      now += ms(5);
      for (const ConnectionId id : beat) Say(id, Heartbeat(), hub.options().generation);
      hub.Tick(now);
    }
  }
  std::string Reason(ConnectionId id) {
    const auto refusals = Got<Refusal>(id);
    return refusals.empty() ? "" : std::string(ToString(refusals[0].reason));
  }

  Time now{};
  Secret secret = Secret::Generate();
  std::map<ConnectionId, std::string> sent;
  std::set<ConnectionId> closed;
  std::map<ConnectionId, std::pair<Hello, uint32_t>> hellos;
  std::string log;
  ConnectionId last = 0;
  uint64_t request = 0;
  Hub hub;
};

/// Timers of tests: 20, 100 and 200 ms, the rest seconds.
inline Timers Quick() {
  using ms = std::chrono::milliseconds;
  return {ms(20), ms(100), ms(200), ms(300), ms(600), ms(1000), ms(100), ms(150)};
}

}  // namespace ostria::control
