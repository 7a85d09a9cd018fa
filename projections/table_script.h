/* table_script: the text of a table projection, cut into its parts. It knows lines, quotes and
 * directives; the SQL between them is SQLite's business.
 *
 *     -- @category order                     which streams (optional; repeatable, commas)
 *     CREATE TABLE totals (...);             the schema: what stands outside of blocks
 *     -- @on OrderPlaced, OrderChanged       a block: what to do for events of these types
 *     INSERT INTO totals VALUES (:entity, :data ->> 'amount');
 *     -- @on *                               ... of any type
 *     -- @end                                back to the schema (optional)
 *
 * Any thread; pure. All text is borrowed from the source. */
#ifndef DAYBOOK_PROJECTIONS_TABLE_SCRIPT_H
#define DAYBOOK_PROJECTIONS_TABLE_SCRIPT_H

#include "storage/base/arena.h"

#define SCRIPT_BLOCKS_MAX 256
#define SCRIPT_NAMES_MAX  64 /* types of one block; categories */

struct script_part {
    struct bytes text;
    unsigned line; /* of its first byte, from 1 */
};

struct script_block {
    struct script_part part;
    bool any; /* `*` */
    struct bytes *types;
    size_t type_count;
};

struct script {
    struct arena arena;
    struct script_part schema[SCRIPT_BLOCKS_MAX + 1];
    size_t schema_count;
    struct script_block blocks[SCRIPT_BLOCKS_MAX];
    size_t block_count;
    struct bytes categories[SCRIPT_NAMES_MAX];
    size_t category_count;
};

/* ERR_INVALID with the line, ERR_MEMORY. Fills *ret, which is given back by script_done in any
 * case. */
MUST_CHECK err_t script_parse(struct bytes source, struct script *ret, struct err_text *et);
void script_done(struct script *s);

/* The line of a byte of a part. */
unsigned script_line(const struct script_part *part, size_t offset);

#endif
