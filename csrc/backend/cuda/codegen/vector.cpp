// SPDX-License-Identifier: Apache-2.0
// What the three forms do alike with one vector: load it, compute its elements, store it.
#include "backend/cuda/codegen/loop.h"
#include "kernels/scalar/philox.h"

namespace ostria::cuda {

int LoopWriter::Count(const LoopOperand& o) const { return IsStill(o) ? 1 : vector; }

void LoopWriter::DeclareInput(int k, int count) {
  const LoopOperand& o = p.inputs[k];
  Line(StorageType(o.dtype), " r", k, "[", count, "][", Count(o), "];");
}

void LoopWriter::LoadInput(int k, std::string_view which, bool whole, std::string_view inside) {
  const LoopOperand& o = p.inputs[k];
  const std::string at = Offset(o, 0, p.rank());
  if (whole && IsVector(o)) {
    return Line("LoadVector<", vector, ">(r", k, "[", which, "], x", k, " + ", at, ");");
  }
  std::string read =
      StrCat("x", k, "[", at, IsStill(o) ? "" : StrCat(" + j * ", o.strides.back()), "]");
  if (!whole && !inside.empty()) {
    read = StrCat(inside, " ? ", read, " : ", StorageType(o.dtype), "()");
  }
  Line("OSTRIA_UNROLL");
  Line("for (int j = 0; j < ", Count(o), "; ++j) r", k, "[", which, "][j] = ", read, ";");
}

void LoopWriter::Draws(const std::vector<int>& code, std::string_view number) {
  for (int n : code) {
    const LoopInstr& i = p.code[n];
    if (i.kind != LoopKind::kDraw) continue;
    Line("bool d", n, "[", vector, "];");
    Line("Draw<", vector, ">(d", n, ", key", n, ", static_cast<uint64_t>(v", i.args[0], ") + ",
         number, ", ", kernels::WordLimit(i.number[0]), "ull);");
  }
}

void LoopWriter::Element(int n, std::string_view which) {
  const LoopInstr& i = p.code[n];
  switch (i.kind) {
    case LoopKind::kLoad:
      return Line("const ", ValueType(n), " v", n, " = Get(r", i.operand, "[", which, "][",
                  IsStill(p.inputs[i.operand]) ? "0" : "j", "]);");
    case LoopKind::kDraw: return Line("const bool v", n, " = d", n, "[j];");
    default: return Define(n, StrCat("c", p.rank() - 1, " + j"));
  }
}

void LoopWriter::DeclareOutput(int k) {
  Line(StorageType(p.outputs[k].dtype), " w", k, "[", vector, "];");
}
void LoopWriter::SetOutput(int k) {
  Line("w", k, "[j] = Put<", StorageType(p.outputs[k].dtype), ">(v", p.outputs[k].value, ");");
}

void LoopWriter::StoreOutput(int k, std::string_view whole, std::string_view inside) {
  const LoopOperand& o = p.outputs[k];
  const std::string at = Offset(o, 0, p.rank());
  std::string once = OncePerPlace(o, 0, p.rank());
  if (!once.empty()) once = once.substr(4);
  if (IsStill(o)) {
    if (!inside.empty()) once += StrCat(once.empty() ? "" : " && ", inside);
    return Line(once.empty() ? "" : StrCat("if (", once, ") "), "y", k, "[", at, "] = w", k,
                "[0];");
  }
  if (!once.empty()) Open("if (", once, ")");
  if (IsVector(o)) {
    Open("if (", whole, ")");
    Line("StoreVector<", vector, ">(y", k, " + ", at, ", w", k, ");");
    Close();
    Open("else");
  }
  Line("OSTRIA_UNROLL");
  Open("for (int j = 0; j < ", vector, "; ++j)");
  Line(inside.empty() ? "" : StrCat("if (", inside, ") "), "y", k, "[", at, " + j * ",
       o.strides.back(), "] = w", k, "[j];");
  Close();
  if (IsVector(o)) Close();
  if (!once.empty()) Close();
}

}  // namespace ostria::cuda
