// SPDX-License-Identifier: Apache-2.0
#include "data/state.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/error.h"

namespace ostria::data {
namespace {

constexpr std::string_view kDigits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

int DigitOf(char c) {
  const size_t at = kDigits.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

void StateWriter::Separate() {
  if (!text_.empty()) text_.push_back(' ');
}

void StateWriter::Name(std::string_view stage) {
  Separate();
  text_.append(stage);
}

void StateWriter::Int(int64_t value) {
  Separate();
  AppendPart(text_, value);
}

void StateWriter::Tokens(std::string_view text) {
  Separate();
  text_.append(text);
}

void StateWriter::Ints(std::span<const int64_t> values) {
  uint64_t all = 1;
  for (int64_t v : values) all |= static_cast<uint64_t>(v);
  const int width = (std::bit_width(all) + 5) / 6;
  Int(static_cast<int64_t>(values.size()));
  Int(width);
  Separate();
  text_.push_back('=');  // so that the token of an empty list is a token too
  size_t at = text_.size();
  text_.resize(at + values.size() * static_cast<size_t>(width));
  for (int64_t v : values) {
    auto bits = static_cast<uint64_t>(v);
    for (int i = 0; i < width; ++i, bits >>= 6) text_[at++] = kDigits[bits & 63u];
  }
}

void StateReader::Damaged(std::string_view what) const {
  Fail(ErrorCode::kDataCorruption,
       "the saved position of the input pipeline is damaged at character ", at_, ": ", what,
       "; use another checkpoint, or start the input from its beginning");
}

std::string_view StateReader::Next() {
  while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  const size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != ' ') ++at_;
  if (begin == at_) Damaged("the text ends too early");
  return text_.substr(begin, at_ - begin);
}

bool StateReader::AtEnd() {
  while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  return at_ == text_.size();
}

void StateReader::Name(std::string_view stage) {
  const std::string_view found = Next();
  if (found != stage) {
    Damaged(StrCat("'", stage, "' was expected, '", found.substr(0, 40), "' found"));
  }
}

int64_t StateReader::Int(int64_t min, int64_t max) {
  const std::string_view token = Next();
  int64_t value = 0;
  const auto end = std::from_chars(token.data(), token.data() + token.size(), value);
  if (end.ec != std::errc() || end.ptr != token.data() + token.size()) {
    Damaged(StrCat("'", token.substr(0, 40), "' is not a number"));
  }
  if (value < min || value > max) {
    Damaged(StrCat(value, " is out of range; ", min, " to ", max, " is possible"));
  }
  return value;
}

uint64_t StateReader::Bits() { return static_cast<uint64_t>(Int(INT64_MIN)); }

std::vector<int64_t> StateReader::Ints(int64_t max_count, int64_t bound) {
  const int64_t count = Int(0, max_count);
  const int64_t width = Int(1, 11);
  const std::string_view token = Next();
  // `max_count` may be a user's buffer size: compare without multiplying, or it could overflow.
  if (token.front() != '=' || (token.size() - 1) % static_cast<size_t>(width) != 0 ||
      (token.size() - 1) / static_cast<size_t>(width) != static_cast<size_t>(count)) {
    Damaged("a list of row numbers has the wrong length");
  }
  std::vector<int64_t> values;
  values.reserve(static_cast<size_t>(count));
  size_t at = 1;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    for (int64_t d = 0; d < width; ++d) {
      const int digit = DigitOf(token[at++]);
      if (digit < 0) Damaged("a list of row numbers holds a character that cannot be there");
      bits |= static_cast<uint64_t>(digit) << (6 * d);
    }
    if (bits >= static_cast<uint64_t>(bound)) {
      Damaged(StrCat("row ", bits, " does not exist; the source has ", bound));
    }
    values.push_back(static_cast<int64_t>(bits));
  }
  return values;
}

}  // namespace ostria::data
