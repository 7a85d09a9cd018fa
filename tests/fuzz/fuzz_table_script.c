/* The text of a table projection, cut into its parts (table_script.c): the parts lie in the source,
 * in its order, each with the line it stands in; they lose nothing but directives. Whatever is
 * refused must say why. */
#include "projections/table_script.h"
#include "storage/base/check.h"
#include "storage/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned line_of(struct bytes source, const uint8_t *p)
{
    unsigned line = 1;
    for (const uint8_t *at = source.p; at < p; at++) {
        line += *at == '\n';
    }
    return line;
}

static void check_names(const struct bytes *names, size_t n, struct bytes source)
{
    CHECK(n <= SCRIPT_NAMES_MAX);
    for (size_t i = 0; i < n; i++) {
        CHECK(event_name_is_valid(names[i]) && !event_name_is_system(names[i]));
        CHECK(names[i].p >= source.p && names[i].p + names[i].n <= source.p + source.n);
    }
}

/* A part begins where a line does, or at the end of the source. */
static void check_part(const struct script_part *part, struct bytes source)
{
    const uint8_t *p = part->text.p, *end = source.p + source.n;
    CHECK(p >= source.p && p + part->text.n <= end);
    CHECK(p == source.p || p == end || p[-1] == '\n');
    if (p < end) {
        CHECK(part->line == line_of(source, p));
        CHECK(script_line(part, part->text.n) == line_of(source, p + part->text.n));
    }
}

static void check_script(const struct script *s, struct bytes source)
{
    size_t text = 0;
    CHECK(s->block_count > 0 && s->block_count <= SCRIPT_BLOCKS_MAX);
    CHECK(s->schema_count > 0 && s->schema_count <= SCRIPT_BLOCKS_MAX + 1);
    check_names(s->categories, s->category_count, source);
    for (size_t i = 0; i < s->schema_count; i++) {
        check_part(&s->schema[i], source);
        text += s->schema[i].text.n;
    }
    for (size_t i = 0; i < s->block_count; i++) {
        const struct script_block *b = &s->blocks[i];
        CHECK(b->any || b->type_count > 0);
        check_names(b->types, b->type_count, source);
        check_part(&b->part, source);
        text += b->part.text.n;
        CHECK(i == 0 || b->part.text.p > b[-1].part.text.p || b->part.text.n == 0);
    }
    CHECK(text < source.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes source = bytes_of(data, size);
    struct err_text et = {0};
    static struct script script;
    err_t err = script_parse(source, &script, &et);
    if (err == ERR_OK) {
        check_script(&script, source);
    } else {
        CHECK(err == ERR_MEMORY || (err == ERR_INVALID && et.text[0] != '\0'));
        CHECK(bytes_are_utf8(bytes_of_string(et.text)));
    }
    script_done(&script);
    return 0;
}
