"""Shared by all tests: one torch thread, because tiny models run faster and repeat exactly with one."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
