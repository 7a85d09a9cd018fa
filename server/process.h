/* process: what the kernel says of this process: memory, time, descriptors.
 *
 * Any thread. Read from /proc; 0 where that is not there. */
#ifndef DAYBOOK_SERVER_PROCESS_H
#define DAYBOOK_SERVER_PROCESS_H

#include <stdint.h>

/* Memory that is the process's own: what is resident less the pages of files (LMDB's map is such),
 * which the kernel takes back when it wants. */
uint64_t process_private_bytes(void);
uint64_t process_resident_bytes(void);
double process_cpu_s(void);
uint64_t process_open_files(void);
uint64_t process_open_files_max(void);

#endif
