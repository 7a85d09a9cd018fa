/* live_document: members that follow one document of a projection: what is read for them, and what
 * they are told.
 *
 * A turn reads the document once, through a reader of the model that serves, and sends it where it
 * is not what was sent last. Between two turns nothing is held and nothing gathers: whoever was
 * slow, or away, gets the newest document and not those in between. A turn comes when the model has
 * moved past what was read (live_models_moved), so who waits costs no reads.
 *
 * The `id` of a message is the model's position when it was read. Who comes back with it gets the
 * document again where it has changed since; and to be safe also where another version of the
 * projection has begun to serve after that position (struct workers_model, `since`). */
#include "server/live_int.h"

#include "server/json.h"
#include "storage/base/check.h"

#include <inttypes.h>
#include <stdlib.h>

#define MESSAGE_SLACK ((size_t)64 << 10)
#define TRIES_MAX     10

/* The document as it is read. */
struct document {
    struct buf json;
    bool there;
    uint64_t changed; /* the position of the last event that changed it */
    uint64_t position;
};

err_t live_watch_new(const struct live_document *document, struct live_watch **ret)
{
    struct live_watch *w = calloc(1, sizeof *w + document->key.n);
    if (w == NULL) {
        return ERR_MEMORY;
    }
    w->workers = document->workers;
    w->projection = document->projection;
    w->min_position = document->min_position;
    w->after = document->after;
    w->bytes_max = document->bytes_max;
    w->key_bytes = document->key.n;
    memcpy(w->key, document->key.p, document->key.n);
    *ret = w;
    return ERR_OK;
}

void live_models_moved(struct live *l)
{
    if (atomic_load(&l->watchers) > 0 && !atomic_exchange(&l->moved, true)) {
        feed_wake(&l->sleeper);
    }
}

static bool has_moved(const struct live_watch *w)
{
    struct workers_model now;
    return !workers_get_model(w->workers, w->projection, &now) || now.version != w->seen.version ||
           now.position > w->seen.position || now.patches != w->seen.patches;
}

/* Makes ready whose model has moved. What moves from now on says so again. */
void live_documents_look(struct live *l)
{
    if (l->now_us < l->pause_until_us || !atomic_exchange(&l->moved, false)) {
        return;
    }
    for (struct live_member *m = l->watching.head, *next; m != NULL; m = next) {
        next = m->next;
        if (has_moved(m->watch)) {
            live_member_ready(l, m);
        }
    }
}

/* ---- reading ---- */

static err_t skip_columns(void *ctx, const char *const *names, unsigned n, uint64_t position)
{
    (void)ctx, (void)names, (void)n, (void)position;
    return ERR_OK;
}

static err_t take_row(void *ctx, const struct sql_value *values, unsigned n)
{
    struct document *d = ctx;
    (void)n;
    buf_put(&d->json, values[0].bytes);
    d->changed = (uint64_t)values[1].integer;
    d->there = true;
    return buf_status(&d->json);
}

static err_t query_document(const struct live_watch *w, struct reader *reader, struct document *ret)
{
    const struct query_argument key = {
        .value = {.kind = SQL_TEXT, .bytes = bytes_of(w->key, w->key_bytes)}};
    const struct query_sink sink = {skip_columns, take_row, ret};
    const struct model_query query = {
        .sql = BYTES_LITERAL("SELECT document, position FROM documents WHERE key = ?"),
        .arguments = &key,
        .argument_count = 1,
        .rows_max = 1,
        .bytes_max = w->bytes_max};
    struct err_text et = {0};
    return reader_query(reader, &query, &sink, &ret->position, &et);
}

/* Through the version that *ret_model tells of; one that is swapped in between is asked for again.
 * ERR_NOT_FOUND: none serves, or it is not yet where the client wants it. ERR_GONE: it was deleted,
 * or has no documents any more. */
static err_t read_document(const struct live_watch *w, struct document *ret,
                           struct workers_model *ret_model)
{
    struct err_text et = {0};
    for (int i = 0; i < TRIES_MAX; i++) {
        struct reader *reader;
        uint64_t version;
        if (!workers_get_model(w->workers, w->projection, ret_model)) {
            return ERR_GONE;
        }
        if (ret_model->version == 0 || ret_model->position < w->min_position) {
            return ERR_NOT_FOUND;
        }
        if (ret_model->kind != &model_document) {
            return ERR_GONE;
        }
        err_t err = workers_take_reader(w->workers, w->projection, &reader, &version, &et);
        if (err == ERR_NOT_FOUND) {
            continue;
        }
        if (err != ERR_OK) {
            return err;
        }
        bool same = version == ret_model->version;
        err = same ? query_document(w, reader, ret) : ERR_OK;
        workers_give_reader(w->workers, w->projection, reader, version);
        if (same) {
            return err;
        }
    }
    return ERR_NOT_FOUND;
}

/* ---- telling ---- */

/* What comes with a connection's first message is decided by what the client has; then by what was
 * sent. That a document is not there is told again in doubt. */
static bool is_news(const struct live_watch *w, const struct document *d)
{
    if (w->told) {
        return w->told_version != w->seen.version || w->told_patches != w->seen.patches ||
               w->told_there != d->there || (d->there && w->told_changed != d->changed);
    }
    bool has_it = w->after > w->seen.since && w->after <= d->position;
    return !has_it || !d->there || d->changed > w->after;
}

static void put_message(struct buf *b, const struct live_watch *w, const struct document *d)
{
    if (!w->told) {
        buf_put_string(b, "retry: 1000\n");
    }
    buf_put_format(b, "id: %" PRIu64 "\n%sdata: {\"key\":", d->position,
                   d->there ? "" : "event: deleted\n");
    buf_put_json_string(b, bytes_of(w->key, w->key_bytes));
    buf_put_string(b, ",\"document\":");
    buf_put(b, d->there ? buf_bytes(&d->json) : BYTES_LITERAL("null"));
    buf_put_format(b, ",\"position\":%" PRIu64 ",\"projection_version\":%" PRIu64 "}\n\n",
                   d->position, w->seen.version);
}

/* A comment, for whoever looks at the bytes; and where there is one the position, so that a client
 * that comes back says so. */
static void put_heartbeat(struct buf *b, uint64_t position)
{
    buf_put_string(b, ": heartbeat\n");
    if (position > 0) {
        buf_put_format(b, "id: %" PRIu64 "\n", position);
    }
    buf_put_byte(b, '\n');
}

static err_t make_chunk(struct live_member *m, const struct document *d, bool news)
{
    struct live_chunk *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_MEMORY;
    }
    c->refs = 1;
    buf_init(&c->data, d->json.n + m->watch->key_bytes * 6 + MESSAGE_SLACK);
    if (news) {
        put_message(&c->data, m->watch, d);
    } else {
        put_heartbeat(&c->data, d->position);
    }
    err_t err = buf_status(&c->data);
    if (err != ERR_OK) {
        live_chunk_unref(c);
        return err;
    }
    m->chunk = c;
    return ERR_OK;
}

/* `ready`: it was read. */
static err_t tell(struct live_member *m, const struct document *d, bool ready)
{
    struct live_watch *w = m->watch;
    bool news = ready && is_news(w, d);
    err_t err = news || m->beat_due ? make_chunk(m, d, news) : ERR_OK;
    m->beat_due = false;
    if (ready) {
        w->told = true;
        w->told_version = w->seen.version;
        w->told_patches = w->seen.patches;
        w->told_there = d->there;
        w->told_changed = d->changed;
    }
    return err;
}

err_t live_document_next(struct live_member *m)
{
    struct live_watch *w = m->watch;
    struct workers_model model;
    struct document d = {0};
    CHECK(m->chunk == NULL);
    buf_init(&d.json, w->bytes_max);
    err_t err = read_document(w, &d, &model);
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        w->seen = model;
        w->seen.position = d.position > model.position ? d.position : model.position;
        err = tell(m, &d, err == ERR_OK);
    }
    buf_done(&d.json);
    return err;
}
