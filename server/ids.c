/* ids: random bytes are fetched for many ids at once, a thread at a time, so that an id costs no
 * system call. */
#include "server/ids.h"

#include "storage/base/check.h"

#include <sys/random.h>
#include <time.h>

#define RANDOM_BYTES 10
/* getrandom is never cut short for up to 256 bytes. */
#define IDS_AT_ONCE 25

void ids_make(uint8_t ret[UUID_BYTES])
{
    static _Thread_local uint8_t random[IDS_AT_ONCE][RANDOM_BYTES];
    static _Thread_local size_t left;
    if (left == 0) {
        CHECK(getrandom(random, sizeof random, 0) == sizeof random);
        left = IDS_AT_ONCE;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uuid_make_v7(ms, random[--left], ret);
}
