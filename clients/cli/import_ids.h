/* import_ids: the ids of events whose lines have none: made from what the line says, so that
 * reading the same file again gives the same ids and the server knows the events.
 *
 * Equal lines are told apart by counting them: the second gets another id than the first. So a file
 * may grow at its end between two imports; lines that come to stand before equal ones shift nothing
 * either, since equal lines are interchangeable. One thread. Takes about 40 bytes a line. */
#ifndef DAYBOOK_CLI_IMPORT_IDS_H
#define DAYBOOK_CLI_IMPORT_IDS_H

#include "import_line.h"

struct import_ids;

/* NULL: no memory. */
struct import_ids *import_ids_new(void);
void import_ids_free(struct import_ids *ids);

/* A UUID version 8 out of BLAKE2b over every field of the event (the line's own blanks and order of
 * members do not matter, the bytes of data and metadata do) and the number of events before it that
 * were equal. False: no memory. */
bool import_ids_make(struct import_ids *ids, const struct import_event *event, uint8_t ret[16]);

/* Counts the stream in; import_ids_streams says how many different ones there were. False: no
 * memory. */
bool import_ids_add_stream(struct import_ids *ids, const char *stream);
uint64_t import_ids_streams(const struct import_ids *ids);

#endif
