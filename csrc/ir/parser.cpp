// SPDX-License-Identifier: Apache-2.0
// Text -> graph: a recursive-descent reader of the format described in printer.cpp. Text may come
// from a damaged or hostile file: every name, type, attribute and operand is checked, every node is
// inferred anew, and depth and size are bounded, so what comes out is a graph that Verify accepts.
#include "ir/parser.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "ir/graph.h"

namespace ostria {
namespace {

constexpr int kMaxDepth = 16;          // bodies within bodies
constexpr int kMaxNodes = 20'000'000;  // of one graph with all its bodies
constexpr size_t kMaxText = size_t{1} << 31;
constexpr int kMaxResults = 100'000;  // of one node

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {
    if (text.size() > kMaxText) Bad("the text is larger than 2 GiB");
  }

  Graph ReadGraph() {
    constexpr std::string_view kMagic = "ostria-graph ";
    if (!text_.starts_with(kMagic)) Bad("the first line must be `ostria-graph 1`");
    at_ = kMagic.size();
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    const std::string_view version = text_.substr(start, at_ - start);
    if (version != "1") {
      at_ = start;
      Bad("format version '", version, "' is not known; this build reads version 1");
    }
    Graph g = ReadStatements(0);
    if (at_ != text_.size()) Bad("'}' without '{'");
    return g;
  }

  Attr ReadWholeAttr(AttrType type) {
    Attr attr = ReadAttr(type, 0);
    Skip();
    if (at_ != text_.size()) Bad("unexpected text after the ", Name(type));
    return attr;
  }

 private:
  template <class... Args>
  [[noreturn]] void Bad(const Args&... why) {
    int64_t line = 1, column = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      line += text_[i] == '\n';
    }
    Fail(ErrorCode::kInvalidArgument, "graph text, line ", line, ", column ", column, ": ", why...);
  }
  /// As Bad, at an earlier place.
  template <class... Args>
  [[noreturn]] void BadAt(size_t place, const Args&... why) {
    at_ = place;
    Bad(why...);
  }

  // --- Tokens ---------------------------------------------------------------------------------
  void Skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char Peek() {
    Skip();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Take(char c) {
    if (Peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void Expect(char c) {
    if (!Take(c)) Bad("'", c, "' was expected");
  }
  std::string_view Word(std::string_view what) {
    Skip();
    const size_t start = at_;
    while (at_ < text_.size() && IsWordChar(text_[at_])) ++at_;
    if (at_ == start) Bad(what, " was expected");
    return text_.substr(start, at_ - start);
  }
  void Keyword(std::string_view word) {
    Skip();
    if (!text_.substr(at_).starts_with(word)) Bad("'", word, "' was expected");
    at_ += word.size();
  }
  std::string_view ValueName() {
    Expect('%');
    return Word("a value's name");
  }

  std::string ReadString() {
    Expect('"');
    std::string out;
    while (true) {
      if (at_ >= text_.size() || text_[at_] == '\n') Bad("the string has no closing '\"'");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c != '\\') {
        out += c;
        continue;
      }
      const char e = at_ < text_.size() ? text_[at_++] : '\0';
      if (e == 'n')
        out += '\n';
      else if (e == '"' || e == '\\')
        out += e;
      else if (e == 'x')
        out += static_cast<char>(HexDigit() * 16 + HexDigit());
      else
        Bad("unknown escape in a string; known are \\n \\\" \\\\ \\xNN");
    }
  }
  int HexDigit() {
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    Bad("two hexadecimal digits were expected after \\x");
  }

  // from_chars reads inf, nan and exponents, and never looks at the locale.
  template <class T>
  T Number(std::string_view what) {
    Skip();
    T value{};
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) Bad(what, " does not fit");
    if (error != std::errc()) Bad(what, " was expected");
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  DType ReadDType() {
    const std::string_view name = Word("a dtype");
    DType t;
    if (!ParseDType(name, &t)) BadAt(at_ - name.size(), "unknown dtype '", name, "'");
    return t;
  }
  Shape ReadShape() {
    Expect('[');
    Shape shape;
    if (Take(']')) return shape;
    do {
      Skip();
      const size_t start = at_;
      int parentheses = 0;
      while (at_ < text_.size() && text_[at_] != '\n' && text_[at_] != ']' &&
             (text_[at_] != ',' || parentheses > 0)) {
        parentheses += (text_[at_] == '(') - (text_[at_] == ')');
        ++at_;
      }
      if (shape.rank() == kMaxRank) BadAt(start, "a shape has at most ", kMaxRank, " dimensions");
      try {
        shape.Append(ParseDim(text_.substr(start, at_ - start)));
      } catch (const Error& e) {
        BadAt(start, e.message());
      }
    } while (Take(','));
    Expect(']');
    return shape;
  }
  ValueType ReadType() {
    const DType dtype = ReadDType();
    return {dtype, ReadShape()};
  }

  // --- Attributes -----------------------------------------------------------------------------
  Attr ReadAttr(AttrType type, int depth) {
    switch (type) {
      case AttrType::kBool: return ReadBool();
      case AttrType::kInt: return Number<int64_t>("an integer");
      case AttrType::kFloat: return Number<double>("a number");
      case AttrType::kString: Skip(); return ReadString();
      case AttrType::kDType: return ReadDType();
      case AttrType::kInts: {
        if (Peek() != '[') Keyword("ints");
        Expect('[');
        std::vector<int64_t> values;
        if (Take(']')) return values;
        do values.push_back(Number<int64_t>("an integer"));
        while (Take(','));
        Expect(']');
        return values;
      }
      case AttrType::kShape:
        if (Peek() != '[') Keyword("shape");
        return ReadShape();
      case AttrType::kTensor: return ReadTensor();
      case AttrType::kBody: break;
    }
    if (Peek() != '{') {
      Keyword("none");
      return Body();
    }
    if (depth == kMaxDepth) Bad("bodies are nested deeper than ", kMaxDepth);
    Expect('{');
    auto body = std::make_shared<Graph>(ReadStatements(depth + 1));
    Expect('}');
    return Body(std::move(body));
  }
  bool ReadBool() {
    Skip();
    const size_t start = at_;
    const std::string_view word = Word("true or false");
    if (word != "true" && word != "false") BadAt(start, "true or false was expected");
    return word == "true";
  }

  template <class T>
  T Element() {
    if constexpr (std::is_same_v<T, bool>)
      return ReadBool();
    else if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>)
      return T(Number<float>("a number"));
    else
      return Number<T>("an element of the tensor's dtype");
  }
  Tensor ReadTensor() {
    Keyword("tensor");
    Expect('<');
    const size_t start = at_;
    const ValueType type = ReadType();
    Expect('>');
    int64_t bytes = SizeOf(type.dtype);
    for (Dim d : type.shape) {
      if (!d.is_static()) BadAt(start, "a constant's shape must be integers: ", type.shape);
      if (__builtin_mul_overflow(bytes, d.code(), &bytes))
        BadAt(start, type.shape, " is too large");
    }
    if (Peek() == '{') return ReadElements(type, bytes / SizeOf(type.dtype));
    Keyword("base64");
    const std::string data = ReadBase64();
    if (static_cast<int64_t>(data.size()) != bytes) {
      Bad("the tensor ", type, " has ", bytes, " bytes, but ", data.size(), " are given");
    }
    Tensor t = Tensor::Empty(type.dtype, type.shape);
    std::memcpy(t.raw(), data.data(), data.size());
    if (type.dtype == DType::kBool) {  // any other byte in a bool is undefined behaviour later
      for (const char c : data)
        if (c != 0 && c != 1) Bad("a bool must be 0 or 1");
    }
    return t;
  }
  Tensor ReadElements(const ValueType& type, int64_t n) {
    // At least one character per element: the text bounds what is allocated.
    if (n > static_cast<int64_t>(text_.size() - at_))
      Bad("the tensor ", type, " has too few elements");
    Tensor t = Tensor::Empty(type.dtype, type.shape);
    Expect('{');
    DispatchDType(type.dtype, [&]<class T>(T*) {
      for (int64_t i = 0; i < n; ++i) {
        if (i > 0) Expect(',');
        t.data<T>()[i] = Element<T>();
      }
    });
    if (!Take('}')) Bad("the tensor ", type, " ends here: '}' was expected");
    return t;
  }
  std::string ReadBase64() {
    Expect('"');
    const size_t end = std::min(text_.find('"', at_), text_.size());
    const std::string_view digits = text_.substr(at_, end - at_);
    if (end == text_.size() || digits.size() % 4 != 0)
      Bad("base64 comes in groups of four characters");
    std::string out;
    out.reserve(digits.size() / 4 * 3);
    for (size_t i = 0; i < digits.size(); i += 4) {
      uint32_t word = 0;
      int padding = 0;
      for (size_t j = 0; j < 4; ++j) {
        const char c = digits[i + j];
        uint32_t d = 0;
        if (c >= 'A' && c <= 'Z')
          d = static_cast<uint32_t>(c - 'A');
        else if (c >= 'a' && c <= 'z')
          d = static_cast<uint32_t>(c - 'a') + 26;
        else if (c >= '0' && c <= '9')
          d = static_cast<uint32_t>(c - '0') + 52;
        else if (c == '+')
          d = 62;
        else if (c == '/')
          d = 63;
        else if (c == '=' && j >= 2 && i + 4 == digits.size())
          ++padding;
        else
          BadAt(at_ + i + j, "not a base64 digit");
        if (padding > 0 && c != '=') BadAt(at_ + i + j, "base64 goes on after '='");
        word = word << 6 | d;
      }
      for (int k = 0; k < 3 - padding; ++k) out += static_cast<char>(word >> (16 - 8 * k) & 255);
    }
    at_ = end + 1;
    return out;
  }

  // --- Statements -----------------------------------------------------------------------------
  struct Scope {
    Graph graph;
    std::unordered_map<std::string_view, Value> values;
  };

  void Define(Scope& s, std::string_view name, size_t place, Value v) {
    if (!s.values.emplace(name, v).second) BadAt(place, "%", name, " is defined twice");
  }
  Value ReadUse(Scope& s) {
    const size_t place = at_;
    const std::string_view name = ValueName();
    const auto it = s.values.find(name);
    if (it == s.values.end()) BadAt(place, "%", name, " is used before it is defined");
    return it->second;
  }

  Graph ReadStatements(int depth) {
    Scope s;
    bool nodes = false, outputs = false;
    while (true) {
      const char c = Peek();
      if (at_ == text_.size() || c == '}') break;
      const size_t start = at_;
      if (c == '%') {
        if (outputs) Bad("nodes come before outputs");
        nodes = true;
        ReadNode(s, depth);
        continue;
      }
      const std::string_view word = Word("input, state, output, update or %name");
      if (word == "output" || word == "update")
        outputs = true;
      else if (nodes || outputs)
        BadAt(start, "inputs and state come before nodes and outputs");
      if (word == "output") {
        Skip();
        std::string name = ReadString();
        s.graph.AddOutput(std::move(name), ReadUse(s));
      } else if (word == "input") {
        ReadInterface(s, [&](std::string name, const ValueType& type) {
          return s.graph.AddInput(std::move(name), type, 0);
        });
      } else if (word == "state" || word == "update") {
        if (depth > 0) BadAt(start, "a body has no state: what it needs are its inputs");
        if (word == "update")
          ReadUpdate(s);
        else
          ReadInterface(s, [&](std::string name, const ValueType& type) {
            return s.graph.AddState(0, std::move(name), type, 0);
          });
      } else {
        BadAt(start, "unknown statement '", word, "'; known are input, state, output and update");
      }
    }
    return std::move(s.graph);
  }

  template <class Add>
  void ReadInterface(Scope& s, Add add) {
    Skip();
    const size_t place = at_;
    const std::string_view value = ValueName();
    Skip();
    std::string name = ReadString();
    Expect(':');
    const ValueType type = ReadType();
    Define(s, value, place, add(std::move(name), type));
  }

  void ReadUpdate(Scope& s) {
    Skip();
    const size_t place = at_;
    const Value in = ReadUse(s);
    int index = 0;
    while (index < static_cast<int>(s.graph.state().size()) && s.graph.state()[index].in != in)
      ++index;
    if (index == static_cast<int>(s.graph.state().size()))
      BadAt(place, "only state can be updated");
    if (s.graph.state()[index].out != in) BadAt(place, "this state is updated twice");
    Expect('=');
    Skip();
    const size_t out_place = at_;
    const Value out = ReadUse(s);
    if (s.graph.type(out) != s.graph.type(in)) {
      BadAt(out_place, "state of type ", s.graph.type(in), " cannot become ", s.graph.type(out));
    }
    s.graph.SetStateOut(index, out);
  }

  void ReadNode(Scope& s, int depth) {
    if (++nodes_ > kMaxNodes) Bad("more than ", kMaxNodes, " nodes");
    Skip();
    const size_t start = at_;
    std::vector<std::pair<std::string_view, size_t>> names;
    std::vector<ValueType> types;
    do {
      if (static_cast<int>(names.size()) == kMaxResults) Bad("more than ", kMaxResults, " results");
      Skip();
      const size_t place = at_;
      names.emplace_back(ValueName(), place);
      Expect(':');
      types.push_back(ReadType());
    } while (Take(','));
    Expect('=');

    Skip();
    const size_t op_place = at_;
    const std::string_view op_name = Word("an op's name");
    const OpDef* op = FindOp(op_name);
    if (op == nullptr) BadAt(op_place, "unknown op '", op_name, "'");
    Expect('@');
    const int version = Number<int>("the op's version");
    if (version != op->version) {
      BadAt(op_place, "op ", op_name, " of version ", version,
            " cannot be read; this build has version ", op->version);
    }
    Expect('(');
    std::vector<Value> operands;
    if (!Take(')')) {
      do {
        Skip();
        operands.push_back(ReadUse(s));
      } while (Take(','));
      Expect(')');
    }
    std::vector<Attr> attrs = ReadAttrs(*op, op_place, depth);

    std::vector<ValueType> inferred, inputs;
    for (const Value v : operands) inputs.push_back(s.graph.type(v));
    try {
      InferTypes(*op, inputs, attrs, &inferred);
    } catch (const Error& e) {
      BadAt(op_place, e.what());
    }
    if (inferred != types) {
      BadAt(start, "the types written here, ", Join(types, ", "), ", are not what ", op_name,
            " gives: ", Join(inferred, ", "));
    }
    const NodeId n = s.graph.AddTypedNode(*op, operands, std::move(attrs), types, 0);
    for (size_t i = 0; i < names.size(); ++i) {
      Define(s, names[i].first, names[i].second, s.graph.result(n, static_cast<int>(i)));
    }
  }

  std::vector<Attr> ReadAttrs(const OpDef& op, size_t op_place, int depth) {
    std::vector<Attr> attrs(op.attrs.size());
    std::vector<bool> given(op.attrs.size());
    if (Take('{')) {
      do {
        Skip();
        const size_t place = at_;
        const std::string_view name = Word("an attribute's name");
        const auto def = std::find_if(op.attrs.begin(), op.attrs.end(),
                                      [&](const AttrDef& d) { return d.name == name; });
        if (def == op.attrs.end()) {
          BadAt(place, op.name, " has no attribute '", name,
                "'; it has: ", Join(op.attrs, ", ", [](const AttrDef& d) { return d.name; }));
        }
        const auto i = static_cast<size_t>(def - op.attrs.begin());
        if (given[i]) BadAt(place, "attribute '", name, "' is given twice");
        given[i] = true;
        Expect('=');
        attrs[i] = ReadAttr(def->type, depth);
      } while (Take(','));
      Expect('}');
    }
    for (size_t i = 0; i < attrs.size(); ++i) {
      if (given[i]) continue;
      try {
        attrs[i] = DefaultAttr(op, static_cast<int>(i));
      } catch (const Error& e) {
        BadAt(op_place, e.what());
      }
    }
    return attrs;
  }

  std::string_view text_;
  size_t at_ = 0;
  int nodes_ = 0;
};

}  // namespace

Graph Parse(std::string_view text) { return Reader(text).ReadGraph(); }

Attr ParseAttr(std::string_view text, AttrType type) { return Reader(text).ReadWholeAttr(type); }

}  // namespace ostria
