/* url: request targets, percent-encoded. */
#include "client_int.h"

#include <string.h>

static bool add_encoded(struct daybook_buffer *url, const char *text);

bool daybook_url_begin(const struct daybook *db, struct daybook_buffer *url, const char *path)
{
    url->n = 0;
    return daybook_buffer_add_text(url, db->base_url) && daybook_buffer_add_text(url, path);
}

/* "." and ".." would mean another path, so their dots are encoded; elsewhere they need not be. */
bool daybook_url_segment(struct daybook_buffer *url, const char *name)
{
    if (strcmp(name, ".") == 0) {
        return daybook_buffer_add_text(url, "%2E");
    }
    if (strcmp(name, "..") == 0) {
        return daybook_buffer_add_text(url, "%2E%2E");
    }
    return add_encoded(url, name);
}

static bool add_name(struct daybook_buffer *url, char *mark, const char *name)
{
    bool ok = daybook_buffer_add_byte(url, (uint8_t)*mark) && daybook_buffer_add_text(url, name) &&
              daybook_buffer_add_byte(url, '=');
    *mark = '&';
    return ok;
}

bool daybook_url_text(struct daybook_buffer *url, char *mark, const char *name, const char *value)
{
    return add_name(url, mark, name) && add_encoded(url, value);
}

bool daybook_url_number(struct daybook_buffer *url, char *mark, const char *name, uint64_t value)
{
    return add_name(url, mark, name) && daybook_buffer_add_number(url, value);
}

bool daybook_url_end(struct daybook_buffer *url)
{
    return daybook_buffer_add_byte(url, '\0');
}

/* All but RFC 3986's unreserved characters as %XX. */
static bool add_encoded(struct daybook_buffer *url, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";
    for (const char *c = text; *c != '\0'; c++) {
        uint8_t byte = (uint8_t)*c;
        uint8_t encoded[3] = {'%', (uint8_t)hex[byte >> 4], (uint8_t)hex[byte & 15]};
        bool ok = strchr(plain, *c) != NULL ? daybook_buffer_add_byte(url, byte)
                                            : daybook_buffer_add(url, encoded, sizeof encoded);
        if (!ok) {
            return false;
        }
    }
    return true;
}
