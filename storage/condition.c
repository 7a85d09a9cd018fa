/* condition: dynamic consistency boundaries. Has anything happened that the writer had to know?
 *
 * An item of a condition is a read of the log from the condition's position on: a union of types
 * and each tag by itself as dimensions of a leapfrog (read.c). So it costs what those lists have
 * after that position, a few lookups as a rule, and nothing of it depends on the length of the log.
 * What is found is confirmed by names, never by hashes.
 *
 * The one costly case is lists that are long after the position and have hardly an event in common;
 * since all other writers wait meanwhile, it is given up after PORTIONS_MAX portions. */
#include "commit_int.h"

/* ERR_FULL comes after some 20,000 steps, a few milliseconds. */
#define PORTIONS_MAX 4

/* The first position after `after` that matches; 0: none does. ERR_FULL: *portions are used up. */
static err_t find_match(struct committer *w, const struct condition_item *item, uint64_t after,
                        unsigned *portions, uint64_t *ret)
{
    struct store_query q = {.from = after,
                            .filter = {.types = item->types,
                                       .type_count = item->type_count,
                                       .all_tags = item->tags,
                                       .all_tag_count = item->tag_count}};
    struct store_read *read;
    struct store_record record = {0};
    err_t err = store_read_open(&w->view, &q, &read);
    if (err != ERR_OK) {
        return err;
    }
    do {
        err = store_read_next(read, &record);
    } while (err == ERR_FULL && --*portions > 0);
    store_read_close(read);
    *ret = err == ERR_OK ? record.position : 0;
    return err == ERR_END ? ERR_OK : err;
}

err_t condition_judge(struct committer *w, struct command *c, bool *ret_too_broad)
{
    unsigned portions = PORTIONS_MAX;
    *ret_too_broad = false;
    for (size_t i = 0; i < c->item_count && portions > 0; i++) {
        uint64_t position;
        err_t err = find_match(w, &c->items[i], c->condition_after, &portions, &position);
        if (err == ERR_OK && position > 0) {
            err = command_add_condition_violation(c, i, position);
        }
        *ret_too_broad = err == ERR_FULL;
        if (err != ERR_OK && err != ERR_FULL) {
            return err;
        }
    }
    return ERR_OK;
}
