/*
 * The maps: a main.cf parameter name and a key in, the answer out. postfix-lookup serves it over
 * socketmap, `postern lookup` prints it. Key rules and answers, map by map: postfix-lookup(8).
 */
#ifndef POSTERN_MAPS_H
#define POSTERN_MAPS_H

#include "common/resolve.h"

/*
 * FOUND: the answer, never empty, appended to ANSWER_R. PERM: unknown map name (a typing error in
 * main.cf must not bounce mail), or what resolve says. Answers longer than 100,000 bytes less
 * "OK " are PERM. A [map NAME] of the settings comes before a built-in map of that name.
 */
enum result maps_lookup(struct accounts *accounts, const struct settings *settings, const char *map,
			const char *key, size_t key_len, struct buf *answer_r, struct trace *trace,
			struct error *err) MUST_CHECK;
/* The INDEXth built-in map name, NULL after the last: for help, metrics labels and tests. */
const char *maps_name(size_t index);

#endif
