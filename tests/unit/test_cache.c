/*
 * test_cache - lifetimes, bounded memory, order of leaving, threads
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cache.h"

static enum cache_state get(struct cache *cache, const char *key, enum result *result, char *value)
{
	struct buf buf = BUF_INIT;
	enum cache_state state = cache_get(cache, key, strlen(key), result, &buf);
	strcpy(value, buf_str(&buf));
	buf_free(&buf);
	return state;
}

static void put(struct cache *cache, const char *key, enum result result, const char *value)
{
	cache_put(cache, cache_ticket(cache), key, strlen(key), result, value,
		  value ? strlen(value) : 0);
}

START_TEST(test_basics)
{
	const struct cache_limits limits = {60000, 60000, 0, 1 << 20};
	struct cache *cache = cache_new(&limits);
	enum result result = RESULT_PERM;
	char value[100];
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_MISS);
	put(cache, "a", RESULT_FOUND, "one");
	put(cache, "b", RESULT_NONE, NULL);
	put(cache, "c", RESULT_TEMP, "no");
	put(cache, "d", RESULT_PERM, "no");
	put(cache, "", RESULT_FOUND, "");
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_FRESH);
	ck_assert_int_eq(result, RESULT_FOUND);
	ck_assert_str_eq(value, "one");
	ck_assert_int_eq(get(cache, "b", &result, value), CACHE_FRESH);
	ck_assert_int_eq(result, RESULT_NONE);
	ck_assert_str_eq(value, "");
	ck_assert_int_eq(get(cache, "c", &result, value), CACHE_MISS);
	ck_assert_int_eq(get(cache, "d", &result, value), CACHE_MISS);
	ck_assert_int_eq(get(cache, "", &result, value), CACHE_FRESH);
	ck_assert_int_eq(get(cache, "aa", &result, value), CACHE_MISS);
	/* NUL bytes are part of keys and values. */
	cache_put(cache, cache_ticket(cache), "x\0y", 3, RESULT_FOUND, "p\0q", 3);
	struct buf buf = BUF_INIT;
	buf_puts(&buf, "before ");
	ck_assert_int_eq(cache_get(cache, "x\0z", 3, &result, &buf), CACHE_MISS);
	ck_assert_int_eq(cache_get(cache, "x\0y", 3, &result, &buf), CACHE_FRESH);
	ck_assert_uint_eq(buf.len, 10);
	ck_assert_mem_eq(buf.data, "before p\0q", 10);
	buf_free(&buf);
	/* The last one counts. */
	put(cache, "a", RESULT_FOUND, "two");
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_FRESH);
	ck_assert_str_eq(value, "two");
	put(cache, "a", RESULT_NONE, NULL);
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_FRESH);
	ck_assert_int_eq(result, RESULT_NONE);
	struct cache_statistics statistics;
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, 4);
	ck_assert_uint_gt(statistics.bytes, 0);
	ck_assert_uint_eq(cache_flush(cache, NULL, NULL), 4);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, 0);
	ck_assert_uint_eq(statistics.bytes, 0);
	ck_assert_int_eq(get(cache, "b", &result, value), CACHE_MISS);
	put(cache, "b", RESULT_NONE, NULL);
	cache_free(&cache);
	ck_assert_ptr_null(cache);
	cache_free(&cache);
}
END_TEST

START_TEST(test_lifetimes)
{
	const struct cache_limits stale = {1, 0, 60000, 1 << 20}, gone = {1, 0, 1, 1 << 20},
				  fresh = {60000, 0, 0, 1 << 20};
	struct cache *cache = cache_new(&stale);
	enum result result;
	char value[100];
	put(cache, "a", RESULT_FOUND, "one");
	put(cache, "b", RESULT_NONE, NULL);
	poll(NULL, 0, 5);
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_STALE);
	ck_assert_int_eq(result, RESULT_FOUND);
	ck_assert_str_eq(value, "one");
	ck_assert_int_eq(get(cache, "b", &result, value), CACHE_MISS);
	cache_free(&cache);

	struct cache_statistics statistics;
	cache = cache_new(&gone);
	put(cache, "a", RESULT_FOUND, "one");
	poll(NULL, 0, 5);
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_MISS);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, 0);
	cache_free(&cache);

	/* An answer that is not kept still ends the old one. */
	cache = cache_new(&fresh);
	put(cache, "a", RESULT_FOUND, "one");
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_FRESH);
	put(cache, "a", RESULT_NONE, NULL);
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_MISS);
	cache_free(&cache);
}
END_TEST

START_TEST(test_bounds)
{
	const struct cache_limits limits = {60000, 60000, 0, 64 * 1024}, off = {60000, 60000, 0, 0};
	struct cache *cache = cache_new(&limits);
	struct cache_statistics statistics;
	enum result result;
	char key[32], value[6000];
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		put(cache, key, RESULT_FOUND, "some value");
		/* Asked for again and again, this one stays. */
		put(cache, i == 0 ? "keep" : "x", RESULT_FOUND, "v");
		ck_assert_int_eq(get(cache, "keep", &result, value), CACHE_FRESH);
		cache_statistics(cache, &statistics);
		ck_assert_uint_le(statistics.bytes, 64 * 1024);
	}
	ck_assert_uint_gt(statistics.evictions, 4000);
	ck_assert_uint_gt(statistics.entries, 100);
	ck_assert_int_eq(get(cache, "key0", &result, value), CACHE_MISS);
	ck_assert_int_eq(get(cache, "key4999", &result, value), CACHE_FRESH);
	/* Larger than a shard. */
	memset(value, 'x', 5000);
	value[5000] = '\0';
	put(cache, "large", RESULT_FOUND, value);
	ck_assert_int_eq(get(cache, "large", &result, value), CACHE_MISS);
	cache_free(&cache);

	cache = cache_new(&off);
	put(cache, "a", RESULT_FOUND, "x");
	ck_assert_int_eq(get(cache, "a", &result, value), CACHE_MISS);
	cache_free(&cache);
}
END_TEST

static bool begins_with(const char *key, size_t len, const void *context)
{
	const char *text = context;
	return len >= strlen(text) && memcmp(key, text, strlen(text)) == 0;
}

START_TEST(test_flush)
{
	const struct cache_limits limits = {60000, 60000, 0, 1 << 20};
	struct cache *cache = cache_new(&limits);
	struct cache_statistics statistics;
	enum result result;
	char key[32], value[100];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%s%d", i % 4 == 0 ? "a" : "b", i);
		put(cache, key, RESULT_FOUND, "v");
	}
	ck_assert_uint_eq(cache_flush(cache, begins_with, "a"), 25);
	ck_assert_uint_eq(cache_flush(cache, begins_with, "a"), 0);
	ck_assert_int_eq(get(cache, "a4", &result, value), CACHE_MISS);
	ck_assert_int_eq(get(cache, "b5", &result, value), CACHE_FRESH);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, 75);
	/* An answer asked for before any flush is old, whatever was flushed. */
	uint64_t ticket = cache_ticket(cache);
	ck_assert_uint_eq(cache_flush(cache, begins_with, "c"), 0);
	cache_put(cache, ticket, "c", 1, RESULT_FOUND, "old", 3);
	ck_assert_int_eq(get(cache, "c", &result, value), CACHE_MISS);
	put(cache, "c", RESULT_FOUND, "new");
	cache_put(cache, ticket, "c", 1, RESULT_FOUND, "old", 3);
	ck_assert_int_eq(get(cache, "c", &result, value), CACHE_FRESH);
	ck_assert_str_eq(value, "new");
	cache_free(&cache);
}
END_TEST

static _Atomic int wrong;

static void *hammer(void *argument)
{
	struct cache *cache = argument;
	static _Atomic unsigned seeds;
	unsigned seed = ++seeds;
	char key[32], value[100];
	for (int i = 0; i < 20000; i++) {
		enum result result;
		snprintf(key, sizeof(key), "k%d", rand_r(&seed) % 500);
		if (rand_r(&seed) % 3 == 0)
			put(cache, key, RESULT_FOUND, key);
		else if (rand_r(&seed) % 2000 == 0)
			(void)cache_flush(cache, NULL, NULL);
		else if (get(cache, key, &result, value) != CACHE_MISS && strcmp(key, value) != 0)
			wrong++;
	}
	return NULL;
}

START_TEST(test_threads)
{
	const struct cache_limits limits = {60000, 60000, 0, 50000};
	struct cache *cache = cache_new(&limits);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, cache), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(wrong, 0);
	cache_free(&cache);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cache");
	TCase *tcase = tcase_create("cache");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_basics);
	tcase_add_test(tcase, test_lifetimes);
	tcase_add_test(tcase, test_bounds);
	tcase_add_test(tcase, test_flush);
	tcase_add_test(tcase, test_threads);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
