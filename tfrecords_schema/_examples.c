/* Arrays -> serialized tf.train.Example protocol buffers; examples.py shows the layout. */

#include <stdint.h>
#include <string.h>

enum { BYTES_LIST = 1, INT64_LIST = 3 };

/* Inlined, so that there is a version of all below for either kind of values. */
#define INLINED static inline __attribute__((always_inline))

/* Values of 16 or, where `wide`, of 64 bits. */
typedef struct {
  const void *first;
  int64_t wide;
} Values;

INLINED uint64_t value_at(Values values, int64_t place) {
  return values.wide ? ((const uint64_t *)values.first)[place]
                     : ((const uint16_t *)values.first)[place];
}

static int64_t varint_size(uint64_t value) {
  int64_t size = 1;
  for (; value >= 0x80; value >>= 7) size++;
  return size;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = (uint8_t)(value | 0x80);
  *out++ = (uint8_t)value;
  return out;
}

INLINED int64_t varints_size(Values values, int64_t begin, int64_t end) {
  uint64_t any = 0;
  int64_t size = 0;
  for (int64_t place = begin; place < end; place++) {
    any |= value_at(values, place);
    size += value_at(values, place) >= 0x80;
  }
  if (any < 1 << 14) return end - begin + size;
  size = 0;
  for (int64_t place = begin; place < end; place++) size += varint_size(value_at(values, place));
  return size;
}

/* Writes a byte behind what it returns, to be overwritten: nearly all values have one or two. */
INLINED uint8_t *put_varints(uint8_t *out, Values values, int64_t begin, int64_t end) {
  for (int64_t place = begin; place < end; place++) {
    uint64_t value = value_at(values, place);
    if (value >= 1 << 14) {
      out = put_varint(out, value);
    } else {
      uint8_t has_second = value >= 0x80;
      out[0] = (uint8_t)((value & 0x7F) | has_second << 7);
      out[1] = (uint8_t)(value >> 7);
      out += 1 + has_second;
    }
  }
  return out;
}

/* Tag and length of a length-delimited field. */
static uint8_t *put_field(uint8_t *out, int number, int64_t length) {
  *out++ = (uint8_t)(number << 3 | 2);
  return put_varint(out, length);
}

static int64_t field_size(int64_t length) { return 1 + varint_size(length) + length; }

/* Size of a map entry of Features without its own tag and length. */
static int64_t entry_size(const char *name, int64_t payload) {
  return field_size(strlen(name)) + field_size(field_size(field_size(payload)));
}

/* All bytes of a map entry that come before its payload. */
static uint8_t *put_entry(uint8_t *out, const char *name, int kind, int64_t payload) {
  out = put_field(out, 1, entry_size(name, payload));
  out = put_field(out, 1, strlen(name));
  memcpy(out, name, strlen(name));
  out = put_field(out + strlen(name), 2, field_size(field_size(payload)));
  out = put_field(out, kind, field_size(payload));
  return put_field(out, 1, payload);
}

INLINED void encode(Values tokens, Values masks, const uint8_t *word_starts, int64_t rows,
                    int64_t columns, int64_t octets, uint8_t *out, int64_t *ends) {
  const uint8_t *first = out;
  for (int64_t row = 0; row < rows; row++) {
    int64_t begin = row * columns, end = begin + columns;
    int64_t tokens_size = varints_size(tokens, begin, end);
    int64_t masks_size = varints_size(masks, begin, end);
    out = put_field(out, 1,
                    field_size(entry_size("mask_ids", masks_size)) +
                        field_size(entry_size("token_ids", tokens_size)) +
                        field_size(entry_size("word_starts", octets)));
    out = put_entry(out, "mask_ids", INT64_LIST, masks_size);
    out = put_varints(out, masks, begin, end);
    out = put_entry(out, "token_ids", INT64_LIST, tokens_size);
    out = put_varints(out, tokens, begin, end);
    out = put_entry(out, "word_starts", BYTES_LIST, octets);
    memcpy(out, word_starts + row * octets, octets);
    out += octets;
    ends[row] = out - first;
  }
}

/* Serializes `rows` examples one after the other, entries in the order of their names.

   token_ids, mask_ids: of `columns` values a row, of 64 bits where `wide`, else of 16.
   word_starts: of `octets` bytes a row.
   out: has room for the largest values, and one byte.
   ends: gets where each example ends. */
void encode_examples(const uint8_t *token_ids, const uint8_t *mask_ids, int64_t wide,
                     const uint8_t *word_starts, int64_t rows, int64_t columns, int64_t octets,
                     uint8_t *out, int64_t *ends) {
  if (wide)
    encode((Values){token_ids, 1}, (Values){mask_ids, 1}, word_starts, rows, columns, octets, out,
           ends);
  else
    encode((Values){token_ids, 0}, (Values){mask_ids, 0}, word_starts, rows, columns, octets, out,
           ends);
}
