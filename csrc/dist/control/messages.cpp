// SPDX-License-Identifier: Apache-2.0
#include "dist/control/messages.h"

namespace ostria::control {

std::string Clip(std::string_view text, size_t cap) {
  constexpr std::string_view kMark = "…";
  if (text.size() <= cap) return std::string(text);
  size_t end = cap - kMark.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // UTF-8
  return StrCat(text.substr(0, end), kMark);
}

std::string_view ToString(Refused reason) {
  switch (reason) {
    case Refused::kGarbage: return "garbage";
    case Refused::kVersion: return "protocol version";
    case Refused::kJob: return "another job";
    case Refused::kSecret: return "wrong secret";
    case Refused::kGeneration: return "stale generation";
    case Refused::kNewer: return "newer generation";
    case Refused::kRank: return "no such rank";
    case Refused::kTaken: return "rank is taken";
    case Refused::kSilent: return "silent connection";
    case Refused::kCrowded: return "too many connections";
    case Refused::kProtocol: return "protocol error";
    case Refused::kClosing: return "store closed";
  }
  return "?";
}

}  // namespace ostria::control
