// SPDX-License-Identifier: Apache-2.0
// Attention in blocks, one table per instruction set: serial functions of one block of queries, or
// of all queries that share a head of keys. No score outlives its block. Plain data only.
#pragma once

#include <cstdint>

namespace ostria {

/// Queries of a block; also the most keys that are scored at once.
inline constexpr int64_t kAttentionBlock = 64;

/// Operands are [batch, length, heads, dim], dense; lse is [batch, heads, length_q].
struct AttentionArgs {
  const void *q, *k, *v;
  void *y, *lse;
  const void *g, *lse_grad;  // backward: of y and of lse; lse_grad may be null
  void *dq, *dk, *dv;
  const void* mask;  // null, bool, or numbers of q's dtype that are added
  bool bias;
  int64_t mask_batch, mask_head, mask_row;  // strides in elements
  int64_t heads, kv_heads, length_q, length_kv, dim, dim_v;
  double scale;
  bool causal;
  bool drop;  // dropout keeps an element, times `keep`, when its word is at most `last`
  double keep;
  uint32_t last, key[2];
  uint64_t step, first;  // first: element of batch 0
};

template <class T>
struct AttentionFns {
  /// Elements of workspace.
  int64_t (*workspace)(int64_t dim, int64_t dim_v);
  /// Queries [q0, q0 + kAttentionBlock) of one head; `keys`: how many are not masked by lengths.
  void (*forward)(const AttentionArgs& a, int64_t batch, int64_t head, int64_t q0, int64_t keys,
                  T* workspace);
  /// dk and dv of one head of keys, dq of the heads that share it.
  void (*backward)(const AttentionArgs& a, int64_t batch, int64_t kv_head, int64_t keys,
                   T* workspace);
};

struct AttentionTable {
  AttentionFns<float> f32;
  AttentionFns<double> f64;
};
extern const AttentionTable kAttentionBaseline, kAttentionAvx2, kAttentionAvx512;

}  // namespace ostria
