// SPDX-License-Identifier: Apache-2.0
#include "dist/control/secret.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "dist/fd.h"

namespace ostria::control {
namespace {

static_assert(crypto_auth_hmacsha256_KEYBYTES == Secret::kBytes);
static_assert(crypto_auth_hmacsha256_BYTES == sizeof(Mac));

void RequireSodium() {
  static const bool ready = sodium_init() >= 0;
  if (!ready) Fail(ErrorCode::kInternal, "libsodium found no source of random numbers");
}

const unsigned char* Bytes(std::string_view data) {
  return reinterpret_cast<const unsigned char*>(data.data());
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

Secret::~Secret() { sodium_memzero(bytes_.data(), bytes_.size()); }

Secret Secret::Generate() {
  RequireSodium();
  Secret secret;
  randombytes_buf(secret.bytes_.data(), secret.bytes_.size());
  return secret;
}

Secret Secret::FromHex(std::string_view digits, std::string_view where) {
  while (!digits.empty() && IsSpace(digits.back())) digits.remove_suffix(1);
  while (!digits.empty() && IsSpace(digits.front())) digits.remove_prefix(1);
  Secret secret;
  size_t length = 0;
  const char* end = nullptr;
  const bool read =
      digits.size() == 2 * kBytes && sodium_hex2bin(secret.bytes_.data(), kBytes, digits.data(),
                                                    digits.size(), nullptr, &length, &end) == 0;
  if (!read || length != kBytes || end != digits.data() + digits.size()) {
    const bool fits = digits.size() == 2 * kBytes;
    Fail(ErrorCode::kInvalidArgument, "the job secret from ", where, " has ",
         fits ? "other characters than hexadecimal digits" : StrCat(digits.size(), " characters"),
         "; give exactly 64 digits, as `openssl rand -hex 32` prints them");
  }
  return secret;
}

Secret Secret::FromFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    Fail(ErrorCode::kIo, "the job secret's file '", path, "': ", std::strerror(errno));
  }
  const auto mode = static_cast<unsigned>(info.st_mode);
  if (!S_ISREG(mode) || (mode & 077U) != 0 || (info.st_uid != geteuid() && info.st_uid != 0)) {
    Fail(ErrorCode::kInvalidArgument, "the job secret's file '", path, "' ",
         S_ISREG(mode) ? "can be read or changed by others" : "is no regular file",
         "; it must belong to this user and have mode 0600 (chmod 600)");
  }
  return FromFd(fd.get(), StrCat("file '", path, "'"));
}

Secret Secret::FromFd(int fd, std::string_view where) {
  std::array<char, 256> buffer;  // longer is wrong however it goes on
  size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t n = read(fd, buffer.data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(ErrorCode::kIo, "the job secret from ", where, ": ", std::strerror(errno));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  const struct Wipe {
    std::array<char, 256>& bytes;
    ~Wipe() { sodium_memzero(bytes.data(), bytes.size()); }
  } wipe{buffer};
  return FromHex({buffer.data(), size}, where);
}

Secret Secret::From(const Lookup& lookup) {
  const char* digits = lookup("OSTRIA_SECRET");
  const char* fd = lookup("OSTRIA_SECRET_FD");
  const char* file = lookup("OSTRIA_SECRET_FILE");
  const int given = (digits != nullptr) + (fd != nullptr) + (file != nullptr);
  if (given != 1) {
    Fail(ErrorCode::kInvalidArgument, "the job's secret is ",
         given == 0 ? "not given" : "given by several variables",
         "; set exactly one of OSTRIA_SECRET_FILE (of mode 0600), OSTRIA_SECRET_FD (an open file "
         "descriptor) and OSTRIA_SECRET (64 hexadecimal digits), the same in all processes. To "
         "make one: (umask 077; openssl rand -hex 32 > secret). `ostria launch` makes its own");
  }
  if (digits != nullptr) return FromHex(digits, "OSTRIA_SECRET");
  if (file != nullptr) return FromFile(file);
  int number = -1;
  const char* end = fd + std::strlen(fd);
  const auto [at, error] = std::from_chars(fd, end, number);
  if (error != std::errc() || at != end || number < 0) {
    Fail(ErrorCode::kInvalidArgument, "OSTRIA_SECRET_FD: '", std::string_view(fd).substr(0, 20),
         "' is no file descriptor; give its number");
  }
  return FromFd(number, StrCat("file descriptor ", number));
}

std::string Secret::Hex() const {
  std::array<char, 2 * kBytes + 1> text;
  sodium_bin2hex(text.data(), text.size(), bytes_.data(), bytes_.size());
  return {text.data(), 2 * kBytes};
}

Mac Secret::Hmac(std::string_view data) const {
  RequireSodium();
  Mac mac;
  crypto_auth_hmacsha256(mac.data(), Bytes(data), data.size(), bytes_.data());
  return mac;
}

bool Secret::Verify(const Mac& mac, std::string_view data) const {
  RequireSodium();
  return crypto_auth_hmacsha256_verify(mac.data(), Bytes(data), data.size(), bytes_.data()) == 0;
}

Nonce RandomNonce() {
  RequireSodium();
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

}  // namespace ostria::control
