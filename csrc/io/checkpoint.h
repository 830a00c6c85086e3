// SPDX-License-Identifier: Apache-2.0
// Checkpoints: directories `ckpt-000123` with state.safetensors and manifest.json. Written beside
// their place, synced and renamed into it. What the tensors mean is the trainer's business.
// Invariant: a process that dies at any point leaves complete checkpoints only, and the one before
// stays until the next is durable. One process at a time writes to a directory (others wait on its
// lock).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/tensor_file.h"

namespace ostria {

struct CheckpointData {
  int64_t step = 0;
  NamedTensors tensors;                      // on the host
  std::map<std::string, std::string> blobs;  // small, any bytes: iterator state, random state, …
  Metadata metadata;                         // text for people and tools
};

struct CheckpointOptions {
  int keep_max = 5;                   // newest ones that stay; 0 keeps all
  double keep_every_n_hours = 10000;  // besides those, one per this many hours stays for ever
};

struct CheckpointInfo {
  int64_t step = 0;
  int64_t generation = 0;  // counts re-saves of one step: `ckpt-000123.1`
  std::string path;
};

/// Writes `data` as the newest checkpoint of `directory` (created when missing) and returns its
/// path. Then prunes: a checkpoint that holds a file named `keep` always stays; checkpoints of
/// higher steps (a run that was rewound) are renamed to `superseded-…`. Trouble after the
/// checkpoint is safe goes to `warnings`. Throws Error(kIo) when it cannot be written, e.g. on a
/// full disk: the ones before are intact then. Throws Error(kInvalidArgument) for names that are
/// not unique UTF-8 text.
std::string SaveCheckpoint(const std::string& directory, const CheckpointData& data,
                           const CheckpointOptions& options = {},
                           std::vector<std::string>* warnings = nullptr);

/// The checkpoints in `directory`, oldest first; none when it does not exist. Reads no content.
std::vector<CheckpointInfo> ListCheckpoints(const std::string& directory);

/// Reads one checkpoint (its directory's path) and verifies every checksum; tensors come in the
/// order of their names. Throws Error(kDataCorruption) with file and offset, Error(kIo).
CheckpointData LoadCheckpoint(const std::string& path);

struct LoadedCheckpoint {
  std::string path;
  CheckpointData data;
};

/// The newest checkpoint that is whole; each damaged one on the way gives a warning. Nothing when
/// there is none at all; throws Error(kDataCorruption) when all are damaged.
std::optional<LoadedCheckpoint> LoadLatest(const std::string& directory,
                                           std::vector<std::string>* warnings);

}  // namespace ostria
