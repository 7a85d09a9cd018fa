/* table_script: see table_script.h. A directive is a line of its own that begins with `-- @`; in a
 * quoted text or a comment of more lines it is none. */
#include "table_script.h"

#include "storage/event.h"

#define ARENA_CHUNK 4096
#define ARENA_MAX   ((size_t)1 << 20)

struct scan {
    struct bytes source;
    size_t at;
    unsigned line;
    struct script *script;
    struct script_part *open; /* the part that is being read */
    size_t open_at;
    struct err_text *et;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct bytes trim(struct bytes b)
{
    while (b.n > 0 && is_blank(b.p[0])) {
        b.p++, b.n--;
    }
    while (b.n > 0 && is_blank(b.p[b.n - 1])) {
        b.n--;
    }
    return b;
}

static struct bytes rest_of_line(const struct scan *s)
{
    const uint8_t *p = s->source.p + s->at;
    size_t left = s->source.n - s->at;
    const uint8_t *end = left == 0 ? NULL : memchr(p, '\n', left);
    return bytes_of(p, end == NULL ? left : (size_t)(end - p));
}

/* ---- directives ---- */

static void close_part(struct scan *s)
{
    s->open->text = bytes_of(s->source.p + s->open_at, s->at - s->open_at);
}

static void open_part(struct scan *s, struct script_part *part, size_t at, unsigned line)
{
    s->open = part;
    s->open_at = at;
    part->line = line;
}

/* Adds the names between commas. `*` is a name where `ret_any` is given. */
static err_t read_names(struct scan *s, struct bytes list, struct bytes *names, size_t *n,
                        bool *ret_any)
{
    for (bool more = true; more;) {
        const uint8_t *comma = list.n == 0 ? NULL : memchr(list.p, ',', list.n);
        size_t length = comma == NULL ? list.n : (size_t)(comma - list.p);
        struct bytes name = trim(bytes_of(list.p, length));
        more = comma != NULL;
        list = more ? bytes_of(comma + 1, list.n - length - 1) : list;
        if (ret_any != NULL && bytes_equal(name, BYTES_LITERAL("*"))) {
            *ret_any = true;
            continue;
        }
        if (!event_name_is_valid(name) || event_name_is_system(name)) {
            return err_set(s->et, ERR_INVALID, "line %u: '%.*s' is no name", s->line,
                           BYTES_ARGS(name));
        }
        if (*n == SCRIPT_NAMES_MAX) {
            return err_set(s->et, ERR_INVALID, "line %u: more than %d names", s->line,
                           SCRIPT_NAMES_MAX);
        }
        names[(*n)++] = name;
    }
    return ERR_OK;
}

static err_t begin_block(struct scan *s, struct bytes list, size_t body_at)
{
    if (s->script->block_count == SCRIPT_BLOCKS_MAX) {
        return err_set(s->et, ERR_INVALID, "line %u: more than %d blocks", s->line,
                       SCRIPT_BLOCKS_MAX);
    }
    struct script_block *block = &s->script->blocks[s->script->block_count++];
    block->types = arena_alloc(&s->script->arena, SCRIPT_NAMES_MAX * sizeof *block->types);
    if (block->types == NULL) {
        return ERR_MEMORY;
    }
    err_t err = read_names(s, list, block->types, &block->type_count, &block->any);
    close_part(s);
    open_part(s, &block->part, body_at, s->line + 1);
    return err;
}

static err_t end_block(struct scan *s, size_t body_at)
{
    if (s->script->schema_count > SCRIPT_BLOCKS_MAX) {
        return err_set(s->et, ERR_INVALID, "line %u: more than %d @end", s->line,
                       SCRIPT_BLOCKS_MAX);
    }
    close_part(s);
    open_part(s, &s->script->schema[s->script->schema_count++], body_at, s->line + 1);
    return ERR_OK;
}

/* `line` begins with "-- @". */
static err_t read_directive(struct scan *s, struct bytes line)
{
    size_t word = 4;
    while (word < line.n && !is_blank(line.p[word])) {
        word++;
    }
    struct bytes name = bytes_of(line.p + 4, word - 4);
    struct bytes rest = trim(bytes_of(line.p + word, line.n - word));
    size_t body_at = s->at + rest_of_line(s).n;
    body_at += body_at < s->source.n; /* the line break */
    if (bytes_equal(name, BYTES_LITERAL("on"))) {
        return begin_block(s, rest, body_at);
    }
    if (bytes_equal(name, BYTES_LITERAL("end")) && rest.n == 0) {
        return end_block(s, body_at);
    }
    if (bytes_equal(name, BYTES_LITERAL("category"))) {
        return read_names(s, rest, s->script->categories, &s->script->category_count, NULL);
    }
    return err_set(s->et, ERR_INVALID,
                   "line %u: unknown directive @%.*s; there are @category, @on and @end", s->line,
                   BYTES_ARGS(name));
}

/* ---- scanning ---- */

static void skip_until(struct scan *s, const char *end, size_t n)
{
    while (s->at < s->source.n) {
        if (s->source.n - s->at >= n && memcmp(s->source.p + s->at, end, n) == 0) {
            s->at += n;
            return;
        }
        s->line += s->source.p[s->at] == '\n';
        s->at++;
    }
}

/* One token, roughly: what may hold a line break or the beginning of another is taken whole. A
 * doubled quote is two texts side by side, which is the same here. */
static void skip_token(struct scan *s)
{
    const uint8_t *p = s->source.p + s->at;
    size_t left = s->source.n - s->at;
    if (left >= 2 && memcmp(p, "--", 2) == 0) {
        s->at += rest_of_line(s).n;
    } else if (left >= 2 && memcmp(p, "/*", 2) == 0) {
        s->at += 2;
        skip_until(s, "*/", 2);
    } else if (*p == '\'' || *p == '"' || *p == '`') {
        char quote = (char)*p;
        s->at++;
        skip_until(s, &quote, 1);
    } else if (*p == '[') {
        skip_until(s, "]", 1);
    } else {
        s->line += *p == '\n';
        s->at++;
    }
}

static err_t start_line(struct scan *s)
{
    struct bytes line = trim(rest_of_line(s));
    return bytes_have_prefix(line, BYTES_LITERAL("-- @")) ? read_directive(s, line) : ERR_OK;
}

static err_t scan_all(struct scan *s)
{
    bool line_start = true;
    while (s->at < s->source.n) {
        err_t err = line_start ? start_line(s) : ERR_OK;
        if (err != ERR_OK) {
            return err;
        }
        line_start = s->source.p[s->at] == '\n';
        skip_token(s);
    }
    return ERR_OK;
}

err_t script_parse(struct bytes source, struct script *ret, struct err_text *et)
{
    memset(ret, 0, sizeof *ret);
    arena_init(&ret->arena, ARENA_CHUNK, ARENA_MAX);
    if (source.n > 0 && memchr(source.p, '\0', source.n) != NULL) {
        return err_set(et, ERR_INVALID, "the script has a NUL byte");
    }
    if (!bytes_are_utf8(source)) {
        return err_set(et, ERR_INVALID, "the script is not UTF-8");
    }
    struct scan s = {.source = source, .line = 1, .script = ret, .et = et};
    open_part(&s, &ret->schema[ret->schema_count++], 0, 1);
    err_t err = scan_all(&s);
    close_part(&s);
    if (err == ERR_OK && ret->block_count == 0) {
        return err_set(et, ERR_INVALID,
                       "there is no block; `-- @on EventType` begins what is done for an event");
    }
    return err;
}

void script_done(struct script *s)
{
    arena_done(&s->arena);
}

unsigned script_line(const struct script_part *part, size_t offset)
{
    unsigned line = part->line;
    for (size_t i = 0; i < offset && i < part->text.n; i++) {
        line += part->text.p[i] == '\n';
    }
    return line;
}
