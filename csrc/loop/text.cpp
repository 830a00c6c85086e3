// SPDX-License-Identifier: Apache-2.0
// The text of a program, one item per line:
//   loop [8, 128] columns 1
//   input float32 [128, 1]
//   %0 = load float32 input 0
//   %1 = leaky_relu float32 %0 {0.2}
//   output float32 [128, 1] %1
#include <charconv>
#include <cmath>

#include "loop/program.h"

namespace ostria {
namespace {

constexpr std::string_view kFoldNames[] = {"sum", "prod", "max", "min"};
constexpr size_t kMostItems = 100000;  // of a text that nobody vouches for

// Shortest decimal that reads back as the same number.
std::string Number(double x) {
  if (std::isnan(x)) return "nan";
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, x).ptr};
}

std::string Strides(const LoopOperand& o) { return StrCat("[", Join(o.strides, ", "), "]"); }

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool NextLine() {
    while (!rest_.empty() && rest_[0] == '\n') Advance(1);
    ++line_number_;
    return !rest_.empty();
  }
  bool Accept(std::string_view token) {
    Space();
    if (rest_.substr(0, token.size()) != token) return false;
    Advance(token.size());
    return true;
  }
  void Expect(std::string_view token) {
    if (!Accept(token)) Fail("'", token, "' is missing");
  }
  void EndLine() {
    Space();
    if (!rest_.empty() && rest_[0] != '\n') Fail("unexpected text at the end");
  }
  std::string_view Word() {
    Space();
    size_t n = 0;
    while (n < rest_.size() &&
           (std::isalnum(static_cast<unsigned char>(rest_[n])) != 0 || rest_[n] == '_')) {
      ++n;
    }
    if (n == 0) Fail("a word is missing");
    const std::string_view word = rest_.substr(0, n);
    Advance(n);
    return word;
  }
  template <class T>
  T Parse(std::string_view what) {
    Space();
    T value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) Fail("a number is missing: ", what);
    Advance(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  DType Type() {
    DType dtype;
    const std::string_view word = Word();
    if (!ParseDType(word, &dtype)) Fail("'", word, "' is no dtype");
    return dtype;
  }
  std::vector<int64_t> Ints() {
    std::vector<int64_t> out;
    Expect("[");
    while (!Accept("]")) {
      if (!out.empty()) Expect(",");
      if (out.size() > kMaxRank) Fail("too many axes");
      out.push_back(Parse<int64_t>("a size or stride"));
    }
    return out;
  }
  template <class... Args>
  [[noreturn]] void Fail(const Args&... args) const {
    throw Error(ErrorCode::kInvalidArgument, StrCat("loop, line ", line_number_, ": ", args...));
  }

 private:
  void Space() {
    while (!rest_.empty() && rest_[0] == ' ') Advance(1);
  }
  void Advance(size_t n) { rest_.remove_prefix(n); }

  std::string_view rest_;
  int line_number_ = 0;
};

// The kinds that are not functors, by the word that begins them.
struct KindName {
  std::string_view name;
  LoopKind kind;
};
constexpr KindName kKinds[] = {
    {"load", LoopKind::kLoad},          {"number", LoopKind::kNumber},
    {"index", LoopKind::kIndex},        {"cast", LoopKind::kCast},
    {"fold_cols", LoopKind::kFoldCols}, {"fold_rows", LoopKind::kFoldRows},
    {"draw", LoopKind::kDraw},
};

void ReadHead(Reader& r, LoopInstr* i) {
  const std::string_view word = r.Word();
  for (const KindName& k : kKinds) {
    if (k.name == word) {
      i->kind = k.kind;
      return;
    }
  }
  i->kind = LoopKind::kScalar;
  for (int op = 0; op < kernels::kNumScalarOps; ++op) {
    if (kernels::kScalarOpInfo[op].name == word) {
      i->op = static_cast<kernels::ScalarOp>(op);
      return;
    }
  }
  r.Fail("'", word, "' is no instruction");
}

LoopInstr ReadInstr(Reader& r) {
  LoopInstr i;
  ReadHead(r, &i);
  i.dtype = r.Type();
  if (i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows) {
    const std::string_view word = r.Word();
    int fold = 0;
    while (fold < 4 && kFoldNames[fold] != word) ++fold;
    if (fold == 4) r.Fail("'", word, "' is no fold");
    i.fold = static_cast<LoopFold>(fold);
  }
  if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kDraw) r.Expect("input");
  if (i.kind == LoopKind::kIndex) r.Expect("axis");
  if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kIndex || i.kind == LoopKind::kDraw)
    i.operand = r.Parse<int32_t>("which");
  for (int k = 0; r.Accept("%"); ++k) {
    if (k == 3) r.Fail("more than three arguments");
    i.args[k] = r.Parse<int32_t>("an argument");
  }
  if (r.Accept("{")) {
    i.number[0] = r.Parse<double>("a parameter");
    if (r.Accept(",")) i.number[1] = r.Parse<double>("a parameter");
    r.Expect("}");
  }
  if (i.kind == LoopKind::kDraw) {
    r.Expect("stream");
    i.stream = r.Parse<int64_t>("a stream");
  }
  return i;
}

}  // namespace

std::string Print(const LoopProgram& p) {
  std::string out = StrCat("loop [", Join(p.sizes, ", "), "] columns ", p.column_axes, "\n");
  for (const LoopOperand& o : p.inputs) out += StrCat("input ", o.dtype, " ", Strides(o), "\n");
  for (size_t n = 0; n < p.code.size(); ++n) {
    const LoopInstr& i = p.code[n];
    std::string_view name = i.kind == LoopKind::kScalar ? kernels::Name(i.op) : "";
    for (const KindName& k : kKinds) {
      if (k.kind == i.kind) name = k.name;
    }
    out += StrCat("%", n, " = ", name, " ", i.dtype);
    if (i.kind == LoopKind::kFoldCols || i.kind == LoopKind::kFoldRows) {
      out += StrCat(" ", kFoldNames[static_cast<int>(i.fold)]);
    }
    if (i.kind == LoopKind::kLoad || i.kind == LoopKind::kDraw) out += StrCat(" input ", i.operand);
    if (i.kind == LoopKind::kIndex) out += StrCat(" axis ", i.operand);
    for (int32_t a : i.args) {
      if (a >= 0) out += StrCat(" %", a);
    }
    if (i.number[1] != 0) {
      out += StrCat(" {", Number(i.number[0]), ", ", Number(i.number[1]), "}");
    } else if (i.number[0] != 0 || i.kind == LoopKind::kNumber) {
      out += StrCat(" {", Number(i.number[0]), "}");
    }
    if (i.kind == LoopKind::kDraw) out += StrCat(" stream ", i.stream);
    out += "\n";
  }
  for (const LoopOperand& o : p.outputs) {
    out += StrCat("output ", o.dtype, " ", Strides(o), " %", o.value, "\n");
  }
  return out;
}

LoopProgram ParseLoop(std::string_view text) {
  Reader r(text);
  LoopProgram p;
  r.NextLine();
  r.Expect("loop");
  p.sizes = r.Ints();
  r.Expect("columns");
  p.column_axes = r.Parse<int>("the number of column axes");
  r.EndLine();
  while (r.NextLine()) {
    if (p.code.size() + p.inputs.size() + p.outputs.size() > kMostItems) r.Fail("too long");
    if (r.Accept("input")) {
      LoopOperand o{.dtype = r.Type()};
      o.strides = r.Ints();
      p.inputs.push_back(std::move(o));
    } else if (r.Accept("output")) {
      LoopOperand o{.dtype = r.Type()};
      o.strides = r.Ints();
      r.Expect("%");
      o.value = r.Parse<int32_t>("a value");
      p.outputs.push_back(std::move(o));
    } else {
      r.Expect("%");
      if (r.Parse<size_t>("a value") != p.code.size()) r.Fail("values are numbered in order");
      r.Expect("=");
      p.code.push_back(ReadInstr(r));
    }
    r.EndLine();
  }
  Verify(p);
  return p;
}

}  // namespace ostria
