/* push_message: see push_message.h. */
#include "server/push_message.h"

#include "projections/group_catalog.h"
#include "projections/group_json.h"
#include "server/base64.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>

#define SECRET_PREFIX "whsec_"
#define SECRET_MAX    256
#define STAMP_MAX     32

const char *push_url_fault(struct bytes url)
{
    struct bytes rest;
    if (url.n == 0 || url.n > PUSH_URL_MAX) {
        return "must be a URL of 1 to 2000 bytes";
    }
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= ' ' || url.p[i] > '~' || strchr("\"\\<>^`{|}#", url.p[i]) != NULL) {
            return "must be a URL in ASCII, percent-encoded, without a fragment";
        }
    }
    if (bytes_have_prefix(url, BYTES_LITERAL("http://"))) {
        rest = bytes_of(url.p + 7, url.n - 7);
    } else if (bytes_have_prefix(url, BYTES_LITERAL("https://"))) {
        rest = bytes_of(url.p + 8, url.n - 8);
    } else {
        return "must begin with http:// or https://";
    }
    size_t host = 0;
    while (host < rest.n && rest.p[host] != '/' && rest.p[host] != '?') {
        if (rest.p[host++] == '@') {
            return "must not have a user or password in it; a secret signs the requests";
        }
    }
    return host == 0 || rest.p[0] == ':' ? "must have a host" : NULL;
}

/* ---- settings ---- */

void push_put_settings(struct buf *b, const struct push_settings *s)
{
    buf_put_string(b, "{\"url\":");
    buf_put_json_string(b, bytes_of_string(s->url));
    buf_put_format(b, ",\"timeout_ms\":%" PRId64 ",\"concurrency\":%u}", s->timeout_us / 1000,
                   s->concurrency);
}

bool push_read_settings(struct bytes text, struct push_settings *ret)
{
    struct arena arena;
    struct group_json j;
    struct bytes name;
    bool first = true;
    *ret = (struct push_settings){.url = ""};
    arena_init(&arena, 256, GROUP_PUSH_MAX);
    group_json_init(&j, text, &arena);
    while (group_json_member(&j, &first, &name)) {
        if (bytes_equal(name, BYTES_LITERAL("url"))) {
            struct bytes url = group_json_string(&j);
            snprintf(ret->url, sizeof ret->url, "%.*s", (int)url.n, (const char *)url.p);
        } else if (bytes_equal(name, BYTES_LITERAL("timeout_ms"))) {
            ret->timeout_us = (int64_t)group_json_number(&j) * 1000;
        } else if (bytes_equal(name, BYTES_LITERAL("concurrency"))) {
            ret->concurrency = (unsigned)group_json_number(&j);
        } else {
            (void)group_json_raw(&j); /* of a newer binary */
        }
    }
    arena_done(&arena);
    return !j.failed && ret->url[0] != '\0' && ret->timeout_us > 0 && ret->concurrency > 0;
}

/* ---- addresses ---- */

static bool is_private_v4(uint32_t address)
{
    static const struct {
        uint32_t network;
        unsigned bits;
    } not_public[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
        {0xac100000, 12}, {0xc0000000, 24}, {0xc0a80000, 16}, {0xc0000200, 24}, {0xc6120000, 15},
        {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 3},
    };
    for (size_t i = 0; i < sizeof not_public / sizeof *not_public; i++) {
        if ((address ^ not_public[i].network) >> (32 - not_public[i].bits) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t last_four(const uint8_t *p)
{
    return (uint32_t)p[12] << 24 | (uint32_t)p[13] << 16 | (uint32_t)p[14] << 8 | p[15];
}

/* Public are 2000::/3 without documentation's and those that carry IPv4 addresses (6to4, Teredo);
 * of the translated ones (64:ff9b::/96) and the mapped ones it is the IPv4 address that counts. */
static bool is_private_v6(const uint8_t *p)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(p, mapped, sizeof mapped) == 0 || memcmp(p, translated, sizeof translated) == 0) {
        return is_private_v4(last_four(p));
    }
    bool global = (p[0] & 0xe0) == 0x20;
    bool six_to_four = p[0] == 0x20 && p[1] == 0x02;
    bool teredo = p[0] == 0x20 && p[1] == 0x01 && p[2] == 0 && p[3] == 0;
    bool documentation = p[0] == 0x20 && p[1] == 0x01 && p[2] == 0x0d && p[3] == 0xb8;
    return !global || six_to_four || teredo || documentation;
}

bool push_address_is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return is_private_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return is_private_v6(v6.sin6_addr.s6_addr);
    }
    return true;
}

/* ---- signing ---- */

void push_sign(struct buf *b, struct bytes secret, struct bytes id, int64_t timestamp_s,
               struct bytes body)
{
    uint8_t key[BASE64_DECODED_MAX(SECRET_MAX) + 1];
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    char stamp[STAMP_MAX];
    struct bytes prefix = BYTES_LITERAL(SECRET_PREFIX);
    size_t key_n = 0;
    if (secret.n <= SECRET_MAX && bytes_have_prefix(secret, prefix) &&
        base64_decode(bytes_of(secret.p + prefix.n, secret.n - prefix.n), key, &key_n)) {
        secret = bytes_of(key, key_n);
    }
    int n = snprintf(stamp, sizeof stamp, ".%" PRId64 ".", timestamp_s);
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, secret.p, secret.n);
    crypto_auth_hmacsha256_update(&state, id.p, id.n);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)stamp, (unsigned long long)n);
    crypto_auth_hmacsha256_update(&state, body.p, body.n);
    crypto_auth_hmacsha256_final(&state, mac);
    buf_put_string(b, "v1,");
    buf_put_base64(b, bytes_of(mac, sizeof mac));
}
