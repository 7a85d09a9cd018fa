/* index: from a generation's lists to rows of KV_NAMES and KV_POSTINGS. */
#include "index.h"

#include <stdlib.h>

#include "storage/posting.h"
#include "storage/record.h"
#include "storage/store_int.h"

/* One step's transaction stays at a few MiB of changed pages: each name changes about two. */
#define STEP_NAMES     512
#define STEP_POSITIONS 65536

/* ---- taking the names ---- */

static int compare_lists(const void *a, const void *b)
{
    const struct tail_list *x = *(struct tail_list *const *)a, *y = *(struct tail_list *const *)b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return bytes_compare(x->name, y->name);
}

err_t index_job_init(struct index_job *job, const struct tail_generation *g)
{
    size_t n = 0;
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        n += g->names[kind].n;
    }
    *job = (struct index_job){.lists = malloc((n + 1) * sizeof *job->lists)};
    if (job->lists == NULL) {
        return ERR_MEMORY;
    }
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        size_t at = 0;
        for (struct tail_list *list; (list = map_next(&g->names[kind], &at)) != NULL;) {
            if (atomic_load(&list->n) > 0) {
                job->lists[job->n++] = list;
            }
        }
    }
    if (job->n > 0) {
        qsort(job->lists, job->n, sizeof *job->lists, compare_lists);
    }
    return ERR_OK;
}

void index_job_done(struct index_job *job)
{
    free(job->lists);
    *job = (struct index_job){0};
}

/* ---- posting one name ---- */

static err_t put_block(struct kv_txn *txn, enum name_kind kind, uint64_t id,
                       const struct posting_block *b)
{
    uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
    size_t n = posting_encode(b, kind, value);
    return kv_put(txn, KV_POSTINGS, posting_key(kind, id, b->ordinal, key), bytes_of(value, n));
}

/* Extends the last block of a name that has a row. */
static err_t extend_last_block(struct kv_txn *txn, enum name_kind kind, const struct name_row *name,
                               const struct posting_run *run, size_t *ret_taken)
{
    struct kv_cursor *cursor;
    err_t err = kv_cursor_open(txn, KV_POSTINGS, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t key[POSTING_KEY_BYTES], value[POSTING_BYTES_MAX];
    struct posting_extended extended = {0};
    struct kv_row row;
    err = kv_seek_back(cursor, posting_key(kind, name->id, UINT64_MAX, key), &row);
    if (err == ERR_END || (err == ERR_OK && !posting_key_is(row.key, kind, name->id))) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        err = posting_extend(&row, kind, name->last, run, value, &extended);
    }
    if (err == ERR_OK && extended.taken > 0) {
        memcpy(key, row.key.p, sizeof key); /* the row itself does not survive the put */
        err = kv_put(txn, KV_POSTINGS, bytes_of(key, sizeof key), bytes_of(value, extended.bytes));
    }
    kv_cursor_close(cursor);
    *ret_taken = extended.taken;
    return err;
}

/* A new block with as many of `run` as it takes. */
static err_t add_block(struct kv_txn *txn, enum name_kind kind, const struct name_row *name,
                       const struct posting_run *run, size_t *ret_taken)
{
    struct posting_block b;
    size_t n = 0;
    posting_start(&b, kind == NAME_STREAM ? name->count + 1 : run->positions[0]);
    while (n < run->n &&
           posting_add(&b, kind, run->positions[n], run->prints == NULL ? 0 : run->prints[n])) {
        n++;
    }
    *ret_taken = n;
    return put_block(txn, kind, name->id, &b);
}

/* Puts list[from … n) behind what the name has: fills its last block up, then adds new ones. */
static err_t post_positions(struct kv_txn *txn, const struct tail_list *list, size_t from, size_t n,
                            struct name_row *row)
{
    bool extend = row->id != 0;
    if (!extend) {
        row->id = names_id(list->positions[from], list->tag);
        row->first = list->positions[from];
    }
    while (from < n) {
        struct posting_run run = {.positions = list->positions + from,
                                  .prints = list->prints == NULL ? NULL : list->prints + from,
                                  .n = n - from};
        size_t taken;
        err_t err = extend ? extend_last_block(txn, list->kind, row, &run, &taken)
                           : add_block(txn, list->kind, row, &run, &taken);
        if (err != ERR_OK) {
            return err;
        }
        extend = false;
        from += taken;
        row->count += taken;
        row->last = taken > 0 ? list->positions[from - 1] : row->last;
    }
    return ERR_OK;
}

static err_t count_stream(struct kv_txn *txn)
{
    uint64_t streams;
    err_t err = meta_get(txn, META_STREAMS, &streams);
    return err == ERR_OK ? meta_put(txn, META_STREAMS, streams + 1) : err;
}

static err_t post_name(struct kv_txn *txn, const struct tail_list *list)
{
    struct name_row row;
    err_t err = names_get(txn, list->kind, list->name, &row);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        return err;
    }
    bool fresh = err == ERR_NOT_FOUND;
    size_t n = atomic_load(&list->n);
    /* What an interrupted run has posted already is skipped. */
    size_t from = posting_search(list->positions, n, row.last + 1);
    if (from == n) {
        return ERR_OK;
    }
    err = post_positions(txn, list, from, n, &row);
    if (err == ERR_OK) {
        err = names_put(txn, list->kind, list->name, &row);
    }
    bool counts = fresh && list->kind == NAME_STREAM && !event_name_is_system(list->name);
    if (err == ERR_OK && counts) {
        err = count_stream(txn);
    }
    return err;
}

err_t index_job_step(struct index_job *job, struct kv_txn *txn)
{
    size_t names = 0, positions = 0, at = job->at;
    while (at < job->n && names < STEP_NAMES && positions < STEP_POSITIONS) {
        err_t err = post_name(txn, job->lists[at]);
        if (err != ERR_OK) {
            return err;
        }
        names++;
        positions += atomic_load(&job->lists[at]->n);
        at++;
    }
    job->at = at;
    return ERR_OK;
}

/* ---- adding one event's names to a generation ---- */

static err_t add_name(struct tail *t, enum name_kind kind, struct bytes name, uint64_t position)
{
    struct tail_list *list = tail_list_get(t, kind, name, 0);
    return list == NULL ? ERR_MEMORY : tail_list_add(t, list, position, 0);
}

static err_t add_tag(struct tail *t, const struct event *event, uint32_t i)
{
    struct tail_list *list = tail_list_get(t, NAME_TAG, event->tags[i], 0);
    if (list == NULL) {
        return ERR_MEMORY;
    }
    if (atomic_load_explicit(&list->n, memory_order_relaxed) == 0) {
        list->tag = i;
    }
    return tail_list_add(t, list, event->position, 0);
}

/* A tag that comes twice in one event counts once. */
static bool tag_is_repeated(const struct event *event, uint32_t i)
{
    for (uint32_t j = 0; j < i; j++) {
        if (bytes_equal(event->tags[i], event->tags[j])) {
            return true;
        }
    }
    return false;
}

err_t index_add_event(struct tail *t, const struct event *event, uint64_t base)
{
    struct tail_list *stream = tail_list_get(t, NAME_STREAM, event->stream, base);
    if (stream == NULL) {
        return ERR_MEMORY;
    }
    bool gone = event->type.n == 0; /* reclaim leaves it its place in the stream, nothing else */
    uint16_t print = gone ? 0 : record_id_print(event->id.p);
    err_t err = tail_list_add(t, stream, event->position, print);
    if (gone) {
        return err;
    }
    struct bytes category = event_category(event->stream);
    /* A stream that starts with '-' is in no category: the empty text is no name. */
    if (err == ERR_OK && category.n > 0) {
        err = add_name(t, NAME_CATEGORY, category, event->position);
    }
    if (err == ERR_OK) {
        err = add_name(t, NAME_TYPE, event->type, event->position);
    }
    for (uint32_t i = 0; i < event->tag_count && err == ERR_OK; i++) {
        if (!tag_is_repeated(event, i)) {
            err = add_tag(t, event, i);
        }
    }
    return err;
}
