// SPDX-License-Identifier: Apache-2.0
#include "io/manifest.h"

#include <algorithm>
#include <cstdio>

#include "base/json_string.h"
#include "io/crc32c.h"
#include "io/json.h"

namespace ostria {
namespace {

constexpr std::string_view kSealStart = ",\n\"manifest_crc32c\": \"", kSealEnd = "\"}\n";
constexpr size_t kSealBytes = kSealStart.size() + 8 + kSealEnd.size();

std::string FormatSeal(std::string_view body) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", Crc32c(body));
  return StrCat(kSealStart, digits, kSealEnd);
}

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string ToBase64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = 0;
    for (size_t k = 0; k < 3; ++k) {
      word = word << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      out.push_back(k <= n ? kBase64[(word >> (18 - 6 * k)) & 63] : '=');
    }
  }
  return out;
}

bool FromBase64(std::string_view text, std::string* out) {
  if (text.size() % 4 != 0) return false;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  uint32_t word = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const std::string_view alphabet(kBase64, 64);
    const size_t digit = pad ? 0 : alphabet.find(text[i]);
    if (digit == std::string_view::npos) return false;
    word = word << 6 | static_cast<uint32_t>(digit);
    if (i % 4 == 3) {
      const char group[3] = {static_cast<char>(word >> 16), static_cast<char>(word >> 8),
                             static_cast<char>(word)};
      out->append(group, i + 1 == text.size() ? 3 - padding : 3);
      word = 0;
    }
  }
  return true;
}

void AppendText(std::string& out, std::string_view what, std::string_view text) {
  if (FindInvalidUtf8(text) != std::string_view::npos) {
    Fail(ErrorCode::kInvalidArgument, "checkpoint: ", what, " is not valid UTF-8; text is accepted",
         "; store bytes as a blob");
  }
  AppendJsonString(out, text);
}

// `"key": {` members `}`, one per line.
template <class Map, class Value>
void AppendMembers(std::string& out, std::string_view key, const Map& map, Value value) {
  out += StrCat(",\n\"", key, "\": {");
  bool first = true;
  for (const auto& [name, item] : map) {
    out += first ? "\n  " : ",\n  ";
    first = false;
    AppendText(out, StrCat("a name in ", key), name);
    out += ": ";
    value(item);
  }
  out += '}';
}

template <class Map, class Read>
void ReadMembers(JsonReader& json, Map& map, Read read) {
  json.ReadObject([&](std::string& name) {
    auto [it, inserted] = map.emplace(std::move(name), typename Map::mapped_type{});
    if (!inserted) json.Reject("the name \"", it->first, "\" occurs twice");
    read(it->second);
  });
}

Manifest::Entry ReadEntry(JsonReader& json) {
  Manifest::Entry entry;
  int seen = 0;
  json.ReadObject([&](std::string& key) {
    if (key == "dtype") {
      seen |= 1;
      const std::string name = json.ReadString();
      if (!ParseDType(name, &entry.dtype)) {
        json.Reject("unknown dtype \"", std::string_view(name).substr(0, 40), "\"");
      }
    } else if (key == "shape") {
      seen |= 2;
      json.ReadArray([&] {
        const int64_t size = json.ReadInt64();
        if (size < 0 || entry.shape.rank() == kMaxRank) json.Reject("not the shape of a tensor");
        entry.shape.Append(size);
      });
    } else if (key == "crc32c") {
      seen |= 4;
      const uint64_t crc = json.ReadUint64();
      if (crc > UINT32_MAX) json.Reject("a checksum has more than 32 bits");
      entry.crc32c = static_cast<uint32_t>(crc);
    } else {
      json.SkipValue();
    }
  });
  if (seen != 7) json.Reject("a tensor needs dtype, shape and crc32c");
  return entry;
}

std::string ReadBlob(JsonReader& json) {
  std::string bytes;
  int seen = 0;
  json.ReadObject([&](std::string& key) {
    ++seen;
    if (key == "text") {
      bytes = json.ReadString();
    } else if (key != "base64" || !FromBase64(json.ReadString(), &bytes)) {
      json.Reject("a blob needs \"text\" or valid \"base64\"");
    }
  });
  if (seen != 1) json.Reject("a blob needs \"text\" or \"base64\", once");
  return bytes;
}

}  // namespace

std::string internal::SealManifest(std::string body) {
  const std::string seal = FormatSeal(body);
  return std::move(body) + seal;
}

std::string FormatManifest(const Manifest& manifest) {
  std::string out =
      StrCat("{\"format\": \"", kManifestFormat, "\",\n\"step\": ", manifest.step,
             ",\n\"saved_at\": ", manifest.saved_at, ",\n\"started_at\": ", manifest.started_at);
  AppendMembers(out, "tensors", manifest.tensors, [&](const Manifest::Entry& entry) {
    out += StrCat("{\"dtype\": \"", Name(entry.dtype), "\", \"shape\": [", Join(entry.shape, ", "),
                  "], \"crc32c\": ", entry.crc32c, "}");
  });
  AppendMembers(out, "blobs", manifest.blobs, [&](const std::string& blob) {
    const bool text = FindInvalidUtf8(blob) == std::string_view::npos;
    out += text ? "{\"text\": " : "{\"base64\": ";
    AppendJsonString(out, text ? blob : ToBase64(blob));
    out += '}';
  });
  AppendMembers(out, "metadata", manifest.metadata,
                [&](const std::string& value) { AppendText(out, "a metadata value", value); });
  return internal::SealManifest(std::move(out));
}

Manifest ParseManifest(std::string_view text, std::string_view name) {
  const size_t body = text.size() - std::min(text.size(), kSealBytes);
  const std::string_view seal = text.substr(body);
  if (!seal.starts_with(kSealStart) || !seal.ends_with(kSealEnd)) {
    FailCorrupt(name, body, "the manifest does not end with its checksum");
  }
  if (seal != FormatSeal(text.substr(0, body))) {
    FailCorrupt(name, body, "the checksum of the manifest does not fit");
  }

  Manifest manifest;
  JsonReader json(text, name);
  int seen = 0;
  json.ReadObject([&](std::string& key) {
    if (key == "format") {
      seen |= 1;
      const std::string format = json.ReadString();
      if (format != kManifestFormat) {
        json.Reject("format \"", std::string_view(format).substr(0, 40), "\" is unknown; \"",
                    kManifestFormat, "\" is accepted");
      }
    } else if (key == "step") {
      seen |= 2;
      manifest.step = json.ReadInt64();
    } else if (key == "saved_at") {
      manifest.saved_at = json.ReadDouble();
    } else if (key == "started_at") {
      manifest.started_at = json.ReadDouble();
    } else if (key == "tensors") {
      seen |= 4;
      ReadMembers(json, manifest.tensors, [&](auto& entry) { entry = ReadEntry(json); });
    } else if (key == "blobs") {
      ReadMembers(json, manifest.blobs, [&](auto& blob) { blob = ReadBlob(json); });
    } else if (key == "metadata") {
      ReadMembers(json, manifest.metadata, [&](auto& value) { value = json.ReadString(); });
    } else {
      json.SkipValue();
    }
  });
  json.Finish();
  if (seen != 7) FailCorrupt(name, 0, "the manifest needs format, step and tensors");
  return manifest;
}

}  // namespace ostria
