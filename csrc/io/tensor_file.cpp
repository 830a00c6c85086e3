// SPDX-License-Identifier: Apache-2.0
#include "io/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "base/json_string.h"
#include "io/json.h"

namespace ostria {
namespace {

// Indexed by DType; `rank` orders the data: wide types first, so that all stay aligned.
struct DTypeRow {
  std::string_view name;
  int rank;
};
constexpr DTypeRow kDTypes[kNumDTypes] = {
    {"BOOL", 0}, {"I8", 2},   {"I16", 3}, {"I32", 7},  {"I64", 11}, {"U8", 1},   {"U16", 4},
    {"U32", 8},  {"U64", 12}, {"F16", 5}, {"BF16", 6}, {"F32", 9},  {"F64", 10},
};

constexpr std::string_view kMetadataKey = "__metadata__";

DType ReadDType(JsonReader& json) {
  const std::string name = json.ReadString();
  for (int i = 0; i < kNumDTypes; ++i) {
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  }
  json.Reject("dtype \"", name.substr(0, 40), "\" is none of ",
              Join(kDTypes, ", ", [](const DTypeRow& row) { return row.name; }));
}

// One member of the header: {"dtype": .., "shape": [..], "data_offsets": [begin, end]}.
TensorEntry ReadEntry(JsonReader& json, std::string name, uint64_t data_start,
                      uint64_t data_bytes) {
  TensorEntry entry;
  entry.name = std::move(name);
  uint64_t range[2] = {0, 0};
  int seen[3] = {0, 0, 0};
  json.ReadObject([&](std::string& key) {
    if (key == "dtype") {
      ++seen[0];
      entry.dtype = ReadDType(json);
    } else if (key == "shape") {
      ++seen[1];
      json.ReadArray([&] {
        const uint64_t size = json.ReadUint64();
        if (size > INT64_MAX) json.Reject("a tensor has ", size, " rows along one axis");
        if (entry.shape.rank() == kMaxRank) {
          json.Reject("a tensor has more than ", kMaxRank, " axes; at most ", kMaxRank,
                      " are supported");
        }
        entry.shape.Append(static_cast<int64_t>(size));
      });
    } else if (key == "data_offsets") {
      ++seen[2];
      int count = 0;
      json.ReadArray([&] {
        if (count == 2) json.Reject("data_offsets has more than two numbers");
        range[count++] = json.ReadUint64();
      });
      if (count != 2) json.Reject("data_offsets has ", count, " numbers; it needs two");
    } else {
      json.Reject("unknown key \"", key.substr(0, 40),
                  "\" of a tensor; dtype, shape and data_offsets are accepted");
    }
  });
  if (seen[0] != 1 || seen[1] != 1 || seen[2] != 1) {
    json.Reject("a tensor needs dtype, shape and data_offsets once each");
  }
  uint64_t bytes = static_cast<uint64_t>(SizeOf(entry.dtype));
  bool overflow = false, empty = false;
  for (Dim d : entry.shape) {
    empty |= d.value() == 0;
    overflow |= __builtin_mul_overflow(bytes, static_cast<uint64_t>(d.value()), &bytes);
  }
  if (empty && overflow) json.Reject("the sizes of a tensor's shape overflow 64 bits");
  if (overflow) json.Reject("a tensor's shape needs more than 2^64 bytes");
  if (range[0] > range[1] || range[1] > data_bytes) {
    json.Reject("data_offsets [", range[0], ", ", range[1], "] leave the file's ", data_bytes,
                " data bytes");
  }
  if (range[1] - range[0] != bytes) {
    json.Reject("data_offsets [", range[0], ", ", range[1], "] span ", range[1] - range[0],
                " bytes; shape ", entry.shape, " of ", Name(entry.dtype), " needs ", bytes);
  }
  entry.offset = data_start + range[0];
  entry.bytes = bytes;
  return entry;
}

uint64_t CheckHeaderLength(uint64_t header_bytes, uint64_t file_bytes, std::string_view name) {
  if (header_bytes > kMaxTensorFileHeader) {
    FailCorrupt(name, 0, "the header claims ", header_bytes, " bytes; at most ",
                kMaxTensorFileHeader, " are accepted");
  }
  if (header_bytes > file_bytes - 8) {
    FailCorrupt(name, 0, "the header claims ", header_bytes, " bytes; the file has ",
                file_bytes - 8, " after its length");
  }
  return header_bytes;
}

}  // namespace

std::string_view TensorFileDTypeName(DType dtype) { return kDTypes[static_cast<int>(dtype)].name; }

const TensorEntry* TensorFileIndex::Find(std::string_view name) const {
  const auto it = std::find_if(entries.begin(), entries.end(),
                               [&](const TensorEntry& entry) { return entry.name == name; });
  return it == entries.end() ? nullptr : &*it;
}

TensorFileIndex ParseTensorFileHeader(std::string_view header, uint64_t file_bytes,
                                      std::string_view name) {
  TensorFileIndex index;
  const uint64_t data_start = 8 + header.size();
  const uint64_t data_bytes = file_bytes - data_start;
  if (header.empty() || header.front() != '{')
    FailCorrupt(name, 8, "the header is not a JSON object");
  JsonReader json(header, name, 8);
  bool has_metadata = false;
  json.ReadObject([&](std::string& key) {
    if (key != kMetadataKey) {
      index.entries.push_back(ReadEntry(json, std::move(key), data_start, data_bytes));
      return;
    }
    if (has_metadata) json.Reject("__metadata__ occurs twice");
    has_metadata = true;
    json.ReadObject([&](std::string& field) {
      std::string value = json.ReadString();
      if (!index.metadata.emplace(std::move(field), std::move(value)).second) {
        json.Reject("a key of __metadata__ occurs twice");
      }
    });
  });
  json.Finish();

  auto& entries = index.entries;
  std::vector<const std::string*> names;
  names.reserve(entries.size());
  for (const TensorEntry& entry : entries) names.push_back(&entry.name);
  std::sort(names.begin(), names.end(), [](auto* a, auto* b) { return *a < *b; });
  for (size_t i = 1; i < names.size(); ++i) {
    if (*names[i] == *names[i - 1]) {
      FailCorrupt(name, 8, "the tensor \"", *names[i], "\" occurs twice in the header");
    }
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  uint64_t next = data_start;
  for (const TensorEntry& entry : entries) {
    if (entry.offset != next) {
      FailCorrupt(name, std::min(entry.offset, next), "the data of \"", entry.name, "\" ",
                  entry.offset < next ? "overlaps another tensor" : "leaves a hole before it");
    }
    next = entry.offset + entry.bytes;
  }
  if (next != file_bytes) {
    FailCorrupt(name, next, file_bytes - next, " bytes after the last tensor");
  }
  return index;
}

TensorFileIndex ParseTensorFile(std::span<const std::byte> file, std::string_view name) {
  if (file.size() < 8) FailCorrupt(name, file.size(), "the file ends inside the header's length");
  uint64_t header_bytes;
  std::memcpy(&header_bytes, file.data(), 8);
  CheckHeaderLength(header_bytes, file.size(), name);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + 8,
                                static_cast<size_t>(header_bytes));
  return ParseTensorFileHeader(header, file.size(), name);
}

TensorFileReader::TensorFileReader(std::string path) : file_(std::move(path)) {
  const uint64_t file_bytes = file_.size();
  uint64_t header_bytes = 0;
  file_.ReadExactlyAt(0, &header_bytes, 8);
  CheckHeaderLength(header_bytes, file_bytes, file_.path());
  std::string header(static_cast<size_t>(header_bytes), '\0');
  file_.ReadExactlyAt(8, header.data(), header.size());
  index_ = ParseTensorFileHeader(header, file_bytes, file_.path());
}

Tensor TensorFileReader::Read(const TensorEntry& entry) const {
  Tensor tensor = Tensor::Empty(entry.dtype, entry.shape);
  file_.ReadExactlyAt(entry.offset, tensor.raw(), static_cast<size_t>(entry.bytes));
  if (entry.dtype == DType::kBool) {
    // Another value than 0 and 1 in a C++ bool is undefined behaviour.
    const auto* bytes = tensor.data<uint8_t>();
    for (uint64_t i = 0; i < entry.bytes; ++i) {
      if (bytes[i] > 1) {
        FailCorrupt(path(), entry.offset + i, "the bool tensor \"", entry.name, "\" holds ",
                    static_cast<int>(bytes[i]), "; 0 and 1 are accepted");
      }
    }
  }
  return tensor;
}

TensorFile ReadTensorFile(const std::string& path) {
  const TensorFileReader reader(path);
  TensorFile file;
  file.metadata = reader.index().metadata;
  file.tensors.reserve(reader.index().entries.size());
  for (const TensorEntry& entry : reader.index().entries) {
    file.tensors.emplace_back(entry.name, reader.Read(entry));
  }
  return file;
}

void WriteTensorFile(OutputFile& file, const NamedTensors& tensors, const Metadata& metadata) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int rank_a = kDTypes[static_cast<int>(tensors[a].second.dtype())].rank;
    const int rank_b = kDTypes[static_cast<int>(tensors[b].second.dtype())].rank;
    return rank_a != rank_b ? rank_a > rank_b : tensors[a].first < tensors[b].first;
  });

  std::string header = "{";
  const auto check_text = [&](std::string_view what, std::string_view text) {
    if (FindInvalidUtf8(text) != std::string_view::npos) {
      Fail(ErrorCode::kInvalidArgument, "cannot write ", file.path(), ": ", what,
           " is not valid UTF-8; text is accepted");
    }
  };
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      check_text("a metadata key", key);
      check_text(StrCat("the metadata \"", key, "\""), value);
      if (header.back() != '{') header += ',';
      AppendJsonString(header, key);
      header += ':';
      AppendJsonString(header, value);
    }
    header += '}';
  }
  std::set<std::string_view> names;
  uint64_t offset = 0;
  for (size_t i : order) {
    const auto& [name, tensor] = tensors[i];
    check_text("a tensor's name", name);
    if (name == kMetadataKey || !names.insert(name).second) {
      Fail(ErrorCode::kInvalidArgument, "cannot write ", file.path(), ": the tensor name \"", name,
           name == kMetadataKey ? "\" is reserved" : "\" is given twice", "; choose another name");
    }
    if (!tensor.defined()) {
      Fail(ErrorCode::kInvalidArgument, "cannot write ", file.path(), ": the tensor \"", name,
           "\" has no value");
    }
    if (header.size() > 1) header += ',';
    AppendJsonString(header, name);
    const uint64_t end = offset + static_cast<uint64_t>(tensor.bytes());
    header += StrCat(":{\"dtype\":\"", TensorFileDTypeName(tensor.dtype()), "\",\"shape\":[",
                     Join(tensor.shape(), ","), "],\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  if (header.size() > kMaxTensorFileHeader) {
    Fail(ErrorCode::kInvalidArgument, "cannot write ", file.path(), ": its header would have ",
         header.size(), " bytes; at most ", kMaxTensorFileHeader,
         " are accepted; use fewer or larger tensors");
  }
  const uint64_t header_bytes = header.size();
  file.Expect(8 + header_bytes + offset);
  file.Append(&header_bytes, 8);
  file.Append(header);
  for (size_t i : order) {
    const Tensor tensor = tensors[i].second.OnHost();
    file.Append(tensor.raw(), static_cast<size_t>(tensor.bytes()));
  }
  file.Flush();
}

void WriteTensorFile(const std::string& path, const NamedTensors& tensors,
                     const Metadata& metadata) {
  OutputFile file(path);
  WriteTensorFile(file, tensors, metadata);
  file.Close();
}

}  // namespace ostria
