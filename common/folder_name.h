/*
 * The other direction of folder_name_encode().
 */
#ifndef POSTERN_FOLDER_NAME_H
#define POSTERN_FOLDER_NAME_H

#include <stdbool.h>

#include "common/buf.h"

/*
 * The folder that the directory ".A.B" holds, "A.B" in UTF-8, appended to NAME_R. False: not such a
 * name, or not in this encoding; then nothing is appended.
 */
bool folder_name_decode(const char *directory, bool utf8, struct buf *name_r) MUST_CHECK;

#endif
