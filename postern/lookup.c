/*
 * NAME
 *	lookup - postern lookup MAP KEY
 *
 * DESCRIPTION
 *	The answer that postfix-lookup would give without its cache: the same code answers.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/maps.h"
#include "common/site_map.h"
#include "postern/postern.h"

static bool is_map(const struct postern *postern, const char *name)
{
	if (site_map_find(&postern->settings, name))
		return true;
	for (size_t i = 0; maps_name(i); i++)
		if (strcmp(maps_name(i), name) == 0)
			return true;
	return false;
}

static int unknown_map(const struct postern *postern, const char *name)
{
	struct buf names = BUF_INIT;
	int code;

	for (size_t i = 0; maps_name(i); i++)
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", maps_name(i));
	for (size_t i = 0; i < postern->settings.map_count; i++)
		buf_printf(&names, ", %s", postern->settings.maps[i].name);
	code = postern_fail(postern, EX_USAGE, "there is no map \"%s\"; the maps are %s", name,
			    buf_str(&names));
	buf_free(&names);
	return code;
}

int lookup(struct postern *postern, const struct arguments *arguments)
{
	const char *map = arguments->words[0], *key = arguments->words[1];
	struct output *output = &postern->output;
	struct buf answer = BUF_SECRET;
	struct error err = {""};
	int code;

	code = postern_settings(postern);
	if (code == EX_OK && !is_map(postern, map))
		return unknown_map(postern, map);
	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code != EX_OK)
		return code;
	code = postern_result(postern,
			      maps_lookup(postern->accounts, &postern->settings, map, key,
					  strlen(key), &answer, NULL, &err),
			      key, &err);
	if (code == EX_OK) {
		output->form = OUTPUT_PLAIN;
		output_row(output);
		if (output->json) {
			output_text(output, "map", map);
			output_text(output, "key", key);
		}
		output_text(output, "answer", buf_str(&answer));
		output_end(output);
	}
	buf_free(&answer);
	return code;
}
