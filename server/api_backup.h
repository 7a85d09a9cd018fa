/* api_backup: what main.c needs of it; the handler is declared by router.h. */
#ifndef DAYBOOK_SERVER_API_BACKUP_H
#define DAYBOOK_SERVER_API_BACKUP_H

/* Stops a backup that is running, whose answer is then cut; waits for it. No request may start one
 * afterwards. Idempotent. */
void api_backup_stop(void);

#endif
