/* interrupt: see interrupt.h. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define AGAIN_S 1

static volatile sig_atomic_t came;
static struct daybook *volatile watched;

/* A signal ends a system call that waits, but not one that begins to wait a moment after it. An
 * alarm that goes off again and again ends that one too. */
static void on_alarm(int number)
{
    (void)number;
    (void)alarm(AGAIN_S);
}

static void on_signal(int number)
{
    came = number;
    if (watched != NULL) {
        daybook_interrupt(watched);
    }
    (void)alarm(AGAIN_S);
}

/* SA_RESETHAND makes the second signal the system's again; without SA_RESTART a wait ends. A signal
 * that whoever started us has chosen to ignore, as a shell does for what runs in the background,
 * stays ignored. */
static void catch_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct sigaction before;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        (void)sigaction(number, &action, NULL);
    }
}

void interrupt_watch(struct daybook *db)
{
    watched = db;
    catch_signal(SIGALRM, on_alarm, 0);
    catch_signal(SIGINT, on_signal, (int)SA_RESETHAND);
    catch_signal(SIGTERM, on_signal, (int)SA_RESETHAND);
}

void interrupt_forget(void)
{
    watched = NULL;
}

bool interrupt_came(void)
{
    return came != 0;
}

int interrupt_exit(void)
{
    return 128 + came;
}
