/* copy_in: records into a new store.
 *
 * First comes a file that says "unfinished", synced; then the LMDB environment with the log's rows
 * alone; opening the store builds the index as after a reindex; the file goes last. So a crash or a
 * kill at any point leaves a directory that no server takes for a store. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/copy.h"
#include "storage/create.h"
#include "storage/hide.h"
#include "storage/log.h"
#include "storage/record.h"

#define UNFINISHED     "unfinished-restore"
#define STEP_BYTES     ((size_t)16 << 20)
#define COMMAND_MEMORY ((size_t)16 << 10)

struct copy_target {
    struct kv *kv;
    struct kv_txn *txn; /* NULL: none is open */
    size_t bytes;       /* put into it */
    uint64_t position;
    char dir[PATH_MAX];
};

static bool unfinished_path(const char *dir, char ret[PATH_MAX])
{
    int n = snprintf(ret, PATH_MAX, "%s/" UNFINISHED, dir);
    return n > 0 && n < PATH_MAX;
}

bool copy_is_unfinished(const char *dir)
{
    char path[PATH_MAX];
    return unfinished_path(dir, path) && access(path, F_OK) == 0;
}

static err_t mark_unfinished(const char *dir, struct err_text *et)
{
    static const char TEXT[] =
        "daybook restore has not finished: remove this directory and restore "
        "again\n";
    char path[PATH_MAX];
    if (!unfinished_path(dir, path)) {
        return err_set(et, ERR_INVALID, "the path of the data directory is too long");
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, TEXT, sizeof TEXT - 1) == sizeof TEXT - 1 && fsync(fd) == 0;
    int code = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    err_t err = ok ? create_sync_dir(dir) : err_from_errno(code);
    return err == ERR_OK ? err : err_set(et, err, "cannot write %s: %s", path, strerror(code));
}

err_t copy_mark_whole(const char *dir)
{
    char path[PATH_MAX];
    if (!unfinished_path(dir, path)) {
        return ERR_INVALID;
    }
    return unlink(path) == 0 ? create_sync_dir(dir) : err_from_errno(errno);
}

err_t copy_open(const struct store_options *options, struct copy_target **ret, struct err_text *et)
{
    struct copy_target *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return ERR_MEMORY;
    }
    char path[PATH_MAX];
    (void)snprintf(t->dir, sizeof t->dir, "%s", options->dir);
    struct store_options made = *options;
    made.map_bytes = made.map_bytes == 0 ? STORE_MAP_BYTES : made.map_bytes;
    err_t err = mark_unfinished(t->dir, et);
    if (err == ERR_OK) {
        err = create_environment(&made, et);
    }
    int n = snprintf(path, sizeof path, "%s/store", options->dir);
    if (err == ERR_OK && (n < 0 || (size_t)n >= sizeof path)) {
        err = ERR_INVALID;
    }
    if (err == ERR_OK) {
        err = kv_open(path, made.map_bytes, false, &t->kv, et);
    }
    if (err != ERR_OK) {
        free(t);
        return err;
    }
    *ret = t;
    return ERR_OK;
}

static err_t end_step(struct copy_target *t)
{
    struct kv_txn *txn = t->txn;
    t->txn = NULL;
    t->bytes = 0;
    return txn == NULL ? ERR_OK : kv_commit(txn);
}

/* As many as one block of the log takes. */
static err_t put_some(struct copy_target *t, uint64_t first, uint32_t n, struct bytes *records,
                      uint32_t *ret_taken)
{
    const uint8_t *each[LOG_BLOCK_RECORDS_MAX];
    uint32_t count = n < LOG_BLOCK_RECORDS_MAX ? n : LOG_BLOCK_RECORDS_MAX;
    const uint8_t *p = records->p;
    size_t bytes;
    for (uint32_t i = 0; i < count; i++) {
        each[i] = p;
        p += record_size(p);
    }
    err_t err = t->txn == NULL ? kv_begin(t->kv, true, &t->txn) : ERR_OK;
    if (err == ERR_OK) {
        err = log_append(t->txn, first, each, count, ret_taken, &bytes);
    }
    if (err != ERR_OK) {
        return err;
    }
    const uint8_t *end = *ret_taken < count ? each[*ret_taken] : p;
    t->bytes += (size_t)(end - records->p);
    *records = bytes_of(end, records->n - (size_t)(end - records->p));
    return t->bytes < STEP_BYTES ? ERR_OK : end_step(t);
}

err_t copy_put(struct copy_target *t, uint64_t first, uint32_t n, struct bytes records)
{
    if (first != t->position + 1) {
        return ERR_CORRUPT;
    }
    while (n > 0) {
        uint32_t taken = 0;
        err_t err = put_some(t, first, n, &records, &taken);
        if (err != ERR_OK) {
            return err;
        }
        first += taken;
        n -= taken;
        t->position += taken;
    }
    return ERR_OK;
}

err_t copy_close(struct copy_target *take_t, int64_t clock_us)
{
    struct copy_target *t = take_t;
    err_t err = t->txn == NULL ? kv_begin(t->kv, true, &t->txn) : ERR_OK;
    if (err == ERR_OK) {
        err = meta_put(t->txn, META_CLOCK, (uint64_t)clock_us);
    }
    if (err == ERR_OK) {
        err = end_step(t);
    } else if (t->txn != NULL) {
        kv_abort(t->txn);
    }
    kv_close(t->kv);
    free(t);
    return err;
}

/* ---- what is gone for a reason that is not in the log ---- */

struct cut {
    struct cut *next;
    struct bytes stream;
    uint64_t revision; /* the highest one that is gone */
};

struct cuts {
    struct arena arena;
    struct map by_stream;
    struct cut *first;
};

static err_t note_cut(struct cuts *c, struct bytes body)
{
    struct record_head head;
    err_t err = record_peek(body, &head);
    struct cut *cut = err == ERR_OK ? map_get(&c->by_stream, head.stream) : NULL;
    if (err == ERR_OK && cut == NULL) {
        cut = arena_alloc(&c->arena, sizeof *cut);
        err = cut == NULL ? ERR_MEMORY : arena_copy(&c->arena, head.stream, &cut->stream);
        if (err == ERR_OK) {
            err = map_add(&c->by_stream, cut->stream, cut);
        }
        if (err == ERR_OK) {
            cut->next = c->first;
            cut->revision = 0;
            c->first = cut;
        }
    }
    if (err == ERR_OK && head.revision > cut->revision) {
        cut->revision = head.revision;
    }
    return err;
}

static err_t find_cuts(struct store *s, struct cuts *c)
{
    struct store_view *v;
    err_t err = store_view_open(s, &v);
    if (err != ERR_OK) {
        return err;
    }
    for (uint64_t p = 1; p <= store_view_position(v) && err == ERR_OK; p++) {
        struct bytes body;
        uint32_t flags;
        bool hidden = true;
        err = view_record(v, p, &body, &flags);
        if (err == ERR_OK && (flags & RECORD_GONE) != 0) {
            err = view_hides(v, body, 0, &hidden);
        }
        if (err == ERR_OK && !hidden) {
            err = note_cut(c, body);
        }
    }
    store_view_close(v);
    return err;
}

/* Makes room in the tail where it is full. */
static err_t commit(struct store *s, struct command *c, int64_t now_us)
{
    err_t err = store_commit(s, &c, 1, now_us);
    while (err == ERR_FULL) {
        bool more = true;
        err_t applied = ERR_OK;
        while (more && applied == ERR_OK) {
            applied = store_apply(s, true, &more);
        }
        err = applied == ERR_OK ? store_commit(s, &c, 1, now_us) : applied;
    }
    return err;
}

static err_t truncate_stream(struct store *s, const struct cut *cut, int64_t now_us,
                             void (*make_id)(uint8_t id[UUID_BYTES]))
{
    uint8_t id[UUID_BYTES];
    const struct life_change change = {.set_truncate_before = true,
                                       .truncate_before = cut->revision + 1};
    struct command *c = command_new(COMMAND_MEMORY);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    make_id(id);
    err_t err = command_set_metadata(c, cut->stream, (struct expectation){EXPECT_ANY, 0}, &change,
                                     bytes_of(id, sizeof id));
    if (err == ERR_OK) {
        err = commit(s, c, now_us);
    }
    if (err == ERR_OK && command_verdict(c) != VERDICT_COMMITTED) {
        err = command_verdict(c) == VERDICT_FAILED ? command_error(c) : ERR_CORRUPT;
    }
    command_free(c);
    return err;
}

err_t copy_settle(struct store *s, int64_t now_us, void (*make_id)(uint8_t id[UUID_BYTES]),
                  uint64_t *ret_streams)
{
    struct cuts cuts = {.first = NULL};
    arena_init(&cuts.arena, (size_t)64 << 10, SIZE_MAX / 2);
    map_init(&cuts.by_stream);
    *ret_streams = 0;
    err_t err = find_cuts(s, &cuts);
    for (const struct cut *cut = cuts.first; cut != NULL && err == ERR_OK; cut = cut->next) {
        err = truncate_stream(s, cut, now_us, make_id);
        *ret_streams += err == ERR_OK;
    }
    map_done(&cuts.by_stream);
    arena_done(&cuts.arena);
    return err;
}
