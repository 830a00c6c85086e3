// SPDX-License-Identifier: Apache-2.0
// A hash of 128 bits by which cached things are found and checked: two runs of MurmurHash's 64-bit
// finaliser over words, with different starts. Against accidents, not against enemies.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ostria::cuda {

struct ContentHash {
  uint64_t low = 0, high = 0;
  std::string Hex() const {
    std::string out;
    for (const uint64_t part : {high, low}) {
      for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[part >> shift & 15];
    }
    return out;
  }
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

inline ContentHash HashOf(std::string_view data) {
  const auto mix = [](uint64_t h) {
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return h ^ (h >> 33);
  };
  ContentHash out{0x9E3779B97F4A7C15ull ^ data.size(), 0xD1B54A32D192ED03ull + data.size()};
  for (size_t at = 0; at < data.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data.data() + at, data.size() - at < 8 ? data.size() - at : 8);
    out.low = mix(out.low ^ word) + 0x52dce729u;
    out.high = mix(out.high + word) ^ 0x38495ab5u;
  }
  return out;
}

}  // namespace ostria::cuda
