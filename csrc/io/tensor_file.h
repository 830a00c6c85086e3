// SPDX-License-Identifier: Apache-2.0
// Named tensors in the safetensors layout: uint64 header length | JSON header | dense little-endian
// data. https://github.com/huggingface/safetensors. Sharding and checksums are not here (see
// checkpoint.h). Invariant: an accepted file has no hole, no overlap, no duplicate name and exactly
// the size its header says; anything else is Error(kDataCorruption) with file and offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "io/file.h"

namespace ostria {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using Metadata = std::map<std::string, std::string>;

/// Where one tensor lies.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t offset = 0;  // of its first byte in the file
  uint64_t bytes = 0;
};

struct TensorFileIndex {
  std::vector<TensorEntry> entries;  // in the order of their data
  Metadata metadata;                 // the header's __metadata__

  /// nullptr when there is none of this name.
  const TensorEntry* Find(std::string_view name) const;
};

/// Longest header that is read, as the reference implementation has it.
inline constexpr uint64_t kMaxTensorFileHeader = 100'000'000;

/// The name of `dtype` in a header: "F32", "BF16", "BOOL", …
std::string_view TensorFileDTypeName(DType dtype);

/// Checks a whole file held in memory; `name` is what errors call it.
TensorFileIndex ParseTensorFile(std::span<const std::byte> file, std::string_view name);

/// Checks the header of a file of `file_bytes` bytes; `header` is the JSON text at offset 8.
TensorFileIndex ParseTensorFileHeader(std::string_view header, uint64_t file_bytes,
                                      std::string_view name);

/// Reads single tensors of a file; the header is checked when it is opened.
class TensorFileReader {
 public:
  /// Throws Error(kIo) or Error(kDataCorruption).
  explicit TensorFileReader(std::string path);
  const TensorFileIndex& index() const { return index_; }
  const std::string& path() const { return file_.path(); }
  /// A tensor of its own, 64-byte aligned.
  Tensor Read(const TensorEntry& entry) const;

 private:
  InputFile file_;
  TensorFileIndex index_;
};

struct TensorFile {
  NamedTensors tensors;
  Metadata metadata;
};

/// All tensors of a file. Throws Error(kIo) or Error(kDataCorruption).
TensorFile ReadTensorFile(const std::string& path);

/// Writes host tensors; the same tensors give the same bytes, whatever their order here. The file
/// is not replaced in one step: write next to it and rename where that matters. Throws
/// Error(kInvalidArgument) for a name that occurs twice, is "__metadata__" or is not UTF-8,
/// Error(kIo).
void WriteTensorFile(const std::string& path, const NamedTensors& tensors,
                     const Metadata& metadata = {});
/// The same into an open file.
void WriteTensorFile(OutputFile& file, const NamedTensors& tensors, const Metadata& metadata = {});

}  // namespace ostria
