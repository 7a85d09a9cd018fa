/* event_text: events as lines for people, safe on a terminal.
 *
 * Any thread, no state. */
#ifndef DAYBOOK_CLI_EVENT_TEXT_H
#define DAYBOOK_CLI_EVENT_TEXT_H

#include "clients/c/buffer.h"
#include "clients/c/daybook.h"

/* {0} is a whole line without colours. */
struct event_text_style {
    bool position; /* in front, in 8 columns */
    bool colour;
    size_t columns; /* of the terminal, behind which the line is cut; 0: it is not */
};

/* Adds "<time>  <stream>@<revision>  <type>  <data>" and a line break. Of long data the beginning.
 * False: the buffer cannot grow. */
bool event_text_add(struct daybook_buffer *line, const struct daybook_event *event,
                    const struct event_text_style *style);

/* The style for standard output as it is now: colours on a terminal that is not "dumb", unless
 * NO_COLOR is set (no-color.org); its width. */
struct event_text_style event_text_style_of_stdout(void);

#endif
