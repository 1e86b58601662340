/*
 * agent_front - what is started as lmtp-deliver: hands an agent's message to the server, or becomes
 * the full program
 *
 * pipe(8) starts a process for each message, and the libraries of the full program take longer to
 * load than a message to deliver. So this one has the C library and the parsers only.
 *
 * The full program is where `make install` puts it; in a build it is below the folder of this one.
 * Nothing in the environment can change that.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lmtp-deliver/agent_handover.h"
#include "lmtp-deliver/agent_options.h"
#include "lmtp-deliver/agent_process.h"

#define BUILT "full/lmtp-deliver"

static void become_full(char **argv)
{
	char path[PATH_MAX + sizeof(BUILT)];
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash = len > 0 && len < PATH_MAX ? memrchr(path, '/', (size_t)len) : NULL;

	if (slash) {
		memcpy(slash + 1, BUILT, sizeof(BUILT));
		(void)execv(path, argv);
	}
	(void)execv(POSTERN_LIBEXEC_DIR "/lmtp-deliver", argv);
}

int main(int argc, char **argv)
{
	pid_t parent = getppid();
	struct agent_options options;
	struct error err;
	bool is_agent = agent_wanted(argc, argv);
	int status;

	if (is_agent) {
		agent_catch_signals();
		/* For the full program, too, which can no longer tell who started us. */
		if (!agent_die_with_parent(parent))
			return agent_finish(451, "4.3.0", "the calling process is gone");
		if (agent_options_parse(argc, argv, &options, &err) &&
		    agent_hand_over(&options, parent, &status))
			return status;
	}
	become_full(argv);
	(void)snprintf(err.text, sizeof(err.text), "%s/lmtp-deliver: %s", POSTERN_LIBEXEC_DIR,
		       strerror(errno));
	if (is_agent)
		return agent_finish(451, "4.3.5", err.text);
	(void)fprintf(stderr, "lmtp-deliver: %s\n", err.text);
	return EX_OSERR;
}
