/* base64: strict decoding (RFC 4648 section 4). Any thread; pure. */
#ifndef DAYBOOK_SERVER_BASE64_H
#define DAYBOOK_SERVER_BASE64_H

#include "storage/base/bytes.h"

/* Room that base64_decode needs for `n` characters. */
#define BASE64_DECODED_MAX(n) ((n) / 4 * 3)

/* Decodes `text` into `to`, which has room for BASE64_DECODED_MAX(text.n). Padding is required,
 * line breaks and unused bits that are not zero are refused: false. */
bool base64_decode(struct bytes text, uint8_t *to, size_t *ret_n);

#endif
