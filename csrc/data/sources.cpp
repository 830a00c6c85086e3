// SPDX-License-Identifier: Apache-2.0
// Where elements come from: rows of tensors, integers, and sources outside of the room.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "data/stage.h"

namespace ostria::data {
namespace {

class TensorRows final : public RowTable {
 public:
  explicit TensorRows(Element tensors) : tensors_(std::move(tensors)) {
    if (tensors_.empty()) {
      Fail(ErrorCode::kInvalidArgument,
           "from_tensor_slices: the structure holds no array; at least one is needed");
    }
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const Shape& shape = tensors_[i].shape();
      if (shape.rank() == 0) {
        Fail(ErrorCode::kInvalidArgument, "from_tensor_slices: component ", i, " is a scalar (",
             ToString(tensors_[i]), "); every array needs a first axis to slice along");
      }
      const int64_t size = shape[0].value();
      if (i == 0) size_ = size;
      if (size != size_) {
        Fail(ErrorCode::kInvalidArgument, "from_tensor_slices: component 0 has ", size_,
             " rows and component ", i, " has ", size, " (", ToString(tensors_[0]), " and ",
             ToString(tensors_[i]), "); all arrays must have the same first size");
      }
      Shape row = shape;
      row.Remove(0);
      shapes_.push_back(row);
      bytes_.push_back(static_cast<size_t>(row.numel() * SizeOf(tensors_[i].dtype())));
    }
  }

  int64_t size() const override { return size_; }

  void At(int64_t row, Element* out) const override {
    out->clear();
    for (size_t c = 0; c < tensors_.size(); ++c) {
      Tensor t = Tensor::Empty(tensors_[c].dtype(), shapes_[c]);
      Copy(c, row, 1, t.data<std::byte>());
      out->push_back(std::move(t));
    }
  }

  void Gather(std::span<const int64_t> rows, Element* out) const override {
    out->clear();
    for (size_t c = 0; c < tensors_.size(); ++c) {
      Shape shape = shapes_[c];
      shape.Insert(0, static_cast<int64_t>(rows.size()));
      Tensor t = Tensor::Empty(tensors_[c].dtype(), shape);
      auto* to = t.data<std::byte>();
      for (size_t i = 0; i < rows.size();) {
        size_t end = i + 1;  // rows in order are copied as one block
        while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
        Copy(c, rows[i], static_cast<int64_t>(end - i), to);
        to += (end - i) * bytes_[c];
        i = end;
      }
      out->push_back(std::move(t));
    }
  }

  std::string Describe() const {
    return StrCat("from_tensor_slices(", size_, " x (", JoinSpecs(), "))");
  }

 private:
  void Copy(size_t c, int64_t row, int64_t n, std::byte* to) const {
    const size_t bytes = bytes_[c];
    const auto* from = tensors_[c].data<const std::byte>() + static_cast<size_t>(row) * bytes;
    switch (bytes * static_cast<size_t>(n)) {  // labels and other scalars: no call
      case 0: break;
      case 1: std::memcpy(to, from, 1); break;
      case 4: std::memcpy(to, from, 4); break;
      case 8: std::memcpy(to, from, 8); break;
      default: std::memcpy(to, from, bytes * static_cast<size_t>(n));
    }
  }
  std::string JoinSpecs() const {
    std::string text;
    for (size_t c = 0; c < tensors_.size(); ++c) {
      text += StrCat(c ? ", " : "", tensors_[c].dtype(), shapes_[c]);
    }
    return text;
  }

  Element tensors_;
  std::vector<Shape> shapes_;  // of one row
  std::vector<size_t> bytes_;
  int64_t size_ = 0;
};

class RangeRows final : public RowTable {
 public:
  RangeRows(int64_t start, int64_t stop, int64_t step) : start_(start), stop_(stop), step_(step) {
    if (step == 0) Fail(ErrorCode::kInvalidArgument, "range: step is 0; it must not be");
    // In 128 bits, as stop - start may not fit in 64.
    const __int128 span =
        step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
    const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
    const __int128 size = span <= 0 ? 0 : (span + stride - 1) / stride;
    if (size > INT64_MAX) {
      Fail(ErrorCode::kInvalidArgument, "range: from ", start, " to ", stop,
           " are more than 2^63 - 1 elements");
    }
    size_ = static_cast<int64_t>(size);
  }
  int64_t size() const override { return size_; }
  void At(int64_t row, Element* out) const override {
    out->assign(1, Tensor::Scalar(DType::kInt64, Value(row)));
  }
  void Gather(std::span<const int64_t> rows, Element* out) const override {
    Tensor t = Tensor::Empty(DType::kInt64, {static_cast<int64_t>(rows.size())});
    std::transform(rows.begin(), rows.end(), t.data<int64_t>(),
                   [this](int64_t r) { return Value(r); });
    out->assign(1, std::move(t));
  }
  std::string Describe() const { return StrCat("range(", start_, ", ", stop_, ", ", step_, ")"); }

 private:
  int64_t Value(int64_t row) const {
    return static_cast<int64_t>(static_cast<__int128>(start_) + static_cast<__int128>(row) * step_);
  }
  int64_t start_, stop_, step_, size_ = 0;
};

class RowStage final : public Stage {
 public:
  using Stage::Stage;
  int64_t Pull(int64_t n, int64_t* rows) override {
    const int64_t count = std::min(n, this->rows()->size() - next_);
    for (int64_t i = 0; i < count; ++i) rows[i] = next_ + i;
    next_ += count;
    return count;
  }
  int64_t Skip(int64_t n) override {
    const int64_t count = std::min(n, rows()->size() - next_);
    next_ += count;
    return count;
  }
  void Restart() override { next_ = 0; }
  void Save(StateWriter& out) const override {
    out.Name("rows");
    out.Int(next_);
  }
  void Restore(StateReader& in) override {
    in.Name("rows");
    next_ = in.Int(0, rows()->size());
  }

 private:
  int64_t next_ = 0;
};

template <class Table>
class RowDataset final : public Dataset {
 public:
  template <class... Args>
  explicit RowDataset(Args&&... args) : Dataset({}), table_(std::forward<Args>(args)...) {}
  std::unique_ptr<Stage> MakeStage() const override { return std::make_unique<RowStage>(&table_); }
  const RowTable* rows() const override { return &table_; }
  int64_t Cardinality() const override { return table_.size(); }
  std::string Describe() const override { return table_.Describe(); }

 private:
  Table table_;
};

class SourceStage final : public Stage {
 public:
  SourceStage(std::unique_ptr<ExternalSource> source, ElementCheck check)
      : source_(std::move(source)), check_(std::move(check)) {}

  bool Next(Element* out) override {
    if (ended_) return false;
    if (!started_) {
      source_->Reset(epoch_);
      started_ = true;
    }
    if (!source_->Next(out)) {
      ended_ = true;
      return false;
    }
    check_.Check("from_generator", *out, position_);
    ++position_;
    return true;
  }
  void Restart() override { Go(epoch_ + 1); }
  void Save(StateWriter& out) const override {
    out.Name("source");
    out.Int(epoch_);
    out.Int(position_);
    out.Int(ended_);
  }
  void Restore(StateReader& in) override {
    in.Name("source");
    Go(in.Int(0));
    const int64_t position = in.Int(0);
    const bool ended = in.Int(0, 1) != 0;
    // The source knows no position of its own: it runs again up to there.
    if (const int64_t found = ended ? position : Stage::Skip(position); found < position) {
      Fail(ErrorCode::kInvalidArgument, "from_generator: the saved position is after element ",
           position, ", but the generator ended after ", found,
           "; a resumed generator must yield what it yielded before");
    }
    position_ = position;
    ended_ = ended;
  }

 private:
  void Go(int64_t epoch) {
    epoch_ = epoch;
    position_ = 0;
    started_ = ended_ = false;
  }
  std::unique_ptr<ExternalSource> source_;
  ElementCheck check_;
  int64_t epoch_ = 0, position_ = 0;
  bool started_ = false, ended_ = false;
};

class SourceDataset final : public Dataset {
 public:
  SourceDataset(SourceFactory factory, std::optional<std::vector<ComponentSpec>> signature)
      : Dataset({}), factory_(std::move(factory)), signature_(std::move(signature)) {}
  std::unique_ptr<Stage> MakeStage() const override {
    return std::make_unique<SourceStage>(factory_(),
                                         signature_ ? ElementCheck(*signature_) : ElementCheck());
  }
  int64_t Cardinality() const override { return kUnknown; }
  std::string Describe() const override { return "from_generator"; }

 private:
  SourceFactory factory_;
  std::optional<std::vector<ComponentSpec>> signature_;
};

}  // namespace

int64_t Stage::Pull(int64_t, int64_t*) { OSTRIA_CHECK(false, "this stage has no rows"); }

int64_t Stage::Skip(int64_t n) {
  if (rows_ != nullptr) {
    int64_t scratch[256];
    int64_t done = 0;
    while (done < n) {
      const int64_t want = std::min<int64_t>(n - done, 256);
      const int64_t got = Pull(want, scratch);
      done += got;
      if (got < want) break;
    }
    return done;
  }
  Element element;
  int64_t done = 0;
  while (done < n && Next(&element)) ++done;
  return done;
}

DatasetPtr FromTensorSlices(Element tensors) {
  return std::make_shared<RowDataset<TensorRows>>(std::move(tensors));
}

DatasetPtr Range(int64_t start, int64_t stop, int64_t step) {
  return std::make_shared<RowDataset<RangeRows>>(start, stop, step);
}

DatasetPtr FromSource(SourceFactory factory, std::optional<std::vector<ComponentSpec>> signature) {
  return std::make_shared<SourceDataset>(std::move(factory), std::move(signature));
}

}  // namespace ostria::data
