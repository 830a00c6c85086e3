// SPDX-License-Identifier: Apache-2.0
// The public face of the room: datasets (immutable descriptions), the interfaces that callers
// implement for their own sources and functions, and the iterator that a training loop holds.
// Invariant: the sequence an Iterator yields is a function of the dataset, its seeds and the number
// of iterators made before; saving and restoring anywhere never changes it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "data/element.h"

namespace ostria::data {

inline constexpr int64_t kInfinite = -1;  // tf.data's values of cardinality()
inline constexpr int64_t kUnknown = -2;

/// Elements that come from outside, one after another. Called by one thread at a time, maybe not
/// always the same one.
class ExternalSource {
 public:
  virtual ~ExternalSource() = default;
  /// Starts again from the first element; called before the first Next too, with epoch 0, 1, …
  virtual void Reset(int64_t epoch) = 0;
  /// False at the end.
  virtual bool Next(Element* out) = 0;
};
using SourceFactory = std::function<std::unique_ptr<ExternalSource>()>;

/// A function of one element. Called from several threads at once when map asks for parallel calls.
/// It must depend on its argument only: restoring a position does not call it for the elements that
/// are skipped.
class MapFunction {
 public:
  virtual ~MapFunction() = default;
  virtual void Call(const Element& in, Element* out) = 0;
};

/// Elements that can be read in any order, by row number.
class RowTable {
 public:
  virtual ~RowTable() = default;
  virtual int64_t size() const = 0;
  /// One element, copied.
  virtual void At(int64_t row, Element* out) const = 0;
  /// The rows stacked along a new leading axis.
  virtual void Gather(std::span<const int64_t> rows, Element* out) const = 0;
};

class Stage;
class Dataset;
using DatasetPtr = std::shared_ptr<const Dataset>;

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// A running copy of this node and all under it.
  virtual std::unique_ptr<Stage> MakeStage() const = 0;
  /// Not null when every element is a row of this table.
  virtual const RowTable* rows() const { return nullptr; }
  /// Number of elements, kInfinite or kUnknown.
  virtual int64_t Cardinality() const = 0;
  /// Like `batch(128, drop_remainder=false)`: what must agree for a saved position to be usable.
  virtual std::string Describe() const = 0;
  const std::vector<DatasetPtr>& inputs() const { return inputs_; }

 protected:
  explicit Dataset(std::vector<DatasetPtr> inputs) : inputs_(std::move(inputs)) {}

 private:
  std::vector<DatasetPtr> inputs_;
};

/// Rows of `tensors` along their first axis; the tensors are not copied.
DatasetPtr FromTensorSlices(Element tensors);
/// int64 scalars start, start + step, … below (or above) stop.
DatasetPtr Range(int64_t start, int64_t stop, int64_t step);
/// Elements of an outside source; with `signature`, each is compared with it, else with the first.
DatasetPtr FromSource(SourceFactory factory, std::optional<std::vector<ComponentSpec>> signature);

/// Windowed shuffle: keeps `buffer_size` elements and hands out a random one. Without a seed one is
/// drawn from the system; it travels with the saved position.
DatasetPtr Shuffle(DatasetPtr input, int64_t buffer_size, std::optional<int64_t> seed,
                   bool reshuffle_each_iteration);
/// `count` passes; kInfinite for no end.
DatasetPtr Repeat(DatasetPtr input, int64_t count);
/// What one of several readers of the same batches gets: `count` of `total` parts from part `first`
/// on. A part is ceil(rows / total) rows; the last ones have fewer or none.
struct BatchShare {
  int64_t first = 0, count = 1, total = 1;
};
/// With `share` (of an input of rows alone), elements are this share of the batch, maybe 0 rows,
/// and behind its components an int64 scalar: the rows of the whole batch.
DatasetPtr Batch(DatasetPtr input, int64_t batch_size, bool drop_remainder,
                 std::optional<BatchShare> share = std::nullopt);
/// Order is kept. `threads` > 1 calls `fn` on that many elements at once.
DatasetPtr Map(DatasetPtr input, std::shared_ptr<MapFunction> fn, int64_t threads);
/// The first `count` elements; -1 means all.
DatasetPtr Take(DatasetPtr input, int64_t count);
/// All but the first `count` elements; -1 means none.
DatasetPtr Skip(DatasetPtr input, int64_t count);
/// A thread of its own computes up to `buffer_size` elements ahead.
DatasetPtr Prefetch(DatasetPtr input, int64_t buffer_size);
/// Prepends an int64 scalar: start, start + 1, …
DatasetPtr Enumerate(DatasetPtr input, int64_t start);
/// Elements side by side, until the shortest input ends.
DatasetPtr Zip(std::vector<DatasetPtr> inputs);

/// One pass over a dataset. Any thread may call any function; calls wait for each other.
class Iterator {
 public:
  explicit Iterator(DatasetPtr dataset);
  ~Iterator();

  /// False at the end. What a source or function throws arrives here unchanged.
  bool Next(Element* out);
  /// The position after the elements that Next has handed out.
  std::string SaveState() const;
  /// Goes to a saved position. Throws Error(kInvalidArgument) naming the difference when it was
  /// saved by another pipeline, Error(kDataCorruption) when the text is damaged. Unchanged when it
  /// throws for the first reason; to be restored again or thrown away after the second.
  void RestoreState(const std::string& text);
  /// Nanoseconds that callers spent inside Next.
  int64_t wait_nanoseconds() const { return wait_ns_.load(std::memory_order_relaxed); }
  /// Nanoseconds that a thread which reads ahead (prefetch at the end) has spent on elements.
  int64_t ahead_nanoseconds() const;
  /// Elements handed out by this object.
  int64_t elements() const { return elements_.load(std::memory_order_relaxed); }

 private:
  DatasetPtr dataset_;
  mutable std::mutex mutex_;
  std::unique_ptr<Stage> stage_;
  std::string failure_;  // why there is no next element and no exact position
  std::atomic<int64_t> wait_ns_{0};
  std::atomic<int64_t> elements_{0};
};

/// Ends all input threads of the process; iterators that need one fail from then on. For
/// interpreters that go down: waits at most `patience_ms` for threads that are inside a user's
/// function.
void StopInputThreads(int64_t patience_ms);

}  // namespace ostria::data
