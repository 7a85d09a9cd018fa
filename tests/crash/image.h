/* image: what a power cut may leave of a recorded run.
 *
 * The record is walked entry by entry; at each place the device is known to hold what was synced,
 * and may hold any part of what was not: of un-synced writes each 512-byte sector for itself, in
 * any order; of un-synced changes of names any beginning, or any choice where names need not be
 * kept in order. */
#ifndef DAYBOOK_TESTS_CRASH_IMAGE_H
#define DAYBOOK_TESTS_CRASH_IMAGE_H

#include "tests/crash/record.h"

struct image;

enum image_choice {
    IMAGE_NONE,    /* nothing that is not synced is kept */
    IMAGE_ALL,     /* everything is */
    IMAGE_WRITES,  /* each write whole or not */
    IMAGE_SECTORS, /* each sector by itself */
    IMAGE_FEW,     /* a few sectors */
    IMAGE_MOST,    /* all but a few sectors */
    IMAGE_LAST,    /* the newest write alone */
    IMAGE_CHOICES
};

/* An empty device under the recorded directory. */
struct image *image_new(void);
void image_free(struct image *m);

/* What the entry did is done, not yet synced by itself: a write is pending even where it was a
 * synced one. A power cut "during" the entry is one now. */
void image_begin_entry(struct image *m, const struct record_entry *e);
/* The entry's call has returned. */
void image_end_entry(struct image *m, const struct record_entry *e);

/* Writes one possible content of the device below `dir`, which exists and is empty. `any_names`: of
 * the un-synced changes of names any choice instead of a beginning. */
void image_write(const struct image *m, const char *dir, enum image_choice choice, bool any_names,
                 uint64_t *random);
/* Bytes and changes of names that are pending. */
uint64_t image_pending(const struct image *m);

#endif
