# Units are filled here and not by configure, because ${sbindir} stays unexpanded there.
EXTRA_DIST += %D%/debian %D%/systemd %D%/sysusers %D%/tmpfiles
dist_example_DATA = %D%/postern.ini
