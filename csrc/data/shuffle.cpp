// SPDX-License-Identifier: Apache-2.0
// Windowed shuffle, in two forms with one order: over row numbers (the buffer is part of the saved
// position) and over elements (the buffer is rebuilt from the epoch's start). Invariant: draw k of
// an epoch is RandomBelow(key, k, buffer size); the drawn slot is filled with the buffer's last
// entry, and new entries are appended. Saved positions and goldens depend on it.
#include <algorithm>
#include <random>

#include "data/rng.h"
#include "data/stage.h"

namespace ostria::data {
namespace {

uint64_t SystemSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

class ShuffleDataset final : public Dataset {
 public:
  ShuffleDataset(DatasetPtr input, int64_t buffer_size, std::optional<int64_t> seed, bool reshuffle)
      : Dataset({std::move(input)}),
        buffer_size_(buffer_size),
        seed_(seed ? static_cast<uint64_t>(*seed) : SystemSeed()),
        seeded_(seed.has_value()),
        reshuffle_(reshuffle) {}

  std::unique_ptr<Stage> MakeStage() const override;
  const RowTable* rows() const override { return inputs()[0]->rows(); }
  int64_t Cardinality() const override { return inputs()[0]->Cardinality(); }
  std::string Describe() const override {
    return StrCat("shuffle(", buffer_size_,
                  ", seed=", seeded_ ? StrCat(static_cast<int64_t>(seed_)) : std::string("None"),
                  ", reshuffle_each_iteration=", reshuffle_, ")");
  }

  int64_t NewIteration() const { return iterations_.fetch_add(1); }
  /// After a restore, later iterators go on where the saved run would have gone on.
  void SawIteration(int64_t iteration) const {
    int64_t next = iterations_.load();
    while (next <= iteration && !iterations_.compare_exchange_weak(next, iteration + 1)) {
    }
  }
  int64_t buffer_size() const { return buffer_size_; }
  uint64_t seed() const { return seed_; }
  bool reshuffle() const { return reshuffle_; }

 private:
  int64_t buffer_size_;
  uint64_t seed_;
  bool seeded_, reshuffle_;
  mutable std::atomic<int64_t> iterations_{0};
};

class ShuffleStage : public Stage {
 public:
  ShuffleStage(const ShuffleDataset* dataset, std::unique_ptr<Stage> input)
      : Stage(input->rows()),
        dataset_(dataset),
        input_(std::move(input)),
        capacity_(dataset->buffer_size()),
        seed_(dataset->seed()),
        iteration_(dataset->NewIteration()) {
    NewKey();
  }
  void Restart() override {
    ++epoch_;
    draws_ = 0;
    ended_ = false;
    NewKey();
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("shuffle");
    out.Int(static_cast<int64_t>(seed_));
    out.Int(iteration_);
    out.Int(epoch_);
    out.Int(draws_);
    out.Int(ended_);
  }
  void Restore(StateReader& in) override {
    in.Name("shuffle");
    seed_ = in.Bits();
    iteration_ = in.Int(0, INT64_MAX - 1);
    epoch_ = in.Int(0);
    draws_ = in.Int(0);
    ended_ = in.Int(0, 1) != 0;
    dataset_->SawIteration(iteration_);
    NewKey();
  }

 protected:
  template <class T>
  T Draw(std::vector<T>& buffer) {
    const auto slot = static_cast<size_t>(
        RandomBelow(key_, static_cast<uint64_t>(draws_++), static_cast<int64_t>(buffer.size())));
    T out = std::move(buffer[slot]);
    if (slot + 1 != buffer.size()) buffer[slot] = std::move(buffer.back());
    buffer.pop_back();
    return out;
  }

  const ShuffleDataset* dataset_;
  std::unique_ptr<Stage> input_;
  int64_t capacity_;
  int64_t draws_ = 0;   // of this epoch
  bool ended_ = false;  // the input did

 private:
  void NewKey() {
    key_ = dataset_->reshuffle()
               ? EpochKey(seed_, static_cast<uint64_t>(iteration_), static_cast<uint64_t>(epoch_))
               : EpochKey(seed_, 0, 0);
  }
  uint64_t seed_;
  int64_t iteration_, epoch_ = 0;
  uint64_t key_ = 0;
};

class RowShuffleStage final : public ShuffleStage {
 public:
  using ShuffleStage::ShuffleStage;

  int64_t Pull(int64_t n, int64_t* rows) override {
    int64_t done = 0;
    while (done < n) {
      Fill();
      if (buffer_.empty()) break;
      if (ended_) {
        rows[done++] = Draw(buffer_);
        continue;
      }
      // The buffer is full: k draws need k - 1 new rows, which come in one call.
      int64_t fresh[256];
      const int64_t refills = std::min<int64_t>(n - done, 257) - 1;
      const int64_t got = refills > 0 ? input_->Pull(refills, fresh) : 0;
      for (int64_t i = 0; i < got; ++i) {
        rows[done++] = Draw(buffer_);
        buffer_.push_back(fresh[i]);
      }
      ended_ = got < refills;
      rows[done++] = Draw(buffer_);
    }
    return done;
  }
  void Restart() override {
    buffer_.clear();
    ShuffleStage::Restart();
  }
  void Save(StateWriter& out) const override {
    ShuffleStage::Save(out);
    out.Ints(buffer_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    ShuffleStage::Restore(in);
    buffer_ = in.Ints(capacity_, rows()->size());
    input_->Restore(in);
  }

 private:
  void Fill() {
    while (!ended_ && static_cast<int64_t>(buffer_.size()) < capacity_) {
      const size_t size = buffer_.size();
      // In steps, as a buffer far larger than the data must not be paid for.
      const int64_t want = std::min<int64_t>(capacity_ - static_cast<int64_t>(size), 1 << 16);
      buffer_.resize(size + static_cast<size_t>(want));
      const int64_t got = input_->Pull(want, buffer_.data() + size);
      buffer_.resize(size + static_cast<size_t>(got));
      ended_ = got < want;
    }
  }
  std::vector<int64_t> buffer_;
};

class ElementShuffleStage final : public ShuffleStage {
 public:
  using ShuffleStage::ShuffleStage;

  bool Next(Element* out) override {
    if (epoch_start_.empty()) epoch_start_ = InputState();
    while (!ended_ && static_cast<int64_t>(buffer_.size()) < capacity_) {
      Entry entry{pulled_, {}};
      if (input_->Next(&entry.element)) {
        buffer_.push_back(std::move(entry));
        ++pulled_;
      } else {
        ended_ = true;
      }
    }
    if (buffer_.empty()) return false;
    *out = Draw(buffer_).element;
    return true;
  }
  void Restart() override {
    buffer_.clear();
    pulled_ = 0;
    epoch_start_.clear();
    ShuffleStage::Restart();
  }
  void Save(StateWriter& out) const override {
    ShuffleStage::Save(out);
    out.Int(pulled_);
    out.Tokens(epoch_start_.empty() ? InputState() : epoch_start_);
  }
  void Restore(StateReader& in) override {
    ShuffleStage::Restore(in);
    pulled_ = in.Int(0);
    const int64_t draws = draws_;
    if (draws > pulled_) {
      Fail(ErrorCode::kDataCorruption, "the saved position of a shuffle is damaged: ", draws,
           " elements drawn of ", pulled_, " read; use another checkpoint");
    }
    input_->Restore(in);
    epoch_start_ = InputState();
    // Which elements are in the buffer follows from the numbers alone; only those are computed
    // again.
    std::vector<int64_t> held;
    int64_t next = 0;
    draws_ = 0;
    const auto fill = [&] {
      while (next < pulled_ && static_cast<int64_t>(held.size()) < capacity_)
        held.push_back(next++);
    };
    while (draws_ < draws) {
      fill();
      Draw(held);
    }
    if (next < pulled_) fill();
    std::vector<std::pair<int64_t, size_t>> order;
    for (size_t slot = 0; slot < held.size(); ++slot) order.emplace_back(held[slot], slot);
    std::sort(order.begin(), order.end());
    buffer_.assign(held.size(), {});
    int64_t at = 0;
    for (const auto& [ordinal, slot] : order) {
      buffer_[slot].ordinal = ordinal;
      Advance(ordinal - at);
      if (!input_->Next(&buffer_[slot].element)) Shorter();
      at = ordinal + 1;
    }
    Advance(pulled_ - at);
  }

 private:
  struct Entry {
    int64_t ordinal = 0;
    Element element;
  };
  std::string InputState() const {
    StateWriter writer;
    input_->Save(writer);
    return writer.Take();
  }
  void Advance(int64_t n) {
    if (input_->Skip(n) < n) Shorter();
  }
  [[noreturn]] void Shorter() const {
    Fail(ErrorCode::kInvalidArgument, "shuffle: the saved position is after element ", pulled_,
         " of its input, but the input ended earlier; a resumed input must yield what it yielded "
         "before");
  }
  std::vector<Entry> buffer_;
  int64_t pulled_ = 0;       // of this epoch
  std::string epoch_start_;  // the input's position then
};

std::unique_ptr<Stage> ShuffleDataset::MakeStage() const {
  std::unique_ptr<Stage> input = inputs()[0]->MakeStage();
  if (input->rows() != nullptr) return std::make_unique<RowShuffleStage>(this, std::move(input));
  return std::make_unique<ElementShuffleStage>(this, std::move(input));
}

}  // namespace

DatasetPtr Shuffle(DatasetPtr input, int64_t buffer_size, std::optional<int64_t> seed,
                   bool reshuffle_each_iteration) {
  if (buffer_size < 1) {
    Fail(ErrorCode::kInvalidArgument, "shuffle: buffer_size is ", buffer_size,
         "; it must be at least 1 (1 keeps the order, the number of elements mixes fully)");
  }
  return std::make_shared<ShuffleDataset>(std::move(input), buffer_size, seed,
                                          reshuffle_each_iteration);
}

}  // namespace ostria::data
