/* daybookd: commands that work on files: this process becomes a daybookd that does it. */
#ifndef DAYBOOK_CLI_DAYBOOKD_H
#define DAYBOOK_CLI_DAYBOOKD_H

/* Becomes the daybookd in the folder of this program, else of PATH. argv ends with NULL. Returns
 * only when it cannot, what the command is to return. */
int daybookd_become(char *const argv[]);

#endif
