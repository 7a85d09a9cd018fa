/* event_text: see event_text.h. A line is put together of parts; each is made safe, then counted in
 * columns and cut where the line is full, and only then gets its colour, which takes no column. */
#include "event_text.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DATA_SHOWN_MAX 1000           /* bytes of an event's data */
#define CUT_MARK       "\xe2\x80\xa6" /* an ellipsis: one column */

/* As ECMA-48 numbers them. */
#define DIM  "2"
#define CYAN "36"
#define BOLD "1"

struct line {
    struct daybook_buffer *to;
    const struct event_text_style *style;
    size_t left; /* columns */
    bool full;
};

static bool add_data(struct line *l, const struct daybook_event *e);
static bool add_part(struct line *l, const char *colour, struct daybook_buffer *part);
static bool add_text(struct line *l, const char *colour, const char *text);

bool event_text_add(struct daybook_buffer *line, const struct daybook_event *e,
                    const struct event_text_style *style)
{
    char position[32], time[TEXT_TIME_SIZE], revision[32];
    struct line l = {line, style, style->columns > 0 ? style->columns : SIZE_MAX, false};
    text_time(e->time_us, time);
    (void)snprintf(position, sizeof position, "%8llu  ", (unsigned long long)e->position);
    (void)snprintf(revision, sizeof revision, "@%llu  ", (unsigned long long)e->revision);
    return (!style->position || add_text(&l, NULL, position)) && add_text(&l, DIM, time) &&
           add_text(&l, NULL, "  ") && add_text(&l, CYAN, e->stream) &&
           add_text(&l, DIM, revision) && add_text(&l, BOLD, e->type) && add_text(&l, NULL, "  ") &&
           add_data(&l, e) && daybook_buffer_add_byte(line, '\n');
}

/* The first bytes of the data; not in the middle of a character. */
static bool add_beginning(struct daybook_buffer *part, struct daybook_bytes data)
{
    size_t shown = data.n;
    const uint8_t *p = data.p;
    if (shown <= DATA_SHOWN_MAX) {
        return text_add_safe(part, p, shown);
    }
    for (shown = DATA_SHOWN_MAX; shown > 0 && (p[shown] & 0xc0) == 0x80; shown--) {
    }
    return text_add_safe(part, p, shown) && daybook_buffer_add_text(part, " ... (") &&
           daybook_buffer_add_number(part, data.n - shown) &&
           daybook_buffer_add_text(part, " bytes more)");
}

static bool add_data(struct line *l, const struct daybook_event *e)
{
    struct daybook_buffer part;
    if (e->redacted) {
        return add_text(l, NULL, "<redacted>");
    }
    daybook_buffer_init(&part, SIZE_MAX);
    bool readable =
        text_media_is_json(e->content_type) || strncmp(e->content_type, "text/", 5) == 0;
    bool ok = readable ? add_beginning(&part, e->data)
                       : daybook_buffer_add_byte(&part, '<') &&
                             daybook_buffer_add_number(&part, e->data.n) &&
                             daybook_buffer_add_text(&part, " bytes of ") &&
                             text_add_safe(&part, e->content_type, strlen(e->content_type)) &&
                             daybook_buffer_add_byte(&part, '>');
    ok = ok && add_part(l, NULL, &part);
    daybook_buffer_done(&part);
    return ok;
}

static bool add_text(struct line *l, const char *colour, const char *text)
{
    struct daybook_buffer part;
    daybook_buffer_init(&part, SIZE_MAX);
    bool ok = text_add_safe(&part, text, strlen(text)) && add_part(l, colour, &part);
    daybook_buffer_done(&part);
    return ok;
}

/* Text that is safe already. */
static bool add_part(struct line *l, const char *colour, struct daybook_buffer *part)
{
    size_t columns = 0;
    if (l->full) {
        return true;
    }
    size_t n = text_cut(part->p, part->n, l->left, &columns);
    l->full = n < part->n;
    if (l->full) {
        n = text_cut(part->p, part->n, l->left > 0 ? l->left - 1 : 0, &columns);
    }
    bool mark = l->full && l->left > 0;
    l->left -= columns;
    bool coloured = l->style->colour && colour != NULL && n > 0;
    return (!coloured ||
            (daybook_buffer_add_text(l->to, "\033[") && daybook_buffer_add_text(l->to, colour) &&
             daybook_buffer_add_byte(l->to, 'm'))) &&
           daybook_buffer_add(l->to, part->p, n) &&
           (!coloured || daybook_buffer_add_text(l->to, "\033[0m")) &&
           (!mark || daybook_buffer_add_text(l->to, CUT_MARK));
}

struct event_text_style event_text_style_of_stdout(void)
{
    struct event_text_style style = {.colour = false};
    struct winsize size;
    const char *none = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (isatty(STDOUT_FILENO) == 1) {
        style.colour =
            (none == NULL || none[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
        style.columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    }
    return style;
}
