/*
 * filter - what becomes of a message
 *
 * user+folder goes into the folder, if [lmtp] folders allows that; everything else is kept.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "lmtp-deliver/filter.h"

enum result filter_run(const struct settings *settings, const struct envelope *envelope,
		       const struct message *message, const struct recipient *recipient,
		       struct filter_actions *actions_r, struct error *err)
{
	(void)envelope;
	(void)message;
	(void)err;
	actions_r->count = 1;
	actions_r->list[0] = (struct filter_action){FILTER_KEEP, ""};
	if (recipient->folder.len > 0 && strcmp(settings->lmtp.folders, "no") != 0)
		actions_r->list[0] =
			(struct filter_action){FILTER_FILEINTO, buf_str(&recipient->folder)};
	return RESULT_FOUND;
}
