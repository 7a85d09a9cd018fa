/* bench_leases: see the header. */
#include "bench_leases.h"

#include <string.h>

static const char key[] = "\"lease\":\"";

void bench_leases_begin(struct bench_leases *l)
{
    l->n = l->matched = l->taken = 0;
    l->within = false;
}

/* A part of the lease that it is in; returns how many bytes of it these are. */
static size_t take_part(struct bench_leases *l, const char *p, size_t n)
{
    size_t left = BENCH_LEASE_TEXT - l->taken;
    size_t more = n < left ? n : left;
    if (l->n < l->room) {
        memcpy(l->texts + l->n * BENCH_LEASE_TEXT + l->taken, p, more);
    }
    l->taken += more;
    if (l->taken == BENCH_LEASE_TEXT) {
        l->n += l->n < l->room ? 1 : 0;
        l->taken = 0;
        l->within = false;
    }
    return more;
}

/* A quote can only begin the key where the match so far is broken. */
static void match(struct bench_leases *l, char c)
{
    l->matched = c == key[l->matched] ? l->matched + 1 : c == '"' ? 1 : 0;
    if (l->matched == sizeof key - 1) {
        l->matched = 0;
        l->within = true;
    }
}

void bench_leases_take(struct bench_leases *l, const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end) {
        if (l->within) {
            p += take_part(l, p, (size_t)(end - p));
            continue;
        }
        if (l->matched == 0) {
            p = memchr(p, '"', (size_t)(end - p));
            if (p == NULL) {
                return;
            }
        }
        match(l, *p++);
    }
}
