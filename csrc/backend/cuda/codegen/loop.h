// SPDX-License-Identifier: Apache-2.0
// The canonical form of a loop program, which code is generated from, and the writer that the three
// forms share. Private to codegen*.cpp.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/codegen/codegen.h"

namespace ostria::cuda {

/// An equal program whose text does not depend on how it came about: no axis of size 1, no two axes
/// that could be one, operands and code in the order in which outputs need them, no fold of one
/// element.
struct CanonicalLoop {
  LoopProgram p;
  std::vector<int> inputs, outputs;  // numbers in the program that it was made from
  std::vector<int64_t> streams;      // of draws; LoopInstr::stream is the number in here
  std::vector<uint8_t> axes;         // LoopAxes(p)
  int first_column() const { return p.rank() - p.column_axes; }
};
CanonicalLoop Canonical(const LoopProgram& program);

/// Text with the means to write what all forms have in common. Names: x<i> and y<i> pointers of
/// inputs and outputs, v<n> the value of instruction n, r<i> a vector of input i as it lies in
/// memory, w<i> one of output i, c<d> the coordinate along axis d.
class LoopWriter {
 public:
  LoopWriter(const CanonicalLoop& loop, int vector, bool wide);

  const CanonicalLoop& loop;
  const LoopProgram& p;
  const int vector;  // elements along the last axis that are treated together
  const bool wide;   // 64-bit indices
  std::string out;

  template <class... Args>
  void Line(const Args&... args) {
    out += StrCat(std::string(indent_, ' '), args..., "\n");
  }
  template <class... Args>
  void Open(const Args&... args) {
    Line(args..., " {");
    indent_ += 2;
  }
  void Close() {
    indent_ -= 2;
    Line("}");
  }

  // Pointers, the keys of draws, and `aligned`: whether all vectors are.
  void Pointers();
  /// The coordinates c<first>..c<last-1> of place `at` among those axes; axis `first` takes what is
  /// left.
  void Coordinates(int first, int last, std::string_view at);
  /// The sum of coordinate times stride over axes [first, last), "0" where nothing is left.
  std::string Offset(const LoopOperand& o, int first, int last) const;
  /// What instruction `n` computes of v<args>; `last` is the coordinate along the last axis.
  std::string Expression(int n, std::string_view last) const;
  /// A number of the type of instruction `n`.
  std::string Number(int n, double x) const;
  /// `const T v<n> = ...;`
  void Define(int n, std::string_view last);

  /// Whether vectors of this operand may be accessed whole: unit stride, all others multiples.
  bool IsVector(const LoopOperand& o) const;
  /// Whether it is the same element along the whole of a vector.
  bool IsStill(const LoopOperand& o) const;
  std::string ValueType(int n) const;
  /// " && c1 == 0": the condition under which a place of `o` is not written again and again.
  std::string OncePerPlace(const LoopOperand& o, int first, int last) const;

  // One vector; `which` of several, `inside` the condition for element j ("": always).
  int Count(const LoopOperand& o) const;
  void DeclareInput(int k, int count);
  void LoadInput(int k, std::string_view which, bool whole, std::string_view inside);
  /// The draws among `code`; `number` of the vector's first element in the space.
  void Draws(const std::vector<int>& code, std::string_view number);
  void Element(int n, std::string_view which);
  void DeclareOutput(int k);
  void SetOutput(int k);
  void StoreOutput(int k, std::string_view whole, std::string_view inside);
  bool StoresFold(int k) const { return p.code[p.outputs[k].value].kind == LoopKind::kFoldRows; }

  // Folds over rows. A piece of the rows leaves one number per column in part<n>[piece * cols + c];
  // a second kernel joins the pieces.
  std::vector<int> RowFolds() const;
  std::string Folded(int n, std::string_view a, std::string_view b) const;
  std::string FoldStart(int n) const;
  void Parts();
  int64_t PartBytes() const;  // of one column of one piece of one fold
  /// Stores fold `n`, of the column whose coordinates are defined.
  void StoreFold(int n, std::string_view value);
  /// Folds shared<n>[tx + ty * across] over ty, whose number is 256 / across; the result is at ty
  /// 0. Begins behind a barrier, and ends with one.
  void FoldThreads(int across);
  void Finish();
  int FinishAcross() const;

 private:
  size_t indent_ = 0;
};

std::string_view StorageType(DType dtype);
std::string_view FoldName(LoopFold fold);
/// The largest vector for the operands that lie along the last axis: 16 bytes of the smallest.
int VectorFor(const CanonicalLoop& loop);
/// Whether some offset or the number of elements needs 64 bits.
bool NeedsWide(const LoopProgram& p);
/// Whether the code calls functions of the C library, which are long.
bool CallsLibrary(const LoopProgram& p);
/// Vectors that a thread should have in flight at most.
int MostUnrolled(const LoopProgram& p);
/// Bytes of all vectors of `vector` elements that an iteration loads and stores.
int64_t VectorBytes(const CanonicalLoop& loop, int vector);

/// The instructions that `roots` need, in order, stopping at those for which `known`.
std::vector<int> Needed(const LoopProgram& p, const std::vector<int>& roots,
                        const std::vector<bool>& known);

/// Adds the second launch and the workspace of `pieces` partial folds.
void AddFinish(LoopWriter* writer, int64_t pieces, GeneratedLoop* out);
/// Output k may lie on input i where both are the same place of every element, and the output is
/// stored in no earlier pass than the last that reads the input.
void FindAliases(const CanonicalLoop& loop, const std::vector<int>& input_pass,
                 const std::vector<int>& output_pass, GeneratedLoop* out);

// They set text, launches, the words "n", "pieces" and "per", and alias_ok, in canonical numbers.
void WriteFlat(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out);
void WriteRows(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out);
void WriteColumns(const CanonicalLoop& loop, const DeviceProps& device, GeneratedLoop* out);

}  // namespace ostria::cuda
