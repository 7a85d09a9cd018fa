/* server: a whole daybookd inside of a fuzz target's process, so that what it runs through guides
 * the fuzzer, and AddressSanitizer sees all its threads.
 *
 * One thread; one server at a time: it is started on first use, on a directory of its own, and
 * again on a fresh one after SERVER_EXCHANGES exchanges, so that what inputs append does not pile
 * up. It has to end well each time. */
#ifndef DAYBOOK_TESTS_FUZZ_SERVER_H
#define DAYBOOK_TESTS_FUZZ_SERVER_H

#include "storage/base/bytes.h"

#define SERVER_EXCHANGES 5000

/* Sends the bytes on a connection of their own, closes that side, and gives what came back until
 * the server closed, or said nothing for `quiet_ms`; then it must still answer others. *ret_closed
 * says which. Valid until the next call. `first` is sent before, once to each new server. */
struct bytes server_exchange(struct bytes first, struct bytes request, int quiet_ms,
                             bool *ret_closed);

/* The status of the response that the bytes begin with; *ret_header and *ret_body are cut there, at
 * its empty line. 0: there is no whole header. Aborts where they are not HTTP. */
unsigned server_status(struct bytes text, struct bytes *ret_header, struct bytes *ret_body);

#endif
