/* cells: see cells.h. */
#include "cells.h"

#include "cli.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES_MAX ((size_t)256 << 20)

struct daybook_value cell_text(const char *text)
{
    return (struct daybook_value){.kind = DAYBOOK_TEXT, .text = {text, strlen(text)}};
}

struct daybook_value cell_number(char cell[CELL_BYTES], uint64_t n)
{
    (void)snprintf(cell, CELL_BYTES, "%" PRIu64, n);
    return (struct daybook_value){.kind = DAYBOOK_INTEGER, .text = {cell, strlen(cell)}};
}

static bool print_rows(const struct daybook_rows *rows)
{
    struct daybook_buffer out;
    daybook_buffer_init(&out, OUTPUT_BYTES_MAX);
    bool ok = table_add_text(&out, rows);
    if (ok) {
        (void)fwrite(out.p, 1, out.n, stdout);
    }
    daybook_buffer_done(&out);
    return ok;
}

int cells_print(const char *const *columns, size_t columns_n, size_t rows_n, cells_fill_fn *fill,
                const void *ctx)
{
    struct daybook_value *values = calloc(rows_n * columns_n + 1, sizeof *values);
    char(*cells)[CELL_BYTES] = calloc(rows_n * columns_n + 1, sizeof *cells);
    bool ok = values != NULL && cells != NULL;
    if (ok) {
        for (size_t i = 0; i < rows_n; i++) {
            fill(ctx, i, cells + i * columns_n, values + i * columns_n);
        }
        ok = print_rows(&(struct daybook_rows){
            .columns = columns, .columns_n = columns_n, .values = values, .rows_n = rows_n});
    }
    free(values);
    free(cells);
    if (!ok) {
        cli_error("not enough memory");
    }
    return ok ? CLI_OK : CLI_FAILED;
}
