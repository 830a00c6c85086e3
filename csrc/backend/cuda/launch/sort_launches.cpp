// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/launch/sort_launches.h"

#include <algorithm>

#include "kernels/sort/sort.h"

namespace ostria::cuda {
namespace {

using kernels::kDigits;
using kernels::kTileThreads;
using kernels::RadixParams;
using kernels::SortRowsParams;

constexpr int kDigitBits = 8;
static_assert(1 << kDigitBits == kDigits);

int64_t Whole(int64_t bytes) { return (bytes + 255) / 256 * 256; }

int64_t TileOf(int bytes) {
  return kTileThreads * (bytes == 4 ? kernels::kTileItems32 : kernels::kTileItems64);
}
int64_t TilesOf(const KeyRows& what) {
  return std::max<int64_t>(1, (what.n + TileOf(what.bytes) - 1) / TileOf(what.bytes));
}
std::string Suffix(const KeyRows& what) { return what.bytes == 4 ? "_32" : "_64"; }

int64_t KeyBytes(const KeyRows& what) { return Whole(what.rows * what.n * what.bytes); }
int64_t PositionBytes(const KeyRows& what) { return Whole(what.rows * what.n * 4); }
int64_t CountBytes(const KeyRows& what) { return Whole(what.rows * kDigits * TilesOf(what) * 4); }

}  // namespace

int64_t SortWorkspace(const KeyRows& what) {
  const int64_t pair = KeyBytes(what) + PositionBytes(what);
  if (TilesOf(what) == 1) return pair;
  return 2 * pair + CountBytes(what) + Whole(what.rows * kDigits * 4);
}

Sorted AddSort(Launches* to, const KeyRows& what, Place keys, Place workspace,
               const DeviceProps& device) {
  const int64_t tiles = TilesOf(what), blocks = what.rows * tiles;
  const auto grid = [&](int64_t count) {
    LaunchShape shape;
    shape.block = kTileThreads;
    shape.grid[0] = GridFor(count, 1, 1, device, 64);
    return shape;
  };
  Sorted pairs[2];
  for (int i = 0; i < 2; ++i) {
    pairs[i].keys = workspace + i * (KeyBytes(what) + PositionBytes(what));
    pairs[i].positions = pairs[i].keys + KeyBytes(what);
  }
  if (tiles == 1) {
    SortRowsParams p;
    p.rows = what.rows;
    p.n = p.axis = p.take = what.n;
    p.bits = what.bits;
    to->Add("sort/rows", "sort_rows_tile" + Suffix(what), grid(blocks), p)
        .Point(&SortRowsParams::keys, keys)
        .Point(&SortRowsParams::dst_keys, pairs[0].keys)
        .Point(&SortRowsParams::dst_positions, pairs[0].positions);
    return pairs[0];
  }
  const Place counts = pairs[1].positions + PositionBytes(what);
  const Place totals = counts + CountBytes(what);
  Sorted from{keys, {}};
  int into = 0;
  const int bits = std::max(what.bits, 1);  // a pass makes the positions
  for (int begin = 0; begin < bits; begin += kDigitBits, into ^= 1) {
    RadixParams p;
    p.rows = what.rows;
    p.n = what.n;
    p.tiles = tiles;
    p.begin = begin;
    p.end = std::min(begin + kDigitBits, bits);
    to->Add("sort/radix", "radix_count" + Suffix(what), grid(blocks), p)
        .Point(&RadixParams::keys, from.keys)
        .Point(&RadixParams::counts, counts);
    to->Add("sort/radix", "radix_scan", grid(what.rows * kDigits / (kTileThreads / 32)), p)
        .Point(&RadixParams::counts, counts)
        .Point(&RadixParams::totals, totals);
    auto scatter = to->Add("sort/radix", "radix_scatter" + Suffix(what), grid(blocks), p);
    scatter.Point(&RadixParams::keys, from.keys)
        .Point(&RadixParams::dst_keys, pairs[into].keys)
        .Point(&RadixParams::dst_positions, pairs[into].positions)
        .Point(&RadixParams::counts, counts)
        .Point(&RadixParams::totals, totals);
    if (from.positions.operand >= 0) scatter.Point(&RadixParams::positions, from.positions);
    from = pairs[into];
  }
  return from;
}

}  // namespace ostria::cuda
