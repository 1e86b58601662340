/*
 * NAME
 *	flush - forget answers about an address, a domain, or all
 * LIMITS
 *	Only keys are compared. What another address's answer took from the one flushed (an alias of
 *	it, a login that may send as it, the same address in an alias domain) stays; flush the
 *	domain, or all.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/flush.h"

#include <string.h>

#include "common/address.h"

struct target {
	struct address address; /* unless local is "" */
	char domain[ADDRESS_MAX + 1];
	const char *delimiters;
};

/* The key behind the map's name of a remembered request. */
static bool split_request(const char *request, size_t len, const char **key_r, size_t *key_len_r)
{
	const char *space = memchr(request, ' ', len);

	if (!space)
		return false;
	*key_r = space + 1;
	*key_len_r = len - (size_t)(*key_r - request);
	return true;
}

static bool matches_address(const char *request, size_t len, const void *context)
{
	const struct target *target = context;
	struct address address;
	const char *key;
	size_t key_len;

	if (!split_request(request, len, &key, &key_len) ||
	    !address_parse(&address, key, key_len, target->delimiters) ||
	    strcmp(address.domain, target->address.domain) != 0)
		return false;
	return strcmp(address.local, target->address.local) == 0 ||
	       (address.base_len == strlen(target->address.local) &&
		memcmp(address.local, target->address.local, address.base_len) == 0);
}

static bool matches_domain(const char *request, size_t len, const void *context)
{
	const struct target *target = context;
	char folded[ADDRESS_MAX + 1];
	const char *key, *at;
	size_t key_len;

	if (!split_request(request, len, &key, &key_len))
		return false;
	at = memrchr(key, '@', key_len);
	if (at) {
		key_len -= (size_t)(at + 1 - key);
		key = at + 1;
	}
	if (key_len > 0 && key[0] == '.') {
		key++;
		key_len--;
	}
	return address_fold(folded, sizeof(folded), key, key_len) &&
	       strcmp(folded, target->domain) == 0;
}

enum result flush_answers(struct cache *cache, const char *key, size_t len, const char *delimiters,
			  size_t *count_r, struct error *err)
{
	struct target target = {.delimiters = delimiters};
	bool at = len > 0 && key[0] == '@';
	cache_match *match;

	*count_r = 0;
	if (len == 3 && memcmp(key, "all", 3) == 0)
		match = NULL;
	else if (address_parse(&target.address, key, len, NULL))
		match = matches_address;
	else if (address_domain(target.domain, key + at, len - at))
		match = matches_domain;
	else
		return result_error(err, RESULT_PERM,
				    "name an address, a domain, or all, to be forgotten");
	if (cache)
		*count_r = cache_flush(cache, match, &target);
	return RESULT_FOUND;
}
