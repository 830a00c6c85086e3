// SPDX-License-Identifier: Apache-2.0
// The gradient of gathered tables, without the rows that nobody gathered. Pass row_updates makes
// it of scatter_add; the updates read it (ops/common/optimizer.h).
#include "ops/common/attr_index.h"
#include "ops/common/infer.h"
#include "ops/common/optimizer.h"
#include "ops/ops.h"

namespace ostria {

using namespace ops;

namespace {

using Ints = std::vector<int64_t>;

constexpr InputDef kInputs[] = {{"ids", Arity::kVariadic, false}, {"values", Arity::kVariadic}};
constexpr AttrDef kAttrs[] = {
    {"tables", AttrType::kInts}, {"sizes", AttrType::kInts}, {"columns", AttrType::kInts, "[]"}};
constexpr OutputDef kOutputs[] = {{"sums", Arity::kVariadic}, {"rows"}};

// The row that list `part` gives for each id, of values that are shaped like the ids, then `row`.
void TakeColumns(const InferContext& c, int part, Shape* row) {
  const Ints& columns = c.attr<Ints>(SumRowsAttr::kColumns);
  if (columns.empty() || columns[2 * part + 1] < 0) return;
  const int64_t begin = columns[2 * part], count = columns[2 * part + 1];
  const bool fits = row->rank() == 1 && begin >= 0 &&
                    (!(*row)[0].is_static() || begin + count <= (*row)[0].value());
  if (!fits) {
    c.Fail("columns ", begin, "..", begin + count, " lie outside of rows of shape ", *row,
           "; they are columns of rows of rank 1");
  }
  (*row)[0] = count;
}

void Infer(InferContext& c) {
  const int parts = c.size() / 2;
  const Ints &tables = c.attr<Ints>(SumRowsAttr::kTables),
             &sizes = c.attr<Ints>(SumRowsAttr::kSizes);
  if (parts == 0 || static_cast<int>(tables.size()) != parts) {
    c.Fail("'tables' has ", tables.size(), " entries for ", parts,
           " list(s) of ids; give the number of its table for each, at least one");
  }
  if (const size_t n = c.attr<Ints>(SumRowsAttr::kColumns).size();
      n != 0 && n != 2 * static_cast<size_t>(parts)) {
    c.Fail("'columns' has ", n, " entries for ", parts,
           " list(s) of values; give the first column and how many for each, or none");
  }
  Dim all = static_cast<int64_t>(sizes.size());
  int part = 0;
  for (size_t t = 0; t < sizes.size(); ++t) {
    if (sizes[t] < 0 || sizes[t] > INT32_MAX) {
      c.Fail("table ", t, " has ", sizes[t], " rows; 0 to ", INT32_MAX, " are possible");
    }
    Dim count = int64_t{0};
    Shape row;
    const int first = part;
    for (; part < parts && tables[part] == static_cast<int64_t>(t); ++part) {
      RequireIndex(c, part);
      RequireFloat(c, parts + part);
      RequireSameDType(c, parts, parts + part);
      const Shape &ids = c.shape(part), &values = c.shape(parts + part);
      Shape mine;
      bool fits = values.rank() >= ids.rank();
      for (int i = 0; fits && i < ids.rank(); ++i) fits = values[i] == ids[i];
      for (int i = ids.rank(); fits && i < values.rank(); ++i) mine.Append(values[i]);
      if (fits) TakeColumns(c, part, &mine);
      if (part == first) row = mine;
      if (!fits || !(mine == row)) {
        c.Fail("values of shape ", values, " do not fit ids of shape ", ids, " and rows of shape ",
               row, "; give the shape of the ids, then that of a row");
      }
      count = count + ids.numel_dim();
    }
    if (part == first) break;
    Shape sums = {count};
    for (int i = 0; i < row.rank(); ++i) sums.Append(row[i]);
    c.Out(c.dtype(parts), sums);
    all = all + count;
  }
  if (part != parts) {
    c.Fail("'tables' must count up from 0 to ", static_cast<int64_t>(sizes.size()) - 1,
           ", each at least once");
  }
  c.Out(DType::kInt32, {all});
}

// One addition per element of the values: as many as the sums have.
double Flops(std::span<const ValueType>, std::span<const ValueType> out, std::span<const Attr>) {
  double sum = 0;
  for (const ValueType& sums : out.first(out.size() - 1)) {
    sum += static_cast<double>(sums.shape.numel());
  }
  return sum;
}

}  // namespace

constinit const OpDef ops::kSumRows = {
    .name = "sum_rows",
    .doc =
        "The rows that ids name, each once: per table the sums of the values of equal ids.\n"
        "A table gets one list of ids and values or several. Its sums come in ascending order of "
        "the rows;\n"
        "as many rows of sums as ids come out, zeros last. Each list is added up from zero in the "
        "order of\n"
        "its ids, then the lists' sums are added: bit for bit what scatter_add into zeros gives.\n"
        "`rows`: per table the count of sums, then the row of each, 0 for the zeros.\n"
        "ids: int32 or int64, negative ones count from the end; others outside are an IndexError "
        "at run time.\n"
        "values: shaped like the ids, then like a row.\n"
        "tables: of each list the number of its table, ascending.\n"
        "sizes: rows of each table.\n"
        "columns: of each list the first column of its rows in the values and how many they are, "
        "-1 for\n"
        "all; values may so be columns of something wider. All of all lists when empty.",
    .inputs = kInputs,
    .attrs = kAttrs,
    .outputs = kOutputs,
    .traits = {.checks_data = true, .internal = true},
    .infer = Infer,
    .grad = GradRule::Zero(),  // differentiation ends at a write
    .flops = Flops,
};

}  // namespace ostria
