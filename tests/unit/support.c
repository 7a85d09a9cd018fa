/* support: see support.h. */
#include "tests/unit/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_DIR      "/dev/shm"
#define MEMORY_FREE_MIN ((uint64_t)1 << 30)

/* ---- directories ---- */

/* Crash tests copy what was written, they cut no power: memory will do, and spares the disk some
 * ten thousand syncs. */
static const char *base_dir(void)
{
    struct statvfs fs;
    const char *chosen = getenv("TMPDIR");
    if (chosen != NULL) {
        return chosen;
    }
    bool roomy = statvfs(MEMORY_DIR, &fs) == 0 && access(MEMORY_DIR, W_OK) == 0 &&
                 (uint64_t)fs.f_bavail * fs.f_frsize > MEMORY_FREE_MIN;
    return roomy ? MEMORY_DIR : "/tmp";
}

void test_dir_make(struct test_dir *d)
{
    int n = snprintf(d->path, sizeof d->path, "%s/daybook-test-XXXXXX", base_dir());
    assert_true(n > 0 && (size_t)n < sizeof d->path - 100);
    assert_non_null(mkdtemp(d->path));
}

const char *test_path(const struct test_dir *d, const char *name, char ret[TEST_PATH_MAX])
{
    int n = snprintf(ret, TEST_PATH_MAX, "%s/%s", d->path, name);
    assert_true(n > 0 && n < TEST_PATH_MAX);
    return ret;
}

/* Calls `each` with the path of every entry of a directory; the folders of a store are one deep. */
static void each_entry(const struct test_dir *d,
                       void (*each)(void *ctx, const char *name, const char *path), void *ctx)
{
    DIR *dir = opendir(d->path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[TEST_PATH_MAX];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(ctx, entry->d_name, test_path(d, entry->d_name, path));
        }
    }
    closedir(dir);
}

static bool is_folder(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return S_ISDIR(st.st_mode);
}

static void remove_file(void *ctx, const char *name, const char *path)
{
    (void)ctx, (void)name;
    assert_int_equal(unlink(path), 0);
}

static void remove_entry(void *ctx, const char *name, const char *path)
{
    if (!is_folder(path)) {
        remove_file(ctx, name, path);
        return;
    }
    struct test_dir folder;
    snprintf(folder.path, sizeof folder.path, "%s", path);
    each_entry(&folder, remove_file, NULL);
    assert_int_equal(rmdir(path), 0);
}

void test_dir_remove(struct test_dir *d)
{
    each_entry(d, remove_entry, NULL);
    assert_int_equal(rmdir(d->path), 0);
}

uint8_t *test_file_read(const char *path, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_n = (size_t)st.st_size;
    return p;
}

void test_file_write(const char *path, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

void test_file_flip(const char *path, uint64_t at, uint8_t mask)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void copy_file(void *ctx, const char *name, const char *path)
{
    char to[TEST_PATH_MAX];
    size_t n;
    if (strcmp(name, "lock.mdb") != 0 && strcmp(name, "lock") != 0) {
        uint8_t *p = test_file_read(path, &n);
        test_file_write(test_path(ctx, name, to), p, n);
        free(p);
    }
}

static void copy_entry(void *ctx, const char *name, const char *path)
{
    struct test_dir from, to;
    if (!is_folder(path)) {
        copy_file(ctx, name, path);
        return;
    }
    snprintf(from.path, sizeof from.path, "%s", path);
    test_path(ctx, name, to.path);
    assert_int_equal(mkdir(to.path, 0700), 0);
    each_entry(&from, copy_file, &to);
}

void test_dir_crash(const struct test_dir *from, struct test_dir *to)
{
    test_dir_make(to);
    each_entry(from, copy_entry, to);
}

struct visit {
    void (*each)(void *ctx, const uint8_t *p, size_t n);
    void *ctx;
};

static void visit_file(void *ctx, const char *name, const char *path)
{
    struct visit *visit = ctx;
    size_t n;
    uint8_t *p = test_file_read(path, &n);
    (void)name;
    visit->each(visit->ctx, p, n);
    free(p);
}

static void visit_entry(void *ctx, const char *name, const char *path)
{
    struct test_dir folder;
    if (!is_folder(path)) {
        visit_file(ctx, name, path);
        return;
    }
    snprintf(folder.path, sizeof folder.path, "%s", path);
    each_entry(&folder, visit_file, ctx);
}

void test_dir_each(const struct test_dir *d, void (*each)(void *ctx, const uint8_t *p, size_t n),
                   void *ctx)
{
    struct visit visit = {.each = each, .ctx = ctx};
    each_entry(d, visit_entry, &visit);
}

struct search {
    const char *bytes;
    bool found;
};

static void search_file(void *ctx, const uint8_t *p, size_t n)
{
    struct search *search = ctx;
    search->found = search->found || memmem(p, n, search->bytes, strlen(search->bytes)) != NULL;
}

bool test_dir_has(const struct test_dir *d, const char *bytes)
{
    struct search search = {.bytes = bytes};
    test_dir_each(d, search_file, &search);
    return search.found;
}

/* ---- random numbers ---- */

uint64_t test_seed(void)
{
    const char *text = getenv("DAYBOOK_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("DAYBOOK_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

uint64_t test_random(uint64_t *state)
{
    uint64_t v = *state += 0x9e3779b97f4a7c15u;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

uint64_t test_below(uint64_t *state, uint64_t limit)
{
    return test_random(state) % limit;
}

/* ---- stores ---- */

struct store_options test_options(const struct test_dir *d)
{
    struct store_options o = {.dir = d->path,
                              .map_bytes = (uint64_t)1 << 28,
                              .segment_bytes = (uint64_t)64 << 10,
                              .tail_bytes_max = (uint64_t)96 << 10};
    memcpy(o.new_store_id, "daybook-tests-id", UUID_BYTES);
    return o;
}

struct store *test_open_with(const struct store_options *options)
{
    struct store *s = NULL;
    struct err_text et = {0};
    err_t err = store_open(options, &s, &et);
    if (err != ERR_OK) {
        fail_msg("store_open: %s: %s", err_name(err), et.text);
    }
    return s;
}

struct store *test_open(const struct test_dir *d)
{
    struct store_options options = test_options(d);
    return test_open_with(&options);
}

void test_apply_all(struct store *s)
{
    bool more = true;
    while (more || store_applied_position(s) < store_position(s)) {
        assert_int_equal(store_apply(s, true, &more), ERR_OK);
    }
}

void test_reclaim_all(struct store *s, int64_t now_us)
{
    bool more = true;
    while (more) {
        assert_int_equal(store_reclaim(s, now_us, &more), ERR_OK);
    }
    assert_false(store_reclaim_is_wanted(s));
}

struct findings {
    const char *wanted;
    bool found, quiet;
};

static void take_finding(void *ctx, const char *text)
{
    struct findings *f = ctx;
    f->found = f->found || (f->wanted != NULL && strstr(text, f->wanted) != NULL);
    if (!f->quiet) {
        print_message("finding: %s\n", text);
    }
}

uint64_t test_verify(struct store *s, const char *wanted, bool *ret_found)
{
    struct findings findings = {.wanted = wanted, .quiet = true};
    struct store_verify_options options = {.finding = take_finding, .ctx = &findings};
    struct store_verify_report report;
    assert_int_equal(store_verify(s, &options, &report), ERR_OK);
    *ret_found = findings.found;
    return report.findings;
}

void test_verify_clean(struct store *s, uint64_t events)
{
    struct findings findings = {0};
    struct store_verify_options options = {.finding = take_finding, .ctx = &findings};
    struct store_verify_report report;
    assert_int_equal(store_verify(s, &options, &report), ERR_OK);
    assert_int_equal(report.findings, 0);
    assert_int_equal(report.events, events);
}

/* ---- commands ---- */

void test_id(uint64_t n, uint8_t ret[UUID_BYTES])
{
    uint64_t state = n;
    bytes_put_u64be(ret, test_random(&state));
    bytes_put_u64be(ret + 8, n);
}

struct command *test_command(void)
{
    struct command *c = command_new((size_t)64 << 20);
    assert_non_null(c);
    return c;
}

void test_add_append(struct command *c, const char *stream, struct expectation expected)
{
    assert_int_equal(command_add_append(c, bytes_of_string(stream), expected), ERR_OK);
}

/* Ids of the "server's" own: far from those of the tests. */
static uint64_t fresh_id(void)
{
    static _Atomic uint64_t next = (uint64_t)1 << 62;
    return atomic_fetch_add(&next, 1);
}

static struct event_draft draft_of(uint64_t id, const char *type, const char *data,
                                   uint8_t ret_id[UUID_BYTES])
{
    test_id(id == 0 ? fresh_id() : id, ret_id);
    return (struct event_draft){.id = bytes_of(ret_id, UUID_BYTES),
                                .id_given = id != 0,
                                .type = bytes_of_string(type),
                                .data = bytes_of_string(data)};
}

void test_add_event(struct command *c, uint64_t id, const char *type, const char *data)
{
    uint8_t bytes[UUID_BYTES];
    struct event_draft draft = draft_of(id, type, data, bytes);
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
}

void test_add_tagged(struct command *c, uint64_t id, const char *type, const char *tags)
{
    uint8_t bytes[UUID_BYTES];
    struct bytes items[EVENT_TAGS_MAX];
    struct event_draft draft = draft_of(id, type, "{}", bytes);
    draft.tags = items;
    while (*tags != '\0') {
        size_t n = strcspn(tags, " ");
        assert_true(draft.tag_count < EVENT_TAGS_MAX);
        items[draft.tag_count++] = bytes_of(tags, n);
        tags += n + (tags[n] == ' ');
    }
    assert_int_equal(command_add_event(c, &draft), ERR_OK);
}

struct command *test_one(const char *stream, struct expectation expected, uint64_t id,
                         const char *type, const char *data)
{
    struct command *c = test_command();
    test_add_append(c, stream, expected);
    test_add_event(c, id, type, data);
    return c;
}

struct command *test_metadata(const char *stream, const struct life_change *change)
{
    uint8_t id[UUID_BYTES];
    struct command *c = test_command();
    test_id(fresh_id(), id);
    assert_int_equal(command_set_metadata(c, bytes_of_string(stream), TEST_ANY, change,
                                          bytes_of(id, UUID_BYTES)),
                     ERR_OK);
    return c;
}

struct command *test_delete(const char *stream, bool tombstone)
{
    uint8_t id[UUID_BYTES];
    struct command *c = test_command();
    test_id(fresh_id(), id);
    assert_int_equal(command_delete_stream(c, bytes_of_string(stream), TEST_ANY, tombstone,
                                           bytes_of(id, UUID_BYTES)),
                     ERR_OK);
    return c;
}

struct command *test_redact(const char *stream, uint64_t revision)
{
    uint8_t id[UUID_BYTES];
    struct command *c = test_command();
    test_id(fresh_id(), id);
    assert_int_equal(command_redact(c, bytes_of_string(stream), revision,
                                    BYTES_LITERAL("they asked"), bytes_of(id, UUID_BYTES)),
                     ERR_OK);
    return c;
}

void test_commit_group(struct store *s, struct command **commands, size_t n, int64_t now_us)
{
    err_t err = store_commit(s, commands, n, now_us);
    while (err == ERR_FULL) {
        bool more;
        assert_int_equal(store_apply(s, true, &more), ERR_OK);
        err = store_commit(s, commands, n, now_us);
    }
    assert_int_equal(err, ERR_OK);
}

enum verdict test_commit(struct store *s, struct command *c)
{
    test_commit_group(s, &c, 1, TEST_TIME_US);
    return command_verdict(c);
}

enum verdict test_commit_free(struct store *s, struct command *take_c)
{
    enum verdict verdict = test_commit(s, take_c);
    command_free(take_c);
    return verdict;
}

uint64_t test_put(struct store *s, const char *stream, const char *type, const char *data)
{
    struct command *c = test_one(stream, TEST_ANY, 0, type, data);
    assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
    uint64_t position = command_result(c, 0)->first_position;
    command_free(c);
    return position;
}

void test_fill(struct store *s, uint64_t n, uint64_t streams)
{
    uint64_t first = store_position(s) + 1;
    for (uint64_t i = first; i < first + n; i++) {
        char stream[32], type[32], tag[32];
        snprintf(stream, sizeof stream, "s-%" PRIu64, i % streams);
        snprintf(type, sizeof type, "T%" PRIu64, i % 3);
        snprintf(tag, sizeof tag, "t%" PRIu64, i % 5);
        struct command *c = test_command();
        test_add_append(c, stream, TEST_ANY);
        test_add_tagged(c, i, type, tag);
        assert_int_equal(test_commit(s, c), VERDICT_COMMITTED);
        command_free(c);
    }
}

void test_expect_event(struct store *s, uint64_t position, const char *stream, uint64_t revision,
                       const char *data)
{
    struct store_view *v;
    struct store_record record;
    struct event event;
    assert_int_equal(store_view_open(s, &v), ERR_OK);
    assert_int_equal(store_get_event(v, position, &record), ERR_OK);
    assert_int_equal(store_record_decode(&record, &event), ERR_OK);
    assert_int_equal(event.position, position);
    assert_int_equal(event.revision, revision);
    assert_true(bytes_equal(event.stream, bytes_of_string(stream)));
    assert_true(bytes_equal(event.data, bytes_of_string(data)));
    store_view_close(v);
}
