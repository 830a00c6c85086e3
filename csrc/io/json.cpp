// SPDX-License-Identifier: Apache-2.0
#include "io/json.h"

#include <charconv>

namespace ostria {
namespace {

void AppendUtf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (code >> 6)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | (code >> 12)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | (code >> 18)));
    out.push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

// Unicode 15, table 3-7: rejects overlong forms, surrogates and code points above 10FFFF.
size_t FindInvalidUtf8(std::string_view text) {
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  const size_t n = text.size();
  for (size_t i = 0; i < n;) {
    const unsigned char lead = s[i];
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int extra = lead >= 0xc2 && lead <= 0xdf   ? 1
                      : (lead & 0xf0) == 0xe0        ? 2
                      : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                     : 0;
    if (extra == 0 || n - i <= static_cast<size_t>(extra)) return i;
    const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (s[i + 1] < low || s[i + 1] > high) return i;
    for (int k = 2; k <= extra; ++k) {
      if ((s[i + k] & 0xc0) != 0x80) return i;
    }
    i += static_cast<size_t>(extra) + 1;
  }
  return std::string_view::npos;
}

JsonReader::JsonReader(std::string_view text, std::string_view file, uint64_t base_offset)
    : text_(text), file_(file), base_offset_(base_offset) {
  position_ = FindInvalidUtf8(text);
  if (position_ != std::string_view::npos) Reject("the JSON text is not valid UTF-8");
  position_ = 0;
}

char JsonReader::Peek() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c;
    ++position_;
  }
  return '\0';
}

void JsonReader::Expect(char c) {
  if (Peek() != c) Reject("expected '", c, "' in the JSON text");
  ++position_;
}

void JsonReader::ReadObject(FunctionRef<void(std::string&)> member) {
  if (++depth_ > kMaxDepth) Reject("JSON nested more than ", kMaxDepth, " deep");
  Expect('{');
  if (Peek() != '}') {
    for (;;) {
      Peek();
      std::string key = ReadString();
      Expect(':');
      member(key);
      if (Peek() != ',') break;
      ++position_;
    }
  }
  Expect('}');
  --depth_;
}

void JsonReader::ReadArray(FunctionRef<void()> item) {
  if (++depth_ > kMaxDepth) Reject("JSON nested more than ", kMaxDepth, " deep");
  Expect('[');
  if (Peek() != ']') {
    for (;;) {
      item();
      if (Peek() != ',') break;
      ++position_;
    }
  }
  Expect(']');
  --depth_;
}

uint32_t JsonReader::ReadHex4() {
  uint32_t code = 0;
  if (text_.size() - position_ < 4) Reject("unfinished \\u escape in a JSON string");
  const char* begin = text_.data() + position_;
  const auto result = std::from_chars(begin, begin + 4, code, 16);
  if (result.ptr != begin + 4) Reject("a \\u escape needs four hexadecimal digits");
  position_ += 4;
  return code;
}

std::string JsonReader::ReadString() {
  Expect('"');
  std::string out;
  for (;;) {
    const size_t start = position_;
    while (position_ < text_.size() && text_[position_] != '"' && text_[position_] != '\\' &&
           static_cast<unsigned char>(text_[position_]) >= 0x20) {
      ++position_;
    }
    out.append(text_.substr(start, position_ - start));
    if (position_ == text_.size()) Reject("unfinished JSON string");
    const char c = text_[position_];
    if (static_cast<unsigned char>(c) < 0x20) Reject("control character in a JSON string");
    ++position_;
    if (c == '"') return out;
    if (position_ == text_.size()) Reject("unfinished JSON string");
    switch (text_[position_++]) {
      case '"': out.push_back('"'); break;
      case '\\': out.push_back('\\'); break;
      case '/': out.push_back('/'); break;
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 't': out.push_back('\t'); break;
      case 'u': {
        uint32_t code = ReadHex4();
        if (code >= 0xd800 && code < 0xdc00) {
          if (text_.substr(position_, 2) != "\\u") Reject("half a surrogate pair in a JSON string");
          position_ += 2;
          const uint32_t low = ReadHex4();
          if (low < 0xdc00 || low > 0xdfff) Reject("half a surrogate pair in a JSON string");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else if (code >= 0xdc00 && code <= 0xdfff) {
          Reject("half a surrogate pair in a JSON string");
        }
        AppendUtf8(out, code);
        break;
      }
      default: Reject("unknown escape in a JSON string");
    }
  }
}

// RFC 8259: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
std::string_view JsonReader::ScanNumber() {
  Peek();
  const size_t start = position_;
  size_t p = position_;
  const auto at = [&](size_t i) { return i < text_.size() ? text_[i] : '\0'; };
  const auto digits = [&] {
    if (!IsDigit(at(p))) Reject("expected a number in the JSON text");
    while (IsDigit(at(p))) ++p;
  };
  if (at(p) == '-') ++p;
  if (at(p) == '0' && IsDigit(at(p + 1))) Reject("a JSON number starts with 0");
  digits();
  if (at(p) == '.') {
    ++p;
    digits();
  }
  if (at(p) == 'e' || at(p) == 'E') {
    ++p;
    if (at(p) == '+' || at(p) == '-') ++p;
    digits();
  }
  position_ = p;
  return text_.substr(start, p - start);
}

uint64_t JsonReader::ReadUint64() {
  const std::string_view number = ScanNumber();
  uint64_t value = 0;
  const char* end = number.data() + number.size();
  const auto result = std::from_chars(number.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) {
    Reject("expected an integer from 0 to 18446744073709551615, got ", number.substr(0, 40));
  }
  return value;
}

int64_t JsonReader::ReadInt64() {
  const std::string_view number = ScanNumber();
  int64_t value = 0;
  const char* end = number.data() + number.size();
  const auto result = std::from_chars(number.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) {
    Reject("expected an integer of 64 bits, got ", number.substr(0, 40));
  }
  return value;
}

double JsonReader::ReadDouble() {
  const std::string_view number = ScanNumber();
  double value = 0;
  const char* end = number.data() + number.size();
  const auto result = std::from_chars(number.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) {
    Reject("expected a number, got ", number.substr(0, 40));
  }
  return value;
}

void JsonReader::SkipValue() {
  switch (Peek()) {
    case '{': ReadObject([this](std::string&) { SkipValue(); }); return;
    case '[': ReadArray([this] { SkipValue(); }); return;
    case '"': ReadString(); return;
    default: break;
  }
  for (std::string_view word : {"true", "false", "null"}) {
    if (text_.substr(position_, word.size()) == word) {
      position_ += word.size();
      return;
    }
  }
  ScanNumber();
}

void JsonReader::Finish() {
  if (Peek() != '\0' || position_ < text_.size()) Reject("text after the end of the JSON document");
}

}  // namespace ostria
