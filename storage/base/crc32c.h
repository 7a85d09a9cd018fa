/* crc32c: the Castagnoli CRC (RFC 3720 appendix B.4) that guards every record, by SSE 4.2 where the
 * CPU has it.
 *
 * Any thread. crc32c(0, "123456789") is 0xe3069283. Pass an earlier result as `seed` to go on over
 * more bytes. */
#ifndef DAYBOOK_BASE_CRC32C_H
#define DAYBOOK_BASE_CRC32C_H

#include "bytes.h"

uint32_t crc32c(uint32_t seed, struct bytes data);
/* The table-driven form, for tests and other CPUs. */
uint32_t crc32c_portable(uint32_t seed, struct bytes data);

#endif
