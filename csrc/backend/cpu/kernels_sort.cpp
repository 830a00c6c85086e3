// SPDX-License-Identifier: Apache-2.0
// sort, argsort, top_k and searchsorted, on keys: unsigned integers in the order of the elements,
// in which NaN is last and -0 is 0. An item is a key with its position, so no two are equal and
// every way of sorting gives the one stable result. Long rows are sorted by radix, short ones
// compared.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/columns.h"
#include "backend/cpu/combine.h"
#include "backend/cpu/kernels.h"
#include "ops/common/sort.h"

namespace ostria::cpu {
namespace {

template <class T>
using KeyOf =
    std::conditional_t<sizeof(T) == 1, uint8_t,
                       std::conditional_t<sizeof(T) == 2, uint16_t,
                                          std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

/// Ascending in the order of `less`; `flip` is all ones for the opposite order, NaN last in both.
template <class T>
KeyOf<T> Key(T v, KeyOf<T> flip) {
  using K = KeyOf<T>;
  constexpr K kSign = static_cast<K>(K(1) << (8 * sizeof(K) - 1));
  if constexpr (std::is_same_v<T, bool>) {
    return static_cast<K>(static_cast<K>(v) ^ flip);
  } else if constexpr (std::is_integral_v<T>) {
    const K sign = std::is_signed_v<T> ? kSign : K(0);
    return static_cast<K>(std::bit_cast<K>(v) ^ sign ^ flip);
  } else {
    const auto number = Number(v);
    if (number != number) return std::numeric_limits<K>::max();
    const K bits = number == 0 ? K(0) : std::bit_cast<K>(v);
    return static_cast<K>((bits & kSign ? static_cast<K>(~bits) : static_cast<K>(bits | kSign)) ^
                          flip);
  }
}

// Of dtypes of up to 4 bytes: key and position in one word.
struct NarrowItem {
  uint64_t word;
  static NarrowItem Of(uint64_t key, int64_t at) { return {key << 32 | static_cast<uint32_t>(at)}; }
  int64_t at() const { return static_cast<int64_t>(word & 0xffffffffu); }
  uint8_t Byte(int i) const { return static_cast<uint8_t>(word >> (32 + 8 * i)); }
  friend bool operator<(NarrowItem a, NarrowItem b) { return a.word < b.word; }
};
struct WideItem {
  uint64_t key, position;
  static WideItem Of(uint64_t key, int64_t at) { return {key, static_cast<uint64_t>(at)}; }
  int64_t at() const { return static_cast<int64_t>(position); }
  uint8_t Byte(int i) const { return static_cast<uint8_t>(key >> (8 * i)); }
  friend bool operator<(WideItem a, WideItem b) {
    return a.key != b.key ? a.key < b.key : a.position < b.position;
  }
};
template <class T>
using ItemOf = std::conditional_t<sizeof(T) <= 4, NarrowItem, WideItem>;

constexpr int64_t kLongRow = 512;  // where passes over all items overtake comparisons

/// Sorts n items that stand in the order of their positions, by `bytes` bytes of their keys; the
/// result is in `items` or in `spare`.
template <class Item>
Item* RadixSort(Item* items, Item* spare, int64_t n, int bytes) {
  for (int byte = 0; byte < bytes; ++byte) {
    int64_t starts[256] = {};
    for (int64_t i = 0; i < n; ++i) ++starts[items[i].Byte(byte)];
    if (starts[items[0].Byte(byte)] == n) continue;  // all in one place already
    int64_t at = 0;
    for (int64_t& start : starts) at += std::exchange(start, at);
    for (int64_t i = 0; i < n; ++i) spare[starts[items[i].Byte(byte)]++] = items[i];
    std::swap(items, spare);
  }
  return items;
}

struct SortState final : KernelState {
  DType dtype;
  Columns columns;
  int64_t take = 0;  // of each row, from the front
  bool descending = false;
  int values = -1, indices = -1, workspace = 0;  // places in ptrs; -1: not asked for
  int64_t pieces = 1, piece_bytes = 0;           // threads' shares of the rows, and their workspace
};

std::unique_ptr<SortState> Make(const NodeDesc& d, int64_t axis, bool descending) {
  auto state = std::make_unique<SortState>();
  const MemDesc& x = d.inputs[0];
  const int at = ops::Axis(axis, x.rank);
  state->dtype = x.dtype;
  state->columns = Columns::Of(x, at);
  state->take = d.outputs[0].sizes[at];
  state->descending = descending;
  state->workspace = 1 + static_cast<int>(d.outputs.size());
  constexpr int64_t kGrain = 1 << 12;  // elements worth a thread
  const int64_t threads = d.device == nullptr ? NumThreads() : d.device->threads;
  const int64_t n = state->columns.size, rows = state->columns.count();
  state->pieces = std::max<int64_t>(1, std::min({threads, rows, rows * n / kGrain}));
  const int64_t item = SizeOf(x.dtype) <= 4 ? sizeof(NarrowItem) : sizeof(WideItem);
  state->piece_bytes = 2 * n * item;
  state->workspace_bytes = state->pieces * state->piece_bytes;
  return state;
}

Support Supports(const NodeDesc& d) {
  if (d.inputs[0].numel() > int64_t{UINT32_MAX}) return Support::No("more than 2^32 elements");
  return NeedsDense(d);
}

std::unique_ptr<KernelState> PrepareSort(const NodeDesc& d) {
  auto state = Make(d, d.attr<int64_t>(ops::kSortAxis), d.attr<bool>(ops::kSortDescending));
  (d.op == &ops::kSort ? state->values : state->indices) = 1;
  return state;
}

std::unique_ptr<KernelState> PrepareTopK(const NodeDesc& d) {
  auto state =
      Make(d, d.attr<int64_t>(ops::TopKAttr::kAxis), d.attr<bool>(ops::TopKAttr::kLargest));
  state->values = 1;
  state->indices = 2;
  return state;
}

template <class T>
void SortRow(const SortState& s, const T* x, T* values, int64_t* indices, ItemOf<T>* items) {
  using Item = ItemOf<T>;
  const int64_t n = s.columns.size, step = s.columns.inner;
  const KeyOf<T> flip = s.descending ? static_cast<KeyOf<T>>(~KeyOf<T>(0)) : KeyOf<T>(0);
  for (int64_t i = 0; i < n; ++i) items[i] = Item::Of(Key(x[i * step], flip), i);
  if (s.take < n / 8) {
    std::partial_sort(items, items + s.take, items + n);
  } else if (n < kLongRow) {
    std::sort(items, items + n);
  } else {
    items = RadixSort(items, items + n, n, static_cast<int>(sizeof(T)));
  }
  for (int64_t i = 0; i < s.take; ++i) {
    const int64_t at = items[i].at();
    if (values != nullptr) values[i * step] = x[at * step];
    if (indices != nullptr) indices[i * step] = at;
  }
}

template <class T>
void SortRows(const SortState& s, void* const* ptrs) {
  const T* x = static_cast<const T*>(ptrs[0]);
  T* values = s.values < 0 ? nullptr : static_cast<T*>(ptrs[s.values]);
  int64_t* indices = s.indices < 0 ? nullptr : static_cast<int64_t*>(ptrs[s.indices]);
  auto* workspace = static_cast<std::byte*>(ptrs[s.workspace]);
  const Columns& c = s.columns;
  ParallelFor(s.pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      auto* items = reinterpret_cast<ItemOf<T>*>(workspace + piece * s.piece_bytes);
      const int64_t last = c.count() * (piece + 1) / s.pieces;
      for (int64_t row = c.count() * piece / s.pieces; row < last; ++row) {
        const int64_t o = row / c.inner, k = row % c.inner;
        const int64_t to = o * s.take * c.inner + k;
        SortRow(s, x + o * c.size * c.inner + k, values == nullptr ? nullptr : values + to,
                indices == nullptr ? nullptr : indices + to, items);
      }
    }
  });
}

void LaunchSort(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const SortState&>(state);
  DispatchDType(s.dtype, [&]<class T>(T*) { SortRows<T>(s, ptrs); });
}

// --- searchsorted ------------------------------------------------------------------------------

struct SearchState final : KernelState {
  DType dtype;
  int64_t n = 0, count = 0;
  bool right = false;
};

std::unique_ptr<KernelState> PrepareSearch(const NodeDesc& d) {
  auto state = std::make_unique<SearchState>();
  state->dtype = d.inputs[0].dtype;
  state->n = d.inputs[0].numel();
  state->count = d.inputs[1].numel();
  state->right = d.attr<std::string>(ops::SearchAttr::kSide) == "right";
  return state;
}

void LaunchSearch(const KernelState& state, void* const* ptrs) {
  const auto& s = static_cast<const SearchState&>(state);
  auto* y = static_cast<int64_t*>(ptrs[2]);
  constexpr int64_t kGrain = 1 << 10;
  DispatchDType(s.dtype, [&]<class T>(T*) {
    const T *x = static_cast<const T*>(ptrs[0]), *values = static_cast<const T*>(ptrs[1]);
    ParallelFor(s.count, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto key = Key(values[i], KeyOf<T>(0));
        y[i] = std::partition_point(x, x + s.n,
                                    [&](T v) {
                                      const auto own = Key(v, KeyOf<T>(0));
                                      return own < key || (s.right && own == key);
                                    }) -
               x;
      }
    });
  });
}

constexpr KernelDef Sorting(const OpDef& op,
                            std::unique_ptr<KernelState> (*prepare)(const NodeDesc&)) {
  return {
      .op = &op, .impl = "keys", .supports = Supports, .prepare = prepare, .launch = LaunchSort};
}

constexpr KernelDef kKernels[] = {
    Sorting(ops::kSort, PrepareSort),
    Sorting(ops::kArgsort, PrepareSort),
    Sorting(ops::kTopK, PrepareTopK),
    {.op = &ops::kSearchsorted,
     .impl = "bisection",
     .supports = NeedsDense,
     .prepare = PrepareSearch,
     .launch = LaunchSearch},
};

}  // namespace

std::span<const KernelDef> SortKernels() { return kKernels; }

}  // namespace ostria::cpu
