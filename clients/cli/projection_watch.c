/* projection_watch: looks again and again until a version answers. */
#include "interrupt.h"
#include "projection_int.h"
#include "text.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS      150
#define LINE_EVERY_S 1

struct watch {
    const char *name;
    uint64_t version;
    FILE *out;
    bool terminal, quiet;
    char last[PROJECTION_LINE_BYTES];
    time_t last_s;
};

/* The version that is waited for; NULL: it is neither. */
static const struct daybook_projection_version *find(const struct daybook_projection *p,
                                                     uint64_t version)
{
    if (p->building.version == version) {
        return &p->building;
    }
    return p->current.version == version ? &p->current : NULL;
}

static void draw(struct watch *w, const struct daybook_projection_version *v, bool last)
{
    char line[PROJECTION_LINE_BYTES];
    struct daybook_buffer safe;
    projection_describe(v, line);
    time_t now_s = time(NULL);
    bool news = strcmp(line, w->last) != 0 && (last || now_s - w->last_s >= LINE_EVERY_S);
    if (w->quiet || (!w->terminal && !news)) {
        return;
    }
    memcpy(w->last, line, sizeof line);
    w->last_s = now_s;
    daybook_buffer_init(&safe, sizeof line * TEXT_SAFE_GROWTH);
    if (text_add_safe(&safe, line, strlen(line))) {
        (void)fprintf(w->out, "%s%s: %.*s%s", w->terminal ? "\r" : "", w->name, (int)safe.n,
                      (const char *)safe.p,
                      !w->terminal ? "\n"
                      : last       ? "\033[K\n"
                                   : "\033[K");
        (void)fflush(w->out);
    }
    daybook_buffer_done(&safe);
}

/* CLI_GO_ON: it is still being built. A live one that answers is where the log was when it took
 * over; what comes after that is its daily work. */
static int judge(struct watch *w, const struct daybook_projection *p)
{
    const struct daybook_projection_version *v = find(p, w->version);
    if (v == NULL) {
        cli_error("%s: version %llu is no longer wanted: another definition took its place",
                  w->name, (unsigned long long)w->version);
        return CLI_FAILED;
    }
    bool serves = v == &p->current && strcmp(v->state, "live") == 0;
    bool stands = strcmp(v->state, "faulted") == 0 || strcmp(v->state, "paused") == 0;
    draw(w, v, serves || stands);
    if (stands) {
        cli_error("%s: version %llu is %s%s%s", w->name, (unsigned long long)v->version, v->state,
                  v->error[0] == '\0' ? "" : ": ", v->error);
        return CLI_FAILED;
    }
    return serves ? CLI_OK : CLI_GO_ON;
}

int projection_watch(struct daybook *db, const char *name, uint64_t version, FILE *out,
                     bool only_terminal)
{
    struct watch w = {.name = name, .version = version, .out = out};
    struct daybook_projection p;
    int exit = CLI_GO_ON;
    w.terminal = isatty(fileno(out)) == 1;
    w.quiet = only_terminal && !w.terminal;
    interrupt_watch(db);
    while (exit == CLI_GO_ON) {
        if (daybook_projection_get(db, name, &p) != DAYBOOK_OK) {
            exit = interrupt_came() ? interrupt_exit() : cli_fail(db, name);
        } else {
            exit = judge(&w, &p);
        }
        if (exit == CLI_GO_ON) {
            (void)poll(NULL, 0, LOOK_MS);
        }
    }
    interrupt_forget();
    return exit;
}
