/* http_address: counts the open connections of each peer address.
 *
 * Any thread; a mutex guards the table. IPv4 and IPv4-in-IPv6 are the same address. */
#ifndef DAYBOOK_SERVER_HTTP_ADDRESS_H
#define DAYBOOK_SERVER_HTTP_ADDRESS_H

#include "storage/base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>

#define ADDRESS_BUCKETS    1024
#define ADDRESS_TEXT_BYTES 46

struct address;

struct address_table {
    pthread_mutex_t mutex;
    struct address *buckets[ADDRESS_BUCKETS];
};

void address_table_init(struct address_table *t);
/* Every address must have been removed. */
void address_table_done(struct address_table *t);

/* How many connections the address has; 0 for what is no IP address. */
unsigned address_table_count(struct address_table *t, const struct sockaddr *peer);
/* Counts one more and returns what address_table_remove takes back; NULL (not counted) for what is
 * no IP address or without memory. */
struct address *address_table_add(struct address_table *t, const struct sockaddr *peer);
/* NULL is fine. */
void address_table_remove(struct address_table *t, struct address *a);

/* The address as text, "unknown" for what is no IP address. */
void address_format(const struct sockaddr *peer, char ret[ADDRESS_TEXT_BYTES]);

#endif
