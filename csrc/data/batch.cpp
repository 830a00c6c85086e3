// SPDX-License-Identifier: Apache-2.0
// batch: rows are gathered straight from the source into the batch; elements are stacked. Of a
// batch that several readers share, each gathers its own rows alone. The position is that of the
// whole batch, so it is the same for all of them.
#include <algorithm>

#include "data/stage.h"

namespace ostria::data {
namespace {

class BatchStage final : public Stage {
 public:
  BatchStage(std::unique_ptr<Stage> input, int64_t size, bool drop_remainder,
             std::optional<BatchShare> share)
      : input_(std::move(input)), size_(size), drop_remainder_(drop_remainder), share_(share) {}

  bool Next(Element* out) override {
    if (ended_) return false;
    return input_->rows() != nullptr ? NextOfRows(out) : NextOfElements(out);
  }
  int64_t Skip(int64_t n) override {
    if (ended_) return 0;
    const int64_t total = n > INT64_MAX / size_ ? INT64_MAX : n * size_;
    const int64_t got = input_->Skip(total);
    ended_ = got < total;
    return got / size_ + (got % size_ != 0 && !drop_remainder_ ? 1 : 0);
  }
  void Restart() override {
    ended_ = false;
    input_->Restart();
  }
  void Save(StateWriter& out) const override {
    out.Name("batch");
    out.Int(ended_);
    input_->Save(out);
  }
  void Restore(StateReader& in) override {
    in.Name("batch");
    ended_ = in.Int(0, 1) != 0;
    input_->Restore(in);
  }

 private:
  bool NextOfRows(Element* out) {
    // In steps, so that a batch size far above the data's size costs nothing.
    int64_t count = 0;
    while (count < size_ && !ended_) {
      const int64_t want = std::min<int64_t>(size_ - count, 1 << 16);
      if (rows_.size() < static_cast<size_t>(count + want)) {
        rows_.resize(static_cast<size_t>(count + want));
      }
      const int64_t got = input_->Pull(want, rows_.data() + count);
      count += got;
      ended_ = got < want;
    }
    if (count == 0 || (count < size_ && drop_remainder_)) return false;
    int64_t first = 0, end = count;
    if (share_) {
      const int64_t each = count / share_->total + (count % share_->total != 0 ? 1 : 0);
      const auto row_of = [&](int64_t part) { return part > count / each ? count : part * each; };
      first = row_of(share_->first);
      end = std::min(count, row_of(share_->first + share_->count));
    }
    input_->rows()->Gather({rows_.data() + first, static_cast<size_t>(end - first)}, out);
    if (share_) out->push_back(Tensor::Scalar(DType::kInt64, count));
    return true;
  }
  bool NextOfElements(Element* out) {
    std::vector<Element> elements;
    while (static_cast<int64_t>(elements.size()) < size_ && !ended_) {
      Element element;
      if (input_->Next(&element)) {
        elements.push_back(std::move(element));
      } else {
        ended_ = true;
      }
    }
    if (elements.empty() || (ended_ && drop_remainder_)) return false;
    *out = Stack(elements);
    return true;
  }

  std::unique_ptr<Stage> input_;
  int64_t size_;
  bool drop_remainder_;
  std::optional<BatchShare> share_;
  bool ended_ = false;
  std::vector<int64_t> rows_;
};

class BatchDataset final : public Dataset {
 public:
  BatchDataset(DatasetPtr input, int64_t size, bool drop_remainder, std::optional<BatchShare> share)
      : Dataset({std::move(input)}), size_(size), drop_remainder_(drop_remainder), share_(share) {}
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<BatchStage>(inputs()[0]->MakeStage(), size_, drop_remainder_, share_);
  }
  int64_t Cardinality() const override {
    const int64_t n = inputs()[0]->Cardinality();
    if (n < 0) return n;
    return n / size_ + (n % size_ != 0 && !drop_remainder_ ? 1 : 0);
  }
  // Without the share: a position is that of all readers, however many.
  std::string Describe() const override {
    return StrCat("batch(", size_, ", drop_remainder=", drop_remainder_, ")");
  }

 private:
  int64_t size_;
  bool drop_remainder_;
  std::optional<BatchShare> share_;
};

}  // namespace

DatasetPtr Batch(DatasetPtr input, int64_t batch_size, bool drop_remainder,
                 std::optional<BatchShare> share) {
  if (batch_size < 1) {
    Fail(ErrorCode::kInvalidArgument, "batch: batch_size is ", batch_size,
         "; it must be at least 1");
  }
  if (share && (share->first < 0 || share->count < 1 || share->total < share->count ||
                share->first > share->total - share->count)) {
    Fail(ErrorCode::kInvalidArgument, "batch: a share of ", share->count, " parts from part ",
         share->first, " of ", share->total, "; a share lies within the parts");
  }
  if (share && input->rows() == nullptr) {
    Fail(ErrorCode::kInvalidArgument, "batch: only of rows that can be read in any order a share ",
         "alone can be batched; batch all of them, and cut the batch");
  }
  return std::make_shared<BatchDataset>(std::move(input), batch_size, drop_remainder, share);
}

}  // namespace ostria::data
