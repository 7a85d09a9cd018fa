/* process: /proc/self and getrusage. */
#include "server/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct pages {
    uint64_t resident, of_files;
};

/* statm and not smaps: it costs nothing, however large the map is. Its numbers: all, resident, of
 * files. */
static struct pages read_pages(void)
{
    uint64_t numbers[3] = {0};
    char line[256] = "", *at = line;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return (struct pages){0, 0};
    }
    bool ok = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    for (size_t i = 0; ok && i < 3; i++) {
        char *end;
        numbers[i] = strtoull(at, &end, 10);
        ok = end != at;
        at = end;
    }
    return ok ? (struct pages){numbers[1], numbers[2]} : (struct pages){0, 0};
}

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t process_private_bytes(void)
{
    struct pages pages = read_pages();
    return pages.resident < pages.of_files ? 0 : (pages.resident - pages.of_files) * page_bytes();
}

uint64_t process_resident_bytes(void)
{
    return read_pages().resident * page_bytes();
}

double process_cpu_s(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t process_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return 0;
    }
    uint64_t n = 0;
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n < 3 ? 0 : n - 3; /* not ".", ".." and the directory itself */
}

uint64_t process_open_files_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 ? 0 : (uint64_t)limit.rlim_cur;
}
