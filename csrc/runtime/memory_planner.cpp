// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_planner.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "core/aligned.h"

namespace ostria {
namespace {

constexpr size_t kQuadraticLimit = 4096;

int64_t LowerBound(const std::vector<Block>& blocks) {
  std::map<int32_t, int64_t> change;  // step -> growth
  for (const Block& b : blocks) {
    change[b.first] += Aligned(b.bytes);
    change[b.last + 1] -= Aligned(b.bytes);
  }
  int64_t live = 0, most = 0;
  for (const auto& [step, delta] : change) most = std::max(most, live += delta);
  return most;
}

// Walks the steps, taking from and returning to a free list: the smallest hole that fits, else the
// end.
int64_t InTimeOrder(std::vector<Block>* blocks) {
  std::vector<size_t> order(blocks->size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const Block &x = (*blocks)[a], &y = (*blocks)[b];
    return x.first != y.first ? x.first < y.first : x.bytes > y.bytes;
  });
  std::map<int64_t, int64_t> holes;               // offset -> bytes
  std::set<std::pair<int64_t, int64_t>> by_size;  // (bytes, offset)
  std::multimap<int32_t, size_t> ends;            // last step -> block
  int64_t end = 0;
  const auto add_hole = [&](int64_t offset, int64_t bytes) {
    auto next = holes.lower_bound(offset);
    if (next != holes.end() && next->first == offset + bytes) {
      bytes += next->second;
      by_size.erase({next->second, next->first});
      next = holes.erase(next);
    }
    if (next != holes.begin()) {
      const auto prev = std::prev(next);
      if (prev->first + prev->second == offset) {
        offset = prev->first;
        bytes += prev->second;
        by_size.erase({prev->second, prev->first});
        holes.erase(prev);
      }
    }
    holes[offset] = bytes;
    by_size.insert({bytes, offset});
  };
  for (size_t i : order) {
    Block& b = (*blocks)[i];
    while (!ends.empty() && ends.begin()->first < b.first) {
      const Block& done = (*blocks)[ends.begin()->second];
      add_hole(done.offset, Aligned(done.bytes));
      ends.erase(ends.begin());
    }
    const int64_t need = Aligned(b.bytes);
    const auto fit = by_size.lower_bound({need, -1});
    if (fit != by_size.end()) {
      const auto [bytes, offset] = *fit;
      by_size.erase(fit);
      holes.erase(offset);
      b.offset = offset;
      if (bytes > need) add_hole(offset + need, bytes - need);
    } else {
      b.offset = end;
      if (!holes.empty()) {  // grow the last hole rather than start behind it
        const auto last = std::prev(holes.end());
        if (last->first + last->second == end) {
          b.offset = last->first;
          by_size.erase({last->second, last->first});
          holes.erase(last);
        }
      }
      end = b.offset + need;
    }
    ends.emplace(b.last, i);
  }
  return end;
}

// Largest first, each at the lowest offset that is free during its whole life.
int64_t InSizeOrder(std::vector<Block>* blocks) {
  std::vector<size_t> order(blocks->size()), placed;  // placed: sorted by offset
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return (*blocks)[a].bytes > (*blocks)[b].bytes; });
  int64_t end = 0;
  for (size_t i : order) {
    Block& b = (*blocks)[i];
    const int64_t need = Aligned(b.bytes);
    int64_t at = 0, best = -1, best_hole = std::numeric_limits<int64_t>::max();
    for (size_t j : placed) {
      const Block& other = (*blocks)[j];
      if (other.last < b.first || b.last < other.first) continue;
      if (other.offset - at >= need && other.offset - at < best_hole) {
        best = at;
        best_hole = other.offset - at;
      }
      at = std::max(at, other.offset + Aligned(other.bytes));
    }
    b.offset = best >= 0 ? best : at;
    end = std::max(end, b.offset + need);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t x, size_t y) {
                                     return (*blocks)[x].offset < (*blocks)[y].offset;
                                   }),
                  i);
  }
  return end;
}

}  // namespace

MemoryPlan PlanMemory(std::vector<Block>* blocks) {
  MemoryPlan plan;
  plan.lower_bound = LowerBound(*blocks);
  plan.bytes = InTimeOrder(blocks);
  if (plan.bytes > plan.lower_bound && blocks->size() <= kQuadraticLimit) {
    std::vector<Block> other = *blocks;
    const int64_t bytes = InSizeOrder(&other);
    if (bytes < plan.bytes) {
      plan.bytes = bytes;
      *blocks = std::move(other);
    }
  }
  return plan;
}

}  // namespace ostria
