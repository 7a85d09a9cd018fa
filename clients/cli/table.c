/* table: see table.h. */
#include "table.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>

#define CELL_BYTES_MAX ((size_t)256 << 20)

/* ---- for people ---- */

struct column {
    size_t width;
    bool numbers, text; /* are in it */
};

struct layout {
    const struct daybook_rows *rows;
    struct column *columns;
    struct daybook_buffer cell;
};

/* The cell as it is shown, in l->cell; how wide that is. False: no memory. */
static bool show(struct layout *l, const void *p, size_t n, size_t *ret_width)
{
    l->cell.n = 0;
    if (!text_add_safe(&l->cell, p, n)) {
        return false;
    }
    (void)text_cut(l->cell.p, l->cell.n, SIZE_MAX, ret_width);
    return true;
}

static bool show_value(struct layout *l, const struct daybook_value *v, size_t *ret_width)
{
    return v->kind == DAYBOOK_NULL ? show(l, "NULL", 4, ret_width)
                                   : show(l, v->text.p, v->text.n, ret_width);
}

static bool measure(struct layout *l)
{
    const struct daybook_rows *rows = l->rows;
    for (size_t i = 0; i < rows->columns_n; i++) {
        if (!show(l, rows->columns[i], strlen(rows->columns[i]), &l->columns[i].width)) {
            return false;
        }
    }
    for (size_t i = 0; i < rows->rows_n * rows->columns_n; i++) {
        struct column *c = &l->columns[i % rows->columns_n];
        size_t width;
        if (!show_value(l, &rows->values[i], &width)) {
            return false;
        }
        c->width = width > c->width ? width : c->width;
        c->text = c->text || rows->values[i].kind == DAYBOOK_TEXT;
        c->numbers = c->numbers ||
                     (rows->values[i].kind != DAYBOOK_TEXT && rows->values[i].kind != DAYBOOK_NULL);
    }
    return true;
}

static bool add_repeated(struct daybook_buffer *b, uint8_t byte, size_t n)
{
    if (n == 0 || !daybook_buffer_reserve(b, n)) {
        return n == 0;
    }
    memset(b->p + b->n, byte, n);
    b->n += n;
    return true;
}

static bool end_line(struct daybook_buffer *b, bool blanks)
{
    while (blanks && b->n > 0 && b->p[b->n - 1] == ' ') {
        b->n--;
    }
    return daybook_buffer_add_byte(b, '\n');
}

/* What is in l->cell, in its column; no blanks of ours at the end of a line. */
static bool add_cell(struct daybook_buffer *b, const struct layout *l, size_t i, size_t width)
{
    const struct column *c = &l->columns[i];
    bool last = i + 1 == l->rows->columns_n, right = c->numbers && !c->text;
    size_t blanks = c->width - width;
    return (!right || add_repeated(b, ' ', blanks)) &&
           daybook_buffer_add(b, l->cell.p, l->cell.n) &&
           (last ? end_line(b, l->cell.n == 0)
                 : (right || add_repeated(b, ' ', blanks)) && daybook_buffer_add_text(b, "  "));
}

static bool add_head(struct daybook_buffer *b, struct layout *l)
{
    const struct daybook_rows *rows = l->rows;
    size_t width;
    bool ok = true;
    for (size_t i = 0; ok && i < rows->columns_n; i++) {
        ok =
            show(l, rows->columns[i], strlen(rows->columns[i]), &width) && add_cell(b, l, i, width);
    }
    for (size_t i = 0; ok && i < rows->columns_n; i++) {
        ok = add_repeated(b, '-', l->columns[i].width) &&
             daybook_buffer_add_text(b, i + 1 == rows->columns_n ? "\n" : "  ");
    }
    return ok;
}

static bool add_all(struct daybook_buffer *b, struct layout *l)
{
    const struct daybook_rows *rows = l->rows;
    bool ok = measure(l) && add_head(b, l);
    for (size_t i = 0; ok && i < rows->rows_n * rows->columns_n; i++) {
        size_t width;
        ok = show_value(l, &rows->values[i], &width) && add_cell(b, l, i % rows->columns_n, width);
    }
    return ok;
}

bool table_add_text(struct daybook_buffer *b, const struct daybook_rows *rows)
{
    struct layout l = {.rows = rows, .columns = calloc(rows->columns_n + 1, sizeof *l.columns)};
    daybook_buffer_init(&l.cell, CELL_BYTES_MAX);
    bool ok = l.columns != NULL && add_all(b, &l);
    daybook_buffer_done(&l.cell);
    free(l.columns);
    return ok;
}

/* ---- CSV ---- */

static bool add_quoted(struct daybook_buffer *b, const uint8_t *p, size_t n)
{
    bool ok = daybook_buffer_add_byte(b, '"');
    for (size_t i = 0; ok && i < n; i++) {
        ok = (p[i] != '"' || daybook_buffer_add_byte(b, '"')) && daybook_buffer_add_byte(b, p[i]);
    }
    return ok && daybook_buffer_add_byte(b, '"');
}

static bool add_field(struct daybook_buffer *b, const uint8_t *p, size_t n)
{
    bool plain = n > 0;
    for (size_t i = 0; plain && i < n; i++) {
        plain = p[i] != '"' && p[i] != ',' && p[i] != '\r' && p[i] != '\n';
    }
    return plain ? daybook_buffer_add(b, p, n) : add_quoted(b, p, n);
}

bool table_add_csv(struct daybook_buffer *b, const struct daybook_rows *rows)
{
    bool ok = true;
    for (size_t i = 0; ok && i < rows->columns_n; i++) {
        ok = add_field(b, (const uint8_t *)rows->columns[i], strlen(rows->columns[i])) &&
             daybook_buffer_add_text(b, i + 1 == rows->columns_n ? "\r\n" : ",");
    }
    for (size_t i = 0; ok && i < rows->rows_n * rows->columns_n; i++) {
        const struct daybook_value *v = &rows->values[i];
        ok = (v->kind == DAYBOOK_NULL || add_field(b, v->text.p, v->text.n)) &&
             daybook_buffer_add_text(b, (i + 1) % rows->columns_n == 0 ? "\r\n" : ",");
    }
    return ok;
}
