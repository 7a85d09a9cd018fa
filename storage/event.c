/* event: rules about names, expectations and content types. */
#include "event.h"

#include <ctype.h>
#include <strings.h>

bool expectation_met(struct expectation expected, uint64_t head)
{
    switch (expected.kind) {
    case EXPECT_ANY:
        return true;
    case EXPECT_NO_STREAM:
        return head == 0;
    case EXPECT_STREAM_EXISTS:
        return head > 0;
    case EXPECT_REVISION:
        return head == expected.revision;
    }
    return false;
}

/* C1 control characters are U+0080 to U+009F: 0xC2 0x80 to 0xC2 0x9F in UTF-8. */
static bool has_control_character(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
        if (c == 0xc2 && i + 1 < name.n && name.p[i + 1] < 0xa0) {
            return true;
        }
    }
    return false;
}

bool event_name_is_valid(struct bytes name)
{
    return name.n > 0 && name.n <= EVENT_NAME_MAX && !has_control_character(name) &&
           bytes_are_utf8(name);
}

struct bytes event_category(struct bytes stream)
{
    const uint8_t *dash = stream.n > 0 ? memchr(stream.p, '-', stream.n) : NULL;
    return dash == NULL ? stream : bytes_of(stream.p, (size_t)(dash - stream.p));
}

bool event_content_is_json(struct bytes content_type)
{
    const uint8_t *semicolon =
        content_type.n > 0 ? memchr(content_type.p, ';', content_type.n) : NULL;
    size_t n = semicolon == NULL ? content_type.n : (size_t)(semicolon - content_type.p);
    while (n > 0 && (content_type.p[n - 1] == ' ' || content_type.p[n - 1] == '\t')) {
        n--;
    }
    const char *text = (const char *)content_type.p;
    if (n == 0) {
        return true;
    }
    return (n == 16 && strncasecmp(text, "application/json", 16) == 0) ||
           (n > 5 && strncasecmp(text + n - 5, "+json", 5) == 0);
}
