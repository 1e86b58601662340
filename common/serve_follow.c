/*
 * serve_follow - brings a worker to the processor of its client
 *
 * A client and the worker that lingers on it take turns. On one processor that is a mere switch;
 * on two, each turn interrupts the other processor. Where all processors are busy the kernel
 * leaves such a pair apart for as long as it lasts (seen with Linux 6.18 and two processors: 83,000
 * answers a second against 128,000). So a worker looks now and then where its client ran last, and
 * moves there; the kernel may move it on at once.
 *
 * Over TCP the kernel tells where the last segment was taken in, which on the loopback device is
 * where the client sent it. Over a Unix socket the process that connected is looked up in /proc.
 *
 * BUGS
 *	Where /proc shows no processes of others (ProtectProc=invisible), and behind a client that
 *	passed its Unix socket on to another process, workers stay where they are.
 *
 *	A set of processors that is widened while a worker moves is seen by that worker only later.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/log.h"
#include "common/proc_stat.h"
#include "common/serve_engine.h"

#define FOLLOW_MS    4  /* between looks, and so many requests: */
#define FOLLOW_TURNS 16 /* one look costs as much as a request */

/* Or -1. */
static int processor_of_client(const struct client *client)
{
	int fd = client->connection.fd, processor;
	struct ucred peer;
	socklen_t peer_len = sizeof(peer), processor_len = sizeof(processor);
	int64_t seen;
	if (!client->connection.endpoint->is_unix)
		return getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &processor, &processor_len) == 0
			       ? processor
			       : -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) != 0 || peer.pid <= 0 ||
	    !proc_stat_field(peer.pid, PROC_STAT_PROCESSOR, &seen) || seen >= CPU_SETSIZE)
		return -1;
	return (int)seen;
}

void serve_follow_now(const struct client *client)
{
	int processor = processor_of_client(client);
	cpu_set_t allowed, there;
	if (processor < 0 || processor >= CPU_SETSIZE || processor == sched_getcpu() ||
	    sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || !CPU_ISSET(processor, &allowed))
		return;
	CPU_ZERO(&there);
	CPU_SET(processor, &there);
	/* Fails when the set of processors has just changed: then stay. */
	if (sched_setaffinity(0, sizeof(there), &there) == 0 &&
	    sched_setaffinity(0, sizeof(allowed), &allowed) != 0)
		log_error("a worker is bound to processor %d error=<%s>", processor,
			  strerror(errno));
}

/* As exact as the kernel's tick, for much less. */
static int64_t coarse_now_ms(void)
{
	struct timespec now;
	/* Cannot fail: the clock exists. */
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void serve_follow(struct client *client)
{
	if (++client->turns < FOLLOW_TURNS)
		return;
	int64_t now = coarse_now_ms();
	if (now - client->followed_ms < FOLLOW_MS)
		return;
	client->turns = 0;
	client->followed_ms = now;
	serve_follow_now(client);
}
