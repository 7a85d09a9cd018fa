/* base64: a table look-up per character; one bad character makes the whole text bad. */
#include "server/base64.h"

#define BAD 0x80u

static unsigned value_of(uint8_t c);

bool base64_decode(struct bytes text, uint8_t *to, size_t *ret_n)
{
    if (text.n % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    if (text.n > 0 && text.p[text.n - 1] == '=') {
        padding = text.p[text.n - 2] == '=' ? 2 : 1;
    }
    unsigned bad = 0;
    uint32_t group = 0;
    uint8_t *at = to;
    for (size_t i = 0; i < text.n; i += 4) {
        size_t digits = i + 4 == text.n ? 4 - padding : 4;
        group = 0;
        for (size_t j = 0; j < 4; j++) {
            unsigned v = j < digits ? value_of(text.p[i + j]) : 0;
            bad |= v & BAD;
            group = group << 6 | (v & 63);
        }
        *at++ = (uint8_t)(group >> 16);
        *at++ = (uint8_t)(group >> 8);
        *at++ = (uint8_t)group;
    }
    /* Bits under the padding must be zero, else two texts would mean the same bytes. */
    uint32_t unused = padding == 2 ? 0xffff : padding == 1 ? 0xff : 0;
    if (bad != 0 || (group & unused) != 0) {
        return false;
    }
    *ret_n = text.n / 4 * 3 - padding;
    return true;
}

static unsigned value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26u;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52u;
    }
    return c == '+' ? 62 : c == '/' ? 63 : BAD;
}
