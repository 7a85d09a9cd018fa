/* verify: walks everything and says what is wrong.
 *
 * First pass, along the log in portions: every record's checksum, gapless positions, and for each
 * name in the portion that its posting list has exactly those positions (for streams: that the
 * revision in the record is the place in the list). Second pass, along the directory: every name's
 * row agrees with its blocks; and along the lives and redactions (verify_life.c). That the index
 * has nothing which the log lacks follows from the totals of both passes. It works up to the
 * position that was applied when it began, in short read transactions. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/buf.h"
#include "storage/record.h"
#include "storage/verify_int.h"

#define PORTION_EVENTS    65536
#define PAGE_NAMES        512
#define FINDINGS_TOLD_MAX 1000

void verify_find(struct verifier *v, const char *format, ...)
{
    char text[ERR_TEXT_MAX + 300];
    v->report->findings++;
    if (v->options->finding == NULL || v->report->findings > FINDINGS_TOLD_MAX) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    v->options->finding(v->options->ctx, text);
}

static const char *kind_name(enum name_kind kind)
{
    static const char *const NAMES[NAME_KINDS] = {"stream", "category", "type", "tag"};
    return NAMES[kind];
}

/* ---- first pass: the log ---- */

/* One event of a portion into a table of names of our own. */
static err_t check_event(struct verifier *v, struct store_view *view, uint64_t position,
                         struct tail *names)
{
    struct bytes body;
    struct event event;
    uint32_t flags;
    err_t err = view_record(view, position, &body, &flags);
    if (err == ERR_OK) {
        err = record_decode_stored(position, body, flags, &event);
    }
    if (err == ERR_CORRUPT) {
        verify_find(v, "position %" PRIu64 ": the record is damaged", position);
        v->damaged = true;
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    v->report->events++;
    err = verify_event(v, view, &event, body, flags);
    return err == ERR_OK ? index_add_event(names, &event, event.revision - 1) : err;
}

/* The name's list in the store against what the log's portion says: exactly the same positions from
 * the first to `last`. */
static err_t compare_list(struct verifier *v, struct store_view *view, const struct tail_list *list,
                          uint64_t last)
{
    struct source source;
    err_t err = source_open(&source, view, list->kind, list->name);
    uint64_t at = 0;
    if (err == ERR_OK) {
        err = source_seek(&source, list->positions[0], false, &at);
    }
    uint32_t n = atomic_load(&list->n);
    v->in_log[list->kind] += n;
    for (uint32_t i = 0; i < n && err == ERR_OK; i++) {
        bool right = at == list->positions[i] && (list->kind != NAME_STREAM ||
                                                  (source_revision(&source) == list->base + i + 1 &&
                                                   source_print(&source) == list->prints[i]));
        if (!right) {
            err = ERR_CORRUPT;
            break;
        }
        err = source_step(&source, false, &at);
        if (err == ERR_END && i + 1 == n) {
            at = UINT64_MAX;
            err = ERR_OK;
        }
    }
    source_close(&source);
    if (err == ERR_OK && at <= last) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND || err == ERR_END) {
        verify_find(v, "index of %s \"%.*s\": differs from the log near position %" PRIu64,
                    kind_name(list->kind), BYTES_ARGS(list->name), list->positions[0]);
        return ERR_OK;
    }
    return err;
}

static err_t compare_names(struct verifier *v, struct store_view *view, const struct tail *names,
                           uint64_t last)
{
    const struct tail_generation *g = names->generations[0];
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        size_t at = 0;
        for (struct tail_list *list; (list = map_next(&g->names[kind], &at)) != NULL;) {
            err_t err = compare_list(v, view, list, last);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

static err_t check_portion(struct verifier *v, uint64_t first, uint64_t last)
{
    struct store_view *view;
    struct tail names;
    err_t err = tail_init(&names, first, SIZE_MAX / 2);
    if (err != ERR_OK) {
        return err;
    }
    err = store_view_open(v->store, &view);
    if (err == ERR_OK) {
        bool damaged = v->damaged;
        v->damaged = false;
        for (uint64_t p = first; p <= last && err == ERR_OK; p++) {
            err = check_event(v, view, p, &names);
        }
        /* Where a record is gone, what the index should have is not known. */
        if (err == ERR_OK && !v->damaged) {
            err = compare_names(v, view, &names, last);
        }
        v->damaged = v->damaged || damaged;
        store_view_close(view);
    }
    tail_done(&names);
    return err;
}

/* ERR_CLOSED: whoever is told wants it to stop. */
static err_t tell_progress(struct verifier *v, uint64_t done)
{
    bool go_on =
        v->options->progress == NULL || v->options->progress(v->options->ctx, done, v->end);
    return go_on ? ERR_OK : ERR_CLOSED;
}

static err_t check_log(struct verifier *v)
{
    for (uint64_t first = 1; first <= v->end; first += PORTION_EVENTS) {
        uint64_t last = first + PORTION_EVENTS - 1;
        err_t err = check_portion(v, first, last < v->end ? last : v->end);
        if (err != ERR_OK) {
            return err;
        }
        err = tell_progress(v, last < v->end ? last : v->end);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- second pass: the directory ---- */

struct name_walk {
    uint64_t count, first, last; /* positions in the blocks; the ends */
    uint64_t within;             /* those up to verifier.end */
};

/* Adds one block; ERR_CORRUPT where it does not continue the one before. */
static err_t walk_block(const struct verifier *v, const struct posting_block *b,
                        enum name_kind kind, struct name_walk *w)
{
    uint64_t ordinal = kind == NAME_STREAM ? w->count + 1 : b->positions[0];
    if (b->ordinal != ordinal || b->positions[0] <= w->last) {
        return ERR_CORRUPT;
    }
    w->first = w->count == 0 ? b->positions[0] : w->first;
    w->count += b->n;
    w->last = b->positions[b->n - 1];
    w->within += posting_search(b->positions, b->n, v->end + 1);
    return ERR_OK;
}

static err_t walk_blocks(const struct verifier *v, struct store_view *view, enum name_kind kind,
                         uint64_t id, struct name_walk *w)
{
    struct kv_cursor *cursor;
    struct posting_block block;
    struct kv_row row;
    uint8_t key[POSTING_KEY_BYTES];
    err_t err = kv_cursor_open(view->txn, KV_POSTINGS, &cursor);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_seek(cursor, posting_key(kind, id, 0, key), &row);
    while (err == ERR_OK && posting_key_is(row.key, kind, id)) {
        err = posting_decode(&row, kind, &block);
        if (err == ERR_OK) {
            err = walk_block(v, &block, kind, w);
        }
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    kv_cursor_close(cursor);
    return err == ERR_END ? ERR_OK : err;
}

static err_t check_name(struct verifier *v, struct store_view *view, const struct kv_row *row)
{
    enum name_kind kind;
    struct bytes name;
    struct name_row said;
    struct name_walk walk = {0};
    err_t err = names_decode(row, &kind, &name, &said);
    if (err != ERR_OK) {
        verify_find(v, "directory: a row is damaged");
        return err == ERR_CORRUPT ? ERR_OK : err;
    }
    err = walk_blocks(v, view, kind, said.id, &walk);
    if (err != ERR_OK && err != ERR_CORRUPT) {
        return err;
    }
    bool same = walk.count == said.count && walk.first == said.first && walk.last == said.last;
    if (err == ERR_CORRUPT || !same) {
        verify_find(v, "index of %s \"%.*s\": its blocks do not agree with its row",
                    kind_name(kind), BYTES_ARGS(name));
    }
    v->in_index[kind] += walk.within;
    v->report->streams +=
        kind == NAME_STREAM && !event_name_is_system(name) && said.first <= v->end;
    return ERR_OK;
}

/* Pages go on behind the last name: where names go backward there would be no end. */
static bool is_in_order(const struct buf *last, struct bytes key)
{
    return last->n == 0 || bytes_compare(key, buf_bytes(last)) > 0;
}

/* One page of names in one view; the last name's key goes to *key to go on behind it. */
static err_t check_page(struct verifier *v, struct buf *key, bool *ret_more)
{
    struct store_view *view;
    struct kv_cursor *cursor;
    struct kv_row row;
    err_t err = store_view_open(v->store, &view);
    if (err != ERR_OK) {
        return err;
    }
    err = kv_cursor_open(view->txn, KV_NAMES, &cursor);
    if (err != ERR_OK) {
        store_view_close(view);
        return err;
    }
    bool first = key->n == 0;
    err = first ? kv_first(cursor, &row) : kv_seek(cursor, buf_bytes(key), &row);
    if (err == ERR_OK && !first && bytes_equal(row.key, buf_bytes(key))) {
        err = kv_next(cursor, &row);
    }
    size_t n = 0;
    while (err == ERR_OK && n < PAGE_NAMES) {
        if (!is_in_order(key, row.key)) {
            verify_find(v, "directory: its names are not in order");
            err = ERR_END;
            break;
        }
        err = check_name(v, view, &row);
        buf_clear(key);
        buf_put(key, row.key);
        n++;
        if (err == ERR_OK) {
            err = kv_next(cursor, &row);
        }
    }
    *ret_more = err == ERR_OK;
    kv_cursor_close(cursor);
    store_view_close(view);
    err = err == ERR_END ? ERR_OK : err;
    return err == ERR_OK ? buf_status(key) : err;
}

static err_t check_names(struct verifier *v)
{
    struct buf key;
    bool more = true;
    err_t err = ERR_OK;
    buf_init(&key, 1024);
    while (more && err == ERR_OK) {
        err = check_page(v, &key, &more);
        if (err == ERR_OK) {
            err = tell_progress(v, v->end);
        }
    }
    buf_done(&key);
    for (int kind = 0; kind < NAME_KINDS && err == ERR_OK && !v->damaged; kind++) {
        if (v->in_log[kind] != v->in_index[kind]) {
            verify_find(v, "index by %s: it has %" PRIu64 " entries, the log has %" PRIu64,
                        kind_name((enum name_kind)kind), v->in_index[kind], v->in_log[kind]);
        }
    }
    return err;
}

static err_t check_lives(struct verifier *v)
{
    struct store_view *view;
    err_t err = store_view_open(v->store, &view);
    if (err == ERR_OK) {
        err = verify_lives(v, view);
        store_view_close(view);
    }
    return err;
}

/* What is still in memory was checked when it came from a command or from the journal; its records
 * are read again here. */
static err_t check_tail(struct verifier *v)
{
    struct store_view *view;
    err_t err = store_view_open(v->store, &view);
    if (err != ERR_OK) {
        return err;
    }
    for (uint64_t p = v->end + 1; err == ERR_OK && p <= store_view_position(view); p++) {
        struct bytes body;
        struct event event;
        uint32_t flags;
        err = view_record(view, p, &body, &flags);
        if (err == ERR_OK) {
            err = record_decode_stored(p, body, flags, &event);
        }
        if (err == ERR_OK) {
            v->report->events++;
            v->report->streams += event.revision == 1 && !event_name_is_system(event.stream);
        } else if (err == ERR_CORRUPT) {
            verify_find(v, "position %" PRIu64 ": the record is damaged", p);
            err = ERR_OK;
        }
    }
    store_view_close(view);
    return err;
}

err_t store_verify(struct store *s, const struct store_verify_options *options,
                   struct store_verify_report *ret)
{
    *ret = (struct store_verify_report){0};
    struct verifier v = {
        .store = s, .options = options, .report = ret, .end = store_applied_position(s)};
    pthread_mutex_lock(&s->reclaiming);
    err_t err = check_log(&v);
    if (err == ERR_OK) {
        err = check_names(&v);
    }
    if (err == ERR_OK) {
        err = check_lives(&v);
    }
    pthread_mutex_unlock(&s->reclaiming);
    return err == ERR_OK ? check_tail(&v) : err;
}
