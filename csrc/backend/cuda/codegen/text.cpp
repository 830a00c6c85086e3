// SPDX-License-Identifier: Apache-2.0
// The writer of generated code.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "backend/cuda/codegen/loop.h"
#include "loop/cell.h"

namespace ostria::cuda {
namespace {

constexpr const char* kEnumerators[] = {
#define OSTRIA_ENTRY(id, ...) #id,
    OSTRIA_SCALAR_OPS(OSTRIA_ENTRY)
#undef OSTRIA_ENTRY
};

std::string Literal(DType dtype, double x) {
  if (dtype == DType::kBool) return x != 0 ? "true" : "false";
  if (IsFloat(dtype)) {
    const bool f32 = dtype == DType::kFloat32;
    if (f32) x = static_cast<float>(x);
    const char* type = f32 ? "float" : "double";
    if (std::isnan(x)) return StrCat("NotANumber<", type, ">()");
    if (std::isinf(x)) return StrCat(x < 0 ? "-" : "", "Infinity<", type, ">()");
    char text[64];
    std::snprintf(text, sizeof text, "%a%s", x, f32 ? "f" : "");
    return text;
  }
  // As unsigned, because the smallest integer has no literal.
  const auto bits =
      Dispatch(dtype, [&]<class T>(T) { return static_cast<uint64_t>(Convert<T>(x)); });
  return StrCat("static_cast<", StorageType(dtype), ">(", bits, "ull)");
}

}  // namespace

std::string_view StorageType(DType dtype) {
  constexpr std::string_view kNames[kNumDTypes] = {
      "bool",     "int8_t",   "int16_t", "int32_t",  "int64_t", "uint8_t", "uint16_t",
      "uint32_t", "uint64_t", "Float16", "BFloat16", "float",   "double"};
  return kNames[static_cast<int>(dtype)];
}

std::string_view FoldName(LoopFold fold) {
  constexpr std::string_view kNames[] = {"FoldSum", "FoldProd", "FoldMax", "FoldMin"};
  return kNames[static_cast<int>(fold)];
}

LoopWriter::LoopWriter(const CanonicalLoop& l, int v, bool w)
    : loop(l), p(l.p), vector(v), wide(w) {}

std::string LoopWriter::Number(int n, double x) const { return Literal(p.code[n].dtype, x); }

std::string LoopWriter::ValueType(int n) const { return std::string(StorageType(p.code[n].dtype)); }

bool LoopWriter::IsVector(const LoopOperand& o) const {
  if (vector == 1 || o.strides.empty() || o.strides.back() != 1) return false;
  for (size_t d = 0; d + 1 < o.strides.size(); ++d) {
    if (o.strides[d] % vector != 0) return false;
  }
  return true;
}

bool LoopWriter::IsStill(const LoopOperand& o) const {
  return o.strides.empty() || o.strides.back() == 0;
}

void LoopWriter::Pointers() {
  std::string aligned;
  const auto add = [&](const LoopOperand& o, char name, size_t k) {
    if (!IsVector(o)) return;
    const int64_t bytes = std::min<int64_t>(16, vector * SizeOf(o.dtype));
    aligned += StrCat(aligned.empty() ? "" : " && ", "Aligned<", bytes, ">(", name, k, ")");
  };
  for (size_t k = 0; k < p.inputs.size(); ++k) {
    Line("const auto* const x", k, " = static_cast<const ", StorageType(p.inputs[k].dtype),
         "*>(p.ptr[", k, "]);");
    add(p.inputs[k], 'x', k);
  }
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    Line("auto* const y", k, " = static_cast<", StorageType(p.outputs[k].dtype), "*>(p.ptr[",
         p.inputs.size() + k, "]);");
    if (p.code[p.outputs[k].value].kind != LoopKind::kFoldRows) add(p.outputs[k], 'y', k);
  }
  Line("const bool aligned = ", aligned.empty() ? "true" : aligned, ";");
  Line("using Index = ", wide ? "uint64_t" : "uint32_t", ";");
  for (size_t n = 0; n < p.code.size(); ++n) {
    const LoopInstr& i = p.code[n];
    if (i.kind != LoopKind::kDraw) continue;
    Line("const DrawKey key", n, " = ReadKey(x", i.operand, ", p.stream[", i.stream, "]);");
  }
}

void LoopWriter::Coordinates(int first, int last, std::string_view at) {
  if (last <= first) return;
  if (last == first + 1) return Line("const Index c", first, " = ", at, ";");
  const char* const suffix = wide ? "ull" : "u";
  std::string rest(at);
  for (int d = last - 1; d > first; --d) {
    Line("const Index c", d, " = ", rest, " % ", p.sizes[d], suffix, ", q", d, " = ", rest, " / ",
         p.sizes[d], suffix, ";");
    rest = StrCat("q", d);
  }
  Line("const Index c", first, " = ", rest, ";");
}

std::string LoopWriter::Offset(const LoopOperand& o, int first, int last) const {
  std::string out;
  for (int d = first; d < last; ++d) {
    if (o.strides[d] == 0) continue;
    out += StrCat(out.empty() ? "" : " + ", "c", d);
    if (o.strides[d] != 1) out += StrCat(" * ", o.strides[d], wide ? "ull" : "u");
  }
  return out.empty() ? "0" : out;
}

std::string LoopWriter::Expression(int n, std::string_view last) const {
  const LoopInstr& i = p.code[n];
  const std::string type = ValueType(n);
  switch (i.kind) {
    case LoopKind::kLoad: return StrCat("Get(x", i.operand, "[0])");
    case LoopKind::kNumber: return Literal(i.dtype, i.number[0]);
    case LoopKind::kIndex:
      return StrCat("static_cast<", type, ">(",
                    i.operand == p.rank() - 1 ? std::string(last) : StrCat("c", i.operand), ")");
    case LoopKind::kCast: return StrCat("Convert<", type, ">(v", i.args[0], ")");
    case LoopKind::kScalar: break;
    default: return "";
  }
  const kernels::ScalarOpInfo& info = kernels::InfoOf(i.op);
  const int32_t data = i.args[i.op == kernels::ScalarOp::kWhere ? 1 : 0];
  std::string args;
  for (int k = 0; k < info.arity; ++k) {
    args += StrCat(args.empty() ? "" : ", ", "v", i.args[k]);
  }
  if (info.params > 0) args += StrCat(", ", Literal(p.code[data].dtype, i.number[0]));
  return StrCat("static_cast<", type, ">(", IsFloat(p.code[data].dtype) ? "Functor" : "IntFunctor",
                "<ScalarOp::", kEnumerators[static_cast<int>(i.op)], ">::Call(", args, "))");
}

void LoopWriter::Define(int n, std::string_view last) {
  Line("const ", ValueType(n), " v", n, " = ", Expression(n, last), ";");
}

std::string LoopWriter::OncePerPlace(const LoopOperand& o, int first, int last) const {
  std::string out;
  for (int d = first; d < last; ++d) {
    if (o.strides[d] == 0) out += StrCat(" && c", d, " == 0");
  }
  return out;
}

// --- Folds over rows

std::vector<int> LoopWriter::RowFolds() const {
  std::vector<int> out;
  for (size_t n = 0; n < p.code.size(); ++n) {
    if (p.code[n].kind == LoopKind::kFoldRows) out.push_back(static_cast<int>(n));
  }
  return out;
}

std::string LoopWriter::Folded(int n, std::string_view a, std::string_view b) const {
  return StrCat(FoldName(p.code[n].fold), "::Call(", a, ", ", b, ")");
}
std::string LoopWriter::FoldStart(int n) const {
  return StrCat(FoldName(p.code[n].fold), "::Start<", ValueType(n), ">()");
}

int64_t LoopWriter::PartBytes() const {
  int64_t most = 0;
  for (int f : RowFolds()) most = std::max(most, SizeOf(p.code[f].dtype));
  return most;
}

void LoopWriter::Parts() {
  int at = 0;
  for (int f : RowFolds()) {
    Line(ValueType(f), "* const part", f, " = reinterpret_cast<", ValueType(f),
         "*>(static_cast<char*>(p.work) + ", at++, "ull * ", PartBytes() * p.cols(),
         "ull * p.pieces);");
  }
}

void LoopWriter::StoreFold(int n, std::string_view value) {
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    const LoopOperand& o = p.outputs[k];
    if (o.value != n) continue;
    const int first = loop.first_column();
    const std::string once = OncePerPlace(o, first, p.rank());
    const std::string store = StrCat("y", k, "[", Offset(o, first, p.rank()), "] = Put<",
                                     StorageType(o.dtype), ">(", value, ");");
    Line(once.empty() ? "" : StrCat("if (", once.substr(4), ") "), store);
  }
}

void LoopWriter::FoldThreads(int across) {
  Open("for (int half = ", 256 / across / 2, "; half > 0; half /= 2)");
  Open("if (ty < half)");
  for (int f : RowFolds()) {
    Line("shared", f, "[tx + ty * ", across, "] = ",
         Folded(f, StrCat("shared", f, "[tx + ty * ", across, "]"),
                StrCat("shared", f, "[tx + (ty + half) * ", across, "]")),
         ";");
  }
  Close();
  Line("__syncthreads();");
  Close();
}

int LoopWriter::FinishAcross() const {
  int across = 1;  // 32 bytes, so that many blocks share the pieces
  while (across < 8 && across < p.cols()) across *= 2;
  return across;
}

void LoopWriter::Finish() {
  const int across = FinishAcross(), down = 256 / across;
  Line("// Joins the partial folds of all pieces.");
  Open("OSTRIA_LOOP(@_finish, @_params, 256)");
  Line("using Index = uint64_t;");
  for (size_t k = 0; k < p.outputs.size(); ++k) {
    if (p.code[p.outputs[k].value].kind != LoopKind::kFoldRows) continue;
    Line("auto* const y", k, " = static_cast<", StorageType(p.outputs[k].dtype), "*>(p.ptr[",
         p.inputs.size() + k, "]);");
  }
  Parts();
  Line("const int tx = threadIdx.x % ", across, ", ty = threadIdx.x / ", across, ";");
  Line("const uint64_t column = uint64_t{blockIdx.x} * ", across, " + tx;");
  for (int f : RowFolds()) {
    Line("OSTRIA_LOOP_SHARED(", ValueType(f), ", shared", f, ", 256);");
    Line(ValueType(f), " a", f, " = ", FoldStart(f), ";");
  }
  Open("if (column < ", p.cols(), ")");
  Open("for (int64_t piece = ty; piece < p.pieces; piece += ", down, ")");
  for (int f : RowFolds()) {
    Line("a", f, " = ",
         Folded(f, StrCat("a", f), StrCat("part", f, "[piece * ", p.cols(), "ull + column]")), ";");
  }
  Close();
  Close();
  for (int f : RowFolds()) Line("shared", f, "[threadIdx.x] = a", f, ";");
  Line("__syncthreads();");
  FoldThreads(across);
  Open("if (ty == 0 && column < ", p.cols(), ")");
  Coordinates(loop.first_column(), p.rank(), "column");
  for (int f : RowFolds()) StoreFold(f, StrCat("shared", f, "[tx]"));
  Close();
  Close();
}

}  // namespace ostria::cuda
