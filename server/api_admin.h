/* api_admin: health, status, verify. What main.c needs of it; the handlers are declared by
 * router.h. */
#ifndef DAYBOOK_SERVER_API_ADMIN_H
#define DAYBOOK_SERVER_API_ADMIN_H

/* Stops a verify that is running, so that its request is answered; waits for it. No request may
 * start one afterwards. Idempotent. */
void api_admin_stop(void);

#endif
