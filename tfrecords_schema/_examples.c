/* Arrays -> serialized tf.train.Example protocol buffers; examples.py shows the layout. */

#include <stdint.h>
#include <string.h>

enum { BYTES_LIST = 1, INT64_LIST = 3 };

static int64_t varint_size(uint64_t value) {
  return 1 + (value >= 1u << 7) + (value >= 1u << 14) + (value >= 1u << 21) + (value >= 1u << 28);
}

static uint8_t *put_varint(uint8_t *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = (uint8_t)(value | 0x80);
  *out++ = (uint8_t)value;
  return out;
}

static int64_t varints_size(const uint32_t *values, int64_t count) {
  uint32_t any = 0, seconds = 0;
  for (int64_t place = 0; place < count; place++) {
    any |= values[place];
    seconds += values[place] >= 0x80;
  }
  if (any < 1 << 14) return count + seconds;
  int64_t size = 0;
  for (int64_t place = 0; place < count; place++) size += varint_size(values[place]);
  return size;
}

/* Writes a byte behind what it returns, to be overwritten: nearly all values have one or two. */
static uint8_t *put_varints(uint8_t *out, const uint32_t *values, int64_t count) {
  for (int64_t place = 0; place < count; place++) {
    uint32_t value = values[place];
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

/* Serializes `rows` examples one after the other, entries in the order of their names.

   token_ids, mask_ids: of `columns` values a row.
   word_starts: of `octets` bytes a row.
   out: has room for the largest values, and one byte.
   ends: gets where each example ends. */
void encode_examples(const uint32_t *token_ids, const uint32_t *mask_ids,
                     const uint8_t *word_starts, int64_t rows, int64_t columns, int64_t octets,
                     uint8_t *out, int64_t *ends) {
  const uint8_t *begin = out;
  for (int64_t row = 0; row < rows; row++) {
    const uint32_t *tokens = token_ids + row * columns, *masks = mask_ids + row * columns;
    int64_t tokens_size = varints_size(tokens, columns), masks_size = varints_size(masks, columns);
    out = put_field(out, 1,
                    field_size(entry_size("mask_ids", masks_size)) +
                        field_size(entry_size("token_ids", tokens_size)) +
                        field_size(entry_size("word_starts", octets)));
    out = put_entry(out, "mask_ids", INT64_LIST, masks_size);
    out = put_varints(out, masks, columns);
    out = put_entry(out, "token_ids", INT64_LIST, tokens_size);
    out = put_varints(out, tokens, columns);
    out = put_entry(out, "word_starts", BYTES_LIST, octets);
    memcpy(out, word_starts + row * octets, octets);
    out += octets;
    ends[row] = out - begin;
  }
}
