/*
 * One request on its way to an answer: from memory, from the database, or from another request that
 * asks the same; and what is done when the database is away.
 */
#ifndef POSTERN_INQUIRY_H
#define POSTERN_INQUIRY_H

#include "common/cache.h"
#include "common/serve.h"
#include "postfix-lookup/database.h"

#define MAP_NAME_MAX 64 /* longer names are unknown */

/* The shared state of the service. */
struct lookup {
	const struct settings *settings;
	struct schema *schema;
	struct cache *cache; /* NULL: off */
	struct database *database;
};

struct request {
	char map[MAP_NAME_MAX + 1]; /* "" if it cannot be a map's name */
	size_t map_index;           /* of its counters */
	const char *key;
	size_t key_len;
	const char *payload;
	size_t len;
};

struct inquiry {
	struct lookup *lookup;
	struct accounts *offline;
	const struct request *request;
	struct buf *answer;
	bool away; /* the result tells of the database, not of the key */
	struct error *err;
};

/* False: it must wait, see SERVE_WAIT. Else *RESULT_R, the answer and the error are set. */
bool inquiry_answer(struct inquiry *inquiry, struct connection *connection,
		    enum result *result_r) MUST_CHECK;

/* When the request came (microseconds); for one that has waited, when it began to. */
int64_t inquiry_begin(struct connection *connection);
/* START_US of a request that must wait; 0 when it is answered, and waits for nothing any more. */
void inquiry_set_waiting(struct connection *connection, int64_t start_us);
/* What a connection holds of all this; the service's .close. */
void inquiry_end(struct connection *connection);

void inquiry_register_metrics(void);
/* After a change of the cache. */
void inquiry_show_cache(const struct lookup *lookup);

#endif
