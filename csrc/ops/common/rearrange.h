// SPDX-License-Identifier: Apache-2.0
// What files of shape/ share: copies of blocks side by side (tile, repeat) and triangles of the
// last two axes (tril, triu). All of it works on symbolic sizes.
#pragma once

#include <span>
#include <vector>

#include "ops/common/build.h"
#include "ops/common/infer.h"

namespace ostria::ops {

/// x with `times` copies of the block of axes `split`.. one after the other, which makes `axis` so
/// many times as long. Of rank 3 inside, so that it serves every rank.
Value RepeatBlocks(Builder& b, Value x, int axis, int split, int64_t times);
/// Fails unless `times` is 0 or more.
void RequireTimes(const InferContext& c, int64_t times);

/// tril and triu: the type of x, which has rank 2 or more.
void InferTriangle(InferContext& c);
/// x where column - row is kept by `compare` with attribute 0 (k), and 0 elsewhere.
std::vector<Value> KeepTriangle(Builder& b, std::span<const Value> in, std::span<const Attr> attrs,
                                const OpDef& compare);

}  // namespace ostria::ops
