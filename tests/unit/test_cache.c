/*
 * test_cache - lifetimes, bounded memory, order of leaving, a model to compare with, threads
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

static void put_number(struct cache *cache, const char *prefix, int number)
{
	char key[32];
	snprintf(key, sizeof(key), "%s%d", prefix, number);
	put(cache, key, RESULT_FOUND, key);
}

static bool has_number(struct cache *cache, const char *prefix, int number)
{
	enum result result;
	char key[32], value[32];
	snprintf(key, sizeof(key), "%s%d", prefix, number);
	if (get(cache, key, &result, value) == CACHE_MISS)
		return false;
	ck_assert_int_eq(result, RESULT_FOUND);
	ck_assert_str_eq(value, key);
	return true;
}

/* Who is asked for stays, the others go, however many come. */
START_TEST(test_second_chance)
{
	const struct cache_limits limits = {60000, 60000, 0, 256 * 1024};
	struct cache *cache = cache_new(&limits);
	struct cache_statistics statistics;
	for (int i = 0; i < 200; i++) {
		put_number(cache, "hot", i);
		put_number(cache, "cold", i);
	}
	for (int i = 200; i < 20000; i++) {
		put_number(cache, "cold", i);
		for (int hot = 0; i % 50 == 0 && hot < 200; hot++)
			ck_assert_msg(has_number(cache, "hot", hot), "hot%d left", hot);
	}
	for (int i = 0; i < 200; i++)
		ck_assert_msg(!has_number(cache, "cold", i), "cold%d stayed", i);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries + statistics.evictions, 20200);
	/* The limit is made use of. */
	ck_assert_uint_gt(statistics.bytes, limits.max_bytes / 10 * 8);
	/* Not asked for any more, they go, too. */
	for (int i = 20000; i < 40000; i++)
		put_number(cache, "cold", i);
	for (int i = 0; i < 200; i++)
		ck_assert_msg(!has_number(cache, "hot", i), "hot%d stayed", i);
	cache_free(&cache);
}
END_TEST

/* Tables double several times, and become small again. */
START_TEST(test_growth)
{
	const struct cache_limits limits = {60000, 60000, 0, 64 << 20};
	const int count = 30000;
	struct cache *cache = cache_new(&limits);
	struct cache_statistics empty, full, left;
	cache_statistics(cache, &empty);
	ck_assert_uint_eq(empty.bytes, 0);
	for (int i = 0; i < count; i++) {
		put_number(cache, "n", i);
		ck_assert(has_number(cache, "n", i));
		ck_assert(has_number(cache, "n", i / 2));
	}
	for (int i = 0; i < count; i++)
		ck_assert(has_number(cache, "n", i));
	cache_statistics(cache, &full);
	ck_assert_uint_eq(full.entries, count);
	ck_assert_uint_eq(full.evictions, 0);
	ck_assert_uint_eq(cache_flush(cache, begins_with, "n2"), 11111);
	for (int i = 0; i < count; i++) {
		bool begins = i == 2 || i / 10 == 2 || i / 100 == 2 || i / 1000 == 2 || i >= 20000;
		ck_assert(has_number(cache, "n", i) == !begins);
	}
	put_number(cache, "left", 0);
	ck_assert_uint_eq(cache_flush(cache, begins_with, "n"), count - 11111);
	ck_assert(has_number(cache, "left", 0));
	cache_statistics(cache, &left);
	ck_assert_uint_eq(left.entries, 1);
	ck_assert_uint_lt(left.bytes, full.bytes / 1000);
	cache_free(&cache);
}
END_TEST

/* What was put in last and not taken out since. */
struct model {
	int version; /* 0: not there */
	size_t len;  /* of the value */
};

static size_t model_value(char *value, size_t size, int key, const struct model *model)
{
	memset(value, 'a' + key % 26, size);
	int len = snprintf(value, size, "%d/%d/", key, model->version);
	value[len] = 'x';
	return model->len > (size_t)len ? model->len : (size_t)len;
}

static bool is_key(const char *key, size_t len, const void *context)
{
	return len == strlen(context) && memcmp(key, context, len) == 0;
}

/* Adds up keys and values; a key of a cache without evictions must be there. */
static size_t compare(struct cache *cache, const struct model *models, int keys, bool complete)
{
	size_t bytes = 0, entries = 0;
	struct cache_statistics statistics;
	for (int i = 0; i < keys; i++) {
		struct buf found = BUF_INIT;
		enum result result = RESULT_PERM;
		char key[32], value[4096];
		snprintf(key, sizeof(key), "key%d", i);
		bool there = cache_get(cache, key, strlen(key), &result, &found) == CACHE_FRESH;
		if (models[i].version == 0)
			ck_assert(!there);
		else if (complete)
			ck_assert(there);
		if (there) {
			size_t len = model_value(value, sizeof(value), i, &models[i]);
			ck_assert_int_eq(result, RESULT_FOUND);
			ck_assert_uint_eq(found.len, len);
			ck_assert_mem_eq(found.data, value, len);
			bytes += strlen(key) + len;
			entries++;
		}
		buf_free(&found);
	}
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, entries);
	return bytes;
}

static void model_step(struct cache *cache, struct model *models, int keys, unsigned *seed)
{
	int number = rand_r(seed) % keys;
	struct model *model = &models[number];
	char key[32], value[4096];
	snprintf(key, sizeof(key), "key%d", number);
	if (rand_r(seed) % 3 == 0) {
		size_t flushed = cache_flush(cache, is_key, key);
		ck_assert_uint_le(flushed, model->version > 0);
		model->version = 0;
		return;
	}
	model->version++;
	model->len =
		rand_r(seed) % 20 == 0 ? (size_t)rand_r(seed) % 3000 : (size_t)rand_r(seed) % 60;
	size_t len = model_value(value, sizeof(value), number, model);
	cache_put(cache, cache_ticket(cache), key, strlen(key), RESULT_FOUND, value, len);
}

static void run_model(int64_t max_bytes, int keys, int steps, bool complete)
{
	const struct cache_limits limits = {60000, 60000, 0, max_bytes};
	struct cache *cache = cache_new(&limits);
	struct model *models = calloc((size_t)keys, sizeof(*models));
	struct cache_statistics statistics;
	unsigned seed = 20261121;
	for (int i = 0; i < steps; i++) {
		model_step(cache, models, keys, &seed);
		cache_statistics(cache, &statistics);
		ck_assert_uint_le(statistics.bytes, max_bytes);
		if (i % (steps / 20) != 0)
			continue;
		size_t bytes = compare(cache, models, keys, complete);
		ck_assert_uint_ge(statistics.bytes, bytes);
		/* Header, rounding and slots; and the least of a table for each of 16 shards. */
		ck_assert_uint_le(statistics.bytes,
				  bytes + statistics.entries * (25 + 15 + 8 * 16) + 16 * 128);
	}
	ck_assert(complete ? statistics.evictions == 0 : statistics.evictions > 1000);
	cache_flush(cache, NULL, NULL);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.bytes, 0);
	ck_assert_uint_eq(statistics.entries, 0);
	free(models);
	cache_free(&cache);
}

START_TEST(test_model)
{
	run_model(8 << 20, 40, 20000, true);
	run_model(8 << 20, 1500, 30000, true);
	run_model(128 * 1024, 3000, 30000, false);
}
END_TEST

/* From small entries to large ones and back: neither keeps the place from the other. */
START_TEST(test_sizes)
{
	const struct cache_limits limits = {60000, 60000, 0, 1 << 20};
	struct cache *cache = cache_new(&limits);
	struct cache_statistics statistics;
	char large[60001];
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	for (int turn = 0; turn < 3; turn++) {
		for (int i = 0; i < 30000; i++)
			put_number(cache, "small", i);
		cache_statistics(cache, &statistics);
		ck_assert_uint_gt(statistics.entries, 8000);
		ck_assert_uint_le(statistics.bytes, limits.max_bytes);
		for (int i = 0; i < 200; i++) {
			char key[32];
			struct buf value = BUF_INIT;
			enum result result;
			snprintf(key, sizeof(key), "large%d", i);
			put(cache, key, RESULT_FOUND, large);
			ck_assert_int_eq(cache_get(cache, key, strlen(key), &result, &value),
					 CACHE_FRESH);
			ck_assert_str_eq(buf_str(&value), large);
			buf_free(&value);
		}
		cache_statistics(cache, &statistics);
		ck_assert_uint_le(statistics.entries, 16);
		ck_assert_uint_le(statistics.bytes, limits.max_bytes);
	}
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
		snprintf(key, sizeof(key), "k%d", rand_r(&seed) % 2000);
		if (rand_r(&seed) % 3 == 0)
			put(cache, key, RESULT_FOUND, key);
		else if (rand_r(&seed) % 2000 == 0)
			(void)cache_flush(cache, NULL, NULL);
		else if (rand_r(&seed) % 500 == 0)
			(void)cache_flush(cache, begins_with, key);
		else if (get(cache, key, &result, value) != CACHE_MISS && strcmp(key, value) != 0)
			wrong++;
	}
	return NULL;
}

static void run_threads(int64_t max_bytes)
{
	const struct cache_limits limits = {60000, 60000, 0, max_bytes};
	struct cache *cache = cache_new(&limits);
	struct cache_statistics statistics;
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, cache), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(wrong, 0);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(cache_flush(cache, NULL, NULL), statistics.entries);
	cache_statistics(cache, &statistics);
	ck_assert_uint_eq(statistics.entries, 0);
	ck_assert_uint_eq(statistics.bytes, 0);
	cache_free(&cache);
}

START_TEST(test_threads)
{
	run_threads(50000);
	run_threads(8 << 20);
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
	tcase_add_test(tcase, test_second_chance);
	tcase_add_test(tcase, test_growth);
	tcase_add_test(tcase, test_model);
	tcase_add_test(tcase, test_sizes);
	tcase_add_test(tcase, test_threads);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
