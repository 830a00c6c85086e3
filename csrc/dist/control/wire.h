// SPDX-License-Identifier: Apache-2.0
// Bytes of messages: a header of 16 bytes (magic, version, type, length, generation;
// little-endian), then a body whose length has a cap for each type. Parsing is a function of bytes
// alone, and never allocates what a length merely claims: text and lists must lie in the bytes that
// are there.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace ostria::control {

inline constexpr uint32_t kMagic = 0x4354534f;  // "OSTC"
inline constexpr uint16_t kVersion = 2;
inline constexpr size_t kHeaderBytes = 16;

enum class MessageType : uint16_t {
  kHello = 1,  // who I am, and a challenge
  kChallenge,  // the server's proof, and its challenge
  kProof,      // the client's proof
  kWelcome,    // it may speak
  kRefusal,    // it may not, or no longer; the last message of a connection
  kJoin,       // all ranks come together
  kMembers,    // they have
  kHeartbeat,  // a sign of life, with progress
  kHeartbeatReply,
  kRequest,  // to the store
  kReply,
  kLines,    // what a fingerprint was made of
  kFailure,  // somebody failed
};
inline constexpr auto kLastType = MessageType::kFailure;

/// Largest body of a type.
size_t MaxBody(MessageType type);

struct Header {
  uint16_t version = kVersion;
  MessageType type{};
  uint32_t length = 0, generation = 0;
};

struct Frame {
  enum class Status : uint8_t {
    kIncomplete,
    kComplete,
    kNotOurs,
    kOtherVersion,
    kBadType,
    kTooLong
  };
  Status status = Status::kIncomplete;
  Header header;                  // as far as it is known
  std::span<const uint8_t> body;  // where complete; of the given bytes
  size_t size() const { return kHeaderBytes + body.size(); }
};

/// The first message of `bytes`. Whether they can become one is known from the first byte on.
/// A refusal is understood in every version.
Frame ParseFrame(std::span<const uint8_t> bytes);

class Writer {
 public:
  template <class T>
  void Number(T x) {
    static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
    auto bits = static_cast<uint64_t>(x);
    for (size_t i = 0; i < sizeof(T); ++i, bits >>= 8) bytes.push_back(static_cast<char>(bits));
  }
  template <class T>
  void Enum(T x, T /*last*/) {
    Number(x);
  }
  void Flag(bool x) { bytes.push_back(static_cast<char>(x)); }
  template <size_t N>
  void Raw(const std::array<uint8_t, N>& a) {
    bytes.append(a.begin(), a.end());
  }
  /// Throws Error(kInvalidArgument) above the cap: what a user gave is too long.
  void Text(std::string_view text, size_t cap, const char* what) {
    if (text.size() > cap) TooLong(what, text.size(), cap);
    Number(static_cast<uint32_t>(text.size()));
    bytes.append(text);
  }
  template <class E, class Item>
  void List(const std::vector<E>& list, size_t cap, const char* what, Item item) {
    if (list.size() > cap) TooLong(what, list.size(), cap);
    Number(static_cast<uint32_t>(list.size()));
    for (const E& e : list) item(*this, e);
  }

  std::string bytes;

 private:
  [[noreturn]] static void TooLong(const char* what, size_t size, size_t cap);
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : left_(bytes) {}
  template <class T>
  void Number(T& x) {
    uint64_t bits = 0;
    if (!Has(sizeof(T))) return;
    for (size_t i = 0; i < sizeof(T); ++i) bits |= static_cast<uint64_t>(left_[i]) << (8 * i);
    x = static_cast<T>(bits);
    left_ = left_.subspan(sizeof(T));
  }
  /// 0 to `last`.
  template <class T>
  void Enum(T& x, T last) {
    using U = std::underlying_type_t<T>;
    U value{};
    Number(value);
    if (value > static_cast<U>(last)) good_ = false;
    if (good_) x = static_cast<T>(value);
  }
  void Flag(bool& x) {
    uint8_t value = 0;
    Number(value);
    if (value > 1) good_ = false;
    x = value == 1;
  }
  template <size_t N>
  void Raw(std::array<uint8_t, N>& a) {
    if (!Has(N)) return;
    std::copy_n(left_.begin(), N, a.begin());
    left_ = left_.subspan(N);
  }
  void Text(std::string& text, size_t cap, const char* /*what*/) {
    uint32_t size = 0;
    Number(size);
    if (size > cap) good_ = false;
    if (!Has(size)) return;
    text.assign(reinterpret_cast<const char*>(left_.data()), size);
    left_ = left_.subspan(size);
  }
  template <class E, class Item>
  void List(std::vector<E>& list, size_t cap, const char* /*what*/, Item item) {
    uint32_t size = 0;
    Number(size);
    if (size > cap) good_ = false;
    list.clear();
    for (uint32_t i = 0; i < size && good_; ++i) item(*this, list.emplace_back());
  }
  /// Everything was there, and nothing is left.
  bool Done() const { return good_ && left_.empty(); }

 private:
  bool Has(size_t n) { return good_ = good_ && left_.size() >= n; }
  std::span<const uint8_t> left_;
  bool good_ = true;
};

/// Header and body of `message`, whose fields T::Fields lists once for writing and reading.
template <class T>
std::string Encode(const T& message, uint32_t generation) {
  Writer w;
  w.Number(kMagic);
  w.Number(kVersion);
  w.Number(T::kType);
  w.Number(uint32_t{0});
  w.Number(generation);
  T::Fields(w, message);
  const size_t length = w.bytes.size() - kHeaderBytes;
  if (length > MaxBody(T::kType)) {
    Fail(ErrorCode::kInvalidArgument, "a message of ", length, " bytes; at most ",
         MaxBody(T::kType));
  }
  for (size_t i = 0; i < 4; ++i) w.bytes[8 + i] = static_cast<char>(length >> (8 * i));
  return std::move(w.bytes);
}

template <class T>
std::optional<T> Decode(std::span<const uint8_t> body) {
  Reader r(body);
  T message;
  T::Fields(r, message);
  if (!r.Done()) return std::nullopt;
  return message;
}

}  // namespace ostria::control
