// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/simd/elementwise.h"

#include <functional>

#include "base/error.h"
#include "isa_test_util.h"
#include "one_op.h"

namespace ostria {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class T>
constexpr DType kTypeOf = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
template <>
constexpr DType kTypeOf<int32_t> = DType::kInt32;
template <>
constexpr DType kTypeOf<int8_t> = DType::kInt8;

template <class T>
std::vector<T> Unary(ScalarOp op, const std::vector<T>& x, double param = 0) {
  std::vector<T> out(x.size());
  OneOp(op, kTypeOf<T>, x.size(), param).Run({x.data()}, out.data());
  return out;
}

template <class T>
std::vector<T> Binary(ScalarOp op, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> out(a.size());
  OneOp(op, kTypeOf<T>, a.size()).Run({a.data(), b.data()}, out.data());
  return out;
}

template <class T>
std::vector<uint8_t> Predicate(ScalarOp op, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<uint8_t> out(a.size(), 77);
  OneOp(op, kTypeOf<T>, a.size()).Run({a.data(), b.data()}, out.data());
  return out;
}

struct Accuracy {
  ScalarOp op;
  double (*exact)(double);
  double ulp32, ulp64;
  float low, high;
  double param = 0;
};

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double Softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// The documented accuracy: what math.h promises, over sweeps of bit patterns and of a usual range.
const Accuracy kAccuracy[] = {
    {ScalarOp::kExp, [](double x) { return std::exp(x); }, 2, 1, -110, 100},
    {ScalarOp::kLog, [](double x) { return std::log(x); }, 2, 1, 0, 10},
    {ScalarOp::kTanh, [](double x) { return std::tanh(x); }, 3, 2, -10, 10},
    {ScalarOp::kErf, [](double x) { return std::erf(x); }, 3, 1, -5, 5},
    {ScalarOp::kSigmoid, Sigmoid, 3, 4, -80, 80},
    {ScalarOp::kSoftplus, Softplus, 4, 4, -80, 80},
    {ScalarOp::kLog1p, [](double x) { return std::log1p(x); }, 4, 1, -1, 2},
    {ScalarOp::kExpm1, [](double x) { return std::expm1(x); }, 3, 1, -2, 2},
    {ScalarOp::kSin, [](double x) { return std::sin(x); }, 2, 1, -20, 20},
    {ScalarOp::kCos, [](double x) { return std::cos(x); }, 2, 1, -20, 20},
    {ScalarOp::kTan, [](double x) { return std::tan(x); }, 3, 2, -20, 20},
    {ScalarOp::kAsin, [](double x) { return std::asin(x); }, 3, 2, -1, 1},
    {ScalarOp::kAcos, [](double x) { return std::acos(x); }, 3, 2, -1, 1},
    {ScalarOp::kAtan, [](double x) { return std::atan(x); }, 3, 2, -10, 10},
    {ScalarOp::kSinh, [](double x) { return std::sinh(x); }, 3, 2, -100, 100},
    {ScalarOp::kCosh, [](double x) { return std::cosh(x); }, 3, 2, -100, 100},
    {ScalarOp::kAsinh, [](double x) { return std::asinh(x); }, 3, 2, -10, 10},
    {ScalarOp::kAcosh, [](double x) { return std::acosh(x); }, 3, 2, 0, 10},
    {ScalarOp::kAtanh, [](double x) { return std::atanh(x); }, 3, 2, -1, 1},
    {ScalarOp::kLog2, [](double x) { return std::log2(x); }, 3, 2, 0, 10},
    {ScalarOp::kLog10, [](double x) { return std::log10(x); }, 3, 2, 0, 10},
    {ScalarOp::kSqrt, [](double x) { return std::sqrt(x); }, 0.5, 0.51, 0, 4},
    {ScalarOp::kRsqrt, [](double x) { return 1 / std::sqrt(x); }, 1.5, 2, 0, 4},
    {ScalarOp::kReciprocal, [](double x) { return 1 / x; }, 0.51, 0.51, -4, 4},
    {ScalarOp::kSilu, [](double x) { return x * Sigmoid(x); }, 4, 4, -80, 80},
    {ScalarOp::kElu, [](double x) { return x > 0 ? x : 0.5 * std::expm1(x); }, 4, 1, -5, 5, 0.5},
};

TEST(Elementwise, FunctionsAreAccurateOnEveryIsa) {
  ForEachIsa([] {
    for (const Accuracy& row : kAccuracy) {
      SCOPED_TRACE(kernels::Name(row.op));
      std::vector<float> x = Numbers(20011, row.low, row.high);
      for (uint32_t bits = 0; bits < 0x7f800000u;
           bits += 70001) {  // all magnitudes, subnormals too
        x.push_back(std::bit_cast<float>(bits));
        x.push_back(-std::bit_cast<float>(bits));
      }
      const std::vector<float> y = Unary(row.op, x, row.param);
      double worst = 0;
      float where = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = row.exact(x[i]);
        // x * sigmoid(x) takes the quantum of a subnormal sigmoid along.
        if (std::abs(want) < 1.2e-36 && std::abs(want - y[i]) < 2e-43) continue;
        const double error = UlpError(y[i], want);
        if (!(error <= worst)) worst = error, where = x[i];
      }
      EXPECT_LE(worst, row.ulp32) << "at " << where;

      const std::vector<float> narrow = Numbers(1003, row.low, row.high);
      const std::vector<double> xd(narrow.begin(), narrow.end());
      const std::vector<double> yd = Unary(row.op, xd, row.param);
      for (size_t i = 0; i < xd.size(); ++i) {
        ASSERT_LE(UlpError(yd[i], row.exact(xd[i])), row.ulp64) << "double at " << xd[i];
      }
    }
  });
}

TEST(Elementwise, GeluIsAccurateInAbsoluteTerms) {
  ForEachIsa([] {
    const std::vector<float> x = Numbers(5001, -12, 12);
    const std::vector<float> exact = Unary(ScalarOp::kGelu, x),
                             tanh = Unary(ScalarOp::kGeluTanh, x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i];
      EXPECT_NEAR(exact[i], 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))), 4e-7 * (1 + std::abs(v)));
      const double u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
      EXPECT_NEAR(tanh[i], 0.5 * v * (1 + std::tanh(u)), 4e-7 * (1 + std::abs(v)));
    }
  });
}

TEST(Elementwise, SpecialValues) {
  ForEachIsa([] {
    const std::vector<float> x = {0.0f, -0.0f, kInf, -kInf, kNan, 89, -110, 1e-45f, -1e-45f};
    const struct {
      ScalarOp op;
      double (*exact)(double);
    } rows[] = {
        {ScalarOp::kExp, [](double v) { return std::exp(v); }},
        {ScalarOp::kLog, [](double v) { return std::log(v); }},
        {ScalarOp::kTanh, [](double v) { return std::tanh(v); }},
        {ScalarOp::kErf, [](double v) { return std::erf(v); }},
        {ScalarOp::kLog1p, [](double v) { return std::log1p(v); }},
        {ScalarOp::kExpm1, [](double v) { return std::expm1(v); }},
        {ScalarOp::kSigmoid, Sigmoid},
        {ScalarOp::kRound, [](double v) { return std::nearbyint(v); }},
        {ScalarOp::kTrunc, [](double v) { return std::trunc(v); }},
        {ScalarOp::kAsinh, [](double v) { return std::asinh(v); }},
        {ScalarOp::kSinh, [](double v) { return std::sinh(v); }},
        {ScalarOp::kLog2, [](double v) { return std::log2(v); }},
        {ScalarOp::kNegative, [](double v) { return -v; }},
        {ScalarOp::kRelu, [](double v) { return std::isnan(v) ? v : std::max(0.0, v); }},
        {ScalarOp::kSign, [](double v) { return std::isnan(v) ? v : double((v > 0) - (v < 0)); }},
    };
    for (const auto& row : rows) {
      SCOPED_TRACE(kernels::Name(row.op));
      const std::vector<float> y = Unary(row.op, x);
      for (size_t i = 0; i < x.size(); ++i) EXPECT_LE(UlpError(y[i], row.exact(x[i])), 1) << x[i];
    }
    // x * gate(x) has a limit of 0 where the product alone would be NaN.
    EXPECT_EQ(Unary(ScalarOp::kSilu, std::vector<float>{-kInf, kInf}),
              (std::vector<float>{0, kInf}));
    EXPECT_EQ(Unary(ScalarOp::kGelu, std::vector<float>{-kInf, kInf}),
              (std::vector<float>{0, kInf}));
    EXPECT_EQ(Unary(ScalarOp::kRound, std::vector<float>{0.5f, 1.5f, -2.5f}),
              (std::vector<float>{0, 2, -2}));
    EXPECT_TRUE(std::signbit(Unary(ScalarOp::kTanh, std::vector<float>{-0.0f})[0]));

    const std::vector<float> a = {kNan, 1, 1, 2, -1}, b = {1, kNan, 2, 1, 1};
    const std::vector<float> high = Binary(ScalarOp::kMaximum, a, b);
    const std::vector<float> low = Binary(ScalarOp::kMinimum, a, b);
    EXPECT_TRUE(std::isnan(high[0]) && std::isnan(high[1]) && std::isnan(low[0]) &&
                std::isnan(low[1]));
    EXPECT_EQ(high[2], 2);
    EXPECT_EQ(low[3], 1);
    EXPECT_EQ(Predicate(ScalarOp::kNotEqual, a, a), (std::vector<uint8_t>{1, 0, 0, 0, 0}));
    EXPECT_EQ(Predicate(ScalarOp::kLess, a, b), (std::vector<uint8_t>{0, 0, 1, 0, 1}));
    EXPECT_EQ(Predicate(ScalarOp::kIsFinite, x, x),
              (std::vector<uint8_t>{1, 1, 0, 0, 0, 1, 1, 1, 1}));
    // NumPy: the remainder has the divisor's sign.
    const std::vector<float> m = Binary<float>(ScalarOp::kMod, {-7, 7, -6, 5}, {3, -3, 3, kInf});
    EXPECT_EQ(m, (std::vector<float>{2, -2, 0, 5}));
    EXPECT_EQ(Binary<float>(ScalarOp::kFloorDivide, {-7, 7, -6, 1}, {3, -3, 3, 0}),
              (std::vector<float>{-3, -3, -2, kInf}));
    EXPECT_EQ(Binary<float>(ScalarOp::kPow, {2, 4, 0}, {10, 0.5f, 0}),
              (std::vector<float>{1024, 2, 1}));
  });
}

TEST(Elementwise, LengthsAndSumsOfExponentialsNeverOverflowOnTheWay) {
  ForEachIsa([] {
    const std::vector<float> sizes = {0,    1e-45f, 1e-38f, 3e-20f, 0.1f,  1,    7,
                                      88.5, 1e10f,  1e19f,  1e30f,  2e38f, kInf, kNan};
    std::vector<float> a, b;
    for (float x : sizes) {
      for (float y : sizes) {
        a.insert(a.end(), {x, -x, x, -x});
        b.insert(b.end(), {y, y, -y, -y});
      }
    }
    const std::vector<float> length = Binary(ScalarOp::kHypot, a, b);
    const std::vector<float> sum = Binary(ScalarOp::kLogAddExp, a, b);
    for (size_t i = 0; i < a.size(); ++i) {
      const double x = a[i], y = b[i];
      EXPECT_LE(UlpError(length[i], std::hypot(x, y)), 2) << x << ", " << y;
      const double exact =
          x == y ? x + std::log(2.0) : std::fmax(x, y) + std::log1p(std::exp(-std::abs(x - y)));
      EXPECT_LE(UlpError(sum[i], x != x || y != y ? x + y : exact), 2) << x << ", " << y;
    }
    EXPECT_EQ(Binary<float>(ScalarOp::kCopySign, {1, -2, 3, -kInf}, {-0.0f, 5, -kInf, 1}),
              (std::vector<float>{-1, 2, -3, kInf}));
    const std::vector<float> x = {0.0f, -0.0f, -1e-45f, kInf, -kInf};
    EXPECT_EQ(Predicate(ScalarOp::kSignBit, x, x), (std::vector<uint8_t>{0, 1, 1, 0, 1}));
    EXPECT_TRUE(std::signbit(Unary(ScalarOp::kTrunc, std::vector<float>{-0.5f})[0]));
  });
}

TEST(Elementwise, IntegersWrapAndNeverTrap) {
  constexpr int32_t kLow = std::numeric_limits<int32_t>::min();
  const std::vector<int32_t> a = {7, -7, kLow, 5, kLow}, b = {-2, 2, -1, 0, 1};
  EXPECT_EQ(Binary(ScalarOp::kFloorDivide, a, b), (std::vector<int32_t>{-4, -4, kLow, 0, kLow}));
  EXPECT_EQ(Binary(ScalarOp::kMod, a, b), (std::vector<int32_t>{-1, 1, 0, 0, 0}));
  EXPECT_EQ(Binary(ScalarOp::kSubtract, a, b),
            (std::vector<int32_t>{9, -9, kLow + 1, 5, 0x7fffffff}));
  EXPECT_EQ(Binary<int8_t>(ScalarOp::kMultiply, {100, -128}, {2, -1}),
            (std::vector<int8_t>{-56, -128}));
  EXPECT_EQ(Binary<int32_t>(ScalarOp::kPow, {3, -1, 2, 1}, {4, -3, -1, -9}),
            (std::vector<int32_t>{81, -1, 0, 1}));
  EXPECT_EQ(Binary<int8_t>(ScalarOp::kBitwiseLeftShift, {1, 1, -1, 3, 3}, {7, 8, 1, -1, 127}),
            (std::vector<int8_t>{-128, 0, -2, 0, 0}));
  EXPECT_EQ(Binary<int8_t>(ScalarOp::kBitwiseRightShift, {-128, 64, -3, 3, -1}, {7, 8, 1, -1, -1}),
            (std::vector<int8_t>{-1, 0, -2, 0, -1}));
  EXPECT_EQ(Unary<int32_t>(ScalarOp::kBitwiseInvert, {0, 5}), (std::vector<int32_t>{-1, -6}));
}

TEST(Elementwise, SaysWhatItDoesNotSupport) {
  EXPECT_FALSE(ElementwiseSupports(ScalarOp::kExp, DType::kInt32));
  EXPECT_FALSE(ElementwiseSupports(ScalarOp::kAdd, DType::kBool));
  EXPECT_FALSE(ElementwiseSupports(ScalarOp::kBitwiseAnd, DType::kFloat32));
  EXPECT_TRUE(ElementwiseSupports(ScalarOp::kTanh, DType::kBFloat16));
  EXPECT_EQ(ElementwiseResult(ScalarOp::kLess, DType::kFloat64), DType::kBool);
  EXPECT_EQ(ElementwiseFunction(ScalarOp::kExp, DType::kInt32), nullptr);
}

// Every op of the list runs on every kind it claims, in every pattern of operands, against the
// one-element call of the same op: tiles, tails, repeats, gathers and threads must change nothing.
struct Pattern {
  const char* name;
  std::vector<int64_t> sizes;
  int64_t strides[3][kMaxOneOpRank];
};

const Pattern kPatterns[] = {
    {"scalar", {}, {}},
    {"tail", {71}, {{1}, {1}, {1}}},
    {"scalar operand", {229}, {{1}, {0}, {1}}},
    {"row", {37, 10}, {{10, 1}, {0, 1}, {10, 1}}},
    {"column", {71, 229}, {{229, 1}, {1, 0}, {0, 0}}},
    {"transposed", {71, 29}, {{29, 1}, {1, 71}, {0, 1}}},
    {"middle", {3, 5, 17}, {{85, 17, 1}, {17, 0, 1}, {0, 1, 0}}},
    {"rank 4", {2, 3, 4, 5}, {{60, 20, 5, 1}, {0, 5, 0, 1}, {3, 1, 0, 0}}},
    {"threads", {300, 400}, {{400, 1}, {0, 1}, {1, 0}}},
    {"threads, short rows", {9001, 7}, {{7, 1}, {0, 1}, {0, 0}}},
};

template <class T>
void CheckPatterns(DType dtype, const std::function<T(int64_t)>& value) {
  constexpr int64_t kPool = 130000;
  std::vector<T> pool[3];
  std::vector<uint8_t> condition(kPool);
  for (int i = 0; i < 3; ++i) {
    pool[i].resize(kPool);
    for (int64_t j = 0; j < kPool; ++j) pool[i][j] = value(j * 3 + i);
  }
  for (int64_t j = 0; j < kPool; ++j) condition[j] = (j * 7 / 3) % 2;
  for (int o = 0; o < kernels::kNumScalarOps; ++o) {
    const ScalarOp op = static_cast<ScalarOp>(o);
    if (!ElementwiseSupports(op, dtype)) continue;
    const int64_t out_size = SizeOf(ElementwiseResult(op, dtype));
    OneOp one(op, dtype, 1, 0.25);
    for (const Pattern& pattern : kPatterns) {
      const OneOpArgs args = {op,
                              dtype,
                              static_cast<int>(pattern.sizes.size()),
                              pattern.sizes.data(),
                              pattern.strides,
                              {0.25, 0}};
      OneOp program(args);
      std::vector<const void*> in = {pool[0].data(), pool[1].data(), pool[2].data()};
      if (op == ScalarOp::kWhere) in[0] = condition.data();
      std::vector<uint8_t> out(program.numel() * out_size + 1, 0xab), again = out;
      WithThreads(1, [&] { program.Run(in, out.data()); });
      WithThreads(2, [&] { program.Run(in, again.data()); });
      ASSERT_TRUE(SameBits(out, again)) << kernels::Name(op) << ", " << pattern.name;
      ASSERT_EQ(out.back(), 0xab) << "wrote past the end: " << kernels::Name(op);
      for (int64_t k = 0; k<program.numel(); k += program.numel()> 2000 ? 97 : 1) {
        int64_t rest = k, offset[3] = {};
        for (int d = args.rank - 1; d >= 0; --d) {
          for (int i = 0; i < 3; ++i) offset[i] += rest % args.sizes[d] * pattern.strides[i][d];
          rest /= args.sizes[d];
        }
        std::vector<const void*> at(3);
        for (int i = 0; i < 3; ++i) at[i] = pool[i].data() + offset[i];
        if (op == ScalarOp::kWhere) at[0] = condition.data() + offset[0];
        uint8_t want[8];
        one.Run(at, want);
        ASSERT_EQ(std::memcmp(want, out.data() + k * out_size, out_size), 0)
            << kernels::Name(op) << ", " << pattern.name << ", element " << k;
      }
    }
  }
}

TEST(Elementwise, PatternsOfOperandsChangeNothing) {
  ForEachIsa([] {
    const std::vector<float> f = Numbers(1000, -3, 3);
    CheckPatterns<float>(DType::kFloat32, [&](int64_t i) { return f[i % 1000]; });
    CheckPatterns<double>(DType::kFloat64, [&](int64_t i) { return f[i % 1000]; });
    CheckPatterns<Float16>(DType::kFloat16, [&](int64_t i) { return Float16(f[i % 1000]); });
    CheckPatterns<BFloat16>(DType::kBFloat16, [&](int64_t i) { return BFloat16(f[i % 1000]); });
  });
  CheckPatterns<int32_t>(DType::kInt32, [](int64_t i) { return static_cast<int32_t>(i % 19 - 9); });
  CheckPatterns<uint8_t>(DType::kUInt8, [](int64_t i) { return static_cast<uint8_t>(i * 37); });
  CheckPatterns<int64_t>(DType::kInt64, [](int64_t i) { return i % 23 - 11; });
  CheckPatterns<uint8_t>(DType::kBool, [](int64_t i) { return static_cast<uint8_t>(i % 3 == 1); });
}

// Two functions in one loop give the bits of one after the other.
template <class T>
void CheckPairs() {
  constexpr int64_t kN = 71;
  const std::vector<float> numbers = Numbers(3 * kN, -3, 3);
  const std::vector<T> x(numbers.begin(), numbers.end());
  const T* const operand[] = {x.data(), x.data() + kN, x.data() + 2 * kN};
  const auto run = [&](ElementwiseFn fn, std::initializer_list<const T*> in) {
    std::vector<T> out(kN);
    ElementwiseTile tile{.out = out.data(), .rows = 1, .cols = kN, .out_row = kN};
    int k = 0;
    for (const T* p : in) tile.in[k] = p, tile.in_col[k++] = 1;
    fn(tile);
    return out;
  };
  constexpr ScalarOp kOps[] = {ScalarOp::kMultiply, ScalarOp::kAdd, ScalarOp::kSubtract};
  for (ScalarOp first : kOps) {
    for (ScalarOp second : kOps) {
      for (bool swapped : {false, true}) {
        const ElementwiseFn pair = ElementwisePair(first, second, swapped, kTypeOf<T>);
        ASSERT_NE(pair, nullptr);
        const std::vector<T> once =
            run(ElementwiseFunction(first, kTypeOf<T>), {operand[0], operand[1]});
        const ElementwiseFn then = ElementwiseFunction(second, kTypeOf<T>);
        const std::vector<T> want =
            swapped ? run(then, {operand[2], once.data()}) : run(then, {once.data(), operand[2]});
        EXPECT_TRUE(SameBits(run(pair, {operand[0], operand[1], operand[2]}), want))
            << kernels::Name(first) << ", " << kernels::Name(second) << ", " << swapped;
      }
    }
  }
  EXPECT_EQ(ElementwisePair(ScalarOp::kDivide, ScalarOp::kAdd, false, kTypeOf<T>), nullptr);
}

TEST(Elementwise, PairsHaveTheBitsOfTwoFunctions) {
  ForEachIsa([] {
    CheckPairs<float>();
    CheckPairs<double>();
  });
}

TEST(Elementwise, InPlaceAndHalfStorage) {
  ForEachIsa([] {
    std::vector<float> x = Numbers(100003), y = Numbers(100003, 1, 2, 2), want = x;
    for (size_t i = 0; i < x.size(); ++i) want[i] = x[i] * y[i];
    OneOp(ScalarOp::kMultiply, DType::kFloat32, x.size()).Run({x.data(), y.data()}, x.data());
    EXPECT_TRUE(SameBits(x, want));

    // Threads stay within their rows: an element computed twice in place would be doubled twice.
    const int64_t sizes[] = {300, 400}, strides[3][kMaxOneOpRank] = {{400, 1}, {0, 1}};
    std::vector<float> product(300 * 400, 3);
    const std::vector<float> row(400, 2);
    OneOp program({ScalarOp::kMultiply, DType::kFloat32, 2, sizes, strides});
    WithThreads(2, [&] { program.Run({product.data(), row.data()}, product.data()); });
    EXPECT_EQ(product, std::vector<float>(300 * 400, 6));

    std::vector<Float16> a, b;
    for (float v : Numbers(1001, -9, 9)) a.push_back(Float16(v)), b.push_back(Float16(2.5f));
    std::vector<Float16> sum(a.size());
    OneOp(ScalarOp::kAdd, DType::kFloat16, a.size()).Run({a.data(), b.data()}, sum.data());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(sum[i].bits, Float16(static_cast<float>(a[i]) + 2.5f).bits);
    }
  });
}

}  // namespace
}  // namespace ostria
