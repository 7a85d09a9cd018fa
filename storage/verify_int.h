/* verify_int: what verify.c and verify_life.c share. */
#ifndef DAYBOOK_STORAGE_VERIFY_INT_H
#define DAYBOOK_STORAGE_VERIFY_INT_H

#include "storage/source.h"

struct verifier {
    struct store *store;
    const struct store_verify_options *options;
    struct store_verify_report *report;
    uint64_t end; /* the last position to look at */
    uint64_t in_log[NAME_KINDS], in_index[NAME_KINDS];
    bool damaged; /* a record could not be read, so the totals say nothing */
};

/* Counts a finding and tells it. */
void verify_find(struct verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One event of the log: what it says of a stream's life is in the table, what is gone may be gone,
 * what is redacted has no data. */
MUST_CHECK err_t verify_event(struct verifier *v, struct store_view *view,
                              const struct event *event, struct bytes body, uint32_t flags);
/* Every row of a life or a redaction has its event. */
MUST_CHECK err_t verify_lives(struct verifier *v, struct store_view *view);

#endif
