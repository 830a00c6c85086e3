// SPDX-License-Identifier: Apache-2.0
// What the tests of the input pipeline share: sources and functions with a known behaviour, and
// readers.
#pragma once

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "data/dataset.h"

namespace ostria::data {

/// Yields 0, 1, … n - 1 as int64 scalars; fails before element `fail_at`.
class Counter final : public ExternalSource {
 public:
  explicit Counter(int64_t n, int64_t fail_at = -1) : n_(n), fail_at_(fail_at) {}
  void Reset(int64_t) override { next_ = 0; }
  bool Next(Element* out) override {
    if (next_ == fail_at_) throw std::runtime_error("row 5 of the file is broken");
    if (next_ == n_) return false;
    out->assign(1, Tensor::Scalar(DType::kInt64, next_++));
    return true;
  }

 private:
  int64_t n_, fail_at_, next_ = 0;
};

inline DatasetPtr FromCounter(int64_t n, int64_t fail_at = -1) {
  return FromSource([=] { return std::make_unique<Counter>(n, fail_at); }, std::nullopt);
}

/// 10 x + 1 on every value; the parallel tests sleep so that results finish out of order.
class TimesTen final : public MapFunction {
 public:
  explicit TimesTen(bool uneven = false) : uneven_(uneven) {}
  void Call(const Element& in, Element* out) override {
    ++calls;
    const int64_t first = in[0].numel() > 0 ? in[0].data<int64_t>()[0] : 0;
    if (uneven_ && first % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
    Tensor t = Tensor::Empty(DType::kInt64, in[0].shape());
    for (int64_t i = 0; i < t.numel(); ++i)
      t.data<int64_t>()[i] = in[0].data<int64_t>()[i] * 10 + 1;
    out->assign(1, t);
  }
  std::atomic<int64_t> calls{0};

 private:
  bool uneven_;
};

inline DatasetPtr MapTen(DatasetPtr input, int64_t threads = 1) {
  return Map(std::move(input), std::make_shared<TimesTen>(threads > 1), threads);
}

inline std::vector<int64_t> Values(const Element& element) {
  std::vector<int64_t> values;
  for (const Tensor& t : element) {
    values.insert(values.end(), t.data<int64_t>(), t.data<int64_t>() + t.numel());
  }
  return values;
}

/// One vector of values per element, at most `limit` elements.
inline std::vector<std::vector<int64_t>> Read(Iterator& it, int64_t limit = 100000) {
  std::vector<std::vector<int64_t>> all;
  Element element;
  while (static_cast<int64_t>(all.size()) < limit && it.Next(&element))
    all.push_back(Values(element));
  return all;
}

inline std::vector<std::vector<int64_t>> Read(const DatasetPtr& dataset, int64_t limit = 100000) {
  Iterator it(dataset);
  return Read(it, limit);
}

inline std::vector<int64_t> Flat(const std::vector<std::vector<int64_t>>& all) {
  std::vector<int64_t> flat;
  for (const auto& one : all) flat.insert(flat.end(), one.begin(), one.end());
  return flat;
}

inline std::vector<int64_t> ReadFlat(const DatasetPtr& dataset) { return Flat(Read(dataset)); }

template <class Fn>
std::string MessageOf(Fn fn) {
  try {
    fn();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace ostria::data
