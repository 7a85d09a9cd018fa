/* cells: tables that a command makes row by row, for people.
 *
 * One thread. */
#ifndef DAYBOOK_CLI_CELLS_H
#define DAYBOOK_CLI_CELLS_H

#include "clients/c/daybook.h"

#define CELL_BYTES 64 /* of what a row makes itself */

struct daybook_value cell_text(const char *text);
/* Numbers stand to the right; `cell` holds the digits. */
struct daybook_value cell_number(char cell[CELL_BYTES], uint64_t n);

/* Fills row `row`: a value for each column, each with room for what is made for it. */
typedef void cells_fill_fn(const void *ctx, size_t row, char (*cells)[CELL_BYTES],
                           struct daybook_value *ret);
/* Prints it to stdout. CLI_OK, or CLI_FAILED after it has said why. */
int cells_print(const char *const *columns, size_t columns_n, size_t rows_n, cells_fill_fn *fill,
                const void *ctx);

#endif
