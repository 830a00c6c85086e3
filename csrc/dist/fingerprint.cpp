// SPDX-License-Identifier: Apache-2.0
#include "dist/fingerprint.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include "base/str_cat.h"

namespace ostria {
namespace {

constexpr size_t kLongest = 300;  // characters of a line

constexpr std::array<uint64_t, 4> kSeeds = {0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f,
                                            0x165667b19e3779f9, 0xd6e8feb86659fd93};

// Four lanes that start apart, each a product and a rotation per byte, then mixed (MurmurHash3's
// finaliser).
std::array<uint8_t, 32> Hash(std::string_view text) {
  std::array<uint8_t, 32> out{};
  for (size_t lane = 0; lane < kSeeds.size(); ++lane) {
    uint64_t h = kSeeds[lane];
    for (const char c : text) {
      h = std::rotl((h ^ static_cast<unsigned char>(c)) * kSeeds[(lane + 1) % 4], 27);
    }
    h ^= text.size();
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53;
    h ^= h >> 33;
    for (size_t i = 0; i < 8; ++i) out[lane * 8 + i] = static_cast<uint8_t>(h >> (8 * i));
  }
  return out;
}

std::string Shortened(std::string_view line) {
  if (line.size() <= kLongest) return std::string(line);
  return StrCat(line.substr(0, kLongest), "… ", line.size(), " characters, hash ",
                ToString(Hash(line)).substr(0, 16));
}

}  // namespace

std::string ToString(const std::array<uint8_t, 32>& hash) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : hash) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

Fingerprint FingerprintOf(const Graph& graph) {
  const std::string text = Print(graph);
  Fingerprint out{.hash = Hash(text)};
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out.lines.push_back(Shortened(std::string_view(text).substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

}  // namespace ostria
