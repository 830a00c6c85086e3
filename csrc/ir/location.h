// SPDX-License-Identifier: Apache-2.0
// Where a node comes from: up to three frames of the user's program, innermost first. Tracing
// interns (code, instruction) pairs, which is cheap; text is made only when somebody asks.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace ostria {

/// 0 is "unknown". Ids live as long as the process.
using LocationId = uint32_t;

struct Frame {
  const void* code = nullptr;  // a Python code object, kept alive by the interner's owner
  int32_t instruction = 0;     // f_lasti
  friend bool operator==(const Frame&, const Frame&) = default;
};

struct SourceLine {
  std::string file;
  int32_t line = 0;
  std::string function;
};

inline constexpr int kMaxFrames = 3;

/// Interns frames; equal frames give the same id. Thread-safe.
LocationId InternFrames(std::span<const Frame> frames);
/// Interns literal lines (the parser, C++ tests).
LocationId InternLines(std::span<const SourceLine> lines);
/// The location of a node that was made from one at `parent`: "gradient of softmax". Same frames.
LocationId Derive(LocationId parent, std::string_view note);

/// The location of a node that was made from several, one of them at `parent`: as Derive, and each
/// part has a location of its own.
LocationId JoinLocations(LocationId parent, std::span<const LocationId> parts,
                         std::string_view note);
/// Of part number `part` of what is at `id`: `id` itself where it has no such parts.
LocationId PartOf(LocationId id, int part);

/// Innermost user line as "train.py:42", or "" when unknown. `train.py` is the file's last
/// component.
std::string ShortLocation(LocationId id);
/// All frames and notes, one per line, for debug printing.
std::string LongLocation(LocationId id);

/// Turns a frame into file, line and function; set once by the bindings.
using FrameResolver = SourceLine (*)(const Frame&);
void SetFrameResolver(FrameResolver resolver);

}  // namespace ostria
