/* fault: one table of named places where a test can make things fail, by countdown.
 *
 * Any thread (atomics). Disarmed it costs one relaxed load. */
#ifndef DAYBOOK_BASE_FAULT_H
#define DAYBOOK_BASE_FAULT_H

#include <stdbool.h>

enum fault {
#define FAULT(name, text) FAULT_##name,
#include "fault.def"
#undef FAULT
    FAULT_COUNT
};

/* The nth pass (1 = the next one) through `fault` fails; where `persistent`, so do all after it.
 * n = 0 disarms. */
void fault_arm(enum fault fault, long n, bool persistent);

/* True where this pass shall fail. */
bool fault_hit(enum fault fault);

#endif
