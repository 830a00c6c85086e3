// SPDX-License-Identifier: Apache-2.0
#include "ir/location.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/str_cat.h"

namespace ostria {
namespace {

struct Entry {
  std::array<Frame, kMaxFrames> frames{};
  int num_frames = 0;
  std::vector<SourceLine> lines;  // literal locations only
  LocationId parent = 0;          // derived locations only
  std::vector<LocationId> parts;  // joined locations only
  std::string note;
};

class LocationTable {
 public:
  static LocationTable& Get() {
    static LocationTable* table = new LocationTable;  // outlives static teardown
    return *table;
  }

  LocationId Intern(uint64_t hash, Entry entry) {
    std::lock_guard lock(mutex_);
    auto [it, end] = index_.equal_range(hash);
    for (; it != end; ++it) {
      const Entry& e = entries_[it->second];
      if (e.num_frames == entry.num_frames && e.frames == entry.frames &&
          e.parent == entry.parent && e.note == entry.note && e.parts == entry.parts &&
          std::equal(e.lines.begin(), e.lines.end(), entry.lines.begin(), entry.lines.end(),
                     [](const SourceLine& a, const SourceLine& b) {
                       return a.file == b.file && a.line == b.line && a.function == b.function;
                     })) {
        return it->second;
      }
    }
    entries_.push_back(std::move(entry));
    const auto id = static_cast<LocationId>(entries_.size() - 1);
    index_.emplace(hash, id);
    return id;
  }

  Entry At(LocationId id) {
    std::lock_guard lock(mutex_);
    return entries_[id];
  }

 private:
  LocationTable() { entries_.emplace_back(); }
  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::unordered_multimap<uint64_t, LocationId> index_;
};

std::atomic<FrameResolver> resolver{nullptr};

uint64_t Mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15ull + (h >> 29); }

std::vector<SourceLine> Lines(const Entry& e) {
  if (e.num_frames == 0) return e.lines;
  std::vector<SourceLine> out;
  const FrameResolver resolve = resolver.load();
  for (int i = 0; i < e.num_frames && resolve != nullptr; ++i) out.push_back(resolve(e.frames[i]));
  return out;
}

}  // namespace

LocationId InternFrames(std::span<const Frame> frames) {
  if (frames.empty()) return 0;
  Entry e;
  uint64_t hash = 1;
  for (const Frame& f : frames) {
    if (e.num_frames == kMaxFrames) break;
    e.frames[e.num_frames++] = f;
    hash =
        Mix(Mix(hash, reinterpret_cast<uintptr_t>(f.code)), static_cast<uint64_t>(f.instruction));
  }
  return LocationTable::Get().Intern(hash, std::move(e));
}

LocationId InternLines(std::span<const SourceLine> lines) {
  if (lines.empty()) return 0;
  Entry e;
  uint64_t hash = 2;
  for (const SourceLine& l : lines) {
    if (static_cast<int>(e.lines.size()) == kMaxFrames) break;
    e.lines.push_back(l);
    hash = Mix(Mix(hash, std::hash<std::string>()(l.file)), static_cast<uint64_t>(l.line));
  }
  return LocationTable::Get().Intern(hash, std::move(e));
}

LocationId Derive(LocationId parent, std::string_view note) {
  Entry e;
  e.parent = parent;
  e.note = note;
  return LocationTable::Get().Intern(Mix(Mix(3, parent), std::hash<std::string_view>()(note)),
                                     std::move(e));
}

LocationId JoinLocations(LocationId parent, std::span<const LocationId> parts,
                         std::string_view note) {
  Entry e;
  e.parent = parent;
  e.note = note;
  e.parts.assign(parts.begin(), parts.end());
  uint64_t hash = Mix(Mix(4, parent), std::hash<std::string_view>()(note));
  for (LocationId part : parts) hash = Mix(hash, part);
  return LocationTable::Get().Intern(hash, std::move(e));
}

LocationId PartOf(LocationId id, int part) {
  if (part < 0) return id;
  Entry e = LocationTable::Get().At(id);
  while (e.parts.empty() && !e.note.empty()) e = LocationTable::Get().At(e.parent);
  return static_cast<size_t>(part) < e.parts.size() ? e.parts[static_cast<size_t>(part)] : id;
}

std::string ShortLocation(LocationId id) {
  Entry e = LocationTable::Get().At(id);
  while (!e.note.empty()) e = LocationTable::Get().At(e.parent);
  const std::vector<SourceLine> lines = Lines(e);
  if (lines.empty()) return "";
  const std::string& file = lines[0].file;
  return StrCat(std::string_view(file).substr(file.rfind('/') + 1), ":", lines[0].line);
}

std::string LongLocation(LocationId id) {
  std::string out;
  Entry e = LocationTable::Get().At(id);
  while (!e.note.empty()) {
    out += StrCat("  ", e.note, " of\n");
    e = LocationTable::Get().At(e.parent);
  }
  for (const SourceLine& l : Lines(e))
    out += StrCat("  ", l.file, ":", l.line, " in ", l.function, "\n");
  return out;
}

void SetFrameResolver(FrameResolver r) { resolver = r; }

}  // namespace ostria
