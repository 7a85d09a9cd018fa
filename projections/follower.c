/* follower: a copied query, a checkpoint, and a loop over store_read_next. */
#include "projections/follower.h"

#include "storage/base/check.h"

#include <stdlib.h>

struct follower {
    struct store_query *query; /* its `from` is the checkpoint */
};

static err_t hand_over(struct follower *f, struct store_read *read,
                       const struct follower_limits *limits, follower_each each, void *ctx);

err_t follower_new(const struct store_query *query, struct follower **ret)
{
    CHECK(!query->backward);
    struct follower *f = malloc(sizeof *f);
    if (f == NULL) {
        return ERR_MEMORY;
    }
    err_t err = store_query_copy(query, &f->query);
    if (err != ERR_OK) {
        free(f);
        return err;
    }
    *ret = f;
    return ERR_OK;
}

void follower_free(struct follower *f)
{
    if (f != NULL) {
        free(f->query);
        free(f);
    }
}

const struct store_query *follower_query(const struct follower *f)
{
    return f->query;
}

uint64_t follower_checkpoint(const struct follower *f)
{
    return f->query->from;
}

void follower_seek(struct follower *f, uint64_t checkpoint)
{
    f->query->from = checkpoint;
}

err_t follower_next(struct follower *f, struct store_view *v, const struct follower_limits *limits,
                    follower_each each, void *ctx, bool *ret_caught_up)
{
    struct store_read *read;
    err_t err = store_read_open(v, f->query, &read);
    if (err != ERR_OK) {
        return err;
    }
    err = hand_over(f, read, limits, each, ctx);
    store_read_close(read);
    bool caught_up = err == ERR_END;
    if (err != ERR_OK && err != ERR_END && err != ERR_FULL) {
        return err;
    }
    *ret_caught_up = caught_up;
    return ERR_OK;
}

/* The checkpoint never goes back: a follower may stand behind the end of the log, waiting for what
 * comes after its place. */
static void move_to(struct follower *f, uint64_t place)
{
    f->query->from = place > f->query->from ? place : f->query->from;
}

/* ERR_OK or ERR_FULL: there may be more; ERR_END: there is not. */
static err_t hand_over(struct follower *f, struct store_read *read,
                       const struct follower_limits *limits, follower_each each, void *ctx)
{
    size_t events = 0;
    size_t bytes = 0;
    err_t err = ERR_OK;
    while (err == ERR_OK && (limits->events == 0 || events < limits->events) &&
           (limits->bytes == 0 || bytes < limits->bytes)) {
        struct store_record record;
        err = store_read_next(read, &record);
        if (err == ERR_OK) {
            err = each(ctx, &record);
            CHECK(err != ERR_END);
            events++;
            bytes += record.body.n;
        }
        uint64_t place = store_read_place(read);
        bool passed = err == ERR_OK || err == ERR_FULL || err == ERR_END;
        move_to(f, passed || place == 0 ? place : place - 1);
    }
    return err;
}
