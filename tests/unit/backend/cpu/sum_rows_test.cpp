// SPDX-License-Identifier: Apache-2.0
// sum_rows against scatter_add, and updates by rows against dense ones: the same bits, on one
// thread and two.
#include "backend/cpu/kernels.h"
#include "ops/ops.h"
#include "tests/unit/backend/cpu/evaluate.h"

namespace ostria::cpu {
namespace {

using Ints = std::vector<int64_t>;

template <class T>
Tensor Of(DType dtype, const Shape& shape, const std::function<T(int64_t)>& value) {
  Tensor t = Tensor::Empty(dtype, shape);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<T>()[i] = value(i);
  return t;
}

Tensor Ids(int64_t count, int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  return Of<int64_t>(DType::kInt64, {count}, [&](int64_t) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(2 * rows)) - rows;
  });
}

Tensor Values(int64_t count, int64_t row, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  return Of<float>(DType::kFloat32, {count, row},
                   [&](int64_t i) { return i % 17 == 0 ? -0.0f : normal(random); });
}

// zeros + every list's own sum, in their order.
Tensor Dense(int64_t rows, const std::vector<Tensor>& ids, const std::vector<Tensor>& values) {
  Tensor sum;
  for (size_t k = 0; k < ids.size(); ++k) {
    const Tensor zeros =
        Of<float>(DType::kFloat32, {rows, values[k].shape()[1]}, [](int64_t) { return 0.0f; });
    const Tensor one =
        EvaluateNode(ops::kScatterAdd, {int64_t{0}}, {zeros, ids[k], values[k]}, false)[0];
    sum = k == 0 ? one : EvaluateNode(ops::kAdd, {}, {sum, one}, false)[0];
  }
  return sum;
}

TEST(SumRows, HaveTheBitsOfScatterAdd) {
  struct Case {
    int64_t rows, row;
    Ints counts;
  };
  const std::vector<Case> cases = {
      {5, 3, {31}},         {5000, 16, {700, 700}}, {100, 130, {400, 9, 50}}, {1, 2, {40}},
      {3000000, 1, {9000}}, {2048, 4, {20000}},     {70000, 16, {512}}};
  std::vector<Tensor> in, values;
  Ints numbers, sizes;
  std::vector<Tensor> wanted;
  for (size_t t = 0; t < cases.size(); ++t) {
    std::vector<Tensor> my_ids, my_values;
    for (int64_t count : cases[t].counts) {
      my_ids.push_back(Ids(count, cases[t].rows, in.size()));
      my_values.push_back(Values(count, cases[t].row, in.size()));
      in.push_back(my_ids.back());
      values.push_back(my_values.back());
      numbers.push_back(static_cast<int64_t>(t));
    }
    sizes.push_back(cases[t].rows);
    wanted.push_back(Dense(cases[t].rows, my_ids, my_values));
  }
  in.insert(in.end(), values.begin(), values.end());
  for (int threads : {1, 2}) {
    SetNumThreads(threads);
    const std::vector<Tensor> out =
        EvaluateNode(ops::kSumRows, {numbers, sizes, Ints{}}, in, false);
    ASSERT_EQ(out.size(), cases.size() + 1);
    const int32_t* named = out.back().data<int32_t>();
    for (size_t t = 0; t < cases.size(); ++t) {
      const int64_t n = out[t].shape()[0].value(), row = cases[t].row;
      std::vector<bool> seen(static_cast<size_t>(cases[t].rows));
      for (int64_t r = 0; r < n; ++r) {
        const float* sum = out[t].data<float>() + r * row;
        if (r < named[0]) {
          const int64_t id = named[1 + r];
          EXPECT_TRUE(r == 0 || named[r] < id);
          seen[static_cast<size_t>(id)] = true;
          ASSERT_EQ(std::memcmp(sum, wanted[t].data<float>() + id * row, sizeof(float) * row), 0)
              << "table " << t << " row " << id << " on " << threads;
        } else {
          EXPECT_EQ(named[1 + r], 0);
          for (int64_t c = 0; c < row; ++c) EXPECT_EQ(sum[c], 0);
        }
      }
      for (int64_t id = 0; id < cases[t].rows; ++id) {
        if (seen[static_cast<size_t>(id)]) continue;
        for (int64_t c = 0; c < row; ++c) ASSERT_EQ(wanted[t].data<float>()[id * row + c], 0);
      }
      named += 1 + n;
    }
  }
  SetNumThreads(1);
}

// Also where tables of other ids or other numbers of rows lie between them.
TEST(SumRows, OfTablesThatShareTheirIds) {
  const Tensor ids = Ids(300, 40, 1), others = Ids(300, 40, 2);
  const Tensor a = Values(300, 3, 3), b = Values(300, 5, 4);
  const std::vector<Tensor> lists = {ids, others, ids, ids}, values = {a, b, b, a};
  const Ints numbers = {0, 1, 2, 3}, sizes = {40, 40, 40, 41};
  std::vector<Tensor> in = lists;
  in.insert(in.end(), values.begin(), values.end());
  const std::vector<Tensor> got = EvaluateNode(ops::kSumRows, {numbers, sizes, Ints{}}, in, false);
  const int32_t* named = got.back().data<int32_t>();
  for (size_t t = 0; t < lists.size(); ++t) {
    const std::vector<Tensor> one = EvaluateNode(ops::kSumRows, {Ints{0}, Ints{sizes[t]}, Ints{}},
                                                 {lists[t], values[t]}, false);
    EXPECT_EQ(std::memcmp(got[t].raw(), one[0].raw(), one[0].bytes()), 0) << t;
    EXPECT_EQ(std::memcmp(named, one[1].raw(), one[1].bytes()), 0) << t;
    named += 301;
  }
}

TEST(SumRows, MoveAsInADenseUpdate) {
  const int64_t rows = 4000;
  struct Rule {
    const OpDef* op;
    int slots;
    std::vector<Attr> attrs;
  };
  const std::vector<Rule> rules = {{&ops::kSgdUpdate, 0, {}},
                                   {&ops::kAdagradUpdate, 1, {1e-7}},
                                   {&ops::kFtrlUpdate, 2, {-0.5, 0.1, 0.0, 0.0, 0.0, true}},
                                   {&ops::kAdamUpdate, 2, {0.9, 0.999, 1e-7, true}}};
  for (int64_t row : {int64_t{1}, int64_t{16}, int64_t{37}}) {
    const Tensor ids = Ids(3000, rows, 5), values = Values(3000, row, 5);
    const std::vector<Tensor> sums =
        EvaluateNode(ops::kSumRows, {Ints{0}, Ints{rows}, Ints{}}, {ids, values}, false);
    const Tensor gradient = Dense(rows, {ids}, {values});
    for (const Rule& rule : rules) {
      std::vector<Tensor> in = {Values(rows, row, 1), gradient};
      for (int k = 0; k < rule.slots; ++k) {
        in.push_back(Of<float>(DType::kFloat32, {rows, row},
                               [](int64_t i) { return 0.1f + static_cast<float>(i % 7); }));
      }
      in.push_back(Of<float>(DType::kFloat32, {}, [](int64_t) { return 0.125f; }));
      if (rule.op == &ops::kAdamUpdate)
        in.push_back(Of<int64_t>(DType::kInt64, {}, [](int64_t) { return 3; }));
      in.push_back(Of<float>(DType::kFloat32, {}, [](int64_t) { return 0.5f; }));
      in.push_back(Of<bool>(DType::kBool, {}, [](int64_t) { return true; }));
      std::vector<Attr> attrs = rule.attrs;
      attrs.insert(attrs.end(), {0.0, Ints{}, Ints{}, Ints{}});
      SetNumThreads(1);
      const std::vector<Tensor> wanted = EvaluateNode(*rule.op, attrs, in, false);
      in[1] = sums[0];
      in.push_back(sums[1]);
      attrs.back() = Ints{-1};
      for (int threads : {1, 2}) {
        SetNumThreads(threads);
        const std::vector<Tensor> got = EvaluateNode(*rule.op, attrs, in, false);
        for (size_t k = 0; k < wanted.size(); ++k) {
          EXPECT_EQ(std::memcmp(got[k].raw(), wanted[k].raw(), got[k].bytes()), 0)
              << rule.op->name << " output " << k << " rows of " << row << " on " << threads;
        }
      }
    }
  }
  SetNumThreads(1);
}

}  // namespace
}  // namespace ostria::cpu
