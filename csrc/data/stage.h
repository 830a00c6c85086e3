// SPDX-License-Identifier: Apache-2.0
// What the nodes of a running pipeline share. Private to the room.
// Invariant: a stage is used by one thread at a time; a stage under prefetch belongs to prefetch's
// thread.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "data/state.h"

namespace ostria::data {

class Stage {
 public:
  explicit Stage(const RowTable* rows = nullptr) : rows_(rows) {}
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  /// False at the end, and again if called again.
  virtual bool Next(Element* out) {
    int64_t row = 0;
    if (Pull(1, &row) == 0) return false;
    rows_->At(row, out);
    return true;
  }
  /// Only where rows() is not null: up to n row numbers; fewer only at the end.
  virtual int64_t Pull(int64_t n, int64_t* rows);
  /// Passes over up to n elements as cheaply as possible; returns how many there were.
  virtual int64_t Skip(int64_t n);
  /// Starts the next epoch.
  virtual void Restart() = 0;
  virtual void Save(StateWriter& out) const = 0;
  virtual void Restore(StateReader& in) = 0;
  /// True when Save is exact even after Next has thrown (the element that failed counts as not
  /// consumed).
  virtual bool exact_after_error() const { return false; }
  /// Nanoseconds that a thread of the stage's own has spent on elements, waited for or not.
  virtual int64_t ahead_nanoseconds() const { return 0; }

  const RowTable* rows() const { return rows_; }

 private:
  const RowTable* rows_;
};

}  // namespace ostria::data
