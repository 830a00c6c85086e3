// SPDX-License-Identifier: Apache-2.0
// Graph -> text. The format (read by parser.cpp):
//   ostria-graph 1
//   input %0 "x": float32[batch, 784]
//   state %1 "mlp/kernel": float32[784, 10]
//   %2: float32[batch, 10] = matmul@1(%0, %1) {transpose_a = false, transpose_b = false}
//   output "y" %2
//   update %1 = %7
// Values are numbered densely in order of definition, so printing what was parsed gives the same
// text.
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "ir/graph.h"

namespace ostria {
namespace {

constexpr int64_t kMaxListedElements = 64;  // longer tensors are printed as base64

void AppendQuoted(std::string& out, std::string_view s) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (u < 0x20 || u == 0x7f) {
      out += "\\x";
      out += kHex[u >> 4];
      out += kHex[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

template <class F>
void AppendFloat(std::string& out, F value) {
  if (std::isnan(value))
    out += "nan";  // to_chars would also write "-nan"
  else
    AppendPart(out, value);
}

void AppendBase64(std::string& out, const unsigned char* data, size_t n) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    const size_t left = n - i;
    const uint32_t word = static_cast<uint32_t>(data[i]) << 16 |
                          (left > 1 ? static_cast<uint32_t>(data[i + 1]) << 8 : 0u) |
                          (left > 2 ? data[i + 2] : 0u);
    out += kDigits[word >> 18];
    out += kDigits[word >> 12 & 63];
    out += left > 1 ? kDigits[word >> 6 & 63] : '=';
    out += left > 2 ? kDigits[word & 63] : '=';
  }
}

// The list form would lose a NaN's sign and payload: such tensors are printed as bytes.
template <class T>
bool ReadsBack(T value) {
  if constexpr (std::is_same_v<T, bool> || std::is_integral_v<T>) {
    return true;
  } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    return !std::isnan(value) || std::memcmp(&value, &nan, sizeof nan) == 0;
  } else {
    const T nan(std::numeric_limits<float>::quiet_NaN());
    return !std::isnan(static_cast<float>(value)) || value.bits == nan.bits;
  }
}

void AppendTensor(std::string& out, const Tensor& t) {
  OSTRIA_CHECK(t.defined(), "an attribute holds no tensor");
  out += StrCat("tensor<", ValueType{t.dtype(), t.shape()}, ">");
  const int64_t n = t.numel();
  bool list = n <= kMaxListedElements;
  DispatchDType(t.dtype(), [&]<class T>(T*) {
    for (int64_t i = 0; list && i < n; ++i) list = ReadsBack(t.data<T>()[i]);
    if (!list) return;
    out += '{';
    for (int64_t i = 0; i < n; ++i) {
      if (i > 0) out += ", ";
      const T value = t.data<T>()[i];
      if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>) {
        AppendFloat(out, static_cast<float>(value));
      } else if constexpr (std::is_floating_point_v<T>) {
        AppendFloat(out, value);
      } else if constexpr (sizeof(T) == 1 && !std::is_same_v<T, bool>) {
        AppendPart(out, static_cast<int>(value));
      } else {
        AppendPart(out, value);
      }
    }
    out += '}';
  });
  if (list) return;
  out += "base64\"";
  AppendBase64(out, static_cast<const unsigned char*>(t.raw()), static_cast<size_t>(t.bytes()));
  out += '"';
}

void AppendGraph(std::string& out, const Graph& graph, int indent);

void AppendAttr(std::string& out, const Attr& attr, int indent) {
  switch (TypeOf(attr)) {
    case AttrType::kBool: AppendPart(out, std::get<bool>(attr)); return;
    case AttrType::kInt: AppendPart(out, std::get<int64_t>(attr)); return;
    case AttrType::kFloat: AppendFloat(out, std::get<double>(attr)); return;
    case AttrType::kString: AppendQuoted(out, std::get<std::string>(attr)); return;
    case AttrType::kDType: AppendPart(out, std::get<DType>(attr)); return;
    case AttrType::kInts:
      out += StrCat("ints[", Join(std::get<std::vector<int64_t>>(attr), ", "), "]");
      return;
    case AttrType::kShape: out += StrCat("shape", std::get<Shape>(attr)); return;
    case AttrType::kTensor: AppendTensor(out, std::get<Tensor>(attr)); return;
    case AttrType::kBody: break;
  }
  const Body& body = std::get<Body>(attr);
  if (body == nullptr) {
    out += "none";
    return;
  }
  out += "{\n";
  AppendGraph(out, *body, indent + 2);
  out.append(static_cast<size_t>(indent), ' ');
  out += '}';
}

void AppendGraph(std::string& out, const Graph& graph, int indent) {
  std::vector<int32_t> number(static_cast<size_t>(graph.value_capacity()), -1);
  int32_t next = 0;
  const auto define = [&](Value v) {
    number[v.id] = next++;
    out += StrCat("%", number[v.id]);
  };
  const auto use = [&](Value v) {
    out += v.valid() && v.id < graph.value_capacity() ? StrCat("%", number[v.id]) : "%?";
  };
  const auto begin = [&] { out.append(static_cast<size_t>(indent), ' '); };

  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    begin();
    out += "input ";
    define(graph.inputs()[i]);
    out += ' ';
    AppendQuoted(out, graph.input_name(static_cast<int>(i)));
    out += StrCat(": ", graph.type(graph.inputs()[i]), "\n");
  }
  for (const StateEntry& s : graph.state()) {
    begin();
    out += "state ";
    define(s.in);
    out += ' ';
    AppendQuoted(out, s.name);
    out += StrCat(": ", graph.type(s.in), "\n");
  }
  for (NodeId n = graph.first(); n.valid(); n = graph.next(n)) {
    begin();
    for (int i = 0; i < graph.num_results(n); ++i) {
      if (i > 0) out += ", ";
      define(graph.result(n, i));
      out += StrCat(": ", graph.type(graph.result(n, i)));
    }
    const OpDef& op = graph.op(n);
    out += StrCat(" = ", op.name, "@", op.version, "(");
    for (int i = 0; i < graph.num_operands(n); ++i) {
      if (i > 0) out += ", ";
      use(graph.operand(n, i));
    }
    out += ')';
    for (size_t i = 0; i < op.attrs.size(); ++i) {
      out += i == 0 ? " {" : ", ";
      out += StrCat(op.attrs[i].name, " = ");
      AppendAttr(out, graph.attrs(n)[i], indent);
    }
    out += op.attrs.empty() ? "\n" : "}\n";
  }
  for (size_t i = 0; i < graph.outputs().size(); ++i) {
    begin();
    out += "output ";
    AppendQuoted(out, graph.output_name(static_cast<int>(i)));
    out += ' ';
    use(graph.outputs()[i]);
    out += '\n';
  }
  for (const StateEntry& s : graph.state()) {
    if (s.out == s.in) continue;
    begin();
    out += "update ";
    use(s.in);
    out += " = ";
    use(s.out);
    out += '\n';
  }
}

}  // namespace

std::string ToString(const Attr& attr) {
  std::string out;
  AppendAttr(out, attr, 0);
  return out;
}

std::string Print(const Graph& graph) {
  std::string out = "ostria-graph 1\n";
  AppendGraph(out, graph, 0);
  return out;
}

}  // namespace ostria
