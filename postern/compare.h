/*
 * One question of `postern compare`, as both sides answer it.
 */
#ifndef POSTERN_POSTERN_COMPARE_H
#define POSTERN_POSTERN_COMPARE_H

#include "common/buf.h"
#include "common/result.h"
#include "postern/old_table.h"
#include "postern/parameter.h"

struct our_answer {
	enum result result;
	struct buf value; /* of FOUND; else the error's text */
	struct buf trace; /* how it was found */
	bool site;        /* a [map NAME] answered */
};

/* The name of the deliberate difference that this is, NULL when it is none that we know. */
const char *compare_reason(const struct parameter *parameter, const struct old_answer *old,
			   const struct our_answer *our);

#endif
