// SPDX-License-Identifier: Apache-2.0
// The secret of a job, 256 bits that all its processes and nobody else know, and what is proved
// with it: HMAC-SHA-256, random bytes and comparison in constant time, all libsodium's. A secret
// comes by file descriptor, environment variable or a file of mode 0600, never by an argument that
// `ps` shows, and no message of ours holds it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "dist/control/timers.h"

namespace ostria::control {

using Nonce = std::array<uint8_t, 32>;
using Mac = std::array<uint8_t, 32>;

class Secret {
 public:
  static constexpr size_t kBytes = 32;

  static Secret Generate();
  /// 64 hexadecimal digits, white space around them allowed. Errors name `where`, not the digits.
  static Secret FromHex(std::string_view digits, std::string_view where);
  /// A regular file of this user's that nobody else may read or write; throws kInvalidArgument,
  /// kIo.
  static Secret FromFile(const std::string& path);
  /// Reads to the end of it and leaves it open.
  static Secret FromFd(int fd, std::string_view where);
  /// Exactly one of OSTRIA_SECRET (digits), OSTRIA_SECRET_FD, OSTRIA_SECRET_FILE.
  static Secret From(const Lookup& lookup);

  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();

  std::string Hex() const;
  Mac Hmac(std::string_view data) const;
  /// Takes as long wherever they differ.
  bool Verify(const Mac& mac, std::string_view data) const;

 private:
  Secret() = default;
  std::array<uint8_t, kBytes> bytes_{};
};

Nonce RandomNonce();

}  // namespace ostria::control
