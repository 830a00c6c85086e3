// SPDX-License-Identifier: Apache-2.0
// Transforms that choose which elements come, without looking into them: repeat, take, skip,
// enumerate, zip.
#include <algorithm>

#include "data/stage.h"

namespace ostria::data {
namespace {

void CheckCount(const char* op, int64_t count) {
  if (count < -1) {
    Fail(ErrorCode::kInvalidArgument, op, ": count is ", count,
         "; it must be 0 or more, or -1 for no limit");
  }
}

class RepeatStage final : public Stage {
 public:
  RepeatStage(std::unique_ptr<Stage> input, int64_t count)
      : Stage(input->rows()), input_(std::move(input)), count_(count), ended_(count == 0) {}

  bool Next(Element* out) override {
    if (rows() != nullptr) return Stage::Next(out);
    while (!ended_) {
      if (input_->Next(out)) {
        any_ = true;
        return true;
      }
      NextPass();
    }
    return false;
  }
  int64_t Pull(int64_t n, int64_t* rows) override {
    return Loop(n, [&](int64_t done) { return input_->Pull(n - done, rows + done); });
  }
  int64_t Skip(int64_t n) override {
    return Loop(n, [&](int64_t done) { return input_->Skip(n - done); });
  }
  void Restart() override {
    pass_ = 0;
    any_ = false;
    ended_ = count_ == 0;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("repeat");
    out.Int(pass_);
    out.Int(any_);
    out.Int(ended_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("repeat");
    pass_ = in.Int(0);
    any_ = in.Int(0, 1) != 0;
    ended_ = in.Int(0, 1) != 0;
    input_->Restore(in);
  }

 private:
  template <class Advance>
  int64_t Loop(int64_t n, Advance advance) {
    int64_t done = 0;
    while (done < n && !ended_) {
      const int64_t got = advance(done);
      any_ = any_ || got > 0;
      done += got;
      if (done < n) NextPass();
    }
    return done;
  }
  void NextPass() {
    // A pass without elements will not have any next time either.
    if (!any_ || (count_ >= 0 && pass_ + 1 >= count_)) {
      ended_ = true;
      return;
    }
    ++pass_;
    any_ = false;
    input_->Restart();
  }

  std::unique_ptr<Stage> input_;
  int64_t count_, pass_ = 0;
  bool any_ = false;  // elements in this pass
  bool ended_;
};

class TakeStage final : public Stage {
 public:
  TakeStage(std::unique_ptr<Stage> input, int64_t count)
      : Stage(input->rows()), input_(std::move(input)), count_(count < 0 ? INT64_MAX : count) {}
  bool Next(Element* out) override {
    if (taken_ >= count_ || !input_->Next(out)) return false;
    ++taken_;
    return true;
  }
  int64_t Pull(int64_t n, int64_t* rows) override {
    const int64_t want = std::min(n, count_ - taken_);
    const int64_t got = want > 0 ? input_->Pull(want, rows) : 0;
    taken_ += got;
    return got;
  }
  int64_t Skip(int64_t n) override {
    const int64_t want = std::min(n, count_ - taken_);
    const int64_t got = want > 0 ? input_->Skip(want) : 0;
    taken_ += got;
    return got;
  }
  void Restart() override {
    taken_ = 0;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("take");
    out.Int(taken_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("take");
    taken_ = in.Int(0, count_);
    input_->Restore(in);
  }

 private:
  std::unique_ptr<Stage> input_;
  int64_t count_, taken_ = 0;
};

class SkipStage final : public Stage {
 public:
  SkipStage(std::unique_ptr<Stage> input, int64_t count)
      : Stage(input->rows()), input_(std::move(input)), count_(count < 0 ? INT64_MAX : count) {}
  bool Next(Element* out) override {
    SkipOnce();
    return input_->Next(out);
  }
  int64_t Pull(int64_t n, int64_t* rows) override {
    SkipOnce();
    return input_->Pull(n, rows);
  }
  int64_t Skip(int64_t n) override {
    SkipOnce();
    return input_->Skip(n);
  }
  void Restart() override {
    skipped_ = false;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("skip");
    out.Int(skipped_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("skip");
    skipped_ = in.Int(0, 1) != 0;
    input_->Restore(in);
  }

 private:
  void SkipOnce() {
    if (skipped_) return;
    input_->Skip(count_);
    skipped_ = true;
  }
  std::unique_ptr<Stage> input_;
  int64_t count_;
  bool skipped_ = false;
};

class EnumerateStage final : public Stage {
 public:
  EnumerateStage(std::unique_ptr<Stage> input, int64_t start)
      : input_(std::move(input)), start_(start) {}
  bool Next(Element* out) override {
    Element element;
    if (!input_->Next(&element)) return false;
    const uint64_t wrapped = static_cast<uint64_t>(start_) + static_cast<uint64_t>(index_++);
    out->assign(1, Tensor::Scalar(DType::kInt64, wrapped));
    for (Tensor& t : element) out->push_back(std::move(t));
    return true;
  }
  int64_t Skip(int64_t n) override {
    const int64_t got = input_->Skip(n);
    index_ += got;
    return got;
  }
  void Restart() override {
    index_ = 0;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("enumerate");
    out.Int(index_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("enumerate");
    index_ = in.Int(0);
    input_->Restore(in);
  }

 private:
  std::unique_ptr<Stage> input_;
  int64_t start_, index_ = 0;
};

class ZipStage final : public Stage {
 public:
  explicit ZipStage(std::vector<std::unique_ptr<Stage>> inputs) : inputs_(std::move(inputs)) {}
  bool Next(Element* out) override {
    if (ended_) return false;
    Element all, one;
    for (auto& input : inputs_) {
      if (!input->Next(&one)) {
        ended_ = true;
        return false;
      }
      for (Tensor& t : one) all.push_back(std::move(t));
    }
    *out = std::move(all);
    return true;
  }
  int64_t Skip(int64_t n) override {
    if (ended_) return 0;
    int64_t shortest = n;
    for (auto& input : inputs_) shortest = std::min(shortest, input->Skip(n));
    ended_ = shortest < n;
    return shortest;
  }
  void Restart() override {
    ended_ = false;
    for (auto& input : inputs_) input->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("zip");
    out.Int(ended_);
    for (const auto& input : inputs_) input->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("zip");
    ended_ = in.Int(0, 1) != 0;
    for (auto& input : inputs_) input->Restore(in);
  }

 private:
  std::vector<std::unique_ptr<Stage>> inputs_;
  bool ended_ = false;
};

class CountedDataset : public Dataset {
 public:
  CountedDataset(DatasetPtr input, int64_t count) : Dataset({std::move(input)}), count_(count) {}

 protected:
  const Dataset& input() const { return *inputs()[0]; }
  int64_t count_;
};

class RepeatDataset final : public CountedDataset {
 public:
  using CountedDataset::CountedDataset;
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<RepeatStage>(input().MakeStage(), count_);
  }
  const RowTable* rows() const override { return input().rows(); }
  int64_t Cardinality() const override {
    const int64_t n = input().Cardinality();
    if (n == 0 || count_ == 0) return 0;
    if (n == kUnknown) return kUnknown;
    int64_t total = 0;
    if (n == kInfinite || count_ < 0 || __builtin_mul_overflow(n, count_, &total)) return kInfinite;
    return total;
  }
  std::string Describe() const override { return StrCat("repeat(", count_, ")"); }
};

class TakeDataset final : public CountedDataset {
 public:
  using CountedDataset::CountedDataset;
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<TakeStage>(input().MakeStage(), count_);
  }
  const RowTable* rows() const override { return input().rows(); }
  int64_t Cardinality() const override {
    const int64_t n = input().Cardinality();
    if (count_ < 0 || n == kUnknown) return count_ == 0 ? 0 : n;
    return n == kInfinite ? count_ : std::min(n, count_);
  }
  std::string Describe() const override { return StrCat("take(", count_, ")"); }
};

class SkipDataset final : public CountedDataset {
 public:
  using CountedDataset::CountedDataset;
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<SkipStage>(input().MakeStage(), count_);
  }
  const RowTable* rows() const override { return input().rows(); }
  int64_t Cardinality() const override {
    const int64_t n = input().Cardinality();
    if (count_ < 0) return 0;
    return n < 0 ? n : std::max<int64_t>(0, n - count_);
  }
  std::string Describe() const override { return StrCat("skip(", count_, ")"); }
};

class EnumerateDataset final : public CountedDataset {
 public:
  using CountedDataset::CountedDataset;
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<EnumerateStage>(input().MakeStage(), count_);
  }
  int64_t Cardinality() const override { return input().Cardinality(); }
  std::string Describe() const override { return StrCat("enumerate(", count_, ")"); }
};

class ZipDataset final : public Dataset {
 public:
  using Dataset::Dataset;
  explicit ZipDataset(std::vector<DatasetPtr> inputs) : Dataset(std::move(inputs)) {}
  std::unique_ptr<Stage> MakeStage() const override {
    std::vector<std::unique_ptr<Stage>> stages;
    for (const auto& input : inputs()) stages.push_back(input->MakeStage());
    return std::make_unique<ZipStage>(std::move(stages));
  }
  int64_t Cardinality() const override {
    int64_t shortest = kInfinite;
    for (const auto& input : inputs()) {
      const int64_t n = input->Cardinality();
      if (n == 0) return 0;
      if (n == kUnknown || shortest == kUnknown) {
        shortest = kUnknown;
      } else if (n >= 0) {
        shortest = shortest == kInfinite ? n : std::min(shortest, n);
      }
    }
    return shortest;
  }
  std::string Describe() const override { return StrCat("zip(", inputs().size(), ")"); }
};

}  // namespace

DatasetPtr Repeat(DatasetPtr input, int64_t count) {
  CheckCount("repeat", count);
  return std::make_shared<RepeatDataset>(std::move(input), count);
}
DatasetPtr Take(DatasetPtr input, int64_t count) {
  CheckCount("take", count);
  return std::make_shared<TakeDataset>(std::move(input), count);
}
DatasetPtr Skip(DatasetPtr input, int64_t count) {
  CheckCount("skip", count);
  return std::make_shared<SkipDataset>(std::move(input), count);
}
DatasetPtr Enumerate(DatasetPtr input, int64_t start) {
  return std::make_shared<EnumerateDataset>(std::move(input), start);
}
DatasetPtr Zip(std::vector<DatasetPtr> inputs) {
  if (inputs.empty())
    Fail(ErrorCode::kInvalidArgument, "zip: no dataset was given; at least one is needed");
  return std::make_shared<ZipDataset>(std::move(inputs));
}

}  // namespace ostria::data
