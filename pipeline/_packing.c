/* Token streams -> sequences of fixed length; packing.py says what is done and why. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Puts a separator before each document and begins a unit at every `most` tokens of a word.

   document_begins: ascending; those at 0 or behind the last token are passed over.
   stream, unit_starts: have room for all tokens and separators.

   Returns the length of the stream. */
int64_t join_documents(const int32_t *ids, const bool *word_starts, int64_t tokens,
                       const int64_t *document_begins, int64_t documents, uint16_t separator,
                       int64_t most, uint16_t *stream, bool *unit_starts) {
  int64_t length = 0, document = 0, of_unit = 0;
  for (int64_t token = 0; token < tokens; token++) {
    bool begins = word_starts[token] | (token == 0);
    if (document < documents && document_begins[document] <= token) {
      while (document < documents && document_begins[document] <= token) document++;
      if (token) {
        stream[length] = separator;
        unit_starts[length++] = true;
      }
      begins = true;
    }
    of_unit = begins || of_unit == most ? 1 : of_unit + 1;
    stream[length] = (uint16_t)ids[token];
    unit_starts[length++] = of_unit == 1;
  }
  return length;
}

/* Cuts a stream before the last unit that does not fit; `begins` and `ends` of each sequence, which
   have room for `most`, leave out a separator that falls on a cut.

   Returns the number of sequences, or -1 where there are more. */
int64_t find_cuts(const uint16_t *stream, const bool *unit_starts, int64_t length,
                  int64_t capacity, uint16_t separator, int64_t most, int64_t *begins,
                  int64_t *ends) {
  int64_t sequences = 0, begin = 0;
  while (begin < length) {
    int64_t cut = length;
    if (begin + capacity < length) {
      cut = begin + capacity;
      while (cut > begin && !unit_starts[cut]) cut--;
    }
    if (cut == begin || sequences == most) return -1;
    begins[sequences] = begin;
    ends[sequences++] = cut - (stream[cut - 1] == separator);
    begin = cut;
    if (cut < length && stream[cut] == separator) begin++;
  }
  return sequences;
}

/* Writes a token at the end of a row, padding behind it. */
static void end_row(uint16_t *token_ids, bool *word_starts, int64_t columns, int64_t column,
                    uint16_t last, uint16_t padding) {
  token_ids[column] = last;
  word_starts[column] = true;
  for (column++; column < columns; column++) {
    token_ids[column] = padding;
    word_starts[column] = false;
  }
}

/* Fills rows: `first`, the sequence, `last`, padding. */
void fill_rows(const uint16_t *stream, const bool *unit_starts, const int64_t *begins,
               const int64_t *lengths, const int64_t *sequences, int64_t rows, int64_t columns,
               uint16_t first, uint16_t last, uint16_t padding, uint16_t *token_ids,
               bool *word_starts) {
  for (int64_t row = 0; row < rows; row++, token_ids += columns, word_starts += columns) {
    int64_t begin = begins[sequences[row]], length = lengths[sequences[row]];
    token_ids[0] = first;
    word_starts[0] = true;
    memcpy(token_ids + 1, stream + begin, length * sizeof(*stream));
    memcpy(word_starts + 1, unit_starts + begin, length * sizeof(*unit_starts));
    end_row(token_ids, word_starts, columns, 1 + length, last, padding);
  }
}
