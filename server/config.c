/* config: one table of settings and four places they may come from.
 *
 * The sources are read from the weakest to the strongest, each simply setting what it has; only the
 * config file's own name is looked up first. An environment variable that merely starts with
 * DAYBOOK_ is not ours to judge (Kubernetes makes DAYBOOK_PORT_7407_TCP, the command line reads
 * DAYBOOK_URL); one that looks like a misspelt setting is an error. */
#include "server/config.h"

#include "server/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#define KIB *((uint64_t)1 << 10)
#define MIB *((uint64_t)1 << 20)
#define GIB *((uint64_t)1 << 30)
#define TIB *((uint64_t)1 << 40)

#define ENV_PREFIX   "DAYBOOK_"
#define NAME_MAX_    64
#define DISTANCE_MAX 2
#define THREADS_MAX  8
#define PORT_MAX     65535

enum kind { KIND_TEXT, KIND_NUMBER, KIND_BYTES, KIND_LEVEL, KIND_FORMAT, KIND_SWITCH };

struct setting {
    enum kind kind;
    const char *name, *fallback, *what;
    size_t offset;
    uint64_t min, max;
};

static const struct setting settings[] = {
#define SETTING(kind, field, name, fallback, min, max, what) \
    {KIND_##kind, name, fallback, what, offsetof(struct config, field), min, max},
#include "server/config.def"
#undef SETTING
};

#define SETTINGS (sizeof settings / sizeof *settings)

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"logfmt", "json", NULL};
static const char *const switches[] = {"false", "true", "off", "on", "no", "yes", "0", "1", NULL};

static err_t set_defaults(struct config *c, struct err_text *et);
static err_t read_file(struct config *c, struct err_text *et);
static err_t read_environment(struct config *c, char **environment, struct err_text *et);
static err_t read_flags(struct config *c, int argc, char **argv, struct err_text *et);
static const struct setting *find(const char *name, size_t n);
static const struct setting *find_near(const char *name);
static err_t set(struct config *c, const struct setting *s, const char *value, const char *source,
                 struct err_text *et);
static err_t split_listen(struct config *c, struct err_text *et);
static void env_name(const struct setting *s, char ret[NAME_MAX_]);

err_t config_load(int argc, char **argv, char **environment, unsigned cores, struct config *ret,
                  struct err_text *et)
{
    struct config c = {0};
    err_t err = set_defaults(&c, et);
    /* Twice: the flags and the environment first of all for the name of the file. */
    err = err == ERR_OK ? read_environment(&c, environment, et) : err;
    err = err == ERR_OK ? read_flags(&c, argc, argv, et) : err;
    if (err == ERR_OK && c.config[0] != '\0') {
        struct config again = {0};
        memcpy(again.config, c.config, sizeof again.config);
        c = again;
        err = set_defaults(&c, et);
        memcpy(c.config, again.config, sizeof c.config);
        err = err == ERR_OK ? read_file(&c, et) : err;
        err = err == ERR_OK ? read_environment(&c, environment, et) : err;
        err = err == ERR_OK ? read_flags(&c, argc, argv, et) : err;
    }
    err = err == ERR_OK ? split_listen(&c, et) : err;
    if (err != ERR_OK) {
        return err;
    }
    if (c.http_threads == 0) {
        c.http_threads = cores < 4 ? 1 : cores / 2 > THREADS_MAX ? THREADS_MAX : cores / 2;
    }
    *ret = c;
    return ERR_OK;
}

void config_print_help(FILE *to)
{
    fputs(
        "usage: daybookd [--verify | --reindex | --restore FILE] [--name value | --name=value]...\n"
        "\n"
        "  --verify   check everything that is stored, without serving; exit 0: all is well, 1: "
        "findings, 2: error\n"
        "  --reindex  build the index again from the log, without serving\n"
        "  --restore FILE  make the data directory, which must be new or empty, out of a backup\n"
        "    --to-position N  ... as it was then\n"
        "  --verify-backup FILE  check a backup\n"
        "  --version  print the version\n"
        "  --help     print this\n"
        "\n"
        "Settings, each also an environment variable and a line `name = value` of the config file\n"
        "(a flag wins over the environment, that over the file). Sizes take KiB, MiB, GiB, TiB.\n"
        "\n",
        to);
    for (size_t i = 0; i < SETTINGS; i++) {
        char env[NAME_MAX_];
        env_name(&settings[i], env);
        fprintf(to, "  --%-28s %s\n  %-30s %s; default %s\n", settings[i].name, settings[i].what,
                "", env, settings[i].fallback[0] == '\0' ? "none" : settings[i].fallback);
    }
}

static err_t set_defaults(struct config *c, struct err_text *et)
{
    err_t err = ERR_OK;
    for (size_t i = 0; i < SETTINGS && err == ERR_OK; i++) {
        err = set(c, &settings[i], settings[i].fallback, "the built-in default", et);
    }
    return err;
}

static err_t unknown(const char *name, const char *prefix, const char *source, struct err_text *et)
{
    const struct setting *near = find_near(name);
    if (near == NULL) {
        return err_set(et, ERR_INVALID, "%s: there is no setting '%s'; --help lists them", source,
                       name);
    }
    return err_set(et, ERR_INVALID, "%s: there is no setting '%s'; did you mean %s%s?", source,
                   name, prefix, near->name);
}

/* ---- the config file ---- */

static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) {
        s++;
    }
    size_t n = strlen(s);
    while (n > 0 && isspace((unsigned char)s[n - 1])) {
        s[--n] = '\0';
    }
    return s;
}

static err_t read_line(struct config *c, char *line, const char *source, struct err_text *et)
{
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#') {
        return ERR_OK;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        return err_set(et, ERR_INVALID, "%s: '%s' is not `name = value`", source, line);
    }
    *equals = '\0';
    const char *name = trim(line);
    char *value = equals + 1;
    char *comment = strstr(value, " #");
    if (comment != NULL) {
        *comment = '\0';
    }
    const struct setting *s = find(name, strlen(name));
    return s == NULL ? unknown(name, "", source, et) : set(c, s, trim(value), source, et);
}

static err_t read_file(struct config *c, struct err_text *et)
{
    FILE *f = fopen(c->config, "re");
    if (f == NULL) {
        return err_set(et, ERR_INVALID, "config file %s: %s", c->config, strerror(errno));
    }
    char path[CONFIG_TEXT_MAX];
    memcpy(path, c->config, sizeof path);
    char *line = NULL;
    size_t cap = 0;
    err_t err = ERR_OK;
    for (unsigned number = 1; err == ERR_OK && getline(&line, &cap, f) >= 0; number++) {
        char source[CONFIG_TEXT_MAX + 16];
        snprintf(source, sizeof source, "%s:%u", path, number);
        err = read_line(c, line, source, et);
    }
    free(line);
    fclose(f);
    return err;
}

/* ---- the environment ---- */

static void env_name(const struct setting *s, char ret[NAME_MAX_])
{
    size_t n = (size_t)snprintf(ret, NAME_MAX_, ENV_PREFIX "%s", s->name);
    for (size_t i = 0; i < n; i++) {
        ret[i] = (char)(ret[i] == '-' ? '_' : toupper((unsigned char)ret[i]));
    }
}

/* A DAYBOOK_SOME_NAME in the spelling of settings: some-name. */
static bool setting_name(const char *variable, size_t n, char ret[NAME_MAX_])
{
    size_t skip = strlen(ENV_PREFIX);
    if (n <= skip || n - skip >= NAME_MAX_ || strncmp(variable, ENV_PREFIX, skip) != 0) {
        return false;
    }
    for (size_t i = skip; i < n; i++) {
        ret[i - skip] = (char)(variable[i] == '_' ? '-' : tolower((unsigned char)variable[i]));
    }
    ret[n - skip] = '\0';
    return true;
}

static err_t read_environment(struct config *c, char **environment, struct err_text *et)
{
    for (char **e = environment; e != NULL && *e != NULL; e++) {
        char name[NAME_MAX_];
        const char *equals = strchr(*e, '=');
        if (equals == NULL || !setting_name(*e, (size_t)(equals - *e), name)) {
            continue;
        }
        char source[NAME_MAX_ + sizeof ENV_PREFIX];
        snprintf(source, sizeof source, "%.*s", (int)(equals - *e), *e);
        const struct setting *s = find(name, strlen(name));
        const struct setting *near = s != NULL ? NULL : find_near(name);
        if (s == NULL && near != NULL) {
            char meant[NAME_MAX_];
            env_name(near, meant);
            return err_set(et, ERR_INVALID, "environment: there is no setting %s; did you mean %s?",
                           source, meant);
        }
        err_t err = s == NULL ? ERR_OK : set(c, s, equals + 1, source, et);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- flags ---- */

static bool read_action(struct config *c, const char *flag)
{
    static const struct {
        const char *flag;
        enum config_action action;
    } actions[] = {{"--verify", CONFIG_VERIFY},   {"--reindex", CONFIG_REINDEX},
                   {"--version", CONFIG_VERSION}, {"-V", CONFIG_VERSION},
                   {"--help", CONFIG_HELP},       {"-h", CONFIG_HELP}};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(flag, actions[i].flag) == 0) {
            c->action = actions[i].action > c->action ? actions[i].action : c->action;
            return true;
        }
    }
    return false;
}

/* Flags of actions on backups, which have values; *ret: it is such a one. */
static err_t read_backup_flag(struct config *c, int argc, char **argv, int *i, bool *ret,
                              struct err_text *et)
{
    const char *flag = argv[*i];
    bool restore = strcmp(flag, "--restore") == 0, to = strcmp(flag, "--to-position") == 0;
    *ret = restore || to || strcmp(flag, "--verify-backup") == 0;
    if (!*ret) {
        return ERR_OK;
    }
    const char *value = *i + 1 < argc ? argv[++*i] : "";
    if (value[0] == '\0' || strlen(value) >= sizeof c->backup) {
        return err_set(et, ERR_INVALID, "flag %s: its value is missing, or too long", flag);
    }
    if (to) {
        char *end;
        errno = 0;
        c->to_position = strtoull(value, &end, 10);
        bool number = isdigit((unsigned char)value[0]) && *end == '\0' && errno == 0;
        return number && c->to_position > 0
                   ? ERR_OK
                   : err_set(et, ERR_INVALID, "flag %s: '%s' is no position", flag, value);
    }
    c->action = restore ? CONFIG_RESTORE : CONFIG_VERIFY_BACKUP;
    memcpy(c->backup, value, strlen(value) + 1);
    return ERR_OK;
}

/* One flag; *i moves on to its value where that is an argument of its own. */
static err_t read_flag(struct config *c, int argc, char **argv, int *i, struct err_text *et)
{
    const char *flag = argv[*i];
    if (strncmp(flag, "--", 2) != 0 || flag[2] == '\0') {
        return err_set(et, ERR_INVALID, "argument '%s': not a flag; --help lists them", flag);
    }
    const char *name = flag + 2;
    size_t n = strcspn(name, "=");
    const struct setting *s = find(name, n);
    char source[CONFIG_TEXT_MAX];
    snprintf(source, sizeof source, "flag --%.*s", (int)(n < NAME_MAX_ ? n : NAME_MAX_), name);
    if (s == NULL) {
        char shown[NAME_MAX_];
        snprintf(shown, sizeof shown, "%.*s", (int)n, name);
        return unknown(shown, "--", "flags", et);
    }
    if (name[n] == '=') {
        return set(c, s, name + n + 1, source, et);
    }
    bool next_is_value = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
    if (s->kind == KIND_SWITCH && !next_is_value) {
        return set(c, s, "true", source, et);
    }
    if (*i + 1 >= argc) {
        return err_set(et, ERR_INVALID, "%s: its value is missing", source);
    }
    *i += 1;
    return set(c, s, argv[*i], source, et);
}

static err_t read_flags(struct config *c, int argc, char **argv, struct err_text *et)
{
    err_t err = ERR_OK;
    for (int i = 1; err == ERR_OK && i < argc; i++) {
        bool done = read_action(c, argv[i]);
        err = done ? ERR_OK : read_backup_flag(c, argc, argv, &i, &done, et);
        if (err == ERR_OK && !done) {
            err = read_flag(c, argc, argv, &i, et);
        }
    }
    return err;
}

/* ---- names and values ---- */

static const struct setting *find(const char *name, size_t n)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strlen(settings[i].name) == n && memcmp(settings[i].name, name, n) == 0) {
            return &settings[i];
        }
    }
    return NULL;
}

/* Levenshtein's distance. Both are shorter than NAME_MAX_. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_];
    size_t n = strlen(b);
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = replace < other ? replace : other;
        }
    }
    return row[n];
}

static const struct setting *find_near(const char *name)
{
    const struct setting *best = NULL;
    size_t best_distance = DISTANCE_MAX + 1;
    for (size_t i = 0; i < SETTINGS; i++) {
        size_t d = strlen(name) >= NAME_MAX_ ? best_distance : distance(name, settings[i].name);
        /* Of a short name everything is near. */
        if (d < best_distance && 2 * d < strlen(settings[i].name)) {
            best = &settings[i];
            best_distance = d;
        }
    }
    return best;
}

static err_t parse_number(const char *text, bool bytes, uint64_t *ret)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    if (!isdigit((unsigned char)text[0])) {
        return ERR_INVALID;
    }
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0) {
        return ERR_LIMIT;
    }
    while (bytes && *end == ' ') {
        end++;
    }
    for (size_t i = 0; i < (bytes ? sizeof units / sizeof *units : 1); i++) {
        if (strcasecmp(end, units[i].suffix) == 0) {
            *ret = (uint64_t)n << units[i].shift;
            return *ret >> units[i].shift == n ? ERR_OK : ERR_LIMIT;
        }
    }
    return ERR_INVALID;
}

static void format_number(uint64_t n, bool bytes, char ret[32])
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes && n >= 1024 && n % 1024 == 0 && unit < 4) {
        n /= 1024;
        unit++;
    }
    snprintf(ret, 32, "%llu%s", (unsigned long long)n, units[unit]);
}

static err_t set_number(const struct setting *s, const char *value, const char *source,
                        uint64_t *ret, struct err_text *et)
{
    bool bytes = s->kind == KIND_BYTES;
    uint64_t n = 0;
    err_t err = parse_number(value, bytes, &n);
    if (err == ERR_OK && n >= s->min && n <= s->max) {
        *ret = n;
        return ERR_OK;
    }
    char min[32];
    char max[32];
    format_number(s->min, bytes, min);
    format_number(s->max, bytes, max);
    return err_set(et, ERR_INVALID, "%s (from %s): '%s' is not %s from %s to %s", s->name, source,
                   value, bytes ? "a size" : "a number", min, max);
}

static err_t set_choice(const struct setting *s, const char *const *choices, const char *value,
                        const char *source, uint64_t *ret, struct err_text *et)
{
    for (uint64_t i = 0; choices[i] != NULL; i++) {
        if (strcasecmp(value, choices[i]) == 0) {
            *ret = i;
            return ERR_OK;
        }
    }
    return err_set(et, ERR_INVALID, "%s (from %s): '%s' is not one of: %s", s->name, source, value,
                   s->kind == KIND_SWITCH ? "true, false" : s->what);
}

static err_t set(struct config *c, const struct setting *s, const char *value, const char *source,
                 struct err_text *et)
{
    void *field = (char *)c + s->offset;
    uint64_t chosen = 0;
    err_t err = ERR_OK;
    switch (s->kind) {
    case KIND_TEXT:
        if (strlen(value) < s->min || strlen(value) > s->max) {
            return err_set(et, ERR_INVALID, "%s (from %s): must have %llu to %llu characters",
                           s->name, source, (unsigned long long)s->min, (unsigned long long)s->max);
        }
        memcpy(field, value, strlen(value) + 1);
        return ERR_OK;
    case KIND_NUMBER:
    case KIND_BYTES:
        err = set_number(s, value, source, &chosen, et);
        break;
    case KIND_LEVEL:
        err = set_choice(s, levels, value, source, &chosen, et);
        break;
    case KIND_FORMAT:
        err = set_choice(s, formats, value, source, &chosen, et);
        break;
    case KIND_SWITCH:
        err = set_choice(s, switches, value, source, &chosen, et);
        chosen %= 2; /* every other one is a no */
        break;
    }
    if (err == ERR_OK) {
        memcpy(field, &chosen, sizeof chosen);
    }
    return err;
}

/* HOST:PORT, [HOST]:PORT, :PORT and *:PORT. */
static err_t split_listen(struct config *c, struct err_text *et)
{
    const char *colon = strrchr(c->listen, ':');
    uint64_t port = 0;
    if (colon == NULL || parse_number(colon + 1, false, &port) != ERR_OK || port > PORT_MAX) {
        return err_set(et, ERR_INVALID, "listen: '%s' is not HOST:PORT with a port from 0 to %d",
                       c->listen, PORT_MAX);
    }
    const char *host = c->listen;
    size_t n = (size_t)(colon - host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    } else if (memchr(host, ':', n) != NULL) {
        return err_set(et, ERR_INVALID,
                       "listen: '%s': write an IPv6 address in brackets, [::1]:7407", c->listen);
    }
    memcpy(c->host, host, n);
    c->host[n] = '\0';
    c->port = (unsigned)port;
    return ERR_OK;
}
