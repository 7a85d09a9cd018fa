/* image: see image.h. An object is a file's content, whatever its name; names are a list that
 * points to objects. */
#include "tests/crash/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "tests/unit/support.h"

#define SECTOR_BYTES 512
#define OBJECTS_MAX  1024
#define PENDING_MAX  4096
#define NAMES_MAX    256
#define NO_OBJECT    UINT32_MAX /* of a directory */

struct object {
    uint8_t *p;    /* what is durable, `size` bytes */
    uint64_t size; /* durable */
    uint64_t cap;
};

struct name {
    char path[RECORD_PATH_MAX];
    uint32_t object;
};

struct names {
    struct name items[NAMES_MAX];
    size_t n;
};

struct image {
    struct object objects[OBJECTS_MAX];
    struct names names; /* durable */
    /* In the order of the record: writes and sizes, and changes of names. */
    const struct record_entry *writes[PENDING_MAX];
    size_t write_count;
    const struct record_entry *changes[PENDING_MAX];
    size_t change_count;
};

struct image *image_new(void)
{
    struct image *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    return m;
}

void image_free(struct image *m)
{
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        free(m->objects[i].p);
    }
    free(m);
}

uint64_t image_pending(const struct image *m)
{
    uint64_t n = m->change_count;
    for (size_t i = 0; i < m->write_count; i++) {
        n += m->writes[i]->op == RECORD_WRITE ? m->writes[i]->n : 1;
    }
    return n;
}

/* ---- contents ---- */

static void resize(struct object *o, uint64_t size)
{
    if (size > o->cap) {
        uint64_t cap = size > o->cap * 2 ? size : o->cap * 2;
        o->p = realloc(o->p, cap);
        CHECK(o->p != NULL);
        o->cap = cap;
    }
    if (size > o->size) {
        memset(o->p + o->size, 0, size - o->size);
    }
    o->size = size;
}

/* The part of a write that lies in bytes [from, to). */
static void copy_part(struct object *o, const struct record_entry *e, uint64_t from, uint64_t to)
{
    from = from > e->at ? from : e->at;
    to = to < e->at + e->n ? to : e->at + e->n;
    if (from < to) {
        if (to > o->size) {
            resize(o, to);
        }
        memcpy(o->p + from, record_data(e) + (from - e->at), to - from);
    }
}

static void apply_whole(struct object *o, const struct record_entry *e)
{
    if (e->op == RECORD_SIZE) {
        resize(o, e->at);
    } else {
        copy_part(o, e, 0, UINT64_MAX);
    }
}

static bool overlaps(const struct record_entry *a, const struct record_entry *b)
{
    return a->op == RECORD_WRITE && a->at < b->at + b->n && b->at < a->at + a->n;
}

/* Makes pending writes of an object durable: all of them, or those that `range` overlaps. */
static void settle(struct image *m, uint32_t object, const struct record_entry *range)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->write_count; i++) {
        const struct record_entry *e = m->writes[i];
        if (e->object == object && (range == NULL || overlaps(e, range))) {
            apply_whole(&m->objects[object], e);
        } else {
            m->writes[kept++] = e;
        }
    }
    m->write_count = kept;
}

/* ---- names ---- */

static struct name *find_name(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            return &names->items[i];
        }
    }
    return NULL;
}

static void remove_name(struct names *names, const char *path)
{
    struct name *name = find_name(names, path);
    if (name != NULL) {
        *name = names->items[--names->n];
    }
}

static void put_name(struct names *names, const char *path, uint32_t object)
{
    remove_name(names, path);
    CHECK(names->n < NAMES_MAX);
    struct name *name = &names->items[names->n++];
    memcpy(name->path, path, RECORD_PATH_MAX);
    name->object = object;
}

/* A directory takes what is in it along. */
static void rename_all(struct names *names, const char *from, const char *to)
{
    size_t n = strlen(from);
    remove_name(names, to);
    for (size_t i = 0; i < names->n; i++) {
        char *path = names->items[i].path, moved[RECORD_PATH_MAX * 2];
        if (strncmp(path, from, n) == 0 && (path[n] == '/' || path[n] == '\0')) {
            int length = snprintf(moved, sizeof moved, "%s%s", to, path + n);
            CHECK(length > 0 && length < RECORD_PATH_MAX);
            memcpy(path, moved, (size_t)length + 1);
        }
    }
}

static void change_names(struct names *names, const struct record_entry *e)
{
    if (e->op == RECORD_CREATE || e->op == RECORD_MKDIR) {
        put_name(names, e->path, e->op == RECORD_MKDIR ? NO_OBJECT : e->object);
    } else if (e->op == RECORD_UNLINK) {
        remove_name(names, e->path);
    } else if (find_name(names, e->path) != NULL) { /* else its creation was lost */
        rename_all(names, e->path, e->to);
    }
}

static bool is_change(const struct record_entry *e)
{
    return e->op == RECORD_CREATE || e->op == RECORD_MKDIR || e->op == RECORD_RENAME ||
           e->op == RECORD_UNLINK;
}

/* Whether `path` lies directly in the directory `dir`. */
static bool is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    const char *rest = n == 0 ? path : path + n + 1;
    return (n == 0 || (strncmp(path, dir, n) == 0 && path[n] == '/')) && strchr(rest, '/') == NULL;
}

static void settle_names(struct image *m, const char *dir)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->change_count; i++) {
        const struct record_entry *e = m->changes[i];
        if (is_in(e->path, dir)) {
            change_names(&m->names, e);
        } else {
            m->changes[kept++] = e;
        }
    }
    m->change_count = kept;
}

/* ---- walking the record ---- */

void image_begin_entry(struct image *m, const struct record_entry *e)
{
    CHECK(m->write_count < PENDING_MAX && m->change_count < PENDING_MAX);
    CHECK(e->object < OBJECTS_MAX);
    if (e->op == RECORD_WRITE || e->op == RECORD_SIZE) {
        m->writes[m->write_count++] = e;
    } else if (is_change(e)) {
        m->changes[m->change_count++] = e;
    }
}

void image_end_entry(struct image *m, const struct record_entry *e)
{
    if (e->op == RECORD_SYNC) {
        settle(m, e->object, NULL);
    } else if (e->op == RECORD_SYNC_DIR) {
        settle_names(m, e->path);
    } else if (e->op == RECORD_WRITE && e->synced) {
        settle(m, e->object, e);
    }
}

/* ---- one possible content ---- */

struct chooser {
    const struct image *m;
    enum image_choice choice;
    uint64_t *random;
};

static bool keeps_sector(const struct chooser *c)
{
    switch (c->choice) {
    case IMAGE_ALL:
    case IMAGE_LAST:
    case IMAGE_WRITES:
        return true;
    case IMAGE_SECTORS:
        return test_below(c->random, 2) == 0;
    case IMAGE_FEW:
        return test_below(c->random, 10) == 0;
    case IMAGE_MOST:
        return test_below(c->random, 10) != 0;
    case IMAGE_NONE:
    case IMAGE_CHOICES:
        break;
    }
    return false;
}

static bool keeps_write(const struct chooser *c, const struct record_entry *e)
{
    return c->choice == IMAGE_WRITES ? test_below(c->random, 2) == 0
           : c->choice == IMAGE_LAST ? e == c->m->writes[c->m->write_count - 1]
                                     : c->choice != IMAGE_NONE;
}

/* A sector that reached the device when the i-th write was done holds what the earlier ones put
 * there too. */
static void keep_sectors(const struct chooser *c, struct object *o, size_t i)
{
    const struct image *m = c->m;
    const struct record_entry *e = m->writes[i];
    for (uint64_t at = e->at & ~(uint64_t)(SECTOR_BYTES - 1); at < e->at + e->n;
         at += SECTOR_BYTES) {
        if (!keeps_sector(c)) {
            continue;
        }
        for (size_t k = 0; k <= i; k++) {
            if (m->writes[k]->op == RECORD_WRITE && m->writes[k]->object == e->object) {
                copy_part(o, m->writes[k], at, at + SECTOR_BYTES);
            }
        }
    }
}

/* The file may be as long as any pending change has made it. */
static void keep_size(const struct chooser *c, struct object *o, const struct record_entry *e)
{
    uint64_t size = e->op == RECORD_SIZE ? e->at : e->at + e->n;
    bool kept =
        c->choice == IMAGE_ALL || (c->choice != IMAGE_NONE && test_below(c->random, 2) == 0);
    if (kept && (size > o->size || e->op == RECORD_SIZE)) {
        resize(o, size);
    }
}

static void content_of(const struct chooser *c, uint32_t object, struct object *ret)
{
    const struct object *durable = &c->m->objects[object];
    *ret = (struct object){0};
    resize(ret, durable->size);
    if (durable->size > 0) {
        memcpy(ret->p, durable->p, durable->size);
    }
    for (size_t i = 0; i < c->m->write_count; i++) {
        const struct record_entry *e = c->m->writes[i];
        if (e->object != object) {
            continue;
        }
        keep_size(c, ret, e);
        if (e->op == RECORD_WRITE && keeps_write(c, e)) {
            keep_sectors(c, ret, i);
        }
    }
}

static void names_of(const struct chooser *c, bool any, struct names *ret)
{
    *ret = c->m->names;
    size_t end = c->m->change_count;
    if (!any && c->choice != IMAGE_ALL) {
        end = c->choice == IMAGE_NONE ? 0 : (size_t)test_below(c->random, end + 1);
    }
    for (size_t i = 0; i < end; i++) {
        if (!any || test_below(c->random, 2) == 0) {
            change_names(ret, c->m->changes[i]);
        }
    }
}

/* A directory stands in the list before what is in it. Where its own entry was lost, all in it
 * is. */
static void write_name(const struct chooser *c, const char *dir, const struct name *name)
{
    char path[TEST_PATH_MAX], parent[TEST_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name->path);
    memcpy(parent, path, sizeof path);
    *strrchr(parent, '/') = '\0';
    if (access(parent, F_OK) != 0) {
        return;
    }
    if (name->object == NO_OBJECT) {
        assert_int_equal(mkdir(path, 0700), 0);
        return;
    }
    struct object o;
    content_of(c, name->object, &o);
    test_file_write(path, o.p, o.size);
    free(o.p);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

void image_write(const struct image *m, const char *dir, enum image_choice choice, bool any_names,
                 uint64_t *random)
{
    struct chooser c = {m, choice, random};
    struct names names;
    names_of(&c, any_names, &names);
    qsort(names.items, names.n, sizeof names.items[0], compare_names);
    for (size_t i = 0; i < names.n; i++) {
        write_name(&c, dir, &names.items[i]);
    }
}
