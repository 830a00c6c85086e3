// SPDX-License-Identifier: Apache-2.0
// Strings from parts, for messages and printers. Not for hot loops.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace ostria {

inline void AppendPart(std::string& out, std::string_view part) { out.append(part); }
inline void AppendPart(std::string& out, char part) { out.push_back(part); }
inline void AppendPart(std::string& out, const char* part) { out.append(part); }
// `same_as` and not plain `bool`, or every pointer would print as "true".
template <std::same_as<bool> T>
void AppendPart(std::string& out, T part) {
  out.append(part ? "true" : "false");
}

/// Shortest text that reads back to the same number (locale-independent).
template <class T>
requires((std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>) ||
         std::floating_point<T>) void AppendPart(std::string& out, T part) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, part);
  out.append(text, end.ptr);
}

template <class... Args>
std::string StrCat(const Args&... args) {
  std::string out;
  (AppendPart(out, args), ...);
  return out;
}

/// `Join({1, 2}, ", ")` is "1, 2"; `format` turns one item into text.
template <class Range, class Format>
std::string Join(const Range& items, std::string_view separator, Format format) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(separator);
    first = false;
    AppendPart(out, format(item));
  }
  return out;
}

template <class Range>
std::string Join(const Range& items, std::string_view separator) {
  return Join(items, separator, [](const auto& item) { return StrCat(item); });
}

}  // namespace ostria
