// SPDX-License-Identifier: Apache-2.0
// Last stage of making tiles: where values lie in a thread's scratch memory, and which outputs may
// take the place of which inputs.
#include "backend/cpu/tile_memory.h"

#include <algorithm>

namespace ostria::cpu {

namespace {
using Base = TilePlace::Base;
}  // namespace

// Steps of different levels interleave with the order they were made in, so a buffer may be given
// away only to values of the same list; across lists everything stays apart.
void PlaceScratch(std::vector<TileBuffer>& buffers, TileProgram* p) {
  int64_t end = 0;
  std::vector<std::vector<TileStep>*> lists = {&p->prologue};
  for (auto& l : p->row_steps) lists.push_back(&l);
  for (auto& l : p->steps) lists.push_back(&l);
  lists.push_back(&p->finish);
  std::vector<int> only(buffers.size(), -1);  // the list that uses it; -2: several
  std::vector<int> first(buffers.size(), -1), last(buffers.size(), -1);
  for (size_t l = 0; l < lists.size(); ++l) {
    int at = 0;
    for (const TileStep& s : *lists[l]) {
      const auto see = [&](const TilePlace& o) {
        if (o.base != Base::kScratch) return;
        int& mine = only[o.index];
        mine = mine == -1 || mine == static_cast<int>(l) ? static_cast<int>(l) : -2;
        if (first[o.index] < 0) first[o.index] = at;
        last[o.index] = at;
      };
      for (int k = 0; k < s.n_in; ++k) see(s.in[k]);
      see(s.out);
      for (const TilePlace& o : s.also) see(o);
      ++at;
    }
  }
  struct Free {
    int64_t offset, bytes;
    int list, from;
  };
  std::vector<Free> freed;
  for (size_t l = 0; l < lists.size(); ++l) {
    for (int at = 0; at < static_cast<int>(lists[l]->size()); ++at) {
      for (size_t b = 0; b < buffers.size(); ++b) {
        TileBuffer& buffer = buffers[b];
        if (first[b] != at || buffer.offset >= 0 ||
            (only[b] >= 0 && only[b] != static_cast<int>(l)))
          continue;
        const int64_t bytes = AlignTile(buffer.bytes);
        auto fit = std::find_if(freed.begin(), freed.end(), [&](const Free& f) {
          return only[b] == f.list && f.bytes == bytes && f.from < at;
        });
        if (only[b] >= 0 && !buffer.persistent && fit != freed.end()) {
          buffer.offset = fit->offset;
          freed.erase(fit);
        } else {
          buffer.offset = end;
          end += bytes;
        }
        if (only[b] >= 0 && !buffer.persistent)
          freed.push_back({buffer.offset, bytes, only[b], last[b]});
      }
    }
  }
  const auto resolve = [&](TilePlace& o) {
    if (o.base == Base::kScratch) o.offset = buffers[o.index].offset;
  };
  for (auto* list : lists) {
    for (TileStep& s : *list) {
      for (int k = 0; k < s.n_in; ++k) resolve(s.in[k]);
      resolve(s.out);
      for (TilePlace& o : s.also) resolve(o);
    }
  }
  p->scratch_bytes = AlignTile(end);
}

void FindAliases(TileProgram* p) {
  p->alias_ok.assign(p->outputs.size(), std::vector<bool>(p->inputs.size()));
  for (size_t out = 0; out < p->outputs.size(); ++out) {
    for (size_t in = 0; in < p->inputs.size(); ++in) {
      const TileOperand &a = p->outputs[out], &b = p->inputs[in];
      const bool every_place = (a.col == 1 || p->cols == 1) && (a.row != 0 || p->rows == 1);
      bool ok = a.outer == b.outer && a.row == b.row && a.col == b.col && a.size == b.size &&
                b.repeat == 1 && every_place;
      bool written = false;
      const auto look = [&](const std::vector<TileStep>& list) {
        for (const TileStep& s : list) {
          for (int k = 0; k < s.n_in && ok; ++k) {
            const TilePlace& o = s.in[k];
            if (o.base == Base::kInput && o.index == static_cast<int32_t>(in)) ok = !written;
          }
          written |= s.out.base == Base::kOutput && s.out.index == static_cast<int32_t>(out);
        }
      };
      look(p->prologue);
      for (int l = 0; l < p->levels; ++l) {
        look(p->row_steps[l]);
        look(p->steps[l]);
      }
      look(p->finish);
      p->alias_ok[out][in] = ok;
    }
  }
}

}  // namespace ostria::cpu
