# Compiler and linker flags are asked for one by one and kept in variables of our own, so that the
# user's CFLAGS and LDFLAGS stay the user's.

# POSTERN_COMPILE_FLAG(VARIABLE, FLAGS, [IF-REFUSED])
# Appends FLAGS to VARIABLE when the compiler takes them without a word together with the user's
# CFLAGS.
AC_DEFUN([POSTERN_COMPILE_FLAG], [
    AC_MSG_CHECKING([whether $CC accepts $2])
    postern_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]], [[return (int)strlen("")]])],
        [AC_MSG_RESULT([yes])
         CFLAGS=$postern_saved_CFLAGS
         $1="$$1 $2"],
        [AC_MSG_RESULT([no])
         CFLAGS=$postern_saved_CFLAGS
         $3])
])

# POSTERN_LINK_FLAG(VARIABLE, FLAGS, [IF-REFUSED])
AC_DEFUN([POSTERN_LINK_FLAG], [
    AC_MSG_CHECKING([whether $CC links with $2])
    postern_saved_CFLAGS=$CFLAGS
    postern_saved_LDFLAGS=$LDFLAGS
    CFLAGS="$CFLAGS -Werror"
    LDFLAGS="$LDFLAGS $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
        [AC_MSG_RESULT([yes])
         CFLAGS=$postern_saved_CFLAGS
         LDFLAGS=$postern_saved_LDFLAGS
         $1="$$1 $2"],
        [AC_MSG_RESULT([no])
         CFLAGS=$postern_saved_CFLAGS
         LDFLAGS=$postern_saved_LDFLAGS
         $3])
])

# POSTERN_LIBRARY(PREFIX, HEADERS, FUNCTION, LIBRARY, PACKAGE)
# A library whose Debian package ships no pkg-config file: sets PREFIX_LIBS.
AC_DEFUN([POSTERN_LIBRARY], [
    postern_found=no
    AC_CHECK_HEADERS([$2], [postern_found=yes])
    AS_IF([test "$postern_found" = no], [AC_MSG_ERROR([no header of $5 found: $2])])
    postern_saved_LIBS=$LIBS
    LIBS=
    AC_SEARCH_LIBS([$3], [$4], [], [AC_MSG_ERROR([no library of $5 found: $4])])
    $1_LIBS=$LIBS
    LIBS=$postern_saved_LIBS
    AC_SUBST([$1_LIBS])
])
