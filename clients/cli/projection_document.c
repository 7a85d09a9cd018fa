/* projection_document: document, documents: what a document projection has made, as JSON. */
#include "interrupt.h"
#include "projection_int.h"
#include "text.h"
#include "value.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_MS_MAX 60000
#define PAGE        1000

static void print_bytes(struct daybook_bytes bytes)
{
    (void)fwrite(bytes.p, 1, bytes.n, stdout);
}

/* ---- document ---- */

struct document {
    const char *name, *key;
    const char *wait;
    uint64_t min_position, wait_ms;
    bool follow, json;
};

static void print_string(const char *text)
{
    (void)putchar('"');
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            (void)printf("\\%c", c);
        } else if (c < 0x20) {
            (void)printf("\\u%04x", c);
        } else {
            (void)putchar(c);
        }
    }
    (void)putchar('"');
}

static void print_document(const struct daybook_document *d, bool whole)
{
    static const struct daybook_bytes none = {(const uint8_t *)"null", 4};
    if (whole) {
        (void)fputs("{\"key\":", stdout);
        print_string(d->key);
        (void)fputs(",\"document\":", stdout);
    }
    print_bytes(d->json.n == 0 ? none : d->json);
    if (whole) {
        (void)printf(",\"position\":%" PRIu64 "}", d->position);
    }
    (void)putchar('\n');
}

static int get(struct daybook *db, const struct document *o)
{
    struct daybook_document d;
    if (daybook_document_get(db, o->name, o->key, o->min_position, o->wait_ms, &d) != DAYBOOK_OK) {
        return cli_fail(db, o->key);
    }
    if (o->json) {
        return projection_print_json(db);
    }
    print_document(&d, false);
    return CLI_OK;
}

/* A line for each state, at once. */
static int follow(struct daybook *db, const struct document *o)
{
    struct daybook_document_follower *f = NULL;
    const struct daybook_document *d;
    enum daybook_result result = daybook_document_follow(db, o->name, o->key, &f);
    interrupt_watch(db);
    while (result == DAYBOOK_OK && (result = daybook_document_follow_next(f, &d)) == DAYBOOK_OK) {
        print_document(d, o->json);
        if (fflush(stdout) != 0) {
            break; /* nobody reads it any more */
        }
    }
    interrupt_forget();
    daybook_document_follow_free(f);
    if (interrupt_came()) {
        return interrupt_exit();
    }
    return result == DAYBOOK_OK ? CLI_OK : cli_fail(db, o->key);
}

static int check(struct document *o)
{
    if (o->follow && (o->min_position > 0 || o->wait != NULL)) {
        cli_error("--follow goes with neither --min-position nor --wait");
        return CLI_USAGE;
    }
    o->wait_ms = 5000;
    if (o->wait != NULL && (!value_read_wait(o->wait, &o->wait_ms) || o->wait_ms > WAIT_MS_MAX)) {
        cli_error("--wait must be like 300ms, 5s or 1m, at most 1m, not %s", o->wait);
        return CLI_USAGE;
    }
    return CLI_GO_ON;
}

int projection_document(int argc, char **argv, const struct cli_globals *globals)
{
    struct document o = {0};
    const struct cli_option options[] = {
        {"follow", CLI_FLAG, &o.follow, NULL, "stay, and print it again whenever it changes"},
        {"min-position", CLI_NUMBER, &o.min_position, "P", "once the model has got there"},
        {"wait", CLI_TEXT, &o.wait, "T", "how long to wait for that: 300ms 5s 1m (default 5s)"},
        {"json", CLI_FLAG, &o.json, NULL, "with its key and position"},
    };
    const struct cli_usage usage = {
        .synopsis = "projection document NAME KEY [--follow]",
        .about = "One document of a document projection, as JSON. Where the script has no `key`\n"
                 "the key is the stream. --follow prints null while there is none.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    exit = exit == CLI_GO_ON ? check(&o) : exit;
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    o.name = arguments[0];
    o.key = arguments[1];
    exit = o.follow ? follow(db, &o) : get(db, &o);
    daybook_close(db);
    return exit;
}

/* ---- documents ---- */

struct documents {
    const char *name, *prefix, *after;
    uint64_t limit;
};

/* Page by page; a key is kept for the next one before the answer that it is in is gone. */
static int print_all(struct daybook *db, const struct documents *o)
{
    struct daybook_buffer after;
    uint64_t left = o->limit == 0 ? UINT64_MAX : o->limit;
    struct daybook_documents page = {.end = false};
    daybook_buffer_init(&after, 65536);
    bool ok = o->after == NULL || daybook_buffer_add(&after, o->after, strlen(o->after) + 1);
    int exit = CLI_OK;
    while (ok && exit == CLI_OK && left > 0 && !page.end) {
        const char *from = after.n == 0 ? NULL : (const char *)after.p;
        if (daybook_document_list(db, o->name, o->prefix, from, left < PAGE ? left : PAGE, &page) !=
            DAYBOOK_OK) {
            exit = cli_fail(db, o->name);
            break;
        }
        for (size_t i = 0; i < page.documents_n; i++) {
            (void)fputs("{\"key\":", stdout);
            print_string(page.documents[i].key);
            (void)fputs(",\"document\":", stdout);
            print_bytes(page.documents[i].json);
            (void)fputs("}\n", stdout);
        }
        left -= page.documents_n;
        after.n = 0;
        ok = daybook_buffer_add(&after, page.next, strlen(page.next) + 1);
    }
    daybook_buffer_done(&after);
    if (!ok) {
        cli_error("not enough memory");
    }
    return ok ? exit : CLI_FAILED;
}

int projection_documents(int argc, char **argv, const struct cli_globals *globals)
{
    struct documents o = {0};
    const struct cli_option options[] = {
        {"prefix", CLI_TEXT, &o.prefix, "P", "only documents whose keys start so"},
        {"after", CLI_TEXT, &o.after, "K", "only documents after this key"},
        {"limit", CLI_NUMBER, &o.limit, "N", "at most so many: all"},
    };
    const struct cli_usage usage = {
        .synopsis = "projection documents NAME [--prefix P] [--limit N]",
        .about = "Documents of a document projection in the order of their keys: a line of JSON\n"
                 "each, {\"key\":…,\"document\":…}.\n",
        .options = options,
        .options_n = sizeof options / sizeof options[0],
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[2];
    int exit = cli_parse(argc, argv, &usage, arguments);
    struct daybook *db = exit == CLI_GO_ON ? cli_connect(globals, NULL) : NULL;
    if (db == NULL) {
        return exit == CLI_GO_ON ? CLI_FAILED : exit;
    }
    o.name = arguments[0];
    exit = print_all(db, &o);
    daybook_close(db);
    return exit;
}
