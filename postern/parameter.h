/*
 * What Postfix does with the tables of a main.cf parameter: which keys it asks its own tables, and
 * what it makes of the answer.
 */
#ifndef POSTERN_POSTERN_PARAMETER_H
#define POSTERN_POSTERN_PARAMETER_H

#include <stdbool.h>

enum parameter_order {
	ORDER_EXACT,     /* the key alone */
	ORDER_PARENTS,   /* a domain, then its parents */
	ORDER_ADDRESS,   /* address with extension, without, @domain */
	ORDER_TRANSPORT, /* address with extension, without, domain, .parents */
};

enum parameter_use {
	USE_EXISTENCE, /* found or not */
	USE_LIST,      /* several values in any order */
	USE_TEXT,      /* as it stands */
};

enum parameter_keys { KEYS_DOMAIN, KEYS_ADDRESS, KEYS_ANY };

struct parameter {
	const char *name;
	enum parameter_keys keys;
	enum parameter_order order;
	enum parameter_use use;
	bool appends; /* the extension, to what was found without it */
};

/* NULL: not one that is known here. */
const struct parameter *parameter_find(const char *name);

#endif
