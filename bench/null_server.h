/*
 * A thread for each connection, as the yardsticks of scripts/bench serve: the least there is between
 * a client and what it asks for.
 */
#ifndef POSTERN_BENCH_NULL_SERVER_H
#define POSTERN_BENCH_NULL_SERVER_H

/*
 * Serves the Unix socket PATH, which all may use, until a signal ends the process: CONVERSE runs in a
 * thread for each client, whose descriptor is closed when it returns. Returns the exit status after
 * NAME was told what went wrong.
 */
int null_server_run(const char *name, const char *path, void (*converse)(int fd));

#endif
