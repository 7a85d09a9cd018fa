/* fault: the countdowns of the fault points. */
#include "fault.h"

#include "check.h"

#include <stdatomic.h>

/* One number per point, so that a pass reads and changes it in one step: 0 is off, n > 0 fails the
 * nth pass and is off again, -n fails the nth pass and all after it (it stays at -1). */
static atomic_long countdowns[FAULT_COUNT];

static bool count_down(atomic_long *countdown, long n);

void fault_arm(enum fault fault, long n, bool persistent)
{
    CHECK((unsigned)fault < FAULT_COUNT);
    CHECK(n >= 0);
    atomic_store(&countdowns[fault], persistent ? -n : n);
}

bool fault_hit(enum fault fault)
{
    CHECK((unsigned)fault < FAULT_COUNT);
    long n = atomic_load_explicit(&countdowns[fault], memory_order_relaxed);
    return n != 0 && count_down(&countdowns[fault], n);
}

static bool count_down(atomic_long *countdown, long n)
{
    while (n != 0 && n != -1) {
        long next = n > 0 ? n - 1 : n + 1;
        if (atomic_compare_exchange_weak(countdown, &n, next)) {
            return n == 1;
        }
    }
    return n == -1;
}
