/* ids: ids for events that came without one: UUID version 7 from the clock and the kernel's random
 * numbers. Any thread. */
#ifndef DAYBOOK_SERVER_IDS_H
#define DAYBOOK_SERVER_IDS_H

#include "storage/base/uuid.h"

void ids_make(uint8_t ret[UUID_BYTES]);

#endif
