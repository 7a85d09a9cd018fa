/* backup_int: the layout of a backup that backup.c writes and backup_read.c reads. */
#ifndef DAYBOOK_SERVER_BACKUP_INT_H
#define DAYBOOK_SERVER_BACKUP_INT_H

#include <stddef.h>
#include <stdint.h>

#define HEADER_BYTES 40
#define HEAD_BYTES   40 /* of a frame */
#define HASH_BYTES   32
#define END_BYTES    (16 + HASH_BYTES)
#define KIND_RECORDS 0x31434552u /* "REC1" */
#define KIND_END     0x31444e45u /* "END1" */

/* A frame holds one record at least, and that may be large. */
#define FRAME_BYTES_MAX  ((size_t)300 << 20)
#define PACKED_BYTES_MAX (FRAME_BYTES_MAX + ((size_t)1 << 20))

static const uint8_t BACKUP_MAGIC[8] = {'D', 'A', 'Y', 'B', 'K', 'U', 'P', '\n'};

#endif
