/* http_address: a hash table with chains; an address is in it while it has connections. */
#include "server/http_address.h"

#include "storage/base/bytes.h"
#include "storage/base/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

struct address {
    struct address *next;
    uint8_t bytes[16];
    unsigned connections;
};

_Static_assert(ADDRESS_TEXT_BYTES >= INET6_ADDRSTRLEN, "an IPv6 address fits");

static size_t key_of(const struct sockaddr *peer, uint8_t ret[16]);
static struct address **bucket_of(struct address_table *t, const uint8_t key[16]);
static struct address *find(struct address *first, const uint8_t key[16]);

void address_table_init(struct address_table *t)
{
    *t = (struct address_table){0};
    pthread_mutex_init(&t->mutex, NULL);
}

void address_table_done(struct address_table *t)
{
    for (size_t i = 0; i < ADDRESS_BUCKETS; i++) {
        CHECK(t->buckets[i] == NULL);
    }
    pthread_mutex_destroy(&t->mutex);
}

unsigned address_table_count(struct address_table *t, const struct sockaddr *peer)
{
    uint8_t key[16];
    if (key_of(peer, key) == 0) {
        return 0;
    }
    pthread_mutex_lock(&t->mutex);
    const struct address *a = find(*bucket_of(t, key), key);
    unsigned n = a == NULL ? 0 : a->connections;
    pthread_mutex_unlock(&t->mutex);
    return n;
}

struct address *address_table_add(struct address_table *t, const struct sockaddr *peer)
{
    uint8_t key[16];
    if (key_of(peer, key) == 0) {
        return NULL;
    }
    pthread_mutex_lock(&t->mutex);
    struct address **bucket = bucket_of(t, key);
    struct address *a = find(*bucket, key);
    if (a == NULL && (a = calloc(1, sizeof *a)) != NULL) {
        memcpy(a->bytes, key, sizeof a->bytes);
        a->next = *bucket;
        *bucket = a;
    }
    if (a != NULL) {
        a->connections++;
    }
    pthread_mutex_unlock(&t->mutex);
    return a;
}

void address_table_remove(struct address_table *t, struct address *a)
{
    if (a == NULL) {
        return;
    }
    pthread_mutex_lock(&t->mutex);
    if (--a->connections == 0) {
        struct address **place = bucket_of(t, a->bytes);
        while (*place != a) {
            place = &(*place)->next;
        }
        *place = a->next;
        free(a);
    }
    pthread_mutex_unlock(&t->mutex);
}

void address_format(const struct sockaddr *peer, char ret[ADDRESS_TEXT_BYTES])
{
    uint8_t key[16];
    size_t n = key_of(peer, key);
    if (n == 0 ||
        inet_ntop(n == 4 ? AF_INET : AF_INET6, key + 16 - n, ret, ADDRESS_TEXT_BYTES) == NULL) {
        memcpy(ret, "unknown", sizeof "unknown");
    }
}

/* The address in 16 bytes, IPv4 in the last four behind ::ffff:; returns 4 or 16, or 0 for another
 * family. */
static size_t key_of(const struct sockaddr *peer, uint8_t ret[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)peer;
        memcpy(ret, mapped, sizeof mapped);
        memcpy(ret + 12, &v4->sin_addr, 4);
        return 4;
    }
    if (peer->sa_family != AF_INET6) {
        return 0;
    }
    const struct sockaddr_in6 *v6 = (const void *)peer;
    memcpy(ret, &v6->sin6_addr, 16);
    return memcmp(ret, mapped, sizeof mapped) == 0 ? 4 : 16;
}

static struct address **bucket_of(struct address_table *t, const uint8_t key[16])
{
    return &t->buckets[bytes_hash(bytes_of(key, 16), 0) % ADDRESS_BUCKETS];
}

static struct address *find(struct address *first, const uint8_t key[16])
{
    struct address *a = first;
    while (a != NULL && memcmp(a->bytes, key, 16) != 0) {
        a = a->next;
    }
    return a;
}
